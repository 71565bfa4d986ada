# trifecta_replicas: what is answered 202 is on so many replicas of Redis.
#
# A real master and two replicas; one that is stopped confirms nothing.  No
# sidecar runs, so the jobs stay where they are.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Waiting;

my $sync = 'repl-diskless-sync-delay 0';
my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    redis_conf => "appendfsync no\n$sync\n", pg_conf => 'fsync = off',
    trifecta => { trifecta_replicas => '1 timeout=500ms' });
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $w = Trifecta::Test::Waiting->new($t);

$t->add_redis('copy0', replica_of => 'redis');
$t->start_all;

sub configure {
    my ($replicas) = @_;
    $t->{opt}{trifecta}{trifecta_replicas} = $replicas;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
}

# All of these have everything.

sub caught_up {
    my (@names) = @_;
    return $t->wait_for(sub {
        my %at = $t->redis('INFO', 'replication')
            =~ /^(slave\d+:ip=\S+?,port=\d+),state=online,offset=(\d+)/mg;
        my ($at) = $t->redis('INFO', 'replication')
            =~ /^master_repl_offset:(\d+)/m;
        grep({ my $port = $t->port_of($_);
               grep { /port=$port$/ && $at{$_} >= $at } keys %at } @names)
            == @names;
    }, 20);
}

sub post { return $t->post($Q, { query => 'x' }, @_) }

sub clients {
    my ($re) = @_;
    return grep { /$re/ } split /\n/, $t->redis('CLIENT', 'LIST');
}

ok caught_up('copy0'), 'a replica follows';


# Too few

{
    my $res = post();
    is $res->{status}, 202, 'what_a_replica_has_is_accepted';
    ok $t->redis_at('copy0', 'EXISTS', "$P:j:$res->{json}{query_id}"),
        'it has it';
    ok $res->{headers}{location}, 'Location';

    $t->freeze('copy0');
    $res = post();
    is $res->{status}, 504, 'with_too_few_replicas_it_is_504';
    is $res->{code}, 'submit_unconfirmed', 'its code';
    like $res->{json}{detail}, qr/has the job, but too few of its replicas/,
        'its reason';
    is $res->{headers}{'x-should-retry'}, 'false', 'not to be sent again';
    cmp_ok $res->{time}, '>=', 0.4, 'after the timeout';
    cmp_ok $res->{time}, '<', 5 * 0.5 * $slow, 'and soon after it';
    like $res->{headers}{location}, qr/^\Q$Q\E\/[0-9a-f-]{36}$/, 'Location';
    my $state = $t->get($res->{headers}{location});
    is $state->{status}, 200, 'the job may be there';
    is $state->{json}{status}, 'queued', 'and is';
    cmp_ok $t->metrics->{'trifecta_submits_total{outcome="unconfirmed"}'},
        '==', 1, 'it is counted';

    # WAIT holds up a connection: not that of those who read

    my $one = $w->post('x', undef);
    sleep 0.1;
    is $t->get($res->{headers}{location})->{status}, 200, 'who reads';
    ok !$w->there($one, 0), 'does_not_wait_with_those_who_submit';
    is $w->take($one, 5)->{status}, 504, 'who are told in time';

    $t->thaw('copy0');
    ok caught_up('copy0'), 'the replica is back';
    is post()->{status}, 202, 'and_jobs_are_accepted_again';
}


# Fifty clients and no replica

{
    $t->freeze('copy0');
    my $start = time;
    my @all;
    for (1 .. 50) {
        push @all, $w->post('x', undef);
        sleep 0.005;
    }
    my @res = map { $w->take($_, 10) } @all;
    my $took = time - $start;
    is scalar(grep { $_->{status} == 504 } @res), 50, 'fifty are told';
    cmp_ok $took, '<', 5 * (2 * 0.5 + 0.25) * $slow,
        'fifty_clients_do_not_wait_for_fifty_timeouts';
    note sprintf '50 clients without a replica: %.2f s, the last after %.2f s',
        $took, (sort { $b <=> $a } map { $_->{time} } @res)[0];

    $t->thaw('copy0');
    caught_up('copy0');
    $start = time;
    @res = map { $w->take($_, 10) } map { $w->post('x', undef) } 1 .. 50;
    is scalar(grep { $_->{status} == 202 } @res), 50, 'with one, accepted';
    note sprintf '50 clients with a replica: %.2f s', time - $start;
}


# A repetition is no way around it

{
    my @key = (headers => { 'Idempotency-Key' => 'k1' });
    $t->freeze('copy0');
    my $first = post(@key);
    is $first->{status}, 504, 'one that was not confirmed';
    my $res = post(@key);
    is $res->{status}, 504, 'a_repetition_has_to_be_confirmed_too';
    is $res->{headers}{location}, $first->{headers}{location},
        'it is that job';
    $t->thaw('copy0');
    caught_up('copy0');
    $res = post(@key);
    is $res->{status}, 202, 'when the replicas have it';
    is $res->{headers}{'idempotency-replayed'}, 'true', 'it is accepted';
    is $res->{headers}{location}, $first->{headers}{location}, 'once';
}


