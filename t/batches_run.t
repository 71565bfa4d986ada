# Batches are run to their end: each line once, whoever dies.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Batches qw(batch state row ended whole new_id);

my $t = Trifecta::Test->new(models => 'extractive test', sidecars => 1,
    sidecar => { threads => 8, batch_open => 16, reconcile => '1s',
                 lease => '2s', heartbeat => '500ms' });
my $P = '{trifecta:0}';

sub admin { $t->sql('admin', @_)->[0][0] }

sub lines { [map { "say=line $_" } 1 .. $_[0]] }

sub jobs_of {
    my ($id, $where) = @_;
    return admin('SELECT count(*) FROM trifecta.batch_line AS l JOIN '
        . 'trifecta.job AS j ON j.id = l.job WHERE l.batch = ? AND '
        . ($where // 'true'), $id);
}


# lines that succeed, fail, and were refused

{
    my $id = batch($t, ['say=one', 'fail=1', { code => 'model_not_found',
        message => 'No such model.', param => 'model' }, 'say=two', 'flaky=1 '
        . 'say=three'], groups => '["staff"]');

    is ended($t, $id), 'completed', 'a batch comes to its end';
    is whole($t, $id), '', 'each_line_is_once_in_the_output_or_in_the_errors';

    my $b = row($t, $id);
    is "$b->{total} $b->{done} $b->{failed}", '5 3 2', 'it counts them';
    is admin('SELECT string_agg(custom_id, $$,$$ ORDER BY n) FROM '
             . 'trifecta.batch_line WHERE batch = ? AND ok', $id),
        'line 1,line 4,line 5', 'those with an answer';
    is_deeply $t->sql('admin', "SELECT error ->> 'code', error ->> 'param', "
                      . 'status, job FROM trifecta.batch_line WHERE batch = ? '
                      . 'AND n = 3', $id),
        [['model_not_found', 'model', 400, undef]],
        'a refused line keeps its error and runs nothing';
    is jobs_of($id, q{kind = 'batch_query' AND prio = 2 AND j.tenant = 'default'
               AND j.owner = 'test:ann' AND groups = '["staff"]'}), 4,
        'its_jobs_are_ordinary_ones_of_its_owner';
    is jobs_of($id, 'j.deadline = (SELECT expires FROM trifecta.batch WHERE '
               . 'id = l.batch)'), 4, 'a_job_has_as_long_as_its_batch';
    is $b->{output_bytes}, admin('SELECT sum(octet_length(body)) FROM '
        . 'trifecta.job_result WHERE job IN (SELECT job FROM '
        . 'trifecta.batch_line WHERE batch = ? AND ok)', $id),
        'the bytes of the output are those of its answers';
    is_deeply $t->sql('admin', 'SELECT bytes, purpose, expires FROM '
                      . 'trifecta.file WHERE id = ?', $b->{output}),
        [[$b->{output_bytes}, 'batch_output', undef]], 'its file says so';

    no warnings 'portable';
    my $ms = hex substr $b->{output} =~ s/-//gr, 0, 12;
    ok abs($ms / 1000 - time) < 600 && $b->{output} =~ /^[^-]+-[^-]+-7/,
        'the_id_of_a_file_tells_its_time';
    is admin("SELECT (usage ->> 'total_tokens')::int FROM trifecta.batch "
             . 'WHERE id = ?', $id),
        admin("SELECT sum((j.usage ->> 'total_tokens')::int) FROM trifecta.job "
              . 'AS j JOIN trifecta.batch_line AS l ON l.job = j.id '
              . 'WHERE l.batch = ?', $id),
        'its usage is the sum of its jobs';
    ok $b->{begun} le $b->{finalizing} && $b->{finalizing} le $b->{ended},
        'it went through finalizing';
    is admin('SELECT max(ended - finished) < ? * interval $$1 s$$ FROM '
             . 'trifecta.batch, trifecta.job WHERE batch.id = ? AND '
             . 'job.id IN (SELECT job FROM trifecta.batch_line '
             . 'WHERE batch = batch.id)', 15 * $t->slow, $id), 1,
        'and ends soon after its last job';
}


# a window of its lines; an ordinary question goes first

{
    my $id = batch($t, [map { "sleep=400 say=$_" } 1 .. 120]);
    my ($most, $max) = (0, 0);

    $t->wait_for(sub { jobs_of($id) > 0 }, 10 * $t->slow);

    my $asked = $t->ask('say=now', model => 'test');
    my $answer = $t->wait_for_answer($asked);
    my $behind = admin("SELECT count(*) FROM trifecta.job WHERE accepted < "
        . '(SELECT accepted FROM trifecta.job WHERE id = ?) AND kind = '
        . "'batch_query' AND coalesce(started, 'infinity') > "
        . '(SELECT started FROM trifecta.job WHERE id = ?)', $asked, $asked);
    is $answer->{status}, 'succeeded', 'a question beside a batch is answered';
    cmp_ok $behind, '>', 0, 'before_those_of_the_batch_that_waited';

    while (state($t, $id) eq 'in_progress') {
        my $open = jobs_of($id, "state IN ('queued', 'running') "
                                . 'AND NOT l.ended');
        $most = $open if $open > $most;
        my $running = jobs_of($id, "state = 'running'");
        $max = $running if $running > $max;
        sleep 0.1;
    }

    is ended($t, $id), 'completed', 'and the batch as well';
    is whole($t, $id), '', 'whole';
    cmp_ok $most, '<=', 16, 'at_most_a_window_of_its_lines_are_jobs';
    cmp_ok $most, '>=', 8, 'and it is filled again';
    cmp_ok $max, '<=', 4, 'half of the places are left to others';
}


# batches of one tenant take turns, another tenant's is not held up

{
    my @ids = map { batch($t, [map { "sleep=100 say=$_" } 1 .. 40]) } 1 .. 6;
    my $other = batch($t, ['say=quick'], tenant => 'acme');

    is ended($t, $other), 'completed', 'a batch of another tenant ends';
    cmp_ok((grep { state($t, $_) eq 'in_progress' } @ids), '>=', 1,
        'while those of the first go on');
    my $open = admin("SELECT count(*) FROM trifecta.batch_line AS l JOIN "
        . 'trifecta.batch AS b ON b.id = l.batch WHERE NOT l.ended AND '
        . "job IS NOT NULL AND b.tenant = 'default'");
    cmp_ok $open, '<=', 64, 'a_tenant_has_at_most_four_windows';
    $t->wait_for(sub { !grep { row($t, $_)->{done} == 0 } @ids },
                 20 * $t->slow);
    is scalar(grep { row($t, $_)->{done} == 0 } @ids), 0,
        'each of its batches makes progress';
    is ended($t, $_, 60), 'completed', 'ends' for @ids;
    is whole($t, $_), '', 'whole' for @ids;
}


# a batch whose time is over, and one that is cancelled

for my $case (['expired', 'batch_expired', 'expires = now()'],
              ['cancelled', 'batch_cancelled',
               "state = 'cancelling', cancelling = now()"])
{
    my ($state, $code, $set) = @$case;
    my $id = batch($t, ['say=first', map({ 'sleep=60000 say=x' } 1 .. 20),
                        { code => 'invalid_value', message => 'No.' }]);

    $t->wait_for(sub { row($t, $id)->{done} == 1 }, 10 * $t->slow);
    $t->sql('admin', "UPDATE trifecta.batch SET $set WHERE id = ?", $id);
    is ended($t, $id), $state, "a batch is $state";
    is whole($t, $id), '', "a_batch_that_is_${state}_is_whole";
    is_deeply $t->sql('admin', "SELECT error ->> 'code', count(*), "
                      . 'count(job) > 0 FROM trifecta.batch_line WHERE '
                      . 'batch = ? GROUP BY 1 ORDER BY 2, 1', $id),
        [['invalid_value', 1, 0], [undef, 1, 1], [$code, 20, 1]],
        'what has an answer keeps it, the rest says why';
    is jobs_of($id, "state = 'cancelled'"), jobs_of($id) - 1,
        'its jobs were stopped';
}


# what nginx left in the middle

{
    my $id = batch($t, ['say=x'], state => 'validating', total => 0,
                   created => '2020-01-01');
    is ended($t, $id), 'failed', 'a batch that nobody reads any more fails';
    like row($t, $id)->{errors}, qr/validation_lost.*Create the batch again/,
        'it says what to do';
    is jobs_of($id), 0, 'and nothing was run';

    my $young = batch($t, ['say=x', 'say=y'], state => 'validating',
                      total => 0);
    sleep 2.5;
    is state($t, $young), 'validating', 'a young one is left alone';
    $t->sql('admin', "UPDATE trifecta.batch SET state = 'cancelling', "
            . 'cancelling = now() WHERE id = ?', $young);
    is ended($t, $young), 'cancelled', 'it can be cancelled all the same';
    is whole($t, $young), '', 'and is whole';
}


# Redis away for a while; its jobs come back when it is emptied

{
    my $id = batch($t, [map { "sleep=50 say=$_" } 1 .. 60]);
    $t->wait_for(sub { row($t, $id)->{done} > 0 }, 10 * $t->slow);
    $t->stop('redis');
    sleep 3;
    is state($t, $id), 'in_progress', 'without Redis a batch waits';
    $t->start('redis');
    is ended($t, $id, 60), 'completed', 'and goes on when it is back';
    is whole($t, $id), '', 'whole';
}


# jobs that were made, and of which Redis never heard

{
    my @ids = map { batch($t, lines(3)) } 1;
    is ended($t, $ids[0]), 'completed', 'before';

    $t->stop('sidecar', 0);
    my $id = batch($t, lines(30));
    $t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => 'batch.made' };
    $t->launch('sidecar', 0)->wait(20 * $t->slow);
    delete $t->{opt}{proc_env}{sidecar};
    is jobs_of($id, "state = 'queued'"), 16, 'a sidecar dies with jobs made';
    is $t->redis('ZCARD', "$P:live"), 0, 'of which Redis has none';
    $t->start('sidecar', 0);
    is ended($t, $id, 60), 'completed', 'another one goes on';
    is whole($t, $id), '', 'a_sidecar_that_dies_loses_and_repeats_no_line';
}


# one sweep at a time, whoever makes it

{
    my $other = $t->pg_connect('queue');
    $other->do("SELECT pg_advisory_lock(hashtext('trifecta.batches'))");
    my $id = batch($t, lines(3));
    sleep 3;
    is admin('SELECT count(job) FROM trifecta.batch_line WHERE batch = ?',
             $id), 0, 'while_another_one_sweeps_nobody_else_does';
    $other->disconnect;
    is ended($t, $id), 'completed', 'and then it is taken up';
}


# two sidecars, of which one is killed again and again

{
    $t->{opt}{sidecars} = 2;
    $t->write_conf;
    my $id = batch($t, [map { $_ % 50 ? "sleep=20 say=$_" : 'fail=1' }
                        1 .. 500]);
    my $kills = 0;

    $t->start('sidecar', 1);

    for (1 .. 400) {
        last if state($t, $id) ne 'in_progress';
        $t->kill('sidecar', $kills % 2);
        $t->start('sidecar', $kills % 2);
        $kills++;
        sleep 1.5;
        last if $kills == 8;
    }

    is ended($t, $id, 120), 'completed', "500 lines end after $kills kills";
    is whole($t, $id), '', 'kills_of_the_sidecars_lose_and_repeat_no_line';
    my $b = row($t, $id);
    is "$b->{done} $b->{failed}", '490 10', 'each as it is';
}


# who stands still holds nobody up, even in the middle of a sweep

{
    $t->stop('sidecar', $_) for 0, 1;
    my $id = batch($t, [map { "sleep=100 say=$_" } 1 .. 60]);
    $t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => 'batch.put=stop' };
    $t->launch('sidecar', 0);
    delete $t->{opt}{proc_env}{sidecar};
    ok $t->wait_for(sub { $t->log_of('sidecar', 0)
                          =~ /crash point batch\.put/ }, 20 * $t->slow),
        'a sidecar stands still while it sweeps';
    $t->start('sidecar', 1);
    is ended($t, $id, 120), 'completed',
        'a_sweep_that_stands_still_is_taken_over';
    is whole($t, $id), '', 'whole';
    $t->kill('sidecar', 0);
    $t->start('sidecar', 0);
}


