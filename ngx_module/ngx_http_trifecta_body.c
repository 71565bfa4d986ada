#include "ngx_http_trifecta_body.h"


#define NGX_HTTP_TRIFECTA_BODY_START  4096


typedef struct {
    ngx_str_t                   text;       /* what is there */
    size_t                      size;       /* room for it */
    size_t                      max;
    ngx_http_trifecta_body_pt   handler;
} ngx_http_trifecta_body_t;


static void ngx_http_trifecta_body_collect(ngx_http_request_t *r);


ngx_str_t *
ngx_http_trifecta_header_next(ngx_http_request_t *r, const char *name,
    ngx_http_trifecta_lines_t *at)
{
    size_t            len;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    if (at->part == NULL) {
        at->part = &r->headers_in.headers.part;
    }

    for ( ;; ) {

        if (at->next >= at->part->nelts) {
            if (at->part->next == NULL) {
                return NULL;
            }

            at->part = at->part->next;
            at->next = 0;
            continue;
        }

        h = at->part->elts;
        h += at->next++;

        if (h->key.len == len
            && ngx_strncasecmp(h->key.data, (u_char *) name, len) == 0)
        {
            return &h->value;
        }
    }
}


ngx_str_t *
ngx_http_trifecta_header_in(ngx_http_request_t *r, const char *name)
{
    ngx_http_trifecta_lines_t  at;

    ngx_memzero(&at, sizeof(ngx_http_trifecta_lines_t));

    return ngx_http_trifecta_header_next(r, name, &at);
}


