# More of what servers of models do badly, for answers and for vectors: codings
# that explode, redirects, certificates, odd statuses and odd Retry-After; and
# keys that are limited.  (See providers.t and embeddings.t for the rest.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Compress::Gzip qw(gzip);
use MIME::Base64 qw(encode_base64);
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 8, lease => '15s', heartbeat => '1s' });

# 200 MB in some 200 kB
my ($zeros, $bomb) = ("\0" x (200 << 20));
gzip(\$zeros, \$bomb) or die;
undef $zeros;

sub gzipped {
    my ($c, $type) = @_;
    $c->head(200, $type, 'Content-Encoding' => 'gzip');
    $c->put($bomb);
}

sub vectors {
    my ($c) = @_;
    my $i = 0;
    $c->answer(200, { data => [map { { index => $i++, embedding =>
        encode_base64(pack('f<*', 1, 1 + length), '') } }
        @{ $c->{json}{input} }], usage => { prompt_tokens => 7 } });
}

# Answers the second time, and says when it was asked.

my $asked = $t->dir . '/asked';

sub second {
    my (%headers) = @_;
    return sub {
        my ($c) = @_;
        $t->write_file("$asked-$c->{json}{model}-$c->{count}", time);
        return $c->{json}{input} ? vectors($c) : $c->sse('second time')
            if $c->{count} > 1;
        $c->answer(429, { error => { message => 'slow down' } },
                   map { $_ => ref $headers{$_} ? $headers{$_}->()
                                                : $headers{$_} } keys %headers);
    };
}

sub between {
    my ($model) = @_;
    my @at = map { open my $fh, '<', "$asked-$model-$_" or return -1; <$fh> }
        1, 2;
    return $at[1] - $at[0];
}

my $date = sub { strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3)) };
my $limited = sub {
    my ($c) = @_;
    return $c->answer(429, { error => { message => 'no more' } })
        if $c->{headers}{authorization} eq 'Bearer key-one';
    $c->{json}{input} ? vectors($c) : $c->sse('another key');
};

my %play = (
    good => sub { $_[0]->sse('good') },
    gzip_bomb => sub { gzipped($_[0], 'text/event-stream') },
    gzip_json => sub { gzipped($_[0], 'application/json') },
    redirect => sub { $_[0]->head(307, 'text/plain',
        Location => '/elsewhere') },
    page_of_a_proxy => sub { $_[0]->head(502, 'text/html');
        $_[0]->put('<html><h1>502 Bad Gateway</h1>canary-proxy</html>') },
    (map { my $s = $_; ("s$s" => sub { $_[0]->answer($s, {}) }) } 408, 409,
        418, 504),
    filtered => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        $c->chunk('I can');
        $c->put('data: {"choices":[{"delta":{},"finish_reason":'
                . '"content_filter"}]}' . "\n\ndata: [DONE]\n\n");
    },
    half_a_character => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        $c->put(qq(data: {"choices":[{"delta":{"content":"\xc3"}}]}\n\n));
        $c->done;
    },
    no_status => sub { $_[0]->put("nonsense\r\n\r\n") },
    ollama_cut => sub { $_[0]->head(200, 'application/x-ndjson');
        $_[0]->put('{"message":{"content":"half"},"done":false}' . "\n") },
    busy_date => second('Retry-After' => $date),
    busy_ms => second('Retry-After' => 9, 'retry-after-ms' => 2500),
    busy_odd => second('Retry-After' => 'soon'),
    busy_long => second('Retry-After' => 86400),
    limited_key => $limited,
    vectors => \&vectors,
    vectors_limited_key => $limited,
    vectors_busy => second('Retry-After' => 3),
    vectors_gzip => sub { gzipped($_[0], 'application/json') },
    vectors_quota => sub { $_[0]->answer(429, { error => { message => 'none',
        code => 'insufficient_quota' } }, 'Retry-After' => 1) },
    vectors_failing => sub { $_[0]->answer(500, {}) },
);
$play{vectors_redirect} = $play{redirect};
my $server = Trifecta::Test::ModelServer->new($t, %play);

my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $nobody = 'http://127.0.0.1:' . $dead->sockport;
close $dead;

my $keys = $t->dir . '/model.keys';
$t->write_file($keys, "key-one\r\n\r\nkey-two  \r\n", 0600);

my $conf = '';

