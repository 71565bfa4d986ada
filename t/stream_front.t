# A stock nginx in front, with buffering as it comes, compression, TLS and
# HTTP/2, holds nothing back: the largest time from the emission of a piece to
# its arrival is measured.  And what is cut arrives as cut.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

plan skip_all => 'curl without HTTP/2' if qx(curl --version 2>&1) !~ /HTTP2/;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    wait_fallback => '10m', pg_conf => 'fsync = off',
    redis_conf => 'appendfsync no');
my $plain = $t->free_port;
my $tiny = $t->free_port;
my $h2 = $t->nginx_version < 1025001 ? ' http2' : '';

# where the kernel holds back little, nginx has to

$t->{opt}{server} = "        listen 127.0.0.1:$plain;\n"
    . "        listen 127.0.0.1:$tiny ssl$h2 sndbuf=8k;\n";
$t->write_conf;
$t->start_all;

my $s = Trifecta::Test::Streams->new($t);
my $slow = $t->slow;
my $front = $t->free_port;
my $Q = '/api/v1/query';

$t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 1 },
             20);


# The one in front, without the module

{
    my $dir = "$t->{dir}/front";
    mkdir $dir, 0755;
    mkdir "$dir/log", 0755;
    my $user = $> == 0 ? "user www-data;\n" : '';
    my ($listen, $on) = $t->nginx_version < 1025001
                      ? (' http2', '') : ('', 'http2 on;');
    my $proxy = "proxy_pass https://127.0.0.1:$t->{port};"
        . ' proxy_set_header Host localhost;';

    $t->write_file("$dir/nginx.conf", <<"END", 0644);
${user}worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/log/error.log info;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_proxied any;
    server {
        listen 127.0.0.1:$front ssl$listen;
        $on
        server_name localhost;
        ssl_certificate $t->{ca};
        ssl_certificate_key $t->{dir}/secrets/tls.key;
        location / { $proxy }
        location /plain/ { proxy_pass http://127.0.0.1:$plain/;
                           proxy_set_header Host localhost; }
        location /1.1/ { proxy_http_version 1.1; rewrite ^/1.1(.*) \$1 break;
                         $proxy }
    }
}
END

    $t->_spawn('front', death => 'TERM',
        env => { ASAN_OPTIONS => 'detect_leaks=0' },
        cmd => [$t->nginx_bin, '-p', $dir, '-e', "$dir/log/error.log",
                '-c', "$dir/nginx.conf", '-g', 'daemon off;']);
    ok !$t->_wait_port($t->{procs}{front}, $front), 'an nginx in front';
}


# curl, as a client: what it got and when, and how it ended

sub curl {
    my ($url, @options) = @_;
    my $token = $t->token;
    my $pid = open my $out, '-|', 'curl', '--silent', '--no-buffer',
        '--cacert', $t->{ca}, '-D', "$t->{dir}/run/head",
        '-H', "Authorization: Bearer $token", @options, $url;
    die "curl: $!\n" unless $pid;
    $out->blocking(0);
    return { pid => $pid, out => $out, text => '', events => [] };
}

sub next_event {
    my ($one, $timeout) = @_;
    my $end = time + $timeout * $slow;

    while (1) {
        while ($one->{text} =~ s/\A(.*?)\n\n//s) {
            my $block = $1;
            my %event = (at => time);
            $block =~ /^$_: (.*)$/m and $event{$_} = $1 for qw(event id data);
            return \%event if $event{event} && $event{event} ne 'status';
        }
        my $left = $end - time;
        return undef if $left <= 0;
        IO::Select->new($one->{out})->can_read($left < 0.1 ? $left : 0.1);
        my $n = sysread $one->{out}, $one->{text}, 65536,
                        length $one->{text};
        return undef if defined $n && $n == 0;
    }
}

sub exit_of {
    my ($one) = @_;
    $one->{out}->blocking(1);
    1 while sysread $one->{out}, my $rest, 65536;
    close $one->{out};
    return $? >> 8;
}

