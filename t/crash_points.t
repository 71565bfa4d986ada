# Each crash point of include/trifecta/fault.h: a process dies there, on a real
# stack with work in its hands, and what was promised is kept.
#
# The points are shared out among a few stacks that run at the same time.  Each
# runs this file once more, told its points; what it says is said again here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Batches qw(batch ended new_id whole);
use Trifecta::Test::Old qw(day old_left old_partitions old_rows);
use Trifecta::Test::Promises;
use Trifecta::Test::Stacks;

my $STACKS = 3;
my $LONG = 2500;         # ms: a job still runs when its sidecar is killed
my $P = '{trifecta:0}';
my $bin = $ENV{TRIFECTA_BIN} || Trifecta::Test->root . '/build/test/trifecta';
my ($t, $p);


# What brings a program to a point: [how, the points of the table that it
# does].  A point that is missing here fails, as does one that is not reached.

my %HOW = (
    jobs => [qw(claim.answered claim.held begin.before begin.sent
                begin.committed started.sent started.answered run.before
                run.after complete.before complete.sent complete.committed
                finish.before finish.sent finish.answered heart.before
                heart.answered)],
    tells => [qw(emit.before emit.sent)],
    retry => [qw(retry.before retry.sent retry.answered pump.answered)],
    ends => [qw(ledger.read ledger.gathered ledger.new ledger.expired
                ledger.cancelled ledger.relogged ledger.damaged
                ledger.closed ledger.erased ledger.answered)],
    take_over => [qw(reclaim.answered)],
    back_in_time => [qw(relet.answered)],
    emptied => [qw(rebuild.numbered rebuild.begun rebuild.restored
                   rebuild.keyed rebuild.marked rebuild.adopted)],
    went_back => [qw(rebuild.settled rebuild.forgotten)],
    differ => [qw(reconcile.begun reconcile.rows reconcile.live
                  reconcile.strays)],
    told => [qw(cancel.heard)],
    told_late => [qw(cancel.beaten)],
    prunes => [qw(days.made prune.begun prune.dropped prune.rows prune.done
                  prune.told)],
    batches => [qw(batch.made batch.put batch.noted batch.final batch.closed
                   batch.gone)],
    drain => [qw(drain.begun drain.stopped drain.empty release.before
                 release.sent release.answered)],
    submit => [qw(submit.before submit.sent submit.answered)],
    durable => [qw(durable.waits durable.committed)],
    cancel => [qw(cancel.before cancel.sent cancel.answered)],
    delete => [qw(delete.before delete.sent delete.answered)],
);

my %how = map { my $h = $_; map { $_ => $h } @{ $HOW{$h} } } keys %HOW;


sub armed {
    my ($what, $point) = @_;

    $t->{opt}{proc_env}{$what} = { TRIFECTA_FAULT => $point };
    my $proc = $t->launch($what);
    delete $t->{opt}{proc_env}{$what};

    return $proc;
}

sub says { $t->read_file($_[0]) =~ /^crash point \Q$_[1]\E, passage 1 /m }

