# The cache of results: asking again costs no store a command, the answer is
# the same, it is nobody else's, and it is gone in time.  No sidecar runs: the
# ends of jobs are written here.  What deletions do to it is in cache_gone.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Waiting;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    result_cache => 'zone=results:4m max=300k');
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';

# Ids that were made for two owners: 24 bits are not many.  See below.

my $key = '0123456789abcdef' x 3;
my @shared = (
    ['019aa56d-6000-7000-8002-182d4dd66c81', sub => 'bob'],
    ['019aa56d-6000-7000-8000-4ec18d14dc09', tenant => 'acme'],
);

$t->write_file("$t->{dir}/secrets/id.key", "$key\n", 0600);
$t->start_all;

my $w = Trifecta::Test::Waiting->new($t);

my %name = (hit => 'cache_lookups_total{result="hit"}',
            miss => 'cache_lookups_total{result="miss"}',
            bypass => 'cache_lookups_total{result="bypass"}',
            evicted => 'cache_evictions_total',
            entries => 'cache_entries', bytes => 'cache_bytes',
            cache => 'results_total{source="cache"}',
            store => 'results_total{source="store"}',
            queue => 'results_total{source="queue"}',
            commands => 'redis_commands_total', queries => 'pg_queries_total');

sub now {
    my $m = $t->metrics;
    return { map { ($_ => $m->{"trifecta_$name{$_}"}) } keys %name };
}

# What has changed since then, of some of them.

sub since {
    my ($then, @what) = @_;
    my $now = now();
    return { map { ($_ => $now->{$_} - $then->{$_}) } @what };
}

sub heard {
    return $t->wait_for(sub {
        $t->metrics->{trifecta_subscriber_ready_workers} == 1 }, 20);
}

# A job that ended, in Redis and in PostgreSQL.

sub ended {
    my ($state, %o) = @_;
    my $id = $t->ask('x');

    $w->run($id);
    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, attempt, accepted, finished, deadline, error,'
        . " usage) VALUES (?, 'default', 'test:alice', 'query', 'extractive',"
        . ' 1, ?, 1, now(), now(), now(), ?, ?)', $id, $state, $o{error},
        $o{usage});
    $t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant, owner,'
        . " attempt, body, citations) VALUES (?, 'default', 'test:alice', 1,"
        . ' ?, ?)', $id, $o{body}, $o{citations} // '[]') if defined $o{body};
    $w->finish($id, $state);

    return $id;
}

sub configure {
    my ($cache) = @_;
    $t->{opt}{result_cache} = $cache;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    heard();
}

ok heard(), 'the worker hears Redis';


# Asking again

{
    my $id = ended('succeeded', body => "an answer: \x{2713}\n",
        usage => '{"tokens": 7}', citations => '[{"n": 1}]');
    my $first = $t->result($id);
    is $first->{status}, 200, 'the stores are asked first';
    is now()->{entries}, 1, 'and then it is in the cache';

    my $monitor = $t->redis_client;
    $monitor->cmd('MONITOR');
    my $then = now();
    my @again = map { $t->result($id) } 1 .. 5;
    is_deeply since($then, qw(hit cache store queue queries)),
        { hit => 5, cache => 5, store => 0, queue => 0, queries => 0 },
        'a_result_that_is_asked_for_again_costs_no_query';
    is_deeply [grep { !/"PING"/i } $monitor->lines(0.3)], [],
        'and_redis_hears_nothing';

    for my $res ($first, @again) {
        delete @{ $res->{headers} }{qw(date x-request-id traceparent)};
        delete $res->{time};
    }
    is_deeply \@again, [($first) x 5], 'the_answer_is_the_same_byte_for_byte';

    my $etag = $first->{headers}{etag};
    $then = now();
    my $res = $t->result($id, headers => { 'If-None-Match' => $etag });
    is $res->{status}, 304, 'the cache knows what a client has';
    is $res->{content} // '', '', 'no body';
    is $res->{headers}{etag}, $etag, 'with its tag';
    $res = $t->result($id, headers => { 'If-None-Match' => '"x"' });
    is $res->{status}, 200, 'and what it has not';
    $res = $t->result($id, headers => { Prefer => 'wait=5' });
    is $res->{headers}{'preference-applied'}, 'wait=5',
        'a client that would wait gets it, too';
    is $res->{content}, $first->{content}, 'the same';
    is since($then, 'hit')->{hit}, 3, 'all from the cache';
}

