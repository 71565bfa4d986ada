# The functions with which a queue is rebuilt and reconciled, called without
# module and sidecar.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;
use Trifecta::Test::Queue;

my $t = Trifecta::Test->new(start => 0);
use_queue($t);

my ($id, $reply, $job, @jobs);

# What a row says of a job, as restore takes it.

sub row {
    my (%o) = @_;
    my $now = $r->cmd('TIME')->[0] * 1000;
    my %row = (id => sprintf('00000000-0000-7000-8000-%012x', ++$next),
               tenant => 't', owner => 'o', groups => '["g"]', scopes => '[]',
               kind => 'query', model => 'm', prio => 1, payload => '{"q":1}',
               request_id => 'req', fp => 'f', acc => $now - 5000,
               dl => $now + 60000, lease => 3, %o);
    return ($row{id}, %row);
}

sub restore {
    my ($id, @row) = row(@_);
    return (fcall('restore', @row), $id);
}

# all of its row but the id that row() says first

sub one { my (undef, @row) = row(id => $_[0]); return @row }

sub state_of { $r->cmd('HGET', "$P:j:$_[0]", 'state') }

sub work_one {
    my ($job) = claim('w', 1);
    fcall('started', 'w', $job->{id}, $job->{lease}, 1);
    return $job;
}


# whose queue

is_deeply(fcall('install', 'one'), ['OK'], 'a queue is taken by its installation');
is_deeply(fcall('install', 'one'), ['OK'], 'and known to it again');
is_deeply(fcall('install', 'two'), ['HAS', 'one'],
    'a_queue_of_another_installation_says_whose_it_is');

# a new epoch

fresh();
is_deeply(fcall('rebuild', 1), ['HAS', 1], 'an_epoch_only_grows');
is_deeply(fcall('adopt', 'run:repl', 'store', 7), ['NOTREADY'],
    'a_queue_of_another_epoch_is_not_adopted');
is_deeply(fcall('adopt', 'run:repl', 'store', 1), ['OK'], 'a whole queue is adopted');
is_deeply($r->cmd('HMGET', "$P:meta", 'server', 'store'), ['run:repl', 'store'],
    'by the two servers that belong together');
is_deeply(fcall('rebuild', 2), ['OK'], 'the next epoch');
is_deeply($r->cmd('HMGET', "$P:meta", 'epoch', 'server'), [2, undef],
    'takes the adoption back');
is_deeply(scalar submit(), ['PAUSED'], 'nothing_is_accepted_during_a_rebuild');
fcall('adopt', 'run:repl', 'store');
is((submit())[0][0], 'OK', 'and again once it is adopted');
fcall('adopt', '', '');
is_deeply(scalar submit(), ['PAUSED'],
    'nothing_is_accepted_by_a_queue_that_is_not_adopted');
is($r->cmd('HEXISTS', "$P:meta", 'server'), 0, 'an adoption can be taken back');

$r->cmd('FLUSHALL');
load();
is_deeply(fcall('adopt', 'a', 'b'), ['NOTREADY'],
    'a_queue_without_an_epoch_is_not_adopted');
is_deeply(fcall('rebuild', 3), ['OK'], 'an emptied Redis gets its groups again');
fcall('adopt', 'a', 'b');
(undef, $id) = submit();
is((claim('w', 1))[0]{id}, $id, 'and hands out jobs');
is(fcall('claim', 'w', 1, 0)->[0][0], 3, 'claim says the epoch');
is(fcall('reclaim', 'w', 1, 1000)->[0][0], 3, 'and so does reclaim');

# restore

fresh();
($reply, $id) = restore();
is_deeply($reply, ['OK'], 'a job comes back from its row');
is_deeply(look('t', 'o', $id)->[0], 'queued', 'and waits');
counts_agree('in the sets it belongs to');
($job) = claim('w', 1);
is($job->{lease}, 4, 'a_restored_job_is_claimed_above_the_lease_of_its_row');
is_deeply([@$job{qw(tenant owner groups payload fp)}],
    ['t', 'o', '["g"]', '{"q":1}', 'f'], 'with all that the row had');
is_deeply(fcall('restore', one($id)), ['DUP'],
    'restore_of_a_running_job_changes_nothing');
