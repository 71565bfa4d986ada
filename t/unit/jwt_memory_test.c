/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c */

/*
 * The Nth allocation fails, for every N: nothing crashes or leaks, and a
 * token is never good by accident.  The allocations are those of jansson and
 * OpenSSL; the code under test makes none of its own.
 */

#include "jwt_token.h"


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


static void
key_with_failures(const char *alg, const char *data, size_t len)
{
    long           n, total;
    const char    *err;
    tf_jwa_key_t  *key;

    tf_jwa_key_free(jwt_key(alg, "k", data, len));

    made = 0;
    tf_jwa_key_free(jwt_key(alg, "k", data, len));
    total = made;

    for (n = 0; n < total; n++) {
        err = NULL;
        budget = n;
        key = tf_jwa_key_create(tf_jwa_find(alg, strlen(alg)), "k", 1,
                                (const unsigned char *) data, len, &err);
        budget = -1;

        if (key == NULL) {
            assert_non_null(err);
        }

        tf_jwa_key_free(key);
        assert_int_equal(ERR_peek_error(), 0);
    }
}


static void
keys(void **state)
{
    char  *pem;

    (void) state;

    pem = jwt_pem(jwt_by.rs.pkey, 0);

    key_with_failures("HS256", SECRET, 32);
    key_with_failures("RS256", pem, strlen(pem));
}


int
main(void)
{
    int                             rc;
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(good_hs256_token),
        cmocka_unit_test(good_rs256_token),
        cmocka_unit_test(bad_hs256_token),
        cmocka_unit_test(bad_rs256_token),
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

    rc = cmocka_run_group_tests_name("jwt memory", tests, NULL, NULL);

    jwt_teardown();

    return rc;
}
