# Two users of one tenant with different groups, each with the document that is
# nearest to what both ask: neither ever sees the other's, in what is found, in
# what a model is told, in citations, in answers that are given again, in a
# conversation or in the list of questions; nor does a user who changes groups.
# (Of trifecta eval t/eval_rights.t says the same.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, sidecar => { threads => 4 });

# It says all that it is shown, and cites it; its vectors make whatever has the
# word canary the nearest.

my $server = Trifecta::Test::ModelServer->new($t,
    parrot => sub {
        my ($c) = @_;
        my $text = $c->{json}{messages}[-1]{content};
        my %seen = map { $_ => 1 } $text =~ /(\w+-canary-\w+)/g;
        $c->sse(join ' ', map { "The code of the walrus is $_ [1]." }
                sort keys %seen);
    },
    vectors => sub {
        my ($c) = @_;
        my $i = 0;
        $c->answer(200, { data => [map { { index => $i++, embedding =>
            [/canary|code/ ? 1 : 0.1, /canary/ ? 0.1 : 0.2] } }
            @{ $c->{json}{input} }] });
    });

my $models = $t->dir . '/models.conf';
$t->write_file($models, join '', map { <<"END" } qw(parrot vectors));
[$_]
provider = openai
base_url = @{[$server->url]}/v1
talk_timeout = 0
@{[$_ eq 'vectors' ? "kind = embedding\ndimensions = 2" : '']}
END
$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = 'parrot extractive';
$t->write_conf;
$t->start_all;

my $dir = $t->dir . '/docs';
mkdir $dir or die $!;
my %canary;
my $Q = 'What is the code of the walrus?';

# The group's document says the question itself; that for all is farther away.

sub ingest {
    my ($name, @options) = @_;
    $canary{$name} = "$name-canary-" . join '', map { ('a' .. 'z')[rand 26] }
        1 .. 12;
    $t->write_file("$dir/$name.md", $name eq 'all'
        ? "# Note\n\nA walrus has no code, says $canary{all}.\n"
        : "# $Q\n\nThe code of the walrus is $canary{$name} today.\n", 0644);
    my ($rc, undef, $err) = $t->run('ingest', '--quiet', '--collection',
        'docs', '--owner', 'test:carol', @options, "$dir/$name.md");
    is($rc, 0, "ingested: $name") or diag $err;
}

ingest('red', '--visibility', 'groups', '--groups', 'red');
ingest('blue', '--visibility', 'groups', '--groups', 'blue');
ingest('all');
my ($rc, $set, $err) = $t->run('embed', 'create', '--model', 'vectors',
                               '--wait');
is($rc, 0, 'embedded') or diag $err;
is(($t->run('embed', 'switch', $set =~ /(\d+)/))[0], 0, 'and in use');

my %token = map { my ($who, $group) = @$_;
    ("$who $group" => $t->token(sub => $who, groups => [$group])) }
    ['alice', 'red'], ['bob', 'blue'], ['alice', 'blue'], ['bob', 'none'];
my @two = ('alice red', 'bob blue');
my %may = ('alice red' => 'red', 'bob blue' => 'blue', 'alice blue' => 'blue',
           'bob none' => 'none');

# Whose words are in all of this.

sub whose {
    my ($data) = @_;
    my $text = ref $data ? JSON::PP->new->canonical->encode($data) : $data;
    return join ' ', grep { index($text, $canary{$_}) >= 0 } sort keys %canary;
}

sub ask {
    my ($who, $model, %body) = @_;
    my $end = $t->ask_and_wait($body{query} // $Q, model => $model,
        token => $token{$who}, timeout => 30 * $t->slow, body => \%body);
    is($end->{status}, 'succeeded', "$who asks $model") or diag explain $end;
    return $end;
}

sub told {
    my ($sent) = reverse $server->requests('parrot');
    return $sent->{json}{messages}[-1]{content};
}


# search and citations

for my $who (@two) {
    my $end = ask($who, 'extractive');
    is(whose($end->{response}), "all $may{$who}",
        "$who: the_nearest_that_may_be_seen_is_found_and_no_other");
    is_deeply([grep { $_ !~ m{(^|/)(all|$may{$who})\.md$} }
               map { $_->{source} } @{ $end->{citations} }], [],
        "$who: citations_name_nothing_else");

    $end = ask($who, 'parrot');
    is(whose(told()), "all $may{$who}", "$who: a_model_is_told_of_no_other");
    is(whose($end), "all $may{$who}", "$who: so it can say no other");
    ok($end->{usage}{embedding}, "$who: by vectors as well");
}


# answers that are given again

for my $who (@two, 'alice blue', 'bob none') {
    my $first = ask($who, 'parrot', query => "$Q Again?");
    ok(!$first->{usage}{cached}, "$who: the_answer_is_that_of_nobody_else");
    my $again = ask($who, 'parrot', query => "$Q Again?");
    ok($again->{usage}{cached}, "$who: the second time it is his own");
    is(whose([$first, $again]),
        join(' ', 'all', grep { $canary{$_} } $may{$who}),
        "$who: with_what_his_groups_see_now");
}


# history: the same name of a conversation, and other groups later

ask($_, 'parrot', conversation_id => 'talk') for @two;

for my $who (@two, 'alice blue', 'bob none') {
    ask($who, 'parrot', conversation_id => 'talk',
        query => 'Which code, and of whom?');
    is(whose(told()), join(' ', 'all', grep { $canary{$_} } $may{$who}),
        "$who: a_conversation_tells_what_his_groups_see_now");
}

for my $who (@two) {
    my ($name) = split ' ', $who;
    my $list = $t->get('/api/v1/queries?limit=100', token => $token{$who});
    is($list->{status}, 200, "$who: the list");
    my @ids = map { $_->{query_id} } @{ $list->{json}{queries}
        // $list->{json}{data} // [] };
    cmp_ok(scalar @ids, '>', 5, "$who: has what he asked");
    is($t->sql('admin', 'SELECT count(*) FROM trifecta.job WHERE id = ANY (?)'
        . ' AND owner <> ?', \@ids, "test:$name")->[0][0], 0,
        "$who: a_list_of_questions_is_of_nobody_else");

    my ($other) = grep { $_ ne $who } @two;
    is_deeply([grep { $_ != 404 } map { $t->get("/api/v1/query/$_",
        token => $token{$other})->{status} } @ids], [],
        "$who: nobody else reads one of them");
}

$server->stop;
$t->finish;
done_testing;