for my $state (['failed', error => '{"code":"x","message":"y"}'],
               ['dead', error => '{"code":"dead"}'], ['cancelled'])
{
    my ($word, %o) = @$state;
    my $id = ended($word, %o);
    my $first = $t->result($id);
    my $then = now();
    my $again = $t->result($id);
    is since($then, 'hit')->{hit}, 1, "a job that is $word is in the cache";
    is $again->{content}, $first->{content}, '  as it was';
    is $again->{json}{status}, $word, '  which is that';
}


# What is not stored

{
    my $id = $t->ask('x');
    $t->result($id);
    $w->run($id);
    my $then = now();
    is $t->result($id)->{json}{status}, 'running', 'an open job';
    is since($then, 'miss')->{miss}, 1, 'is looked for';
    is_deeply since($then, qw(hit entries)), { hit => 0, entries => 0 },
        'an_open_job_is_never_stored';
    $w->row($id, 'succeeded', 'so');
    $w->finish($id, 'succeeded');
    is $t->result($id)->{json}{response}, 'so', 'its_end_is_seen_at_once';

    $id = $t->ask('x');
    $w->run($id);
    $w->finish($id, 'failed');
    $then = now();
    is $t->result($id)->{json}{status}, 'failed', 'a word of Redis alone';
    is since($then, 'entries')->{entries}, 0,
        'redis_word_without_its_row_is_not_stored';
    $w->row($id, 'failed', 'half an answer');
    is $t->result($id)->{json}{response}, 'half an answer',
        'so the row is seen when it is there';

    $id = ended('succeeded', body => 'x' x 310_000);
    $then = now();
    is length $t->result($id)->{json}{response}, 310_000, 'a large result'
        for 1 .. 2;
    is_deeply since($then, qw(hit store entries)),
        { hit => 0, store => 2, entries => 0 },
        'a_result_larger_than_max_is_not_stored';

    $id = ended('succeeded', body => 'x');
    my $epoch = $t->redis('HGET', "$P:meta", 'epoch');
    $t->redis('DEL', "$P:j:$id");
    $t->redis('HDEL', "$P:meta", 'epoch');
    $then = now();
    is $t->result($id)->{status}, 200, 'a Redis without its epoch' for 1 .. 2;
    $t->redis('HSET', "$P:meta", 'epoch', $epoch);
    is_deeply since($then, qw(hit store entries)),
        { hit => 0, store => 2, entries => 0 },
        'what_postgresql_says_alone_is_not_stored';
}


# Whose it is.  The MAC in these ids is right for both callers, so what keeps
# them apart is the digest in the entry.

for my $shared (@shared) {
    my ($id, @who) = @$shared;
    my $other = $t->token(@who);

    $w->row($id, 'succeeded', 'secret of alice');
    is $t->result($id)->{json}{response}, 'secret of alice', "$id of alice";
    my $then = now();
    is $t->result($id)->{status}, 200, '  again';
    is since($then, 'hit')->{hit}, 1, '  from the cache';
    my $res = $t->result($id, token => $other);
    is $res->{status}, 410,
        "  @who: the_id_is_good_but_nobody_knows_such_a_job";
    unlike $res->{content}, qr/secret/,
        '  another_caller_never_gets_the_bytes';
    is $t->result($id, token => $other, headers => { 'If-None-Match' => '*' })
        ->{status}, 410, '  nor_is_told_that_they_are_there';
    is $t->result($id)->{status}, 200, '  alice still has them';
}

