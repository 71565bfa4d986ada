#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include "ngx_http_trifecta_jwa_rows.h"


/*
 * HS256, HS384, HS512.  The secret has at least as many bytes as the digest
 * (RFC 7518, 3.2), for a shorter one is easier to guess than to forge.
 */

static const char *tf_jwa_hmac_load(tf_jwa_use_t *use,
    const unsigned char *data, size_t len);
static tf_jwa_verdict_t tf_jwa_hmac_verify(const tf_jwa_use_t *use,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len);
static int tf_jwa_looks_public(const unsigned char *data, size_t len);
static size_t tf_jwa_without_line_end(const unsigned char *data, size_t len);


const tf_jwa_family_t  tf_jwa_hmac = {
    1, tf_jwa_hmac_load, tf_jwa_hmac_verify
};


static const char *
tf_jwa_hmac_load(tf_jwa_use_t *use, const unsigned char *data, size_t len)
{
    EVP_MAC     *mac;
    OSSL_PARAM   params[2];
    char         digest[16];

    if (tf_jwa_looks_public(data, len)) {
        return "it holds a key pair's or a certificate's text, which is no "
               "secret: put random bytes there, or name an algorithm of "
               "public keys, as RS256";
    }

    len = tf_jwa_without_line_end(data, len);

    if (len < use->alg->size) {
        return use->alg->wrong;
    }

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return tf_jwa_no_memory;
    }

    use->mac = EVP_MAC_CTX_new(mac);

    EVP_MAC_free(mac);

    if (use->mac == NULL) {
        return tf_jwa_no_memory;
    }

    memcpy(digest, use->alg->digest, strlen(use->alg->digest) + 1);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 digest, 0);
    params[1] = OSSL_PARAM_construct_end();

    if (EVP_MAC_init(use->mac, data, len, params) != 1) {
        return tf_jwa_no_memory;
    }

    return NULL;
}


static tf_jwa_verdict_t
tf_jwa_hmac_verify(const tf_jwa_use_t *use, const unsigned char *input,
    size_t input_len, const unsigned char *sig, size_t sig_len)
{
    int             ok;
    size_t          n;
    EVP_MAC_CTX    *ctx;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    n = 0;

    ctx = EVP_MAC_CTX_dup(use->mac);
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
