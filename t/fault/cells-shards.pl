# Two shards on two Redis servers: what happens to one of them is no matter to
# the jobs of the other one.

use strict;
use warnings;

my %TWO = (test => { shards => ['redis', 'redis1'] });

sub one { ('redis', 'redis1')[int $_[0]->rand(0, 2)] }

(
    {
        name => 'shards-kill-one', stack => { %TWO }, quick => 1,
        what => 'kill -9 of one of two Redis servers, and a restart',
        mode => { redis_away => 1 },
        inject => sub {
            my ($s) = @_;
            $s->kill(one($s));
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'shards-kill-both', stack => { %TWO },
        what => 'kill -9 of two Redis servers, and a restart',
        mode => { redis_away => 1 },
        inject => sub {
            my ($s) = @_;
            $s->kill($_) for 'redis', 'redis1';
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'shards-freeze-one', stack => { %TWO },
        what => 'SIGSTOP of one of two Redis servers for longer than a lease',
        mode => { redis_away => 1 },
        inject => sub {
            my ($s) = @_;
            $s->freeze(one($s));
            $s->rest(3.5);
        },
    },
    {
        name => 'shards-flush-one', stack => { %TWO },
        what => 'FLUSHALL of one of two Redis servers',
        mode => { gives_up => 1, redis_away => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->{t}->redis_at(one($s), 'FLUSHALL');
            $s->rest($s->rand(0, 1));
        },
    },
    {
        name => 'shards-kill-sidecars', stack => { %TWO },
        what => 'kill -9 of both sidecars of two shards, started again',
        mode => { executions => 1 },
        inject => sub {
            my ($s) = @_;
            $s->kill('sidecar', $_) for 0, 1;
            $s->rest($s->rand(0, 0.5));
        },
    },
);
