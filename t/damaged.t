# What Redis holds is damaged, or was put there by a stranger: it costs the
# job that it concerns, and no other one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(models => 'extractive test', sidecar => {
    threads => 2, lease => '2s', heartbeat => '500ms' });
my $P = '{trifecta:0}';


sub hash_of { "$P:j:$_[0]" }

sub change {
    my ($id, $field, $value) = @_;

    return defined $value ? $t->redis('HSET', hash_of($id), $field, $value)
                          : $t->redis('HDEL', hash_of($id), $field);
}

sub others_run {
    my ($name) = @_;
    my $end = eval { $t->ask_and_wait('say=other', model => 'test',
                                      timeout => 15 * $t->slow) };

    is $end && $end->{status}, 'succeeded', $name or diag $@;
}

sub is_out_of_the_queue {
    my ($id, $name) = @_;

    ok $t->wait_for(sub { !defined $t->redis('ZSCORE', "$P:live", $id) }, 15),
        $name;
}

sub row {
    my ($id) = @_;
    return @{ $t->sql('admin', 'SELECT state, error->>?'
                      . ' FROM trifecta.job WHERE id = ?', 'code', $id)->[0]
              || [] };
}


# While it waits: nobody claims it before it is damaged

my @damage = (
    [ 'an owner that is not UTF-8',   'owner',   "\xff\xfe" ],
    [ 'a model that is not UTF-8',    'model',   "\xff" ],
    [ 'a request that is no JSON',    'payload', '{{{' ],
    [ 'a request nested too deeply',  'payload', ('[' x 5000) . (']' x 5000) ],
    [ 'groups that are no JSON',      'groups',  'x' ],
    [ 'no tenant',                    'tenant' ],
    [ 'no owner',                     'owner' ],
    [ 'no priority',                  'prio' ],
    [ 'an unknown priority',          'prio',    '9' ],
    [ 'no time of acceptance',        'acc' ],
    [ 'a time far away',              'acc',     '9223372036854775807' ],
    [ 'a deadline that is no number', 'dl',      'soon' ],
    [ 'a lease that is no number',    'lease',   '1e3' ],
    [ 'no count of failures',         'fails' ],
);

for my $damage (@damage) {
    my ($what, $field, $value) = @$damage;

    $t->freeze('sidecar');
    my $id = $t->ask('say=damaged', model => 'test');
    change($id, $field, $value);
    $t->thaw('sidecar');

    others_run("a_damaged_job_stops_nobody_else: $what");
    is_out_of_the_queue($id, 'and has left the queue');
}


# A job whose row is there already ends there, too

{
    $t->freeze('sidecar');
    my $id = $t->ask('say=damaged', model => 'test');
    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, accepted, deadline) VALUES (?, ?, ?, ?, ?, 1,'
        . " 'queued', now(), now() + '10 min')",
        $id, 'default', 'test:alice', 'query', 'test');
    change($id, 'fails');
    $t->thaw('sidecar');

    ok $t->wait_for(sub { (row($id))[0] eq 'failed' }, 15),
        'a_damaged_job_ends_as_failed';
    is +(row($id))[1], 'queue_entry_damaged', 'which is said';
    is $t->result($id)->{json}{error}{code}, 'queue_entry_damaged',
        'to its owner, too';
}


# While it runs

for my $damage ([ 'no tenant', 'tenant' ], [ 'no priority', 'prio' ],
                [ 'an unknown priority', 'prio', '9' ])
{
    my ($what, $field, $value) = @$damage;
    my $id = $t->ask('sleep=1500 say=damaged', model => 'test');

    $t->wait_for(sub { ((row($id))[0] // '') eq 'running' }, 10);
    change($id, $field, $value);

    others_run("one_damaged_while_it_runs_stops_nobody_else: $what");
    is_out_of_the_queue($id, 'and has left the queue');
    others_run('nor later');
}


# Another tenant's keys are of the wrong kind: its own jobs cannot end

{
    my $id = $t->ask('sleep=1000 say=stuck', model => 'test',
                     token => $t->token(tenant => 'acme'));

    ok $t->wait_for(sub { ((row($id))[0] // '') eq 'running' }, 10), 'it runs';
    $t->redis('SET', "$P:t:acme:live", 'x');
    sleep 1.5;

    others_run('a_job_that_cannot_be_finished_stops_nobody_else');

    $t->redis('DEL', "$P:t:acme:live");
    is_out_of_the_queue($id, 'and ends when it can');
}


# Entries of strangers

{
    my $id = '01990000-0000-7000-8000-000000000001';

    $t->redis('SET', hash_of($id), 'a string');
    $t->redis('XADD', "$P:r:$_", '*', 'id', $id) for 0 .. 2;
    $t->redis('XADD', "$P:r:1", '*', 'foo', 'bar', 'id', "x\r\ny");
    $t->redis('XADD', "$P:r:1", '*', '', '');
    $t->redis('XADD', "$P:acc", '*', 'foo', 'bar');
    $t->redis('XADD', "$P:acc", '*', 'op', $_, 'id', $id)
        for qw(new cancel delete damaged whatever);
    $t->redis('XADD', "$P:acc", '*', 'op', 'damaged', 'id', 'x' x 1000);

    others_run('entries_of_strangers_stop_nobody');

    ok $t->wait_for(sub {
        !grep { $t->redis('XLEN', "$P:$_") } qw(r:0 r:1 r:2 acc);
    }, 15), 'and are gone';
    $t->redis('DEL', hash_of($id));
}


$t->finish;
done_testing;
