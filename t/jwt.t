#!/usr/bin/perl

# Tokens against the real module in a real nginx, over HTTPS.
#
# Every hostile token is a valid one with one change.  Each is refused with
# the code that api.md promises for it, and nothing is enqueued.

use strict;
use warnings;

use Test::More;
use Digest::SHA qw(hmac_sha256 hmac_sha512);
use FindBin;
use JSON::PP ();
use MIME::Base64 qw(encode_base64url decode_base64url encode_base64);
use lib "$FindBin::Bin/lib";
use Trifecta::Test;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $t = Trifecta::Test->new(start => 0, sidecars => 0);
my $echo = $t->free_port;

# "kid" has a kid, a list of tenants and no default; its key is as raw as can
# be.  "rot" has two keys.

my $secret = join '', map { chr } 128 .. 170;
my @rot = ('a' x 40, 'b' x 40);
my $keys = "$t->{dir}/secrets";
my $issuer = $t->{issuers};

$t->write_file("$keys/kid.key", $secret, 0600);
$t->write_file("$keys/rot$_.key", "$rot[$_]\n", 0600) for 0, 1;

$t->{opt}{issuers} = <<"END";
    trifecta_jwt_issuer test iss=$issuer->{test}{iss} alg=HS256
        key=$issuer->{test}{key} aud=trifecta
        tenant_claim=tenant tenants=default,acme default_tenant=default;
    trifecta_jwt_issuer rsa iss=$issuer->{rsa}{iss} alg=RS256
        key=$issuer->{rsa}{key} aud=trifecta tenant=acme;
    trifecta_jwt_issuer kid iss=https://kid.example alg=HS256
        key=$keys/kid.key kid=k1 tenant_claim=tenant tenants=acme,globex;
    trifecta_jwt_issuer rot iss=https://rot.example alg=HS256
        key=$keys/rot0.key kid=0 tenant=acme;
    trifecta_jwt_issuer rot alg=HS256 key=$keys/rot1.key kid=1;
END

my @vars = qw(tenant owner job_id request_id claim_sub claim_email claim_level
              claim_admin claim_ratio claim_groups claim_missing claim_evil
              claim_department);

my $vars = join '', map { "            proxy_set_header X-" . (s/_/-/gr)
                          . " \$trifecta_$_;\n" } @vars;
my $seen = join '|', map { lc "\$http_x_$_" } @vars, 'injected';

$t->{opt}{http} = <<"END";
    limit_req_zone \$trifecta_claim_sub zone=sub:1m rate=1r/m;
    limit_req_status 429;

    server {
        listen 127.0.0.1:$echo;
        server_name echo;

        location / {
            return 200 "$seen";
        }
    }
END

# for the token that is too long for us, but not for nginx
$t->{opt}{server} = "        large_client_header_buffers 4 16k;\n";

$t->{opt}{locations} = <<"END";
        location /app/ {
            trifecta_auth on;
$vars
            proxy_pass http://127.0.0.1:$echo;
        }

        location /open/ {
$vars
            proxy_pass http://127.0.0.1:$echo;
        }

        location /named/ {
            trifecta_auth on;
            try_files /nothing \@named;
        }

        location \@named {
            trifecta_auth on;
            return 200 "\$trifecta_owner|\$trifecta_claim_SUB";
        }

        location /early/ {
            set \$early "before <\$trifecta_claim_sub>";
            trifecta_auth on;
            add_header X-Early "\$early after <\$trifecta_claim_sub>";
            proxy_pass http://127.0.0.1:$echo;
        }

        location /limited/ {
            trifecta_auth on;
            limit_req zone=sub;
            proxy_pass http://127.0.0.1:$echo;
        }
END

$t->write_conf;
$t->start_all;


sub kid_token {
    my (%claims) = @_;
    my $header = delete $claims{-header} || {};
    return $t->token(iss => 'https://kid.example', aud => undef,
                     tenant => 'globex', -key => $secret,
                     -header => { kid => 'k1', %$header }, %claims);
}

# a good token and what is done to its three parts
sub parts {
    my ($change, $token) = @_;
    my @part = split /\./, $token // $t->token(sub => 'alice');
    return $change->(@part);
}

sub payload {
    my ($from, $to) = @_;
    my ($head, $body) = split /\./, $t->token(sub => 'alice');
    my $text = decode_base64url($body);
    $text =~ s/$from/$to/ or die "no $from in $text";
    return $t->token(-payload => $text);
}

