/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * Hostile tokens.  Each is one change away from a valid one, and each is
 * refused for its own reason; that the unchanged ones are accepted is the
 * first test, or the refusals would prove nothing.
 */

#include "jwt_token.h"


#define NAME200  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"         \
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"         \
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"         \
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

#define DEEP8    "[[[[[[[["
#define DEEP8E   "]]]]]]]]"

#define H        &jwt_by.hs, HEADER_HS, PAYLOAD(ISS_HS)
#define R        &jwt_by.rs, HEADER_RS, PAYLOAD(ISS_RS)
#define HEAD     0
#define BODY     1
#define BAD      TF_JWT_INVALID


typedef struct {
    const char          *name;
    const jwt_signer_t  *signer;
    const char          *header;
    const char          *payload;
    int                  where;         /* HEAD or BODY is changed */
    const char          *find;          /* NULL: nothing is */
    const char          *replace;
    tf_jwt_reason_t      reason;
    tf_jwt_verdict_t     verdict;
} jwt_case_t;


static const jwt_case_t  cases[] = {

    /* who signs, and with what */

    { "alg_none_with_no_signature", &jwt_by.nobody, HEADER_HS, PAYLOAD(ISS_HS),
      HEAD, "HS256", "none", TF_JWT_R_ALG, BAD },
    { "alg_none_with_a_good_mac", H,
      HEAD, "HS256", "none", TF_JWT_R_ALG, BAD },
    { "alg_None", H, HEAD, "HS256", "None", TF_JWT_R_ALG, BAD },
    { "alg_NONE", H, HEAD, "HS256", "NONE", TF_JWT_R_ALG, BAD },
    { "alg_nOnE", H, HEAD, "HS256", "nOnE", TF_JWT_R_ALG, BAD },
    { "alg_empty", H, HEAD, "HS256", "", TF_JWT_R_ALG, BAD },
    { "alg_in_lower_case", H, HEAD, "HS256", "hs256", TF_JWT_R_ALG, BAD },
    { "alg_with_a_space", H, HEAD, "HS256", "HS256 ", TF_JWT_R_ALG, BAD },
    { "alg_is_a_prefix", H, HEAD, "HS256", "HS25", TF_JWT_R_ALG, BAD },
    { "alg_HS384", H, HEAD, "HS256", "HS384", TF_JWT_R_KEY, BAD },
    { "alg_PS256", R, HEAD, "RS256", "PS256", TF_JWT_R_KEY, BAD },
    { "alg_ES512", R, HEAD, "RS256", "ES512", TF_JWT_R_ALG, BAD },
    { "alg_PS384", R, HEAD, "RS256", "PS384", TF_JWT_R_ALG, BAD },
    { "alg_ES256K", R, HEAD, "RS256", "ES256K", TF_JWT_R_ALG, BAD },
    { "alg_RS1", R, HEAD, "RS256", "RS1", TF_JWT_R_ALG, BAD },
    { "alg_missing", H, HEAD, "\"alg\":\"HS256\",", "", TF_JWT_R_ALG, BAD },
    { "alg_null", H, HEAD, "\"HS256\"", "null", TF_JWT_R_ALG, BAD },
    { "alg_number", H, HEAD, "\"HS256\"", "256", TF_JWT_R_ALG, BAD },
    { "alg_array", H, HEAD, "\"HS256\"", "[\"HS256\"]", TF_JWT_R_ALG, BAD },
    { "alg_twice", H, HEAD, "{\"alg\"", "{\"alg\":\"none\",\"alg\"",
      TF_JWT_R_HEADER, BAD },
    { "alg_twice_once_escaped", H, HEAD, "{\"alg\"",
      "{\"\\u0061lg\":\"none\",\"alg\"", TF_JWT_R_HEADER, BAD },
    { "alg_of_another_kind_of_key", H, HEAD, "HS256", "RS256", TF_JWT_R_KEY,
      BAD },
    { "rs256_public_key_as_hmac_secret", &jwt_by.pem, HEADER_RS,
      PAYLOAD(ISS_RS),
      HEAD, "RS256", "HS256", TF_JWT_R_KEY, BAD },
    { "rs256_public_key_as_hmac_secret_keeping_alg", &jwt_by.pem, HEADER_RS,
      PAYLOAD(ISS_RS), 0, NULL, NULL, TF_JWT_R_SIGNATURE, BAD },
    { "rs256_token_signed_by_the_hs_issuer", &jwt_by.hs, HEADER_RS,
      PAYLOAD(ISS_RS),
      HEAD, "RS256", "HS256", TF_JWT_R_KEY, BAD },
    { "signed_with_another_secret", &jwt_by.other, HEADER_HS, PAYLOAD(ISS_HS),
      0, NULL, NULL, TF_JWT_R_SIGNATURE, BAD },
    { "signed_with_an_empty_secret", &jwt_by.empty, HEADER_HS, PAYLOAD(ISS_HS),
      0, NULL, NULL, TF_JWT_R_SIGNATURE, BAD },
    { "not_signed", &jwt_by.nobody, HEADER_HS, PAYLOAD(ISS_HS), 0, NULL, NULL,
      TF_JWT_R_SIGNATURE, BAD },
    { "jwk_that_brings_its_own_key", &jwt_by.rs_other, HEADER_RS,
      PAYLOAD(ISS_RS), HEAD, "{",
      "{\"jwk\":{\"kty\":\"RSA\",\"e\":\"AQAB\"},",
      TF_JWT_R_SIGNATURE, BAD },
    { "jku_that_brings_its_own_key", &jwt_by.rs_other, HEADER_RS,
      PAYLOAD(ISS_RS), HEAD, "{",
      "{\"jku\":\"https://evil.example/jwks\",",
      TF_JWT_R_SIGNATURE, BAD },
    { "x5u_that_brings_its_own_key", &jwt_by.rs_other, HEADER_RS,
      PAYLOAD(ISS_RS), HEAD, "{",
      "{\"x5u\":\"https://evil.example/crt\",",
      TF_JWT_R_SIGNATURE, BAD },
    { "x5c_that_brings_its_own_key", &jwt_by.rs_other, HEADER_RS,
      PAYLOAD(ISS_RS), HEAD, "{", "{\"x5c\":[\"TUlJ\"],",
      TF_JWT_R_SIGNATURE, BAD },
    { "rs256_not_signed", &jwt_by.nobody, HEADER_RS, PAYLOAD(ISS_RS), 0, NULL,
      NULL, TF_JWT_R_SIGNATURE, BAD },
    { "signed_with_another_rsa_key", &jwt_by.rs_other, HEADER_RS,
      PAYLOAD(ISS_RS),
      0, NULL, NULL, TF_JWT_R_SIGNATURE, BAD },
    { "iss_of_the_other_issuer", H, BODY, ISS_HS, ISS_RS, TF_JWT_R_KEY,
      BAD },
    { "iss_of_an_issuer_with_another_secret", H, BODY, ISS_HS, ISS_FIX,
      TF_JWT_R_SIGNATURE, BAD },

    /* header */

    { "kid_of_no_key", H, HEAD, "k1", "k2", TF_JWT_R_KEY, BAD },
    { "kid_missing", H, HEAD, ",\"kid\":\"k1\"", "", TF_JWT_R_KEY, BAD },
    { "kid_is_a_path", H, HEAD, "k1", "../../../dev/null", TF_JWT_R_KEY,
      BAD },
    { "kid_is_sql", H, HEAD, "k1", "k1' OR '1'='1", TF_JWT_R_KEY, BAD },
    { "kid_number", H, HEAD, "\"k1\"", "1", TF_JWT_R_KID, BAD },
    { "kid_null", H, HEAD, "\"k1\"", "null", TF_JWT_R_KID, BAD },
    { "kid_with_u0000", H, HEAD, "k1", "k1\\u0000", TF_JWT_R_HEADER, BAD },
    { "crit_with_a_name", H, HEAD, "{", "{\"crit\":[\"exp\"],\"exp\":1,",
      TF_JWT_R_CRIT, BAD },
    { "crit_empty", H, HEAD, "{", "{\"crit\":[],", TF_JWT_R_CRIT, BAD },
    { "crit_null", H, HEAD, "{", "{\"crit\":null,", TF_JWT_R_CRIT, BAD },
    { "crit_b64", H, HEAD, "{", "{\"crit\":[\"b64\"],\"b64\":false,",
      TF_JWT_R_CRIT, BAD },
    { "b64_false", H, HEAD, "{", "{\"b64\":false,", TF_JWT_R_B64, BAD },
    { "typ_of_something_else", H, HEAD, "JWT", "secevent+jwt", TF_JWT_R_TYP,
      BAD },
    { "typ_id_token", H, HEAD, "JWT", "JWS", TF_JWT_R_TYP, BAD },
    { "typ_application_alone", H, HEAD, "JWT", "application/", TF_JWT_R_TYP,
      BAD },
    { "typ_null", H, HEAD, "\"JWT\"", "null", TF_JWT_R_TYP, BAD },
    { "header_array", H, HEAD, HEADER_HS, "[" HEADER_HS "]",
      TF_JWT_R_HEADER, BAD },
    { "header_string", H, HEAD, HEADER_HS, "\"HS256\"", TF_JWT_R_HEADER,
      BAD },
    { "header_empty", H, HEAD, HEADER_HS, "", TF_JWT_R_HEADER, BAD },
    { "header_empty_object", H, HEAD, HEADER_HS, "{}", TF_JWT_R_ALG, BAD },
    { "header_not_utf8", H, HEAD, "JWT", "JWT\xff", TF_JWT_R_HEADER, BAD },

    /* payload */

    { "payload_array", H, BODY, PAYLOAD(ISS_HS), "[" PAYLOAD(ISS_HS) "]",
      TF_JWT_R_PAYLOAD, BAD },
    { "payload_null", H, BODY, PAYLOAD(ISS_HS), "null", TF_JWT_R_PAYLOAD,
      BAD },
    { "payload_followed_by_text", H, BODY, PAYLOAD(ISS_HS),
      PAYLOAD(ISS_HS) "x", TF_JWT_R_PAYLOAD, BAD },
    { "payload_after_a_byte_order_mark", H, BODY, PAYLOAD(ISS_HS),
      "\xef\xbb\xbf" PAYLOAD(ISS_HS), TF_JWT_R_PAYLOAD, BAD },
    { "payload_not_closed", H, BODY, "[\"write\"]}", "[\"write\"]",
      TF_JWT_R_PAYLOAD, BAD },
    { "payload_with_a_comment", H, BODY, "{", "{/**/", TF_JWT_R_PAYLOAD,
      BAD },
    { "payload_33_levels_deep", H, BODY, "{",
      "{\"x\":" DEEP8 DEEP8 DEEP8 DEEP8 DEEP8E DEEP8E DEEP8E DEEP8E ",",
      TF_JWT_R_PAYLOAD, BAD },
    { "payload_huge_integer", H, BODY, "{", "{\"x\":9223372036854775808,",
      TF_JWT_R_PAYLOAD, BAD },
    { "sub_twice", H, BODY, "\"sub\"", "\"sub\":\"root\",\"sub\"",
      TF_JWT_R_PAYLOAD, BAD },
    { "sub_with_u0000", H, BODY, "\"u1\"", "\"u1\\u0000root\"",
      TF_JWT_R_PAYLOAD, BAD },
    { "sub_not_utf8", H, BODY, "\"u1\"", "\"u1\xc3\"", TF_JWT_R_PAYLOAD,
      BAD },
    { "sub_overlong_utf8", H, BODY, "\"u1\"", "\"\xc0\xaf\"",
      TF_JWT_R_PAYLOAD, BAD },
    { "sub_lone_surrogate", H, BODY, "\"u1\"", "\"\\ud800\"",
      TF_JWT_R_PAYLOAD, BAD },
    { "iss_missing", H, BODY, "\"iss\":\"" ISS_HS "\",", "", TF_JWT_R_ISS,
      BAD },
    { "iss_array", H, BODY, "\"" ISS_HS "\"", "[\"" ISS_HS "\"]",
      TF_JWT_R_ISS, BAD },
    { "iss_unknown", H, BODY, ISS_HS, "https://evil.example",
      TF_JWT_R_ISSUER, BAD },
    { "iss_with_a_slash_more", H, BODY, ISS_HS, ISS_HS "/", TF_JWT_R_ISSUER,
      BAD },
    { "iss_in_upper_case", H, BODY, ISS_HS, "HTTPS://HS.EXAMPLE",
      TF_JWT_R_ISSUER, BAD },
    { "iss_empty", H, BODY, ISS_HS, "", TF_JWT_R_ISSUER, BAD },
    { "sub_missing", H, BODY, "\"sub\":\"u1\",", "", TF_JWT_R_SUB, BAD },
    { "sub_empty", H, BODY, "\"u1\"", "\"\"", TF_JWT_R_SUB, BAD },
    { "sub_number", H, BODY, "\"u1\"", "1", TF_JWT_R_SUB, BAD },
    { "sub_null", H, BODY, "\"u1\"", "null", TF_JWT_R_SUB, BAD },
    { "sub_with_a_line_feed", H, BODY, "\"u1\"", "\"u1\\nu2\"",
      TF_JWT_R_SUB, BAD },
    { "sub_with_del", H, BODY, "\"u1\"", "\"u1\x7f\"", TF_JWT_R_SUB, BAD },
    { "sub_with_a_c1_control", H, BODY, "\"u1\"", "\"u1\\u0085\"",
      TF_JWT_R_SUB, BAD },
    { "sub_one_byte_too_long", H, BODY, "\"u1\"",
      "\"" NAME200 "12345678901234567890123456789012345678901234567890123"
      "\"", TF_JWT_R_SUB, BAD },
    { "aud_missing", H, BODY, "\"aud\":\"trifecta\",", "", TF_JWT_R_AUD,
      BAD },
    { "aud_other", H, BODY, "\"trifecta\"", "\"billing\"",
      TF_JWT_R_AUDIENCE, BAD },
    { "aud_longer", H, BODY, "\"trifecta\"", "\"trifecta2\"",
      TF_JWT_R_AUDIENCE, BAD },
    { "aud_in_upper_case", H, BODY, "\"trifecta\"", "\"Trifecta\"",
      TF_JWT_R_AUDIENCE, BAD },
    { "aud_empty_array", H, BODY, "\"trifecta\"", "[]", TF_JWT_R_AUDIENCE,
      BAD },
    { "aud_array_of_others", H, BODY, "\"trifecta\"", "[\"a\",\"b\"]",
      TF_JWT_R_AUDIENCE, BAD },
    { "aud_array_with_a_number", H, BODY, "\"trifecta\"",
      "[\"trifecta\",1]", TF_JWT_R_AUD, BAD },
    { "aud_object", H, BODY, "\"trifecta\"", "{\"trifecta\":1}",
      TF_JWT_R_AUD, BAD },
    { "aud_null", H, BODY, "\"trifecta\"", "null", TF_JWT_R_AUD, BAD },
    { "aud_where_none_is_configured", &jwt_by.other, HEADER_HS,
      PAYLOAD(ISS_FIX),
      0, NULL, NULL, TF_JWT_R_AUDIENCE, BAD },

    /* dates */

    { "exp_missing", H, BODY, "\"exp\":1700000300,", "", TF_JWT_R_EXP, BAD },
    { "exp_string", H, BODY, "1700000300", "\"1700000300\"", TF_JWT_R_EXP,
      BAD },
    { "exp_true", H, BODY, "1700000300", "true", TF_JWT_R_EXP, BAD },
    { "exp_null", H, BODY, "1700000300", "null", TF_JWT_R_EXP, BAD },
    { "exp_negative", H, BODY, "1700000300", "-1", TF_JWT_R_EXP, BAD },
    { "exp_1e300", H, BODY, "1700000300", "1e300", TF_JWT_R_EXP, BAD },
    { "exp_minus_1e300", H, BODY, "1700000300", "-1e300", TF_JWT_R_EXP,
      BAD },
    { "exp_int64_max", H, BODY, "1700000300", "9223372036854775807",
      TF_JWT_R_EXP, BAD },
    { "exp_in_milliseconds", H, BODY, "1700000300", "1700000300000",
      TF_JWT_R_EXP, BAD },
    { "exp_overflows_a_double", H, BODY, "1700000300", "1e999",
      TF_JWT_R_PAYLOAD, BAD },
    { "exp_past_the_leeway", H, BODY, "1700000300", "1699999970",
      TF_JWT_R_EXPIRED, TF_JWT_EXPIRED },
    { "exp_zero", H, BODY, "1700000300", "0", TF_JWT_R_EXPIRED,
      TF_JWT_EXPIRED },
    { "exp_past_as_a_real", H, BODY, "1700000300", "1699999969.9",
      TF_JWT_R_EXPIRED, TF_JWT_EXPIRED },
    { "expired_and_badly_signed_says_invalid", &jwt_by.other, HEADER_HS,
      PAYLOAD(ISS_HS), BODY, "1700000300", "1", TF_JWT_R_SIGNATURE, BAD },
    { "nbf_beyond_the_leeway", H, BODY, "1699999990", "1700000031",
      TF_JWT_R_NOT_YET, BAD },
    { "nbf_string", H, BODY, "1699999990", "\"1\"", TF_JWT_R_NBF, BAD },
    { "nbf_false", H, BODY, "1699999990", "false", TF_JWT_R_NBF, BAD },
    { "nbf_negative", H, BODY, "1699999990", "-5", TF_JWT_R_NBF, BAD },
    { "iat_beyond_the_leeway", H, BODY, "1699999980", "1700000031",
      TF_JWT_R_FUTURE, BAD },
    { "iat_string", H, BODY, "1699999980", "\"now\"", TF_JWT_R_IAT, BAD },
    { "iat_null", H, BODY, "1699999980", "null", TF_JWT_R_IAT, BAD },
    { "iat_1e300", H, BODY, "1699999980", "1e300", TF_JWT_R_IAT, BAD },

    /* rights */

    { "groups_number", H, BODY, "[\"g1\",\"g2\"]", "7", TF_JWT_R_GROUPS,
      BAD },
    { "groups_null", H, BODY, "[\"g1\",\"g2\"]", "null", TF_JWT_R_GROUPS,
      BAD },
    { "groups_object", H, BODY, "[\"g1\",\"g2\"]", "{\"g1\":true}",
      TF_JWT_R_GROUPS, BAD },
    { "groups_array_with_a_number", H, BODY, "\"g2\"", "2", TF_JWT_R_GROUPS,
      BAD },
    { "groups_nested", H, BODY, "\"g2\"", "[\"g2\"]", TF_JWT_R_GROUPS, BAD },
    { "groups_with_a_control", H, BODY, "\"g2\"", "\"g\\t2\"",
      TF_JWT_R_GROUPS, BAD },
    { "roles_true", H, BODY, "\"admin\"", "true", TF_JWT_R_GROUPS, BAD },
    { "scope_array", H, BODY, "\"ask read\"", "[\"ask\"]", TF_JWT_R_SCOPES,
      BAD },
    { "scope_with_a_line_feed", H, BODY, "ask read", "ask\\nread",
      TF_JWT_R_SCOPES, BAD },
    { "scopes_number", H, BODY, "[\"write\"]", "1", TF_JWT_R_SCOPES, BAD },
    { "scopes_array_with_null", H, BODY, "[\"write\"]", "[null]",
      TF_JWT_R_SCOPES, BAD },
    { "tenant_number", H, BODY, "\"acme\"", "1", TF_JWT_R_TENANT_TYPE, BAD },
    { "tenant_null", H, BODY, "\"acme\"", "null", TF_JWT_R_TENANT_TYPE,
      BAD },
    { "tenant_array", H, BODY, "\"acme\"", "[\"acme\"]",
      TF_JWT_R_TENANT_TYPE, BAD },
    { "tenant_not_in_the_list", H, BODY, "\"acme\"", "\"evil\"",
      TF_JWT_R_NO_TENANT, TF_JWT_FORBIDDEN },
    { "tenant_of_the_other_issuer", H, BODY, "\"acme\"", "\"house\"",
      TF_JWT_R_NO_TENANT, TF_JWT_FORBIDDEN },
    { "tenant_is_a_prefix", H, BODY, "\"acme\"", "\"acm\"",
      TF_JWT_R_NO_TENANT, TF_JWT_FORBIDDEN },
    { "tenant_in_upper_case", H, BODY, "\"acme\"", "\"ACME\"",
      TF_JWT_R_NO_TENANT, TF_JWT_FORBIDDEN },
    { "tenant_empty", H, BODY, "\"acme\"", "\"\"", TF_JWT_R_NO_TENANT,
      TF_JWT_FORBIDDEN },
    { "tenant_missing_and_no_default", H, BODY, "\"tenant\":\"acme\",", "",
      TF_JWT_R_NO_TENANT, TF_JWT_FORBIDDEN },
};

