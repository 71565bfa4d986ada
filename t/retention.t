# What ended long ago goes: days at once, else row by row in small numbers,
# by itself once an hour and by hand with "trifecta prune".  What is open
# stays, nobody waits long for it, and a poll of what went is 410.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Old qw(day old_partitions old_rows);
use Trifecta::Test::Proc;

my $t = Trifecta::Test->new(sidecars => 0, sidecar => { retention => '30d' },
                            result_cache => 'zone=results:4m');
my $slow = $t->slow;
my $n = 0;

# Everything is as old as its id: one of alice's that was accepted so long ago.

sub id {
    my ($days) = @_;
    my $ms = int((time - 86400 * $days) * 1000);
    my $head = pack('n N', $ms >> 32, $ms & 0xffffffff)
             . pack('C C C N', 0x70, 0, 0x80, ++$n);
    my $mac = substr hmac_sha256(pack('n/a* n/a* n/a*', $head, 'default',
        'test:alice'), $t->secret('id.key')), 0, 3;
    return join '-', unpack('H*', "$head$mac")
        =~ /^(.{8})(.{4})(.{4})(.{4})(.{12})$/;
}

sub row {
    my ($days, $state, $id) = @_;
    $id //= id($days);
    my $open = $state =~ /^(queued|running)$/;

    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, attempt, accepted, finished, deadline)'
        . " VALUES (?, 'default', 'test:alice', 'query', 'test', 1, ?, 1,"
        . ' now(), CASE WHEN ? THEN now() END, now())', $id, $state,
        $open ? 0 : 1);
    $t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant, owner,'
        . " attempt, body) VALUES (?, 'default', 'test:alice', 1, 'x')", $id)
        if $state eq 'succeeded';
    $t->sql('admin', 'INSERT INTO trifecta.job_step (job, step, tenant,'
        . " owner) VALUES (?, 'one', 'default', 'test:alice')", $id);

    return $id;
}

sub rows { old_rows($t, @_) }

sub partitions { old_partitions($t, @_) }

sub tables {
    my ($days) = @_;
    return join ' ', grep { $t->sql('admin', 'SELECT to_regclass(?)',
        "trifecta.${_}_" . day($days))->[0][0] } qw(job job_result job_step);
}

