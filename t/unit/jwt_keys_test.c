/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * Key files: which are taken, which are refused and why.
 */

#include "jwt_sign.h"


#define RFC_A2_N                                                            \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"      \
    "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"      \
    "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs"      \
    "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"      \
    "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"      \
    "PAcDTW9gb54h4FRWyuXpoQ"


/* Refused, and the message says so. */

static void
refuse(const char *alg, const void *data, size_t len, const char *message)
{
    const char    *err;
    tf_jwa_key_t  *key;

    err = NULL;
    key = tf_jwa_key_create(tf_jwa_find(alg, strlen(alg)), NULL, 0, data,
                            len, &err);

    if (key != NULL) {
        tf_jwa_key_free(key);
        fail_msg("a key that should say \"%s\" was taken", message);
    }

    assert_non_null(err);
    assert_non_null(strstr(err, message));
    assert_int_equal(ERR_peek_error(), 0);
}


static char *
pem_and_free(EVP_PKEY *pkey)
{
    char  *pem;

    assert_non_null(pkey);
    pem = jwt_pem(pkey, 0);
    EVP_PKEY_free(pkey);

    return pem;
}


static EVP_PKEY *
generate(const char *type)
{
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &pkey), 1);
    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


static void
take(const char *alg, const void *data, size_t len)
{
    tf_jwa_key_free(jwt_key(alg, NULL, data, len));
}


static void
secret_needs_32_bytes(void **state)
{
    (void) state;

    refuse("HS256", "", 0, "shorter than 32 bytes");
    refuse("HS256", "\n", 1, "shorter than 32 bytes");
    refuse("HS256", SECRET, 31, "shorter than 32 bytes");
    refuse("HS256", "0123456789abcdef0123456789abcde\n", 32,
           "shorter than 32 bytes");
    take("HS256", SECRET, 32);
}


/* As many bytes as the digest: RFC 7518, 3.2. */

static void
longer_digests_need_longer_secrets(void **state)
{
    (void) state;

    refuse("HS384", SECRET64, 47, "shorter than 48 bytes");
    refuse("HS384", SECRET, 32, "shorter than 48 bytes");
    refuse("HS512", SECRET64, 63, "shorter than 64 bytes");
    refuse("HS512", SECRET, 32, "shorter than 64 bytes");
    take("HS384", SECRET64, 48);
    take("HS512", SECRET64, 64);
}


/* The line end of text does not count, a byte of a binary secret does. */

static void
secret_ends_where_its_text_ends(void **state)
{
    size_t              i, slen;
    tf_jwa_key_t       *key;
    unsigned char       sig[64];
    jwt_signer_t        by;
    tf_jwa_verdict_t    verdict;
    static const struct {
        const char        *file;
        size_t             len;
        size_t             used;
    } files[] = {
        { SECRET "\n", 33, 32 },
        { SECRET "\r\n", 34, 32 },
        { SECRET "\n\n", 34, 34 },
        { SECRET " ", 33, 33 },
        { SECRET "\x01\n", 34, 34 },
        { SECRET "\xff\n", 34, 34 },
        { SECRET "\0\n", 34, 34 },
    };

    (void) state;

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        key = jwt_key("HS256", NULL, files[i].file, files[i].len);

        by.alg = "HS256";
        by.secret = files[i].file;
        by.secret_len = files[i].used;

        slen = jwt_unbase64url(sig, jwt_sign(&by, "a.b"));

        verdict = tf_jwa_verify(key, tf_jwa_find("HS256", 5),
                                (const unsigned char *) "a.b", 3, sig, slen);
        tf_jwa_key_free(key);

        assert_int_equal(verdict, TF_JWA_OK);
    }
}


static void
public_text_is_no_secret(void **state)
{
    int             n;
    char           *pem;
    unsigned char  *der;
    static char     jwk[] = "{\"kty\":\"oct\",\"k\":\"" SECRET "\"}";

    (void) state;

    pem = jwt_pem(jwt_by.rs.pkey, 0);
    refuse("HS256", pem, strlen(pem), "no secret");

    pem = jwt_pem(jwt_by.rs.pkey, 1);
    refuse("HS256", pem, strlen(pem), "no secret");

    pem = jwt_change(pem, "-----BEGIN", "\n\n  -----BEGIN");
    refuse("HS256", pem, strlen(pem), "no secret");

    der = NULL;
    n = i2d_PUBKEY(jwt_by.rs.pkey, &der);
    assert_true(n > 0);
    refuse("HS256", der, (size_t) n, "no secret");
    OPENSSL_free(der);

    refuse("HS256", jwk, strlen(jwk), "no secret");
    refuse("HS256", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDE me@home", 48,
           "no secret");
}


