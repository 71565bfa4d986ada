# trifecta eval with vectors: they are made by the model that is named, used,
# and named in the report; a server that fails ends the run; nothing is left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, sidecars => 0);
my $off = $t->dir . '/off';

my @topics = (qr/\b(cat|feline|kitten)/i, qr/\b(bridge|span|viaduct)/i,
              qr/\b(bread|loaf|bakery)/i);

sub vectors {
    my ($c) = @_;
    my $i = 0;
    return $c->answer(503, '{}') if -e $off;
    $c->answer(200, { data => [map { my $text = $_; { index => $i++,
        embedding => [map { my $re = $_; 0.01 + (() = $text =~ /$re/g) }
                      @topics] } } @{ $c->{json}{input} }],
        usage => { prompt_tokens => 3 } });
}

my $server = Trifecta::Test::ModelServer->new($t, small => \&vectors,
    other => \&vectors,

    # it reads the first passage that it is shown aloud
    chat => sub {
        my ($c) = @_;
        my ($text) = $c->{json}{messages}[-1]{content} =~ /((?:The|A) \w+ [^.]*\.)/;
        $c->sse(defined $text ? "$text [1]" : 'NOT FOUND');
    });

my $models = $t->dir . '/models.conf';
$t->write_file($models, join '', "[chat]\nprovider = openai\nbase_url = "
    . $server->url . "/v1\n", map { <<"END" } qw(small other));
[$_]
provider = openai
kind = embedding
base_url = @{[$server->url]}/v1
dimensions = 3
batch = 2
END
$t->{opt}{sidecar} = { models => $models, weight_bm25 => 1, weight_ngrams => 0.3 };
$t->write_conf;
$t->start('redis');
$t->start('pg');
$t->migrate;

# Questions have no word of their passage.

my %text = (a => 'The feline sleeps on a warm mat.',
            b => 'The viaduct crosses this valley.',
            c => 'The loaf rose for nine hours.');
my %asked = (a => 'Kittens?', b => 'Span?',
             c => 'Bread?');
my $set = $t->dir . '/set';
mkdir $_ for $set, "$set/qrels";
my $json = JSON::PP->new->canonical;
$t->write_file("$set/corpus.jsonl", join '', map { $json->encode({ _id => $_,
    text => $text{$_} }) . "\n" } sort keys %text);
$t->write_file("$set/queries.jsonl", join '', map { $json->encode({
    _id => "q$_", text => $asked{$_} }) . "\n" } sort keys %asked);
$t->write_file("$set/qrels/test.tsv", join '', "query\tdocument\tscore\n",
    map { "q$_\t$_\t1\n" } sort keys %asked);
$t->write_file("$set/squad.json", $json->encode({ data => [map { {
    title => '', paragraphs => [{ context => $text{$_}, qas => [{
    question => $asked{$_}, answers => [{ text => $text{$_} }] }] }] } }
    sort keys %text] }));

my ($rc, $out, $err);

# three short texts share letters by chance: vectors shall outweigh that
my @heavy = ('--set', 'weight_vectors=100');