sub header {
    my ($from, $to) = @_;
    my ($head, $body) = split /\./, $t->token(sub => 'alice');
    my $text = decode_base64url($head);
    $text =~ s/$from/$to/ or die "no $from in $text";
    my $input = encode_base64url($text) . ".$body";
    return "$input." . encode_base64url(hmac_sha256($input,
                                                    $t->{jwt_secret}));
}

sub slurp { $t->read_file("$keys/$_[0]") }

my $pem = slurp('rsa.pub');
my $past = time - 3600;
my $future = time + 3600;
my $other = "$t->{dir}/secrets/other.key";
system("openssl genrsa -out '$other' 2048 2>/dev/null") == 0
    or die "openssl genrsa failed\n";

my $hmac_with = sub {
    my ($key) = @_;
    return sub { hmac_sha256($_[0], $key) };
};


# First: what every case below starts from is accepted.

my $post = sub {
    my ($token) = @_;
    return $t->post('/api/v1/query', { query => 'hello?' }, token => $token);
};

is $post->($t->token(sub => 'alice'))->{status}, 202, 'valid HS256 token';
is $post->($t->token_rs256)->{status}, 202, 'valid RS256 token';
is $post->(kid_token())->{status}, 202, 'valid token with a kid';
is $post->(header('"JWT"', '"at+jwt"'))->{status}, 202, 'typ at+jwt';
is $post->(payload('"aud":"trifecta"', '"aud":["x","trifecta"]'))->{status},
    202, 'aud array';
is $post->($t->token(exp => $past + 3600 - 10))->{status}, 202,
    'exp within the leeway';

for my $kid (0, 1) {
    is $post->($t->token(iss => 'https://rot.example', aud => undef,
                         -key => $rot[$kid], -header => { kid => "$kid" }))
        ->{status}, 202, "key $kid of an issuer with two";
}