sub running {
    my ($job) = @_;
    return $t->wait_for(sub {
        ($t->redis('HGET', "$P:j:$job->{id}", 'attempt') // 0) > 0
    }, 10);
}

sub hset { my $job = shift; $t->redis('HSET', "$P:j:$job->{id}", @_) }


# Each starts what dies, and returns [how often a job was lost, process].

sub jobs {
    my ($point) = @_;
    $p->ask("sleep=400 say=$point $_") for 1 .. 6;
    $p->ask("fail=1", want => 'failed', code => 'internal_error');
    return armed('sidecar', $point);
}

sub tells {
    my ($point) = @_;
    $p->ask("pieces=5 every=50 say=$point $_") for 1 .. 6;
    return armed('sidecar', $point);
}

sub retry {
    my ($point) = @_;
    my $proc = armed('sidecar', $point);
    $p->ask("flaky=1 say=$point $_", runs => 2) for 1 .. 3;
    return $proc;
}

sub ends {
    my ($point) = @_;
    my @claim = ('FCALL', 'trifecta_claim_v1', 1, $P, 'nobody', 1, 0);
    my ($late, $damaged) = map {
        $p->ask("say=$_", want => 'failed', code => $_)
    } qw(deadline_exceeded queue_entry_damaged);

    # a claim finds out, so that the ledger has all of it in one batch
    hset($late, dl => 1);
    hset($damaged, lease => 'x');
    $t->redis(@claim);

    $p->ask("say=$point");
    my ($cancelled, $deleted) = map { $p->ask("say=$_", want => $_) }
        qw(cancelled deleted);
    $p->cancel($cancelled);
    $p->delete($deleted);

    return armed('sidecar', $point);
}

sub take_over {
    my ($point) = @_;
    my @held;

    $t->start('sidecar', 1);
    @held = map { $p->ask("sleep=$LONG say=$point $_", runs => 2) } 1 .. 3;
    running($_) for @held;
    my $proc = armed('sidecar', $point);
    $t->kill('sidecar', 1);

    return $proc;
}

# Rows of jobs that run and of jobs that wait; nobody works on them.

sub left_behind {
    my ($point) = @_;
    $t->start('sidecar', 1);
    my @jobs = map { $p->ask("sleep=$LONG say=$point $_", runs => 2) } 1 .. 6;
    running($_) for @jobs[0 .. 3];
    $t->wait_for(sub { !$t->redis('XLEN', "$P:acc") }, 10);
    $t->kill('sidecar', 1);
    return @jobs;
}

sub emptied {
    my ($point) = @_;
    left_behind($point);
    $t->redis('FLUSHALL');
    return armed('sidecar', $point);
}

# PostgreSQL forgot a job that waits, and its last mark.

sub went_back {
    my ($point) = @_;
    my @jobs = left_behind($point);
    $t->sql('admin', 'DELETE FROM trifecta.job WHERE id = ?', $jobs[5]{id});
    $t->sql('admin', 'UPDATE trifecta.shard SET mark = 0');
    return armed('sidecar', $point);
}

# A job that only PostgreSQL knows, one that only Redis knows, and one of which
# Redis has lost the half.

sub differ {
    my ($point) = @_;
    my @jobs = left_behind($point);
    $t->redis('FCALL', 'trifecta_drop_v1', 1, $P, $jobs[4]{id}, 'default');
    $t->sql('admin', 'DELETE FROM trifecta.job WHERE id = ?', $jobs[5]{id});
    $t->redis('DEL', "$P:j:$jobs[0]{id}");
    return armed('sidecar', $point);
}

sub back_in_time {
    my ($point) = @_;
    my $job = $p->ask("sleep=$LONG say=$point", runs => 2);

    $t->start('sidecar', 1);
    running($job);
    $t->kill('sidecar', 1);
    $t->sql('admin', 'UPDATE trifecta.job SET lease = 50 WHERE id = ?',
            $job->{id});

    return armed('sidecar', $point);
}

sub told {
    my ($point) = @_;
    my $proc = armed('sidecar', $point);
    my $job = $p->ask('sleep=60000 say=told', want => 'cancelled');
    running($job);
    $p->cancel($job);
    return $proc;
}

sub told_late {
    my ($point) = @_;
    my $proc = armed('sidecar', $point);
    my $job = $p->ask('sleep=60000 say=late', want => 'cancelled');
    running($job);
    hset($job, cancel => 1);    # the channel's message got lost
    return $proc;
}

sub drain {
    my ($point) = @_;
    my $proc = armed('sidecar', $point);
    my @jobs = map { $p->ask("sleep=2500 say=$point $_", runs => 2) } 1 .. 4;
    my $next = $p->ask("say=$point next");
    running($_) for @jobs;
    $proc->signal('TERM');
    return $proc;
}

# Jobs of long ago, in a partition of their day and in one that stays; and a
# day ahead has none.

sub prunes {
    my ($point) = @_;
    old_partitions($t, 60);
    old_rows($t, $_, 3) for 60, 90;
    $t->sql('admin', "DROP TABLE trifecta.${_}_" . day(-5))
        for qw(job job_result job_step);
    $p->ask("say=$point");
    return armed('sidecar', $point);
}

sub pruned {
    my ($point) = @_;
    my $there = sub { grep { $t->sql('admin', 'SELECT to_regclass(?)',
        "trifecta.${_}_" . day($_[0]))->[0][0] } qw(job job_result job_step) };

    ok $t->wait_for(sub { !old_left($t) && !$there->(60) }, 20 * $t->slow),
        "$point: what is old goes all the same";
    is $there->(-5), 3, "$point: and the days ahead are there";
}


# A batch, and an output that was deleted.

my @batches;

sub batches {
    my ($point) = @_;
    my $file = new_id($t);

    $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name, '
        . "purpose, whole) VALUES (?, 'default', 'test:ann', 'n', 'batch', "
        . 'true)', $file);
    $t->sql('admin', 'INSERT INTO trifecta.file_part SELECT ?, g, '
        . "'default', 'test:ann', 'x' FROM generate_series(0, 19) AS g",
        $file);
    $t->sql('admin', 'DELETE FROM trifecta.file WHERE id = ?', $file);
    @batches = batch($t, [map { "say=$point $_" } 1 .. 6]);

    return armed('sidecar', $point);
}

