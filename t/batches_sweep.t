# A sweep of the batches: what it does not do twice, and what it does not
# leave, whoever sweeps beside it and whatever is away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Batches qw(batch state row ended whole new_id);

my $t = Trifecta::Test->new(models => 'extractive test', sidecars => 1,
    sidecar => { threads => 4, batch_open => 16, reconcile => '1s',
                 lease => '2s', heartbeat => '500ms' });
my $LOCK = "hashtext('trifecta.batches')";

sub admin { $t->sql('admin', @_)->[0][0] }

# Nobody sweeps until it is disconnected.

sub no_sweeps {
    my $dbh = $t->pg_connect('queue');
    $dbh->do("SELECT pg_advisory_lock($LOCK)");
    return $dbh;
}

# A connection of another one that sweeps: it is in a transaction.

sub other_sweep {
    my $dbh = $t->pg_connect('admin');
    $dbh->begin_work;
    return $dbh;
}

sub a_sweep_waits {
    my ($like) = @_;
    return $t->wait_for(sub {
        admin('SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = '
              . "'Lock' AND query LIKE ?", "%$like%")
    }, 10);
}


# another one has ended a line whose job has ended

{
    my $id = batch($t, ['sleep=3000 say=one', 'sleep=3000 say=two',
                        'sleep=3000 fail=1']);
    my $jobs = 'SELECT count(*) FROM trifecta.job WHERE id IN (SELECT job '
        . 'FROM trifecta.batch_line WHERE batch = ?)';

    ok $t->wait_for(sub { admin($jobs, $id) == 3 }, 10), 'three jobs';

    my $lock = no_sweeps();
    is row($t, $id)->{done}, 0, 'of which none has ended';
    $t->wait_for(sub { admin("$jobs AND state IN ('queued', 'running')", $id)
                       == 0 }, 20);

    my $other = other_sweep();
    $other->do('UPDATE trifecta.batch SET done = done + 1 WHERE id = ?', undef,
               $id);
    $other->do('UPDATE trifecta.batch_line SET ended = true, ok = true, '
               . 'seq = 1 WHERE batch = ? AND n = 2', undef, $id);
    $lock->disconnect;
    ok a_sweep_waits('FOR UPDATE'), 'two sweeps meet at an ended line';
    $other->commit;

    is ended($t, $id), 'completed', 'the batch ends';
    is whole($t, $id), '', 'an_ended_line_is_counted_once_by_two_sweeps';
}


# another one has ended a line that was refused

{
    my $lock = no_sweeps();
    my $id = batch($t, [({ code => 'invalid_value', message => 'No.' }) x 3],
                   failed => 1);
    my $other = other_sweep();
    $other->do('UPDATE trifecta.batch_line SET ended = true, ok = false, '
               . 'seq = 1 WHERE batch = ? AND n = 2', undef, $id);
    $lock->disconnect;
    $t->wait_for(sub { row($t, $id)->{failed} == 3 }, 3);
    $other->commit;

    is ended($t, $id), 'completed', 'a batch of refused lines ends';
    is whole($t, $id), '', 'a_refused_line_is_counted_once_by_two_sweeps';
}


# another one has made a line's job

{
    my $lock = no_sweeps();
    my $id = batch($t, ['say=one', 'say=two', 'say=three']);
    my $job = new_id($t);
    my $other = other_sweep();
    $other->do("INSERT INTO trifecta.job (id, tenant, owner, kind, prio, "
        . "state, request, request_id, fingerprint, accepted, finished, "
        . "deadline) SELECT ?, tenant, owner, 'batch_query', 2, 'succeeded', "
        . "'{}', request_id, '', now(), now(), now() + interval '1 hour' "
        . 'FROM trifecta.batch WHERE id = ?', undef, $job, $id);
    $other->do('UPDATE trifecta.batch_line SET job = ?, request = NULL '
               . 'WHERE batch = ? AND n = 2', undef, $job, $id);
    $lock->disconnect;
    $t->wait_for(sub { row($t, $id)->{done} == 2 }, 4);
    $other->commit;

    is ended($t, $id), 'completed', 'a batch that two sweeps begin ends';
    is whole($t, $id), '', 'a_line_is_one_job_of_two_sweeps';
}


# the connection of the lock goes in the middle of a sweep

{
    $t->stop('sidecar', 0);

    my $id = batch($t, ['say=one', 'say=two']);
    my $empty = batch($t, [], state => 'validating');

    $t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => 'batch.made=sleep4000' };
    $t->launch('sidecar', 0);
    delete $t->{opt}{proc_env}{sidecar};
    ok $t->wait_for(sub { $t->log_of('sidecar', 0)
                          =~ /crash point batch\.made/ }, 20),
        'a sweep is in its middle';

    admin("SELECT pg_terminate_backend(pid) FROM pg_locks "
          . "WHERE locktype = 'advisory' AND granted AND objid = ("
          . "hashtext('trifecta.batches')::bigint & 4294967295)::oid");
    my $lock = no_sweeps();
    $t->sql('admin', "UPDATE trifecta.batch SET state = 'finalizing', "
            . 'begun = now() WHERE id = ?', $empty);
    sleep 6 * $t->slow;
    is state($t, $empty), 'finalizing',
        'a_sweep_without_its_lock_does_nothing_more';
    $lock->disconnect;
    is ended($t, $empty), 'completed', 'the next one goes on';
    is ended($t, $id), 'completed', 'with all of it';
    is whole($t, $id), '', 'whole';
}


# requests that will never run: of batches that ended before they began

{
    my $never = batch($t, [('say=x') x 2500], state => 'validating',
                      created => '2020-01-01');
    is ended($t, $never), 'failed', 'a batch that never began fails';

    my $reads = batch($t, ['say=x'], state => 'validating');
    my $ran = batch($t, ['say=x', { code => 'invalid_value',
                                    message => 'No.' }]);
    is ended($t, $ran), 'completed', 'another one runs';

    # it looks once a minute, and soon after its start

    $t->restart('sidecar', 0);
    my $lines = 'SELECT count(*) FROM trifecta.batch_line WHERE batch = ?';
    ok $t->wait_for(sub { admin($lines, $never) == 0 }, 40),
        'the_requests_of_a_batch_that_never_began_go';
    is admin($lines, $reads), 1, 'those of one that is being read stay';
    is whole($t, $ran), '', 'and the lines of one that ran';
    is state($t, $never), 'failed', 'the batch itself stays';
    $t->sql('admin', "UPDATE trifecta.batch SET state = 'cancelling', "
            . 'cancelling = now() WHERE id = ?', $reads);
    is ended($t, $reads), 'cancelled', 'and is cancelled';
}

$t->idle_holds('at the end nothing is left in the queue');
$t->finish;
done_testing;
