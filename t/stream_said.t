# What a job says reaches its streams by the message that says so: nothing is
# read for it.  A message that is lost, doubled or false costs a reading and
# changes nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    wait_fallback => '10m', pg_conf => 'fsync = off',
    redis_conf => 'appendfsync no');
$t->start_all;

my $s = Trifecta::Test::Streams->new($t);
my $P = '{trifecta:0}';
my $soon = 5 * $t->slow;

$t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 1 },
             20);

sub line { my ($e) = @_;
           return $e ? Trifecta::Test::Streams::line($e) : 'nothing' }

sub readings {
    my ($n) = $t->redis('INFO', 'commandstats')
        =~ /cmdstat_fcall_ro:calls=(\d+)/;
    return $n // 0;
}

sub listeners {
    my ($kind, $id) = @_;
    return $t->redis('PUBSUB', 'SHARDNUMSUB', "$P:$kind:$id")->[1];
}

sub listen_to {
    my ($id, $n) = @_;
    return $t->wait_for(sub { listeners('e', $id) == $n }, $soon);
}

# A stream that has read all there is, and sleeps.

sub follower {
    my ($id) = @_;
    my $one = $s->open($id);
    isnt($one->next($soon), undef, 'a stream begins');
    ok(listen_to($id, 1), 'and listens');
    sleep 0.2;
    return $one;
}


# One after the other

my $id = $s->job;
my $one = follower($id);
my $before = readings();
$s->emit($id, 1, 1, 's', '');
is line($one->said($soon)), 'search 1-1', 'the first event';
for my $n (2 .. 20) {
    $s->emit($id, 1, $n, 'd', "word $n\n");
    like line($one->said($soon)), qr/^delta 1-$n word $n/, "event $n";
}
is readings(), $before, 'what_is_said_to_a_stream_is_not_read';

# Several in one call

$s->emit($id, 1, map { ($_, 'd', "w$_ ") } 21 .. 25);
is join(', ', map { line($one->said($soon)) } 21 .. 25),
    join(', ', map { "delta 1-$_ w$_ " } 21 .. 25),
    'several_of_one_call_come_in_their_order';
is readings(), $before, 'without a reading, too';

# Large ones are read

$s->emit($id, 1, 26, 'd', 'L' x 5000);
is line($one->said($soon)), 'delta 1-26 ' . 'L' x 5000, 'a large one comes';
is readings(), $before + 1, 'a_large_event_is_read';

# What is said twice, or is not the next one

$before = readings();
$t->redis('SPUBLISH', "$P:e:$id", '1-26 d again');
$t->redis('SPUBLISH', "$P:e:$id", '1-3 d again');
is $one->next(0.3), undef, 'what_a_stream_has_is_not_given_twice';
is readings(), $before, 'nor read';

for my $false ('1-28 d gap', '2-1 d another attempt', '', ' ', '1-27', '1-27 d',
    '-27 d x', '1- d x', '1-0 d x', '0-1 d x', 'event', "\0\0\0\0",
    '99999999999999999999999999-1 d x', '1-27dd x')
{
    $before = readings();
    $t->redis('SPUBLISH', "$P:e:$id", $false);
    ok $t->wait_for(sub { readings() > $before }, $soon),
        'what_is_not_the_next_event_is_read_and_not_believed'
        or diag "'$false'";
}
is $one->next(0.3), undef, 'and none of it is given';

# A message was lost

$t->redis('XADD', "$P:ev:$id", '1-27', 't', 'd', 'd', 'lost');
$t->redis('HSET', "$P:j:$id", 'ev', '1-27 9000');
$s->emit($id, 1, 28, 'd', 'behind it');
is line($one->said($soon)), 'delta 1-27 lost',
    'a_message_that_was_lost_is_read_with_the_next';
is line($one->said($soon)), 'delta 1-28 behind it', 'and both are given';

# A library that does not say events, as of an earlier release, rings

$t->redis('XADD', "$P:ev:$id", '1-29', 't', 'd', 'd', 'rung');
$t->redis('HSET', "$P:j:$id", 'ev', '1-29 9010');
$t->redis('SPUBLISH', "$P:c:$id", 'event');
is line($one->said($soon)), 'delta 1-29 rung',
    'where_only_the_doorbell_rings_the_event_is_read';

