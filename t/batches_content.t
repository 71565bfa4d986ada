# The files of a batch's answers are drawn from its lines and jobs: what stands
# in them is what the endpoints answer, whoever reads them, however slowly.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF inet_aton
              pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, workers => 1,
                            max_jobs_per_tenant => 1000);
my ($limited, $brisk, $narrow, $frames) = map { $t->free_port } 1 .. 4;
my ($h2_listen, $h2) = $t->nginx_version < 1025001
                     ? (' http2', '') : ('', 'http2 on;');

$t->{opt}{http} = <<"END";
    server {
        listen 127.0.0.1:$limited;
        location / { trifecta api; limit_rate 16k; }
    }
    server {
        listen 127.0.0.1:$brisk sndbuf=8k;
        send_timeout 1s;
        location / { trifecta api; }
    }
    server {
        listen 127.0.0.1:$narrow sndbuf=8k;
        location / { trifecta api; }
    }
    server {
        listen 127.0.0.1:$frames sndbuf=8k$h2_listen;
        $h2
        location / { trifecta api; }
    }
END
$t->write_conf;
$t->start_all;

my $slow = $t->slow;
my $json = JSON::PP->new->canonical;
my $n = 0;

sub uuid { ($_[0] =~ /([0-9a-f]{32})$/)[0]
           =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/r }
