#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ngx_http_trifecta_jwa_rows.h"


/*
 * Public keys: RS*, PS*, ES* and EdDSA.
 *
 * A key is refused here for what makes its signatures worthless: too short,
 * of another type or curve, off its curve, or of the few that verify what
 * nobody signed.
 */

static const char *tf_jwa_rsa_load(tf_jwa_use_t *use,
    const unsigned char *data, size_t len);
static const char *tf_jwa_pss_load(tf_jwa_use_t *use,
    const unsigned char *data, size_t len);
static const char *tf_jwa_ecdsa_load(tf_jwa_use_t *use,
    const unsigned char *data, size_t len);
static const char *tf_jwa_eddsa_load(tf_jwa_use_t *use,
    const unsigned char *data, size_t len);
static const char *tf_jwa_rsa_check(EVP_PKEY *pkey);
static const char *tf_jwa_ecdsa_check(tf_jwa_use_t *use, EVP_PKEY *pkey);
static const char *tf_jwa_eddsa_check(const tf_jwa_use_t *use);
static const char *tf_jwa_pkey_read(const tf_jwa_use_t *use, EVP_PKEY **pkey,
    const unsigned char *data, size_t len);
static int tf_jwa_pkey_is_valid(EVP_PKEY *pkey);
static const char *tf_jwa_pkey_init(tf_jwa_use_t *use, EVP_PKEY *pkey,
    EVP_PKEY_CTX **ctx);
static tf_jwa_verdict_t tf_jwa_ecdsa_verify(const tf_jwa_use_t *use,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len);
static tf_jwa_verdict_t tf_jwa_pkey_verify(const tf_jwa_use_t *use,
    const unsigned char *input, size_t input_len, const unsigned char *sig,
    size_t sig_len);


const tf_jwa_family_t  tf_jwa_rsa = {
    0, tf_jwa_rsa_load, tf_jwa_pkey_verify
};

const tf_jwa_family_t  tf_jwa_pss = {
    0, tf_jwa_pss_load, tf_jwa_pkey_verify
};

const tf_jwa_family_t  tf_jwa_ecdsa = {
    0, tf_jwa_ecdsa_load, tf_jwa_ecdsa_verify
};

const tf_jwa_family_t  tf_jwa_eddsa = {
    0, tf_jwa_eddsa_load, tf_jwa_pkey_verify
};


static const char *
tf_jwa_rsa_load(tf_jwa_use_t *use, const unsigned char *data, size_t len)
{
    EVP_PKEY    *pkey;
    const char  *err;

    err = tf_jwa_pkey_read(use, &pkey, data, len);

    if (err == NULL) {
        err = tf_jwa_rsa_check(pkey);
    }

    /* RSA keys sign with PKCS #1 v1.5, RS256's, unless told otherwise */

    if (err == NULL) {
        err = tf_jwa_pkey_init(use, pkey, NULL);
    }

    EVP_PKEY_free(pkey);

    return err;
}


static const char *
tf_jwa_pss_load(tf_jwa_use_t *use, const unsigned char *data, size_t len)
{
    EVP_PKEY      *pkey;
    const char    *err;
    EVP_PKEY_CTX  *ctx;

    ctx = NULL;
    err = tf_jwa_pkey_read(use, &pkey, data, len);

    if (err == NULL) {
        err = tf_jwa_rsa_check(pkey);
    }

    if (err == NULL) {
        err = tf_jwa_pkey_init(use, pkey, &ctx);
    }

    /* the digest of the mask is that of the text, the salt as long as it */

    if (err == NULL
        && (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) != 1
            || EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, use->alg->digest, NULL)
               != 1
            || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST)
               != 1))
    {
        err = tf_jwa_no_memory;
    }

    EVP_PKEY_free(pkey);

    return err;
}


static const char *
tf_jwa_ecdsa_load(tf_jwa_use_t *use, const unsigned char *data, size_t len)
{
    EVP_PKEY    *pkey;
    const char  *err;

    err = tf_jwa_pkey_read(use, &pkey, data, len);

    if (err == NULL) {
        err = tf_jwa_ecdsa_check(use, pkey);
    }

    if (err == NULL) {
        err = tf_jwa_pkey_init(use, pkey, NULL);
    }

    EVP_PKEY_free(pkey);

    return err;
}


static const char *
tf_jwa_eddsa_load(tf_jwa_use_t *use, const unsigned char *data, size_t len)
{
    EVP_PKEY    *pkey;
    const char  *err;

    err = tf_jwa_pkey_read(use, &pkey, data, len);

    if (err == NULL) {
        err = tf_jwa_pkey_init(use, pkey, NULL);
    }

    if (err == NULL) {
        err = tf_jwa_eddsa_check(use);
    }

    EVP_PKEY_free(pkey);

    return err;
}


/* *pkey is set in any case, to NULL when there is none. */

static const char *
tf_jwa_pkey_read(const tf_jwa_use_t *use, EVP_PKEY **pkey,
    const unsigned char *data, size_t len)
{
    BIO  *bio;

    *pkey = NULL;

    if (tf_jwa_contains(data, len, "PRIVATE KEY-----")) {
        return "it holds a private key: keep that with the issuer and give "
               "nginx the public one (openssl pkey -in FILE -pubout)";
    }

    bio = BIO_new_mem_buf(data, (int) len);
    if (bio == NULL) {
        return tf_jwa_no_memory;
    }

    *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

    BIO_free(bio);

    if (*pkey == NULL) {
        return "it is no public key in PEM (BEGIN PUBLIC KEY)";
    }

    /* an RSA-PSS key is another type than RSA, as Ed448 than Ed25519 */

    return EVP_PKEY_is_a(*pkey, use->alg->type) ? NULL : use->alg->wrong;
}


