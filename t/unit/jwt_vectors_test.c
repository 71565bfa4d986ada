/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * The examples of the standards: RFC 7515, appendices A.1 to A.4, RFC 7520,
 * sections 4.1 and 4.4, RFC 8037, appendix A.4.  Those that are signed with
 * an algorithm that is no row (ES512) must be refused.
 */

#include "jwt_sign.h"


#define JOE                                                                 \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"      \
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

#define FRODO                                                               \
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IH"        \
    "lvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBk"        \
    "b24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcm"        \
    "UgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"


typedef struct {
    const char  *name;
    const char  *alg;
    const char  *key;               /* secret, n, x, or x of the point */
    const char  *y;                 /* of the point */
    const char  *input;
    const char  *sig;
} vector_t;


static const vector_t  vectors[] = {

    { "rfc7515_a1", "HS256",
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i"
      "PS4hcgUuTwjAzZr1Z9CAow", NULL,
      "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE,
      "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" },

    { "rfc7515_a2", "RS256",
      "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"
      "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"
      "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs"
      "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"
      "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"
      "PAcDTW9gb54h4FRWyuXpoQ", NULL,
      "eyJhbGciOiJSUzI1NiJ9." JOE,
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
      "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
      "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
      "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
      "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
      "p0igcN_IoypGlUPQGe77Rw" },

    { "rfc7515_a3", "ES256",
      "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
      "eyJhbGciOiJFUzI1NiJ9." JOE,
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
      "pmWQxfKTUJqPP3-Kg6NU1Q" },

    { "rfc7520_4_1", "RS256",
      "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRoj"
      "dNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2l"
      "bzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6c"
      "S6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3"
      "-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwU"
      "kRz5iaiQkqgc5gHdrNP5zw", NULL,
      "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZX"
      "hhbXBsZSJ9." FRODO,
      "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmK"
      "ZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4J"
      "IwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8w"
      "W1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluP"
      "xUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_f"
      "cIe8u9ipH84ogoree7vjbU5y18kDquDg" },

    { "rfc7520_4_4", "HS256",
      "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg", NULL,
      "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LW"
      "VlZjMxNGJjNzAzNyJ9." FRODO,
      "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0" },

    { "rfc8037_a4", "EdDSA",
      "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", NULL,
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B"
      "hVsPt9g7sVvpAr_MuM0KAg" },
};

#define NVECTORS  (sizeof(vectors) / sizeof(vectors[0]))


static tf_jwa_key_t *
vector_key(const vector_t *v)
{
    char           *pem;
    size_t          len;
    EVP_PKEY       *pkey;
    unsigned char   bytes[300];

    len = jwt_unbase64url(bytes, v->key);

    if (strcmp(v->alg, "HS256") == 0) {
        return jwt_key(v->alg, NULL, bytes, len);
    }

    if (strcmp(v->alg, "RS256") == 0) {
        assert_int_equal(len, 256);
        pkey = jwt_rsa_from(bytes, len, 65537);
        pem = jwt_pem(pkey, 0);
        EVP_PKEY_free(pkey);

    } else if (v->y != NULL) {
        assert_int_equal(len, 32);
        bytes[0] = 4;
        jwt_unbase64url(bytes + 1, v->key);
        assert_int_equal(jwt_unbase64url(bytes + 33, v->y), 32);
        pem = jwt_pem_of(JWT_SPKI_P256, bytes, 65);

    } else {
        assert_int_equal(len, 32);
        pem = jwt_pem_of(JWT_SPKI_ED25519, bytes, 32);
    }

    return jwt_key(v->alg, NULL, pem, strlen(pem));
}


/* Good as it is, and with any bit changed of it not. */

