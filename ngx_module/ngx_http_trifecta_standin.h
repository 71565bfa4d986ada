#ifndef NGX_HTTP_TRIFECTA_STANDIN_H_INCLUDED
#define NGX_HTTP_TRIFECTA_STANDIN_H_INCLUDED


#include "ngx_http_trifecta_reply.h"


/*
 * A request without a client, in whose name bodies are checked and answers
 * are drawn, one after the other.
 *
 * It has the caller and the configuration of the request that it was made
 * from, and may outlive that.  Its own pool is emptied for each body.  It
 * waits for nothing and sends nothing: an error is caught (reply.h), and no
 * handler of a connection is ever called.
 */

typedef struct {
    ngx_http_request_t           request;
    ngx_connection_t             connection;
    ngx_http_trifecta_ctx_t      ctx;
    ngx_http_trifecta_caught_t   caught;
    u_char                       job_id[TF_ID_TEXT_LEN];
} ngx_http_trifecta_standin_t;


/* The pool keeps it; path is static.  NULL: no memory. */
ngx_http_trifecta_standin_t *ngx_http_trifecta_standin_create(
    ngx_pool_t *pool, ngx_http_request_t *r, const char *path);

/*
 * Forgets the body before, and takes the id of a job, as text; NULL: one that
 * is made now.  NGX_ERROR: there is no randomness, or no memory.
 */
ngx_int_t ngx_http_trifecta_standin_next(
    ngx_http_trifecta_standin_t *standin, const char *job);

/*
 * Makes an id of the caller of the request, TF_ID_TEXT_LEN characters.  It
 * says no shard: it is not one of a job.
 */
ngx_int_t ngx_http_trifecta_standin_id(ngx_http_request_t *r, u_char *text);


#endif /* NGX_HTTP_TRIFECTA_STANDIN_H_INCLUDED */
