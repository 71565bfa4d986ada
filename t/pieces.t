# Answers on their way: text leaves as the model writes it, and what has left
# is the answer that is stored, word for word, whatever became of the model.
# The model servers are scripted; everything else is real.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Encode qw(decode);
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 6, lease => '3s', heartbeat => '500ms' });
my $pause = 0.4 * $t->slow;
my $gate = $t->dir . '/gate';
my $thinks = sub { sleep 0.05 until -e $gate; $_[0]->sse('It is so.') };

my $heard = $t->dir . '/heard';       # what the model that breaks off has said
my $server = Trifecta::Test::ModelServer->new($t,
    slow   => sub { $_[0]->slowly($pause, 'The default ', 'of quux_read_time',
                                  'out is 60s [', '1', ']. Fin', 'e?') },
    canary => sub { $_[0]->slowly(0.05, 'Look at ', 'ht', 'tps://evil.exam',
                                  'ple/?q=CANARY', ' and ', '![x', '](//evil/',
                                  'CANARY) or <scr', 'ipt> it [7', '7].') },
    nothing => sub { $_[0]->slowly(0.1, ' "', 'NOT ', 'FOU', 'ND', '."') },
    almost => sub { $_[0]->slowly(0.1, 'NOT ', 'FOUND in a book, ',
                                  'but on the moon.') },
    bytes  => sub {
        my ($c) = @_;
        my $text = 'data: ' . JSON::PP->new->utf8->encode({ choices => [{
            delta => { content => 'Grüße, 世界 🙂 ' } }] }) . "\n\n";
        $c->head(200, 'text/event-stream');
        for (split //, $text) { $c->put($_); sleep 0.002 }
        $c->chunk('é');
        $c->done;
    },
    breaks => sub { $_[0]->head(200, 'text/event-stream');
                    $_[0]->chunk("CANARY $_ ") for 1 .. 5;
                    $t->wait_for(sub { -e $heard }, 30); },
    whole  => sub { $_[0]->answer(200, { choices => [{ message => {
                        content => 'The default is 60s [1].' },
                        finish_reason => 'stop' }], usage => {
                        prompt_tokens => 2, completion_tokens => 1 } }) },
    lines  => sub { $_[0]->lines('from ', 'an ', 'ollama') },
    looks => $thinks, bare => $thinks,
);

my @models = qw(slow canary nothing almost bytes breaks whole lines looks bare);
my $models = $t->dir . '/models.conf';
my %more = (breaks => "fallback = slow\n", lines => "provider = ollama\n",
            bare => "retrieval = off\n");

$t->write_file($models, join '', map {
    "[$_]\nbase_url = " . $server->url . ($_ eq 'lines' ? '' : '/v1') . "\n"
    . ($more{$_} // '')
    . (($more{$_} // '') =~ /provider/ ? '' : "provider = openai\n") . "\n"
} @models);

$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = "@models extractive test";
$t->write_conf;
$t->start_all;

my $docs = $t->dir . '/docs';
mkdir $docs or die;
$t->write_file("$docs/quux.md", <<'END');
# quux_read_timeout

The default of quux_read_timeout is 60s. It is set between two successive
read operations.
END
my ($status) = $t->run('ingest', '--collection', 'docs', $docs);
is($status, 0, 'documents are there');

my $question = 'What is the default of quux_read_timeout?';


# What a job has said so far: a list of [attempt, n, type, text].

sub said {
    my ($id) = @_;
    return map {
        my ($key, $fields) = @$_;
        my %f = @$fields;
        [split(/-/, $key), $f{t}, decode('UTF-8', $f{d})]
    } @{ $t->redis('XRANGE', "{trifecta:0}:ev:$id", '-', '+') // [] };
}

# The text that counts: what came since the last reset of the last attempt.

sub text_of {
    my ($text, $attempt) = ('', 0);
    for (@_) {
        my ($a, undef, $type, $d) = @$_;
        $text = '' if $a != $attempt || $type eq 'r';
        $attempt = $a;
        $text .= $d if $type eq 'd';
    }
    return $text;
}

sub types_of { join '', map $_->[2], @_ }

sub ends {
    my ($id) = @_;
    return $t->wait_for_answer($id, timeout => 60 * $t->slow);
}

# What left is the beginning of the answer, and the row can be cut again as it
# was cut live.

sub holds {
    my ($id, $end, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @said = said($id);

    is($end->{status}, 'succeeded', "$name: succeeded")
        or diag explain $end;
    is(text_of(@said), substr($end->{response}, 0, length text_of(@said)),
        "$name: what left is the answer");
    return @said;
}


# a model that writes slowly

{
    my $id = $t->ask($question, model => 'slow');
    my @early;

    $t->wait_for(sub { @early = said($id); text_of(@early) ne '' },
                 20 * $t->slow);
    is($t->result($id)->{json}{status}, 'running',
        'text_leaves_while_the_model_still_writes');
    is(substr(types_of(@early), 0, 2), 'sd',
        'the_search_is_said_to_be_over_before_any_text');
    unlike(text_of(@early), qr/\[/, 'a_mark_waits_until_it_is_whole');

    my $end = ends($id);
    is($end->{response},
        'The default of quux_read_timeout is 60s [1]. Fine?', 'the answer');
    my @said = holds($id, $end, 'a slow model');
    is($end->{citations}[0]{n}, 1, 'with its citation');
    is_deeply([map $_->[1], @said], [1 .. @said], 'events have no gap');

    my ($deltas) = @{ $t->sql('admin', 'SELECT deltas FROM '
        . 'trifecta.job_result WHERE job = ?', $id)->[0] };
    ok(defined $deltas, 'where it was cut is stored');
}


# that there was a search is worth a call to Redis, that there was none is not

{
    my %id = map { $_ => $t->ask($question, model => $_) } qw(looks bare);
    ok($t->wait_for(sub { types_of(said($id{looks})) eq 's'
                          && $server->requests('bare') }, 20 * $t->slow),
        'a_search_is_told_before_the_model_writes');
    sleep 0.5;
    is(types_of(said($id{bare})), '', 'where_nothing_is_searched_nothing_is_told');
    $t->write_file($gate, '');
    holds($id{$_}, ends($id{$_}), $_) for sort keys %id;
    $t->wait_for(sub { types_of(said($id{bare})) ne '' }, 5);
    like(types_of(said($id{bare})), qr/^(sd+)?$/,
        'but_with_the_first_text_it_is');
}


# what must not be seen is not seen on the way either

{
    my $id = $t->ask($question, model => 'canary');
    my $end = ends($id);
    my @said = holds($id, $end, 'an obedient model');
    unlike(join('', map $_->[3], @said), qr/CANARY|evil|<scr|\[7/,
        'what_may_not_be_served_does_not_leave_either');
    is($end->{response},
        'Look at [link removed] and x or &lt;script> it .',
        'nor is it in the answer');
}
{
    my $id = $t->ask($question, model => 'nothing');
    my $end = ends($id);
    my @said = holds($id, $end, 'a model that finds nothing');
    like($end->{response}, qr/did not find/, 'is served as such');
    is(types_of(@said), 's', 'nothing_of_NOT_FOUND_leaves');

    $id = $t->ask($question, model => 'almost');
    $end = ends($id);
    holds($id, $end, 'a model that seems to find nothing');
    is($end->{response}, 'NOT FOUND in a book, but on the moon.',
        'what_only_begins_like_it_is_an_answer');
}
{
    my $id = $t->ask($question, model => 'bytes');
    my $end = ends($id);
    holds($id, $end, 'a character in pieces');
    is($end->{response}, 'Grüße, 世界 🙂 é', 'is whole when it leaves');
}
for my $model (qw(whole lines)) {
    my $id = $t->ask($question, model => $model);
    holds($id, ends($id), "the model $model");
}


# models that give up

{
    my $id = $t->ask($question, model => 'breaks');
    $t->wait_for(sub { types_of(said($id)) =~ /d/ }, 20);
    $t->write_file($heard, '');
    my $end = ends($id);
    my @said = holds($id, $end, 'a model that breaks off');
    like(types_of(@said), qr/^sd+rd+$/,
        'what_a_model_left_that_gave_up_is_void');
    unlike($end->{response}, qr/CANARY/, 'and the fallback answers');
    is($end->{usage}{model}, 'slow', 'which usage says');
}
{
    my $id = $t->ask('flaky=1 at=2 every=200 stream=one |two |three', model => 'test');
    my $end = ends($id);
    my @said = holds($id, $end, 'a second attempt');
    is($end->{response}, 'one two three', 'answers');
    is_deeply([sort { $a <=> $b } keys %{{ map { $_->[0] => 1 } @said }}],
        [1, 2], 'each_attempt_has_events_of_its_own');
}
{
    my $id = $t->ask('void=2 every=200 stream=one |two |three',
                     model => 'test');
    my $end = ends($id);
    my @said = holds($id, $end, 'an answer that begins anew');
    is($end->{response}, 'one two three', 'is there once');
    is($t->sql('admin', "SELECT streamed->'earlier'->0->>0 FROM trifecta.job "
        . 'WHERE id = ?', $id)->[0][0], 'one ', 'what is void is remembered');
}
{
    my $id = $t->ask('every=200 stream=one |two |three |' . 'x|' x 100,
                     model => 'test');
    $t->wait_for(sub { text_of(said($id)) =~ /two/ }, 20 * $t->slow);
    $t->request('POST', "/api/v1/query/$id/cancel");
    is(ends($id)->{status}, 'cancelled', 'a cancel ends it on its way');
    like(text_of(said($id)), qr/^one two /, 'what was said was said');
}


# what is there at once

{
    my $id = $t->ask($question, model => 'extractive');
    my $end = ends($id);
    is_deeply([said($id)], [], 'a_quotation_is_there_at_once');

    $id = $t->ask($question, model => 'whole');
    $end = ends($id);
    ok($end->{usage}{cached}, 'an answer from before');
    is_deeply([said($id)], [], 'is_there_at_once_too');

    $id = $t->ask('say=hello', model => 'test');
    ends($id);
    is_deeply([said($id)], [], 'and so is any other');
}

$server->stop;
$t->finish;
done_testing;