# Cancel and delete

{
    my ($cancel, $delete) = map { post()->{json}{query_id} } 1, 2;
    $t->freeze('copy0');
    my $res = $t->request('POST', "$Q/$cancel/cancel");
    is $res->{code}, 'queue_unavailable',
        'a_cancel_that_no_replica_has_is_none';
    is $t->request('DELETE', "$Q/$delete")->{code}, 'queue_unavailable',
        'nor is a delete';
    is $t->request('DELETE', "$Q/$delete")->{code}, 'queue_unavailable',
        'nor one that was made before';
    $t->thaw('copy0');
    caught_up('copy0');
    $res = $t->request('POST', "$Q/$cancel/cancel");
    is $res->{json}{status}, 'cancelled', 'sent again it is';
    is $t->redis_at('copy0', 'HGET', "$P:j:$cancel", 'state'), 'cancelled',
        'on the replica, too';
    is $t->request('DELETE', "$Q/$delete")->{status}, 410, 'so is a delete';
    is $t->redis_at('copy0', 'HGET', "$P:j:$delete", 'deleted'), 1, 'there';
    is $t->request('DELETE', "$Q/$cancel")->{status}, 200, 'another one';
}


# The connection breaks while it waits

{
    my $live = $t->redis('ZCARD', "$P:live");
    $t->freeze('copy0');
    my $one = $w->post('x', undef);
    my @blocked;
    $t->wait_for(sub { @blocked = clients(qr/ flags=\w*b/) }, 5);
    is scalar @blocked, 1, 'one connection waits for replicas';
    my ($id) = $blocked[0] =~ /^id=(\d+)/;
    $t->redis('CLIENT', 'KILL', 'ID', $id);
    $t->thaw('copy0');
    is $w->take($one, 10)->{status}, 202,
        'a_connection_that_breaks_is_made_again_and_asked';
    is $t->redis('ZCARD', "$P:live"), $live + 1, 'there is one job';

    $t->freeze('copy0');
    $one = $w->post('x', undef);
    $t->wait_for(sub { @blocked = clients(qr/ flags=\w*b/) }, 5);
    ($id) = $blocked[0] =~ /^id=(\d+)/;
    $t->redis('CLIENT', 'KILL', 'ID', $id);
    my $res = $w->take($one, 10);
    is $res->{status}, 504, 'what the second finds is not confirmed by that';
    cmp_ok $res->{time}, '<', 10 * $slow, 'in two seconds';

    # who leaves, and a worker that is told to

    $one = $w->post('x', undef);
    sleep 0.1;
    close $one->{sock};
    $one = $w->post('x', undef);
    sleep 0.1;
    my @old = $t->reload;
    is $w->take($one, 5)->{status}, 504, 'a_worker_leaves_after_its_answers';
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10), 'and is gone';
    $t->thaw('copy0');
    caught_up('copy0');
    is post()->{status}, 202, 'the next ones';
}


# The master does not answer, or is away

{
    $t->freeze('redis');
    my $res = post();
    is $res->{status}, 504, 'a frozen master is 504';
    cmp_ok $res->{time}, '<', 10 * $slow, 'in two seconds';
    $t->thaw('redis');
    caught_up('copy0');
    ok $t->wait_for(sub { post()->{status} == 202 }, 10), 'it is back';
}


# Two of two, and how many connections that makes

{
    $t->add_redis('copy1', replica_of => 'redis');
    $t->start('copy1');
    ok caught_up('copy0', 'copy1'), 'two replicas';
    configure('2 timeout=200ms');
    is post()->{status}, 202, 'both confirm';
    $t->freeze('copy1');
    is post()->{status}, 504, 'one_of_two_is_too_few';
    configure('1 timeout=200ms');
    is post()->{status}, 202, 'if one is enough, it is';
    my $user = qr/ addr=127.*? cmd=(?!client|replconf|psync)/;
    my @with = clients($user);
    configure(undef);
    is post()->{status}, 202, 'without the directive nobody asks';
    my @without;
    $t->wait_for(sub { @without = clients($user); @without < @with }, 5);
    cmp_ok scalar @without, '<', scalar @with, 'and no connection is for it';
    $t->thaw('copy1');
}


# From 7.2 on: WAITAOF.  What an older Redis lacks, the test makes of it.

{
    my $port = $t->free_port;
    my $saw = "$t->{dir}/run/waitaof";
    my $proxy = proxy($port, $t->{redis_port}, $saw);
    $t->{opt}{redis} = "127.0.0.1:$port";
    caught_up('copy0');
    configure('1 timeout=300ms');
    is post()->{status}, 202, 'a newer Redis confirms in its way';
    like $t->read_file($saw), qr/^WAITAOF 1 1 300$/m,
        'it_is_asked_for_what_is_on_disks';
    $t->freeze('copy0');
    $t->freeze('copy1');
    is post()->{status}, 504, 'or does not';
    $t->thaw($_) for 'copy0', 'copy1';
    caught_up('copy0');

    $t->write_file("$saw.error", '');
    is post()->{status}, 504, 'one that refuses has confirmed nothing';
    like $t->log_of('error'), qr/does not say what its replicas have: ERR/,
        'the log says why';
    kill 'KILL', $proxy;
    waitpid $proxy, 0;
    delete $t->{opt}{redis};
}


