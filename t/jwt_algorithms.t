#!/usr/bin/perl

# Every algorithm against the real module in a real nginx, over HTTPS, with
# tokens that openssl signed.
#
# Every hostile token is one that is accepted, with one change: its key, its
# way of signing, what its header says, or the bytes of its signature.

use strict;
use warnings;

use Test::More;
use Digest::SHA qw(hmac_sha256 hmac_sha384 hmac_sha512);
use FindBin;
use lib "$FindBin::Bin/lib";
use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0);
my $keys = "$t->{dir}/secrets";

for ([ rsa2 => 'RSA -pkeyopt rsa_keygen_bits:2048' ],
     [ p256 => 'EC -pkeyopt ec_paramgen_curve:P-256' ],
     [ p256b => 'EC -pkeyopt ec_paramgen_curve:P-256' ],
     [ p384 => 'EC -pkeyopt ec_paramgen_curve:P-384' ],
     [ p384b => 'EC -pkeyopt ec_paramgen_curve:P-384' ],
     [ ed => 'ED25519' ], [ ed2 => 'ED25519' ])
{
    my ($name, $how) = @$_;
    system("openssl genpkey -algorithm $how -out '$keys/$name.key'"
           . " 2>/dev/null && openssl pkey -in '$keys/$name.key' -pubout"
           . " -out '$keys/$name.pub'") == 0 or die "openssl failed\n";
}

my $secret = join '', map { chr } 100 .. 163;
$t->write_file("$keys/mac.key", $secret, 0600);

# iss => algorithms and key files
my %issuer = (
    hs384 => "alg=HS384 key=$keys/mac.key",
    hs512 => "alg=HS512 key=$keys/mac.key",
    rs384 => "alg=RS384 key=$keys/rsa.pub",
    rs512 => "alg=RS512 key=$keys/rsa.pub",
    ps256 => "alg=PS256 key=$keys/rsa.pub",
    es256 => "alg=ES256 key=$keys/p256.pub",
    es384 => "alg=ES384 key=$keys/p384.pub",
    eddsa => "alg=EdDSA key=$keys/ed.pub",
    list  => "alg=RS256,RS384,PS256 key=$keys/rsa.pub",
    two   => "alg=ES256 key=$keys/p256.pub kid=a key=$keys/p256b.pub kid=b",
);

$t->{opt}{issuers} = join '', map {
    "    trifecta_jwt_issuer $_ iss=$_ aud=trifecta tenant=acme $issuer{$_};\n"
} sort keys %issuer;

# the keys of an issuer that moves from one algorithm to another
$t->{opt}{issuers} .= <<"END";
    trifecta_jwt_issuer moving iss=moving aud=trifecta tenant=acme
        alg=RS256 key=$keys/rsa.pub kid=old;
    trifecta_jwt_issuer moving alg=EdDSA key=$keys/ed.pub kid=new
        key=$keys/ed2.pub;
END

$t->write_conf;
$t->start_all;


# Signatures

my $file = "$t->{dir}/run/input";

sub openssl {
    my ($command, $input) = @_;
    $t->write_file($file, $input);
    my $sig = qx(openssl $command '$file' 2>&1);
    die "openssl $command: $sig\n" if $?;
    return $sig;
}

# r and s of a signature in DER, as two numbers of n bytes
sub raw {
    my ($der, $n) = @_;
    my ($r, $s) = unpack 'x2 x C/a x C/a', $der;
    return join '', map { substr(("\0" x $n) . $_, -$n) } $r, $s;
}

sub der {
    my ($raw) = @_;
    my $n = length($raw) / 2;
    my $body = join '', map {
        s/^\0+//;
        $_ = "\0$_" if ord($_) > 127;
        pack 'C C/a', 2, $_
    } unpack "a$n a$n", $raw;
    return pack 'C C/a', 48, $body;
}

sub rsa { my ($sha, $key) = @_;
    sub { openssl("dgst -sha$sha -binary -sign '$keys/$key.key'", $_[0]) } }

sub pss { my ($sha, $salt, $key, $mgf1) = @_;
    sub { openssl("dgst -sha$sha -binary -sigopt rsa_padding_mode:pss"
                  . " -sigopt rsa_pss_saltlen:$salt"
                  . " -sigopt rsa_mgf1_md:sha" . ($mgf1 || $sha)
                  . " -sign '$keys/$key.key'", $_[0]) } }

