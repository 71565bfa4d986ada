# Chat completions: a question in messages, the answer when the job has ended,
# and what a client is told when the job has no answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(workers => 1);
my $slow = $t->slow;
my $C = '/v1/chat/completions';
my $P = '{trifecta:0}';

sub chat {
    my ($text, $body, %o) = @_;
    return $t->post($C, { model => 'test',
        messages => [{ role => 'user', content => $text }],
        %{ $body || {} } }, timeout => 30 * $slow, %o);
}

sub uuid { $_[0] =~ /[_-](.{8})(.{4})(.{4})(.{4})(.{12})$/; "$1-$2-$3-$4-$5" }


{
    my $res = chat('say=hello there', { metadata => { a => 'b' } });
    is $res->{status}, 200, 'a_chat_waits_for_its_end';
    my $o = $res->{json};
    like $o->{id}, qr/^chatcmpl-[0-9a-f]{32}$/, 'id';
    is $o->{object}, 'chat.completion', 'object';
    like $o->{created}, qr/^\d+$/, 'created';
    is $o->{model}, 'test', 'model';
    is scalar @{ $o->{choices} }, 1, 'one choice';
    my $choice = $o->{choices}[0];
    is_deeply [@$choice{qw(index finish_reason logprobs)}],
        [0, 'stop', undef], 'that stopped by itself';
    is $choice->{message}{role}, 'assistant', 'of the assistant';
    like $choice->{message}{content}, qr/ hello there$/, 'its text';
    is $choice->{message}{refusal}, undef, 'no refusal';
    is_deeply [sort keys %{ $o->{usage} }],
        [qw(completion_tokens prompt_tokens total_tokens)], 'usage';
    is_deeply $o->{metadata}, { a => 'b' }, 'metadata';
    is $t->result(uuid($o->{id}))->{json}{response},
        $choice->{message}{content}, 'both_shapes_are_one_row';
    is $t->get('/v1/responses/resp_' . substr($o->{id}, -32))->{json}
        {output}[1]{content}[0]{text}, $choice->{message}{content},
        'and it is a response, too';
}


# Documents

{
    mkdir "$t->{dir}/docs", 0755;
    $t->write_file("$t->{dir}/docs/moon.md",
        "# The moon\n\nThe moon of Trifectania is made of basalt.\n");
    my ($status) = $t->run('ingest', "$t->{dir}/docs");
    is $status, 0, 'a document';
    my $res = chat('What is the moon of Trifectania made of?',
                   { model => 'extractive' });
    my $o = $res->{json};
    like $o->{choices}[0]{message}{content}, qr/basalt/, 'answers';
    is $o->{citations}[0]{source}, 'moon.md', 'with_its_citation';

    my $r = $t->get('/v1/responses/resp_' . substr($o->{id}, -32))->{json};
    my $part = $r->{output}[1]{content}[0];
    my $note = $part->{annotations}[0];
    is $note->{type}, 'file_citation', 'which_annotates_the_response';
    is $note->{filename}, 'moon.md', 'by name';
    is $note->{file_id}, $o->{citations}[0]{document_id}, 'and id';
    is substr($part->{text}, $note->{index}, 3), '[1]', 'at the mark';
}


# No answer

{
    my $res = chat('fail=1');
    is "$res->{status} $res->{code}", '502 job_failed',
        'a_job_that_failed_is_an_error';
    like $res->{json}{detail}, qr/^internal_error: the test provider/,
        'with what the job said';
    is $res->{headers}{'x-should-retry'}, 'false', 'not to be repeated';
    $res = chat('x', { messages => [{ role => 'user', content => 'x' },
                                    { role => 'robot', content => 'y' }] });
    is "$res->{code} $res->{json}{error}{param}",
        'invalid_value messages[1].role', 'roles';
}


# Refusals, by name

for my $case (
    [{ messages => undef }, 'missing_field', 'messages'],
    [{ messages => 'x' }, 'invalid_value', 'messages'],
    [{ messages => [] }, 'invalid_value', 'messages'],
    [{ messages => [{ role => 'user', content => 'a' },
                    { role => 'assistant', content => 'b' }] },
     'invalid_value', 'messages[1].role'],
    [{ messages => [{ role => 'user', content => [
        { type => 'image_url', image_url => {} }] }] }, 'invalid_value',
     'messages[0].content'],
    [{ n => 2 }, 'invalid_value', 'n'],
    [{ stop => [('x') x 5] }, 'invalid_value', 'stop'],
    [{ stop => ['x', ''] }, 'invalid_value', 'stop'],
    [{ stop => 1 }, 'invalid_value', 'stop'],
    [{ logprobs => \1 }, 'invalid_value', 'logprobs'],
    [{ seed => 1.5 }, 'invalid_value', 'seed'],
    [{ presence_penalty => 2.1 }, 'invalid_value', 'presence_penalty'],
    [{ functions => [] }, 'invalid_value', 'functions'],
    [{ frequency_penalty => '1' }, 'invalid_value', 'frequency_penalty'],
    [{ verbosity => 'huge' }, 'invalid_value', 'verbosity'],
    [{ reasoning_effort => 'lots' }, 'invalid_value', 'reasoning_effort'],
    [{ tools => [{ type => 'file_search' }] }, 'invalid_value',
     'tools[0].type'],
    [{ response_format => { type => 'json_schema' } }, 'invalid_value',
     'response_format'],
) {
    my ($body, $code, $param) = @$case;
    my $res = chat('x', $body);
    is "$res->{code} " . ($res->{json}{error}{param} // '-'), "$code $param",
        'refused by name: ' . JSON::PP->new->canonical->encode($body);
}

{
    my $res = chat('say=so', { n => 1, stop => undef, logprobs => \0,
        logit_bias => {}, presence_penalty => 0, frequency_penalty => 0.0,
        modalities => ['text'], store => \1, top_logprobs => 0,
        tool_choice => { type => 'function', function => { name => 'f' } },
        tools => [{ type => 'function', function => { name => 'f' } }],
        max_tokens => 5, max_completion_tokens => 6, response_format =>
        { type => 'json_schema', json_schema => { name => 's',
          schema => { type => 'object' } } } });
    is $res->{status}, 200, 'what_changes_nothing_is_accepted';
    my $request = JSON::PP::decode_json($t->sql('queue',
        'SELECT request::text FROM trifecta.job WHERE id = ?',
        uuid($res->{json}{id}))->[0][0]);
    is_deeply $request->{options}, { max_output_tokens => 6,
        presence_penalty => 0, frequency_penalty => '0',
        tools => [{ type => 'function', function => { name => 'f' } }],
        tool_choice => { type => 'function', function => { name => 'f' } },
        format => { type => 'json_schema', name => 's',
                    schema => { type => 'object' } } },
        'what does is passed on';
}

$t->finish;
done_testing;
