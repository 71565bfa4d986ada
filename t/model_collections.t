# A model answers from the collections that it names and that the asker may
# see, and learns of no others: by no question, conversation or fallback.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, sidecar => { threads => 4 });

# It repeats each secret that it is shown, whoever shows it.

sub told { join ' ', map { $_->{content} } @{ $_[0]{json}{messages} } }

my $parrot = sub {
    my ($c) = @_;
    return $c->answer(503, '{}') if $c->{json}{model} eq 'away';
    my %seen = map { $_ => 1 } told($c) =~ /([A-Z]+-SECRET)/g;
    $c->sse('The walrus has the secrets ' . join(' and ', sort keys %seen)
            . '.');
};

my @names = qw(all farm both away vault);
my $server = Trifecta::Test::ModelServer->new($t, map { $_ => $parrot } @names);
my %more = (farm => 'collections = farm', both => 'collections = farm , zoo',
            vault => 'collections = vault, nowhere',
            away => "collections = farm\nfallback = both");

my $models = $t->dir . '/models.conf';
$t->write_file($models, join '', map { <<"END" } @names);
[$_]
provider = openai
base_url = @{[$server->url]}/v1
talk_timeout = 0
cache = 0
@{[$more{$_} // '']}
END

$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = "extractive @names";
$t->write_conf;
$t->start_all;

my $dir = $t->dir . '/docs';
mkdir $dir;

sub document {
    my ($collection, $secret, @options) = @_;
    $t->write_file("$dir/$collection.md", "# Walrus\n\nThe walrus of the "
        . "$collection has the secret $secret.\n", 0644);
    my ($rc, $out, $err) = $t->run('ingest', '--collection', $collection,
                                   @options, "$dir/$collection.md");
    is($rc, 0, "ingested: $collection") or diag $out, $err;
}

document('farm', 'FARM-SECRET');
document('zoo', 'ZOO-SECRET');
document('circus', 'CIRCUS-SECRET');
document('vault', 'VAULT-SECRET', '--owner', 'test:carol', '--visibility',
         'private');

my $Q = 'Which secret has the walrus?';

sub ask {
    my ($model, %body) = @_;
    my $as = delete $body{as};
    return $t->ask_and_wait($Q, model => $model, timeout => 30 * $t->slow,
        body => \%body, $as ? (token => $as) : ());
}

sub secrets {
    my ($end) = @_;
    return $end->{error}{code} if $end->{error};
    my %has = map { $_ => 1 } $end->{response} =~ /([A-Z]+)-SECRET/g;
    return join ' ', sort keys %has;
}


# questions

is(secrets(ask('all')), 'CIRCUS FARM ZOO',
    'a model without collections answers from all');
is(secrets(ask('farm')), 'FARM',
    'a_model_answers_from_its_collections_only');
is(secrets(ask('both')), 'FARM ZOO', 'from each of several');
is(secrets(ask('both', collections => ['zoo'])), 'ZOO',
    'a_question_may_name_some_of_them');

my $end = ask('farm', collections => ['zoo']);
is($end->{error}{code}, 'collection_not_allowed',
    'a_question_that_names_another_collection_is_refused');
like($end->{error}{message}, qr/does not answer from the collection "zoo".*ask another model/,
    'and says which, and what to do');
is(ask('farm', collections => ['farm', 'zoo'])->{error}{code},
    'collection_not_allowed', 'also beside one that it has');
is_deeply([map { ask('farm', collections => [$_])->{error}{code} }
           qw(vault nowhere)], [('collection_not_allowed') x 2],
    'which_tells_nothing_of_what_there_is');
is(ask('both', collections => ['farm', 'zoo', 'circus'])->{error}{code},
    'collection_not_allowed', 'of several, too');
$end = ask('extractive', collections => ['circus']);
is(secrets($end), 'CIRCUS', 'other models are as they were');


# rights come first

my $acme = $t->token(tenant => 'acme');
$end = ask('farm', as => $acme);
is($end->{status}, 'succeeded',
    'whoever_sees_none_of_them_is_told_that_nothing_was_found');
is_deeply($end->{citations}, [], 'with no citation');
unlike($end->{response}, qr/SECRET/, 'and no secret');

is(secrets(ask('both', as => $t->token(sub => 'carol'))), 'FARM ZOO',
    'collections of one who has documents elsewhere');
is(secrets(ask('vault', as => $t->token(sub => 'carol'))), 'VAULT',
    'a document of its owner');
$end = ask('vault');
is_deeply($end->{citations}, [], 'collections_open_nothing_to_anybody');
unlike($end->{response}, qr/SECRET/, 'not a word');


# conversations

is(secrets(ask('all', conversation_id => 'c')),
    'CIRCUS FARM ZOO', 'a turn of a model that sees more');
ask('farm', conversation_id => 'c');
my ($said) = reverse $server->requests('farm');
unlike(told($said), qr/(ZOO|CIRCUS)-SECRET/,
    'a_model_is_not_told_the_turns_of_one_that_sees_more');
ask('both', conversation_id => 'c');
($said) = reverse $server->requests('both');
like(told($said), qr/has the secrets FARM-SECRET\b/,
    'it_is_told_those_of_one_that_sees_less');
unlike(told($said), qr/CIRCUS-SECRET/, 'and of no other');
ask('all', conversation_id => 'c');
($said) = reverse $server->requests('all');
like(told($said), qr/secrets FARM-SECRET and ZOO-SECRET/,
    'one without collections is told all');


# fallback

$end = ask('away');
is(secrets($end), 'FARM',
    'a_fallback_gets_what_the_model_may_see_and_no_more');
is($end->{usage}{model}, 'both', 'it was the fallback');


# files that are wrong

sub refused {
    my ($text, $why, $name) = @_;
    my $file = $t->dir . '/wrong.conf';
    $t->write_file($file, $text =~ s/\bHERE\b/"base_url = " . $server->url/ger);
    my ($rc, undef, $err) = $t->run({ env => { TRIFECTA_MODELS => $file } },
                                    'models');
    is($rc, 1, $name);
    like($err, $why, 'and says why');
}

my $chat = "provider = openai\nHERE\n";
refused("[a]\n${chat}fallback = b\n[b]\n${chat}collections = x\n",
    qr/\[a\]: fallback = b: .*all of its collections/,
    'a_fallback_that_sees_less_is_refused');
refused("[a]\n${chat}collections = y\nfallback = b\n[b]\n${chat}"
    . "collections = x\n", qr/\[a\]: fallback = b/, 'and one that sees others');
refused("[a]\n${chat}collections = x,,y\n", qr/names of 1 to 255 bytes/,
    'an empty name');
refused("[a]\n${chat}collections = ,\n", qr/names of 1 to 255/, 'only a comma');
refused("[a]\n${chat}collections = " . join(',', 1 .. 17) . "\n",
    qr/16 names at most/, 'too many');
refused("[a]\n${chat}collections = \xff\n", qr/bytes in UTF-8/, 'no UTF-8');
refused("[a]\n${chat}retrieval = off\ncollections = x\n",
    qr/collections are for models of kind chat with retrieval/,
    'a model without documents');
refused("[a]\n${chat}kind = embedding\ndimensions = 3\ncollections = x\n",
    qr/collections are for models of kind chat/, 'a model of another kind');

my (undef, $list) = $t->run({ env => { TRIFECTA_MODELS => $models } }, 'models',
                            '--long');
like($list, qr/^both .*from the collections farm , zoo/m, 'models --long says it');

$server->stop;
$t->finish;
done_testing;
