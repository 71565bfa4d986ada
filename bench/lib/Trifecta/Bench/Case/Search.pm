package Trifecta::Bench::Case::Search;

# bench/index measures and prints by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

sub what { 'a question to a large collection, by PostgreSQL and by an index' }


sub program {
    my ($env) = @_;
    my @runs = $env->{quick} ? [500, 10, 1]
        : ([1000, 100, 3], [10_000, 100, 3], [100_000, 100, 3]);

    return join '', map { Trifecta::Bench::Program::run($env, 'index', @$_) }
        @runs;
}

1;
