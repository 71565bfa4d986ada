#!/usr/bin/perl

# A worker remembers the tokens that it has verified, and that changes nothing
# but the time that it takes.
#
# One worker, so that every request meets the same memory.  What was answered
# from it is seen in the metrics.

use strict;
use warnings;

use Test::More;
use FindBin;
use IO::Socket::SSL ();
use MIME::Base64 qw(encode_base64url decode_base64url);
use lib "$FindBin::Bin/lib";
use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    trifecta => { trifecta_jwt_leeway => '1s', trifecta_jwt_memory => '64k' });
my $echo = $t->free_port;
my $clock = $t->write_file("$t->{dir}/run/clock", pack 'q', 0);

# the time of day that nginx sees can be set (see t/fault/clock.c)
$t->{opt}{proc_env}{nginx} = { TF_CLOCK => $clock,
    LD_PRELOAD => $t->root . '/build/test/fault/clock.so',
    ASAN_OPTIONS => 'detect_leaks=0:verify_asan_link_order=0' };

my $keys = "$t->{dir}/secrets";
my @rot = ('a' x 40, 'b' x 40);

$t->write_file("$keys/rot$_.key", $rot[$_], 0600) for 0, 1;

my @vars = qw(tenant owner claim_sub claim_groups claim_scope claim_missing);
my $seen = join '|', map { "\$http_x_" . lc } @vars;
my $pass = join '', map { "            proxy_set_header X-" . (s/_/-/gr)
                          . " \$trifecta_$_;\n" } @vars;

$t->{opt}{http} = <<"END";
    trifecta_jwt_issuer rot iss=https://rot.example alg=HS256
        key=$keys/rot0.key kid=0 tenant=acme;
    trifecta_jwt_issuer rot alg=HS256 key=$keys/rot1.key kid=1;

    server {
        listen 127.0.0.1:$echo;
        location / {
            return 200 "$seen";
        }
    }
END

$t->{opt}{locations} = <<"END";
        location /app/ {
            trifecta_auth on;
$pass
            proxy_pass http://127.0.0.1:$echo;
        }
        location /billing/ {
            trifecta_auth on;
            trifecta_jwt_require aud=billing;
            proxy_pass http://127.0.0.1:$echo;
        }
        location /ask/ {
            trifecta_auth on;
            trifecta_jwt_require scope=ask;
            proxy_pass http://127.0.0.1:$echo;
        }
END

$t->write_conf;
$t->start_all;


sub app  { return $t->get('/app/x', token => $_[0]) }

# what the memory did in between
sub counted {
    my ($do) = @_;
    my $before = $t->metrics;
    $do->();
    my $after = $t->metrics;

    return { map { my ($name, $metric) = @$_;
        $name => $after->{"trifecta_$metric"} - $before->{"trifecta_$metric"}
    } [ verified => 'tokens_total{check="verified"}' ],
      [ remembered => 'tokens_total{check="remembered"}' ],
      [ evicted => 'token_evictions_total' ],
      [ entries => 'tokens_remembered' ],
      [ bytes => 'tokens_remembered_bytes' ] };
}


{
    my $token = $t->token(sub => 'ann', groups => ['a', "b\xe9"],
                          scope => 'read ask');
    my @got;
    my $did = counted(sub { push @got, app($token) for 1 .. 3 });

    is $did->{verified}, 1, 'a token is verified once';
    is $did->{remembered}, 2, 'and remembered afterwards';
    is $did->{entries}, 1, 'as one entry';
    cmp_ok $did->{bytes}, '>=', 1024, 'of a kilobyte at least';
    is $got[0]{status}, 200, 'it is accepted';
    like $got[0]{content}, qr/^default\|test:ann\|ann\|/, 'as what it says';
    is_deeply [ map { $_->{content} } @got[1, 2] ], [ ($got[0]{content}) x 2 ],
        'a remembered token says what it said when it was verified';
}

{
    my $token = $t->token_rs256(sub => 'rob');
    my $did = counted(sub { app($token) for 1 .. 2 });

    is_deeply [@$did{qw(verified remembered)}], [1, 1],
        'a token of a public key is remembered, too';
}


# What is another token is not this one.

