# What Prometheus reads of nginx and of a sidecar.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Prometheus qw(parse_metrics);

my $t = Trifecta::Test->new(workers => 2,
    trifecta => { trifecta_models => 'test extractive',
                  trifecta_max_jobs_per_tenant => 30 });
my $slow = $t->slow;
my $QUERY = 'POST /api/v1/query';
my $RESULT = 'GET /api/v1/query/{id}';

sub text { $t->admin('/metrics')->{content} }

# promtool, if there is one, has the last word about the format

sub format_is_right {
    my ($text, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($series, $wrong) = parse_metrics($text);

    is_deeply $wrong, [], "$name: the format is right";

    SKIP: {
        my ($tool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};
        skip 'there is no promtool', 1 unless $tool;

        my $file = $t->write_file("$t->{dir}/run/metrics", $text);
        my $said = `'$tool' check metrics < '$file' 2>&1`;
        ok $? == 0, "$name: promtool has nothing to say" or diag $said;
    }

    return $series;
}

sub requests {
    my ($route, $class, $m) = @_;
    return ($m || $t->metrics)
        ->{qq(trifecta_requests_total{route="$route",class="$class"})};
}


# The parser itself: it must see what is wrong.

for (["# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 2\n",
      'a series twice'],
     ["# TYPE a gauge\na 1\n", 'a TYPE without HELP'],
     ["# HELP a x\n# TYPE a counter\na 1\n", 'a counter without _total'],
     ["# HELP a x\n# TYPE a gauge\na{b=\"c\" 1\n", 'broken labels'],
     ["# HELP a x\n# TYPE a gauge\na{tenant=\"c\"} 1\n", 'a tenant'],
     ["# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\n"
      . "a_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", 'a bucket that falls'],
     ["# HELP a x\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n"
      . "a_count 2\n", 'a count that is not +Inf'],
     ["# HELP a x\n# TYPE a gauge\na 1\nb 1\n", 'a stranger'])
{
    my (undef, $wrong) = parse_metrics($_->[0]);
    ok @$wrong, "the parser refuses $_->[1]";
}


# nginx

my $before = format_is_right(text(), 'nginx, fresh');
is $before->{trifecta_workers}, 2, 'workers';
is $before->{trifecta_reloads_total}, 0, 'no reload yet';
cmp_ok abs($before->{trifecta_start_time_seconds} - time), '<', 300,
    'when it was started';
is $before->{trifecta_waiters}, 0, 'nobody waits';
is requests($QUERY, '2xx', $before), 0, 'series are there from the start';

my @id = map { $t->ask("say=$_", model => 'test') } 1 .. 12;
$t->wait_for_answer($_) for @id;
is $t->post('/api/v1/query', '{')->{status}, 400, 'a mistake';
is $t->get('/api/v1/query/none')->{status}, 404, 'nobody';
is $t->get('/api/v1/elsewhere')->{status}, 404, 'nowhere';
is $t->request('PUT', '/api/v1/query')->{status}, 405, 'no such method';
is $t->get('/api/v1/query/x', token => undef)->{status}, 401, 'nobody knows';

my $m = format_is_right(text(), 'nginx');

is requests($QUERY, '2xx', $m), 12, 'requests_are_counted_by_route_and_class';
is requests($QUERY, '4xx', $m), 1, 'also those that were refused';
is requests($RESULT, '4xx', $m), 2, 'by the route that they meant';
cmp_ok requests($RESULT, '2xx', $m), '>=', 12, 'polls';
is requests('other', '4xx', $m), 2, 'and_no_path_of_a_client_makes_a_series';
is $m->{'trifecta_submits_total{outcome="accepted"}'}, 12, 'submits';
is $m->{'trifecta_errors_total{code="missing_token"}'}, 1, 'errors by code';

my $count = "trifecta_request_duration_seconds_count{route=\"$QUERY\"}";
is $m->{$count}, 13, 'a_request_has_a_time_whatever_became_of_it';
cmp_ok $m->{trifecta_redis_command_duration_seconds_count}, '>=', 24,
    'commands to Redis have a time';
cmp_ok $m->{trifecta_redis_command_duration_seconds_sum}, '>', 0,
    'of more than nothing';
cmp_ok $m->{trifecta_pg_query_duration_seconds_count}, '>=', 12,
    'queries have a time';
ok exists $m->{'trifecta_connections{state="idle"}'}, 'connections of clients';

# a peer that is slow shows in the histogram

$t->freeze('redis');
my $res = $t->get("/api/v1/query/$id[0]");
$t->thaw('redis');
is $res->{status}, 200, 'a row is served while Redis is frozen';
$t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20);
$m = $t->metrics;
my $bucket = 'trifecta_redis_command_duration_seconds_bucket';
cmp_ok $m->{"$bucket\{le=\"+Inf\"}"} - $m->{"$bucket\{le=\"0.5\"}"}, '>=', 1,
    'a_command_that_was_given_up_is_in_the_histogram';
$bucket = 'trifecta_request_duration_seconds_bucket';
cmp_ok $m->{"$bucket\{route=\"$RESULT\",le=\"+Inf\"}"}
    - $m->{"$bucket\{route=\"$RESULT\",le=\"0.5\"}"}, '>=', 1,
    'and so is the request that waited for it';

# a client that goes away is a request, too

