# A deleted job is gone from every cache at once: in the other worker, in the
# other nginx, when the message was missed, and when the row was read before.
# No sidecar runs, so the row of a deleted job stays: only the cache could
# answer with it, and a GET that asks the stores is 410.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Proc;
use Trifecta::Test::Waiting;

my $t = Trifecta::Test->new(sidecars => 0,
                            result_cache => 'zone=results:4m',
                            server => 'add_header X-Worker $pid always;');
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $w = Trifecta::Test::Waiting->new($t);
my @worker = $t->workers;

sub heard {
    return $t->wait_for(sub {
        $t->metrics->{trifecta_subscriber_ready_workers} == 2 }, 20);
}

sub count { $t->metrics->{"trifecta_$_[0]"} }
sub hits { count('cache_lookups_total{result="hit"}') }

sub ended {
    my $id = $t->ask('x');
    $w->end($id, 'secret');
    return $id;
}

# Over a connection that this worker has.  The kernel gives a new one to any;
# if it is one that is stopped, another is tried.

my %line;

sub line {
    my ($n) = @_;

    for (1 .. 100) {
        my $http = $t->{http}{$$} = $t->_http(1);
        kill 'STOP', $worker[1 - $n];
        my $res = $t->get('/', keep_alive => 1, timeout => 0.5 * $slow);
        kill 'CONT', $worker[1 - $n];
        return $http
            if ($res->{headers}{'x-worker'} // 0) == $worker[$n];
    }

    die "no connection to worker $n\n";
}

sub by {
    my ($n, $do) = @_;

    $t->{http}{$$} = $line{$worker[$n]} ||= line($n);
    my $res = $do->();
    my $pid = $res->{headers}{'x-worker'} // 'none';
    die "worker $pid has answered, not $worker[$n]\n"
        if $pid ne $worker[$n];

    return $res;
}

sub get {
    my ($id) = @_;
    return sub { $t->result($id, keep_alive => 1) };
}

sub erase {
    my ($id) = @_;
    return sub { $t->request('DELETE', "$Q/$id", keep_alive => 1) };
}

# Connections of subscribers, by worker: Redis' number of each.

sub subscribers {
    my %inode;
    for ($t->read_file('/proc/net/tcp') =~ /^\s*\d+: (.*)$/mg) {
        my ($local, $inode) = (split ' ')[0, 8];
        $inode{$inode} = hex((split /:/, $local)[1]);
    }

    my %port;
    for my $n (0, 1) {
        for (glob "/proc/$worker[$n]/fd/*") {
            my ($inode) = (readlink($_) // '') =~ /^socket:\[(\d+)\]$/;
            $port{$inode{$inode}} = $n if $inode && $inode{$inode};
        }
    }

    my @sub;
    for (split /\n/, $t->redis('CLIENT', 'LIST', 'TYPE', 'pubsub')) {
        my ($id, $port) = /^id=(\d+) addr=\S+?:(\d+) /;
        $sub[$port{$port}] = $id if defined $port{$port};
    }

    return @sub;
}

ok heard(), 'two workers hear Redis';


# One zone for both

{
    my $id = ended();
    is by(0, get($id))->{status}, 200, 'one worker reads';
    my $before = hits();
    is by(1, get($id))->{json}{response}, 'secret', 'the other has it';
    is hits() - $before, 1, 'what_one_worker_stored_the_other_finds';
}


# Deleted

for my $n (0, 1) {
    my $id = ended();
    $t->result($id) for 1 .. 2;
    my $before = count('cache_invalidations_total');
    is by($n, erase($id))->{status}, 200, "worker $n deletes";
    is by(1 - $n, get($id))->{status}, 410,
        'a_job_deleted_by_one_worker_is_gone_from_the_other_at_once';
    is $t->result($id)->{status}, 410, 'and for good';
    is count('cache_invalidations_total') - $before, 1, 'it is counted once';
}

# a worker that does not hear of it meanwhile finds nothing later
{
    my $id = ended();
    by($_, get($id)) for 0, 1;
    kill 'STOP', $worker[1];
    is by(0, erase($id))->{status}, 200, 'deleted';
    kill 'CONT', $worker[1];
    is_deeply [map { by(1, get($id))->{status} } 1 .. 5], [(410) x 5], 'gone';
}


# Another nginx on the same Redis

my ($port2, $admin2, $redis2) = map { $t->free_port } 1 .. 3;
my $control = "$t->{dir}/run";
my $second;

Trifecta::Test::Waiting::proxy($control, $redis2, $t->{redis_port});

{
    my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");
    $conf =~ s/127\.0\.0\.1:$t->{port}\b/127.0.0.1:$port2/g;
    $conf =~ s/127\.0\.0\.1:$t->{admin_port}\b/127.0.0.1:$admin2/g;
    $conf =~ s/(trifecta_redis 127\.0\.0\.1:)\d+/$1$redis2/;
    $conf =~ s{run/(?!nginx)}{run/second-}g;
    $conf =~ s/nginx\.pid/nginx2.pid/;
    $conf =~ s{log/(error|access)\.log}{log/${1}2.log}g;
    my $file = $t->write_file("$t->{dir}/conf/nginx2.conf", $conf, 0644);
    $second = Trifecta::Test::Proc->start(name => 'nginx2', death => 'TERM',
        log => "$t->{dir}/log/nginx2.log", env => {
            ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [$t->nginx_bin, '-p', $t->{dir}, '-e',
                "$t->{dir}/log/error2.log", '-c', $file, '-g',
                'daemon off;']);
    ok $t->wait_for(sub { $t->get('/readyz', token => undef,
        url => "http://127.0.0.1:$admin2/readyz")->{status} == 200 }, 20),
        'a second nginx';
}

sub elsewhere {
    my ($method, $id) = @_;
    return $t->request($method, "$Q/$id",
                       url => "https://localhost:$port2$Q/$id");
}

{
    my $id = ended();
    $t->result($id);
    elsewhere('GET', $id) for 1 .. 2;
    my $before = hits();
    by($_, get($id)) for 0, 1;
    is hits() - $before, 2, 'it is in the cache';
    is elsewhere('DELETE', $id)->{status}, 200, 'the second nginx deletes';
    my $start = time;
    ok $t->wait_for(sub { by(0, get($id))->{status} == 410
                          && by(1, get($id))->{status} == 410 }, 5),
        'a_job_deleted_elsewhere_is_gone_from_all_workers';
    cmp_ok time - $start, '<', 5 * $slow, 'within_a_second';
    is_deeply [map { by($_, get($id))->{status} } 0, 1, 0, 1], [(410) x 4],
        'and for good';
    is elsewhere('GET', $id)->{status}, 410, 'there, too';

    # a worker that deletes does not rely on the message
    $id = ended();
    elsewhere('GET', $id) for 1 .. 2;
    $t->write_file("$control/deaf", '');
    is elsewhere('DELETE', $id)->{status}, 200, 'deleted, without a message';
    is_deeply [map { elsewhere('GET', $id)->{status} } 1 .. 4], [(410) x 4],
        'whoever_deletes_empties_the_zone_itself';
    unlink "$control/deaf";

    # both workers are busy with something else when the message comes
    $id = ended();
    $t->result($id) for 1 .. 2;
    kill 'STOP', @worker;
    elsewhere('DELETE', $id);
    kill 'CONT', @worker;
    ok $t->wait_for(sub { $t->result($id)->{status} == 410 }, 5),
        'a_message_that_waited_is_heard';
}


# The message was missed

{
    my $id = ended();
    $t->result($id) for 1 .. 2;
    my $before = hits();
    $t->redis('HSET', "$P:j:$id", 'deleted', 1);
    is $t->result($id)->{status}, 200, 'nobody told the cache';
    is hits() - $before, 1, 'which still has it';
    $t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
    ok $t->wait_for(sub { by(0, get($id))->{status} == 410
                          && by(1, get($id))->{status} == 410 }, 5),
        'who_was_cut_off_does_not_believe_what_was_there_before';
    ok heard(), 'all hear again';
    is_deeply [map { by($_, get($id))->{status} } 0, 1, 0, 1], [(410) x 4],
        'nor_when_it_is_back';
}

{
    my @id = (ended(), ended());
    for my $id (@id) { $t->result($id) for 1 .. 2 }
    my @sub = subscribers();
    is scalar(grep { $_ } @sub), 2, 'who is who';
    $t->redis('CLIENT', 'KILL', 'ID', $sub[0]);
    ok $t->wait_for(sub { my @now = subscribers();
        $now[0] && $now[0] != $sub[0] }, 10), 'one worker was cut off';
    ok heard(), 'and is back';

    my $before = hits();
    is by(1, get($id[0]))->{status}, 200, 'the other one';
    is hits() - $before, 1, 'goes on with what it has';
    is by(0, get($id[0]))->{status}, 200, 'the one';
    is hits() - $before, 1, 'reads_again_itself';
    by($_, get($id[0])) for 0, 1;
    is hits() - $before, 3, 'and both believe that';

    is by(1, erase($id[1]))->{status}, 200, 'one deletes';
    is by(0, get($id[1]))->{status}, 410, 'and it is gone from the other';
}


# The row was read before the job was deleted, and the answer comes later.
# It is held up by a lock; by then everybody has heard of the deletion.

sub held {
    my ($id, $meanwhile) = @_;
    my $dbh = $t->pg_connect('admin', 'trifecta');

    $dbh->begin_work;
    $dbh->do('LOCK TABLE trifecta.job IN ACCESS EXCLUSIVE MODE');
    my $one = $w->get($id, undef);
    $t->wait_for(sub { count('pg_pending') == 1 }, 5);
    $meanwhile->();
    $dbh->commit;
    $dbh->disconnect;

    return $w->take($one, 5);
}

# On a slow machine the GET may meet its own deadline while the lock is held;
# then there is nothing to see, and another job is tried.

sub held_and_served {
    my ($meanwhile) = @_;
    my ($id, $res);

    for (1 .. 8) {
        $id = ended();
        $res = held($id, sub { $meanwhile->($id) });
        last if $res->{status} == 200;
        $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10);
    }

    return ($id, $res);
}

for (['here', sub { $t->request('DELETE', "$Q/$_[0]") }],
     ['by another nginx', sub {
         elsewhere('DELETE', $_[0]);
         sleep 0.3;
     }],
     ['while nobody listened', sub {
         $t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
         $t->redis('HSET', "$P:j:$_[0]", 'deleted', 1);
         $t->wait_for(sub { 4 == ($t->redis('PUBSUB', 'SHARDNUMSUB',
                                            "$P:inv"))->[1] }, 5);
         heard();
     }])
{
    my ($how, $delete) = @$_;
    my ($id, $res) = held_and_served($delete);
    is $res->{status}, 200, "deleted $how, while a GET was under way";
    is_deeply [map { by($_, get($id))->{status} } 0, 1, 0, 1], [(410) x 4],
        'what_was_read_before_a_deletion_does_not_come_back';
}

{
    my $other = ended();
    my ($id, $res) = held_and_served(sub {
        $t->request('DELETE', "$Q/$other") });
    is $res->{status}, 200, 'another job was deleted meanwhile';
    my $before = hits();
    is by(0, get($id))->{status}, 200, 'that does not matter';
    ok hits() - $before == 1 || substr($id, -2) eq substr($other, -2),
        'unless it looks alike';
}


# Waiting

{
    my $id = $t->ask('x');
    my @wait = map { $w->get($id, 30) } 1 .. 4;
    $t->wait_for(sub { count('waiters') == 4 }, 10);
    $w->end($id, 'secret');
    is_deeply [map { $w->take($_, 10)->{json}{response} } @wait],
        [('secret') x 4], 'those who wait are told';
    my $before = hits();
    is $t->result($id)->{status}, 200, 'and leave it';
    is hits() - $before, 1, 'in_the_cache';
    my $res = $w->take($w->get($id, 30), 5);
    is $res->{json}{response}, 'secret', 'who waits then has it at once';
}

# Retention: everything below an id has left PostgreSQL
{
    my ($old, $kept) = map { sleep 0.01; ended() } 1, 2;
    for my $id ($old, $kept) {
        by($_, get($id)) for 0, 1;
    }
    my $before = hits();
    by($_, get($old)) for 0, 1;
    is hits() - $before, 2, 'both workers have it';

    $t->redis('SPUBLISH', "$P:inv", $_)
        for '<', '<x', '<ffffffff-ffff-7fff-bfff-ffffffffffff', "<$old";
    sleep 0.2;
    $before = hits();
    by($_, get($old)) for 0, 1;
    is hits() - $before, 2, 'what is not below the floor stays';

    $t->sql('admin', "DELETE FROM trifecta.$_->[0] WHERE $_->[1] = ?", $old)
        for ['job_result', 'job'], ['job', 'id'];
    $t->redis('DEL', "$P:j:$old");
    $t->redis('SPUBLISH', "$P:inv", "<$kept");
    ok $t->wait_for(sub { by(0, get($old))->{status} == 410 }, 5),
        'what_retention_removed_is_gone_from_the_cache';
    is by(1, get($old))->{status}, 410, 'for the other worker, too';
    $before = hits();
    by($_, get($kept)) for 0, 1;
    is hits() - $before, 2, 'what is kept is still there';

    # a row that was read before the message, and comes late, is not stored

    $w->row($old, 'succeeded', 'late');
    $t->redis('SPUBLISH', "$P:inv", '<00000000-0000-7000-8000-000000000000');
    sleep 0.2;
    $before = hits();
    is by(0, get($old))->{json}{response}, 'late', 'an old row is read'
        for 1 .. 3;
    is hits() - $before, 0, 'and_not_stored_below_the_floor';
}

# a worker that was killed takes nothing with it
{
    my $id = ended();
    $t->result($id) for 1 .. 2;
    $t->expect_log(qr/worker process \d+ exited on signal 9/);
    kill 'KILL', $worker[0];
    $t->wait_for(sub { my @now = $t->workers;
        @now == 2 && !grep { $_ == $worker[0] } @now }, 10);
    my ($new) = grep { $_ != $worker[1] } $t->workers;
    @worker = ($new, $worker[1]);
    ok heard(), 'there is another one';
    my $before = hits();
    is by(1, get($id))->{status}, 200, 'the_cache_survives_a_killed_worker';
    is hits() - $before, 1, 'for those who were there';
    is by(0, get($id))->{status}, 200, 'a new one';
    is hits() - $before, 1, 'reads itself';
}

$second->signal('QUIT');
ok $second->wait(20 * $slow), 'the second nginx leaves';
unlike $t->log_of('error2'), qr/\[(alert|emerg)\]/, 'without an alert';

$t->finish;
done_testing;
