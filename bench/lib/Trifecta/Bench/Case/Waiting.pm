package Trifecta::Bench::Case::Waiting;

# bench/waiters measures each row by itself; its figures are of ours only.  A
# client over TLS costs what OpenSSL keeps for it, too, which is none of ours:
# so the bound is guarded without TLS, and reported with it.

use strict;
use warnings;

use JSON::PP;

use Trifecta::Bench::Program;

my @MANY = (100, 1000, 5000);
my @KIND = (['long polls, TLS'], ['long polls', '--plain'],
    ['streams, TLS', '--streams'], ['streams', '--streams', '--plain']);
my $KB = 20;


sub what { 'clients that wait: memory, and how soon they are answered' }

sub apart { 1 }
sub rounds { 1 }
sub last_column { 'leaves out' }

sub columns {
    return [['answered', 'answered'], ['late', 'not answered'],
            ['nginx', 'KB nginx each'],
            ['redis', 'KB Redis each'],
            ['busy', 'ms of processor a second, idle'],
            ['p50', 'from end to answer, p50 ms'], ['p99', 'p99 ms']];
}


sub targets {
    my $most = $MANY[-1];

    return map({ my $name = $_->[0]; { name => "KB of nginx for each of $most"
            . " $name", over => "$most $name", column => 'nginx',
            most => $KB } } @KIND),
        map({ my $name = $_->[0]; { name => "$most $name that were not"
            . ' answered', over => "$most $name", column => 'late',
            most => 0 } } @KIND);
}


sub rows {
    my ($env) = @_;

    return map { my ($name, @how) = @$_; map { my $n = $_; {
        name => "$n $name", limit => 240, measure => sub {
            decode_json(Trifecta::Bench::Program::output($env, 'waiters',
                '--table', '--waiters', $n, '--rounds', 1, @how)) } } }
        $env->{quick} ? 20 : @MANY } @KIND;
}

1;
