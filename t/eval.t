# trifecta eval: retrieval and answers measured on questions whose answers are
# known, and the least that they must reach.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0);
$t->start('redis');
$t->start('pg');
$t->migrate;

my $set = "$FindBin::Bin/data/eval";
my ($rc, $out, $err);

sub evaluate {
    ($rc, $out, $err) = $t->run('eval', @_);
    return $rc == 0 && $out =~ /^\{/ ? JSON::PP::decode_json($out) : {};
}

sub left {
    return $t->sql('admin', 'SELECT count(*) FROM trifecta.document')->[0][0];
}

# at_least($report, name => least, ...); a report that lacks the figure fails

sub at_least {
    my ($report, %least) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $name (sort keys %least) {
        cmp_ok($report->{$name} // -1, '>=', $least{$name},
            "$name >= $least{$name}");
    }
    diag join ', ', map { "$_ $report->{$_}" } sort keys %$report;
}


# a small set of our own

my $report = evaluate('retrieval', $set, '--json');
is($rc, 0, 'retrieval is measured') or diag $err;
is($report->{documents}, 12, 'all documents are in');
is($report->{questions}, 14, 'all questions with a judgement are asked');
my %least = (ndcg_at_10 => 0.97, recall_at_100 => 1, mrr_at_10 => 0.96);
at_least($report, %least);
is(left(), 0, 'nothing_is_left_in_the_store');

evaluate('retrieval', $set, '--keep');
like($out, qr/^ndcg_at_10 +[01]\.\d{4}$/m, 'a table for people');
is(left(), 12, '--keep keeps the documents');
is(scalar @{ $t->sql('admin', 'SELECT DISTINCT tenant FROM '
    . 'trifecta.document') }, 1, 'in one tenant');
is($t->sql('admin', 'SELECT DISTINCT tenant FROM trifecta.document')->[0][0],
    'eval-eval', 'of_the_sets_own');
evaluate('retrieval', $set, '--limit', 3, '--json');
is(left(), 0, 'the next run without it removes them');

$report = evaluate('answers', "$set/squad.json", '--json');
is($rc, 0, 'answers are measured') or diag $err;
at_least($report, answer_in_first_quote => 0.82, answer_in_answer => 0.97,
         abstention_auc => 0.97);
cmp_ok($report->{abstained}, '<=', 0.05, 'few are not answered');
is(left(), 0, 'and nothing is left');

# each way to find a passage does it by itself, on a set this small

for (['an index in memory', '--index'],
     ['words', '--set', 'weight_ngrams=0'],
     ['runs of letters', '--set', 'weight_bm25=0'])
{
    my ($what, @how) = @$_;
    note $what;
    at_least(evaluate('retrieval', $set, '--json', @how), %least);
}


# the same questions with an error in their longest word

my $typos = $t->dir . '/typos';
mkdir $_ for $typos, "$typos/qrels";

sub slurp { open my $fh, '<', $_[0] or die "$_[0]: $!"; local $/; <$fh> }

sub mistype {
    my ($text) = @_;
    my ($word) = sort { length $b <=> length $a || $a cmp $b } $text =~ /\w+/g;
    (my $wrong = $word) =~ s/^(.{3})(.)(.)/$1$3$2/;
    return $text =~ s/\b$word\b/$wrong/r;
}

$t->write_file("$typos/$_", slurp("$set/$_"))
    for 'corpus.jsonl', map { s{^\Q$set\E/}{}r } glob "$set/qrels/*.tsv";
$t->write_file("$typos/queries.jsonl", join '', map {
    my $q = JSON::PP::decode_json($_);
    JSON::PP::encode_json({ %$q, text => mistype($q->{text}) }) . "\n";
} split /\n/, slurp("$set/queries.jsonl"));

note 'misspelt';
at_least(evaluate('retrieval', $typos, '--json'), ndcg_at_10 => 0.95,
         recall_at_100 => 1);


# what is wrong with a set is said

sub fails {
    my ($name, $why, @args) = @_;
    evaluate(@args);
    isnt($rc, 0, $name);
    like($err, $why, 'and says why');
    is(left(), 0, 'nothing is left of it');
}

my $bad = $t->dir . '/bad';
mkdir $_ for $bad, "$bad/qrels";
fails('no_judgements', qr/no judgements in/, 'retrieval', $bad);
$t->write_file("$bad/qrels/test.tsv", "query-id\tcorpus-id\tscore\n");
fails('an_empty_file_of_judgements', qr/no judgement in/, 'retrieval', $bad);
$t->write_file("$bad/qrels/test.tsv", "q1\td1\t1\n");
fails('no_corpus', qr/cannot read .*corpus\.jsonl/, 'retrieval', $bad);
$t->write_file("$bad/corpus.jsonl", qq({"_id":"d1","text":"a b"}\nnonsense\n));
fails('a_line_that_is_no_object', qr/corpus\.jsonl:2: no JSON object/,
    'retrieval', $bad);
$t->write_file("$bad/corpus.jsonl", qq({"_id":"d1","text":"apples"}\n));
$t->write_file("$bad/queries.jsonl", qq({"_id":"q9","text":"what"}\n));
fails('no_question_with_a_judgement', qr/no question of queries\.jsonl/,
    'retrieval', $bad);
$t->write_file("$bad/squad.json", '{"a":1}');
fails('a_file_that_is_no_SQuAD', qr/has no array "data"/, 'answers',
    "$bad/squad.json");
fails('an_unknown_model', qr/does not have the model/, 'answers',
    "$set/squad.json", '--model', 'nobody');
is(($t->run('eval', 'speed', $bad))[0], 2, 'what cannot be measured');
is(($t->run('eval', 'retrieval'))[0], 2, 'no set');
is(($t->run('eval', 'retrieval', $bad, '--limit', 'x'))[0], 2, 'a bad limit');


# the published sets, where they are

SKIP: {
    my $data = $t->data;

    skip "no corpora in $data (TRIFECTA_TEST_DATA)", 13
        unless -e "$data/scifact/corpus.jsonl"
            && -e "$data/xquad/xquad.en.json"
            && -e "$data/xquad/beir-en/corpus.jsonl";

    $report = evaluate('retrieval', "$data/scifact", '--split', 'train',
                       '--json');
    at_least($report, ndcg_at_10 => 0.688, recall_at_100 => 0.93,
             mrr_at_10 => 0.655);

    $report = evaluate('retrieval', "$data/xquad/beir-en", '--json');
    at_least($report, ndcg_at_10 => 0.966, recall_at_100 => 0.995,
             mrr_at_10 => 0.957);

    $report = evaluate('answers', "$data/xquad/xquad.en.json", '--json');
    at_least($report, answer_in_first_quote => 0.762,
             answer_in_answer => 0.892, abstention_auc => 0.972);
    cmp_ok($report->{abstained}, '<=', 0.055, 'few are not answered');
    cmp_ok($report->{answered_anyway}, '<=', 0.12,
        'nor_many_answered_that_cannot_be');

    # which sentences are best, whether they are good enough or not

    $report = evaluate('answers', "$data/xquad/xquad.en.json", '--json',
                       '--set', 'answer_threshold=0');
    at_least($report, answer_in_first_quote => 0.78,
             answer_in_answer => 0.928);
}

$t->finish;
done_testing;
