# The accept log: a job that begins has its row from that, and costs the ledger
# nothing; one that waits has its row soon, whoever dies meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, models => 'test',
    sidecar => { threads => 1, lease => '3s', heartbeat => '500ms' });
my $P = '{trifecta:0}';
my $while = 2000 * $t->slow;    # ms that the only thread has no time

$t->start_all;

sub ask { $t->ask($_[0], model => 'test') }

sub row {
    my ($id) = @_;
    return ($t->sql('admin', 'SELECT state FROM trifecta.job WHERE id = ?',
                    $id)->[0] || [''])->[0];
}

sub until_row {
    my ($id, $state) = @_;
    return $t->wait_for(sub { row($id) eq $state }, 10);
}

sub logged { $t->redis('XLEN', "$P:acc") }

sub metric { $t->metrics(0)->{"trifecta_worker_$_[0]"} }

sub wrote { metric('ledgered_total') }

sub armed {
    my ($fault) = @_;
    $t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => $fault };
    $t->restart('sidecar', 0);
    delete $t->{opt}{proc_env}{sidecar};
}


# Jobs that begin.  On a machine that is busy one may wait for longer than the
# ledger does.

my $before = wrote();
for my $n (1 .. 20) {
    $t->ask_and_wait("say=$n", model => 'test');
}
sleep 0.5;
cmp_ok wrote() - $before, '<=', 5,
    'for_a_job_that_begins_the_ledger_writes_nothing';
is logged(), 0, 'and nothing of it is in the accept log';

my $id = ask("sleep=$while say=long");
ok until_row($id, 'running'), 'one that takes long';
ok $t->wait_for(sub { !logged() }, 5), 'leaves the log when it begins';


# One that waits

$before = wrote();
$id = ask('say=waits');
my $asked = time;
ok until_row($id, 'queued'), 'a_job_that_nobody_takes_has_its_row';
cmp_ok time - $asked, '<', 5 * 0.25 * $t->slow, 'soon';
ok $t->wait_for(sub { !logged() && wrote() == $before + 1 }, 5),
    'and leaves the log';

my $cancelled = ask('say=never');
$t->request('POST', "/api/v1/query/$cancelled/cancel");
ok until_row($cancelled, 'cancelled'), 'one that is cancelled before';
is $t->wait_for_answer($id)->{status}, 'succeeded', 'the first one ends';


# The row of a job with "Prefer: durable", while no ledger writes

{
    armed('ledger.read=sleep60000');
    my $busy = ask("sleep=$while say=busy");
    until_row($busy, 'running');
    my $stays = ask('say=stays');
    ok $t->wait_for(sub { row($stays) eq 'succeeded' }, 20),
        'a ledger reads what waits, and hangs';

    my $res = $t->post('/api/v1/query', { query => 'say=durable',
        model => 'test' }, headers => { Prefer => 'durable' });
    is $res->{headers}{'preference-applied'}, 'durable',
        'a_durable_job_that_begins_needs_no_ledger';
    isnt row($res->{json}{query_id}), '', 'its row is there';
    is logged(), 0, 'nothing of these three is in the log';
    $t->kill('sidecar', 0);
}


# A sidecar that dies between the row and Redis

for my $point (qw(begin.committed started.sent started.answered)) {
    armed($point);
    $id = ask("say=$point");
    ok $t->proc('sidecar', 0)->wait(10), "$point: the sidecar dies";
    is row($id), 'running', 'the row is there';
    $t->start('sidecar', 0);
    ok until_row($id, 'succeeded'), 'the job runs again';
    ok $t->wait_for(sub { !$t->not_idle(0) }, 20), 'and nothing is left of it';
}


# Large ones that wait: they go to PostgreSQL in parts

{
    my ($many, $fill) = (40, 'x' x 400_000);
    my $name = 'trifecta_worker_batch_jobs';

    my $busy = ask('sleep=60000 say=busy');
    until_row($busy, 'running');
    $t->wait_for(sub { !logged() }, 10);
    my $m = $t->metrics(0);
    my @was = @$m{"${name}_count{stage=\"ledger\"}",
                  "${name}_bucket{stage=\"ledger\",le=\"16\"}"};
    $before = wrote();

    # while nobody reads the log
    $t->freeze('sidecar', 0);
    my @ids = map { $t->post('/v1/responses', { model => 'test',
        input => "say=$_", instructions => $fill, background => \1 })
        ->{json}{id} } 1 .. $many;
    is logged(), $many, 'large jobs';
    $t->thaw('sidecar', 0);

    ok $t->wait_for(sub { !logged() && wrote() >= $before + $many - 4 }, 20),
        'get their rows';
    sleep 0.5;
    $m = $t->metrics(0);
    my @parts = map { $_ - shift @was }
        @$m{"${name}_count{stage=\"ledger\"}",
            "${name}_bucket{stage=\"ledger\",le=\"16\"}"};
    cmp_ok $parts[0], '>=', 3, 'in several parts';
    is $parts[1], $parts[0], 'a_batch_of_the_ledger_is_bounded_in_bytes';
    $t->request('POST', "/api/v1/query/$busy/cancel");
}

ok $t->wait_for(sub { !$t->not_idle(0) }, 60), 'all of them end';
$t->idle_holds('nothing is left');
$t->finish;
done_testing;
