#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_compat.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_metrics.h"

#include <trifecta/text.h>


#define NGX_HTTP_TRIFECTA_DETAIL_MAX  512


typedef struct {
    ngx_uint_t   status;
    const char  *code;
    const char  *type;
    const char  *slug;
    const char  *title;
} ngx_http_trifecta_error_row_t;


static const ngx_http_trifecta_error_row_t  ngx_http_trifecta_errors[] = {
#define NGX_HTTP_TRIFECTA_ROW(name, status, code, type, slug, title)          \
    { status, code, type, slug, title },
    TF_ERRORS(NGX_HTTP_TRIFECTA_ROW)
#undef NGX_HTTP_TRIFECTA_ROW
};


static ngx_table_elt_t *
ngx_http_trifecta_header_push(ngx_http_request_t *r, const char *name,
    const u_char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    ngx_http_trifecta_last_header(h);
    h->lowcase_key = NULL;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = len;

    return h;
}


ngx_int_t
ngx_http_trifecta_header(ngx_http_request_t *r, const char *name,
    const u_char *value, size_t len)
{
    return ngx_http_trifecta_header_push(r, name, value, len) ? NGX_OK
                                                              : NGX_ERROR;
}


/* nginx knows of it: compressed, the body gets a weak tag. */

ngx_int_t
ngx_http_trifecta_header_etag(ngx_http_request_t *r, ngx_str_t *etag)
{
    r->headers_out.etag = ngx_http_trifecta_header_push(r, "ETag", etag->data,
                                                        etag->len);

    return r->headers_out.etag ? NGX_OK : NGX_ERROR;
}


/* What every answer has, whatever it says. */

