#!/usr/bin/perl

# trifecta_jwt_require: what a token must say to get into a location, also
# one that only proxies, whose upstream must never see a refused request.

use strict;
use warnings;

use Test::More;
use FindBin;
use IO::Socket::INET;
use JSON::PP ();
use lib "$FindBin::Bin/lib";
use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0);
my $port = $t->free_port;
my $seen = $t->write_file("$t->{dir}/run/seen", '');


# An upstream that writes down whatever reaches it.

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
    LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "listen: $!\n";
my $test = $$;
my $upstream = fork // die "fork: $!\n";

if ($upstream == 0) {
    $SIG{$_} = 'DEFAULT' for qw(TERM INT HUP);
    while (my $client = $listener->accept) {
        my $head = '';
        while ($head !~ /\r\n\r\n/) {
            sysread($client, $head, 4096, length $head) or last;
        }
        open my $log, '>>', $seen;
        print $log $head =~ /^(.*?)\r\n/;
        print $log "\n";
        close $log;
        print $client "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nup";
        close $client;
    }
    POSIX::_exit(0);
}

close $listener;
END { kill 'KILL', $upstream if $upstream && $$ == $test }

sub upstream_saw { return grep { $_ eq "GET $_[0] HTTP/1.0" }
                   split /\n/, $t->read_file($seen) }


my %locations = (
    scope    => 'trifecta_jwt_require scope=admin;',
    any      => 'trifecta_jwt_require roles=editor,admin;',
    group    => 'trifecta_jwt_require groups=staff;',
    both     => "trifecta_jwt_require scope=read;\n"
                . '            trifecta_jwt_require roles=admin;',
    oneline  => 'trifecta_jwt_require scope=read roles=admin;',
    claim    => 'trifecta_jwt_require department=R&D,IT;',
    array    => 'trifecta_jwt_require amr=mfa;',
    verified => 'trifecta_jwt_require email_verified=true;',
    regex    => 'trifecta_jwt_require email~@acme\.example$;',
    caseless => 'trifecta_jwt_require email~*@ACME\.example$;',
    scopes   => 'trifecta_jwt_require scopes~^write:;',
    blank    => 'trifecta_jwt_require levels~^$;',
    name     => 'trifecta_jwt_require https://acme.example/tier=gold;',
    none     => '',
);

$t->{opt}{locations} = join '', map { <<"END" } sort keys %locations;
        location /$_/ {
            trifecta_auth on;
            $locations{$_}
            proxy_pass http://127.0.0.1:$port;
        }
END

$t->{opt}{locations} .= <<"END";
        location /api/v1/ {
            trifecta api;
            trifecta_jwt_require scope=ask;
        }

        location /outer/ {
            trifecta_auth on;
            trifecta_jwt_require scope=outer;
            proxy_pass http://127.0.0.1:$port;

            location /outer/inherits/ {
                proxy_pass http://127.0.0.1:$port;
            }

            location /outer/own/ {
                trifecta_jwt_require scope=own;
                proxy_pass http://127.0.0.1:$port;
            }

            location /outer/off/ {
                trifecta_jwt_require off;
                proxy_pass http://127.0.0.1:$port;
            }

            location /outer/if/ {
                proxy_pass http://127.0.0.1:$port;
                if (\$arg_x) {
                    proxy_pass http://127.0.0.1:$port;
                }
            }
        }

        location /lobby/ {
            trifecta_auth on;
            try_files /nothing \@vault;
        }

        location \@vault {
            trifecta_auth on;
            trifecta_jwt_require roles=keeper;
            proxy_pass http://127.0.0.1:$port;
        }

        location /mistake/ {
            trifecta_auth on;
            trifecta_jwt_require roles=admin;
            error_page 403 = \@open;
            proxy_pass http://127.0.0.1:$port;
        }

        location \@open {
            proxy_pass http://127.0.0.1:$port;
        }

        location /public/ {
            proxy_pass http://127.0.0.1:$port;
        }
END

# a server where everything is required, and one location less
my $second = $t->free_port;
$t->{opt}{http} = <<"END";
    server {
        listen 127.0.0.1:$second;
        server_name localhost;
        trifecta_auth on;
        trifecta_jwt_require tenant=acme;

        location / {
            proxy_pass http://127.0.0.1:$port;
        }

        location /health {
            trifecta_auth off;
            proxy_pass http://127.0.0.1:$port;
        }
    }
