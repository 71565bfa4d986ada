# A job that has begun before the ledger came to its accept log: its row alone
# has to bring its Idempotency-Key back when Redis loses everything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0, sidecar => {
    threads => 4, lease => '2s', heartbeat => '500ms' });

sub ask {
    return $t->post('/api/v1/query', { query => 'sleep=3000 say=once',
        model => 'test' }, headers => { 'Idempotency-Key' => 'begun' });
}

$t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => 'ledger.read=sleep60000' };
$t->start('sidecar', 0);
delete $t->{opt}{proc_env}{sidecar};

my $id = ask()->{json}{query_id};
ok $t->wait_for(sub { @{ $t->sql('admin', 'SELECT 1 FROM trifecta.job '
    . "WHERE id = ? AND state = 'running'", $id) } }, 20), 'it has begun';

$t->kill('sidecar', 0);
$t->redis('FLUSHALL');
$t->start('sidecar', 1);
ok $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 30),
    'the queue is rebuilt';

my $again = ask();
is $again->{json}{query_id}, $id,
    'the_key_of_a_job_that_began_before_the_ledger_survives_an_emptied_redis';
is $t->wait_for_answer($id)->{status}, 'succeeded', 'and its job ends';

$t->idle_holds('nothing is left');
$t->finish;
done_testing;