my $was = requests($RESULT, '4xx');
$t->freeze('redis');
my $sock = $t->socket;
print {$sock} "GET /api/v1/query/$id[1] HTTP/1.1\r\nHost: localhost\r\n"
    . "Authorization: Bearer " . $t->token . "\r\n\r\n";
sleep 0.2;
close $sock;
$t->wait_for(sub { requests($RESULT, '4xx') > $was }, 5);
is requests($RESULT, '4xx'), $was + 1, 'a_client_that_left_is_counted_once';
$t->thaw('redis');
$t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20);

# reload, restart

$m = $t->metrics;
$t->reload;
$t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20);
my $after = format_is_right(text(), 'after a reload');
is requests($QUERY, '2xx', $after), 12, 'counters_survive_a_reload';
is $after->{$count}, $m->{$count}, 'histograms, too';
is $after->{trifecta_reloads_total}, 1, 'the_reload_is_counted';
is $after->{trifecta_start_time_seconds}, $m->{trifecta_start_time_seconds},
    'and is no start';

$t->{opt}{trifecta}{trifecta_models} = 'test "';
$t->write_conf;
$t->expect_log(qr/\[emerg\]/);
$t->proc('nginx')->signal('HUP');
$t->wait_for(sub { $t->log_of('error') =~ /\[emerg\]/ }, 10);
is $t->metrics->{trifecta_reloads_total}, 1,
    'a_reload_that_failed_is_none';
$t->{opt}{trifecta}{trifecta_models} = 'test extractive';
$t->write_conf;


# the sidecar

sub sidecar_text { $t->sidecar_get(0, '/metrics')->{content} }

$t->wait_for(sub { $t->redis('XLEN', '{trifecta:0}:acc') == 0 }, 10);
my $s = format_is_right(sidecar_text(), 'sidecar');

is $s->{trifecta_queue_scrape_ok}, 1, 'Redis has told how the queue is';
is $s->{trifecta_queue_live}, 0, 'no open job';
is $s->{trifecta_queue_oldest_age_seconds}, '0.000', 'so none is old';
is $s->{trifecta_queue_accept_log_lag}, 0, 'all is in PostgreSQL';
is $s->{trifecta_queue_workers}, 1, 'one sidecar';
is $s->{trifecta_worker_succeeded_total}, 12, 'it has run them all';
is $s->{trifecta_worker_queue_wait_seconds_count}, 12,
    'each_job_has_waited_once';
cmp_ok $s->{trifecta_worker_job_duration_seconds_count}, '>=', 12,
    'each attempt took a time';
is $s->{trifecta_worker_job_turnaround_seconds_count}, 12,
    'and each job as a whole';
cmp_ok $s->{trifecta_worker_job_turnaround_seconds_sum}, '<', 600,
    'of no absurd length';
is $s->{'trifecta_worker_batch_jobs_sum{stage="complete"}'}, '12.000',
    'the_batches_hold_every_job';
is $s->{trifecta_worker_lost_total}, 0, 'no lease was lost';

my @long = map { $t->ask('sleep=8000 say=late', model => 'test') } 1 .. 25;
$t->wait_for(sub {
    my $text = sidecar_text();
    my ($age) = $text =~ /^trifecta_queue_oldest_age_seconds (\S+)/m;
    my ($running) = $text =~ /^trifecta_queue_jobs\{state="running"\} (\d+)/m;
    $age >= 1 && $running == 4;
}, 15);
$s = format_is_right(sidecar_text(), 'sidecar at work');
is $s->{trifecta_queue_live}, 25, 'open jobs';
is $s->{'trifecta_queue_jobs{state="running"}'}, $s->{trifecta_worker_threads},
    'those that run';
is $s->{'trifecta_queue_jobs{state="ready"}'}, 16, 'those that are ready';
is $s->{'trifecta_queue_jobs{state="parked"}'},
    25 - 16 - $s->{trifecta_worker_threads}, 'and_those_that_are_parked';
cmp_ok $s->{trifecta_queue_oldest_age_seconds}, '>=', 1, 'the oldest grows';

# a store that is away never makes a scrape fail

for my $how ('frozen', 'killed') {
    $how eq 'frozen' ? $t->freeze('redis') : $t->kill('redis');
    my $began = time;
    my $page = $t->sidecar_get(0, '/metrics');
    my $took = time - $began;
    is $page->{status}, 200, "the_scrape_is_answered_while_redis_is_$how";
    cmp_ok $took, '<', 2.5 * $slow, 'soon (bound: five times the deadlines)';
    $s = format_is_right($page->{content}, "Redis is $how");
    is $s->{trifecta_queue_scrape_ok}, 0, 'and says that it does not know';
    ok !exists $s->{trifecta_queue_live}, 'and_does_not_say_nought_for_it';
    cmp_ok $s->{trifecta_worker_claimed_total}, '>', 0, 'the rest is there';
    $how eq 'frozen' ? $t->thaw('redis') : $t->start('redis');
    $t->wait_for(sub { sidecar_text() =~ /^trifecta_queue_scrape_ok 1$/m },
                 10);
    like sidecar_text(), qr/^trifecta_queue_scrape_ok 1$/m,
        'it knows again as soon as Redis is back';
}

# a function library of before

$t->redis('FUNCTION', 'FLUSH', 'SYNC');
$s = format_is_right(sidecar_text(), 'no library');
is $s->{trifecta_queue_scrape_ok}, 0, 'a_missing_function_is_no_answer';
$t->migrate;

$t->finish;
done_testing;
