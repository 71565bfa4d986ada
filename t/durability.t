# What the stores must keep, and what happens when they keep less: nothing is
# accepted, and everybody says what to set.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0,
    sidecar => { durability_check => 'strict', lease => '2s',
                 heartbeat => '500ms', reconcile => '1s' });
my $slow = $t->slow;
my $P = '{trifecta:0}';

$t->start($_) for qw(redis pg);
$t->migrate;
$t->start('nginx');

sub set { $t->redis('CONFIG', 'SET', @_) }

sub submit {
    return $t->post('/api/v1/query', { query => 'say=x', model => 'test' })
        ->{status};
}

sub log_since {
    my ($from) = @_;
    return substr $t->log_of('sidecar', 0), $from;
}

# A sidecar that starts now finds the stores weak: what it says.

sub refused {
    my ($name, $re, %env) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $from = length $t->log_of('sidecar', 0);

    $t->{opt}{env} = \%env;
    $t->launch('sidecar', 0);
    ok($t->wait_for(sub { log_since($from) =~ $re }, 10 * $slow), $name)
        or diag log_since($from);
    is(() = log_since($from) =~ /keep less than/g, 1, 'with one line');
    ok($t->wait_for(sub { !$t->redis('HEXISTS', "$P:meta", 'server') },
        10 * $slow), 'the queue is not adopted');
    is($t->sidecar_get(0, '/readyz')->{status}, 503, 'not ready');
    like($t->sidecar_get(0, '/readyz')->{content}, qr/keep less than/,
        'and /readyz says why');
    like($t->sidecar_get(0, '/metrics')->{content},
        qr/^trifecta_durability_weak\{shard="0"\} 1$/m, 'as does a metric');
    ok($t->wait_for(sub { submit() == 503 }, 10 * $slow),
        'nothing is accepted');
    my ($rc, $out) = $t->run('doctor');
    is($rc, 1, 'doctor fails');
    my ($rc2, undef, $err) = $t->run('migrate');
    is($rc2, 1, 'and so does migrate');
    like($err, qr/keep less than/, 'which says the same');
    return $out;
}

sub content {
    my ($name, %env) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok($t->wait_for(sub { $t->redis('HEXISTS', "$P:meta", 'server') },
        10 * $slow), $name);
    ok($t->wait_for(sub { submit() == 202 }, 10 * $slow), 'and accepts jobs');
    $t->stop('sidecar', 0);
    $t->{opt}{env} = {};
}


# Redis

set('appendfsync', 'everysec');
my $out = refused('everysec_is_refused_where_durable_was_promised',
    qr/Redis appendfsync is everysec: set .{1,2}appendfsync always/);
like($out, qr/^FAIL  Redis appendfsync .*everysec.*nothing is accepted -> set/m,
    'and names the setting');
set('appendfsync', 'always');
content('as soon as it is set the queue is adopted');

set('appendfsync', 'everysec');
$t->{opt}{env} = { TRIFECTA_DURABILITY => 'fast' };
$t->launch('sidecar', 0);
content('everysec_is_enough_where_fast_was_promised');
set('appendfsync', 'no');
refused('but_no_sync_at_all_is_not', qr/Redis appendfsync is no:/,
    TRIFECTA_DURABILITY => 'fast');
set('appendfsync', 'always');
content('adopted again');

for (['appendonly', 'no', 'yes'], ['maxmemory-policy', 'allkeys-lru',
     'noeviction'], ['no-appendfsync-on-rewrite', 'yes', 'no'])
{
    my ($name, $bad, $good) = @$_;
    set($name, $bad);
    my $what = $name =~ /rewrite/ ? 'fsync on rewrite' : $name;
    refused("${name}_${bad}_is_refused", qr/Redis $what is $bad: set/);
    set($name, $good);
    content('adopted again');
}


# replicas

refused('without_replicas_replicated_is_refused',
    qr/Redis replicas is 0 of 1 are online: bring/,
    TRIFECTA_DURABILITY => 'replicated');
