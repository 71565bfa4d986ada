# The function library in Redis, called as module and sidecar call it, without
# either of them: what each function does, answers and leaves behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;
use Trifecta::Test::Queue;

my $t = Trifecta::Test->new(start => 0,
                            redis_conf => "maxmemory 64mb\n");
use_queue($t);

is_deeply(scalar submit(), ['NOTREADY'],
    'submit_to_a_redis_without_an_epoch_is_refused');
is_deeply($r->cmd('KEYS', '*'), [], 'and writes nothing');
is_deeply(look('t', 'o', 'x'), ['NOTREADY'],
    'look_in_a_redis_without_an_epoch_does_not_say_that_a_job_is_absent');
is_deeply(epoch(7), ['OK'], 'the first epoch is taken');
is_deeply(epoch(7), ['HAS', 7], 'an_epoch_that_is_there_stays');

$r->cmd('DEL', "$P:meta");
is_deeply(epoch(9), ['OK'],
    'an_epoch_can_be_started_when_only_the_meta_hash_was_lost');

# submit

fresh();
my ($reply, $id) = submit();
is_deeply([@$reply[0, 1, 3, 4]], ['OK', $id, 1, 1],
    'submit_answers_ok_id_and_the_depths');
my $again = submit(job(id => $id));
is_deeply([@$again[0 .. 2]], ['DUP', $id, $reply->[2]],
    'submit_of_the_same_id_again_enqueues_nothing');
is($r->cmd('XLEN', "$P:r:1"), 1, 'one entry in the stream');
is($r->cmd('XLEN', "$P:acc"), 1, 'one entry in the accept log');
is_deeply([@{ look('t', 'o', $id) }[0, 1, 3, 4, 5]], ['queued', 0, 'm', 0, 1],
    'look says where the job stands');
is_deeply(look('t', 'p', $id), ['ABSENT'],
    'look_of_another_owner_is_absent');
is_deeply(look('s', 'o', $id), ['ABSENT'],
    'look_of_another_tenant_is_absent');

$r->cmd('HSET', "$P:meta", 'paused', 1);
is_deeply(scalar submit(), ['PAUSED'], 'submit_while_paused_is_refused');
$r->cmd('HDEL', "$P:meta", 'paused');

is_deeply(scalar submit(max => 1), ['QFULL', 1, 1],
    'submit_at_the_bound_of_the_shard_is_refused');
is_deeply(scalar submit(tmax => 1), ['TFULL', 1, 1],
    'submit_at_the_bound_of_the_tenant_is_refused');
is((submit(tenant => 'u', tmax => 1))[0][0], 'OK',
    'and another tenant is not affected');
counts_agree('counts agree');

# stats

is_deeply(do { my %s = @{ $r->cmd('FCALL_RO', 'trifecta_stats_v1', 1, $P) };
               [@s{qw(live ready running parked delayed dead epoch paused)}] },
    [2, 2, 0, 0, 0, 0, 1, 0], 'stats says what the sets hold');

fresh();
submit() for 1 .. 20;
submit(delay => 60000);
claim('w1', 3);
is_deeply(do { my %s = @{ $r->cmd('FCALL_RO', 'trifecta_stats_v1', 1, $P) };
               cmp_ok($s{oldest}, '<', 60000, 'and how old the oldest is');
               [@s{qw(live ready running parked delayed acc workers)}] },
    [21, 16, 3, 1, 1, 21, 1],
    'stats_tells_ready_running_parked_and_delayed_apart');
$r->cmd('FLUSHALL');
is_deeply($r->cmd('FCALL_RO', 'trifecta_stats_v1', 1, $P), ['NOTREADY'],
    'stats_of_a_redis_without_an_epoch');

# a ledger that does not keep up

fresh();
$r->cmd('EVAL', "for i = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'a', 1)"
    . ' end', 1, "$P:acc");
is((submit())[0][0], 'QFULL',
    'jobs_that_the_ledger_has_not_written_yet_are_bounded_too');

# park

fresh();
submit() for 1 .. 20;
is(card('t:t:ready'), 16, 'the_17th_job_of_a_tenant_is_parked');
is(card('t:t:park'), 4, 'and so are those behind it');
submit(tenant => 'u');
is(card('t:u:ready'), 1, 'while another tenant goes straight to the stream');
my @got = claim('w1', 3);
is(scalar @got, 3, 'claim hands out what was asked for');
is(card('t:t:ready'), 16, 'each_claim_promotes_the_next_parked_job');
is(card('t:t:park'), 1, 'in its turn');
counts_agree('counts agree with parked jobs');
is_deeply([map $_->{id}, @got],
    [sort map $_->{id}, @got], 'in the order of arrival');