#define NCASES  (sizeof(cases) / sizeof(cases[0]))



static void
refused(void **state)
{
    char               *header, *payload, *token;
    const jwt_case_t   *c;
    tf_jwt_verdict_t    verdict;
    tf_jwt_identity_t   id;

    c = *state;

    header = jwt_copy(c->header);
    payload = jwt_copy(c->payload);

    if (c->find != NULL && c->where == HEAD) {
        header = jwt_change(header, c->find, c->replace);
    }

    if (c->find != NULL && c->where == BODY) {
        payload = jwt_change(payload, c->find, c->replace);
    }

    token = jwt_make(c->signer, header, strlen(header), payload,
                     strlen(payload));

    verdict = jwt_check(&id, token, strlen(token));

    assert_string_equal(tf_jwt_reason_text(id.reason),
                        tf_jwt_reason_text(c->reason));
    assert_int_equal(verdict, c->verdict);

    jwt_assert_nobody(&id);

    tf_jwt_release(&id);
}


/* What every case above was, before its one change. */

static void
unchanged_tokens_are_accepted(void **state)
{
    char               *token;
    tf_jwt_identity_t   id;

    (void) state;

    token = jwt_make(&jwt_by.hs, HEADER_HS, strlen(HEADER_HS), PAYLOAD(ISS_HS),
                     strlen(PAYLOAD(ISS_HS)));
    assert_int_equal(jwt_check(&id, token, strlen(token)), TF_JWT_OK);
    assert_string_equal(id.owner, "hs:u1");
    tf_jwt_release(&id);

    token = jwt_make(&jwt_by.rs, HEADER_RS, strlen(HEADER_RS), PAYLOAD(ISS_RS),
                     strlen(PAYLOAD(ISS_RS)));
    assert_int_equal(jwt_check(&id, token, strlen(token)), TF_JWT_OK);
    assert_string_equal(id.owner, "rs:u1");
    tf_jwt_release(&id);
}


int
main(void)
{
    int                rc;
    size_t             i;
    struct CMUnitTest  tests[NCASES + 1];

    jwt_setup();

    memset(tests, 0, sizeof(tests));

    tests[0].name = "unchanged_tokens_are_accepted";
    tests[0].test_func = unchanged_tokens_are_accepted;

    for (i = 0; i < NCASES; i++) {
        tests[i + 1].name = cases[i].name;
        tests[i + 1].test_func = refused;
        tests[i + 1].initial_state = (void *) (uintptr_t) &cases[i];
    }

    rc = cmocka_run_group_tests_name("jwt", tests, NULL, NULL);

    jwt_teardown();

    return rc;
}
