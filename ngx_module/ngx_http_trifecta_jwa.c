#include <string.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "ngx_http_trifecta_jwa.h"


struct tf_jwa_alg_s {
    const char         *name;
    const char         *digest;
    int                 secret;
    const char       *(*load)(tf_jwa_key_t *key, const unsigned char *data,
                              size_t len);
    tf_jwa_verdict_t  (*verify)(const tf_jwa_key_t *key,
                                const unsigned char *input, size_t input_len,
                                const unsigned char *sig, size_t sig_len);
};


struct tf_jwa_key_s {
    const tf_jwa_alg_t  *alg;
    char                *kid;
    size_t               kid_len;
    EVP_MAC_CTX         *mac;       /* HMAC: has the secret */
    EVP_MD_CTX          *md;        /* public keys: has the EVP_PKEY */
};


static const char *tf_jwa_hmac_load(tf_jwa_key_t *key,
    const unsigned char *data, size_t len);
static tf_jwa_verdict_t tf_jwa_hmac_verify(const tf_jwa_key_t *key,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len);
static const char *tf_jwa_rsa_load(tf_jwa_key_t *key,
    const unsigned char *data, size_t len);
static const char *tf_jwa_rsa_check(EVP_PKEY *pkey);
static tf_jwa_verdict_t tf_jwa_rsa_verify(const tf_jwa_key_t *key,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len);
static int tf_jwa_looks_public(const unsigned char *data, size_t len);
static int tf_jwa_contains(const unsigned char *data, size_t len,
    const char *word);
static size_t tf_jwa_without_line_end(const unsigned char *data, size_t len);


static const char  tf_jwa_no_memory[] = "OpenSSL failed, is memory short?";


static const tf_jwa_alg_t  tf_jwa_algs[] = {
    { "HS256", "SHA256", 1, tf_jwa_hmac_load, tf_jwa_hmac_verify },
    { "RS256", "SHA256", 0, tf_jwa_rsa_load, tf_jwa_rsa_verify },
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
tf_jwa_names(void)
{
    return "HS256, RS256";
}


int
tf_jwa_is_secret(const tf_jwa_alg_t *alg)
{
    return alg->secret;
}


tf_jwa_key_t *
tf_jwa_key_create(const tf_jwa_alg_t *alg, const char *kid, size_t kid_len,
    const unsigned char *data, size_t len, const char **err)
{
    tf_jwa_key_t  *key;

    if (len > TF_JWA_FILE_MAX) {
        *err = "it is longer than 65536 bytes";
        return NULL;
    }

    key = OPENSSL_zalloc(sizeof(tf_jwa_key_t));
    if (key == NULL) {
        *err = tf_jwa_no_memory;
        return NULL;
    }

    key->alg = alg;

    if (kid != NULL) {
        key->kid = OPENSSL_memdup(kid, kid_len);
        key->kid_len = kid_len;

        if (key->kid == NULL) {
            *err = tf_jwa_no_memory;
            goto failed;
        }
    }

    *err = alg->load(key, data, len);
    if (*err != NULL) {
        goto failed;
    }

    return key;

failed:

    /* nginx reports what is left in OpenSSL's queue as somebody else's */

    ERR_clear_error();
    tf_jwa_key_free(key);

    return NULL;
}


void
tf_jwa_key_free(tf_jwa_key_t *key)
{
    if (key == NULL) {
        return;
    }

    EVP_MAC_CTX_free(key->mac);
    EVP_MD_CTX_free(key->md);
    OPENSSL_free(key->kid);
    OPENSSL_free(key);
}


int
tf_jwa_key_fits(const tf_jwa_key_t *key, const tf_jwa_alg_t *alg,
    const char *kid, size_t kid_len)
{
    if (key->alg != alg) {
        return 0;
    }

    if (key->kid == NULL) {
        return 1;
    }

    return kid != NULL && kid_len == key->kid_len
           && memcmp(kid, key->kid, kid_len) == 0;
}


tf_jwa_verdict_t
tf_jwa_verify(const tf_jwa_key_t *key, const unsigned char *input,
    size_t input_len, const unsigned char *sig, size_t sig_len)
{
    tf_jwa_verdict_t  verdict;

    verdict = key->alg->verify(key, input, input_len, sig, sig_len);

    if (verdict != TF_JWA_OK) {
        ERR_clear_error();
    }

    return verdict;
}


static const char *
tf_jwa_hmac_load(tf_jwa_key_t *key, const unsigned char *data, size_t len)
{
    EVP_MAC     *mac;
    OSSL_PARAM   params[2];
    char         digest[16];

    if (tf_jwa_looks_public(data, len)) {
        return "it holds a key pair's or a certificate's text, which is no "
               "secret: put at least 32 random bytes there, or use alg=RS256";
    }

    len = tf_jwa_without_line_end(data, len);

    if (len < TF_JWA_SECRET_MIN) {
        return "the secret is shorter than 32 bytes: "
               "make one with \"openssl rand -hex 32\"";
    }

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return tf_jwa_no_memory;
    }

    key->mac = EVP_MAC_CTX_new(mac);

    EVP_MAC_free(mac);

    if (key->mac == NULL) {
        return tf_jwa_no_memory;
    }

    memcpy(digest, key->alg->digest, strlen(key->alg->digest) + 1);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 digest, 0);
    params[1] = OSSL_PARAM_construct_end();

    if (EVP_MAC_init(key->mac, data, len, params) != 1) {
        return tf_jwa_no_memory;
    }

    return NULL;
}


