# Models behind servers: what they answer well is served, and nothing that
# they do badly harms anybody.  The servers are scripted; everything else is
# real.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Encode qw(encode);
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 8, lease => '3s', heartbeat => '500ms' });

my $long = 'x' x 1000;

my $server = Trifecta::Test::ModelServer->new($t,

    # well
    plain  => sub { $_[0]->sse('The sky is ', 'blue', '.') },
    utf8   => sub {
        my ($c) = @_;
        my $text = 'data: ' . JSON::PP->new->utf8->encode({ choices => [{
            delta => { content => 'Grüße, 世界 🙂' } }] }) . "\n\n";
        $c->head(200, 'text/event-stream');
        for (split //, $text) { $c->put($_); sleep 0.001 }
        $c->done;
    },
    whole  => sub {
        $_[0]->answer(200, { choices => [{ message => { content => 'whole' },
            finish_reason => 'stop' }], usage => { prompt_tokens => 2,
            completion_tokens => 1 } });
    },
    done_twice => sub { $_[0]->sse('a'); $_[0]->put("data: [DONE]\n\n" x 2) },
    no_done => sub {
        $_[0]->head(200, 'text/event-stream');
        $_[0]->chunk('no done');
        $_[0]->put('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'
                   . "\n\n");
    },
    ollama => sub { $_[0]->lines('from ', 'ollama') },
    pauses => sub {
        $_[0]->head(200, 'text/event-stream');
        $_[0]->chunk('before ');
        sleep 4 * $t->slow;
        $_[0]->chunk('after');
        $_[0]->done;
    },

    # badly
    html   => sub {
        $_[0]->head(200, 'text/html');
        $_[0]->put('<html><body>Welcome to my proxy</body></html>');
    },
    empty  => sub { $_[0]->sse() },
    cut    => sub { $_[0]->head(200, 'text/event-stream');
                    $_[0]->chunk('half an') },
    cut_json => sub { $_[0]->answer(200, '{"choices":[{"message":{"content',
                                    'Content-Length' => 5000) },
    no_json => sub { $_[0]->head(200, 'text/event-stream');
                     $_[0]->put("data: hello\n\n"); $_[0]->done },
    error_in_stream => sub {
        $_[0]->head(200, 'text/event-stream');
        $_[0]->chunk('half an');
        $_[0]->put('data: {"error":{"message":"overloaded"}}' . "\n\n");
    },
    ollama_error => sub {
        $_[0]->head(200, 'application/x-ndjson');
        $_[0]->put('{"error":"model requires more memory"}' . "\n");
    },
    long_line => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        $c->put('data: ');
        for (1 .. 10_000) { $c->put($long) or last }
    },
    endless => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        for (1 .. 20_000) { $c->chunk($long) or last }
    },
    gzip => sub {
        $_[0]->head(200, 'text/event-stream', 'Content-Encoding' => 'gzip');
        $_[0]->put("\x1f\x8b\x08\x00" . "\x00" x 100_000);
    },
    redirect => sub {
        $_[0]->head(302, 'text/plain',
                    Location => 'http://169.254.169.254/latest/meta-data/');
    },
    hang   => sub { sleep 60 },
    hang_after_head => sub { $_[0]->head(200, 'text/event-stream'); sleep 60 },
    stall  => sub { $_[0]->head(200, 'text/event-stream');
                    $_[0]->chunk('a'); sleep 60 },
    drip   => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        for (1 .. 600) { $c->put(':') or last; sleep 0.1 }
    },
    slow   => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        for (1 .. 600) { $c->chunk('.') or last; sleep 0.05 }
    },

    # errors
    (map { my $status = $_; ("s$_" => sub { $_[0]->answer($status, { error => {
        message => "canary-of-upstream $status", type => 't' } }) }) }
        400, 401, 403, 404, 418, 422, 500, 503),
    quota => sub { $_[0]->answer(429, { error => { message => 'no more',
                       code => 'insufficient_quota' } }) },
    busy_once => sub {
        my ($c) = @_;
        return $c->sse('second time') if $c->{count} > 1;
        $c->answer(429, { error => { message => 'slow down' } },
                   'Retry-After' => 2);
    },
    flaky => sub {
        my ($c) = @_;
        return $c->sse("attempt $c->{count}") if $c->{count} > 2;
        $c->answer(503, 'not JSON at all');
    },
    keys => sub {
        my ($c) = @_;
        $c->{headers}{authorization} eq 'Bearer key-three'
            ? $c->sse('right key')
            : $c->answer(401, { error => { message => 'wrong key' } });
    },
    broken_for_good => sub { $_[0]->answer(500, '{}') },
);

