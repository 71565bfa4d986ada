# A client that reads slowly, or not at all, costs nginx a bounded piece of
# memory and nobody else anything, and in the end its connection.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use IO::Socket::INET;
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF inet_aton
              pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    connections => 2048, main => 'worker_rlimit_nofile 4096;',
    wait_fallback => '10m', pg_conf => 'fsync = off',
    redis_conf => 'appendfsync no');
my $plain = $t->free_port;
my $brisk = $t->free_port;

# what the kernel holds back must be little, or nothing would ever be slow

$t->{opt}{server} = "        listen 127.0.0.1:$plain sndbuf=8k;\n"
    . "        send_timeout 10m;\n";
$t->{opt}{http} = <<"END";
    server {
        listen 127.0.0.1:$brisk sndbuf=8k;
        client_body_buffer_size 1m;
        send_timeout 1s;
        location / { trifecta api; }
    }
END
$t->write_conf;
$t->start_all;

my $s = Trifecta::Test::Streams->new($t);
my $slow = $t->slow;
my $soon = 10;

$t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 1 },
             20);


# A connection that takes in little by itself.

sub socket_to {
    my ($port, $small) = @_;
    socket my $fh, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    setsockopt $fh, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096 if $small;
    connect $fh, pack_sockaddr_in($port, inet_aton('127.0.0.1'))
        or die "connect: $!\n";
    $fh->autoflush(1);
    return bless $fh, 'IO::Socket::INET';
}

sub client {
    my ($id, $port, $small) = @_;
    return $s->open($id, socket => socket_to($port, $small));
}

sub rss {
    my ($pid) = $t->workers;
    my ($kb) = $t->read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
    return $kb / 1024;
}

# So many pieces of that size, said from number $n on; the text.

sub say_much {
    my ($id, $n, $count, $size) = @_;
    my $text = '';

    for my $from (0 .. int(($count - 1) / 50)) {
        my @events;
        for (1 .. ($count < 50 ? $count : 50)) {
            my $piece = sprintf('%06d ', $n) . 'x' x ($size - 7);
            push @events, $n++, 'd', $piece;
            $text .= $piece;
        }
        $s->emit($id, 1, @events);
    }

    return $text;
}


# Those who read slowly

{
    my $id = $s->job;
    my $quick = client($id, $plain);
    my @slow = map { client($id, $plain, 1) } 1 .. 30;
    isnt $quick->next($soon), undef, 'a client reads';
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 31 }, 10),
        'others do not, but have their streams';
    my $before = rss();

    my $text = say_much($id, 1, 1500, 2000);
    my $got = '';
    my $n = 0;
    while (my $e = $quick->said($soon)) {
        $got .= $e->{json}{text};
        last if ++$n == 1500;
    }
    is length $got, length $text, 'who_reads_gets_all_beside_those_who_do_not';

    # 30 times 3 MB, if nginx took what its clients do not
    my $grown = rss() - $before;
    note sprintf 'RSS grew by %.1f MB', $grown;
    cmp_ok $grown, '<', $slow > 1 ? 60 : 20,
        'what_slow_clients_have_not_taken_is_bounded';

    my $reads = $t->metrics->{trifecta_redis_commands_total};
    my $more = say_much($id, 1501, 100, 2000);
    for (1 .. 100) {
        my $e = $quick->said($soon) or last;
        $got .= $e->{json}{text};
    }
    ok $got eq $text . $more, 'the next pieces come as well';
    $reads = $t->metrics->{trifecta_redis_commands_total} - $reads;
    cmp_ok $reads, '<', 150, 'and_redis_is_not_read_for_those_who_do_not'
        or diag "$reads commands";

    # one of them wakes up, another when the job has ended

    my @text = map {
        my $all = '';
        if ($_ == 1) {
            my ($end, @ends) = (0);
            push @ends, $end += 2000 for 1 .. 1600;
            $s->end($id, $got, \@ends);
        }
        my $count = 0;
        while (my $e = $slow[$_]->said($soon)) {
            last if $e->{event} eq 'done';
            $all .= $e->{json}{text};
            last if ++$count == 1600 && $_ == 0;
        }
        $all } 0, 1;
    ok $text[0] eq $got, 'a_slow_client_gets_all_of_it_in_the_end';
    ok $text[1] eq $got, 'also_if_the_job_ended_while_it_slept';
    is $slow[0]->said($soon)->{event}, 'done', 'the end of the one';
    is $slow[1]->proper, 1, 'a proper one for the other';
    is $quick->said($soon)->{event}, 'done', 'and the quick one has it, too';

    $_->close for @slow, $quick;
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 0 }, 10),
        'all have gone';
}


