package Trifecta::Bench::Case::Search;

# bench/index measures and prints by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

sub what { 'a question to a large collection, by PostgreSQL and by an index' }


sub program {
    my ($env) = @_;
    return Trifecta::Bench::Program::run($env, 'index',
        $env->{quick} ? (2000, 50, 1) : (20000, 100, 3));
}

1;
