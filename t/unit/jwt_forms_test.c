/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * What a token may look like: every accepted variant with the identity that
 * comes out of it, and the refused spellings of a good token.
 */

#include "jwt_token.h"


#define NAME50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

#define DEEP6   "[[[[[["
#define DEEP6E  "]]]]]]"


typedef struct {
    const char  *name;
    int          rs;                /* RS256, else HS256 */
    int          head;              /* what is changed: header or payload */
    const char  *find;              /* NULL: nothing is */
    const char  *replace;
    const char  *owner;             /* NULL: as ever */
    const char  *tenant;
    const char  *groups;
    const char  *scopes;
} jwt_good_t;


static const jwt_good_t  goods[] = {
    { "hs256", 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
    { "rs256", 1, 0, NULL, NULL, "rs:u1", NULL, NULL, NULL },

    { "typ_in_lower_case", 0, 1, "JWT", "jwt", NULL, NULL, NULL, NULL },
    { "typ_at_jwt", 0, 1, "JWT", "AT+JWT", NULL, NULL, NULL, NULL },
    { "typ_application_at_jwt", 0, 1, "JWT", "application/at+jwt", NULL,
      NULL, NULL, NULL },
    { "typ_missing", 0, 1, "\"typ\":\"JWT\",", "", NULL, NULL, NULL, NULL },
    { "jku_and_jwk_not_read", 0, 1, "{",
      "{\"jku\":\"https://evil.example\",\"jwk\":{},\"x5u\":1,\"x5c\":[],",
      NULL, NULL, NULL, NULL },
    { "header_with_white_space", 0, 1, "{", " {\r\n\t ", NULL, NULL, NULL,
      NULL },

    { "sub_of_another_script", 0, 0, "\"u1\"", "\"\xc3\xa4\xe2\x82\xac\"",
      "hs:\xc3\xa4\xe2\x82\xac", NULL, NULL, NULL },
    { "sub_with_a_colon", 0, 0, "\"u1\"", "\"rs:u1\"", "hs:rs:u1", NULL,
      NULL, NULL },
    { "sub_of_252_bytes", 0, 0, "\"u1\"",
      "\"" NAME50 NAME50 NAME50 NAME50 NAME50 "xx\"",
      "hs:" NAME50 NAME50 NAME50 NAME50 NAME50 "xx", NULL, NULL, NULL },
    { "aud_array", 0, 0, "\"trifecta\"", "[\"a\",\"trifecta\"]", NULL, NULL,
      NULL, NULL },
    { "aud_array_with_others_behind", 0, 0, "\"trifecta\"",
      "[\"trifecta\",\"z\"]", NULL, NULL, NULL, NULL },
    { "payload_32_levels_deep", 0, 0, "{",
      "{\"x\":" DEEP6 DEEP6 DEEP6 DEEP6 DEEP6 "[]" DEEP6E DEEP6E DEEP6E
      DEEP6E DEEP6E ",", NULL, NULL, NULL, NULL },
    { "brackets_in_strings_are_no_depth", 0, 0, "{",
      "{\"x\":\"\\\"" DEEP6 DEEP6 DEEP6 DEEP6 DEEP6 DEEP6 "\",", NULL, NULL,
      NULL, NULL },

    { "exp_real", 0, 0, "1700000300", "1700000300.25", NULL, NULL, NULL,
      NULL },
    { "exp_with_an_exponent", 0, 0, "1700000300", "1.7000003e9", NULL, NULL,
      NULL, NULL },
    { "exp_in_the_leeway", 0, 0, "1700000300", "1699999971", NULL, NULL,
      NULL, NULL },
    { "exp_at_the_end_of_9999", 0, 0, "1700000300", "253402300799", NULL,
      NULL, NULL, NULL },
    { "nbf_in_the_leeway", 0, 0, "1699999990", "1700000030", NULL, NULL,
      NULL, NULL },
    { "nbf_missing", 0, 0, "\"nbf\":1699999990,", "", NULL, NULL, NULL,
      NULL },
    { "iat_in_the_leeway", 0, 0, "1699999980", "1700000030", NULL, NULL,
      NULL, NULL },
    { "iat_missing", 0, 0, "\"iat\":1699999980,", "", NULL, NULL, NULL,
      NULL },

    { "groups_string_is_one_group", 0, 0, "[\"g1\",\"g2\"]", "\"g1 g2\"",
      NULL, NULL, "[\"g1 g2\",\"admin\"]", NULL },
    { "groups_missing", 0, 0, "\"groups\":[\"g1\",\"g2\"],", "", NULL, NULL,
      "[\"admin\"]", NULL },
    { "roles_array", 0, 0, "\"admin\"", "[\"admin\",\"ops\"]", NULL, NULL,
      "[\"g1\",\"g2\",\"admin\",\"ops\"]", NULL },
    { "empty_group_left_out", 0, 0, "\"g2\"", "\"\"", NULL, NULL,
      "[\"g1\",\"admin\"]", NULL },
    { "scope_with_many_spaces", 0, 0, "ask read", "  ask   read ", NULL,
      NULL, NULL, NULL },
    { "scope_missing", 0, 0, "\"scope\":\"ask read\",", "", NULL, NULL, NULL,
      "[\"write\"]" },
    { "scopes_string", 0, 0, "[\"write\"]", "\"write all\"", NULL, NULL,
      NULL, "[\"ask\",\"read\",\"write\",\"all\"]" },

    { "tenant_of_the_list", 0, 0, "acme", "beta", NULL, "beta", NULL, NULL },
    { "tenant_missing_takes_the_default", 1, 0, "\"tenant\":\"acme\",", "",
      "rs:u1", "beta", NULL, NULL },
};

#define NGOODS  (sizeof(goods) / sizeof(goods[0]))


static char *
jwt_good(void)
{
    return jwt_make(&jwt_by.hs, HEADER_HS, strlen(HEADER_HS),
                    PAYLOAD(ISS_HS), strlen(PAYLOAD(ISS_HS)));
}


static char *
jwt_good_rs(void)
{
    return jwt_make(&jwt_by.rs, HEADER_RS, strlen(HEADER_RS),
                    PAYLOAD(ISS_RS), strlen(PAYLOAD(ISS_RS)));
}


static void
jwt_assert(const char *token, size_t len, tf_jwt_reason_t reason)
{
    tf_jwt_identity_t  id;

    (void) jwt_check(&id, token, len);

    assert_string_equal(tf_jwt_reason_text(id.reason),
                        tf_jwt_reason_text(reason));

    if (reason != TF_JWT_R_GOOD) {
        jwt_assert_nobody(&id);
    }

    tf_jwt_release(&id);
}


static void
jwt_assert_list(const json_t *list, const char *expected)
{
    char  *text;

    text = json_dumps(list, JSON_COMPACT);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}


static void
accepted(void **state)
{
    char               *header, *payload, *token;
    const jwt_good_t   *g;
    tf_jwt_identity_t   id;

    g = *state;

    header = jwt_copy(g->rs ? HEADER_RS : HEADER_HS);
    payload = jwt_copy(g->rs ? PAYLOAD(ISS_RS) : PAYLOAD(ISS_HS));

    if (g->find != NULL && g->head) {
        header = jwt_change(header, g->find, g->replace);

    } else if (g->find != NULL) {
        payload = jwt_change(payload, g->find, g->replace);
    }

    token = jwt_make(g->rs ? &jwt_by.rs : &jwt_by.hs, header, strlen(header),
                     payload, strlen(payload));

    assert_int_equal(jwt_check(&id, token, strlen(token)), TF_JWT_OK);

    assert_string_equal(id.owner, g->owner ? g->owner : "hs:u1");
    assert_int_equal(id.owner_len, strlen(id.owner));
    assert_string_equal(id.tenant.data, g->tenant ? g->tenant : "acme");
    jwt_assert_list(id.groups, g->groups ? g->groups
                                         : "[\"g1\",\"g2\",\"admin\"]");
    jwt_assert_list(id.scopes, g->scopes ? g->scopes
                                         : "[\"ask\",\"read\",\"write\"]");

    tf_jwt_release(&id);
}


/* ISS_FIX: no kid, no audience, one tenant whatever the claim says. */

static void
issuer_bound_to_one_tenant(void **state)
{
    char               *payload, *token;
    tf_jwt_identity_t   id;

    (void) state;

    payload = jwt_change(PAYLOAD(ISS_FIX), "\"aud\":\"trifecta\",", "");
    token = jwt_make(&jwt_by.other, HEADER_HS, strlen(HEADER_HS), payload,
                     strlen(payload));

    assert_int_equal(jwt_check(&id, token, strlen(token)), TF_JWT_OK);
    assert_string_equal(id.owner, "fix:u1");
    assert_string_equal(id.tenant.data, "house");

    tf_jwt_release(&id);
}


static void
segments_are_exactly_three(void **state)
{
    char  *token, *two, *four;

    (void) state;

    token = jwt_good();
    two = jwt_copy(token);
    *strrchr(two, '.') = '\0';
    four = jwt_change(token, ".", "..");

    jwt_assert("", 0, TF_JWT_R_SEGMENTS);
    jwt_assert(".", 1, TF_JWT_R_SEGMENTS);
    jwt_assert("..", 2, TF_JWT_R_HEADER);
    jwt_assert("...", 3, TF_JWT_R_SEGMENTS);
    jwt_assert("....", 4, TF_JWT_R_SEGMENTS);
    jwt_assert(two, strlen(two), TF_JWT_R_SEGMENTS);
    jwt_assert(four, strlen(four), TF_JWT_R_SEGMENTS);

    strcat(token, ".");
    jwt_assert(token, strlen(token), TF_JWT_R_SEGMENTS);
}


static void
size_is_limited(void **state)
{
    int     n;
    char   *token, *payload, filler[8192];
    size_t  len;

    (void) state;

    memset(filler, 'x', sizeof(filler));

    /* three characters of payload are four of token */

    for (n = 5000, len = 0; len < TF_JWT_MAX + 8; n++) {
        payload = jwt_alloc(JWT_TEXT);
        snprintf(payload, JWT_TEXT, "{\"x\":\"%.*s\",%s", n, filler,
                 &PAYLOAD(ISS_HS)[1]);
        token = jwt_make(&jwt_by.hs, HEADER_HS, strlen(HEADER_HS), payload,
                         strlen(payload));
        len = strlen(token);

        if (len > TF_JWT_MAX - 8) {
            jwt_assert(token, len, len <= TF_JWT_MAX ? TF_JWT_R_GOOD
                                                     : TF_JWT_R_TOO_LONG);
        } else {
            n += 3;
        }
    }
}


/* One signature has one spelling. */

static void
base64url_is_strict(void **state)
{
    char               *token, *last, *changed;
    size_t              i, k, len;
    const char         *p;
    static const char   set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789-_";
    static const char   bad[] = "+/=~!, \t\r\n%\x80\xff";

    (void) state;

    token = jwt_good();
    len = strlen(token);

    /* 32 bytes of MAC leave two bits over in the last character */

    last = &token[len - 1];
    p = strchr(set, *last);
    assert_non_null(p);
    assert_int_equal((p - set) & 3, 0);

    for (i = 1; i < 4; i++) {
        *last = p[i];
        jwt_assert(token, len, TF_JWT_R_BASE64);
    }

    *last = *p;
    jwt_assert(token, len, TF_JWT_R_GOOD);

    /* six bits more are no byte */

    changed = jwt_alloc(len + 3);
    snprintf(changed, len + 3, "%sAA", token);
    jwt_assert(changed, len + 2, TF_JWT_R_BASE64);

    /* and nothing else may stand anywhere */

    for (i = 0; i <= len; i++) {
        changed = jwt_alloc(len + 2);
        memcpy(changed, token, i);
        memcpy(changed + i + 1, token + i, len - i);

        for (k = 0; k < sizeof(bad); k++) {
            changed[i] = bad[k];
            jwt_assert(changed, len + 1, TF_JWT_R_BASE64);
        }
    }
}


static void
no_part_of_a_token_is_a_token(void **state)
{
    char               *token;
    size_t              len, i;
    tf_jwt_identity_t   id;

    (void) state;

    token = jwt_good();
    len = strlen(token);

    for (i = 0; i < len; i++) {
        assert_int_not_equal(jwt_check(&id, token, i), TF_JWT_OK);
        tf_jwt_release(&id);

        assert_int_not_equal(jwt_check(&id, token + len - i, i), TF_JWT_OK);
        tf_jwt_release(&id);
    }
}


static void
every_changed_byte_is_refused(void **state)
{
    char               *token, c;
    size_t              len, i, k;
    tf_jwt_identity_t   id;
    static const char   others[] = "AQgw-.0";

    (void) state;

    token = jwt_good();
    len = strlen(token);

    for (i = 0; i < len; i++) {
        c = token[i];

        for (k = 0; k < sizeof(others); k++) {
            if (others[k] == c) {
                continue;
            }

            token[i] = others[k];
            assert_int_not_equal(jwt_check(&id, token, len), TF_JWT_OK);
            jwt_assert_nobody(&id);
            tf_jwt_release(&id);
        }

        token[i] = c;
    }

    jwt_assert(token, len, TF_JWT_R_GOOD);
}


static void
signature_of_another_length_is_refused(void **state)
{
    char           *token, *input, *sig, *mac;
    size_t          i;
    unsigned char   zeros[300];

    (void) state;

    memset(zeros, 0, sizeof(zeros));

    token = jwt_good();
    sig = strrchr(token, '.') + 1;
    input = jwt_copy(token);
    *strrchr(input, '.') = '\0';

    for (i = 0; i < 65; i++) {
        token = jwt_alloc(JWT_TEXT);
        snprintf(token, JWT_TEXT, "%s.%s", input, jwt_base64url(zeros, i));
        jwt_assert(token, strlen(token), TF_JWT_R_SIGNATURE);
    }

    /* the right MAC and one byte more, or three less */

    mac = jwt_copy(sig);
    token = jwt_alloc(JWT_TEXT);
    snprintf(token, JWT_TEXT, "%s.%.40s", input, mac);
    jwt_assert(token, strlen(token), TF_JWT_R_SIGNATURE);
    snprintf(token, JWT_TEXT, "%s.%sA", input, mac);
    jwt_assert(token, strlen(token), TF_JWT_R_SIGNATURE);

    token = jwt_good_rs();
    *(strrchr(token, '.') + 1) = '\0';

    for (i = 254; i < 259; i++) {
        input = jwt_alloc(JWT_TEXT);
        snprintf(input, JWT_TEXT, "%s%s", token, jwt_base64url(zeros, i));
        jwt_assert(input, strlen(input), TF_JWT_R_SIGNATURE);
    }
}


static void
another_payload_under_the_same_signature(void **state)
{
    char  *token, *forged, *payload;

    (void) state;

    payload = jwt_change(PAYLOAD(ISS_HS), "\"u1\"", "\"u2\"");

    token = jwt_good();
    forged = jwt_alloc(JWT_TEXT);
    snprintf(forged, JWT_TEXT, "%s.%s%s",
             jwt_base64url(HEADER_HS, strlen(HEADER_HS)),
             jwt_base64url(payload, strlen(payload)), strrchr(token, '.'));
    jwt_assert(forged, strlen(forged), TF_JWT_R_SIGNATURE);

    token = jwt_good_rs();
    payload = jwt_change(PAYLOAD(ISS_RS), "\"u1\"", "\"u2\"");
    snprintf(forged, JWT_TEXT, "%s.%s%s",
             jwt_base64url(HEADER_RS, strlen(HEADER_RS)),
             jwt_base64url(payload, strlen(payload)), strrchr(token, '.'));
    jwt_assert(forged, strlen(forged), TF_JWT_R_SIGNATURE);
}


/* No verdict depends on the tokens before. */

static void
a_bad_token_changes_nothing(void **state)
{
    int    i;
    char  *good, *good_rs, *bad, *bad_rs;

    (void) state;

    good = jwt_good();
    good_rs = jwt_good_rs();
    bad = jwt_make(&jwt_by.other, HEADER_HS, strlen(HEADER_HS),
                   PAYLOAD(ISS_HS), strlen(PAYLOAD(ISS_HS)));
    bad_rs = jwt_make(&jwt_by.rs_other, HEADER_RS, strlen(HEADER_RS),
                      PAYLOAD(ISS_RS), strlen(PAYLOAD(ISS_RS)));

    for (i = 0; i < 20; i++) {
        jwt_assert(bad, strlen(bad), TF_JWT_R_SIGNATURE);
        jwt_assert(good, strlen(good), TF_JWT_R_GOOD);
        jwt_assert(bad_rs, strlen(bad_rs), TF_JWT_R_SIGNATURE);
        jwt_assert(good_rs, strlen(good_rs), TF_JWT_R_GOOD);
    }
}


/* Two keys of one issuer, as while keys rotate; none, as by mistake. */

static void
an_issuer_may_have_more_keys(void **state)
{
    char               *token;
    tf_jwt_issuer_t     issuer;
    tf_jwt_identity_t   id;

    (void) state;

    token = jwt_good();

    issuer = jwt_issuers[0];
    issuer.keys[0] = jwt_issuers[2].keys[0];
    issuer.keys[1] = jwt_issuers[0].keys[0];
    issuer.nkeys = 2;

    assert_int_equal(tf_jwt_check(&id, (unsigned char *) token,
                                  strlen(token), &issuer, 1, JWT_NOW, 0),
                     TF_JWT_OK);
    tf_jwt_release(&id);

    issuer.nkeys = 1;

    assert_int_equal(tf_jwt_check(&id, (unsigned char *) token,
                                  strlen(token), &issuer, 1, JWT_NOW, 0),
                     TF_JWT_INVALID);
    assert_int_equal(id.reason, TF_JWT_R_SIGNATURE);

    issuer.nkeys = 0;

    assert_int_equal(tf_jwt_check(&id, (unsigned char *) token,
                                  strlen(token), &issuer, 1, JWT_NOW, 0),
                     TF_JWT_INVALID);
    assert_int_equal(id.reason, TF_JWT_R_KEY);

    assert_int_equal(tf_jwt_check(&id, (unsigned char *) token,
                                  strlen(token), NULL, 0, JWT_NOW, 0),
                     TF_JWT_INVALID);
    assert_int_equal(id.reason, TF_JWT_R_ISSUER);
}


int
main(void)
{
    int                             rc;
    size_t                          i, n;
    struct CMUnitTest               tests[NGOODS + 16];
    static const struct CMUnitTest  others[] = {
        cmocka_unit_test(issuer_bound_to_one_tenant),
        cmocka_unit_test(segments_are_exactly_three),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(base64url_is_strict),
        cmocka_unit_test(no_part_of_a_token_is_a_token),
        cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(signature_of_another_length_is_refused),
        cmocka_unit_test(another_payload_under_the_same_signature),
        cmocka_unit_test(a_bad_token_changes_nothing),
        cmocka_unit_test(an_issuer_may_have_more_keys),
    };

    jwt_setup();

    memset(tests, 0, sizeof(tests));

    for (i = 0; i < NGOODS; i++) {
        tests[i].name = goods[i].name;
        tests[i].test_func = accepted;
        tests[i].initial_state = (void *) (uintptr_t) &goods[i];
    }

    n = sizeof(others) / sizeof(others[0]);
    memcpy(&tests[i], others, sizeof(others));

    rc = _cmocka_run_group_tests("jwt forms", tests, i + n, NULL, NULL);

    jwt_teardown();

    return rc;
}
