# What is promised of a Redis that is watched by sentinels, of nginx: the
# master is found past sentinels that are dead, hang, lie or talk nonsense;
# after a failover submits go on, and what the replica had is not lost; no
# request hangs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $Q = '/api/v1/query';
my $in_time = 10;       # five times the two seconds that are promised

my $t = Trifecta::Test->new(start => 0, sidecars => 1,
    models => 'test extractive',
    sidecar => { threads => 4, lease => '2s', heartbeat => '500ms' });
my $slow = $t->slow;

$t->add_redis('redis1');
$t->add_redis('redis2', replica_of => 'redis1');
$t->add_sentinels(3, 'queue', 'redis1', pass => 'of-sentinels');
my $file = $t->write_file("$t->{dir}/secrets/sentinel.pass",
                          "of-sentinels\n", 0600);
$t->{opt}{sidecar}{redis_sentinel_password_file} = $file;
$t->{opt}{trifecta}{trifecta_redis_sentinel_password_file} = $file;
$t->{opt}{redis_urls} = [$t->sentinel_url('queue')];
$t->write_conf;
$t->start($_) for qw(redis1 redis2 sentinel0 sentinel1 sentinel2 pg);

sub known {
    my %m = @{ $t->redis_at('sentinel0', 'SENTINEL', 'master', 'queue') };
    return $m{'num-slaves'} >= 1 && $m{'num-other-sentinels'} == 2;
}

