# Functions that a model calls, and what they return: a client gives the
# results back, in either shape and in each way that it may, and the model sees
# the question, its calls and the results as it would have without Trifecta.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, workers => 1);
my $json = JSON::PP->new->utf8->canonical;
my ($R, $C) = ('/v1/responses', '/v1/chat/completions');

# Asks for the weather of each city of the question that it does not know yet,
# one at a time; then it says what it was told.

sub plays {
    my ($lines) = @_;
    return sub {
        my ($c) = @_;
        my @told = grep { $_->{role} eq 'tool' } @{ $c->{json}{messages} };
        my ($user) = grep { $_->{role} eq 'user' } @{ $c->{json}{messages} };
        my @cities = $user->{content} =~ /\b(Oslo|Rome)\b/g;
        my $city = $cities[@told];

        if (!defined $city || !$c->{json}{tools}) {
            my $text = join ' and ', map { $_->{content} } @told;
            return $lines ? $c->lines("So: $text.") : $c->sse("So: $text.");
        }
        my %function = (name => 'weather', arguments => { city => $city });
        if ($lines) {
            $c->head(200, 'application/x-ndjson');
            return $c->put($json->encode({ message => { content => '',
                tool_calls => [{ function => \%function }] },
                done => JSON::PP::true, done_reason => 'stop' }) . "\n");
        }
        $function{arguments} = $json->encode($function{arguments});
        $c->head(200, 'text/event-stream');
        $c->put('data: ' . $json->encode($_) . "\n\n") for
            { choices => [{ delta => { tool_calls => [{ index => 0,
                id => "call_$city", type => 'function',
                function => \%function }] } }] },
            { choices => [{ delta => {}, finish_reason => 'tool_calls' }] };
        $c->put("data: [DONE]\n\n");
    };
}

my $server = Trifecta::Test::ModelServer->new($t, plain => plays(0),
    other => plays(0), lines => plays(1));

$t->write_file($t->dir . '/models.conf', join '', map {
    my $ollama = $_ eq 'lines';
    "[$_]\nprovider = " . ($ollama ? 'ollama' : 'openai') . "\nbase_url = "
    . $server->url . ($ollama ? '' : '/v1') . "\nretrieval = "
    . ($_ eq 'other' ? "on\ncollections = docs" : 'off') . "\n\n"
} qw(plain lines other));
$t->{opt}{sidecar}{models} = $t->dir . '/models.conf';
$t->{opt}{models} = 'plain lines other extractive';
$t->write_conf;
$t->start_all;

my %weather = (name => 'weather', parameters => { type => 'object' });
my @response = (tools => [{ type => 'function', %weather }]);
my @chat = (tools => [{ type => 'function', function => \%weather }]);
my $question = 'How is the weather in Oslo and in Rome?';

sub ask {
    my ($path, $body, %o) = @_;
    return $t->post($path, { model => 'plain', %$body },
        timeout => 60 * $t->slow, %o);
}

