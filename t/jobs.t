# What is promised of an accepted job: it ends once, whatever happens to the
# processes that run it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 2, sidecar => {
    threads => 4, lease => '2s', heartbeat => '400ms', drain_timeout => '4s' });
my $slow = $t->slow;
my $P = '{trifecta:0}';

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
        $seconds // 10);
}

sub row {
    my ($id) = @_;
    my $rows = $t->sql('admin', 'SELECT state, attempt, lease, worker '
        . 'FROM trifecta.job WHERE id = ?', $id);
    return $rows->[0];
}

sub results {
    return $t->sql('admin', 'SELECT attempt, body FROM trifecta.job_result '
        . 'WHERE job = ?', $_[0]);
}

sub pid_of { $t->proc('sidecar', $_[0])->pid }

# Which sidecar (0 or 1) holds the job, by the pid in its worker's name.

sub holder {
    my ($id) = @_;
    my $worker = $t->redis('HGET', "$P:j:$id", 'worker') // '';
    my ($pid) = $worker =~ /-(\d+)-[0-9a-f]+\z/ or return;
    return (grep { pid_of($_) == $pid } 0, 1)[0];
}


# an ordinary job

my $id = test_job('say=hello');
ok(until_state($id, 'succeeded'), 'a job succeeds') or diag state_of($id);
my $end = $t->result($id)->{json};
like($end->{response}, qr/^pid=\d+ attempt=1 hello/, 'with its answer');
is(scalar @{ results($id) }, 1, 'one row of a result');
ok($t->wait_for(sub { ($t->redis('TTL', "$P:j:$id") // -3) > 0 }, 5),
    'its hash in Redis will go');

my @many = map { test_job("say=n$_") } 1 .. 5;
ok(until_state($_, 'succeeded'), 'so do its neighbours') for @many;

$id = test_job('fail=1');
ok(until_state($id, 'failed'), 'a job that fails ends as failed');
is($t->result($id)->{status}, 200, 'which is no error of the request');
ok($t->result($id)->{json}{error}{code}, 'and says why');


# the process that runs it is killed

$id = test_job('sleep=1500 say=survivor');
ok(until_state($id, 'running'), 'it runs');
$t->wait_for(sub { row($id) && row($id)->[1] }, 10);    # and has an attempt
my $victim = holder($id);
ok(defined $victim, 'in one of the sidecars') or BAIL_OUT('no holder');
my $pid = pid_of($victim);
$t->kill('sidecar', $victim);
ok(until_state($id, 'succeeded', 20),
    'sigkill_of_the_sidecar_that_runs_a_job_does_not_lose_it')
    or diag state_of($id);
my $answer = $t->result($id)->{json}{response};
like($answer, qr/attempt=2 survivor/, 'it ends at attempt 2');
unlike($answer, qr/pid=$pid /, 'in another process');
my $all = results($id);
is(scalar @$all, 1, 'with one row of a result');
is($all->[0][0], 2, 'of attempt 2');
is(row($id)->[1], 2, 'which is the attempt of the job');
$t->start('sidecar', $victim);


# the process that runs it is stopped, and comes back as a zombie

$id = test_job('sleep=800 say=ghost');
ok(until_state($id, 'running'), 'it runs');
$victim = holder($id);
$pid = pid_of($victim);
$t->freeze('sidecar', $victim);
ok(until_state($id, 'succeeded', 20),
    'a_sidecar_that_is_stopped_loses_its_job_to_another');
my $before = $t->result($id)->{json};
unlike($before->{response}, qr/pid=$pid /, 'which answered');
$t->thaw('sidecar', $victim);
sleep 2;
is_deeply($t->result($id)->{json}, $before,
    'a_zombie_that_is_continued_changes_nothing');
$all = results($id);
is(scalar @$all, 1, 'one row of a result');
my $found = $t->sql('admin', "SELECT count(*) FROM trifecta.job_result "
    . "WHERE body LIKE ?", "%pid=$pid attempt=1 ghost%")->[0][0];
is($found, 0, 'and_its_text_is_nowhere');
is((grep { /pid=$pid attempt=\d+ ghost/ } $t->log_of('sidecar', $victim)), 0,
    'not in a log either');
ok(until_state(test_job('say=x'), 'succeeded'), 'it works on');


# drain

my @jobs = map { test_job("sleep=1000 say=d$_") } 1 .. 12;
ok($t->wait_for(sub { grep { state_of($_) eq 'running' } @jobs }, 10),
    'some of them run');
my $began = time;
my $status = $t->stop('sidecar', 0);
is($status, 0, 'a_sidecar_that_is_told_to_leave_ends_with_0');
cmp_ok(time - $began, '<', 15 * $slow, 'in time');
ok(until_state($_, 'succeeded', 20), 'a drain loses no job') for @jobs;
is_deeply([grep { $_->[0] ne 'succeeded' } map { row($_) } @jobs], [],
    'none of them failed');
my @attempts = sort map { row($_)->[1] } @jobs;
cmp_ok($attempts[-1], '<=', 2, 'and none ran more than twice');
$t->start('sidecar', 0);

$id = test_job('sleep=200000 say=long');
ok(until_state($id, 'running'), 'a long one runs');
$victim = holder($id);
$began = time;
is($t->stop('sidecar', $victim), 0,
    'a_job_that_does_not_end_within_the_drain_timeout_is_released');
cmp_ok(time - $began, '<', 15 * $slow, 'and the process ends');
ok($t->wait_for(sub { defined holder($id) }, 10),
    'it is claimed by the other one');
is($t->redis('HGET', "$P:j:$id", 'crashes'), 0, 'a_drain_is_no_crash');
is($t->redis('HGET', "$P:j:$id", 'lost'), 0, 'and no lost lease');
$t->start('sidecar', $victim);

# two signals

my $other = holder($id);
$t->proc('sidecar', $other)->signal('TERM');
sleep 0.3;
$began = time;
$t->proc('sidecar', $other)->signal('TERM');
ok($t->proc('sidecar', $other)->wait(10 * $slow),
    'a_second_sigterm_releases_at_once');
ok($t->wait_for(sub { (holder($id) // $other) != $other }, 10),
    'and the job is claimed by the other one');
$t->start('sidecar', $other);

# let the long one end by its deadline, seen from here: expire it

$t->redis('HSET', "$P:j:$id", 'dl', 1);
$t->kill('sidecar', $_) for 0, 1;
$t->start('sidecar', $_) for 0, 1;
ok(until_state($id, 'failed', 40),
    'a_job_past_its_deadline_ends_as_failed');
is($t->result($id)->{json}{error}{code}, 'deadline_exceeded', 'and says so');


# a job that kills whatever runs it: here, its lease is taken from each worker

$id = test_job('sleep=500000 say=poison');
ok(until_state($id, 'running'), 'a poison job runs');
for my $crash (1 .. 4) {
    ok($t->wait_for(sub { defined holder($id)
                          && ($t->redis('HGET', "$P:j:$id", 'attempt') // 0)
                             >= $crash }, 20), "attempt $crash runs")
        or last;
    my $n = holder($id);
    $t->kill('sidecar', $n);
    $t->start('sidecar', $n);
}
ok(until_state($id, 'dead', 30),
    'a_job_that_crashes_its_worker_four_times_is_dead') or diag state_of($id);
cmp_ok(row($id)->[1], '<=', 5, 'after four executions');
ok(until_state(test_job('say=after'), 'succeeded'),
    'and blocks nobody behind it');


# what is left

$t->invariants_hold('sets and hashes agree');
$t->idle_holds('nothing is left, and every result is its last attempt\'s');

$t->finish;
done_testing;
