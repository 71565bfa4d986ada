# A job that was accepted and that no store has any more is 410, with a body
# that says so: for every request, for one that waits already, and only when
# both stores have answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Waiting;

my $t = Trifecta::Test->new(sidecars => 0, workers => 1,
    wait_fallback => '1s', redis_conf => 'appendfsync no',
    pg_conf => 'fsync = off');
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $w = Trifecta::Test::Waiting->new($t);

# As if the job had been accepted by a Redis that has lost it since.

sub lose {
    my ($id) = @_;
    $t->redis('DEL', "$P:j:$id");
    $t->redis('ZREM', $_, $id)
        for "$P:live", map { "$P:t:default:$_" } qw(live ready park run);
    return $id;
}

sub is_lost {
    my ($res, $name) = @_;
    is $res->{status}, 410, $name;
    is $res->{code}, 'gone', '  its code';
    is $res->{json}{detail}, 'this job was accepted here, but no store has it'
        . ' any more: it was removed after its retention, or lost with the'
        . ' data of a store; ask again', '  its reason';
    is $res->{json}{error}{message}, $res->{json}{detail}, '  twice';
    is $res->{headers}{'content-type'}, 'application/problem+json', '  type';
    is $res->{headers}{etag}, undef, '  nothing to compare with';
    is $res->{headers}{'retry-after'}, undef, '  nothing to wait for';
}


# Every request

{
    my $open = $t->ask('x');
    my $etag = $t->result($open)->{headers}{etag};
    my $id = lose($open);

    is_lost($t->result($id), 'a_lost_job_is_410');
    is_lost($t->request('POST', "$Q/$id/cancel"), 'so it is to a cancel');
    is_lost($t->request('DELETE', "$Q/$id"), 'and to a delete');
    is_lost($t->result($id), 'of which nothing is left');
    is_lost($t->get("$Q/$id", headers => { 'If-None-Match' => $_ }),
        "a client that has $_") for '*', $etag;
    is_lost($w->take($w->get($id, 30), 5), 'who wants to wait, at once');

    is $t->result($id, token => $t->token(sub => 'bob'))->{status}, 404,
        'somebody else learns nothing';

    my %key = (headers => { 'Idempotency-Key' => 'k1' });
    $id = lose($t->post($Q, { query => 'x' }, %key)->{json}{query_id});
    is_lost($t->post($Q, { query => 'x' }, %key), 'a repetition, too');
}


# Those who wait

{
    my $id = $t->ask('x');
    my $etag = $t->result($id)->{headers}{etag};
    my @wait = ($w->get($id, 60),
                $w->get($id, 60, headers => { 'If-None-Match' => $etag }));
    ok $t->wait_for(sub { $t->metrics->{trifecta_waiters} == 2 }, 10),
        'two wait';
    lose($id);

    for (@wait) {
        my $res = $w->take($_, 10);
        is_lost($res, 'who_waits_is_told');
        cmp_ok $res->{time}, '<', 10 * $slow, 'soon';
    }

    my $one = $w->post('x', 60);
    $t->wait_for(sub { $t->metrics->{trifecta_waiters} == 1 }, 10);
    ($id) = @{ $t->redis('ZRANGE', "$P:live", -1, -1) };
    lose($id);
    my $res = $w->take($one, 10);
    is $res->{status}, 202, 'a POST was accepted all the same';
    is_lost($t->result($res->{json}{query_id}), 'and its job is lost');
    ok $w->quiet(5), 'nobody waits any more';
}


# What only looks like it

{
    my $id = $t->ask('x');
    $w->end($id, 'so');
    lose($id);
    is $t->result($id)->{json}{response}, 'so', 'a row is enough';

    my $deleted = $t->ask('x');
    $t->request('DELETE', "$Q/$deleted");
    my $res = $t->result($deleted);
    is $res->{status}, 410, 'one that was deleted';
    is $res->{json}{detail}, 'the job was deleted', 'has a reason of its own';

    $id = lose($t->ask('x'));
    my $epoch = $t->redis('HGET', "$P:meta", 'epoch');
    $t->redis('HDEL', "$P:meta", 'epoch');
    for (['GET', "$Q/$id"], ['POST', "$Q/$id/cancel"], ['DELETE', "$Q/$id"]) {
        is $t->request(@$_)->{code}, 'queue_unavailable',
            "a_queue_without_an_epoch_says_nothing ($_->[0])";
    }
    my $one = $w->get($id, 60);
    ok !$w->there($one, 1.5), 'who waits, waits on';
    $t->redis('HSET', "$P:meta", 'epoch', $epoch);
    is_lost($w->take($one, 20), 'until the queue can say it');

    $t->stop('pg');
    for (['GET', "$Q/$id"], ['POST', "$Q/$id/cancel"]) {
        is $t->request(@$_)->{code}, 'store_unavailable',
            "one_store_alone_says_nothing ($_->[0])";
    }
    $one = $w->get($id, 60);
    ok !$w->there($one, 1.5), 'who waits, waits on';
    $t->start('pg');
    is_lost($w->take($one, 20), 'until the other is back');

    $t->stop('redis');
    is $t->result($id)->{code}, 'queue_unavailable', 'nor does the other';
    $t->start('redis');
}

$t->finish;
done_testing;
