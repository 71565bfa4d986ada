# A job that runs is cancelled or deleted, and its sidecar dies before it has
# heard of that: the next sidecar ends the job and does not begin to run it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $P = '{trifecta:0}';
my $t = Trifecta::Test->new(sidecars => 2, sidecar => { threads => 2,
    lease => '2s', heartbeat => '500ms' }, models => 'extractive test',
    start => 0);
$t->start_all;
$t->stop('sidecar', 1);

my @ids = map { $t->ask('sleep=60000 say=run', model => 'test') } 1, 2;
ok $t->wait_for(sub { 2 == grep {
    ($t->redis('HGET', "$P:j:$_", 'attempt') // 0) > 0 } @ids }, 15),
    'two jobs run';

$t->kill('sidecar', 0);
is $t->post("/api/v1/query/$ids[0]/cancel", {})->{json}{status}, 'running',
    'one is cancelled, and nobody hears of it';
is $t->request('DELETE', "/api/v1/query/$ids[1]")->{status}, 200,
    'one is deleted';

# the next one would die with the first job that it runs

$t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => 'run.before' };
$t->start('sidecar', 1);
delete $t->{opt}{proc_env}{sidecar};

my $end = $t->wait_for_answer($ids[0]);
is $end->{status}, 'cancelled', 'the_next_sidecar_ends_a_cancelled_job';
is $end->{error}{code}, 'cancelled', 'with its error';
ok $t->wait_for(sub { !grep { defined $t->redis('ZSCORE', "$P:live", $_) }
                      @ids }, 20 * $t->slow), 'both have left the queue';
is $t->result($ids[1])->{status}, 410, 'the deleted one is gone';
is $t->sql('admin', 'SELECT state FROM trifecta.job WHERE id = ?',
    $ids[1])->[0][0], 'cancelled', 'and its row has ended';
ok $t->proc('sidecar', 1)->alive, 'and_neither_has_run_once_more';

$t->start('sidecar', 0);
$t->idle_holds('nothing is left');
$t->finish;
done_testing;
