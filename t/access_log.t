# The access log of conf/snippets/trifecta-log.conf: one JSON object a line,
# whatever a client sends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

my $root = "$FindBin::Bin/..";
my $t = Trifecta::Test->new(
    trifecta => { trifecta_models => 'test extractive',
                  trifecta_max_jobs_per_tenant => 1 },
    sidecars => 0,
    http => "include $root/conf/snippets/trifecta-log.conf;\n"
          . "    access_log log/json.log trifecta;\n");
my $decoder = JSON::PP->new->utf8;

# every line so far; a line that is no JSON fails the test where it is read

sub lines {
    my @lines = split /\n/, $t->log_of("json");
    my @json = map { eval { $decoder->decode($_) }
                     || do { fail "no JSON: $_"; () } } @lines;
    return @json;
}

sub line_of {
    my ($id) = @_;
    my $line;
    $t->wait_for(sub { ($line) = grep { $_->{request_id} eq ($id // '') }
                       lines() }, 5);
    return $line || {};
}

my $res = $t->post('/api/v1/query', { query => 'say=hi', model => 'test' });
is $res->{status}, 202, 'accepted';
my $job = $res->{json}{query_id};
my $line = line_of($res->{headers}{'x-request-id'});

is $line->{status}, 202, 'the_line_is_found_by_the_request_id';
is $line->{outcome}, 'accepted', 'outcome';
is $line->{error}, '', 'no error';
is $line->{job}, $job, 'job';
is $line->{route}, 'POST /api/v1/query', 'route';
is $line->{tenant}, 'default', 'tenant';
like $line->{owner}, qr/^test:/, 'owner';
like $line->{queue_time}, qr/^\d+\.\d{6}$/, 'the time that Redis took';
is $line->{store_time}, '', 'PostgreSQL was not asked';
is $line->{trace_id}, (split /-/, $res->{headers}{traceparent})[1], 'trace';

$res = $t->post('/api/v1/query', { query => 'say=hi', model => 'test' });
is $res->{status}, 429, 'the tenant has its one job';
$line = line_of($res->{headers}{'x-request-id'});
is_deeply [@$line{qw(error outcome)}],
    ['tenant_queue_full', 'tenant_queue_full'], 'error and outcome';

$res = $t->post('/api/v1/query', '{');
$line = line_of($res->{headers}{'x-request-id'});
is_deeply [@$line{qw(error outcome queue_time)}], ['invalid_json', '', ''],
    'what_is_refused_before_a_store_is_asked_has_no_outcome';

$t->redis('DEL', "{trifecta:0}:j:$job");
$res = $t->get("/api/v1/query/$job");
$line = line_of($res->{headers}{'x-request-id'});
like $line->{store_time}, qr/^\d+\.\d{6}$/, 'the time that PostgreSQL took';
is $line->{route}, 'GET /api/v1/query/{id}', 'route without the id';

$res = $t->get('/api/v1/query', token => 'no.token.this');
$line = line_of($res->{headers}{'x-request-id'});
is_deeply [@$line{qw(status error tenant owner)}],
    ['401', 'invalid_token', '', ''], 'a_refused_token_names_nobody';

# the same question again, with a key

for (['say=key', 'accepted'], ['say=key', 'replayed'], ['say=x', 'conflict']) {
    $res = $t->post('/api/v1/query', { query => $_->[0], model => 'test' },
                    headers => { 'Idempotency-Key' => 'k1' },
                    token => $t->token(tenant => 'acme'));
    is line_of($res->{headers}{'x-request-id'})->{outcome}, $_->[1],
        "an outcome: $_->[1]";
}

# what comes from outside

my $owner = qq(a"b\\c\x{e9}\x{1f600}','","status":"200);
$res = $t->get('/api/v1/query/x', token => $t->token(sub => $owner));
$line = line_of($res->{headers}{'x-request-id'});
is $line->{owner}, "test:$owner", 'an_owner_with_quotes_stays_in_its_member';
is $line->{status}, 404, 'and makes no other';

my $host = "Host: localhost\r\nConnection: close\r\n";
for my $path ('/x","status":"200', '/x\\', '/x%0a{"status":"200"}',
              "/\xff\xfe\xc3", '/' . 'a' x 3000)
{
    my $n = () = $t->log_of("json") =~ /\n/g;
    $t->raw("GET $path HTTP/1.1\r\n$host"
        . "traceparent: 00-\"\r\nUser-Agent: \"},{\"\r\n\r\n");
    $t->wait_for(sub { (() = $t->log_of("json") =~ /\n/g) > $n }, 5);
    my ($last) = reverse lines();
    ok $last && $last->{status} =~ /^4\d\d$/,
        'a_path_stays_in_its_member: ' . (substr $path, 0, 30)
        =~ s/[^ -~]/?/gr;
}

is((lines())[-1]{path}, '(too long)', 'a long path');
is((lines())[-2]{path}, '(not ASCII)', 'bytes that are no text');

my $secret = (split /\./, $t->token)[2];
unlike $t->log_of("json"), qr/\Q$secret\E/, 'no_token_is_in_the_log';

$t->finish;
done_testing;
