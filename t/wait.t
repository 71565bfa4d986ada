# A client that prefers to wait is told as soon as there is something to
# tell, whatever goes wrong meanwhile, and never later than it said.
#
# The fallback is ten minutes nearly everywhere here, so an answer that comes
# earlier was brought by the doorbell, or by a second look for its reason.
# Jobs end when the test says so; nginx talks to Redis through a proxy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Waiting;

# A disk that is busy with other things must not freeze the stores: how long
# they take is what is tested here.

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    wait_fallback => '10m', redis_conf => 'appendfsync no',
    pg_conf => 'fsync = off');
my $slow = $t->slow;
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $control = "$t->{dir}/run";
my $port = $t->free_port;

$t->{opt}{redis} = "127.0.0.1:$port";
$t->write_conf;
my $proxy = Trifecta::Test::Waiting::proxy($control, $port, $t->{redis_port});
$t->start_all;

my $w = Trifecta::Test::Waiting->new($t);
my $soon = 2;               # "at once", with five times its value

sub switch { $t->write_file("$control/$_[0]", '') }
sub back { unlink "$control/$_[0]" }

sub heard {
    return $t->wait_for(sub {
        my $m = $t->metrics;
        $m->{trifecta_subscriber_ready_workers} >= 1
            && $m->{trifecta_redis_ready_workers} >= 1
            && $m->{trifecta_pg_ready_workers} >= 1 }, 20);
}

# The configuration with other directives; the old worker has gone.

sub configure {
    my (%directive) = @_;
    @{ $t->{opt} }{keys %directive} = values %directive;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    heard();
}

# So many wait now.

sub waiting {
    my ($n) = @_;
    return $t->wait_for(sub { $t->metrics->{trifecta_waiters} == $n }, 10);
}

ok heard(), 'the worker hears Redis';


# A GET and a POST that wait

{
    my $id = $t->ask('x');
    my $one = $w->get($id, 30);
    ok waiting(1), 'a client waits';
    ok !$w->there($one, 0.3), 'and has no answer yet';
    is $w->doorbells, 1, 'its worker listens to the doorbell';
    $w->end($id, 'so');
    my $res = $w->take($one, $soon);
    is $res->{status}, 200, 'when_the_job_ends_the_waiter_is_told';
    is $res->{json}{status}, 'succeeded', 'how';
    is $res->{json}{response}, 'so', 'and what';
    cmp_ok $res->{time}, '>', 0.3, 'then, and not before';
    is $res->{headers}{'preference-applied'}, 'wait=30', 'Preference-Applied';
    is $res->{headers}{vary}, 'Prefer', 'Vary';
    ok $w->quiet(5), 'nobody_listens_when_nobody_waits';

    is_deeply $t->result($id)->{json}, $res->{json},
        'it is what a GET without a wait says';
    $res = $w->take($w->get($id, 30), $soon);
    is $res->{json}{response}, 'so', 'a job that has ended is told at once';
    is $res->{headers}{'preference-applied'}, 'wait=30', 'as preferred';

    my $live = $t->redis('ZCARD', "$P:live");
    $one = $w->post('x', 30);
    ok waiting(1), 'a POST waits';
    is $t->redis('ZCARD', "$P:live"), $live + 1, 'while its job is there';
    ($id) = grep { !$w->{lease}{$_} } @{ $t->redis('ZRANGE', "$P:live", -1,
                                                   -1) };
    $w->end($id, 'so');
    $res = $w->take($one, $soon);
    is $res->{status}, 200, 'a_post_that_waits_is_200_with_the_end';
    is_deeply $res->{json}, $t->result($id)->{json}, 'with the body of a GET';
    is $res->{headers}{'content-location'}, "$Q/$id", 'and says where it is';
    is $res->{headers}{'preference-applied'}, 'wait=30', 'Preference-Applied';
    is $res->{headers}{vary}, 'Prefer', 'Vary';
}


# The time is over

