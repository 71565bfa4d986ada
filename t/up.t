# scripts/up and scripts/down: from nothing to an answer, again, after every
# kind of death, and back to nothing, without touching what is not theirs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Proc;
use Trifecta::Test::Redis;

my $root = Trifecta::Test->root;
my $tmp = tempdir('trifecta-up.XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0711, $tmp;
my $run = "$tmp/run";
my @names = qw(redis postgres sidecar nginx);

delete @ENV{grep { /^(TRIFECTA_|ASAN_|UBSAN_)/ } keys %ENV};
$ENV{TRIFECTA_RUN} = $run;


sub slurp {
    my ($file) = @_;
    open my $fh, '<:raw', $file or return '';
    local $/;
    return scalar(<$fh>) // '';
}


my $output = '';

sub script {
    my (@cmd) = @_;
    my $name = shift @cmd;
    my $out = qx("$root/scripts/$name" @cmd 2>&1);
    my $status = $?;
    $output .= $out;
    diag "$name @cmd:\n$out" if $status;
    return ($status, $out);
}


sub pids {
    return map { $_ => (split ' ', slurp("$run/pid/$_"))[0] // 0 } @names;
}


sub runs { my ($pid) = @_; $pid && slurp("/proc/$pid/stat") !~ /^$|\) Z / }


# A Redis of somebody else, on the very port that up would like to have.

my $foreign_port = 16379;
my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
    LocalPort => $foreign_port, ReuseAddr => 1);
$foreign_port = Trifecta::Test->free_port unless $probe;
close $probe if $probe;

mkdir "$tmp/foreign";
my $foreign = Trifecta::Test::Proc->start(name => 'foreign',
    log => "$tmp/foreign/log", cmd => ['redis-server', '--port',
    $foreign_port, '--bind', '127.0.0.1', '--dir', "$tmp/foreign",
    '--save', '', '--appendonly', 'no']);

my $redis;
for (1 .. 100) {
    last if $redis = eval {
        my $client = Trifecta::Test::Redis->connect(port => $foreign_port);
        $client->cmd('PING');
        $client;
    };
    sleep 0.05;
}
$redis->cmd('SET', 'foreign', 'untouched');


# Whoever looks at the process list while up runs must not learn a secret: a
# second process collects all command lines.

my $seen = "$tmp/cmdlines";
my $spy = fork // die "fork: $!\n";
if ($spy == 0) {
    my %lines;
    my $stop = 0;
    $SIG{TERM} = sub { $stop = 1 };
    until ($stop) {
        $lines{slurp($_)} = 1 for glob '/proc/[0-9]*/cmdline';
        select undef, undef, undef, 0.01;
    }
    open my $fh, '>:raw', $seen or POSIX::_exit(1);
    print $fh join "\n", keys %lines;
    close $fh;
    POSIX::_exit(0);
}


# First and second time