END

$t->write_conf;
$t->start_all;


# location, claims, whether they do, what is unmet

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $tier = 'https://acme.example/tier';

my @cases = (
    [ 'scope', { scope => 'admin' }, 1 ],
    [ 'scope', { scope => 'read admin write' }, 1 ],
    [ 'scope', { scopes => ['read', 'admin'] }, 1 ],
    [ 'scope', { scope => 'read', scopes => 'x admin' }, 1 ],
    [ 'scope', {}, 0, 'scope=admin' ],
    [ 'scope', { scope => '' }, 0, 'scope=admin' ],
    [ 'scope', { scope => 'admin2' }, 0, 'scope=admin' ],
    [ 'scope', { scope => 'admi' }, 0, 'scope=admin' ],
    [ 'scope', { scope => 'Admin' }, 0, 'scope=admin' ],
    [ 'scope', { scope => 'admin:read' }, 0, 'scope=admin' ],
    [ 'scope', { scope => 'read,admin' }, 0, 'scope=admin' ],
    [ 'scope', { roles => ['admin'], groups => ['admin'] }, 0,
      'scope=admin' ],
    [ 'scope', { Scope => 'admin' }, 0, 'scope=admin' ],
    [ 'scope', { scopes => ['read admin'] }, 0, 'scope=admin' ],

    [ 'any', { roles => ['admin'] }, 1 ],
    [ 'any', { roles => 'editor' }, 1 ],
    [ 'any', { groups => ['x', 'editor'] }, 1 ],
    [ 'any', { roles => ['viewer'] }, 0, 'roles=editor,admin' ],
    [ 'any', { roles => ['editor,admin'] }, 0, 'roles=editor,admin' ],
    [ 'any', { scope => 'admin editor' }, 0, 'roles=editor,admin' ],
    [ 'any', { roles => [] }, 0, 'roles=editor,admin' ],

    [ 'group', { roles => ['staff'] }, 1 ],
    [ 'group', { groups => ['staffing'] }, 0, 'groups=staff' ],

    (map {
        [ $_, { scope => 'read', roles => ['admin'] }, 1 ],
        [ $_, { scope => 'read' }, 0, 'roles=admin' ],
        [ $_, { roles => ['admin'] }, 0, 'scope=read' ],
        [ $_, {}, 0, 'scope=read' ],
    } qw(both oneline)),

    [ 'claim', { department => 'R&D' }, 1 ],
    [ 'claim', { department => 'IT' }, 1 ],
    [ 'claim', { department => 'HR' }, 0, 'department=R&D,IT' ],
    [ 'claim', { department => '' }, 0, 'department=R&D,IT' ],
    [ 'claim', { department => 1 }, 0, 'department=R&D,IT' ],
    [ 'claim', { department => { IT => 1 } }, 0, 'department=R&D,IT' ],
    [ 'claim', { department => undef }, 0, 'department=R&D,IT' ],
    [ 'claim', { Department => 'IT' }, 0, 'department=R&D,IT' ],

    [ 'array', { amr => ['pwd', 'mfa'] }, 1 ],
    [ 'array', { amr => 'mfa' }, 1 ],
    [ 'array', { amr => ['pwd'] }, 0, 'amr=mfa' ],
    [ 'array', { amr => [['mfa']] }, 0, 'amr=mfa' ],
    [ 'array', { amr => [1, 'mfa'] }, 1 ],
    [ 'array', { amr => 'pwd mfa' }, 0, 'amr=mfa' ],

    [ 'verified', { email_verified => $true }, 1 ],
    [ 'verified', { email_verified => 'true' }, 1 ],
    [ 'verified', { email_verified => $false }, 0, 'email_verified=true' ],
    [ 'verified', { email_verified => 1 }, 0, 'email_verified=true' ],

    [ 'regex', { email => 'zoe@acme.example' }, 1 ],
    [ 'regex', { email => 'zoe@acme.example.evil' }, 0,
      'email~@acme\.example$' ],
    [ 'regex', { email => 'zoe@acmeXexample' }, 0, 'email~@acme\.example$' ],
    [ 'regex', { email => 'zoe@ACME.example' }, 0, 'email~@acme\.example$' ],
    [ 'regex', {}, 0, 'email~@acme\.example$' ],
    [ 'caseless', { email => 'zoe@acme.EXAMPLE' }, 1 ],
    [ 'caseless', { email => 'zoe@evil.example' }, 0,
      'email~*@ACME\.example$' ],
    [ 'scopes', { scope => 'read write:docs' }, 1 ],
    [ 'scopes', { scope => 'read overwrite:docs' }, 0, 'scopes~^write:' ],

    [ 'blank', { levels => ['x', ''] }, 1 ],
    [ 'blank', { levels => [1, undef, $true] }, 0, 'levels~^$' ],

    [ 'name', { $tier => 'gold' }, 1 ],
    [ 'name', { $tier => 'silver' }, 0, "$tier=gold" ],

    [ 'none', {}, 1 ],

    [ 'outer', { scope => 'outer' }, 1 ],
    [ 'outer', { scope => 'own' }, 0, 'scope=outer' ],
    [ 'outer/inherits', { scope => 'outer' }, 1 ],
    [ 'outer/inherits', { scope => 'own' }, 0, 'scope=outer' ],
    [ 'outer/own', { scope => 'own' }, 1 ],
    [ 'outer/own', { scope => 'outer' }, 0, 'scope=own' ],
    [ 'outer/off', { scope => 'x' }, 1 ],
    [ 'outer/if', { scope => 'x' }, 0, 'scope=outer', '?x=1' ],
    [ 'outer/if', { scope => 'outer' }, 1, undef, '?x=1' ],

    [ 'lobby', { roles => 'keeper' }, 1 ],
    [ 'lobby', { roles => 'guest' }, 0, 'roles=keeper' ],
    [ 'mistake', { roles => 'guest' }, 0, 'roles=admin' ],
);