static tf_jwa_verdict_t
tf_jwa_hmac_verify(const tf_jwa_key_t *key, const unsigned char *input,
    size_t input_len, const unsigned char *sig, size_t sig_len)
{
    int             ok;
    size_t          n;
    EVP_MAC_CTX    *ctx;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    n = 0;

    ctx = EVP_MAC_CTX_dup(key->mac);
    if (ctx == NULL) {
        return TF_JWA_FAILED;
    }

    ok = EVP_MAC_update(ctx, input, input_len) == 1
         && EVP_MAC_final(ctx, mac, &n, sizeof(mac)) == 1;

    EVP_MAC_CTX_free(ctx);

    if (!ok) {
        return TF_JWA_FAILED;
    }

    ok = sig_len == n && CRYPTO_memcmp(mac, sig, n) == 0;

    OPENSSL_cleanse(mac, sizeof(mac));

    return ok ? TF_JWA_OK : TF_JWA_MISMATCH;
}


static const char *
tf_jwa_rsa_load(tf_jwa_key_t *key, const unsigned char *data, size_t len)
{
    BIO         *bio;
    EVP_PKEY    *pkey;
    const char  *err;

    if (tf_jwa_contains(data, len, "PRIVATE KEY-----")) {
        return "it holds a private key: keep that with the issuer and give "
               "nginx the public one (openssl pkey -in FILE -pubout)";
    }

    bio = BIO_new_mem_buf(data, (int) len);
    if (bio == NULL) {
        return tf_jwa_no_memory;
    }

    pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

    BIO_free(bio);

    if (pkey == NULL) {
        return "it is no public key in PEM (BEGIN PUBLIC KEY)";
    }

    err = tf_jwa_rsa_check(pkey);

    if (err == NULL) {
        key->md = EVP_MD_CTX_new();

        /* RSA keys sign with PKCS #1 v1.5, RS256's, unless told otherwise */

        if (key->md == NULL
            || EVP_DigestVerifyInit_ex(key->md, NULL, key->alg->digest, NULL,
                                       NULL, pkey, NULL)
               != 1)
        {
            err = tf_jwa_no_memory;
        }
    }

    EVP_PKEY_free(pkey);

    return err;
}


static const char *
tf_jwa_rsa_check(EVP_PKEY *pkey)
{
    int            ok;
    EVP_PKEY_CTX  *ctx;

    /* an RSA-PSS key is another type and not for RS256 */

    if (!EVP_PKEY_is_a(pkey, "RSA")) {
        return "its key is not RSA, which alg=RS256 needs";
    }

    if (EVP_PKEY_get_bits(pkey) < TF_JWA_RSA_MIN) {
        return "its RSA key is shorter than 2048 bits";
    }

    if (EVP_PKEY_get_bits(pkey) > TF_JWA_RSA_MAX) {
        return "its RSA key is longer than 16384 bits";
    }

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx == NULL) {
        return tf_jwa_no_memory;
    }

    ok = EVP_PKEY_public_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);

    return ok ? NULL : "its RSA key is not a valid one";
}


static tf_jwa_verdict_t
tf_jwa_rsa_verify(const tf_jwa_key_t *key, const unsigned char *input,
    size_t input_len, const unsigned char *sig, size_t sig_len)
{
    int          rc;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return TF_JWA_FAILED;
    }

    if (EVP_MD_CTX_copy_ex(ctx, key->md) != 1) {
        EVP_MD_CTX_free(ctx);
        return TF_JWA_FAILED;
    }

    /* 1 and nothing else is success: 0 and negative numbers are not */

    rc = EVP_DigestVerify(ctx, sig, sig_len, input, input_len);

    EVP_MD_CTX_free(ctx);

    return rc == 1 ? TF_JWA_OK : TF_JWA_MISMATCH;
}


static int
tf_jwa_looks_public(const unsigned char *data, size_t len)
{
    X509                 *cert;
    EVP_PKEY             *pkey;
    const unsigned char  *p;

    if (tf_jwa_contains(data, len, "-----BEGIN")
        || tf_jwa_contains(data, len, "\"kty\"")
        || (len > 4 && memcmp(data, "ssh-", 4) == 0))
    {
        return 1;
    }

    p = data;
    pkey = d2i_PUBKEY(NULL, &p, (long) len);

    p = data;
    cert = d2i_X509(NULL, &p, (long) len);

    ERR_clear_error();

    if (pkey == NULL && cert == NULL) {
        return 0;
    }

    EVP_PKEY_free(pkey);
    X509_free(cert);

    return 1;
}


static int
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


static size_t
tf_jwa_without_line_end(const unsigned char *data, size_t len)
{
    size_t  i, n;

    n = len;

    if (n > 0 && data[n - 1] == '\n') {
        n--;

        if (n > 0 && data[n - 1] == '\r') {
            n--;
        }
    }

    for (i = 0; i < n; i++) {
        if (data[i] < 0x20 || data[i] > 0x7e) {
            return len;
        }
    }

    return n;
}