sub hex_of { $_[0] =~ tr/-//dr }

# A batch that has ended, with these lines: { job, error, status, ok }.

sub batch {
    my ($endpoint, @lines) = @_;
    my ($batch, $out, $err) = map {
        $t->sql('admin', 'SELECT gen_random_uuid()')->[0][0] } 1 .. 3;

    $t->sql('admin', 'INSERT INTO trifecta.batch (id, tenant, owner, endpoint,'
        . " input, state, expires) VALUES (?, 'default', 'test:alice', ?, ?,"
        . " 'completed', now())", $batch, $endpoint, $out);

    $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name,'
        . ' purpose, bytes, whole, batch, kind) VALUES (?, ?, ?, ?, ?, 1,'
        . ' true, ?, ?)', $_->[0], 'default', 'test:alice', "$_->[1].jsonl",
        'batch_output', $batch, $_->[1]) for [$out, 'output'], [$err, 'error'];

    for my $i (0 .. $#lines) {
        my $l = $lines[$i];
        $t->sql('admin', 'INSERT INTO trifecta.batch_line (batch, n, tenant,'
            . ' owner, custom_id, error, status, job, ended, seq, ok)'
            . " VALUES (?, ?, 'default', 'test:alice', ?, ?, ?, ?, true, ?, ?)",
            $batch, $i + 1, "line $i", $l->{error} && $json->encode($l->{error}),
            $l->{status}, $l->{job} && uuid($l->{job}), @lines - $i,
            $l->{ok} // 1);
    }

    return { id => $batch, output => 'file-' . hex_of($out),
             errors => 'file-' . hex_of($err) };
}

sub content {
    my ($file, %o) = @_;
    return $t->get("/v1/files/$file/content", timeout => 60 * $slow, %o);
}

sub lines_of {
    my ($res) = @_;
    return [map { $json->decode($_) } split /\n/, $res->{content}];
}

sub ended {
    my ($id) = @_;
    my $res;
    $t->wait_for(sub { $res = $t->get("/v1/responses/$id")->{json};
                       ($res->{status} || '') !~ /^(queued|in_progress)$/ },
                 30 * $slow);
    return $res;
}

sub response {
    my ($input, %more) = @_;
    my $res = $t->post('/v1/responses', { model => 'test', input => $input,
        background => JSON::PP::true, %more });
    return ended($res->{json}{id});
}


# Responses: in the order in which they ended, the last line first

my @jobs = map { response("say=answer$_", metadata => { n => "$_" }) } 0 .. 2;
my $b = batch('/v1/responses', map { { job => $_->{id} } } @jobs);
my $res = content($b->{output});

is $res->{status}, 200, 'the file of the answers';
my $lines = lines_of($res);
is_deeply [map { $_->{custom_id} } @$lines], ['line 2', 'line 1', 'line 0'],
    'has the lines in the order in which they ended';
is_deeply [map { $_->{response}{body} } @$lines], [reverse @jobs],
    'each with what GET of the response says';
is_deeply [map { [$_->{response}{status_code}, $_->{error}, $_->{id}] }
           @$lines],
    [map { [200, undef, 'batch_req_' . ($_->{id} =~ s/^resp_//r)] }
     reverse @jobs], 'and what OpenAI says around it';
like $_->{response}{request_id}, qr/^req_[0-9a-f]{32}$/, 'a request' for
    $lines->[0];
is content($b->{output})->{content}, $res->{content},
    'read again it is the same';
is content($b->{errors})->{content}, '', 'the other file is empty';
is content($b->{output}, token => $t->token(sub => 'bob'))->{status}, 404,
    'nobody else sees it';


# Chat completions and vectors

$res = $t->post('/v1/chat/completions', { model => 'test', messages =>
    [{ role => 'user', content => 'say=hello' }] }, timeout => 30 * $slow);
my $chat = $res->{json};
$b = batch('/v1/chat/completions', { job => $chat->{id} });
is_deeply lines_of(content($b->{output}))->[0]{response}{body}, $chat,
    'a chat completion';

my $job = uuid($jobs[0]{id});
my $v = encode_base64(pack('f<2', 0.5, -1), '');
for my $base64 (0, 1) {
    my $id = $t->sql('admin', 'SELECT gen_random_uuid()')->[0][0];
    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, prio, kind,'
        . ' model, state, request, usage, accepted, finished, deadline)'
        . " VALUES (?, 'default', 'test:alice', 0, 'embeddings', 'small',"
        . " 'succeeded', ?, ?, now(), now(), now())", $id,
        $json->encode({ openai => { shape => 'embeddings', base64 =>
            $base64 ? JSON::PP::true : JSON::PP::false }, input => ['a'] }),
        '{"input_tokens": 3}');
    $t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant, owner,'
        . " attempt, body) VALUES (?, 'default', 'test:alice', 1, ?)", $id,
        $json->encode([$v]));
    $b = batch('/v1/embeddings', { job => hex_of($id) });
    is_deeply lines_of(content($b->{output}))->[0]{response}{body},
        { object => 'list', model => 'small', data => [{ index => 0,
          object => 'embedding', embedding => $base64 ? $v : [0.5, -1] }],
          usage => { prompt_tokens => 3, total_tokens => 3 } },
        'vectors as ' . ($base64 ? 'base64' : 'numbers');
}


# Lines without an answer

my $failed = response('fail=1');
is $failed->{status}, 'failed', 'a job that fails';

my $refused = { code => 'model_not_found', message => 'there is no model "x"',
                param => 'model' };
my $late = { code => 'batch_expired', message => 'the time was over',
             param => undef };
my @errors = ({ job => $failed->{id}, ok => 0 },
              { error => $refused, status => 404, ok => 0 },
              { error => $late, ok => 0 });
$b = batch('/v1/responses', @errors, { job => $jobs[1]{id} });
my ($expired, $no, $did) = @{ lines_of(content($b->{errors})) };

is_deeply $did->{response}{body}, $failed, 'a job that failed is as it is';
is $did->{error}{code}, $failed->{error}{type}, 'with its error';
is_deeply [@{ $no->{error} }{qw(code message param)},
           $no->{response}{status_code}, $no->{response}{body}{error}{param}],
    [@$refused{qw(code message param)}, 404, 'model'],
    'a line that was refused has the status of that';
is_deeply [@$expired{qw(response error)}], [undef, $late],
    'a line that never ran has no response';
is_deeply [map { $_->{custom_id} } @{ lines_of(content($b->{output})) }],
    ['line 3'], 'they are not among the answers';
isnt $no->{id}, $expired->{id}, 'each line has an id of its own';
like $no->{id}, qr/^batch_req_[0-9a-f]{32}$/, 'also without a job';

$b = batch('/v1/chat/completions', { job => $failed->{id}, ok => 0 });
my ($line) = @{ lines_of(content($b->{errors})) };
is_deeply [$line->{response}{status_code}, $line->{error}{code},
           $line->{response}{body}{error}{code}],
    [502, 'job_failed', 'job_failed'], 'a chat that failed is that error';


# Answers that are no more

$b = batch('/v1/responses', map { { job => $_->{id} } } @jobs);
$t->request('DELETE', "/v1/responses/$jobs[1]{id}");
$t->wait_for(sub { $t->sql('admin', 'SELECT deleted IS NOT NULL FROM'
    . ' trifecta.job WHERE id = ?', uuid($jobs[1]{id}))->[0][0] }, 20);
$lines = lines_of(content($b->{output}));
is_deeply [map { $_->{error} ? $_->{error}{code} : 'ok' } @$lines],
    ['ok', 'job_deleted', 'ok'], 'an answer that was deleted is told so';
is $lines->[1]{response}, undef, 'and is not there';
is lines_of(content(batch('/v1/responses', { job => $jobs[1]{id} })
    ->{output}))->[0]{error}{code}, 'job_deleted', 'also when it is the only';

$b = batch('/v1/responses', { job => '0' x 32 });
is content($b->{output})->{status}, 410, 'jobs that are not kept are 410';


# Pages: many lines, and large ones

$b = batch('/v1/responses', { job => $jobs[0]{id} });
sub many {
    my ($from, $to) = @_;
    $t->sql('admin', 'INSERT INTO trifecta.batch_line (batch, n, tenant,'
        . " owner, custom_id, job, ended, seq, ok) SELECT ?, g, 'default',"
        . " 'test:alice', 'many ' || g, ?, true, g, true"
        . ' FROM generate_series(?::int, ?::int) AS g', $b->{id},
        uuid($jobs[0]{id}), $from, $to);
}
many(2, 1000);
$lines = lines_of(content($b->{output}));
is scalar @$lines, 1000, 'a thousand lines';
is_deeply [grep { $lines->[$_ - 1]{custom_id} ne "many $_" } 2 .. 1000], [],
    'in their order, none twice';


# A client that may have a few bytes a second: a page waits whole behind the
# one before, and its memory is used again

$t->sql('admin', 'DELETE FROM trifecta.batch_line WHERE batch = ? AND n > 1',
        $b->{id});
$t->sql('admin', 'INSERT INTO trifecta.batch_line (batch, n, tenant, owner,'
    . " custom_id, error, ended, seq, ok) SELECT ?, g, 'default',"
    . q( 'test:alice', 'error ' || g, '{"code": "x"}', true, g, false)
    . ' FROM generate_series(2, 640) AS g', $b->{id});
$res = content($b->{errors});
is scalar(() = $res->{content} =~ /\n/g), 639, 'ten pages of errors';
my $few = HTTP::Tiny->new(timeout => 60 * $slow)->get(
    "http://127.0.0.1:$limited/v1/files/$b->{errors}/content",
    { headers => { Authorization => 'Bearer ' . $t->token } });
ok $few->{content} eq $res->{content},
    'through limit_rate they are the same bytes';
$t->sql('admin', 'DELETE FROM trifecta.batch_line WHERE batch = ? AND n > 1',
        $b->{id});
many(2, 100);

$t->sql('admin', 'UPDATE trifecta.job_result SET body = repeat(?, 65536)'
    . ' WHERE job = ?', 'abcdefgh', $job);

sub rss {
    my ($pid) = $t->workers;
    my ($kb) = $t->read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
    return $kb / 1024;
}

# A client that takes nothing for a while, and then all; its bytes.

sub slowly {
    my ($file, $between) = @_;
    my $sock = $t->socket;
    print {$sock} "GET /v1/files/$file/content HTTP/1.1\r\n"
        . "Host: localhost\r\nConnection: close\r\nAuthorization: Bearer "
        . $t->token . "\r\n\r\n";
    $sock->flush;
    sleep 2;
    $between->();
    my ($got, $end) = ('', time + 120 * $slow);
    while (time < $end) {
        my $n = sysread $sock, $got, 1048576, length $got;
        last if !$n;
    }
    return $got;
}

my $before = rss();
my $grown;
my $got = slowly($b->{output}, sub { $grown = rss() - $before });
cmp_ok length $got, '>', 50e6, 'fifty megabytes are drawn';
like $got, qr/\r\n0\r\n\r\n\z/, 'to their end';
cmp_ok $grown, '<', 25 * ($slow > 1 ? 4 : 1),
    'while a client reads nothing a page is in memory';


# Requests are drawn, too: a page is small whatever is large of its lines

sub dechunked {
    my (undef, $rest) = split /\r\n\r\n/, $_[0], 2;
    my @chunks;
    while ($rest =~ /\G([0-9a-f]+)\r\n/gc) {
        push @chunks, substr $rest, pos $rest, hex $1;
        pos($rest) += 2 + hex $1;
    }
    return @chunks;
}

{
    my $large = response('x', instructions => 'abcdefgh' x 75000);
    my $b = batch('/v1/responses', map { { job => $large->{id} } } 1 .. 40);
    for my $kind (qw(output errors)) {
        $before = rss();
        $got = slowly($b->{$kind}, sub { $grown = rss() - $before });
        my @chunks = dechunked($got);
        pop @chunks;
        is scalar @chunks, 40, "forty large lines ($kind) are forty pages";
        is_deeply [grep { $_->{response}{body}{instructions}
            ne 'abcdefgh' x 75000 } map { $json->decode($_) } map { split /\n/ }
            @chunks], [], 'each line whole';
        cmp_ok $grown, '<', 12 * ($slow > 1 ? 4 : 1),
            'and not in memory at once';
        $t->sql('admin', 'UPDATE trifecta.batch_line SET ok = false'
            . ' WHERE batch = ?', $b->{id});
    }

    # what grows while it is drawn

    $t->sql('admin', 'UPDATE trifecta.job_result SET body = repeat(?, 20000)'
        . ' WHERE job = ?', "\x01", uuid($jobs[2]{id}));
    $b = batch('/v1/responses', map { { job => $jobs[2]{id} } } 1 .. 40);
    my @chunks = dechunked(slowly($b->{output}, sub { }));
    my @lines = map { split /\n/ } @chunks;
    is scalar @lines, 40, 'lines that grow';
    is_deeply [grep { $_ > 262144 + 150000 } map { length } @chunks], [],
        'end a page when it is large';
    is_deeply [map { $json->decode($_)->{custom_id} } @lines],
        [map { "line $_" } reverse 0 .. 39], 'none is lost or told twice';
}


# HTTP/2: the header of the second file waits behind the first file

sub connected {
    my ($port) = @_;
    socket my $fh, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    setsockopt $fh, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096;
    connect $fh, pack_sockaddr_in($port, inet_aton('127.0.0.1'))
        or die "connect: $!\n";
    $fh->autoflush(1);
    return $fh;
}

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1)
         . pack('CCN', $type, $flags, $stream) . $payload;
}

