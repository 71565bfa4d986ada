# An end that was told while Redis was away stays one when Redis is back and
# has not heard of it yet.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0, sidecar => {
    threads => 4, lease => '2s', heartbeat => '500ms' });

# one that stops between its commit and telling Redis
$t->{opt}{proc_env}{sidecar} = {
    TRIFECTA_FAULT => 'complete.committed=sleep600000' };
$t->start('sidecar', 0);
delete $t->{opt}{proc_env}{sidecar};

sub ask {
    return $t->post('/api/v1/query', { query => $_[0], model => 'test' })
             ->{json}{query_id};
}

# nginx remembers jobs by ten bits of their id
my $ended = ask('say=end');
my $open;
do { $open = ask('sleep=600000 say=never') }
    while hex(substr $open, -4) % 1024 == hex(substr $ended, -4) % 1024;

sub row { $t->sql('admin', 'SELECT state FROM trifecta.job WHERE id = ?',
                  $_[0])->[0][0] // '' }
sub says { my $res = $t->result($_[0]);
           return $res->{json}{status} // $res->{code} // $res->{status} }
sub ready { $t->admin('/readyz')->{status} == 200 }

ok $t->wait_for(sub { row($ended) eq 'succeeded' && row($open) eq 'running' },
    20), 'one job has ended in PostgreSQL, the other one runs';
is says($ended), 'running', 'Redis has not heard of it, and is believed';

$t->freeze('redis');
ok $t->wait_for(sub { says($ended) eq 'succeeded' }, 30),
    'while Redis is away PostgreSQL says that it has ended';

$t->thaw('redis');
ok $t->wait_for(\&ready, 30), 'Redis is back';
is $t->redis('HGET', "{trifecta:0}:j:$ended", 'state'), 'running',
    'and still calls it open';
is says($ended), 'succeeded',
    'an_end_that_a_client_was_told_without_redis_stays_when_redis_is_back';
like $t->result($ended)->{json}{response}, qr/ end$/, 'with its answer';
is says($open), 'running', 'what is open in both is open';

$t->kill('pg');
is says($open), 'running', 'also while PostgreSQL is away';
$t->start('pg');

$t->kill('sidecar', 0);
$t->start('sidecar', 1);
ok $t->wait_for(sub {
    $t->redis('HGET', "{trifecta:0}:j:$ended", 'state') eq 'succeeded' }, 60),
    'whoever takes the job over tells Redis';
$t->post("/api/v1/query/$open/cancel", {});
$t->idle_holds('nothing is left');
$t->finish;
done_testing;
