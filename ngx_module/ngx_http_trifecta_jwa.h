#ifndef NGX_HTTP_TRIFECTA_JWA_H
#define NGX_HTTP_TRIFECTA_JWA_H


#include <stddef.h>


/*
 * Algorithms and keys of signed tokens (RFC 7518).
 *
 * The key decides the algorithm, never the token: a key is made for exactly
 * one row of the table of algorithms, and whoever verifies looks for a key
 * that has the row which the token names.  So a token that says HS256 never
 * meets an RSA key, and the public half of that key is never a secret.
 *
 *   name     digest   what the key file holds
 *   HS256    SHA-256  the secret's raw bytes, at least 32 of them
 *   RS256    SHA-256  an RSA public key in PEM, 2048 to 16384 bits
 *
 * A new algorithm is a row and, for a new family, two functions: one that
 * loads the file's bytes into a key, one that verifies.  "none" is no row.
 *
 * A secret file is taken as it is, with one exception: the line end that
 * editors and echo put after a secret of printable characters does not count.
 * What looks like a public key (PEM, DER, JWK) is refused as a secret, since
 * everybody knows it.
 *
 * A key holds an OpenSSL context that is ready to run; each verification runs
 * on a copy, so a key never changes after it was made.
 *
 * Neither nginx nor JWT is known here: bytes in, verdict out.  What is free
 * of nginx is named tf_, as in the shared headers.
 */

#define TF_JWA_FILE_MAX    65536    /* bytes of a key file */
#define TF_JWA_SECRET_MIN  32
#define TF_JWA_RSA_MIN     2048     /* bits */
#define TF_JWA_RSA_MAX     16384

typedef struct tf_jwa_alg_s  tf_jwa_alg_t;
typedef struct tf_jwa_key_s  tf_jwa_key_t;

typedef enum {
    TF_JWA_OK = 0,
    TF_JWA_MISMATCH,        /* the signature is not this key's */
    TF_JWA_FAILED           /* it could not be found out: no memory */
} tf_jwa_verdict_t;


/* The row of that name (exactly, case counts), or NULL. */

const tf_jwa_alg_t *tf_jwa_find(const char *name, size_t len);

/* The names in the table, for messages: "HS256, RS256". */

const char *tf_jwa_names(void);

/* Whether keys of that row are secrets, that nobody else may read. */

int tf_jwa_is_secret(const tf_jwa_alg_t *alg);

/*
 * Makes a key from a file's bytes.  kid may be NULL.  Returns NULL and a
 * message that says what is wrong with the file.
 */

tf_jwa_key_t *tf_jwa_key_create(const tf_jwa_alg_t *alg, const char *kid,
    size_t kid_len, const unsigned char *data, size_t len, const char **err);

void tf_jwa_key_free(tf_jwa_key_t *key);

/*
 * Whether the key may verify a token that names this row and kid (NULL: it
 * names none).  A key with a kid serves only the tokens that name it, a key
 * without one serves all of its row.
 */

int tf_jwa_key_fits(const tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const char *kid, size_t kid_len);

tf_jwa_verdict_t tf_jwa_verify(const tf_jwa_key_t *key,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len);


#endif /* NGX_HTTP_TRIFECTA_JWA_H */
