# Models that make vectors or order passages: what their servers do well is
# taken, and nothing that they do badly is.  The servers are scripted.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0);

# A text's vector: how many of the letters a, b, c and d it has.

sub vector {
    my ($text) = @_;
    return [map { my $l = $_; 0.25 + (() = $text =~ /$l/g) } qw(a b c d)];
}

sub data {
    my ($c, $as) = @_;
    my $i = 0;
    return [map { { object => 'embedding', index => $i++,
                    embedding => $as->(vector($_)) } } @{ $c->{json}{input} }];
}

sub floats { $_[0] }
sub base64 { encode_base64(pack('f<*', @{ $_[0] }), '') }

sub embed {
    my ($c, $list, %more) = @_;
    return $c->answer(200, { object => 'list', data => $list,
        usage => { prompt_tokens => 7, total_tokens => 7 } }, %more);
}

# what goes wrong with the first vector of an otherwise good answer
sub first {
    my ($change) = @_;
    return sub {
        my ($c) = @_;
        my $list = data($c, \&floats);
        $change->($list->[0]);
        embed($c, $list);
    };
}

my $server = Trifecta::Test::ModelServer->new($t,

    # well
    floats => sub { embed($_[0], data($_[0], \&floats)) },
    base64 => sub { embed($_[0], data($_[0], \&base64)) },
    by_index => sub { embed($_[0], [reverse @{ data($_[0], \&floats) }]) },
    ollama => sub {
        my ($c) = @_;
        $c->answer(200, { embeddings => [map { vector($_) }
            @{ $c->{json}{input} }], prompt_eval_count => 5 });
    },
    rerank => sub {
        my ($c) = @_;
        my @docs = @{ $c->{json}{documents} };
        $c->answer(200, { results => [map { { index => $_,
            relevance_score => length($docs[$_]) / 100 } }
            sort { length $docs[$b] <=> length $docs[$a] } 0 .. $#docs] });
    },
    keys => sub {
        my ($c) = @_;
        $c->{headers}{authorization} eq 'Bearer key-two'
            ? embed($c, data($c, \&base64))
            : $c->answer(401, { error => { message => 'wrong key' } });
    },

    # badly
    too_few => sub { my $d = data($_[0], \&floats); pop @$d; embed($_[0], $d) },
    too_many => sub { my $d = data($_[0], \&floats);
                      embed($_[0], [@$d, { %{ $d->[0] }, index => 99 }]) },
    twice => first(sub { $_[0]{index} = 1 }),
    negative => first(sub { $_[0]{index} = -1 }),
    short => first(sub { pop @{ $_[0]{embedding} } }),
    short64 => first(sub { $_[0]{embedding} = base64([1, 2, 3]) }),
    nan64 => first(sub { $_[0]{embedding} = base64([1, 'NaN', 3, 4]) }),
    inf64 => first(sub { $_[0]{embedding} = base64([1, 9**9**9, 3, 4]) }),
    no64 => first(sub { $_[0]{embedding} = '!' x 24 }),
    zeros => first(sub { $_[0]{embedding} = [0, 0, 0, 0] }),
    null => first(sub { $_[0]{embedding} = undef }),
    null_in => first(sub { $_[0]{embedding}[2] = undef }),
    words => first(sub { $_[0]{embedding}[2] = 'one' }),
    huge_number => first(sub { $_[0]{embedding}[2] = 1e300 }),
    nan => sub { $_[0]->answer(200, '{"data":[{"index":0,"embedding":'
                               . '[1,NaN,2,3]},{"index":1,"embedding":'
                               . '[1,1,2,3]}]}') },
    html => sub { $_[0]->head(200, 'text/html'); $_[0]->put('<html>hello') },
    empty => sub { $_[0]->answer(200, '') },
    list => sub { $_[0]->answer(200, '[]') },
    error => sub { $_[0]->answer(200, { error => 'no such pooling' }) },
    cut => sub { $_[0]->answer(200, '{"data":[{"index":0,"embe',
                               'Content-Length' => 5000) },
    huge => sub {
        my ($c) = @_;
        $c->head(200, 'application/json');
        for (1 .. 50_000) { $c->put(' ' x 1000) or last }
    },
    hang => sub { sleep 60 },
    drip => sub { my ($c) = @_; $c->head(200, 'application/json');
                  for (1 .. 600) { $c->put(' ') or last; sleep 0.1 } },
    (map { my $s = $_; ("s$s" => sub { $_[0]->answer($s, { error => {
        message => 'canary-of-upstream' } }, 'Retry-After' => 7) }) }
        400, 401, 404, 429, 500),
    few_scores => sub { $_[0]->answer(200, { results => [{ index => 0,
                            relevance_score => 1 }] }) },
    score_twice => sub { $_[0]->answer(200, { results => [map { { index => 0,
                             relevance_score => 1 } } 1, 2] }) },
    score_beyond => sub { $_[0]->answer(200, { results => [map { { index =>
                              $_ + 1, relevance_score => 1 } } 0, 1] }) },
    score_null => sub { $_[0]->answer(200, { results => [map { { index => $_,
                            relevance_score => undef } } 0, 1] }) },
);

my $url = $server->url;
my $keys = $t->dir . '/model.keys';
$t->write_file($keys, "key-one\nkey-two\n", 0600);

my $conf = '';

for my $name (qw(floats base64 by_index too_few too_many twice negative short
                 short64 nan64 inf64 no64 zeros null null_in words huge_number
                 nan html empty list error cut huge hang drip s400 s401 s404
                 s429 s500))
{
    $conf .= "[$name]\nprovider = openai\nkind = embedding\nbase_url = $url/v1"
        . "/\ndimensions = 4\nfirst_token_timeout = 1s\nidle_timeout = 1s\n"
        . "total_timeout = 2s\n\n";
}

for my $name (qw(rerank few_scores score_twice score_beyond score_null)) {
    $conf .= "[$name]\nprovider = openai\nkind = rerank\nbase_url = $url/v1\n"
        . "\n";
}

$conf .= <<"END";
[chat]
provider = openai
base_url = $url/v1

[keys]
provider = openai
kind = embedding
base_url = $url/v1
dimensions = 4
key_file = $keys
shorten = on
encoding = float
batch = 2
query_prefix = query:
document_prefix = text:

[ollama]
provider = ollama
kind = embedding
base_url = $url
dimensions = 4
context = 16
END

my $file = $t->dir . '/models.conf';
$t->write_file($file, $conf);

sub try {
    my ($model, @texts) = @_;
    @texts = ('aaaa', 'aaab', 'cccc') if !@texts;
    return $t->run({ env => { TRIFECTA_MODELS => $file } }, 'models', '--try',
                   $model, @texts);
}

# The texts with their nearness as the vectors above make it.

sub good {
    my ($model, $name) = @_;
    my ($rc, $out, $err) = try($model);
    is($out, " 0.9530  aaab\n 0.1233  cccc\n", $name) or diag $err;
}

sub bad {
    my ($model, $code, $why, $name) = @_;
    my ($rc, $out, $err) = try($model);
    is($rc, 1, $name);
    is($out, '', '... and nothing of it counts');
    like($err, qr/^trifecta models: $code: /m, "... it is $code");
    like($err, $why, '... the log says why');
    unlike($out . ($err =~ /^(trifecta models:.*)/m)[0], qr/canary/,
        '... and who asked does not learn what the server said');
}


# well

good('floats', 'numbers_as_digits_are_a_vector');
good('base64', 'numbers_in_base64_are_a_vector');
good('by_index', 'the_order_is_that_of_the_index');
good('ollama', 'an_ollama_makes_vectors');
good('keys', 'a_refused_key_is_followed_by_the_next');

my ($sent) = $server->requests('floats');
is($sent->{path}, '/v1/embeddings', 'at the path of embeddings');
is($sent->{json}{encoding_format}, 'base64', 'base64 is asked for');
ok(!exists $sent->{json}{dimensions}, 'a dimension only if it shall shorten');
is_deeply($sent->{json}{input}, ['aaaa', 'aaab', 'cccc'], 'all in one request');

my @sent = $server->requests('keys');
is_deeply([map scalar @{ $_->{json}{input} }, @sent], [2, 2, 1, 1],
    'no_request_has_more_texts_than_batch');
is_deeply([@{ $sent[0]{json} }{qw(dimensions encoding_format)}], [4, 'float'],
    'dimension and encoding as configured');
is($sent[0]{json}{input}[0], 'text: aaaa', 'the prefix of a passage');

($sent) = $server->requests('ollama');
is($sent->{path}, '/api/embed', 'at the path of an ollama');

try("ollama", "\xc3\xa9" x 100, "b");
($sent) = reverse $server->requests('ollama');
is(length $sent->{json}{input}[0], 24,
    'a_text_is_cut_to_what_the_model_takes_and_stays_whole_characters');

my (undef, $out) = try('rerank', 'question', 'aa', 'aaaa', 'a');
is($out, " 0.0200  aa\n 0.0400  aaaa\n 0.0100  a\n",
    'a_reranker_says_how_good_each_passage_is');
($sent) = $server->requests('rerank');
is($sent->{path}, '/v1/rerank', 'at its path');
is_deeply($sent->{json}, { model => 'rerank', query => 'question',
    documents => ['aa', 'aaaa', 'a'], top_n => 3 }, 'with what it needs');


# badly

my $un = 'model_unavailable';

bad(@$_) for
    ['too_few', $un, qr/sent too few/, 'a_vector_too_few_is_no_answer'],
    ['too_many', $un, qr/more vectors than/, 'a_vector_too_many_is_no_answer'],
    ['twice', $un, qr/vector twice/, 'an_index_twice_is_no_answer'],
    ['negative', $un, qr/not in the request/, 'an_index_below_0_is_no_answer'],
    ['short', $un, qr/another dimension/, 'another_dimension_is_no_answer'],
    ['short64', $un, qr/another dimension/, 'nor_is_it_in_base64'],
    ['nan64', $un, qr/no number/, 'NaN_is_no_answer'],
    ['inf64', $un, qr/no number/, 'infinity_is_no_answer'],
    ['no64', $un, qr/no base64/, 'what_is_no_base64_is_no_answer'],
    ['zeros', $un, qr/of zeros/, 'a_vector_without_direction_is_no_answer'],
    ['null', $un, qr/that is none/, 'null_is_no_vector'],
    ['null_in', $un, qr/no number/, 'null_is_no_number'],
    ['words', $un, qr/no number/, 'a_word_is_no_number'],
    ['huge_number', $un, qr/no number/, 'a_number_beyond_a_float_is_none'],
    ['nan', $un, qr/no JSON/, 'NaN_in_digits_is_no_JSON'],
    ['html', $un, qr/no JSON.*text\/html/, 'a_page_of_html_is_no_answer'],
    ['empty', $un, qr/no JSON/, 'an_empty_body_is_no_answer'],
    ['list', $un, qr/no JSON object/, 'an_array_is_no_answer'],
    ['error', $un, qr/an error.*pooling/, 'an_error_after_a_200_is_a_failure'],
    ['cut', $un, qr/model cut at/, 'half_a_body_is_no_answer'],
    ['huge', $un, qr/more than it should be/, 'a_huge_body_is_given_up'],
    ['s400', 'model_rejected', qr/400/, 'a_400_is_not_asked_again'],
    ['s401', 'model_refused', qr/401/, 'a_401_needs_the_operator'],
    ['s404', 'model_rejected', qr/404/, 'nor_is_a_404'],
    ['s429', 'model_limited', qr/429/, 'a_429_is_a_limit'],
    ['s500', $un, qr/500/, 'a_500_passes'],
    ['few_scores', $un, qr/too few/, 'a_score_too_few_is_no_order'],
    ['score_twice', $un, qr/not in the request/, 'a_score_twice_is_no_order'],
    ['score_beyond', $un, qr/not in the req/, 'a_score_of_nothing_is_no_order'],
    ['score_null', $un, qr/no number/, 'null_is_no_score'];

{
    my $began = time;
    bad('hang', $un, qr/nothing came within 1000 ms/,
        'a_slow_server_meets_the_first_deadline');
    bad('drip', $un, qr/not done after 2000 ms/,
        'one_that_drips_meets_the_total_deadline');
    cmp_ok(time - $began, '<', 5 * 3 * $t->slow, 'each in its time');
}


# which models are which

(undef, $out) = $t->run({ env => { TRIFECTA_MODELS => $file } }, 'models',
                        '--nginx');
like($out, qr/^trifecta_models chat extractive test;\ntrifecta_embedding_models (?!.*\bchat\b)/,
    'models_that_make_vectors_have_a_directive_of_their_own');

(undef, $out) = $t->run({ env => { TRIFECTA_MODELS => $file } }, 'models',
                        '--long');
like($out, qr/^floats .*vectors of 4 numbers/m, '--long lists all of them');
like($out, qr/^rerank .*orders passages/m, 'rerankers too');

sub refused {
    my ($text, $why) = @_;
    my $wrong = $t->dir . '/wrong.conf';
    $t->write_file($wrong, "[a]\nbase_url = $url\n$text");
    my ($rc, undef, $err) = $t->run({ env => { TRIFECTA_MODELS => $wrong } },
                                    'models');
    is($rc, 1, "refused: " . $text =~ s/\n/, /gr);
    like($err, $why, 'and says why');
}

my $e = "provider = openai\nkind = embedding\n";
refused("kind = oops\n", qr/kind must be chat, embedding or rerank/);
refused("kind = embedding\n", qr/this provider has only models of kind chat/);
refused($e, qr/dimensions must be set/);
refused($e . "dimensions = 4001\n", qr/1 to 4000/);
refused($e . "dimensions = 4\nencoding = hex\n", qr/base64 or float/);
refused($e . "dimensions = 4\nbatch = 2049\n", qr/between 1 and 2048/);
refused($e . "dimensions = 4\nfallback = extractive\n", qr/kind chat have a f/);
refused("provider = ollama\nkind = rerank\n", qr/openai has/);
refused($e . "dimensions = 4\n[b]\nfallback = a\n", qr/does not answer que/);

my ($rc, undef, $err) = try('nobody');
is($rc, 1, 'a model that is not there cannot be tried');
like($err, qr/no model "nobody" of kind embedding or rerank/, 'it says so');

done_testing;
