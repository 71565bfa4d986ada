# Search by vectors: what is said in other words is found, rights hold where
# the foreign passage is the nearest, a question sees one set, and a server
# that fails costs an answer nothing but the vectors.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 6, lease => '3s', heartbeat => '500ms' });
my $slow = $t->slow;

my @topics = (qr/\b(cat|feline|kitten)/i, qr/\b(bridge|span|viaduct)/i,
              qr/\b(bread|loaf|bakery)/i, qr/\b(rain|drizzle|storm)/i);
my $off = $t->dir . '/off';
my $unordered = $t->dir . '/unordered';

sub vector { map { my $re = $_; 0.01 + (() = $_[0] =~ /$re/g) } @topics }

sub embed {
    my ($c, $change) = @_;
    my $i = 0;
    $c->answer(200, { data => [map { { index => $i++,
        embedding => [$change->(vector($_))] } } @{ $c->{json}{input} }],
        usage => { prompt_tokens => 3 } });
}

sub asks { $_[0]{json}{input}[0] =~ /^Q: / }

my $server = Trifecta::Test::ModelServer->new($t,
    chat => sub { $_[0]->sse('As the passage says.') },
    small => sub {
        my ($c) = @_;
        return $c->answer(503, '{}') if asks($c) && -e $off;
        embed($c, sub { @_ });
    },
    # another view of the world: questions about cats are near to bridges
    turned => sub {
        my ($c) = @_;
        embed($c, asks($c) ? sub { @_[1, 0, 2, 3] } : sub { @_ });
    },
    slow => sub { sleep 30 if asks($_[0]); embed($_[0], sub { @_ }) },
    order => sub {
        my ($c) = @_;
        return $c->answer(500, '{}') if -e $unordered;
        my @docs = @{ $c->{json}{documents} };
        $c->answer(200, { results => [map { { index => $_,
            relevance_score => $docs[$_] =~ /canary-bread/ ? 0.9 : 0.1 } }
            reverse 0 .. $#docs] });
    },
);

my $url = $server->url;
my $conf = "[chat]\nprovider = openai\nbase_url = $url/v1\n"
    . "context = 100000\n\n";
$conf .= "[$_]\nprovider = openai\nkind = embedding\nbase_url = $url/v1\n"
    . "dimensions = 4\nquery_prefix = Q:\nquery_timeout = 1s\n"
    . "input_price = 100\n\n" for qw(small turned slow);
my $models = $t->dir . '/models.conf';
$t->write_file($models, $conf);
$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = 'chat extractive test';
$t->write_conf;
$t->start_all;

my $docs = $t->dir . '/docs';
mkdir $docs;

sub ingest {
    my ($name, $text, @args) = @_;
    $t->write_file("$docs/$name.md", "# Note $name\n\n$text\n");
    my ($rc, undef, $err) = $t->run('ingest', '--quiet', '--collection',
                                    'docs', @args, "$docs/$name.md");
    is($rc, 0, "ingest $name") or diag $err;
}

ingest('one', 'The feline sleeps on the mat. canary-feline');
ingest('two', 'A viaduct crosses the valley. canary-bridge');
ingest('three', 'The loaf was warm. canary-bread');
ingest('four', 'Drizzle all day. canary-rain');

sub trifecta {
    my ($rc, $out, $err) = $t->run(@_);
    is($rc, 0, "trifecta @_") or diag $err;
    return $out =~ s/\n$//r;
}

my $set = trifecta('embed', 'create', '--model', 'small', '--wait');

my $zoe = $t->token(sub => 'zoe');

# What the model was told, and the answer.

sub ask {
    my ($question, %o) = @_;
    my $end = $t->ask_and_wait($question, model => 'chat', token => $zoe,
                               timeout => 30 * $slow, %o);
    is($end->{status}, 'succeeded', "answered: $question") or diag explain $end;
    my ($sent) = reverse $server->requests('chat');
    return ($end, $sent->{json}{messages}[-1]{content});
}

# the canaries of a prompt, best first
sub order { $_[0] =~ /canary-(\w+)/g }

my ($end, $told) = ask('Where does that kitten feline sleep?');
is_deeply([order($told)], ['feline'], 'words find what has them');
is($end->{usage}{embedding}, undef,
    'a set that is being built is not asked');

trifecta('embed', 'switch', $set);

($end, $told) = ask('Where is my kitten?');
is((order($told))[0], 'feline', 'what_is_said_in_other_words_is_found');
is_deeply($end->{usage}{embedding}, { model => 'small', input_tokens => 3 },
    'the_usage_says_so');
cmp_ok($end->{usage}{cost}, '>', 0, 'and what it cost');
my ($asked) = grep { $_->{json}{input}[0] =~ /^Q:/ } $server->requests('small');
is($asked->{json}{input}[0], 'Q: Where is my kitten?',
    'a question is embedded as one');

is((order((ask('Any span over a river?'))[1]))[0], 'bridge',
    'so is another');


# a server that fails

$t->write_file($off, '');
($end, $told) = ask('What of that loaf?');
is_deeply([order($told)], ['bread'],
    'without_vectors_words_are_all_that_is_asked');
is_deeply($end->{usage}{embedding},
    { model => 'small', error => 'model_unavailable' },
    'and_the_usage_says_that_it_was_so');
unlink $off;
($end, $told) = ask('What of that loaf?');
is_deeply($end->{usage}{embedding}, { model => 'small', input_tokens => 3 },
    'an_answer_without_vectors_is_not_given_again');
($end, $told) = ask('What of the bakery?');
is((order($told))[0], 'bread', 'afterwards they are asked again');


# rights: whoever may not see the nearest one gets his own

ingest('hers', 'kitten kitten kitten canary-private', '--owner', 'test:alice',
       '--visibility', 'private');
ingest('vets', 'kitten kitten cat canary-group', '--owner', 'test:carol',
       '--visibility', 'groups', '--groups', 'vets');
trifecta('embed', 'run', $set, '--wait');

sub sees {
    my ($sub, $groups) = @_;
    my (undef, $prompt) = ask('Where is the kitten kitten kitten?',
        token => $t->token(sub => $sub, groups => $groups));
    return order($prompt);
}

for (['alice', [], 'private'], ['bob', [], 'feline'],
     ['bob', ['vets'], 'group'], ['alice', ['vets'], 'private'])
{
    my ($sub, $groups, $first) = @$_;
    my @order = sees($sub, $groups);
    is($order[0], $first, "$sub (@$groups): the nearest that may be seen");
    is(scalar(grep { $_ eq 'private' } @order), $sub eq 'alice' ? 1 : 0,
        "$sub (@$groups): a_private_passage_is_seen_by_its_owner_only");
    is(scalar(grep { $_ eq 'group' } @order), @$groups ? 1 : 0,
        "$sub (@$groups): a_passage_of_a_group_by_its_members_only");
    is(scalar(grep { /feline|bridge|bread|rain/ } @order), 4,
        "$sub (@$groups): and_the_others_are_all_there");
}

my $told_before = $server->requests('chat');
my $foreign = $t->ask_and_wait('Where is the kitten?', model => 'chat',
    token => $t->token(tenant => 'acme', sub => 'alice'));
unlike($foreign->{response}, qr/canary/, 'another_tenant_finds_nothing_of_it');
is(scalar(my @now = $server->requests('chat')), $told_before,
    'and no model is told of it');


# one set at a time

my $turned = trifecta('embed', 'create', '--model', 'turned', '--wait');
my %first = (small => 'feline', turned => 'bridge');
my (%seen, @wrong);

for my $round (1 .. 6) {
    my @ids = map { $t->ask("Where is my kitten, $round $_?",
                            model => 'chat', token => $zoe) } 1 .. 3;
    $t->run('embed', 'switch', $round % 2 ? $turned : $set);
    for my $id (@ids) {
        my $end = $t->wait_for_answer($id, timeout => 30 * $slow,
                                      token => $zoe);
        my $model = $end->{usage}{embedding}{model} // 'none';
        my $n = (grep { $ids[$_] eq $id } 0 .. 2)[0] + 1;
        my ($sent) = grep { $_->{json}{messages}[-1]{content}
            =~ /Question: .*, $round $n\?/ } $server->requests('chat');
        my ($first) = order($sent->{json}{messages}[-1]{content});
        $seen{$model}++;
        push @wrong, "$model: $first" if ($first{$model} // '') ne $first;
    }
}

is_deeply(\@wrong, [], 'each_question_sees_one_set_wholly_while_they_switch')
    or diag explain \%seen;
is(join(' ', sort keys %seen), 'small turned', 'and both were seen');
trifecta('embed', 'switch', $set);




# a collection's own set

my $own = trifecta('embed', 'create', '--model', 'turned', '--collection',
                   'docs', '--wait');
trifecta('embed', 'switch', $own);
($end, $told) = ask('Where is my kitten?', body => { collections => ['docs'] });
is($end->{usage}{embedding}{model}, 'turned',
    'a_question_about_one_collection_uses_its_set');
is((order($told))[0], 'bridge', 'and no other');
($end) = ask('Where is my kitten now?');
is($end->{usage}{embedding}{model}, 'small', 'others use that of the tenant');


# deadline of a question

my $tardy = trifecta('embed', 'create', '--model', 'slow', '--wait');
trifecta('embed', 'switch', $tardy);
{
    my $began = time;
    ($end, $told) = ask('What about that drizzle?');
    cmp_ok(time - $began, '<', (5 * 1 + 5) * $slow,
        'a_question_does_not_wait_for_a_slow_server');
    is($end->{usage}{embedding}{error}, 'model_unavailable', 'it says so');
    is((order($told))[0], 'rain', 'and is answered by its words');
}
trifecta('embed', 'switch', $set);


# many: the index is asked, and gives way neither to rights nor to scope

my ($acl) = map { $_->[0] } @{ $t->sql('admin', q{SELECT id FROM trifecta.acl
    WHERE tenant = 'default' AND visibility = 'tenant'}) };
my ($hers) = map { $_->[0] } @{ $t->sql('admin', q{SELECT id FROM trifecta.acl
    WHERE owner = 'test:alice'}) };
my $far = q{INSERT INTO trifecta.embedding SELECT ?, -g, ?, 1,
    l2_normalize(('[' || random() || ',' || random() || ',' || random()
    || ',' || random() || ']')::halfvec) FROM generate_series(?::int, ?::int) g};
my $near = q{INSERT INTO trifecta.embedding SELECT ?, -g, ?, 1,
    l2_normalize(('[1,' || 0.01 * random() || ',' || 0.01 * random() || ','
    || 0.01 * random() || ']')::halfvec)
    FROM generate_series(?::int, ?::int) g};
$t->sql('admin', $far, $set, $acl, 1, 21_000);
$t->sql('admin', $near, $set, $hers, 30_001, 31_000);
trifecta('embed', 'switch', $set);

my $index = "embedding_${set}_hnsw";
is($t->sql('admin', 'SELECT count(*) FROM pg_indexes WHERE indexname = ?',
           $index)->[0][0], 1, 'a_large_set_gets_its_index_before_a_switch');

sub used {
    return $t->sql('admin', 'SELECT idx_scan FROM pg_stat_user_indexes '
                   . 'WHERE indexrelname = ?', $index)->[0][0];
}

my @order = sees('bob', []);
is($order[0], 'feline',
    'a_thousand_foreign_vectors_that_are_nearer_take_no_place');
ok($t->wait_for(sub { used() > 0 }, 10 * $slow), 'the_index_was_asked');

$t->sql('admin', 'DELETE FROM trifecta.embedding WHERE chunk BETWEEN -21000 '
        . 'AND -19000');
my $used = used();
is((sees('bob', []))[0], 'feline', 'fewer are compared one by one');
sleep 1.5;
is(used(), $used, 'without_the_index');
$t->sql('admin', 'DELETE FROM trifecta.embedding WHERE chunk < 0');


# the order by a model

$t->write_file($models, $conf . "[order]\nprovider = openai\nkind = rerank\n"
    . "base_url = $url/v1\nquery_timeout = 1s\n");
$t->restart('sidecar', 0);

($end, $told) = ask('Is there a kitten?');
is((order($told))[0], 'bread', 'a_model_can_order_the_passages');
is_deeply($end->{usage}{rerank}, { model => 'order' }, 'the usage says so');
my ($sent) = $server->requests('order');
is($sent->{json}{query}, 'Is there a kitten?', 'it is told the question');
unlike(join(' ', @{ $sent->{json}{documents} }), qr/canary-(private|group)/,
    'and_only_passages_that_the_asker_may_see');

$t->write_file($unordered, '');
($end, $told) = ask('Is there any kitten?');
is((order($told))[0], 'feline', 'without_it_the_order_of_the_search_stays');
is_deeply($end->{usage}{rerank},
    { model => 'order', error => 'model_unavailable' }, 'and it says so');


# the weight of vectors

$t->write_file($models, $conf);
my $W = 'Cat, cat, cat: which loaf?';
is((order((ask($W))[1]))[0], 'bread', 'words weigh as much as vectors');

for my $weight (200, 0) {
    $t->{opt}{sidecar}{weight_vectors} = $weight;
    $t->write_conf;
    $t->restart('sidecar', 0);
    my $before = $server->requests('small');
    ($end, $told) = ask($W);
    is((order($told))[0], $weight ? 'feline' : 'bread', $weight
        ? 'weight_vectors_says_how_much_they_count' : 'without them words do');
    is(scalar(my @all = $server->requests('small')),
        $before + ($weight ? 1 : 0), $weight ? 'another_weight_asks_anew'
        : 'a_vector_that_weighs_nothing_is_not_asked_for');
}

is($end->{usage}{embedding}, undef, 'nor does the usage speak of it');
delete $t->{opt}{sidecar}{weight_vectors};
$t->write_conf;
$t->restart('sidecar', 0);


# without a set

trifecta('embed', 'retire', $set);
($end, $told) = ask('Where is that feline?');
is($end->{usage}{embedding}, undef, 'a_retired_set_is_not_asked');
is((order($told))[0], 'feline', 'words are');

$server->stop;
$t->finish;
done_testing;
