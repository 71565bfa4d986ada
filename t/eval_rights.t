# trifecta eval and the documents of others, where these are the nearest: they
# are not found, not told to a model, not counted and not removed; and nobody
# finds those of a set.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0);
my $set = "$FindBin::Bin/data/eval";

my $server = Trifecta::Test::ModelServer->new($t,
    chat => sub { $_[0]->sse('As it says [1].') },
    letters => sub {
        my ($c) = @_;
        my $i = 0;
        $c->answer(200, { data => [map { my $text = lc; { index => $i++,
            embedding => [map { my $l = $_; 0.01 + (() = $text =~ /$l/g) }
                          'a' .. 'h'] } } @{ $c->{json}{input} }] });
    });

my $models = $t->dir . '/models.conf';
$t->write_file($models, join '', map { <<"END" } qw(chat letters));
[$_]
provider = openai
base_url = @{[$server->url]}/v1
@{[$_ eq 'letters' ? "kind = embedding\ndimensions = 8" : '']}
END
$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = 'chat extractive';
$t->write_conf;
$t->start_all;

my ($rc, $out, $err);

sub evaluate {
    ($rc, $out, $err) = $t->run('eval', @_, '--json');
    my $report = $rc == 0 ? JSON::PP::decode_json($out) : {};
    return { map { $_ => $report->{$_} } grep { !/_ms$|seconds|index_bytes/ }
             keys %$report };
}

# everything that is measured

sub measure {
    return { retrieval => evaluate('retrieval', $set),
             # no weight at which two sums are the same by chance
             vectors => evaluate('retrieval', $set, '--embed', 'letters',
                                 '--set', 'weight_vectors=1.37'),
             index => evaluate('retrieval', $set, '--index'),
             answers => evaluate('answers', "$set/squad.json"),
             told => evaluate('answers', "$set/squad.json", '--model', 'chat',
                              '--limit', 4) };
}

my $alone = measure();
cmp_ok($alone->{retrieval}{ndcg_at_10}, '>', 0.8, 'a set is measured')
    or diag $err;
is($alone->{told}{questions}, 4, 'and with a model') or diag $err;
my $asked = $server->requests('chat');
my $embedded = $server->requests('letters');


# Each question has, word for word, a document of somebody else: in the tenant
# of users, and in the tenants of the sets.

open my $fh, '<', "$set/queries.jsonl" or die $!;
my @queries = map { JSON::PP::decode_json($_)->{text} } <$fh>;
close $fh;

my @users = (['default', 'test:alice', 'private'],
             ['default', 'test:carol', 'groups', '--groups', 'staff'],
             ['default', 'test:dave', 'tenant']);
my @inside = map { (["eval-$_", 'test:alice', 'private'],
                    ["eval-$_", 'test:bob', 'groups', '--groups', 'staff']) }
             qw(eval squad.json);
my $n = 0;

sub ingest {
    my ($collection, $tenant, $owner, $visibility, @groups) = @_;
    my $dir = $t->dir . "/theirs-$n";
    mkdir $dir or die "$dir: $!";
    $t->write_file("$dir/$_.txt", "$queries[$_] canary-$n. $queries[$_]\n",
                   0644) for 0 .. $#queries;
    $n++;
    my ($status, undef, $why) = $t->run('ingest', '--quiet', '--tenant',
        $tenant, '--owner', $owner, '--visibility', $visibility, @groups,
        '--collection', $collection, map { "$dir/$_.txt" } 0 .. $#queries);
    is($status, 0, "ingested: $tenant $owner $visibility") or diag $why;
}

sub theirs {
    return $t->sql('admin', "SELECT count(*) FROM trifecta.document WHERE "
        . "owner <> 'cli:eval'")->[0][0];
}

ingest('eval', @$_) for @users;
ingest($_->[1] =~ /alice/ ? 'theirs' : 'eval', @$_) for @inside;

my $before = theirs();
is($before, $n * @queries, 'documents of others are there');

my $beside = measure();

# How often a word occurs is counted over all of a tenant's documents, so the
# weight of a word may differ a little; a foreign passage that was found would
# be the first of each question and halve these figures.

for my $name (sort keys %$alone) {
    my ($was, $is) = map { $_->{$name} } $alone, $beside;
    is_deeply([@$is{qw(documents chunks questions)}],
        [@$was{qw(documents chunks questions)}], "$name: the same set");
    my @far = grep { abs($is->{$_} - $was->{$_}) > 0.08 }
        grep { defined $was->{$_} } qw(ndcg_at_10 mrr_at_10 recall_at_100
        answer_in_answer answer_in_first_quote abstained abstention_auc);
    is_deeply(\@far, [],
        "$name: the_nearest_passages_are_foreign_and_take_no_place")
        or diag explain $was, $is;
}

my @told = $server->requests('chat');
is(scalar @told, 2 * $asked, 'the model was asked as often');
unlike(JSON::PP::encode_json(\@told), qr/canary/,
    'no_model_is_told_of_a_foreign_passage');
my @sent = $server->requests('letters');
is(scalar @sent, 2 * $embedded, 'and the other as often');
unlike(JSON::PP::encode_json(\@sent), qr/canary/, 'nor_embeds_one');
is(theirs(), $before, 'documents_of_others_are_not_removed_with_a_set');


# what a run leaves by --keep is found by nobody

evaluate('retrieval', $set, '--keep');
is($rc, 0, 'kept') or diag $err;
my $end = $t->ask_and_wait('What causes the rise and fall of the sea?',
    model => 'extractive', token => $t->token(sub => 'zoe'));
is($end->{status}, 'succeeded', 'a user asks');
unlike(JSON::PP::encode_json($end), qr/gravity of the Moon/,
    'a_user_finds_nothing_of_a_set');
like(JSON::PP::encode_json($end), qr/canary-2/, 'he finds his tenant\'s');
is($t->post('/api/v1/query', { query => 'tides' }, token =>
    $t->token(tenant => 'eval-eval'))->{status}, 403,
    'no_token_has_the_tenant_of_a_set');
evaluate('retrieval', $set);
is(theirs(), $before, 'and the documents of others stay');

$server->stop;
$t->finish;
done_testing;
