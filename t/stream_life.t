# A stream goes on where others end: through a reload of nginx, the death of a
# worker of the queue, an outage of Redis; and if it cannot, it does not end as
# if it had.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Streams;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    wait_fallback => '10m', pg_conf => 'fsync = off',
    redis_conf => 'appendfsync no');
my $s = Trifecta::Test::Streams->new($t);
my $slow = $t->slow;
my $soon = 5;

sub lines { join ', ', map { Trifecta::Test::Streams::line($_) } @_ }

# Every worker is connected, and one of them does not leave: the next client is
# that one's.

sub heard {
    return $t->wait_for(sub {
        my (undef, @kids) = $t->proc('nginx')->tree;
        my @all = grep { $t->read_file("/proc/$_/cmdline")
                         =~ /worker process/ } @kids;
        my $m = $t->metrics;
        $t->workers == 1
            && @all == $m->{trifecta_subscriber_ready_workers}
            && @all == $m->{trifecta_redis_ready_workers}
            && @all == $m->{trifecta_pg_ready_workers} }, 20)
        || fail 'the workers are connected';
}

# How long a worker that leaves may take, in the next configuration.

sub shutdown_timeout {
    my ($time) = @_;
    my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");
    $conf =~ s/worker_shutdown_timeout \S+;/worker_shutdown_timeout $time;/;
    $t->write_file("$t->{dir}/conf/nginx.conf", $conf, 0644);
}

shutdown_timeout('10m');
$t->start_all;
heard();


# Nothing to say, for as long as it takes to be taken for dead; this one is
# looked at when the others have taken their time

my $idle_job = $s->job;
my $idle = $s->open($idle_job);
my $idle_since = time;
isnt $idle->next($soon), undef, 'a stream that has nothing to say';


# A reload in mid-stream

{
    my $id = $s->job;
    my $one = $s->open($id);
    $s->emit($id, 1, 1, 's', '', 2, 'd', 'one');
    $one->said($soon) for 1, 2;

    my $poll = $s->request('GET', "/api/v1/query/$id", headers => {
        Prefer => 'wait=60' });
    $t->wait_for(sub { $t->metrics->{trifecta_waiters} >= 3 }, 5);

    my @old = $t->reload;
    is $poll->head($soon), 200, 'a request that waits is answered at once';
    is $one->next(0.3), undef, 'a stream is not cut';
    $s->emit($id, 1, 3, 'd', 'two');
    is lines($one->said($soon)), 'delta 1-3 two',
        'a_stream_goes_on_in_a_worker_that_leaves';
    ok kill(0, @old), 'which is still there';

    heard();
    my $two = $s->open($id, last => '1-2');
    is lines($two->said($soon)), 'delta 1-3 two', 'in the new worker, too';

    $s->end($id, 'onetwothree', [3, 6, 11],
            streamed => { search => JSON::PP::true });
    is lines($_->rest($soon)), 'delta 1-4 three, done done', 'to the end'
        for $one, $two;
    is $one->proper, 1, 'a proper one';

    # the stream with nothing to say is still there, and keeps it
    ok kill(0, @old), 'the worker stays for its other stream';
}


# nginx has had enough of it

{
    my $id = $s->job;
    my $one = $s->open($id);
    $s->emit($id, 1, 1, 'd', 'one');
    $one->said($soon);
    shutdown_timeout('1s');
    $t->reload;
    heard();

    my $two = $s->open($id, last => '1-0');
    is lines($two->said($soon)), 'delta 1-1 one', 'a stream of a worker';
    my @old = $t->reload;
    my $start = time;
    is $two->next($soon), undef, 'that is to leave';
    is $two->proper, 0, 'worker_shutdown_timeout_cuts_a_stream_visibly';
    cmp_ok time - $start, '<', 5 * $slow, 'in time';

    heard();
    $s->emit($id, 1, 2, 'd', 'two');
    my $three = $s->open($id, last => '1-1');
    is lines($three->said($soon)), 'delta 1-2 two',
        'its client goes on in another worker';
    is lines($one->said($soon)), 'delta 1-2 two',
        'a worker that has more time serves on';
    $s->end($id, 'onetwo', [3, 6]);
    is lines($_->rest($soon)), 'done done', 'the end' for $one, $three;
}


