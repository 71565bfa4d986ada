# What is promised of a sidecar's /livez: it is the progress of its threads,
# not that the process answers; and a store that is away is not its fault.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Deaf;

my $LIMIT = 5;      # seconds, the key stuck_after
my $P = '{trifecta:0}';
my $next = 0;

my $t = Trifecta::Test->new(start => 0, sidecar => { threads => 2,
    lease => '2s', heartbeat => '500ms', stuck_after => "${LIMIT}s" });
$t->start($_) for qw(redis pg);
$t->migrate;

sub livez { $t->sidecar_get(0, '/livez', timeout => 5) }

sub alive {
    my ($name) = @_;
    my $res = livez();
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($res->{status}, 200, $name) or diag $res->{content};
}

sub submit {
    my ($script, %o) = @_;
    my $ms = sprintf '%012x', 1000 * time;
    my $id = sprintf '%s-%s-7000-8000-%012x', substr($ms, 0, 8),
                     substr($ms, 8), ++$next;
    my %job = (id => $id, tenant => 't', owner => 'o', groups => '[]',
        scopes => '[]', kind => 'query', model => 'test', prio => 1,
        payload => qq({"query":"$script"}), request_id => 'r', fp => 'f',
        limit => 600000, max => 1000, tmax => 1000, %o);
    $t->redis('FCALL', 'trifecta_submit_v1', 1, $P, %job);
    return $id;
}

sub row { $t->sql('admin', 'SELECT state FROM trifecta.job WHERE id = ?',
                  $_[0])->[0][0] // '' }

sub becomes_stuck {
    my ($stage, $name) = @_;
    ok($t->wait_for(sub { livez()->{status} == 503 }, 5 * $LIMIT), $name);
    my $json = livez()->{json};
    is($json->{status}, 'stuck', 'it says so');
    is($json->{stage}, $stage, 'and which stage it is');
    cmp_ok($json->{seconds}, '>=', $LIMIT, 'and for how long');
}

sub with_fault {
    my ($fault) = @_;
    $t->{opt}{env} = { TRIFECTA_FAULT => $fault };
    $t->start('sidecar', 0);
    $t->{opt}{env} = {};
}


# All is well, with work and without

$t->start('sidecar', 0);
my $id = submit('say=hello');
ok($t->wait_for(sub { row($id) eq 'succeeded' }, 10), 'a job ends');
sleep 1.5 * $LIMIT;
alive('an_idle_sidecar_is_alive');
my $ready = $t->sidecar_get(0, '/readyz')->{json};
cmp_ok($ready->{claim_age}[0], '<', $LIMIT, 'the queue was asked a moment ago');
cmp_ok($ready->{commit_age}, '>=', $LIMIT, 'the last commit is some time ago');
my $text = $t->sidecar_get(0, '/metrics')->{content};
like($text, qr/^trifecta_worker_stuck 0$/m, 'the metrics say so, too');
like($text, qr/^trifecta_shard_claim_age_seconds\{shard="0"\} \d/m,
    'and when the last claim was');
like($text, qr/^trifecta_worker_commit_age_seconds \d/m, 'and the last commit');

# A job that takes long is progress

$id = submit('sleep=' . 2000 * $LIMIT . ' say=long');
sleep 1.5 * $LIMIT;
alive('a_long_job_is_no_standstill');
ok($t->wait_for(sub { row($id) eq 'succeeded' }, 5 * $LIMIT), 'it ends');


# A store that does not answer, or refuses, is no standstill

for my $store (qw(redis pg)) {
    submit('say=waits');
    $t->freeze($store);
    sleep 2.5 * $LIMIT;
    alive("a_frozen_${store}_does_not_make_it_stuck");
    $t->thaw($store);
    $t->stop($store);
    sleep 1.5 * $LIMIT;
    alive("a_stopped_${store}_does_not_make_it_stuck");
    $t->start($store);
    $id = submit('say=back');
    ok($t->wait_for(sub { row($id) eq 'succeeded' }, 30), 'it goes on');
    alive('and is alive');
}

$t->redis('FUNCTION', 'DELETE', 'trifecta_v1');
sleep 1.5 * $LIMIT;
alive('a_redis_that_refuses_does_not_make_it_stuck');
$t->stop('sidecar', 0);
$t->migrate;


# A Redis that answers everything but the claim

my $deaf = Trifecta::Test::Deaf->start(to => $t->{redis_port},
                                       text => 'trifecta_claim_v1');
$t->{opt}{redis_urls} = ['redis://127.0.0.1:' . $deaf->port];
$t->write_conf;
$t->start('sidecar', 0);
alive('at first it is alive');
becomes_stuck('claim', 'claims_that_are_never_answered_while_redis_is_make_'
              . 'it_stuck');
like($t->log_of('sidecar', 0), qr/the stage \W*claim\W* .* has made no progress/,
    'the log says so');
$t->stop('sidecar', 0);
$deaf->stop;

$deaf = Trifecta::Test::Deaf->start(to => $t->{redis_port},
                                    text => 'trifecta_finish_v1');
$t->{opt}{redis_urls} = ['redis://127.0.0.1:' . $deaf->port];
$t->write_conf;
$t->start('sidecar', 0);
$id = submit('say=finish');
ok($t->wait_for(sub { row($id) eq 'succeeded' }, 10), 'a job is stored');
becomes_stuck('return', 'so_does_an_end_that_is_never_answered');
$t->kill('sidecar', 0);
$deaf->stop;
delete $t->{opt}{redis_urls};
$t->write_conf;


# A thread that hangs

with_fault('claim.held=sleep1000000');
submit('say=hang');
becomes_stuck('reclaim', 'a_claimer_that_hangs_is_not_alive');
$t->kill('sidecar', 0);

with_fault('begin.committed=sleep1000000');
submit('say=hang');
becomes_stuck('begin', 'nor_is_a_stage_that_hangs_with_a_batch');
$t->kill('sidecar', 0);

with_fault('ledger.gathered=sleep1000000');
submit('say=hang', delay => 3000);     # or it would begin
becomes_stuck('ledger', 'nor_is_a_ledger_that_hangs');
$t->kill('sidecar', 0);

with_fault('reconcile.begun=sleep1000000');
ok($t->wait_for(sub { livez()->{status} == 503 }, 5 * ($LIMIT + 20)),
    'nor_is_a_keeper_that_hangs_in_a_comparison');
is(livez()->{json}{stage}, 'keep', 'and it says so');
is(livez()->{json}{shard}, 0, 'of which shard');
$t->kill('sidecar', 0);

with_fault('run.after=sleep1000000');
submit('say=hang', limit => 4000);
becomes_stuck('run', 'nor_is_a_job_that_does_not_stop_when_it_is_told');
$t->kill('sidecar', 0);

$t->start('sidecar', 0);
ok($t->wait_for(sub { !grep { $_->[0] =~ /queued|running/ } @{
    $t->sql('admin', 'SELECT state FROM trifecta.job') } }, 30),
    'started anew, it does what was left');
alive('and is alive');

$t->finish;
done_testing;
