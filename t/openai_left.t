# Jobs that nobody waits for any more, at the worst moment: their client leaves
# while nginx connects to Redis anew, or their worker leaves before their
# stream has begun.  And who waits for a first word costs nothing meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Waiting;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    pg_conf => 'fsync = off');
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $control = "$t->{dir}/run";
my $port = $t->free_port;

$t->{opt}{redis} = "127.0.0.1:$port";
$t->write_conf;
my $proxy = Trifecta::Test::Waiting::proxy($control, $port, $t->{redis_port});
$t->start_all;

sub heard {
    return $t->wait_for(sub {
        my $m = $t->metrics;
        $m->{trifecta_subscriber_ready_workers} >= 1
            && $m->{trifecta_redis_ready_workers} >= 1 }, 20);
}

sub live { $t->redis('ZCARD', "$P:live") }

sub begun {
    my $headers = ref $_[0] ? shift : {};
    my (%body) = @_;
    my $text = JSON::PP::encode_json({ model => 'test', input => 'x', %body });
    my $sock = $t->socket;
    print {$sock} "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n"
        . 'Authorization: Bearer ' . $t->token . "\r\nContent-Type: "
        . "application/json\r\nContent-Length: " . length($text)
        . join('', map { "\r\n$_: $headers->{$_}" } keys %$headers)
        . "\r\n\r\n$text";
    $sock->flush;
    return $sock;
}

heard();


# The client leaves, and the command that says so is lost with its connection

{
    my $sock = begun();
    ok $t->wait_for(sub { live() == 1 && $t->metrics->{trifecta_waiters} == 1 },
                    10 * $slow), 'a client waits';
    $t->write_file("$control/drop", '');
    $sock->close;
    sleep 0.1;
    $t->write_file("$control/cut", '');
    sleep 0.05;
    unlink map { "$control/$_" } qw(drop cut);
    ok $t->wait_for(sub { live() == 0 }, 10 * $slow),
        'who_leaves_cancels_his_job_although_redis_reconnects';
    heard();
}


# The worker leaves before the stream of a job has begun: nobody commits what
# was to be durable

{
    my $sock = begun({ Prefer => 'durable' }, stream => \1);
    $t->wait_for(sub { live() == 1 }, 10 * $slow);
    my @old = $t->reload;
    my $head = <$sock> // '';
    like $head, qr/ 503 /, 'a worker that leaves begins no stream';
    ok $t->wait_for(sub { live() == 0 }, 10 * $slow),
        'a_stream_that_it_refuses_cancels_its_job';
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 20 * $slow);
    heard();
}


# The first reading takes as long as the stores let it

{
    my $sock = begun(stream => \1, background => \1);
    ok $t->wait_for(sub { live() == 1 }, 10 * $slow), 'a job';
    my $id = $t->redis('ZRANGE', "$P:live", 0, 0)->[0];
    my ($pid) = $t->workers;
    my $woken = sub {
        return ($t->read_file("/proc/$pid/status")
                =~ /^voluntary_ctxt_switches:\s+(\d+)/m)[0];
    };
    $t->freeze('redis');
    $t->freeze('pg');
    my $before = $woken->();
    my @readers = map {
        my $reader = $t->socket;
        print {$reader} "GET /api/v1/query/$id/events HTTP/1.1\r\n"
            . "Host: localhost\r\nAuthorization: Bearer " . $t->token
            . "\r\n\r\n";
        $reader->flush;
        $reader } 1 .. 3;
    sleep 2;
    cmp_ok $woken->() - $before, '<', 300,
        'a_stream_that_waits_for_its_first_reading_sleeps';
    $t->thaw($_) for qw(pg redis);
    $_->close for @readers, $sock;
    heard();
}

kill KILL => $proxy;
waitpid $proxy, 0;
$t->finish;
done_testing;
