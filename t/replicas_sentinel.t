# trifecta_replicas and a failover by sentinels: a master with two replicas is
# killed under load.  No sidecar runs until the new master is there, so nothing
# but the replicas has the jobs: every one that was answered 202 is there and
# ends.  After the failover the replica that is left confirms, or the answer is
# 504 with the place where the job may be read.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $Q = '/api/v1/query';
my $P = '{trifecta:0}';
my $in_time = 10;       # five times the two seconds that are promised

my $t = Trifecta::Test->new(start => 0, sidecars => 1,
    models => 'test extractive',
    redis_conf => "repl-diskless-sync-delay 0\n",
    trifecta => { trifecta_replicas => '1 timeout=500ms' },
    sidecar => { threads => 4, lease => '2s', heartbeat => '500ms' });
my $slow = $t->slow;

$t->add_redis('redis1');
$t->add_redis($_, replica_of => 'redis1') for qw(redis2 redis3);
$t->add_sentinels(3, 'queue', 'redis1');
$t->{opt}{redis_urls} = [$t->sentinel_url('queue')];
$t->write_conf;
$t->start($_) for qw(redis1 redis2 redis3 sentinel0 sentinel1 sentinel2 pg);

sub role { (eval { $t->redis_at($_[0], 'ROLE') } || ['?'])->[0] }
sub ask { $t->post($Q, { query => 'say=x', model => 'test' }) }
sub ready { $t->admin('/readyz')->{status} == 200 }

sub online {
    my ($master, $n) = @_;
    return (() = $t->redis_at($master, 'INFO', 'replication')
            =~ /^slave\d+:.*state=online/mg) == $n;
}

sub known {
    my %m = @{ $t->redis_at('sentinel0', 'SENTINEL', 'master', 'queue') };
    return $m{'num-slaves'} >= 2 && $m{'num-other-sentinels'} == 2;
}

sub ends {
    my ($id) = @_;
    return $t->wait_for(sub {
        ($t->result($id)->{json}{status} // '') eq 'succeeded' }, 20);
}

# Which of the two is the master, if all sentinels say so and the other one
# follows it.  A sentinel that a busy machine keeps waiting may begin a failover
# of its own when the first one is done.

sub settled {
    my %at = map { $t->port_of($_) => $_ } qw(redis2 redis3);
    my %said = map { $_ => 1 } map { $t->redis_at("sentinel$_", 'SENTINEL',
        'get-master-addr-by-name', 'queue')->[1] } 0 .. 2;
    my ($name) = map { $at{$_} // () } keys %said;

    return keys %said == 1 && $name && role($name) eq 'master'
           && online($name, 1) ? $name : undef;
}

ok $t->wait_for(\&known, 15), 'the sentinels know each other';
ok $t->wait_for(sub { online('redis1', 2) }, 15), 'and two replicas follow';
$t->migrate;
$t->start('nginx');
ok $t->wait_for(\&ready, 15), 'nginx is ready';
is ask()->{status}, 202, 'what a replica has is accepted';


# The master is killed

my $out = "$t->{dir}/run/load";
my @pids = map {
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open my $fh, '>', "$out.$_" or die;
        $fh->autoflush;
        while (1) {
            my $res = ask();
            printf {$fh} "%d %s %s %.2f\n", $res->{status},
                $res->{json}{code} // $res->{code} // '-',
                $res->{headers}{location} // '-', $res->{time};
            sleep 0.02;
        }
    }
    $pid;
} 0 .. 2;
my $lines = sub { map { split /\n/, $t->read_file("$out.$_") } 0 .. 2 };

sleep 1.5;
$t->kill('redis1');
my @before = grep { /^202/ } $lines->();
ok $t->wait_for(sub { role('redis2') eq 'master'
                      || role('redis3') eq 'master' }, 60), 'a failover';

# from now on nobody is taken for dead: neither one that has no time to answer,
# nor one that is frozen here
$t->redis_at("sentinel$_", 'SENTINEL', 'SET', 'queue',
             'down-after-milliseconds', 600000) for 0 .. 2;
my $master;
ok $t->wait_for(sub { $master = settled() }, 60), 'the other one follows it';
my $left = $master eq 'redis2' ? 'redis3' : 'redis2';
is_deeply [map { "$_->{status} $_->{code}" } ask()],
    ['503 queue_unavailable'],
    'the_new_master_accepts_nothing_before_it_was_compared';

$t->start('sidecar', 0);
ok $t->wait_for(\&ready, 30), 'it is adopted';
sleep 1.5 * $slow;
kill 'KILL', @pids;
waitpid $_, 0 for @pids;

my @all = $lines->();
my @accepted = grep { /^202/ } @all;

cmp_ok scalar(@before), '>', 10, 'jobs were accepted before';
cmp_ok scalar(@accepted), '>', @before + 10, 'and others after';
is_deeply [grep { !/^(?:202|503\ queue_unavailable|504\ submit_unconfirmed)\ /x }
    @all], [], 'meanwhile_it_was_503_or_504';
is_deeply [grep { /^504/ && !m{ \Q$Q\E/[0-9a-f-]{36} } } @all], [],
    'a_504_says_where_the_job_may_be';
is_deeply [grep { (split ' ')[3] > $in_time } @all], [], 'no_request_hangs';

my @lost = grep { my ($id) = m{/([0-9a-f-]{36}) }; !ends($id) } @accepted;
is_deeply \@lost, [], 'nothing_that_was_answered_202_is_lost';

my @odd = grep {
    my ($id) = m{/([0-9a-f-]{36}) };
    my $res = $t->result($id);
    $res->{status} == 200 ? !ends($id) : $res->{status} !~ /^(404|410)$/;
} grep { /^504/ } @all;
is_deeply \@odd, [], 'what_was_not_confirmed_ends_or_never_was';
note sprintf '%d accepted, %d of them before the failover, %d not confirmed',
    scalar @accepted, scalar @before, scalar grep { /^504/ } @all;


# The replica that is left confirms, and nobody else can

{
    my $res;

    # a replica that the machine leaves no time confirms late: 504
    $t->wait_for(sub { ($res = ask())->{status} == 202 }, 20);
    is $res->{status}, 202, 'after_the_failover_a_job_is_accepted';
    ok $t->redis_at($left, 'EXISTS', "$P:j:$res->{json}{query_id}"),
        'and_the_replica_that_is_left_has_it';

    $t->freeze($left);
    $res = ask();
    is "$res->{status} $res->{code}", '504 submit_unconfirmed',
        'without_it_nothing_is_confirmed';
    like $res->{headers}{location}, qr/^\Q$Q\E\/[0-9a-f-]{36}$/,
        '  but it may be there';
    cmp_ok $res->{time}, '<', $in_time, '  in time';
    my ($id) = ($res->{headers}{location} // '') =~ m{([0-9a-f-]{36})$};
    ok ends($id), '  and is, and ends';
    $t->thaw($left);
    ok $t->wait_for(sub { ask()->{status} == 202 }, 20),
        'with_it_jobs_are_accepted_again';
}

$t->start('redis1');
# a sentinel that got no time to run does nothing for half a minute ("tilt")
ok $t->wait_for(sub { online($master, 2) }, 180), 'the old master is a replica';
$t->freeze($left);
ok $t->wait_for(sub { ask()->{status} == 202 }, 20), 'and_confirms_as_well';
$t->thaw($left);

$t->finish;
done_testing;
