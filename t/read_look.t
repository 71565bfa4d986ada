# What Redis knows of a job is read without a function, and means the same: a
# job is its owner's, a deleted one is gone, one that Redis does not know is
# PostgreSQL's, and a Redis without an epoch knows nothing.  No sidecar runs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;
use Trifecta::Test::Waiting;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    redis_conf => 'appendfsync no', pg_conf => 'fsync = off');
my $P = '{trifecta:0}';

$t->start_all;
my $w = Trifecta::Test::Waiting->new($t);

sub key { "$P:j:$_[0]" }
sub looked { $t->result($_[0]) }

my $monitor = $t->redis_client;
my $id = $t->ask('first');
my $second = $t->ask('second');

{
    $monitor->cmd('MONITOR');
    my $res = looked($second);
    is $res->{json}{status}, 'queued', 'an open job is read from Redis';
    my @asked = grep { !/"(?:PING|INFO|MONITOR)"/i } $monitor->lines(0.3);
    is scalar(grep { /FCALL/ } @asked), 0, 'a_job_is_read_without_a_function';
    is scalar(grep { /HMGET.*:j:\Q$second\E/ } @asked), 1, 'once';
    is $res->{json}{created_at}, do {
        my $ms = $t->redis('HGET', key($second), 'acc');
        my @t = gmtime($ms / 1000);
        sprintf '%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', $t[5] + 1900,
            $t[4] + 1, @t[3, 2, 1, 0], $ms % 1000;
    }, 'with its time';
    is $res->{json}{model}, 'extractive', 'and its model';
    cmp_ok $res->{headers}{'retry-after'}, '>=', 1, 'and when to ask again';
}

# What the function says of the same job

{
    my $says = sub { $t->redis('FCALL_RO', 'trifecta_look_v1', 1, $P,
        'default', 'test:alice', $_[0]) };

    $w->run($id);
    $t->redis('HSET', key($id), 'done', 3, 'total', 7);
    my $res = looked($id);
    my $look = $says->($id);
    is $res->{json}{status}, $look->[0], 'the state is what the function says';
    is_deeply $res->{json}{progress}, { done => $look->[8],
        total => $look->[9] }, 'and how far it is';
    is $res->{json}{cancel_requested}, undef, 'nobody has cancelled it';
    is $says->($second)->[4], 1, 'one is in front of the other';

    $t->post("/api/v1/query/$id/cancel", {});
    is $says->($id)->[7], 1, 'it was told to stop';
    ok looked($id)->{json}{cancel_requested}, 'and says so';
}

# Not the caller's: by the hash, for the id alone says otherwise

for my $field (['tenant', 'acme'], ['owner', 'test:bob'],
               ['owner', 'test:alic'], ['owner', 'test:alice2'])
{
    my ($name, $value) = @$field;
    my $mine = $t->redis('HGET', key($second), $name);

    $t->redis('HSET', key($second), $name, $value);
    is looked($second)->{status}, 410,
        "a_hash_of_another_$name\_is_not_the_job ($value)";
    $t->redis('HSET', key($second), $name, $mine);
    is looked($second)->{status}, 200, 'and its own is';
}

# What is not there, or no job

{
    my $lost = $t->ask('lost');
    $t->redis('DEL', key($lost));
    is looked($lost)->{status}, 410, 'a job that no store knows is gone';

    $t->redis('SET', key($lost), 'another thing');
    is looked($lost)->{status}, 410, 'a_key_of_another_type_is_no_job';
    $t->redis('DEL', key($lost));

    $t->redis('HSET', key($lost), qw(tenant default owner test:alice));
    is looked($lost)->{status}, 410, 'nor is a hash without a state';
    $t->redis('HSET', key($lost), qw(state nonsense acc 1 model x));
    is looked($lost)->{status}, 503, 'a state that nobody knows is no answer';
    $t->redis('DEL', key($lost));

    my $epoch = $t->redis('HGET', "$P:meta", 'epoch');
    $t->redis('HDEL', "$P:meta", 'epoch');
    my $res = looked($lost);
    $t->redis('HSET', "$P:meta", 'epoch', $epoch);
    is $res->{status}, 503, 'a_queue_without_an_epoch_has_not_lost_it';
    is $res->{code}, 'queue_unavailable', 'it is the queue';

    $t->wait_for(sub { looked($lost)->{status} == 410 }, 20);
    is looked($lost)->{status}, 410, 'with its epoch it has';
}

# Deleted

{
    my $gone = $t->ask('gone');
    $w->run($gone);
    $w->finish($gone, 'succeeded');
    $t->redis('HSET', key($gone), 'deleted', 1);
    my $res = looked($gone);
    is $res->{status}, 410, 'a_deleted_job_is_gone_at_once';
    like $res->{content}, qr/was deleted/, 'and that is why';
}

# A connection that ends between the replies

{
    my @ids = map { $t->ask("many $_") } 1 .. 3;
    for (1 .. 5) {
        $t->redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        my $res = looked($ids[$_ % 3]);
        ok $res->{status} == 200 || $res->{status} == 503,
            'a connection that is cut gives an answer';
    }
    ok $t->wait_for(sub { looked($ids[0])->{status} == 200 }, 20),
        'and another one comes';
}

# A socket that takes some bytes at a time: the first of the commands of a look
# is answered before the last one is written

{
    my $open = $t->ask('open');

    $t->stop('nginx');
    $t->{opt}{proc_env}{nginx}{TRIFECTA_SLICE} = 60;
    $t->start('nginx');
    ok $t->wait_for(sub { looked($open)->{status} == 200 }, 20),
        'nginx is there again';

    is_deeply [grep { $_ ne '200 queued' } map { my $res = looked($open);
        "$res->{status} " . ($res->{json}{status} // '') } 1 .. 20], [],
        'a_reply_that_comes_before_all_is_written_finds_its_look';
    unlike $t->log_of('error'), qr/a reply without a command/,
        'and no connection is given up for it';
}

$t->finish;
done_testing;
