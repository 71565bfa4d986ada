#!/usr/bin/perl

# trifecta_jwt_issuer: a line that is wrong keeps nginx from starting, and
# the message says what is wrong.

use strict;
use warnings;

use Test::More;
use FindBin;
use lib "$FindBin::Bin/lib";
use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0);
my $keys = "$t->{dir}/secrets";
my $hs = "alg=HS256 key=$keys/jwt.hs256.key";
my $rs = "alg=RS256 key=$keys/rsa.pub";

$t->write_file("$keys/short.key", 'x' x 31, 0600);
$t->write_file("$keys/large.key", 'x' x 70000, 0600);
$t->write_file("$keys/empty.key", '', 0600);
$t->write_file("$keys/open.key", 'x' x 40, 0644);
$t->write_file("$keys/long.key", 'x' x 64, 0600);

for ([ weak => 'RSA -pkeyopt rsa_keygen_bits:1024' ],
     [ ec => 'EC -pkeyopt ec_paramgen_curve:P-256' ],
     [ ec384 => 'EC -pkeyopt ec_paramgen_curve:P-384' ], [ ed => 'ED25519' ])
{
    my ($name, $how) = @$_;
    system("openssl genpkey -algorithm $how -out '$keys/$name.key'"
           . " 2>/dev/null && openssl pkey -in '$keys/$name.key' -pubout"
           . " -out '$keys/$name.pub'") == 0 or die "openssl failed\n";
}


# (exit status, output) of nginx -t with these issuers
sub check {
    my (@lines) = @_;

    $t->{opt}{issuers} = join '', map { "trifecta_jwt_issuer $_;\n" } @lines;
    $t->write_conf;

    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    my $out = qx('@{[ $t->nginx_bin ]}' -t -p '$t->{dir}' \\
                 -e '$t->{dir}/log/check.log' \\
                 -c '$t->{dir}/conf/nginx.conf' 2>&1);
    unlink "$t->{dir}/log/check.log";

    return ($? >> 8, $out);
}


for (
    [ 'HS256' => "a iss=i $hs tenant=t" ],
    [ 'RS256' => "a iss=i $rs tenant=t" ],
    [ 'kid and aud' => "a iss=i $hs kid=k aud=x tenant=t" ],
    [ 'tenants' => "a iss=i $hs tenant_claim=c tenants=a,b" ],
    [ 'default tenant' => "a iss=i $hs tenant_claim=c tenants=a,b"
      . ' default_tenant=d' ],
    [ 'two issuers' => "a iss=i $hs tenant=t", "b iss=j $rs tenant=t" ],
    [ 'a second key' => "a iss=i $hs kid=1 tenant=t", "a $rs kid=2" ],
    [ 'sixteen keys' => "a iss=i $hs tenant=t", ("a $hs") x 15 ],
    [ 'sixteen keys in one line' => 'a iss=i tenant=t alg=HS256'
      . " key=$keys/jwt.hs256.key" x 16 ],
    [ 'several keys with and without kid' => "a iss=i $rs kid=1"
      . " key=$keys/rsa.pub kid=2 key=$keys/rsa.pub tenant=t" ],
    [ 'several algorithms of one key' => 'a iss=i tenant=t'
      . " alg=RS256,RS384,RS512,PS256 key=$keys/rsa.pub" ],
    [ 'ES256' => "a iss=i tenant=t alg=ES256 key=$keys/ec.pub" ],
    [ 'ES384' => "a iss=i tenant=t alg=ES384 key=$keys/ec384.pub" ],
    [ 'EdDSA' => "a iss=i tenant=t alg=EdDSA key=$keys/ed.pub" ],
    [ 'HS384' => "a iss=i tenant=t alg=HS384 key=$keys/jwt.hs256.key" ],
    [ 'HS512' => "a iss=i tenant=t alg=HS256,HS512 key=$keys/long.key" ],
    [ 'a relative path' =>
      'a iss=i alg=HS256 key=../secrets/jwt.hs256.key tenant=t' ],
)
{
    my ($name, @lines) = @$_;
    my ($status, $out) = check(@lines);
    is $status, 0, "$name: accepted" or diag $out;
    unlike $out, qr/warn/, "$name: no warning";
}