static void
vector(void **state)
{
    size_t               i, len, input_len;
    tf_jwa_key_t        *key;
    const vector_t      *v;
    const tf_jwa_alg_t  *alg;
    unsigned char        sig[256], input[1024];

    v = *state;
    key = vector_key(v);
    alg = tf_jwa_find(v->alg, strlen(v->alg));

    len = jwt_unbase64url(sig, v->sig);
    input_len = strlen(v->input);
    memcpy(input, v->input, input_len);

    assert_int_equal(tf_jwa_verify(key, alg, input, input_len, sig, len),
                     TF_JWA_OK);

    for (i = 0; i < 8 * len; i++) {
        sig[i / 8] ^= (unsigned char) (1 << i % 8);
        assert_int_equal(tf_jwa_verify(key, alg, input, input_len, sig, len),
                         TF_JWA_MISMATCH);
        sig[i / 8] ^= (unsigned char) (1 << i % 8);
    }

    input[0] ^= 1;
    assert_int_equal(tf_jwa_verify(key, alg, input, input_len, sig, len),
                     TF_JWA_MISMATCH);
    assert_int_equal(ERR_peek_error(), 0);

    tf_jwa_key_free(key);
}


/* The token as a whole is signed well, but it is nobody's: it has no sub. */

static void
joe_is_nobody(void **state)
{
    size_t              i;
    char               *token;
    tf_jwt_issuer_t     issuer;
    tf_jwt_identity_t   id;

    (void) state;

    for (i = 0; i < 3; i++) {
        memset(&issuer, 0, sizeof(issuer));
        issuer.name = jwt_str("rfc");
        issuer.iss = jwt_str("joe");
        issuer.tenant = jwt_str("t");
        issuer.keys[0] = vector_key(&vectors[i]);
        issuer.nkeys = 1;

        token = jwt_alloc(JWT_TEXT);
        snprintf(token, JWT_TEXT, "%s.%s", vectors[i].input, vectors[i].sig);

        assert_int_equal(tf_jwt_check(&id, (const unsigned char *) token,
                                      strlen(token), &issuer, 1, 1300000000,
                                      0),
                         TF_JWT_INVALID);
        assert_int_equal(id.reason, TF_JWT_R_SUB);

        tf_jwa_key_free(issuer.keys[0]);
    }
}


/* Its payload is no JSON either; so the header is put before another one. */

static void
rfc7515_a4_is_no_row(void **state)
{
    char                *token;
    tf_jwt_identity_t    id;
    static const char    header[] = "eyJhbGciOiJFUzUxMiJ9";
    static const char    sig[] =
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZq"
        "wqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp"
        "EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

    (void) state;

    assert_null(tf_jwa_find("ES512", 5));

    token = jwt_alloc(JWT_TEXT);

    snprintf(token, JWT_TEXT, "%s.UGF5bG9hZA.%s", header, sig);
    assert_int_equal(jwt_check(&id, token, strlen(token)), TF_JWT_INVALID);
    assert_int_equal(id.reason, TF_JWT_R_PAYLOAD);

    snprintf(token, JWT_TEXT, "%s." JOE ".%s", header, sig);
    assert_int_equal(jwt_check(&id, token, strlen(token)), TF_JWT_INVALID);
    assert_int_equal(id.reason, TF_JWT_R_ALG);
}


int
main(void)
{
    int                rc;
    size_t             i;
    struct CMUnitTest  tests[NVECTORS + 2];

    jwt_setup();

    memset(tests, 0, sizeof(tests));

    for (i = 0; i < NVECTORS; i++) {
        tests[i].name = vectors[i].name;
        tests[i].test_func = vector;
        tests[i].initial_state = (void *) (uintptr_t) &vectors[i];
    }

    tests[i].name = "joe_is_nobody";
    tests[i++].test_func = joe_is_nobody;
    tests[i].name = "rfc7515_a4_is_no_row";
    tests[i].test_func = rfc7515_a4_is_no_row;

    rc = cmocka_run_group_tests_name("jwt vectors", tests, NULL, NULL);

    jwt_teardown();

    return rc;
}