{
    my $one = $w->post('x', 1);
    my $res = $w->take($one, 10);
    is $res->{status}, 202, 'a_post_is_202_after_its_time';
    cmp_ok $res->{time}, '>=', 0.9, 'not before';
    cmp_ok $res->{time}, '<', 5 * $slow, 'nor long after';
    is $res->{json}{status}, 'queued', 'the job is queued';
    is $res->{headers}{'preference-applied'}, 'wait=1', 'Preference-Applied';
    my $id = $res->{json}{query_id};
    is $res->{headers}{location}, "$Q/$id", 'Location';

    $one = $w->get($id, 1);
    sleep 0.2;
    $w->run($id);
    $res = $w->take($one, 10);
    is $res->{status}, 200, 'a_get_is_200_with_the_open_body_after_its_time';
    cmp_ok $res->{time}, '>=', 0.9, 'not before';
    cmp_ok $res->{time}, '<', 5 * $slow, 'nor long after';
    is $res->{json}{status}, 'running', 'what is told is new';
    is $res->{headers}{'preference-applied'}, 'wait=1', 'Preference-Applied';
    ok $res->{headers}{'retry-after'}, 'Retry-After';
    ok $w->quiet(5), 'nothing is left';

    for my $case (['0', 'wait=0'], ['wait=0', 'wait=0'],
                  ['respond-async, wait=0', 'wait=0'], ['wait=x', undef],
                  ['respond-async', undef], ['', undef])
    {
        my ($prefer, $applied) = @$case;
        $prefer = "wait=$prefer" if $prefer =~ /^\d/;
        $res = $t->get("$Q/$id", headers => { Prefer => $prefer });
        is $res->{headers}{'preference-applied'}, $applied,
            "\"$prefer\" is " . ($applied // 'no wait');
        is $res->{headers}{vary}, 'Prefer', '  and Vary is there';
    }

    is $t->post($Q, { query => 'x' })->{headers}{vary}, 'Prefer',
        'as it is on a POST';
    $w->end($id, 'so');
    is $w->take($w->get($id, 86400), $soon)->{headers}{'preference-applied'},
        'wait=60', 'a minute is the most';
    is $t->get("$Q/$id", headers => { Prefer => ['respond-async', 'wait=7',
        'wait=9'] })->{headers}{'preference-applied'}, 'wait=7',
        'the first wait of several lines counts';
}


# Not only ends

{
    my $id = $t->ask('x');
    my $one = $w->get($id, 30);
    waiting(1);
    is $t->request('POST', "$Q/$id/cancel")->{status}, 200, 'cancelled';
    is $w->take($one, $soon)->{json}{status}, 'cancelled',
        'a cancel wakes a waiter';

    $id = $t->ask('x');
    $w->run($id);
    $one = $w->get($id, 30);
    waiting(1);
    is $t->request('DELETE', "$Q/$id")->{status}, 200, 'deleted';
    is $w->take($one, $soon)->{status}, 410, 'a delete wakes a waiter';
}


# If-None-Match and a wait: until it is another state

{
    my $id = $t->ask('x');
    my $etag = $t->result($id)->{headers}{etag};
    my %known = (headers => { 'If-None-Match' => $etag });

    my $one = $w->get($id, 30, %known);
    waiting(1);
    ok !$w->there($one, 0.3), 'the state that a client has is not told';
    $w->run($id);
    my $res = $w->take($one, $soon);
    is $res->{status}, 200, 'a_state_that_differs_is_told_at_once';
    is $res->{json}{status}, 'running', 'it runs now';
    isnt $res->{headers}{etag}, $etag, 'with another tag';

    $res = $w->take($w->get($id, 30, %known), $soon);
    is $res->{json}{status}, 'running', 'what differs already, too';

    %known = (headers => { 'If-None-Match' => $res->{headers}{etag} });
    $res = $w->take($w->get($id, 1, %known), 10);
    is $res->{status}, 304, 'a_state_that_does_not_change_is_304_in_the_end';
    cmp_ok $res->{time}, '>=', 0.9, 'after the wait';
    is $res->{headers}{'preference-applied'}, 'wait=1', 'Preference-Applied';
    is $res->{headers}{vary}, 'Prefer', 'Vary';

    $one = $w->get($id, 30, %known);
    waiting(1);
    $t->redis('FCALL', 'trifecta_release_v1', 1, $P, 'tester', $id,
              delete $w->{lease}{$id});
    is $w->take($one, $soon)->{json}{status}, 'queued',
        'a job that goes back to the queue is another state';

    $one = $w->get($id, 30, headers => { 'If-None-Match' => $etag });
    waiting(1);
    $w->run($id);
    $w->take($one, $soon);
    $one = $w->get($id, 30, %known);
    waiting(1);
    $t->request('POST', "$Q/$id/cancel");
    ok $w->take($one, $soon)->{json}{cancel_requested},
        'so is one that was told to stop';
    $w->end($id, 'so');

    $etag = $t->result($id)->{headers}{etag};
    $res = $w->take($w->get($id, 30, headers => { 'If-None-Match' => $etag }),
                    $soon);
    is $res->{status}, 304, 'an end that a client has is 304 at once';
}


# The race between subscribe and read: the job ends while the subscription is
# on its way, so its doorbell rings for nobody

{
    my $id = $t->ask('x');
    $w->run($id);
    $w->row($id, 'succeeded', 'so');

    switch('hold');
    my $one = $w->get($id, 30);
    sleep 0.2;
    is $w->doorbells, 0, 'Redis does not know of the waiter yet';
    $w->finish($id, 'succeeded');
    back('hold');
    my $res = $w->take($one, $soon);
    is $res->{json}{response}, 'so',
        'a_job_that_ends_before_it_is_subscribed_is_not_missed';

    # the second waiter of a job that the first one has just left

    $id = $t->ask('x');
    $w->run($id);
    $w->row($id, 'succeeded', 'so');
    switch('hold');
    $one = $w->get($id, 30);
    sleep 0.1;
    close $one->{sock};
    sleep 0.1;
    $one = $w->get($id, 30);
    sleep 0.1;
    back('hold');
    sleep 0.1;
    $w->finish($id, 'succeeded');
    is $w->take($one, $soon)->{json}{response}, 'so',
        'nor when another waiter of it has left meanwhile';
}


# It rings while the job is being read

{
    my $id = $t->ask('x');
    $w->run($id);
    $w->row($id, 'succeeded', 'so');
    switch('slow');
    my $one = $w->get($id, 30);
    sleep 0.2;
    is $w->doorbells, 1, 'it is subscribed, and read as running';
    $w->finish($id, 'succeeded');
    sleep 0.1;
    back('slow');
    is $w->take($one, $soon)->{json}{response}, 'so',
        'a_doorbell_that_rings_during_a_reading_is_not_missed';
}


# Redis does not confirm at all: the waiter looks by itself and is told in time

{
    my $id = $t->ask('x');
    switch('hold');
    my $one = $w->get($id, 3);
    my $res = $w->take($one, 15);
    is $res->{json}{status}, 'queued', 'without_a_confirmation_it_is_told';
    cmp_ok $res->{time}, '>=', 2.9, 'when its time is over';
    cmp_ok $res->{time}, '<', 15 * $slow, 'and not never';
    back('hold');
    ok heard(), 'the connection is given up and made again';
    ok $w->quiet(5), 'nothing is left';
}


# A message that was lost because its connection was: what waits reads again
# when it is subscribed again

{
    my $id = $t->ask('x');
    $w->run($id);
    my $one = $w->get($id, 30);
    waiting(1);
    switch('hold');
    $t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $t->wait_for(sub { $w->doorbells == 0 }, 10);
    ok !$w->there($one, 0.5), 'a broken connection is no answer';
    $w->end($id, 'so');
    ok !$w->there($one, 0.5), 'a message that nobody hears is lost';
    back('hold');
    my $res = $w->take($one, 15);
    is $res->{json}{response}, 'so',
        'after_a_reconnect_every_waiter_reads_once';
    heard();

    # and what has not ended is subscribed again

    $id = $t->ask('x');
    $one = $w->get($id, 30);
    waiting(1);
    $t->redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
    ok $t->wait_for(sub { $w->doorbells == 1 && heard() }, 10),
        'the subscription is made again';
    $w->end($id, 'so');
    is $w->take($one, $soon)->{json}{response}, 'so', 'and is heard';
}


# The fallback

{
    configure(wait_fallback => '1s');
    my $id = $t->ask('x');
    $w->run($id);
    my $one = $w->get($id, 30);
    waiting(1);
    switch('deaf');
    $w->end($id, 'so');
    my $res = $w->take($one, 10);
    is $res->{json}{response}, 'so', 'the_fallback_finds_what_was_lost';
    back('deaf');

    # a Redis user that may not subscribe

    $t->redis('ACL', 'SETUSER', 'edge', 'on', '>' . $t->secret('redis.pass'),
              '~*', 'resetchannels', '+@all');
    $t->{opt}{redis} = "redis://edge\@127.0.0.1:$port";
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    $id = $t->ask('x');
    $one = $w->get($id, 30);
    waiting(1);
    ok !$w->there($one, 0.5), 'who may not subscribe waits all the same';
    $w->end($id, 'so');
    is $w->take($one, 10)->{json}{response}, 'so', 'and is told';
    like $t->log_of('error'), qr/does not let it subscribe: NOPERM/,
        'the log says what is missing';
    $t->redis('ACL', 'SETUSER', 'edge', '&{trifecta:*');
    ok heard(), 'with the right it hears';
    $t->{opt}{redis} = "127.0.0.1:$port";
    configure(wait_fallback => '10m');

    for my $case (['99ms', qr/100ms or more/], ['x', qr/invalid value/]) {
        my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");
        $conf =~ s/trifecta_wait_fallback \S+;/trifecta_wait_fallback $case->[0];/;
        my $file = $t->write_file("$t->{dir}/conf/try.conf", $conf, 0644);
        my $out = join ' ', 'ASAN_OPTIONS=detect_leaks=0', $t->nginx_bin, '-t',
            '-p', $t->{dir}, '-e', "$t->{dir}/run/try.log", '-c', $file;
        like `$out 2>&1`, $case->[1], "a fallback of $case->[0] is refused";
    }
}


# A hundred waiters

{
    my $id = $t->ask('x');
    $w->run($id);
    my @all = map { $w->get($id, 60) } 1 .. 100;
    ok waiting(100), 'a hundred wait';
    is $w->doorbells, 1, 'a_hundred_waiters_are_one_channel';
    is_deeply $t->redis('PUBSUB', 'SHARDNUMSUB', "$P:c:$id"),
        ["$P:c:$id", 1], 'and one subscription';
    is $t->metrics->{trifecta_subscriptions}, 1, 'the metric says so, too';
    $w->end($id, 'so');
    my @res = map { $w->take($_, 5) } @all;
    is scalar(grep { ($_->{json}{response} // '') eq 'so' } @res), 100,
        'all_hundred_are_told';
    ok $w->quiet(5), 'nothing is left';
}


# The bound

{
    configure(max_waiters => 3);
    my $id = $t->ask('x');
    my @all = map { $w->get($id, 60) } 1 .. 3;
    ok waiting(3), 'three may wait';
    my $res = $w->take($w->get($id, 60), $soon);
    is $res->{status}, 200, 'the_fourth_is_answered_at_once';
    is $res->{json}{status}, 'queued', 'with the open body';
    is $res->{headers}{'preference-applied'}, undef,
        'and no Preference-Applied';
    is $res->{headers}{vary}, 'Prefer', 'but Vary';
    $res = $w->take($w->post('x', 60), $soon);
    is $res->{status}, 202, 'a POST, too';
    is $res->{headers}{'preference-applied'}, undef, 'in the same way';
    close $all[0]{sock};
    ok waiting(2), 'one leaves';
    my $one = $w->get($id, 60);
    ok waiting(3), 'another may wait';
    $w->end($id, 'so');
    is $w->take($one, $soon)->{json}{response}, 'so', 'and is told';
    $w->take($_, 5) for @all[1, 2];
    configure(max_waiters => 10000);
}


# Clients that go away

{
    my @ids = map { $t->ask('x') } 1 .. 10;
    my @all = map { my $id = $_; map { $w->get($id, 60) } 1 .. 4 } @ids;
    push @all, map { $w->post('x', 60) } 1 .. 10;
    ok waiting(50), 'fifty wait';
    is $w->doorbells, 20, 'for twenty jobs';
    close $_->{sock} for @all;
    ok $w->quiet(5), 'clients_that_leave_free_everything';

    switch('hold');
    @all = map { $w->get($_, 60) } @ids;
    sleep 0.1;
    close $_->{sock} for @all;
    sleep 0.1;
    back('hold');
    ok $w->quiet(5), 'also before Redis has confirmed';

    # while Redis owes the reading

    @all = map { $w->get($_, 60) } @ids;
    waiting(10);
    $t->freeze('redis');
    close $_->{sock} for @all[0 .. 4];
    sleep 0.2;
    $t->thaw('redis');
    close $_->{sock} for @all[5 .. 9];
    ok $w->quiet(10), 'and while it is frozen';
}


# HTTP/2

{
    my $head = "-s --http2 --cacert '$t->{ca}' -D - -H 'Authorization: Bearer "
        . $t->token . "' -H 'Prefer: wait=30'";
    my $curl = sub {
        my ($id, $out) = @_;
        my $pid = fork // die "fork: $!\n";
        return $pid if $pid;
        open STDOUT, '>', $out;
        exec "exec curl $head https://localhost:$t->{port}$Q/$id"
            or POSIX::_exit(127);
    };

    my $id = $t->ask('x');
    my $out = "$t->{dir}/run/h2";
    my $pid = $curl->($id, $out);
    ok waiting(1), 'a stream of HTTP/2 waits';
    $w->end($id, 'so');
    waitpid $pid, 0;
    my $got = $t->read_file($out);
    like $got, qr{^HTTP/2 200}, 'over HTTP/2, indeed';
    like $got, qr/^preference-applied: wait=30\r$/m, 'it is as preferred';
    like $got, qr/"response":"so"/, 'a_stream_of_http2_is_told';

    $id = $t->ask('x');
    $pid = $curl->($id, $out);
    waiting(1);
    kill 'KILL', $pid;
    waitpid $pid, 0;
    ok $w->quiet(5), 'a client of HTTP/2 that leaves frees everything';

    # streams of one connection; nghttp resets them when it is interrupted

    my @ids = map { $t->ask('x') } 1 .. 5;
    my $log = "$t->{dir}/run/h2.log";
    $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        exec 'nghttp', '-v', '-y', '-H', 'Authorization: Bearer ' . $t->token,
            '-H', 'Prefer: wait=30',
            map { "https://localhost:$t->{port}$Q/$_" } @ids
            or POSIX::_exit(127);
    }
    ok waiting(5), 'five streams of a connection wait';
    $w->end($ids[2], 'so');
    ok waiting(4), 'one is told, four wait on';
    my @old = $t->reload;
    my $start = time;
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10), 'a reload';
    cmp_ok time - $start, '<', 5 * $slow,
        'a_worker_with_streams_that_wait_leaves_at_once';
    waitpid $pid, 0;
    $got = $t->read_file($log);
    is scalar(() = $got =~ /:status: 200/g), 5, 'all five are answered';
    is scalar(() = $got =~ /"status":"(?:queued|running)"/g), 4,
        'four as open';
    heard();
}


# A worker that leaves

{
    my @ids = map { $t->ask('x') } 1 .. 25;
    my @all = map { my $id = $_; map { $w->get($id, 60) } 1, 2 } @ids;
    ok waiting(50), 'fifty wait';
    my $start = time;
    my @old = $t->reload;
    my @res = map { $w->take($_, 5) } @all;
    is scalar(grep { $_->{status} == 200
        && $_->{json}{status} =~ /^(queued|running)$/ } @res), 50, 'a_reload_answers_fifty_waiters_with_the_open_body';
    is scalar(grep { $_->{time} > 30 } @res), 0,
        'and not at the end of their time';
    is scalar(grep { $_->{headers}{'preference-applied'} } @res), 0,
        'which was not what they preferred';
    is scalar(grep { $_->{headers}{'retry-after'} } @res), 50,
        'they are told when to come back';
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10), 'it is gone';
    cmp_ok time - $start, '<', 5 * $slow, 'within a second';
    heard();

    # and one whose Redis is away

    @all = map { $w->get($_, 60) } @ids[0 .. 4];
    push @all, $w->post('x', 60);
    waiting(6);
    sleep 0.3;
    switch('cut');
    sleep 0.3;
    $start = time;
    @old = $t->reload;
    @res = map { $w->take($_, 5) } @all;
    is scalar(grep { $_->{status} == 200
        && $_->{json}{status} =~ /^(queued|running)$/ } @res), 5, 'without Redis it says what it knew';
    is $res[5]{status}, 202, 'a POST was accepted';
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10), 'it is gone';
    cmp_ok time - $start, '<', 5 * $slow, 'within a second';
    back('cut');
    heard();

    @all = map { $w->get($_, 60) } @ids[0 .. 4];
    waiting(5);
    $start = time;
    $t->stop('nginx');
    cmp_ok time - $start, '<', 5 * $slow, 'a quit is as quick';
    @res = map { $w->take($_, 5) } @all;
    is scalar(grep { $_->{status} == 200 } @res), 5, 'and answers them all';
    $t->start('nginx');
    heard();
}


