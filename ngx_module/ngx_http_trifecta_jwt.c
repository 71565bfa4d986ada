#include <string.h>

#include <trifecta/json.h>

#include "ngx_http_trifecta_claims.h"
#include "ngx_http_trifecta_jwt.h"


/* A token that is cut at its dots and decoded, but not believed. */

typedef struct {
    const unsigned char  *input;        /* what is signed */
    size_t                input_len;
    json_t               *header;
    json_t               *payload;
    const tf_jwa_alg_t   *alg;
    const char           *kid;          /* NULL: none */
    size_t                kid_len;
    size_t                sig_len;
    unsigned char         sig[TF_JWT_MAX];
} tf_jwt_parts_t;


static tf_jwt_reason_t tf_jwt_split(tf_jwt_parts_t *parts,
    const unsigned char *token, size_t len);
static int tf_jwt_base64url(unsigned char *dst, size_t *dst_len,
    const unsigned char *src, size_t len);
static tf_jwt_reason_t tf_jwt_json(json_t **json, const unsigned char *src,
    size_t len, tf_jwt_reason_t malformed);
static tf_jwt_reason_t tf_jwt_header(tf_jwt_parts_t *parts);
static int tf_jwt_is_typ(const char *typ, size_t len);
static int tf_jwt_same_word(const char *a, size_t len, const char *b);
static tf_jwt_reason_t tf_jwt_issuer(tf_jwt_identity_t *id, json_t *payload,
    const tf_jwt_issuer_t *issuers, size_t nissuers);
static tf_jwt_reason_t tf_jwt_signature(const tf_jwt_parts_t *parts,
    const tf_jwt_issuer_t *issuer);


static const struct {
    tf_jwt_verdict_t   verdict;
    const char        *text;
} tf_jwt_reasons[] = {
#define TF_JWT_REASON_ROW(name, verdict, text)  { TF_JWT_##verdict, text },
    TF_JWT_REASONS(TF_JWT_REASON_ROW)
#undef TF_JWT_REASON_ROW
};


tf_jwt_verdict_t
tf_jwt_check(tf_jwt_identity_t *id, const unsigned char *token, size_t len,
    const tf_jwt_issuer_t *issuers, size_t nissuers, int64_t now,
    int64_t leeway)
{
    tf_jwt_parts_t   parts;
    tf_jwt_reason_t  reason;

    memset(id, 0, sizeof(tf_jwt_identity_t));

    parts.header = NULL;
    parts.payload = NULL;

    reason = tf_jwt_split(&parts, token, len);

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_jwt_header(&parts);
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_jwt_issuer(id, parts.payload, issuers, nissuers);
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_jwt_signature(&parts, id->issuer);
    }

    if (reason == TF_JWT_R_GOOD) {
        id->claims = json_incref(parts.payload);
        reason = tf_claims_check(id, now, leeway);
    }

    json_decref(parts.header);
    json_decref(parts.payload);

    if (reason != TF_JWT_R_GOOD) {
        tf_jwt_release(id);
    }

    id->reason = reason;

    return tf_jwt_reasons[reason].verdict;
}


void
tf_jwt_release(tf_jwt_identity_t *id)
{
    json_decref(id->claims);
    json_decref(id->groups);
    json_decref(id->scopes);

    memset(id, 0, sizeof(tf_jwt_identity_t));
}


const char *
tf_jwt_reason_text(tf_jwt_reason_t reason)
{
    return tf_jwt_reasons[reason].text;
}


static tf_jwt_reason_t
tf_jwt_split(tf_jwt_parts_t *parts, const unsigned char *token, size_t len)
{
    size_t                header_len, payload_len;
    tf_jwt_reason_t       reason;
    const unsigned char  *end, *dot, *second;

    if (len > TF_JWT_MAX) {
        return TF_JWT_R_TOO_LONG;
    }

    end = token + len;

    dot = len ? memchr(token, '.', len) : NULL;
    if (dot == NULL) {
        return TF_JWT_R_SEGMENTS;
    }

    second = memchr(dot + 1, '.', (size_t) (end - dot - 1));
    if (second == NULL
        || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
    {
        return TF_JWT_R_SEGMENTS;
    }

    header_len = (size_t) (dot - token);
    payload_len = (size_t) (second - dot - 1);

    parts->input = token;
    parts->input_len = (size_t) (second - token);

    if (tf_jwt_base64url(parts->sig, &parts->sig_len, second + 1,
                         (size_t) (end - second - 1))
        != 0)
    {
        return TF_JWT_R_BASE64;
    }

    reason = tf_jwt_json(&parts->header, token, header_len, TF_JWT_R_HEADER);
    if (reason != TF_JWT_R_GOOD) {
        return reason;
    }

    return tf_jwt_json(&parts->payload, dot + 1, payload_len,
                       TF_JWT_R_PAYLOAD);
}


/*
 * Strict: no padding, no other alphabet, no white space, and the bits that
 * the last character has too many must be zero.  Else one signature had many
 * spellings, and whoever compares tokens would see different ones.
 */

static int
tf_jwt_base64url(unsigned char *dst, size_t *dst_len,
    const unsigned char *src, size_t len)
{
    size_t         i;
    unsigned       bits, acc, v;
    unsigned char  c, *p;

    p = dst;
    acc = 0;
    bits = 0;

    for (i = 0; i < len; i++) {
        c = src[i];

        if (c >= 'A' && c <= 'Z') {
            v = c - 'A';

        } else if (c >= 'a' && c <= 'z') {
            v = c - 'a' + 26;

        } else if (c >= '0' && c <= '9') {
            v = c - '0' + 52;

        } else if (c == '-') {
            v = 62;

        } else if (c == '_') {
            v = 63;

        } else {
            return -1;
        }

        acc = (acc << 6 | v) & 0xffff;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *p++ = (unsigned char) (acc >> bits);
        }
    }

    if (bits >= 6 || (acc & ((1u << bits) - 1)) != 0) {
        return -1;
    }

    *dst_len = (size_t) (p - dst);

    return 0;
}


