#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_worker.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>


#define NGX_HTTP_TRIFECTA_RANDOM  4096


struct ngx_http_trifecta_crypto_s {
    EVP_MD      *sha256;
    EVP_MD_CTX  *md;
    size_t       left;                  /* of the random bytes */
    u_char       random[NGX_HTTP_TRIFECTA_RANDOM];
};


ngx_http_trifecta_crypto_t *
ngx_http_trifecta_crypto_create(ngx_cycle_t *cycle)
{
    ngx_http_trifecta_crypto_t  *crypto;

    crypto = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_crypto_t));
    if (crypto == NULL) {
        return NULL;
    }

    crypto->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    crypto->md = EVP_MD_CTX_new();

    if (crypto->sha256 == NULL || crypto->md == NULL) {
        ngx_http_trifecta_crypto_destroy(crypto);
        return NULL;
    }

    return crypto;
}


void
ngx_http_trifecta_crypto_destroy(ngx_http_trifecta_crypto_t *crypto)
{
    if (crypto == NULL) {
        return;
    }

    EVP_MD_CTX_free(crypto->md);
    EVP_MD_free(crypto->sha256);
    OPENSSL_cleanse(crypto, sizeof(ngx_http_trifecta_crypto_t));
}


static ngx_http_trifecta_crypto_t *
ngx_http_trifecta_crypto(ngx_http_request_t *r)
{
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    return mcf->worker ? mcf->worker->crypto : NULL;
}


ngx_int_t
ngx_http_trifecta_random(ngx_http_request_t *r, u_char *p, size_t len)
{
    u_char                      *from;
    ngx_http_trifecta_crypto_t  *crypto;

    crypto = ngx_http_trifecta_crypto(r);

    if (crypto == NULL || len > NGX_HTTP_TRIFECTA_RANDOM) {
        return RAND_bytes(p, (int) len) == 1 ? NGX_OK : NGX_ERROR;
    }

    if (crypto->left < len) {

        if (RAND_bytes(crypto->random, NGX_HTTP_TRIFECTA_RANDOM) != 1) {
            crypto->left = 0;
            return NGX_ERROR;
        }

        crypto->left = NGX_HTTP_TRIFECTA_RANDOM;
    }

    crypto->left -= len;
    from = crypto->random + crypto->left;

    ngx_memcpy(p, from, len);
    ngx_explicit_memzero(from, len);

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_sha256(ngx_http_request_t *r, const void *data, size_t len,
    u_char digest[SHA256_DIGEST_LENGTH])
{
    ngx_http_trifecta_crypto_t  *crypto;

    crypto = ngx_http_trifecta_crypto(r);

    if (crypto == NULL) {
        return SHA256(data, len, digest) ? NGX_OK : NGX_ERROR;
    }

    return EVP_DigestInit_ex2(crypto->md, crypto->sha256, NULL) == 1
           && EVP_DigestUpdate(crypto->md, data, len) == 1
           && EVP_DigestFinal_ex(crypto->md, digest, NULL) == 1
           ? NGX_OK : NGX_ERROR;
}
