# Bodies of the OpenAI shape that nobody would send: real ones, changed at
# random, in their bytes and in their members.  Each is answered, none with a
# 5xx, and the worker that read it is there afterwards.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

use Trifecta::Test;

my $seed = $ENV{TRIFECTA_TEST_SEED} // int rand 2**31;

srand $seed;
diag "TRIFECTA_TEST_SEED=$seed";

# Nobody takes the jobs, so what is good is asked for in the background; the
# chat has no question, and becomes good only by chance.

my $t = Trifecta::Test->new(workers => 1, sidecars => 0,
    max_jobs => 100000);
my $rounds = $ENV{TRIFECTA_TEST_ROUNDS} // 1500 / $t->slow;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($true, $false, $null) = (JSON::PP::true, JSON::PP::false, undef);

my %function = (name => 'f', parameters => { type => 'object' });
my @bodies = (
    ['/v1/responses', { model => 'test', input => 'x', background => $true,
        temperature => 1, top_p => 0.5, max_output_tokens => 7,
        metadata => { a => 'b' }, include => ['file_search_call.results'],
        text => { format => { type => 'json_schema', name => 's',
                              schema => { type => 'object' } },
                  verbosity => 'low' }, reasoning => { effort => 'low' },
        tools => [{ type => 'function', %function }, { type => 'file_search',
            vector_store_ids => ['a'] }], tool_choice => 'auto',
        truncation => 'auto', store => $true, user => 'u' }],
    ['/v1/responses', { background => $true, instructions => 'i', input => [
        { role => 'developer', content => 'one' },
        { role => 'user', content => [{ type => 'input_text',
                                        text => 'two' }] },
        { type => 'function_call', call_id => 'a', name => 'f',
          arguments => '{}' },
        { type => 'function_call_output', call_id => 'a', output => 'three' },
        { type => 'message', role => 'assistant', content => [{
          type => 'output_text', text => 'four' }] },
        { role => 'user', content => "f\x{fc}nf \x{1f600}" }] }],
    ['/v1/chat/completions', { model => 'test', stop => ['x'], seed => 1,
        frequency_penalty => 0.5, n => 1, stream => $false,
        response_format => { type => 'json_object' },
        tools => [{ type => 'function', function => \%function }],
        messages => [
            { role => 'system', content => 'one' },
            { role => 'user', content => 'two' },
            { role => 'assistant', content => $null, tool_calls => [{
              id => 'c', type => 'function', function => { name => 'f',
              arguments => '{}' } }] },
            { role => 'tool', tool_call_id => 'c', content => 'three' },
            { role => 'assistant', content => 'no question' }] }],
    ['/v1/embeddings', { model => 'none', input => ['a', ''],
        encoding_format => 'base64', dimensions => 4, user => 'u' }],
);

my @odd = ($null, $true, $false, 0, -1, 1.5, 1e308, 9007199254740993, '', 'x',
    'y' x 2000, "\x{0}", "\x{d7ff}\x{10ffff}", [], {}, [[]], [$null], [1, 'x'],
    { type => 'x' }, { role => 'user' }, { type => 'message' },
    [{ role => 'user', content => [] }], { type => 'function_call' },
    { type => 'function_call_output', call_id => 'a' }, { role => 'tool' },
    [map { { role => 'user', content => 'x' } } 1 .. 30]);

sub pick { $_[rand @_] }

# One place of a value, chosen at random, becomes another value, goes, comes
# twice, or changes places with its neighbour.

sub change {
    my ($value) = @_;

    if (ref $value eq 'HASH' && %$value && rand() < 0.9) {
        my $key = pick(sort keys %$value);
        my $how = int rand 8;
        return { %$value, $key => pick(@odd) } if $how == 0;
        return { map { $_ => $value->{$_} } grep { $_ ne $key }
                 keys %$value } if $how == 1;
        return { %$value, pick(qw(role type content id call_id name tool_calls
            arguments output stream store input messages model)) =>
            $value->{$key} } if $how == 2;
        return { %$value, $key => change($value->{$key}) };
    }
    if (ref $value eq 'ARRAY' && @$value && rand() < 0.9) {
        my @list = @$value;
        my ($i, $how) = (int rand @list, int rand 8);
        if ($how == 0) { splice @list, $i, 1 }
        elsif ($how == 1) { splice @list, $i, 0, $list[$i] }
        elsif ($how == 2) { @list[$i, 0] = @list[0, $i] }
        else { $list[$i] = change($list[$i]) }
        return \@list;
    }
    return pick(@odd);
}

# What waits for a job that nobody takes is asked for without waiting.

sub background {
    my ($path, $body) = @_;
    return $body if $path ne '/v1/responses' || ref $body ne 'HASH';
    return { %$body, background => $true, stream => $false, store => $true };
}

sub bytes {
    my ($text) = @_;
    my $how = int rand 4;
    my $at = int rand length $text;

    if ($how == 0) { substr $text, $at, 1, chr int rand 256 }
    elsif ($how == 1) { substr $text, $at, 1 + int rand 8, '' }
    elsif ($how == 2) { substr $text, $at, 0, pick('{', '[', '"', '\\u0000',
        '\\ud800', ',', 'null', "\xff", '1e999', '{"a":' x 40) }
    else { $text = substr $text, 0, $at }
    return $text;
}

my ($worker) = $t->workers;
my (%status, @bad);
my $began = time;

for my $round (1 .. $rounds) {
    my ($path, $body) = @{ $bodies[$round % @bodies] };
    $body = change($body) for 0 .. int rand 4;
    my $text = $json->encode(background($path, $body));
    my $broken = rand() < 0.3;
    $text = bytes($text) if $broken;

    # what a change of bytes has made of "background" would wait, and a chat
    # that is good: their answer is not waited for long

    my $res = $t->post($path, $text, timeout => 1, keep_alive => 1,
                       headers => { 'Content-Type' => 'application/json' });
    $status{ $res->{status} }++;
    next if $res->{status} =~ /^(2|4)..$/ || $res->{status} == 599;
    push @bad, "$res->{status} $path $text\n$res->{content}";
    last if @bad > 3;
}

is "@bad", '', 'no_body_is_answered_with_a_5xx';
diag join ', ', map { "$status{$_} times $_" } sort keys %status;
cmp_ok $status{400} // 0, '>', $rounds / 4, 'many are refused';
cmp_ok $status{200} // 0, '>', 0, 'some are good';
cmp_ok $status{599} // 0, '<', $rounds / 50, 'few wait for their job';
is_deeply [$t->workers], [$worker], 'the_worker_is_the_same';
is $t->post('/v1/responses', { input => 'x', background => $true })->{status},
    200, 'and answers';

$t->finish;
done_testing;