# priorities

fresh();
submit(prio => $_) for 2, 1, 0;
is_deeply([map $_->{prio}, claim('w1', 3)], [0, 1, 2],
    'claim_takes_the_highest_priority_first');
submit(prio => $_) for 0, 1, 2;
is_deeply([map $_->{prio}, claim('w1', 3, 1)], [2, 1, 0],
    'or the lowest when it is asked to');

# claim and what it drops

fresh();
$r->cmd('XADD', "$P:r:1", '*', 'id', 'stranger');
$r->cmd('XADD', "$P:r:1", '*', 'what', 'ever');
(undef, my $gone) = submit();
$r->cmd('DEL', "$P:j:$gone");
$r->cmd('ZREM', "$P:$_", $gone) for 'live', 't:t:live', 't:t:ready';
(undef, my $good) = submit();
is_deeply([map $_->{id}, claim('w1', 10)], [$good],
    'claim_drops_entries_of_strangers_and_of_jobs_that_are_gone');
is($r->cmd('XLEN', "$P:r:1"), 1, 'from the stream too');

fresh();
(undef, my $late) = submit(limit => 1);
sleep 0.05;
is_deeply([claim('w1', 1)], [], 'claim_does_not_hand_out_an_expired_job');
is(look('t', 'o', $late)->[0], 'failed', 'but ends it');
my @log = map { $_->[1] } @{ $r->cmd('XRANGE', "$P:acc", '-', '+') };
is_deeply(\@log, [['op', 'new', 'id', $late], ['op', 'expire', 'id', $late]],
    'and tells the ledger');
is($r->cmd('TTL', "$P:j:$late"), -1, 'which has not seen it yet');
ledger_all();
cmp_ok($r->cmd('TTL', "$P:j:$late"), '>', 0,
    'ledgered_lets_an_ended_job_expire');
nothing_is_left('an_expired_job_leaves_nothing_behind');

fresh();
submit(limit => 1) for 1 .. 16;
(undef, $good) = submit();
is($r->cmd('HGET', "$P:j:$good", 'sub'), 'parked', 'one is parked');
sleep 0.05;
is_deeply([map $_->{id}, claim('w1', 1)], [$good],
    'expired_jobs_make_room_for_the_parked_one');

