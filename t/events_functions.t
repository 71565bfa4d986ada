# What a job says on its way, in Redis alone: emit and events, and every way
# on which its stream ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;
use Trifecta::Test::Queue;

my $t = Trifecta::Test->new(start => 0);
use_queue($t);
fresh();

sub key { "$P:ev:$_[0]" }
sub events { $r->cmd('FCALL_RO', 'trifecta_events_v1', 1, $P, @_) }
sub entries { events('t', 'o', $_[0], $_[1] // '', $_[2] // 1000, 0)->[11] }
sub said { [map { "$_->[0] $_->[1] $_->[2]" } @{ entries(@_) }] }

# A job that runs: its id and lease.

sub running {
    my ($w) = @_;
    my (undef, $id) = submit(@_[1 .. $#_]);
    my ($job) = claim($w, 1);
    fcall('started', $w, $id, $job->{lease}, 1);
    return ($id, $job->{lease});
}

sub emit { fcall('emit', @_) }

my ($id, $lease) = running('w');
is_deeply(emit('w', $id, $lease, 1, 1, 's', '', $id, $lease, 1, 2, 'd', 'ab'),
    ['OK', 'OK'], 'emit_writes_several_events_of_a_job_in_one_call');
is_deeply(said($id), ['1-1 s ', '1-2 d ab'],
    'and events has them with the ids that were given');
is_deeply(emit('w', $id, $lease, 1, 2, 'd', 'ab', $id, $lease, 1, 3, 'd', 'c'),
    ['OK', 'OK'], 'a_resend_is_answered_with_ok');
is_deeply(said($id), ['1-1 s ', '1-2 d ab', '1-3 d c'],
    'and_is_not_written_twice');
is_deeply(emit('w', $id, $lease, 1, 5, 'd', 'e'), ['FROM 4'],
    'an_event_that_would_leave_a_gap_is_not_written');

is_deeply(emit('x', $id, $lease, 1, 4, 'd', 'X'), ['FENCED'],
    'another_worker_is_fenced');
is_deeply(emit('w', $id, $lease + 1, 1, 4, 'd', 'X'), ['FENCED'],
    'and_another_lease');
is_deeply(emit('w', $id, $lease, 2, 1, 'd', 'X'), ['FENCED'],
    'and_an_attempt_that_Redis_was_not_told_of');
is_deeply(emit('w', 'nothing', 1, 1, 1, 'd', 'X', $id, $lease, 1, 4, 'd', 'd'),
    ['FENCED', 'OK'], 'one_that_is_fenced_does_not_hinder_the_others');
is_deeply(said($id, '1-2'), ['1-3 d c', '1-4 d d'],
    'events_gives_those_behind_an_id');
is_deeply(said($id, '', 2), ['1-1 s ', '1-2 d ab'],
    'and_no_more_than_was_asked_for');
is_deeply(events('t', 'p', $id, '', 9, 1), ['ABSENT'],
    'another_owner_sees_no_event');
is_deeply(events('s', 'o', $id, '', 9, 1), ['ABSENT'],
    'nor_another_tenant');

my $look = look('t', 'o', $id);
my $all = events('t', 'o', $id, '', 0, 1);
is_deeply([@$all[0 .. 9]], $look, 'events_begins_with_what_look_answers');
is($all->[10], '{"q":1}', 'and_has_the_request_if_asked_for');
is(events('t', 'o', $id, '', 0, 0)->[10], '', 'and_not_otherwise');

my $ttl = $r->cmd('TTL', key($id));
ok($ttl > 3600 && $ttl <= 3660,
    'the_stream_expires_an_hour_after_the_deadline_if_nothing_else_comes');

# The doorbell rings once a call, for those who hear nothing else.

my $sub = $t->redis_client;
$sub->cmd('SSUBSCRIBE', "$P:c:$id");
emit('w', map { ($id, $lease, 1, $_, 'd', 'x') } 5 .. 7);
is($sub->reply->[2], 'event', 'the_doorbell_rings_with_event');

# Those who follow hear the events themselves, and the doorbell is silent.

my $follow = $t->redis_client;
$follow->cmd('SSUBSCRIBE', "$P:e:$id");
emit('w', $id, $lease, 1, 8, 'd', "two\nwords", $id, $lease, 1, 9, 'r', '',
    $id, $lease, 1, 8, 'd', 'again', $id, $lease, 1, 11, 'd', 'a gap');
is_deeply([map { $follow->reply->[2] } 1 .. 2], ["1-8 d two\nwords", '1-9 r '],
    'who_follows_hears_each_event_that_is_new');
emit('w', $id, $lease, 1, 10, 'd', 'L' x 4097);
is($sub->reply->[2], 'event', 'only_a_large_one_rings_for_them');
emit('w', $id, $lease, 1, 11, 'd', 'M' x 4096);
is($follow->reply->[2], '1-11 d ' . 'M' x 4096, 'what_is_said_is_bounded');
is_deeply(emit('x', $id, $lease, 1, 12, 'd', 'a zombie'), ['FENCED'],
    'another worker');
emit('w', $id, $lease, 1, 12, 'd', 'last');
is($follow->reply->[2], '1-12 d last', 'what_is_refused_is_not_said');
is_deeply(fcall('finish', 'w', $id, $lease, 'succeeded'), ['OK'], 'finish');
is($sub->reply->[2], 'succeeded', 'once_a_call');

$ttl = $r->cmd('TTL', key($id));
ok($ttl > 0 && $ttl <= 300, 'finish_leaves_the_events_five_minutes');
is(scalar @{ entries($id) }, 12, 'in_which_they_can_be_read');
is_deeply(emit('w', $id, $lease, 1, 13, 'd', 'X'), ['FENCED'],
    'a_job_that_has_ended_says_nothing_more');

# A later attempt.

($id, $lease) = running('w');
emit('w', $id, $lease, 1, 1, 'd', 'first');
is_deeply(fcall('release', 'w', $id, $lease), ['OK'], 'released');
is_deeply(said($id), ['1-1 d first'], 'the events of the attempt stay');
my ($job) = claim('v', 1);
is_deeply(fcall('started', 'v', $id, $job->{lease}, 2),
    [['OK', [['1-1', 'd', 'first']]]],
    'started_gives_the_next_attempt_what_the_earlier_ones_said');
is_deeply(emit('w', $id, $lease, 1, 2, 'd', 'zombie'), ['FENCED'],
    'the_earlier_one_is_fenced');
is_deeply($r->cmd('FCALL_RO', 'trifecta_said_v1', 1, $P, $id, 'nothing'),
    [[2, [['1-1', 'd', 'first']]], [0, []]],
    'said_gives_the_attempt_of_a_job_and_all_its_events');
{
    my @of = map { [running('m')] } 1 .. 4;
    for my $of (@of) {
        emit('m', map { (@$of, 1, $_, 'd', 'y' x 60000) } 1 .. 10);
    }
    my $some = $r->cmd('FCALL_RO', 'trifecta_said_v1', 1, $P,
                       map { $_->[0] } @of);
    is_deeply([map { scalar @{ $_->[1] } } @$some], [10, 10],
        'said_gives_no_more_than_a_megabyte_and_the_job_that_it_is_in');
    fcall('finish', 'm', @$_, 'succeeded') for @of;
}
is_deeply(emit('v', $id, $job->{lease}, 2, 1, 'd', 'second'), ['OK'],
    'the_later_one_begins_with_1');
is_deeply(said($id), ['1-1 d first', '2-1 d second'], 'behind the earlier');

# A stream that is not what it should be.

$r->cmd('DEL', key($id));
is_deeply(emit('v', $id, $job->{lease}, 2, 2, 'd', 'more'), ['FROM 1'],
    'a_stream_that_was_lost_is_asked_for_again_from_its_begin');
is_deeply(emit('v', map { ($id, $job->{lease}, 2, $_, 'd', $_) } 1, 2),
    ['OK', 'OK'], 'and_it_comes');
ok($r->cmd('TTL', key($id)) > 3600, 'with_an_expiry');
$r->cmd('DEL', key($id));
$r->cmd('XADD', key($id), '9-9', 't', 'd', 'd', 'strange');
is_deeply(emit('v', $id, $job->{lease}, 2, 3, 'd', 3), ['FROM 1'],
    'events_of_a_later_attempt_are_of_another_life');
emit('v', map { ($id, $job->{lease}, 2, $_, 'd', $_) } 1 .. 3);
is_deeply(said($id), ['2-1 d 1', '2-2 d 2', '2-3 d 3'], 'and_go');
$r->cmd('DEL', key($id));
$r->cmd('SET', key($id), 'a string');
is_deeply(events('t', 'o', $id, '', 9, 0)->[11], [],
    'a_key_of_another_type_has_no_events');
is_deeply(emit('v', $id, $job->{lease}, 2, 4, 'd', 4), ['FROM 1'],
    'and_is_moved_aside');
$r->cmd('DEL', @{ $r->cmd('KEYS', "$P:aside*") });

# Every way to an end.

for my $way (
    ['cancelled while it waits', sub {
        fcall('release', 'w', @_); fcall('cancel', 't', 'o', $_[0]) }],
    ['settled by the reconciler', sub {
        fcall('settle', $_[0], 'succeeded', 1) }],
    ['expired in the queue', sub {
        fcall('release', 'w', @_);
        $r->cmd('HSET', "$P:j:$_[0]", 'dl', 1);
        claim('w', 1) }],
    ['damaged', sub {
        fcall('release', 'w', @_);
        $r->cmd('HSET', "$P:j:$_[0]", 'fails', 'many');
        claim('w', 1) }])
{
    fcall('finish', 'v', $id, $job->{lease}, 'failed') if $job;
    $job = undef;
    my ($one, $held) = running('w');
    emit('w', $one, $held, 1, 1, 'd', 'x');
    $way->[1]->($one, $held);
    my $ttl = $r->cmd('TTL', key($one));
    ok($ttl > 0 && $ttl <= 300, "events_of_a_job_expire_when_it_is_$way->[0]")
        or diag("$ttl s");
}

# Deleted, in each state.

($id, $lease) = running('w');
emit('w', $id, $lease, 1, 1, 'd', 'secret');
fcall('delete', 't', 'o', $id);
is($r->cmd('EXISTS', key($id)), 0, 'delete_erases_the_events');
is_deeply(emit('w', $id, $lease, 1, 2, 'd', 'secret'), ['OK'],
    'what_a_deleted_job_says_until_it_stops');
is($r->cmd('EXISTS', key($id)), 0, 'goes_nowhere');
is_deeply(events('t', 'o', $id, '', 9, 1), ['DELETED'], 'its_owner_is_told');
fcall('finish', 'w', $id, $lease, 'cancelled');

($id, $lease) = running('w');
emit('w', $id, $lease, 1, 1, 'd', 'secret');
fcall('finish', 'w', $id, $lease, 'succeeded');
fcall('delete', 't', 'o', $id);
is($r->cmd('EXISTS', key($id)), 0, 'also_of_a_job_that_has_ended');

for my $way ('forget', 'drop') {
    ($id, $lease) = running('w');
    emit('w', $id, $lease, 1, 1, 'd', 'x');
    fcall('finish', 'w', $id, $lease, 'succeeded');
    fcall($way, $id, 't');
    is($r->cmd('EXISTS', key($id)), 0, "${way}_takes_the_events_with_the_job");
}

# Bounds.

($id, $lease) = running('w');
my $big = 'x' x 65536;
my @answers = map { @{ emit('w', $id, $lease, 1, $_, 'd', $big) } } 1 .. 65;
is_deeply([@answers[63, 64]], ['OK', 'FULL'],
    'a_job_may_say_four_megabytes_and_no_more');
my $page = entries($id, '1-3');
is_deeply([scalar @$page, $page->[0][0]], [1, '1-4'],
    'events_stops_after_about_64_kilobytes');
fcall('finish', 'w', $id, $lease, 'failed');

($id, $lease) = running('w');
for my $n (0 .. 63) {
    emit('w', map { ($id, $lease, 1, $n * 256 + $_, 'd', '') } 1 .. 256);
}
is_deeply(emit('w', $id, $lease, 1, 16385, 'd', ''), ['FULL'],
    'and_not_more_than_16384_events');
is(scalar @{ fcall('release', 'w', $id, $lease) }, 1, 'given back');
($job) = claim('w', 1);
is(scalar @{ fcall('started', 'w', $id, $job->{lease}, 2)->[0][1] }, 16384,
    'all_of_which_the_next_attempt_is_given');
fcall('finish', 'w', $id, $job->{lease}, 'failed');

# What a job that says nothing on its way costs.

sub calls {
    my %n = $r->cmd('INFO', 'commandstats')
            =~ /^cmdstat_(\S+?):calls=(\d+)/mg;
    return \%n;
}

$r->cmd('CONFIG', 'RESETSTAT');
($id, $lease) = running('w');
fcall('finish', 'w', $id, $lease, 'succeeded');
my $calls = calls();
is_deeply([grep { exists $calls->{$_} } qw(expireat pexpireat)], [],
    'a_job_that_says_nothing_costs_no_command_for_its_events');
is($calls->{expire}, 1, 'its own expiry is the only one');
is_deeply($r->cmd('KEYS', "$P:ev:$id"), [], 'and has no stream');

ledger_all();
$r->cmd('DEL', @{ $r->cmd('KEYS', "$P:aside*") })
    if @{ $r->cmd('KEYS', "$P:aside*") };
cmp_ok(scalar @{ $r->cmd('KEYS', "$P:ev:*") }, '>', 5,
    'when all jobs have ended their events are there');
nothing_is_left('and_no_stream_of_events_is_without_an_expiry');

$t->finish;
done_testing;
