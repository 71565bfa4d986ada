# A job that was accepted, and of which PostgreSQL refuses what Redis holds:
# it ends as failed, and its client can read that for as long as anything else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(models => 'extractive test', sidecar => {
    threads => 2, lease => '2s', heartbeat => '500ms', reconcile => '1s' });
my $P = '{trifecta:0}';
my $n = 0;


sub row {
    my ($id) = @_;
    return $t->sql('admin', 'SELECT state, error->>?, idem_key '
                   . 'FROM trifecta.job WHERE id = ?', 'code', $id)->[0] || [];
}

sub status { $t->result($_[0])->{json}{status} // '' }

# Redis has forgotten it, as it does an hour after the end.

sub an_hour_later {
    my ($id, $name) = @_;

    ok $t->wait_for(sub { !defined $t->redis('ZSCORE', "$P:live", $id) }, 20),
        'it has left the queue';
    $t->redis('DEL', "$P:j:$id");

    my $res = $t->result($id);
    is $res->{status}, 200, $name;
    is $res->{json}{status}, 'failed', '  as failed';
    is $res->{json}{error}{code}, 'queue_entry_damaged', '  which says why';
}

sub frozen {
    my ($damage) = @_;
    $t->freeze('sidecar');
    my $id = $t->post('/api/v1/query', { query => 'say=refused',
        model => 'test' }, headers => { 'Idempotency-Key' => 'key' . $n++ })
        ->{json}{query_id};
    $damage->($id);
    $t->thaw('sidecar');
    return $id;
}


# The ledger is first, or begin is: both find it out

for my $case ([ 'a model that is not UTF-8', model => "\xff" ],
              [ 'a kind that is not UTF-8', kind => "\xfe\xff" ],
              [ 'groups that are no JSON', groups => 'x' ])
{
    my ($what, @field) = @$case;
    my $id = frozen(sub { $t->redis('HSET', "$P:j:$_[0]", @field) });

    ok $t->wait_for(sub { status($id) eq 'failed' }, 20),
        "a_job_that_cannot_be_begun_fails: $what";
    an_hour_later($id, 'and_that_can_be_read_when_redis_has_forgotten_it');
    ok row($id)->[2], 'the row has its Idempotency-Key';
}


# Before the ledger has written it, begin alone

{
    my $id = frozen(sub {
        $t->redis('HSET', "$P:j:$_[0]", model => "\xff");
        $t->redis('DEL', "$P:acc");
    });

    ok $t->wait_for(sub { status($id) eq 'failed' }, 20),
        'a job of which the ledger never hears';
    an_hour_later($id, 'has_a_row_from_begin');
}


# The ledger alone, for it waits for its time, and is cancelled meanwhile

{
    $t->stop('sidecar', 0);
    my $id = $t->ask('say=refused', model => 'test');
    $t->redis('HSET', "$P:j:$id", kind => "\xff");
    my $res = $t->post("/api/v1/query/$id/cancel", {});
    is $res->{json}{status} // $res->{status}, 'cancelled', 'it is cancelled';
    $t->start('sidecar', 0);
    ok $t->wait_for(sub { (row($id)->[0] // '') =~ /^(cancelled|failed)$/ },
                    20),
        'a_job_that_was_cancelled_and_cannot_be_stored_has_a_row';
}


# A row of before ends, although what Redis has by now has no owner

{
    my $busy = $t->ask('sleep=2500 say=busy', model => 'test');
    my $busy2 = $t->ask('sleep=2500 say=busy', model => 'test');
    my $id = $t->ask('say=refused', model => 'test');
    ok $t->wait_for(sub { (row($id)->[0] // '') eq 'queued' }, 10),
        'a job has its row';
    $t->redis('HSET', "$P:j:$id", owner => "\xff");
    ok $t->wait_for(sub { (row($id)->[0] // '') eq 'failed' }, 20),
        'a_row_of_before_ends_when_its_owner_was_damaged';
    an_hour_later($id, 'and is read');
}


is $t->ask_and_wait('say=other', model => 'test')->{status}, 'succeeded',
    'the others go on';
$t->idle_holds('nothing is left');
$t->finish;
done_testing;
