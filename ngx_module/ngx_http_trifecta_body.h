#ifndef NGX_HTTP_TRIFECTA_BODY_H_INCLUDED
#define NGX_HTTP_TRIFECTA_BODY_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * The body of a request, in memory and in one piece, never in a file.
 *
 * nginx reads it unbuffered and this file collects the pieces, so that the
 * bound holds for a chunked body, too, and every error on the way is
 * answered with a problem body.  The handler returns the value of a reply or
 * an error, or NGX_DONE when the answer comes later.
 */

typedef ngx_int_t (*ngx_http_trifecta_body_pt)(ngx_http_request_t *r,
    ngx_str_t *body);

/* For content handlers: returns what they must return. */
ngx_int_t ngx_http_trifecta_read_body(ngx_http_request_t *r, size_t max,
    ngx_http_trifecta_body_pt handler);

/* The media type is application/json, in UTF-8 and not encoded. */
ngx_uint_t ngx_http_trifecta_is_json(ngx_http_request_t *r);

/*
 * The client says that it takes this type, and not only that it takes
 * anything.
 */
ngx_uint_t ngx_http_trifecta_accepts(ngx_http_request_t *r, const char *type);

/* The value of a request header, or NULL; the name in lower case. */
ngx_str_t *ngx_http_trifecta_header_in(ngx_http_request_t *r,
    const char *name);

/* The same for a header with several lines; at starts zeroed. */

typedef struct {
    ngx_list_part_t  *part;
    ngx_uint_t        next;
} ngx_http_trifecta_lines_t;

ngx_str_t *ngx_http_trifecta_header_next(ngx_http_request_t *r,
    const char *name, ngx_http_trifecta_lines_t *at);


#endif /* NGX_HTTP_TRIFECTA_BODY_H_INCLUDED */
