package Trifecta::Bench::Cases;

# The cases of bench/run, one row each: name, module, whether it is one of
# those that --quick runs, and about how many seconds it takes on two idle
# processors: before the first round, in each round, and in each round for each
# second of --seconds ("fast": in all, with --quick).
#
# A module has what(), and rows(), columns() and targets() (see
# Trifecta::Bench::Rounds); it may have rounds(), the most that make sense, and
# last_column(), what the last column tells instead of what a row leaves out.
# A case that is not of rounds has parts() instead: each { name, limit, run },
# and after each part text() is its table so far, judged() its ratios and
# figures() all that was measured.  The sub apart() is there if what is
# measured is started by another program.

use strict;
use warnings;

our @CASES = (
    { name => 'submit',   module => 'Submit', time => [6, 12, 18],
      quick => 1, fast => 40 },
    { name => 'result',   module => 'Result', time => [15, 3, 10],
      quick => 1, fast => 35 },
    { name => 'jobs',     module => 'Jobs', time => [5, 45, 20],
      quick => 1, fast => 50 },
    { name => 'chat',     module => 'Chat', time => [5, 4, 12],
      quick => 1, fast => 30 },
    { name => 'sizes',    module => 'Sizes', time => [5, 80, 25],
      fast => 40 },
    { name => 'killed',   module => 'Killed', time => [150, 0, 0],
      quick => 1, fast => 30 },
    { name => 'sidecars', module => 'Sidecars', time => [10, 10, 8],
      fast => 20 },
    { name => 'streams',  module => 'Streams', time => [5, 50, 4],
      fast => 45 },
    { name => 'growth',   module => 'Growth', time => [600, 0, 0],
      fast => 30 },
    { name => 'waiting',  module => 'Waiting', time => [150, 0, 0],
      fast => 30 },
    { name => 'ingest',   module => 'Ingest', time => [150, 0, 0],
      fast => 20 },
    { name => 'search',   module => 'Search', time => [60, 0, 0],
      fast => 20 },
);


sub names { map { $_->{name} } @CASES }
sub quick { map { $_->{name} } grep { $_->{quick} } @CASES }


sub load_case {
    my ($name) = @_;
    my ($case) = grep { $_->{name} eq $name } @CASES or die "no case $name\n";

    require "Trifecta/Bench/Case/$case->{module}.pm";
    return "Trifecta::Bench::Case::$case->{module}";
}


sub seconds {
    my ($name, $quick, $rounds, $seconds) = @_;
    my ($case) = grep { $_->{name} eq $name } @CASES;
    my ($first, $each, $times) = @{ $case->{time} };

    return $quick ? $case->{fast}
                  : $first + $rounds * ($each + $times * $seconds);
}


sub what { load_case($_[0])->what }

1;
