# The edge as a client sees it: what is accepted, what each mistake is
# answered, what a job's resource says, reloads, aborts, the operator's pages.
# No sidecar runs: rows are written here as one would write them.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

binmode $_, ':utf8' for map { Test::More->builder->$_ }
    qw(output failure_output todo_output);

my $t = Trifecta::Test->new(sidecars => 0);
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}
              -[0-9a-f]{12}/x;
my $when = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
my $json = JSON::PP->new->utf8;

sub ask_ok {
    my (%opt) = @_;
    my $res = $t->post($Q, { query => 'What is it?' }, %opt);
    die "POST: $res->{status} $res->{content}" unless $res->{status} == 202;
    return $res->{json}{query_id};
}

# What the sidecar would have written for the end of a job.

sub row {
    my ($id, $state, %opt) = @_;

    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, attempt, accepted, finished, deadline, error,'
        . " usage) VALUES (?, ?, ?, 'query', 'extractive', 1, ?, 1, now(),"
        . " CASE WHEN ? THEN now() END, now() + '10 min', ?, ?)",
        $id, $opt{tenant} // 'default', $opt{owner} // 'test:alice', $state,
        $state =~ /^(queued|running)$/ ? 0 : 1, $opt{error}, $opt{usage});

    $t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant, owner,'
        . ' attempt, body, citations) VALUES (?, ?, ?, 1, ?, ?)',
        $id, $opt{tenant} // 'default', $opt{owner} // 'test:alice',
        $opt{body}, $opt{citations} // '[]')
        if defined $opt{body};
}

# Reloads; the old workers have heard of it when this returns.

sub reload {
    my %old = map { $_ => 1 } $t->reload;
    $t->wait_for(sub { !grep { $old{$_} } $t->workers }, 5);
    return keys %old;
}

sub forget { $t->redis('DEL', "$P:j:$_[0]") }
sub say_state { $t->redis('HSET', "$P:j:$_[0]", 'state', $_[1]) }


# A good question

{
    my $before = $t->snapshot_of_queue;
    my $res = $t->post($Q, { query => "What is \x{e9}?", user_id => 'alice',
                             stream => JSON::PP::false, whatever => [1] },
        headers => { 'X-Request-Id' => 'mine', Prefer => 'respond-async' });
    my $id = $res->{json}{query_id} // '';

    is $res->{status}, 202, 'a_good_question_is_accepted'
        or diag $res->{content};
    like $id, qr/^$uuid$/, 'its id is a UUID of version 7';
    is_deeply [sort keys %{ $res->{json} }],
        [qw(created_at links query_id status)], 'no member more or less';
    is_deeply $res->{json}{links},
        { self => "$Q/$id", events => "$Q/$id/events",
          cancel => "$Q/$id/cancel" },
        'links_names_only_routes_that_exist';
    is $res->{json}{status}, 'queued', 'it is queued';
    like $res->{json}{created_at}, $when, 'the time is RFC 3339 in UTC';
    is $res->{headers}{location}, "$Q/$id", 'Location is its path';
    is $res->{headers}{'retry-after'}, 1, 'Retry-After';
    like $res->{headers}{'x-request-id'}, qr/^req_[0-9a-f]{32}$/,
        'the_request_id_is_ours_not_the_clients';
    is $res->{headers}{'cache-control'}, 'no-store', 'nothing is cached';

    my $after = $t->snapshot_of_queue;
    is $after->{live}, $before->{live} + 1, 'one_202_is_one_job';

    my %job = @{ $t->redis('HGETALL', "$P:j:$id") };
    is $job{owner}, 'test:alice', 'owner';
    is $job{tenant}, 'default', 'tenant';
    is $job{model}, 'extractive', 'the first model is the default';
    is_deeply $json->decode($job{payload}),
        { query => "What is \x{e9}?", model => 'extractive' }, 'payload';
    is $job{request_id}, $res->{headers}{'x-request-id'},
        'the job carries the request id';
    is $job{dl} - $job{acc}, 600000, 'the deadline is that of the kind';

    $res = $t->get("$Q/$id");
    is $res->{status}, 200, 'it can be read';
    is $res->{json}{status}, 'queued', 'as queued';
    is $res->{json}{response}, undef, 'without a response';
    is $res->{headers}{'retry-after'}, 1, 'come back in a second';
    is $t->get("$Q/\U$id")->{status}, 200, 'an id in upper case is the same';
}