is($r->cmd('HGET', "$P:j:$id", 'worker'), 'w', 'its worker keeps it');
fcall('finish', 'w', $id, 4, 'succeeded');
is_deeply(fcall('restore', one($id)), ['DUP'],
    'restore_of_an_ended_job_changes_nothing');
is_deeply(fcall('restore', one($id), force => 1), ['OK'],
    'unless it is forced');
is($r->cmd('TTL', "$P:j:$id"), -1, 'it does not expire any more');
work_one();
fcall('finish', 'w', $id, 4, 'succeeded');
ledger_all();
nothing_is_left('a restored job leaves nothing behind');

($reply, $id) = restore(run_at => $r->cmd('TIME')->[0] * 1000 + 60000);
is($r->cmd('HGET', "$P:j:$id", 'sub'), 'delayed',
    'a_restored_job_keeps_its_time');
@jobs = map { (restore())[1] } 1 .. 20;
is(card('t:t:ready'), 16, 'restored_jobs_are_parked_like_others');
counts_agree('all in their sets');

fresh();
(undef, $id) = submit();
fcall('delete', 't', 'o', $id);
is_deeply(fcall('restore', one($id), force => 1), ['DUP'],
    'a_deleted_job_is_never_restored');

fresh();
(undef, $id) = submit();
$r->cmd('DEL', "$P:j:$id");
is_deeply(fcall('restore', one($id)), ['OK'],
    'a job whose hash was lost is restored');
counts_agree('once');
is(scalar(my @got = claim('w', 5)), 1, 'and handed out once');

# idempotency keys

fresh();
is(fcall('restore_idem', 't', 'k1', 'id1', 'fp1', 60000,
         't', 'k2', 'id2', 'fp2', 60000), 2, 'idempotency keys come back');
is_deeply(scalar submit(idem => 'k1', fp => 'fp1'), ['REPLAY', 'id1'],
    'a_restored_idempotency_key_answers_with_the_old_job');
is_deeply(scalar submit(idem => 'k2', fp => 'other'), ['CONFLICT', 'id2'],
    'and refuses another request');
is(fcall('restore_idem', 't', 'k1', 'id9', 'fp9', 60000), 0,
    'a key that is there stays');
cmp_ok($r->cmd('PTTL', "$P:idem:t:k1"), '<=', 60000, 'with what was left of its time');

# check

fresh();
my (undef, $ready) = submit();
my (undef, $delayed) = submit(delay => 60000);
my (undef, $gone) = submit();
my (undef, $broken) = submit();
fcall('delete', 't', 'o', $gone);
$r->cmd('HSET', "$P:j:$broken", 'dl', 'never');
is_deeply(fcall('check', $ready, $delayed, $gone, $broken, 'nobody'),
    [['queued', 'ready', 1, 't', 0], ['queued', 'delayed', 1, 't', 0],
     ['cancelled', '', 1, 't', 1], ['queued', 'ready', 0, 't', 0],
     ['absent', '', 0, '', 0]], 'check says how jobs stand');

fresh();
@jobs = map { (submit())[1] } 1 .. 18;
my @runs = map { $_->{id} } claim('w', 2);
is_deeply([map { $_->[2] } @{ fcall('check', @jobs) }], [(1) x 18],
    'jobs that wait or run are sound');
$r->cmd('XDEL', "$P:r:1", $r->cmd('HGET', "$P:j:$runs[0]", 'sid'));
$r->cmd('XACK', "$P:r:1", 'w', $r->cmd('HGET', "$P:j:$runs[0]", 'sid'));
$r->cmd('XACK', "$P:r:1", 'w', $r->cmd('HGET', "$P:j:$runs[1]", 'sid'));
$r->cmd('XDEL', "$P:r:1", $r->cmd('HGET', "$P:j:$jobs[4]", 'sid'));
$r->cmd('ZREM', "$P:live", $jobs[5]);
is_deeply([map { $_->[2] } @{ fcall('check', @runs, @jobs[4, 5, 6]) }],
    [0, 0, 0, 0, 1], 'open_jobs_that_nobody_will_come_for_are_not_sound');
is_deeply(fcall('settle', $runs[1], 'failed'), ['OK'],
    'one_that_ran_and_lost_its_entry_is_not_left_to_its_worker');

# settle

