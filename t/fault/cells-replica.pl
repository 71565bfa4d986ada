# A replica of Redis that becomes the master.  What it had not received is lost
# unless the mode waited for it.  Submits wait; what a job says on its way does
# not, so an attempt that the replica never heard of is not in the replay.

use strict;
use warnings;

my %FAST = (replica => 1);

my %REPLICATED = (replica => 1, test => {
    trifecta => { trifecta_replicas => '1 timeout=300ms' } });

# What is accepted meanwhile does not reach the replica.

sub promote_a_late_one {
    my ($s) = @_;
    $s->link('repl')->do('stall');
    $s->rest($s->rand(0.1, 0.8));
    $s->promote;
    $s->rest($s->rand(0, 0.5));
}

(
    {
        name => 'promote-late', stack => { %FAST }, quick => 1,
        what => 'kill -9 of the master of Redis, a replica that lagged behind '
                . 'is promoted',
        mode => { gives_up => 1, redis_away => 1 }, idle => 60,
        inject => \&promote_a_late_one,
    },
    {
        name => 'promote-late-replicated', stack => { %REPLICATED }, quick => 1,
        what => 'the same with trifecta_replicas 1: nothing that was answered '
                . 'with 202 is lost',
        mode => { redis_away => 1, forgets => 1 }, idle => 60,
        inject => \&promote_a_late_one,
    },
    {
        name => 'promote-replicated', stack => { %REPLICATED },
        what => 'kill -9 of the master of Redis under trifecta_replicas 1, its '
                . 'replica is promoted',
        mode => { redis_away => 1, forgets => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->promote;
            $s->rest($s->rand(0, 0.5));
        },
    },
    {
        name => 'replica-away', stack => { %REPLICATED },
        what => 'SIGSTOP of the replica under trifecta_replicas 1',
        mode => { redis_away => 1 }, idle => 60,
        inject => sub {
            my ($s) = @_;
            $s->freeze($s->{standby});
            $s->rest($s->rand(1, 3));
        },
    },
);
