# What is promised of a queue of several shards: each is on a Redis of its own,
# one that is away concerns its own jobs only, and the free places are shared.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Deaf;
use Trifecta::Test::Prometheus qw(parse_metrics);

my @tenants = map { "t$_" } 0 .. 7;

sub stack {
    my ($shards, %o) = @_;
    return Trifecta::Test->new(shards => $shards, %o, models => 'test',
        tenants => join(',', @tenants), sidecar => {
            threads => 4, lease => '3s', heartbeat => '500ms' });
}

my $t;

sub submit {
    my ($tenant, $script) = @_;
    my $res = $t->post('/api/v1/query', { query => $script, model => 'test' },
        token => $t->token(tenant => $tenant), keep_alive => 1);
    return $res->{status} == 202 ? $res->{json}{query_id} : undef;
}

sub shard_in { return hex join '', (split //, $_[0])[15, 16] }

sub tenant_in {
    my ($shard) = @_;
    return (grep { $t->shard_of($_) == $shard } @tenants)[0];
}

# How many of the jobs have ended well, as PostgreSQL has it.

sub ended {
    return $t->sql('admin', 'SELECT count(*) FROM trifecta.job j JOIN '
        . 'trifecta.job_result r ON r.job = j.id AND r.attempt = j.attempt '
        . "WHERE j.state = 'succeeded' AND j.id = ANY(?::uuid[])",
        '{' . join(',', @_) . '}')->[0][0];
}

sub all_end {
    my ($seconds, @ids) = @_;
    return $t->wait_for(sub { ended(@ids) == @ids }, $seconds);
}

# How many jobs run in all shards.  They are asked one after the other: what
# ran in one before and after the others were asked ran all the time.

sub running_in {
    my ($shard) = @_;
    my $r = $t->shard_client($shard);
    return map { @{ $r->cmd('ZRANGE', $_, 0, -1) } }
           @{ $r->cmd('KEYS', $t->prefix($shard) . ':t:*:run') };
}

sub running {
    my @others = 0 .. $t->shards - 2;
    my @before = map { running_in($_) } @others;
    my $n = () = running_in($t->shards - 1);
    my %after = map { $_ => 1 } map { running_in($_) } @others;
    return $n + grep { $after{$_} } @before;
}

# Deadline of a command of the sidecar to Redis, with the one to connect.
my $SILENT = 3;


# Two shards on two servers

$t = stack(['redis', 'redis1']);
my ($here, $there) = map { tenant_in($_) } 0, 1;

my @ids = map { submit($_, 'say=hello') } $here, $there;
is_deeply([map { shard_in($_) } @ids], [0, 1],
    'the_id_of_a_job_says_the_shard_of_its_tenant');
ok(all_end(10, @ids), 'jobs_of_both_shards_end');
is($t->get("/api/v1/query/$ids[$_]",
           token => $t->token(tenant => ($here, $there)[$_]))->{json}{status},
   'succeeded', "and the one in shard $_ is read") for 0, 1;
is($t->redis('EXISTS', "{trifecta:1}:meta"), 0,
    'each shard is on its own server');
is($t->redis_at('redis1', 'EXISTS', "{trifecta:0}:meta"), 0, 'and only there');

my ($prom) = parse_metrics(
    $t->sidecar_get(0, '/metrics')->{content});
is($prom->{'trifecta_shard_up{shard="1"}'}, 1, 'metrics have each shard');
is($prom->{trifecta_queue_live}, 0, 'and the queue as a whole');


# The commands find the shard of a job

my ($status, $out, $err);
for my $shard (0, 1) {
    ($status, $out) = $t->run('jobs', 'show', $ids[$shard]);
    is($status, 0, "jobs show finds a job in shard $shard");
    ($status, $out) = $t->run('jobs', 'retry', $ids[$shard]);
    chomp $out;
    is(shard_in($out), $shard, 'jobs retry goes to the shard of the tenant');
    ok(all_end(10, $out), 'and ends');
}
my $long = 2000 * $t->slow;     # the last one still waits when it is cancelled
my @wait = map { submit($there, "sleep=$long say=wait") } 1 .. 8;
($status, $out) = $t->run('jobs', 'cancel', $wait[-1]);
is("$status $out", "0 cancelled\n", 'jobs cancel cancels in shard 1');
pop @wait;
($status, $out) = $t->run('jobs', 'stats', '--json');
is($status, 0, 'jobs stats');
like($out, qr/"live": ?[1-9]/, 'counts the jobs of every shard');
ok(all_end(20, @wait), 'the others end');
is(($t->run('jobs', 'purge', '--state', 'cancelled', '--older', '0s'))[0], 0,
   'jobs purge');
is($t->redis_at('redis1', 'HGET', "{trifecta:1}:j:" . ($wait[0] // ''),
                'deleted'), undef, 'leaves what ended otherwise');
ok($t->wait_for(sub { $t->sql('admin', 'SELECT count(*) FROM trifecta.job '
    . "WHERE state = 'cancelled' AND deleted IS NOT NULL")->[0][0] == 1 }, 10),
    'and erases in shard 1');
(my $far = $ids[0]) =~ s/^(.{14}7)../${1}1f/;
($status, $out, $err) = $t->run('jobs', 'cancel', $far);
is($status, 1, 'an id of a shard that is not there');
like($err, qr/the job is in shard 31 and redis_url names 2/, 'is said to be');


# Places: shared, and never more than there are

my @flood = map { submit($here, 'sleep=300 say=flood') } 1 .. 30;
ok($t->wait_for(sub { running() == 4 }, 10), 'a flood takes all places');
my $most = 0;
my $start = time;
my $single = submit($there, 'say=single');
ok($t->wait_for(sub {
    my $n = running();
    $most = $n if $n > $most;
    ended($single);
}, 10), 'a_flooded_shard_leaves_a_place_to_the_other');
cmp_ok(ended(@flood), '<', 30, 'before the flood is over');
cmp_ok($most, '<=', 4, 'no_more_is_claimed_than_there_are_threads');
ok(all_end(30, @flood), 'the flood ends too');
$t->idle_holds('nothing is left in either shard');


# A shard that is frozen while its jobs hold every place

my @held = map { submit($there, 'sleep=1500 say=held') } 1 .. 4;
ok($t->wait_for(sub { running() == 4 }, 10), 'a shard has all places');
$t->freeze('redis1');
$start = time;
@ids = map { submit($here, 'say=free') } 1 .. 8;
is(scalar(grep { defined } @ids), 8, 'the other shard accepts');
ok(all_end(5 * $SILENT, @ids),
    'jobs_of_a_silent_shard_that_are_done_take_no_place');
ok($t->wait_for(sub {
    my $res = $t->sidecar_get(0, '/readyz');
    $res->{status} == 200 && $res->{json}{redis} eq 'degraded'
        && $res->{json}{shards_away}[0]{shard} == 1;
}, 10), 'readyz_stays_200_and_names_the_shard_that_is_away');

@ids = ();
$most = 0;
for (1 .. 20) {
    $start = time;
    my $id = submit($here, 'say=again');
    push @ids, $id;
    $t->wait_for(sub { ended($id) }, 10);
    $most = time - $start if time - $start > $most;
}
is(ended(@ids), 20, 'jobs of the other shard go on');
cmp_ok($most, '<', 5 * $SILENT * $t->slow,
    'and none of them waits longer than one deadline');

my $text = $t->sidecar_get(0, '/metrics')->{content};
like($text, qr/^trifecta_queue_scrape_ok 0$/m, 'a scrape says what it misses');
like($text, qr/^trifecta_shard_live\{shard="0"\} \d/m, 'and has the rest');

$t->thaw('redis1');
ok(all_end(20, @held), 'thawed: its own jobs end');
$t->idle_holds('nothing is left', seconds => 15);
$t->invariants_hold;


# A shard that is killed

@held = map { submit($there, 'sleep=200 say=held') } 1 .. 8;
$t->kill('redis1');
@ids = map { submit($here, 'say=alone') } 1 .. 8;
ok(all_end(5 * $SILENT, @ids), 'a_shard_that_is_killed_stops_no_other');
($status, $out, $err) = $t->run('jobs', 'stats');
is($status, 1, 'jobs stats with a shard away says so');
like($out, qr/^open \d+:/, 'and counts the rest');
is($t->post('/api/v1/query', { query => 'say=no', model => 'test' },
            token => $t->token(tenant => $there))->{status}, 503,
    'its tenants are told');
$t->start('redis1');
ok(all_end(30, @held), 'it_comes_back_and_its_jobs_end');
$t->idle_holds('nothing is left', seconds => 15);

# One sidecar dies, the other takes over in every shard; each worker of nginx
# has found the Redis that came back by then

$t->wait_for(sub {
    !grep { !$_->{ready} } @{ $t->admin('/readyz')->{json}{redis}{shards} }
}, 10);
$t->start('sidecar', 1);
@held = map { submit($_, 'sleep=1000 say=held') } ($here, $there) x 4;
ok($t->wait_for(sub { running() >= 4 }, 10), 'jobs run');
$t->kill('sidecar', 0);
ok(all_end(40, @held), 'a_lost_worker_s_jobs_are_taken_over_in_every_shard');
$t->idle_holds('nothing is left', seconds => 15);
$t->finish;


# Four shards on two servers

$t = stack(['redis', 'redis1', 'redis', 'redis1']);
@ids = map { submit($tenants[$_ % @tenants], 'say=four') } 0 .. 39;
is_deeply([sort { $a <=> $b } keys %{ { map { shard_in($_) => 1 } @ids } }],
    [0 .. 3], 'four shards have jobs');
ok(all_end(20, @ids), 'four_shards_on_two_servers_work');
$t->idle_holds('nothing is left in any of them');
is($t->redis('HGET', "{trifecta:$_}:meta", 'epoch'), 1,
   "shard $_ is prepared") for 0, 2;

# What starts with a shard away works for the others, and finds it later

$t->stop('sidecar', 0);
$t->stop('redis1');
$t->start('sidecar', 0);
@ids = map { submit($_, 'say=half') } grep { $t->shard_of($_) % 2 == 0 } @tenants;
ok(all_end(10, @ids), 'a_sidecar_starts_while_a_shard_is_away');
$t->start('redis1');
@ids = ();
ok($t->wait_for(sub { push @ids, submit($tenants[1], 'say=late') // ();
                      @ids > 2 }, 10), 'it comes back');
ok(all_end(20, @ids), 'and is served');
$t->finish;


# A shard that hands out jobs and never takes word of their beginning

$t = Trifecta::Test->new(start => 0, shards => ['redis', 'redis1'],
    models => 'test', tenants => join(',', @tenants),
    sidecar => { threads => 4, lease => '3s', heartbeat => '500ms' });
my $deaf = Trifecta::Test::Deaf->start(to => $t->port_of('redis1'),
                                       text => 'trifecta_started_v1');
$t->{opt}{redis_urls} = [$t->url_of('redis'),
                         'redis://127.0.0.1:' . $deaf->port];
$t->write_conf;
$t->start_all;
@flood = map { submit($there, 'sleep=100 say=flood') } 1 .. 100;
$start = time;
for (1 .. 20) {
    my $id = submit($here, 'say=one');
    $t->wait_for(sub { ended($id) }, 10);
}
cmp_ok(time - $start, '<', 5 * $SILENT * $t->slow,
    'a_shard_that_is_deaf_holds_up_the_others_once_and_not_again_and_again');
ok(all_end(60, @flood), 'and its own jobs end');
$t->finish;

done_testing;