fresh();
@jobs = map { (submit())[1] } 1 .. 17;
(undef, $delayed) = submit(delay => 60000);
for my $waiting (@jobs[0, 16], $delayed) {
    my $sub = $r->cmd('HGET', "$P:j:$waiting", 'sub');
    is_deeply(fcall('settle', $waiting, 'failed'), ['OK'],
        "a_${sub}_job_that_PostgreSQL_ended_ends_here");
    is(state_of($waiting), 'failed', 'with its state');
    isnt($r->cmd('TTL', "$P:j:$waiting"), -1, 'and expires');
    counts_agree('it is in no set');
}
isnt(work_one()->{id}, $jobs[0], 'a_settled_job_is_not_handed_out');
is_deeply(fcall('settle', $jobs[1], 'failed'), ['RUNNING'],
    'a_running_job_is_left_to_its_worker');
is_deeply(fcall('settle', $jobs[1], 'failed', 1), ['OK'],
    'unless_this_redis_went_back');
counts_agree('then it is in no set either');
is_deeply(fcall('settle', 'nobody', 'failed'), ['ABSENT'], 'an unknown one is absent');
is_deeply(fcall('settle', $jobs[2], 'queued'), ['ABSENT'], 'only an end settles');

# relog

fresh();
@jobs = map { (submit())[1] } 1 .. 3;
fcall('cancel', 't', 'o', $jobs[1]);
fcall('delete', 't', 'o', $jobs[2]);
$r->cmd('XTRIM', "$P:acc", 'MAXLEN', 0);
is(fcall('relog', @jobs, 'nobody'), 3, 'jobs go to the accept log again');
is_deeply([map { my %e = @{ $_->[1] }; [@e{qw(op id)}, $e{state} // ()] }
               @{ $r->cmd('XRANGE', "$P:acc", '-', '+') }],
    [['new', $jobs[0]], ['end', $jobs[1], 'cancelled'], ['delete', $jobs[2]]],
    'each with what became of it');

# forget

is_deeply(fcall('forget', $jobs[0]), ['OPEN'], 'an open job is not forgotten');
is_deeply(fcall('forget', $jobs[1]), ['OK'], 'one that has ended is');
is_deeply(look('t', 'o', $jobs[1]), ['ABSENT'], 'and is not here any more');

# strays

fresh();
@jobs = map { (submit())[1] } 1 .. 18;
$r->cmd('DEL', "$P:j:$jobs[2]");
$r->cmd('HDEL', "$P:j:$jobs[17]", 'lease');
$r->cmd('HSET', "$P:j:$jobs[4]", 'state', 'failed');
is_deeply(fcall('strays', 0, 18), [@jobs[2, 4, 17]],
    'open_jobs_without_a_sound_hash_are_found');
is_deeply(fcall('strays', 3, 5), [$jobs[4]], 'a part at a time');
is_deeply(fcall('drop', $_, 't', 'other'), ['OK'], 'and taken out')
    for @jobs[2, 4, 17];
is_deeply(fcall('strays', 0, 18), [], 'none is left');
counts_agree('the sets agree again');
is(card('t:t:ready'), 15, 'and nobody waits for a place of theirs');

# strangers

fresh();
(undef, $id) = submit();
(undef, $broken) = submit();
$r->cmd('HSET', "$P:j:$broken", 'lease', 'x');
$r->cmd('XADD', "$P:r:1", '*', 'id', 'hello');
$r->cmd('XADD', "$P:r:1", '*', 'what', '');
$reply = fcall('claim', 'w', 8, 0);
is_deeply([@{ $reply->[0] }[1, 2]], [2, 1],
    'claim_says_how_many_entries_were_a_strangers_or_damaged');
is($reply->[1][1], $id, 'and hands out the rest');
is($r->cmd('XLEN', "$P:r:1"), 1, 'nothing else is left in the stream');

# a client that waits for the ledger

fresh();
(undef, $id) = submit(durable => 1);
my $bell = $t->redis_client;
$bell->send('SSUBSCRIBE', "$P:c:$id");
$bell->reply;
ledger_all();
is_deeply($bell->reply, ['smessage', "$P:c:$id", 'ledgered'],
    'the_doorbell_says_when_a_durable_job_is_in_the_ledger');
is($r->cmd('HEXISTS', "$P:j:$id", 'durable'), 0, 'once');

done_testing;