# The one that had nothing to say

{
    my $left = $idle_since + 16 - time;
    sleep $left if $left > 0;
    $idle->fill(0);
    cmp_ok $idle->beats, '>=', 1, 'a_stream_shows_that_it_is_alive';
    cmp_ok $idle->beats, '<=', 1 + (time - $idle_since) / 14, 'now and then';
    $s->end($idle_job, 'so', undef);
    is lines($idle->rest($soon)), 'delta 1-1 so, done done', 'and ends';
}


# Redis goes away in mid-stream

{
    my $id = $s->job;
    my $one = $s->open($id);
    $s->emit($id, 1, 1, 'd', 'one');
    is lines($one->said($soon)), 'delta 1-1 one', 'a piece';

    $t->freeze('redis');
    is $one->next(2), undef, 'Redis is frozen, the stream is there';
    $t->thaw('redis');
    heard();
    $s->emit($id, 1, 2, 'd', 'two');
    is lines($one->said(10)), 'delta 1-2 two',
        'a_stream_outlives_a_redis_that_was_frozen';

    $t->restart('redis');
    heard();
    $t->wait_for(sub { $t->redis('HGET', "{trifecta:0}:j:$id", 'state')
                       eq 'running' }, 10);
    $s->emit($id, 1, 3, 'd', 'three');
    is lines($one->said(10)), 'delta 1-3 three',
        'and_one_that_was_restarted';

    # the end comes while Redis is away: PostgreSQL has it

    $t->kill('redis');
    $s->row($id, 'onetwothreefour', [3, 6, 11, 15]);
    is lines($one->rest(20)), 'delta 1-4 four, done done',
        'the_end_is_told_without_redis';
    is $one->proper, 1, 'a proper end';
    $t->start('redis');
    heard();
}


# Both stores are away: it waits half a minute

{
    my $id = $s->job;
    my $one = $s->open($id);
    $s->emit($id, 1, 1, 'd', 'one');
    is lines($one->said($soon)), 'delta 1-1 one', 'a piece';
    $t->freeze('redis');
    $t->freeze('pg');
    my $start = time;
    is $one->said(60), undef, 'nothing more is said';
    is $one->proper, 0, 'stores_that_stay_away_cut_a_stream_visibly';
    my $took = time - $start;
    cmp_ok $took, '>', 25, 'after half a minute';
    cmp_ok $took, '<', 150 * $slow, 'and not long after';
    $t->thaw($_) for qw(pg redis);
    heard();
    like $t->log_of('error'), qr/a stream is cut.*the stores are away/,
        'the log says why';
    $s->emit($id, 1, 2, 'd', 'two');
    $s->end($id, 'onetwo', [3, 6]);
    is lines($s->open($id, last => '1-1')->rest($soon)),
        'delta 1-2 two, done done', 'its client goes on when they are back';
}


# HTTP/1.0: the end of the connection is the end of the body

{
    my $id = $s->job;
    my $one = $s->open($id, version => '1.0');
    $s->emit($id, 1, 1, 'd', 'one');
    is lines($one->said($soon)), 'delta 1-1 one', 'HTTP/1.0';
    is $one->header('transfer-encoding'), undef, 'without chunks';
    $s->end($id, 'one', [3]);
    is lines($one->rest($soon)), 'done done', 'it ends';
    ok $one->proper == 0 && $one->{eof}, 'properly';
}

# (what a cut looks like there is in t/stream_front.t: Perl's TLS takes it for
# a proper end)

$t->finish;
done_testing;
