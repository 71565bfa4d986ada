# The OpenAI shape of questions and answers, seen by a client that knows it:
# responses, plain and in the background, what they were asked, who sees
# them, what is refused, and what becomes of those whose client has left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(workers => 1);
my $slow = $t->slow;
my $R = '/v1/responses';
my $P = '{trifecta:0}';

sub create {
    my ($body, %o) = @_;
    return $t->post($R, { model => 'test', %$body }, timeout => 30 * $slow,
                    %o);
}

sub until_ended {
    my ($id) = @_;
    my $res;
    $t->wait_for(sub {
        $res = $t->get("$R/$id");
        $res->{json}{status} !~ /^(queued|in_progress)$/ }, 20);
    return $res->{json};
}

sub uuid { $_[0] =~ /_(.{8})(.{4})(.{4})(.{4})(.{12})$/; "$1-$2-$3-$4-$5" }

# The request of a job, once PostgreSQL has it.

sub request_of {
    my ($id) = @_;
    my $text;
    $t->wait_for(sub { $text = $t->sql('queue', 'SELECT request::text FROM'
        . ' trifecta.job WHERE id = ?', uuid($id))->[0][0] }, 10);
    return JSON::PP::decode_json($text // '{}');
}

# A request whose client leaves, as a socket.

sub begun {
    my ($body) = @_;
    my $text = JSON::PP::encode_json({ model => 'test', %$body });
    my $sock = $t->socket;
    print {$sock} "POST $R HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
        . 'Bearer ' . $t->token . "\r\nContent-Type: application/json\r\n"
        . 'Content-Length: ' . length($text) . "\r\n\r\n$text";
    $sock->flush;
    return $sock;
}

sub newest { $t->redis('ZRANGE', "$P:live", -1, -1)->[0] }


# Plain

{
    my $now = time;
    my $res = create({ input => 'say=hello there' });
    is $res->{status}, 200, 'a_response_waits_for_its_end';
    my $o = $res->{json};
    like $o->{id}, qr/^resp_[0-9a-f]{32}$/, 'id';
    is $o->{object}, 'response', 'object';
    is $o->{status}, 'completed', 'status';
    is $o->{model}, 'test', 'model';
    ok abs($o->{created_at} - $now) < 60 * $slow, 'created_at in seconds';
    ok $o->{completed_at} >= $o->{created_at}, 'completed_at';
    is_deeply [map { exists $o->{$_} ? () : $_ } qw(id object created_at
        status error incomplete_details instructions metadata model output
        parallel_tool_calls temperature top_p tools tool_choice usage text
        truncation background previous_response_id max_output_tokens)], [],
        'every required member is there';
    is_deeply [@$o{qw(error incomplete_details instructions temperature)}],
        [undef, undef, undef, undef], 'null where nothing is';
    is_deeply [@$o{qw(metadata tools tool_choice)}], [{}, [], 'auto'],
        'and the defaults';
    is_deeply [sort keys %{ $o->{usage} }], [qw(input_tokens
        input_tokens_details output_tokens output_tokens_details
        total_tokens)], 'usage';
    my ($search, $message) = @{ $o->{output} };
    is $search->{type}, 'file_search_call', 'the search is an item';
    is_deeply $search->{queries}, ['say=hello there'], 'with its query';
    is $message->{type}, 'message', 'then the message';
    is $message->{status}, 'completed', 'which is complete';
    like $message->{id}, qr/^msg_[0-9a-f]{32}$/, 'and has an id';
    is $message->{content}[0]{type}, 'output_text', 'its text';
    like $message->{content}[0]{text}, qr/ hello there$/, 'is the answer';
    is $res->{headers}{location}, "$R/$o->{id}", 'Location';
    is_deeply $t->get("$R/$o->{id}")->{json}, $o, 'GET says the same';

    my $plain = $t->result(uuid($o->{id}))->{json};
    is $plain->{response}, $message->{content}[0]{text},
        'both_shapes_are_one_row';
    my $id = $t->ask('say=plain', model => 'test');
    $t->wait_for_answer($id);
    $o = $t->get("$R/resp_" . $id =~ s/-//gr)->{json};
    like $o->{output}[1]{content}[0]{text}, qr/ plain$/, 'the other way, too';
}


# The same counters

{
    my $of = sub { $t->metrics->{"trifecta_$_[0]"} // 0 };
    my @names = ('submits_total{outcome="accepted"}',
                 'results_total{source="store"}');
    my @before = map { $of->($_) } @names;
    $t->get("$R/" . create({ input => 'say=counted' })->{json}{id});
    is_deeply [map { $of->($names[$_]) - $before[$_] } 0, 1], [1, 2],
        'both_shapes_move_the_same_counters';
}


# In the background

{
    my $res = create({ input => 'sleep=700 say=later', background => \1,
                       metadata => { a => 'b' }, instructions => 'Be kind.',
                       temperature => 0.7, user => 'u', store => \1 });
    my $o = $res->{json};
    is $res->{status}, 200, 'a_background_response_is_there_at_once';
    cmp_ok $res->{time}, '<', 0.6 * 5 * $slow, 'long before its end';
    is $o->{status}, 'queued', 'queued';
    is $o->{background}, JSON::PP::true, 'in the background';
    is_deeply [@$o{qw(usage output)}], [undef, []], 'with nothing yet';
    is_deeply [@$o{qw(metadata instructions temperature user)}],
        [{ a => 'b' }, 'Be kind.', 0.7, 'u'], 'what was asked is given back';

    my $open = $t->get("$R/$o->{id}")->{json};
    like $open->{status}, qr/^(queued|in_progress)$/, 'GET of an open one';
    is_deeply [@$open{qw(metadata instructions temperature user)}],
        [{ a => 'b' }, 'Be kind.', 0.7, 'u'], 'knows what was asked, too';

    my $end = until_ended($o->{id});
    is $end->{status}, 'completed', 'and it ends';
    is_deeply [@$end{qw(metadata instructions temperature user)}],
        [{ a => 'b' }, 'Be kind.', 0.7, 'u'], 'as it was asked';

    $o = create({ input => 'sleep=20000', background => \1 })->{json};
    $res = $t->post("$R/$o->{id}/cancel", '');
    is $res->{status}, 200, 'a response can be cancelled';
    is until_ended($o->{id})->{status}, 'cancelled', 'and is';
    is_deeply $t->get("$R/$o->{id}")->{json}{output}, [], 'without output';

    $res = $t->request('DELETE', "$R/$o->{id}");
    is $res->{status}, 200, 'and deleted';
    is_deeply $res->{json}, { id => $o->{id}, object => 'response',
                              deleted => JSON::PP::true }, 'it says so';
    is $t->get("$R/$o->{id}")->{code}, 'gone', 'and is gone';

    $o = create({ input => 'fail=1' })->{json};
    is $o->{status}, 'failed', 'a_job_that_failed_is_a_failed_response';
    is $o->{error}{code}, 'server_error', 'with a code of the shape';
    is $o->{error}{type}, 'internal_error', 'its own beside that';
    ok $o->{error}{message}, 'and a message';
}


# Messages

{
    my $o = create({ instructions => 'A', input => [
        { role => 'developer', content => 'B' },
        { role => 'user', content => 'first' },
        { type => 'message', role => 'assistant',
          content => [{ type => 'output_text', text => 'reply' }] },
        { role => 'system', content => [{ type => 'input_text',
                                          text => 'C' }] },
        { role => 'user', content => [
            { type => 'input_text', text => 'say=the ' },
            { type => 'input_text', text => 'end' }] },
    ] })->{json};
    like $o->{output}[1]{content}[0]{text}, qr/ the end$/,
        'the_last_message_is_the_question';
    my $request = request_of($o->{id});
    is $request->{instructions}, "A\n\nB\n\nC", 'what the model is told';
    is_deeply $request->{turns}, [{ role => 'user', content => 'first' },
        { role => 'assistant', content => 'reply' }], 'and what was before';
    is $o->{instructions}, 'A', 'instructions are given back alone';

    my $items = $t->get("$R/$o->{id}/input_items?order=asc")->{json};
    is_deeply [map { "$_->{role} $_->{content}[0]{type} "
                     . $_->{content}[0]{text} } @{ $items->{data} }],
        ['developer input_text B', 'user input_text first',
         'assistant output_text reply', 'system input_text C',
         'user input_text say=the end'], 'input_items are what was sent';
    is $items->{object}, 'list', 'a list';
    my $page = $t->get("$R/$o->{id}/input_items?limit=2")->{json};
    is_deeply [map { $_->{content}[0]{text} } @{ $page->{data} }],
        ['say=the end', 'C'], 'newest first, a page';
    is $page->{has_more}, JSON::PP::true, 'of more';
    is_deeply [@$page{qw(first_id last_id)}],
        [map { $_->{id} } @{ $page->{data} }], 'from, to';
    $page = $t->get("$R/$o->{id}/input_items?limit=3&after=$page->{last_id}")
        ->{json};
    is_deeply [map { $_->{content}[0]{text} } @{ $page->{data} }],
        ['reply', 'first', 'B'], 'the next page';
    is $page->{has_more}, JSON::PP::false, 'and the last';
    is $t->get("$R/$o->{id}/input_items?after=msg_" . substr($o->{id}, 5)
               . "_in_$_")->{code}, 'invalid_value', "no item $_"
        for 1025, '9223372036854775807';
    my $upper = 'resp_' . uc substr $o->{id}, 5;
    is $t->get("$R/$upper")->{json}{id}, $o->{id},
        'an id in upper case is the same';
    is create({ input => 'say=more', previous_response_id => $upper })
        ->{json}{previous_response_id}, $o->{id},
        'and_is_given_back_as_it_was_made';

    my $next = create({ input => 'say=more', previous_response_id => $o->{id},
                        metadata => { k => 'v' } })->{json};
    is $next->{previous_response_id}, $o->{id}, 'previous_response_id';
    is request_of($next->{id})->{previous}, uuid($o->{id}),
        'goes to the job';
}


# What the model is asked for

{
    my $tool = { type => 'function', name => 'f', strict => \1,
                 parameters => { type => 'object' } };
    my $format = { type => 'json_schema', name => 's',
                   schema => { type => 'object' }, strict => \1 };
    my $o = create({ input => 'sleep=20000', background => \1,
        temperature => 1, top_p => 0.5, max_output_tokens => 7,
        text => { format => $format }, tool_choice => 'none',
        tools => [$tool, { type => 'file_search',
                           vector_store_ids => ['handbook'] }],
        parallel_tool_calls => \0, include => ['file_search_call.results'],
        service_tier => 'auto', truncation => 'disabled', reasoning => {},
        top_logprobs => 0, unknown_member => 1, prompt => undef })->{json};
    is $o->{status}, 'queued', 'accepted';
    is_deeply [@$o{qw(temperature top_p max_output_tokens tool_choice
                      parallel_tool_calls)}],
        [1, 0.5, 7, 'none', JSON::PP::false], 'given back';
    is_deeply $o->{text}{format}{schema}, { type => 'object' }, 'the format';
    is $o->{tools}[0]{name}, 'f', 'the tools';
    my $request = request_of($o->{id});
    is_deeply $request->{collections}, ['handbook'],
        'vector_stores_are_collections';
    is_deeply $request->{options}{tools}, [{ type => 'function', function => {
        name => 'f', strict => JSON::PP::true,
        parameters => { type => 'object' } } }], 'functions are passed on';
    is $request->{options}{max_output_tokens}, 7, 'and options';
    $t->post("$R/$o->{id}/cancel", '');
}


# Refusals, by name

my $id = 'resp_' . '0' x 32;

for my $case (
    [{}, 'missing_field', 'input'],
    [{ input => '' }, 'invalid_value', 'input'],
    [{ input => " \n" }, 'invalid_value', 'input'],
    [{ input => 1 }, 'invalid_value', 'input'],
    [{ input => [] }, 'invalid_value', 'input'],
    [{ input => 'x' x 32769 }, 'invalid_value', 'input'],
    [{ input => [{ role => 'assistant', content => 'x' }] }, 'invalid_value',
     'input[0].role'],
    [{ input => [{ role => 'robot', content => 'x' }] }, 'invalid_value',
     'input[0].role'],
    [{ input => [{ role => 'system', content => 'x' }] }, 'invalid_value',
     'input'],
    [{ input => [{ role => 'user', content => 'x' },
                 { type => 'function_call_output', call_id => 'c',
                   output => 'y' }] }, 'invalid_value', 'input[1].call_id'],
    [{ input => [{ role => 'user', content => [
        { type => 'input_image', image_url => 'x' }] }] }, 'invalid_value',
     'input[0].content'],
    [{ input => 'x', model => 'none' }, 'model_not_found', 'model'],
    [{ input => 'x', temperature => 3 }, 'invalid_value', 'temperature'],
    [{ input => 'x', temperature => 'warm' }, 'invalid_value',
     'temperature'],
    [{ input => 'x', max_output_tokens => 0 }, 'invalid_value',
     'max_output_tokens'],
    [{ input => 'x', metadata => { a => 1 } }, 'invalid_value', 'metadata'],
    [{ input => 'x', metadata => { map { $_ => '' } 1 .. 17 } },
     'invalid_value', 'metadata'],
    [{ input => 'x', metadata => { a => 'x' x 513 } }, 'invalid_value',
     'metadata'],
    [{ input => 'x', text => { format => { type => 'xml' } } },
     'invalid_value', 'text.format.type'],
    [{ input => 'x', text => { verbosity => 'huge' } }, 'invalid_value',
     'text.verbosity'],
    (map { [{ input => 'x', text => { format => { type => 'json_schema',
        name => 's', schema => { maximum => $_ } } } }, 'invalid_value',
        'text.format'] } 1e300, 1e19, 1e-300),
    [{ input => 'x', tools => [{ type => 'function', name => 'f',
       parameters => { enum => [1, [1e300]] } }] }, 'invalid_value',
     'tools[0]'],
    [{ input => 'x', tool_choice => { type => 'function', name => 'f',
       more => 1e300 } }, 'invalid_value', 'tool_choice'],
    [{ input => 'x', tools => [{ type => 'web_search' }] }, 'invalid_value',
     'tools[0].type'],
    [{ input => 'x', tools => [{ type => 'function' }] }, 'invalid_value',
     'tools[0]'],
    [{ input => 'x', tools => [{ type => 'function', name => 'f',
       description => 'x' x 3_000_000 }] }, 'invalid_value', 'tools'],
    [{ input => 'x', tools => [{ type => 'file_search',
                                 max_num_results => 3 }] }, 'invalid_value',
     'tools[0].max_num_results'],
    [{ input => 'x', tool_choice => 'perhaps' }, 'invalid_value',
     'tool_choice'],
    [{ input => 'x', include => ['reasoning.encrypted_content'] },
     'invalid_value', 'include[0]'],
    [{ input => 'x', previous_response_id => $id }, 'not_found',
     'previous_response_id'],
    [{ input => 'x', background => 1 }, 'invalid_value', 'background'],
    [{ input => 'x', background => \1, store => \0 }, 'invalid_value',
     'background'],
    [{ input => 'x', stream_options => {} }, 'invalid_value',
     'stream_options'],
    [{ input => 'x', truncation => 'middle' }, 'invalid_value', 'truncation'],
    [{ input => 'x', service_tier => 'flex' }, 'invalid_value',
     'service_tier'],
    [{ input => 'x', reasoning => { effort => 'lots' } }, 'invalid_value',
     'reasoning.effort'],
    [{ input => 'x', reasoning => { summary => 'auto' } }, 'invalid_value',
     'reasoning.summary'],
    (map { [{ input => 'x', $_ => {} }, 'invalid_value', $_] }
     qw(prompt moderation image max_tool_calls context_management)),
) {
    my ($body, $code, $param) = @$case;
    my $res = create($body);
    is "$res->{code} " . ($res->{json}{error}{param} // '-'),
        "$code $param", 'refused by name: '
        . substr(JSON::PP->new->canonical->encode($body), 0, 60);
}

{
    my $res = create({ input => 'x', tools => [{ type => 'file_search',
        "x\ninjected: line\e[31m\x7f" => 1 }] });
    is $res->{code}, 'invalid_value', 'a name with control characters';
    my $log = $t->log_of('error');
    like $log, qr/injected: line/, 'is logged';
    unlike $log, qr/^injected|\e\[31m|\x7f/m,
        'without_the_control_characters_of_a_client';
}

{
    my $res = $t->post($R, '{');
    is $res->{code}, 'invalid_json', 'no JSON';
    $res = $t->post($R, { model => 'test', input => [
        map { { role => 'user', content => 'x' x 30000 } } 1 .. 40] });
    is $res->{json}{error}{param}, 'input', 'a mebibyte of text at most';
    $res = $t->raw("POST $R HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
        . 'Bearer ' . $t->token . "\r\nContent-Type: application/json\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
    is "$res->{status} $res->{code}", '411 length_required',
        'a_body_without_a_length_is_refused';
    $res = $t->raw("POST $R HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
        . 'Bearer ' . $t->token . "\r\nContent-Type: application/json\r\n"
        . "Content-Length: 8388609\r\n\r\n");
    is "$res->{status} $res->{code}", '413 body_too_large', 'and 8 MB';
}


# Strangers

{
    my $mine = create({ input => 'say=canary-4711' })->{json}{id};
    for my $token ($t->token(sub => 'other'),
                   $t->token(tenant => 'acme'))
    {
        for my $what (['GET', "$R/$mine"], ['DELETE', "$R/$mine"],
                      ['POST', "$R/$mine/cancel"],
                      ['GET', "$R/$mine/input_items"])
        {
            my $res = $t->request(@$what, token => $token);
            is "$res->{status} $res->{code}", '404 not_found',
                "a_stranger_sees_nothing: $what->[0] $what->[1]"
                =~ s/$mine/{id}/r;
            unlike $res->{content}, qr/canary/, '  nor the text';
        }
        my $res = create({ input => 'x', previous_response_id => $mine },
                         token => $token);
        is "$res->{status} $res->{code}", '404 not_found',
            '  nor goes on with it';
    }
    is $t->get("$R/$_")->{status}, 404, "404: $_"
        for 'x', uuid($mine), 'resp_x', "msg_" . substr($mine, 5);
    is create({ input => 'x' }, token => undef)->{status}, 401, 'no token';
}


# Repetitions

{
    my %key = (headers => { 'Idempotency-Key' => 'k1' });
    my $one = create({ input => 'say=once' }, %key);
    my $two = create({ input => 'say=once' }, %key);
    is $two->{json}{id}, $one->{json}{id}, 'a_repetition_is_the_same_job';
    is_deeply $two->{json}, $one->{json}, 'and the same answer';
    is $two->{headers}{'idempotency-replayed'}, 'true', 'which says so';
    is create({ input => 'say=twice' }, %key)->{status}, 422,
        'another body is 422';
}


# Clients that leave

{
    my $sock = begun({ input => 'sleep=20000' });
    my $job;
    $t->wait_for(sub { $job = newest() and
        $t->redis('HGET', "$P:j:$job", 'state') eq 'running' }, 10);
    my $left = time;
    $sock->close;
    ok $t->wait_for(sub { $t->result($job)->{json}{status} eq 'cancelled' },
                    5), 'who_leaves_cancels';
    cmp_ok time - $left, '<', 5 * $slow, 'within a second (five times that)';

    $sock = begun({ input => 'sleep=1500 say=on', background => \1 });
    $t->wait_for(sub { newest() and newest() ne $job }, 10);
    $job = newest();
    $sock->close;
    is $t->wait_for_answer($job)->{status}, 'succeeded',
        'a_job_in_the_background_goes_on';

    $sock = begun({ input => 'sleep=2500 say=through', });
    $t->wait_for(sub { newest() and newest() ne $job }, 10);
    $job = newest();
    $t->reload;
    my $got = '';
    $sock->blocking(1);
    while (sysread $sock, $got, 65536, length $got) {
        last if $got =~ /through/;
    }
    like $got, qr{^HTTP/1.1 200 .*"status":"completed".*through}s,
        'a_worker_that_leaves_cancels_nothing';
    like $got, qr/connection: close/i, 'and its connection goes then';

    # nginx closes it when worker_shutdown_timeout, 10 seconds, is over
    $sock = begun({ input => 'sleep=13000 say=without' });
    $t->wait_for(sub { newest() and newest() ne $job }, 10);
    $job = newest();
    $t->reload;
    $sock->blocking(1);
    ok !sysread($sock, $got, 65536), 'not even when its time is over';
    is $t->wait_for_answer($job)->{status}, 'succeeded', 'the job goes on';
}


# Nothing is left

{
    my $o = create({ input => 'say=secret', store => \0 })->{json};
    is $o->{status}, 'completed', 'store false is answered';
    is $o->{store}, JSON::PP::false, 'as such';
    ok $t->wait_for(sub { $t->get("$R/$o->{id}")->{status} == 410 }, 10),
        'and_nothing_is_left_of_it';
    ok $t->wait_for(sub { $t->sql('queue', 'SELECT count(*) FROM'
        . ' trifecta.job WHERE id = ? AND request::text LIKE ?',
        uuid($o->{id}), '%secret%')->[0][0] == 0 }, 10), 'nowhere';
}

# What is in a body besides the job is not kept while its client waits

{
    my ($pid) = $t->workers;
    my $rss = sub { ($t->read_file("/proc/$pid/status")
                     =~ /^VmRSS:\s+(\d+)/m)[0] / 1024 };
    my $token = $t->token;
    my $waits = sub {
        my $text = '{"model":"test","input":"sleep=30000 say=x"'
                   . ' ' x 1_000_000 . '}';
        my $sock = $t->socket;
        print {$sock} "POST $R HTTP/1.1\r\nHost: localhost\r\n"
            . "Authorization: Bearer $token\r\nContent-Type: "
            . "application/json\r\nContent-Length: "
            . length($text) . "\r\n\r\n$text";
        return $sock;
    };
    my $live = sub { $t->redis('ZCARD', '{trifecta:0}:live') };
    my @wait = map { $waits->() } 1 .. 2;
    $t->wait_for(sub { $live->() == 2 }, 10 * $t->slow);
    my $before = $rss->();
    push @wait, map { $waits->() } 1 .. 60;
    ok $t->wait_for(sub { $live->() == 62 }, 20 * $t->slow),
        'sixty clients wait, with bodies of a megabyte';

    # a sanitizer keeps what was freed, up to 256 MB of it
    cmp_ok $rss->() - $before, '<', $t->slow > 1 ? 400 : 60 / 4,
        'the_text_of_a_body_is_not_kept_while_its_client_waits';
    $_->close for @wait;
    ok $t->wait_for(sub { $live->() == 0 }, 20 * $t->slow), 'they leave';
}

$t->finish;
done_testing;
