# GET /api/v1/queries: the caller's own jobs, a page at a time.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0);
my $L = '/api/v1/queries';
my $n = 0;

my %me = (
    alice => { token => $t->token, tenant => 'default',
               owner => 'test:alice' },
    bob   => { token => $t->token(sub => 'bob'), tenant => 'default',
               owner => 'test:bob' },
    acme  => { token => $t->token(tenant => 'acme'), tenant => 'acme',
               owner => 'test:alice' },
);

# Ids in the order of time, in the partition of today and in others.

sub row {
    my ($who, %o) = @_;
    my $ms = int((time - 86400 * ($o{days} // 0)) * 1000) + ++$n;
    my $id = sprintf '%08x-%04x-7000-8000-%012x', $ms >> 16, $ms & 0xffff, $n;
    my $state = $o{state} // 'succeeded';

    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, accepted, finished, deadline, deleted,'
        . " request) VALUES (?, ?, ?, 'query', 'extractive', 1, ?,"
        . " to_timestamp(?), CASE WHEN ? THEN now() END, now(),"
        . " CASE WHEN ? THEN now() END, ?)",
        $id, @{ $me{$who} }{qw(tenant owner)}, $state, $ms / 1000,
        $state =~ /^(queued|running)$/ ? 0 : 1, $o{deleted} ? 1 : 0,
        exists $o{request} ? $o{request} : qq({"query": "question $n"}));

    return $id;
}

sub list {
    my ($who, $args) = @_;
    return $t->get($L . ($args ? "?$args" : ''), token => $me{$who}{token});
}

sub ids { [map { $_->{query_id} } @{ $_[0]{json}{data} }] }


# Nothing

{
    my $res = list('alice');
    is $res->{status}, 200, 'who_has_no_jobs_has_an_empty_list'
        or diag $res->{content};
    is_deeply $res->{json}, { data => [], has_more => JSON::PP::false,
                              next_cursor => undef }, 'and no next page';
}


# One's own, newest first

my %of;
for my $days (40, 3, 2, 1, 0) {
    for my $who (sort keys %me) {
        unshift @{ $of{$who} }, row($who, days => $days) for 1 .. 5;
    }
}

for my $who (sort keys %me) {
    is_deeply ids(list($who, 'limit=100')), $of{$who},
        "${who}_sees_own_jobs_only_newest_first";
}

{
    my $res = list('alice');
    is scalar @{ $res->{json}{data} }, 20, 'a page has 20 by default';
    ok $res->{json}{has_more}, 'there is more';
    my $job = $res->{json}{data}[0];
    is_deeply [sort keys %$job],
        [qw(completed_at created_at model query query_id status)],
        'the members of a job';
    is $job->{status}, 'succeeded', 'status';
    is $job->{model}, 'extractive', 'model';
    like $job->{$_}, qr/^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/, $_
        for qw(created_at completed_at);
    like $job->{query}, qr/^question \d+$/, 'query';
    is $res->{headers}{'cache-control'}, 'no-store', 'nothing is cached';
    is $t->get($L, token => undef)->{code}, 'missing_token',
        'without a token it is 401';
    $res = $t->post($L, {});
    is "$res->{status} $res->{headers}{allow}", '405 GET', 'GET only';
}


# Pages

for my $limit (1, 3, 7, 24, 25, 26) {
    my ($cursor, $pages, @got) = ('', 0);
    while (defined $cursor && $pages < 30) {
        my $res = list('alice', "limit=$limit"
                       . ($cursor ? "&cursor=$cursor" : ''));
        push @got, @{ ids($res) };
        is !!$res->{json}{has_more}, defined $res->{json}{next_cursor},
            'next_cursor and has_more agree'
            if !!$res->{json}{has_more} ne defined $res->{json}{next_cursor};
        $cursor = $res->{json}{next_cursor};
        $pages++;

        # one that comes meanwhile does not shift them
        unshift @{ $of{alice} }, row('alice') if $pages == 1 && $limit == 3;
    }
    my @want = @{ $of{alice} };
    shift @want if $limit == 3;
    is_deeply \@got, \@want, "pages_of_${limit}_have_each_job_once";
    is $pages, int((@want + $limit - 1) / $limit), 'and no empty page';
}

{
    # a cursor is a place, not a right
    my $foreign = $of{bob}[0];
    is_deeply [grep { my $id = $_; !grep { $_ eq $id } @{ $of{alice} } }
               @{ ids(list('alice', "cursor=$foreign&limit=100")) }], [],
        'a_cursor_of_somebody_else_shows_nothing_of_theirs';
    is list('alice', 'cursor=' . uc $of{alice}[3])->{status}, 200,
        'a cursor in upper case is one';
}


# By status

{
    my %want;
    for my $state (qw(queued running failed cancelled dead queued)) {
        unshift @{ $want{$state} }, row('bob', state => $state);
        row('alice', state => $state);
    }
    $want{succeeded} = $of{bob};
    for my $state (sort keys %want) {
        is_deeply ids(list('bob', "status=$state&limit=100")), $want{$state},
            "status=$state";
    }
    is_deeply ids(list('bob', 'status=%71ueued&limit=1')),
        [$want{queued}[0]], 'escapes are decoded';
    my $open = list('bob', 'status=running')->{json}{data}[0];
    is $open->{completed_at}, undef, 'what is open has no end';
    ok exists $open->{completed_at}, 'but the member';
}


# Deleted ones

{
    my $before = ids(list('bob', 'limit=100'));
    row('bob', deleted => 1, request => undef);
    row('bob', deleted => 1, state => 'cancelled');
    is_deeply ids(list('bob', 'limit=100')), $before,
        'deleted_jobs_are_not_listed';
}


# The question

{
    my $long = "\x{e9}\x{1F600}" x 300;
    row('acme', request => JSON::PP->new->encode({ query => $long }));
    my $job = list('acme', 'limit=1')->{json}{data}[0];
    is $job->{query}, substr($long, 0, 200),
        'the_question_is_its_first_200_characters';
    row('acme', request => undef);
    $job = list('acme', 'limit=1')->{json}{data}[0];
    ok $job && !exists $job->{query}, 'no question, no member';
}


# Bad values

for my $case (map({ ["limit=$_", 'limit'] }
                  '0', '101', '-1', 'x', '', '1.5', '99999999999999999999'),
              map({ ["cursor=$_", 'cursor'] }
                  '', 'x', "$of{bob}[0]x", "'; drop table trifecta.job"),
              map({ ["status=$_", 'status'] } '', 'x', 'Queued', 'queue'))
{
    my ($args, $param) = @$case;
    my $res = list('alice', $args =~ s/ /%20/gr);
    is "$res->{status} " . ($res->{code} // '') . " "
        . ($res->{json}{error}{param} // ''),
        "400 invalid_value $param", "$args is refused";
}

is list('alice', 'whatever=1&LIMIT=2')->{status}, 200, 'others are ignored';


# The second lock: the edge's role sees nothing but the owner's

{
    my $dbh = $t->pg_connect('edge');
    is $dbh->selectrow_array('SELECT count(*) FROM trifecta.job'), 0,
        'without settings the edge sees no job';
    $dbh->begin_work;
    $dbh->do("SELECT set_config('trifecta.tenant', 'acme', true),"
             . " set_config('trifecta.owner', 'test:alice', true)");
    is_deeply $dbh->selectcol_arrayref(
        'SELECT DISTINCT tenant || owner FROM trifecta.job'),
        ['acmetest:alice'],
        'without_the_predicate_row_level_security_shows_the_same';
    $dbh->rollback;
    $dbh->disconnect;

}


# What is accepted is listed; without PostgreSQL there is no list

{
    $t->start('sidecar', 0);
    my $id = $t->ask_and_wait('say=hi', model => 'test')->{query_id};
    my $job = list('alice', 'limit=1')->{json}{data}[0];
    is_deeply [@$job{qw(query_id query model)}], [$id, 'say=hi', 'test'],
        'an_answered_question_is_listed';
    is $t->request('DELETE', "/api/v1/query/$id")->{status}, 200, 'deleted';
    ok $t->wait_for(sub { ids(list('alice', 'limit=1'))->[0] ne $id }, 10),
        'it is not any more';

    $t->kill('pg');
    sleep 0.2;
    my $res = list('alice');
    is "$res->{status} $res->{code}", '503 store_unavailable',
        'without PostgreSQL it is 503';
    ok $res->{headers}{'retry-after'}, 'come back';
    $t->start('pg');
    ok $t->wait_for(sub { list('alice')->{status} == 200 }, 20), 'and back';

    $t->kill('redis');
    is list('alice')->{status}, 200, 'Redis is not needed';
    $t->start('redis');
}

$t->finish;
done_testing;
