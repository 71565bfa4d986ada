# Connections to PostgreSQL are held while they are used: not while a model
# writes, and none at all where nothing is read.  Who finds none free waits,
# and is answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, sidecar => {
    threads => 12, background => 8, pg_connections => 2,
    lease => '3s', heartbeat => '500ms' });
my $gate = $t->dir . '/gate';

# It writes when the gate is open.

my $server = Trifecta::Test::ModelServer->new($t, map { $_ => sub {
    my ($c) = @_;
    sleep 0.05 until -e $gate;
    return $c->sse('the gate is open');
} } qw(bare keeps));

my $models = $t->dir . '/models.conf';
$t->write_file($models, join '', map { <<"END" } ['bare', 0], ['keeps', '1h']);
[$_->[0]]
provider = openai
base_url = @{[$server->url]}/v1
retrieval = off
cache = $_->[1]
first_token_timeout = 5m
total_timeout = 5m
END

$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = 'extractive bare keeps';
$t->write_conf;
$t->start_all;

my $pg = $t->dbh('admin');
my $n = 0;

sub ask { return $t->ask('question ' . $n++, model => $_[0]) }
sub asked { return scalar(my @all = $server->requests($_[0])) }

sub connections {
    my ($where) = @_;
    return $pg->selectrow_array('SELECT count(*) FROM pg_stat_activity '
        . "WHERE usename = 'trifecta_rag' AND " . ($where // 'true'));
}


# Nothing is read for it

my @ids = map { ask('bare') } 1 .. 3;
ok($t->wait_for(sub { asked('bare') == 3 }, 20 * $t->slow),
    'the model is asked');
is(connections(), 0, 'who_reads_nothing_takes_no_connection');


# Many wait for a model

push @ids, map { ask('keeps') } 1 .. 7;
ok($t->wait_for(sub { asked('keeps') == 7 }, 20 * $t->slow),
    'more_wait_for_a_model_than_there_are_connections');
cmp_ok(connections(), '<=', 2, 'there are no more than configured');

my $path = $t->dir . '/heron.md';
$t->write_file($path, "# Heron\n\nThe heron stands in the pond.\n");
is(($t->run('ingest', $path))[0], 0, 'a document');
like($t->ask_and_wait('Where does the heron stand?', model => 'extractive',
        timeout => 20 * $t->slow)->{response}, qr/in the pond/,
    'a_search_is_made_while_they_wait');

$t->write_file($gate, '');
is($t->wait_for_answer($_, timeout => 30 * $t->slow)->{status}, 'succeeded',
    'they are answered') for @ids;


# None is free

$pg->begin_work;
$pg->do('LOCK TABLE trifecta.collection IN ACCESS EXCLUSIVE MODE');
@ids = map { $t->ask("Where does the heron stand ($_)?",
    model => 'extractive') } 1 .. 8;
ok($t->wait_for(sub { connections("wait_event_type = 'Lock'") == 2 },
    20 * $t->slow), 'every connection is in use');
sleep 1;
$pg->rollback;

for my $id (@ids) {
    my $end = $t->wait_for_answer($id, timeout => 30 * $t->slow);
    like($end->{response}, qr/in the pond/,
        'who_finds_no_connection_waits_and_is_answered');
}

is($t->sql('admin', 'SELECT max(attempt) FROM trifecta.job')->[0][0], 1,
    'all of them at the first attempt');
unlike($t->log_of('sidecar', 0), qr/could not reach its store/,
    'and no store is taken for lost');


# What is in use for long

$pg->begin_work;
$pg->do('LOCK TABLE trifecta.document IN SHARE ROW EXCLUSIVE MODE');
my @paths = map { $t->write_file($t->dir . "/otter$_.md",
    "The otter $_ swims.\n") } 1 .. 6;
is(($t->run('ingest', '--queue', '--no-wait', @paths))[0], 0,
    'ingest jobs, one by one');
ok($t->wait_for(sub {
    $t->metrics(0)->{trifecta_worker_background_held} == 6
}, 20 * $t->slow), 'more of them run than there are connections');
like($t->ask_and_wait('Where does the heron stand now?',
        model => 'extractive', timeout => 20 * $t->slow)->{response},
    qr/in the pond/, 'ingest_jobs_leave_a_connection_to_who_asks');
$pg->rollback;
ok($t->wait_for(sub { !@{ $t->sql('admin', 'SELECT 1 FROM trifecta.job '
    . "WHERE kind = 'ingest' AND state <> 'succeeded'") } }, 60 * $t->slow),
    'and_all_of_them_are_done_in_the_end');


# The bound is configured

$t->{opt}{sidecar}{pg_connections} = 1;
$t->stop('sidecar', 0);
$t->write_conf;
$t->launch('sidecar', 0)->wait(10 * $t->slow);
like($t->log_of('sidecar', 0),
    qr/pg_connections must be between 2 and 256/, 'none is refused');

# half of the connections, not of the threads, unless it is told
$t->{opt}{sidecar} = { %{ $t->{opt}{sidecar} }, pg_connections => 5,
                       threads => 40, background => 0 };
$t->write_conf;
$t->start('sidecar', 0);
is($t->metrics(0)->{trifecta_worker_background_places}, 3,
    'without_a_bound_the_background_has_half_of_the_connections');

$server->stop;
$t->finish;
done_testing;
