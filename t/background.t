# Work without hurry beside questions: ingest and embed jobs take a part of a
# sidecar's threads and of a tenant's places, however many of them wait, and
# whoever asks is answered meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Queue;


# The library

my $t = Trifecta::Test->new(start => 0);
use_queue($t);

sub prios { [map { $_->{prio} } @_] }

sub claim_some {
    my (undef, @jobs) = @{ fcall('claim', @_) };
    return jobs(@jobs);
}

fresh();
submit(prio => 2) for 1 .. 4;
submit(prio => 1) for 1 .. 2;
is_deeply(prios(claim_some('w1', 6, 0, 1)), [1, 1, 2],
    'a_claim_takes_as_much_of_the_background_as_it_may');
is_deeply(prios(claim_some('w1', 6, 1, 0)), [],
    'and_none_at_all_also_when_it_starts_there');
is_deeply(prios(claim_some('w1', 6, 1, 2)), [2, 2], 'more when there is room');
is_deeply(prios(claim_some('w1', 6, 0)), [2],
    'a sidecar of an older release takes all');

fresh();
submit(prio => $_) for 2, 2, 2, 1;
claim_some('w1', 4, 0, 4);
sleep 0.1;
no_outage();
$r->cmd('ZREM', "$P:wk", 'w1');
my (undef, @late) = @{ fcall('reclaim', 'w2', 4, 50, 1) };
is_deeply(prios(jobs(@late)), [1, 2],
    'what_a_dead_sidecar_held_is_taken_over_under_the_same_bound');

fresh();
submit(prio => 2) for 1 .. 30;
is(card('t:t:ready'), 8, 'of_the_background_half_the_places_of_a_tenant');
my (undef, $asked) = submit(prio => 1);
is($r->cmd('HGET', "$P:j:$asked", 'sub'), 'ready',
    'so_a_question_is_never_parked_behind_it');
submit(prio => 1) for 1 .. 10;
is(card('t:t:ready'), 16, 'questions take the other half');
submit(prio => 2);
counts_agree('the sets agree');

my @order = map { $_->{prio} } claim_some('w1', 11, 0, 0);
is_deeply([@order], [(1) x 11], 'questions are claimed, and those parked');
is(card('t:t:ready'), 8, 'the background does not take their places');
my $n = 0;
while (my @some = claim_some('w1', 3, 0, 3)) { $n += @some }
is($n, 31, 'nothing of it is forgotten in the park');
is(card('t:t:park') + card('t:t:ready'), 0, 'and nothing is left');
counts_agree('the sets agree at the end');

$t->stop('redis');
$t->finish;


# A sidecar, on two shards

$t = Trifecta::Test->new(shards => 2, sidecar => { threads => 4,
    lease => '3s', heartbeat => '1s' });
my $dir = $t->dir . '/in';
mkdir $dir;
my ($here, $there) = grep { defined } map {
    my $shard = $_;
    (grep { $t->shard_of($_) == $shard } qw(default acme globex))[0]
} 0, 1;
my @tenants = grep { defined } $here, $there;
diag "the tenants are all of one shard" if @tenants < 2;

$t->write_file("$dir/heron.md", "# Heron\n\nThe heron stands in the pond.\n");
is(($t->run('ingest', '--tenant', $_, '--collection', 'seen', $dir))[0], 0,
    "a document of $_") for @tenants;
my @paths = map { $t->write_file("$dir/f$_.md", "The otter $_ swims.\n") }
    1 .. 12;

# The store lets itself be read and not written: who ingests has long to do.

my $admin = $t->dbh('admin');
$admin->begin_work;
$admin->do('LOCK TABLE trifecta.document IN SHARE ROW EXCLUSIVE MODE');

my @ids;

for my $tenant (@tenants) {
    my ($status, $out, $err) = $t->run('ingest', '--queue', '--no-wait',
        '--tenant', $tenant, '--collection', 'waiting', @paths);
    is($status, 0, "many ingest jobs of $tenant") or diag $err;
    push @ids, $out =~ /^(\S{36})$/mg;
}

is(scalar @ids, 12 * @tenants, 'all of them are in the queue');

sub those_that_run {
    my @ids;
    for my $shard (0, 1) {
        push @ids, @{ $t->shard_client($shard)->cmd('ZRANGE',
            $t->prefix($shard) . ":t:$_:run", 0, -1) }
            for grep { $t->shard_of($_) == $shard } @tenants;
    }
    return "@ids";
}

# Of one moment: what was asked for later, another job may have begun for one
# that was counted already.  Those that are there twice were there in between.

sub running {
    my ($before, $now) = ('', those_that_run());

    while ($now ne $before) {
        ($before, $now) = ($now, those_that_run());
    }

    return scalar(my @ids = split ' ', $now);
}

ok($t->wait_for(sub { running() == 2 }, 10 * $t->slow), 'two of them run');
sleep 1.5;
is(running(), 2, 'no_more_than_half_of_the_threads_ingest_over_all_shards');
my $said = $t->metrics(0);
is($said->{trifecta_worker_background_places}, 2,
    'metrics_tell_the_places_of_the_background');
is($said->{trifecta_worker_background_held}, 2, 'and that they are taken');

for my $tenant (@tenants) {
    my $token = $t->token(tenant => $tenant);

    for my $round (1 .. 3) {
        my $end = $t->ask_and_wait("Where does the heron stand ($round)?",
            token => $token, body => { collections => ['seen'] },
            timeout => 20 * $t->slow);
        like($end->{response}, qr/in the pond/,
            "questions_are_answered_while_ingest_jobs_wait: $tenant $round");
    }
}

cmp_ok(running(), '<=', 2, 'and still no more of them run');

$admin->rollback;
my $most = 0;
ok($t->wait_for(sub {
    my $now = running();
    $most = $now if $now > $most;
    return !grep { $_->[0] ne 'succeeded' } @{ $t->sql('admin',
        "SELECT state FROM trifecta.job WHERE kind = 'ingest'") };
}, 60 * $t->slow), 'then_all_of_them_end');
cmp_ok($most, '<=', 2, 'never more than two at once');
is($t->sql('admin', q{SELECT count(*) FROM trifecta.document d
    JOIN trifecta.collection c ON c.id = d.collection
    WHERE c.name = 'waiting'})->[0][0], 12 * @tenants, 'with their documents');


# The bound is configured

$t->{opt}{sidecar}{background} = 5;
$t->stop('sidecar', 0);
$t->write_conf;
$t->launch('sidecar', 0)->wait(10 * $t->slow);
like($t->log_of('sidecar', 0), qr/background must be at most threads/,
    'a bound beyond the threads is refused');
$t->{opt}{sidecar}{background} = 1;
$t->write_conf;
$t->start('sidecar', 0);

$admin->begin_work;
$admin->do('LOCK TABLE trifecta.document IN SHARE ROW EXCLUSIVE MODE');
$t->run('ingest', '--queue', '--no-wait', '--tenant', $here,
        '--collection', 'more', @paths);
ok($t->wait_for(sub { running() == 1 }, 10 * $t->slow), 'one runs');
sleep 1.5;
is(running(), 1, 'the_bound_is_what_the_configuration_says');
$admin->rollback;
ok($t->wait_for(sub { running() == 0 && !grep { $_->[0] ne 'succeeded' }
    @{ $t->sql('admin', "SELECT state FROM trifecta.job") } },
    60 * $t->slow), 'and all end');

$t->finish;
done_testing;
