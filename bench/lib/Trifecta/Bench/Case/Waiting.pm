package Trifecta::Bench::Case::Waiting;

# bench/waiters measures and prints by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

sub what { 'clients that wait: memory, and how soon they are answered' }


sub program {
    my ($env) = @_;
    return Trifecta::Bench::Program::run($env, 'waiters', '--waiters',
        $env->{quick} ? 100 : 1000, '--rounds', 1);
}

1;