{
    my $id = $s->job;
    my $one = client($id, $plain, 1);
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 1 }, 5),
        'a client that does not read';
    sleep 0.3;
    my $text = join '', map { say_much($id, $_, 1, 3000) } 1 .. 100;
    my $got = '';
    for (1 .. 100) {
        my $e = $one->said($soon) or last;
        $got .= $e->{json}{text};
    }
    ok $got eq $text, 'a_client_that_wakes_up_gets_what_was_said_meanwhile'
        or diag length($got) . ' of ' . length $text;
    $s->finish($id, 'cancelled');
    is $one->said($soon)->{event}, 'done', 'and the end';
    $one->close;
}


# One that never reads

{
    my $id = $s->job;
    my $other = client($id, $brisk);
    my $never = client($id, $brisk, 1);
    isnt $other->next($soon), undef, 'one reads';
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 2 }, 5),
        'another does not';

    # pieces go on coming: what joins those that wait is no sign of life
    my $start = time;
    my $n = 1;
    my $cut = 'trifecta_stream_cuts_total{reason="client"}';
    while (($t->metrics->{$cut} // 0) == 0 && time - $start < 20 * $slow) {
        say_much($id, $n, 50, 2000);
        $n += 50;
        sleep 0.2;
        $other->fill(0) while @{ $other->{events} } < $n - 1
                              && time - $start < 20 * $slow;
    }
    is $t->metrics->{$cut}, 1, 'a_client_that_never_reads_is_cut';
    my $took = time - $start;
    cmp_ok $took, '>=', 1, 'after send_timeout';
    cmp_ok $took, '<', 10 * $slow, 'and not long after';
    is $t->metrics->{trifecta_streams}, 1, 'its stream is gone';
    $s->finish($id, 'cancelled');
    my @rest = $other->rest($soon);
    is $rest[-1]{event}, 'done', 'the other one goes on to the end';
    is scalar @rest, $n, 'with every piece';
}


# Many in one worker, slow ones among them: a twentieth, all of the first job,
# which says more than nginx keeps for them

{
    my @job = map { $s->job } 1 .. 10;
    my $pieces = 60;
    my $before = rss();
    my @client = map { client($job[$_ % 10], $plain, $_ % 20 == 0) }
                 0 .. 499;
    my @slow = grep { $_ % 20 == 0 } 0 .. 499;
    my @quick = grep { $_ % 20 } 0 .. 499;
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 500 }, 60),
        'five hundred streams';

    my $piece = sub {
        my ($job, $n) = @_;
        return sprintf('%05d ', $n) . 'x' x ($job ? 30 : 4000);
    };
    my %need = map { $_ => 1 } @quick;
    my %of = map { $client[$_]{sock} => $_ } @quick;
    my $select = IO::Select->new(map { $client[$_]{sock} } @quick);
    my $end = time + 60 * $slow;
    my ($said, $largest, $quiet, @got, @at) = (0, 0, 1);

    # one piece of each job at a time, when all have the one before

    while (%need && time < $end) {
        if ($said < $pieces && $quiet) {
            $said++;
            $at[$said] = time;
            $s->emit($job[$_], 1, $said, 'd', $piece->($_, $said))
                for 0 .. 9;
            $quiet = 0;
        }
        for my $sock ($select->can_read(0.1)) {
            my $i = $of{$sock};
            $client[$i]->fill(0);
            while (my $e = shift @{ $client[$i]{events} }) {
                next unless $e->{event} eq 'delta';
                my ($n) = $e->{id} =~ /-(\d+)$/;
                my $took = time - $at[$n];
                $largest = $took if $took > $largest;
                push @{ $got[$i] }, $n;
            }
            delete $need{$i} if @{ $got[$i] || [] } == $pieces;
        }
        $quiet = !grep { @{ $got[$_] || [] } < $said } @quick;
    }

    is scalar(keys %need), 0, 'who_reads_has_every_piece';
    my $order = join ',', 1 .. $pieces;
    is scalar(grep { join(',', @{ $got[$_] || [] }) ne $order } @quick), 0,
        'in order, and each once';
    note sprintf 'largest time from a piece to the last of its 475 readers:'
        . ' %.0f ms', 1000 * $largest;
    my $grown = rss() - $before;
    note sprintf 'RSS grew by %.1f MB for 500 streams', $grown;
    cmp_ok $grown, '<', $slow > 1 ? 300 : 60, 'memory_is_bounded';

    for my $i (0 .. 9) {
        my $body = join '', map { $piece->($i, $_) } 1 .. $pieces;
        my $size = length($body) / $pieces;
        $s->end($job[$i], $body, [map { $size * $_ } 1 .. $pieces]);
    }

    my $ends = grep { my $e = $client[$_]->said($soon);
                      $e && $e->{event} eq 'done' } @quick;
    is $ends, 475, 'and the end';

    my $woken = grep {
        my @all = map { $_->{event} } grep { $_->{event} ne 'status' }
                  $client[$_]->rest($soon);
        "@all" eq join ' ', ('delta') x $pieces, 'done' } @slow;
    is $woken, 25, 'those_who_slept_have_it_when_they_wake';
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 0 }, 10),
        'nothing is left';
}

$t->finish;
done_testing;
