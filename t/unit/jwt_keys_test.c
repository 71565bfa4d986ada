/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c */

/*
 * Key files: which are taken, which are refused and why, and the examples
 * of RFC 7515, appendices A.1 (HS256) and A.2 (RS256).
 */

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "jwt_token.h"


#define RFC_PAYLOAD                                                         \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"      \
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

#define RFC_A1_INPUT  "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_PAYLOAD
#define RFC_A1_SIG    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define RFC_A1_KEY                                                          \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i"      \
    "PS4hcgUuTwjAzZr1Z9CAow"

#define RFC_A2_INPUT  "eyJhbGciOiJSUzI1NiJ9." RFC_PAYLOAD
#define RFC_A2_SIG                                                          \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"      \
    "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"      \
    "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"      \
    "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"      \
    "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"      \
    "p0igcN_IoypGlUPQGe77Rw"
#define RFC_A2_N                                                            \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"      \
    "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"      \
    "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs"      \
    "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"      \
    "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"      \
    "PAcDTW9gb54h4FRWyuXpoQ"


static size_t
unbase64url(unsigned char *dst, const char *src)
{
    size_t             n;
    unsigned           acc, bits;
    const char        *at;
    static const char  set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789-_";

    for (n = 0, acc = 0, bits = 0; *src; src++) {
        at = strchr(set, *src);
        assert_non_null(at);
        acc = (acc << 6 | (unsigned) (at - set)) & 0xffff;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            dst[n++] = (unsigned char) (acc >> bits);
        }
    }

    return n;
}


static EVP_PKEY *
rsa_from(const unsigned char *n, size_t len, unsigned e)
{
    BIGNUM          *bn;
    EVP_PKEY        *pkey;
    OSSL_PARAM      *params;
    EVP_PKEY_CTX    *ctx;
    OSSL_PARAM_BLD  *bld;

    pkey = NULL;
    bn = BN_bin2bn(n, (int) len, NULL);
    bld = OSSL_PARAM_BLD_new();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_non_null(bn);
    assert_non_null(bld);
    assert_non_null(ctx);

    assert_int_equal(OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn),
                     1);
    assert_int_equal(OSSL_PARAM_BLD_push_uint(bld, OSSL_PKEY_PARAM_RSA_E, e),
                     1);
    params = OSSL_PARAM_BLD_to_param(bld);
    assert_non_null(params);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY,
                                       params), 1);

    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    BN_free(bn);

    return pkey;
}


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


static void
take(const char *alg, const void *data, size_t len)
{
    tf_jwa_key_free(jwt_key(alg, NULL, data, len));
}


static void
rfc7515_a1(void **state)
{
    size_t            klen, slen;
    tf_jwa_key_t     *key;
    tf_jwt_issuer_t   issuer;
    tf_jwt_identity_t id;
    unsigned char     secret[64], sig[64];
    const char       *token;

    (void) state;

    klen = unbase64url(secret, RFC_A1_KEY);
    slen = unbase64url(sig, RFC_A1_SIG);
    assert_int_equal(klen, 64);

    key = jwt_key("HS256", NULL, secret, klen);

    assert_int_equal(tf_jwa_verify(key, (const unsigned char *) RFC_A1_INPUT,
                                   strlen(RFC_A1_INPUT), sig, slen),
                     TF_JWA_OK);

    sig[31] ^= 1;
    assert_int_equal(tf_jwa_verify(key, (const unsigned char *) RFC_A1_INPUT,
                                   strlen(RFC_A1_INPUT), sig, slen),
                     TF_JWA_MISMATCH);

    /* the token as a whole is signed well, but it is nobody's */

    memset(&issuer, 0, sizeof(issuer));
    issuer.name = jwt_str("rfc");
    issuer.iss = jwt_str("joe");
    issuer.tenant = jwt_str("t");
    issuer.keys[0] = key;
    issuer.nkeys = 1;

    token = RFC_A1_INPUT "." RFC_A1_SIG;

    assert_int_equal(tf_jwt_check(&id, (const unsigned char *) token,
                                  strlen(token), &issuer, 1, 1300000000, 0),
                     TF_JWT_INVALID);
    assert_int_equal(id.reason, TF_JWT_R_SUB);

    tf_jwa_key_free(key);
}