# Each mistake has an error of its own, and nothing gets into the queue

my $long = 'x' x 32769;
my @bad = (
    ['no token', { token => undef, json => { query => 'x' } },
        401, 'missing_token'],
    ['not a token', { token => 'x.y.z', json => { query => 'x' } },
        401, 'invalid_token'],
    ['an expired token', { token => $t->token(exp => time - 3600),
        json => { query => 'x' } }, 401, 'token_expired'],
    ['an empty body', { body => '' }, 400, 'invalid_json'],
    ['a body cut off', { body => '{"query":"x"' }, 400, 'invalid_json'],
    ['text after the object', { body => '{"query":"x"} y' },
        400, 'invalid_json'],
    ['an array', { body => '["x"]' }, 400, 'invalid_json'],
    ['a string', { body => '"x"' }, 400, 'invalid_json'],
    ['a duplicate member', { body => '{"query":"x","query":"y"}' },
        400, 'invalid_json'],
    ['a duplicate below', { body => '{"query":"x","z":{"a":1,"a":2}}' },
        400, 'invalid_json'],
    ['bytes that are no UTF-8', { body => "{\"query\":\"\xff\"}" },
        400, 'invalid_json'],
    ['NUL', { body => '{"query":"a\\u0000b"}' }, 400, 'invalid_json'],
    ['33 levels', { body => '{"query":"x","z":' . '[' x 32 . ']' x 32 . '}' },
        400, 'invalid_json'],
    ['a number beyond int64', { body => '{"query":"x","n":1' . '0' x 30 . '}' },
        400, 'invalid_json'],
    ['no query', { json => { model => 'test' } },
        400, 'missing_field', 'query'],
    ['a query that is a number', { body => '{"query":5}' },
        400, 'invalid_value', 'query'],
    ['a query that is null', { body => '{"query":null}' },
        400, 'invalid_value', 'query'],
    ['an empty query', { json => { query => '' } },
        400, 'invalid_value', 'query'],
    ['a blank query', { json => { query => " \n\t\x{a0}\x{3000}" } },
        400, 'invalid_value', 'query'],
    ['a query too long', { json => { query => $long } },
        400, 'invalid_value', 'query'],
    ['an unknown model', { json => { query => 'x', model => 'nope' } },
        404, 'model_not_found', 'model'],
    ['a model that is a number', { body => '{"query":"x","model":1}' },
        400, 'invalid_value', 'model'],
    ['another user', { json => { query => 'x', user_id => 'bob' } },
        403, 'user_mismatch', 'user_id'],
    ['a user that is a number', { body => '{"query":"x","user_id":1}' },
        400, 'invalid_value', 'user_id'],
    ['a stream that is a word', { body => '{"query":"x","stream":"yes"}' },
        400, 'invalid_value', 'stream'],
    map({ ["$_, which is not there yet", { json => { query => 'x', $_ => 1 } },
            400, 'invalid_value', $_] }
        qw(max_output_tokens)),
    ['metadata that are a number', { json => { query => 'x', metadata => 1 } },
        400, 'invalid_value', 'metadata'],
    ['a webhook, where there are none',
        { json => { query => 'x', webhook_url => 'https://example.com/' } },
        400, 'invalid_value', 'webhook_url'],
    map({ ["the media type $_", { body => '{"query":"x"}',
            headers => { 'Content-Type' => $_ } },
            415, 'unsupported_media_type'] }
        'text/plain', 'application/jsonx', 'application/json; charset=latin1',
        'application/x-www-form-urlencoded'),
    ['a content encoding', { body => '{"query":"x"}',
        headers => { 'Content-Encoding' => 'gzip' } },
        415, 'unsupported_media_type'],
    ['a body over the limit',
        { body => '{"query":"x","z":"' . 'y' x 262144 . '"}' },
        413, 'body_too_large'],
    ['a chunked body over the limit', { body => do {
        my $n = 0; sub { $n++ < 40 ? 'x' x 8192 : '' } } },
        413, 'body_too_large'],
    map({ ["the method $_ on the collection", { method => $_ },
            405, 'method_not_allowed'] } qw(GET PUT DELETE PATCH OPTIONS)),
    ['the method PUT on a job', { method => 'PUT', path => "$Q/x" },
        405, 'method_not_allowed'],
    ['no UUID', { method => 'GET', path => "$Q/nope" }, 404, 'not_found'],
    ['a UUID that was never made', { method => 'GET',
        path => "$Q/01900000-0000-7000-8000-000000000000" },
        404, 'not_found'],
    ['a path that is none', { method => 'GET', path => '/api/v1/nope' },
        404, 'not_found'],
);

