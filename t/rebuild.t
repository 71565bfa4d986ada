# A Redis that comes back empty, older or as another, and a PostgreSQL that
# was restored: what was accepted ends once, and nothing is accepted before
# the stores agree.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 2, sidecar => {
    threads => 4, lease => '2s', heartbeat => '400ms', reconcile => '1s' });
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
        ($seconds // 20) * $slow);
}

sub meta { $t->redis('HGET', "$P:meta", $_[0]) }

sub identity {
    my ($info) = join '', map { $t->redis('INFO', $_) } qw(server replication);
    my ($run) = $info =~ /^run_id:(\w+)/m;
    my ($replid) = $info =~ /^master_replid:(\w+)/m;
    return "$run:$replid";
}

sub adopted { (eval { meta('server') } // '') eq identity() && !meta('rebuild') }

sub until_adopted {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok($t->wait_for(sub { eval { adopted() } }, 10 * $slow), $name);
}

sub rows { $t->sql('admin', 'SELECT count(*) FROM trifecta.job WHERE id = ?
    AND state = ?', @_)->[0][0] }

sub ended_once {
    my ($name, @ids) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @bad;

    for my $id (@ids) {
        my ($row) = @{ $t->sql('admin', 'SELECT state, attempt, '
            . '(SELECT count(*) FROM trifecta.job_result r '
            . 'WHERE r.job = j.id AND r.attempt = j.attempt) '
            . 'FROM trifecta.job j WHERE id = ?', $id) };
        push @bad, [$id, $row] if !$row || $row->[0] ne 'succeeded'
                                  || $row->[2] != 1;
    }

    return is_deeply(\@bad, [], $name);
}


sub said { $t->log_of('sidecar', 0) . $t->log_of('sidecar', 1) }

sub has_row { $t->sql('admin', 'SELECT count(*) FROM trifecta.job WHERE id = ?',
    $_[0])->[0][0] }

sub until_rows {
    my @ids = @_;
    return ok($t->wait_for(sub { @ids == grep { has_row($_) } @ids }, 10),
        'the ledger has them');
}

sub replace_folder {
    my ($name, $copy) = @_;
    system('rm', '-rf', "$t->{dir}/$name") == 0 or die;
    system('cp', '-a', $copy, "$t->{dir}/$name") == 0 or die;
}

sub sidecars {
    my ($verb) = @_;
    $t->$verb('sidecar', $_) for 0, 1;
}


# FLUSHALL under load

my $epoch = meta('epoch');
my @ids = map { test_job("sleep=300 say=n$_",
    headers => { 'Idempotency-Key' => "key-$_" }) } 1 .. 30;
until_rows(@ids);
$t->redis('FLUSHALL');
until_adopted('an_emptied_redis_is_rebuilt_by_a_sidecar');
is(meta('epoch'), $epoch + 1, 'two_sidecars_make_one_epoch_of_it');
ok(until_state($_, 'succeeded'), 'and ends') for @ids;
ended_once('FLUSHALL_under_load_every_job_ends_once', @ids);
my $again = $t->post('/api/v1/query', { query => 'sleep=300 say=n3',
    model => 'test' }, headers => { 'Idempotency-Key' => 'key-3' });
is($again->{json}{query_id}, $ids[2],
    'after_a_FLUSHALL_an_idempotency_key_gives_the_same_id');
$again = $t->post('/api/v1/query', { query => 'say=other', model => 'test' },
    headers => { 'Idempotency-Key' => 'key-3' });
is($again->{status}, 422, 'and refuses another request');
$t->redis('FUNCTION', 'FLUSH');
ok($t->wait_for(sub { @{ $t->redis('FUNCTION', 'LIST') } == 1 }, 5 * $slow),
    'a function library that is missing is loaded');


# a restart of Redis, with its data

my $id = test_job('sleep=1500 say=kept');
ok(until_state($id, 'running'), 'it runs');
$epoch = meta('epoch');
$t->restart('redis');
until_adopted('a_redis_that_was_restarted_is_adopted_again');
is(meta('epoch'), $epoch + 1, 'in a new epoch');
ok(until_state($id, 'succeeded'), 'the job ends');
is($t->sql('admin', 'SELECT attempt FROM trifecta.job WHERE id = ?',
    $id)->[0][0], 1, 'which_its_worker_finished_in_the_new_epoch');


# a Redis with an empty folder

@ids = map { test_job("sleep=300 say=e$_") } 1 .. 12;
until_rows(@ids);
$t->kill('redis');
system('rm', '-rf', "$t->{dir}/redis") == 0 or die;
mkdir "$t->{dir}/redis", 0700 or die;
$t->start('redis');
until_adopted('a_redis_that_lost_its_disk_is_rebuilt');
ok(until_state($_, 'succeeded'), 'and ends') for @ids;
ended_once('a_redis_without_its_disk_every_job_ends_once', @ids);


# a Redis of an older moment

sidecars('stop');
my @old = map { test_job("say=o$_") } 1 .. 4;
my ($cancelled, $deleted) = map { test_job("say=$_") } qw(cancelled deleted);
$t->stop('redis');
system('cp', '-a', "$t->{dir}/redis", "$t->{dir}/redis.old") == 0 or die;
$t->start('redis');
sidecars('start');
until_adopted('adopted');
$t->request('POST', "/api/v1/query/$cancelled/cancel");
$t->request('DELETE', "/api/v1/query/$deleted");
my $was_cancelled = state_of($cancelled) eq 'cancelled';
ok(until_state($_, 'succeeded'), 'it ends') for @old;
$t->idle_holds('the queue is idle');
my @runs = @{ $t->sql('admin', 'SELECT id, state, attempt FROM trifecta.job '
    . 'ORDER BY id') };
my $new = test_job('say=new');
ok(until_state($new, 'succeeded'), 'one that the old Redis never heard of');
$t->stop('redis');
replace_folder('redis', "$t->{dir}/redis.old");
$t->start('redis');
my (%seen, $end);
$end = time + 4;
while (time < $end) {
    $seen{$t->result($_)->{json}{status} // 'none'} = 1 for @old;
    sleep 0.05;
}
until_adopted('a_redis_of_an_older_moment_is_adopted');
is_deeply([sort grep { $_ ne 'none' } keys %seen], ['succeeded'],
    'a_job_that_has_ended_is_never_seen_open_again') or diag explain \%seen;
$t->idle_holds('what had ended has ended there, too');
is_deeply($t->sql('admin', 'SELECT id, state, attempt FROM trifecta.job '
    . 'WHERE id <> ? ORDER BY id', $new), \@runs,
    'a_job_that_ended_in_postgresql_is_never_run_again');
is($t->result($new)->{json}{status}, 'succeeded', 'the new one is there');
is($t->result($deleted)->{status}, 410, 'a_deleted_job_stays_deleted');
is(state_of($cancelled), 'cancelled', 'a_cancelled_job_stays_cancelled')
    if $was_cancelled;


# Redis of another installation

sidecars('stop');
$id = test_job('say=theirs');
my $ours = meta('install');
$t->redis('HSET', "$P:meta", 'install', 'somebody-else');
my %before = map { $_ => 1 } @{ $t->redis('KEYS', '*') };
my $log = length said();
$t->launch('sidecar', $_) for 0, 1;
ok($t->wait_for(sub { substr(said(), $log)
    =~ /another installation \(somebody-else; ours is $ours\)/ }, 10 * $slow),
    'the_redis_of_another_installation_is_recognized');
sleep 1;
is_deeply([sort @{ $t->redis('KEYS', '*') }], [sort keys %before],
    'and left alone');
is($t->redis('HGET', "$P:j:$id", 'state'), 'queued', 'no job of it is run');
is(has_row($id), 0, 'nor written down');
is($t->sidecar_get(0, '/readyz')->{status}, 503, 'the sidecar is not ready');
$t->redis('HSET', "$P:meta", 'install', $ours);
ok(until_state($id, 'succeeded'), 'until it is ours again');


# a rebuild that died half-way

sidecars('stop');
$t->start('sidecar', 0);
@ids = map { test_job("sleep=2000 say=h$_") } 1 .. 8;
until_rows(@ids);
$t->kill('sidecar', 0);
$t->redis('FLUSHALL');
my $number = $t->sql('queue', 'SELECT trifecta.next_epoch(0)')->[0][0];
$t->redis('FCALL', 'trifecta_install_v1', 1, $P, $ours);
$t->redis('FCALL', 'trifecta_rebuild_v1', 1, $P, $number);
is($t->post('/api/v1/query', { query => 'say=x', model => 'test' })->{status},
    503, 'nothing_is_accepted_while_a_queue_is_rebuilt');
sidecars('start');
until_adopted('a_rebuild_that_died_is_begun_again');
is(meta('epoch'), $number + 1, 'with an epoch of its own');
ok(until_state($_, 'succeeded', 40), 'and ends') for @ids;
ended_once('a_rebuild_that_died_loses_nothing', @ids);


# PostgreSQL is away when Redis comes back empty

$id = test_job('sleep=300 say=both');
until_rows($id);
$t->stop('pg');
$t->redis('FLUSHALL');
$log = length said();
ok($t->wait_for(sub { substr(said(), $log)
    =~ /compared with PostgreSQL before anything is accepted, but/ },
    10 * $slow), 'without_postgresql_nothing_is_adopted_and_it_says_why');
is($t->post('/api/v1/query', { query => 'say=x', model => 'test' })->{status},
    503, 'nor accepted');
$t->start('pg');
until_adopted('when it is back the queue is rebuilt');
ok(until_state($id, 'succeeded', 40), 'and the job ends');
$t->idle_holds('nothing is left');


# PostgreSQL of an older moment: a copy of its folder

my $runs = test_job('sleep=1500 say=runs');
ok(until_state($runs, 'running'), 'a job runs');
until_rows($runs);
$t->stop('pg');
system('cp', '-a', "$t->{dir}/pg", "$t->{dir}/pg.old") == 0 or die;
$t->start('pg');
ok(until_state($runs, 'succeeded', 40), 'and ends after the copy was made');
my $lost = test_job('say=lost');
ok(until_state($lost, 'succeeded'), 'as does one that the copy never heard of');
my $failed = test_job('fail=1');
ok(until_state($failed, 'failed'), 'and one that fails');
my $open = test_job('sleep=6000 say=open');
ok(until_state($open, 'running'), 'another one is open');
until_rows($open);
$epoch = meta('epoch');
$t->stop('pg');
replace_folder('pg', "$t->{dir}/pg.old");
$t->start('pg');
ok($t->wait_for(sub { (meta('epoch') // 0) > $epoch && adopted() }, 20 * $slow),
    'a_postgresql_of_an_older_moment_is_recognized');
like(said(), qr/PostgreSQL went back to an earlier moment/, 'and said');
ok(until_state($runs, 'succeeded', 40), 'a_job_whose_result_was_lost_runs_again');
is($t->result($lost)->{status}, 410,
    'one_whose_end_nobody_can_prove_is_gone_and_not_unknown');
is($t->result($lost)->{code}, 'gone', 'and says so');
is(state_of($failed), 'failed', 'one that failed stays so');
ok($t->wait_for(sub { has_row($failed) && has_row($open) }, 10 * $slow),
    'what_redis_still_has_is_written_down_again');
is($t->sql('admin', "SELECT error->>'code' FROM trifecta.job WHERE id = ?",
    $failed)->[0][0], 'error_lost', 'without the reason, which is lost');
ok(until_state($open, 'succeeded', 60), 'and an open one ends');
ended_once('once', $runs, $open);


# PostgreSQL of an older moment: a dump into the same database

sidecars('stop');
{
    local $ENV{PGPASSWORD} = $t->secret('pg_admin.pass');
    my $at = "-h 127.0.0.1 -p $t->{pg_port} -U postgres -d trifecta";
    my $dump = "$t->{dir}/run/old.dump";
    my $quiet = "> $t->{dir}/log/dump.log 2>&1";

    is(system("pg_dump -Fc -n trifecta -f $dump $at $quiet"), 0, 'a dump');
    sidecars('start');
    $lost = test_job('say=lost2');
    ok(until_state($lost, 'succeeded'), 'a job ends after it');
    my ($mark) = meta('mark') =~ /^(\d+)/;
    ok($t->wait_for(sub { (meta('mark') =~ /^(\d+)/)[0] > $mark }, 10 * $slow),
        'and a new mark is made');
    sidecars('stop');
    $t->sql('admin', 'SET client_min_messages = error');
    $t->sql('admin', 'DROP SCHEMA trifecta CASCADE');
    is(system("pg_restore $at $dump $quiet"), 0, 'and the dump is restored')
        or diag $t->read_file("$t->{dir}/log/dump.log");
    my ($rc, $out, $err) = $t->run('migrate');
    is($rc, 0, 'migrate') or diag $err;
    like($out, qr/PostgreSQL (went back|was restored)/,
        'a_dump_restored_into_the_same_database_is_recognized');
    sidecars('start');
    is($t->result($lost)->{status}, 410, 'and what it lost is gone');
    ok(until_state(test_job('say=on'), 'succeeded'), 'jobs go on');
}
$t->idle_holds('nothing is left');

$t->finish;
done_testing;
