/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * Hostile tokens, algorithm by algorithm.  Each is one change away from one
 * that is accepted: its key, its way of signing, what its header says, or
 * the bytes of its signature.  The first row of each algorithm is the
 * unchanged one.
 */

#include "jwt_spoil.h"


#define ISS      "https://algs.example"
#define GOOD     TF_JWT_R_GOOD
#define WRONG    TF_JWT_R_SIGNATURE
#define NO_KEY   TF_JWT_R_KEY


typedef struct {
    const char      *name;
    const char      *key;           /* the rows of the issuer's key */
    const char      *says;          /* the header's alg */
    const char      *method;        /* how it is signed */
    jwt_signer_t    *by;
    void           (*change)(sig_t *sig);
    tf_jwt_reason_t  reason;
} alg_case_t;


static struct {
    jwt_signer_t  mac, mac32, rsa, rsa2, p256, p256b, p384, p384b, ed, ed2;
    jwt_signer_t  rsa_pem, p256_pem, p384_pem, ed_pem;
} by;


/* The name, the key's rows, the header's alg, the method, who, change. */

#define MAC_CASES(alg, other, third)                                          \
    { alg, alg, alg, alg, &by.mac, NULL, GOOD },                              \
    { alg "_says_" other, alg, other, alg, &by.mac, NULL, NO_KEY },           \
    { alg "_says_and_is_" other, alg, other, other, &by.mac, NULL, NO_KEY },  \
    { alg "_is_" other, alg, alg, other, &by.mac, NULL, WRONG },              \
    { alg "_is_" third, alg, alg, third, &by.mac, NULL, WRONG },              \
    { alg "_half_the_secret", alg, alg, alg, &by.mac32, NULL, WRONG },        \
    { alg "_cut", alg, alg, alg, &by.mac, cut_one, WRONG },                   \
    { alg "_cut_in_half", alg, alg, alg, &by.mac, cut_half, WRONG },          \
    { alg "_empty", alg, alg, alg, &by.mac, cut_all, WRONG },                 \
    { alg "_longer", alg, alg, alg, &by.mac, zero_behind, WRONG },            \
    { alg "_twice", alg, alg, alg, &by.mac, twice, WRONG },                   \
    { alg "_first_bit", alg, alg, alg, &by.mac, first_bit, WRONG },           \
    { alg "_last_bit", alg, alg, alg, &by.mac, last_bit, WRONG },             \
    { alg "_zeros", alg, alg, alg, &by.mac, all_zero, WRONG }

#define RSA_CASES(alg, other, third)                                          \
    { alg, alg, alg, alg, &by.rsa, NULL, GOOD },                              \
    { alg "_says_" other, alg, other, alg, &by.rsa, NULL, NO_KEY },           \
    { alg "_says_and_is_" other, alg, other, other, &by.rsa, NULL, NO_KEY },  \
    { alg "_is_" other, alg, alg, other, &by.rsa, NULL, WRONG },              \
    { alg "_is_" third, alg, alg, third, &by.rsa, NULL, WRONG },              \
    { alg "_another_key", alg, alg, alg, &by.rsa2, NULL, WRONG },             \
    { alg "_cut", alg, alg, alg, &by.rsa, cut_one, WRONG },                   \
    { alg "_empty", alg, alg, alg, &by.rsa, cut_all, WRONG },                 \
    { alg "_longer", alg, alg, alg, &by.rsa, zero_behind, WRONG },            \
    { alg "_zero_before", alg, alg, alg, &by.rsa, zero_before, WRONG },       \
    { alg "_first_bit", alg, alg, alg, &by.rsa, first_bit, WRONG },           \
    { alg "_last_bit", alg, alg, alg, &by.rsa, last_bit, WRONG },             \
    { alg "_zeros", alg, alg, alg, &by.rsa, all_zero, WRONG },                \
    { alg "_one", alg, alg, alg, &by.rsa, just_one, WRONG },                  \
    { alg "_ones", alg, alg, alg, &by.rsa, all_ones, WRONG },                 \
    { alg "_public_key_as_secret", alg, "HS256", "HS256", &by.rsa_pem, NULL,  \
      NO_KEY },                                                               \
    { alg "_public_key_as_secret_keeping_alg", alg, alg, "HS256",             \
      &by.rsa_pem, NULL, WRONG }