static const char *
tf_jwa_rsa_check(EVP_PKEY *pkey)
{
    if (EVP_PKEY_get_bits(pkey) < TF_JWA_RSA_MIN) {
        return "its RSA key is shorter than 2048 bits";
    }

    if (EVP_PKEY_get_bits(pkey) > TF_JWA_RSA_MAX) {
        return "its RSA key is longer than 16384 bits";
    }

    return tf_jwa_pkey_is_valid(pkey) ? NULL : "its RSA key is not a valid one";
}


static const char *
tf_jwa_ecdsa_check(tf_jwa_use_t *use, EVP_PKEY *pkey)
{
    int      ok;
    char     curve[32];
    size_t   n;
    BIGNUM  *order;

    if (EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), &n) != 1
        || strcmp(curve, use->alg->curve) != 0)
    {
        return use->alg->wrong;
    }

    if (!tf_jwa_pkey_is_valid(pkey)) {
        return "its elliptic key is not a valid one";
    }

    order = NULL;

    ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_ORDER, &order) == 1
         && BN_bn2binpad(order, use->order, (int) use->alg->size)
            == (int) use->alg->size;

    BN_free(order);

    return ok ? NULL : tf_jwa_no_memory;
}


/*
 * OpenSSL takes any point for an Ed25519 key.  One of the few of small order
 * verifies what nobody signed: S = 0 with the neutral point for R is then
 * good for one text in eight at least, so one of these is.
 */

static const char *
tf_jwa_eddsa_check(const tf_jwa_use_t *use)
{
    unsigned char  i, sig[64];

    memset(sig, 0, sizeof(sig));
    sig[0] = 1;

    for (i = 0; i < 64; i++) {
        if (tf_jwa_pkey_verify(use, &i, 1, sig, sizeof(sig)) == TF_JWA_OK) {
            return "its Ed25519 key is not a valid one";
        }
    }

    return NULL;
}


static int
tf_jwa_pkey_is_valid(EVP_PKEY *pkey)
{
    int            ok;
    EVP_PKEY_CTX  *ctx;

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx == NULL) {
        return 0;
    }

    ok = EVP_PKEY_public_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);

    return ok;
}


/* *ctx, where somebody asks for it, belongs to the use. */

static const char *
tf_jwa_pkey_init(tf_jwa_use_t *use, EVP_PKEY *pkey, EVP_PKEY_CTX **ctx)
{
    use->md = EVP_MD_CTX_new();

    if (use->md == NULL
        || EVP_DigestVerifyInit_ex(use->md, ctx, use->alg->digest, NULL, NULL,
                                   pkey, NULL)
           != 1)
    {
        return tf_jwa_no_memory;
    }

    return NULL;
}


static tf_jwa_verdict_t
tf_jwa_pkey_verify(const tf_jwa_use_t *use, const unsigned char *input,
    size_t input_len, const unsigned char *sig, size_t sig_len)
{
    int          rc;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return TF_JWA_FAILED;
    }

    if (EVP_MD_CTX_copy_ex(ctx, use->md) != 1) {
        EVP_MD_CTX_free(ctx);
        return TF_JWA_FAILED;
    }

    /* 1 and nothing else is success: 0 and negative numbers are not */

    rc = EVP_DigestVerify(ctx, sig, sig_len, input, input_len);

    EVP_MD_CTX_free(ctx);

    return rc == 1 ? TF_JWA_OK : TF_JWA_MISMATCH;
}


/* JWS puts r and s side by side (RFC 7518, 3.4), OpenSSL reads DER. */

static tf_jwa_verdict_t
tf_jwa_ecdsa_verify(const tf_jwa_use_t *use, const unsigned char *input,
    size_t input_len, const unsigned char *sig, size_t sig_len)
{
    size_t         n;
    unsigned char  der[TF_JWA_DER_MAX];

    if (sig_len != 2 * use->alg->size) {
        return TF_JWA_MISMATCH;
    }

    n = tf_jwa_ecdsa_der(der, sig, use->alg->size, use->order);

    if (n == 0) {
        return TF_JWA_MISMATCH;
    }

    return tf_jwa_pkey_verify(use, input, input_len, der, n);
}


size_t
tf_jwa_ecdsa_der(unsigned char der[TF_JWA_DER_MAX], const unsigned char *sig,
    size_t n, const unsigned char *order)
{
    size_t          i, zeros, sign;
    unsigned char  *p;

    p = der + 2;

    for (i = 0; i < 2; i++, sig += n) {

        if (memcmp(sig, order, n) >= 0) {
            return 0;
        }

        for (zeros = 0; zeros < n && sig[zeros] == 0; zeros++) {
            /* void */
        }

        if (zeros == n) {
            return 0;
        }

        /* a number whose first bit is set would be negative */

        sign = sig[zeros] >> 7;

        *p++ = 0x02;
        *p++ = (unsigned char) (sign + n - zeros);

        if (sign) {
            *p++ = 0;
        }

        memcpy(p, sig + zeros, n - zeros);
        p += n - zeros;
    }

    der[0] = 0x30;
    der[1] = (unsigned char) (p - der - 2);

    return (size_t) (p - der);
}
