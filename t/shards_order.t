# The servers of redis_url in another order than nginx and the other sidecars
# have them: nothing is touched, and what is wrong is said.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 2, shards => ['redis', 'redis1'],
    models => 'extractive test',
    sidecar => { threads => 2, lease => '2s', heartbeat => '400ms' });
my @tenants = map {
    my $shard = $_;
    grep { $t->shard_of($_) == $shard } qw(default acme globex)
} 0, 1;
my @urls = $t->redis_urls;


sub epochs {
    return $t->sql('admin', 'SELECT shard, max(epoch) FROM trifecta.epoch '
        . 'GROUP BY shard ORDER BY shard');
}

sub use_urls {
    $t->{opt}{redis_urls} = [@_];
    $t->write_conf;
}

sub all_tenants_are_served {
    my ($name) = @_;
    my @ends = map {
        my $end = eval { $t->ask_and_wait('say=x', model => 'test',
            token => $t->token(tenant => $_), timeout => 20 * $t->slow) };
        $end ? $end->{status} : "$_: $@";
    } @tenants;

    is_deeply(\@ends, [('succeeded') x @tenants], $name);
}


all_tenants_are_served('both shards work');
my $before = epochs();

$t->stop('sidecar', 1);
use_urls(reverse @urls);
$t->launch('sidecar', 1);
ok($t->wait_for(sub { $t->log_of('sidecar', 1)
    =~ /as shard 0, but this Redis holds shard 1 of the queue/ }, 10),
    'servers_in_the_wrong_order_are_recognized');
sleep 1.5;
is_deeply(epochs(), $before, 'and_nothing_is_rebuilt_there');
is($t->redis_at('redis1', 'EXISTS', '{trifecta:0}:meta'), 0,
    'nor anything written');
all_tenants_are_served('the_sidecar_with_the_right_order_goes_on');
my ($rc, $out, $err) = $t->run('migrate');
is($rc, 1, 'migrate fails');
like($err, qr/Name the servers in the order/, 'and says what to do');

use_urls(@urls);
$t->stop('sidecar', 1);
$t->start('sidecar', 1);
all_tenants_are_served('with the right order all is well');


# An empty server in the place of one that was lost is no mistake

$t->redis_at('redis1', 'FLUSHALL');
ok($t->wait_for(sub { epochs()->[1][1] > $before->[1][1] }, 10),
    'a_shard_whose_redis_was_emptied_is_rebuilt');
all_tenants_are_served('and served');

$t->stop('sidecar', $_) for 0, 1;
$t->kill('redis1');
use_urls($urls[0], $urls[0]);
$t->reload;
$t->start('sidecar', 0);
all_tenants_are_served('a_shard_may_move_to_the_server_of_another_one');


# A shard that was taken away while it had an open job

$t->stop('sidecar', 0);
use_urls($urls[0]);
my $open = $t->post('/api/v1/query', { query => 'say=open', model => 'test' },
    token => $t->token(tenant => $tenants[-1]))->{json}{query_id};
$t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind, state, '
    . 'model, prio, request, accepted, deadline) SELECT ?, ?, ?, ?, ?, ?, 1, '
    . "'{}', now(), now()", $open, $tenants[-1], 'test:alice', 'query',
    'queued', 'test');
my ($bad, $said) = $t->run('doctor');
is($bad, 1, 'doctor fails');
like($said, qr/FAIL  shards  .*1 open jobs are in shards that redis_url does not/,
    'doctor_counts_open_jobs_of_shards_that_were_taken_away');
use_urls($urls[0], $urls[0]);
$t->start('sidecar', 0);
ok($t->wait_for(sub {
    $t->result($open, token => $t->token(tenant => $tenants[-1]))
      ->{json}{status} eq 'succeeded'
}, 20), 'which_end_when_their_shard_is_back');


# Two Redis servers for one shard

$t->sql('queue', 'SELECT trifecta.next_epoch(0)');
($rc, $out) = $t->run('doctor');
is($rc, 1, 'doctor fails');
like($out, qr/FAIL  queue  .*another Redis was given epoch \d+ of this shard/,
    'doctor_names_a_shard_that_was_started_on_another_redis');

$t->finish;
done_testing;
