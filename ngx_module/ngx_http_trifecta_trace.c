#include "ngx_http_trifecta_crypto.h"


/*
 * The request's place in a trace (include/trifecta/trace.h).  A client's
 * traceparent is continued, with a span of ours; without one, with two, or
 * with one that is wrong, a new trace begins here.
 */

static ngx_table_elt_t *
ngx_http_trifecta_trace_header(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *found;

    found = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len != sizeof("traceparent") - 1
                || ngx_strncasecmp(h[i].key.data, (u_char *) "traceparent",
                                   sizeof("traceparent") - 1)
                   != 0)
            {
                continue;
            }

            if (found) {
                return NULL;
            }

            found = &h[i];
        }
    }

    return found;
}


ngx_int_t
ngx_http_trifecta_trace(ngx_http_request_t *r, ngx_http_trifecta_ctx_t *ctx)
{
    u_char           *p;
    ngx_uint_t        known;
    tf_trace_t        parent, trace;
    ngx_table_elt_t  *h;
    unsigned char     rnd[TF_TRACE_RND_LEN];

    if (ctx->traceparent.len) {
        return NGX_OK;
    }

    h = ngx_http_trifecta_trace_header(r->main);

    known = (h && tf_trace_parse(&parent, (char *) h->value.data,
                                 h->value.len)
                  == 0);

    p = ngx_pnalloc(r->pool, TF_TRACE_HEADER_LEN);

    if (p == NULL
        || ngx_http_trifecta_random(r, rnd, sizeof(rnd)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    tf_trace_make(&trace, known ? &parent : NULL, rnd);
    tf_trace_format((char *) p, &trace);

    ctx->traceparent.data = p;
    ctx->traceparent.len = TF_TRACE_HEADER_LEN;
    ctx->trace_id.data = p + sizeof("00-") - 1;
    ctx->trace_id.len = TF_TRACE_ID_LEN;

    return NGX_OK;
}
