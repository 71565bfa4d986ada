# What does not belong into the queue: an entry by a stranger, a kind that
# nobody knows, a library of another version, a second process of one name.
# Each has a line in the log and a metric, and the rest goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(models => 'test', sidecar => { threads => 2,
    lease => '2s', heartbeat => '500ms', worker => 'first' });
my $P = '{trifecta:0}';
my $next = 0;

sub metric {
    my ($name, $n) = @_;
    return $t->sidecar_get($n // 0, '/metrics')->{content}
        =~ /^trifecta_worker_$name (\S+)$/m ? $1 : undef;
}

sub others_run {
    my ($name) = @_;
    my $end = eval { $t->ask_and_wait('say=other', model => 'test',
                                      timeout => 15 * $t->slow) };
    is $end && $end->{status}, 'succeeded', $name or diag $@;
}

sub logs {
    my ($re, $name, $n) = @_;
    ok $t->wait_for(sub { $t->log_of('sidecar', $n // 0) =~ $re }, 10), $name;
}

sub error_of {
    my ($id) = @_;
    my $row;
    $t->wait_for(sub {
        $row = $t->sql('admin', "SELECT state, error->>'code' FROM "
            . 'trifecta.job WHERE id = ?', $id)->[0];
        $row && $row->[0] !~ /queued|running/;
    }, 15);
    return join ' ', map { $_ // '' } @$row;
}

sub submit {
    my (%o) = @_;
    my $ms = sprintf '%012x', 1000 * time;
    my $id = sprintf '%s-%s-7000-8000-%012x', substr($ms, 0, 8),
                     substr($ms, 8), ++$next;
    my %job = (id => $id, tenant => 't', owner => 'o', groups => '[]',
        scopes => '[]', kind => 'query', model => 'test', prio => 1,
        payload => '{"query":"say=x"}', request_id => 'r', fp => 'f',
        limit => 600000, max => 1000, tmax => 1000, %o);
    $t->redis('FCALL', 'trifecta_submit_v1', 1, $P, %job);
    return $id;
}


# Entries by a stranger

$t->redis('XADD', "$P:r:$_", '*', 'id', 'what is it') for 0 .. 2;
$t->redis('XADD', "$P:r:1", '*', 'colour', 'green', 'size', 'large');
ok($t->wait_for(sub { metric('strange_total') == 4 }, 10),
    'entries_by_a_stranger_are_counted');
logs(qr/entries of the queue named no job and were dropped/, 'and logged');
is($t->redis('XLEN', "$P:r:$_"), 0, "and gone from stream $_") for 0 .. 2;
others_run('the rest goes on');


# A job whose hash was spoilt while it waited

$t->stop('sidecar', 0);
my $id = submit();
$t->redis('HSET', "$P:j:$id", 'prio', 'high');
my $sound = submit();
$t->start('sidecar', 0);
ok($t->wait_for(sub { metric('damaged_total') == 1 }, 10),
    'a_damaged_job_is_counted');
logs(qr/jobs were damaged in Redis and end as failed/, 'and logged');
is(error_of($sound), 'succeeded ', 'its neighbour runs');


# A kind that this release does not know, a request that is none

$id = submit(kind => 'divination');
like(error_of($id), qr/^failed unknown_kind/, 'an_unknown_kind_fails');
logs(qr/unknown kind of job \W*divination/, 'and is logged');
$id = submit(payload => '{"query":');
like(error_of($id), qr/^failed \w/, 'a_corrupted_payload_fails');
logs(qr/the payload is no question/, 'and is logged');
cmp_ok(metric('failed_total'), '>=', 2, 'and counted');
others_run('the rest goes on');


# A second process of the same name

$t->start('sidecar', 1);
logs(qr/a worker called first is known in shard 0: this process calls itself first-[0-9a-f]{8} there/,
    'a_second_process_of_the_same_name_takes_another', 1);
is(scalar(grep { /^first(-[0-9a-f]{8})?$/ } @{
    $t->redis('ZRANGE', "$P:wk", 0, -1) }) >= 2 ? 1 : 0, 1, 'both are known');
my @ids = map { submit(payload => '{"query":"sleep=300 say=x"}') } 1 .. 8;
is(error_of($_), 'succeeded ', 'a job ends') for @ids;
cmp_ok(metric('claimed_total', $_), '>', 0, "sidecar $_ has run some") for 0, 1;
is(metric('lost_total', $_), 0, "and $_ lost none to the other") for 0, 1;
$t->stop('sidecar', 1);


# A library of another version, and none

$t->redis('HSET', "$P:meta", 'schema', 999);
$t->redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
logs(qr/made by another release \(schema 999, this one needs/,
    'a_library_of_another_version_is_refused_with_a_clear_line');
is($t->sidecar_get(0, '/readyz')->{status}, 503, 'it is not ready');
is($t->sidecar_get(0, '/livez')->{status}, 200, 'and alive');
$t->redis('HSET', "$P:meta", 'schema', 1);
ok($t->wait_for(sub { $t->sidecar_get(0, '/readyz')->{status} == 200 }, 20),
    'put right, it goes on');
# each worker of nginx finds it when its pause is over
ok($t->wait_for(sub { $t->ask_and_wait('say=other', model => 'test',
    timeout => 15 * $t->slow)->{status} eq 'succeeded' }, 20), 'and works');

$t->idle_holds('nothing is left');
$t->finish;
done_testing;