{
    my $token = $t->token(sub => 'eve');
    is app($token)->{status}, 200, 'a token is remembered';

    my ($head, $body, $sig) = split /\./, $token;
    my (@accepted, $tried);
    my $did = counted(sub {
        for my $at (0 .. length($sig) - 2) {
            my $changed = $sig;
            substr($changed, $at, 1) =~ tr/A-Za-z0-9_-/B-ZAb-za1-90\-_/;
            $tried++;
            push @accepted, $at
                if app("$head.$body.$changed")->{status} != 401;
        }
    });
    cmp_ok $tried, '>', 40, 'each character of its signature was changed';
    is "@accepted", '', 'one changed byte of the signature is refused though '
        . 'the token is remembered';
    is_deeply [@$did{qw(verified remembered entries bytes)}], [0, 0, 0, 0],
        'what was refused is not remembered';

    my $other = $t->token(sub => 'mallory');
    is app($other)->{status}, 200, 'another token is remembered';
    is app(join '.', $head, $body, (split /\./, $other)[2])->{status}, 401,
        'the payload of one remembered token with the signature of another';

    my $text = decode_base64url($body) =~ s/"eve"/"bob"/r;
    is app("$head." . encode_base64url($text) . ".$sig")->{status}, 401,
        'another payload under a remembered signature';
    is app("$token.")->{status}, 401, 'something behind a remembered token';
    is app(substr $token, 0, -1)->{status}, 401,
        'a remembered token without its last character';
    is app($token)->{status}, 200, 'and the token itself is still good';
}


# Where it is asked for does not say more than what it says.

{
    my $token = $t->token(sub => 'liz', scope => 'read');

    is app($token)->{status}, 200, 'a token is remembered where it is enough';
    my @got;
    my $did = counted(sub {
        @got = map { $t->get($_, token => $token) } '/billing/x', '/ask/x' });

    is $did->{remembered}, 2, 'and asked for elsewhere';
    is $got[0]{code}, 'forbidden',
        'a location with another audience refuses a remembered token';
    is $got[1]{code}, 'forbidden',
        'a location with other requirements refuses a remembered token';
}


# Time is asked each time.

{
    my $token = $t->token(sub => 'tim', exp => 3 + int time);
    my $good = app($token);
    my $again = counted(sub { app($token) });

    is $good->{status}, 200, 'a token that ends soon is good';
    is $again->{remembered}, 1, 'and remembered';

    my $end = $t->wait_for(sub {
        my $res = app($token);
        $res->{status} != 200 && $res }, 4 + 5);

    is $end && $end->{code}, 'token_expired',
        'a remembered token ends with its exp and the leeway';
    is counted(sub { app($token) })->{entries}, 0, 'and is remembered no more';

    my $past = $t->token(sub => 'tom', exp => int(time) - 3600);
    my $did = counted(sub { app($past) for 1 .. 2 });
    is_deeply [@$did{qw(remembered entries)}], [0, 0],
        'an expired token is not remembered';
}


# A token that was good is not yet so where the clock is set back: each of its
# dates is asked by itself.

sub clock {
    my ($by) = @_;
    open my $fh, '+<', $clock or die "$clock: $!\n";
    syswrite $fh, pack('q', $by);
}

for my $date (qw(nbf iat)) {
    my $now = int time;
    my $token = $t->token(sub => "set-$date", exp => $now + 7200, nbf => undef,
                          iat => undef, $date => $now);
    my $did = counted(sub { is app($token)->{status}, 200, "$date is now"
        for 1 .. 2 });
    is $did->{remembered}, 1, 'and the token is remembered';

    my $res;
    clock(-3600);
    $did = counted(sub { $res = app($token) });
    is "$res->{status} $res->{code}", '401 invalid_token',
        "a_remembered_token_is_refused_before_its_$date";
    is_deeply [@$did{qw(remembered entries)}], [0, -1], 'and forgotten';

    clock(0);
    $did = counted(sub { is app($token)->{status}, 200, 'then it is good' });
    is_deeply [@$did{qw(verified remembered)}], [1, 0], 'and verified anew';
}


# The memory has its bounds.

