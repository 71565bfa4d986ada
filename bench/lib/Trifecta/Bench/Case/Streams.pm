package Trifecta::Bench::Case::Streams;

# Many chats at once, each a stream of seven seconds: how late the first word
# comes, how even the others, and what that costs.  The slow readers are a
# hundred clients that take nothing of an answer of 300 KB.

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF);

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(cost_of);
use Trifecta::Bench::Stack;

my $AT_ONCE = 500;
my $SLOW = 100;
# milliseconds until the first word, words, milliseconds between two
my ($DELAY, $WORDS, $GAP) = (1000, 60, 100);
my $PATH = '/v1/chat/completions';


sub what { 'five hundred chats at once, as streams' }

sub columns {
    return [['streams', 'streams at once'],
            ['first', 'first word p50, added ms'], ['first99', 'p99'],
            ['gap50', 'gap p50 ms'], ['gap', 'gap p99 ms'],
            ['cpu nginx', 'µs nginx a chat'], ['cpu sidecar', 'µs sidecar'],
            ['cpu redis', 'µs Redis'], ['cpu pg', 'µs PostgreSQL'],
            ['cpu', 'µs in all']];
}


sub targets {
    return { name => 'milliseconds that are added until the first word',
             over => 'ours', column => 'first', most => 5 };
}

sub rounds { 3 }


sub rows {
    my ($env) = @_;
    my $at_once = $env->{quick} ? 30 : $AT_ONCE;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        sidecars => 2, sidecar => { threads => 256 },
        http => "proxy_http_version 1.1;\n",
        mock => { many => [$DELAY, $WORDS, $GAP], long => [0, 60, 10, 1500] },
        pg_conf => "shared_buffers = 256MB\nmax_wal_size = 2GB\n"
            . 'max_connections = 800');
    my $proxy = $t->free_port;

    $t->{opt}{http} .= <<"END";
    upstream many { server 127.0.0.1:$t->{mock}{many}; keepalive 600; }
    server {
        listen 127.0.0.1:$proxy;
        location / {
            proxy_pass http://many;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
END
    $t->write_conf;
    $t->reload;

    my $header = Trifecta::Bench::Stack::header_of($t, 'HS256');
    my $row = sub {
        my ($name, $port, $groups, $leaves, $slow) = @_;
        return { name => $name, leaves => $leaves,
            measure => sub {
                my $pid = $slow && slow($t->{plain}, $header);
                my $got = eval { measure($env, $t, $port, $header, $at_once,
                                         @$groups) };
                my $error = $@;
                kill('KILL', $pid), waitpid($pid, 0) if $pid;
                return $got || die $error;
            } };
    };
    my $ours = [qw(nginx sidecar redis pg)];

    return $row->('the model server itself', $t->{mock}{many}, [],
                  'everything'),
        $row->('nginx, proxy_pass', $proxy, ['nginx'], 'everything'),
        $row->('ours', $t->{plain}, $ours, ''),
        $row->("ours, and $SLOW slow readers", $t->{plain}, $ours, '', 1);
}


sub body {
    my ($model) = @_;
    return "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\","
        . "\"content\":\"What is number @@?\"}],\"stream\":true}";
}


# Until as many are under way as end, nothing counts.

sub measure {
    my ($env, $t, $port, $header, $at_once, @groups) = @_;
    my $whole = ($DELAY + $WORDS * $GAP) / 1000;
    my $cost = Trifecta::Bench::Cost->new(
        Trifecta::Bench::Stack::groups($t, @groups));

    return cost_of($cost, sub {
        my $load = load($port, $PATH, method => 'POST', body => body('many'),
            header => ['Content-Type: application/json', $header],
            connections => 2 * $at_once, rate => $at_once / $whole,
            warmup => $env->{quick} ? 1 : $whole, seconds => $env->{seconds},
            until => 'zq');
        return ($load->{sent}, streams => $at_once,
            first => $load->{first}{p50} / 1000 - $DELAY,
            first99 => $load->{first}{p99} / 1000 - $DELAY,
            gap50 => $load->{gap}{p50} / 1000, gap => $load->{gap}{p99} / 1000);
    });
}


# A process with clients that ask and read nothing.

sub slow {
    my ($port, $header) = @_;
    my $body = body('long') =~ s/@@/7/r;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    my @socks;
    for (1 .. $SLOW) {
        my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $port) or last;
        setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 4096;
        syswrite $sock, "POST $PATH HTTP/1.1\r\nHost: localhost\r\n$header\r\n"
            . "Content-Type: application/json\r\nContent-Length: "
            . length($body) . "\r\n\r\n$body";
        push @socks, $sock;
    }
    sleep 120;
    POSIX::_exit(0);
}

1;