{
    my $id = ended('succeeded', body => 'secret');
    $t->result($id) for 1 .. 2;
    my $then = now();
    for my $who ([sub => 'bob'], [tenant => 'acme'], [sub => 'alicf']) {
        is $t->result($id, token => $t->token(@$who))->{status}, 404,
            "@$who: 404";
    }
    is $t->result($id, token => undef)->{status}, 401, 'no token: 401';
    is_deeply since($then, qw(hit miss)), { hit => 0, miss => 0 },
        'without a look into the cache';
}


# Time

{
    my $id = ended('succeeded', body => 'x');
    $t->result($id);
    configure('zone=results:4m max=300k ttl=1s');
    $t->result($id);
    my $then = now();
    my $start = time;
    $t->result($id);
    my $hit = since($then, 'hit')->{hit};
    ok $hit == 1 || time - $start > 0.5, 'it is there for a while';
    sleep 1.1;
    $then = now();
    is $t->result($id)->{status}, 200, 'and is read again later';
    is_deeply since($then, qw(hit store)), { hit => 0, store => 1 },
        'an_entry_does_not_outlive_its_time';
}


# A reload

{
    configure('zone=results:4m max=300k');
    my $id = ended('succeeded', body => 'x');
    $t->result($id);
    my $before = now();
    cmp_ok $before->{entries}, '>', 1, 'the zone has entries';
    configure('zone=results:4m max=300k');
    is now()->{entries}, $before->{entries}, 'a_reload_keeps_the_zone';
    my $then = now();
    $t->result($id);
    is_deeply since($then, qw(hit store)), { hit => 0, store => 1 },
        'a_new_worker_does_not_believe_what_it_cannot_know';
    $t->result($id);
    is since($then, 'hit')->{hit}, 1, 'and does then';
    is now()->{entries}, $before->{entries}, 'in the old place';
    is now()->{bytes}, $before->{bytes}, 'of the same size';

    configure(undef);
    $then = now();
    $t->result($id) for 1 .. 2;
    is_deeply since($then, qw(hit miss bypass store)),
        { hit => 0, miss => 0, bypass => 0, store => 2 },
        'there_is_no_cache_unless_it_is_configured';
    configure('off');
    is now()->{entries}, 0, 'nor with off';
}


# A full zone

{
    configure('zone=small:1m max=200k');
    my @id = map { ended('succeeded', body => "$_ " . 'x' x 150_000) } 1 .. 12;
    is scalar(grep { $t->result($id[$_])->{json}{response}
                     eq $_ + 1 . ' ' . 'x' x 150_000 } 0 .. 11), 12,
        'more than the zone can hold';
    my $m = now();
    cmp_ok $m->{evicted}, '>=', 5, 'makes_room_for_what_is_new';
    cmp_ok $m->{entries}, '>=', 3, 'and keeps what it can';
    cmp_ok $m->{bytes}, '<', 1048576, 'the bytes are those that are there';

    my $then = now();
    $t->result($id[11]);
    is since($then, 'hit')->{hit}, 1, 'the last is there';
    $t->result($id[0]);
    is since($then, 'miss')->{miss}, 1, 'the first is not';
    $t->result($id[11]);
    $then = now();
    for (1 .. 8) {
        $t->result(ended('succeeded', body => 'x' x 150_000));
        $t->result($id[11]);
    }
    is since($then, 'hit')->{hit}, 8, 'what_was_used_lately_stays';

    configure('zone=smaller:256k max=64k');
    $t->result(ended('succeeded', body => 'x' x 3000)) for 1 .. 60;
    cmp_ok now()->{entries}, '>', 30, 'many small ones';
    my $large = ended('succeeded', body => 'x' x 60_000);
    $t->result($large);
    $then = now();
    $t->result($large);
    is since($then, 'hit')->{hit}, 1, 'make_room_for_a_large_one';
    unlike $t->log_of('error'), qr/no memory/, 'a_full_zone_is_no_alert';
}


# Stores that are away

