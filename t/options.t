# What an asker says to the model itself: options, instructions, tools, and
# what was said before.  It reaches the model in the words of its server, and
# what a model does not have is refused by name.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, sidecar => { threads => 6 });
my $json = JSON::PP->new->utf8->canonical;

# A tool is called in pieces by an OpenAI, and at once by an Ollama.

my $calls = sub {
    my ($c) = @_;
    $c->head(200, 'text/event-stream');
    $c->put('data: ' . $json->encode({ choices => [{ delta => {
        tool_calls => [$_] } }] }) . "\n\n")
        for { index => 0, id => 'call_7', type => 'function',
              function => { name => 'weather', arguments => '' } },
            { index => 0, function => { arguments => '{"city":' } },
            { index => 0, function => { arguments => '"Oslo"}' } };
    $c->put('data: ' . $json->encode({ choices => [{ delta => {},
        finish_reason => 'tool_calls' }] }) . "\n\ndata: [DONE]\n\n");
};
my $calls_at_once = sub {
    my ($c) = @_;
    $c->head(200, 'application/x-ndjson');
    $c->put($json->encode({ message => { content => '', tool_calls => [{
        function => { name => 'weather', arguments => { city => 'Oslo' } } }]
        }, done => JSON::PP::true, done_reason => 'stop' }) . "\n");
};

# The question that stands alone, or an answer.

my $says = sub {
    my ($text) = @_;
    return sub {
        my ($c) = @_;
        $c->{json}{messages}[0]{content} =~ /rewrite the last question/
            ? $c->sse('What is the default of quux_read_timeout?')
            : $c->sse(ref $text ? $text->($c) : $text);
    };
};

my $server = Trifecta::Test::ModelServer->new($t,
    plain  => $says->('The default is 60s [1].'),
    count  => $says->(sub { "Answer $_[0]{count} [1]." }),
    lines  => sub { $_[0]->lines('fine') },
    tools  => $calls,
    ltools => $calls_at_once,
    cut    => sub {
        my ($c) = @_;
        $c->head(200, 'text/event-stream');
        $c->chunk('The default is');
        $c->put('data: ' . $json->encode({ choices => [{ delta => {},
            finish_reason => 'length' }], usage => { prompt_tokens => 2,
            completion_tokens => 9 } }) . "\n\ndata: [DONE]\n\n");
    },
    listed => $says->('{"pages":[1],"more":[[1],[2]],"url":"https://evil.'
                      . 'example/?q=1"}'),
    rejects => sub { $_[0]->answer(400, {}) },
    tuned  => $says->('fine'),
    chain  => $says->(sub { "CANARY-$_[0]{count} [1]." }),
);

my %more = (
    lines => "provider = ollama\n", ltools => "provider = ollama\n",
    rejects => "fallback = extractive\n",
    tuned => "temperature = 0.5\nmax_output = 100\nretrieval = off\n",
);
my @models = qw(plain count lines tools ltools cut listed rejects tuned chain);
my $models = $t->dir . '/models.conf';

$t->write_file($models, join '', map {
    my $more = $more{$_} // '';
    "[$_]\nbase_url = " . $server->url . ($more =~ /ollama/ ? '' : '/v1')
    . "\n" . $more . ($more =~ /provider/ ? '' : "provider = openai\n") . "\n"
} @models);

$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = "@models extractive test";
$t->write_conf;
$t->start_all;

my $docs = $t->dir . '/docs';
mkdir $docs or die;
$t->write_file("$docs/quux.md", <<'END');
# quux_read_timeout

The default of quux_read_timeout is 60s. It is set between two successive
read operations.
END
my ($status) = $t->run('ingest', '--collection', 'docs', $docs);
is($status, 0, 'documents are there');

my $question = 'What is the default of quux_read_timeout?';
my $schema = { type => 'object', properties => { a => { type => 'number' } } };
my %tool = (name => 'weather', description => 'of a city',
            parameters => { type => 'object' });


# A response in the background: its job's id.

