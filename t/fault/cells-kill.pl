# Processes that are killed, stopped and continued, and restarted.  Each row is
# a cell; see Trifecta::Fault::Round for what a row may have.

use strict;
use warnings;

my $FROZEN = 3.5;       # s, longer than a lease

(
    {
        name => 'none', quick => 1,
        what => 'nothing: the load alone',
        inject => sub { $_[0]->rest(1) },
        mode => { executions => 1 },
    },
    {
        name => 'kill-sidecars', quick => 1,
        what => 'kill -9 of both sidecars, started again at once',
        inject => sub {
            my ($s) = @_;
            $s->kill('sidecar', $_) for 0, 1;
            $s->rest($s->rand(0, 0.5));
        },
        mode => { executions => 1 },
    },
    {
        name => 'kill-one-sidecar', quick => 1,
        what => 'kill -9 of one of two sidecars, started again after the '
                . 'other one had to take over',
        inject => sub {
            my ($s) = @_;
            $s->kill('sidecar', int $s->rand(0, 2));
            $s->rest(3.5);
        },
        mode => { executions => 1, reclaim => 27 },
    },
    {
        name => 'kill-worker', quick => 1,
        what => 'kill -9 of a worker of nginx, several times',
        inject => sub {
            my ($s) = @_;
            for (1 .. 3) {
                $s->kill_worker;
                $s->rest($s->rand(0.2, 0.6));
            }
        },
        mode => { executions => 1 },
    },
    {
        name => 'kill-nginx', quick => 1,
        what => 'kill -9 of nginx, master and workers, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->kill('nginx');
            $s->rest($s->rand(0, 0.5));
        },
        mode => { executions => 1 },
    },
    {
        name => 'kill-redis', quick => 1,
        what => 'kill -9 of Redis, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->kill('redis');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'kill-pg', quick => 1,
        what => 'kill -9 of PostgreSQL, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->kill('pg');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'restart-pg',
        what => 'an immediate shutdown of PostgreSQL, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->{mine}{pg} = 1;
            $s->{t}->proc('pg')->signal('QUIT');
            $s->{t}->proc('pg')->wait(20) or die "PostgreSQL does not stop\n";
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'restart-redis',
        what => 'SIGTERM to Redis, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->stop('redis');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'kill-stores',
        what => 'kill -9 of Redis and PostgreSQL at once, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->kill('redis');
            $s->kill('pg');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'kill-all', quick => 1,
        what => 'kill -9 of everything, and a restart',
        inject => sub {
            my ($s) = @_;
            $s->kill(@$_) for ['nginx'], ['sidecar', 0], ['sidecar', 1],
                              ['redis'], ['pg'];
        },
    },
    {
        name => 'power-always', quick => 1,
        what => 'power cut of Redis with appendfsync always',
        inject => sub {
            my ($s) = @_;
            $s->power_cut;
            $s->rest($s->rand(0, 0.5));
        },
    },
    {
        name => 'freeze-sidecar', quick => 1,
        what => 'SIGSTOP of one of two sidecars for longer than a lease',
        inject => sub {
            my ($s) = @_;
            my $n = int $s->rand(0, 2);
            $s->freeze('sidecar', $n);
            $s->rest($FROZEN);
            $s->thaw('sidecar', $n);
        },
        mode => { executions => 1 },
    },
    {
        name => 'freeze-sidecars',
        what => 'SIGSTOP of both sidecars for longer than a lease',
        inject => sub {
            my ($s) = @_;
            $s->freeze('sidecar', $_) for 0, 1;
            $s->rest($FROZEN);
            $s->thaw('sidecar', $_) for 0, 1;
        },
        mode => { executions => 1 },
    },
    {
        name => 'freeze-redis', quick => 1,
        what => 'SIGSTOP of Redis for longer than a lease',
        inject => sub {
            my ($s) = @_;
            $s->freeze('redis');
            $s->rest($FROZEN);
            $s->thaw('redis');
        },
    },
    {
        name => 'freeze-pg', quick => 1,
        what => 'SIGSTOP of PostgreSQL for longer than a lease',
        inject => sub {
            my ($s) = @_;
            $s->freeze('pg');
            $s->rest($FROZEN);
            $s->thaw('pg');
        },
    },
    {
        name => 'freeze-worker', quick => 1,
        what => 'SIGSTOP of a worker of nginx for longer than a lease',
        inject => sub {
            my ($s) = @_;
            $s->freeze_worker;
            $s->rest($FROZEN);
        },
        mode => { executions => 1 },
    },
);