# Others of the same job

my $two = $s->open($id, last => '1-29');
isnt $two->next($soon), undef, 'another one';
is listeners('e', $id), 1, 'a_job_has_one_subscription_for_its_streams';
sleep 0.2;
$s->emit($id, 1, 30, 'd', 'for both');
is line($_->said($soon)), 'delta 1-30 for both', 'who came later hears it, too'
    for $one, $two;

my $wait = $s->request('GET', "/api/v1/query/$id",
                       headers => { Prefer => 'wait=60' });
ok $t->wait_for(sub { $t->metrics->{trifecta_waiters} >= 3 }, $soon),
    'and one that waits for the end';
$_->close for $one, $two;
ok listen_to($id, 0), 'nobody_hears_events_who_waits_for_the_end_only';
is listeners('c', $id), 1, 'but it has its doorbell';

my $three = follower($id);
$three->said($soon) for 1 .. 30;

# The connection breaks

$t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok $t->wait_for(sub { listeners('e', $id) == 0 || 1 }, 1), 'the connection';
ok $t->wait_for(sub { listeners('c', $id) == 1 && listeners('e', $id) == 1 },
                20 * $t->slow), 'a_broken_connection_is_listened_on_again';
sleep 0.2;
$before = readings();
$s->emit($id, 1, 31, 'd', 'again');
is line($three->said($soon)), 'delta 1-31 again', 'and is heard';
is readings(), $before, 'without a reading';

# A doorbell that says an end, and there is none

$before = readings();
$t->redis('SPUBLISH', "$P:c:$id", 'succeeded');
ok $t->wait_for(sub { readings() > $before }, $soon),
    'an_end_that_the_row_does_not_have_is_looked_for_in_redis';
is $three->next(0.3), undef, 'and the stream goes on';

# The end

sleep 0.2;
$before = readings();
my @said = map { $_->[3] } grep { $_->[2] eq 'd' } do {
    require Trifecta::Test::Events;
    Trifecta::Test::Events::live_events($t, $id);
};
my ($end, @ends) = (0);
push @ends, $end += length for @said, 'the last';
$s->end($id, join('', @said, 'the last'), \@ends,
        streamed => { search => JSON::PP::true });
is join(', ', map { line($_) } $three->rest($soon)),
    'delta 1-32 the last, done done', 'what_was_never_said_comes_from_the_row';
ok $three->proper, 'to a proper end';
is readings(), $before, 'an_end_that_rings_is_read_from_its_row_alone';
is $wait->head($soon), 200, 'for which the other one waited';
ok $t->wait_for(sub { listeners('c', $id) == 0 && listeners('e', $id) == 0 },
                $soon), 'no_subscription_is_left';

# Redis is away, and of those who hear one job some leave

$id = $s->job;
$one = follower($id);
$two = $s->open($id);
isnt $two->next($soon), undef, 'another stream';
$wait = $s->request('GET', "/api/v1/query/$id",
                    headers => { Prefer => 'wait=60' });
ok $t->wait_for(sub { $t->metrics->{trifecta_waiters} >= 3 }, $soon),
    'and one that waits';
my ($worker) = $t->workers;
$t->kill('redis');
ok $t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 0 },
                20), 'Redis is lost';
$_->close for $two, $wait;
ok $t->wait_for(sub { $t->metrics->{trifecta_streams} == 1 }, $soon),
    'some leave meanwhile';
$t->start('redis');
ok $t->wait_for(sub { listeners('e', $id) == 1 && listeners('c', $id) == 1 },
                30 * $t->slow), 'it comes back';
is_deeply [$t->workers], [$worker],
    'who_leaves_while_redis_is_away_harms_nobody';
$s->emit($id, 1, 1, 'd', 'after it');
is line($one->said($soon)), 'delta 1-1 after it', 'who stayed hears on';
$one->close;

# What is said and is not what was stored

$id = $s->job;
$one = follower($id);
$t->redis('SPUBLISH', "$P:e:$id", '1-1 d a lie');
is line($one->said($soon)), 'delta 1-1 a lie', 'what somebody else has said';
$s->end($id, 'the truth', [9]);
$one->rest($soon);
ok !$one->proper, 'a_stream_that_was_told_something_else_is_cut';

$t->finish;
done_testing;