sub create {
    my ($model, $body, %o) = @_;
    my $res = $t->post('/v1/responses', { model => $model,
        input => $question, background => JSON::PP::true, %{ $body // {} } },
        %o);
    is($res->{status}, 200, "made for $model") or diag explain $res;
    my ($id) = $res->{json}{id} =~ /^resp_(.{32})$/;
    return join '-', unpack 'A8 A4 A4 A4 A12', $id;
}

sub ends {
    my ($model, $body, %o) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $id = create($model, $body, %o);
    my $end = $t->wait_for_answer($id, timeout => 60 * $t->slow);
    return wantarray ? ($end, $id) : $end;
}

# The last request that a model was sent.

sub sent { ($server->requests($_[0]))[-1]{json} }

# A chat of this model, which waits for its end.

my %chat = (stop => ["\n\n", 'END'], seed => 42, frequency_penalty => -0.5,
            presence_penalty => 1.5);
my @weather = (tools => [{ type => 'function', %tool }]);

sub chat {
    my ($model, $body, @messages) = @_;
    return $t->post('/v1/chat/completions', { model => $model, messages => [
        @messages, { role => 'user', content => $question }], %$body },
        timeout => 60 * $t->slow);
}

sub system_of { $_[0]{messages}[0]{content} }
sub user_of { $_[0]{messages}[-1]{content} }


# options, in the words of each server

{
    is(ends('plain', { temperature => 0.25, top_p => 0.5,
            max_output_tokens => 77, tools => [{ type => 'function', %tool }],
            tool_choice => 'required', text => { format => {
            type => 'json_schema', name => 'a', strict => JSON::PP::true,
            schema => $schema } } })->{status}, 'succeeded', 'all options');
    my $sent = sent('plain');
    is($sent->{temperature}, 0.25, 'temperature_is_passed_on');
    is($sent->{top_p}, 0.5, 'and top_p');
    is($sent->{max_tokens}, 77, 'and max_output_tokens');
    is_deeply($sent->{response_format}, { type => 'json_schema',
        json_schema => { name => 'a', strict => JSON::PP::true,
                         schema => $schema } }, 'and_a_schema');
    is_deeply($sent->{tools}, [{ type => 'function', function => \%tool }],
        'and_tools');
    is($sent->{tool_choice}, 'required', 'and tool_choice');

    ends('plain', { text => { format => { type => 'json_object' } },
        tool_choice => { type => 'function', name => 'weather' },
        tools => [{ type => 'function', %tool }] });
    is_deeply(sent('plain')->{response_format}, { type => 'json_object' },
        'an object of any form');
    is_deeply(sent('plain')->{tool_choice}, { type => 'function',
        function => { name => 'weather' } }, 'one tool');

    ends('plain', { text => { format => { type => 'text' } },
        tool_choice => 'none', tools => [{ type => 'function', %tool }] });
    is_deeply([grep { exists sent('plain')->{$_} }
        qw(temperature top_p response_format tools tool_choice)], [],
        'what_is_not_asked_for_is_not_sent');

    ends('plain', { reasoning => { effort => 'low' }, @weather,
        text => { verbosity => 'high' },
        parallel_tool_calls => JSON::PP::false });
    $sent = sent('plain');
    is_deeply([@$sent{qw(reasoning_effort verbosity parallel_tool_calls)}],
        ['low', 'high', JSON::PP::false],
        'effort_verbosity_and_one_call_at_a_time_are_passed_on');

    is(chat('plain', {})->{status}, 200, 'a chat');
    is_deeply([grep { exists sent('plain')->{$_} } qw(seed stop verbosity
        frequency_penalty presence_penalty reasoning_effort)], [],
        'what_a_chat_does_not_ask_for_is_not_sent');
    is(chat('plain', { %chat, reasoning_effort => 'high',
        verbosity => 'low' })->{status}, 200, 'all options of a chat');
    is_deeply([@{ sent('plain') }{sort keys %chat}], [@chat{sort keys %chat}],
        'stop_seed_and_penalties_are_passed_on');
    is_deeply([@{ sent('plain') }{qw(reasoning_effort verbosity)}],
        [qw(high low)], 'and effort and verbosity');

    ends('tuned', { temperature => 1, max_output_tokens => 5000 });
    is(sent('tuned')->{temperature}, 1, 'who asks decides of temperature');
    is(sent('tuned')->{max_tokens}, 100,
        'the_operators_bound_of_an_answer_stays');
    ends('tuned');
    is(sent('tuned')->{temperature}, 0.5, 'else it is as configured');
}
{
    is(ends('lines', { temperature => 0.25, top_p => 0.5,
            max_output_tokens => 77, tools => [{ type => 'function', %tool }],
            tool_choice => 'auto', text => { format => {
            type => 'json_schema', name => 'a', schema => $schema } }
            })->{status}, 'succeeded', 'the same to an Ollama');
    my $sent = sent('lines');
    is_deeply([@{ $sent->{options} }{qw(temperature top_p num_predict)}],
        [0.25, 0.5, 77], 'in_the_words_of_an_ollama');
    is_deeply($sent->{format}, $schema, 'the schema');
    is_deeply($sent->{tools}, [{ type => 'function', function => \%tool }],
        'the tools');
    is(chat('lines', { %chat })->{status}, 200, 'options of a chat');
    is_deeply([@{ sent('lines')->{options} }{sort keys %chat}],
        [@chat{sort keys %chat}], 'stop_seed_and_penalties_of_an_ollama');
    chat('lines', { stop => 'X' });
    is_deeply(sent('lines')->{options}{stop}, ['X'], 'whose stop is a list');
    ends('lines', { text => { format => { type => 'json_object' } } });
    is(sent('lines')->{format}, 'json', 'any JSON');
}


# what a model does not have

sub refused {
    my ($model, $body, $why, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $asked = $server->requests($model);
    my $end = ends($model, $body);
    is("$end->{status} $end->{error}{code}", 'failed model_rejected', $name);
    like($end->{error}{message}, $why, 'and says what');
    is(scalar(my @now = $server->requests($model)), $asked, 'nobody is asked');
}

refused('lines', { @weather, parallel_tool_calls => JSON::PP::false },
    qr/lines does not have parallel_tool_calls: false/,
    'an_ollama_cannot_be_kept_from_two_calls_at_once');
refused($_, { reasoning => { effort => 'low' } },
    qr/$_ does not have reasoning effort/, "$_: no effort"),
refused($_, { text => { verbosity => 'low' } },
    qr/$_ does not have verbosity/, "$_: no verbosity") for qw(lines extractive);
{
    my $res = chat('extractive', { stop => ['60s'] });
    is("$res->{status} $res->{code}", '400 invalid_value',
        'extractive_cannot_stop_at_a_text');
    like($res->{json}{detail}, qr/extractive does not have stop/, 'by name');
    like(chat('extractive', { map { ($_ => $chat{$_}) } grep { $_ ne 'stop' }
        keys %chat })->{json}{choices}[0]{message}{content}, qr/60s/,
        'how_words_are_chosen_changes_no_quotation');
}
refused('lines', { @weather, tool_choice => 'required' },
    qr/model lines does not have tool_choice/,
    'an_ollama_cannot_be_made_to_call_a_tool');
refused('extractive', { @weather }, qr/extractive does not have tools/,
    'extractive_has_no_tools');
refused('extractive', { text => { format => { type => 'json_object' } } },
    qr/extractive does not have an answer in JSON/, 'and_writes_no_json');
like(ends('extractive', { temperature => 0, top_p => 1,
        max_output_tokens => 100, @weather, tool_choice => 'none',
        text => { format => { type => 'text' } } })->{response}, qr/60s/,
    'what_cannot_change_its_answer_is_no_reason');
like(ends('rejects')->{response}, qr/60s/, 'a fallback answers');
is(ends('rejects', { @weather })->{error}{code}, 'model_rejected',
    'a_fallback_without_what_is_asked_for_is_passed_over');


# what comes back

{
    my ($end, $id) = ends('tools', { @weather });
    is($end->{status}, 'succeeded', 'a call of a tool is an answer');
    is($end->{response}, '', 'without text');
    my ($row) = @{ $t->sql('admin', 'SELECT tool_calls FROM '
        . 'trifecta.job_result WHERE job = ?', $id)->[0] };
    is_deeply($json->decode($row), [{ id => 'call_7', name => 'weather',
        arguments => '{"city":"Oslo"}' }], 'a_call_of_a_tool_is_kept');

    ($end, $id) = ends('ltools', { @weather });
    ($row) = @{ $t->sql('admin', 'SELECT tool_calls FROM '
        . 'trifecta.job_result WHERE job = ?', $id)->[0] };
    my $call = $json->decode($row)->[0];
    is_deeply($json->decode($call->{arguments}), { city => 'Oslo' },
        'also that of an Ollama');
    like($call->{id}, qr/^call_[0-9a-f]{16}$/, 'which_gets_an_id');

    (undef, $id) = ends('plain');
    is($t->sql('admin', 'SELECT tool_calls FROM trifecta.job_result '
        . 'WHERE job = ?', $id)->[0][0], undef, 'none is none');
}
{
    my $end = ends('cut', { max_output_tokens => 9 });
    is($end->{response}, 'The default is', 'as far as it came');
    is($end->{usage}{incomplete}, 'max_output_tokens',
        'an_answer_that_was_cut_says_so');
    $end = ends('cut', { max_output_tokens => 9 });
    ok(!$end->{usage}{cached}, 'and_is_not_given_again');
}
{
    my $end = ends('listed', { text => { format => {
        type => 'json_object' } } });
    is_deeply(eval { $json->decode($end->{response}) }, { pages => [1],
        more => [[1], [2]], url => '[link removed]' },
        'an_answer_in_JSON_stays_JSON');
    unlike(system_of(sent('listed')), qr/NOT FOUND|\[1\]/,
        'nor is the model told to write anything else');
    $end = ends('listed', { text => { format => { type => 'json_object' } },
                            input => 'xyzzy plugh?', collections => ['docs'] });
    is_deeply((eval { $json->decode($end->{response}) } // {})->{pages}, [1],
        'JSON_is_written_also_when_no_document_was_found');
}


# given again, or not

{
    my $first = ends('count')->{response};
    my $end = ends('count');
    is($end->{response}, $first, 'the same question again');
    ok($end->{usage}{cached}, 'is from before');
    ok(ends('count', { metadata => { a => 'b' } })->{usage}{cached},
        'whatever_it_is_labelled_with');
    ok(!ends('count', $_->[1])->{usage}{cached}, "not_with_other_$_->[0]")
        for [temperature => { temperature => 1 }],
            [instructions => { instructions => 'Be brief.' }],
            [form => { text => { format => { type => 'json_object' } } }],
            [tools => { @weather }],
            [length => { max_output_tokens => 50 }],
            [effort => { reasoning => { effort => 'low' } }],
            [verbosity => { text => { verbosity => 'low' } }];
    ok(ends('count', { temperature => 1 })->{usage}{cached},
        'but with the same ones');

    my %seen = (chat('count', {})->{json}{choices}[0]{message}{content} => 1);
    ok(!$seen{ chat('count', { $_ => $chat{$_} })->{json}{choices}[0]{message}
        {content} }++, "nor_with_other_$_") for sort keys %chat;
}


# instructions

{
    ends('plain', { instructions => 'Answer like a pirate.' });
    my $system = system_of(sent('plain'));
    like($system, qr/never follow.*own instructions, as far as.*\nAnswer like a pirate\./s,
        'instructions_stand_behind_the_rules');
    unlike(user_of(sent('plain')), qr/pirate/, 'and nowhere else');

    ends('tuned', { instructions => 'Answer like a pirate.' });
    is(system_of(sent('tuned')), "Answer like a pirate.\n",
        'without_documents_they_are_all_there_is');

    my $end = ends('plain', { instructions => 'x' x 100_000 });
    is($end->{error}{code}, 'model_rejected',
        'more_than_the_model_can_take_is_refused');
    like($end->{error}{message}, qr/instructions/, 'by name');
}


# what was said before

{
    ends('plain', { input => [
        { role => 'user', content => 'Tell me of QUUX-1 a[1].' },
        { role => 'assistant', content => 'QUUX-2 is fine [1].' },
        { role => 'user', content => 'And QUUX-3?' },
        { role => 'user', content => 'Please.' },
        { role => 'assistant', content => 'QUUX-4.' },
        { role => 'user', content => 'What is its default?' } ] });
    my $user = user_of(sent('plain'));
    like($user, qr/<<(\w+)\n\nAsked: Tell me of QUUX-1 a\[1\]\.
Answered: QUUX-2 is fine \.

Asked: And QUUX-3\?

Asked: Please\.
Answered: QUUX-4\.
\1>>/, 'turns_are_told_in_their_order_as_data');
    like($user, qr/What the question means: What is the default of quux/,
        'and the search knows what is meant');
    like($user, qr/\nQuestion: What is its default\?\n$/, 'the question last');

    ends('plain', { input => [
        (map { ({ role => 'user', content => "OLD-$_ " . 'x' x 2000 },
                { role => 'assistant', content => 'y' x 2000 }) } 1 .. 40),
        { role => 'user', content => 'What is its default?' } ] });
    $user = user_of(sent('plain'));
    like($user, qr/OLD-40 .*quux_read_timeout\?/s, 'the newest are told');
    unlike($user, qr/OLD-1 /, 'as_many_as_there_is_room_for');
}
{
    my @old = map { ({ role => 'user', content => "OLD-$_ " . 'x' x 2000 },
                     { role => 'assistant', content => 'y' x 2000 }) } 1 .. 40;
    my @last = ({ role => 'user', content => 'What is its default?' });
    for my $n (1, 40) {
        my $asked = $server->requests('plain');
        my $end = ends('plain', { truncation => 'disabled',
            input => [@old[0 .. 2 * $n - 1], @last] });
        is($end->{status}, $n == 1 ? 'succeeded' : 'failed',
            "$n turns, none of which may be left out") or diag explain $end;
        next if $n == 1;
        is($end->{error}{code}, 'model_rejected',
            'who_wants_nothing_left_out_gets_no_answer_otherwise');
        like($end->{error}{message}, qr/"truncation": "auto"/,
            'and is told how');
        is(scalar(my @now = $server->requests('plain')), $asked,
            'nobody is asked');
    }
}
{
    my (undef, $a) = ends('chain', { input => 'FIRST timeout?' });
    my (undef, $b) = ends('chain', { input => 'SECOND timeout?',
        previous_response_id => 'resp_' . $a =~ tr/-//dr });
    my (undef, $c) = ends('chain', { input => 'THIRD timeout?',
        previous_response_id => 'resp_' . $b =~ tr/-//dr });
    my $user = user_of(sent('chain'));
    like($user, qr/Asked: FIRST.*Answered: CANARY.*Asked: SECOND.*Answered: CANARY.*Question: THIRD/s,
        'what_it_goes_on_with_is_told_from_the_beginning');

    # nginx refuses somebody else's; whatever a row says, so does the walk

    my @else = (token => $t->token(sub => 'somebody-else'));
    my $x = create('chain', { input => 'FOREIGN timeout?' }, @else);
    $t->wait_for(sub { @{ $t->sql('admin',
        'SELECT 1 FROM trifecta.job_result WHERE job = ?', $x) } },
        20 * $t->slow);
    my (undef, $y) = ends('chain', { input => 'FOURTH timeout?' });
    $t->sql('admin', "UPDATE trifecta.job SET request = jsonb_set(request, "
        . "'{previous}', to_jsonb(?::text)) WHERE id = ?", $x, $y);
    ends('chain', { input => 'FIFTH timeout?',
                    previous_response_id => 'resp_' . $y =~ tr/-//dr });
    $user = user_of(sent('chain'));
    like($user, qr/FOURTH/, 'what one said oneself is told');
    unlike($user, qr/FOREIGN/, 'nothing_of_somebody_elses_is');

    $t->request('DELETE', "/api/v1/query/$a");
    $t->wait_for(sub { !@{ $t->sql('admin',
        'SELECT 1 FROM trifecta.job_result WHERE job = ?', $a) } },
        20 * $t->slow);
    ends('chain', { input => 'FIFTH timeout?',
        previous_response_id => 'resp_' . $c =~ tr/-//dr });
    $user = user_of(sent('chain'));
    like($user, qr/SECOND.*THIRD.*FIFTH/s, 'the rest is told');
    unlike($user, qr/FIRST/, 'what_was_deleted_is_not');

    ends('tuned', { previous_response_id => 'resp_' . $c =~ tr/-//dr });
    ok((grep { user_of($_->{json}) =~ /THIRD/ } $server->requests('tuned')),
        'another model may go on');
}

$server->stop;
$t->finish;
done_testing;