sub count {
    my ($table, $where) = @_;
    return $t->sql('admin', "SELECT count(*) FROM trifecta.$table WHERE "
        . ($where // 'true'))->[0][0];
}

sub there { join '', map { count('job', "id = '$_'") } @_ }

sub strays {
    my ($table) = @_;
    return count($table, 'NOT EXISTS (SELECT FROM trifecta.job'
        . " WHERE id = $table.job)");
}

my $BEFORE = "now() - interval '30 days'";

sub wipe {
    $t->sql('admin', "DELETE FROM trifecta.$_")
        for qw(job_step job_result job);
}


# By hand: which rows go, and which stay

partitions(40);
partitions(50);

my %id = (
    whole   => [map { row(40, $_) } qw(succeeded failed cancelled dead)],
    kept    => [row(50, 'queued')],
    by_row  => [map { row(50, $_) } qw(succeeded dead)],
    default => [map { row(60, $_) } qw(succeeded failed)],
    open    => [row(61, 'running'), row(61, 'queued')],
    young   => [row(29, 'succeeded'), row(0, 'succeeded')],
);

ok $t->wait_for(sub { $t->metrics->{trifecta_subscriber_ready_workers} == 2 },
                20), 'nginx hears Redis';
is $t->result($id{whole}[0])->{status}, 200, 'it is there';
cmp_ok $t->metrics->{trifecta_cache_entries}, '>=', 1, 'and in the cache now';
is scalar @{ $t->get('/api/v1/queries?limit=100')->{json}{data} }, 13,
    'all are in the list';

{
    my ($rc, $out) = $t->run('prune', '--dry-run');
    is $rc, 0, 'a dry run';
    like $out, qr/^would drop trifecta\.job_\Q${\day(40)}\E \(/m,
        'names what would be dropped';
    like $out, qr/^would delete from trifecta\.job_\Q${\day(50)}\E: 2 jobs /m,
        'and what would be deleted';
    like $out, qr/^would delete from trifecta\.job_default: 2 jobs /m,
        'of the default partition too';
    is there(map { @$_ } values %id), '1' x 13, 'a_dry_run_changes_nothing';
}

{
    my $sub = $t->redis_client;
    $sub->cmd('SSUBSCRIBE', '{trifecta:0}:inv');

    my ($rc, $out, $err) = $t->run('prune');
    is $rc, 0, 'trifecta prune' or diag $err;
    like $err, qr/^dropped trifecta\.job_\Q${\day(40)}\E$/m,
        'it says what it does';
    is $out, "3 partitions were dropped, 4 jobs were deleted row by row\n",
        'and what it did';

    is tables(40), '', 'a_day_in_which_all_has_ended_goes_as_a_whole';
    is there(@{ $id{by_row} }), '00', 'what_ended_beside_an_open_job_goes';
    is there(@{ $id{kept} }, @{ $id{open} }), '111', 'an_open_job_stays';
    is tables(50), 'job job_result job_step', 'with its partitions';
    is there(@{ $id{default} }), '00', 'the_default_partition_is_pruned';
    is there(@{ $id{young} }), '11', 'what_is_younger_stays';
    is count('job_result'), 2, 'results went with their jobs';
    is count('job_step'), 5, 'and steps';
    is strays($_), 0, "$_: none without its job" for qw(job_result job_step);

    my $message = $sub->reply;
    is $message->[1], '{trifecta:0}:inv', 'caches are told';
    my $bound = $t->sql('admin',
                        "SELECT trifecta.first_id($BEFORE)")->[0][0];
    is substr($message->[2], 0, 9), '<' . substr($bound, 0, 8),
        'below_which_id_nothing_is_kept';
}

{
    # within a minute the cache would forget it on its own
    my $res;
    $t->wait_for(sub { $res = $t->result($id{whole}[0]);
                       $res->{status} == 410 }, 5);
    is $res->{status}, 410, 'a_pruned_job_is_410_and_in_no_cache';
    is $res->{code}, 'gone', 'with its code';
    is $t->result($id{young}[0])->{status}, 200, 'one that is kept is not';

    my $list = $t->get('/api/v1/queries?limit=100')->{json};
    is scalar @{ $list->{data} }, 5, 'the_list_ends_earlier';
    ok !$list->{has_more}, 'and has no next page';
}

$t->sql('admin', "UPDATE trifecta.job SET state = 'failed' WHERE state IN"
                 . " ('queued', 'running')");
is +($t->run('prune'))[0], 0, 'once the open ones have ended';
is there(@{ $id{kept} }, @{ $id{open} }), '000', 'they go';
is tables(50), '', 'and their partitions';
is count('job', 'true'), 2, 'only the young are left';
wipe();


# Rows in small numbers

{
    rows(70, 2500);
    my @steps = map { $t->sql('queue', "SELECT jobs, rest FROM"
        . " trifecta.prune($BEFORE, 1000)")->[0] } 1 .. 4;
    is_deeply [map { $_->[0] } @steps], [1000, 1000, 500, 0],
        'a_step_deletes_at_most_as_many_jobs_as_it_was_told';

    # results whose day of jobs went without them
    rows(70, 2500);
    $t->sql('admin', 'DELETE FROM trifecta.job');
    row(70, 'running');
    @steps = map { $t->sql('queue', "SELECT jobs, rest FROM"
        . " trifecta.prune($BEFORE, 1000)")->[0] } 1 .. 4;
    is_deeply [map { $_->[1] } @steps], [1000, 1000, 500, 0],
        'results_without_a_job_go_the_same_way';
    is count('job_step'), 1, 'what belongs to an open job stays';
    wipe();
}


# What the role may not

for my $sql ("SELECT trifecta.drop_partition(now() - interval '1 hour')",
             "SELECT trifecta.prune(now(), 10)",
             "SELECT trifecta.prune($BEFORE, 1000000)",
             "DELETE FROM trifecta.job", "DROP TABLE trifecta.job_default",
             "SELECT trifecta.prune_parts(ARRAY[]::uuid[])")
{
    ok !eval { $t->sql('queue', $sql) }, "refused: $sql";
}

for my $role (qw(rag edge)) {
    ok !eval { $t->sql($role, "SELECT trifecta.drop_partition($BEFORE)") },
        "trifecta_$role may not drop anything";
}

is +($t->run('prune', '--before', '1h'))[0], 2, 'a day is always kept';
is +($t->run({ env => { TRIFECTA_RETENTION => '5h' } }, 'prune'))[0], 1,
    'a retention of less is refused';

{
    my ($rc, $out, $err) = $t->run({ env => { TRIFECTA_RETENTION => 0 } },
                                   'prune');
    is $rc, 2, 'for ever is for ever';
    like $err, qr/--before/, 'and the message says what to do instead';
}


# Somebody was there before

{
    partitions($_) for 80, 81, 82;
    row(80, 'succeeded');
    row(81, 'succeeded');
    row(82, 'succeeded');
    $t->sql('admin', 'DROP TABLE trifecta.job_' . day(80));
    $t->sql('admin', "ALTER TABLE trifecta.$_ DETACH PARTITION trifecta.${_}_"
                     . day(81)) for qw(job job_result job_step);
    $t->sql('admin', 'CREATE VIEW public.report AS SELECT id FROM'
                     . ' trifecta.job_' . day(82));
    row(83, 'failed');

    my ($rc, $out, $err) = $t->run('prune');
    is tables(80), '', 'what_was_dropped_by_hand_takes_its_results_along';
    is tables(81), 'job job_result job_step', 'what_was_detached_is_left';
    is tables(82), 'job job_result job_step', 'what a view needs stays';
    is $rc, 1, 'which is said';
    like $err, qr/a partition stays: .*depend on it/, 'with the reason';
    is count('job', "state = 'failed'"), 0, 'and the rest goes on';

    $t->sql('admin', 'DROP VIEW public.report');
    is +($t->run('prune'))[0], 0, 'without the view';
    is tables(82), '', 'it goes';
    $t->sql('admin', "DROP TABLE trifecta.${_}_" . day(81))
        for qw(job job_result job_step);
    wipe();
}


# A long reader of an old day.  While a lock is waited for, all the others
# wait behind it: measured by a client that goes on inserting.

{
    partitions(90);
    row(90, 'succeeded');

    my $reader = $t->pg_connect('admin');
    $reader->begin_work;
    $reader->selectall_arrayref('SELECT count(*) FROM trifecta.job');

    eval { $t->sql('queue', "SELECT trifecta.drop_partition($BEFORE)") };
    like $@, qr/lock timeout/, 'a_partition_in_use_is_not_waited_for';

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        my ($rc) = eval { $t->run('prune') };
        POSIX::_exit($rc // 99);
    }

    my ($worst, $rounds, $sum) = (0, 0, 0);
    my $queue = $t->pg_connect('queue');
    my $until = time + 4;
    while (time < $until) {
        my $begin = time;
        $queue->do('INSERT INTO trifecta.job (id, tenant, owner, kind, prio,'
            . " state, accepted, deadline) VALUES (?, 'default', 'test:x',"
            . " 'query', 1, 'failed', now(), now())", undef, id(0));
        my $took = time - $begin;
        $worst = $took if $took > $worst;
        $sum += $took;
        $rounds++;
        sleep 0.005;
    }

    is tables(90), 'job job_result job_step', 'nothing went so far';
    cmp_ok $worst, '<', 5 * 0.3 * $slow,
        'nobody_waits_longer_behind_it_than_the_lock_timeout';
    diag sprintf '%d inserts: mean %.1f ms, longest %.0f ms', $rounds,
                 1000 * $sum / $rounds, 1000 * $worst;

    $reader->rollback;
    waitpid $pid, 0;
    is $? >> 8, 0, 'prune_waited_for_the_reader_and_went_on';
    is tables(90), '', 'then it went';

    # one that never ends
    partitions(90);
    row(90, 'succeeded');
    row(95, 'succeeded');
    $reader->begin_work;
    $reader->selectall_arrayref('SELECT count(*) FROM trifecta.job_'
                                . day(90));
    my $begin = time;
    my ($rc, $out, $err) = $t->run('prune');
    cmp_ok time - $begin, '<', 5 * 40 * $slow, 'it ends';
    is $rc, 1, 'a_reader_that_does_not_end_is_not_waited_for_for_ever';
    like $err, qr/in use.*again in/, 'it says that it waits';
    like $err, qr/pg_stat_activity/, 'and where to look';
    is count('job', 'id < trifecta.first_id(now() - interval \'93 days\')'),
        0, 'what is not in use has gone';
    $reader->rollback;
    $reader->disconnect;
    is +($t->run('prune'))[0], 0, 'later it goes';
    wipe();
}


# Stopped in the middle: some of it has gone, all of that with its results

sub prune_until {
    my ($signal) = @_;
    my $log = "$t->{dir}/log/prune.log";
    my $proc = Trifecta::Test::Proc->start(name => 'prune', log => $log,
        env => { $t->_env }, cmd => [$t->{bin}, 'prune', '--config',
                                     "$t->{dir}/conf/sidecar.conf"]);
    my $all = count('job');
    $t->wait_for(sub { count('job') < $all || !$proc->alive }, 20);
    $proc->{killed} = 1;
    $proc->signal($signal);
    return $proc->wait(10 * $slow) ? $proc->{status} : 'it did not end';
}

for my $signal (qw(INT KILL)) {
    rows(70, 40000) if !count('job');
    my $before = count('job');
    my $status = prune_until($signal);
    my $left = count('job');

    SKIP: {
        skip "$signal came too late", 2 if $left == 0;
        is $left % 1000, 0, "SIG${signal}_leaves_whole_steps";
        is $status, $signal eq 'INT' ? 1 << 8 : 9, 'it was stopped';
    }
    is strays('job_result'), 0, 'no result is left without its job';
}

is +($t->run('prune'))[0], 0, 'started again it goes on';
is count('job'), 0, 'to the end';
is count('job_result'), 0, 'of the results too';


# By itself: soon after the start, by one sidecar of two, counted once

{
    partitions($_) for 40, 41;
    row($_, 'succeeded') for 40, 41;
    rows(70, 3500);
    $t->sql('admin', 'CREATE TABLE public.steps (n bigint)');
    $t->sql('admin', 'GRANT INSERT ON public.steps TO trifecta_owner');
    $t->sql('admin', 'CREATE FUNCTION public.step() RETURNS trigger LANGUAGE'
        . ' plpgsql AS $$ BEGIN INSERT INTO public.steps SELECT count(*) FROM'
        . ' gone; RETURN NULL; END $$');
    $t->sql('admin', 'CREATE TRIGGER step AFTER DELETE ON trifecta.job_default'
        . ' REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION'
        . ' public.step()');
    my $today = row(0, 'succeeded');
    $t->sql('admin', "DROP TABLE trifecta.${_}_" . day(-6))
        for qw(job job_result job_step);

    $t->start('sidecar', $_) for 0, 1;

    ok $t->wait_for(sub { count('job') == 1 && tables(40) eq ''
                          && tables(41) eq '' }, 60),
        'sidecars_prune_by_themselves';
    is there($today), '1', 'what is young stays';

    my ($partitions, $jobs);
    $t->wait_for(sub {
        $partitions = $jobs = 0;
        for (0, 1) {
            my $m = $t->metrics($_);
            $partitions += $m->{'trifecta_pruned_total{what="partitions"}'};
            $jobs += $m->{'trifecta_pruned_total{what="jobs"}'};
        }
        $partitions == 6 && $jobs == 3500;
    }, 10);
    is $partitions, 6, 'each_partition_was_dropped_by_one_of_them';
    is $jobs, 3500, 'each_job_was_deleted_by_one_of_them';

    is_deeply [map { $_->[0] } @{ $t->sql('admin',
        'SELECT n FROM public.steps WHERE n > 0') }], [1000, 1000, 1000, 500],
        'in_steps_of_a_thousand';
    ok $t->wait_for(sub { grep { /pruned 6 partitions and 3500 jobs/ }
        map { $t->log_of('sidecar', $_) } 0, 1 }, 10), 'with a line in the log';

    is tables(-6), 'job job_result job_step', 'the_next_days_are_made';
    is $t->sql('admin', 'SELECT count(*) FROM'
        . " pg_inherits WHERE inhrelid::regclass::text LIKE '%_default'")
        ->[0][0], 3, 'the default partitions stay';
}

is $t->ask_and_wait('say=hello', model => 'test')->{status}, 'succeeded',
    'and jobs go on';



# What expires in Redis

{
    my $P = '{trifecta:0}';
    my %of = ("$P:acc" => 'l', map { ("$P:r:$_" => 'w') } 0 .. 2);
    $t->redis('XGROUP', 'CREATECONSUMER', $_, $of{$_}, 'long-gone')
        for keys %of;
    $t->redis('ZADD', "$P:wk", 1, 'long-gone');

    my $seen = sub {
        scalar grep { my $s = $_; grep { grep { $_ eq 'long-gone' } @$_ }
            @{ $t->redis('XINFO', 'CONSUMERS', $s, $of{$s}) } } keys %of;
    };
    is $seen->(), 4, 'a worker of long ago';
    ok $t->wait_for(sub { !$seen->() }, 10),
        'a_worker_that_is_gone_is_forgotten_in_every_stream';

    my $id = $t->ask_and_wait('say=hello', model => 'test')->{query_id};
    is $t->request('DELETE', "/api/v1/query/$id")->{status}, 200, 'deleted';
    my $old = id(20);
    $t->request('DELETE', "/api/v1/query/$old");
    $t->idle_holds('marks_of_deletions_expire_with_all_the_rest');
    cmp_ok $t->redis('TTL', "$P:j:$_"), '<=', 3600, 'within an hour'
        for $id, $old;
}

$t->finish;
done_testing;