sub evaluate {
    ($rc, $out, $err) = $t->run('eval', @_);
    return $rc == 0 && $out =~ /^\{/ ? $json->decode($out) : {};
}

sub count { $t->sql('admin', "SELECT count(*) FROM $_[0]")->[0][0] }

sub nothing_left {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply([map { count("trifecta.$_") } qw(document embedding
        embedding_set)], [0, 0, 0], $name);
    is(scalar @{ $t->sql('admin', q{SELECT 1 FROM pg_class WHERE relname ~
        '^embedding_[0-9]+$'}) }, 0, '... no table either');
}


# retrieval

my $words = evaluate('retrieval', $set, '--json');
is($rc, 0, 'words only') or diag $err;
is($words->{retrievers}, 'bm25=1 ngrams=0.3', 'the_report_names_who_searched');
ok(!exists $words->{embedding}, 'and no model');
is(scalar(my @none = $server->requests('small')), 0, 'none was asked');

my $report = evaluate('retrieval', $set, '--embed', 'small', '--json',
                      @heavy);
is($rc, 0, 'with vectors') or diag $err;
is($report->{retrievers}, 'bm25=1 ngrams=0.3 vectors=100',
    'vectors_are_named_with_their_weight');
is($report->{embedding}, 'small', 'and whose they are');
is($report->{ndcg_at_10}, 1, 'what_is_said_in_other_words_is_found');
cmp_ok($words->{ndcg_at_10}, '<', 1, 'without them it was not');
is($report->{embedded}, 3, 'each passage was embedded');
is($report->{embedded_tokens}, 6, 'in two requests');
is(scalar(my @all = $server->requests('small')), 5, 'and each question');
nothing_left('nothing_is_left_of_it');

evaluate('retrieval', $set, '--embed', 'small');
like($out, qr/^retrievers +bm25=1 ngrams=0\.3 vectors=1$/m,
    'a table for people says it, too');
like($out, qr/^embedding +small$/m, 'and whose');

$report = evaluate('retrieval', $set, '--embed', 'small', '--json', '--set',
                   'weight_bm25=0', '--set', 'weight_ngrams=0');
is($report->{retrievers}, 'vectors=1', 'vectors alone');
is($report->{ndcg_at_10}, 1, 'find everything here');


# kept

evaluate('retrieval', $set, '--embed', 'small', '--keep', '--json');
$report = evaluate('retrieval', $set, '--embed', 'small', '--keep', '--json',
                   @heavy);
is($report->{embedded}, 0, 'what_was_kept_is_not_embedded_again');
is($report->{ndcg_at_10}, 1, 'and found');
$report = evaluate('retrieval', $set, '--embed', 'other', '--keep', '--json');
is($report->{embedded}, 3, 'another_model_makes_its_own');
is(count('trifecta.embedding_set'), 2, 'beside the first');

my $before = $server->requests('other') + $server->requests('small');
$report = evaluate('retrieval', $set, '--keep', '--json');
is($report->{ndcg_at_10}, $words->{ndcg_at_10},
    'without_embed_vectors_that_were_kept_are_not_used');
is($server->requests('other') + $server->requests('small'), $before,
    'and nobody was asked');
evaluate('retrieval', $set, '--json');
nothing_left('the next run without --keep removes them');


# answers

$report = evaluate('answers', "$set/squad.json", '--model', 'chat', '--json');
my $without = $report->{answer_in_answer};
cmp_ok($without, '<', 1, 'answers by words') or diag $err;
$report = evaluate('answers', "$set/squad.json", '--model', 'chat', '--embed',
                   'small', '--json', @heavy);
is($report->{answer_in_answer}, 1, 'answers_use_them_as_well') or diag $err;
is($report->{retrievers}, 'bm25=1 ngrams=0.3 vectors=100', 'and say so');
nothing_left('nothing is left of answers');


# what cannot be

sub fails {
    my ($name, $why, @args) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    evaluate(@args);
    isnt($rc, 0, $name);
    like($err, $why, '... and says why');
    nothing_left('... nothing is left of it');
}

fails('an_unknown_model', qr/no model "nobody" of kind embedding/, 'retrieval',
    $set, '--embed', 'nobody');
fails('a_model_of_another_kind', qr/no model "chat" of kind embedding/,
    'retrieval', $set, '--embed', 'chat');
fails('vectors_that_weigh_nothing', qr/weight_vectors is 0/, 'retrieval', $set,
    '--embed', 'small', '--set', 'weight_vectors=0');
evaluate('retrieval', $set, '--embed', 'small', '--keep');
$t->write_file($off, '');
fails('a_server_that_fails_ends_the_run',
    qr/a question could not be embedded by small: model_unavailable/,
    'retrieval', $set, '--embed', 'small');
fails('also_while_passages_are_embedded',
    qr/the passages could not be embedded by small: model_unavailable/,
    'answers', "$set/squad.json", '--embed', 'small');

$server->stop;
$t->finish;
done_testing;
