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

$t->finish;
done_testing;
