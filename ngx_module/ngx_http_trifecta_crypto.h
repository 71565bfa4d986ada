#ifndef NGX_HTTP_TRIFECTA_CRYPTO_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CRYPTO_H_INCLUDED


#include "ngx_http_trifecta.h"

#include <openssl/sha.h>


/*
 * What a worker keeps ready of OpenSSL.
 *
 * OpenSSL looks an algorithm up by its name each time that it is not told
 * otherwise, and asks the system whether the process has forked each time
 * that it gives random bytes.  Either costs more than what is then done, so a
 * worker looks up once, and takes random bytes by the page.  Those that were
 * given out are erased here.
 *
 * Without a worker (nothing of this module is used, or a handler runs where
 * none is) both functions do the same without what is kept.
 */

typedef struct ngx_http_trifecta_crypto_s  ngx_http_trifecta_crypto_t;


/*
 * Called at the start and the end of a worker.  NULL, where there is no memory
 * or OpenSSL has no SHA-256, is the end of the worker: without either nothing
 * that it is for can be done.
 */

ngx_http_trifecta_crypto_t *ngx_http_trifecta_crypto_create(
    ngx_cycle_t *cycle);
void ngx_http_trifecta_crypto_destroy(ngx_http_trifecta_crypto_t *crypto);

ngx_int_t ngx_http_trifecta_random(ngx_http_request_t *r, u_char *p,
    size_t len);

ngx_int_t ngx_http_trifecta_sha256(ngx_http_request_t *r, const void *data,
    size_t len, u_char digest[SHA256_DIGEST_LENGTH]);


#endif /* NGX_HTTP_TRIFECTA_CRYPTO_H_INCLUDED */
