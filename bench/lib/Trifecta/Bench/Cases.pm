package Trifecta::Bench::Cases;

# The cases of bench/run, one row each: name, module, and whether it is one
# of those that --quick runs.  A module has what() and either program(), for a
# case that measures and prints by itself, or rows(), columns() and targets()
# (see Trifecta::Bench::Rounds); then it may have rounds(), the most that make
# sense, and last_column(), what the last column tells instead of what a row
# leaves out.

use strict;
use warnings;

our @CASES = (
    { name => 'submit',   module => 'Submit', quick => 1 },
    { name => 'result',   module => 'Result', quick => 1 },
    { name => 'jobs',     module => 'Jobs',   quick => 1 },
    { name => 'chat',     module => 'Chat',   quick => 1 },
    { name => 'sizes',    module => 'Sizes' },
    { name => 'killed',   module => 'Killed', quick => 1 },
    { name => 'sidecars', module => 'Sidecars' },
    { name => 'streams',  module => 'Streams' },
    { name => 'growth',   module => 'Growth' },
    { name => 'waiting',  module => 'Waiting' },
    { name => 'ingest',   module => 'Ingest' },
    { name => 'search',   module => 'Search' },
);


sub names { map { $_->{name} } @CASES }
sub quick { map { $_->{name} } grep { $_->{quick} } @CASES }


sub load_case {
    my ($name) = @_;
    my ($case) = grep { $_->{name} eq $name } @CASES or die "no case $name\n";

    require "Trifecta/Bench/Case/$case->{module}.pm";
    return "Trifecta::Bench::Case::$case->{module}";
}


sub what { load_case($_[0])->what }

1;
