# Keys of the queue that somebody deleted or renamed in Redis: the jobs that
# were in them end all the same, and the queue goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;

my $t = Trifecta::Test->new(models => 'extractive test', sidecar => {
    threads => 2, lease => '2s', heartbeat => '400ms', reconcile => '1s' });
my $P = '{trifecta:0}';


sub test_job {
    my ($script) = @_;
    my $res = $t->post('/api/v1/query', { query => $script, model => 'test' });
    $res->{status} == 202 or die "$res->{status} $res->{content}\n";
    return $res->{json}{query_id};
}

sub state_of { $t->result($_[0])->{json}{status} // '?' }

sub all_end {
    my ($name, @ids) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @open;

    ok($t->wait_for(sub {
        !(@open = grep { state_of($_) ne 'succeeded' } @ids)
    }, 30), $name) or diag explain [map { [$_, state_of($_)] } @open];
}

sub has_rows {
    my @ids = @_;

    return $t->wait_for(sub {
        $t->sql('admin', 'SELECT count(*) FROM trifecta.job WHERE id = ANY (?)',
                \@ids)->[0][0] == @ids
    }, 10);
}


# While some run, some are ready and some are parked

for my $lost (
    [ 'a_stream',               'DEL', "$P:r:1" ],
    [ 'what_is_in_a_stream',    'XTRIM', "$P:r:1", 'MAXLEN', 0 ],
    [ 'a_group',                'XGROUP', 'DESTROY', "$P:r:1", 'w' ],
    [ 'the_park_of_a_tenant',   'DEL', "$P:t:default:park" ],
    [ 'the_set_of_open_jobs',   'RENAME', "$P:live", "$P:elsewhere" ],
) {
    my ($what, @cmd) = @$lost;
    my @ids = map { test_job("sleep=300 say=$what$_") } 1 .. 22;

    ok(has_rows(@ids), 'they have rows');
    $t->redis(@cmd);
    all_end("$what\_that_was_deleted_holds_no_job_up", @ids);
    $t->redis('DEL', "$P:elsewhere");
    $t->idle_holds('and nothing is left');
}


# The accept log: without it no row would be written

$t->stop('sidecar');
my @ids = map { test_job("say=log$_") } 1 .. 3;
$t->redis('DEL', "$P:acc");
push @ids, map { test_job("say=more$_") } 1 .. 3;
$t->start('sidecar');
all_end('an_accept_log_that_was_deleted_loses_no_job', @ids);
$t->idle_holds('and nothing is left');


# A worker that dies without its entry in the stream

my $id = test_job('sleep=60000 say=long');
ok($t->wait_for(sub { state_of($id) eq 'running' }, 10), 'a job runs');
ok(has_rows($id), 'and has its row');
$t->redis('DEL', "$P:r:1");
$t->kill('sidecar');
$t->sql('admin', 'UPDATE trifecta.job SET request = '
    . "replace(request::text, 'sleep=60000', '')::jsonb WHERE id = ?", $id);
$t->start('sidecar');
all_end('a_job_whose_worker_died_without_its_entry_runs_again', $id);


# One that PostgreSQL has ended, and whose worker will never say so

$id = test_job('sleep=60000 say=ended');
ok($t->wait_for(sub { state_of($id) eq 'running' }, 10), 'a job runs');
ok(has_rows($id), 'and has its row');
$t->redis('DEL', "$P:r:1");
$t->kill('sidecar');
$t->sql('admin', "UPDATE trifecta.job SET state = 'cancelled', "
    . 'finished = now() WHERE id = ?', $id);
$t->start('sidecar');
$t->idle_holds('a_job_that_ended_without_its_worker_stays_open_nowhere',
    seconds => 20);
is(state_of($id), 'cancelled', 'it has its end');

$t->finish;
done_testing;