fresh();
my @parked = map { (submit())[1] } 1 .. 36;
splice @parked, 0, 16;
$r->cmd('HSET', "$P:j:$parked[1]", 'acc', 'nan');
$r->cmd('HSET', "$P:j:$parked[3]", 'prio', '9');
$r->cmd('DEL', "$P:j:$parked[5]");
claim('w1', 16);
is_deeply([map $_->{id}, claim('w1', 17)],
    [@parked[0, 2, 4, 6 .. $#parked]],
    'a_damaged_parked_job_takes_no_place_and_stops_none_of_the_others');
is($r->cmd('EXISTS', "$P:r:9"), 0, 'and makes no stream of its own');
is(card('t:t:park') . card('t:t:ready'), '00', 'nobody is left behind');

fresh();
my ($last) = @{ fcall('claim', 'w1', 1, 0) };
is_deeply([@$last[3 .. 5]], [map { { @{ $r->cmd('XINFO', 'STREAM', "$P:r:$_") } }
                        ->{'last-generated-id'} } 0 .. 2],
    'claim_says_behind_which_ids_to_wait_when_it_has_nothing');

# leases

fresh();
submit();
my ($job) = claim('w1', 1);
is($job->{lease}, 1, 'the first claim is lease 1');
my @held = ($job->{id}, 1);
is_deeply(fcall('started', 'w1', @held, 1), ['OK'], 'started by the holder');
is_deeply(fcall('started', 'w2', @held, 1), ['FENCED'],
    'started_by_another_worker_is_fenced');
is_deeply(fcall('started', 'w1', $job->{id}, 2, 1), ['FENCED'],
    'started_under_another_lease_is_fenced');
is_deeply(fcall('heartbeat', 'w1', @held), ['OK'], 'heartbeat of the holder');
is_deeply(fcall('heartbeat', 'w2', @held), ['LOST'],
    'heartbeat_of_another_worker_is_lost');
is_deeply(fcall('heartbeat', 'w1', @held, 'x', 1), ['OK', 'LOST'],
    'heartbeat answers for each job');
$r->cmd('HSET', "$P:j:$job->{id}", 'cancel', 1);
is_deeply(fcall('heartbeat', 'w1', @held), ['CANCEL'],
    'heartbeat_tells_of_a_cancel');
$r->cmd('HDEL', "$P:j:$job->{id}", 'cancel');

sleep 0.2;
my $idle = sub { $r->cmd('XPENDING', "$P:r:1", 'w', '-', '+', 1)->[0][2] };
cmp_ok($idle->(), '>=', 150, 'an entry without heartbeat grows idle');
fcall('heartbeat', 'w1', @held);
cmp_ok($idle->(), '<', 150, 'a_heartbeat_resets_the_idle_time');

is_deeply(fcall('finish', 'w2', @held, 'succeeded'), ['FENCED'],
    'finish_by_another_worker_is_fenced');
is_deeply(fcall('finish', 'w1', $job->{id}, 9, 'succeeded'), ['FENCED'],
    'finish_under_another_lease_is_fenced');
is_deeply(fcall('finish', 'w1', @held, 'running'), ['FENCED'],
    'finish_with_a_state_that_is_no_end_is_refused');
is(look('t', 'o', $job->{id})->[0], 'running', 'and changes nothing');
ledger_all();
is($r->cmd('TTL', "$P:j:$job->{id}"), -1, 'an open job does not expire');
is_deeply(fcall('finish', 'w1', @held, 'succeeded'), ['OK'], 'finish');
cmp_ok($r->cmd('TTL', "$P:j:$job->{id}"), '>', 0,
    'finish_lets_the_job_expire');
is_deeply(fcall('finish', 'w1', @held, 'failed'), ['FENCED'],
    'an_ended_job_stays_as_it_ended');
is(look('t', 'o', $job->{id})->[0], 'succeeded', 'indeed');
ledger_all();
nothing_is_left('a_finished_job_leaves_nothing_behind');

# several ends in one call

fresh();
submit(tenant => $_) for qw(t t u v);
my @four = claim('w1', 4);
fcall('cancel', 't', 'o', $four[1]{id});
$r->cmd('HSET', "$P:j:$four[2]{id}", 'sid', 'no id');
submit() for 1 .. 17;
is_deeply(fcall('finish', 'w1',
                $four[0]{id}, 1, 'succeeded', $four[1]{id}, 1, 'cancelled',
                $four[0]{id}, 1, 'failed',    $four[3]{id}, 9, 'succeeded',
                $four[3]{id}, 1, 'running',   $four[2]{id}, 1, 'failed'),
    [qw(OK OK FENCED FENCED FENCED OK)],
    'finish_answers_for_each_of_several_jobs');
is_deeply([map { $r->cmd('HGET', "$P:j:$_->{id}", 'state') } @four],
    [qw(succeeded cancelled failed running)],
    'each has ended as it was said, and the one that is not theirs has not');
is_deeply([map { card("t:$_:run") } qw(t u v)], [0, 0, 1],
    'each is out of the set of its tenant');
is_deeply(fcall('heartbeat', 'w1', map { ($_->{id}, 1) } @four),
    [qw(LOST LOST LOST OK)], 'heartbeat answers for each of them, too');
counts_agree('counts agree after several ends');
is_deeply([@{ look('t', 'o', $four[0]{id}) }[0, 4, 5]], ['succeeded', 0, 0],
    'a_job_that_has_ended_has_no_place_in_the_queue');

fresh();
submit() for 1, 2;
my ($whole, $spoilt) = claim('w1', 2);
$r->cmd('HSET', "$P:j:$spoilt->{id}", 'sid', 'no id');
sleep 0.2;
is_deeply(fcall('heartbeat', 'w1', map { ($_->{id}, 1) } $spoilt, $whole),
    [qw(OK OK)], 'a heartbeat of a job whose entry is spoilt');
cmp_ok((grep { $_->[0] eq $whole->{sid} }
        @{ $r->cmd('XPENDING', "$P:r:1", 'w', '-', '+', 9) })[0][2], '<', 150,
    'one_spoilt_job_does_not_stop_the_heartbeat_of_the_others');

# release

fresh();
submit();
my ($first) = claim('w1', 1);
is_deeply(fcall('release', 'w2', $first->{id}, 1), ['FENCED'],
    'release_by_another_worker_is_fenced');
is_deeply(fcall('release', 'w1', $first->{id}, 1), ['OK'], 'release');
is(look('t', 'o', $first->{id})->[0], 'queued', 'it is queued again');
is_deeply($r->cmd('HMGET', "$P:j:$first->{id}", 'crashes', 'lost'), [0, 0],
    'release_moves_no_counter');
counts_agree('counts agree after a release');
($first) = claim('w1', 1);
is($first->{lease}, 2, 'the next claim is the next lease');
submit() for 1 .. 20;
fcall('release', 'w1', $first->{id}, 2);
is($r->cmd('HGET', "$P:j:$first->{id}", 'sub'), 'parked',
    'a_released_job_is_parked_when_the_tenant_has_enough_ready');
is($r->cmd('ZRANGE', "$P:t:t:park", 0, 0)->[0], $first->{id},
    'as the first of the parked ones');
counts_agree('counts agree after that');

# relet

fresh();
submit();
($job) = claim('w1', 1);
is_deeply(fcall('relet', 'w2', $job->{id}, 1, 5), ['FENCED'],
    'relet_by_another_worker_is_fenced');
is_deeply(fcall('relet', 'w1', $job->{id}, 1, 5), ['OK', 6],
    'relet_gives_a_lease_above_the_one_that_the_row_has_seen');
is_deeply(fcall('heartbeat', 'w1', $job->{id}, 6), ['OK'], 'which holds');

# reclaim

fresh();
submit();
($job) = claim('w1', 1);
fcall('started', 'w1', $job->{id}, 1, 1);
sleep 0.2;
is_deeply([reclaim('w2', 5, 100)], [],
    'after_an_outage_nothing_is_reclaimed_for_one_lease');
is_deeply([reclaim('w2', 5, 100)], [], 'not a moment later either');
sleep 0.15;
is_deeply([reclaim('w2', 0, 100)], [], 'nor when nothing was asked for');
my ($taken) = reclaim('w2', 5, 100);
is_deeply([@$taken{qw(what id lease)}], ['RUN', $job->{id}, 2],
    'reclaim_hands_a_job_over_under_the_next_lease');
is_deeply(fcall('finish', 'w1', $job->{id}, 1, 'succeeded'), ['FENCED'],
    'the_worker_that_lost_its_lease_cannot_finish');
is_deeply([reclaim('w3', 5, 100)], [], 'it is handed over once');
counts_agree('counts agree after a reclaim');

for my $crash (2, 3) {
    fcall('started', 'w' . $crash, $taken->{id}, $taken->{lease}, $crash);
    $r->cmd('ZREM', "$P:wk", 'w' . $crash);     # not seen any more
    sleep 0.12;
    no_outage();
    ($taken) = reclaim('w' . ($crash + 1), 5, 100);
    is($taken->{what}, 'RUN', "crash $crash: it runs again");
}
fcall('started', 'w4', $taken->{id}, $taken->{lease}, 4);
$r->cmd('ZREM', "$P:wk", 'w4');
sleep 0.12;
no_outage();
($taken) = reclaim('w5', 5, 100);
is($taken->{what}, 'DEAD', 'a_job_that_crashed_four_workers_is_dead');
fcall('finish', 'w5', $taken->{id}, $taken->{lease}, 'dead');
ledger_all();
nothing_is_left('a_dead_job_leaves_nothing_behind');

fresh();
submit();
claim('w1', 1);
no_outage();
sleep 0.12;
reclaim('w2', 1, 100);
is_deeply($r->cmd('HMGET', "$P:j:" . sprintf('00000000-0000-7000-8000-%012x',
    $next), 'crashes', 'lost'), [0, 1],
    'a_lease_lost_before_the_job_had_begun_is_no_crash');

# A worker that died was seen after the entry: with leases of 10 s

sub idle_since {
    my ($seconds, $worker, $seen) = @_;
    $r->cmd('XCLAIM', "$P:r:1", 'w', $worker, 0, $r->cmd('HGET',
        "$P:j:$job->{id}", 'sid'), 'IDLE', 1000 * $seconds, 'JUSTID');
    $r->cmd('ZADD', "$P:wk", ($r->cmd('TIME')->[0] - $seen) * 1000, $worker);
    no_outage();
}

fresh();
submit();
($job) = claim('w1', 1);
fcall('started', 'w1', $job->{id}, 1, 1);
idle_since(15, 'w1', 5);
is_deeply([reclaim('w2', 1, 10000)], [],
    'a_job_that_runs_is_not_taken_from_a_worker_that_was_just_seen');
idle_since(15, 'w1', 12);
($job) = reclaim('w2', 1, 10000);
is_deeply($r->cmd('HMGET', "$P:j:$job->{id}", 'crashes', 'lost'), [1, 0],
    'when_it_is_not_seen_for_a_lease_it_has_crashed');
fcall('started', 'w2', $job->{id}, $job->{lease}, 2);
idle_since(25, 'w2', 1);
($job) = reclaim('w3', 1, 10000);
is_deeply($r->cmd('HMGET', "$P:j:$job->{id}", 'crashes', 'lost'), [1, 1],
    'when_it_is_seen_for_a_second_lease_it_has_lost_its_lease');

fresh();
submit(limit => 150);
($job) = claim('w1', 1);
no_outage();
sleep 0.2;
($taken) = reclaim('w2', 1, 100);
is($taken->{what}, 'EXPIRED',
    'a_reclaimed_job_past_its_deadline_is_handed_over_to_be_failed');

for my $limit (600000, 150) {
    fresh();
    submit(limit => $limit);
    ($job) = claim('w1', 1);
    is_deeply(fcall('cancel', 't', 'o', $job->{id}), ['SIGNALLED'],
        'one that runs is cancelled');
    no_outage();
    sleep 0.2;
    ($taken) = reclaim('w2', 1, 100);
    is($taken->{what}, 'CANCELLED',
        'a_reclaimed_job_that_was_cancelled_is_handed_over_to_be_ended');
}

fresh();
submit();
($job) = claim('w1', 1);
fcall('cancel', 't', 'o', $job->{id});
fcall('release', 'w1', $job->{id}, $job->{lease});
is((claim('w2', 1))[0]{what}, 'CANCELLED',
    'and_so_is_one_that_was_released_before_it_stopped');

fresh();
submit();
claim('w1', 1);
no_outage();
sleep 0.12;
is((reclaim('w1', 1, 100))[0]{lease}, 2,
    'a_worker_takes_over_its_own_job_when_the_answer_to_its_claim_was_lost');

# Idempotency-Key

fresh();
my $key = 'ab' x 32;
($reply, $id) = submit(idem => $key, fp => 'f1');
is($reply->[0], 'OK', 'a new Idempotency-Key');
is_deeply(scalar submit(idem => $key, fp => 'f1'), ['REPLAY', $id],
    'the_same_key_and_body_again_is_a_replay_of_the_first_job');
is_deeply(scalar submit(idem => $key, fp => 'f2'), ['CONFLICT', $id],
    'the_same_key_with_another_body_is_a_conflict');
is(submit(job(id => $id, idem => $key, fp => 'f1'))->[0], 'DUP',
    'a_resend_of_the_very_same_submit_is_no_replay');
is((submit(idem => $key, fp => 'f2', tenant => 'u'))[0][0], 'OK',
    'the key of another tenant is another key');
is($r->cmd('XLEN', "$P:r:1"), 2, 'no second job');
cmp_ok($r->cmd('PTTL', "$P:idem:t:$key"), '>', 86_000_000,
    'a key is kept for a day');
is_deeply(scalar submit(idem => $key, fp => 'f1', max => 0), ['REPLAY', $id],
    'a replay passes when the queue is full');

# rate limits

sub lim {
    my @l = @_;
    my %o = (nlim => scalar @l);
    for my $i (1 .. @l) {
        my ($name, $k, $quota, $window) = @{ $l[$i - 1] };
        @o{"lim$i", "lim${i}k", "lim${i}q", "lim${i}w"}
            = ($name, $k, $quota, $window);
    }
    return %o;
}

fresh();
my @user = lim(['user', 'u1', 3, 60000]);
is_deeply([map { $_->[0] } map { scalar submit(@user) } 1 .. 4],
    [qw(OK OK OK LIMITED)], 'gcra_admits_the_quota_at_once_and_no_more');
$reply = submit(@user);
is_deeply([@$reply[2 .. 6]], ['user', 'user', 3, 60000, 0],
    'and names the policy, its quota, its window, and that nothing is left');
cmp_ok($reply->[1], '>', 19000, 'says how long to wait');
cmp_ok($reply->[1], '<=', 20000, 'which is one step');
is($r->cmd('XLEN', "$P:r:1"), 3, 'what was refused is not enqueued');
is((submit(lim(['user', 'u2', 3, 60000])))[0][0], 'OK',
    'another key has a quota of its own');
$reply = submit(lim(['user', 'u3', 5, 60000]));
is_deeply([@$reply[5 .. 8]], ['user', 5, 60000, 4],
    'an admitted request says what is left');

is_deeply([map { $_->[0] } map { scalar submit(lim(['user', 'u4', 1e9, 1000])) }
           1, 2], [qw(OK OK)],
    'a_quota_that_is_too_high_to_count_admits_all');

fresh();
submit(lim(['user', 'a', 10, 60000], ['tenant', 't', 1, 60000]));
is((submit(lim(['user', 'a', 10, 60000], ['tenant', 't', 1, 60000])))[0][2],
    'tenant', 'every policy counts');
$reply = submit(lim(['user', 'a', 10, 60000]));
is($reply->[8], 8, 'a_request_that_one_policy_refuses_is_charged_to_none');

fresh();
submit(lim(['user', 'a', 2, 200])) for 1, 2;
is((submit(lim(['user', 'a', 2, 200])))[0][0], 'LIMITED', 'used up');
sleep 0.12;
is((submit(lim(['user', 'a', 2, 200])))[0][0], 'OK', 'it refills');
$r->cmd('SET', "$P:lim:user:a", 9e15);
my $wait = submit(lim(['user', 'a', 2, 200]))->[1];
cmp_ok($wait, '<=', 100, 'a_clock_that_went_back_locks_nobody_out');
sleep 0.12;
is((submit(lim(['user', 'a', 2, 200])))[0][0], 'OK', 'after_that_wait');
cmp_ok($r->cmd('PTTL', "$P:lim:user:a"), '<=', 200, 'and nothing stays');

my %two = (nlim => 2, lim1 => 'a', lim1k => 'x', lim1q => 3, lim1w => 60000,
           lim2 => 'b', lim2k => 'y', lim2q => 2, lim2w => 60000);
my $log = $r->cmd('XLEN', "$P:acc");
is_deeply([@{ fcall('limit', %two) }[0, 1, 4, 6, 9]], ['OK', 'a', 2, 'b', 1],
    'limit charges without a job');
fcall('limit', %two);
is_deeply([@{ fcall('limit', %two) }[0, 2, 6, 11]], ['LIMITED', 'b', 1, 0],
    'limit_charges_all_policies_or_none');
is($r->cmd('XLEN', "$P:acc"), $log, 'and makes nothing else');

# delayed jobs and retries

fresh();
(undef, $id) = submit(delay => 100);
is(card('dly'), 1, 'a delayed job waits');
is_deeply([claim('w1', 1)], [], 'and is not handed out');
is(fcall('pump', 10), 0, 'pump before its time does nothing');
counts_agree('counts agree with a delayed job');
sleep 0.12;
is(fcall('pump', 10), 1, 'pump_puts_a_due_job_into_its_stream');
is(card('dly'), 0, 'out of the delayed ones');
($job) = claim('w1', 1);
is($job->{id}, $id, 'and it is handed out');
is($job->{dl} - $job->{acc}, 60100, 'its deadline counts from its time');

is_deeply(fcall('retry', 'w2', $id, 1, 50), ['FENCED'],
    'retry_by_another_worker_is_fenced');
is((fcall('retry', 'w1', $id, 1, 50))->[0], 'OK', 'retry');
is(look('t', 'o', $id)->[0], 'queued', 'it is queued again');
is($r->cmd('HGET', "$P:j:$id", 'fails'), 1, 'a failure was counted');
is($r->cmd('XLEN', "$P:r:1"), 0, 'its entry is gone');
counts_agree('counts agree after a retry');
sleep 0.06;
fcall('pump', 10);
($job) = claim('w1', 1);
is_deeply([@$job{qw(id lease fails)}], [$id, 2, 1],
    'and it comes again, under the next lease');

fresh();
submit(delay => 1) for 1 .. 20;
sleep 0.01;
is(fcall('pump', 100), 20, 'twenty are due');
is(card('t:t:ready'), 16, 'pump parks what is too much');
counts_agree('counts agree');

# cancel

for my $case (['ready', {}], ['parked', {}], ['delayed', { delay => 60000 }]) {
    my ($sub, $o) = @$case;
    fresh();
    if ($sub eq 'parked') { submit() for 1 .. 16 }
    (undef, $id) = submit(%$o);
    is($r->cmd('HGET', "$P:j:$id", 'sub'), $sub, "a $sub job");
    is_deeply(fcall('cancel', 't', 'p', $id), ['ABSENT'],
        'cancel_by_another_owner_finds_nothing');
    is_deeply(fcall('cancel', 't', 'o', $id), ['CANCELLED'], 'is cancelled');
    is(look('t', 'o', $id)->[0], 'cancelled', 'at once');
    is_deeply(fcall('cancel', 't', 'o', $id), ['cancelled'],
        'again: its state');
    counts_agree('counts agree');
    my @never = grep { $_->{id} eq $id } claim('w1', 100);
    is_deeply(\@never, [], "a_cancelled_${sub}_job_never_runs");
    is($r->cmd('TTL', "$P:j:$id"), -1, 'the ledger has not seen it');
    ledger_all();
    cmp_ok($r->cmd('TTL', "$P:j:$id"), '>', 0, 'then it expires');
}

fresh();
(undef, $id) = submit();
($job) = claim('w1', 1);
my $heard = $t->redis_client;
$heard->send('SSUBSCRIBE', "$P:w:w1");
$heard->reply;
is_deeply(fcall('cancel', 't', 'o', $id), ['SIGNALLED'],
    'cancel_of_a_running_job_is_signalled');
is($heard->reply->[2], "cancel $id 1", 'its worker hears it');
is(look('t', 'o', $id)->[0], 'running', 'until it has stopped');
is_deeply(fcall('heartbeat', 'w1', $id, 1), ['CANCEL'],
    'and hears it with its heartbeat');
fcall('finish', 'w1', $id, 1, 'cancelled');
ledger_all();
nothing_is_left('a_cancelled_job_leaves_nothing_behind');

# What was cancelled stays in the stream until a claim drops it; nobody may
# hold up the whole server by cancelling a lot before one comes.

fresh();
(undef, $id) = submit();
my @flood = map { (submit())[1] } 1 .. 15;

for (1 .. 80) {
    fcall('cancel', 't', 'o', $_) for @flood;
    @flood = map { (submit())[1] } 1 .. 15;
}
fcall('cancel', 't', 'o', $_) for @flood;

{
    my $entries = $r->cmd('XLEN', "$P:r:1");
    my $reply = fcall('claim', 'w1', 4, 0);

    cmp_ok($entries - $r->cmd('XLEN', "$P:r:1"), '<=', 510,
        'one_claim_drops_a_bounded_number_of_entries');
    is(scalar @{ $reply->[0] }, 3,
        'and does not say that there is nothing to wait for');
    is($reply->[1][1], $id, 'what it found is handed out');

    my $more = 10;
    do { $reply = fcall('claim', 'w1', 4, 0) }
        while @{ $reply->[0] } < 6 && --$more;
    is(scalar @{ $reply->[0] }, 6, 'the next ones drop the rest');
    is($r->cmd('XLEN', "$P:r:1"), 1, 'all of it');
}

# the doorbell

fresh();
(undef, $id) = submit();
$heard = $t->redis_client;
$heard->send('SSUBSCRIBE', "$P:c:$id");
$heard->reply;
claim('w1', 1);
is_deeply($heard->reply, ['smessage', "$P:c:$id", 'running'],
    'the_doorbell_rings_when_a_job_begins');
fcall('release', 'w1', $id, 1);
is($heard->reply->[2], 'queued', 'when it goes back');
claim('w1', 1);
is($heard->reply->[2], 'running', 'and begins again');
fcall('retry', 'w1', $id, 2, 0);
is($heard->reply->[2], 'queued', 'when it is put off');
fcall('pump', 10);
claim('w1', 1);
$heard->reply;
fcall('cancel', 't', 'o', $id);
is($heard->reply->[2], 'running', 'when it is told to stop');
fcall('finish', 'w1', $id, 3, 'succeeded');
is($heard->reply->[2], 'succeeded', 'the_doorbell_rings_when_a_job_ends');
fcall('delete', 't', 'o', $id);
is($heard->reply->[2], 'deleted', 'and when it is deleted');

# delete

fresh();
(undef, $id) = submit();
is_deeply(fcall('delete', 't', 'p', $id), ['GONE'],
    'delete_by_another_owner_does_nothing');
is(look('t', 'o', $id)->[0], 'queued', 'it is still there');
is_deeply(fcall('delete', 't', 'o', $id), ['DELETED'],
    'a waiting job is deleted');
is_deeply(look('t', 'o', $id), ['DELETED'], 'polls say so');
is($r->cmd('HEXISTS', "$P:j:$id", 'payload'), 0, 'its request is erased');
is_deeply(fcall('delete', 't', 'o', $id), ['GONE'], 'again: gone');
is_deeply(fcall('cancel', 't', 'o', $id), ['DELETED'], 'no cancel either');
is_deeply([claim('w1', 1)], [], 'it never runs');
ledger_all();
nothing_is_left('a_deleted_job_leaves_nothing_behind');

fresh();
(undef, $id) = submit();
claim('w1', 1);
is_deeply(fcall('delete', 't', 'o', $id), ['DELETED'],
    'a running job is deleted');
is_deeply(fcall('heartbeat', 'w1', $id, 1), ['CANCEL'], 'its worker stops');
fcall('finish', 'w1', $id, 1, 'cancelled');
is_deeply(look('t', 'o', $id), ['DELETED'], 'it stays deleted');
ledger_all();
nothing_is_left('and leaves nothing behind');

fresh();
is_deeply(fcall('delete', 't', 'o', 'long-ago'), ['DELETED'],
    'delete_of_a_job_that_redis_forgot_leaves_a_tombstone');
is_deeply(look('t', 'o', 'long-ago'), ['DELETED'], 'polls say so');
ledger_all();
cmp_ok($r->cmd('TTL', "$P:j:long-ago"), '>', 0, 'which goes in time');
is_deeply(fcall('delete', 'x', 'y', 'long-ago'), ['GONE'],
    'and belongs to its owner');

# Redis is full

fresh();
submit();
($job) = claim('w1', 1);
my $full;
for (1 .. 2000) {
    $full = eval { submit(payload => 'x' x 100_000); 1 } ? undef : $@;
    last if $full;
}
like($full, qr/OOM/, 'submit_to_a_full_redis_is_refused');
$r->cmd('CONFIG', 'SET', 'maxmemory', '1mb');
is_deeply(fcall('heartbeat', 'w1', $job->{id}, 1), ['OK'],
    'a_full_redis_still_takes_heartbeats');
is_deeply(fcall('finish', 'w1', $job->{id}, 1, 'succeeded'), ['OK'],
    'a_full_redis_can_finish_what_it_holds');
cmp_ok(scalar(claim('w1', 2)), '==', 2, 'and hands out what waits');

$r->cmd('CONFIG', 'SET', 'maxmemory', '64mb');

# Anything at random, and the sets agree.

my $seed = $ENV{TRIFECTA_SEED} // time;
diag "TRIFECTA_SEED=$seed";
srand $seed;
fresh();
no_outage();
my (%open, $wrong);

for my $step (1 .. 1500) {
    my $w = 'w' . int rand 3;
    my $what = rand;
    my ($one) = (keys %open)[rand keys %open];

    if ($what < 0.45) {
        submit(tenant => substr('abc', rand 3, 1),
               prio => int rand 3, limit => rand() < 0.05 ? 1 : 60000,
               rand() < 0.1 ? (delay => 1) : ());
    } elsif ($what < 0.6) {
        $open{$_->{id}} = [$w, $_->{lease}] for claim($w, 1 + int rand 4);
    } elsif ($what < 0.65) {
        $open{$_->{id}} = [$w, $_->{lease}] for reclaim($w, 3, 1);
    } elsif ($what < 0.7) {
        fcall('pump', 3);
    } elsif ($what < 0.74) {
        my ($any) = $r->cmd('ZRANDMEMBER', "$P:live") // '';
        fcall($what < 0.72 ? 'cancel' : 'delete',
              $r->cmd('HGET', "$P:j:$any", 'tenant') // 'a', 'o', $any);
    } elsif ($one && $what < 0.8) {
        fcall('retry', $open{$one}[0], $one, $open{$one}[1], 2);
        delete $open{$one};
    } elsif ($one && $what < 0.9) {
        fcall('finish', $open{$one}[0], $one, $open{$one}[1], 'succeeded');
        delete $open{$one};
    } elsif ($one) {
        fcall('release', $open{$one}[0], $one, $open{$one}[1]);
        delete $open{$one};
    }

    if ($step % 100 == 0) {
        my $parts = card('dly');
        for my $set (map { my $x = $_; map { "t:$x:$_" } qw(ready run park) }
                     qw(a b c))
        {
            my $n = card($set);
            $parts += $n;
            $wrong ||= "step $step: $set has $n" if $set =~ /ready/ && $n > 16;
        }
        $wrong ||= "step $step: " . card('live') . " live, $parts in sets"
            if card('live') != $parts;
    }
}

is($wrong, undef, 'after_any_sequence_live_is_ready_and_parked_and_running');

sleep 0.01;
fcall('pump', 1000);

for (1 .. 3000) {
    my ($j) = claim('w9', 1) or last;
    fcall('finish', 'w9', $j->{id}, $j->{lease}, 'succeeded');
}
fcall('finish', $open{$_}[0], $_, $open{$_}[1], 'failed') for keys %open;
ledger_all();
nothing_is_left('when_all_has_ended_nothing_is_left');

$r->cmd('FLUSHALL');
$t->finish;
done_testing;
