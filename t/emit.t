# What a job says while it runs: it comes piece by piece while the job runs,
# in order and once, whatever dies or is away meanwhile, and PostgreSQL has
# the same events afterwards.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Events;

my $P = '{trifecta:0}';
my $t = Trifecta::Test->new(sidecars => 2, sidecar => { threads => 4,
    lease => '2s', heartbeat => '500ms' }, models => 'extractive test',
    start => 0);
$t->start_all;
$t->stop('sidecar', 1);

sub live { live_events($t, @_) }
sub stored { stored_events($t, @_) }
sub said { join ' ', map { "$_->[0]-$_->[1]$_->[2]" } @_ }

# The events of a job, once there are so many.

sub events_come {
    my ($id, $n) = @_;
    my @got;
    $t->wait_for(sub { (@got = live($id)) >= $n }, 20 * $t->slow)
        or diag("only @got of $n events of $id");
    return @got;
}

# What was read live is a part of what is stored, with the same numbers.

sub same_events {
    my ($live, $id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @stored = stored($id);
    my @first = @stored[0 .. ($#$live < $#stored ? $#$live : $#stored)];
    return is_deeply($live, \@first, $name);
}

# While it runs

my $script = 'every=150 stream=' . join '|', map { "word$_ " } 1 .. 12;
my $id = $t->ask($script, model => 'test');
my @early = events_come($id, 4);
is $t->result($id)->{json}{status}, 'running',
    'pieces_arrive_while_the_job_runs';
is_deeply [@early[0 .. 3]], [[1, 1, 's', ''], map { [1, $_ + 1, 'd',
    "word$_ "] } 1 .. 3], 'each_with_its_number_behind_the_search';
my $ttl = $t->redis('TTL', "$P:ev:$id");
cmp_ok $ttl, '>', 3600, 'their_stream_has_an_expiry_from_the_first_on';

my $end = $t->wait_for_answer($id);
is $end->{status}, 'succeeded', 'the job succeeds';
my @live = live($id);
is text_of(stored($id)), $end->{response},
    'the_pieces_together_are_the_stored_answer';
like $end->{response}, qr/^\Q@{[text_of(@live)]}\E/,
    'and_what_Redis_has_is_a_begin_of_it';
same_events(\@live, $id, 'postgresql_has_the_same_events_as_redis');
cmp_ok scalar(@live), '>=', 10, 'and not just a few of them';
cmp_ok $t->redis('TTL', "$P:ev:$id"), '<=', 300,
    'after_the_end_they_stay_five_minutes';

my $m;
$t->wait_for(sub { ($m = $t->metrics(0))->{trifecta_worker_events_total}
                   == @live }, 5);
is $m->{trifecta_worker_events_total}, scalar @live, 'each_event_is_counted';
is $m->{trifecta_worker_event_bytes_total}, length text_of(@live),
    'and_each_byte_of_text';
cmp_ok $m->{trifecta_worker_emit_seconds_count}, '>=', 10,
    'and how long a piece was on its way';
cmp_ok $m->{'trifecta_worker_emit_seconds_bucket{le="2.5"}'}, '>=',
    0.5 * $m->{trifecta_worker_emit_seconds_count},
    'which is not long for most of them';

# Much at once is cut by characters

my $long = join '|', map { "\x{e4}" x 1999 . 'x' } 1 .. 12;
$id = $t->ask("every=1 stream=$long", model => 'test');
$end = $t->wait_for_answer($id);
my @stored = stored($id);
is text_of(@stored), do { my $r = $end->{response};
    utf8::encode($r) if utf8::is_utf8($r); $r },
    'a_long_answer_is_cut_into_pieces_that_fit';
is scalar(grep { my $p = $_->[3]; !utf8::decode($p) } @stored), 0,
    'which_are_whole_characters';

# A quick answer, and what it costs

$t->redis('CONFIG', 'RESETSTAT');
$end = $t->ask_and_wait('What is the moon?', model => 'extractive');
is $end->{status}, 'succeeded', 'a quick answer';
my @none = live($end->{query_id});
is_deeply \@none, [], 'what_is_there_at_once_is_not_said_on_the_way';
is_deeply [stored($end->{query_id})], [[1, 1, 'd', $end->{response}]],
    'and is one piece afterwards';
is_deeply $t->sql('admin', 'SELECT j.streamed, r.deltas FROM trifecta.job j '
    . 'JOIN trifecta.job_result r ON r.job = j.id WHERE j.id = ?',
    $end->{query_id}), [[undef, undef]], 'and_leaves_nothing_behind';
unlike $t->redis('INFO', 'commandstats'), qr/pexpireat/,
    'nor_costs_a_call_to_redis';
is $t->redis('EXISTS', "$P:ev:$end->{query_id}"), 0, 'it has no stream';

# A model that waits for nothing: its pieces and its end come together

$t->redis('CONFIG', 'RESETSTAT');
for (1 .. 5) {
    $end = $t->ask_and_wait('stream=at |once ', model => 'test');
    is $t->redis('EXISTS', "$P:ev:$end->{query_id}"), 0,
        'what_came_together_with_the_end_is_not_said_on_the_way';
    is_deeply [stored($end->{query_id})], [[1, 1, 's', ''],
        [1, 2, 'd', 'at once ']], 'and_is_one_piece_behind_the_search';
}
unlike $t->redis('INFO', 'commandstats'), qr/pexpireat/,
    'nor_does_that_cost_a_call_to_redis';

# Nor do the last pieces of one that waited before

$id = $t->ask('void=2 every=300 stream=one |two |three ', model => 'test');
$end = $t->wait_for_answer($id);
is text_of(stored($id)), 'one two three ', 'the last piece is in the row';
unlike text_of(live($id)), qr/three/,
    'the_last_piece_comes_with_the_end_and_not_before_it';

# Begun anew within an attempt

$id = $t->ask('every=100 void=3 stream=a |b |c |d |e ', model => 'test');
$end = $t->wait_for_answer($id);
is $end->{status}, 'succeeded', 'one that began anew';
@live = live($id);
is scalar(grep { $_->[2] eq 'r' } @live), 1, 'says_so';
is text_of(stored($id)), $end->{response}, 'its last text is the answer';
same_events(\@live, $id, 'with_the_void_pieces_under_their_numbers');

# Cancelled in the middle

$id = $t->ask($script, model => 'test');
@early = events_come($id, 4);
$t->post("/api/v1/query/$id/cancel", {});
$end = $t->wait_for_answer($id);
is $end->{status}, 'cancelled', 'cancelled in the middle';
@live = live($id);
same_events(\@live, $id, 'what_a_cancelled_job_said_is_stored');
ok @early <= @live && @live < 13, 'and is not all of it';
is_deeply [map { $_->[2] } $live[0], $live[1]], ['s', 'd'], 'from the first';

# Failed in the middle

$id = $t->ask("at=4 fail=1 $script", model => 'test');
$end = $t->wait_for_answer($id);
is $end->{status}, 'failed', 'failed in the middle';
like text_of(stored($id)), qr/^word1 word2 word3 (word4 )?$/,
    'what_a_failed_job_said_is_stored';

# Deleted, while it runs and afterwards

$id = $t->ask('every=150 stream=secret1 |secret2 |secret3 |secret4 |secret5 '
              . '|secret6 |secret7 |secret8 ', model => 'test');
events_come($id, 3);
is $t->request('DELETE', "/api/v1/query/$id")->{status}, 200,
    'deleted in the middle';
is $t->redis('EXISTS', "$P:ev:$id"), 0, 'delete_erases_the_events_at_once';
ok $t->wait_for(sub { !defined $t->redis('ZSCORE', "$P:live", $id) },
    10 * $t->slow), 'it stops';
is $t->redis('EXISTS', "$P:ev:$id"), 0, 'and_what_it_still_said_went_nowhere';
sub erased {
    my $row = $t->sql('admin', 'SELECT deleted IS NOT NULL, streamed FROM '
        . 'trifecta.job WHERE id = ?', $_[0])->[0];
    return $row && $row->[0] && !defined $row->[1]
        && !@{ $t->sql('admin', 'SELECT 1 FROM trifecta.job_result '
            . 'WHERE job = ?', $_[0]) };
}
ok $t->wait_for(sub { erased($id) }, 10 * $t->slow),
    'delete_leaves_nothing_of_it_in_postgresql';

$id = $t->ask('void=2 stream=secret1 |secret2 |secret3 ', model => 'test');
$t->wait_for_answer($id);
$t->request('DELETE', "/api/v1/query/$id");
is $t->redis('EXISTS', "$P:ev:$id"), 0,
    'deleted_after_its_end_the_events_go_from_redis';
ok $t->wait_for(sub { erased($id) }, 10 * $t->slow), 'and_from_postgresql';

# Redis away in the middle

$id = $t->ask('every=100 stream=' . join('|', map { "w$_ " } 1 .. 30),
              model => 'test');
events_come($id, 4);
$t->freeze('redis');
sleep 1;
$t->thaw('redis');
$end = $t->wait_for_answer($id);
is $end->{status}, 'succeeded', 'redis was away in the middle';
@live = live($id);
same_events(\@live, $id, 'events_that_waited_for_redis_come_with_their_'
                         . 'numbers');
is text_of(stored($id)), $end->{response}, 'and none is missing or twice';
is_deeply [map { $_->[1] } @live], [1 .. @live], 'nor is there a gap';

# Its worker dies in the middle

$t->start('sidecar', 1);
$id = $t->ask('kill=1 at=3 every=100 stream=' . join('|', map { "p$_ " }
              1 .. 6), model => 'test');
$t->wait_for(sub { !$t->proc('sidecar', 0)->alive
                   || !$t->proc('sidecar', 1)->alive }, 20 * $t->slow);
$end = $t->wait_for_answer($id);
is $end->{status}, 'succeeded', 'another worker ends the job';
@live = live($id);
is $live[0][0], 1, 'events_of_the_attempt_that_died_are_there';
is $live[-1][0], 2, 'and_behind_them_those_of_the_next';
is text_of(@live, (stored($id))[scalar @live .. scalar(stored($id)) - 1]),
    $end->{response}, 'whose text is the answer';
same_events(\@live, $id, 'postgresql_knows_what_the_first_attempt_said');

for my $n (0, 1) {
    $t->kill('sidecar', $n) if $t->proc('sidecar', $n)->alive;
}

# One that was stalled finds that it has lost the job

$t->start('sidecar', 0);
$id = $t->ask('every=100 stream=' . join('|', map { "z$_ " } 1 .. 40),
              model => 'test');
events_come($id, 4);
$t->freeze('sidecar', 0);
$t->start('sidecar', 1);
$t->wait_for(sub { ((live($id))[-1] || [0])->[0] == 2 }, 20 * $t->slow);
$t->thaw('sidecar', 0);
$end = $t->wait_for_answer($id);
is $end->{status}, 'succeeded', 'a zombie did not disturb';
@live = live($id);
is_deeply [sort { $a <=> $b } map { $_->[0] } @live], [map { $_->[0] } @live],
    'a_zombie_says_nothing_once_another_attempt_has_begun';
same_events(\@live, $id, 'and_both_attempts_are_stored');

# An attempt that said something, and an end without another one

$t->stop('sidecar', 0);
$id = $t->ask($script, model => 'test');
events_come($id, 4);
$t->kill('sidecar', 1);
$t->post("/api/v1/query/$id/cancel", {});
$t->start('sidecar', 0);
$end = $t->wait_for_answer($id);
is $end->{status}, 'cancelled', 'ended by a worker that did not run it';
@live = live($id);
same_events(\@live, $id,
    'what_it_said_before_is_stored_by_a_worker_that_said_nothing');
cmp_ok scalar(@live), '>=', 4, 'all of it';

# Its worker is told to leave, and has no time for it

$t->stop('sidecar', 0);
$t->{opt}{sidecar}{drain_timeout} = '300ms';
$t->write_conf;
$t->start('sidecar', 0);
$id = $t->ask('every=150 stream=' . join('|', map { "l$_ " } 1 .. 20),
              model => 'test');
events_come($id, 4);
$t->stop('sidecar', 0);
@early = live($id);
$t->start('sidecar', 0);
$end = $t->wait_for_answer($id);
is $end->{status}, 'succeeded', 'given back in the middle and run again';
@live = live($id);
is_deeply [@live[0 .. $#early]], \@early,
    'what_a_job_said_before_a_drain_stays';
is_deeply [map { $_->[0] } $live[$#early], $live[$#early + 1]], [1, 2],
    'and_the_next_attempt_comes_behind_it';
same_events(\@live, $id, 'both_are_stored');
is text_of(stored($id)), $end->{response}, 'the second is the answer';

# Cancelled, and expired, while it waits for another try

for my $end (['cancelled', sub { $t->post("/api/v1/query/$_[0]/cancel", {}) }],
             ['failed', sub {
                $t->redis('HSET', "$P:j:$_[0]", dl => 1, run_at => 1);
                $t->redis('ZADD', "$P:dly", 1, $_[0]) }])
{
    $id = $t->ask('flaky=1 at=3 after=60000 every=60 stream=q1 |q2 |q3 |q4 ',
                  model => 'test');
    $t->wait_for(sub { $t->redis('ZSCORE', "$P:dly", $id) }, 20 * $t->slow)
        or diag('it is not put off');
    @live = live($id);
    cmp_ok scalar(@live), '>=', 3, 'it said something and waits';
    $end->[1]->($id);
    is $t->wait_for_answer($id)->{status}, $end->[0], "and is $end->[0]";
    ok $t->wait_for(sub { stored($id) }, 10 * $t->slow),
        'what_a_job_said_that_ends_while_it_waits_is_stored';
    same_events(\@live, $id, 'with_its_numbers');
}

# All keys of Redis are lost in the middle

$id = $t->ask('every=200 stream=' . join('|', map { "f$_ " } 1 .. 20),
              model => 'test');
events_come($id, 3);
$t->redis('FLUSHALL');
$end = $t->wait_for_answer($id, timeout => 60 * $t->slow);
is $end->{status}, 'succeeded', 'a_job_goes_on_after_redis_was_emptied';
is text_of(stored($id)), $end->{response}, 'and says its answer';

$t->idle_holds('nothing is left');
is_deeply [grep { $t->redis('TTL', $_) < 0 }
              @{ $t->redis('KEYS', "$P:ev:*") }],
    [], 'no_stream_of_events_is_without_an_expiry';
$t->finish;
done_testing;
