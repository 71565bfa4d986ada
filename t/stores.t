# Stores that are away while jobs are open: what was accepted is not lost,
# not failed, and not done twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 2, sidecar => {
    threads => 4, lease => '3s', heartbeat => '500ms' });
my $P = '{trifecta:0}';

sub test_job {
    my ($script) = @_;
    my $res = $t->post('/api/v1/query',
        { query => $script, model => 'test' });
    is($res->{status}, 202, "accepted: $script") or diag $res->{content};
    return $res->{json}{query_id};
}

sub state_of { $t->result($_[0])->{json}{status} // '?' }

sub until_state {
    my ($id, $state, $seconds) = @_;
    return $t->wait_for(sub { state_of($id) eq $state },
        $seconds // 20);
}

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

sub metric {
    my ($n, $name) = @_;
    return ($t->sidecar_get($n, '/metrics')->{content}
            =~ /^trifecta_worker_\Q$name\E (\d+)/m)[0];
}


# PostgreSQL goes while a job runs and others wait

my $running = test_job('sleep=1500 say=kept');
ok(until_state($running, 'running'), 'it runs');
$t->kill('pg');
my @queued = map { test_job("say=q$_") } 1 .. 6;
ok(!(grep { !defined } @queued),
    'with_postgresql_dead_jobs_are_still_accepted');
sleep 2;
like(state_of($_), qr/^(queued|running)$/, 'and stay open')
    for $running, @queued;
ok($t->wait_for(sub { $t->sidecar_get(0, '/readyz')->{status} == 503 }, 10),
    'the sidecar says that it is not ready');
is($t->sidecar_get(0, '/livez')->{status}, 200, 'but that it lives');
my $claimed = metric(0, 'claimed_total') + metric(1, 'claimed_total');
sleep 1;
is(metric(0, 'claimed_total') + metric(1, 'claimed_total'), $claimed,
    'claiming_stops_until_the_store_is_back');
$t->start('pg');
ok(until_state($_, 'succeeded', 30),
    'when it is back they end by themselves') for $running, @queued;
ended_once('each of them once, with one result', $running, @queued);
like($t->result($running)->{json}{response}, qr/attempt=[12] kept/,
    'what_had_been_finished_waited_for_the_store');
is($t->redis('HGET', "$P:j:$_", 'crashes'), 0, 'no crash was counted')
    for $running;
ok($t->wait_for(sub { $t->sidecar_get(0, '/readyz')->{status} == 200 }, 10),
    'the sidecar is ready again');


# PostgreSQL is frozen, not dead

$running = test_job('sleep=500 say=frozen');
ok(until_state($running, 'running'), 'it runs');
$t->freeze('pg');
@queued = map { test_job("say=f$_") } 1 .. 4;
sleep 7;
$t->thaw('pg');
ok(until_state($_, 'succeeded', 40),
    'after_a_frozen_postgresql_everything_ends') for $running, @queued;
ended_once('once', $running, @queued);


# the role that reads documents cannot log in: nobody's fault but the store's

my $doc = $t->post('/api/v1/query', { query => 'What is it?' });
is($doc->{status}, 202, 'a question');
ok(until_state($doc->{json}{query_id}, 'succeeded'), 'is answered');
$t->sql('admin', 'ALTER ROLE trifecta_rag NOLOGIN');
$t->sql('admin', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    . "WHERE usename = 'trifecta_rag'");
my $released = metric(0, 'released_total') + metric(1, 'released_total');
$doc = $t->post('/api/v1/query', { query => 'What is it?' });
is($doc->{status}, 202, 'another question');
sleep 4;
like(state_of($doc->{json}{query_id}), qr/^(queued|running)$/,
    'a_job_that_meets_a_dead_store_is_released_and_not_failed');
$released = metric(0, 'released_total') + metric(1, 'released_total')
            - $released;
cmp_ok($released, '>', 0, 'it was released');
cmp_ok($released, '<', 40, 'but_not_in_a_tight_loop');
$t->sql('admin', 'ALTER ROLE trifecta_rag LOGIN');
ok(until_state($doc->{json}{query_id}, 'succeeded', 30),
    'and ends when the store is back');
is($t->redis('HGET', "$P:j:$doc->{json}{query_id}", 'crashes'), 0,
    'without a crash counted');


# Redis is killed with jobs running and waiting

$running = test_job('sleep=1500 say=redis');
ok(until_state($running, 'running'), 'it runs');
@queued = map { test_job("sleep=100 say=r$_") } 1 .. 12;
$t->kill('redis');
sleep 1;
$t->start('redis');
ok(until_state($_, 'succeeded', 40),
    'after_a_kill_of_redis_everything_accepted_ends') for $running, @queued;
ended_once('once', $running, @queued);


# Redis is frozen for longer than a lease

$running = test_job('sleep=1000 say=ice');
ok(until_state($running, 'running'), 'it runs');
$t->freeze('redis');
sleep 5;
$t->thaw('redis');
ok(until_state($running, 'succeeded', 40),
    'after_a_redis_that_was_frozen_for_longer_than_a_lease_it_ends');
ended_once('once', $running);


# an emptied Redis takes no jobs and says so

ok($t->wait_for(sub { $t->redis('ZCARD', "$P:live") == 0
                      && $t->redis('XLEN', "$P:acc") == 0 }, 20),
    'nothing is open');
$t->stop('sidecar', $_) for 0, 1;       # or it would be rebuilt at once
$t->redis('FLUSHALL');
my $res = $t->post('/api/v1/query', { query => 'say=x', model => 'test' });
is($res->{status}, 503, 'an_emptied_redis_accepts_nothing');
is($res->{code}, 'queue_unavailable', 'queue_unavailable');
is_deeply($t->redis('KEYS', "$P:[jrlt]*"), [], 'nothing was written');
is($t->result($running)->{status}, 200,
    'a finished job is still served, from PostgreSQL');
is($t->admin('/readyz')->{status}, 503, 'nginx is not ready');
my ($status, $out, $err) = $t->run('doctor');
isnt($status, 0, 'doctor is not content');
like("$out$err", qr/migrate/, 'doctor_says_what_to_do');

$t->finish;
done_testing;