for my $case (@bad) {
    my ($name, $opt, $status, $code, $param) = @$case;
    my %opt = %$opt;
    my $method = delete $opt{method} // 'POST';
    my $path = delete $opt{path} // $Q;
    my $before = $t->snapshot_of_queue;
    my $res = $t->request($method, $path, %opt);
    my $e = $res->{json}{error} // {};

    is_deeply [$res->{status}, $e->{code}, $e->{param}],
        [$status, $code, $param], "$name: $status $code"
        or diag $res->{content};
    is $res->{headers}{'content-type'}, 'application/problem+json',
        '  as a problem';
    $t->nothing_enqueued($before, '  and nothing is enqueued');
}

for my $case (['the longest query', { query => "\x{e9}" x 32768 }],
              ['a charset', { query => 'x' },
               'application/json; charset=utf-8'],
              ['another model', { query => 'x', model => 'test' }])
{
    my ($name, $body, $type) = @$case;
    my $res = $t->post($Q, $body,
        $type ? (headers => { 'Content-Type' => $type }) : ());
    is $res->{status}, 202, "$name is accepted" or diag $res->{content};
}


# What an error says

{
    my $res = $t->post($Q, { query => 'x', model => "a\"\x{7}b" });
    my $p = $res->{json};
    is_deeply [sort keys %$p], [qw(detail error instance request_id status
                                   title type)], 'the members of a problem';
    is $p->{type}, '/problems/model-not-found', 'type';
    is $p->{status}, 404, 'status';
    is $p->{instance}, $Q, 'instance';
    is $p->{request_id}, $res->{headers}{'x-request-id'}, 'request_id';
    is $p->{error}{type}, 'invalid_request_error', 'OpenAI type';
    is $p->{error}{message}, $p->{detail}, 'message is detail';
    like $p->{detail}, qr/a"\x{7}b/, 'what a client sent is escaped';

    $res = $t->request('PUT', $Q, json => {});
    is $res->{headers}{allow}, 'POST', '405_says_what_is_allowed';
    $res = $t->request('HEAD', "$Q/x");
    is $res->{status}, 405, 'HEAD is not there';
    is $res->{headers}{allow}, 'GET, DELETE', 'but GET and DELETE';

    like $t->post($Q, {}, token => undef)->{headers}{'www-authenticate'},
        qr/^Bearer realm="trifecta"$/, 'no token: a plain challenge';
    like $t->post($Q, {}, token => 'x')->{headers}{'www-authenticate'},
        qr/error="invalid_token"/, 'a bad one: error="invalid_token"';

    $res = $t->raw("GET /api/v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n"
        . 'Authorization: Bearer ' . $t->token . "\r\n\r\n");
    is $res->{status}, 404, 'a path that is no UTF-8 is 404';
    ok $res->{json}, 'with valid JSON' or diag $res->{raw};
}


# Bodies that come oddly