# A port on which nobody listens.
my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $nobody = 'http://127.0.0.1:' . $dead->sockport;
close $dead;

my $keys = $t->dir . '/model.keys';
$t->write_file($keys, "key-one\nkey-two\n\nkey-three\n", 0600);

my @names = qw(plain utf8 whole done_twice no_done html empty cut cut_json
    no_json error_in_stream long_line endless gzip redirect hang
    hang_after_head stall drip slow s400 s401 s403 s404 s418 s422 s500 s503
    quota busy_once flaky broken_for_good);
my $conf = '';

for my $name (@names) {
    $conf .= "[$name]\nprovider = openai\nbase_url = " . $server->url
        . "/v1/\nretrieval = off\nfirst_token_timeout = 1s\n"
        . "idle_timeout = 1s\ntotal_timeout = 3s\n\n";
}

$conf .= <<"END";
[pauses]
provider = openai
base_url = @{[$server->url]}/v1
retrieval = off
total_timeout = 60s

[keys]
provider = openai
base_url = @{[$server->url]}/v1
key_file = $keys
retrieval = off
temperature = 0.5
output_field = max_completion_tokens
input_price = 2
output_price = 10

[nobody]
provider = openai
base_url = $nobody/v1
retrieval = off

[falls]
provider = openai
base_url = $nobody/v1
retrieval = off
fallback = falls_too

[falls_too]
provider = openai
base_url = @{[$server->url]}/v1
upstream = cut
retrieval = off
fallback = plain

[ollama]
provider = ollama
base_url = @{[$server->url]}
retrieval = off
context = 4096

[ollama_error]
provider = ollama
base_url = @{[$server->url]}
retrieval = off

[switched-off]
provider = openai
enabled = off
END

my $models = $t->dir . '/models.conf';
$t->write_file($models, $conf);
$t->{opt}{sidecar}{models} = $models;

my (undef, $list) = $t->run({ env => { TRIFECTA_MODELS => $models } }, 'models',
                            '--nginx');
like($list, qr/^trifecta_models plain utf8 .* ollama_error extractive test;$/m,
    'models lists what is enabled, in order, and the built-in ones');
my ($names) = $list =~ /^trifecta_models (.*);$/m;
$t->{opt}{models} = $names;
$t->write_conf;
$t->start_all;

sub ask {
    my ($model, %o) = @_;
    return $t->ask_and_wait($o{query} // 'What colour is the sky?',
                            model => $model, timeout => 40 * $t->slow);
}

sub says {
    my ($model, $text, $name) = @_;
    my $end = ask($model);
    is($end->{response}, $text, $name) or diag explain $end;
    return $end;
}

# How a job fails that is asked once: "again" when it will be tried again
# (how often is not of interest here, so it is cancelled), else the code.

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


# well

my $end = says('plain', 'The sky is blue.', 'a_stream_of_chunks_is_the_answer');
is_deeply($end->{usage}, { input_tokens => 11, output_tokens => 5,
    total_tokens => 16, model => 'plain' }, 'with the usage that it reported');

my ($sent) = $server->requests('plain');
is($sent->{path}, '/v1/chat/completions', 'the path joins base_url once');
ok($sent->{json}{stream}, 'a stream is asked for');
ok($sent->{json}{stream_options}{include_usage}, 'with its usage');
is($sent->{json}{max_tokens}, 1024, 'and a bound');
ok(!exists $sent->{json}{temperature}, 'what is not set is not sent');
is($sent->{headers}{authorization}, undef, 'nor is a key');
is($sent->{json}{messages}[-1]{content}, 'What colour is the sky?',
    'without retrieval the question goes out as it is');

says('utf8', 'Grüße, 世界 🙂', 'text_that_comes_byte_by_byte_is_whole');
says('whole', 'whole', 'an_answer_that_is_no_stream_counts_too');
# What came before a pause is seen in it

