# Streams of the OpenAI shape: every event in its order and with its number,
# live, resumed and replayed; attempts that became void; ends that are no
# answer; clients that leave.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

my $t = Trifecta::Test->new(workers => 1);
my $slow = $t->slow;
my $s = Trifecta::Test::Streams->new($t);
my $R = '/v1/responses';
my $C = '/v1/chat/completions';
my $P = '{trifecta:0}';

sub resp { 'resp_' . $_[0] =~ s/-//gr }

# The data of each event until the end of the stream.

sub take {
    my ($client) = @_;
    return map { $_->{json} // $_->{data} } $client->rest(20);
}

sub post {
    my ($path, $body) = @_;
    return $s->request('POST', $path, json => { model => 'test',
        stream => \1, %$body });
}

sub replay {
    my ($id, $after) = @_;
    return $s->open('', path => "$R/$id?stream=true"
        . (defined $after ? "&starting_after=$after" : ''));
}

sub types { map { $_->{type} =~ s/^response\.//r } @_ }

sub numbered {
    my ($name, @events) = @_;
    is_deeply [map { $_->{sequence_number} } @events], [0 .. $#events], $name;
}

# Chunks of a chat are no events.

sub chunks {
    my ($client) = @_;
    return map { $_ eq '[DONE]' ? $_ : JSON::PP::decode_json($_) }
           $client->data(20);
}


# A response, live

my @search = qw(output_item.added file_search_call.in_progress
    file_search_call.searching file_search_call.completed output_item.done);

{
    my $client = post($R, { input => 'every=150 stream=one | two| three' });
    my @events = take($client);
    like $client->header('content-type'), qr{^text/event-stream}, 'a stream';
    ok $client->proper, 'that ends properly';
    is_deeply [types(@events)], ['created', 'in_progress', @search,
        'output_item.added', 'content_part.added',
        ('output_text.delta') x (@events - 13), 'output_text.done',
        'content_part.done', 'output_item.done', 'completed'],
        'the_events_are_in_their_order';
    numbered('and_numbered_without_a_gap', @events);
    my @deltas = grep { $_->{type} =~ /delta$/ } @events;
    cmp_ok scalar @deltas, '>=', 2, 'the text comes in pieces';
    my $end = $events[-1]{response};
    is join('', map { $_->{delta} } @deltas),
        $end->{output}[1]{content}[0]{text}, 'which_make_the_answer';
    is $events[-4]{text}, $end->{output}[1]{content}[0]{text},
        'as does output_text.done';
    is_deeply $events[-2]{item}, $end->{output}[1], 'and output_item.done';
    is $events[0]{response}{status}, 'in_progress', 'created: in_progress';
    is_deeply $events[0]{response}{output}, [], 'with no output';
    is $end->{status}, 'completed', 'completed';
    is_deeply $end, $t->get("$R/$end->{id}")->{json},
        'the_last_event_is_what_a_GET_says';

    for my $at (undef, 0, 7, 10, $#events - 1, $#events) {
        my $again = replay($end->{id}, $at);
        is_deeply [take($again)], [grep { $_->{sequence_number} > ($at // -1) }
                                   @events],
            'a_replay_is_the_same' . (defined $at ? " after $at" : '');
        ok $again->proper, '  to its end';
    }
}


# What has no pieces

{
    my @events = take(post($R, { input => 'say=whole' }));
    is_deeply [types(@events)], ['created', 'in_progress', @search,
        'output_item.added', 'content_part.added', 'output_text.delta',
        'output_text.done', 'content_part.done', 'output_item.done',
        'completed'], 'an_answer_at_once_has_the_same_events';
    is_deeply [take(replay($events[-1]{response}{id}))], \@events,
        'and the same replay';
}


# In the background

{
    my $client = post($R, { input => 'sleep=300 say=later',
                            background => \1 });
    my $first = $client->next(10);
    my $id = $first->{json}{response}{id};
    is $first->{json}{response}{status}, 'queued', 'in the background';
    $client->close;
    my @events = take(replay($id));
    is_deeply [(types(@events))[0 .. 2]], [qw(created queued in_progress)],
        'it_goes_on_and_can_be_followed_again';
    numbered('with the same numbers', @events);
    is_deeply [take(replay($id, 2))], [@events[3 .. $#events]],
        'or from where it was left';
    is $events[-1]{type}, 'response.completed', 'to its end';
}


# Documents

{
    mkdir "$t->{dir}/docs", 0755;
    $t->write_file("$t->{dir}/docs/moon.md",
        "# The moon\n\nThe moon of Trifectania is made of basalt.\n");
    $t->run('ingest', "$t->{dir}/docs");
    my @events = take(post($R, { model => 'extractive',
        input => 'What is the moon of Trifectania made of?' }));
    my @notes = grep { $_->{type} =~ /annotation\.added$/ } @events;
    my $message = $events[-1]{response}{output}[1];
    ok @notes, 'citations_are_annotations';
    is_deeply [map { $_->{annotation} } @notes],
        $message->{content}[0]{annotations}, 'those of the message';
    is $notes[0]{annotation}{filename}, 'moon.md', 'by name';
    is_deeply [map { $_->{annotation_index} } @notes], [0 .. $#notes],
        'numbered';
    ok $notes[0]{sequence_number} > (grep { $_->{type} =~ /text\.delta$/ }
        @events)[-1]{sequence_number}, 'behind the text';
}


# What is annotated of a text: as if a model had written it

{
    my $annotations = sub {
        my ($body) = @_;
        my $id = $t->post($R, { model => 'extractive', background => \1,
            input => 'What is the moon of Trifectania made of?' })->{json}{id};
        my $job = $id =~ s/^resp_(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/r;
        $t->wait_for(sub { @{ $t->sql('admin', 'SELECT 1 FROM '
            . 'trifecta.job_result WHERE job = ?', $job) } }, 20 * $slow);
        $t->sql('admin', 'UPDATE trifecta.job_result SET body = ?, '
            . 'deltas = NULL WHERE job = ?', $body, $job);
        return $t->get("$R/$id")->{json}{output}[1]{content}[0]{annotations};
    };
    is_deeply [map { $_->{index} } @{ $annotations->(
        "a [1] `b[1]` c\n```\nd[1]\n``` e [1] ``f` [1]`` `g [1]\nh") }],
        [2, 30, 48], 'no_mark_in_code_is_annotated';
    is scalar @{ $annotations->('[1] ' x 600) }, 512,
        'at_most_512_marks_are_annotated';
}


# A model that takes back what it said

{
    my @events = take(post($R,
        { input => 'every=200 void=2 stream=one |two |three ' }));
    my @added = grep { $_->{type} =~ /item\.added$/
                       && $_->{item}{type} eq 'message' } @events;
    my @done = grep { $_->{type} =~ /item\.done$/
                      && $_->{item}{type} eq 'message' } @events;
    is scalar @added, 2, 'what_is_void_and_what_is_not_are_two_items';
    is_deeply [map { $_->{output_index} } @added], [1, 2], 'one behind';
    is_deeply [map { $_->{item}{status} } @done],
        ['incomplete', 'completed'], 'the other, of which one is complete';
    isnt $added[0]{item}{id}, $added[1]{item}{id}, 'with ids of their own';
    is $events[-1]{type}, 'response.completed', 'it ends';
    my $output = $events[-1]{response}{output};
    is scalar @$output, 2, 'only_the_answer_is_in_the_output';
    is_deeply $output->[1], $done[1]{item}, 'as it was said';
    numbered('numbered', @events);
    is_deeply [take(replay($events[-1]{response}{id}))], \@events,
        'and replayed';
    is_deeply $t->get("$R/$events[-1]{response}{id}")->{json},
        $events[-1]{response}, 'a GET says the same';

    my $client = post($C, { messages => [{ role => 'user',
        content => 'every=200 void=2 stream=one |two |three ' }] });
    my @chunks = chunks($client);
    is $chunks[-1]{error}{code}, 'attempt_void',
        'a_chat_cannot_take_back_and_says_so';
    ok !grep({ $_ eq '[DONE]' } @chunks), 'it is not done';
    is $client->proper, 0, 'and its connection is cut';
}


# Calls of functions, and answers that were cut

{
    my %tools = (tools => [{ type => 'function', name => 'count',
                             parameters => { type => 'object' } }]);
    my @events = take(post($R, { input => 'call=count say=', %tools }));
    my @call = grep { $_->{type} =~ /arguments/ || $_->{item}
                      && $_->{item}{type} eq 'function_call' } @events;
    is_deeply [types(@call)], ['output_item.added',
        'function_call_arguments.delta', 'function_call_arguments.done',
        'output_item.done'], 'a_call_of_a_function_has_its_events';
    my $item = $call[-1]{item};
    is_deeply [@$item{qw(name call_id status)}],
        ['count', 'call_test', 'completed'], 'by name';
    is_deeply JSON::PP::decode_json($item->{arguments}), { n => 1 },
        'with its arguments';
    is_deeply $events[-1]{response}{output}[-1], $item, 'it is in the output';
    numbered('numbered', @events);
    is_deeply [take(replay($events[-1]{response}{id}))], \@events,
        'and replayed';

    my %chat = (tools => [{ type => 'function', function => {
        name => 'count', parameters => { type => 'object' } } }],
        messages => [{ role => 'user', content => 'call=count say=' }]);
    my @chunks = chunks(post($C, \%chat));
    my ($calls) = map { $_->{choices}[0]{delta}{tool_calls} || () }
                  grep { ref } @chunks;
    is $calls->[0]{function}{name}, 'count', 'a chunk has the call';
    is $chunks[-2]{choices}[0]{finish_reason}, 'tool_calls', 'and why';
    my $o = $t->post($C, { model => 'test', %chat })->{json};
    is $o->{choices}[0]{message}{tool_calls}[0]{id}, 'call_test',
        'so does a chat without a stream';
    is $o->{choices}[0]{finish_reason}, 'tool_calls', 'and its reason';

    @events = take(post($R, { input => 'cut=1 pieces=2 say=one two' }));
    my $end = $events[-1];
    is $end->{type}, 'response.incomplete', 'an_answer_that_was_cut_says_so';
    is $end->{response}{status}, 'incomplete', 'its status';
    is_deeply $end->{response}{incomplete_details},
        { reason => 'max_output_tokens' }, 'and why';
    is $end->{response}{output}[1]{status}, 'incomplete', 'the message, too';
    is $t->post($C, { model => 'test', messages => [{ role => 'user',
        content => 'cut=1 pieces=2 say=one two' }] })->{json}{choices}[0]
        {finish_reason}, 'length', 'and a chat';
}


# Ends that are no answer

{
    my @events = take(post($R, { input => 'every=50 at=2 fail=1 '
                                          . 'stream=a |b |c ' }));
    is $events[-1]{type}, 'response.failed', 'a_job_that_failed_says_so';
    is $events[-1]{response}{error}{code}, 'server_error', 'why';
    numbered('numbered', @events);
    is_deeply [take(replay($events[-1]{response}{id}))], \@events, 'replayed';
    is_deeply $t->get("$R/$events[-1]{response}{id}")->{json},
        $events[-1]{response}, 'as a GET says';

    my $client = post($R, { input => 'every=20000 stream=so |far',
                            background => \1 });
    my $id;
    while (my $event = $client->next(10)) {
        $id //= $event->{json}{response}{id};
        last if $event->{event} =~ /text\.delta$/;
    }
    $t->post("$R/$id/cancel", '');
    @events = take($client);
    is $events[-1]{type}, 'response.incomplete',
        'there_is_no_event_for_cancelled';
    is $events[-1]{response}{status}, 'cancelled', 'but a status';
    ok $client->proper, 'and a proper end';
    my ($done) = grep { $_->{type} =~ /item\.done$/ } @events;
    is $done->{item}{status}, 'incomplete', 'the message is not complete';

    $client = post($R, { input => 'sleep=20000', background => \1 });
    $id = $client->next(10)->{json}{response}{id};
    $t->request('DELETE', "$R/$id");
    @events = take($client);
    is "$events[-1]{type} $events[-1]{code}", 'error gone',
        'of a deleted job there is an error';

    for my $case (['fail=1', 'internal_error'],
                  ['every=50 at=1 fail=1 stream=a |b ', 'internal_error'])
    {
        $client = post($C, { messages => [{ role => 'user',
                                            content => $case->[0] }] });
        my @chunks = chunks($client);
        is $chunks[-1]{error}{code}, $case->[1], "a chat that failed: "
            . $case->[0];
        is $client->proper, 0, '  is cut';
    }
}


# Chat

{
    my $client = post($C, { stream_options => { include_usage => \1 },
        messages => [{ role => 'user',
                       content => 'every=100 stream=one | two' }] });
    my @chunks = chunks($client);
    is pop @chunks, '[DONE]', 'a chat ends with [DONE]';
    ok $client->proper, 'and properly';
    my $usage = pop @chunks;
    is_deeply $usage->{choices}, [], 'usage has no choice';
    ok exists $usage->{usage}{total_tokens}, 'include_usage';
    is_deeply [map { exists $_->{usage} && !defined $_->{usage} ? () : 1 }
               @chunks], [], 'the other chunks have usage null';
    is $chunks[0]{choices}[0]{delta}{role}, 'assistant', 'first the role';
    is $chunks[-1]{choices}[0]{finish_reason}, 'stop', 'then why it ends';
    is_deeply $chunks[-1]{choices}[0]{delta}, {}, 'with nothing more';
    my $text = join '', map { $_->{choices}[0]{delta}{content} // '' }
               @chunks;
    is $text, $t->get("$R/resp_" . substr($usage->{id}, -32))->{json}
        {output}[1]{content}[0]{text}, 'between_them_is_the_answer';
    is scalar(keys %{ { map { $_->{id} => 1 } @chunks, $usage } }), 1,
        'one id';
    is $chunks[0]{object}, 'chat.completion.chunk', 'object';

    @chunks = chunks(post($C, { messages => [{ role => 'user',
                                               content => 'say=x' }] }));
    ok !exists $chunks[0]{usage}, 'no usage unless it is wanted';
}


# Attempts of workers that died: the test is the worker

{
    $t->stop('sidecar');
    my $id = $s->job;
    my $client = $s->open('', path => "$R/" . resp($id) . '?stream=true');
    $s->emit($id, 1, 1, 's', '', 2, 'd', 'lost ', 3, 'd', 'words');
    my @events;
    while (my $event = $client->next(10)) {
        push @events, $event->{json};
        last if ($event->{json}{delta} // '') =~ /words/;
    }
    $s->again($id);
    $s->emit($id, 2, 1, 's', '', 2, 'd', 'the answer');
    $s->end($id, 'the answer', [10], request => { query => 'x' },
        streamed => { search => JSON::PP::true,
        earlier => [['lost ', 'words']], marks => [[1, 1], [2, 1]] });
    push @events, take($client);
    numbered('numbered over attempts', @events);
    is_deeply [map { $_->{item}{status} } grep { $_->{type} =~ /item\.done$/
        && $_->{item}{type} eq 'message' } @events],
        ['incomplete', 'completed'], 'an_attempt_that_died_is_an_item';
    my @again = take(replay(resp($id)));

    # the row was made by hand, a moment later
    delete $_->{response}{created_at} for @events, @again;
    is_deeply \@again, \@events, 'the_store_has_the_same_events_as_redis_had';
    $t->start('sidecar');
}


# Clients that leave, and strangers

{
    my $client = post($R, { input => 'every=20000 stream=a |b' });
    my $id;
    while (my $event = $client->next(10)) {
        $id //= $event->{json}{response}{id};
        last if $event->{event} =~ /text\.delta$/;
    }
    my $left = time;
    $client->close;
    ok $t->wait_for(sub { $t->get("$R/$id")->{json}{status} eq 'cancelled' },
                    10), 'who_leaves_a_stream_cancels';
    cmp_ok time - $left, '<', 5 * $slow, 'within a second (five times that)';

    $client = post($R, { input => 'every=700 stream=a |b |c |d' });
    $client->next(10);
    $t->reload;
    my @events = take($client);
    is $events[-1]{type}, 'response.completed',
        'a_worker_that_leaves_keeps_its_streams';

    $id = $events[-1]{response}{id};
    $client = $s->open('', path => "$R/$id?stream=true",
                       token => $t->token(sub => 'other'));
    is $client->head(10), 404, 'a_stranger_gets_no_stream';
    is replay($id, 'x')->head(10), 400, 'starting_after is a number';
}

$t->finish;
done_testing;