static tf_jwt_reason_t
tf_jwt_json(json_t **json, const unsigned char *src, size_t len,
    tf_jwt_reason_t malformed)
{
    size_t         n;
    json_error_t   err;
    unsigned char  text[TF_JWT_MAX];

    if (tf_jwt_base64url(text, &n, src, len) != 0) {
        return TF_JWT_R_BASE64;
    }

    if (tf_json_too_deep(text, n)) {
        return malformed;
    }

    *json = json_loadb((const char *) text, n, JSON_REJECT_DUPLICATES, &err);

    if (*json == NULL) {

        /* every defect of the text has a message, lack of memory has none */

        return err.text[0] == '\0' ? TF_JWT_R_MEMORY : malformed;
    }

    return json_is_object(*json) ? TF_JWT_R_GOOD : malformed;
}


static tf_jwt_reason_t
tf_jwt_header(tf_jwt_parts_t *parts)
{
    const json_t  *alg, *typ, *kid;

    alg = json_object_get(parts->header, "alg");

    if (!json_is_string(alg)) {
        return TF_JWT_R_ALG;
    }

    parts->alg = tf_jwa_find(json_string_value(alg), json_string_length(alg));

    if (parts->alg == NULL) {
        return TF_JWT_R_ALG;
    }

    /* an extension that must be understood, and none is */

    if (json_object_get(parts->header, "crit") != NULL) {
        return TF_JWT_R_CRIT;
    }

    if (json_object_get(parts->header, "b64") != NULL) {
        return TF_JWT_R_B64;
    }

    typ = json_object_get(parts->header, "typ");

    if (typ != NULL
        && (!json_is_string(typ)
            || !tf_jwt_is_typ(json_string_value(typ),
                              json_string_length(typ))))
    {
        return TF_JWT_R_TYP;
    }

    kid = json_object_get(parts->header, "kid");

    if (kid != NULL && !json_is_string(kid)) {
        return TF_JWT_R_KID;
    }

    parts->kid = json_string_value(kid);
    parts->kid_len = json_string_length(kid);

    return TF_JWT_R_GOOD;
}


static int
tf_jwt_is_typ(const char *typ, size_t len)
{
    size_t              n;
    static const char   prefix[] = "application/";

    n = sizeof(prefix) - 1;

    if (len > n && tf_jwt_same_word(typ, n, prefix)) {
        typ += n;
        len -= n;
    }

    return tf_jwt_same_word(typ, len, "jwt")
           || tf_jwt_same_word(typ, len, "at+jwt");
}


/* Compares without case; b is in lower case. */

static int
tf_jwt_same_word(const char *a, size_t len, const char *b)
{
    char    c;
    size_t  i;

    if (strlen(b) != len) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        c = a[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c | 0x20);
        }

        if (c != b[i]) {
            return 0;
        }
    }

    return 1;
}


static tf_jwt_reason_t
tf_jwt_issuer(tf_jwt_identity_t *id, json_t *payload,
    const tf_jwt_issuer_t *issuers, size_t nissuers)
{
    size_t         i;
    const json_t  *iss;

    iss = json_object_get(payload, "iss");

    if (!json_is_string(iss)) {
        return TF_JWT_R_ISS;
    }

    for (i = 0; i < nissuers; i++) {
        if (tf_claims_equal(iss, issuers[i].iss)) {
            id->issuer = &issuers[i];
            return TF_JWT_R_GOOD;
        }
    }

    return TF_JWT_R_ISSUER;
}


static tf_jwt_reason_t
tf_jwt_signature(const tf_jwt_parts_t *parts, const tf_jwt_issuer_t *issuer)
{
    size_t            i;
    tf_jwt_reason_t   reason;
    tf_jwa_verdict_t  verdict;

    reason = TF_JWT_R_KEY;

    for (i = 0; i < issuer->nkeys; i++) {

        if (!tf_jwa_key_fits(issuer->keys[i], parts->alg, parts->kid,
                             parts->kid_len))
        {
            continue;
        }

        verdict = tf_jwa_verify(issuer->keys[i], parts->alg, parts->input,
                                parts->input_len, parts->sig, parts->sig_len);

        if (verdict == TF_JWA_OK) {
            return TF_JWT_R_GOOD;
        }

        if (verdict != TF_JWA_MISMATCH) {
            return TF_JWT_R_MEMORY;
        }

        reason = TF_JWT_R_SIGNATURE;
    }

    return reason;
}
