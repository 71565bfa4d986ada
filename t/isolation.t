# Who gets in where: every route, with every method and every credential.
# The table below is held against the route table of the module: a route
# without its row fails, and so does a row without its route.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

my $root = "$FindBin::Bin/..";
my @methods = qw(GET HEAD POST PUT PATCH DELETE OPTIONS);
my @nobody = ('none', 'bad', 'expired', 'no scope');
my @stranger = ('other user', 'other tenant');

# What each credential is answered.  A stranger's 200 is about the stranger.

my %refused = ('none'     => '401 missing_token',
               'bad'      => '401 invalid_token',
               'expired'  => '401 token_expired',
               'no scope' => '403 forbidden');
my %of_a_job = (%refused, map { $_ => '404 not_found' } @stranger);
my %of_oneself = %refused;

my %row = (
    'POST /api/v1/query' => { %of_oneself,
        'other user' => '202', 'other tenant' => '202', owner => '202' },
    'GET /api/v1/query/{id}' => { %of_a_job, owner => '200' },
    'DELETE /api/v1/query/{id}' => { %of_a_job, owner => '200' },
    'POST /api/v1/query/{id}/cancel' => { %of_a_job, owner => '200' },

    # an id that a client chose is a conversation of whoever names it
    'DELETE /api/v1/conversations/{id}' => { %of_oneself,
        'other user' => '202', 'other tenant' => '202', owner => '202' },

    'GET /api/v1/queries' => { %of_oneself,
        'other user' => '200', 'other tenant' => '200', owner => '200' },

    'GET /api/v1/query/{id}/events' => { %of_a_job, owner => '200' },

    # the OpenAI shape of the same jobs

    'POST /v1/responses' => { %of_oneself,
        'other user' => '200', 'other tenant' => '200', owner => '200' },
    'GET /v1/responses/{id}' => { %of_a_job, owner => '200' },
    'GET /v1/responses/{id}/input_items' => { %of_a_job, owner => '200' },
    'POST /v1/responses/{id}/cancel' => { %of_a_job, owner => '200' },
    'DELETE /v1/responses/{id}' => { %of_a_job, owner => '200' },

    'POST /v1/files' => { %of_oneself,
        map { $_ => '415 unsupported_media_type' } @stranger, 'owner' },
    'GET /v1/files/{id}' => { %of_a_job, owner => '200' },
    'GET /v1/files/{id}/content' => { %of_a_job, owner => '200' },
    'DELETE /v1/files/{id}' => { %of_a_job, owner => '200' },

    'POST /v1/batches' => { %of_oneself,
        map { $_ => '400 missing_field' } @stranger, 'owner' },
    'GET /v1/batches/{id}' => { %of_a_job, owner => '200' },
    'POST /v1/batches/{id}/cancel' => { %of_a_job, owner => '200' },

    map({ ("GET /v1/$_" => { %of_oneself,
            map { $_ => '200' } @stranger, 'owner' })
        } qw(files batches)),

    # these wait for their end, so here they are asked for nothing

    map({ ("POST /v1/$_" => { %of_oneself,
            map { $_ => '400 missing_field' } @stranger, 'owner' })
        } qw(chat/completions embeddings)),

    map({ ("GET $_" => { %of_oneself,
            map { $_ => '200' } @stranger, 'owner' })
        } '/v1/models', '/v1/models/{*}'),

    # for the operator, on a listener that clients cannot reach

    map({ my $m = $_; map { ("$m $_" => 'admin') } qw(/livez /readyz /metrics)
        } qw(GET HEAD)),
);


# The route table

sub slurp { open my $fh, '<', $_[0] or die "$_[0]: $!"; local $/; <$fh> }

my $source = join "\n", map { slurp($_) } glob "$root/ngx_module/*routes.c";
my %macro = $source =~ /^#define (\w+)[ ]+"([^"]*)"/mg;
my ($table) = $source =~ /_routes\[\] = \{(.*?)\n\};/s;
my %route;

while (($table // '') =~ /\{\s*NGX_HTTP_TRIFECTA_(\w+),\s*([\w|\s]+?),\s*
                          "([^"]*)",\s*([\w\s"\/{}.*]+?),\s*ngx_/gx)
{
    my ($mode, $bits, $allow, $path) = ($1, $2, $3, $4);
    $path = join '', map { /^"(.*)"$/ ? $1 : $macro{$_} // die "what is $_?" }
            $path =~ /"[^"]*"|\w+/g;
    my @names = $bits =~ /NGX_HTTP_(\w+)/g;
    is join(', ', sort @names), join(', ', sort split /, /, $allow),
        "$path: Allow names its methods";
    $route{"$_ $path"} = $mode for @names;
}