my @hostile = (

    # who signs, and with what

    [ alg_none_without_signature => sub { $t->token(-alg => 'none') } ],
    [ alg_none_with_the_old_signature => sub {
        parts(sub { join '.', encode_base64url('{"alg":"none"}'),
                    @_[1, 2] }) } ],
    (map { my $none = $_;
        [ "alg_${none}_in_any_case" =>
            sub { header('HS256', $none) } ] } qw(None NONE nOnE)),
    [ alg_missing => sub { header('"alg":"HS256",', '') } ],
    [ alg_null => sub { header('"HS256"', 'null') } ],
    [ alg_array => sub { header('"HS256"', '["HS256"]') } ],
    [ alg_lower_case => sub { header('HS256', 'hs256') } ],
    [ alg_hs512_with_a_true_hs512_mac => sub { $t->token(-alg => 'HS512') } ],
    [ alg_twice => sub { header('{"alg"', '{"alg":"none","alg"') } ],
    [ rs256_public_key_as_hmac_secret => sub {
        $t->token_rs256(-header => { alg => 'HS256' },
                        -sign => $hmac_with->($pem)) } ],
    [ rs256_public_key_without_last_newline_as_hmac_secret => sub {
        $t->token_rs256(-header => { alg => 'HS256' },
                        -sign => $hmac_with->($pem =~ s/\n\z//r)) } ],
    [ rs256_signed_with_another_key => sub {
        $t->token_rs256(-key => $other) } ],
    [ rs256_alg_for_an_hs256_issuer => sub {
        $t->token_rs256(iss => $issuer->{test}{iss}) } ],
    [ rs256_signature_empty => sub { $t->token_rs256(-sign => sub { '' }) } ],
    [ rs256_signature_of_zeros => sub {
        $t->token_rs256(-sign => sub { "\0" x 256 }) } ],
    [ hs256_signed_with_an_empty_secret => sub {
        $t->token(-sign => $hmac_with->('')) } ],
    [ hs256_signed_with_another_issuers_secret => sub {
        kid_token(-key => $t->{jwt_secret}) } ],
    [ hs256_secret_with_its_newline => sub {
        $t->token(-key => "$t->{jwt_secret}\n") } ],
    [ hs256_secret_in_upper_case => sub {
        $t->token(-key => uc $t->{jwt_secret}) } ],

    # header

    [ kid_of_no_key => sub { kid_token(-header => { kid => 'k2' }) } ],
    [ kid_missing => sub { kid_token(-header => { kid => undef }) } ],
    [ kid_number => sub { kid_token(-header => { kid => 1 }) } ],
    [ kid_is_a_path => sub {
        kid_token(-header => { kid => '../../../dev/null' }) } ],
    [ kid_of_the_other_key_of_its_issuer => sub {
        $t->token(iss => 'https://rot.example', aud => undef,
                  -key => $rot[0], -header => { kid => '1' }) } ],
    [ crit => sub { $t->token(-header => { crit => ['exp'], exp => 1 }) } ],
    [ crit_empty => sub { $t->token(-header => { crit => [] }) } ],
    [ b64_false => sub { $t->token(-header => { b64 => JSON::PP::false }) } ],
    [ typ_of_another_kind => sub { header('"JWT"', '"secevent+jwt"') } ],
    [ jwk_that_brings_its_own_key => sub {
        my ($n) = qx(openssl rsa -in '$other' -noout -modulus) =~ /=(\S+)/;
        $t->token_rs256(-key => $other, -header => { jwk => { kty => 'RSA',
            e => 'AQAB', n => encode_base64url(pack 'H*', $n) } }) } ],
    [ jku_that_names_its_own_keys => sub {
        $t->token_rs256(-key => $other,
            -header => { jku => 'https://evil.example/jwks.json' }) } ],

    # form

    [ two_segments => sub { parts(sub { "$_[0].$_[1]" }) } ],
    [ four_segments => sub { parts(sub { join '.', @_, 'e30' }) } ],
    [ five_segments_like_jwe => sub { parts(sub { join '.', @_, '', '' }) } ],
    [ signature_empty => sub { parts(sub { "$_[0].$_[1]." }) } ],
    [ signature_cut_by_four => sub {
        parts(sub { join '.', @_[0, 1], substr $_[2], 0, -4 }) } ],
    [ signature_with_other_trailing_bits => sub {
        parts(sub { my $s = $_[2];
            substr($s, -1) =~ tr{AEIMQUYcgkosw048}{BFJNRVZdhlptx159};
            join '.', @_[0, 1], $s . substr $_[2], length $s }) } ],
    [ signature_padded => sub { parts(sub { join('.', @_) . '=' }) } ],
    [ payload_padded => sub { parts(sub { "$_[0].$_[1]=.$_[2]" }) } ],
    [ payload_in_the_other_base64 => sub {
        my $input;
        for my $n (1 .. 999) {
            my ($head, $body) = split /\./, $t->token(sub => "\x{3ff}?>~$n");
            next unless $body =~ tr{-_}{+/};
            $input = "$head.$body";
            last;
        }
        "$input." . encode_base64url(hmac_sha256($input,
                                                 $t->{jwt_secret})) } ],
    [ payload_changed_under_the_signature => sub {
        parts(sub { join '.', $_[0],
            encode_base64url(decode_base64url($_[1]) =~ s/alice/admin/r),
            $_[2] }) } ],
    [ longer_than_8_kb => sub { $t->token(x => 'x' x 6200) } ],

    # payload

    [ payload_array => sub { payload(qr/^.*$/, '[]') } ],
    [ payload_with_trailing_text => sub { payload(qr/\}$/, '} x') } ],
    [ payload_40_levels_deep => sub {
        payload(qr/^\{/, '{"x":' . '[' x 40 . ']' x 40 . ',') } ],
    [ sub_twice => sub { payload('"sub"', '"sub":"admin","sub"') } ],
    [ sub_with_u0000 => sub { payload('alice', 'alice\u0000') } ],
    [ sub_not_utf8 => sub { payload('alice', "al\xffice") } ],
    [ sub_missing => sub { $t->token(sub => undef) } ],
    [ sub_empty => sub { $t->token(sub => '') } ],
    [ sub_number => sub { payload('"alice"', '7') } ],
    [ sub_with_a_line_feed => sub { $t->token(sub => "a\nb") } ],
    [ sub_of_256_bytes => sub { $t->token(sub => 'x' x 256) } ],
    [ iss_missing => sub { $t->token(iss => undef) } ],
    [ iss_unknown => sub { $t->token(iss => 'https://evil.example') } ],
    [ iss_of_another_issuer => sub {
        $t->token(iss => $issuer->{rsa}{iss}) } ],
    [ iss_array => sub { $t->token(iss => [$issuer->{test}{iss}]) } ],
    [ aud_missing => sub { $t->token(aud => undef) } ],
    [ aud_of_somebody_else => sub { $t->token(aud => 'billing') } ],
    [ aud_array_of_others => sub { $t->token(aud => ['a', 'b']) } ],
    [ aud_where_none_is_configured => sub { kid_token(aud => 'x') } ],
    [ exp_missing => sub { $t->token(exp => undef) } ],
    [ exp_string => sub { $t->token(exp => "$future") } ],
    [ exp_true => sub { $t->token(exp => JSON::PP::true) } ],
    [ exp_1e300 => sub { payload(qr/"exp":\d+/, '"exp":1e300') } ],
    [ exp_beyond_int64 => sub {
        payload(qr/"exp":\d+/, '"exp":92233720368547758080') } ],
    [ exp_negative => sub { $t->token(exp => -1) } ],
    [ nbf_in_an_hour => sub { $t->token(nbf => $future) } ],
    [ nbf_string => sub { $t->token(nbf => 'now') } ],
    [ iat_in_an_hour => sub { $t->token(iat => $future) } ],
    [ groups_number => sub { $t->token(groups => 1) } ],
    [ groups_with_a_number => sub { $t->token(groups => ['a', 1]) } ],
    [ scope_array => sub { $t->token(scope => ['ask']) } ],
    [ tenant_number => sub { $t->token(tenant => 1) } ],

    [ expired_an_hour_ago => sub { $t->token(exp => $past) },
      'token_expired' ],
    [ expired_long_ago_as_a_real => sub { $t->token(exp => 1.5) },
      'token_expired' ],
    [ expired_rs256 => sub { $t->token_rs256(exp => $past) },
      'token_expired' ],
    [ expired_and_badly_signed_says_invalid => sub {
        $t->token(exp => $past, -key => 'x' x 32) }, 'invalid_token' ],

    [ tenant_not_in_the_list => sub { $t->token(tenant => 'evil') },
      'forbidden' ],
    [ tenant_of_another_issuer => sub { $t->token(tenant => 'globex') },
      'forbidden' ],
    [ tenant_empty => sub { $t->token(tenant => '') }, 'forbidden' ],
    [ tenant_missing_without_default => sub { kid_token(tenant => undef) },
      'forbidden' ],
);

my $before = $t->snapshot_of_queue;

for (@hostile) {
    my ($name, $make, $code) = @$_;
    $code //= 'invalid_token';
    my $status = $code eq 'forbidden' ? 403 : 401;
    my $token = $make->();
    my $res = $post->($token);

    subtest "jwt_${name}_is_refused" => sub {
        is $res->{status}, $status, "status $status" or diag $res->{content};
        is $res->{code}, $code, $code;
        like $res->{headers}{'www-authenticate'} // '',
            $status == 401 ? qr/^Bearer .*error="invalid_token"/ : qr/^$/,
            'WWW-Authenticate';
        unlike $res->{content}, qr/\Q$token\E/, 'the token is not repeated';
    };
}

$t->nothing_enqueued($before, 'no hostile token enqueued anything');


# Where a credential is, and where none is

my $good = $t->token(sub => 'carrier');
my $head = "GET /app/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";

for (
    [ 'no credential', '', 'missing_token' ],
    [ 'Basic', "Authorization: Basic dTpw\r\n", 'missing_token' ],
    [ 'scheme alone', "Authorization: Bearer\r\n", 'missing_token' ],
    [ 'scheme and a space', "Authorization: Bearer  \r\n", 'missing_token' ],
    [ 'no scheme', "Authorization: $good\r\n", 'missing_token' ],
    [ 'Bearers', "Authorization: Bearers $good\r\n", 'missing_token' ],
    [ 'tab', "Authorization: Bearer\t$good\r\n", 'missing_token' ],
    [ 'Proxy-Authorization', "Proxy-Authorization: Bearer $good\r\n",
      'missing_token' ],
    [ 'cookie', "Cookie: access_token=$good\r\n", 'missing_token' ],
    [ 'X-Access-Token', "X-Access-Token: $good\r\n", 'missing_token' ],
    [ 'two tokens', "Authorization: Bearer $good $good\r\n",
      'invalid_token' ],
    [ 'two tokens and a comma', "Authorization: Bearer $good, Basic x\r\n",
      'invalid_token' ],
    [ 'quoted', "Authorization: Bearer \"$good\"\r\n", 'invalid_token' ],
)
{
    my ($name, $header, $code) = @$_;
    my $res = $t->raw("$head$header\r\n");
    is_deeply [$res->{status}, $res->{code}], [401, $code],
        "$name: $code" or diag $res->{raw};
}

my $res = $t->get("/app/?access_token=x", token => undef);
is $res->{code}, 'missing_token', 'query string: missing_token';
like $res->{headers}{'www-authenticate'}, qr/^Bearer(?!.*error=)/,
    'a missing token is no error, RFC 6750';

for ([ 'two good ones', $good, $good ], [ 'good, bad', $good, 'x' ],
     [ 'bad, good', 'x', $good ])
{
    my ($name, @two) = @$_;
    my $both = join '', map { "Authorization: Bearer $_\r\n" } @two;
    my $res = $t->raw("$head$both\r\n");

    # nginx before 1.23 refuses them itself
    ok $res->{status} == 400 || $res->{code} eq 'invalid_token',
        "two Authorization headers, $name: refused" or diag $res->{raw};
}

SKIP: {
    skip 'curl without HTTP/2', 1 if qx(curl --version 2>&1) !~ /HTTP2/;

    my $conf = $t->write_file("$t->{dir}/run/curl", <<"END", 0600);
silent
http2
cacert = "$t->{ca}"
header = "Authorization: Bearer $good"
header = "Authorization: Bearer x"
url = "@{[ $t->url('/app/') ]}"
write-out = "%{http_version} %{http_code}"
END
    my $out = qx(curl --disable --config '$conf' 2>&1);
    like $out, qr/(?:invalid_token.*2 401|2 400)\z/s,
        'two Authorization headers over HTTP/2: refused';
}

for my $scheme (qw(bearer BEARER BeArEr), 'Bearer  ') {
    is $t->raw("${head}Authorization: $scheme $good\r\n\r\n")->{status}, 200,
        "scheme \"$scheme\" is accepted";
}

for my $path ('/app/', '/api/v1/query/x', '/nowhere') {
    is $t->get($path, token => 'x.y.z')->{code}, 'invalid_token',
        "$path is behind the token";
}

is $t->get('/open/', token => 'x.y.z')->{status}, 200,
    'a location without trifecta_auth is not';


# Variables

my $rich = $t->token(sub => 'Zo\x{e9}', email => 'zoe@acme.example',
    tenant => 'acme', level => 42, ratio => 0.5, admin => JSON::PP::true,
    groups => ['a'], evil => "x\r\nX-Injected: yes", Department => 'R&D');

$res = $t->get('/app/', token => $rich, headers => {
    'X-Tenant' => 'forged', 'X-Owner' => 'forged', 'X-Claim-Sub' => 'forged',
    'X-Claim-Missing' => 'forged' });
is $res->{status}, 200, 'proxied with a token';

my @is = split /\|/, $res->{content}, -1;

like splice(@is, 3, 1), qr/^req_[0-9a-f]{32}$/, '$trifecta_request_id';
is_deeply \@is, ['acme', 'test:Zo\x{e9}', '', 'Zo\x{e9}', 'zoe@acme.example',
                 '42', 'true', '0.5', '', '', '', 'R&D', ''],
    'variables of tenant, owner and claims; none from a header of the client,'
    . ' of an array, or with a line feed';

@is = split /\|/, $t->get('/open/', token => $rich)->{content}, -1;
splice @is, 3, 1;
is_deeply [grep { length } @is], [],
    'no variable of a token that nobody checked';

is $t->get('/named/', token => $rich)->{content},
    'test:Zo\x{e9}|Zo\x{e9}', 'the identity survives an internal redirect';
is $t->get('/named/', token => undef)->{code}, 'missing_token',
    'and is needed before it';

is $t->get('/early/', token => $t->token(sub => 'bob'))
    ->{headers}{'x-early'}, 'before <> after <bob>',
    'a variable that was read too early is read again';


# limit_req, keyed on a claim, still runs after a token was accepted

my ($ann, $ben) = map { $t->token(sub => $_) } qw(ann ben);

is $t->get('/limited/', token => undef)->{status}, 401, 'no token, no limit';
is $t->get('/limited/', token => $ann)->{status}, 200, 'first of ann';
is $t->get('/limited/', token => $ann)->{status}, 429, 'second of ann';
is $t->get('/limited/', token => $ben)->{status}, 200, 'first of ben';


# The log has reasons, and no tokens

my $log = $t->log_of('error');
like $log, qr/401 invalid_token: the token's signature is wrong/,
    'the log says why';

for my $name (qw(error access)) {
    my $text = $t->log_of($name);

    # nginx before 1.23 writes the headers down that it refuses for being two
    $text =~ s/^.* client sent duplicate header line: .*\n//mg;

    unlike $text, qr/eyJ[\w-]{20,}\.eyJ/, "no token in $name.log";
    unlike $text, qr/\Q$t->{jwt_secret}\E/, "no secret in $name.log";
}

$t->finish;
done_testing;