{
    my $head = "POST $Q HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        . "application/json\r\nAuthorization: Bearer " . $t->token . "\r\n";

    is $t->raw($head . "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"qu\r\n"
        . "8\r\nery\":\"x\"\r\n1\r\n}\r\n0\r\n\r\n")->{status}, 202,
        'a chunked body is accepted';

    my $res = $t->raw($head . "Transfer-Encoding: chunked\r\n\r\nZZ\r\n");
    is "$res->{status} $res->{code}", '400 invalid_json',
        'broken_chunks_are_a_problem_not_a_page';

    $res = $t->raw($head . "Content-Length: 999999999\r\n\r\n{");
    is "$res->{status} $res->{code}", '413 body_too_large',
        'a length over the limit is refused before the body comes';

    my $body = '{"query":"x"}';
    $res = $t->raw(("$head" . "Content-Length: 13\r\n\r\n$body") x 2
        . "GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n", all => 1,
        timeout => 2);
    is_deeply [$res->{raw} =~ m{HTTP/1.1 (\d+)}g], [202, 202, 401],
        'pipelined requests are answered in order';

    my $sock = $t->socket;
    print {$sock} $head . "Content-Length: 13\r\n\r\n{";
    for my $byte (split //, substr $body, 1) {
        sleep 0.02;
        print {$sock} $byte;
    }
    my $line = <$sock>;
    like $line, qr/ 202 /, 'a body byte by byte is accepted';
    close $sock;
}


# What a job's resource says

{
    my $id = ask_ok();
    say_state($id, 'succeeded');
    row($id, 'succeeded', body => "It is \"so\"\n\x{1F600}",
        citations => '[{"n": 1, "source": "a.md"}]', usage => '{"n": 3}');
    my $res = $t->get("$Q/$id");
    is $res->{status}, 200, 'the end of a job can be read';
    my $j = $res->{json};
    is $j->{status}, 'succeeded', 'status';
    is $j->{response}, "It is \"so\"\n\x{1F600}", 'response';
    is_deeply $j->{citations}, [{ n => 1, source => 'a.md' }], 'citations';
    is_deeply $j->{usage}, { n => 3 }, 'usage';
    is $j->{model}, 'extractive', 'model';
    like $j->{completed_at}, $when, 'completed_at';
    ok !exists $res->{headers}{'retry-after'}, 'no Retry-After at the end';

    is $t->get("$Q/$id", token => $t->token(sub => 'bob'))->{code},
        'not_found', "somebody_elses_job_is_404";
    is $t->get("$Q/$id", token => $t->token(tenant => 'acme'))->{code},
        'not_found', "another_tenants_job_is_404";
    is $t->get("$Q/$id", token => undef)->{code}, 'missing_token',
        'without a token it is 401';

    forget($id);
    is $t->get("$Q/$id")->{json}{status}, 'succeeded',
        'PostgreSQL knows it when Redis has forgotten';

    $id = ask_ok();
    forget($id);
    row($id, 'failed', error => '{"code": "model_error"}');
    $j = $t->get("$Q/$id");
    is $j->{status}, 200, 'a_failed_job_is_no_http_error';
    is_deeply [$j->{json}{status}, $j->{json}{error}, $j->{json}{response}],
        ['failed', { code => 'model_error' }, undef], 'it says its error';

    $id = ask_ok();
    forget($id);
    row($id, 'running');
    $j = $t->get("$Q/$id");
    is $j->{json}{status}, 'running',
        'absent in Redis and an open row: the state of the row';
    is $j->{headers}{'retry-after'}, 1, 'and come back';

    $id = ask_ok();
    forget($id);
    $j = $t->get("$Q/$id");
    is "$j->{status} $j->{code}", '410 gone',
        'accepted_once_and_known_nowhere_is_410';

    $id = ask_ok();
    say_state($id, 'cancelled');
    is $t->get("$Q/$id")->{json}{status}, 'cancelled',
        'the word of Redis is served while the row is missing';

    $id = ask_ok();
    say_state($id, 'succeeded');
    is $t->get("$Q/$id")->{code}, 'store_unavailable',
        'but never a success without its result';

    $id = ask_ok();
    forget($id);
    row($id, 'succeeded', body => 'y' x 3_000_000);
    $j = $t->get("$Q/$id");
    is length($j->{json}{response} // ''), 3_000_000,
        'a_result_of_3_MB_comes_whole';

    $id = ask_ok();
    forget($id);
    row($id, 'succeeded', body => 'secret', owner => 'test:bob');
    is $t->get("$Q/$id")->{code}, 'gone',
        'a row of another owner is not there';
}


# Bounds

{
    my $live = $t->redis('ZCARD', "$P:live");
    my $tenant = $t->redis('ZCARD', "$P:t:default:live");

    $t->{opt}{max_jobs_per_tenant} = $tenant + 1;
    $t->write_conf;
    reload();
    ask_ok();
    my $before = $t->snapshot_of_queue;
    my $res = $t->post($Q, { query => 'x' });
    is "$res->{status} $res->{code}", '429 tenant_queue_full',
        'one_job_more_than_a_tenant_may_have_is_429';
    ok $res->{headers}{'retry-after'}, 'with Retry-After';
    $t->nothing_enqueued($before);
    is $t->post($Q, { query => 'x' }, token => $t->token(tenant => 'acme'))
        ->{status}, 202, 'another tenant is not concerned';

    $t->{opt}{max_jobs} = $live + 2;
    $t->write_conf;
    reload();
    $before = $t->snapshot_of_queue;
    $res = $t->post($Q, { query => 'x' },
                    token => $t->token(tenant => 'globex'));
    is "$res->{status} $res->{code}", '503 queue_full',
        'one_job_more_than_the_queue_may_have_is_503';
    ok $res->{headers}{'retry-after'}, 'with Retry-After';
    $t->nothing_enqueued($before);

    delete @{ $t->{opt} }{qw(max_jobs max_jobs_per_tenant)};
    $t->write_conf;
    reload();

    $t->redis('HSET', "$P:meta", 'paused', 1);
    is $t->post($Q, { query => 'x' })->{code}, 'queue_unavailable',
        'a paused queue is 503';
    $t->redis('HDEL', "$P:meta", 'paused');

    $t->redis('CONFIG', 'SET', 'maxmemory', 1);
    $res = $t->post($Q, { query => 'x' });
    is "$res->{status} $res->{code}", '503 queue_full',
        'a Redis out of memory is a full queue';
    $t->redis('CONFIG', 'SET', 'maxmemory', '256mb');
}


# One POST is one command

{
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10);
    sleep 1.2;  # the old workers' connections are gone

    my $fcalls = sub {
        $t->redis('INFO', 'commandstats') =~ /^cmdstat_fcall:calls=(\d+)/m;
        return $1;
    };
    my $monitor = $t->redis_client;
    my $before = $fcalls->();
    my ($me) = $t->redis('CLIENT', 'INFO') =~ / addr=(\S+)/;
    my $live = $t->redis('ZCARD', "$P:live");

    $monitor->cmd('MONITOR');
    ask_ok() for 1 .. 25;
    my $after = $fcalls->();
    is $after - $before, 25, 'n_posts_are_n_fcalls';
    is $t->redis('ZCARD', "$P:live") - $live, 25, 'and n jobs';

    my @lines = grep { !/ \[0 (\Q$me\E|lua)\] / } $monitor->lines(6.5);
    my @other = grep { !/"FCALL" "trifecta_submit_v1"/ } @lines;
    is scalar(@lines) - scalar(@other), 25, 'MONITOR shows them';
    is_deeply [grep { !/ (?:"PING"|"INFO" .*|"HMGET" "\Q$P\E:meta" .*)$/ }
        @other], [],
        'the_module_sends_no_other_command_but_to_look_after_its_connections';
    ok scalar(@other) >= 1 && @other <= 12, 'and that every five seconds'
        or diag explain \@other;
}


