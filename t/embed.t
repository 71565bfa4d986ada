# Embedding sets: built beside the one that is used, by jobs that can stop
# and go on anywhere; only what changed is embedded again; nobody's vectors
# are seen by somebody who may not see the passage.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 6, lease => '3s', heartbeat => '500ms' });
my $slow = $t->slow;

# What a text is about: one number a topic, whatever the words.

my @topics = (qr/\b(cat|feline|kitten)/i, qr/\b(bridge|span|viaduct)/i,
              qr/\b(bread|loaf|bakery)/i, qr/\b(rain|drizzle|storm)/i);

sub vector {
    my ($text) = @_;
    return [map { my $re = $_; 0.01 + (() = $text =~ /$re/g) } @topics];
}

sub good {
    my ($c) = @_;
    my $i = 0;
    $c->answer(200, { data => [map { { index => $i++,
        embedding => vector($_) } } @{ $c->{json}{input} }],
        usage => { prompt_tokens => 10 * @{ $c->{json}{input} } } });
}

my $gate = $t->dir . '/gate';

my $server = Trifecta::Test::ModelServer->new($t,
    small => \&good,
    other => \&good,
    flaky => sub { $_[0]{count} % 2 ? $_[0]->answer(503, '{}') : good($_[0]) },
    picky => sub {
        grep(/unspeakable/, @{ $_[0]{json}{input} })
            ? $_[0]->answer(400, { error => { message => 'no' } })
            : good($_[0]);
    },
    gated => sub { sleep 0.1 until -e $gate; good($_[0]) },
    parted => \&good,
);

my $conf = '';
$conf .= "[$_]\nprovider = openai\nkind = embedding\nbase_url = "
    . $server->url . "/v1\ndimensions = 4\nbatch = 4\n\n"
    for qw(small other flaky picky gated parted);
my $models = $t->dir . '/models.conf';
$t->write_file($models, $conf);
$t->{opt}{sidecar}{models} = $models;
$t->write_conf;
$t->start_all;

sub texts { map { @{ $_->{json}{input} } } $server->requests($_[0]) }

sub embed {
    my ($rc, $out, $err) = $t->run('embed', @_);
    is($rc, 0, "embed @_") or diag $err;
    return $out;
}

sub refused {
    my ($why, @args) = @_;
    my ($rc, undef, $err) = $t->run('embed', @args);
    isnt($rc, 0, "refused: embed @args");
    like($err, $why, '... and says why');
}

sub status {
    my ($set, @more) = @_;
    my (undef, $out) = $t->run('embed', 'status', $set, '--json', @more);
    return (JSON::PP->new->utf8->decode($out || '[]'))->[0] || {};
}

