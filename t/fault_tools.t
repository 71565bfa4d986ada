# The tools of the fault suite do what they say: the proxy that stands between
# programs, and the power cut.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/fault/lib";
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Fault::Link;
use Trifecta::Fault::Power;
use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0);


# a server that says everything again

my $echo = $t->free_port;
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 32,
    LocalPort => $echo, ReuseAddr => 1) or die "listen: $!\n";
my $server = fork // die "fork: $!\n";

if (!$server) {
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    my $set = IO::Select->new($listen);
    while (getppid != 1) {
        for my $sock ($set->can_read(1)) {
            if ($sock == $listen) {
                $set->add($listen->accept);
            } elsif (!sysread $sock, my $bytes, 65536) {
                $set->remove($sock);
                $sock->close;
            } else {
                $sock->syswrite($bytes);
            }
        }
    }
    POSIX::_exit(0);
}

$listen->close;

my $link = Trifecta::Fault::Link->new($t->free_port, $echo);

sub client {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', Timeout => 5,
                                 PeerPort => $link->port);
}

# What came back within so many seconds: (bytes, seconds), or what ended it.

sub said {
    my ($sock, $n, $timeout) = @_;
    my ($got, $start) = ('', time);

    while (length $got < $n) {
        my $left = $start + $timeout - time;
        return ($got, $timeout) if $left <= 0
            || !IO::Select->new($sock)->can_read($left);
        my $read = sysread $sock, $got, 65536, length $got;
        return ($!{ECONNRESET} ? 'reset' : "$!", 0) unless defined $read;
        return ('closed', 0) if $read == 0;
    }

    return ($got, time - $start);
}