#define EC_CASES(alg, other, odd, ours, same_curve, other_curve, pem)         \
    { alg, alg, alg, alg, ours, NULL, GOOD },                                 \
    { alg "_says_" other, alg, other, alg, ours, NULL, NO_KEY },              \
    { alg "_says_and_is_" other, alg, other, other, other_curve, NULL,        \
      NO_KEY },                                                               \
    { alg "_is_" other, alg, alg, other, other_curve, NULL, WRONG },          \
    { alg "_of_the_other_digest", alg, alg, odd, ours, NULL, WRONG },         \
    { alg "_another_key", alg, alg, alg, same_curve, NULL, WRONG },           \
    { alg "_in_der", alg, alg, alg, ours, in_der, WRONG },                    \
    { alg "_cut", alg, alg, alg, ours, cut_one, WRONG },                      \
    { alg "_r_alone", alg, alg, alg, ours, cut_half, WRONG },                 \
    { alg "_empty", alg, alg, alg, ours, cut_all, WRONG },                    \
    { alg "_longer", alg, alg, alg, ours, zero_behind, WRONG },               \
    { alg "_zero_before", alg, alg, alg, ours, zero_before, WRONG },          \
    { alg "_twice", alg, alg, alg, ours, twice, WRONG },                      \
    { alg "_r_zero", alg, alg, alg, ours, r_zero, WRONG },                    \
    { alg "_s_zero", alg, alg, alg, ours, s_zero, WRONG },                    \
    { alg "_r_and_s_zero", alg, alg, alg, ours, all_zero, WRONG },            \
    { alg "_r_is_n", alg, alg, alg, ours, r_order, WRONG },                   \
    { alg "_s_is_n", alg, alg, alg, ours, s_order, WRONG },                   \
    { alg "_r_above_n", alg, alg, alg, ours, r_ones, WRONG },                 \
    { alg "_s_above_n", alg, alg, alg, ours, s_ones, WRONG },                 \
    { alg "_swapped", alg, alg, alg, ours, r_and_s_swapped, WRONG },          \
    { alg "_first_bit", alg, alg, alg, ours, first_bit, WRONG },              \
    { alg "_last_bit", alg, alg, alg, ours, last_bit, WRONG },                \
    { alg "_public_key_as_secret", alg, "HS256", "HS256", pem, NULL,          \
      NO_KEY },                                                               \
    { alg "_public_key_as_secret_keeping_alg", alg, alg, "HS256", pem, NULL,  \
      WRONG }


