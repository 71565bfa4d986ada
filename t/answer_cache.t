# Answers that are given again: to the same question of the same user with the
# same rights about the same documents, and in no other case.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::Models ();
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 6, answer_cache => 3 });

# It says how often it was asked, and what it was shown.

my $count = sub {
    my ($c) = @_;
    my $text = $c->{json}{messages}[-1]{content};
    my ($question) = $text =~ /(?:.*\nQuestion: )?(.*)/s;
    my @canaries = $text =~ /([A-Z]+-CANARY)/g;
    sleep 3 if $question =~ /SLOW/;
    return $c->answer(503, '{}') if $question =~ /BROKEN/ && $c->{count} < 3;
    $c->sse("Answer $c->{count} @canaries.");
};

my @models = qw(one two off brief alone broken);
my $server = Trifecta::Test::ModelServer->new($t,
    (map { $_ => $count } @models),
    broken => sub { $_[0]->answer(401, '{}') },
);

my %more = (off => "cache = 0\n", brief => "cache = 1s\n",
            alone => "retrieval = off\n", broken => "fallback = extractive\n");

sub write_models {
    Trifecta::Test::Models::use_models($t, $server,
        { map { $_ => $more{$_} } @models },
        "input_price = 1000000\ntalk_timeout = 0\n");
}

write_models();
$t->start_all;

my $dir = $t->dir . '/docs';

sub document { Trifecta::Test::Models::document($t, @_) }

sub post {
    my ($query, %o) = @_;
    my $as = delete $o{as};
    return $t->post('/api/v1/query', { query => $query, model => 'one', %o },
                    $as ? (token => $as) : ())->{json}{query_id};
}

sub say {
    my ($query, %o) = @_;
    return $t->wait_for_answer(post($query, %o),
                               $o{as} ? (token => $o{as}) : ());
}

sub is_new {
    my ($end, $name) = @_;
    ok($end->{status} eq 'succeeded' && !$end->{usage}{cached}, $name)
        or diag explain $end;
    return $end;
}

sub is_old {
    my ($end, $name) = @_;
    ok($end->{status} eq 'succeeded' && $end->{usage}{cached}, $name)
        or diag explain $end;
    return $end;
}

sub entries {
    return $t->sql('admin', 'SELECT count(*) FROM trifecta.answer_cache')
        ->[0][0];
}

my $Q = 'What is the value of zyxquark?';
document('quark.md', "# About zyxquark\n\nThe value of zyxquark is 42.\n");


# the same again

my $first = is_new(say($Q), 'a question is answered');
cmp_ok($first->{usage}{cost}, '>', 0, 'and paid for');
my $again = is_old(say($Q), 'the_same_question_has_the_same_answer');
is($again->{response}, $first->{response}, 'word for word');
is_deeply($again->{citations}, $first->{citations}, 'with its citations');
is_deeply($again->{usage}, { cached => JSON::PP::true, model => 'one',
    input_tokens => 0, output_tokens => 0, total_tokens => 0 },
    'it_costs_nothing_and_says_so');
isnt($again->{query_id}, $first->{query_id}, 'it is a job of its own');
is(scalar(() = $server->requests('one')), 1, 'the model was asked once');


# another one

is_new(say("$Q "), 'a_question_that_differs_by_a_blank_is_another_one');
is_new(say(lc $Q), 'or_by_a_letter');
is_new(say($Q, model => 'two'), 'another_model_is_asked_itself');
is_new(say($Q, as => $t->token(sub => 'bob')),
    'another_user_never_gets_it');
is_new(say($Q, as => $t->token(tenant => 'acme')), 'in another tenant neither');
is_new(say($Q, as => $t->token(groups => ['staff'])),
    'nor_the_same_user_with_other_rights');
is_old(say($Q, as => $t->token(groups => ['staff'])), 'these have their own');
is_new(say($Q, as => $t->token(groups => ['a', 'b'])), 'groups');
is_old(say($Q, as => $t->token(groups => ['b', 'a'])),
    'in another order are the same groups');
is_new(say($Q, model => 'extractive'), 'what_costs_nothing_is_not_kept');
is_new(say($Q, model => 'extractive'), 'twice');
is_new(say($Q, model => 'off'), 'cache = 0:') for 1, 2;
is_new(say($Q, model => 'brief'), 'cache = 1s:');
sleep 1.2;
is_new(say($Q, model => 'brief'), 'an_old_answer_is_not_given_again');


# bounds

my @many = map { "How many zyxquark are $_?" } 1 .. 5;
say($_) for @many;
cmp_ok($t->sql('admin', 'SELECT count(*) FROM trifecta.answer_cache WHERE '
    . 'tenant = ? AND owner = ?', 'default', 'test:alice')->[0][0], '<=', 3,
    'no_user_has_more_entries_than_are_allowed');
is_old(say($many[4]), 'the newest stay');
is_new(say($many[0]), 'the oldest go');


# documents and rights