sub says {
    my ($sock, $text, $timeout) = @_;
    $sock->syswrite($text);
    return said($sock, length $text, $timeout // 10);
}

my $c = client();
is((says($c, 'hello'))[0], 'hello', 'the proxy passes bytes on');
is(($link->do('count'))[0], 1, 'and counts connections');

$link->do('latency 300 down');
my ($got, $took) = says($c, 'slow');
is($got, 'slow', 'latency: it comes');
cmp_ok($took, '>=', 0.29, 'but that much later');
$link->do('latency 300 up');
(undef, $took) = says($c, 'both');
cmp_ok($took, '>=', 0.59, 'both ways');
$link->do('heal');
(undef, $took) = says($c, 'fast');
cmp_ok($took, '<', 0.29 * $t->slow, 'and not when it is healed');

$link->do('rate 20000 up');
my $much = join '', map { chr 65 + $_ % 26 } 1 .. 10000;
($got, $took) = says($c, $much);
ok($got eq $much, 'rate: everything comes');
cmp_ok($took, '>=', 0.3, 'in its time');
$link->do('heal');

$link->do('slice');
is((says($c, 'abcdef'))[0], 'abcdef', 'slice: everything comes');
$c->syswrite('abc');
sleep 0.2;
my $first = sysread $c, my $piece, 65536;
cmp_ok($first, '>=', 1, 'in pieces');
$link->do('heal');
said($c, 3 - $first, 5) if $first < 3;

$link->do('stall down');
$c->syswrite('wait');
is((said($c, 4, 0.4))[0], '', 'stall: nothing comes');
$link->do('heal');
is((said($c, 4, 5))[0], 'wait', 'until it is healed; nothing was lost');

$link->do('stall');
my $late = client();
ok($late, 'a new connection while it stalls');
$late->syswrite('late');
is((said($late, 4, 0.4))[0], '', 'has no answer');
$link->do('heal');
is((said($late, 4, 5))[0], 'late', 'until it is healed');

$link->do('hole up');
$c->syswrite('lost');
is((said($c, 4, 0.4))[0], '', 'hole: nothing comes');
$link->do('heal');
is((said($c, 4, 5))[0], 'reset', 'and never will: healed, it is reset');
is((says($late, 'x'))[0], 'x', 'whoever lost nothing goes on');

$link->do('reset');
is((said($late, 1, 5))[0], 'reset', 'reset resets');
$c = client();
$link->do('cut');
is((said($c, 1, 5))[0], 'closed', 'cut closes');

$c = client();
is((says($c, 'x'))[0], 'x', 'there is a connection');
$link->do('refuse');
ok(!client(), 'refuse: no new connection');
is((says($c, 'y'))[0], 'y', 'the old one stays');
$link->do('heal');
ok(client(), 'healed, there are new ones');
ok(!eval { $link->do('dance'); 1 }, 'an unknown command is refused');

kill 'KILL', $server;
waitpid $server, 0;


# Power.  Redis alone, as everywhere with its append-only file.

sub redis_with {
    my ($fsync, %env) = @_;
    my $power = Trifecta::Fault::Power->new("$t->{dir}/power.$fsync");

    $t->{opt}{proc_env}{redis} = { $power->env, %env };
    $t->{opt}{redis_conf} = "appendfsync $fsync\n";
    $t->write_conf;
    $t->start('redis');

    return $power;
}

# Writes n keys of that name, a few in flight; those that were acknowledged.

sub acknowledged {
    my ($name, $n) = @_;
    my $redis = $t->redis_client;
    my @ok;

    for my $i (1 .. $n) {
        $redis->send('SET', "$name:$_", 'x' x 100) for 3 * $i - 2 .. 3 * $i;
        for (3 * $i - 2 .. 3 * $i) {
            push @ok, "$name:$_" if ($redis->reply)[0] eq 'OK';
        }
    }

    return @ok;
}

sub missing { scalar grep { !$t->redis('EXISTS', $_) } @_ }

my $power = redis_with('always');
my @keys = acknowledged('a', 300);
$t->kill('redis');
my ($files, $lost) = $power->cut("$t->{dir}/redis");
is($lost, 0, 'always: everything acknowledged was synced');
$t->start('redis');
is(missing(@keys), 0, 'and is there after the cut');

$t->redis('BGREWRITEAOF');
push @keys, acknowledged('b', 100);
ok($t->wait_for(sub { $t->redis('INFO', 'persistence')
                      =~ /aof_rewrite_in_progress:0/ }, 10),
    'the file is written anew');
push @keys, acknowledged('c', 100);
$t->kill('redis');
$power->cut("$t->{dir}/redis");
$t->start('redis');
is(missing(@keys), 0, 'files that were renamed are known by their new name');
$t->stop('redis');

$power = redis_with('always', TF_POWER_DELAY => 1500);
my $redis = $t->redis_client(timeout => 20);
$redis->send('SET', 'between', 'x');
sleep 0.5;
$t->kill('redis');
(undef, $lost) = $power->cut("$t->{dir}/redis");
cmp_ok($lost, '>', 0, 'a kill between write and fsync loses what was written');
ok(!defined eval { $redis->reply(1) }, 'which nobody was told');
$power = redis_with('always');
is(missing('between'), 1, 'it is not there after the cut');
is(missing(@keys), 0, 'the rest is');
$t->kill('redis');

# the kill alone does not show it
File::Path::remove_tree("$t->{dir}/redis");
mkdir "$t->{dir}/redis", 0700;
$power = redis_with('everysec');

for my $try (1 .. 5) {
    @keys = acknowledged("e$try", 50);
    $t->kill('redis');
    $t->start('redis');
    is(missing(@keys), 0, 'everysec: a kill of the process loses nothing')
        if $try == 1;
    @keys = acknowledged("f$try", 50);
    $t->kill('redis');
    (undef, $lost) = $power->cut("$t->{dir}/redis");
    $t->start('redis');
    last if $lost;
}

cmp_ok($lost, '>', 0, 'a power cut does');
cmp_ok(missing(@keys), '>', 0, 'and acknowledged keys are not there');

$t->finish;
done_testing;