static const alg_case_t  cases[] = {

    MAC_CASES("HS384", "HS256", "HS512"),
    MAC_CASES("HS512", "HS384", "HS256"),
    { "HS256_says_HS512", "HS256", "HS512", "HS512", &by.mac, NULL, NO_KEY },

    RSA_CASES("RS256", "RS384", "PS256"),
    RSA_CASES("RS384", "RS256", "RS512"),
    RSA_CASES("RS512", "RS384", "PS256"),

    RSA_CASES("PS256", "RS256", "PS384"),
    { "PS256_without_salt", "PS256", "PS256", "PS256 salt 0", &by.rsa, NULL,
      WRONG },
    { "PS256_salt_of_20", "PS256", "PS256", "PS256 salt 20", &by.rsa, NULL,
      WRONG },
    { "PS256_salt_of_31", "PS256", "PS256", "PS256 salt 31", &by.rsa, NULL,
      WRONG },
    { "PS256_salt_of_33", "PS256", "PS256", "PS256 salt 33", &by.rsa, NULL,
      WRONG },
    { "PS256_longest_salt", "PS256", "PS256", "PS256 salt 222", &by.rsa,
      NULL, WRONG },
    { "PS256_mask_of_sha1", "PS256", "PS256", "PS256 mgf1 SHA-1", &by.rsa,
      NULL, WRONG },
    { "PS256_other_digest", "PS256", "PS256", "PS256 digest SHA-384",
      &by.rsa, NULL, WRONG },

    EC_CASES("ES256", "ES384", "ES256 digest SHA-384", &by.p256, &by.p256b,
             &by.p384, &by.p256_pem),
    { "ES256_wide", "ES256", "ES256", "ES256", &by.p256, wide, WRONG },
    EC_CASES("ES384", "ES256", "ES384 digest SHA-256", &by.p384, &by.p384b,
             &by.p256, &by.p384_pem),

    { "EdDSA", "EdDSA", "EdDSA", "EdDSA", &by.ed, NULL, GOOD },
    { "EdDSA_says_ES256", "EdDSA", "ES256", "EdDSA", &by.ed, NULL, NO_KEY },
    { "EdDSA_says_Ed25519", "EdDSA", "Ed25519", "EdDSA", &by.ed, NULL,
      TF_JWT_R_ALG },
    { "EdDSA_is_ES256", "EdDSA", "EdDSA", "ES256", &by.p256, NULL, WRONG },
    { "EdDSA_another_key", "EdDSA", "EdDSA", "EdDSA", &by.ed2, NULL, WRONG },
    { "EdDSA_cut", "EdDSA", "EdDSA", "EdDSA", &by.ed, cut_one, WRONG },
    { "EdDSA_R_alone", "EdDSA", "EdDSA", "EdDSA", &by.ed, cut_half, WRONG },
    { "EdDSA_empty", "EdDSA", "EdDSA", "EdDSA", &by.ed, cut_all, WRONG },
    { "EdDSA_longer", "EdDSA", "EdDSA", "EdDSA", &by.ed, zero_behind,
      WRONG },
    { "EdDSA_twice", "EdDSA", "EdDSA", "EdDSA", &by.ed, twice, WRONG },
    { "EdDSA_first_bit", "EdDSA", "EdDSA", "EdDSA", &by.ed, first_bit,
      WRONG },
    { "EdDSA_middle_bit", "EdDSA", "EdDSA", "EdDSA", &by.ed, ed_middle_bit,
      WRONG },
    { "EdDSA_last_bit", "EdDSA", "EdDSA", "EdDSA", &by.ed, last_bit, WRONG },
    { "EdDSA_S_plus_L", "EdDSA", "EdDSA", "EdDSA", &by.ed, ed_s_plus_order,
      WRONG },
    { "EdDSA_zeros", "EdDSA", "EdDSA", "EdDSA", &by.ed, all_zero, WRONG },
    { "EdDSA_neutral_R_and_no_S", "EdDSA", "EdDSA", "EdDSA", &by.ed,
      ed_neutral, WRONG },
    { "EdDSA_public_key_as_secret", "EdDSA", "HS256", "HS256", &by.ed_pem,
      NULL, NO_KEY },
    { "EdDSA_public_key_as_secret_keeping_alg", "EdDSA", "EdDSA", "HS256",
      &by.ed_pem, NULL, WRONG },

    /* one key with several rows is good for these and for no other */

    { "list_RS256", "RS256,RS384,PS256", "RS256", "RS256", &by.rsa, NULL,
      GOOD },
    { "list_RS384", "RS256,RS384,PS256", "RS384", "RS384", &by.rsa, NULL,
      GOOD },
    { "list_PS256", "RS256,RS384,PS256", "PS256", "PS256", &by.rsa, NULL,
      GOOD },
    { "list_RS512", "RS256,RS384,PS256", "RS512", "RS512", &by.rsa, NULL,
      NO_KEY },
    { "list_RS256_is_RS384", "RS256,RS384,PS256", "RS256", "RS384", &by.rsa,
      NULL, WRONG },
    { "list_RS256_is_PS256", "RS256,RS384,PS256", "RS256", "PS256", &by.rsa,
      NULL, WRONG },
    { "list_PS256_is_RS256", "RS256,RS384,PS256", "PS256", "RS256", &by.rsa,
      NULL, WRONG },
    { "list_HS512", "HS256,HS512", "HS512", "HS512", &by.mac, NULL, GOOD },
    { "list_HS384", "HS256,HS512", "HS384", "HS384", &by.mac, NULL, NO_KEY },
};

#define NCASES  (sizeof(cases) / sizeof(cases[0]))


/* What the issuer's key file holds for its rows. */

static const char *
file_of(const char *alg)
{
    if (alg[0] == 'H') {
        return SECRET64;
    }

    return jwt_pem(alg[0] == 'R' || alg[0] == 'P' ? by.rsa.pkey
                   : strcmp(alg, "ES256") == 0 ? by.p256.pkey
                   : strcmp(alg, "ES384") == 0 ? by.p384.pkey
                   : by.ed.pkey, 0);
}


