#ifndef NGX_HTTP_TRIFECTA_JWA_H
#define NGX_HTTP_TRIFECTA_JWA_H


#include <stddef.h>


/*
 * Algorithms and keys of signed tokens (RFC 7518, 8037).
 *
 * The key decides the algorithm, never the token: a key is made for the rows
 * of the table of algorithms that were configured for it, and whoever
 * verifies looks for a key that has the row which the token names.  So a
 * token that says HS256 never meets an RSA key, and the public half of that
 * key is never a secret.
 *
 *   name     digest   what the key file holds
 *   HS256    SHA-256  the secret's raw bytes, at least 32 of them
 *   HS384    SHA-384  the same, at least 48
 *   HS512    SHA-512  the same, at least 64
 *   RS256    SHA-256  an RSA public key in PEM, 2048 to 16384 bits
 *   RS384    SHA-384  the same
 *   RS512    SHA-512  the same
 *   PS256    SHA-256  the same; the salt has the digest's length, 32 bytes
 *   ES256    SHA-256  an elliptic public key in PEM, on the curve P-256
 *   ES384    SHA-384  the same, on P-384
 *   EdDSA    its own  an Ed25519 public key in PEM
 *
 * A new algorithm is a row in jwa.c and, for a new family, two functions: one
 * that loads the file's bytes, one that verifies (jwa_rows.h).  "none" is no
 * row.
 *
 * A secret file is taken as it is, with one exception: the line end that
 * editors and echo put after a secret of printable characters does not count.
 * What looks like a public key (PEM, DER, JWK) is refused as a secret, since
 * everybody knows it.
 *
 * A key holds, for each of its rows, an OpenSSL context that is ready to run;
 * each verification runs on a copy, so a key never changes after it was made.
 *
 * Neither nginx nor JWT is known here: bytes in, verdict out.  What is free
 * of nginx is named tf_, as in the shared headers.
 */

#define TF_JWA_FILE_MAX    65536    /* bytes of a key file */
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

const char *tf_jwa_name(const tf_jwa_alg_t *alg);

/* The names in the table, for messages: "HS256, HS384, ...". */

const char *tf_jwa_names(void);

/* Whether keys of that row are secrets, that nobody else may read. */

int tf_jwa_is_secret(const tf_jwa_alg_t *alg);

/*
 * Makes a key for one row from a file's bytes.  kid may be NULL.  Returns
 * NULL and a message that says what is wrong with the file.
 */

tf_jwa_key_t *tf_jwa_key_create(const tf_jwa_alg_t *alg, const char *kid,
    size_t kid_len, const unsigned char *data, size_t len, const char **err);

/*
 * Makes the key serve one row more, with the same bytes.  Returns NULL or a
 * message; a key that was refused serves the rows that it served before.
 */

const char *tf_jwa_key_add(tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const unsigned char *data, size_t len);

void tf_jwa_key_free(tf_jwa_key_t *key);

/*
 * Whether the key may verify a token that names this row and kid (NULL: it
 * names none).  A key with a kid serves only the tokens that name it, a key
 * without one serves all of its rows.
 */

int tf_jwa_key_fits(const tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const char *kid, size_t kid_len);

/* A row that the key was not made for is a mismatch. */

tf_jwa_verdict_t tf_jwa_verify(const tf_jwa_key_t *key,
    const tf_jwa_alg_t *alg, const unsigned char *input, size_t input_len,
    const unsigned char *sig, size_t sig_len);


#endif /* NGX_HTTP_TRIFECTA_JWA_H */
