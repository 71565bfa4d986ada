# The reconciler: single jobs that one store knows and the other does not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => {
    threads => 1, lease => '1500ms', heartbeat => '300ms',
    reconcile => '700ms' });
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $JOB = "SELECT state, attempt, error->>'code' FROM trifecta.job
    WHERE id = ?";

sub test_job {
    my ($script, %o) = @_;
    my $res = $t->post('/api/v1/query',
        { query => $script, model => 'test' }, %o);
    is($res->{status}, 202, "accepted: $script") or diag $res->{content};
    return $res->{json}{query_id};
}

sub state_of { $t->result($_[0])->{json}{status} // '?' }

sub until_state {
    my ($id, $state, $seconds) = @_;
    return $t->wait_for(sub { state_of($id) eq $state },
        ($seconds // 20) * $slow);
}

sub row { $t->sql('admin', $JOB, $_[0])->[0] }

sub until_row {
    my ($id, @want) = @_;
    return $t->wait_for(sub {
        my $row = row($id) or return;
        !grep { ($row->[$_] // '') ne $want[$_] } 0 .. $#want;
    }, 20 * $slow);
}

sub done {
    my ($what) = @_;
    return ($t->sidecar_get(0, '/metrics')->{content} =~
        /^trifecta_reconciled_total\{shard="0",what="$what"\} (\d+)/m)[0] // 0;
}

my %before;

sub expecting { $before{$_} = done($_) for @_ }

sub counted {
    my ($what, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok($t->wait_for(sub { done($what) > $before{$what} }, 10 * $slow),
        $name // "it is counted as $what");
}

# Whether a round began and ended since.

sub a_round {
    my ($n) = $t->sidecar_get(0, '/metrics')->{content}
        =~ /^trifecta_reconcile_rounds_total\S* (\d+)/m;
    return $t->wait_for(sub {
        my ($now) = $t->sidecar_get(0, '/metrics')->{content}
            =~ /^trifecta_reconcile_rounds_total\S* (\d+)/m;
        $now >= $n + 2;
    }, 20 * $slow);
}

# All that Redis has of a job is gone.

sub forget {
    my ($id) = @_;
    $t->redis('DEL', "$P:j:$id");
    $t->redis('ZREM', "$P:$_", $id) for 'live', 'dly', map { "t:default:$_" }
        qw(live ready run park);
}

# One thread is busy, so that what follows waits.

my $busy = test_job('sleep=30000 say=busy');
ok(until_state($busy, 'running'), 'the only thread has work');

sub waiting {
    my $id = test_job(@_);
    ok(until_row($id, 'queued'), 'it has its row');
    return $id;
}


# in PostgreSQL, not in Redis

expecting('restored');
my $id = waiting('say=absent');
forget($id);
ok($t->wait_for(sub { $t->redis('EXISTS', "$P:j:$id") }, 10 * $slow),
    'an_open_row_that_redis_does_not_have_is_put_back');
counted('restored');
$t->invariants_hold('into every set');

$id = waiting('say=delayed');
$t->sql('queue', "UPDATE trifecta.job SET run_at = now() + interval '1 hour'
    WHERE id = ?", $id);
forget($id);
ok($t->wait_for(sub { ($t->redis('HGET', "$P:j:$id", 'sub') // '')
    eq 'delayed' }, 10 * $slow), 'a_delayed_one_keeps_its_time');
$t->redis('FCALL', 'trifecta_cancel_v1', 1, $P, 'default',
    $t->redis('HGET', "$P:j:$id", 'owner'), $id);


# in Redis, not in PostgreSQL

expecting('relogged');
$id = waiting('say=norow');
$t->sql('admin', 'DELETE FROM trifecta.job WHERE id = ?', $id);
ok(until_row($id, 'queued'), 'an_open_job_without_a_row_gets_one');
counted('relogged');

my $cancelled = waiting('say=cancelled');
$t->request('POST', "/api/v1/query/$cancelled/cancel");
SKIP: {
    skip 'cancel has another path', 2 unless until_row($cancelled, 'cancelled');
    $t->sql('admin', "UPDATE trifecta.job SET state = 'queued', error = NULL,
        finished = NULL WHERE id = ?", $cancelled);
    ok(until_row($cancelled, 'cancelled'),
        'an_end_that_redis_knows_is_written_down_again');
    is(row($cancelled)->[2], 'cancelled', 'with its reason');
}


# ended in PostgreSQL, open in Redis

expecting('settled');
$id = waiting('say=settled');
$t->sql('admin', "UPDATE trifecta.job SET state = 'failed', finished = now()
    WHERE id = ?", $id);
ok($t->wait_for(sub { $t->redis('HGET', "$P:j:$id", 'state') eq 'failed' },
    10 * $slow), 'a_waiting_job_that_postgresql_ended_ends_in_redis');
counted('settled');
$t->invariants_hold('out of every set');
cmp_ok($t->redis('TTL', "$P:j:$id"), '>', 0, 'and expires');


# damaged in Redis

expecting('rerun', 'dropped');
my $gone = waiting('say=gone');
$t->redis('DEL', "$P:j:$gone");
my $broken = waiting('say=broken');
$t->redis('HDEL', "$P:j:$broken", 'lease');
ok($t->wait_for(sub { $t->redis('EXISTS', "$P:j:$gone") }, 10 * $slow),
    'a_job_whose_hash_is_gone_comes_back_from_its_row');
ok($t->wait_for(sub { defined $t->redis('HGET', "$P:j:$broken", 'lease') },
    10 * $slow), 'one_whose_hash_is_damaged_does_too');
counted('rerun');
$t->redis('ZADD', "$P:live", 1, 'stranger');
my $nobody = '01930000-0000-7000-8000-000000000001';
$t->redis('ZADD', "$P:live", 1, $nobody);
ok($t->wait_for(sub { !defined $t->redis('ZSCORE', "$P:live", 'stranger')
    && !defined $t->redis('ZSCORE', "$P:live", $nobody) }, 10 * $slow),
    'what_is_no_job_is_dropped');
counted('dropped');
like($t->log_of('sidecar', 0), qr/"stranger\\?".*no job's id/, 'with a word');
like($t->log_of('sidecar', 0), qr/$nobody.*no row either, and is dropped/,
    'each of them');
$t->invariants_hold('and nothing is left of it');

expecting('damaged');
$id = waiting('say=empty');
$t->sql('admin', 'UPDATE trifecta.job SET request = NULL WHERE id = ?', $id);
forget($id);
ok($t->wait_for(sub { row($id)->[0] eq 'failed' }, 10 * $slow),
    'a_row_that_cannot_be_run_ends_as_failed');
is(row($id)->[2], 'queue_entry_damaged', 'and says so');
counted('damaged');


# past its deadline

expecting('expired');
$id = waiting('say=overdue');
$t->sql('admin', "UPDATE trifecta.job SET deadline = now()
    - interval '61 min' WHERE id = ?", $id);
ok($t->wait_for(sub { row($id)->[0] eq 'failed' }, 10 * $slow),
    'a_row_that_is_open_an_hour_past_its_deadline_fails');
is(row($id)->[2], 'deadline_exceeded', 'with that code');
ok($t->wait_for(sub { $t->redis('HGET', "$P:j:$id", 'state') eq 'failed' },
    10 * $slow), 'in Redis too');
counted('expired');


# what is only late is left alone: the ledger cannot write

expecting(qw(relogged restored settled rerun));
$t->sql('admin', 'REVOKE INSERT ON trifecta.job FROM trifecta_queue');
$id = test_job('say=late');
a_round();
cmp_ok(done('relogged'), '==', $before{relogged},
    'a_job_whose_entry_waits_in_the_accept_log_is_not_logged_twice');
cmp_ok($t->redis('XLEN', "$P:acc"), '<=', 3, 'the log does not grow');
$t->sql('admin', 'GRANT INSERT ON trifecta.job TO trifecta_queue');
ok(until_row($id, 'queued'), 'and then it gets its row');


# a result that was lost

$t->request('POST', "/api/v1/query/$busy/cancel");
ok(until_state($id, 'succeeded', 40), 'the thread is free, all of them end');
expecting('rerun');
$t->sql('admin', 'DELETE FROM trifecta.job_result WHERE job = ?', $id);
$t->sql('admin', "UPDATE trifecta.job SET state = 'running', finished = NULL
    WHERE id = ?", $id);
counted('rerun', 'a_job_that_had_succeeded_and_lost_its_result_runs_again');
ok(until_row($id, 'succeeded', 2), 'in another attempt');
$t->idle_holds('nothing is left');


# once is enough

my $quiet = test_job('sleep=4000 say=quiet');
my %done = map { $_ => done($_) } qw(restored relogged settled rerun dropped);
ok(until_state($quiet, 'succeeded'), 'a job that takes longer than a lease');
is_deeply({ map { $_ => done($_) } keys %done }, \%done,
    'a_job_that_both_stores_know_is_left_alone');

$t->finish;
done_testing;