my $entries = () = ($table // '') =~ /^    \{ NGX_HTTP_TRIFECTA_/mg;
cmp_ok $entries, '>=', 5, 'the route table is found';
my %paths = map { (split)[1] => 1 } keys %route;
cmp_ok scalar(keys %route), '>=', $entries, 'and each of its rows';

is_deeply [grep { !$row{$_} } sort keys %route], [],
    'each_route_has_its_row_here';
is_deeply [grep { !$route{$_} } sort keys %row], [],
    'each_row_has_its_route';
is_deeply [grep { ($route{$_} // '') eq 'ADMIN' xor !ref $row{$_} }
           sort keys %row], [],
    'pages_without_a_token_are_the_operators_only';


# A location is one of these: whose routes are above, or one page that needs no
# token and is tried at the end.

my ($kinds) = join("\n", map { slurp($_) } glob "$root/ngx_module/*.c") =~ /_locations\[\] = \{(.*?)\n\};/s;
is_deeply [sort(($kinds // '') =~ /\{ "(\w+)"/g)], [qw(admin api status)],
    'each_kind_of_location_is_known_here';


my $status_port = Trifecta::Test->free_port;
my $t = Trifecta::Test->new(sidecars => 0,
    http => "server { listen 127.0.0.1:$status_port;"
            . " location / { trifecta status; } }",
    server => 'trifecta_jwt_require scope=ask;');
my $P = '{trifecta:0}';
my $canary = 'canary-' . join '', map { ('a' .. 'z')[rand 26] } 1 .. 24;

my %token = (
    owner          => $t->token(scope => 'ask'),
    bad            => $t->token(scope => 'ask', -key => 'x' x 32),
    expired        => $t->token(scope => 'ask', exp => time - 3600),
    'no scope'     => $t->token,
    'other user'   => $t->token(scope => 'ask', sub => 'bob'),
    'other tenant' => $t->token(scope => 'ask', tenant => 'acme'),
);

sub call {
    my ($who, $method, $path, %o) = @_;
    my %body = $method ne 'POST' ? ()
        : $path eq '/api/v1/query' ? (json => { query => "$who asks" })
        : $path eq '/v1/responses'
        ? (json => { input => "$who asks", background => JSON::PP::true })
        : $path =~ m{^/v1/[^/]+(/completions)?$} ? (json => {}) : ();
    return $t->request($method, $path, token => $token{$who}, %body, %o);
}

sub says { my $r = $_[0]; $r->{code} ? "$r->{status} $r->{code}"
                                     : $r->{status} }

sub prefix { $_[0] =~ m{^/v1/(file|batch)} ? $1 . ($1 eq 'file' ? '-' : '_')
                                           : 'resp_' }

# The path of a route for this job, file or batch, by the name that it has
# there.

sub at {
    my ($path, $id) = @_;
    $id = prefix($path) . $id =~ tr/-//dr if $path =~ m{^/v1/};
    return $path =~ s/\{id\}/$id/r =~ s/\{\*\}/extractive/r;
}

sub new_job {
    my ($state) = @_;
    my $res = $t->post('/api/v1/query', { query => $canary },
                       token => $token{owner});
    my $id = $res->{json}{query_id} or die "$res->{status} $res->{content}";

    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' prio, state, attempt, accepted, finished, deadline, request)'
        . " VALUES (?, 'default', 'test:alice', 'query', 1, ?, 1, now(),"
        . " CASE WHEN ? THEN now() END, now() + '10 min', ?)", $id,
        $state, $state eq 'succeeded' ? 1 : 0,
        JSON::PP->new->encode({ query => $canary }));

    if ($state eq 'succeeded') {
        $t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant,'
            . " owner, attempt, body) VALUES (?, 'default', 'test:alice', 1,"
            . ' ?)', $id, $canary);
        $t->redis('HSET', "$P:j:$id", 'state', 'succeeded');
    }

    return $id;
}

# Whatever it is that has an id there.

sub new_one {
    my ($path, $state) = @_;
    return new_job($state) if $path !~ m{^/v1/(?:files|batches)};

    my $id = new_job('queued');     # ids are signed for their owner

    if ($path =~ /files/) {
        $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name,'
            . " purpose, bytes, whole) VALUES (?, 'default', 'test:alice', ?,"
            . " 'batch', ?, true)", $id, $canary, length $canary);
        $t->sql('admin', 'INSERT INTO trifecta.file_part (file, part, tenant,'
            . " owner, body) VALUES (?, 0, 'default', 'test:alice',"
            . " convert_to(?, 'UTF8'))", $id, $canary);

    } else {
        $t->sql('admin', 'INSERT INTO trifecta.batch (id, tenant, owner,'
            . ' endpoint, input, metadata, state, total, begun, ended,'
            . " expires) VALUES (?, 'default', 'test:alice', '/v1/responses',"
            . " gen_random_uuid(), ?, ?, 1, now(), CASE WHEN ? THEN now() END,"
            . " now() + '1 day')", $id,
            JSON::PP->new->encode({ note => $canary }),
            $state eq 'queued' ? ('in_progress', 0) : ('completed', 1));
    }

    return $id;
}

sub everything {
    my ($id) = @_;
    return [$t->redis('HGETALL', "$P:j:$id"), $t->snapshot_of_queue,
            map { $t->sql('admin', "SELECT * FROM trifecta.$_ WHERE id = ?",
                          $id) } qw(job file batch)];
}


# Routes of the API

my $never = '01900000-0000-7000-8000-000000000000';
my %of_never = map { $_ => call('owner', 'GET', at($_, $never))->{json} }
    '/api/v1/query/{id}', '/v1/responses/{id}', '/v1/files/{id}',
    '/v1/batches/{id}';

for my $name (sort grep { ref $row{$_} } keys %row) {
    my ($method, $path) = split ' ', $name;

    # the events of an open job go on; what has ended is not cancelled

    for my $state ($path =~ /events|files/ ? 'succeeded'
                   : $path =~ m{batches/.*cancel} ? 'queued'
                   : $path =~ /\{id\}|batches/ ? ('queued', 'succeeded') : 'queued')
    {
        my $id = new_one($path, $state);
        my $at = at($path, $id);
        my $what = $path =~ /\{id\}/ ? "$name of a $state job" : $name;

        for my $who (@nobody, @stranger) {
            my $want = $row{$name}{$who};
            my $before = $want =~ /^4/ && everything($id);
            my $res = call($who, $method, $at);

            is says($res), $want, "$what: $who"
                or diag $res->{content};
            is_deeply everything($id), $before, '  nothing has changed'
                if $before;
            is index($res->{content}, $canary), -1, '  nothing is told';

            if ($want eq '404 not_found') {
                my %a = (%{ $res->{json} }, request_id => 0, instance => 0);
                my ($of) = $path =~ m{^(.*?/\{id\})};
                my %b = (%{ $of_never{$of} },
                         request_id => 0, instance => 0);
                is_deeply \%a, \%b, '  the same as for an id that never was';
            }

            if ($path !~ /\{id\}/ && $want eq '200') {
                is index($res->{content}, $id =~ tr/-//dr), -1,
                    '  no foreign id';
                is index($res->{content}, $id), -1, '  in either form';
            }
        }

        my $res = call('owner', $method, $at);
        is says($res), $row{$name}{owner}, "$what: owner"
            or diag $res->{content};
        cmp_ok index($res->{content}, $canary), '>=', 0, '  sees it'
            if $method eq 'GET' && ($state eq 'succeeded'
                                    || $path eq '/api/v1/queries')
               && $path !~ m{^/v1/models};
    }
}


# Methods that no row has

my $id = new_job('queued');

for my $path (sort keys %paths) {
    next if !grep { ref $row{"$_ $path"} } @methods;
    my $at = at($path, $id);

    for my $method (grep { !$row{"$_ $path"} } @methods) {
        my $before = everything($id);
        is_deeply [map { call($_, $method, $at)->{status} }
                   @nobody, @stranger, 'owner'],
            [401, 401, 401, 403, 405, 405, 405],
            "$method $path: nobody gets in, and others not that way";
        is_deeply everything($id), $before, '  nothing has changed';
    }
}


# Credentials that are none, wherever they stand

for my $name (sort grep { ref $row{$_} } keys %row) {
    my ($method, $path) = split ' ', $name;
    my $at = at($path, $id);
    my $token = $token{owner};

    is_deeply [map { says(call('none', $method, $at . ($_->[0] // ''),
                               headers => $_->[1] // {})) }
        ["?access_token=$token"], ["?token=$token"],
        [undef, { Cookie => "token=$token; access_token=$token" }],
        [undef, { 'Proxy-Authorization' => "Bearer $token" }],
        [undef, { 'X-Api-Key' => $token }],
        [undef, { 'X-User' => 'alice', 'X-Tenant' => 'default' }],
        [undef, { Authorization => "Basic $token" }],
        [undef, { Authorization => $token }]],
        [('401 missing_token') x 8],
        "$name: a token elsewhere is no credential";
}


# Pages of the operator

for my $name (sort grep { !ref $row{$_} } keys %row) {
    my ($method, $path) = split ' ', $name;
    my $res = $t->request($method, $path, token => undef,
        url => "http://127.0.0.1:$t->{admin_port}$path");
    is $res->{status}, 200, "$name: on a listener of its own";
    is_deeply [map { call($_, $method, $path)->{status} }
               @nobody, @stranger, 'owner'],
        [401, 401, 401, 403, 404, 404, 404], '  and not among clients';
}

for my $method (@methods) {
    my $res = $t->request($method, '/', token => undef,
        url => "http://127.0.0.1:$status_port/api/v1/query/$id");
    is $res->{status}, $method =~ /GET|HEAD/ ? 200 : 405,
        "$method of the status page";
    is index($res->{content} // '', $canary), -1,
        '  tells nothing of a job';
    unlike $res->{content} // '', qr/alice|default/, '  nor of an owner';
}

for my $name (sort grep { ref $row{$_} } keys %row) {
    my ($method, $path) = split ' ', $name;
    my $at = at($path, $id);
    is $t->request($method, $at, token => $token{owner},
        url => "http://127.0.0.1:$t->{admin_port}$at")->{status}, 404,
        "$name: not among the operator's pages";
}

$t->finish;
done_testing;
