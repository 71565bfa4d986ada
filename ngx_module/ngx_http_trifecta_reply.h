#ifndef NGX_HTTP_TRIFECTA_REPLY_H_INCLUDED
#define NGX_HTTP_TRIFECTA_REPLY_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_json.h"


/*
 * Every response of the module goes through ngx_http_trifecta_reply() or
 * ngx_http_trifecta_error() (declared in ngx_http_trifecta.h).  Both return
 * what the calling phase or content handler must return.
 *
 * In the content phase, and later, that is the value of the output filter:
 * nginx finalizes the request with it when the content handler returns it;
 * code that runs in an event of a store passes it to
 * ngx_http_trifecta_finalize(), code in a handler of the client's connection
 * to ngx_http_finalize_request().  In an earlier phase nginx would take
 * NGX_OK as "go on", so there the request is finalized at once and the value
 * is NGX_DONE.
 */

ngx_int_t ngx_http_trifecta_reply(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_http_trifecta_json_t *body);

/*
 * Who checks or draws something that is not the answer itself, a line of a
 * file for example, hangs one of these into the context: what is wrong is
 * then written down instead of sent, and ngx_http_trifecta_error() returns
 * its status.  It is neither logged nor counted.  Texts are in the request's
 * pool; the body is what a client would have been sent.
 */

struct ngx_http_trifecta_caught_s {
    ngx_uint_t   status;            /* 0: nothing is wrong */
    const char  *code;
    ngx_str_t    param;             /* empty: none */
    ngx_str_t    message;
    ngx_str_t    body;
};

/* 304, for a GET whose client has this body already. */
ngx_int_t ngx_http_trifecta_not_modified(ngx_http_request_t *r);

/* 204, for a client of a stream that has all of it. */
ngx_int_t ngx_http_trifecta_no_content(ngx_http_request_t *r);

/*
 * Sends the header of a stream of events (stream.h), whose bytes follow; as
 * ngx_http_send_header().
 */
ngx_int_t ngx_http_trifecta_reply_stream(ngx_http_request_t *r);

/*
 * The same of a file of so many bytes, which follow; -1: it is drawn while it
 * is sent.  type is static text.
 */
ngx_int_t ngx_http_trifecta_reply_file(ngx_http_request_t *r,
    const char *type, off_t bytes);

#define NGX_HTTP_TRIFECTA_ETAG_LEN  (sizeof("\"\"") - 1 + 32)

/*
 * ETag, quoted, of the body to be sent: 32 hex digits of its SHA-256.  The
 * text is in the request's pool; a length of 0 means no memory.
 */
ngx_str_t ngx_http_trifecta_etag(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *body);
ngx_int_t ngx_http_trifecta_header_etag(ngx_http_request_t *r,
    ngx_str_t *etag);

/*
 * Retry-After of an open job with so many jobs in front of it: a second, and
 * one more for every 10 jobs, at most 30.
 */
ngx_int_t ngx_http_trifecta_retry_after(ngx_http_request_t *r,
    int64_t position);

/* Adds a header to the response; the value is not copied. */
ngx_int_t ngx_http_trifecta_header(ngx_http_request_t *r, const char *name,
    const u_char *value, size_t len);

#define ngx_http_trifecta_header_lit(r, name, s)                             \
    ngx_http_trifecta_header(r, name, (const u_char *) s, sizeof(s) - 1)

/*
 * The one place that ends a request from an event that is not its own.  The
 * request may be gone when it returns.
 */
void ngx_http_trifecta_finalize(ngx_http_request_t *r, ngx_int_t rc);

/*
 * Lets a request go on through the phases that a handler of a phase has held
 * up with ngx_http_trifecta_wait() and NGX_AGAIN; the handler is called again.
 */
void ngx_http_trifecta_resume(ngx_http_request_t *r);

/*
 * Makes the client's abort visible while the request waits for a store: the
 * request's cleanups run then.  For content handlers, after the body.
 */
ngx_int_t ngx_http_trifecta_wait(ngx_http_request_t *r);


#endif /* NGX_HTTP_TRIFECTA_REPLY_H_INCLUDED */