{
    my $max = 64 * 1024;
    my @tokens = map { $t->token(sub => "user$_") } 1 .. 200;
    my @bad;
    my $did = counted(sub {
        for my $n (0 .. $#tokens) {
            my $res = app($tokens[$n]);
            push @bad, $n if $res->{status} != 200
                || $res->{content} !~ /\|user@{[ $n + 1 ]}\|/;
        }
    });

    is "@bad", '', 'each of many tokens is accepted as what it says';
    is $did->{verified}, 200, 'and was verified';
    cmp_ok $did->{evicted}, '>=', 200 - 64, 'most had to make room';

    my $m = $t->metrics;
    cmp_ok $m->{trifecta_tokens_remembered_bytes}, '<=', $max,
        'memory is bounded under a flood of distinct tokens';
    cmp_ok $m->{trifecta_tokens_remembered}, '<=', $max / 1024,
        'and so is the number of entries';
    cmp_ok $m->{trifecta_tokens_remembered}, '>', 10, 'which are many';

    $did = counted(sub { app($tokens[$_]) for -5 .. -1, 0 });
    is_deeply [@$did{qw(remembered verified)}], [5, 1],
        'what was used last is still there, what was not for longest is not';

    # kept by its use, while as many come as there is room for
    $did = counted(sub {
        for my $n (1 .. 60) {
            app($tokens[$n]);
            app($tokens[-1]);
        }
    });
    is $did->{remembered}, 60, 'a token in use outlives a flood of others';

    my $heavy = $t->token(sub => 'big', list => [(1) x 500]);
    $did = counted(sub { is app($heavy)->{status}, 200 for 1 .. 2 });
    is_deeply [@$did{qw(verified remembered evicted)}], [2, 0, 0],
        'a token that takes much of the memory is not remembered';
}


# A request goes on with what its token said, whatever the memory does.

{
    my $body = '{"query": "Is anybody there?"}';
    my $token = $t->token(sub => 'slow', groups => ['patient']);
    my $socket = $t->socket or die "no connection\n";
    my $verified = sub {
        $t->metrics->{'trifecta_tokens_total{check="verified"}'} };
    my $before = $verified->();

    print {$socket} "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\n"
        . "Content-Type: application/json\r\nConnection: close\r\n"
        . "Authorization: Bearer $token\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n"
        . substr $body, 0, 5;
    $socket->flush;

    $t->wait_for(sub { $verified->() > $before }, 5)
        or die "the token was not looked at\n";
    app($t->token(sub => "after$_")) for 1 .. 80;
    is counted(sub { app($token) })->{verified}, 1,
        'a token was forgotten while its request is still read';

    print {$socket} substr $body, 5;
    $socket->flush;
    my $answer = do { local $/; <$socket> } // '';
    like $answer, qr{^HTTP/1\.1 202 }, 'the request is answered all the same';

    my ($id) = $answer =~ /"query_id":"([^"]+)"/;
    is $t->get("/api/v1/query/$id", token => $token)->{status}, 200,
        'and the job is its owner\'s';
    my %job = @{ $t->redis('HGETALL', "{trifecta:0}:j:$id") || [] };
    is "$job{owner} $job{groups}", 'test:slow ["patient"]',
        'with the groups of its token';
}


# What it was verified by is gone: so is it.

{
    my %token = map { $_ => $t->token(iss => 'https://rot.example',
        aud => undef, -key => $rot[$_], -header => { kid => "$_" }) } 0, 1;

    is app($token{$_})->{status}, 200, "a token of key $_ is good" for 0, 1;
    is counted(sub { app($token{0}) })->{remembered}, 1, 'and remembered';

    $t->{opt}{http} =~ s/key=\S+rot0.key kid=0/key=$keys\/rot1.key kid=1/;
    $t->{opt}{http} =~ s/    trifecta_jwt_issuer rot alg.*?;\n//s;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { -e "/proc/$_" } @old }, 10);

    is app($token{0})->{code}, 'invalid_token',
        'a key that is removed ends remembered tokens as it ends others';
    my $did = counted(sub { is app($token{1})->{status}, 200,
        'a token of a key that stays is good' });
    is_deeply [@$did{qw(verified remembered)}], [1, 0],
        'but it is verified by the new configuration';
}

{
    my $token = $t->token(sub => 'ann');
    app($token);

    $t->{opt}{trifecta}{trifecta_jwt_memory} = 'off';
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { -e "/proc/$_" } @old }, 10);

    my $did = counted(sub { app($token) for 1 .. 3 });
    is_deeply [@$did{qw(verified remembered)}], [3, 0],
        'without a memory each token is verified each time';
    is $t->metrics->{trifecta_tokens_remembered}, 0, 'and none is remembered';
}

$t->finish;
done_testing;