sub role { (eval { $t->redis_at($_[0], 'ROLE') } || ['?'])->[0] }
sub ready { $t->admin('/readyz')->{status} == 200 }
sub why { $t->admin('/readyz')->{json}{redis}{shards}[0]{reason} // '' }
sub address { $t->admin('/status')->{json}{redis}{shards}[0]{address} // '' }
sub at { '127.0.0.1:' . $t->port_of($_[0]) }
sub ask { $t->post($Q, { query => $_[0] // 'say=x', model => 'test' }) }
sub heard { $t->metrics->{trifecta_subscriber_ready_workers} }

sub goes_on {
    my ($server, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok $t->wait_for(sub { ask()->{status} == 202 && ready() && heard() == 2
                          && address() eq at($server) }, 60 * $slow), $name
        or diag address() . ' ' . why();

    my $id = $t->ask('say=on', model => 'test');
    my $res = $t->result($id, headers => { Prefer => 'wait=20' });
    like $res->{json}{response} // '', qr/ on$/, '  and jobs are run';
}

ok $t->wait_for(\&known, 15), 'the sentinels know each other';
$t->migrate;


# The master is found, also past sentinels that are dead or frozen

$t->kill('sentinel0');
$t->freeze('sentinel1');
$t->start('nginx');
$t->start('sidecar', 0);
goes_on('redis1', 'the_master_is_found_past_a_dead_and_a_frozen_sentinel');
$t->start('sentinel0');
$t->thaw('sentinel1');
ok $t->wait_for(\&known, 15), 'the sentinels are back';


# Submits while the master is killed.  What was accepted before WAIT said that
# the replica has all is safe; of the rest nothing may be unknown.

{
    my $out = "$t->{dir}/run/load";
    my @pids = map {
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            open my $fh, '>', "$out.$_" or die;
            $fh->autoflush;
            while (1) {
                my $res = ask('say=load');
                printf {$fh} "%d %s %.2f\n", $res->{status},
                    $res->{json}{query_id} // $res->{code} // '-',
                    $res->{time};
                sleep 0.02;
            }
        }
        $pid;
    } 0 .. 2;
    my $lines = sub { map { split /\n/, $t->read_file("$out.$_") } 0 .. 2 };

    sleep 1;
    my %safe = map { /^202 (\S+)/ ? ($1 => 1) : () } $lines->();
    is $t->client_of('redis1')->cmd('WAIT', 1, 5000), 1, 'the replica follows';
    $t->kill('redis1');
    ok $t->wait_for(sub { role('redis2') eq 'master' }, 60), 'a failover';
    ok $t->wait_for(sub { ready() && address() eq at('redis2') }, 20 * $slow),
        'the_new_master_is_found' or diag why();
    sleep 1;
    kill 'KILL', @pids;
    waitpid $_, 0 for @pids;

    my @all = $lines->();
    my @ids = map { /^202 (\S+)/ } @all;
    cmp_ok scalar(keys %safe), '>', 10, 'jobs were accepted before';
    cmp_ok scalar(@ids), '>', keys(%safe) + 10, 'and others after';
    is_deeply [grep { !/^(202 \S{36}|503 queue_unavail|504 submit_unconf)/ }
        @all], [], 'meanwhile_it_was_503_or_504';
    is_deeply [grep { (split ' ')[2] > $in_time } @all], [],
        'no_request_hangs';
    cmp_ok scalar(grep { /^504/ } @all), '<=', 6,
        'few were sent and not answered';

    my @lost = grep {
        my $id = $_;
        !$t->wait_for(sub {
            ($t->result($id)->{json}{status} // '') eq 'succeeded' }, 20);
    } sort keys %safe;
    is_deeply \@lost, [], 'nothing_that_the_replica_had_is_lost';
    my @odd = grep { $t->result($_)->{status} !~ /^(200|410)$/ } @ids;
    is_deeply \@odd, [], 'and_nothing_that_was_accepted_is_unknown';
    goes_on('redis2', 'submits_go_on');
}

$t->start('redis1');
ok $t->wait_for(sub { role('redis1') eq 'slave' }, 60),
    'the old master comes back as a replica';


# The master is frozen, thawed, and made a replica

{
    $t->wait_for(\&known, 15);
    $t->freeze('redis2');
    my @res = map { ask() } 1 .. 6;
    is_deeply [grep { $_->{status} !~ /^(202|50[34])$/
                      || $_->{time} > $in_time } @res], [],
        'a_frozen_master_hangs_no_request';
    ok $t->wait_for(sub { role('redis1') eq 'master' }, 60), 'a failover';
    goes_on('redis1', 'from_a_frozen_master_it_goes_to_the_new_one');
    $t->thaw('redis2');
    ok $t->wait_for(sub { role('redis2') eq 'slave' }, 60),
        'the old one becomes a replica';
    goes_on('redis1', 'and_is_not_used');
}


# A failover that an operator asks for, both servers alive

{
    $t->wait_for(\&known, 15);

    # one that has not heard of the replica for a moment refuses it
    $t->wait_for(sub { eval {
        $t->redis_at('sentinel0', 'SENTINEL', 'FAILOVER', 'queue'); 1 } }, 60);
    ok $t->wait_for(sub { role('redis2') eq 'master' }, 60), 'a failover';
    ok $t->wait_for(sub { role('redis1') eq 'slave' }, 60), 'complete';
    goes_on('redis2', 'a_master_that_is_a_replica_now_is_left');
}


# Sentinels that are none.  Each is asked before the real one.

sub serve {
    my ($do) = @_;
    my $l = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1',
        LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        my @open;
        while (my $c = $l->accept) {
            $c->autoflush;
            push @open, $c;
            $do->($c);
        }
        require POSIX;
        POSIX::_exit(0);
    }

    return ($pid, $l->sockport);
}

# AUTH and SENTINEL come in one piece; the answers do, too.

sub says {
    my ($answer) = @_;
    return sub {
        my ($c) = @_;
        sysread $c, my $question, 4096;
        print {$c} $answer;
    };
}

sub master_is {
    my ($host, $port) = @_;
    return says(sprintf "+OK\r\n*2\r\n\$%d\r\n%s\r\n\$%d\r\n%s\r\n",
                length $host, $host, length $port, $port);
}

my ($mute, $mute_port) = serve(sub {});
my $closed = $t->free_port;
my $real = at('sentinel0');

for my $case (
    ['hangs', sub {}, qr/does not answer/],
    ['closes the connection', sub { close $_[0] }, qr/closed the connection/],
    ['talks nonsense', says("HTTP/1.1 200 OK\r\n\r\n"), qr/can be read/],
    ['asks for gigabytes', says("+OK\r\n*900000000\r\n"), qr/can be read/],
    ['answers beside the question', says("+OK\r\n+OK\r\n"), qr/unexpected/],
    ['refuses the password', says("-WRONGPASS no\r\n-NOAUTH x\r\n"),
     qr/says: WRONGPASS/],
    ['does not know the master', says("+OK\r\n*-1\r\n"),
     qr/does not know the master "queue"/],
    ['names it by a host name', master_is('redis.example', 6379),
     qr/by a host name/],
    ['names no port', master_is('127.0.0.1', 0), qr/unexpected/],
    ['says that a replica is the master',
     master_is('127.0.0.1', $t->port_of('redis1')), qr/a replica/],
    ['says that it is where nobody listens', master_is('127.0.0.1', $closed),
     qr/refused/],
    ['says that it is where nobody answers',
     master_is('127.0.0.1', $mute_port), qr/does not answer/],
) {
    my ($name, $do, $says) = @$case;
    my ($pid, $port) = serve($do);

    # alone it is of no use, and the edge says why

    $t->{opt}{trifecta}{trifecta_redis} = "sentinel://127.0.0.1:$port/queue";
    $t->write_conf;
    my @old = $t->reload;
    ok $t->wait_for(sub { !grep { -d "/proc/$_" } @old }, 20),
        "a_sentinel_that_$name";
    ok $t->wait_for(sub { why() =~ $says }, $in_time * $slow),
        '  is no use, and it says why' or diag why();
    my $res = ask();
    is "$res->{status} $res->{code}", '503 queue_unavailable',
        '  a question is 503';
    cmp_ok $res->{time}, '<', $in_time, '  in time';

    # and with a real one after it no harm

    $t->{opt}{trifecta}{trifecta_redis} =
        "sentinel://127.0.0.1:$port,$real/queue";
    $t->write_conf;
    @old = $t->reload;
    ok $t->wait_for(sub { !grep { -d "/proc/$_" } @old }, 20),
        '  old workers leave';
    ok $t->wait_for(sub { ready() && address() eq at('redis2') },
                    $in_time * $slow), '  the next one is asked'
        or diag why();
    is ask()->{status}, 202, '  and submits go on';

    kill 'KILL', $pid;
    waitpid $pid, 0;
}

kill 'KILL', $mute;
waitpid $mute, 0;


# No sentinel answers: what is connected stays

delete $t->{opt}{trifecta}{trifecta_redis};
$t->write_conf;
my @old = $t->reload;
$t->wait_for(sub { !grep { -d "/proc/$_" } @old }, 20);
goes_on('redis2', 'the three sentinels again');
$t->kill("sentinel$_") for 0 .. 2;
sleep 1;
is_deeply [grep { $_->{status} != 202 } map { ask() } 1 .. 6], [],
    'connections_outlive_the_sentinels';


# Mistakes in the URL

{
    my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");

    for my $case (
        ['no master', 'sentinel://127.0.0.1', qr/has no name of the master/],
        ['an empty one', 'sentinel://127.0.0.1/', qr/has no name of the mas/],
        ['two', 'sentinel://127.0.0.1/a/b', qr/has no name of the master/],
        ['no host', 'sentinel:///queue', qr/a sentinel without a host/],
        ['an empty host', 'sentinel://127.0.0.1,,127.0.0.2/q',
         qr/a sentinel without a host/],
        ['a password', 'sentinel://u:p@127.0.0.1/q', qr/put it into a file/],
        ['a bad port', 'sentinel://127.0.0.1:x/q', qr/invalid port/],
    ) {
        my ($name, $url, $says) = @$case;
        (my $text = $conf) =~ s/trifecta_redis [^;]+;/trifecta_redis $url;/;
        my $try = $t->write_file("$t->{dir}/conf/try.conf", $text, 0644);
        my $cmd = join ' ', 'ASAN_OPTIONS=detect_leaks=0', $t->nginx_bin,
            '-t', '-p', $t->{dir}, '-e', "$t->{dir}/run/try.log", '-c', $try;
        my $log = `$cmd 2>&1`;
        isnt $?, 0, "a URL with $name is refused";
        like $log, $says, '  and nginx says why';
    }

    (my $text = $conf) =~ s{trifecta_redis [^;]+;}
        {trifecta_redis sentinel://u\@127.0.0.1:1,no.invalid,[::1]:2/q;};
    my $try = $t->write_file("$t->{dir}/conf/try.conf", $text, 0644);
    my $cmd = join ' ', 'ASAN_OPTIONS=detect_leaks=0', $t->nginx_bin, '-t',
        '-p', $t->{dir}, '-e', "$t->{dir}/run/try.log", '-c', $try;
    my $log = `$cmd 2>&1`;
    is $?, 0, 'one name that is not known is a warning' or diag $log;
    like $log, qr/\[warn\].*no\.invalid.*not used until/s, '  that says so';
}

$t->finish;
done_testing;