# The operator's pages

{
    is $t->admin('/livez')->{status}, 200, 'livez';
    my $res = $t->admin('/readyz');
    is_deeply $res->{json}, { status => 'ready',
        redis => { ready => JSON::PP::true,
                   shards => [{ shard => 0, ready => JSON::PP::true }] },
        postgresql => { ready => JSON::PP::true } }, 'readyz';
    is $t->admin('/nope')->{status}, 404, 'no other page';
    is $t->request('POST', '/livez', token => undef, body => 'x',
        url => "http://127.0.0.1:$t->{admin_port}/livez")->{status}, 405,
        'nor another method';

    my $m = $t->metrics;
    cmp_ok $m->{'trifecta_submits_total{outcome="accepted"}'}, '>=', 40,
        'accepted jobs are counted';
    cmp_ok $m->{'trifecta_errors_total{code="invalid_json"}'}, '>=', 11,
        'errors by code';
    cmp_ok $m->{'trifecta_auth_failures_total'}, '>=', 3, 'bad tokens';
    is $m->{'trifecta_redis_ready_workers{shard="0"}'}, 2,
        'workers with Redis';
    is $m->{trifecta_pg_ready_workers}, 2, 'workers with PostgreSQL';
    is $m->{trifecta_redis_pending} + $m->{trifecta_pg_pending}, 0,
        'nothing is owed';

    ask_ok() for 1 .. 10;
    my $n = $t->metrics;
    is $n->{'trifecta_submits_total{outcome="accepted"}'}
        - $m->{'trifecta_submits_total{outcome="accepted"}'}, 10,
        'all_workers_count_into_one_sum';
    my $posts = 'trifecta_requests_total{route="POST /api/v1/query",'
        . 'class="2xx"}';
    is $n->{$posts} - $m->{$posts}, 10,
        'the pages themselves are not counted';

    reload();
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10);
    cmp_ok $t->metrics->{'trifecta_submits_total{outcome="accepted"}'}, '>=',
        $n->{'trifecta_submits_total{outcome="accepted"}'},
        'counters_survive_a_reload';
}


