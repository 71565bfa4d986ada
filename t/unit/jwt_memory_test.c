/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * The Nth allocation fails, for every N: nothing crashes or leaks, and a
 * token is never good by accident.  The allocations are those of jansson and
 * OpenSSL; the code under test makes none of its own.
 */

#include <limits.h>

#include "jwt_sign.h"


static long  budget = -1;           /* allocations left; -1: no limit */
static long  made;


static int
fails(void)
{
    made++;

    if (budget < 0) {
        return 0;
    }

    if (budget == 0) {
        return 1;
    }

    budget--;

    return 0;
}


static void *
json_allocate(size_t size)
{
    return fails() ? NULL : malloc(size);
}


static void *
ssl_allocate(size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    return fails() ? NULL : malloc(size);
}


static void *
ssl_reallocate(void *p, size_t size, const char *file, int line)
{
    (void) file;
    (void) line;

    return fails() ? NULL : realloc(p, size);
}


static void
ssl_release(void *p, const char *file, int line)
{
    (void) file;
    (void) line;

    free(p);
}


/* Returns how many allocations the check needs. */

static long
check_with_failures(const char *token, tf_jwt_verdict_t expected)
{
    long               n, total;
    tf_jwt_verdict_t   verdict;
    tf_jwt_identity_t  id;

    /* once for what OpenSSL fetches and keeps */

    assert_int_equal(jwt_check(&id, token, strlen(token)), expected);
    tf_jwt_release(&id);

    made = 0;
    assert_int_equal(jwt_check(&id, token, strlen(token)), expected);
    tf_jwt_release(&id);

    total = made;

    for (n = 0; n < total; n++) {
        budget = n;
        verdict = jwt_check(&id, token, strlen(token));
        budget = -1;

        if (verdict == TF_JWT_OK) {

            /* only what the verdict does not hang on may have failed */

            assert_int_equal(expected, TF_JWT_OK);
            assert_string_equal(id.tenant.data, "acme");
            assert_int_equal(json_array_size(id.groups), 3);
            assert_int_equal(json_array_size(id.scopes), 3);

        } else {
            jwt_assert_nobody(&id);
        }

        tf_jwt_release(&id);
        assert_int_equal(ERR_peek_error(), 0);
    }

    budget = -1;
    assert_int_equal(jwt_check(&id, token, strlen(token)), expected);
    tf_jwt_release(&id);

    return total;
}


static void
good_hs256_token(void **state)
{
    (void) state;

    assert_true(check_with_failures(
                    jwt_make(&jwt_by.hs, HEADER_HS, strlen(HEADER_HS),
                             PAYLOAD(ISS_HS), strlen(PAYLOAD(ISS_HS))),
                    TF_JWT_OK)
                > 20);
}


static void
good_rs256_token(void **state)
{
    (void) state;

    assert_true(check_with_failures(
                    jwt_make(&jwt_by.rs, HEADER_RS, strlen(HEADER_RS),
                             PAYLOAD(ISS_RS), strlen(PAYLOAD(ISS_RS))),
                    TF_JWT_OK)
                > 20);
}


static void
bad_hs256_token(void **state)
{
    (void) state;

    (void) check_with_failures(
               jwt_make(&jwt_by.other, HEADER_HS, strlen(HEADER_HS),
                        PAYLOAD(ISS_HS), strlen(PAYLOAD(ISS_HS))),
               TF_JWT_INVALID);
}


static void
bad_rs256_token(void **state)
{
    (void) state;

    (void) check_with_failures(
               jwt_make(&jwt_by.rs_other, HEADER_RS, strlen(HEADER_RS),
                        PAYLOAD(ISS_RS), strlen(PAYLOAD(ISS_RS))),
               TF_JWT_INVALID);
}


/*
 * The other algorithms: keys without a kid of the issuer "hs", so that the
 * token is otherwise the one above.
 */

static const char  *algs[] = { "HS384", "HS512", "RS384", "RS512", "PS256",
                               "ES256", "ES384", "EdDSA" };

#define NALGS  (sizeof(algs) / sizeof(algs[0]))

static jwt_signer_t  signers[NALGS];
static const char   *files[NALGS];