static void
rsa_rows_need_an_rsa_public_key(void **state)
{
    char           *pem, *private, *weak, *odd, *ec, *ed, *pss, *one, *huge;
    size_t          i;
    unsigned char   n[2049];
    const char     *alg;
    static const char  *algs[] = { "RS256", "RS384", "RS512", "PS256" };

    (void) state;

    pem = jwt_pem(jwt_by.rs.pkey, 0);
    private = jwt_pem(jwt_by.rs.pkey, 1);
    weak = pem_and_free(jwt_rsa(1024));
    odd = pem_and_free(jwt_rsa(2047));
    ec = pem_and_free(EVP_EC_gen("P-256"));
    ed = pem_and_free(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));

    /* a key of the type RSA-PSS may come with rules of its own */

    pss = pem_and_free(generate("RSA-PSS"));

    /* with e = 1 every text is its own signature */

    assert_int_equal(jwt_unbase64url(n, RFC_A2_N), 256);
    one = pem_and_free(jwt_rsa_from(n, 256, 1));

    memset(n, 0x5b, sizeof(n));
    huge = pem_and_free(jwt_rsa_from(n, sizeof(n), 65537));

    for (i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        alg = algs[i];

        take(alg, pem, strlen(pem));
        refuse(alg, pem, strlen(pem) / 2, "no public key");
        refuse(alg, "", 0, "no public key");
        refuse(alg, SECRET, 32, "no public key");
        refuse(alg, private, strlen(private), "private key");
        refuse(alg, weak, strlen(weak), "shorter than 2048");
        refuse(alg, odd, strlen(odd), "shorter than 2048");
        refuse(alg, huge, strlen(huge), "longer than 16384");
        refuse(alg, ec, strlen(ec), "not RSA");
        refuse(alg, ed, strlen(ed), "not RSA");
        refuse(alg, pss, strlen(pss), "not RSA");
        refuse(alg, one, strlen(one), "not a valid one");
    }
}