sub batched {
    my ($point) = @_;

    is ended($t, $batches[0]), 'completed', "$point: the batch goes on";
    is whole($t, $batches[0]), '', "$point: each line is there once";
    ok $t->wait_for(sub { !$t->sql('admin', 'SELECT (SELECT count(*) FROM '
        . 'trifecta.file_part) + (SELECT count(*) FROM trifecta.file_gone)')
        ->[0][0] }, 20 * $t->slow), "$point: a deleted file goes";

    # these are promised by nobody else
    $t->{promised} //= 0;
    $t->idle_holds("$point: nothing is left of it");
    $t->sql('admin', 'DELETE FROM trifecta.job_result WHERE job IN (SELECT id'
        . " FROM trifecta.job WHERE kind LIKE 'batch%')");
    $t->sql('admin', "DELETE FROM trifecta.job WHERE kind LIKE 'batch%'");
}


# The same for nginx, whose worker dies; the sidecar lives.

sub submit {
    my ($point) = @_;
    my $job = $p->ask("say=$point");
    is $job->{answer}{status}, 599, "$point: the client is left alone";
}

sub durable {
    my ($point) = @_;
    my $job = $p->ask("say=$point", prefer => 'durable');
    is $job->{answer}{status}, 599, "$point: the client is left alone";
}

sub cancel {
    my ($point) = @_;
    my $job = $p->ask('sleep=60000 say=stop', want => 'cancelled');
    running($job);
    $p->cancel($job);
    $t->wait_for(sub { $p->cancel($job)->{status} == 200 }, 5);
}

sub delete {
    my ($point) = @_;
    my @jobs = map { $p->ask("$_ say=gone", want => 'deleted') }
        'sleep=60000', 'sleep=1';
    running($jobs[0]);
    $t->wait_for(sub { $t->result($jobs[1]{id})->{json}{response} }, 5);

    for my $job (@jobs) {
        $p->delete($job);
        $t->wait_for(sub { $p->delete($job)->{status} =~ /^(200|410)$/ }, 5);
    }
}


sub one_of_the_sidecar {
    my ($point) = @_;
    my $died = main->can($how{$point})->($point);

    my $dead = $died->wait(20 * $t->slow);
    ok $dead && says("$t->{dir}/log/sidecar0.log", $point),
        "$point: the sidecar dies there";
    $died->kill;
    unlink "$t->{dir}/log/sidecar0.log";

    $t->start('sidecar');
    pruned($point) if $how{$point} eq 'prunes';
    batched($point) if $how{$point} eq 'batches';
    my @broken = $p->broken(crashes => 1);
    is_deeply \@broken, [], "$point: what was promised is kept";
    $t->stop('sidecar');
}