# metrics

{
    my $metrics;
    ok $t->wait_for(sub {
        $metrics = join '', map { $t->sidecar_get($_, '/metrics')->{content} }
                   0, 1;
        2 == (() = $metrics =~ /^trifecta_batches\{state="in_progress"\} 0$/mg)
    }, 10 * $t->slow), 'every sidecar knows the open batches by state';
    like $metrics, qr/^trifecta_batch_lines_total\{outcome="succeeded"\} \d+/m,
        'lines by outcome';
}


# deleted files: parts and answers go in steps

{
    my $id = batch($t, lines(3));
    is ended($t, $id), 'completed', 'a batch';
    my $output = row($t, $id)->{output};
    my $file = new_id($t);

    $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name, '
        . "purpose, whole) VALUES (?, 'default', 'test:ann', 'n', 'batch', "
        . 'true)', $file);
    $t->sql('admin', 'INSERT INTO trifecta.file_part SELECT ?, g, '
        . "'default', 'test:ann', 'x' FROM generate_series(0, 39) AS g",
        $file);
    $t->sql('admin', 'DELETE FROM trifecta.file WHERE id IN (?, ?)', $file,
            $output);
    ok $t->wait_for(sub { !admin('SELECT count(*) FROM trifecta.file_gone') },
                    20 * $t->slow), 'what deleted files leave goes';
    is admin('SELECT count(*) FROM trifecta.file_part'), 0,
        'the_parts_of_a_deleted_file_go';
    ok $t->wait_for(sub { jobs_of($id, 'deleted IS NOT NULL') == 3 },
                    10 * $t->slow), 'the_answers_of_a_deleted_output_go';
    is admin('SELECT count(*) FROM trifecta.job_result WHERE job IN (SELECT '
             . 'job FROM trifecta.batch_line WHERE batch = ?)', $id), 0,
        'with what they said';
}


