# N-grams of letters: typing errors and endings find their passage, and nobody
# finds another's by them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new;
my $slow = $t->slow;

sub evaluate {
    my ($rc, $out, $err) = $t->run('eval', 'retrieval', @_, '--json');
    is($rc, 0, "measured: @_[1 .. $#_]") or diag $err;
    return $rc == 0 ? JSON::PP::decode_json($out) : {};
}


# typing errors and endings

my @subjects = (
    ['certificate', 'A certificate is renewed every ninety days.',
     'certifcate'],
    ['bandwidth', 'The bandwidth of the link is ten gigabits.', 'bandwitdh'],
    ['resurrection', 'A resurrection of the daemon takes a second.',
     'resurected'],
    ['warehouse', 'The warehouse opens at six in the morning.', 'warehuose'],
    ['philharmonic', 'The philharmonic plays on Thursdays.', 'filharmonics'],
    ['pomegranate', 'A pomegranate is harvested in October.',
     'pomgranates'],
);

my $set = $t->dir . '/typos';
mkdir $_ for $set, "$set/qrels";
my (@corpus, @queries, @qrels);

for my $i (0 .. $#subjects) {
    my ($word, $text, $typo) = @{ $subjects[$i] };
    push @corpus, JSON::PP::encode_json({ _id => "d$i", title => '',
                                          text => $text });
    push @queries, JSON::PP::encode_json({ _id => "q$i", text => $typo });
    push @qrels, "q$i\td$i\t1";
}

$t->write_file("$set/corpus.jsonl", join "\n", @corpus, '');
$t->write_file("$set/queries.jsonl", join "\n", @queries, '');
$t->write_file("$set/qrels/test.tsv", join "\n", "query\tcorpus\tscore",
               @qrels, '');

my $report = evaluate($set, '--set', 'weight_spelling=0');
is($report->{mrr_at_10}, 1, 'typing_errors_and_endings_find_their_passage');
$report = evaluate($set, '--set', 'weight_ngrams=0', '--set',
    'weight_spelling=0');
is($report->{mrr_at_10}, 0, 'which_the_words_alone_would_not');
$report = evaluate($set, '--set', 'ngrams_scan=3', '--set',
    'weight_spelling=0');
is($report->{mrr_at_10}, 0,
    'a_scope_beyond_the_bound_is_not_scanned_for_them');

# more than 2000 passages: all are compared only if words find little

my $large = $t->dir . '/large';
mkdir $_ for $large, "$large/qrels";
$t->write_file("$large/corpus.jsonl", join '', map {
    JSON::PP::encode_json({ _id => $_->[0], text => $_->[1] }) . "\n" }
    ['tulip', 'The tulip is a flower.'], ['tulipan', 'A tulipan is a scarf.'],
    ['phil', 'The philharmonic plays.'],
    map { ["n$_", "Number $_ is a number."] } 1 .. 2000);
$t->write_file("$large/queries.jsonl", join '', map {
    JSON::PP::encode_json({ _id => $_->[0], text => $_->[1] }) . "\n" }
    ['weak', 'filharmonics scarf'], ['strong', 'tulip']);
$t->write_file("$large/qrels/weak.tsv", "q\tc\ts\nweak\tphil\t1\n");
$t->write_file("$large/qrels/strong.tsv", "q\tc\ts\nstrong\ttulipan\t1\n");

my @without = ('--set', 'weight_spelling=0', '--set', 'feedback=0');
$report = evaluate($large, '--split', 'weak', '--keep', @without);
is($report->{recall_at_100}, 1, 'where_words_find_little_all_are_compared');
$report = evaluate($large, '--split', 'strong', @without);
is($report->{recall_at_100}, 0,
    'where_words_cover_the_question_only_what_they_found_is');


sub refused {
    my ($name, $why, @set) = @_;
    my ($rc, undef, $err) = $t->run('eval', 'retrieval', $set,
        map { ('--set', $_) } @set);
    is($rc, 2, $name);
    like($err, $why, 'and why');
}

refused('a_key_that_is_not_there', qr/no key "weight_of_air"/,
    'weight_of_air=1');
refused('a_value_that_is_none', qr/weight_ngrams=much/, 'weight_ngrams=much');
refused('a_key_without_a_value', qr/is not "name=value"/, 'weight_ngrams');


