#ifndef JWT_SIGN_H
#define JWT_SIGN_H


/*
 * Signs with every algorithm of the table, and in the ways that look like one
 * of them but are not: another salt, another digest.  Behind jwt_token.h,
 * which makes the text that is signed.
 */

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "jwt_token.h"


#define SECRET64  SECRET SECRET2

typedef enum {
    JWT_MAC,
    JWT_RSA,
    JWT_PSS,
    JWT_ECDSA,
    JWT_EDDSA
} jwt_family_t;


typedef struct {
    const char    *name;
    jwt_family_t   family;
    const char    *digest;
    int            n;               /* PSS: salt, ECDSA: bytes of r and s */
    const char    *mgf1;
} jwt_method_t;


static const jwt_method_t  jwt_methods[] = {
    { "HS256", JWT_MAC, "SHA256", 0, NULL },
    { "HS384", JWT_MAC, "SHA384", 0, NULL },
    { "HS512", JWT_MAC, "SHA512", 0, NULL },
    { "RS256", JWT_RSA, "SHA256", 0, NULL },
    { "RS384", JWT_RSA, "SHA384", 0, NULL },
    { "RS512", JWT_RSA, "SHA512", 0, NULL },
    { "PS256", JWT_PSS, "SHA256", 32, "SHA256" },
    { "PS384", JWT_PSS, "SHA384", 48, "SHA384" },
    { "PS256 salt 0", JWT_PSS, "SHA256", 0, "SHA256" },
    { "PS256 salt 20", JWT_PSS, "SHA256", 20, "SHA256" },
    { "PS256 salt 31", JWT_PSS, "SHA256", 31, "SHA256" },
    { "PS256 salt 33", JWT_PSS, "SHA256", 33, "SHA256" },
    { "PS256 salt 222", JWT_PSS, "SHA256", 222, "SHA256" },
    { "PS256 mgf1 SHA-1", JWT_PSS, "SHA256", 32, "SHA1" },
    { "PS256 digest SHA-384", JWT_PSS, "SHA384", 32, "SHA256" },
    { "ES256", JWT_ECDSA, "SHA256", 32, NULL },
    { "ES384", JWT_ECDSA, "SHA384", 48, NULL },
    { "ES256 digest SHA-384", JWT_ECDSA, "SHA384", 32, NULL },
    { "ES384 digest SHA-256", JWT_ECDSA, "SHA256", 48, NULL },
    { "EdDSA", JWT_EDDSA, NULL, 0, NULL },
};

#define JWT_NMETHODS  (sizeof(jwt_methods) / sizeof(jwt_methods[0]))


/* Bytes of r and of s of an ECDSA signature in DER. */

static inline size_t
jwt_raw_ecdsa(unsigned char *sig, size_t len, int n)
{
    ECDSA_SIG            *pair;
    const unsigned char  *p;

    p = sig;
    pair = d2i_ECDSA_SIG(NULL, &p, (long) len);
    assert_non_null(pair);

    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, n), n);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + n, n), n);

    ECDSA_SIG_free(pair);

    return 2 * (size_t) n;
}


/* The signature's bytes, as a JWS holds them; sig has room for 2048. */

static inline size_t
jwt_sign_with(unsigned char *sig, const char *method, const jwt_signer_t *by,
    const char *text)
{
    size_t               i, len;
    unsigned             n;
    EVP_MD_CTX          *ctx;
    EVP_PKEY_CTX        *pctx;
    const jwt_method_t  *m;

    for (i = 0; i < JWT_NMETHODS; i++) {
        if (strcmp(jwt_methods[i].name, method) == 0) {
            break;
        }
    }

    assert_true(i < JWT_NMETHODS);
    m = &jwt_methods[i];

    if (m->family == JWT_MAC) {
        assert_non_null(HMAC(EVP_get_digestbyname(m->digest), by->secret,
                             (int) by->secret_len,
                             (const unsigned char *) text, strlen(text), sig,
                             &n));
        return n;
    }

    len = 2048;
    ctx = EVP_MD_CTX_new();
    assert_non_null(ctx);

    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, m->digest, NULL, NULL,
                                           by->pkey, NULL), 1);

    if (m->family == JWT_PSS) {
        assert_true(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING)
                    > 0);
        assert_true(EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, m->mgf1, NULL)
                    > 0);
        assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, m->n) > 0);
    }

    assert_int_equal(EVP_DigestSign(ctx, sig, &len,
                                    (const unsigned char *) text,
                                    strlen(text)), 1);
    EVP_MD_CTX_free(ctx);

    return m->family == JWT_ECDSA ? jwt_raw_ecdsa(sig, len, m->n) : len;
}


static inline char *
jwt_join(const char *header, const char *payload)
{
    char  *input;

    input = jwt_alloc(JWT_TEXT);
    snprintf(input, JWT_TEXT, "%s.%s", jwt_base64url(header, strlen(header)),
             jwt_base64url(payload, strlen(payload)));

    return input;
}


static inline char *
jwt_seal(const char *input, const unsigned char *sig, size_t len)
{
    char  *token;

    token = jwt_alloc(JWT_TEXT);
    snprintf(token, JWT_TEXT, "%s.%s", input, jwt_base64url(sig, len));

    return token;
}


static inline size_t
jwt_unbase64url(unsigned char *dst, const char *src)
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


/* A public key in PEM: what is in front of the bits, in hex, and the bits. */

#define JWT_SPKI_P256     "3059301306072a8648ce3d020106082a8648ce3d030107034200"
#define JWT_SPKI_ED25519  "302a300506032b6570032100"

static inline char *
jwt_pem_of(const char *hex, const unsigned char *bits, size_t len)
{
    char           *text;
    size_t          n;
    unsigned char   der[256];

    assert_int_equal(OPENSSL_hexstr2buf_ex(der, sizeof(der), &n, hex, '\0'),
                     1);
    memcpy(der + n, bits, len);

    text = jwt_alloc(1024);
    strcpy(text, "-----BEGIN PUBLIC KEY-----\n");
    EVP_EncodeBlock((unsigned char *) text + strlen(text), der,
                    (int) (n + len));
    strcat(text, "\n-----END PUBLIC KEY-----\n");

    return text;
}


static inline EVP_PKEY *
jwt_rsa_from(const unsigned char *n, size_t len, unsigned e)
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


#endif /* JWT_SIGN_H */
