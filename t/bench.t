#!/usr/bin/perl

# The frame of bench/run: its table of cases is sound, its statistics are
# those of the textbook, the load generator counts what it should and hides no
# delay, and one case runs on a real stack.  No speed is asserted, and no
# package of a peer is needed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../bench/lib";
use File::Temp;
use IO::Socket::INET;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Bench::Cases;
use Trifecta::Bench::Cost;
use Trifecta::Bench::Deadline qw(within child);
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Profile;
use Trifecta::Bench::Progress;
use Trifecta::Bench::Rounds qw(rounds judge markdown cost_of attempt);
use Trifecta::Bench::Stats qw(median spread paired figure);
use Trifecta::Test;

my $root = Trifecta::Test->root;
my $temp = File::Temp->newdir;


# Statistics

is(median(3, 1, 2), 2, 'the median of an odd number');
is(median(4, 1, 2, 3), 2.5, 'the median of an even number');
is(median(undef, 7), 7, 'a round without a figure does not count');
is(median(), undef, 'no round, no median');
is(spread(90, 100, 110), 10, 'the spread is half of the range, in percent');
is_deeply([paired([10, 40, 90], [10, 20, 30])], [2, 1, 3],
    'a ratio is the median of the ratios of each round');
is_deeply([paired([1, undef, 3], [0, 2, 3])], [1, 1, 1],
    'rounds in which one of both is missing do not count');
is(join(' ', map { figure($_) } 0, 1.234, 56.78, 1234.5), '0 1.23 56.8 1234',
    'three digits are shown');


# Rounds, targets, tables

my @order;
my $result = rounds('made', [map { my $name = $_; { name => $name,
    leaves => "all of $name", measure => sub { my ($round) = @_;
    push @order, $name; +{ rate => $name eq 'a' ? 10 * $round : $round }
    } } } qw(a b c)], 3);

is("@order", 'a b c a b c a b c', 'rows take turns');
is_deeply($result->{rows}[0]{values}, { rate => [10, 20, 30] },
    'each round of a row is kept');
cmp_ok($result->{others}, '>=', 0, 'what others take is not below nothing');

my %target = (over => 'a', under => 'b', column => 'rate');
my @judged = judge($result, { %target, name => 'm', least => 10 },
    { %target, name => 'n', least => 10.1 },
    { %target, name => 'o', most => 10 },
    { %target, name => 'p', most => 9.9 },
    { %target, name => 'alone', under => undef, most => 20 },
    { %target, name => 'none', under => 'd', most => 1 });
is_deeply([map { "$_->{name} $_->{ratio} " . ($_->{held} ? 1 : 0) } @judged],
    ['m 10 1', 'n 10 0', 'o 10 1', 'p 10 0', 'alone 20 1'],
    'targets are judged; one without its row is left out');

my $text = markdown($result, [['rate', 'a second'], ['p99', 'p99']], @judged);
like($text, qr/^\| \| a second \| leaves out \|$/m,
    'a table has the columns that were measured');
like($text, qr/^\| a \| 20\.0 ±50% \| all of a \|$/m,
    'a row has median, spread and what it leaves out');
like($text,
    qr/^\| n \| 10\.0 \(10\.0 to 10\.0\) \| at least 10\.1 \| missed \|$/m,
    'a target has its ratio, its range and what became of it');


my @tries;
$result = rounds('made', [
    { name => 'bad', measure => sub { push @tries, $_[0]; die "no\n" } },
    attempt('worse', sub { die "not there\n" }),
    { name => 'good', measure => sub { +{ rate => 1 } } }], 2);
is("@tries", 1, 'a row that died is not tried again');
is($result->{rows}[1]{failed}, "not there\n",
    'a row that could not be prepared says why');
like(markdown($result, [['rate', 'a second']]),
    qr/^\| bad \|  \| FAILED \|\n.*^\| good \| 1\.00/ms,
    'the others are measured all the same');


# Deadlines: who hangs is ended, also in a loop that catches it, with the
# program that it waits for

my $begun = time;
my $hangs = sub {
    my $pid = child(open my $fh, '-|', 'sh', '-c', 'echo $$; exec sleep 60')
        || die "sleep: $!\n";
    while (1) { eval { my @lines = <$fh>; 1 }; sleep 0.1 }
};
my @seen;
$result = rounds('made', [{ name => 'hangs', limit => 1, measure => $hangs },
    { name => 'ends', measure => sub { +{ rate => 1 } } }], 2,
    say => sub { push @seen, join ' ', @_ },
    each => sub { push @seen, scalar grep { $_->{values} } @{ $_[0]{rows} } });
is($result->{rows}[0]{failed}, "it did not end within 1 seconds\n",
    'a row that hangs has a deadline');
