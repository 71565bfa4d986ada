# The accept log in Redis, as the ledger of a sidecar reads it: what of it is
# due, and what "started" takes away before it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;
use Trifecta::Test::Queue;

my $HOUR = 3_600_000;
my $t = Trifecta::Test->new(start => 0);
use_queue($t);

sub entries { map { $_->[0] } @{ $r->cmd('XRANGE', "$P:acc", '-', '+') } }

sub pending { $r->cmd('XPENDING', "$P:acc", 'l')->[0] }

# The ids of the jobs that are due, and what else was answered.

my ($from, $waits);

sub due {
    my ($w, $n, $wait, $behind) = @_;
    ($from, $waits, my @got) = @{ fcall('due', $w, $n, $wait, $behind // '') };
    return [map { my %f = @{ $_->[1] }; $f{id} } @got];
}

# Entries of so many hours ago, the oldest first.

sub old {
    my $now = $r->cmd('TIME')->[0] * 1000;
    while (my ($id, $hours) = splice @_, 0, 2) {
        $r->cmd('XADD', "$P:acc", int($now - $hours * $HOUR) . '-0',
                'op', 'new', 'id', $id);
    }
}

sub submits { map { (submit(@_))[1] } 1 .. shift }


# What is due

fresh();
is_deeply due('w', 10, 0), [], 'an_empty_log_has_nothing_due';
is $waits, 0, 'and nothing to come';

my @ids = submits(3);
is_deeply due('w', 10, $HOUR), [], 'a_new_job_is_not_due_before_its_time';
is $waits, 1, 'but will be';
is pending(), 0, 'and nobody has it';
is $from, (entries())[-1], 'all of them have been looked at';
is_deeply due('w', 2, 0, $from), [@ids[0, 1]], 'then_it_is_up_to_so_many';
is_deeply due('v', 10, 0), [$ids[2]], 'another_consumer_gets_the_others';
is_deeply due('w', 10, 0), [], 'each_is_handed_out_once';
is $waits, 0, 'nothing is to come';
is $from, (entries())[-1], 'what comes is behind the last one';
is pending(), 3, 'they are theirs';

fresh();
old(a => 0.7);
is_deeply due('w', 10, $HOUR), [], 'nor_is_one_that_has_waited_for_a_part';
fresh();
old(a => 1.2, b => 1.1, c => 0.6, d => 0.4);
is_deeply due('w', 10, $HOUR), [qw(a b c)],
    'with_one_that_is_due_go_those_that_have_waited_for_half_of_the_time';
is_deeply due('w', 10, $HOUR), [], 'and no others';


# What does not wait

fresh();
@ids = submits(2);
push @ids, (submit(durable => 1))[1];
push @ids, submits(1);
is_deeply due('w', 10, $HOUR), [@ids[0 .. 2]],
    'a_job_whose_client_waits_for_the_row_is_due_at_once_with_all_before_it';
is_deeply due('w', 10, $HOUR, $from), [], 'what is behind it waits';

for my $end (qw(cancel delete)) {
    fresh();
    @ids = submits(2);
    due('w', 10, $HOUR);
    fcall($end, 't', 'o', $ids[1]);
    is_deeply due('w', 10, $HOUR, $from), [@ids, $ids[1]],
        "so_is_any_other_entry: $end";
}

fresh();
@ids = submits(4);
due('w', 10, $HOUR);
fcall('cancel', 't', 'o', $ids[0]);
is_deeply due('w', 2, $HOUR, $from), [@ids[0, 1]],
    'one_that_does_not_wait_is_not_forgotten';
is_deeply due('w', 10, $HOUR, $from), [@ids[2, 3], $ids[0]],
    'when_so_many_come_before_it';

fresh();
@ids = submits(1);
old($ids[0] => -1);
push @ids, submits(1);
is_deeply due('w', 1, 0), [$ids[0]], 'the clock is set back';
is_deeply due('w', 10, 1000), [@ids],
    'what_was_accepted_before_the_clock_went_back_is_due';

fresh();
@ids = submits(1);
is_deeply due('w', 10, 0, 'nonsense'), [@ids], 'what was looked at is a hint';


# What "started" takes away

fresh();
@ids = submits(3);
my @jobs = claim('w', 2);
is_deeply fcall('started', 'w', map { $_->{id}, $_->{lease}, 1 } @jobs),
    ['OK', 'OK'], 'two have begun';
is scalar(entries()), 1, 'a_job_that_has_begun_is_not_in_the_accept_log';
is_deeply due('l', 10, 0), [$ids[2]], 'and_the_ledger_never_sees_it';
is_deeply fcall('started', 'w', map { $_->{id}, $_->{lease}, 1 } @jobs),
    ['OK', 'OK'], 'it is said once more';
is scalar(entries()), 1, 'which_takes_nothing_else_away';

@jobs = claim('w', 1);
is_deeply fcall('started', 'v', $ids[2], 1, 1), ['FENCED'], 'not its worker';
is_deeply fcall('started', 'w', $ids[2], 7, 1), ['FENCED'], 'not its lease';
is scalar(entries()), 1, 'who_does_not_hold_a_job_takes_nothing_away';
fcall('started', 'w', $ids[2], 1, 1);
is scalar(entries()), 0, 'who holds it does';
is pending(), 0, 'also_when_the_ledger_has_read_it';

fresh();
my ($id) = submits(1, retry_of => '00000000-0000-7000-8000-00000000ffff');
claim('w', 1);
fcall('started', 'w', $id, 1, 1);
is_deeply due('l', 10, 0), [$id],
    'what_only_the_ledger_can_write_it_still_writes';

fresh();
($id) = submits(1);
claim('w', 1);
fcall('started', 'w', $id, 1, 1);
fcall('release', 'w', $id, 1);
fcall('cancel', 't', 'o', $id);
is scalar(entries()), 1, 'a cancel of what was given back is in the log';
claim('w', 1);
is_deeply due('l', 10, $HOUR), [$id], 'and_the_ledger_sees_that';
fcall('ledgered', (entries())[0], $id);
cmp_ok $r->cmd('TTL', "$P:j:$id"), '>', 0, 'its hash will go';

fresh();
(undef, $id) = submit();
my $was = $r->cmd('HGET', "$P:j:$id", 'log');
claim('w', 1);
fcall('relog', $id);
fcall('started', 'w', $id, 1, 1);
is_deeply due('l', 10, 0), [$id],
    'what_is_logged_again_for_another_store_stays';

for my $wrong ('x', '', '99999999999999999999-1-2') {
    fresh();
    @ids = submits(2);
    $r->cmd('HSET', "$P:j:$ids[0]", 'log', $wrong);
    claim('w', 2);
    is_deeply fcall('started', 'w', map { $_, 1, 1 } @ids), ['OK', 'OK'],
        "with a damaged one, \"$wrong\"";
    is_deeply due('l', 10, 0), [$ids[0]], 'the_others_go_all_the_same';
}


# Who waits for a row

fresh();
(undef, $id) = submit(durable => 1);
my $bell = $t->redis_client;
$bell->send('SSUBSCRIBE', "$P:c:$id");
$bell->reply;
claim('w', 1);
is_deeply $bell->reply, ['smessage', "$P:c:$id", 'running'], 'it is claimed';
fcall('started', 'w', $id, 1, 1);
is_deeply $bell->reply, ['smessage', "$P:c:$id", 'ledgered'],
    'the_doorbell_of_a_durable_job_rings_as_soon_as_it_has_begun';
is $r->cmd('HEXISTS', "$P:j:$id", 'durable'), 0, 'once';
is scalar(entries()), 0, 'and the ledger has nothing to do';

$t->finish;
done_testing;
