#ifndef NGX_HTTP_TRIFECTA_JWA_ROWS_H
#define NGX_HTTP_TRIFECTA_JWA_ROWS_H


#include <openssl/evp.h>

#include "ngx_http_trifecta_jwa.h"


/*
 * Between the table of algorithms (jwa.c) and the families that its rows
 * belong to (jwa_hmac.c, jwa_pkey.c); nobody else includes this.
 *
 * A family loads the bytes of a key file into a use, which is the key as one
 * row needs it, and verifies with that use.  What differs between the rows of
 * a family stands in the row.
 */

typedef struct tf_jwa_use_s  tf_jwa_use_t;

#define TF_JWA_EC_MAX   48              /* bytes of r, and of s: P-384 */
#define TF_JWA_DER_MAX  (2 + 2 * (3 + TF_JWA_EC_MAX))

typedef struct {
    int                 secret;
    const char       *(*load)(tf_jwa_use_t *use, const unsigned char *data,
                              size_t len);
    tf_jwa_verdict_t  (*verify)(const tf_jwa_use_t *use,
                                const unsigned char *input, size_t input_len,
                                const unsigned char *sig, size_t sig_len);
} tf_jwa_family_t;


struct tf_jwa_alg_s {
    const char             *name;
    const char             *digest;     /* NULL: that of the key's type */
    const tf_jwa_family_t  *family;
    const char             *type;       /* of public keys, as in OpenSSL */
    const char             *curve;      /* of elliptic keys */
    size_t                  size;       /* HMAC: the shortest secret,
                                           ECDSA: bytes of r, and of s */
    const char             *wrong;      /* what a key is that does not fit */
};


struct tf_jwa_use_s {
    const tf_jwa_alg_t     *alg;
    tf_jwa_use_t           *next;
    EVP_MAC_CTX            *mac;        /* HMAC: has the secret */
    EVP_MD_CTX             *md;         /* public keys: has the EVP_PKEY */
    unsigned char           order[TF_JWA_EC_MAX];    /* ECDSA: n */
};


extern const tf_jwa_family_t  tf_jwa_hmac;
extern const tf_jwa_family_t  tf_jwa_rsa;       /* PKCS #1 v1.5 */
extern const tf_jwa_family_t  tf_jwa_pss;
extern const tf_jwa_family_t  tf_jwa_ecdsa;
extern const tf_jwa_family_t  tf_jwa_eddsa;

extern const char  tf_jwa_no_memory[];


/* jwa.c: whether the word stands somewhere in the data */

int tf_jwa_contains(const unsigned char *data, size_t len, const char *word);

/*
 * jwa_pkey.c: turns r and s of n bytes each into the DER that OpenSSL wants.
 * Returns its length, or 0 when r or s is 0, or not below the curve's order.
 */

size_t tf_jwa_ecdsa_der(unsigned char der[TF_JWA_DER_MAX],
    const unsigned char *sig, size_t n, const unsigned char *order);


#endif /* NGX_HTTP_TRIFECTA_JWA_ROWS_H */
