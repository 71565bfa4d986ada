# What dies while submits wait at the edge: for PostgreSQL (Prefer: durable) or
# for a replica of Redis (trifecta_replicas).  What they wait for is held up
# first, so that every submit is on its way when it happens.  A job that was
# answered as durable is lost by nothing that PostgreSQL survives.

use strict;
use warnings;

my %ALL = (durable => 1, leave => 0.02);

my %REPLICATED = (replica => 1, test => {
    trifecta => { trifecta_replicas => '1 timeout=300ms' } });

sub waiting_for_pg {
    my ($s) = @_;
    $s->freeze('pg');
    $s->rest($s->rand(0.2, 0.8));
}

# The accept log is not written.

sub waiting_for_sidecars {
    my ($s) = @_;
    $s->freeze('sidecar', $_) for 0, 1;
    $s->rest($s->rand(0.2, 0.8));
}

sub waiting_for_the_replica {
    my ($s) = @_;
    $s->link('repl')->do('stall');
    $s->rest($s->rand(0.1, 0.28));
}

sub workers_die {
    my ($s) = @_;
    for (1 .. 3) {
        $s->kill_worker;
        $s->rest($s->rand(0.1, 0.5));
    }
}

sub dies {
    my ($s, $what) = @_;
    $s->kill($what);
    $s->rest($s->rand(0, 1));
}

(
    {
        name => 'wait-durable-kill-worker', load => { %ALL }, quick => 1,
        what => 'kill -9 of workers of nginx while every answer waits for '
                . 'PostgreSQL, which is stopped (SIGSTOP)',
        inject => sub { waiting_for_pg($_[0]); workers_die($_[0]) },
    },
    {
        name => 'wait-durable-kill-redis', load => { %ALL },
        what => 'kill -9 of Redis while every answer waits for PostgreSQL',
        inject => sub { waiting_for_pg($_[0]); dies($_[0], 'redis') },
    },
    {
        name => 'wait-durable-kill-pg', load => { %ALL },
        what => 'kill -9 of PostgreSQL while every answer waits for it and '
                . 'the sidecars are stopped (SIGSTOP)',
        inject => sub { waiting_for_sidecars($_[0]); dies($_[0], 'pg') },
    },
    {
        name => 'wait-durable-flushall', load => { %ALL }, quick => 1,
        what => 'FLUSHALL while every answer waits for PostgreSQL: what was '
                . 'answered as durable is not lost',
        mode => { gives_up => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            waiting_for_sidecars($s);
            $s->{t}->redis('FLUSHALL');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'wait-replicas-kill-worker', stack => { %REPLICATED },
        what => 'kill -9 of workers of nginx while every answer waits for '
                . 'the replica of trifecta_replicas 1',
        inject => sub { waiting_for_the_replica($_[0]); workers_die($_[0]) },
    },
    {
        name => 'wait-replicas-kill-redis', stack => { %REPLICATED },
        what => 'kill -9 of Redis while every answer waits for its replica, '
                . 'and a restart',
        idle => 60,
        inject => sub {
            waiting_for_the_replica($_[0]);
            dies($_[0], 'redis');
        },
    },
    {
        name => 'wait-replicas-kill-pg', stack => { %REPLICATED },
        what => 'kill -9 of PostgreSQL while every answer waits for the '
                . 'replica',
        inject => sub { waiting_for_the_replica($_[0]); dies($_[0], 'pg') },
    },
);
