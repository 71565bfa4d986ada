package Trifecta::Bench::Case::Ingest;

# bench/ingest measures and prints by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

sub what { 'documents come and go: chunks a second' }


sub program {
    my ($env) = @_;

    return Trifecta::Bench::Program::run($env, 'ingest', '--chunks', 100)
        if $env->{quick};
    return Trifecta::Bench::Program::run($env, 'ingest')
        . Trifecta::Bench::Program::run($env, 'ingest', '--chunks',
                                        '1000,10000,100000');
}

1;
