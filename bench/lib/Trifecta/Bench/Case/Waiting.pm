package Trifecta::Bench::Case::Waiting;

# bench/waiters measures each row by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

my @MANY = (100, 1000, 5000);


sub what { 'clients that wait: memory, and how soon they are answered' }


sub program {
    my ($env) = @_;
    my $text = "### waiting\n\n| waiters | kind | answered | KB nginx each |"
        . " KB Redis each | ms of processor a second, idle | from end to"
        . " answer, p50 ms | p99 ms |\n|---:|---|" . '---:|' x 6 . "\n";

    for my $kind ([], ['--plain'], ['--streams'], ['--streams', '--plain']) {
        $text .= Trifecta::Bench::Program::output($env, 'waiters', '--table',
            '--waiters', $_, '--rounds', 1, @$kind)
            for $env->{quick} ? 20 : @MANY;
    }

    return "$text\n";
}

1;
