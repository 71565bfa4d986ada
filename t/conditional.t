# What a client gets that asks again: ETag and 304, and how long to stay away.
# No sidecar runs: the states are written here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0);
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';

sub get {
    my ($id, $known) = @_;
    return $t->get("$Q/$id", defined $known
        ? (headers => { 'If-None-Match' => $known }) : ());
}

my $id = $t->ask('What is it?');
my $first = get($id);
my $etag = $first->{headers}{etag} // '';


# ETag, 304

like $etag, qr/^"[0-9a-f]{32}"$/, 'a job has a strong ETag';
is get($id)->{headers}{etag}, $etag, 'the_same_body_has_the_same_tag';
isnt get($t->ask('x'))->{headers}{etag}, $etag, 'another job has another one';

my $res = get($id, $etag);
is $res->{status}, 304, 'a_client_that_has_it_gets_304';
is $res->{content} // '', '', 'without a body';
ok !exists $res->{headers}{'content-length'}, 'and without a length';
ok !exists $res->{headers}{'content-type'}, 'and type';
is $res->{headers}{etag}, $etag, 'with its tag';
is $res->{headers}{'cache-control'}, 'no-store', 'with Cache-Control';
ok $res->{headers}{'retry-after'}, 'with Retry-After';
like $res->{headers}{'x-request-id'}, qr/^req_/, 'with X-Request-Id';

is get($id, "W/$etag")->{status}, 304, 'the comparison is weak';
is get($id, "\"x\", $etag")->{status}, 304, 'one tag of a list is enough';
is get($id, '*')->{status}, 304, 'a star is any';
is get($id, '"x"')->{status}, 200, 'another tag is not it';
is get($id, 'junk')->{status}, 200, 'nor is junk';
is $t->get("$Q/$id", headers => { 'If-Match' => '"x"',
        'If-Modified-Since' => 'Sat, 21 Nov 2037 00:00:00 GMT' })->{status},
    200, 'other conditions say nothing about a job';

my %seen = ($etag => 1);
for my $state (['running'], ['running', 'cancel', 1], ['cancelled']) {
    my ($word, @more) = @$state;
    $t->redis('HSET', "$P:j:$id", 'state', $word, @more);
    my $now = get($id, $etag);
    is $now->{status}, 200, "the tag changes with @$state";
    is $now->{json}{status}, $word, '  which is what the client sees';
    ok !$seen{$etag = $now->{headers}{etag}}++, '  and is a new one';
    is get($id, $etag)->{status}, 304, '  that holds while it is so';
}

$t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind, prio,'
    . " model, state, attempt, accepted, finished, deadline) VALUES (?,"
    . " 'default', 'test:alice', 'query', 1, 'extractive', 'cancelled', 1,"
    . ' now(), now(), now())', $id);
is get($id, $etag)->{status}, 200, 'the_row_says_more_than_redis_did';
$etag = get($id)->{headers}{etag};
$t->redis('DEL', "$P:j:$id");
is get($id, $etag)->{status}, 304, 'whoever_asks_the_row_the_tag_is_the_same';

is get($id, '"x"')->{headers}{'retry-after'}, undef,
    'a job that ended has no Retry-After';
$res = $t->request('GET', "$Q/$id", token => $t->token(sub => 'bob'),
                   headers => { 'If-None-Match' => '*' });
is "$res->{status} $res->{code}", '404 not_found',
    'a stranger is told nothing by a condition';


# Retry-After: a second, and one more for each ten jobs in front

my $front = $t->redis('ZCARD', "$P:live");
$res = $t->post($Q, { query => 'x' });
is $res->{headers}{'retry-after'}, 1 + int($front / 10), 'the queue is short';

$t->redis('ZADD', "$P:live", map { ($_, "filler-$_") } 1 .. 95);
$front = $t->redis('ZCARD', "$P:live");
$res = $t->post($Q, { query => 'x' });
is $res->{headers}{'retry-after'}, 1 + int($front / 10),
    'retry_after_grows_with_the_queue';
is get($res->{json}{query_id})->{headers}{'retry-after'},
    1 + int($front / 10), 'and a GET says the same';

$t->redis('ZREM', "$P:live", map { "filler-$_" } 1 .. 90);
is get($res->{json}{query_id})->{headers}{'retry-after'},
    1 + int(($front - 90) / 10), 'it_shrinks_as_jobs_in_front_end';

$t->redis('ZADD', "$P:live", map { ($_, "filler-$_") } 1 .. 900);
is get($res->{json}{query_id})->{headers}{'retry-after'}, 30,
    'but never beyond half a minute';

$t->finish;
done_testing;