cmp_ok(time - $begun, '<', 30, 'which is the end of all that it waits for');
is_deeply($result->{rows}[1]{values}, { rate => [1, 1] },
    'and the others go on');
is_deeply(\@seen, ['round 1 of 2: hangs 0', 0, 'round 1 of 2: ends 0.25', 1,
    'round 2 of 2: ends 0.75', 1],
    'before each row it is told, after each the figures are there');
is(within(5, sub { 7 }), 7, 'work in time has its result');
is(eval { within(5, sub { die "so\n" }) } // $@, "so\n", 'or its error');


# How long the rest takes

open my $told, '>', \my $progress or die "$!\n";
my $p = Trifecta::Bench::Progress->new($told, ['a', 'b'],
                                       { a => 100, b => 300 });
$p->begin('a');
like($progress, qr/^bench\/run: a \(1 of 2\), getting ready; 0 s so far, about 7 min left$/m,
    'what is left is what the cases take');
$p->{begun} -= 100;
cmp_ok(abs $p->left(0.5) - 700, '<', 10, 'or longer, if it took longer');
$p->at('soon', 0.5);
unlike($progress, qr/soon/, 'not every step is a line');
$p->begin('b');
like($progress, qr/b \(2 of 2\)/, 'but each case');


# Processor time

my $pid = fork // die "fork: $!\n";
if ($pid == 0) {
    my $end = time + 30;
    1 while time < $end;
    POSIX::_exit(0);
}
my $cost = Trifecta::Bench::Cost->new(busy => [$pid], idle => [$$]);
my $got = cost_of($cost, sub { sleep 1; (10, rate => 7) });
kill 'KILL', $pid;
waitpid $pid, 0;

cmp_ok($got->{'cpu busy'}, '>', 10_000 / 10, 'a busy process costs time');
cmp_ok($got->{'cpu busy'}, '<', 10_000_000 / 10,
    'and not more than the clock, a request');
is($got->{rate}, 7, 'what was measured goes along');
cmp_ok($cost->memory->{idle}, '>', 1_000_000, 'memory is in bytes');


my $memory = [grep { /^mem / } sort keys %$got];
is("@$memory", 'mem after mem idle mem load mem of busy mem of idle',
    'the memory before, under load and after goes along');
is(eval { cost_of($cost, sub { die "not so\n" }) }, undef,
    'work that dies has no costs');
is($@, "not so\n", 'and says why');
$result = rounds('made', [{ name => 'a', measure => sub {
    +{ rate => 1, 'mem idle' => 5, 'mem load' => 7, 'mem of x' => 6 } } }], 1);
$result->{last} = 'why';
$text = markdown($result, [['rate', 'a second']]);
like($text, qr/^\| \| MB idle \| MB under load \| of these x \|$/m,
    'memory has a table of its own');
like($text, qr/^\| a \| 5\.00 \| 7\.00 \| 6\.00 \|$/m,
    'with the same rows');
like($text, qr/^\| \| a second \| why \|$/m,
    'the last column may be another one');


# Profiles

$text = Trifecta::Bench::Profile::table('samples', 3, ['b', 1, 'f', '/x/lib'],
    ['a', 1, 'main', '/usr/bin/redis-check-rdb'],
    ['a', 3, '[unknown]', '[kernel.kallsyms]']);
cmp_ok(index($text, "### Costs of a: 4 samples\n\nBy object: the kernel 75.0 %,"
    . " redis-server 25.0 %.\n"), '==', 0,
    'a profile has the costs of a process');
cmp_ok(index($text, '| 75.0 % | `a function without a name` | the kernel |'
    . "\n| 25.0 % | `main` | redis-server |\n\n### Costs of b: 1 samples\n"),
    '>', 0, 'and the top of them, with shares');


# The table of cases

my @names = Trifecta::Bench::Cases::names();
cmp_ok(scalar @names, '>', 2, 'there are cases');

for my $name (@names) {
    my $case = Trifecta::Bench::Cases::load_case($name);
    like($case->what, qr/\w/, "$name says what it measures");
    cmp_ok(Trifecta::Bench::Cases::seconds($name, $_, 3, 2), '>', 0,
           "$name: its length is known") for 0, 1;
    next if $case->can('parts');

    my %column = map { $_->[0] => $_->[1] } @{ $case->columns };
    ok((!grep { !$column{$_->{column}} || !defined($_->{most} // $_->{least})
                || !$_->{name} || !$_->{over} } $case->targets),
       "$name: a target has a name, a column of the table and a bound");
}

# all of a run with few rounds, and of --quick, is bounded
for ([0, 40], [1, 5]) {
    my ($quick, $minutes) = @$_;
    my $all = 0;
    $all += Trifecta::Bench::Cases::seconds($_, $quick, 3, 2)
        for $quick ? Trifecta::Bench::Cases::quick() : @names;
    cmp_ok($all, '<', 60 * $minutes, "all cases take $minutes minutes at most");
}


# What grows, in a table

my $growth = Trifecta::Bench::Cases::load_case('growth');
my %grown = (grown => { sizes => [10, 100, 1000], row => {
    'jobs: submit, µs in all' => [10, 11, 19],
    'jobs: cancel, µs in all' => [10, 11, 21],
    'results: read, µs in all' => [10, 11] } });
@judged = $growth->can('judged')->(\%grown);
is_deeply([map { "$_->{name} $_->{held}" } @judged], ['jobs: submit, µs in all,'
    . ' 1000 against 10 1', 'jobs: cancel, µs in all, 1000 against 10 '],
    'what costs twice as much has grown; what was not measured is not judged');
$text = $growth->can('text')->(\%grown, @judged);
like($text, qr/^\| jobs: submit, µs in all \| 10\.0 \| 11\.0 \| 19\.0 \| 1\.90 \|$/m,
    'the last column is last against first');
like($text, qr/^\| results: read, µs in all \| 10\.0 \| 11\.0 \| - \| - \|$/m,
    'if it is there');
like($text, qr/^\| jobs: cancel.*2\.10.*at most 2 \| missed \|$/m,
    'and below it what was wanted');


sub run_bench { run_program('run', @_) }

sub run_program {
    my ($name, @args) = @_;
    open my $fh, '-|', 'sh', '-c', 'exec "$@" 2>&1', '-', "$root/bench/$name",
        @args or die "bench/$name: $!\n";
    my $out = do { local $/; <$fh> } // '';
    close $fh;
    my $status = $? >> 8;
    $out =~ s/^(bench\/run: .* left\n)/$progress .= $1; ''/gme;
    return ($status, $out);
}

my ($status, $out) = run_bench('--help');
is($status, 0, '--help');
like($out, qr/--$_\b/, "--help has --$_")
    for qw(rounds seconds rows closed quick json markdown list no-peers);
($status, $out) = run_bench('--list');
is_deeply([$out =~ /^(\w+)/mg], \@names, '--list has each case');
($status, $out) = run_bench('nothing');
is($status, 2, 'an unknown case is refused');
like($out, qr/no case "nothing".*--list/, 'and the message says where to look');
($status, $out) = run_bench('--rows', '(', 'submit');
is($status, 2, 'a regex that is none is refused');
($status, $out) = run_program('profile', 'waiting');
is($status, 2, 'a case that prints its own table has no profile');
like($out, qr/"waiting" measures by itself/, 'and the message says so');


# The load generator, against a server that stalls once

Trifecta::Bench::Load::programs($root);
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
    LocalPort => 0) or die "listen: $!\n";
my $server = fork // die "fork: $!\n";
if ($server == 0) {
    my $n = 0;
    while (my $peer = $listen->accept) {
        while (sysread $peer, my $in, 65536) {
            sleep 1 if ++$n == 10;
            my $body = $n % 2 ? "3\r\nabc\r\n2\r\nzq\r\n0\r\n\r\n" : 'abczq';
            syswrite $peer, "HTTP/1.1 200 OK\r\n" . ($n % 2
                ? 'Transfer-Encoding: chunked' : 'Content-Length: 5')
                . "\r\n\r\n$body";
        }
    }
    POSIX::_exit(0);
}

my $load = load($listen->sockport, '/@@', connections => 1, rate => 50,
    seconds => 2, until => 'zq', keep => "$temp/keep");
is($load->{good}, 100, 'an open loop asks as often as it was told');
is($load->{broken} + $load->{bad}, 0, 'and understands chunks and lengths');
cmp_ok($load->{latency}{p90}, '>', 500_000,
    'who is due while a server stalls has waited from then on');
is($load->{first}{n}, 100, 'the text in the stream is seen in each answer');
my @kept = split /\n/, Trifecta::Test->read_file("$temp/keep");
is_deeply([scalar @kept, $kept[0], $kept[1]], [100, 'abczq', 'abczq'],
    'bodies are kept without their framing');
is(eval { load($listen->sockport, '/', status => 404, requests => 3) }, undef,
    'an answer that was not expected ends the measurement');
like($@, qr/3 of 3 requests failed.*status 200/, 'and is told');
kill 'KILL', $server;
waitpid $server, 0;


# One case, as small as it can be, on a stack of its own

$ENV{TRIFECTA_BIN} //= "$root/build/test/trifecta";
$ENV{TRIFECTA_MODULE} //= "$root/build/test/ngx_http_trifecta_module.so";
($status, $out) = run_bench('--no-peers', '--quick', '--rounds', 1,
    '--seconds', 0.2, '--json', "$temp/json", '--markdown', "$temp/md",
    'submit');
is($status, 0, 'a tiny round of a case') or diag($out);
like($out, qr/^\| ours, TLS, ES256 \| \d/m, 'its table is printed');
is(Trifecta::Test->read_file("$temp/md"), $out, '--markdown has the same');
like($progress, qr/submit \(1 of 1\), getting ready; \d+ s so far, about \d+ s left/,
    'what it is at, and how long, is told on the way');
my $json = eval { decode_json(Trifecta::Test->read_file("$temp/json")) };
is($json->{cases}[0]{case}, 'submit', '--json has the case');
like($json->{machine}{nginx}, qr/^\d+\.\d+/, 'and the versions');
like($out, qr/stores on \w+/, 'it says what the stores lie on');


# A run that is ended early

unlink "$temp/json", "$temp/md";
$pid = fork // die "fork: $!\n";
if ($pid == 0) {
    open STDOUT, '>', "$temp/out";
    open STDERR, '>', "$temp/err";
    exec "$root/bench/run", '--no-peers', '--closed', '--rounds', 500,
        '--seconds', 0.2, '--json', "$temp/json", '--markdown', "$temp/md",
        '--rows', '^return', 'submit' or POSIX::_exit(127);
}
my $there = 0;
for (1 .. 600) {
    $json = eval { decode_json(Trifecta::Test->read_file("$temp/json")) };
    $there = $json && ($json->{cases}[0]{rounds} // 0) > 1 and last;
    sleep 0.1;
}
ok($there, 'what was measured is in its file at once');
kill 'TERM', $pid;
waitpid $pid, 0;
is($? >> 8, 1, 'a run that is ended early is no success');
like(Trifecta::Test->read_file("$temp/$_"),
    qr/^\| return 202, TLS \| \d.*^\d+ rounds in/ms, "its figures are in $_")
    for qw(out md);
like(Trifecta::Test->read_file("$temp/err"),
    qr/^bench\/run: ended early, in the case submit$/m, 'and it says so');


# The other cases, with rows that do all that there is

my @tiny = ('--no-peers', '--quick', '--rounds', 1, '--seconds', 0.2);
($status, $out) = run_bench(@tiny, '--rows', '^ours, 16384|^2 s.*2 sh|^ours$',
    'sizes', 'sidecars', 'killed', 'streams', 'growth');
is($status, 0, 'other cases run') or diag($out);
like($progress, qr/sidecars \(2 of 5\), .* about \d+ (?:s|min) left/,
    'one after the other');
like($out, qr/^\| ours, 16384 B, 32 at once \| \d/m, 'large jobs');
like($out, qr/^\| 2 sidecars, 2 shards \| [\d.]+ \|(?: [\d.]+ \|){6}  \|$/m,
    'two sidecars with two Redis');
like($out, qr/^\| ours \| 40\.0 \| 0 \| [\d.]+ \| [\d.]+ \| its lease ends/m,
    'no job is lost with its worker');
like($out, qr/^\| ours \| 30\.0 \|(?: [\d.]+ \|){4,}/m, 'chats at once');
like($out, qr/^\| \Q$_\E \| [\d.]+ \| [\d.]+ \| [-\d.]+ \|$/m, "growth: $_")
    for 'jobs: submit, p50 µs', 'jobs: cancel, µs redis',
        'results: read, µs pg', 'tenants: claim and complete, µs redis';

($status, $out) = run_program('waiters', '--table', '--plain', '--streams',
                              '--rounds', 1, '--waiters', 5);
is($status, 0, 'clients that wait') or diag($out);
$got = eval { decode_json($out) } // {};
is("$got->{answered} $got->{late}", '5 0', 'are all answered');
is_deeply([grep { !defined $got->{$_} } qw(nginx redis busy p50 p99)], [],
    'and measured');

SKIP: {
    my $none = !-e "$root/build/bench/node/done";
    diag('bench/deps was not run here: no peer is tried') if $none;
    skip('bench/deps was not run here', 2) if $none;

    ($status, $out) = run_bench('--quick', '--rounds', 1, '--rows',
                                '^BullMQ, results in Redis$', 'jobs');
    is($status, 0, 'a peer') or diag($out);
    like($out, qr/^\| BullMQ, results in Redis \| \d/m, 'is measured');
}

SKIP: {
    system("perf record -q -e cpu-clock -o '$temp/perf' true > '$temp/log'"
           . ' 2>&1') == 0 or skip('perf may not be used here', 2);

    ($status, $out) = run_program('profile', '--seconds', 0.5, '--top', 3,
                                  '--rows', '^ours, HTTP, HS256$', 'submit');
    is($status, 0, 'a profile') or diag($out);
    like($out, qr/^### Costs of nginx: \d+ samples.*^\| [\d.]+ % \| `/ms,
        'has the costs of nginx');
}

done_testing;
