# Cancelling and deleting jobs over the API: in every state, for their owner
# only, again, and while a store is away.

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
my $in_time = 10;

sub cancel { my ($id, %o) = @_; $t->request('POST', "$Q/$id/cancel", %o) }
sub remove { my ($id, %o) = @_; $t->request('DELETE', "$Q/$id", %o) }
sub says { my ($res) = @_; "$res->{status} " . ($res->{code} // '') }
sub ready { $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20) }

sub row {
    my ($id) = @_;
    my $rows = $t->sql('admin', 'SELECT state, deleted IS NOT NULL, request'
        . " IS NULL, error->>'code' FROM trifecta.job WHERE id = ?", $id);
    return $rows->[0];
}

sub make_row {
    my ($id, $state) = @_;
    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . " prio, state, accepted, deadline) VALUES (?, 'default',"
        . " 'test:alice', 'query', 1, ?, now(), now() + '10 min')",
        $id, $state);
}

my %stranger = ('another user' => $t->token(sub => 'bob'),
                'another tenant' => $t->token(tenant => 'acme'));


# A job that waits

{
    my $res = $t->post($Q, { query => 'x' });
    my $id = $res->{json}{query_id};
    is $res->{json}{links}{cancel}, "$Q/$id/cancel", 'links name the cancel';

    for my $who (sort keys %stranger) {
        my $before = $t->snapshot_of_queue;
        my $calls = sub {
            return $t->redis('INFO', 'commandstats')
                =~ /^cmdstat_fcall:calls=(\d+)/m ? $1 : 0;
        };
        my $n = $calls->();
        is says(cancel($id, token => $stranger{$who})), '404 not_found',
            "a_job_of_${who}_cannot_be_cancelled" =~ tr/ /_/r;
        is says(remove($id, token => $stranger{$who})), '404 not_found',
            "nor_deleted";
        is $calls->() - $n, 0, 'and Redis is not asked';
        $t->nothing_enqueued($before, 'nothing has changed');
    }

    is says(cancel('nope')), '404 not_found', 'no UUID is 404';
    is says(cancel($id, token => undef)), '401 missing_token',
        'no token is 401';

    $res = cancel($id);
    is $res->{status}, 200, 'a_job_that_waits_is_cancelled';
    is $res->{json}{status}, 'cancelled', 'it says so';
    is $res->{json}{query_id}, $id, 'by its id';
    ok !exists $res->{json}{cancel_requested}, 'nothing is pending';
    ok !exists $res->{headers}{'retry-after'}, 'there is nothing to wait for';
    is $t->result($id)->{json}{status}, 'cancelled', 'GET says the same';
    is $t->redis('ZCARD', "$P:live"), 0, 'it is open no more';

    $res = cancel($id);
    is "$res->{status} $res->{json}{status}", '200 cancelled',
        'cancelled_again_it_answers_the_same';
}


# Methods

{
    my $id = $t->ask('x');
    is $t->get("$Q/$id/cancel")->{headers}{allow}, 'POST',
        'a cancel is a POST';
    is $t->request('PUT', "$Q/$id")->{headers}{allow}, 'GET, DELETE',
        'a job takes GET and DELETE';
    is says($t->post("$Q/$id/nope", {})), '404 not_found', 'nothing else';
    is $t->post("$Q/$id/cancel", { reason => 'any' })->{status}, 200,
        'a body is ignored';
}


# A job that waits is deleted; sidecars are not needed for that

{
    my $id = $t->ask('secret words');
    my $res = remove($id);
    is $res->{status}, 200, 'a_job_that_waits_is_deleted';
    is_deeply $res->{json}, { query_id => $id, deleted => JSON::PP::true },
        'it says so';
    is says($t->result($id)), '410 gone', 'a_deleted_job_polls_as_410';
    is says(remove($id)), '410 gone', 'deleted_again_it_is_410';
    is says(cancel($id)), '410 gone', 'and cannot be cancelled';
    is $t->redis('HGET', "$P:j:$id", 'payload'), undef,
        'the request is erased';
}


# What Redis does not know

{
    my ($open, $ended, $gone) = map { $t->ask('x') } 1 .. 3;
    $t->redis('DEL', "$P:j:$_") for $open, $ended, $gone;
    make_row($open, 'running');
    make_row($ended, 'failed');

    my $res = cancel($open);
    is says($res), '503 queue_unavailable',
        'absent_in_redis_an_open_row_cannot_be_cancelled_now';
    ok $res->{headers}{'retry-after'}, 'come back';
    is cancel($ended)->{json}{status}, 'failed',
        'absent_in_redis_an_ended_row_says_how';
    is says(cancel($gone)), '410 gone', 'known nowhere is 410';
    is says(remove($gone)), '410 gone', 'for a delete, too';

    is remove($ended)->{status}, 200, 'an ended row can be deleted';
    is says($t->result($ended)), '410 gone', 'and is gone at once';

    # the tombstone of Redis is forgotten, that of PostgreSQL is not

    $t->redis('DEL', "$P:j:$ended");
    $t->sql('admin', 'UPDATE trifecta.job SET deleted = now() WHERE id = ?',
            $ended);
    is says($t->result($ended)), '410 gone',
        'a_row_that_was_deleted_is_410_for_ever';
    is says(remove($ended)), '410 gone',
        'and_deleting_it_again_is_410_for_ever';
    is says(cancel($ended)), '410 gone', 'so is cancelling';
}


# Without PostgreSQL