static tf_jwa_key_t *
key_of(const char *list)
{
    char           alg[8];
    size_t         n;
    const char    *file;
    tf_jwa_key_t  *key;

    file = file_of(list);
    key = NULL;

    for ( ;; ) {
        n = strcspn(list, ",");
        snprintf(alg, sizeof(alg), "%.*s", (int) n, list);

        if (key == NULL) {
            key = jwt_key(alg, NULL, file, strlen(file));

        } else {
            assert_null(tf_jwa_key_add(key, tf_jwa_find(alg, n),
                                       (const unsigned char *) file,
                                       strlen(file)));
        }

        list += n;

        if (*list++ == '\0') {
            return key;
        }
    }
}


static void
alg_case(void **state)
{
    char                *input, *token, header[100];
    sig_t                sig;
    size_t               n;
    tf_jwt_issuer_t      issuer;
    tf_jwt_identity_t    id;
    const alg_case_t    *c;

    c = *state;

    memset(&issuer, 0, sizeof(issuer));
    issuer.name = jwt_str("algs");
    issuer.iss = jwt_str(ISS);
    issuer.aud = jwt_str("trifecta");
    issuer.tenant = jwt_str("t");
    issuer.keys[0] = key_of(c->key);
    issuer.nkeys = 1;

    snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
             c->says);
    input = jwt_join(header, PAYLOAD(ISS));

    sig.len = jwt_sign_with(sig.bytes, c->method, c->by, input);
    sig.n = sig.len / 2;

    if (c->method[0] == 'E' && c->method[1] == 'S') {
        assert_int_equal(OPENSSL_hexstr2buf_ex(sig.order, sizeof(sig.order),
                                               &n, sig.n == 32 ? N256 : N384,
                                               '\0'), 1);
        assert_int_equal(n, sig.n);
    }

    if (c->change != NULL) {
        c->change(&sig);
    }

    token = jwt_seal(input, sig.bytes, sig.len);

    (void) tf_jwt_check(&id, (const unsigned char *) token, strlen(token),
                        &issuer, 1, JWT_NOW, JWT_LEEWAY);

    assert_string_equal(tf_jwt_reason_text(id.reason),
                        tf_jwt_reason_text(c->reason));

    if (c->reason == GOOD) {
        assert_string_equal(id.owner, "algs:u1");
    } else {
        jwt_assert_nobody(&id);
    }

    assert_int_equal(ERR_peek_error(), 0);

    tf_jwt_release(&id);
    tf_jwa_key_free(issuer.keys[0]);
}


/* OpenSSL would refuse these too; that we do so first is shown here. */

static void
r_and_s_are_between_0_and_n(void **state)
{
    size_t               i, n, len, k;
    unsigned char        order[48], sig[96], der[TF_JWA_DER_MAX];
    static const char   *orders[] = { N256, N384 };

    (void) state;

    for (i = 0; i < 2; i++) {
        assert_int_equal(OPENSSL_hexstr2buf_ex(order, sizeof(order), &n,
                                               orders[i], '\0'), 1);

        /* r and s are 1, the smallest */

        memset(sig, 0, sizeof(sig));
        sig[n - 1] = 1;
        sig[2 * n - 1] = 1;

        len = tf_jwa_ecdsa_der(der, sig, n, order);
        assert_int_equal(len, 8);
        assert_memory_equal(der, "\x30\x06\x02\x01\x01\x02\x01\x01", 8);

        /* n - 1, the largest, has its first bit set, and so a zero before */

        memcpy(sig, order, n);
        memcpy(sig + n, order, n);
        sig[n - 1]--;
        sig[2 * n - 1]--;

        len = tf_jwa_ecdsa_der(der, sig, n, order);
        assert_int_equal(len, 2 + 2 * (3 + n));
        assert_int_equal(der[1], len - 2);
        assert_int_equal(der[3], n + 1);
        assert_int_equal(der[4], 0);
        assert_memory_equal(der + 5, sig, n);

        /* 0 and n, once for r and once for s */

        for (k = 0; k < 2; k++) {
            memset(sig, 0, 2 * n);
            sig[k ? n - 1 : 2 * n - 1] = 1;
            assert_int_equal(tf_jwa_ecdsa_der(der, sig, n, order), 0);

            memcpy(sig + (k ? n : 0), order, n);
            assert_int_equal(tf_jwa_ecdsa_der(der, sig, n, order), 0);

            memset(sig + (k ? n : 0), 0xff, n);
            assert_int_equal(tf_jwa_ecdsa_der(der, sig, n, order), 0);
        }
    }
}