# What may stand there

for my $case (['x', qr/needs a number of replicas, 0 to 16/],
              ['17', qr/needs a number of replicas, 0 to 16/],
              ['1 timeout=9ms', qr/needs a timeout of 10ms to 800ms/],
              ['1 timeout=1s', qr/needs a timeout of 10ms to 800ms/],
              ['1 soon', qr/invalid parameter "soon"/],
              ["1;\n    trifecta_replicas 1", qr/is duplicate/])
{
    my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");
    $conf =~ s/trifecta_replicas [^;]*;/trifecta_replicas $case->[0];/;
    my $file = $t->write_file("$t->{dir}/conf/try.conf", $conf, 0644);
    my $out = join ' ', 'ASAN_OPTIONS=detect_leaks=0', $t->nginx_bin, '-t',
        '-p', $t->{dir}, '-e', "$t->{dir}/run/try.log", '-c', $file;
    like `$out 2>&1`, $case->[1], "\"$case->[0]\" is refused";
}


# The master dies: its replica has every job that was accepted

{
    configure('1 timeout=300ms');
    $t->stop('copy1');
    ok $t->wait_for(sub { post()->{status} == 202 }, 10), 'it works';

    # half of them when the replica has been cut off

    my @all = map { $w->post('x', undef) } 1 .. 50;
    my @res = map { $w->take($_, 10) } @all;
    $t->redis_at('copy0', 'REPLICAOF', 'NO', 'ONE');
    @all = map { $w->post('x', undef) } 1 .. 50;
    $t->wait_for(sub { clients(qr/ flags=\w*b/) }, 5);
    sleep 0.1;
    $t->kill('redis');
    push @res, map { $w->take($_, 10) } @all;

    my @accepted = map { $_->{json}{query_id} }
                   grep { $_->{status} == 202 } @res;
    my @unknown = grep { $_->{status} == 504 } @res;
    cmp_ok scalar @accepted, '>=', 50, scalar(@accepted) . ' were accepted';
    cmp_ok scalar @unknown, '>=', 1, scalar(@unknown) . ' were not confirmed';
    is_deeply [grep { !$t->redis_at('copy0', 'EXISTS', "$P:j:$_") } @accepted],
        [], 'the_promoted_replica_has_every_job_that_was_accepted';
    my @lost = grep { !$t->redis_at('copy0', 'EXISTS', "$P:j:$_") }
               map { $_->{headers}{location} =~ /([^\/]+)$/ } @unknown;
    cmp_ok scalar @lost, '>=', 1,
        scalar(@lost) . ' of the others are lost, so this was no luck';
}

sub proxy {
    my ($port, $to, $saw) = @_;
    my $parent = $$;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $SIG{PIPE} = 'IGNORE';
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 64, ReuseAddr => 1) or POSIX::_exit(1);
    my (%peer, %client, %aof);

    while (getppid == $parent) {
        for my $sock (IO::Select->new($listen, values %peer)->can_read(0.1)) {
            if ($sock == $listen) {
                my $in = $listen->accept or next;
                my $out = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                    PeerPort => $to) or do { $in->close; next };
                @peer{$in, $out} = ($out, $in);
                $client{$in} = 1;
                next;
            }

            my $other = $peer{$sock} or next;

            if (!sysread $sock, my $bytes, 65536) {
                delete @peer{$sock, $other};
                $_->close for $sock, $other;
            } else {
                if ($client{$sock}) {
                    if ($bytes =~ s/\*4\r\n\$7\r\nWAITAOF\r\n\$1\r\n1\r\n
                                   (\$\d\r\n(\d+)\r\n\$\d\r\n(\d+)\r\n)\z
                                   /*3\r\n\$4\r\nWAIT\r\n$1/x)
                    {
                        $aof{$other} = 1;
                        open my $fh, '>>', $saw or die "$saw: $!\n";
                        print $fh "WAITAOF 1 $2 $3\n";
                        close $fh;
                    }
                } elsif ($aof{$sock}) {
                    my $error = -e "$saw.error"
                        && "-ERR WAITAOF cannot be used\r\n";
                    $bytes =~ s/(\A|:0\r\n):(\d+)\r\n\z/
                        $1 . ($error || "*2\r\n:1\r\n:$2\r\n")/e;
                }
                $bytes =~ s/(redis_version:)7\.0\.15/${1}7.2.15/;
                $other->syswrite($bytes);
            }
        }
    }

    POSIX::_exit(0);
}

$t->finish;
done_testing;
