#ifndef NGX_HTTP_TRIFECTA_JWT_H
#define NGX_HTTP_TRIFECTA_JWT_H


#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <trifecta/job.h>

#include "ngx_http_trifecta_jwa.h"


/*
 * From a token's bytes to a verdict (RFC 7519, 7515, 8725).
 *
 * In: the bytes, the issuers with their keys, the time.  Out: one of five
 * verdicts, the reason and, when the verdict is OK and only then, the
 * identity that the token proves.  No request and no nginx type is known
 * here, so this can be tested and fuzzed alone.
 *
 * The order of the checks:
 *
 *   1. form       three segments of canonical base64url, 8 KB at most
 *   2. JSON       header and payload are objects: no duplicate members, no
 *                 U+0000, no more than TF_JSON_DEPTH_MAX levels
 *   3. header     alg is a row of the table of algorithms; no crit, no b64;
 *                 typ, if there, is JWT or at+jwt.  jku, jwk, x5u and x5c
 *                 would let the token bring its own key: nobody reads them
 *   4. issuer     the payload's iss, not trusted yet, chooses the issuer and
 *                 with it the only keys that may be tried
 *   5. signature  by a key of that issuer that was made for this alg, and
 *                 this kid if the key has one
 *   6. claims     sub, aud, exp, nbf, iat, groups, scopes
 *   7. expiry     what is otherwise in order may be too old
 *   8. tenant     what is in order and in time may be nobody's
 *
 * Nothing of a token is believed before step 5.  Expired comes this late so
 * that it is said only about tokens that were good once: a client then knows
 * that a new token helps.
 *
 *   verdict    means                            a client gets
 *   OK         identity is set                  -
 *   INVALID    any defect of steps 1 to 6       401 invalid_token
 *   EXPIRED    step 7, everything else is good  401 token_expired
 *   FORBIDDEN  step 8, no tenant for it         403 forbidden
 *   FAILED     no memory, nothing is known      500 internal_error
 */

#define TF_JWT_MAX        8192              /* bytes of a token */
#define TF_JWT_KEYS_MAX   16                /* keys of one issuer */
#define TF_JWT_DATE_MAX   253402300799      /* the last second of 9999 */
#define TF_JWT_ISSUER_MAX 32                /* bytes of an issuer's name */

typedef enum {
    TF_JWT_OK = 0,
    TF_JWT_INVALID,
    TF_JWT_EXPIRED,
    TF_JWT_FORBIDDEN,
    TF_JWT_FAILED
} tf_jwt_verdict_t;


/*
 * X(name, verdict, text): every reason and its verdict.  The text goes to the
 * client and to the log; it tells nothing of the token but what is wrong.
 */

#define TF_JWT_REASONS(X)                                                     \
    X(GOOD,          OK,        "the token is good")                          \
    X(TOO_LONG,      INVALID,   "the token is longer than 8192 bytes")        \
    X(SEGMENTS,      INVALID,   "the token has not three segments")           \
    X(BASE64,        INVALID,   "the token is not canonical base64url")       \
    X(HEADER,        INVALID,   "the token's header is not a proper JSON "    \
                                "object")                                     \
    X(PAYLOAD,       INVALID,   "the token's payload is not a proper JSON "   \
                                "object")                                     \
    X(ALG,           INVALID,   "the token's \"alg\" is not accepted")        \
    X(CRIT,          INVALID,   "the token's header has \"crit\", and no "    \
                                "extension is supported")                     \
    X(B64,           INVALID,   "the token's header has \"b64\", which is "   \
                                "not supported")                              \
    X(TYP,           INVALID,   "the token's \"typ\" is not JWT")             \
    X(KID,           INVALID,   "the token's \"kid\" is not a string")        \
    X(ISS,           INVALID,   "the token has no proper \"iss\"")            \
    X(ISSUER,        INVALID,   "the token's issuer is not known here")       \
    X(KEY,           INVALID,   "the token's issuer has no key for its "      \
                                "\"alg\" and \"kid\"")                        \
    X(SIGNATURE,     INVALID,   "the token's signature is wrong")             \
    X(SUB,           INVALID,   "the token has no proper \"sub\"")            \
    X(AUD,           INVALID,   "the token has no proper \"aud\"")            \
    X(AUDIENCE,      INVALID,   "the token is for another audience")          \
    X(EXP,           INVALID,   "the token has no proper \"exp\"")            \
    X(NBF,           INVALID,   "the token has an improper \"nbf\"")          \
    X(NOT_YET,       INVALID,   "the token is not valid yet")                 \
    X(IAT,           INVALID,   "the token has an improper \"iat\"")          \
    X(FUTURE,        INVALID,   "the token was issued in the future")         \
    X(GROUPS,        INVALID,   "the token has improper \"groups\" or "       \
                                "\"roles\"")                                  \
    X(SCOPES,        INVALID,   "the token has improper \"scope\" or "        \
                                "\"scopes\"")                                 \
    X(TENANT_TYPE,   INVALID,   "the token's tenant is not a string")         \
    X(EXPIRED,       EXPIRED,   "the token has expired")                      \
    X(NO_TENANT,     FORBIDDEN, "the token belongs to no tenant of this "     \
                                "service")                                    \
    X(MEMORY,        FAILED,    "the token could not be checked")

