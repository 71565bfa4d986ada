# The page of "trifecta status": how nginx and its stores are, also while they
# are not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(workers => 2, sidecar => { threads => 2 },
    trifecta => { trifecta_models => 'test extractive' });
my $slow = $t->slow;

sub status { $t->admin('/status', @_) }

# the sidecar listens before it has said to Redis that it is there
$t->wait_for(sub { $t->redis('ZCARD', '{trifecta:0}:wk') }, 10);

my $res = status();
my $s = $res->{json};
is $res->{status}, 200, 'the page is there';
is $s->{status}, 'ready', 'all is well';
like $s->{module}{version}, qr/^\d+\.\d+\.\d+$/, 'version';
like $s->{module}{nginx}, qr/^1\.\d+\.\d+$/, 'of nginx';
like $s->{configured}, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'when it was read';
cmp_ok $s->{uptime}, '<', 300, 'uptime';

my $redis = $s->{redis}{shards}[0];
is_deeply { %{$redis}{qw(ready role appendonly appendfsync last_write)} },
    { ready => JSON::PP::true, role => 'master', appendonly => 'yes',
      appendfsync => $t->redis('CONFIG', 'GET', 'appendfsync')->[1],
      last_write => 'ok' }, 'redis_with_its_durability';
is $redis->{address}, "127.0.0.1:$t->{redis_port}", 'its address';
is $s->{redis}{ready}, JSON::PP::true, 'one shard is enough to be ready';
is_deeply $redis->{queue}, $s->{queue}, 'and one is the whole queue';
is $s->{postgresql}{ready}, JSON::PP::true, 'PostgreSQL';
is $s->{postgresql}{address}{port}, $t->{pg_port}, 'its address';
is $s->{postgresql}{fsync}, $t->sql('admin', 'SHOW fsync')->[0][0], 'fsync';
is $s->{postgresql}{recovery}, 'no', 'no replica';
cmp_ok $s->{postgresql}{schema}, '>=', 3, 'schema';
is $s->{queue}{live}, 0, 'the queue is empty';
is $s->{queue}{workers}, 1, 'and has a worker';
is @{ $s->{workers} }, 2, 'two workers of nginx';
is_deeply [sort map $_->{pid}, @{ $s->{workers} }], [sort $t->workers],
    'by their pids';

for my $secret (map { $t->secret($_) } qw(redis.pass pg_edge.pass id.key)) {
    unlike $res->{content}, qr/\Q$secret\E/, 'no_secret_is_in_it';
}

$t->ask("sleep=20000", model => 'test') for 1 .. 20;
ok $t->wait_for(sub { status()->{json}{queue}{running} == 2 }, 5),
    'the queue at work';
$s = status()->{json};
is_deeply [@{ $s->{queue} }{qw(live ready parked delayed)}], [20, 16, 2, 0],
    'by where the jobs are';
cmp_ok $s->{workers}[0]{requests} + $s->{workers}[1]{requests}, '==', 20,
    'the_workers_have_their_own_numbers';

is $t->request('POST', '/status', token => undef, body => 'x',
    url => "http://127.0.0.1:$t->{admin_port}/status")->{status}, 405,
    'it only reads';
is $t->request('HEAD', '/status', token => undef,
    url => "http://127.0.0.1:$t->{admin_port}/status")->{status}, 200, 'HEAD';

# what Redis says now, not what a file says

$t->redis('CONFIG', 'SET', 'appendfsync', 'no');
is status()->{json}{redis}{shards}[0]{appendfsync}, 'no',
    'durability_is_what_the_server_gives';
$t->redis('CONFIG', 'SET', 'appendonly', 'no');
is status()->{json}{redis}{shards}[0]{appendonly}, 'no', 'at this moment';

# a user that may not CONFIG; INFO is needed to know the server

$t->redis('ACL', 'SETUSER', 'default', '-config');
$s = status()->{json};
is_deeply [@{ $s->{redis}{shards}[0] }{qw(ready role appendfsync)}],
    [JSON::PP::true, 'master', 'unknown'], 'what_may_not_be_asked_is_unknown';
is $s->{queue}{live}, 20, 'while the queue is';

$t->redis('ACL', 'SETUSER', 'default', '-info');
ok $t->wait_for(sub {
    (status()->{json}{redis}{shards}[0]{reason} // '') =~ /NOPERM.*info/;
}, 30), 'without_INFO_it_is_not_ready_and_says_why';
$t->redis('ACL', 'SETUSER', 'default', '+@all');

# stores that are away

for my $store ('redis', 'pg') {
    my $name = $store eq 'pg' ? 'postgresql' : $store;

    $t->freeze($store);
    my $began = time;
    $res = status();
    my $took = time - $began;
    is $res->{status}, 200, "the_page_is_answered_while_$store is frozen";
    cmp_ok $took, '<', 15 * $slow, 'soon (bound: five times three seconds)';
    ok $t->wait_for(sub {
        $s = status()->{json};
        !$s->{$name}{ready} && $s->{status} eq 'not ready';
    }, 10), 'it says which one is not ready';
    ok length $s->{$name}{reason}, 'and why';
    is +($store eq 'pg' ? $s->{$name} : $s->{$name}{shards}[0])->{version},
        'unknown', 'and claims to know no more';
    is $s->{queue}, undef, 'nor the queue' if $store eq 'redis';
    $t->thaw($store);
    ok $t->wait_for(sub { status()->{json}{status} eq 'ready' }, 20),
        'it comes back';
}

# a client that leaves, workers that leave

$t->freeze('redis');
my $sock = $t->socket(plain => 1);
print {$sock} "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
sleep 0.1;
close $sock;
my $last = $t->socket(plain => 1);
print {$last} "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
sleep 0.05;
my %old = map { $_ => 1 } $t->reload;
$t->thaw('redis');
ok $t->wait_for(sub { !grep { -d "/proc/$_" } keys %old }, 5),
    'old_workers_leave';
ok $t->wait_for(sub { @{ status()->{json}{workers} } == 2
                      && !grep { $old{$_->{pid}} }
                         @{ status()->{json}{workers} } }, 10),
    'and are not on the page';
is status()->{json}{reloads}, 1, 'the reload is';

# an address with everything that must not be seen

my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");
$conf =~ s/(trifecta_pg\s+"[^"]*)"/$1 sslpassword=hidden123 options='-c a.b=hidden456'"/;
$t->write_file("$t->{dir}/conf/nginx.conf", $conf);
$t->reload;
unlike status()->{content}, qr/hidden/,
    'nothing_but_host_port_and_database_is_shown';

$t->finish;
done_testing;