static ngx_int_t
ngx_http_trifecta_send_prepare(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_uint_t status)
{
    if (ngx_http_trifecta_header(r, "X-Request-Id", ctx->request_id.data,
                                 ctx->request_id.len)
        != NGX_OK
        || ngx_http_trifecta_trace(r, ctx) != NGX_OK
        || ngx_http_trifecta_header(r, "traceparent", ctx->traceparent.data,
                                    ctx->traceparent.len)
           != NGX_OK
        || ngx_http_trifecta_header_lit(r, "Cache-Control", "no-store")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what is left of the request's body must not be taken for a request */

    r->expect_tested = 1;

    if (!r->reading_body && ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    /* whether a client has it already is decided here, not by a filter */

    r->disable_not_modified = 1;

    r->headers_out.status = status;

    ngx_http_trifecta_count_answer(r, ctx, status);

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_send(ngx_http_request_t *r, ngx_http_trifecta_ctx_t *ctx,
    ngx_uint_t status, const char *type, ngx_http_trifecta_json_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    if (body->failed || body->last == body->start) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_calloc_buf(r->pool);

    if (b == NULL || ngx_http_trifecta_send_prepare(r, ctx, status) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = body->start;
    b->last = body->last;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    r->headers_out.content_length_n = body->last - body->start;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


/* See the header: before the content phase the request ends here. */

static ngx_int_t
ngx_http_trifecta_done(ngx_http_request_t *r, ngx_http_trifecta_ctx_t *ctx,
    ngx_int_t rc)
{
    if (ctx->content) {
        return rc;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


ngx_int_t
ngx_http_trifecta_reply(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_http_trifecta_json_t *body)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_done(r, ctx,
                                  ngx_http_trifecta_send(r, ctx, status, type,
                                                         body));
}


static ngx_int_t
ngx_http_trifecta_no_body(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    if (ctx == NULL
        || ngx_http_trifecta_send_prepare(r, ctx, status) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->header_only = 1;
    r->headers_out.content_type.len = 0;
    r->headers_out.content_length_n = -1;

    return ngx_http_trifecta_done(r, ctx, ngx_http_send_header(r));
}


ngx_int_t
ngx_http_trifecta_not_modified(ngx_http_request_t *r)
{
    return ngx_http_trifecta_no_body(r, NGX_HTTP_NOT_MODIFIED);
}


ngx_int_t
ngx_http_trifecta_no_content(ngx_http_request_t *r)
{
    return ngx_http_trifecta_no_body(r, NGX_HTTP_NO_CONTENT);
}


ngx_int_t
ngx_http_trifecta_reply_stream(ngx_http_request_t *r)
{
    ngx_http_trifecta_ctx_t   *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (ctx == NULL
        || ngx_http_trifecta_send_prepare(r, ctx, NGX_HTTP_OK) != NGX_OK
        || ngx_http_trifecta_header_lit(r, "X-Accel-Buffering", "no")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    /* what is compressed is held back until there is more of it */

    r->gzip_tested = 1;
    r->gzip_ok = 0;

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_send_header(r);
}


ngx_int_t
ngx_http_trifecta_reply_file(ngx_http_request_t *r, const char *type,
    off_t bytes)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    /* what a client has made is never a page of this server */

    if (ctx == NULL
        || ngx_http_trifecta_send_prepare(r, ctx, NGX_HTTP_OK) != NGX_OK
        || ngx_http_trifecta_header_lit(r, "X-Content-Type-Options",
                                        "nosniff")
           != NGX_OK
        || ngx_http_trifecta_header_lit(r, "Content-Disposition",
                                        "attachment")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    r->headers_out.content_length_n = bytes;

    /* compressed, it would have no length, and come a piece late */

    r->gzip_tested = 1;
    r->gzip_ok = 0;

    return ngx_http_send_header(r);
}


ngx_str_t
ngx_http_trifecta_etag(ngx_http_request_t *r, ngx_http_trifecta_json_t *body)
{
    u_char     *p, digest[SHA256_DIGEST_LENGTH];
    ngx_str_t   etag;

    ngx_str_null(&etag);

    p = ngx_pnalloc(r->pool, NGX_HTTP_TRIFECTA_ETAG_LEN);

    if (p == NULL || body->failed
        || ngx_http_trifecta_sha256(r, body->start, body->last - body->start,
                                    digest)
           != NGX_OK)
    {
        return etag;
    }

    etag.data = p;
    etag.len = NGX_HTTP_TRIFECTA_ETAG_LEN;

    *p++ = '"';
    p = ngx_hex_dump(p, digest, (NGX_HTTP_TRIFECTA_ETAG_LEN - 2) / 2);
    *p = '"';

    return etag;
}


ngx_int_t
ngx_http_trifecta_retry_after(ngx_http_request_t *r, int64_t position)
{
    size_t   len;
    int64_t  s;
    u_char  *p;

    s = 1 + ngx_max(position, 0) / 10;

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = tf_text_number(p, ngx_min(s, 30)) - p;

    return ngx_http_trifecta_header(r, "Retry-After", p, len);
}


/*
 * Headers that belong to a code: what a client needs to know to come back
 * with a token, or at the right time.  A limit says itself how long it takes.
 */

static ngx_int_t
ngx_http_trifecta_error_headers(ngx_http_request_t *r, tf_error_t code)
{
    switch (code) {

    case TF_E_MISSING_TOKEN:
        return ngx_http_trifecta_header_lit(r, "WWW-Authenticate",
                                            "Bearer realm=\"trifecta\"");

    case TF_E_INVALID_TOKEN:
        return ngx_http_trifecta_header_lit(r, "WWW-Authenticate",
                                            "Bearer realm=\"trifecta\", "
                                            "error=\"invalid_token\"");

    case TF_E_TOKEN_EXPIRED:
        return ngx_http_trifecta_header_lit(r, "WWW-Authenticate",
                                            "Bearer realm=\"trifecta\", "
                                            "error=\"invalid_token\", "
                                            "error_description=\"the token "
                                            "has expired\"");

    case TF_E_QUEUE_UNAVAILABLE:
    case TF_E_STORE_UNAVAILABLE:
        return ngx_http_trifecta_header_lit(r, "Retry-After", "1");

    case TF_E_CONFLICT:

        /* clients repeat a 409 at once, and a batch may take a day */

        return ngx_http_trifecta_header_lit(r, "X-Should-Retry", "false");

    case TF_E_TENANT_QUEUE_FULL:
    case TF_E_QUEUE_FULL:
        return ngx_http_trifecta_header_lit(r, "Retry-After", "5");

    default:
        return NGX_OK;
    }
}


/* The body of an error: RFC 9457's and OpenAI's at once. */

static void
ngx_http_trifecta_problem(ngx_http_request_t *r,
    const ngx_http_trifecta_error_row_t *row, const char *param,
    ngx_str_t *detail, ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    ngx_http_trifecta_json_init(j, r->pool, 1024);

    ngx_http_trifecta_json_printf(j, "{\"type\":\"/problems/%s\","
                                  "\"title\":\"%s\",\"status\":%ui,"
                                  "\"detail\":",
                                  row->slug, row->title, row->status);
    ngx_http_trifecta_json_str(j, detail);
    ngx_http_trifecta_json_lit(j, ",\"instance\":");
    ngx_http_trifecta_json_str(j, &r->uri);
    ngx_http_trifecta_json_lit(j, ",\"request_id\":");
    ngx_http_trifecta_json_str(j, &ctx->request_id);
    ngx_http_trifecta_json_lit(j, ",\"error\":{\"message\":");
    ngx_http_trifecta_json_str(j, detail);
    ngx_http_trifecta_json_printf(j, ",\"type\":\"%s\",\"param\":",
                                  row->type);

    if (param == NULL) {
        ngx_http_trifecta_json_lit(j, "null");

    } else {
        ngx_http_trifecta_json_string(j, param, ngx_strlen(param));
    }

    ngx_http_trifecta_json_printf(j, ",\"code\":\"%s\"}}", row->code);
}


static ngx_int_t
ngx_http_trifecta_catch(ngx_http_request_t *r,
    ngx_http_trifecta_caught_t *caught,
    const ngx_http_trifecta_error_row_t *row, const char *param,
    ngx_str_t *detail)
{
    ngx_str_t                 name;
    ngx_http_trifecta_json_t  j;

    name.data = (u_char *) (param ? param : "");
    name.len = ngx_strlen(name.data);

    ngx_http_trifecta_problem(r, row, param, detail, &j);

    caught->param.len = name.len;
    caught->param.data = ngx_pstrdup(r->pool, &name);
    caught->message.len = detail->len;
    caught->message.data = ngx_pstrdup(r->pool, detail);

    if (j.failed || caught->param.data == NULL
        || caught->message.data == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    caught->body.data = j.start;
    caught->body.len = j.last - j.start;
    caught->code = row->code;
    caught->status = row->status;

    return (ngx_int_t) row->status;
}


ngx_int_t
ngx_http_trifecta_error(ngx_http_request_t *r, tf_error_t code,
    const char *param, const char *fmt, ...)
{
    size_t                                i;
    va_list                               args;
    ngx_str_t                             text;
    ngx_uint_t                            level;
    ngx_http_trifecta_ctx_t              *ctx;
    ngx_http_trifecta_json_t              j;
    ngx_http_trifecta_main_conf_t        *mcf;
    const ngx_http_trifecta_error_row_t  *row;
    u_char                        detail[NGX_HTTP_TRIFECTA_DETAIL_MAX];
    u_char                        line[NGX_HTTP_TRIFECTA_DETAIL_MAX];

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    va_start(args, fmt);
    text.data = detail;
    text.len = ngx_vslprintf(detail, detail + NGX_HTTP_TRIFECTA_DETAIL_MAX - 1,
                             fmt, args) - detail;
    va_end(args);

    row = &ngx_http_trifecta_errors[code];

    if (ctx->caught) {
        return ngx_http_trifecta_catch(r, ctx->caught, row, param, &text);
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    /* what it quotes of a client must not make lines of its own in the log */

    for (i = 0; i < text.len; i++) {
        line[i] = (detail[i] < 0x20 || detail[i] == 0x7f) ? ' ' : detail[i];
    }

    level = (row->status >= 500) ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(level, r->connection->log, 0, "trifecta: %ui %s: %*s, %V",
                  row->status, row->code, text.len, line, &ctx->request_id);

    ngx_http_trifecta_count_error(mcf, code);

    ctx->error.data = (u_char *) row->code;
    ctx->error.len = ngx_strlen(row->code);

    ngx_http_trifecta_problem(r, row, param, &text, &j);

    if (code == TF_E_BODY_TOO_LARGE) {
        r->keepalive = 0;
    }

    if (ngx_http_trifecta_error_headers(r, code) != NGX_OK) {
        return ngx_http_trifecta_done(r, ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
    }

    return ngx_http_trifecta_done(r, ctx,
                                  ngx_http_trifecta_send(r, ctx, row->status,
                                                  "application/problem+json",
                                                  &j));
}


void
ngx_http_trifecta_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


void
ngx_http_trifecta_resume(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_trifecta_finalize(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


ngx_int_t
ngx_http_trifecta_wait(ngx_http_request_t *r)
{
    ngx_event_t  *rev;

    rev = r->connection->read;

    r->write_event_handler = ngx_http_request_empty_handler;

    if (r->discard_body) {
        return NGX_OK;      /* a body nobody asked for is still coming */
    }

    r->read_event_handler = ngx_http_test_reading;

    if (rev->ready) {

        /* an abort that came with the request would raise no event again */

        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0) == NGX_OK ? NGX_OK : NGX_ERROR;
}