my ($status, $out) = check("a iss=i alg=HS256 key=$keys/open.key tenant=t");
is $status, 0, 'secret that everybody can read: accepted';
like $out, qr/\[warn\].*open\.key" is open to every user/,
    'secret that everybody can read: warning';

for (
    [ 'no iss' => qr/needs iss=/, "a $hs tenant=t" ],
    [ 'no alg' => qr/needs alg= and key=/,
      "a iss=i key=$keys/jwt.hs256.key tenant=t" ],
    [ 'no key' => qr/needs alg= and key=/, 'a iss=i alg=HS256 tenant=t' ],
    [ 'alg none' => qr/unknown "alg=none".*known are HS256, HS384, .*EdDSA/,
      "a iss=i alg=none key=$keys/jwt.hs256.key tenant=t" ],
    [ 'alg in lower case' => qr/unknown "alg=hs256"/,
      "a iss=i alg=hs256 key=$keys/jwt.hs256.key tenant=t" ],
    [ 'unknown parameter' => qr/unknown parameter "secret=x"/,
      "a iss=i $hs tenant=t secret=x" ],
    [ 'parameter twice' => qr/"kid=" stands twice/,
      "a iss=i $hs tenant=t kid=1 kid=2" ],
    [ 'empty value' => qr/"aud=" of issuer "a" has no value/,
      "a iss=i $hs tenant=t aud=" ],
    [ 'no tenant' => qr/must be bound to tenants/, "a iss=i $hs" ],
    [ 'tenant and claim' => qr/must be bound to tenants/,
      "a iss=i $hs tenant=t tenant_claim=c tenants=t" ],
    [ 'claim without list' => qr/must be bound to tenants/,
      "a iss=i $hs tenant_claim=c" ],
    [ 'list without claim' => qr/must be bound to tenants/,
      "a iss=i $hs tenant=t tenants=a" ],
    [ 'fixed tenant with default' => qr/must be bound to tenants/,
      "a iss=i $hs tenant=t default_tenant=d" ],
    [ 'empty tenant in the list' => qr/invalid name of a tenant ""/,
      "a iss=i $hs tenant_claim=c tenants=a,,b" ],
    [ 'tenant of 65 bytes' => qr/invalid name of a tenant/,
      "a iss=i $hs tenant=" . 'x' x 65 ],
    [ 'tenant with a control character' => qr/invalid name of a tenant/,
      "a iss=i $hs tenant=a\x7fb" ],
    [ 'name with a colon' => qr/invalid name of an issuer "a:b"/,
      "a:b iss=i $hs tenant=t" ],
    [ 'name of 33 bytes' => qr/invalid name of an issuer/,
      'x' x 33 . " iss=i $hs tenant=t" ],
    [ 'reserved name' => qr/cannot be named "key"/,
      "key iss=i $hs tenant=t" ],
    [ 'iss twice' => qr/"iss=i" is issuer "a" already/,
      "a iss=i $hs tenant=t", "b iss=i $rs tenant=t" ],
    [ 'second key with iss' => qr/configured already.*not "iss=i"/,
      "a iss=i $hs tenant=t", "a iss=i $rs" ],
    [ 'second key with a tenant' => qr/configured already.*not "tenant=u"/,
      "a iss=i $hs tenant=t", "a $rs tenant=u" ],
    [ 'seventeen keys' => qr/more than 16 keys/,
      "a iss=i $hs tenant=t", ("a $hs") x 16 ],
    [ 'seventeen keys in one line' => qr/more than 16 keys/,
      'a iss=i tenant=t alg=HS256' . " key=$keys/jwt.hs256.key" x 17 ],
    [ 'kid before its key' => qr/"kid=" must follow the "key="/,
      "a iss=i kid=1 $hs tenant=t" ],
    [ 'two kid of one key' => qr/"kid=" stands twice/,
      "a iss=i $hs kid=1 kid=2 key=$keys/jwt.hs256.key tenant=t" ],
    [ 'second key of a line is wrong' =>
      qr/nothing\.key" failed \(2:/,
      "a iss=i $hs key=$keys/nothing.key tenant=t" ],
    [ 'algorithm twice' => qr/"alg=" of issuer "a" names RS256 twice/,
      "a iss=i alg=RS256,PS256,RS256 key=$keys/rsa.pub tenant=t" ],
    [ 'empty algorithm in the list' => qr/unknown "alg="/,
      "a iss=i alg=RS256,,PS256 key=$keys/rsa.pub tenant=t" ],
    [ 'none in the list' => qr/unknown "alg=none"/,
      "a iss=i alg=RS256,none key=$keys/rsa.pub tenant=t" ],
    [ 'list of two kinds of key' => qr/is no ES256 key: .*not on the curve/,
      "a iss=i alg=RS256,ES256 key=$keys/rsa.pub tenant=t" ],
    [ 'list of secret and public key' => qr/is no HS256 key: .*no secret/,
      "a iss=i alg=RS256,HS256 key=$keys/rsa.pub tenant=t" ],
    [ 'list with a secret that is short for one' =>
      qr/is no HS512 key: .*shorter than 64 bytes/,
      "a iss=i alg=HS256,HS512 key=$keys/jwt.hs256.key tenant=t" ],
    [ 'P-256 for ES384' => qr/is no ES384 key: .*not on the curve P-384/,
      "a iss=i alg=ES384 key=$keys/ec.pub tenant=t" ],
    [ 'P-384 for ES256' => qr/is no ES256 key: .*not on the curve P-256/,
      "a iss=i alg=ES256 key=$keys/ec384.pub tenant=t" ],
    [ 'RSA for EdDSA' => qr/is no EdDSA key: .*not Ed25519/,
      "a iss=i alg=EdDSA key=$keys/rsa.pub tenant=t" ],
    [ 'RSA of 1024 bits for PS256' => qr/shorter than 2048 bits/,
      "a iss=i alg=PS256 key=$keys/weak.pub tenant=t" ],
    [ 'no such file' => qr/nothing\.key" failed \(2:/,
      "a iss=i alg=HS256 key=$keys/nothing.key tenant=t" ],
    [ 'folder' => qr/is no file/, "a iss=i alg=HS256 key=$keys tenant=t" ],
    [ 'short secret' => qr/shorter than 32 bytes: make one with/,
      "a iss=i alg=HS256 key=$keys/short.key tenant=t" ],
    [ 'empty secret' => qr/shorter than 32 bytes/,
      "a iss=i alg=HS256 key=$keys/empty.key tenant=t" ],
    [ 'large secret' => qr/larger than 65536 bytes/,
      "a iss=i alg=HS256 key=$keys/large.key tenant=t" ],
    [ 'public key as secret' => qr/no HS256 key: .*no secret/,
      "a iss=i alg=HS256 key=$keys/rsa.pub tenant=t" ],
    [ 'secret as public key' => qr/no RS256 key: it is no public key/,
      "a iss=i alg=RS256 key=$keys/jwt.hs256.key tenant=t" ],
    [ 'private key' => qr/no RS256 key: it holds a private key/,
      "a iss=i alg=RS256 key=$keys/rsa.key tenant=t" ],
    [ 'RSA of 1024 bits' => qr/shorter than 2048 bits/,
      "a iss=i alg=RS256 key=$keys/weak.pub tenant=t" ],
    [ 'elliptic key' => qr/not RSA/,
      "a iss=i alg=RS256 key=$keys/ec.pub tenant=t" ],
)
{
    my ($name, $message, @lines) = @$_;

    my ($status, $out) = check(@lines);
    is $status, 1, "$name: refused";
    like $out, qr/\[emerg\].*$message/, "$name: says why";
}

$t->finish;
done_testing;
