# What nginx makes of a Redis that is frozen, cut off without a word, or not
# what it should be: both connections notice it by themselves, whatever asks
# meanwhile is answered in time, and all mends itself.  The manual says that an
# idle connection asks every five seconds and waits 800 ms for the answer; the
# bound here is five times that.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use IPC::Open2;
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $Q = '/api/v1/query';
my $t = Trifecta::Test->new(start => 0, sidecars => 1,
    models => 'test extractive');
my $slow = $t->slow;
my $in_time = 10;
my $noticed = 5 * 5.8;

# the sidecar and the test talk to Redis, nginx through the proxy

my $port = $t->free_port;
my $pid = open2(my $from, my $to, $t->root . '/build/test/fault/proxy', $port,
                $t->{redis_port});

sub proxy {
    print {$to} "@_\n";
    $to->flush;
    my $said = <$from>;
    die "proxy @_: $said" unless $said =~ /^ok/;
    return $said;
}

$t->{opt}{trifecta}{trifecta_redis} = "127.0.0.1:$port";
$t->write_conf;
$t->start_all;

sub ask { $t->post($Q, { query => 'say=x', model => 'test' }) }
sub number { $t->metrics->{"trifecta_$_[0]_workers"} }
sub reason { $t->admin('/readyz')->{json}{redis}{shards}[0]{reason} // '' }

sub all_is_well {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok $t->wait_for(sub {
        ask()->{status} == 202 && number('redis_ready') == 2
            && number('subscriber_ready') == 2
            && $t->admin('/readyz')->{status} == 200
    }, 20), $name or diag reason();
}

all_is_well('through the proxy');


# Nobody asks for anything: the connections notice

for my $case (
    ['a_peer_that_is_gone_without_a_word', sub { proxy('hole') },
     sub { proxy('heal') }],
    ['a_peer_that_hears_nothing', sub { proxy('hole', 'up') },
     sub { proxy('heal') }],
    ['a_peer_that_is_not_heard', sub { proxy('hole', 'down') },
     sub { proxy('heal') }],
    ['a_network_that_is_cut', sub { proxy('stall') }, sub { proxy('heal') }],
    ['a_frozen_redis', sub { $t->freeze('redis') }, sub { $t->thaw('redis') }],
) {
    my ($name, $break, $mend) = @$case;
    my $began = time;

    $break->();
    ok $t->wait_for(sub { number('redis_ready') == 0 }, $noticed),
        "${name}_is_noticed_by_an_idle_connection";
    ok $t->wait_for(sub { number('subscriber_ready') == 0 },
                    $noticed - (time - $began)), '  and by that of messages';

    # the first attempt to connect again is waited for, but no other

    sleep 1.5;
    my $res = ask();
    is "$res->{status} $res->{code}", '503 queue_unavailable',
        '  then a question is 503';
    cmp_ok $res->{time}, '<', 0.5 * $slow, '  at once';
    like reason(), qr/not answer|timed out|closed/, '  and readyz says why';
    $mend->();
    all_is_well('  mended, all is well');
}


# Somebody asks: answered in time, and a long poll that sleeps is, too

for my $how (['hole'], ['hole', 'down'], ['stall']) {
    my $id = $t->ask('sleep=60000', model => 'test');
    my $poll = fork // die "fork: $!";

    if (!$poll) {
        my $res = $t->result($id, headers => { Prefer => 'wait=5' },
                             timeout => 60);
        $t->write_file("$t->{dir}/run/poll", "$res->{status} $res->{time}");
        require POSIX;
        POSIX::_exit(0);
    }

    sleep 0.5;
    proxy(@$how);
    my @res = map { ask() } 1 .. 4;
    is_deeply [grep { $_->{status} !~ /^50[34]$/ || $_->{time} > $in_time }
        @res], [], "@$how: questions_are_answered_in_time";
    cmp_ok scalar(grep { $_->{status} == 504 } @res), '<=', 2,
        '  504 once a worker at most';
    waitpid $poll, 0;
    my ($status, $took) = split ' ', $t->read_file("$t->{dir}/run/poll");
    is $status, 503, '  a long poll that slept ends';
    cmp_ok $took, '<', 5 + $in_time, '  in its time';
    proxy('heal');
    all_is_well('  healed, all is well');
    $t->post("$Q/$id/cancel", '');
}

for my $how ('reset', 'cut') {
    sleep 1.2;
    proxy($how);
    my @res = map { ask() } 1 .. 4;
    is_deeply [map { $_->{status} } @res], [(202) x 4],
        "connections_that_are_${how}_are_made_again_unseen";
}

all_is_well('all is well');
kill 'KILL', $pid;
waitpid $pid, 0;


# Servers that are not what they should be: one process, all connections

my %good = (
    INFO => "\$%d\r\nrole:master\r\nrun_id:r\r\nmaster_replid:m\r\n\r\n",
    HMGET => "*4\r\n\$1\r\n1\r\n\$1\r\n1\r\n\$3\r\nr:m\r\n\$-1\r\n",
    PING => "+PONG\r\n", AUTH => "+OK\r\n",
    SSUBSCRIBE => "*3\r\n\$10\r\nssubscribe\r\n\$16\r\n{trifecta:0}:inv"
                  . "\r\n:1\r\n",
    FCALL => "*2\r\n\$2\r\nOK\r\n\$1\r\nx\r\n", FCALL_RO => "*0\r\n");
$good{INFO} = sprintf $good{INFO}, length($good{INFO}) - 5 - 2;

sub fake {
    my (%answer) = (%good, @_);
    my $l = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1',
        LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
    $t->write_file("$t->{dir}/run/fake", '');
    my $child = fork // die "fork: $!";

    return ($child, $l->sockport) if $child;

    open my $log, '>>', "$t->{dir}/run/fake" or die;
    $log->autoflush;
    my $select = IO::Select->new($l);
    my %in;

    while (my @ready = $select->can_read) {
        for my $c (@ready) {
            if ($c == $l) {
                $select->add($l->accept);
                print {$log} "connect\n";
                next;
            }
            if (!sysread $c, $in{$c}, 65536, length($in{$c} // '')) {
                $select->remove($c);
                close $c;
                next;
            }
            while ($in{$c} =~ s/^\*(\d+)\r\n//) {
                my @argv;
                for (1 .. $1) {
                    $in{$c} =~ s/^\$(\d+)\r\n//;
                    push @argv, substr $in{$c}, 0, $1, '';
                    substr $in{$c}, 0, 2, '';
                }
                print {$log} "$argv[0]\n";
                syswrite $c, $answer{$argv[0]} // "-ERR unknown\r\n";
            }
        }
    }
}

sub use_it {
    my ($at) = @_;
    $t->{opt}{trifecta}{trifecta_redis} = "127.0.0.1:$at";
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { -d "/proc/$_" } @old }, 20);
}