typedef enum {
#define TF_JWT_REASON_ENUM(name, verdict, text)  TF_JWT_R_##name,
    TF_JWT_REASONS(TF_JWT_REASON_ENUM)
#undef TF_JWT_REASON_ENUM
    TF_JWT_R_COUNT
} tf_jwt_reason_t;


typedef struct {
    const char            *data;
    size_t                 len;
} tf_jwt_str_t;


/*
 * An issuer.  Its owners are "<name>:<sub>", so that the same sub of two
 * issuers is two owners.  It is bound to one tenant (tenant_claim is empty),
 * or to a list that the claim must be in; a token without the claim gets the
 * default, if there is one.
 */

typedef struct {
    tf_jwt_str_t           name;
    tf_jwt_str_t           iss;
    tf_jwt_str_t           aud;             /* empty: for no audience */
    tf_jwt_str_t           tenant;          /* fixed or default, or empty */
    tf_jwt_str_t           tenant_claim;
    const tf_jwt_str_t    *tenants;
    size_t                 ntenants;
    tf_jwa_key_t          *keys[TF_JWT_KEYS_MAX];
    size_t                 nkeys;
} tf_jwt_issuer_t;


/* When it is good, in seconds.  A date that the token has not is 0. */

typedef struct {
    int64_t                exp;
    int64_t                nbf;
    int64_t                iat;
} tf_jwt_dates_t;


/* What a good token proves.  "tenant" points into the issuer. */

typedef struct {
    tf_jwt_reason_t        reason;
    const tf_jwt_issuer_t *issuer;
    tf_jwt_dates_t         dates;
    json_t                *claims;          /* the whole payload */
    json_t                *groups;          /* array of strings */
    json_t                *scopes;          /* array of strings */
    tf_jwt_str_t           tenant;
    tf_jwt_str_t           sub;             /* points into claims */
    size_t                 owner_len;
    char                   owner[TF_OWNER_MAX + 1];
} tf_jwt_identity_t;


/*
 * Checks a token.  now and leeway are seconds.  Whatever the verdict, the
 * identity is written, with the reason; give it to tf_jwt_release once.
 */

tf_jwt_verdict_t tf_jwt_check(tf_jwt_identity_t *id,
    const unsigned char *token, size_t len, const tf_jwt_issuer_t *issuers,
    size_t nissuers, int64_t now, int64_t leeway);

void tf_jwt_release(tf_jwt_identity_t *id);

/*
 * Step 7, and what of step 6 is a matter of time: GOOD, NOT_YET, FUTURE or
 * EXPIRED.  All else of a token that was good once stays as it is.
 */

tf_jwt_reason_t tf_jwt_in_time(const tf_jwt_dates_t *dates, int64_t now,
    int64_t leeway);

const char *tf_jwt_reason_text(tf_jwt_reason_t reason);


#endif /* NGX_HTTP_TRIFECTA_JWT_H */
