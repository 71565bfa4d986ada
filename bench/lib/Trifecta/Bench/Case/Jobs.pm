package Trifecta::Bench::Case::Jobs;

# From the first submit to the last durable result, of jobs that do nothing.
# When the last one ended is asked of the store that has the results.

use strict;
use warnings;

use Trifecta::Bench::Queues;
use Trifecta::Bench::Stack;

our $AT_ONCE = 32;
our $THREADS = 128;         # of a sidecar for many short jobs
my $SIZE = 1024;
my $OURS = "ours, $AT_ONCE at once";


sub what { 'jobs that do nothing, from submit to durable result' }

sub columns {
    return [['rate', 'jobs a second'], ['cpu nginx', 'µs nginx'],
            ['cpu sidecar', 'µs sidecar'], ['cpu app', 'µs of the worker'],
            ['cpu redis', 'µs Redis'], ['cpu redis1', 'µs second Redis'],
            ['cpu pg', 'µs PostgreSQL'], ['cpu', 'µs in all']];
}


sub targets {
    my ($first, @peers) = Trifecta::Bench::Queues::best();

    return ({ name => 'jobs a second, against BullMQ with PostgreSQL',
              over => $OURS, under => $first->{name}, column => 'rate',
              least => 5 },
            # where it is now, with room for a busy machine
            { name => 'processor time of all for a job, against BullMQ with'
                . ' PostgreSQL: not worse than it was', over => $OURS,
              under => $first->{name}, column => 'cpu', most => 0.9,
              quick => 1 },
            map { { name => "jobs a second, against $_->{name}",
                    over => $OURS, under => $_->{name}, column => 'rate',
                    least => 1.2 } } @peers);
}


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        mock => { noop => 'echo', server => [0, 4, 0] });
    my $q = Trifecta::Bench::Queues->new($env, $t);
    my $ours = sub {
        my ($name, $at_once, @how) = @_;
        return { name => "ours, $name", leaves => '', measure => $q->ours(
            warm => 300, at_once => $at_once, size => $SIZE, @how) };
    };

    my @rows = $ours->("$AT_ONCE at once", $AT_ONCE, threads => $THREADS);
    push @rows, $ours->('1 at once', 1, threads => $THREADS),
        $ours->('256 at once', 256, threads => $THREADS),
        $ours->("$AT_ONCE at once, a model server", $AT_ONCE,
                threads => $THREADS, model => 'server'),
        $ours->("$AT_ONCE at once, default", $AT_ONCE)
        unless $env->{quick};
    return @rows unless $env->{peers};

    return @rows, map { { name => $_->{name}, leaves => $_->{leaves},
        measure => $q->peer($_, at_once => $AT_ONCE, size => $SIZE) } }
        grep { !$env->{quick} || $_->{quick} } @Trifecta::Bench::Queues::PEERS;
}

1;