static void
ecdsa_rows_need_their_curve(void **state)
{
    char           *p256, *p384, *other;
    size_t          i;
    unsigned char   point[65];
    static const char  *curves[] = { "P-521", "secp256k1",
                                     "brainpoolP256r1" };

    (void) state;

    p256 = pem_and_free(EVP_EC_gen("P-256"));
    p384 = pem_and_free(EVP_EC_gen("P-384"));

    take("ES256", p256, strlen(p256));
    take("ES384", p384, strlen(p384));
    refuse("ES256", p384, strlen(p384), "not on the curve P-256");
    refuse("ES384", p256, strlen(p256), "not on the curve P-384");

    for (i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        other = pem_and_free(EVP_EC_gen(curves[i]));
        refuse("ES256", other, strlen(other), "not on the curve P-256");
        refuse("ES384", other, strlen(other), "not on the curve P-384");
    }

    other = jwt_pem(jwt_by.rs.pkey, 0);
    refuse("ES256", other, strlen(other), "not on the curve P-256");
    other = pem_and_free(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    refuse("ES384", other, strlen(other), "not on the curve P-384");
    refuse("ES256", SECRET, 32, "no public key");

    /* a point that is on no curve, and the one at infinity */

    memset(point, 1, sizeof(point));
    point[0] = 4;
    other = jwt_pem_of(JWT_SPKI_P256, point, 65);
    refuse("ES256", other, strlen(other), "no public key");

    other = jwt_pem_of("3019301306072a8648ce3d020106082a8648ce3d030107030200",
                       (const unsigned char *) "", 1);
    refuse("ES256", other, strlen(other), "not a valid one");
}


/* The points of small order take anybody's signature: see jwa_pkey.c. */

static void
eddsa_needs_an_ed25519_key(void **state)
{
    char               *pem;
    size_t              i, n;
    unsigned char       point[32];
    static const char  *weak[] = {
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    };

    (void) state;

    pem = pem_and_free(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    take("EdDSA", pem, strlen(pem));

    for (i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
        assert_int_equal(OPENSSL_hexstr2buf_ex(point, sizeof(point), &n,
                                               weak[i], '\0'), 1);
        pem = jwt_pem_of(JWT_SPKI_ED25519, point, 32);
        refuse("EdDSA", pem, strlen(pem), "not a valid one");
    }

    pem = pem_and_free(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"));
    refuse("EdDSA", pem, strlen(pem), "not Ed25519");
    pem = pem_and_free(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"));
    refuse("EdDSA", pem, strlen(pem), "not Ed25519");
    pem = pem_and_free(EVP_EC_gen("P-256"));
    refuse("EdDSA", pem, strlen(pem), "not Ed25519");
    pem = jwt_pem(jwt_by.rs.pkey, 0);
    refuse("EdDSA", pem, strlen(pem), "not Ed25519");
}


static void
key_file_is_bounded(void **state)
{
    char  *data;

    (void) state;

    data = jwt_alloc(TF_JWA_FILE_MAX + 1);
    memset(data, 'x', TF_JWA_FILE_MAX + 1);

    take("HS256", data, TF_JWA_FILE_MAX);
    refuse("HS256", data, TF_JWA_FILE_MAX + 1, "longer than 65536");
}


static void
algorithms_are_rows(void **state)
{
    size_t               i;
    const tf_jwa_alg_t  *alg;
    static const char   *secret[] = { "HS256", "HS384", "HS512" };
    static const char   *public[] = { "RS256", "RS384", "RS512", "PS256",
                                      "ES256", "ES384", "EdDSA" };

    (void) state;

    for (i = 0; i < 3; i++) {
        alg = tf_jwa_find(secret[i], 5);
        assert_non_null(alg);
        assert_true(tf_jwa_is_secret(alg));
        assert_string_equal(tf_jwa_name(alg), secret[i]);
    }

    for (i = 0; i < 7; i++) {
        alg = tf_jwa_find(public[i], 5);
        assert_non_null(alg);
        assert_false(tf_jwa_is_secret(alg));
        assert_string_equal(tf_jwa_name(alg), public[i]);
    }

    assert_string_equal(tf_jwa_names(), "HS256, HS384, HS512, RS256, RS384, "
                        "RS512, PS256, ES256, ES384, EdDSA");
    assert_null(tf_jwa_find("none", 4));
    assert_null(tf_jwa_find("", 0));
    assert_null(tf_jwa_find("HS256\0", 6));
    assert_null(tf_jwa_find("hs256", 5));
    assert_null(tf_jwa_find("EDDSA", 5));
}


/* A key that one more row refuses serves those that it served. */

static void
key_gets_rows_one_by_one(void **state)
{
    char                 *pem;
    tf_jwa_key_t         *key;
    const unsigned char  *data;
    const tf_jwa_alg_t   *rs256, *rs512, *es256, *hs256;

    (void) state;

    rs256 = tf_jwa_find("RS256", 5);
    rs512 = tf_jwa_find("RS512", 5);
    es256 = tf_jwa_find("ES256", 5);
    hs256 = tf_jwa_find("HS256", 5);

    pem = jwt_pem(jwt_by.rs.pkey, 0);
    data = (const unsigned char *) pem;

    key = jwt_key("RS256", "k", pem, strlen(pem));
    assert_false(tf_jwa_key_fits(key, rs512, "k", 1));

    assert_null(tf_jwa_key_add(key, rs512, data, strlen(pem)));
    assert_true(tf_jwa_key_fits(key, rs512, "k", 1));
    assert_false(tf_jwa_key_fits(key, rs512, "x", 1));
    assert_false(tf_jwa_key_fits(key, rs512, NULL, 0));

    assert_non_null(tf_jwa_key_add(key, es256, data, strlen(pem)));
    assert_non_null(tf_jwa_key_add(key, hs256, data, strlen(pem)));
    assert_false(tf_jwa_key_fits(key, es256, "k", 1));
    assert_false(tf_jwa_key_fits(key, hs256, "k", 1));
    assert_true(tf_jwa_key_fits(key, rs256, "k", 1));
    assert_int_equal(ERR_peek_error(), 0);

    tf_jwa_key_free(key);
}


static void
key_serves_its_algorithm_and_kid(void **state)
{
    tf_jwa_key_t        *key;
    const tf_jwa_alg_t  *hs, *rs;

    (void) state;

    hs = tf_jwa_find("HS256", 5);
    rs = tf_jwa_find("RS256", 5);

    key = jwt_key("HS256", "k1", SECRET, 32);
    assert_true(tf_jwa_key_fits(key, hs, "k1", 2));
    assert_false(tf_jwa_key_fits(key, rs, "k1", 2));
    assert_false(tf_jwa_key_fits(key, hs, "k2", 2));
    assert_false(tf_jwa_key_fits(key, hs, "k", 1));
    assert_false(tf_jwa_key_fits(key, hs, "k10", 3));
    assert_false(tf_jwa_key_fits(key, hs, "", 0));
    assert_false(tf_jwa_key_fits(key, hs, NULL, 0));
    tf_jwa_key_free(key);

    key = jwt_key("HS256", NULL, SECRET, 32);
    assert_true(tf_jwa_key_fits(key, hs, "k1", 2));
    assert_true(tf_jwa_key_fits(key, hs, NULL, 0));
    assert_false(tf_jwa_key_fits(key, rs, NULL, 0));
    tf_jwa_key_free(key);
}


int
main(void)
{
    int                             rc;
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(secret_needs_32_bytes),
        cmocka_unit_test(secret_ends_where_its_text_ends),
        cmocka_unit_test(public_text_is_no_secret),
        cmocka_unit_test(longer_digests_need_longer_secrets),
        cmocka_unit_test(rsa_rows_need_an_rsa_public_key),
        cmocka_unit_test(ecdsa_rows_need_their_curve),
        cmocka_unit_test(eddsa_needs_an_ed25519_key),
        cmocka_unit_test(key_gets_rows_one_by_one),
        cmocka_unit_test(key_file_is_bounded),
        cmocka_unit_test(algorithms_are_rows),
        cmocka_unit_test(key_serves_its_algorithm_and_kid),
    };

    jwt_setup();

    rc = cmocka_run_group_tests_name("jwt keys", tests, NULL, NULL);

    jwt_teardown();

    return rc;
}