/* Of a hundred signatures some have an r or s that starts with a zero. */

static void
short_numbers_are_padded(void **state)
{
    int                  i, zeros;
    char                 text[16];
    size_t               len, at;
    unsigned char        sig[2048];
    tf_jwa_key_t        *key;
    const tf_jwa_alg_t  *alg;

    (void) state;

    key = key_of("ES256");
    alg = tf_jwa_find("ES256", 5);

    for (i = 0, zeros = 0; i < 2000 && zeros < 2; i++) {
        snprintf(text, sizeof(text), "t%d", i);
        len = jwt_sign_with(sig, "ES256", &by.p256, text);
        assert_int_equal(len, 64);

        at = sig[0] == 0 ? 0 : 32;

        if (sig[at] != 0) {
            continue;
        }

        zeros++;

        assert_int_equal(tf_jwa_verify(key, alg, (unsigned char *) text,
                                       strlen(text), sig, 64), TF_JWA_OK);

        /* without the zero it is another signature */

        memmove(sig + at, sig + at + 1, 63 - at);
        assert_int_equal(tf_jwa_verify(key, alg, (unsigned char *) text,
                                       strlen(text), sig, 63),
                         TF_JWA_MISMATCH);
    }

    assert_int_equal(zeros, 2);

    tf_jwa_key_free(key);
}


static void
a_row_that_the_key_has_not_is_a_mismatch(void **state)
{
    size_t          len;
    unsigned char   sig[2048];
    tf_jwa_key_t   *key;

    (void) state;

    key = key_of("RS256");
    len = jwt_sign_with(sig, "RS384", &by.rsa, "x");

    assert_int_equal(tf_jwa_verify(key, tf_jwa_find("RS384", 5),
                                   (const unsigned char *) "x", 1, sig, len),
                     TF_JWA_MISMATCH);
    tf_jwa_key_free(key);
}


static void
setup_signer(jwt_signer_t *signer, EVP_PKEY *pkey, jwt_signer_t *pem)
{
    assert_non_null(pkey);
    signer->pkey = pkey;

    if (pem != NULL) {
        pem->secret = jwt_pem(pkey, 0);
        pem->secret_len = strlen(pem->secret);
    }
}


int
main(void)
{
    int                             rc;
    size_t                          i, n;
    struct CMUnitTest               tests[NCASES + 8];
    static const struct CMUnitTest  others[] = {
        cmocka_unit_test(r_and_s_are_between_0_and_n),
        cmocka_unit_test(short_numbers_are_padded),
        cmocka_unit_test(a_row_that_the_key_has_not_is_a_mismatch),
    };

    jwt_setup();

    by.mac.secret = SECRET64;
    by.mac.secret_len = 64;
    by.mac32.secret = SECRET;
    by.mac32.secret_len = 32;
    setup_signer(&by.rsa, jwt_by.rs.pkey, &by.rsa_pem);
    setup_signer(&by.rsa2, jwt_by.rs_other.pkey, NULL);
    setup_signer(&by.p256, EVP_EC_gen("P-256"), &by.p256_pem);
    setup_signer(&by.p256b, EVP_EC_gen("P-256"), NULL);
    setup_signer(&by.p384, EVP_EC_gen("P-384"), &by.p384_pem);
    setup_signer(&by.p384b, EVP_EC_gen("P-384"), NULL);
    setup_signer(&by.ed, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
                 &by.ed_pem);
    setup_signer(&by.ed2, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL);

    memset(tests, 0, sizeof(tests));

    for (i = 0; i < NCASES; i++) {
        tests[i].name = cases[i].name;
        tests[i].test_func = alg_case;
        tests[i].initial_state = (void *) (uintptr_t) &cases[i];
    }

    n = sizeof(others) / sizeof(others[0]);
    memcpy(&tests[i], others, sizeof(others));

    rc = _cmocka_run_group_tests("jwt algorithms", tests, i + n, NULL, NULL);

    EVP_PKEY_free(by.p256.pkey);
    EVP_PKEY_free(by.p256b.pkey);
    EVP_PKEY_free(by.p384.pkey);
    EVP_PKEY_free(by.p384b.pkey);
    EVP_PKEY_free(by.ed.pkey);
    EVP_PKEY_free(by.ed2.pkey);

    jwt_teardown();

    return rc;
}