static void
setup_algs(void)
{
    size_t  i;

    for (i = 0; i < NALGS; i++) {

        if (algs[i][0] == 'H') {
            signers[i].secret = SECRET64;
            signers[i].secret_len = 64;
            files[i] = SECRET64;
            continue;
        }

        signers[i].pkey = strcmp(algs[i], "ES256") == 0 ? EVP_EC_gen("P-256")
                          : strcmp(algs[i], "ES384") == 0 ? EVP_EC_gen("P-384")
                          : strcmp(algs[i], "EdDSA") == 0
                          ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                          : jwt_rsa(2048);
        files[i] = jwt_pem(signers[i].pkey, 0);
    }
}


static void
other_algorithms(void **state)
{
    char             *input, header[64];
    size_t            i, len;
    tf_jwa_key_t     *key;
    unsigned char     sig[2048];

    (void) state;

    for (i = 0; i < NALGS; i++) {
        key = jwt_key(algs[i], NULL, files[i], strlen(files[i]));
        jwt_issuers[0].keys[jwt_issuers[0].nkeys++] = key;

        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", algs[i]);
        input = jwt_join(header, PAYLOAD(ISS_HS));
        len = jwt_sign_with(sig, algs[i], &signers[i], input);

        assert_true(check_with_failures(jwt_seal(input, sig, len), TF_JWT_OK)
                    > 20);

        sig[len - 1] ^= 1;
        (void) check_with_failures(jwt_seal(input, sig, len), TF_JWT_INVALID);

        jwt_issuers[0].nkeys--;
        tf_jwa_key_free(key);
    }
}


/*
 * Reading PEM takes OpenSSL some three thousand allocations, the same for
 * every public key.  One key walks through all, the others through as many
 * at the end as cover what is done with the key that was read.
 */

static void
key_with_failures(const char *alg, const char *data, long tail)
{
    long                  n, total, more;
    size_t                len;
    const char           *err;
    tf_jwa_key_t         *key;
    const tf_jwa_alg_t   *row;
    const unsigned char  *bytes;

    row = tf_jwa_find(alg, strlen(alg));
    bytes = (const unsigned char *) data;
    len = strlen(data);

    tf_jwa_key_free(jwt_key(alg, "k", data, len));

    made = 0;
    key = jwt_key(alg, "k", data, len);
    total = made;
    assert_null(tf_jwa_key_add(key, row, bytes, len));
    more = made - total;
    tf_jwa_key_free(key);

    for (n = total < tail ? 0 : total - tail; n < total; n++) {
        err = NULL;
        budget = n;
        key = tf_jwa_key_create(row, "k", 1, bytes, len, &err);
        budget = -1;

        if (key == NULL) {
            assert_non_null(err);
        }

        tf_jwa_key_free(key);
        assert_int_equal(ERR_peek_error(), 0);
    }

    key = jwt_key(alg, "k", data, len);

    for (n = more < 250 ? 0 : more - 250; n < more; n++) {
        budget = n;
        (void) tf_jwa_key_add(key, row, bytes, len);
        budget = -1;

        assert_true(tf_jwa_key_fits(key, row, "k", 1));
        assert_int_equal(ERR_peek_error(), 0);
    }

    tf_jwa_key_free(key);
}


static void
keys(void **state)
{
    size_t  i;

    (void) state;

    key_with_failures("HS256", SECRET, LONG_MAX);
    key_with_failures("RS256", jwt_pem(jwt_by.rs.pkey, 0), LONG_MAX);

    for (i = 0; i < NALGS; i++) {
        key_with_failures(algs[i], files[i],
                          strcmp(algs[i], "EdDSA") == 0 ? 400 : 250);
    }
}


int
main(void)
{
    int                             rc;
    size_t                          i;
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(good_hs256_token),
        cmocka_unit_test(good_rs256_token),
        cmocka_unit_test(bad_hs256_token),
        cmocka_unit_test(bad_rs256_token),
        cmocka_unit_test(other_algorithms),
        cmocka_unit_test(keys),
    };

    if (CRYPTO_set_mem_functions(ssl_allocate, ssl_reallocate, ssl_release)
        != 1)
    {
        fprintf(stderr, "OpenSSL has allocated before main()\n");
        return 1;
    }

    json_set_alloc_funcs(json_allocate, free);

    jwt_setup();
    setup_algs();

    rc = cmocka_run_group_tests_name("jwt memory", tests, NULL, NULL);

    for (i = 0; i < NALGS; i++) {
        EVP_PKEY_free(signers[i].pkey);
    }

    jwt_teardown();

    return rc;
}