static u_char *
ngx_http_trifecta_skip_space(u_char *p, u_char *end)
{
    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


ngx_uint_t
ngx_http_trifecta_is_json(ngx_http_request_t *r)
{
    u_char     *p, *end;
    size_t      i;
    ngx_str_t  *encoding;

    static const ngx_str_t  charsets[] = {
        ngx_string("charset=utf-8"),
        ngx_string("charset=\"utf-8\"")
    };

    encoding = ngx_http_trifecta_header_in(r, "content-encoding");

    if (encoding != NULL
        && !(encoding->len == sizeof("identity") - 1
             && ngx_strncasecmp(encoding->data, (u_char *) "identity",
                                encoding->len)
                == 0))
    {
        return 0;
    }

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    p = r->headers_in.content_type->value.data;
    end = p + r->headers_in.content_type->value.len;

    if ((size_t) (end - p) < sizeof("application/json") - 1
        || ngx_strncasecmp(p, (u_char *) "application/json",
                           sizeof("application/json") - 1)
           != 0)
    {
        return 0;
    }

    p = ngx_http_trifecta_skip_space(p + sizeof("application/json") - 1, end);

    if (p == end) {
        return 1;
    }

    if (*p != ';') {
        return 0;
    }

    p = ngx_http_trifecta_skip_space(p + 1, end);

    if (p == end) {
        return 1;
    }

    for (i = 0; i < sizeof(charsets) / sizeof(ngx_str_t); i++) {
        if ((size_t) (end - p) >= charsets[i].len
            && ngx_strncasecmp(p, charsets[i].data, charsets[i].len) == 0
            && ngx_http_trifecta_skip_space(p + charsets[i].len, end) == end)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_trifecta_body_too_large(ngx_http_request_t *r, size_t max)
{
    return ngx_http_trifecta_error(r, TF_E_BODY_TOO_LARGE, NULL,
                                   "the body is larger than %uz bytes", max);
}


static ngx_int_t
ngx_http_trifecta_body_error(ngx_http_request_t *r, ngx_int_t rc)
{
    if (rc == NGX_HTTP_BAD_REQUEST && !r->connection->error) {
        r->keepalive = 0;

        return ngx_http_trifecta_error(r, TF_E_INVALID_JSON, NULL,
                                       "the body could not be read: its "
                                       "chunked encoding is broken");
    }

    /* the client is too slow or gone: there is nobody to tell */

    return rc;
}


/* NGX_OK, NGX_DECLINED when it becomes too large, or NGX_ERROR. */

static ngx_int_t
ngx_http_trifecta_body_append(ngx_http_request_t *r,
    ngx_http_trifecta_body_t *body, u_char *data, size_t len)
{
    size_t   size;
    u_char  *p;

    if (len > body->max - body->text.len) {
        return NGX_DECLINED;
    }

    if (len > body->size - body->text.len) {

        size = ngx_max(2 * body->size, body->text.len + len);
        size = ngx_min(size, body->max);

        p = ngx_pnalloc(r->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, body->text.data, body->text.len);
        (void) ngx_pfree(r->pool, body->text.data);

        body->text.data = p;
        body->size = size;
    }

    ngx_memcpy(body->text.data + body->text.len, data, len);
    body->text.len += len;

    return NGX_OK;
}


/* Takes the pieces that nginx has read and gives their buffers back. */

static ngx_int_t
ngx_http_trifecta_body_take(ngx_http_request_t *r,
    ngx_http_trifecta_body_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *ln;

    rc = NGX_OK;

    for (cl = r->request_body->bufs; cl; /* void */ ) {
        b = cl->buf;

        if (rc == NGX_OK && ngx_buf_in_memory(b)) {
            rc = ngx_http_trifecta_body_append(r, body, b->pos,
                                               b->last - b->pos);
        }

        b->pos = b->last;

        ln = cl;
        cl = cl->next;
        ngx_free_chain(r->pool, ln);
    }

    r->request_body->bufs = NULL;

    return rc;
}


/* What it was read into can be as large, and who waits does so for minutes. */

static void
ngx_http_trifecta_body_over(ngx_http_request_t *r)
{
    ngx_buf_t  *b;

    b = r->request_body->buf;

    if (b != NULL) {
        r->request_body->buf = NULL;
        (void) ngx_pfree(r->pool, b->start);
    }
}


static void
ngx_http_trifecta_body_collect(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_trifecta_ctx_t   *ctx;
    ngx_http_trifecta_body_t  *body;

    ctx = ngx_http_trifecta_get_ctx(r);
    body = ctx->body;

    for ( ;; ) {
        rc = ngx_http_trifecta_body_take(r, body);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_trifecta_body_too_large(r, body->max);
            break;
        }

        if (rc == NGX_ERROR) {
            rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            break;
        }

        if (!r->reading_body) {
            r->read_event_handler = ngx_http_block_reading;
            ctx->body = NULL;
            ngx_http_trifecta_body_over(r);
            rc = body->handler(r, &body->text);
            break;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            rc = ngx_http_trifecta_body_error(r, rc);
            break;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            return;
        }
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* Called once by nginx, when the first part is there, maybe the last. */

static void
ngx_http_trifecta_body_start(ngx_http_request_t *r)
{
    if (r->reading_body) {
        r->read_event_handler = ngx_http_trifecta_body_collect;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_trifecta_body_collect(r);
}


ngx_int_t
ngx_http_trifecta_read_body(ngx_http_request_t *r, size_t max,
    ngx_http_trifecta_body_pt handler)
{
    off_t                      length;
    ngx_int_t                  rc;
    ngx_http_trifecta_ctx_t   *ctx;
    ngx_http_trifecta_body_t  *body;

    length = r->headers_in.content_length_n;

    if (length > (off_t) max) {
        return ngx_http_trifecta_body_too_large(r, max);
    }

    ctx = ngx_http_trifecta_get_ctx(r);

    body = ngx_pcalloc(r->pool, sizeof(ngx_http_trifecta_body_t));
    if (body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* what a client announces costs it nothing, what it sends does */

    body->size = (length > 0 && length < NGX_HTTP_TRIFECTA_BODY_START)
                 ? (size_t) length : NGX_HTTP_TRIFECTA_BODY_START;
    body->max = max;
    body->handler = handler;

    body->text.data = ngx_pnalloc(r->pool, body->size);
    if (body->text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->body = body;

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_trifecta_body_start);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return ngx_http_trifecta_body_error(r, rc);
    }

    return NGX_DONE;
}


ngx_uint_t
ngx_http_trifecta_accepts(ngx_http_request_t *r, const char *type)
{
    size_t                      len;
    u_char                     *p, *end;
    ngx_str_t                  *line;
    ngx_http_trifecta_lines_t   at;

    len = ngx_strlen(type);

    ngx_memzero(&at, sizeof(ngx_http_trifecta_lines_t));

    while ((line = ngx_http_trifecta_header_next(r, "accept", &at)) != NULL) {

        p = line->data;
        end = p + line->len;

        while (p < end) {

            while (p < end && (*p == ' ' || *p == '\t' || *p == ',')) {
                p++;
            }

            if ((size_t) (end - p) >= len
                && ngx_strncasecmp(p, (u_char *) type, len) == 0
                && (p + len == end || p[len] == ',' || p[len] == ';'
                    || p[len] == ' ' || p[len] == '\t'))
            {
                return 1;
            }

            while (p < end && *p != ',') {
                p++;
            }
        }
    }

    return 0;
}