sub ec { my ($sha, $n, $key) = @_;
    sub { raw(openssl("dgst -sha$sha -binary -sign '$keys/$key.key'", $_[0]),
              $n) } }

sub ed { my ($key) = @_;
    sub { openssl("pkeyutl -sign -rawin -inkey '$keys/$key.key' -in",
                  $_[0]) } }

sub mac { my ($hmac, $key) = @_; sub { $hmac->($_[0], $key) } }

my $p256_n = pack 'H*', 'ffffffff00000000ffffffffffffffff'
                        . 'bce6faada7179e84f3b9cac2fc632551';
my $p384_n = pack 'H*', 'ffffffffffffffffffffffffffffffff'
                        . 'ffffffffffffffffc7634d81f4372ddf'
                        . '581a0db248b0a77aecec196accc52973';

# what a signature is changed to
sub then { my ($sign, $change) = @_; sub { $change->($sign->(@_)) } }
sub cut { substr $_[0], 0, -1 }
sub longer { "$_[0]\0" }
sub zeros { "\0" x length $_[0] }
sub empty { '' }
sub first_bit { "\1" . "\0" x (length($_[0]) - 1) ^ $_[0] }
sub last_bit { "\0" x (length($_[0]) - 1) . "\1" ^ $_[0] }
sub half { substr $_[0], 0, length($_[0]) / 2 }
sub other_half { substr $_[0], length($_[0]) / 2 }
sub no_r { my $s = other_half($_[0]); zeros($s) . $s }
sub no_s { my $r = half($_[0]); $r . zeros($r) }
sub r_is { my ($n) = @_; sub { $n . other_half($_[0]) } }
sub s_is { my ($n) = @_; sub { half($_[0]) . $n } }

sub slurp { $t->read_file("$keys/$_[0]") }

sub token {
    my ($iss, $alg, $sign, %header) = @_;
    return $t->token(iss => $iss, -sign => $sign,
                     -header => { alg => $alg, %header });
}

sub ask {
    return $t->post('/api/v1/query', { query => 'hello?' },
                    token => token(@_));
}


# First: what every case below starts from is accepted.

my %good = (
    HS384 => [ hs384 => mac(\&hmac_sha384, $secret) ],
    HS512 => [ hs512 => mac(\&hmac_sha512, $secret) ],
    RS384 => [ rs384 => rsa(384, 'rsa') ],
    RS512 => [ rs512 => rsa(512, 'rsa') ],
    PS256 => [ ps256 => pss(256, 32, 'rsa') ],
    ES256 => [ es256 => ec(256, 32, 'p256') ],
    ES384 => [ es384 => ec(384, 48, 'p384') ],
    EdDSA => [ eddsa => ed('ed') ],
);

for my $alg (sort keys %good) {
    my ($iss, $sign) = @{ $good{$alg} };

    # more than once: the signatures of most are another each time
    for my $n (1 .. 3) {
        my $res = ask($iss, $alg, $sign);
        is $res->{status}, 202, "$alg is accepted" or diag $res->{content};
    }
}

for ([ RS256 => rsa(256, 'rsa') ], [ RS384 => rsa(384, 'rsa') ],
     [ PS256 => pss(256, 32, 'rsa') ])
{
    is ask('list', @$_)->{status}, 202, "$_->[0], one of a list, is accepted";
}

for ([ p256 => 'a' ], [ p256b => 'b' ]) {
    my ($key, $kid) = @$_;
    is ask('two', 'ES256', ec(256, 32, $key), kid => $kid)->{status}, 202,
        "key $kid of two in one line";
}

is ask('moving', 'RS256', rsa(256, 'rsa'), kid => 'old')->{status}, 202,
    'the old key of an issuer that moves to another algorithm';
is ask('moving', 'EdDSA', ed('ed'), kid => 'new')->{status}, 202,
    'and its new one';
is ask('moving', 'EdDSA', ed('ed2'), kid => 'whatever')->{status}, 202,
    'and one without a kid, in the same line';


my $signature = qr/the token's signature is wrong/;
my $key = qr/no key for its "alg" and "kid"/;
my $alg = qr/"alg" is not accepted/;

my @hostile;