sub one_of_the_edge {
    my ($point) = @_;

    $t->stop('nginx');
    $t->start('sidecar');
    armed('nginx', $point);
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10);

    main->can($how{$point})->($point);

    ok $t->wait_for(sub { says("$t->{dir}/log/error.log", $point) }, 5),
        "$point: a worker of nginx dies there";

    my @broken = $p->broken;
    is_deeply \@broken, [], "$point: what was promised is kept";
    $t->stop('sidecar');
}


if (my $points = $ENV{TF_CRASH_POINTS}) {
    my $n = Trifecta::Test->new(start => 0)->slow;

    $t = Trifecta::Test->new(sidecars => 0, sidecar => {
        threads => 4, lease => $n . 's', heartbeat => 200 * $n . 'ms',
        drain_timeout => '500ms', reconcile => $n . 's',
        retention => '30d' });
    $t->expect_log(qr/worker process \d+ exited on signal 9/);

    for my $point (split / /, $points) {
        $p = Trifecta::Test::Promises->new($t);
        my $began = time;
        $how{$point} =~ /^(submit|durable|cancel|delete)$/ ? one_of_the_edge($point)
                                                   : one_of_the_sidecar($point);
        diag sprintf '%s %.1f s', $point, time - $began if $ENV{TF_TIMES};
    }

    $t->finish;
    done_testing;
    exit;
}


# The table, and what a value that is none comes to

my @table = map { [split /\t/] } qx(TRIFECTA_FAULT=list "$bin");
cmp_ok scalar @table, '>', 40, 'the test build lists its crash points';

is_deeply [sort grep { !$how{$_} } map { $_->[0] } @table], [],
    'each of them is done here';
my %table = map { $_->[0] => $_->[1] } @table;
is_deeply [sort grep { !$table{$_} } keys %how], [],
    'and nothing else is';
is_deeply [grep { !$_->[2] } @table], [], 'each says what has happened there';

for my $wrong ('run.befor', 'run.before:0', 'run.before=die') {
    my $out = qx(TRIFECTA_FAULT=$wrong "$bin" --version 2>&1);
    is $? >> 8, 2, "TRIFECTA_FAULT=$wrong ends the program";
    like $out, qr/^trifecta: TRIFECTA_FAULT=\Q$wrong\E: \w/, 'and says why';
}

{
    my $check = Trifecta::Test->new(start => 0);
    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    my $nginx = $check->nginx_bin . " -t -p $check->{dir} -c "
        . "$check->{dir}/conf/nginx.conf -e stderr 2>&1";

    like qx(TRIFECTA_FAULT=run.befor $nginx),
        qr/emerg.*TRIFECTA_FAULT=run\.befor: there is no such crash point/,
        'nginx refuses one, too';
    like qx(TRIFECTA_FAULT=run.before $nginx), qr/test is successful/,
        'but not a point of the sidecar';
}

SKIP: {
    my @release = grep { -e } map { Trifecta::Test->root . "/build/release/$_" }
        qw(trifecta ngx_http_trifecta_module.so);
    skip 'without the release builds', 2 if @release < 2;

    for my $file (@release) {
        my %word = map { $_ => 1 } qx(strings -a "$file") =~ /^(\S+)$/mg;
        is_deeply [grep { $word{$_} } 'TRIFECTA_FAULT', keys %table], [],
            "nothing of it is in $file";
    }
}


# Those that take long are dealt first, so that no stack is left with them

my %long = (drain => 3, retry => 2, take_over => 3, back_in_time => 3,
            emptied => 3, went_back => 3, differ => 3, prunes => 4);
my @points = sort { ($long{$how{$b}} // 1) <=> ($long{$how{$a}} // 1)
                    || $a cmp $b } grep { $how{$_} } keys %table;

Trifecta::Test::Stacks::run(TF_CRASH_POINTS => map {
    my $n = $_;
    join ' ', @points[grep { $_ % $STACKS == $n } 0 .. $#points]
} 0 .. $STACKS - 1);

done_testing;
