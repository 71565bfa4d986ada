#ifndef NGX_HTTP_TRIFECTA_IDEM_H_INCLUDED
#define NGX_HTTP_TRIFECTA_IDEM_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * Idempotency-Key: a request that is sent again makes no second job.
 *
 * Redis remembers for a day which job a key made, and the fingerprint of the
 * body.  It knows the key as the SHA-256 of owner, route and key, each after
 * its length in two bytes, so keys of two owners, or of two routes, are never
 * the same.  The same key and body again answer with the present state of
 * the first job: as it was accepted while it is open, as GET does when it has
 * ended.  Another body is 422.
 */

#define NGX_HTTP_TRIFECTA_IDEM_MAX  255     /* bytes of a key */
#define NGX_HTTP_TRIFECTA_IDEM_LEN  64      /* hex digits */

/* NGX_DECLINED when there is no key, or one good one; else a 400's value. */
ngx_int_t ngx_http_trifecta_idem_check(ngx_http_request_t *r);

/* NGX_OK and the text for Redis, NGX_DECLINED without a key, or NGX_ERROR. */
ngx_int_t ngx_http_trifecta_idem_text(ngx_http_request_t *r, const char *route,
    u_char text[NGX_HTTP_TRIFECTA_IDEM_LEN]);

/*
 * The job that the key made first becomes that of the context.  NGX_DECLINED:
 * answer with its state; else the value of an error.
 */
ngx_int_t ngx_http_trifecta_replay(ngx_http_request_t *r, const char *id,
    size_t len);

/* 422. */
ngx_int_t ngx_http_trifecta_idem_conflict(ngx_http_request_t *r);


#endif /* NGX_HTTP_TRIFECTA_IDEM_H_INCLUDED */