my $pauses = $t->ask('hello', model => 'pauses');
ok($t->wait_for(sub {
        my $last = ($t->redis('XRANGE', "{trifecta:0}:ev:$pauses", '-', '+')
                    || [])->[-1];
        return $last && $last->[1][3] eq 'before ';
    }, 20 * $t->slow), 'what_a_model_said_is_seen_while_it_is_waited_for');
is($t->result($pauses)->{json}{status}, 'running', 'and before its end');
is($t->wait_for_answer($pauses)->{response}, 'before after', 'which follows');

says('done_twice', 'a', 'DONE_more_than_once_harms_nobody');
says('no_done', 'no done', 'finish_reason_ends_an_answer_without_DONE');

$end = says('ollama', 'from ollama', 'lines_of_an_ollama_are_the_answer');
is($end->{usage}{input_tokens}, 21, 'with its counts');
($sent) = $server->requests('ollama');
is($sent->{path}, '/api/chat', 'at its own path');
is($sent->{json}{options}{num_ctx}, 4096, 'num_ctx_is_sent_to_an_ollama');


# keys

$end = says('keys', 'right key', 'a_refused_key_is_followed_by_the_next');
is_deeply([map $_->{headers}{authorization}, $server->requests('keys')],
    ['Bearer key-one', 'Bearer key-two', 'Bearer key-three'],
    'each once, in order');
is($end->{usage}{cost}, (11 * 2 + 5 * 10) / 1e6, 'the price makes the cost');
($sent) = $server->requests('keys');
is($sent->{json}{temperature}, 0.5, 'temperature as configured');
is($sent->{json}{max_completion_tokens}, 1024, 'and the name of the bound');


# badly: each of these may pass, so it is tried again later

fails($_->[0], 'again', $_->[1]) for
    ['html', 'a_page_of_html_is_no_answer'],
    ['empty', 'an_empty_stream_is_no_answer'],
    ['cut', 'half_an_answer_is_never_served'],
    ['cut_json', 'half_a_json_answer_is_never_served'],
    ['no_json', 'an_event_that_is_no_json_is_no_answer'],
    ['error_in_stream', 'an_error_in_mid_stream_is_a_failure'],
    ['ollama_error', 'an_error_line_after_a_200_is_a_failure'],
    ['long_line', 'a_line_of_ten_megabytes_is_given_up'],
    ['endless', 'an_endless_answer_is_given_up'],
    ['gzip', 'a_coding_that_was_not_asked_for_is_not_undone'],
    ['nobody', 'a_server_that_is_not_there_is_asked_again_later'],
    ['s500', 'a_500_is_asked_again_later'],
    ['s503', 'a_503_is_asked_again_later'];

{
    my $began = time;
    fails($_->[0], 'again', $_->[1]) for
        ['hang', 'a_server_that_says_nothing_meets_the_first_deadline'],
        ['hang_after_head', 'a_head_is_no_first_token'],
        ['stall', 'a_stream_that_stalls_meets_the_idle_deadline'],
        ['drip', 'a_stream_of_nothing_meets_the_total_deadline'];
    cmp_ok(time - $began, '<', 5 * (1 + 1 + 1 + 3) * $t->slow,
        'each in the time that it is given');

    my $log = $t->log_of('sidecar');
    like($log, qr/model hang at .*nothing came within 1000 ms/, 'the first');
    like($log, qr/model hang_after_head at .*nothing came within 1000 ms/,
        'and again');
    like($log, qr/model stall at .*nothing more came for 1000 ms/, 'the idle');
    like($log, qr/model drip at .*it was not done after 3000 ms/, 'the total');
}

# for good: the next time would be the same

my $row = fails('s400', 'model_rejected', 'a_400_is_not_asked_again');
unlike(JSON::PP::encode_json($row), qr/canary/,
    'a_client_does_not_learn_what_the_server_said');
like($t->log_of('sidecar'), qr/canary-of-upstream 400/, 'the log does');
fails('s404', 'model_rejected', 'nor a 404');
fails('s422', 'model_rejected', 'nor a 422');
fails('s401', 'model_refused', 'a_401_needs_the_operator');
fails('s403', 'model_refused', 'and so does a 403');
fails('quota', 'model_refused', 'a_used_up_quota_is_not_asked_again');
fails('redirect', 'model_rejected', 'a_redirect_is_not_followed');


# again

