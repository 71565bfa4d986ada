# GET /api/v1/query/{id}/events: what a job says while it runs is told as it
# says it, in order, each once, and in the end its answer; whoever comes late
# or comes again gets the same events with the same ids.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

my $t = Trifecta::Test->new(sidecars => 0, workers => 1,
    wait_fallback => '10m', pg_conf => 'fsync = off',
    redis_conf => 'appendfsync no');
my $s = Trifecta::Test::Streams->new($t);
my $Q = '/api/v1/query';

# "at once", with five times its value; nothing looks by itself for minutes
my $soon = 5;

sub lines { join ', ', map { Trifecta::Test::Streams::line($_) } @_ }

sub same {
    my ($got, $want, $name) = @_;
    is(join("\n", @$got), join("\n", @$want), $name);
}

$t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 1 },
             20);


# A job from its first word to its last

{
    my $id = $t->ask('x');
    my $one = $s->open($id);
    my $e = $one->next($soon);
    is $e->{event}, 'status', 'the_first_event_is_how_the_job_stands';
    is $e->{json}{status}, 'queued', 'it is queued';
    is_deeply $e->{json}, $t->result($id)->{json}, 'as GET says it';
    is $e->{id}, undef, 'which is no place to go on from';
    is $one->{status}, 200, 'the status';
    is $one->header('content-type'), 'text/event-stream', 'Content-Type';
    is $one->header('cache-control'), 'no-store', 'Cache-Control';
    is $one->header('x-accel-buffering'), 'no', 'X-Accel-Buffering';
    is $one->header('content-encoding'), undef, 'not compressed';
    like $one->header('x-request-id'), qr/^req_/, 'X-Request-Id';
    is $one->{retry}, 1000, 'a client that lost it comes again in a second';

    $s->claim($id);
    $e = $one->next($soon);
    is $e->{json}{status}, 'running', 'a_new_state_is_told';

    $s->emit($id, 1, 1, 's', '');
    is lines($one->next($soon)), 'search 1-1', 'the search';
    $s->emit($id, 1, 2, 'd', 'Hello');
    is lines($one->next($soon)), 'delta 1-2 Hello', 'a_piece_is_told_at_once';
    $s->emit($id, 1, 3, 'd', ", \"w\x{c3}\x{b6}r", 4, 'd', "ld\"\n");
    is $one->next($soon)->{json}{text}, ", \"w\x{f6}r", 'what JSON escapes';
    is $one->next($soon)->{json}{text}, "ld\"\n", 'and what it must';
    is $t->metrics->{trifecta_streams}, 1, 'a stream is open';

    # what was stored is one letter off; the client must not believe it

    $s->end($id, "Hallo, \"w\x{f6}rld\"\n", [5, 11, 15],
            streamed => { search => JSON::PP::true });
    is $one->next($soon), undef, 'nothing more is told';
    is $one->proper, 0, 'a_stored_answer_that_differs_cuts_the_stream';
    is $t->metrics->{'trifecta_stream_cuts_total{reason="server"}'}, 1,
        'which is counted';
    like $t->log_of('error'), qr/what was said is not what was stored/,
        'and logged';

    # some of it was never sent, and some is behind the pieces

    $id = $s->job;
    $one = $s->open($id);
    $s->emit($id, 1, 1, 's', '', 2, 'd', 'Hello', 3, 'd', ', wor');
    $one->said($soon) for 1 .. 3;
    $s->end($id, 'Hello, world and more', [5, 10, 12, 16],
            streamed => { search => JSON::PP::true });
    my @rest = $one->rest($soon);
    is lines(@rest), 'delta 1-4 ld, delta 1-5  and, delta 1-6  more, done done',
        'what_was_not_sent_is_told_from_the_row';
    is_deeply $rest[-1]{json}, $t->result($id)->{json},
        'the_last_event_has_the_body_of_get';
    is $one->proper, 1, 'and a proper end';
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 0
                          && $t->metrics->{trifecta_waiters} == 0 }, 5),
        'nothing is left';
}


# The same events, whenever and from wherever