for (sort(keys %play), 'not_trusted', 'vectors_nobody') {
    $conf .= "[$_]\nprovider = " . (/^ollama/ ? 'ollama' : 'openai')
        . "\nbase_url = " . ($_ eq 'not_trusted'
            ? "https://127.0.0.1:$t->{port}" : /nobody/ ? $nobody
            : $server->url)
        . (/^ollama/ ? '' : '/v1') . "\nfirst_token_timeout = 2s\n"
        . "idle_timeout = 2s\ntotal_timeout = 5s\n"
        . (/^vectors/ ? "kind = embedding\ndimensions = 2\nbatch = 2048\n"
                      : "retrieval = off\n")
        . (/key$/ ? "key_file = $keys\n" : '') . "\n";
}

my $models = $t->dir . '/models.conf';
$t->write_file($models, $conf);
my (undef, $list) = $t->run({ env => { TRIFECTA_MODELS => $models } }, 'models',
                            '--nginx');
$t->{opt}{sidecar}{models} = $models;
($t->{opt}{models}) = $list =~ /^trifecta_models (.*);$/m;
$t->write_conf;
$t->start_all;

sub says {
    my ($model, $text, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $end = $t->ask_and_wait('hello', model => $model,
                               timeout => 40 * $t->slow);
    is($end->{response}, $text, $name) or diag explain $end;
}

# "again" when the attempt failed and another is made later, or the code.

sub fails {
    my ($model, $code, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $id = $t->ask('hello', model => $model);
    my ($row, $fails);

    $t->wait_for(sub {
        $row = $t->result($id)->{json};
        $fails = $t->redis('HGET', "{trifecta:0}:j:$id", 'fails');
        return $row->{status} =~ /^(failed|succeeded)$/ || $fails;
    }, 20 * $t->slow);

    is($row->{status} eq 'failed' ? $row->{error}{code}
       : $fails ? 'again' : $row->{status}, $code, $name)
        or diag explain $row;
    $t->request('POST', "/api/v1/query/$id/cancel");
    return $row;
}

sub memory {
    open my $fh, '<', '/proc/' . $t->proc('sidecar', 0)->pid . '/status' or die;
    local $/;
    return (<$fh> =~ /^VmHWM:\s+(\d+)/m)[0] / 1024;
}


# answers

says('good', 'good', 'a server that is well');
my $before = memory();
fails('gzip_bomb', 'again', 'a_gzip_bomb_as_a_stream_is_no_answer');
fails('gzip_json', 'again', 'a_gzip_bomb_as_json_is_no_answer');
cmp_ok(memory() - $before, '<', 64, 'and_is_not_unpacked');
fails('redirect', 'model_rejected', 'a_redirect_is_no_answer');
is_deeply([grep { $_->{path} eq '/elsewhere' } $server->requests], [],
    'nobody_goes_where_it_leads');
my $row = fails('page_of_a_proxy', 'again', 'a_page_of_a_proxy_passes');
unlike(JSON::PP::encode_json($row), qr/canary/, 'and is not shown');
fails('s408', 'again', 'a_408_is_asked_again_later');
fails('s409', 'again', 'a_409_is_asked_again_later');
fails('s504', 'again', 'a_504_is_asked_again_later');
fails('s418', 'model_rejected', 'a_status_that_nobody_knows_is_not');
fails('filtered', 'model_rejected', 'a_filter_of_the_server_ends_the_job');
fails('no_status', 'again', 'what_is_no_HTTP_is_no_answer');
fails('ollama_cut', 'again', 'half_an_answer_of_an_ollama_is_never_served');
fails('half_a_character', 'again', 'bytes_that_are_no_UTF-8_are_no_answer');
fails('not_trusted', 'again', 'a_certificate_that_nobody_vouches_for_is_refused');
like($t->log_of('sidecar'), qr/model not_trusted at .*certificate/,
    'the log says why');


# Retry-After

says('busy_date', 'second time', 'a date as Retry-After');
cmp_ok(between('busy_date'), '>=', 1.9, 'is_waited_for');
says('busy_ms', 'second time', 'retry-after-ms');
cmp_ok(between('busy_ms'), '>=', 2.4, 'is waited for');
cmp_ok(between('busy_ms'), '<', 8.9, 'and_counts_more_than_Retry_After');
says('busy_odd', 'second time', 'one_that_is_none_is_not_waited_for');
$row = fails('busy_long', 'model_limited',
    'one_beyond_the_deadline_ends_the_job_at_once');
is(scalar(my @once = $server->requests('busy_long')), 1, 'asked once');


# keys

says('limited_key', 'another key', 'a_limited_key_is_followed_by_the_next');
is_deeply([map $_->{headers}{authorization}, $server->requests('limited_key')],
    ['Bearer key-one', 'Bearer key-two'],
    'keys_of_a_file_with_CRLF_and_blanks');

sub refused {
    my ($text, $why, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($file, $wrong) = ($t->dir . '/wrong.keys', $t->dir . '/wrong.conf');
    $t->write_file($file, $text, 0600);
    $t->write_file($wrong, "[a]\nprovider = openai\nbase_url = http://x\n"
        . "key_file = $file\n");
    my ($rc, undef, $err) = $t->run({ env => { TRIFECTA_MODELS => $wrong } },
                                    'models');
    is($rc, 1, $name);
    like($err, $why, '... it says why');
    unlike($err, qr/sk-/, '... and no key');
}

refused("\n \n", qr/has no key in it/, 'a_file_of_keys_without_any');
refused("sk-x\n" x 17, qr/more than 16 keys/, 'a_file_of_too_many_keys');


# vectors

sub try {
    my ($model, @texts) = @_;
    return $t->run({ env => { TRIFECTA_MODELS => $models } }, 'models', '--try',
                   $model, @texts ? @texts : ('a', 'bb'));
}

sub bad {
    my ($model, $code, $why, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($rc, $out, $err) = try($model);
    is($rc, 1, $name);
    like($err, qr/^trifecta models: $code: /m, "... it is $code");
    like($err, $why, '... the log says why');
}

bad(@$_) for
    ['vectors_nobody', 'model_unavailable', qr/model vectors_nobody at/,
     'a_server_of_vectors_that_is_not_there'],
    ['vectors_gzip', 'model_unavailable', qr/model vectors_gzip/,
     'vectors_in_a_gzip_bomb_are_none'],
    ['vectors_redirect', 'model_rejected', qr/307/,
     'a_redirect_makes_no_vectors'],
    ['vectors_quota', 'model_refused', qr/insufficient_quota/,
     'a_used_up_quota_makes_none'];

is(scalar(@once = $server->requests('vectors_quota')), 1,
    'and is asked once');
is_deeply([grep { $_->{path} eq '/elsewhere' } $server->requests], [],
    'nobody went where the redirect leads');
is((try('vectors_limited_key'))[0], 0,
    'a_limited_key_for_vectors_is_followed_by_the_next');


# a set, by jobs

my $dir = $t->dir . '/docs';
mkdir $dir or die $!;
$t->write_file("$dir/one.md", "# One\n\nA walrus.\n", 0644);
is(($t->run('ingest', $dir))[0], 0, 'ingested');
my ($rc, $set, $err) = $t->run('embed', 'create', '--jobs', 1, '--wait',
                               '--model', 'vectors_busy');
is($rc, 0, 'a set was made') or diag $err;
cmp_ok(between('vectors_busy'), '>=', 2.9,
    'an_embed_job_waits_for_Retry_After');

($rc) = $t->run('embed', 'create', '--jobs', 1, '--model', 'vectors_quota');
$t->wait_for(sub { $t->sql('admin', "SELECT count(*) FROM trifecta.job WHERE "
    . "kind = 'embed' AND state = 'failed'")->[0][0] }, 20 * $t->slow);
is($t->sql('admin', "SELECT attempt FROM trifecta.job WHERE kind = 'embed' "
    . "AND state = 'failed'")->[0][0], 1,
    'an_embed_job_without_quota_ends_at_its_first_attempt');

# each of these jobs has its own attempts, the server is one

$t->run('embed', 'create', '--jobs', 8, '--model', 'vectors_failing');
$t->write_file("$dir/$_.md", "# Number $_\n\nA walrus.\n", 0644) for 1 .. 40;
is(($t->run('ingest', $dir))[0], 0, 'ingested more');
ok($t->wait_for(sub { $t->log_of('sidecar') =~
    /model vectors_failing failed too often and is left alone/ },
    60 * $t->slow), 'a_server_of_vectors_that_fails_in_a_row_is_left_alone');
says('good', 'good', 'the others are asked all the time');

# 24,000 bytes are taken for 8,000 tokens

is((try('vectors', map { $_ x 24_000 } 'a' .. 'z', 'a' .. 'z'))[0], 0,
    'many long texts have their vectors');
my @sizes = map { scalar @{ $_->{json}{input} } } $server->requests('vectors');
is_deeply(\@sizes, [37, 15],
    'no_request_has_more_than_300000_tokens');

unlike($t->log_of('sidecar'), qr/key-(one|two)/, 'no key is in the log');

$server->stop;
$t->finish;
done_testing;
