# Attempts that fail in a way that may pass, cancelled and deleted jobs, as the
# sidecar sees them.  The functions are called as the module calls them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecar => {
    threads => 4, lease => '3s', heartbeat => '1s' },
    pg_conf => "log_statement = 'all'\nlog_line_prefix = '%u '\n");
my $P = '{trifecta:0}';
my $n = 0;

$t->start('redis');
$t->start('pg');
$t->migrate;
$t->start('sidecar');

sub fcall {
    my ($name, @args) = @_;
    return $t->redis('FCALL', "trifecta_${name}_v1", 1, $P, @args);
}

sub submit {
    my ($script, %o) = @_;
    my %job = (id => sprintf('01990000-0000-7000-8000-%012x', ++$n),
        tenant => 't', owner => 'o', groups => '[]', scopes => '[]',
        kind => 'query', model => 'test', prio => 1,
        payload => qq({"query":"$script"}), request_id => 'r', fp => 'f',
        limit => 60000, max => 1000, tmax => 1000, %o);
    my $reply = fcall('submit', %job);
    is($reply->[0], 'OK', "submitted: $script");
    return $job{id};
}

sub row {
    my ($id, @columns) = @_;
    @columns = ('state') unless @columns;
    my $rows = $t->sql('admin', 'SELECT ' . join(', ', @columns)
        . ' FROM trifecta.job WHERE id = ?', $id);
    return wantarray ? @{ $rows->[0] || [] } : ($rows->[0] || [''])->[0];
}

sub ends {
    my ($id, $state, $seconds) = @_;
    return $t->wait_for(sub { row($id) eq $state }, $seconds // 10);
}

sub has_state {
    my ($id) = @_;
    return $t->redis('HGET', "$P:j:$id", 'state');
}


# retry

my $id = submit('flaky=2 say=third');
ok(ends($id, 'succeeded', 20),
    'an_attempt_that_may_pass_is_made_again_until_it_passes');
is_deeply([row($id, 'attempt')], [3], 'at the third attempt');
is($t->redis('HGET', "$P:j:$id", 'fails'), 2, 'two failures were counted');
is($t->redis('HGET', "$P:j:$id", 'crashes'), 0, 'and no crash');

$id = submit('flaky=99');
ok(ends($id, 'failed', 60), 'a_retry_has_a_limit');
is_deeply([row($id, 'attempt', "error->>'code'")], [5, 'model_unavailable'],
    'five attempts, and the error of the last one');

my $began = time;
$id = submit('flaky=1 after=3000 say=late');
ok(ends($id, 'succeeded', 20), 'a provider may ask for a time to wait');
cmp_ok(time - $began, '>=', 3, 'its_retry_after_wins_over_a_shorter_backoff');

$id = submit('flaky=9 after=120000', limit => 60000);
ok(ends($id, 'failed', 10),
    'a_retry_that_would_come_after_the_deadline_is_not_waited_for');

$began = time;
$id = submit('say=later', delay => 1500);
ok($t->wait_for(sub { row($id) eq 'queued' }, 5), 'a delayed job has a row');
ok(ends($id, 'succeeded'), 'and runs');
cmp_ok(time - $began, '>=', 1.5, 'a_delayed_job_does_not_run_before_its_time');


# cancel

$id = submit('say=never', delay => 60000);
is_deeply(fcall('cancel', 't', 'o', $id), ['CANCELLED'], 'cancel');
ok(ends($id, 'cancelled'), 'a_cancelled_job_is_cancelled_in_the_ledger');
is_deeply([row($id, "error->>'code'", 'attempt')], ['cancelled', 0],
    'without an attempt');

$id = submit('sleep=30000 say=long');
ok($t->wait_for(sub { (has_state($id) // '') eq 'running'
                      && row($id) eq 'running' }, 10), 'a long one runs');
$began = time;
is_deeply(fcall('cancel', 't', 'o', $id), ['SIGNALLED'], 'cancel');
ok($t->wait_for(sub { has_state($id) eq 'cancelled' }, 20),
    'a_running_job_that_is_cancelled_stops');
cmp_ok(time - $began, '<', 5, 'within a second, as promised (bound: five)');
is(row($id), 'cancelled', 'and PostgreSQL has it');
is($t->sql('admin', 'SELECT count(*) FROM trifecta.job_result WHERE job = ?',
    $id)->[0][0], 0, 'no result');

# the message on the channel is lost: the heartbeat tells the same

$t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
$id = submit('sleep=30000');
ok($t->wait_for(sub { (has_state($id) // '') eq 'running' }, 10), 'it runs');
$t->redis('HSET', "$P:j:$id", 'cancel', 1);
ok($t->wait_for(sub { has_state($id) eq 'cancelled' }, 15),
    'a_cancel_whose_message_was_lost_comes_with_the_heartbeat');


# delete

$id = submit('say=secret');
ok(ends($id, 'succeeded'), 'it succeeds');
is_deeply(fcall('delete', 't', 'o', $id), ['DELETED'], 'delete');
ok($t->wait_for(sub { defined((row($id, 'deleted'))[0]) }, 10),
    'a_deleted_job_has_a_tombstone');
is_deeply([row($id, 'state', 'request')], ['succeeded', undef],
    'it keeps its state, but not its request');
is($t->sql('admin', 'SELECT count(*) FROM trifecta.job_result WHERE job = ?',
    $id)->[0][0], 0, 'nor its result');

$id = submit('sleep=1500 say=gone');
ok($t->wait_for(sub { row($id) eq 'running' }, 10), 'one runs');
is_deeply(fcall('delete', 't', 'o', $id), ['DELETED'], 'delete');
ok($t->wait_for(sub { $t->redis('ZCARD', "$P:live") == 0 }, 10),
    'it stops');
is_deeply([row($id, 'state', 'request', 'deleted IS NOT NULL')],
    ['cancelled', undef, 1], 'a_running_job_that_is_deleted_ends_cancelled');
sleep 1;
is($t->sql('admin', 'SELECT count(*) FROM trifecta.job_result WHERE job = ?',
    $id)->[0][0], 0, 'and its result is nowhere');

$t->redis('DEL', "$P:j:$id");
is_deeply(fcall('delete', 'x', 'y', $id), ['DELETED'],
    'a tombstone by somebody else');
ok($t->wait_for(sub { $t->redis('XLEN', "$P:acc") == 0 }, 10), 'ledgered');
is((row($id, 'tenant'))[0], 't', 'touches nothing of the owner');

# the ledger keeps what begin does not know

$id = submit('say=idem', idem => 'cd' x 32, retry_of =>
    '01990000-0000-7000-8000-000000000001');
ok(ends($id, 'succeeded'), 'one with an Idempotency-Key');
ok($t->wait_for(sub { $t->redis('XLEN', "$P:acc") == 0 }, 10), 'ledgered');
is_deeply([row($id, 'idem_key', 'retry_of')],
    ['cd' x 32, '01990000-0000-7000-8000-000000000001'],
    'its_row_knows_the_key_and_what_it_repeats');

my @said = grep { /^trifecta_queue / } split /\n/, $t->log_of('pg');
cmp_ok(scalar(grep { /INSERT INTO trifecta\.job / } @said), '>', 10,
    'PostgreSQL has logged what the queue does');
is(scalar(grep { /(statement|execute \S+): *(BEGIN|START)/i } @said), 0,
    'a_worker_that_is_stopped_at_any_moment_holds_no_row_of_a_job_locked');

$t->invariants_hold('sets and hashes agree');
$t->idle_holds('nothing is left open');

$t->finish;
done_testing;
