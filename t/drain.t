# A drain loses nothing and counts nothing, also at its narrow moments, which
# crash points hold open: an answer that is on its way when claiming stops, and
# a job that was handed over only to be buried.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Promises;

my $P = '{trifecta:0}';
my $t = Trifecta::Test->new(sidecars => 0, sidecar => {
    threads => 4, lease => '2s', heartbeat => '500ms', drain_timeout => '8s' });
my $p;

sub armed {
    my ($n, $fault) = @_;
    $t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => $fault };
    my $proc = $t->start('sidecar', $n);
    delete $t->{opt}{proc_env}{sidecar};
    return $proc;
}

sub met {
    my ($n, $point) = @_;
    return $t->wait_for(sub {
        $t->log_of('sidecar', $n) =~ /^crash point \Q$point\E, /m
    }, 15);
}

sub hash { join ' ', @{ $t->redis('HMGET', "$P:j:$_[0]{id}", @_[1 .. $#_]) } }


# The answer to a claim is on its way

{
    $p = Trifecta::Test::Promises->new($t);
    my $leaves = armed(0, 'claim.answered=sleep1500');
    my $job = $p->ask('say=on its way');

    ok met(0, 'claim.answered'), 'a job is handed out';
    $leaves->signal('TERM');
    ok $leaves->wait(20 * $t->slow), 'and its worker told to leave';
    is $leaves->{status}, 0, 'it leaves in peace';

    is hash($job, qw(state sub)), 'queued ready',
        'a_drain_waits_for_an_answer_to_a_claim_and_gives_its_jobs_back';
    is hash($job, qw(crashes lost)), '0 0', 'no counter moves';

    $t->start('sidecar', 1);
    is_deeply [$p->broken], [], 'the job runs elsewhere, once';
    $t->stop('sidecar', 1);
}


# A job that crashed too many workers is handed over as dead, and the one that
# is to bury it leaves

{
    $p = Trifecta::Test::Promises->new($t);
    my $job = $p->ask('sleep=60000 say=poison', want => 'dead',
                      code => 'too_many_crashes', runs => 2);

    $t->start('sidecar', 1);
    $t->wait_for(sub { hash($job, 'attempt') eq '1' }, 10);
    $t->redis('HSET', "$P:j:$job->{id}", crashes => 3, lost => 10);
    my $leaves = armed(0, 'reclaim.answered=sleep1500');
    $t->kill('sidecar', 1);

    ok met(0, 'reclaim.answered'), 'a dead job is handed over';
    $leaves->signal('TERM');
    ok $leaves->wait(20 * $t->slow), 'and its undertaker told to leave';

    $t->start('sidecar', 1);
    is_deeply [$p->broken], [],
        'a_dead_job_that_a_drain_leaves_behind_does_not_run_again';
    my $rows = $t->sql('admin', 'SELECT attempt FROM trifecta.job WHERE id = ?',
                       $job->{id});
    cmp_ok $rows->[0][0], '<=', 2, 'it was begun to be buried, and no more';
    $t->stop('sidecar', 1);
}


$t->finish;
done_testing;
