# Misspelt words: what they mean is found, quoted and counted as covered; names
# and numbers mean what they say, and nobody learns of another's words.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

# no passage is compared by n-grams unless words have found it
my $t = Trifecta::Test->new(sidecar => { ngrams_scan => 1 });
my $slow = $t->slow;
my $docs = $t->dir . '/docs';

sub ingest {
    my ($status, $out, $err) = $t->run('ingest', '--quiet', @_);
    is($status, 0, "ingested: @_") or diag $err;
}

sub answer {
    my ($question, @who) = @_;
    my $end = $t->ask_and_wait($question, timeout => 30 * $slow,
        @who ? (token => $t->token(sub => @who)) : ());
    is($end->{status}, 'succeeded', $question);
    return $end;
}

sub quotes {
    my ($name, $question, $why) = @_;
    my $end = answer($question);
    like($end->{response}, $why, $name);
    ok(@{ $end->{citations} }, 'and cites it');
    return $end;
}

sub abstains {
    my ($name, $question) = @_;
    my $end = answer($question);
    like($end->{response}, qr/did not find/, $name);
    is(@{ $end->{citations} }, 0, 'and cites nothing');
    return $end;
}

mkdir $docs;
$t->write_file("$docs/a.md", <<'END');
# Station

A certificate is renewed every ninety days by the gatekeeper.

# Orchestra

The philharmonic rehearses on Thursdays.

# Limits

The directive proxy_read_timeout waits sixty seconds. The bandwidth of the
uplink is ten gigabits. In 1997 the reactor was rebuilt.
END
ingest($docs);


# one word, two, all

quotes('one_misspelt_word_is_forgiven',
    'How often is a certifcate renewed?', qr/ninety days.*\[1\]/);
quotes('a_question_of_misspelt_words_finds_its_passage_beyond_ngrams_scan',
    'cretificate rewened gatekeper', qr/ninety days.*\[1\]/);
quotes('an_error_at_the_beginning_is_forgiven',
    'What is the abndwidth of the uplimk?', qr/ten gigabits.*\[1\]/);

my $end = quotes('the_sentence_that_means_it_is_the_one_that_is_quoted',
    'Which gigabtis has the bandwitdh?', qr/bandwidth/);
unlike($end->{response}, qr/sixty|1997/, 'and its neighbours are not');


# what is no error

abstains('another_word_is_none', 'How often is a caterpillar reviewed?');
abstains('a_number_means_what_it_says', 'What was in 1996?');
$end = abstains('a_name_means_what_it_says',
    'How long waits proxy_raed_timeout?');
like($end->{response}, qr/proxy_raed_timeout/, 'and is named');


# off

my ($rc, $out, $err);
my $set = $t->dir . '/typos';
mkdir $_ for $set, "$set/qrels";
$t->write_file("$set/corpus.jsonl", join "\n", map { JSON::PP::encode_json($_) }
    { _id => 'd1', text => 'A certificate is renewed.' },
    { _id => 'd2', text => 'The warehouse is closed.' }, ());
$t->write_file("$set/queries.jsonl",
    join "\n", map { JSON::PP::encode_json($_) }
    { _id => 'q1', text => 'certifcate' },
    { _id => 'q2', text => 'waerhouse' }, ());
$t->write_file("$set/qrels/test.tsv",
    "query\tcorpus\tscore\nq1\td1\t1\nq2\td2\t1\n");

for my $case ([0, 0], [0.8, 1]) {
    my ($weight, $mrr) = @$case;

    ($rc, $out, $err) = $t->run('eval', 'retrieval', $set, '--json', '--set',
        "weight_spelling=$weight", '--set', 'ngrams_scan=1');
    is($rc, 0, 'measured') or diag $err;
    is(JSON::PP::decode_json($out)->{mrr_at_10}, $mrr,
        $weight ? 'with_a_weight_they_are_found' : 'without_they_are_not');
}

($rc, $out, $err) = $t->run('eval', 'retrieval', $set, '--set',
    'weight_spelling=2');
isnt($rc, 0, 'a_weight_beyond_one_is_refused');


# whose they are

my $alice = $t->dir . '/alice';
mkdir $alice;
$t->write_file("$alice/plan.md",
    "# Acquisition\n\nThe acquisition of Zanzibar Pumps costs a million.\n");
ingest('--owner', 'test:alice', '--visibility', 'private', '--collection',
    'docs', "$alice/plan.md");

my $question = 'What costs the aquisition of Zanzibra?';
like(answer($question, 'alice')->{response}, qr/a million.*\[1\]/,
    'the_owner_finds_what_was_meant');
$end = answer($question, 'bob');
unlike(join("\n", $end->{response},
        map { "$_->{source} $_->{title}" } @{ $end->{citations} }),
    qr/Acquisition|Zanzibar|million|plan\.md/,
    'nobody_else_learns_of_it_by_misspelling');

$t->finish;
done_testing;
