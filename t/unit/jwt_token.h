#ifndef JWT_TOKEN_H
#define JWT_TOKEN_H


/*
 * Makes tokens for the tests of jwt.c: from the text of a header and of a
 * payload, signed with a secret or with an RSA key.  The making checks
 * nothing, so it can make any wrong token.  Texts live until the end of the
 * test program.
 *
 * Three issuers are known: "hs" (HS256, kid k1, audience trifecta, tenants
 * acme and beta by claim, no default), "rs" (RS256, kid r1, default tenant
 * beta) and "fix" (HS256 with SECRET2, no kid, no audience, tenant house).
 */

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ngx_http_trifecta_jwt.h"


#define JWT_NOW      1700000000
#define JWT_LEEWAY   30
#define JWT_TEXT     40000          /* bytes of any text made here */

#define ISS_HS   "https://hs.example"
#define ISS_RS   "https://rs.example"
#define ISS_FIX  "https://fixed.example"

#define SECRET   "0123456789abcdef0123456789abcdef"
#define SECRET2  "fedcba9876543210fedcba9876543210"

#define HEADER_HS  "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"
#define HEADER_RS  "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"r1\"}"

#define PAYLOAD(iss)                                                          \
    "{\"iss\":\"" iss "\",\"sub\":\"u1\",\"aud\":\"trifecta\","               \
    "\"exp\":1700000300,\"nbf\":1699999990,\"iat\":1699999980,"               \
    "\"tenant\":\"acme\",\"groups\":[\"g1\",\"g2\"],\"roles\":\"admin\","     \
    "\"scope\":\"ask read\",\"scopes\":[\"write\"]}"


typedef struct {
    const char  *alg;               /* how to sign: HS256, RS256, "" */
    const char  *secret;            /* HS256 */
    size_t       secret_len;
    EVP_PKEY    *pkey;              /* RS256 */
} jwt_signer_t;


static const tf_jwt_str_t  jwt_tenants[] = { { "acme", 4 }, { "beta", 4 } };

static tf_jwt_issuer_t     jwt_issuers[3];

static struct {
    jwt_signer_t  hs, other, empty, nobody, rs, rs_other, pem;
} jwt_by = {
    .hs       = { "HS256", SECRET, 32, NULL },
    .other    = { "HS256", SECRET2, 32, NULL },
    .empty    = { "HS256", "", 0, NULL },
    .nobody   = { "", NULL, 0, NULL },
    .rs       = { "RS256", NULL, 0, NULL },
    .rs_other = { "RS256", NULL, 0, NULL },
    .pem      = { "HS256", NULL, 0, NULL }
};


typedef struct jwt_chunk_s  jwt_chunk_t;

struct jwt_chunk_s {
    jwt_chunk_t  *next;
    char          data[];
};

static jwt_chunk_t  *jwt_chunks;


static inline char *
jwt_alloc(size_t size)
{
    jwt_chunk_t  *chunk;

    chunk = malloc(sizeof(jwt_chunk_t) + size);
    assert_non_null(chunk);

    chunk->next = jwt_chunks;
    jwt_chunks = chunk;

    return chunk->data;
}


static inline char *
jwt_base64url(const void *data, size_t len)
{
    char                 *text, *p;
    size_t                i, n;
    unsigned              v;
    const unsigned char  *s;
    static const char     set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789-_";

    s = data;
    text = p = jwt_alloc(len * 4 / 3 + 4);

    for (i = 0; i < len; i += 3) {
        n = len - i > 3 ? 3 : len - i;

        v = (unsigned) s[i] << 16;
        v |= n > 1 ? (unsigned) s[i + 1] << 8 : 0;
        v |= n > 2 ? (unsigned) s[i + 2] : 0;

        *p++ = set[v >> 18];
        *p++ = set[v >> 12 & 63];

        if (n > 1) {
            *p++ = set[v >> 6 & 63];
        }

        if (n > 2) {
            *p++ = set[v & 63];
        }
    }

    *p = '\0';

    return text;
}


/* The signature of text in base64url. */

static inline char *
jwt_sign(const jwt_signer_t *signer, const char *text)
{
    size_t          len;
    unsigned        n;
    EVP_MD_CTX     *ctx;
    unsigned char   mac[EVP_MAX_MD_SIZE];
    unsigned char   sig[2048];

    if (strcmp(signer->alg, "HS256") == 0) {
        assert_non_null(HMAC(EVP_sha256(), signer->secret,
                             (int) signer->secret_len,
                             (const unsigned char *) text, strlen(text), mac,
                             &n));
        return jwt_base64url(mac, n);
    }

    if (strcmp(signer->alg, "RS256") == 0) {
        len = sizeof(sig);
        ctx = EVP_MD_CTX_new();
        assert_non_null(ctx);
        assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL,
                                            signer->pkey), 1);
        assert_int_equal(EVP_DigestSign(ctx, sig, &len,
                                        (const unsigned char *) text,
                                        strlen(text)), 1);
        EVP_MD_CTX_free(ctx);
        return jwt_base64url(sig, len);
    }

    return jwt_base64url("", 0);
}


static inline char *
jwt_make(const jwt_signer_t *signer, const char *header, size_t header_len,
    const char *payload, size_t payload_len)
{
    char  *input, *token;

    input = jwt_alloc(JWT_TEXT);
    token = jwt_alloc(JWT_TEXT);

    snprintf(input, JWT_TEXT, "%s.%s", jwt_base64url(header, header_len),
             jwt_base64url(payload, payload_len));
    snprintf(token, JWT_TEXT, "%s.%s", input, jwt_sign(signer, input));

    return token;
}