{
    configure('zone=results:4m max=300k');
    my ($id, $other) = map { ended('succeeded', body => $_) } 'x', 'y';
    $t->result($id) for 1 .. 2;
    $t->stop('pg');
    my $res = $t->result($id);
    is "$res->{status} $res->{json}{response}", '200 x',
        'with_postgresql_away_a_result_in_the_cache_is_served';
    is $t->result($other)->{status}, 503, 'and no other';
    $t->start('pg');
    ok $t->wait_for(sub { $t->result($other)->{status} == 200 }, 10),
        'it is back';

    $t->result($id);
    my $start = time;
    my $before = now();
    $t->freeze('redis');
    ok $t->wait_for(sub { $t->result($id);
                          since($before, 'bypass')->{bypass} > 0 }, 30),
        'a_connection_that_is_dead_without_a_sign_is_noticed';
    cmp_ok time - $start, '<', 30 * $t->slow, 'after_six_seconds';
    $t->thaw('redis');
    heard();

    $t->result($id);
    $t->stop('redis');
    ok $t->wait_for(sub {
        $t->metrics->{trifecta_subscriber_ready_workers} == 0 }, 10),
        'Redis is away';
    my $then = now();
    is $t->result($id)->{status}, 200, 'then PostgreSQL is asked' for 1 .. 2;
    is_deeply since($then, qw(hit miss bypass store)),
        { hit => 0, miss => 0, bypass => 2, store => 2 },
        'a_worker_that_does_not_hear_of_deletions_does_not_use_the_cache';
    $t->stop('pg');
    is $t->result($id)->{status}, 503, 'also when it has nothing else';
    $t->start('pg');
    $t->start('redis');
    heard();
    $then = now();
    $t->result($id);
    is_deeply since($then, qw(hit miss store)),
        { hit => 0, miss => 1, store => 1 },
        'when_redis_is_back_the_worker_believes_nothing_from_before';
    $t->result($id);
    is since($then, 'hit')->{hit}, 1, 'and goes on';
}

$t->finish;


# The directive

{
    my $conf = Trifecta::Test->new(start => 0);

    sub check {
        $conf->{opt}{result_cache} = $_[0];
        $conf->write_conf;
        my $cmd = join ' ', $conf->nginx_bin, '-p', $conf->dir, '-e',
            "$conf->{dir}/log/error.log", '-t', '-c',
            "$conf->{dir}/conf/nginx.conf";
        local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
        my $out = qx($cmd 2>&1);
        return ($?, $out);
    }

    for (['zone=a:16m'], ['off'], ['zone=a:1m'], ['zone=a:16m ttl=60s'],
         ['zone=a:16m max=4m ttl=500ms'],
         ['zone=a:16m ttl=10m', qr/\[warn\].*longer than 60 s/])
    {
        my ($args, $warning) = @$_;
        my ($status, $out) = check($args);
        is $status, 0, "$args: accepted" or diag $out;
        $warning ? like($out, $warning, '  with a warning')
                 : unlike($out, qr/\[warn\]/, '  without a warning');
    }

    for (['on', qr/invalid parameter "on"/], ['ttl=1s', qr/no "zone="/],
         ['zone=a', qr/no size/], ['zone=:1m', qr/invalid name/],
         ['zone=a:x', qr/invalid size/], ['zone=a:16k', qr/too small/],
         ['zone=a:512k', qr/too small for its bodies/],
         ['zone=a:16m max=5m', qr/too small for its bodies/],
         ['zone=a:16m ttl=0', qr/invalid parameter "ttl=0"/],
         ['zone=a:16m max=x', qr/invalid parameter "max=x"/],
         ['zone=a:16m ttl=1s ttl=2s', qr/invalid parameter "ttl=2s"/],
         ['off zone=a:16m', qr/invalid parameter "off"/],
         ["off;\n    trifecta_result_cache off", qr/is duplicate/])
    {
        my ($args, $why) = @$_;
        my ($status, $out) = check($args);
        isnt $status, 0, "$args: refused";
        like $out, $why, '  and says why';
    }
}

done_testing;
