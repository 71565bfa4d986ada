# "trifecta jobs": what an operator sees of jobs and does with them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => { threads => 4 },
    trifecta => { trifecta_models => 'test extractive' });
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $json = JSON::PP->new->utf8;
my %acme = (token => $t->token(tenant => 'acme', sub => 'ann'));

sub jobs { return $t->run('jobs', @_) }

sub jobs_json {
    my ($status, $out, $err) = jobs(@_, '--json');
    is $status, 0, "jobs @_" or diag $err;
    return eval { $json->decode($out) } || {};
}

# runs a command that must fail, and says why

sub refused {
    my ($name, $re, $want, @args) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $out, $err) = jobs(@args);
    is $status, $want, "$name: exit code";
    like $err, $re, "$name: says why";
}

sub ledgered { $t->wait_for(sub { $t->redis('XLEN', "$P:acc") == 0 }, 10) }

sub row {
    my ($id, $column) = @_;
    my $rows = $t->sql('admin', "SELECT $column FROM trifecta.job WHERE id = ?",
                       $id);
    return ($rows->[0] || [])->[0];
}


# wrong use

my ($status, $out, $err) = jobs('--help');
is $status, 0, 'help';
like $out, qr/retry ID/, 'names the commands';

my $ID = '01990000-0000-7000-8000-000000000001';

refused('nothing', qr/list, show, retry/, 2);
refused('no such command', qr/there is no "jobs lost"/, 2, 'lost');
refused('no id', qr/needs one ID/, 2, 'show');
refused('two ids', qr/needs one ID/, 2, 'show', $ID, $ID);
refused('no UUID', qr/no id of a job/, 2, 'show', 'nonsense');
refused('a state that is none', qr/no such state/, 2, 'list', '--state', 'x');
refused('a strange limit', qr/1 to 10000/, 2, 'list', '--limit', '0');
refused('a strange time', qr/such as/, 2, 'purge', '--older', 'x');
refused('an option of another', qr/takes no --older/, 2, 'list', '--older',
    '1d');
refused('purge of everything', qr/needs --state/, 2, 'purge', '--older', '1d');
refused('purge at once', qr/needs --older/, 2, 'purge', '--state', 'dead');
refused('purge of open jobs', qr/only jobs that have ended/, 2, 'purge',
    '--state', 'queued', '--older', '1d');
refused('an unknown job', qr/neither PostgreSQL nor Redis/, 1, 'show', $ID);
refused('cancel of an unknown job', qr/neither/, 1, 'cancel', $ID);
refused('retry of an unknown job', qr/knows no job/, 1, 'retry', $ID);


# list and show

my $good = $t->ask('say=hello', model => 'test');
my $bad = $t->ask('fail=1', model => 'test', %acme);
$t->wait_for_answer($good);
$t->wait_for_answer($bad, %acme);
ledgered();

my $all = jobs_json('list')->{jobs};
is_deeply [map $_->{id}, @$all], [$bad, $good], 'list_shows_the_newest_first';
is_deeply [@{ $all->[0] }{qw(state tenant owner)}],
    ['failed', 'acme', 'test:ann'], 'of all tenants';
is_deeply [map $_->{id}, @{ jobs_json('list', '--state', 'succeeded')
    ->{jobs} }], [$good], 'by state';
is_deeply [map $_->{id}, @{ jobs_json('list', '--tenant', 'acme')->{jobs} }],
    [$bad], 'by tenant';
is @{ jobs_json('list', '--limit', 1)->{jobs} }, 1, 'so many';
is @{ jobs_json('list', '--tenant', "x' OR 'a'='a")->{jobs} }, 0,
    'a_tenant_is_a_value_and_no_SQL';

(undef, $out) = jobs('list');
like $out, qr/^\Q$bad\E  failed .* acme .* test:ann  \(\w+\)$/m, 'as lines';

my $show = jobs_json('show', $good);
is $show->{postgresql}{state}, 'succeeded', 'show: the row';
like $show->{postgresql}{request}, qr/say=hello/, 'with the request';
is $show->{redis}{state}, 'succeeded', 'and what Redis has';
like $show->{redis}{trace}, qr/^00-/, 'with its trace';
(undef, $out) = jobs('show', $bad);
like $out, qr/^  owner +test:ann$/m, 'show as lines';


# retry

($status, $out, $err) = jobs('retry', $bad);
is $status, 0, 'retry' or diag $err;
my ($new) = $out =~ /^([0-9a-f-]{36})\n\z/;
ok $new, 'prints the new id, and nothing else';
isnt $new, $bad, 'which is another';
is $t->wait_for_answer($new, %acme)->{status}, 'failed',
    'its_owner_can_read_the_new_job';
is $t->result($new)->{status}, 404, 'and nobody else';
ledgered();
is row($new, 'retry_of'), $bad, 'the_new_row_names_the_old_job';
is row($new, 'request'), row($bad, 'request'), 'with the same request';
is row($new, 'groups'), row($bad, 'groups'), 'and the same rights';
is row($bad, 'state'), 'failed', 'the_old_row_stays';
is row($bad, 'attempt'), 1, 'as it was';

my $again = jobs_json('retry', $good);
is $again->{retry_of}, $good, 'retry of one that succeeded, as JSON';
is $t->wait_for_answer($again->{id})->{status}, 'succeeded', 'runs';