static inline char *
jwt_copy(const char *text)
{
    size_t   len;
    char    *copy;

    len = strlen(text) + 1;
    copy = jwt_alloc(len);
    memcpy(copy, text, len);

    return copy;
}


/* text with its first "find" replaced; that there is one is asserted. */

static inline char *
jwt_change(const char *text, const char *find, const char *replace)
{
    char  *out, *at;

    out = jwt_alloc(JWT_TEXT);

    at = strstr(text, find);
    assert_non_null(at);

    snprintf(out, JWT_TEXT, "%.*s%s%s", (int) (at - text), text, replace,
             at + strlen(find));

    return out;
}


static inline EVP_PKEY *
jwt_rsa(int bits)
{
    EVP_PKEY  *pkey;

    pkey = EVP_RSA_gen((unsigned) bits);
    assert_non_null(pkey);

    return pkey;
}


static inline char *
jwt_pem(EVP_PKEY *pkey, int private)
{
    BIO   *bio;
    char  *text, *data;
    long   n;

    bio = BIO_new(BIO_s_mem());
    assert_non_null(bio);

    if (private) {
        assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0,
                                                  NULL, NULL), 1);
    } else {
        assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    }

    n = BIO_get_mem_data(bio, &data);
    text = jwt_alloc((size_t) n + 1);
    memcpy(text, data, (size_t) n);
    text[n] = '\0';

    BIO_free(bio);

    return text;
}


static inline tf_jwa_key_t *
jwt_key(const char *alg, const char *kid, const void *data, size_t len)
{
    const char    *err;
    tf_jwa_key_t  *key;

    key = tf_jwa_key_create(tf_jwa_find(alg, strlen(alg)), kid,
                            kid ? strlen(kid) : 0, data, len, &err);
    if (key == NULL) {
        fail_msg("%s: %s", alg, err);
    }

    return key;
}


static inline tf_jwt_str_t
jwt_str(const char *text)
{
    tf_jwt_str_t  str;

    str.data = text;
    str.len = strlen(text);

    return str;
}


static inline void
jwt_setup(void)
{
    char             *pem;
    tf_jwt_issuer_t  *issuer;

    jwt_by.rs.pkey = jwt_rsa(2048);
    jwt_by.rs_other.pkey = jwt_rsa(2048);

    pem = jwt_pem(jwt_by.rs.pkey, 0);

    jwt_by.pem.secret = pem;
    jwt_by.pem.secret_len = strlen(pem);

    memset(jwt_issuers, 0, sizeof(jwt_issuers));

    issuer = &jwt_issuers[0];
    issuer->name = jwt_str("hs");
    issuer->iss = jwt_str(ISS_HS);
    issuer->aud = jwt_str("trifecta");
    issuer->tenant_claim = jwt_str("tenant");
    issuer->tenants = jwt_tenants;
    issuer->ntenants = 2;
    issuer->keys[0] = jwt_key("HS256", "k1", SECRET, 32);
    issuer->nkeys = 1;

    issuer = &jwt_issuers[1];
    issuer->name = jwt_str("rs");
    issuer->iss = jwt_str(ISS_RS);
    issuer->aud = jwt_str("trifecta");
    issuer->tenant = jwt_str("beta");
    issuer->tenant_claim = jwt_str("tenant");
    issuer->tenants = jwt_tenants;
    issuer->ntenants = 2;
    issuer->keys[0] = jwt_key("RS256", "r1", pem, strlen(pem));
    issuer->nkeys = 1;

    issuer = &jwt_issuers[2];
    issuer->name = jwt_str("fix");
    issuer->iss = jwt_str(ISS_FIX);
    issuer->tenant = jwt_str("house");
    issuer->keys[0] = jwt_key("HS256", NULL, SECRET2, 32);
    issuer->nkeys = 1;
}


static inline void
jwt_teardown(void)
{
    size_t        i;
    jwt_chunk_t  *next;

    for ( ; jwt_chunks; jwt_chunks = next) {
        next = jwt_chunks->next;
        free(jwt_chunks);
    }

    for (i = 0; i < 3; i++) {
        tf_jwa_key_free(jwt_issuers[i].keys[0]);
    }

    EVP_PKEY_free(jwt_by.rs.pkey);
    EVP_PKEY_free(jwt_by.rs_other.pkey);
}


/*
 * Checks a token that stands alone in memory, so that the sanitizer sees a
 * read beyond its end.
 */

static inline tf_jwt_verdict_t
jwt_check(tf_jwt_identity_t *id, const char *token, size_t len)
{
    unsigned char     *copy;
    tf_jwt_verdict_t   verdict;

    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, token, len);

    verdict = tf_jwt_check(id, copy, len, jwt_issuers, 3, JWT_NOW,
                           JWT_LEEWAY);
    free(copy);

    return verdict;
}


/* Whoever was refused has no identity, not even a part of one. */

static inline void
jwt_assert_nobody(const tf_jwt_identity_t *id)
{
    assert_null(id->issuer);
    assert_null(id->claims);
    assert_null(id->groups);
    assert_null(id->scopes);
    assert_int_equal(id->sub.len, 0);
    assert_int_equal(id->tenant.len, 0);
    assert_int_equal(id->owner_len, 0);
    assert_int_equal(id->owner[0], '\0');
}


#endif /* JWT_TOKEN_H */