say($Q);
is_old(say($Q), 'before a change');
document('quark.md', "# About zyxquark\n\nThe value of zyxquark is 43.\n");
is_new(say($Q), 'a_document_that_changed_makes_a_new_answer');
is_old(say($Q), 'which is kept');
document('other.md', "# Something else\n\nNothing about it.\n");
is_new(say($Q), 'so_does_a_new_document');
say($Q);
unlink "$dir/other.md" or die $!;
my ($rc) = $t->run('ingest', '--delete', '--collection', 'docs',
    $dir);
is($rc, 0, 'a document was deleted');
is_new(say($Q), 'so_does_one_that_was_deleted');
say($Q);

my $text = "# About zyxquark\n\nThe value of zyxquark is 43.\n";
document('quark.md', $text, '--visibility', 'private');
is_new(say($Q), 'and_one_whose_rights_changed');
document('quark.md', $text);
is_new(say($Q), 'and changed back');
is_old(say($Q), 'nothing has changed now');
document('quark.md', $text);
is_old(say($Q), 'an_ingest_that_changes_nothing_changes_nothing');

document('staff.md', "# About canaryword\n\nThe canaryword is STAFF-CANARY.\n",
    '--owner', 'test:carol', '--visibility', 'groups', '--groups', 'staff');
my $C = 'What is the canaryword?';
my $staff = $t->token(groups => ['staff']);
like(say($C, as => $staff)->{response}, qr/STAFF-CANARY/, 'a right');
unlike(say($C)->{response}, qr/CANARY/,
    'who_has_lost_it_does_not_get_the_old_answer');
unlike(say($C, as => $t->token(sub => 'bob'))->{response}, qr/CANARY/,
    'who_never_had_it_neither');
is_old(say($C, as => $staff), 'who has it does');


# an ingest between the look and the answer

my $S = 'What is the value of zyxquark, SLOW?';
my $slow = post($S);
$t->wait_for(sub { grep { $_->{json}{messages}[-1]{content} =~ /SLOW/ }
    $server->requests('one') }, 20);
document('quark.md', "# About zyxquark\n\nThe value of zyxquark is 44.\n");
is_new($t->wait_for_answer($slow), 'it is answered from what it saw');
is_new(say($S), 'an_answer_from_old_documents_is_not_kept_for_new_ones');
is_old(say($S), 'the new one is');

my @both = map { post('What is zyxquark, SLOW and twice?') } 1, 2;
is_new($t->wait_for_answer($_), 'two at once are both asked') for @both;
is_old(say('What is zyxquark, SLOW and twice?'), 'and then it is there');


# conversations

my $F = 'Which value has zyxquark?';
is_new(say($F, conversation_id => 'a'), 'a conversation begins');
is_old(say($F), 'its_first_question_is_like_any_other');
is_old(say($F, conversation_id => 'b'), 'also in another conversation');
my $one = is_new(say('And then zyxquark?', conversation_id => 'a'),
    'a question with a history');
is_new(say('And then zyxquark?', conversation_id => 'b'),
    'is_not_answered_from_another_history');
is_new(say('And then zyxquark?', conversation_id => 'a'), 'nor from its own');
is_new(say('And then zyxquark?'), 'nor_is_it_kept_for_those_without');


# failures, deleted jobs, settings

my $fallback = say($Q, model => 'broken');
is_new($fallback, 'a fallback answered');
is($fallback->{usage}{model}, 'extractive', 'it did');
is_new(say($Q, model => 'broken'), 'which_is_not_kept');

my $N = 'xqzv wvut?';
is_new(say($N), 'no passage was found, no model was asked');
is_new(say($N), 'that is not kept either');

my $D = 'Which zyxquark is deleted?';
my $kept = is_new(say($D), 'a question');
is_old(say($D), 'is kept');
$t->request('DELETE', "/api/v1/query/$kept->{query_id}");
$t->wait_for(sub { $t->sql('admin', 'SELECT deleted IS NOT NULL FROM '
    . 'trifecta.job WHERE id = ?', $kept->{query_id})->[0][0] }, 20);
is_new(say($D), 'until_its_job_is_deleted');

is_new(say($Q, model => 'alone'), 'a model without documents');
is_old(say($Q, model => 'alone'), 'has its cache, too');
$more{alone} = "retrieval = off\ntemperature = 0.5\n";
write_models();
$t->restart('sidecar', 0);
is_new(say($Q, model => 'alone'), 'another_setting_of_the_model_asks_it_anew');

$t->{opt}{sidecar}{answer_cache} = 0;
$t->write_conf;
$t->restart('sidecar', 0);
is_new(say($Q, model => 'alone'), 'answer_cache = 0:') for 1, 2;

is($t->sql('rag', 'SELECT count(*) FROM trifecta.answer_cache')->[0][0], 0,
    'without a user there are no rows');
is(scalar(grep { $_->[0] !~ /^[0-9a-f]{64}$/ } @{ $t->sql('admin',
    q{SELECT encode(key, 'hex') FROM trifecta.answer_cache}) }), 0,
    'an_entry_holds_no_text');

$server->stop;
$t->finish;
done_testing;
