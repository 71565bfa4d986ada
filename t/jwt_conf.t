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
system("openssl genrsa -out '$keys/weak.key' 1024 2>/dev/null &&"
       . " openssl rsa -in '$keys/weak.key' -pubout -out '$keys/weak.pub'"
       . ' 2>/dev/null') == 0 or die "openssl failed\n";


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
    [ 'eight keys' => "a iss=i $hs tenant=t", ("a $hs") x 7 ],
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
    [ 'alg none' => qr/unknown "alg=none".*known are HS256, RS256/,
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
    [ 'nine keys' => qr/more than 8 keys/,
      "a iss=i $hs tenant=t", ("a $hs") x 8 ],
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

    if ($name eq 'elliptic key') {
        system("openssl pkey -in '$keys/tls.key' -pubout"
               . " -out '$keys/ec.pub'") == 0 or die "openssl failed\n";
    }

    my ($status, $out) = check(@lines);
    is $status, 1, "$name: refused";
    like $out, qr/\[emerg\].*$message/, "$name: says why";
}

$t->finish;
done_testing;