# the bytes of the signature, whatever the algorithm
for my $name (sort keys %good) {
    my ($iss, $sign) = @{ $good{$name} };
    my %change = (cut => \&cut, longer => \&longer, zeros => \&zeros,
                  empty => \&empty, half => \&half, first_bit => \&first_bit,
                  last_bit => \&last_bit);

    push @hostile, map {
        [ "${name}_$_", $signature, $iss, $name, then($sign, $change{$_}) ]
    } sort keys %change;

    push @hostile, [ "${name}_says_none", $alg, $iss, 'none', $sign ],
                   [ "${name}_says_none_unsigned", $alg, $iss, 'none',
                     \&empty ];
}

# two numbers
for ([ ES256 => 'es256', ec(256, 32, 'p256'), $p256_n ],
     [ ES384 => 'es384', ec(384, 48, 'p384'), $p384_n ])
{
    my ($name, $iss, $sign, $n) = @$_;
    my $ones = "\xff" x length $n;
    my %change = (in_der => \&der, r_zero => \&no_r, s_zero => \&no_s,
                  r_is_n => r_is($n), s_is_n => s_is($n),
                  r_above_n => r_is($ones), s_above_n => s_is($ones));

    push @hostile, map {
        [ "${name}_$_", $signature, $iss, $name, then($sign, $change{$_}) ]
    } sort keys %change;
}