sub told { scalar(() = $t->read_file("$t->{dir}/run/fake") =~ /^$_[0]$/mg) }

for my $case (
    ['that is a replica', qr/a replica/,
     INFO => do { (my $i = $good{INFO}) =~ s/master\r/xslave\r/; $i }],
    ['whose INFO is refused', qr/NOPERM/, INFO => "-NOPERM no\r\n"],
    ['whose INFO is empty', qr/unexpected reply to INFO/, INFO => "\$-1\r\n"],
    ['whose INFO says nothing', qr/unexpected reply to INFO/,
     INFO => "\$3\r\nabc\r\n"],
    ['whose INFO is too long', qr/unexpected reply to INFO/,
     INFO => do { my $i = "role:master\r\nrun_id:" . 'r' x 500
                          . "\r\nmaster_replid:m\r\n";
                  sprintf "\$%d\r\n%s\r\n", length $i, $i }],
    ['whose HMGET is short', qr/unexpected reply to HMGET/,
     HMGET => "*2\r\n\$1\r\n1\r\n\$1\r\n1\r\n"],
    ['whose HMGET is of other types', qr/no sidecar has adopted/,
     HMGET => "*4\r\n:1\r\n:1\r\n*0\r\n\$-1\r\n"],
    ['that is loading', qr/LOADING/, HMGET => "-LOADING wait\r\n"],
    ['that talks nonsense', qr/Protocol error/, HMGET => "HTTP/1.1 200\r\n"],
    ['that never answers', qr/not answer/, INFO => '', HMGET => ''],
) {
    my ($name, $says, %answer) = @$case;
    my ($child, $at) = fake(%answer);

    use_it($at);
    ok $t->wait_for(sub { reason() =~ $says }, $in_time),
        "a server $name is not used, and readyz says why" or diag reason();
    my $res = ask();
    is "$res->{status} $res->{code}", '503 queue_unavailable', '  503, and';
    is told('FCALL'), 0, '  nothing_is_sent_to_it';
    kill 'KILL', $child;
    waitpid $child, 0;
}


# READONLY: left at once, and tried again

{
    my ($child, $at) = fake(FCALL => "-READONLY no write to a replica\r\n");

    use_it($at);
    ok $t->wait_for(sub { number('redis_ready') == 2
                          && number('subscriber_ready') == 2 }, $in_time),
        'a server that will say READONLY is used';
    my $before = told('connect');
    my $res = ask();
    is "$res->{status} $res->{code}", '503 queue_unavailable',
        'READONLY_is_503_for_it_was_not_done';
    cmp_ok $res->{time}, '<', $in_time, '  in time';
    ok $t->wait_for(sub { told('connect') >= $before + 2 }, $in_time),
        '  and_both_connections_are_made_again';
    is told('FCALL'), 1, '  it is not sent again to the same';
    kill 'KILL', $child;
    waitpid $child, 0;
}

use_it($t->{redis_port});
all_is_well('the real one again');

$t->finish;
done_testing;