my $long = $t->ask('sleep=60000', model => 'test');
$t->wait_for(sub { (row($long, 'state') // '') eq 'running' }, 10);
refused('retry of a running job', qr/is running: only a job that has ended/,
    1, 'retry', $long);

my $key = "$t->{dir}/secrets/id.key";
rename $key, "$key.away";
refused('retry without the key', qr/cannot read id_key_file/, 1, 'retry',
    $bad);
rename "$key.away", $key;

$t->redis('HSET', "$P:meta", 'paused', 1);
refused('retry while paused', qr/is paused/, 1, 'retry', $bad);
$t->redis('HDEL', "$P:meta", 'paused');


# cancel

($status, $out) = jobs('cancel', $long);
is $status, 0, 'cancel of a running job';
like $out, qr/told to stop/, 'tells its worker';
is $t->wait_for_answer($long)->{status}, 'cancelled', 'which_stops_it';
refused('cancel of an ended job', qr/has ended before: cancelled/, 1,
    'cancel', $long);

my @busy = map { $t->ask('sleep=60000', model => 'test') } 1 .. 6;
sleep 0.5;
($status, $out) = jobs('cancel', $busy[5]);
is "$status $out", "0 cancelled\n", 'cancel_of_a_waiting_job_ends_it';
is $t->wait_for_answer($busy[5])->{status}, 'cancelled', 'at once';


# stats

ledgered();
my $stats = jobs_json('stats');
is $stats->{queue}{live}, 5, 'stats: open jobs';
is $stats->{queue}{running}, 4, 'running';
is_deeply { map { ("$_->{tenant} $_->{state}" => $_->{count}) }
            @{ $stats->{jobs} } },
    { 'acme failed' => 2, 'default cancelled' => 2, 'default queued' => 1,
      'default running' => 4, 'default succeeded' => 2 },
    'stats_counts_by_tenant_and_state';
(undef, $out) = jobs('stats');
like $out, qr/^open 5: ready 1, parked 0, delayed 0, running 4$/m, 'as lines';
jobs('cancel', $_) for @busy[0 .. 4];
$t->wait_for(sub { $t->redis('ZCARD', "$P:live") == 0 }, 20);


# purge

($status, $out) = jobs('purge', '--state', 'failed', '--older', '0s',
    '--dry-run');
is $out, "2 jobs would be purged\n", 'a dry run counts';
ok defined row($bad, 'request'), 'and_changes_nothing';

($status, $out) = jobs('purge', '--state', 'failed', '--older', '1d');
is $out, "0 jobs were purged\n", 'what_is_younger_stays';
($status, $out) = jobs('purge', '--state', 'failed', '--older', '0s',
    '--tenant', 'default');
is $out, "0 jobs were purged\n", 'what_is_another_tenants_stays';
($status, $out) = jobs('purge', '--state', 'failed', '--older', '0s',
    '--tenant', 'acme');
is $out, "2 jobs were purged\n", 'the rest goes';

ok $t->wait_for(sub { defined row($bad, 'deleted') }, 10),
    'the_ledger_makes_it_a_tombstone';
is row($bad, 'request'), undef, 'without its request';
is row($bad, 'state'), 'failed', 'and with its state';
is $t->result($bad, %acme)->{status}, 410, 'its owner gets 410';
is row($good, 'deleted'), undef, 'no_other_state_is_touched';
refused('retry of a purged job', qr/was deleted/, 1, 'retry', $bad);
($status, $out) = jobs('purge', '--state', 'failed', '--older', '0s');
is $out, "0 jobs were purged\n", 'what_was_purged_is_not_purged_again';

# many, in batches, also of jobs that Redis has forgotten

$t->sql('admin', "INSERT INTO trifecta.job (id, tenant, owner, kind, prio, "
    . "state, request, accepted, finished, deadline) "
    . "SELECT ('01990000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, "
    . "'globex', 'o', 'query', 1, 'dead', '{}', now() - interval '9 days', "
    . "now() - interval '8 days', now() FROM generate_series(1, 1700) AS i "
    . "RETURNING id");
($status, $out, $err) = jobs('purge', '--state', 'dead', '--older', '7d');
is "$status $out", "0 1700 jobs were purged\n",
    'a_purge_of_many_goes_in_batches';
like $err, qr/^200 so far\n400 so far\n/, 'and tells how far it is';
ok $t->wait_for(sub { $t->sql('admin', "SELECT count(*) FROM trifecta.job "
    . "WHERE tenant = 'globex' AND deleted IS NULL")->[0][0] == 0 }, 20),
    'all of them';
ok $t->wait_for(sub { $t->redis('XLEN', "$P:acc") == 0 }, 10), 'ledgered';
is scalar(grep { $t->redis('TTL', $_) == -1 }
          @{ $t->redis('KEYS', "$P:j:*") }), 0,
    'and_no_tombstone_stays_in_redis_for_ever';


# stores that are away

$t->kill('redis');
refused('retry without Redis', qr/Redis: .*doctor/s, 1, 'retry', $good);
($status, $out, $err) = jobs('stats');
is $status, 1, 'stats without Redis is no success';
like $out, qr/^default +succeeded +2 /m, 'but_says_what_postgresql_knows';
$t->start('redis');
$t->stop('pg');
refused('list without PostgreSQL', qr/PostgreSQL: .*doctor/s, 1, 'list');
$t->start('pg');
$t->redis('FUNCTION', 'FLUSH', 'SYNC');
refused('without the functions', qr/run "trifecta migrate"/, 1, 'stats');

$t->finish;
done_testing;