static void
rfc7515_a2(void **state)
{
    char           *pem;
    size_t          slen, nlen;
    EVP_PKEY       *pkey;
    tf_jwa_key_t   *key;
    unsigned char   n[256], sig[256];

    (void) state;

    nlen = unbase64url(n, RFC_A2_N);
    slen = unbase64url(sig, RFC_A2_SIG);
    assert_int_equal(nlen, 256);

    pkey = rsa_from(n, nlen, 65537);
    pem = jwt_pem(pkey, 0);
    EVP_PKEY_free(pkey);

    key = jwt_key("RS256", NULL, pem, strlen(pem));

    assert_int_equal(tf_jwa_verify(key, (const unsigned char *) RFC_A2_INPUT,
                                   strlen(RFC_A2_INPUT), sig, slen),
                     TF_JWA_OK);

    sig[255] ^= 1;
    assert_int_equal(tf_jwa_verify(key, (const unsigned char *) RFC_A2_INPUT,
                                   strlen(RFC_A2_INPUT), sig, slen),
                     TF_JWA_MISMATCH);
    assert_int_equal(ERR_peek_error(), 0);

    tf_jwa_key_free(key);
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

        slen = unbase64url(sig, jwt_sign(&by, "a.b"));

        verdict = tf_jwa_verify(key, (const unsigned char *) "a.b", 3, sig,
                                slen);
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
rs256_needs_an_rsa_public_key(void **state)
{
    char           *pem;
    EVP_PKEY       *pkey;
    unsigned char   n[256];

    (void) state;

    pem = jwt_pem(jwt_by.rs.pkey, 0);
    take("RS256", pem, strlen(pem));
    refuse("RS256", pem, strlen(pem) / 2, "no public key");
    refuse("RS256", "", 0, "no public key");
    refuse("RS256", SECRET, 32, "no public key");

    pem = jwt_pem(jwt_by.rs.pkey, 1);
    refuse("RS256", pem, strlen(pem), "private key");

    pkey = jwt_rsa(1024);
    pem = jwt_pem(pkey, 0);
    refuse("RS256", pem, strlen(pem), "shorter than 2048");
    EVP_PKEY_free(pkey);

    pkey = jwt_rsa(2047);
    pem = jwt_pem(pkey, 0);
    refuse("RS256", pem, strlen(pem), "shorter than 2048");
    EVP_PKEY_free(pkey);

    pkey = EVP_EC_gen("P-256");
    assert_non_null(pkey);
    pem = jwt_pem(pkey, 0);
    refuse("RS256", pem, strlen(pem), "not RSA");
    EVP_PKEY_free(pkey);

    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(pkey);
    pem = jwt_pem(pkey, 0);
    refuse("RS256", pem, strlen(pem), "not RSA");
    EVP_PKEY_free(pkey);

    /* with e = 1 every text is its own signature */

    assert_int_equal(unbase64url(n, RFC_A2_N), 256);
    pkey = rsa_from(n, sizeof(n), 1);
    pem = jwt_pem(pkey, 0);
    refuse("RS256", pem, strlen(pem), "not a valid one");
    EVP_PKEY_free(pkey);
}


static void
rsa_pss_key_is_not_for_rs256(void **state)
{
    char          *pem;
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;

    (void) state;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &pkey), 1);

    pem = jwt_pem(pkey, 0);
    refuse("RS256", pem, strlen(pem), "not RSA");

    EVP_PKEY_free(pkey);
    EVP_PKEY_CTX_free(ctx);
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
    (void) state;

    assert_non_null(tf_jwa_find("HS256", 5));
    assert_non_null(tf_jwa_find("RS256", 5));
    assert_non_null(strstr(tf_jwa_names(), "RS256"));
    assert_true(tf_jwa_is_secret(tf_jwa_find("HS256", 5)));
    assert_false(tf_jwa_is_secret(tf_jwa_find("RS256", 5)));
    assert_null(tf_jwa_find("none", 4));
    assert_null(tf_jwa_find("", 0));
    assert_null(tf_jwa_find("HS256\0", 6));
    assert_null(tf_jwa_find("hs256", 5));
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
        cmocka_unit_test(rfc7515_a1),
        cmocka_unit_test(rfc7515_a2),
        cmocka_unit_test(secret_needs_32_bytes),
        cmocka_unit_test(secret_ends_where_its_text_ends),
        cmocka_unit_test(public_text_is_no_secret),
        cmocka_unit_test(rs256_needs_an_rsa_public_key),
        cmocka_unit_test(rsa_pss_key_is_not_for_rs256),
        cmocka_unit_test(key_file_is_bounded),
        cmocka_unit_test(algorithms_are_rows),
        cmocka_unit_test(key_serves_its_algorithm_and_kid),
    };

    jwt_setup();

    rc = cmocka_run_group_tests_name("jwt keys", tests, NULL, NULL);

    jwt_teardown();

    return rc;
}