$t->stop('sidecar', 0);
{
    my $port = $t->free_port;
    mkdir "$t->{dir}/replica";
    $t->write_file("$t->{dir}/conf/replica.conf", "bind 127.0.0.1\nport $port\n"
        . "dir $t->{dir}/replica\nsave \"\"\nreplicaof 127.0.0.1 "
        . "$t->{redis_port}\nmasterauth " . $t->secret('redis.pass') . "\n",
        0600);
    my $replica = $t->_spawn('replica', cmd => ['redis-server',
        "$t->{dir}/conf/replica.conf"]);
    ok($t->wait_for(sub { $t->redis('INFO', 'replication')
        =~ /^slave0:.*state=online/m }, 20 * $slow), 'a replica is there');
    $t->{opt}{env} = { TRIFECTA_DURABILITY => 'replicated' };
    $t->launch('sidecar', 0);
    content('with_a_replica_it_is_adopted');
    $replica->kill;
}


# PostgreSQL

$t->sql('admin', "ALTER ROLE trifecta_queue SET synchronous_commit = off");
refused('a_commit_that_does_not_wait_is_refused',
    qr/PostgreSQL synchronous_commit is off: set/);
$t->stop('sidecar', 0);
$t->sql('admin', 'ALTER ROLE trifecta_queue RESET synchronous_commit');
$t->launch('sidecar', 0);
content('adopted again');

for my $name (qw(fsync full_page_writes)) {
    $t->sql('admin', "ALTER SYSTEM SET $name = off");
    $t->sql('admin', 'SELECT pg_reload_conf()');
    $t->wait_for(sub { $t->sql('queue', "SHOW $name")->[0][0] eq 'off' }, 10);
    my $text = refused("${name}_off_is_refused",
        qr/PostgreSQL $name is off: set/);
    like($text, qr/^FAIL  PostgreSQL $name .*off.* -> set/m, 'in doctor, too');
    $t->sql('admin', "ALTER SYSTEM RESET $name");
    $t->sql('admin', 'SELECT pg_reload_conf()');
    content('adopted again');
}


# only said

set('appendfsync', 'everysec');
my $from = length $t->log_of('sidecar', 0);
$t->{opt}{env} = { TRIFECTA_DURABILITY_CHECK => 'warn' };
$t->redis('HDEL', "$P:meta", 'server');
$t->launch('sidecar', 0);
ok($t->wait_for(sub { $t->redis('HEXISTS', "$P:meta", 'server') }, 10 * $slow),
    'with_durability_check_warn_a_weak_store_is_adopted');
like(log_since($from), qr/"warn".*keep less than.*durability_check = warn/,
    'and a line says so');
my ($rc, $text) = $t->run('doctor');
like($text, qr/^warn  Redis appendfsync .*everysec -> set/m, 'doctor warns');
$t->stop('sidecar', 0);
set('appendfsync', 'always');


# a server that does not tell

$t->{opt}{env} = {};
$t->redis('ACL', 'SETUSER', 'default', '-config');
$t->redis('HDEL', "$P:meta", 'server');
$t->launch('sidecar', 0);
content('a_setting_that_may_not_be_read_is_not_refused');
(undef, $text) = $t->run('doctor');
like($text, qr/^warn  Redis appendfsync .*may not be read here/m,
    'but doctor warns of it');
$t->redis('ACL', 'SETUSER', 'default', '+config');


# words that are none

for (['durability', 'always', 'durability must be fast, durable or replicated'],
     ['durability_check', 'off', 'durability_check must be strict or warn'],
     ['replicas', '0', 'replicas must be between 1 and 16'],
     ['reconcile', '1ms', 'reconcile must be between 100ms and 1d'])
{
    my ($key, $value, $says) = @$_;
    my ($status, undef, $err) = $t->run({ env => {
        "TRIFECTA_\U$key" => $value } }, 'doctor');
    isnt($status, 0, "$key = $value is refused");
    like($err, qr/$says/, 'by name');
}

$t->finish;
done_testing;
