# "Prefer: durable": the answer to an accepted job waits until PostgreSQL has
# its row, two seconds at most, and says whether it has.
#
# In the first part no sidecar runs: rows come, and doorbells ring, when the
# test says so.  nginx talks to Redis through a proxy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Waiting;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    redis_conf => 'appendfsync no', pg_conf => 'fsync = off');
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $control = "$t->{dir}/run";
my $port = $t->free_port;

$t->{opt}{redis} = "127.0.0.1:$port";
$t->write_conf;
my $proxy = Trifecta::Test::Waiting::proxy($control, $port, $t->{redis_port});
$t->start_all;

my $w = Trifecta::Test::Waiting->new($t);

sub heard {
    return $t->wait_for(sub {
        my $m = $t->metrics;
        $m->{trifecta_subscriber_ready_workers} >= 1
            && $m->{trifecta_redis_ready_workers} >= 1
            && $m->{trifecta_pg_ready_workers} >= 1 }, 20);
}

sub configure {
    my ($key, $value) = @_;
    $t->{opt}{trifecta}{$key} = $value;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    heard();
}

sub waiting {
    my ($n) = @_;
    return $t->wait_for(sub { $t->metrics->{trifecta_waiters} == $n }, 10);
}

# Sends a question with these preferences; the id of its job, once it waits.

sub post {
    my ($prefer, %headers) = @_;
    my $one = $w->post('x', undef, headers => { Prefer => $prefer, %headers });
    waiting(1);
    ($one->{id}) = @{ $t->redis('ZRANGE', "$P:live", -1, -1) };
    return $one;
}

sub row {
    my ($id) = @_;
    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, accepted, deadline) VALUES (?, ?, ?, ?, ?, 1,'
        . " 'queued', now(), now() + interval '10 minutes')", $id, 'default',
        'test:alice', 'query', 'extractive');
}

sub ring { $t->redis('SPUBLISH', "$P:c:$_[0]", 'ledgered') }

sub said { $_[0]{headers}{'preference-applied'} }

sub counted {
    my ($yes) = @_;
    return $t->metrics->{"trifecta_durable_total{committed=\"$yes\"}"};
}

ok heard(), 'the worker hears Redis';


# The row and the ring

{
    my ($yes, $no) = map { counted($_) } qw(yes no);
    my $one = post('durable');
    ok !$w->there($one, 0.3), 'a_client_that_prefers_durable_waits';
    is $t->redis('HGET', "$P:j:$one->{id}", 'durable'), 1,
        'its job says so, for the ledger';
    is $w->doorbells, 1, 'its worker listens to the doorbell';
    row($one->{id});
    ring($one->{id});
    my $res = $w->take($one, 5);
    is $res->{status}, 202, 'when_the_row_is_there_it_is_told';
    is said($res), 'durable', 'and that it is';
    is $res->{headers}{vary}, 'Prefer', 'Vary';
    is $res->{json}{query_id}, $one->{id}, 'of the job';
    is $res->{headers}{location}, "$Q/$one->{id}", 'Location';
    ok $w->quiet(5), 'nobody listens any more';
    is counted('yes') - $yes, 1, 'it is counted';
    is counted('no') - $no, 0, 'as what it is';

    $one = post('durable');
    row($one->{id});
    $res = $w->take($one, 10);
    is said($res), 'durable', 'a_ring_that_is_lost_is_not_missed';

    # each ring is a reading, and without a row it is no yes

    $one = post('durable');
    my $queries = $t->metrics->{trifecta_pg_queries_total};
    for (1 .. 12) {
        ring($one->{id});
        sleep 0.05;
    }
    cmp_ok $t->metrics->{trifecta_pg_queries_total} - $queries, '>=', 10,
        'every ring is a reason to read';
    ok !$w->there($one, 0), 'a_ring_without_a_row_is_no_yes';
    $res = $w->take($one, 15);
    is $res->{status}, 202, 'without a row it is 202 all the same';
    is said($res), undef, 'without Preference-Applied';
    cmp_ok $res->{time}, '>=', 1.9, 'after two seconds';
    cmp_ok $res->{time}, '<', 10 * $slow, 'and no more';
    is counted('no') - $no, 1, 'it is counted';
    ok $w->quiet(5), 'nothing is left';

    $res = $t->post($Q, { query => 'x' });
    is said($res), undef, 'who does not ask for it does not get it';
    cmp_ok $res->{time}, '<', 1.5 * $slow, 'and does not wait';
    is $t->redis('HGET', "$P:j:$res->{json}{query_id}", 'durable'), undef,
        'nor does its job';
}


# With other preferences

{
    my $one = post('respond-async, durable, wait=1');
    row($one->{id});
    my $res = $w->take($one, 10);
    is $res->{status}, 202, 'durable and wait';
    is said($res), 'durable, wait=1', 'both_preferences_are_applied';
    cmp_ok $res->{time}, '>=', 0.9, 'the wait is kept';
    cmp_ok $res->{time}, '<', 5 * $slow, 'from the beginning on';

    $one = post('wait=1, durable');
    $res = $w->take($one, 15);
    is said($res), 'wait=1', 'a wait that was shorter than the two seconds';
    cmp_ok $res->{time}, '<', 10 * $slow, 'is not added to them';

    $one = post('wait=30, durable');
    row($one->{id});
    ring($one->{id});
    ok !$w->there($one, 0.5), 'who waits for the end, too, waits on';
    $t->sql('admin', 'DELETE FROM trifecta.job WHERE id = ?', $one->{id});
    $w->end($one->{id}, 'so');
    $res = $w->take($one, 5);
    is $res->{status}, 200, 'a_job_that_ends_in_time_is_200';
    is $res->{json}{response}, 'so', 'with its answer';
    is said($res), 'durable, wait=30', 'both are applied';

    $one = post('durable, wait=0');
    row($one->{id});
    is said($w->take($one, 5)), 'durable, wait=0', 'no wait is a wait, too';

    $res = $t->get("$Q/$one->{id}", headers => { Prefer => 'durable' });
    is said($res), undef, 'for a GET it means nothing';
    cmp_ok $res->{time}, '<', 1.5 * $slow, 'and is no wait';
    ok $w->quiet(5), 'nothing is left';
}