sub field {
    my ($name, $value) = @_;
    my $n = length $value;
    my $len = $n < 127 ? chr $n
            : "\x7f" . chr($n - 127 & 127 | 128) . chr($n - 127 >> 7);
    return "\0" . chr(length $name) . $name . $len . $value;
}

{
    my $sock = connected($frames);
    my $head = join '', map { field(@$_) } [':method', 'GET'],
        [':scheme', 'http'], [':authority', 'localhost'],
        [':path', "/v1/files/$b->{output}/content"],
        ['authorization', 'Bearer ' . $t->token];
    my $max = pack 'N', 0x7fff0000;

    print {$sock} "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        . frame(4, 0, 0, pack('n', 4) . $max) . frame(8, 0, 0, $max)
        . frame(1, 5, 1, $head);
    sleep 1;
    print {$sock} frame(1, 5, 3, $head);
    sleep 1;

    my (%body, %end);
    my ($in, $until) = ('', time + 120 * $slow);
    while (keys %end < 2 && time < $until) {
        sysread $sock, $in, 1048576, length $in or last;
        my $at = 0;
        while (length $in >= $at + 9) {
            my ($n, $type, $flags, $of)
                = unpack 'NCCN', "\0" . substr $in, $at, 9;
            last if length $in < $at + 9 + $n;
            $body{$of} .= substr $in, $at + 9, $n if $type == 0;
            $end{$of} = 'reset' if $type == 3;
            $end{$of} //= 'whole' if $type < 2 && $flags & 1;
            $at += 9 + $n;
        }
        substr $in, 0, $at, '';
    }
    is_deeply \%end, { 1 => 'whole', 3 => 'whole' },
        'a header may wait behind what else a connection of HTTP/2 carries';
    cmp_ok length($body{1} // ''), '>', 50e6, 'fifty megabytes';
    ok(($body{1} // '') eq ($body{3} // ''), 'twice');
}


# HTTP/1.0 has no end but that of the connection

for my $case ([$brisk, 'a client that took nothing', sub {
                   $t->wait_for(sub { $t->read_file("$t->{dir}/log/error.log")
                       =~ /took nothing of its file/ }, 20 * $slow) }],
              [$narrow, 'a store that goes away', sub { $t->kill('pg') }])
{
    my ($port, $what, $between) = @$case;
    my $sock = connected($port);
    print {$sock} "GET /v1/files/$b->{output}/content HTTP/1.0\r\n"
        . 'Authorization: Bearer ' . $t->token . "\r\n\r\n";
    $got = '';
    sysread $sock, $got, 4096, length $got while length $got < 10000;
    $between->();
    my $n;
    1 while $n = sysread $sock, $got, 1048576, length $got;
    ok !defined $n && $!{ECONNRESET}, "after $what the connection is reset";
    cmp_ok length $got, '<', 50e6, 'in the middle';
}
$t->start('pg');
$t->wait_for(sub { content($b->{errors})->{status} == 200 }, 20 * $slow);

$got = slowly($b->{output}, sub { $t->kill('pg'); $t->start('pg') });
like $got, qr/\r\n0\r\n\r\n\z/, 'a store that was away is asked again';

$got = slowly($b->{output}, sub { $t->kill('pg') });
unlike $got, qr/\r\n0\r\n\r\n\z/,
    'without a store the file has no end that looks like one';
cmp_ok length $got, '>', 100000, 'but a beginning';
$t->start('pg');
$t->wait_for(sub { content($b->{errors})->{status} == 200 }, 20 * $slow);

$t->kill('pg');
is content($b->{output})->{status}, 503, 'without a store there is no file';
$t->start('pg');

$t->finish;
done_testing;