my $n = 0;

for (@cases) {
    my ($location, $claims, $does, $unmet, $args) = @$_;
    my $name = "$location: " . JSON::PP->new->canonical->encode($claims);
    my $path = "/$location/" . ++$n . ($args // '');
    my $res = $t->get($path, token => $t->token(%$claims));

    if ($does) {
        is $res->{status}, 200, "$name is enough" or diag $res->{content};
        is upstream_saw($path), 1, "$name reaches the upstream";
        next;
    }

    is_deeply [@$res{qw(status code)}], [403, 'forbidden'],
        "$name is forbidden" or diag $res->{content};
    is $res->{json}{detail},
        qq{the token does not meet the requirement "$unmet"},
        "$name is told what is missing";
    is $res->{headers}{'www-authenticate'}, undef,
        "$name needs no other credential";
    is upstream_saw($path), 0, "$name does not reach the upstream";
}


# A requirement is asked of good tokens only.

for ([ undef, 'missing_token' ], [ 'x.y.z', 'invalid_token' ],
     [ $t->token(scope => 'admin', exp => time - 3600), 'token_expired' ],
     [ $t->token(scope => 'admin', -key => 'x' x 40), 'invalid_token' ])
{
    my ($token, $code) = @$_;
    my $path = '/scope/' . ++$n;
    my $res = $t->get($path, token => $token);
    is_deeply [@$res{qw(status code)}], [401, $code], "$code, not forbidden";
    is upstream_saw($path), 0, "$code does not reach the upstream";
}

is $t->get('/public/x', token => undef)->{status}, 200,
    'a location without any of it';


# Other methods, and a body that the upstream would wait for

for my $method (qw(HEAD POST PUT DELETE OPTIONS PATCH)) {
    my $path = '/scope/' . ++$n;
    my $res = $t->request($method, $path, token => $t->token(scope => 'x'),
                          $method =~ /^P/ ? (body => 'x' x 100) : ());
    is $res->{status}, 403, "$method is forbidden";
    unlike $t->read_file($seen), qr/^$method \Q$path\E /m,
        "$method does not reach the upstream";
}


# The API asks too, and enqueues nothing for those whom it refuses.

my $before = $t->snapshot_of_queue;
my $ask = sub {
    return $t->post('/api/v1/query', { query => 'hello?' },
                    token => $t->token(@_));
};

for ([], [ scope => 'read' ], [ roles => ['ask'] ]) {
    my $res = $ask->(@$_);
    is_deeply [@$res{qw(status code)}], [403, 'forbidden'],
        "POST with @$_ is forbidden";
    like $res->{json}{detail}, qr/"scope=ask"/, 'and says why';
}

$t->nothing_enqueued($before, 'who is forbidden enqueues nothing');

my $res = $ask->(scope => 'ask');
is $res->{status}, 202, 'POST with the scope is accepted';

my $id = $res->{json}{query_id};
is $t->get("/api/v1/query/$id", token => $t->token)->{code}, 'forbidden',
    'GET needs the scope as well';
is $t->get("/api/v1/query/$id", token => $t->token(scope => 'ask'))
    ->{status}, 200, 'GET with the scope';


# What a server requires

sub plain {
    my ($path, $token) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $second, Timeout => 10) or die "connect: $!\n";
    print $socket "GET $path HTTP/1.0\r\nHost: localhost\r\n"
        . ($token ? "Authorization: Bearer $token\r\n" : '') . "\r\n";
    local $/;
    return (<$socket> // '') =~ m{^HTTP/1\.\d (\d+)} ? $1 : 0;
}

is plain('/a', $t->token(tenant => 'acme')), 200, 'the server: met';
is plain('/b', $t->token(tenant => 'globex')), 403, 'the server: not met';
is plain('/c'), 401, 'the server: no token';
is upstream_saw($_), 0, "$_ does not reach the upstream" for '/b', '/c';
is plain('/health'), 200, 'a location that checks no token asks nothing';

like $t->log_of('error'),
    qr/403 forbidden: the token does not meet the requirement "scope=admin"/,
    'the log says why';


# Configuration

sub check {
    my ($directives) = @_;

    local $t->{opt}{locations} = "location /c/ { $directives }\n";
    local $t->{opt}{http} = '';
    $t->write_conf;

    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    my $out = qx('@{[ $t->nginx_bin ]}' -t -p '$t->{dir}' \\
                 -e '$t->{dir}/log/check.log' \\
                 -c '$t->{dir}/conf/nginx.conf' 2>&1);
    unlink "$t->{dir}/log/check.log";

    return ($? >> 8, $out);
}

for (
    [ 'no value' => qr/invalid requirement "scope"/, 'scope' ],
    [ 'empty value' => qr/invalid requirement "scope="/, 'scope=' ],
    [ 'empty claim' => qr/invalid requirement "=admin"/, '=admin' ],
    [ 'an empty value of a list' => qr/has an empty value/, 'scope=a,,b' ],
    [ 'an empty value at the end' => qr/has an empty value/, 'scope=a,' ],
    [ 'empty regex' => qr/invalid requirement "scope~"/, 'scope~' ],
    [ 'empty caseless regex' => qr/has an empty regex/, 'scope~*' ],
    [ 'wrong regex' => qr/requirement "scope~\(a": pcre/, 'scope~(a' ],
    [ 'off with more' => qr/has "off" beside/, 'off scope=a' ],
    [ 'off after' => qr/has "off" beside/, 'a=b; trifecta_jwt_require off' ],
    [ 'off before' => qr/has "off" beside/, 'off; trifecta_jwt_require a=b' ],
    [ 'off twice' => qr/has "off" beside/, 'off; trifecta_jwt_require off' ],
    [ 'nothing' => qr/invalid number of arguments/, '' ],
)
{
    my ($name, $message, $value) = @$_;
    my ($status, $out) =
        check("trifecta_auth on; trifecta_jwt_require $value;");
    is $status, 1, "$name: refused";
    like $out, $message, "$name: says why";
}

for ('', 'trifecta_auth off;', 'trifecta admin;') {
    my ($status, $out) = check("$_ trifecta_jwt_require scope=a;");
    is $status, 1, "a requirement where no token is checked ($_): refused";
    like $out, qr{"/c/" has trifecta_jwt_require, but checks no token},
        'says why';
}

for ('trifecta_auth on; trifecta_jwt_require off;',
     'trifecta_jwt_require off;', 'trifecta api; trifecta_jwt_require a=b;',
     'trifecta_jwt_require a=b c~d; trifecta_auth on;')
{
    my ($status, $out) = check($_);
    is $status, 0, "$_ is accepted" or diag $out;
}

$t->finish;
done_testing;