# A repetition

{
    my %key = ('Idempotency-Key' => 'k1');
    my $first = $t->post($Q, { query => 'x' }, headers => \%key);
    my $id = $first->{json}{query_id};

    my $one = $w->post('x', undef, headers => { Prefer => 'durable', %key });
    ok waiting(1), 'a_repetition_waits_for_the_row_of_its_job';
    row($id);
    my $res = $w->take($one, 10);
    is $res->{status}, 202, 'and is told';
    is $res->{json}{query_id}, $id, 'of that job';
    is said($res), 'durable', 'that it is there';
    is $res->{headers}{'idempotency-replayed'}, 'true', 'as a replay';

    $t->sql('admin', 'DELETE FROM trifecta.job WHERE id = ?', $id);
    $w->end($id, 'so');
    $res = $w->take($w->post('x', undef,
        headers => { Prefer => 'durable', %key }), 5);
    is $res->{status}, 200, 'of one that has ended, at once';
    is said($res), 'durable', 'which is there, too';
}


# The client leaves

{
    for my $when (0, 0.3) {
        my $one = post('durable');
        sleep $when;
        close $one->{sock};
        ok $w->quiet(5), 'a_client_that_leaves_leaves_nothing_behind';
        row($one->{id});
        ring($one->{id});
    }
    is $t->post($Q, { query => 'x' })->{status}, 202, 'and nobody is hurt';
}


# The doorbell cannot be heard

{
    $t->write_file("$control/hold", '');
    my $one = post('durable');
    row($one->{id});
    my $res = $w->take($one, 10);
    is said($res), 'durable', 'without_the_doorbell_it_looks_by_itself';
    unlink "$control/hold";
    ok heard(), 'the subscriber is back';

    $one = post('durable');
    $t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
    sleep 0.2;
    row($one->{id});
    is said($w->take($one, 10)), 'durable', 'nor with one that broke';
    heard();
}


# The bound

{
    configure(trifecta_max_waiters => 1);
    my $one = post('durable');
    my $res = $w->take($w->post('x', undef,
        headers => { Prefer => 'durable' }), 5);
    is $res->{status}, 202, 'beyond_the_bound_it_is_answered_at_once';
    is said($res), undef, 'without Preference-Applied';
    cmp_ok $res->{time}, '<', 1.5 * $slow, 'and without a wait';
    row($one->{id});
    is said($w->take($one, 10)), 'durable', 'who waited before goes on';
    configure(trifecta_max_waiters => undef);
}


# A worker that leaves

{
    my $one = post('durable');
    my @old = $t->reload;
    my $res = $w->take($one, 5);
    is $res->{status}, 202, 'a_worker_that_leaves_answers_at_once';
    is said($res), undef, 'without Preference-Applied';
    cmp_ok $res->{time}, '<', 1.9 * $slow, 'before its time is over';
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10), 'and is gone';
    heard();
}


# PostgreSQL is away

{
    $t->freeze('pg');
    my $res = $w->take($w->post('x', undef,
        headers => { Prefer => 'durable' }), 10);
    is $res->{status}, 202, 'with_a_frozen_store_it_is_202';
    is said($res), undef, 'without Preference-Applied';
    cmp_ok $res->{time}, '<', 10 * $slow, 'in two seconds';
    $t->thaw('pg');

    $t->stop('pg');
    $t->wait_for(sub { $t->metrics->{trifecta_pg_ready_workers} == 0 }, 10);
    $res = $w->take($w->post('x', undef,
        headers => { Prefer => 'durable, wait=0' }), 10);
    is $res->{status}, 202, 'with_no_store_it_is_202';
    is said($res), 'wait=0', 'and only the rest is applied';
    cmp_ok $res->{time}, '<', 1.5 * $slow, 'at once';
    $t->start('pg');
    ok $w->quiet(5), 'nothing is left';
}


# The directive, and a real ledger

{
    $t->start('sidecar', 0);
    my @none;

    for (1 .. 20) {
        my $res = $t->post($Q, { query => 'x' },
                           headers => { Prefer => 'durable' });
        my $rows = $t->sql('admin', 'SELECT state FROM trifecta.job'
            . ' WHERE id = ?', $res->{json}{query_id});
        push @none, $res->{json}{query_id} if !@$rows || !said($res);
    }
    is_deeply \@none, [], 'the_ledgers_row_is_there_before_the_answer';

    configure(trifecta_prefer_durable => 'on');
    is said($t->post($Q, { query => 'x' })), 'durable',
        'the directive prefers it for everybody';
    is said($t->post($Q, { query => 'x' }, headers => { Prefer => 'wait=0' })),
        'durable, wait=0', 'with what a client prefers';
    $t->{opt}{locations} = "location = $Q { trifecta api;"
        . ' trifecta_prefer_durable off; }';
    configure(trifecta_prefer_durable => 'on');
    is said($t->post($Q, { query => 'x' })), undef,
        'but where a location says otherwise';
}

kill 'KILL', $proxy;
waitpid $proxy, 0;
$t->finish;
done_testing;