# what is stored: one vector a chunk, gone with it

my $docs = $t->dir . '/docs';
mkdir $docs;

sub vectors_are_those_of_chunks {
    my ($name) = @_;
    is($t->sql('admin', <<'END')->[0][0], 0, $name);
        SELECT count(*) FROM trifecta.chunk c
        FULL JOIN trifecta.chunk_ngrams g ON g.chunk = c.id
        WHERE c.id IS NULL OR g.chunk IS NULL OR g.acl <> c.acl
              OR g.collection <> c.collection
END
}

sub ingest {
    my ($status, $out, $err) = $t->run('ingest', '--quiet', @_);
    is($status, 0, "ingested: @_") or diag $err;
}

sub vectors {
    return $t->sql('admin', <<'END')->[0][0];
        SELECT coalesce(string_agg(md5(g.grams::text), ' ' ORDER BY c.id), '')
        FROM trifecta.chunk c JOIN trifecta.chunk_ngrams g ON g.chunk = c.id
        JOIN trifecta.document d ON d.id = c.document
        WHERE d.source = 'a.md'
END
}

$t->write_file("$docs/a.md", "# Pumps\n\nA pump moves water.\n\n"
    . "# Valves\n\nA valve stops water.\n");
$t->write_file("$docs/b.md", "# Hoses\n\nA hose leaks.\n");
ingest($docs);
vectors_are_those_of_chunks('each_chunk_has_its_vector');

my $before = vectors();
my $made = 'SELECT n.chunks FROM trifecta.ngram_idf n '
    . "JOIN trifecta.collection c ON c.id = n.collection WHERE name = 'docs'";
my $chunks = $t->sql('admin', $made)->[0][0];
ok($chunks, 'and its collection a table of idf');

for my $i (1 .. 12) {
    $t->write_file("$docs/n$i.md", "# Note $i\n\nNumber $i has word w${i}x.\n");
}

ingest($docs);
is(vectors(), $before, 'what_comes_later_changes_no_vector');
cmp_ok($t->sql('admin', $made)->[0][0], '>=', 2 * $chunks,
    'but_the_table_of_idf_is_made_again');
vectors_are_those_of_chunks('all have theirs');

$t->write_file("$docs/b.md", "# Hoses\n\nA hose does not leak any more.\n");
unlink "$docs/n$_.md" for 5 .. 12;
ingest('--delete', '--collection', 'docs', $docs);
vectors_are_those_of_chunks('vectors_go_with_their_chunks');


# whose they are

ingest('--owner', 'test:alice', '--visibility', 'private', '--collection',
    'secrets', do {
        mkdir $t->dir . '/alice';
        $t->write_file($t->dir . '/alice/plan.md',
            "# Acquisition\n\nThe acquisition of Zanzibar Pumps is planned.\n");
        $t->dir . '/alice';
    });

for my $case (['alice', 1], ['bob', 0]) {
    my ($who, $may) = @$case;
    my $end = $t->ask_and_wait('Zanzibra aquisitions?', timeout => 30 * $slow,
        token => $t->token(sub => $who));
    my $all = join "\n", $end->{response},
        map { "$_->{source} $_->{title}" } @{ $end->{citations} // [] };

    if ($may) {
        like($all, qr/Acquisition|Zanzibar/,
            'the_owner_finds_the_nearest_by_n_grams');
    } else {
        unlike($all, qr/Acquisition|Zanzibar|plan\.md/,
            'nobody_else_learns_of_it');
        like($all, qr/Pumps|Hoses|Valves|Note/,
            'and_gets_the_nearest_of_ones_own');
    }
}

my $dbh = $t->dbh('rag');
$dbh->begin_work;
$dbh->do(<<'END');
    SELECT set_config('trifecta.tenant', 'default', true),
           set_config('trifecta.owner', 'test:bob', true),
           set_config('trifecta.groups', '[]', true)
END
is($dbh->selectrow_array('SELECT count(*) FROM trifecta.chunk_ngrams g '
    . "WHERE acl IN (SELECT id FROM trifecta.acl WHERE owner = 'test:alice')"),
    0, 'row_level_security_covers_the_vectors');
$dbh->rollback;

$t->finish;
done_testing;