# Reloads under load

{
    my $stop = "$t->{dir}/run/stop";
    my @kids;

    for my $k (1 .. 4) {
        my $pid = fork // die "fork: $!";

        if ($pid == 0) {
            my ($n, @bad) = (0);

            until (-e $stop) {
                my $res = $t->post($Q, { query => "load $k $n" });
                my $id = $res->{json} && $res->{json}{query_id};
                push @bad, "POST $res->{status} $res->{content}"
                    if $res->{status} != 202 || !$id;

                if ($id) {
                    $res = $t->get("$Q/$id");
                    push @bad, "GET $res->{status} $res->{content}"
                        if $res->{status} != 200
                           || ($res->{json}{query_id} // '') ne $id;
                }

                $n++;
            }

            $t->write_file("$t->{dir}/run/load.$k",
                "$n\n" . join '', map { s/\n/ /gr . "\n" } @bad);
            POSIX::_exit(0);
        }

        push @kids, $pid;
    }

    my @old;
    for (1 .. 6) {
        sleep 0.4;
        push @old, $t->reload;
    }
    sleep 0.4;
    $t->write_file($stop, '');
    waitpid $_, 0 for @kids;

    my ($n, @bad) = (0);
    for my $k (1 .. 4) {
        my ($count, @lines)
            = split /\n/, $t->read_file("$t->{dir}/run/load.$k");
        $n += $count;
        push @bad, @lines;
    }
    is_deeply \@bad, [], "6_reloads_under_load: $n questions, each answered";
    cmp_ok $n, '>', 50 / $slow, 'and there was load';
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 5),
        'old_workers_are_gone';
}


# A worker with nothing to do but two connections leaves at once

{
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10);
    my @old = $t->reload;
    my $start = time;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    cmp_ok time - $start, '<', 5 * $slow,
        'an_idle_worker_leaves_within_a_second';
}


# Clients that go away

{
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10);
    my $id = ask_ok();
    my @pids = sort $t->workers;
    my $auth = 'Authorization: Bearer ' . $t->token;
    my $post = "POST $Q HTTP/1.1\r\nHost: localhost\r\n$auth\r\nContent-Type:"
        . " application/json\r\nContent-Length: 13\r\n\r\n{\"query\":\"x\"}";
    my $get = "GET $Q/$id HTTP/1.1\r\nHost: localhost\r\n$auth\r\n\r\n";

    for my $n (1 .. 60) {
        my $sock = $t->socket or next;
        print {$sock} $n % 3 == 0 ? $get : $n % 3 == 1 ? $post
            : substr $post, 0, length($post) - 1 - $n % 12;
        close $sock;
    }

    # while Redis owes the answers

    $t->freeze('redis');
    for my $n (1 .. 20) {
        my $sock = $t->socket or next;
        print {$sock} $n % 2 ? $get : $post;
        close $sock;
    }
    sleep 0.3;
    $t->thaw('redis');

    ok $t->wait_for(sub { $t->metrics->{trifecta_redis_pending} == 0 }, 10),
        'late_answers_find_an_orphan';
    ok $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 30),
        'and the workers are ready';
    is_deeply [sort $t->workers], \@pids, 'they are the same processes';
    is $t->get("$Q/$id")->{status}, 200, 'and serve';
}

$t->finish;
done_testing;