{
    my $began = time;
    says('busy_once', 'second time', 'a_429_is_asked_again');
    cmp_ok(time - $began, '>=', 2, 'not_before_its_Retry_After');
}
says('flaky', 'attempt 3', 'a_job_outlives_a_server_that_is_away_twice');

$end = says('falls', 'The sky is blue.',
    'a_fallback_answers_when_the_model_cannot');
is($end->{usage}{model}, 'plain', 'and usage says who it was');


# the breaker

$t->ask('x', model => 'broken_for_good') for 1 .. 12;
$t->wait_for(sub { $t->log_of('sidecar') =~
    /the server of model broken_for_good failed too often/ }, 20 * $t->slow);

# those that were on their way already still come

my $asked = -1;
$t->wait_for(sub {
    my $before = $asked;
    sleep 0.3;
    $asked = $server->requests('broken_for_good');
    return $asked == $before;
}, 20 * $t->slow);
sleep 1.5;
is(scalar(my @later = $server->requests('broken_for_good')), $asked,
    'a_server_that_fails_in_a_row_is_left_alone_for_a_while');
says('plain', 'The sky is blue.', 'the_others_are_asked_all_the_time');


# cancel

{
    my $id = $t->ask('hello', model => 'slow');
    $t->wait_for(sub { $server->requests('slow') }, 10 * $t->slow);
    my $began = time;
    $t->request('POST', "/api/v1/query/$id/cancel");
    is($t->wait_for_answer($id)->{status}, 'cancelled',
        'a_cancel_cuts_the_call_to_the_model');
    cmp_ok(time - $began, '<', 5 * $t->slow, 'soon');
}


# files that are wrong

sub refused {
    my ($text, $why, $name) = @_;
    my $file = $t->dir . '/wrong.conf';
    $t->write_file($file, $text);
    my ($rc, undef, $err) = $t->run({ env => { TRIFECTA_MODELS => $file } },
                                    'models');
    is($rc, 1, $name);
    like($err, $why, 'and says why');
}

refused("provider = openai\n", qr/wrong\.conf:1: .*\[name\]/, 'no section');
refused("[a]\nprovider = oops\n", qr/\[a\]: provider must be extractive, openai, ollama or echo/,
    'an unknown provider');
refused("[a]\nprovider = openai\n", qr/\[a\]: base_url is missing/, 'no base_url');
refused("[a]\nprovider = openai\nbase_url = file:///etc/passwd\n",
    qr/\[a\]: base_url must begin with https/, 'a base_url of another kind');
refused("[a]\nnonsense = 1\n", qr/wrong\.conf:2: unknown key "nonsense"/, 'an unknown key');
refused("[a]\n[a]\n", qr/wrong\.conf:2: the model \[a\] is there twice/, 'a model twice');
refused("[a b]\n", qr/wrong\.conf:1: a model's name is of letters/, 'a bad name');
refused("[a]\nfallback = b\n", qr/\[a\]: fallback = b: there is no such model/,
    'a fallback that is not there');
refused("[a]\nfallback = b\n[b]\nfallback = a\n", qr/come back/, 'a circle of fallbacks');
refused("[a]\nenabled = maybe\n", qr/:2: enabled = maybe: on or off/, 'a bad switch');
refused("[a]\nprovider = openai\nbase_url = http://x\nkey_file = /nowhere\n",
    qr{\[a\]: cannot read "/nowhere"}, 'a key file that is not there');
refused("[a]\ntemperature = hot\n", qr/temperature must be between/, 'a bad temperature');
refused("[a]\ncontext = 10\n", qr/context must be at least/, 'a context that is too small');

# a key goes to nobody in the clear

$t->write_file($t->dir . '/clear.conf', "[a]\nprovider = openai\n"
    . "base_url = http://203.0.113.1/v1\nkey_file = $keys\nretrieval = off\n");
$t->{opt}{sidecar}{models} = $t->dir . '/clear.conf';
$t->{opt}{models} = "a";
$t->write_conf;
$t->reload;
$t->restart('sidecar', 0);
fails('a', 'model_refused', 'a_key_is_never_sent_over_plain_http_to_another_host');

unlike($t->log_of('sidecar'), qr/key-(one|two|three)/, 'no key is in the log');

$server->stop;
$t->finish;
done_testing;