push @hostile, (

    # another key, or another algorithm of the family

    [ HS384_of_another_secret => $signature, 'hs384', 'HS384',
      mac(\&hmac_sha384, 'x' x 64) ],
    [ HS384_is_HS256 => $signature, 'hs384', 'HS384',
      mac(\&hmac_sha256, $secret) ],
    [ HS384_says_HS256 => $key, 'hs384', 'HS256',
      mac(\&hmac_sha256, $secret) ],
    [ HS512_with_half_its_secret => $signature, 'hs512', 'HS512',
      mac(\&hmac_sha512, substr $secret, 0, 32) ],
    [ HS512_is_HS384 => $signature, 'hs512', 'HS512',
      mac(\&hmac_sha384, $secret) ],
    [ HS512_says_HS384 => $key, 'hs512', 'HS384',
      mac(\&hmac_sha384, $secret) ],

    [ RS384_of_another_key => $signature, 'rs384', 'RS384',
      rsa(384, 'rsa2') ],
    [ RS384_is_RS256 => $signature, 'rs384', 'RS384', rsa(256, 'rsa') ],
    [ RS384_says_RS256 => $key, 'rs384', 'RS256', rsa(256, 'rsa') ],
    [ RS512_is_PS256 => $signature, 'rs512', 'RS512',
      pss(256, 32, 'rsa') ],
    [ RS512_says_PS256 => $key, 'rs512', 'PS256', pss(256, 32, 'rsa') ],
    [ RS512_public_key_as_secret => $key, 'rs512', 'HS512',
      mac(\&hmac_sha512, slurp('rsa.pub')) ],
    [ RS512_public_key_as_secret_keeping_alg => $signature, 'rs512', 'RS512',
      mac(\&hmac_sha512, slurp('rsa.pub')) ],

    [ PS256_of_another_key => $signature, 'ps256', 'PS256',
      pss(256, 32, 'rsa2') ],
    [ PS256_is_RS256 => $signature, 'ps256', 'PS256', rsa(256, 'rsa') ],
    [ PS256_says_RS256 => $key, 'ps256', 'RS256', rsa(256, 'rsa') ],
    [ PS256_says_PS384 => $alg, 'ps256', 'PS384', pss(384, 48, 'rsa') ],
    [ PS256_is_PS384 => $signature, 'ps256', 'PS256', pss(384, 48, 'rsa') ],
    (map { [ "PS256_salt_of_$_" => $signature, 'ps256', 'PS256',
             pss(256, $_, 'rsa') ] } 0, 20, 31, 33, 222),
    [ PS256_digest_of_384 => $signature, 'ps256', 'PS256',
      pss(384, 32, 'rsa', 256) ],
    [ PS256_mask_of_384 => $signature, 'ps256', 'PS256',
      pss(256, 32, 'rsa', 384) ],

    [ ES256_of_another_key => $signature, 'es256', 'ES256',
      ec(256, 32, 'p256b') ],
    [ ES256_of_the_other_curve => $signature, 'es256', 'ES256',
      ec(256, 48, 'p384') ],
    [ ES256_with_the_other_digest => $signature, 'es256', 'ES256',
      ec(384, 32, 'p256') ],
    [ ES256_says_ES384 => $key, 'es256', 'ES384', ec(384, 48, 'p384') ],
    [ ES256_wide => $signature, 'es256', 'ES256', ec(256, 48, 'p256') ],
    [ ES256_public_key_as_secret => $key, 'es256', 'HS256',
      mac(\&hmac_sha256, slurp('p256.pub')) ],
    [ ES256_public_key_as_secret_keeping_alg => $signature, 'es256', 'ES256',
      mac(\&hmac_sha256, slurp('p256.pub')) ],
    [ ES256_says_ES512 => $alg, 'es256', 'ES512', ec(512, 32, 'p256') ],
    [ ES384_of_another_key => $signature, 'es384', 'ES384',
      ec(384, 48, 'p384b') ],
    [ ES384_of_the_other_curve => $signature, 'es384', 'ES384',
      ec(384, 32, 'p256') ],
    [ ES384_says_ES256 => $key, 'es384', 'ES256', ec(256, 32, 'p256') ],

    [ EdDSA_of_another_key => $signature, 'eddsa', 'EdDSA', ed('ed2') ],
    [ EdDSA_is_ES256 => $signature, 'eddsa', 'EdDSA',
      ec(256, 32, 'p256') ],
    [ EdDSA_says_ES256 => $key, 'eddsa', 'ES256', ed('ed') ],
    [ EdDSA_says_Ed25519 => $alg, 'eddsa', 'Ed25519', ed('ed') ],
    [ EdDSA_neutral_R_and_no_S => $signature, 'eddsa', 'EdDSA',
      sub { "\1" . "\0" x 63 } ],
    [ EdDSA_public_key_as_secret => $key, 'eddsa', 'HS256',
      mac(\&hmac_sha256, slurp('ed.pub')) ],

    # rows and kids of one issuer

    [ list_has_no_RS512 => $key, 'list', 'RS512', rsa(512, 'rsa') ],
    [ list_RS384_is_RS256 => $signature, 'list', 'RS384', rsa(256, 'rsa') ],
    [ list_PS256_is_RS256 => $signature, 'list', 'PS256', rsa(256, 'rsa') ],
    [ two_kid_of_the_other_key => $signature, 'two', 'ES256',
      ec(256, 32, 'p256'), kid => 'b' ],
    [ two_without_kid => $key, 'two', 'ES256', ec(256, 32, 'p256') ],
    [ two_kid_of_no_key => $key, 'two', 'ES256', ec(256, 32, 'p256'),
      kid => 'c' ],
    [ moving_old_kid_with_the_new_alg => $signature, 'moving', 'EdDSA',
      ed('ed'), kid => 'old' ],
    [ moving_new_kid_with_the_old_alg => $key, 'moving', 'RS256',
      rsa(256, 'rsa'), kid => 'new' ],
    [ key_of_another_issuer => $signature, 'eddsa', 'EdDSA', ed('ed2'),
      kid => 'new' ],
);

my $before = $t->snapshot_of_queue;

for (@hostile) {
    my ($name, $why, @token) = @$_;
    my $res = ask(@token);

    subtest "jwt_${name}_is_refused" => sub {
        is $res->{status}, 401, 'status 401' or diag $res->{content};
        is $res->{code}, 'invalid_token', 'invalid_token';
        like $res->{json}{detail}, $why, 'for its own reason';
    };
}

$t->nothing_enqueued($before, 'no hostile token enqueued anything');


# A key that was taken away is gone with the reload, one that was added there.

$t->{opt}{issuers} =~ s/kid=a key=\S+p256b\.pub kid=b/kid=b/ or die;
$t->write_conf;

# the old workers take connections until they have heard of it
my @old = $t->reload;
ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 15), 'reloaded';

is ask('two', 'ES256', ec(256, 32, 'p256b'), kid => 'b')->{status}, 401,
    'a key that was taken away';
is ask('two', 'ES256', ec(256, 32, 'p256'), kid => 'b')->{status}, 202,
    'the key that has its kid now';

unlike $t->log_of($_), qr/eyJ[\w-]{20,}\.eyJ/, "no token in $_.log"
    for qw(error access);

$t->finish;
done_testing;