my ($status, $out) = script('up');
is $status, 0, 'up: exit 0';
like $out, qr/\.md/, 'its answer cites a file';
like $out, qr{https://localhost:\d+}, 'it says what runs where';

my %first = pids();
is scalar(grep { runs($_) } values %first), 4, 'four processes run';

my $env = slurp("$run/env");
my %env = $env =~ /^export (TRIFECTA_\w+)='([^']*)'$/mg;
like $env{TRIFECTA_URL}, qr{^https://localhost:\d+$}, 'env: URL';
ok -s $env{TRIFECTA_CA}, 'env: CA';
is scalar(split /\./, $env{TRIFECTA_TOKEN}), 3, 'env: token';
ok -x $env{TRIFECTA_BIN}, 'env: program';
is((stat "$run/env")[2] & 07777, 0600, 'env is private');
is scalar(grep { (stat)[2] & 077 } glob "$run/secrets/*"), 0,
    'secrets are private';

my $payload = (split /\./, $env{TRIFECTA_TOKEN})[1];
require MIME::Base64;
my $claims = JSON::PP::decode_json(MIME::Base64::decode_base64url($payload));
cmp_ok abs($claims->{exp} - time - 30 * 86400), '<', 600,
    'the token is good for 30 days';

my $asked = qx(. "$run/env" && "$env{TRIFECTA_BIN}" ask "What is a lease?" 2>&1);
is $?, 0, 'ask, with this environment';

my $ports = slurp("$run/ports");

# An answer of now, to be read again after everything died

require HTTP::Tiny;
my $http = HTTP::Tiny->new(verify_SSL => 1, keep_alive => 0,
    SSL_options => { SSL_ca_file => $env{TRIFECTA_CA} },
    default_headers => { Authorization => "Bearer $env{TRIFECTA_TOKEN}" });
my $res = $http->post("$env{TRIFECTA_URL}/api/v1/query", {
    headers => { 'Content-Type' => 'application/json' },
    content => '{"query": "What is a lease?"}' });
is $res->{status}, 202, 'a question by HTTPS';
my $link = $res->{headers}{location} // '/';
my $body;
for (1 .. 200) {
    $body = $http->get("$env{TRIFECTA_URL}$link")->{content};
    last if $body =~ /"status":\s*"succeeded"/;
    sleep 0.05;
}
like $body, qr/"status":\s*"succeeded"/, 'and its answer';

($status) = script('up');
is $status, 0, 'up again: exit 0';
is_deeply { pids() }, \%first, 'it adopts what lives';
is slurp("$run/ports"), $ports, 'ports are the same';


# Every process dies by SIGKILL, nginx' workers stay behind; one pid file
# names a process that has nothing to do with us.

my @workers = split ' ', slurp("/proc/$first{nginx}/task/$first{nginx}/children");
kill 'KILL', $first{$_} for @names;
sleep 0.2;

my $innocent = Trifecta::Test::Proc->start(name => 'innocent',
    log => "$tmp/innocent.log", cmd => ['sleep', 600]);
open my $fh, '>', "$run/pid/redis" or die;
print $fh $innocent->pid, " 12345 0\n";
close $fh;

($status) = script('up');
is $status, 0, 'up after SIGKILL for all: exit 0';

my %second = pids();
is scalar(grep { runs($second{$_}) && $second{$_} != $first{$_} } @names), 4,
    'all are new';
is scalar(grep { runs($_) } @workers), 0, 'the old workers are gone';
ok $innocent->alive, 'a process with a pid of ours of old lives';
is slurp("$run/ports"), $ports, 'ports are the same';
is $http->get("$env{TRIFECTA_URL}$link")->{content}, $body,
    'the answer of before is still there, and the token good';


# One at a time

for my $name (@names) {
    my %before = pids();
    kill 'KILL', $before{$name};
    ($status) = script('up');
    my %after = pids();
    is $status, 0, "up after SIGKILL for $name: exit 0";
    is_deeply [grep { $before{$_} != $after{$_} } @names], [$name],
        "only $name is new";
}


# A stopped process is replaced or mended, not waited for: down copes with it

my %last = pids();
kill 'STOP', $last{sidecar};

# Down, twice

kill 'TERM', $spy;
waitpid $spy, 0;

my %secret = map { my $text = slurp($_); chomp $text; ($_ => $text) }
             grep { !/tls\.key/ } glob "$run/secrets/*";
my $everything = $output . $asked . $body . slurp($seen)
    . join '', map { slurp($_) } glob("$run/log/*"), glob("$run/conf/*.conf");
$everything =~ s/^requirepass .*$//mg;

is scalar(keys %secret), 7, 'seven secrets';
is_deeply [grep { index($everything, $secret{$_}) >= 0 } keys %secret], [],
    'none is in a log, an answer or the process list';
ok index($everything, $env{TRIFECTA_TOKEN}) < 0, 'nor is the token';

($status) = script('down');
is $status, 0, 'down: exit 0';
is scalar(grep { runs($_) } values %last), 0, 'all are gone';
ok !-e $env{TRIFECTA_RUNTIME}, 'so is the runtime folder';

($status) = script('down');
is $status, 0, 'down again: exit 0';

for my $wrong ([ TRIFECTA_PORT => '22x' ], [ TRIFECTA_PORT => 99999 ],
               [ TRIFECTA_PORT => 12345, TRIFECTA_ADMIN_PORT => 12345 ])
{
    local %ENV = (%ENV, @$wrong);
    my $out = qx("$root/scripts/up" 2>&1);
    isnt $?, 0, "@$wrong: an error";
    like $out, qr/ is (no port|wanted for two things)$/m, 'which is named';
    is slurp("$run/ports"), $ports, 'a_mistaken_port_is_not_remembered';
}

($status) = script('up');
is $status, 0, 'up after down: exit 0';
is slurp("$run/ports"), $ports, 'ports survive';
is $http->get("$env{TRIFECTA_URL}$link")->{content}, $body, 'data survive';

($status) = script('down', '--wipe');
is $status, 0, 'down --wipe: exit 0';
ok !-e $run, 'nothing is left';

ok $foreign->alive, "somebody else's Redis lives";
is $redis->cmd('GET', 'foreign'), 'untouched', 'and kept its data';
is $redis->cmd('DBSIZE'), 1, 'and got none of ours';


# Short cuts that this project does not take

my @bad;
for my $file (grep { -f && !m{/up\.t$} } map { glob "$root/$_" }
              qw(scripts/* scripts/lib/* conf/* conf/snippets/* t/*.t
                 t/lib/*/* t/lib/*/*/* docs/* README.md Makefile .ci/run))
{
    my $n = 0;
    for my $line (split /\n/, slurp($file)) {
        $n++;
        push @bad, "$file:$n" if $line =~ /\bcurl\b.*\s(?:-k|--insecure)\b/
            || $line =~ /^\s*user\s+root\b/
            || $line =~ /SSL_VERIFY_NONE|verify_SSL\s*=>\s*0/;
    }
}
is_deeply \@bad, [], 'TLS is verified and nginx works as a user everywhere';

$innocent->kill;
$foreign->kill;

done_testing;