{
    my ($waits, $other, $forgotten) = map { $t->ask('x') } 1 .. 3;
    $t->redis('DEL', "$P:j:$forgotten");

    $t->kill('pg');
    sleep 0.2;
    my $res = cancel($waits);
    is "$res->{status} " . ($res->{json}{status} // ''), '200 cancelled',
        'postgresql_away_a_cancel_is_confirmed_all_the_same';
    is remove($other)->{status}, 200, 'so_is_a_delete';
    is remove($forgotten)->{status}, 200, 'also of what Redis forgot';
    $t->start('pg');
    ok ready(), 'PostgreSQL is back';
}


# Without Redis

{
    my @ids = map { $t->ask('x') } 1 .. 2;

    $t->kill('redis');
    sleep 0.2;
    for my $res (cancel($ids[0]), remove($ids[1])) {
        is says($res), '503 queue_unavailable', 'redis_down_it_is_503';
        ok $res->{headers}{'retry-after'}, 'come back';
    }
    $t->start('redis');
    ok ready(), 'Redis is back';
    is $t->result($_)->{json}{status}, 'queued', 'nothing has happened'
        for @ids;

    sleep 1.2;
    $t->freeze('redis');
    for my $res (cancel($ids[0]), remove($ids[1])) {
        is says($res), '503 queue_unavailable', 'redis_frozen_it_is_503';
        cmp_ok $res->{time}, '<', $in_time, 'in time';
    }
    $t->thaw('redis');
    ok ready(), 'Redis answers again';

    # what came of it, the same request tells
    is cancel($ids[0])->{json}{status}, 'cancelled', 'sent again it works';
    like says(remove($ids[1])), qr/^(200 |410 gone)$/, 'either way';
}


# The resend: the second try finds what the first one did

{
    my @ids = map { $t->ask('x') } 1 .. 2;
    my @call = (sub { cancel($ids[0]) }, sub { remove($ids[1]) });

    for my $call (@call) {
        sleep 1.2;
        $t->freeze('redis');
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            sleep 1.1;
            $t->thaw('redis');
            require POSIX;
            POSIX::_exit(0);
        }
        my $res = $call->();
        waitpid $pid, 0;
        is $res->{status}, 200, 'sent_again_it_is_confirmed_once'
            or diag $res->{content};
        ok ready(), 'and on';
    }
}


# With workers

{
    $t->start('sidecar', 0);

    my $sleeps = $t->ask('sleep=20000 say=late', model => 'test');
    ok $t->wait_for(sub {
        $t->result($sleeps)->{json}{status} eq 'running' }, 15), 'one runs';

    my $start = time;
    my $res = cancel($sleeps);
    is $res->{status}, 200, 'a_job_that_runs_can_be_cancelled';
    ok $res->{json}{status} eq 'cancelled'
        || $res->{json}{status} eq 'running'
           && $res->{json}{cancel_requested}
           && $res->{headers}{'retry-after'},
        'it_is_running_with_cancel_requested_until_it_has_stopped'
        or diag $res->{content};
    my $end = $t->wait_for_answer($sleeps);
    is $end->{status}, 'cancelled', 'it ends as cancelled';
    cmp_ok time - $start, '<', 5 * $t->slow, 'within_a_second';
    is $end->{error}{code}, 'cancelled', 'with its error';
    like $end->{completed_at}, qr/Z$/, 'and its end';

    # the flag itself, by a worker that does not listen
    $t->freeze('sidecar', 0);
    my $stuck = $t->ask('x');
    $t->redis('HSET', "$P:j:$stuck", 'state', 'running', 'sub', 'run',
              'worker', 'nobody', 'lease', 1);
    $res = cancel($stuck);
    is_deeply [@{ $res->{json} }{qw(status cancel_requested)}],
        ['running', JSON::PP::true], 'cancel_requested_while_it_stops';
    ok $t->result($stuck)->{json}{cancel_requested}, 'GET says so, too';
    $t->redis('HSET', "$P:j:$stuck", 'state', 'queued', 'sub', 'ready');
    $t->redis('HDEL', "$P:j:$stuck", 'worker', 'cancel');
    $t->thaw('sidecar', 0);

    my $done = $t->ask_and_wait('say=hello', model => 'test');
    is $done->{status}, 'succeeded', 'another is done';
    $res = cancel($done->{query_id});
    is $res->{status}, 200, 'a_job_that_has_ended_answers_its_state';
    is $res->{json}{status}, 'succeeded', 'as it ended';
    like $res->{json}{response}, qr/hello/, 'with its response';

    is remove($done->{query_id})->{status}, 200, 'an ended job is deleted';
    is says($t->result($done->{query_id})), '410 gone', 'and gone';
    ok $t->wait_for(sub { row($done->{query_id})->[1] }, 10),
        'the ledger has heard of it';
    my $row = row($done->{query_id});
    is_deeply [@$row[0, 1, 2]], ['succeeded', 1, 1],
        'the_row_keeps_its_state_and_loses_its_request';
    is $t->sql('admin', 'SELECT count(*) FROM trifecta.job_result WHERE job'
        . ' = ?', $done->{query_id})->[0][0], 0, 'and its result';
    is says($t->result($done->{query_id})), '410 gone', 'it stays gone';

    my $running = $t->ask('sleep=20000 say=late', model => 'test');
    ok $t->wait_for(sub {
        $t->result($running)->{json}{status} eq 'running' }, 15), 'one runs';
    is remove($running)->{status}, 200, 'a_job_that_runs_is_deleted';
    is says($t->result($running)), '410 gone', 'and gone at once';
    ok $t->wait_for(sub { my $r = row($running); $r && $r->[0] eq 'cancelled'
                          && $r->[1] }, 15), 'its row ends as cancelled';
    ok $t->wait_for(sub {
        !defined $t->redis('ZSCORE', "$P:live", $running) }, 20),
        'it is open no more';
    is says($t->result($running)), '410 gone', 'it stays gone';
}

$t->finish;
done_testing;