sub whole {
    my ($set, $name) = @_;
    my $s;
    ok($t->wait_for(sub { $s = status($set); ($s->{missing} // 1) == 0 },
                    30 * $slow), $name) or diag explain $s;
    return $s;
}

my $docs = $t->dir . '/docs';
mkdir $docs;

# each section is a chunk of its own
sub sections {
    my (@texts) = @_;
    my $n = 0;
    return join '', map { $n++; "# Section $n\n\n$_ " . "Filler word $n. " x 80
                          . "\n\n" } @texts;
}

my @texts = ('The feline sat on the mat.', 'A viaduct crosses the valley.',
             'The loaf was warm.', 'Drizzle all day.', 'Nothing here.');
$t->write_file("$docs/a.md", sections(@texts));

sub ingest {
    my (@args) = @_;
    my ($rc, undef, $err) = $t->run('ingest', '--quiet', @args);
    is($rc, 0, "ingest @args") or diag $err;
}

ingest('--collection', 'docs', $docs);
my $chunks = $t->sql('admin', 'SELECT count(*) FROM trifecta.chunk')->[0][0];
cmp_ok($chunks, '>=', 5, 'there are some chunks');


# a set

is(($t->run('embed', '--help'))[0], 0, 'help');
refused(qr/no model "nobody" of kind embedding/, 'create', '--model', 'nobody');
refused(qr/"embed create" needs --model/, 'create');
refused(qr/no collection "oops"/, 'create', '--model', 'small',
        '--collection', 'oops');
refused(qr/has no set 77/, 'switch', 77);

my $set = embed('create', '--model', 'small', '--wait');
chomp $set;
my $s = status($set);
is_deeply([@$s{qw(status model dimensions collection passages missing tokens)}],
    ['building', 'small', 4, undef, $chunks, 0, 10 * $chunks],
    'create_fills_a_set');
is(scalar(texts('small')), $chunks, 'each_passage_is_embedded_once');
ok(scalar(grep { /Section 1\n.*feline/s } texts('small')),
    'with the headings above it');
is($t->sql('admin', 'SELECT count(*) FROM trifecta.embedding WHERE set = ?',
           $set)->[0][0], $chunks, 'a row each');

refused(qr/is building.*retire/s, 'delete', $set);
embed('switch', $set);
is(status($set)->{status}, 'live', 'switch_makes_it_live');


# only what changed

$texts[2] = 'The bakery burnt its bread.';
$t->write_file("$docs/a.md", sections(@texts));
ingest('--collection', 'docs', $docs);
whole($set, 'new_passages_are_embedded_by_themselves');
is(scalar(texts('small')), $chunks + 1,
    'a_changed_paragraph_re_embeds_only_its_chunk');
like((texts('small'))[-1], qr/bakery/, 'that one');
is(status($set)->{passages}, $chunks, 'and the old vector went');

$t->write_file("$docs/b.md", sections('Kittens play.', 'A storm.'));
ingest('--collection', 'docs', $docs);
whole($set, 'a_new_document_is_embedded_for_a_live_set');
$chunks = status($set)->{passages};

unlink "$docs/b.md";
ingest('--delete', '--collection', 'docs', $docs);
$s = status($set);
cmp_ok($s->{passages}, '<', $chunks, 'vectors_go_with_their_document');
is($s->{missing}, 0, 'and nothing is missing then');
$chunks = $s->{passages};


# beside it, and then in its place

my $next = embed('create', '--model', 'gated');
chomp $next;
is(status($next)->{status}, 'building', 'a set is built beside the live one');
refused(qr/lacks \d+ passages.*embed run $next/s, 'switch', $next);
is($t->ask_and_wait('Where is the mat?', timeout => 20 * $slow)->{status},
    'succeeded', 'questions_are_answered_before_anything_is_embedded');
$t->write_file($gate, '');
whole($next, 'a_set_is_whole_when_the_server_has_come_round');
embed('switch', $next);
is_deeply([map status($_)->{status}, $set, $next], ['retired', 'live'],
    'the_switch_retires_the_one_before');

is($t->sql('admin', q{SELECT count(*) FROM trifecta.embedding_set
    WHERE status = 'live'})->[0][0], 1, 'one set is live');
ok(!eval { $t->sql('admin', q{UPDATE trifecta.embedding_set SET
    status = 'live'}); 1 }, 'the_database_refuses_two_live_sets_of_a_tenant');

embed('switch', $set);
is_deeply([map status($_)->{status}, $set, $next], ['live', 'retired'],
    'and it can be switched back');

my $asked = texts('gated');
$texts[0] = 'The kitten sat on the mat.';
$t->write_file("$docs/a.md", sections(@texts));
ingest('--collection', 'docs', $docs);
whole($set, 'the live one gets what is new');
is(scalar(texts('gated')), $asked, 'a_retired_set_gets_nothing_any_more');
embed('delete', $next);
is_deeply(status($next), {}, 'a retired set can be deleted');
is($t->sql('admin', 'SELECT to_regclass(?)', "trifecta.embedding_$next")
   ->[0][0], undef, 'with all of its vectors');


# servers that fail

my $flaky = embed('create', '--model', 'flaky');
chomp $flaky;
whole($flaky, 'a_server_that_fails_now_and_then_is_asked_again');
embed('retire', $flaky);
embed('delete', $flaky);

$t->write_file("$docs/c.md", sections('fine cat', 'unspeakable', 'fine too'));
ingest('--collection', 'docs', $docs);
my $picky = embed('create', '--model', 'picky', '--jobs', 1);
chomp $picky;
ok($t->wait_for(sub { status($picky)->{missing} == 1 }, 30 * $slow),
    'one_text_that_a_server_refuses_is_all_that_stays_out')
    or diag explain status($picky);
ok($t->wait_for(sub { $t->log_of('sidecar') =~ /refuses chunk \d+/ }, 5),
    'the log names it');
unlike($t->log_of('sidecar'), qr/unspeakable/, 'and not what it says');
embed('retire', $picky);

my $killed = embed('create', '--model', 'other', '--jobs', 3);
chomp $killed;
$t->kill('sidecar', 0);
$t->start('sidecar', 0);
whole($killed, 'jobs_outlive_a_worker_that_is_killed');
my $n = $t->sql('admin', 'SELECT count(*), count(DISTINCT chunk) FROM '
                . 'trifecta.embedding WHERE set = ?', $killed)->[0];
is($n->[0], $n->[1], 'nothing is there twice');
is($n->[0], $t->sql('admin', 'SELECT count(*) FROM trifecta.chunk')->[0][0],
    'and nothing is missing');


# several at once

my $parted = embed('create', '--model', 'parted', '--jobs', 4, '--wait');
chomp $parted;
is(scalar(texts('parted')), status($parted)->{passages},
    'several_jobs_at_once_embed_each_passage_once');


# one collection

mkdir "$docs-2";
$t->write_file("$docs-2/z.md", sections('A span of steel.'));
ingest('--collection', 'second', "$docs-2");
my $second = embed('create', '--model', 'small', '--collection', 'second',
                   '--wait');
chomp $second;
is(status($second)->{collection}, 'second', 'a set may be of one collection');
is(status($second)->{passages}, 1, 'and has its passages only');


# whose they are

$t->write_file("$docs-2/secret.md", sections('My feline is ill.'));
my %before = map { $_ => 1 } map { $_->[0] } @{ $t->sql('admin',
    'SELECT id FROM trifecta.chunk') };
ingest('--collection', 'second', '--owner', 'test:alice', '--visibility',
       'private', "$docs-2/secret.md");
whole($set, 'private passages are embedded, too');
my @hers = grep { !$before{$_} } map { $_->[0] } @{ $t->sql('admin',
    'SELECT id FROM trifecta.chunk') };
is(scalar @hers, 1, 'she has a passage of her own');

sub sees {
    my ($tenant, $owner) = @_;
    my $dbh = $t->dbh('rag');
    $dbh->begin_work;
    $dbh->do("SELECT set_config('trifecta.tenant', ?, true), "
        . "set_config('trifecta.owner', ?, true), "
        . "set_config('trifecta.groups', '[]', true)", {}, $tenant, $owner);
    my $n = $dbh->selectall_arrayref('SELECT count(*) FILTER (WHERE chunk = ?)'
        . ', count(*), (SELECT count(*) FROM trifecta.embedding_set) '
        . 'FROM trifecta.embedding', {}, $hers[0])->[0];
    $dbh->rollback;
    return $n;
}

cmp_ok(sees('default', 'test:alice')->[0], '>', 0, 'she sees her vectors');
is(sees('default', 'test:bob')->[0], 0,
    'a_vector_is_seen_by_whoever_sees_its_passage_only');
cmp_ok(sees('default', 'test:bob')->[1], '>', 0, 'he sees others');
is_deeply(sees('acme', 'test:alice'), [0, 0, 0],
    'another_tenant_sees_neither_vectors_nor_sets');
is_deeply(sees('', ''), [0, 0, 0], 'nor does nobody');

my (undef, $out) = $t->run('embed', 'status', '--tenant', 'acme');
like($out, qr/^no sets/, 'an operator of another tenant sees none');
refused(qr/tenant acme has no set/, 'delete', $picky, '--tenant', 'acme');
is(scalar @{ $t->sql('admin', 'SELECT 1 FROM trifecta.embedding_set WHERE id '
                     . '= ?', $picky) }, 1, 'and removes none');

my @theirs = @{ $t->sql('admin', q{SELECT id FROM trifecta.job
    WHERE kind = 'embed' AND owner = 'test:alice'}) };
cmp_ok(scalar @theirs, '>', 0, 'her passage was embedded by jobs of hers');
my $history = $t->get('/api/v1/queries', token => $t->token(sub => 'alice'));
is($history->{status}, 200, 'her history can be read');
unlike($history->{content}, qr/$theirs[0][0]/,
    'jobs_that_embed_are_not_in_a_users_history');

$server->stop;
$t->finish;
done_testing;