sub sent { ($server->requests($_[0] // 'plain'))[-1]{json}{messages} }

sub calls { grep { $_->{type} eq 'function_call' } @{ $_[0]{json}{output} } }

sub text {
    my ($message) = grep { $_->{type} eq 'message' } @{ $_[0]{json}{output} };
    return $message->{content}[0]{text};
}

sub output {
    my ($call) = @_;
    my $city = $json->decode($call->{arguments})->{city};
    return { type => 'function_call_output', call_id => $call->{call_id},
             output => "$city is [1] fine" };
}

my @loop = (
    { role => 'assistant', content => undef, tool_calls => [{
        id => 'call_Oslo', type => 'function', function => {
            name => 'weather', arguments => '{"city":"Oslo"}' } }] },
    { role => 'tool', tool_call_id => 'call_Oslo',
      content => 'Oslo is [1] fine' },
    { role => 'assistant', content => undef, tool_calls => [{
        id => 'call_Rome', type => 'function', function => {
            name => 'weather', arguments => '{"city":"Rome"}' } }] },
    { role => 'tool', tool_call_id => 'call_Rome',
      content => 'Rome is [1] fine' });

# Marks of passages that there are not are taken out of an answer.

my $end = 'So: Oslo is  fine and Rome is  fine.';


# by previous_response_id

my @ids;
{
    my $res = ask($R, { input => $question, @response,
                        instructions => 'Be kind.' });
    for my $city (qw(Oslo Rome)) {
        push @ids, $res->{json}{id};
        my @calls = calls($res);
        is "@{[map { $_->{call_id} } @calls]}", "call_$city", "called: $city"
            or diag $res->{content};
        $res = ask($R, { previous_response_id => $res->{json}{id}, @response,
                         input => [output($calls[0])] });
        is $res->{json}{status}, 'completed', 'with its result'
            or diag $res->{content};
    }
    push @ids, $res->{json}{id};
    is text($res), $end, 'a_loop_of_tools_comes_to_its_end';
    my $sent = sent();
    is_deeply [@$sent[2 .. $#$sent]], \@loop,
        'the_model_sees_its_calls_and_the_results_behind_the_question';
    is $sent->[1]{content}, $question, 'and the question';
    unlike $sent->[0]{content}, qr/kind/,
        'instructions are for one response only';

    my $items = $t->get("$R/$ids[-1]/input_items?order=asc")->{json}{data};
    is_deeply [map { [@$_{qw(type call_id output)}] } @$items],
        [['function_call_output', 'call_Rome', 'Rome is [1] fine']],
        'the_results_are_its_input';

    $res = ask($R, { previous_response_id => $ids[-1],
                     input => 'Thank you! And in short?' });
    is $res->{json}{status}, 'completed', 'it goes on';
    like sent()->[-1]{content}, qr/Asked:\ \Q$question\E\nAnswered:\ So:\ Oslo.*
        Question:\ Thank\ you/xs, 'the_next_question_knows_how_the_loop_ended';
}
{
    my $res = ask($R, { previous_response_id => $ids[0], @response,
        input => [{ type => 'function_call_output', call_id => 'call_Bern',
                    output => 'x' }] });
    is $res->{json}{status}, 'failed', 'a_result_of_no_call_fails';
    like $res->{json}{error}{message}, qr/is of no call/, 'and says why';
    $res = ask($R, { previous_response_id => $ids[-1], @response,
        input => [output({ call_id => 'call_Rome',
                           arguments => '{"city":"Rome"}' })] });
    like $res->{json}{error}{message}, qr/is of no call/,
        'so_does_a_result_that_is_there';

    my @else = (token => $t->token(sub => 'somebody-else'));
    $res = ask($R, { previous_response_id => $ids[0], @response,
        input => [output({ call_id => 'call_Oslo',
                           arguments => '{"city":"Oslo"}' })] }, @else);
    is $res->{status}, 404, 'nobody_goes_on_with_somebody_elses';
    my $asked = $server->requests('other');
    $res = ask($R, { model => 'other', previous_response_id => $ids[0],
        @response, input => [output({ call_id => 'call_Oslo',
                                      arguments => '{"city":"Oslo"}' })] });
    like $res->{json}{error}{message}, qr/not there any more/,
        'nor_does_a_model_that_may_see_less';
    is scalar(my @now = $server->requests('other')), $asked,
        'it is not asked';
    $t->request('DELETE', "$R/$ids[0]");
    $t->wait_for(sub { !grep { $_->{query_id} =~ tr/-//dr eq substr
        $ids[0], 5 } @{ $t->get('/api/v1/queries')->{json}{data} } }, 10);
    $res = ask($R, { previous_response_id => $ids[1], @response,
        input => [output({ call_id => 'call_Rome',
                           arguments => '{"city":"Rome"}' })] });
    like $res->{json}{error}{message}, qr/not there any more/,
        'what_was_deleted_is_not_gone_on_with';
}


# with all that was said, as items

{
    my @input = ({ role => 'user', content => $question });
    my $res;
    for (0 .. 2) {
        $res = ask($R, { input => \@input, @response });
        my @calls = calls($res) or last;
        push @input, @{ $res->{json}{output} }, output($calls[0]);
    }
    is text($res), $end, 'a_loop_that_tells_everything_comes_to_its_end'
        or diag $res->{content};
    is_deeply [@{ sent() }[2 .. 5]], \@loop, 'the model sees the same';
    my $items = $t->get("$R/$res->{json}{id}/input_items?order=asc")
        ->{json}{data};
    is_deeply [map { $_->{type} } @$items], [qw(message function_call
        function_call_output function_call function_call_output)],
        'all_of_it_is_its_input';
    is $items->[1]{arguments}, '{"city":"Oslo"}', 'with arguments';

    $res = ask($R, { input => [@input, @{ $res->{json}{output} },
        { role => 'user', content => 'And in short?' }] });
    like sent()->[-1]{content}, qr/Asked: \Q$question\E
Answered: \(called weather with \{"city":"Oslo"\}\)

Answered: \(returned: Oslo is \[1\] fine\).*Question: And in short/s,
        'once_there_is_another_question_they_are_what_was_said_before';
}


# as messages of a chat

for my $model (qw(plain lines)) {
    my @messages = ({ role => 'system', content => 'Be kind.' },
                    { role => 'user', content => $question });
    my $res;
    for (0 .. 2) {
        $res = ask($C, { model => $model, messages => \@messages, @chat });
        my $message = $res->{json}{choices}[0]{message};
        my $calls = $message->{tool_calls} or last;
        push @messages, $message, map { { role => 'tool', tool_call_id =>
            $_->{id}, content => [{ type => 'text', text => $json->decode(
            $_->{function}{arguments})->{city} . ' is [1] fine' }] } } @$calls;
    }
    is $res->{json}{choices}[0]{message}{content}, $end,
        "a_loop_of_a_chat_comes_to_its_end: $model" or diag $res->{content};
    my $sent = sent($model);
    if ($model eq 'plain') {
        is_deeply [@$sent[2 .. 5]], \@loop, 'the model sees the same';
        like $sent->[0]{content}, qr/Be kind/, 'and the system';
    } else {
        is_deeply [@$sent[2, 3]], [
            { role => 'assistant', content => '', tool_calls => [{ function =>
                { name => 'weather', arguments => { city => 'Oslo' } } }] },
            { role => 'tool', tool_name => 'weather',
              content => 'Oslo is [1] fine' }],
            'in_the_words_of_an_ollama';
    }
}
{
    my $res = ask($C, { model => 'extractive', messages => [
        { role => 'user', content => $question }, @loop] });
    is "$res->{status} $res->{code}", '400 invalid_value',
        'extractive_does_not_read_results';
    like $res->{json}{detail}, qr/does not have results of tools/, 'by name';
}


# what does not fit is said at once, by name

my ($user, $call, $result) = ({ role => 'user', content => 'x' },
    { type => 'function_call', call_id => 'a', name => 'f',
      arguments => '{}' },
    { type => 'function_call_output', call_id => 'a', output => 'y' });
my %previous = (previous_response_id => $ids[-1]);

for my $case (
    [{ input => [$result] }, 'input', 'results without a question'],
    [{ input => [$user, $result] }, 'input[1].call_id', 'without a call'],
    [{ input => [$user, $result], %previous }, 'input[1].call_id',
     'without a call behind this question'],
    [{ input => [$user, $call, $call, $result] }, 'input[2].call_id',
     'a call twice'],
    [{ input => [$user, $call, $result, $result] }, 'input[3].call_id',
     'a result twice'],
    [{ input => [$user, { %$call, call_id => 'b' }, $call, $result] },
     'input[1]', 'a call without a result'],
    [{ input => [$user, $call, $user] }, 'input[1]',
     'a call without a result before the question'],
    [{ input => [$user, $call] }, 'input[1]', 'a call at the end'],
    [{ input => [$user, { %$call, name => '' }, $result] }, 'input[1]',
     'no name'],
    [{ input => [$user, { %$call, arguments => {} }, $result] }, 'input[1]',
     'arguments that are no string'],
    [{ input => [$user, { %$call, call_id => 'x' x 257 }, $result] },
     'input[1].call_id', 'an id that is too long'],
    [{ input => [$user, $call, { %$result, output => 7 }] },
     'input[2].output', 'an output that is no text'],
    [{ input => [$user, $call, { %$result, output => [{ type =>
        'input_image', image_url => 'data:,' }] }] }, 'input[2].output',
     'an output that is an image'],
    [{ input => [$user, { type => 'reasoning', summary => [] }, $user] },
     'input[1].type', 'an item that is not there'],
    [{ messages => [$user, $loop[1]] }, 'messages[1].tool_call_id',
     'a result of no call in a chat'],
    [{ messages => [$user, { %{ $loop[0] }, tool_calls => [] }, $loop[1]] },
     'messages[1].tool_calls', 'calls that are none'],
    [{ messages => [$loop[0], $loop[1]] }, 'messages',
     'a chat without a question'],
    [{ messages => [$user, { role => 'function', content => 'x' }, $user] },
     'messages[1].role', 'an old way'],
) {
    my ($body, $param, $name) = @$case;
    my $res = ask($body->{messages} ? $C : $R, $body);
    is "$res->{status} $res->{json}{error}{param}", "400 $param", $name
        or diag $res->{content};
}

$server->stop;
$t->finish;
done_testing;
