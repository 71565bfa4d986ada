# The edge uses a Redis only if it is a master and the queue on it was adopted:
# P:meta names the server for which it was, and there is no rebuild.  Anything
# else is "Redis away", says so, and mends itself within a second of the
# adoption (bounds here are five times that).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0);
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $slow = $t->slow;

sub identity {
    my $info = $t->redis('INFO', 'server') . $t->redis('INFO', 'replication');
    my ($run) = $info =~ /^run_id:(\w+)/m;
    my ($replid) = $info =~ /^master_replid:(\w+)/m;
    return "$run:$replid";
}

sub adopt { $t->redis('HSET', "$P:meta", 'server', $_[0] // identity()) }
sub cut { $t->redis('CLIENT', 'KILL', 'TYPE', $_, 'SKIPME', 'yes')
          for qw(normal pubsub) }
sub reason { $t->admin('/readyz')->{json}{redis}{shards}[0]{reason} // '' }
sub ask { $t->post($Q, { query => 'x' }) }
sub listening { $t->metrics->{trifecta_subscriber_ready_workers} }

sub refused {
    my ($why, $name, $within) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok $t->wait_for(sub { reason() =~ $why }, ($within || 2) * 5 * $slow),
        $name or diag reason();
    ok $t->wait_for(sub { listening() == 0 }, 5 * $slow),
        '  and no messages are heard from it';

    my $live = $t->redis('ZCARD', "$P:live");
    my $res = ask();
    is "$res->{status} $res->{code}", '503 queue_unavailable',
        '  nothing is accepted';
    cmp_ok $res->{time}, '<', 0.5 * $slow, '  at once';
    is $t->redis('ZCARD', "$P:live"), $live, '  really';
    ok $t->wait_for(sub {
        ($t->admin('/status')->{json}{redis}{shards}[0]{reason} // '') =~ $why
    }, 5), '  and the status page says why';
}

# One worker is ready as soon as one finds it out: the others follow.

sub accepted_again {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $began = time;

    ok $t->wait_for(sub { ask()->{status} == 202 }, 5 * $slow), $name;
    ok $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 5 * $slow),
        '  and ready';
    ok $t->wait_for(sub { listening() == 2 }, 5 * $slow),
        '  and messages are heard';
}

adopt();
accepted_again('an_adopted_queue_is_used');


# What is found when a connection is made

adopt('0123:4567');
cut();
refused(qr/restarted or replaced/,
        'a_queue_that_was_adopted_for_another_server_is_not_used');
adopt();
accepted_again('as_soon_as_it_is_adopted_it_is_used');

$t->redis('HDEL', "$P:meta", 'server');
cut();
refused(qr/no sidecar has adopted this Redis/,
        'a_queue_that_was_never_adopted_is_not_used');
adopt();
accepted_again('once it is adopted it is used');

$t->redis('HSET', "$P:meta", 'rebuild', int(time * 1000));
cut();
refused(qr/being rebuilt/, 'a_queue_that_is_rebuilt_is_not_used');
$t->redis('HDEL', "$P:meta", 'rebuild');
accepted_again('when_that_is_done_it_is');


# What is found on a connection that is there and busy

{
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        while (1) { $t->result('0' x 36); ask(); sleep 0.2 }
    }

    adopt('89ab:cdef');
    refused(qr/restarted or replaced/,
            'an_adoption_that_is_taken_back_is_noticed_under_load', 5);
    adopt();
    accepted_again('and when it is given back');

    # a master that becomes a replica and stays there: readers would not see

    $t->redis('REPLICAOF', '127.0.0.1', 1);
    kill 'KILL', $pid;
    waitpid $pid, 0;
    refused(qr/replica/, 'a_master_that_became_a_replica_is_left', 5);

    $t->redis('REPLICAOF', 'no', 'one');
    refused(qr/restarted or replaced/,
            'promoted_again_it_is_another_server_until_it_is_adopted');
    adopt();
    accepted_again('then it is used');
}


# A restart

$t->stop('redis');
$t->_start_redis('redis');      # the harness itself would have it adopted
refused(qr/restarted or replaced/, 'a_restarted_redis_is_not_used');
adopt();
accepted_again('until it was adopted');

$t->finish;
done_testing;