# Redis is killed while clients wait

{
    my ($ends, $later, $open) = map { $t->ask('x') } 1 .. 3;
    $w->run($open);
    my @all = map { $w->get($_, 30) } $ends, $later;
    my $short = $w->get($open, 3);
    my $post = $w->post('x', 3);
    ok waiting(4), 'four wait';
    $t->kill('redis');

    $w->row($ends, 'succeeded', 'so');
    my $res = $w->take($all[0], 15);
    is $res->{json}{response}, 'so',
        'redis_killed_a_waiter_gets_the_end_that_the_row_says';

    $res = $w->take($short, 15);
    is "$res->{status} $res->{code}", '503 queue_unavailable',
        'redis_killed_an_open_job_is_503_in_the_end';
    cmp_ok $res->{time}, '>=', 2.9, 'and not before';
    $res = $w->take($post, 15);
    is $res->{status}, 202, 'redis_killed_a_post_is_still_202';

    ok !$w->there($all[1], 0.1), 'the other one waits on';
    $t->start('redis');
    ok heard(), 'Redis is back';
    $w->end($later, 'so');
    $res = $w->take($all[1], 15);
    is $res->{json}{response}, 'so', 'and brings the answer';
}


# Frozen

{
    my $id = $t->ask('x');
    my $one = $w->get($id, 30);
    my $short = $w->get($id, 2);
    waiting(2);
    $t->freeze('redis');
    my $res = $w->take($short, 15);
    is "$res->{status} $res->{code}", '503 queue_unavailable',
        'redis_frozen_it_is_503_in_the_end';
    $t->thaw('redis');
    ok heard(), 'thawed';
    $w->end($id, 'so');
    is $w->take($one, 15)->{json}{response}, 'so', 'who waits on is told';
}


