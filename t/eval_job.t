# trifecta eval --job searches as a job does and says what each step costs;
# --rerank measures the order that a model of kind rerank gives; what a sweep
# sets is named in its report.

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

# The longest passage is the best.

my $server = Trifecta::Test::ModelServer->new($t, long => sub {
    my ($c) = @_;
    my @docs = @{ $c->{json}{documents} };
    return $c->answer(503, '{}') if -e $off;
    $c->answer(200, { results => [map { { index => $_,
        relevance_score => length($docs[$_]) / 10000 } } 0 .. $#docs] });
});

my $models = $t->dir . '/models.conf';
$t->write_file($models, "[chat]\nprovider = openai\nbase_url = "
    . $server->url . "/v1\n[long]\nprovider = openai\nkind = rerank\n"
    . "base_url = " . $server->url . "/v1\n");
$t->{opt}{sidecar} = { models => $models };
$t->write_conf;
$t->start('redis');
$t->start('pg');
$t->migrate;

# Thirty documents are about the same; the shorter, the better for BM25.  The
# best one is the twentieth by words and the first for the model; one that is
# longer still is behind those that it is shown.

my $set = $t->dir . '/set';
my $json = JSON::PP->new->canonical;
mkdir $_ for $set, "$set/qrels";
my %words = map { $_ => 5 + 3 * $_ } 1 .. 30;
$words{20} = 140;
$words{$_} = 150 + $_ for 21 .. 30;
$t->write_file("$set/corpus.jsonl", join '', map { my $d = $_;
    $json->encode({ _id => "d$d", text => "The kettle is here. "
        . join ' ', map { "d${d}w$_" } 1 .. $words{$d} }) . "\n" } 1 .. 30);
$t->write_file("$set/queries.jsonl",
    $json->encode({ _id => 'q', text => 'kettle' }) . "\n");
$t->write_file("$set/qrels/best.tsv", "query\tdocument\tscore\nq\td20\t1\n");
$t->write_file("$set/qrels/all.tsv", "query\tdocument\tscore\n"
    . join '', map { "q\td$_\t1\n" } 1 .. 30);
$t->write_file("$set/squad.json", $json->encode({ data => [{ title => '',
    paragraphs => [{ context => 'The kettle is here.', qas => [{
    question => 'kettle', answers => [{ text => 'here' }] }] }] }] }));

my ($rc, $out, $err);
my @plain = qw(--set weight_ngrams=0 --set feedback=0);

sub evaluate {
    ($rc, $out, $err) = $t->run('eval', 'retrieval', $set, '--json', @_);
    return $rc == 0 && $out =~ /^\{/ ? $json->decode($out) : {};
}


# as a job does

my $wide = evaluate('--split', 'all');
is($wide->{recall_at_100}, 1, 'a ranking has as many as it is measured by')
    or diag $err;
is_deeply([grep { /^(?:step|search_cpu)/ } keys %$wide], [],
    'and no costs of steps');

my $job = evaluate('--split', 'all', '--job');
is($rc, 0, 'as a job does') or diag $err;
cmp_ok(abs($job->{recall_at_100} - 24 / 30), '<', 1e-6,
    'a_job_has_24_passages');

my @steps = map { /^step_(\w+?)_cpu_ms$/ && !/postgresql/ ? $1 : () }
    keys %$job;
my %has = map { $_ => 1 } @steps;
is_deeply([grep { !$has{$_} } qw(begin words bm25 feedback ngrams load scores
    quotes commit)], [], 'its_steps_are_told');

for my $kind (qw(ms cpu_ms postgresql_cpu_ms)) {
    my $sum = 0;
    $sum += $job->{"step_${_}_$kind"} // 'nan' for @steps;
    cmp_ok(abs($sum - $job->{"search_$kind"}), '<', 0.001 * (1 + $sum),
        "and add up to the search, $kind");
    cmp_ok($sum, '>', 0, 'which is not nothing');
}

my $index = evaluate('--split', 'all', '--job', '--index');
is($index->{$_}, $job->{$_}, "an index in memory finds the same: $_")
    for qw(ndcg_at_10 recall_at_100 mrr_at_10);


# n-grams of the candidates only, feedback in each search: a large scope

for my $how ([], ['--job']) {
    my @how = (qw(--split best --set ngrams_scan=5 --set feedback=1), @$how);
    my ($one, $two) = map { evaluate(@how, @$_) } [], ['--index'];
    is($two->{$_}, $one->{$_}, "index_and_store_find_the_same: @how: $_")
        for qw(ndcg_at_10 recall_at_100 mrr_at_10);
}


# what a sweep sets

my $sweep = evaluate('--set', 'weight_spelling=0.25', '--set', 'feedback=0.5',
    '--set', 'weight_ngrams=0.75', '--split', 'best');
is_deeply([@$sweep{qw(retrievers weight_spelling feedback)}],
    ['bm25=1 ngrams=0.75', 0.25, 0.5], 'what_a_sweep_sets_is_reported');


# the order of a model

my $before = evaluate('--split', 'best', @plain);
is($before->{mrr_at_10}, 0, 'by words the best one is not among the first')
    or diag $err;
ok(!exists $before->{rerank}, 'no model is named');
is(scalar(my @none = $server->requests('long')), 0, 'none was asked');

my $after = evaluate('--split', 'best', @plain, '--rerank', 'long');
is($rc, 0, 'ordered by a model') or diag $err;
is($after->{rerank}, 'long', 'which the report names');
my ($sent) = $server->requests('long');
is(scalar @{ $sent->{json}{documents} }, 24, 'it_is_shown_what_an_answer_has');
is($sent->{json}{query}, 'kettle', 'with the question');
my $best = 0;
length $sent->{json}{documents}[$_] > length $sent->{json}{documents}[$best]
    and $best = $_ for 0 .. 23;
my ($name) = $sent->{json}{documents}[$best] =~ /(d\d+)w/;
$t->write_file("$set/qrels/first.tsv",
    "query\tdocument\tscore\nq\t$name\t1\n");
$after = evaluate('--split', 'first', @plain, '--rerank', 'long');
is($after->{mrr_at_10}, 1, 'its_order_is_the_one_that_is_measured');
$after = evaluate('--split', 'all', @plain, '--rerank', 'long');
is($after->{recall_at_100}, 1, 'who is behind them stays behind them');


# what cannot be

sub fails {
    my ($name, $why, @args) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    evaluate(@args);
    isnt($rc, 0, $name);
    like($err, $why, '... and says why');
    is($t->sql('admin', 'SELECT count(*) FROM trifecta.document')->[0][0], 0,
        '... nothing is left of it');
}

fails('an_unknown_model', qr/no model "nobody" of kind rerank/, '--split',
    'all', '--rerank', 'nobody');
fails('a_model_of_another_kind', qr/no model "chat" of kind rerank/,
    '--split', 'all', '--rerank', 'chat');
$t->write_file($off, '');
fails('a_server_that_fails_ends_the_run',
    qr/could not be ordered by long: model_unavailable/, '--split', 'all',
    '--rerank', 'long');

for my $option (['--job'], ['--rerank', 'long']) {
    ($rc, $out, $err) = $t->run('eval', 'answers', "$set/squad.json",
        @$option);
    is($rc, 2, "answers with $option->[0]");
    like($err, qr/--job and --rerank are for retrieval/, '... says why');
}

$server->stop;
$t->finish;
done_testing;