# what is too old

{
    my $old = batch($t, lines(2));
    is ended($t, $old), 'completed', 'a batch';
    my $keep = batch($t, lines(2));
    is ended($t, $keep), 'completed', 'and another one';

    my %file = map { $_ => new_id($t) } qw(expired unfinished stays young);
    $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name, '
        . "purpose, whole, created, expires) VALUES (?, 'default', 'o', 'n', "
        . "'batch', ?, now() - ?::interval, now() + ?::interval)",
        $file{$_->[0]}, @$_[1 .. 3])
        for ['expired', 't', '2 days', '-1 second'],
            ['unfinished', 'f', '2 hours', undef],
            ['stays', 't', '2 days', '1 hour'], ['young', 'f', '1 s', undef];
    $t->sql('admin', "UPDATE trifecta.batch SET created = now() - interval "
        . "'11 years' WHERE id = ?", $old);

    $t->restart('sidecar', 0);

    ok $t->wait_for(sub { state($t, $old) eq 'none' }, 80 * $t->slow),
        'a_batch_older_than_retention_goes';
    is admin('SELECT count(*) FROM trifecta.batch_line WHERE batch = ?', $old),
        0, 'with its lines';
    is admin('SELECT count(*) FROM trifecta.file WHERE batch = ?', $old), 0,
        'and its files';
    is whole($t, $keep), '', 'a younger one stays as it is';
    is_deeply [map { admin('SELECT count(*) FROM trifecta.file WHERE id = ?',
                           $file{$_}) } qw(expired unfinished stays young)],
        [0, 0, 1, 1], 'files_that_expired_or_were_never_whole_go';
}

$t->idle_holds('at the end nothing is left in the queue');
$t->finish;
done_testing;