{
    my @pieces = map { "piece $_ " } 1 .. 9;
    my $id = $s->job;
    my ($n, $end, @ends) = (1, 0);

    $s->emit($id, 1, 1, 's', '');
    $s->emit($id, 1, ++$n, 'd', $_) for @pieces;
    push @ends, $end += length for @pieces;

    my $live = $s->open($id);
    my @live = map { Trifecta::Test::Streams::line($live->said($soon)) }
               1 .. 10;
    is scalar(grep { /^delta 1-\d+ piece/ } @live), 9, 'nine pieces, live';

    my @late = map { my $k = $_;
        my $one = $s->open($id, last => "1-$k");
        [$one, map { Trifecta::Test::Streams::line($one->said($soon)) }
               $k + 1 .. 10] } 0 .. 10;
    same([@{ $late[$_] }[1 .. $#{ $late[$_] }]], [@live[$_ .. 9]],
         "resumed_behind_1-${_}_while_it_runs") for 0 .. 10;

    $s->end($id, join('', @pieces), \@ends,
            streamed => { search => JSON::PP::true });
    same([$_->[0]->lines($soon)], ['done done'], 'and then the end')
        for [$live], @late;

    same([$s->open($id)->lines($soon)], [@live, 'done done'],
         'replayed_from_the_row_with_the_same_ids');
    same([$s->open($id, last => "1-$_")->lines($soon)],
         [@live[$_ .. 9], 'done done'], "resumed_behind_1-${_}_after_the_end")
        for 0 .. 10;

    # Redis forgets it, then all of it

    $t->redis('DEL', "{trifecta:0}:ev:$id");
    same([$s->open($id, last => '1-3')->lines($soon)],
         [@live[3 .. 9], 'done done'], 'without its events in Redis');
    $t->redis('DEL', "{trifecta:0}:j:$id");
    same([$s->open($id)->lines($soon)], [@live, 'done done'],
         'and without the job');

    my $res = $t->get("$Q/$id/events", headers => {
        'Last-Event-ID' => 'done' });
    is $res->{status}, 204, 'whoever_has_the_end_gets_204';
    is $res->{content} // '', '', 'and nothing';
    $res = $t->get("$Q/$id/events", headers => { 'Last-Event-ID' => $_ }),
    is($res->{status}, 400, "\"$_\" is no id of an event"),
    is($res->{json}{error}{param}, 'Last-Event-ID', 'and the answer says so')
        for '7', 'x-1', '1-', '-1', '1-99999999999999999999', '1-1-1';

    is $s->open($id, last => '')->next($soon)->{id}, '1-1',
        'an empty one is none';
}


# Another attempt, and an attempt that begins anew

{
    my $id = $s->job;
    my $one = $s->open($id);

    $s->emit($id, 1, 1, 's', '', 2, 'd', 'one', 3, 'd', 'two');
    $one->said($soon) for 1 .. 3;
    $s->again($id);
    $s->emit($id, 2, 1, 's', '', 2, 'd', 'three');
    is lines(map { $one->said($soon) } 1 .. 3),
        'restart 2-0, search 2-1, delta 2-2 three',
        'another_attempt_begins_with_a_restart';
    $s->emit($id, 2, 3, 'r', '', 4, 'd', 'four');
    is lines(map { $one->said($soon) } 1 .. 2),
        'restart 2-3, delta 2-4 four', 'so_does_an_attempt_that_begins_anew';

    my @all = ('search 1-1', 'delta 1-2 one', 'delta 1-3 two', 'restart 2-0',
        'search 2-1', 'delta 2-2 three', 'restart 2-3', 'delta 2-4 four');
    my $late = $s->open($id);
    same([map { Trifecta::Test::Streams::line($late->said($soon)) } @all],
         \@all, 'who comes late gets all of it');

    $s->end($id, 'four, five', [4, 10], streamed => {
        search => JSON::PP::true,
        earlier => [['one', 'two'], ['three']],
        marks => [[1, 1], [2, 1], [2, 0]] });
    push @all, 'delta 2-5 , five', 'done done';
    same([$_->lines($soon)], [@all[-2, -1]], 'the end') for $one, $late;

    same([$s->open($id)->lines($soon)], \@all, 'the_row_has_the_same_events');

    my @ids = map { (split)[1] } @all;
    same([$s->open($id, last => $ids[$_])->lines($soon)],
         [@all[$_ + 1 .. $#all]], "resumed_behind_$ids[$_]")
        for 0 .. $#ids - 1;

    # the client has heard of an attempt that nobody knows any more

    $id = $s->job;
    $s->again($id);
    $s->end($id, 'so', undef);
    same([$s->open($id, last => '1-9')->lines($soon)],
         ['restart 2-0', 'delta 2-1 so', 'done done'],
         'what is void is said to be, even if nobody knows what it was');
}


# Ends that are no success

{
    my $id = $s->job;
    my $one = $s->open($id);
    $s->emit($id, 1, 1, 'd', 'half an');
    is lines($one->said($soon)), 'delta 1-1 half an', 'half an answer';
    $s->end($id, undef, undef, state => 'failed',
            streamed => { last => ['half an', ' answ'] });
    my @rest = $one->rest($soon);
    is lines(@rest), 'delta 1-2  answ, done done', 'a_failed_job_is_done';
    is $rest[-1]{json}{status}, 'failed', 'with the state';
    is lines($s->open($id)->rest($soon)),
        'delta 1-1 half an, delta 1-2  answ, done done', 'the same again';

    $id = $t->ask('x');
    $one = $s->open($id);
    $one->next($soon);
    $t->request('POST', "$Q/$id/cancel");
    @rest = $one->rest($soon);
    is lines(@rest), 'done done', 'a_job_that_is_cancelled_is_done';
    is $rest[-1]{json}{status}, 'cancelled', 'with that state';
    is_deeply $rest[-1]{json}, $t->result($id)->{json}, 'as GET says';

    $id = $s->job;
    $one = $s->open($id);
    $s->emit($id, 1, 1, 'd', 'secret');
    $one->said($soon);
    is $t->request('DELETE', "$Q/$id")->{status}, 200, 'deleted';
    @rest = $one->rest($soon);
    is lines(@rest), 'gone done', 'a_job_that_is_deleted_is_gone';
    is_deeply $rest[-1]{json}, { query_id => $id, deleted => JSON::PP::true },
        'and says so';
    is $one->proper, 1, 'properly';

    my $res = $t->get("$Q/$id/events");
    is $res->{status}, 410, 'and_later_it_is_410';
    is $res->{code}, 'gone', 'gone';

    $id = $s->whole('so');
    $res = $t->get("$Q/$id/events", token => $t->token(sub => 'bob'));
    is $res->{status}, 404, 'to_somebody_else_it_is_404';
    is $res->{code}, 'not_found', 'not found';
    is $t->get("$Q/$id/events",
               token => $t->token(tenant => 'acme'))->{status}, 404,
        'in another tenant, too';
    is $t->get("$Q/$id/events", token => undef)->{status}, 401,
        'without a token 401';
    is $t->get("$Q/nothing/events")->{status}, 404, 'what is no id is 404';
    $res = $t->post("$Q/$id/events", {});
    is $res->{status}, 405, 'POST is 405';
    is $res->{headers}{allow}, 'GET', 'Allow: GET';

    $id = $s->job;
    $t->redis('DEL', "{trifecta:0}:j:$id");
    is $t->get("$Q/$id/events")->{status}, 410, 'what no store knows is 410';
}


# Large, and odd

{
    my @pieces = map { sprintf '%05d' . 'x' x 200, $_ } 1 .. 2000;
    my $id = $s->job;
    my $n = 0;

    while (my @some = splice @{ [@pieces] }, $n, 100) {
        $s->emit($id, 1, map { (++$n, 'd', $_) } @some);
    }

    my $one = $s->open($id);
    my @got = map { $one->said($soon)->{json}{text} } @pieces;
    same(\@got, \@pieces, 'two_thousand_pieces_in_one_go');
    my ($end, @ends) = (0);
    push @ends, $end += length for @pieces;
    $s->end($id, join('', @pieces), \@ends);
    is lines($one->rest($soon)), 'done done', 'the end';
    @got = $s->open($id)->rest($soon);
    is scalar @got, 2001, 'and again from the row';
    is join('', map { $_->{json}{text} // '' } @got), join('', @pieces),
        'all of it';

    $id = $s->whole('');
    is lines($s->open($id)->rest($soon)), 'search 1-1, done done',
        'an answer without a letter';
    $id = $s->job;
    $s->end($id, 'all at once', undef);
    is lines($s->open($id)->rest($soon)), 'delta 1-1 all at once, done done',
        'an_answer_that_was_not_streamed_is_one_piece';

    # many of one job are one subscription

    $id = $s->job;
    my @many = map { $s->open($id) } 1 .. 20;
    $_->next($soon) for @many;
    is $t->metrics->{trifecta_subscriptions}, 1, 'one subscription for twenty';
    is $t->metrics->{trifecta_streams}, 20, 'streams';
    $s->emit($id, 1, 1, 'd', 'x');
    is lines(map { $_->said($soon) } @many),
        join(', ', ('delta 1-1 x') x 20), 'and all hear';
    $_->close for @many;
    ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 0
                          && $t->metrics->{trifecta_subscriptions} == 0 }, 5),
        'a_client_that_leaves_takes_its_stream_with_it';
    $s->end($id, 'x', undef);
}


# A question whose events are the answer

{
    my $ask = sub {
        my ($body, %headers) = @_;
        return $s->request('POST', $Q, json => { query => 'x', %$body },
                           headers => \%headers);
    };

    for my $case (['"stream": true', { stream => JSON::PP::true }],
                  ['Accept: text/event-stream', {},
                   Accept => 'text/event-stream'],
                  ['it among others', {},
                   Accept => 'application/json, text/Event-Stream;q=0.5'])
    {
        my ($name, $body, %headers) = @$case;
        my $one = $ask->($body, %headers);
        my $e = $one->next($soon);
        my $id = $e->{json}{query_id} // '';
        is $one->{status}, 200, "${name} is answered with a stream";
        is $one->header('content-type'), 'text/event-stream', 'of events';
        is $one->header('content-location'), "$Q/$id/events",
            'which is at another path';
        is $e->{json}{status}, 'queued', 'the job is queued';
        $s->claim($id);
        $s->emit($id, 1, 1, 'd', 'one');
        is lines($one->said($soon)), 'delta 1-1 one', 'it says something';
        $s->end($id, 'one', [3]);
        is lines($one->rest($soon)), 'done done', 'and ends';
        same([$s->open($id, last => '1-0')->lines($soon)],
             ['delta 1-1 one', 'done done'], 'it can be had again');
    }

    for my $case (['"stream": false', { stream => JSON::PP::false }],
                  ['Accept: */*', {}, Accept => '*/*'],
                  ['a type that begins alike', {},
                   Accept => 'text/event-stream2, text/event'])
    {
        my ($name, $body, %headers) = @$case;
        is $ask->($body, %headers)->head($soon), 202, "${name} is not";
    }

    # the same question again

    my %key = ('Idempotency-Key' => 'k1');
    my $one = $ask->({ stream => JSON::PP::true }, %key);
    my $id = $one->next($soon)->{json}{query_id};
    my $two = $ask->({ stream => JSON::PP::true }, %key);
    is $two->next($soon)->{json}{query_id}, $id,
        'a_repetition_streams_the_same_job';
    is $two->header('idempotency-replayed'), 'true', 'and says so';
    is $two->header('content-location'), "$Q/$id/events", 'and where it is';
    $s->claim($id);
    $s->emit($id, 1, 1, 'd', 'x');
    is lines(map { $_->said($soon) } $one, $two), 'delta 1-1 x, delta 1-1 x',
        'both hear';

    # a client that goes away takes nothing with it

    $_->close for $one, $two;
    $t->wait_for(sub { $t->metrics->{trifecta_streams} == 0 }, 5);
    is $t->result($id)->{json}{status}, 'running',
        'a_job_goes_on_without_its_client';
    $s->end($id, 'x', [1]);

    # no room for streams: the job is there all the same

    $t->{opt}{max_waiters} = 1;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 20);
    $t->wait_for(sub {
        $t->metrics->{trifecta_subscriber_ready_workers} == 1 }, 20);
    $id = $s->job;
    $one = $s->open($id);
    isnt $one->next($soon), undef, 'there is room for one';
    my $res = $t->get("$Q/$id/events");
    is $res->{status}, 503, 'a_stream_beyond_max_waiters_is_503';
    is $res->{code}, 'queue_unavailable', 'queue_unavailable';
    is $res->{headers}{'retry-after'}, 1, 'Retry-After';
    $res = $t->post($Q, { query => 'x', stream => JSON::PP::true });
    is $res->{status}, 202, 'a_question_beyond_it_is_202';
    ok $res->{json}{query_id}, 'with its job';
    $s->end($id, 'so', undef);
    is lines($one->rest($soon)), 'delta 1-1 so, done done', 'the one ends';
    $t->{opt}{max_waiters} = 10000;
    $t->write_conf;
    @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 20);
    $t->wait_for(sub {
        $t->metrics->{trifecta_subscriber_ready_workers} == 1 }, 20);
}


# Requests that only want the end are not woken by pieces

{
    my $id = $s->job;
    my $before = $t->metrics->{trifecta_redis_commands_total};
    my $poll = $s->request('GET', "$Q/$id", headers => {
        Prefer => 'wait=60' });
    $t->wait_for(sub { $t->metrics->{trifecta_waiters} == 1 }, 5);
    sleep 0.2;
    my $reads = $t->metrics->{trifecta_redis_commands_total};
    $s->emit($id, 1, $_, 'd', 'x') for 1 .. 20;
    sleep 0.3;
    cmp_ok $t->metrics->{trifecta_redis_commands_total} - $reads, '<=', 2,
        'who_waits_for_the_end_is_not_woken_by_pieces';
    $s->end($id, 'x' x 20, [1 .. 20]);
    is $poll->head(5), 200, 'but by the end';
}

$t->finish;
done_testing;