sub measure {
    my ($name, $base, @options) = @_;
    my $id = $s->job;
    my $one = curl("$base$Q/$id/events", @options);
    my @late;

    $t->wait_for(sub { $t->metrics->{trifecta_streams} >= 1 }, 10);

    for my $n (1 .. 30) {
        my $at = time;
        $s->emit($id, 1, $n, 'd', "w$n ");
        my $e = next_event($one, 10) or last;
        push @late, $e->{at} - $at;
        sleep 0.03;
    }

    is scalar @late, 30, "$name: every piece comes before the next is said";
    my ($largest) = sort { $b <=> $a } @late;
    note sprintf '%s: the largest gap from emission to arrival %.1f ms',
        $name, 1000 * ($largest // 0);

    my ($end, @ends) = (0);
    push @ends, $end += length "w$_ " for 1 .. 30;
    $s->end($id, join('', map { "w$_ " } 1 .. 30), \@ends);
    my $e = next_event($one, 10);
    is $e && $e->{event}, 'done', "$name: and the end";
    is exit_of($one), 0, "$name: a proper one";
    return $t->read_file("$t->{dir}/run/head");
}

# One that is cut: an answer was stored that is not what was said.

sub cut {
    my ($name, $base, @options) = @_;
    my $id = $s->job;
    my $one = curl("$base$Q/$id/events", @options);

    $t->wait_for(sub { $t->metrics->{trifecta_streams} >= 1 }, 10);
    $s->emit($id, 1, 1, 'd', 'one');
    my $e = next_event($one, 10);
    is $e && $e->{event}, 'delta', "$name: a piece";
    $s->end($id, 'two', [3]);
    is next_event($one, 10), undef, "$name: no end";
    isnt exit_of($one), 0, "$name: what is cut is seen to be cut";
    $t->wait_for(sub { $t->metrics->{trifecta_streams} == 0 }, 10);
}

my $direct = $t->url('');
my $behind = "https://localhost:$front";
my @gzip = ('-H', 'Accept-Encoding: gzip', '--compressed');

for my $case (['HTTP/1.1', $direct, '--http1.1'],
              ['HTTP/2', $direct, '--http2'],
              ['HTTP/1.0', $direct, '--http1.0'],
              ['a front, HTTP/1.1', $behind, '--http1.1'],
              ['a front, HTTP/2', $behind, '--http2'],
              ['a front without TLS to us', "$behind/plain", '--http2'],
              ['a front that speaks 1.1', "$behind/1.1", '--http2'])
{
    my ($name, $base, @options) = @$case;
    measure($name, $base, @options);
    cut($name, $base, @options);
}

my $head = measure('a front, HTTP/2, gzip', $behind, '--http2', @gzip);
like $head, qr{^HTTP/2 200}, 'it is HTTP/2';
like $head, qr/^content-encoding: gzip/mi, 'and compressed';
unlike measure('gzip is not for us', $direct, '--http2', @gzip),
    qr/^content-encoding/mi, 'a stream is not compressed here';

# many streams on one connection of HTTP/2

{
    my @id = map { $s->job } 1 .. 8;
    my $one = curl("$direct$Q/$id[0]/events", '--http2', '--parallel',
        '--no-progress-meter',
        map { ("$direct$Q/$_/events") } @id[1 .. 7]);
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 8 }, 10),
        'eight streams of one client';
    for my $n (1 .. 5) {
        $s->emit($id[$_], 1, $n, 'd', "job $_ piece $n") for 0 .. 7;
    }
    my %got;
    while (my $e = next_event($one, 10)) {
        $got{$e->{data}}++;
        last if keys %got == 40;
    }
    is scalar(keys %got), 40, 'each_stream_of_a_connection_gets_its_own';
    $s->finish($_, 'cancelled') for @id;
    is exit_of($one), 0, 'and its end';
}

# a client that does not read for a while: what it has not taken of one stream
# stays, whatever the other ones do

{
    my ($much, $little) = map { $s->job } 1, 2;
    my $base = "https://localhost:$tiny$Q";
    my @file = map { "$t->{dir}/run/$_" } qw(much little);
    my $one = curl("$base/$little/events", '--http2', '--parallel',
        '--no-progress-meter', '-o', $file[0], '-o', $file[1],
        "$base/$much/events");
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 2 }, 10),
        'two streams of one client';
    sleep 0.3;
    kill STOP => $one->{pid};
    my $piece = 'x' x 3000;
    for my $n (1 .. 120) {
        $s->emit($much, 1, $n, 'd', "$n $piece");
        $t->redis('SPUBLISH', "{trifecta:0}:c:$little", 'event')
            if $n % 3 == 0;
    }
    sleep 0.3;
    kill CONT => $one->{pid};
    $s->emit($little, 1, 1, 'd', 'little');
    $s->finish($_, 'cancelled') for $much, $little;
    is exit_of($one), 0, 'both_streams_of_the_connection_end_well';
    my @got = map { scalar $t->read_file($_) } @file;
    my @n = $got[0] =~ /"(\d+) $piece"/g;
    is "@n", "@{[1 .. 120]}",
        'what_a_client_has_not_taken_of_a_stream_stays';
    ok $got[1] =~ /"little"/, 'and the other one has its own';
}

$t->proc('front')->stop('QUIT', 10);
$t->finish;
done_testing;
