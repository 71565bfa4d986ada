# Mild feedback: when the best passages cover little of a question, what they
# have in common is looked for, too; ranked by the store or by an index in
# memory alike.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => { threads => 2, index_from => 10,
    index_check => 1, feedback => 1 });
my $slow = $t->slow;
my $set = $t->dir . '/set';

sub line { JSON::PP->new->canonical->encode({ @_ }) }

sub evaluate {
    my ($rc, $out, $err) = $t->run('eval', 'retrieval', @_, '--json', '--set',
        'weight_ngrams=0');
    is($rc, 0, "measured: @_[1 .. $#_]") or diag $err;
    return $rc == 0 ? JSON::PP::decode_json($out) : {};
}


# Passages about a reactor say what it has; one says the same without the word.

mkdir $_ for $set, "$set/qrels";
$t->write_file("$set/corpus.jsonl", join "\n",
    (map { line(_id => "a$_", text => "The reactor $_ has moderator rods of "
        . "graphite, coolant pumps and a turbine.") } 1 .. 6),
    line(_id => 'gold', text => 'Moderator rods of graphite and the coolant '
        . 'pumps drive a turbine.'),
    (map { line(_id => "n$_", text => "Number $_ of the gardening almanac "
        . "praises tulips and roses.") } 1 .. 20), '');
$t->write_file("$set/queries.jsonl", join "\n",
    line(_id => 'weak', text => 'reactor outage chronicle liability'),
    line(_id => 'strong', text => 'reactor'), '');
$t->write_file("$set/qrels/weak.tsv",
    "query\tcorpus\tscore\nweak\tgold\t1\n");
$t->write_file("$set/qrels/strong.tsv",
    "query\tcorpus\tscore\nstrong\tgold\t1\n");

for my $how ([], ['--index']) {
    my $by = @$how ? 'the index' : 'PostgreSQL';

    is(evaluate($set, '--split', 'weak', '--set', 'feedback=0', @$how)
        ->{recall_at_100}, 0, "$by: the words alone do not find it");
    is(evaluate($set, '--split', 'weak', '--set', 'feedback=0.6', @$how)
        ->{recall_at_100}, 1,
        "$by: other_words_for_the_same_are_found_when_the_top_is_weak");
    is(evaluate($set, '--split', 'strong', '--set', 'feedback=0.6', @$how)
        ->{recall_at_100}, 0, "$by: a_top_that_covers_the_question_is_enough");
}

my ($rc, undef, $err) = $t->run('eval', 'retrieval', $set, '--split', 'weak',
    '--set', 'feedback=2');
isnt($rc, 0, 'a_share_beyond_one_is_refused');


# the head of the list stays as it is

my @docs = map { line(_id => "t$_", text => 'zinc ' x (31 - $_)
    . "oxide $_ is white and " . 'powdery ' x $_) } 1 .. 30;
my $head = $t->dir . '/head';
mkdir $_ for $head, "$head/qrels";
$t->write_file("$head/corpus.jsonl", join "\n", @docs, '');
$t->write_file("$head/queries.jsonl",
    line(_id => 'q', text => 'zinc toxicology in the workplace') . "\n");
$t->write_file("$head/qrels/test.tsv", join "\n", "query\tcorpus\tscore",
    (map { "q\tt$_\t" . (31 - $_) } 1 .. 10), '');
is(evaluate($head, '--set', 'feedback=1')->{ndcg_at_10},
    evaluate($head, '--set', 'feedback=0')->{ndcg_at_10},
    'the_best_passages_keep_their_places');


# the real thing, with rights: an index and the store say the same, and what
# others may not see feeds nothing

my $docs = $t->dir . '/docs';
mkdir $docs;
$t->write_file("$docs/$_.md", "# Reactor $_\n\nThe reactor $_ has moderator "
    . "rods of graphite and coolant pumps.\n") for 1 .. 12;
$t->write_file("$docs/other.md", "# Hall\n\nModerator rods of graphite are "
    . "kept beside the coolant pumps.\n");
($rc, undef, $err) = $t->run('ingest', '--quiet', $docs);
is($rc, 0, 'ingested') or diag $err;

mkdir $t->dir . '/alice';
$t->write_file($t->dir . '/alice/secret.md', "# Secret\n\n"
    . "The reactor reactor reactor of Zanzibar has moderator rods.\n");
($rc, undef, $err) = $t->run('ingest', '--quiet', '--owner', 'test:alice',
    '--visibility', 'private', '--collection', 'docs', $t->dir . '/alice');
is($rc, 0, 'ingested one of Alice') or diag $err;

sub count { $t->metrics(0)->{"trifecta_index_$_[0]_total"} // 0 }

$t->ask_and_wait("reactor outage liability n$_", timeout => 30 * $slow)
    for 1 .. 2;
$t->wait_for(sub { count('builds') }, 30 * $slow);

my $before = count('checks');
for my $n (1 .. 6) {
    my $end = $t->ask_and_wait("reactor outage chronicle m$n",
        timeout => 30 * $slow, token => $t->token(sub => 'bob'));
    unlike($end->{response} . join(' ', map { $_->{source} }
        @{ $end->{citations} }), qr/Zanzibar|secret\.md/,
        'nobody_learns_of_anothers_passages_by_feedback') if $n == 1;
}
cmp_ok(count('checks') - $before, '>=', 12,
    'both searches of a question are compared');
is(count('mismatches'), 0,
    'with_feedback_an_index_and_PostgreSQL_say_the_same');

$t->finish;
done_testing;
