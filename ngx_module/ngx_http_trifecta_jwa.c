#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "ngx_http_trifecta_jwa_rows.h"


struct tf_jwa_key_s {
    char          *kid;
    size_t         kid_len;
    tf_jwa_use_t  *uses;
};


static const tf_jwa_use_t *tf_jwa_key_use(const tf_jwa_key_t *key,
    const tf_jwa_alg_t *alg);
static void tf_jwa_use_free(tf_jwa_use_t *use);


const char  tf_jwa_no_memory[] = "OpenSSL failed, is memory short?";


#define TF_JWA_SHORT(n)                                                       \
    "the secret is shorter than " #n " bytes: "                               \
    "make one with \"openssl rand -hex " #n "\""

#define TF_JWA_NOT_RSA      "its key is not RSA, which this algorithm needs"
#define TF_JWA_NOT_ON(c)    "its key is not on the curve " c ", which this "  \
                            "algorithm needs"
#define TF_JWA_NOT_ED25519  "its key is not Ed25519, which this algorithm "   \
                            "needs"

/* X(name, digest, family, type, curve, size, what is wrong) */

#define TF_JWA_ALGS(X)                                                        \
    X("HS256", "SHA256", hmac,  NULL,      NULL,         32, TF_JWA_SHORT(32))\
    X("HS384", "SHA384", hmac,  NULL,      NULL,         48, TF_JWA_SHORT(48))\
    X("HS512", "SHA512", hmac,  NULL,      NULL,         64, TF_JWA_SHORT(64))\
    X("RS256", "SHA256", rsa,   "RSA",     NULL,         0,  TF_JWA_NOT_RSA)  \
    X("RS384", "SHA384", rsa,   "RSA",     NULL,         0,  TF_JWA_NOT_RSA)  \
    X("RS512", "SHA512", rsa,   "RSA",     NULL,         0,  TF_JWA_NOT_RSA)  \
    X("PS256", "SHA256", pss,   "RSA",     NULL,         0,  TF_JWA_NOT_RSA)  \
    X("ES256", "SHA256", ecdsa, "EC",      "prime256v1", 32,                  \
      TF_JWA_NOT_ON("P-256"))                                                 \
    X("ES384", "SHA384", ecdsa, "EC",      "secp384r1",  48,                  \
      TF_JWA_NOT_ON("P-384"))                                                 \
    X("EdDSA", NULL,     eddsa, "ED25519", NULL,         0,                   \
      TF_JWA_NOT_ED25519)

static const tf_jwa_alg_t  tf_jwa_algs[] = {
#define TF_JWA_ROW(name, digest, family, type, curve, size, wrong)            \
    { name, digest, &tf_jwa_##family, type, curve, size, wrong },
    TF_JWA_ALGS(TF_JWA_ROW)
#undef TF_JWA_ROW
};

#define TF_JWA_NALGS  (sizeof(tf_jwa_algs) / sizeof(tf_jwa_algs[0]))


const tf_jwa_alg_t *
tf_jwa_find(const char *name, size_t len)
{
    size_t  i;

    for (i = 0; i < TF_JWA_NALGS; i++) {
        if (strlen(tf_jwa_algs[i].name) == len
            && memcmp(tf_jwa_algs[i].name, name, len) == 0)
        {
            return &tf_jwa_algs[i];
        }
    }

    return NULL;
}


const char *
tf_jwa_name(const tf_jwa_alg_t *alg)
{
    return alg->name;
}


const char *
tf_jwa_names(void)
{
    static const char  names[] =
#define TF_JWA_NAME(name, digest, family, type, curve, size, wrong)  ", " name
        TF_JWA_ALGS(TF_JWA_NAME);
#undef TF_JWA_NAME

    return &names[2];
}


int
tf_jwa_is_secret(const tf_jwa_alg_t *alg)
{
    return alg->family->secret;
}


tf_jwa_key_t *
tf_jwa_key_create(const tf_jwa_alg_t *alg, const char *kid, size_t kid_len,
    const unsigned char *data, size_t len, const char **err)
{
    tf_jwa_key_t  *key;

    *err = tf_jwa_no_memory;

    key = OPENSSL_zalloc(sizeof(tf_jwa_key_t));
    if (key == NULL) {
        goto failed;
    }

    if (kid != NULL) {
        key->kid = OPENSSL_memdup(kid, kid_len);
        key->kid_len = kid_len;

        if (key->kid == NULL) {
            goto failed;
        }
    }

    *err = tf_jwa_key_add(key, alg, data, len);
    if (*err != NULL) {
        goto failed;
    }

    return key;

failed:

    ERR_clear_error();
    tf_jwa_key_free(key);

    return NULL;
}


const char *
tf_jwa_key_add(tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const unsigned char *data, size_t len)
{
    const char    *err;
    tf_jwa_use_t  *use;

    if (len > TF_JWA_FILE_MAX) {
        return "it is longer than 65536 bytes";
    }

    err = tf_jwa_no_memory;

    use = OPENSSL_zalloc(sizeof(tf_jwa_use_t));

    if (use != NULL) {
        use->alg = alg;
        err = alg->family->load(use, data, len);
    }

    /* nginx reports what is left in OpenSSL's queue as somebody else's */

    ERR_clear_error();

    if (err != NULL) {
        tf_jwa_use_free(use);
        return err;
    }

    use->next = key->uses;
    key->uses = use;

    return NULL;
}


void
tf_jwa_key_free(tf_jwa_key_t *key)
{
    tf_jwa_use_t  *use, *next;

    if (key == NULL) {
        return;
    }

    for (use = key->uses; use; use = next) {
        next = use->next;
        tf_jwa_use_free(use);
    }

    OPENSSL_free(key->kid);
    OPENSSL_free(key);
}


static void
tf_jwa_use_free(tf_jwa_use_t *use)
{
    if (use == NULL) {
        return;
    }

    EVP_MAC_CTX_free(use->mac);
    EVP_MD_CTX_free(use->md);
    OPENSSL_free(use);
}


static const tf_jwa_use_t *
tf_jwa_key_use(const tf_jwa_key_t *key, const tf_jwa_alg_t *alg)
{
    const tf_jwa_use_t  *use;

    for (use = key->uses; use; use = use->next) {
        if (use->alg == alg) {
            return use;
        }
    }

    return NULL;
}


int
tf_jwa_key_fits(const tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const char *kid, size_t kid_len)
{
    if (tf_jwa_key_use(key, alg) == NULL) {
        return 0;
    }

    if (key->kid == NULL) {
        return 1;
    }

    return kid != NULL && kid_len == key->kid_len
           && memcmp(kid, key->kid, kid_len) == 0;
}


tf_jwa_verdict_t
tf_jwa_verify(const tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len)
{
    tf_jwa_verdict_t     verdict;
    const tf_jwa_use_t  *use;

    use = tf_jwa_key_use(key, alg);
    if (use == NULL) {
        return TF_JWA_MISMATCH;
    }

    verdict = alg->family->verify(use, input, input_len, sig, sig_len);

    if (verdict != TF_JWA_OK) {
        ERR_clear_error();
    }

    return verdict;
}


int
tf_jwa_contains(const unsigned char *data, size_t len, const char *word)
{
    size_t  i, n;

    n = strlen(word);

    for (i = 0; i + n <= len; i++) {
        if (memcmp(data + i, word, n) == 0) {
            return 1;
        }
    }

    return 0;
}
