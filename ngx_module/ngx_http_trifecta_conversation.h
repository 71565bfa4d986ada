#ifndef NGX_HTTP_TRIFECTA_CONVERSATION_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CONVERSATION_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * The id of a conversation, conversation_id.
 *
 * An id that the client chose is 1 to 64 letters, digits and . _ : - and means
 * a conversation of this caller only: the same id of somebody else is another
 * conversation, so there is nothing to look up.  For "new" the server makes
 * one, "conv_" and the hex digits of the id of the job that begins it.  Like
 * that, it proves to whom it was issued: one that was not issued to the caller
 * is not found, whoever has it.
 */

#define NGX_HTTP_TRIFECTA_CONVERSATION_MAX     64
#define NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX  "conv_"


/* NGX_DECLINED when the caller may use it, else what an error returned. */
ngx_int_t ngx_http_trifecta_conversation_check(ngx_http_request_t *r,
    const char *name, ngx_str_t *id);

/* Into ctx, for the answer: the body that named it has gone by then. */
ngx_int_t ngx_http_trifecta_conversation_keep(ngx_http_request_t *r,
    ngx_str_t *asked);

/*
 * The conversation of the job ctx->job_id, whose body named "asked": itself,
 * or what is made for "new".  Empty for none.
 */
ngx_int_t ngx_http_trifecta_conversation_of(ngx_http_request_t *r,
    ngx_str_t *asked, ngx_str_t *id);


#endif /* NGX_HTTP_TRIFECTA_CONVERSATION_H_INCLUDED */
