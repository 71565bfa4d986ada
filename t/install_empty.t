# A trifecta.install that somebody has emptied: sidecars, doctor and migrate
# say it, and migrate fills it with the id that the queues in Redis have.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 1, models => 'extractive test',
    shards => ['redis', 'redis1']);
my $slow = $t->slow;

sub admin { $t->sql('admin', @_) }
sub id { (admin('SELECT id FROM trifecta.install')->[0] || [''])->[0] }
sub meta { $t->shard_client($_[0])->cmd('HGET', $t->prefix($_[0]) . ':meta',
                                        'install') }
sub empty { admin('DELETE FROM trifecta.install') }
sub logged { $t->log_of('sidecar', 0) =~ $_[0] }

my $bad = '00000000-0000-4000-8000-000000000000';
my $ours = id();
ok $t->wait_for(sub { (meta(1) // '') eq $ours }, 10), 'both shards have it';
is $t->ask_and_wait('say=a', model => 'test')->{status}, 'succeeded', 'a job';


# It is said, with what helps

empty();
my ($rc, $out, $err) = $t->run('doctor');
like $out, qr/^FAIL \s+installation\s .*trifecta\.install\ is\ empty
    .*run\ "trifecta\ migrate"/mx, 'doctor_names_an_empty_installation';

$t->restart('redis');
ok $t->wait_for(sub {
        logged(qr/but trifecta\.install is empty: run \\"trifecta migrate/)
    }, 10), 'a_sidecar_that_needs_the_id_says_what_fills_it';


# With a Redis that is away the id may be there and nowhere else

{
    $_->cmd('HDEL', '{trifecta:0}:meta', 'install') for $t->shard_client(0);
    $t->stop('redis1');
    ($rc, $out, $err) = $t->run('migrate');
    is $rc, 1, 'a_redis_that_is_away_may_have_the_id';
    like $err, qr/trifecta\.install is empty.*shard 1: .*Run migrate again/s,
        '  and migrate says so';
    is id(), '', '  and makes no new one';
    $t->start('redis1');
}


# Two ids

{
    $t->redis('HSET', '{trifecta:0}:meta', 'install', $bad);
    ($rc, $out, $err) = $t->run('migrate');
    is $rc, 1, 'queues_of_two_installations_fill_nothing';
    like $err, qr/two installations \($bad and $ours\): correct redis_url/,
        '  and both are named';
    is id(), '', '  really';
    $t->redis('HSET', '{trifecta:0}:meta', 'install', $ours);
}


# migrate

($rc, $out, $err) = $t->run('migrate', '--dry-run');
like $out, qr/^would fill trifecta\.install with $ours$/m,
    'a_dry_run_says_which_id_it_would_be';
is id(), '', '  and does nothing';
($rc, $out, $err) = $t->run('migrate');
is $rc, 0, 'migrate_fills_it' or diag $err;
like $out, qr/^filled trifecta\.install with $ours, the id that Redis has$/m,
    '  and says with what';
is id(), $ours, '  with_the_id_that_redis_has';
ok $t->wait_for(sub { my $is = $t->admin('/readyz');
        $is->{status} == 200
        && !grep { !$_->{ready} } @{ $is->{json}{redis}{shards} } }, 15),
    'the queue is adopted';
is $t->ask_and_wait('say=b', model => 'test')->{status}, 'succeeded',
    'and jobs go on';
($rc, $out, $err) = $t->run('doctor');
like $out, qr/^ok \s+installation\s+$ours$/mxi, 'doctor is content' or diag $out;


# No Redis has one

$t->stop('sidecar', 0);
$t->stop('nginx');
$t->shard_client($_)->cmd('FLUSHALL') for 0, 1;
empty();
($rc, $out, $err) = $t->run('migrate');
is $rc, 0, 'where_no_redis_has_one' or diag $err;
like $out, qr/^filled trifecta\.install with \S{36}, a new id/m, '  it is new';
isnt id(), $ours, '  really';
is meta($_), id(), "  and shard $_ takes it" for 0, 1;
($rc, $out, $err) = $t->run('migrate');
like $out, qr/^nothing to do/, 'a second run does nothing';

$t->finish;
done_testing;
