# A shard that is away holds up its own batches and deleted files only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Batches qw(batch state row ended whole new_id);

my @tenants = map { "t$_" } 0 .. 7;
my $t = Trifecta::Test->new(shards => ['redis', 'redis1'],
    models => 'extractive test', sidecars => 1, tenants => join(',', @tenants),
    sidecar => { threads => 4, batch_open => 16, reconcile => '1s',
                 lease => '3s', heartbeat => '500ms' });

sub admin { $t->sql('admin', @_)->[0][0] }

sub tenant_in {
    my ($shard) = @_;
    return (grep { $t->shard_of($_) == $shard } @tenants)[0];
}

my ($here, $away) = (tenant_in(0), tenant_in(1));
my $said = batch($t, ['say=x'], tenant => $away);
is ended($t, $said), 'completed', 'a batch of a shard that will be away';


# jobs are cancelled, some of them in a Redis that does not answer

my %of = (here => [], away => []);

for my $run (1 .. 4) {
    push @{ $of{$_->[0]} }, batch($t, [('sleep=60000 say=x') x 4],
                                  tenant => $_->[1])
        for ['here', $here], ['away', $away];
}

my @all = map { @$_ } values %of;
my $list = '{' . join(',', @all) . '}';

ok $t->wait_for(sub { admin('SELECT count(*) FROM trifecta.batch_line WHERE '
    . 'batch = ANY (?) AND job IS NOT NULL', $list) == 32 }, 20),
    'batches of two shards run';

$t->freeze('redis1');
$t->sql('admin', "UPDATE trifecta.batch SET state = 'cancelling', "
        . 'cancelling = now() WHERE id = ANY (?)', $list);

is ended($t, $_, 40), 'cancelled', 'a_shard_away_stops_no_cancel_of_others'
    for @{ $of{here} };
is scalar(grep { state($t, $_) eq 'cancelling' } @{ $of{away} }), 4,
    'while its own wait for it';


# deleted files, of which the oldest need the Redis that is away

my $file = new_id($t);

$t->sql('admin', 'INSERT INTO trifecta.file_gone (file, tenant, owner, batch, '
    . "kind, gone) SELECT gen_random_uuid(), tenant, owner, id, 'output', "
    . "now() - interval '1 hour' FROM trifecta.batch, generate_series(1, 100) "
    . 'WHERE id = ?', $said);
$t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name, '
    . "purpose, whole) VALUES (?, '$here', 'test:ann', 'n', 'batch', true)",
    $file);
$t->sql('admin', "INSERT INTO trifecta.file_part SELECT ?, g, '$here', "
    . "'test:ann', 'x' FROM generate_series(0, 39) AS g", $file);
$t->sql('admin', 'DELETE FROM trifecta.file WHERE id = ?', $file);

ok $t->wait_for(sub { !admin('SELECT count(*) FROM trifecta.file_gone '
                             . 'WHERE file = ?', $file) }, 40),
    'a_shard_away_stops_no_deleted_file_of_others';
is admin('SELECT count(*) FROM trifecta.file_part'), 0, 'its parts are gone';
is admin('SELECT count(*) FROM trifecta.file_gone'), 100,
    'while its own wait for it';


# it is back

$t->thaw('redis1');
is ended($t, $_, 60), 'cancelled', 'then its batches end' for @{ $of{away} };
is whole($t, $_), '', 'whole' for @all;
ok $t->wait_for(sub { !admin('SELECT count(*) FROM trifecta.file_gone') }, 60),
    'and its deleted files go';
is admin('SELECT count(*) FROM trifecta.job_result WHERE job IN (SELECT job '
         . 'FROM trifecta.batch_line WHERE batch = ?)', $said), 0,
    'with their answers';

$t->idle_holds('at the end nothing is left in the queue');
$t->finish;
done_testing;