# PostgreSQL is away when the job ends

{
    my ($id, $lost) = map { $t->ask('x') } 1, 2;
    $w->run($_) for $id, $lost;
    $w->row($_, 'succeeded', 'so') for $id, $lost;
    my @all = map { $w->get($id, $_) } 30, 2;
    waiting(2);
    $t->kill('pg');
    $w->finish($id, 'succeeded');
    my $res = $w->take($all[1], 15);
    is "$res->{status} $res->{code}", '503 store_unavailable',
        'postgresql_away_an_ended_job_is_503_when_the_time_is_over';
    cmp_ok $res->{time}, '>=', 1.9, 'and not before';
    ok !$w->there($all[0], 0.1), 'the other one waits on';
    $t->start('pg');
    $res = $w->take($all[0], 15);
    is $res->{json}{response}, 'so', 'and gets it when PostgreSQL is back';
}


# With a sidecar that does the work

{
    $t->start('sidecar');
    my $res = $w->take($w->post('sleep=500 say=hello', 30, model => 'test'),
                       15);
    is $res->{status}, 200, 'a question is answered in one request';
    like $res->{json}{response}, qr/hello/, 'by the sidecar';
    ok $w->quiet(5), 'nothing is left';

    my $gets = sub { scalar(() = $t->read_file("$t->{dir}/log/access.log")
                                  =~ m{"GET $Q/}g) };
    my $before = $gets->();
    my ($rc, $out) = $t->run('ask', '--model', 'test', 'sleep=2500 say=hi');
    is $rc, 0, 'trifecta ask';
    like $out, qr/hi/, 'has its answer';
    $t->wait_for(sub { $gets->() > $before }, 2);
    is $gets->() - $before, 1, 'by_one_GET_that_waits';

    configure(max_waiters => 1);
    my $id = $t->ask('sleep=20000', model => 'test');
    my $one = $w->get($id, 60);
    waiting(1);
    $before = $gets->();
    ($rc, $out) = $t->run('ask', '--model', 'test', 'sleep=1500 say=hi');
    is $rc, 0, 'without a place to wait';
    like $out, qr/hi/, 'it has its answer, too';
    $t->wait_for(sub { $gets->() > $before + 1 }, 2);
    cmp_ok $gets->() - $before, '>', 1, 'by_several';
    cmp_ok $gets->() - $before, '<', 6, 'as far apart as Retry-After says';
    $t->request('POST', "$Q/$id/cancel");
    $w->take($one, 15);
}

kill 'TERM', $proxy;
waitpid $proxy, 0;
$t->finish;
done_testing;
