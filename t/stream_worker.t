# What a model writes is read while it writes it, from a real sidecar; and when
# that is killed in the middle, its reader is told so and gets the answer of the
# next one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

my $t = Trifecta::Test->new(sidecars => 2, workers => 1,
    wait_fallback => '10m');
my $s = Trifecta::Test::Streams->new($t);
my $slow = $t->slow;
my $Q = '/api/v1/query';

sub lines { join ', ', map { Trifecta::Test::Streams::line($_) } @_ }

# what is not void of them

sub text {
    my $text = '';
    for my $e (@_) {
        $text = '' if $e->{event} eq 'restart';
        $text .= $e->{json}{text} if $e->{event} eq 'delta';
    }
    return $text;
}

$t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 1 },
             20);


# Word by word

{
    my $one = $s->request('POST', $Q, json => { model => 'test',
        stream => JSON::PP::true, query => 'pieces=12 every=150 say='
        . 'the quick brown fox jumps over the lazy dog and is gone' });
    my @events = $one->rest(20);
    my ($done) = grep { $_->{event} eq 'done' } @events;
    my @deltas = grep { $_->{event} eq 'delta' } @events;
    is $done->{json}{status}, 'succeeded', 'a model that writes slowly'
        or diag explain \@events;
    cmp_ok scalar @deltas, '>=', 5, 'is_read_in_pieces';
    cmp_ok $deltas[-1]{at} - $deltas[0]{at}, '>', 0.5, 'while it writes';
    is text(@events), $done->{json}{response},
        'what_was_streamed_is_what_was_stored';

    my $id = $done->{json}{query_id};
    is_deeply $done->{json}, $t->result($id)->{json}, 'and what GET says';

    my @said = grep { $_->{event} ne 'status' } @events;
    is lines($s->open($id)->rest(5)), lines(@said),
        'the_row_has_the_same_pieces';
    is lines($s->open($id, last => $said[$_]{id})->rest(5)),
        lines(@said[$_ + 1 .. $#said]), "resumed behind $said[$_]{id}"
        for 0 .. $#said - 1;
}


# A worker that dies in the middle

{
    my $id = $t->ask('pieces=12 every=100 at=6 kill=1 say='
                     . 'the quick brown fox jumps over the lazy dog',
                     model => 'test');
    my $one = $s->open($id);
    my @events = $one->rest(40);
    my ($done) = grep { $_->{event} eq 'done' } @events;
    is $done && $done->{json}{status}, 'succeeded',
        'a job whose worker was killed in mid-stream is done by another'
        or diag explain \@events;
    my @restart = grep { $_->{event} eq 'restart' } @events;
    is lines(@restart), 'restart 2-0',
        'its_reader_is_told_that_it_begins_anew';
    my ($first) = grep { $_->{event} eq 'delta' } @events;
    like $first->{id}, qr/^1-/, 'after pieces of the first attempt';
    is text(@events), $done->{json}{response},
        'and_gets_the_answer_of_the_second';
    like text(@events), qr/attempt=2/, 'of that attempt';
    is $one->proper, 1, 'and a proper end';

    my @said = grep { $_->{event} ne 'status' } @events;
    is lines($s->open($id)->rest(5)), lines(@said), 'the row says the same';
    is lines($s->open($id, last => $first->{id})->rest(5)),
        lines(grep { $_->{id} ne $first->{id} && $_->{id} ne '1-1'
                     || $_->{event} eq 'done' } @said),
        'to one who comes back, too';
}


# An answer that begins anew, and one that fails on the way

{
    my $id = $t->ask('pieces=8 every=100 void=4 say=one two three four five',
                     model => 'test');
    my @events = $s->open($id)->rest(20);
    my ($done) = grep { $_->{event} eq 'done' } @events;
    ok scalar(grep { $_->{event} eq 'restart' } @events),
        'an answer that was void';
    is text(@events), $done->{json}{response}, 'and the one that was not';
    is lines($s->open($id)->rest(5)),
        lines(grep { $_->{event} ne 'status' } @events), 'the same again';

    $id = $t->ask('pieces=8 every=100 at=4 fail=1 say=one two three four',
                  model => 'test');
    @events = $s->open($id)->rest(20);
    ($done) = grep { $_->{event} eq 'done' } @events;
    is $done && $done->{json}{status}, 'failed', 'an answer that fails';
    is lines($s->open($id)->rest(5)),
        lines(grep { $_->{event} ne 'status' } @events),
        'is replayed as far as it came';
}


# Two users of one tenant, with canaries

{
    my %who = map { $_ => $t->token(sub => $_) } qw(alice bob);
    my %one = map {
        $_ => $s->request('POST', $Q, token => $who{$_}, json => {
            model => 'test', stream => JSON::PP::true,
            query => "pieces=9 every=60 say=canary-of-$_ " x 1
                     . join ' ', ('word') x 20 }) } keys %who;
    my %got = map { my $w = $_; $w => join '', map { $_->{data} // '' }
                    $one{$w}->rest(20) } keys %who;
    like $got{alice}, qr/canary-of-alice/, 'alice has her answer';
    like $got{bob}, qr/canary-of-bob/, 'bob has his';
    unlike $got{alice}, qr/canary-of-bob/, 'nobody_hears_of_another';
    unlike $got{bob}, qr/canary-of-alice/, 'nor does bob';

    my ($id) = $got{alice} =~ /"query_id":"([^"]+)"/;
    my $res = $t->get("$Q/$id/events", token => $who{bob});
    is $res->{status}, 404, 'and_nobody_may_ask_for_it';
    unlike $res->{content}, qr/canary/, 'nothing of it';
}

$t->proc('sidecar', $_)->{killed} = 1 for 0, 1;
$t->finish;
done_testing;
