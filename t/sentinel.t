# What is promised of a Redis that is watched by sentinels, of the sidecar: it
# finds the master, refuses a replica, and jobs go on after a failover.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 1, models => 'test',
    sidecar => { threads => 4, lease => '2s', heartbeat => '500ms' });
my $P = '{trifecta:0}';
my $next = 0;

$t->add_redis('redis1');
$t->add_redis('redis2', replica_of => 'redis1');
$t->add_sentinels(3, 'queue', 'redis1', pass => 'of-sentinels');
$t->write_file("$t->{dir}/secrets/sentinel.pass", "of-sentinels\n", 0600);
$t->{opt}{redis_urls} = [$t->sentinel_url('queue')];
$t->{opt}{sidecar}{redis_sentinel_password_file} =
    "$t->{dir}/secrets/sentinel.pass";
$t->write_conf;
$t->start($_) for qw(redis1 redis2 sentinel0 sentinel1 sentinel2 pg);

sub known {
    my %m = @{ $t->redis_at('sentinel0', 'SENTINEL', 'master', 'queue') };
    return $m{'num-slaves'} >= 1 && $m{'num-other-sentinels'} == 2;
}

ok($t->wait_for(\&known, 15), 'the sentinels know each other');

# Submits at a server, and waits until its replica has it too.

sub submit {
    my ($server, $script, $replicas) = @_;
    my $ms = sprintf '%012x', 1000 * time;
    my $id = sprintf '%s-%s-7000-8000-%012x', substr($ms, 0, 8),
                     substr($ms, 8), ++$next;
    my %job = (id => $id, tenant => 't', owner => 'o', groups => '[]',
        scopes => '[]', kind => 'query', model => 'test', prio => 1,
        payload => qq({"query":"$script"}), request_id => 'r', fp => 'f',
        limit => 600000, max => 1000, tmax => 1000);
    my $client = $t->client_of($server);
    my $reply = $client->cmd('FCALL', 'trifecta_submit_v1', 1, $P, %job);
    die "submit: @$reply\n" if $reply->[0] ne 'OK';
    $client->cmd('WAIT', $replicas, 2000) if $replicas;
    return $id;
}

sub ended {
    return $t->sql('admin', 'SELECT count(*) FROM trifecta.job j JOIN '
        . 'trifecta.job_result r ON r.job = j.id AND r.attempt = j.attempt '
        . "WHERE j.state = 'succeeded' AND j.id = ANY(?::uuid[])",
        '{' . join(',', @_) . '}')->[0][0];
}

sub role { $t->redis_at($_[0], 'ROLE')->[0] }
sub readyz { $t->sidecar_get(0, '/readyz') }


# The master is found, also past sentinels that are dead or frozen

$t->kill('sentinel0');
$t->freeze('sentinel1');
$t->migrate;
is($t->redis_at('redis1', 'HGET', "$P:meta", 'epoch'), 1,
    'migrate_finds_the_master_past_a_dead_and_a_frozen_sentinel');
$t->start('sidecar', 0);
my $id = submit('redis1', 'say=hello');
ok($t->wait_for(sub { ended($id) }, 15), 'and the sidecar, too');
$t->start('sentinel0');
$t->thaw('sentinel1');
ok($t->wait_for(\&known, 15), 'the sentinels are back');


# The master is killed

my @ids = map { submit('redis1', 'sleep=300 say=before', 1) } 1 .. 12;
$t->kill('redis1');
ok($t->wait_for(sub { role('redis2') eq 'master' }, 60), 'a failover');
push @ids, map { submit('redis2', 'say=after') } 1 .. 4;
ok($t->wait_for(sub { ended(@ids) == @ids }, 30),
    'jobs_of_before_and_after_a_failover_end');
is(readyz()->{status}, 200, 'the sidecar is ready');
my $n = () = $t->log_of('sidecar', 0) =~ /the queue is not available/g;
cmp_ok($n, '<=', 3, 'its log does not repeat itself');

$t->start('redis1');
ok($t->wait_for(sub { role('redis1') eq 'slave' }, 60),
    'the old master comes back as a replica');


# The master is frozen

$t->wait_for(\&known, 15);
$t->freeze('redis2');
ok($t->wait_for(sub { role('redis1') eq 'master' }, 60),
    'a failover from a frozen master');
@ids = map { submit('redis1', 'say=frozen') } 1 .. 4;
ok($t->wait_for(sub { ended(@ids) == @ids }, 30),
    'jobs_go_on_after_the_failover_from_a_frozen_master');
$t->thaw('redis2');
ok($t->wait_for(sub { role('redis2') eq 'slave' }, 60),
    'it becomes a replica');
@ids = map { submit('redis1', 'say=thawed') } 1 .. 4;
ok($t->wait_for(sub { ended(@ids) == @ids }, 30), 'jobs go on');


# No sentinel answers: what is connected stays

$t->kill("sentinel$_") for 0 .. 2;
@ids = map { submit('redis1', 'say=alone') } 1 .. 4;
ok($t->wait_for(sub { ended(@ids) == @ids }, 15),
    'connections_outlive_the_sentinels');
my ($status, undef, $err) = $t->run('migrate');
isnt($status, 0, 'a new connection without sentinels fails');
like($err, qr/no sentinel tells where the master "queue" is/,
    'and says that no sentinel answers');
$t->stop('sidecar', 0);


# A server that is named itself and is a replica

$t->{opt}{redis_urls} = [$t->url_of('redis2')];
$t->write_conf;
($status, undef, $err) = $t->run('migrate');
isnt($status, 0, 'migrate into a replica fails');
like($err, qr/is a replica, the queue needs the master/, 'and says why');
$t->start('sidecar', 0);
ok($t->wait_for(sub { readyz()->{status} == 503
                      && readyz()->{json}{detail} =~ /is a replica/ }, 15),
    'a_replica_is_not_used_for_the_queue');

# It is made a master, and a replica again behind the sidecar's back

$t->redis_at('redis2', 'REPLICAOF', 'NO', 'ONE');
ok($t->wait_for(sub { readyz()->{status} == 200 }, 15), 'as a master it is');
$id = submit('redis2', 'say=master');
ok($t->wait_for(sub { ended($id) }, 15), 'its jobs end');

$t->redis_at('redis2', 'REPLICAOF', '127.0.0.1', $t->port_of('redis1'));
ok($t->wait_for(sub { readyz()->{status} == 503 }, 15),
    'a_master_that_becomes_a_replica_is_left_at_once');
like($t->log_of('sidecar', 0),
    qr/does not serve the queue now: (READONLY|UNBLOCKED)|is a replica/,
    'and the log says so');
$t->redis_at('redis2', 'REPLICAOF', 'NO', 'ONE');
$id = submit('redis2', 'say=again');
ok($t->wait_for(sub { ended($id) }, 15), 'and found again');

$t->finish;
done_testing;
