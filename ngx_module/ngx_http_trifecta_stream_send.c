#include "ngx_http_trifecta_stream.h"
#include "ngx_http_trifecta_metrics.h"


/*
 * The way to the client.  Bytes are gathered in buffers of one size and leave
 * together; a buffer that was sent is used again.
 */

#define NGX_HTTP_TRIFECTA_STREAM_BUF  8192


static ngx_buf_t *
ngx_http_trifecta_stream_buf(ngx_http_trifecta_stream_t *s)
{
    ngx_buf_t    *b;
    ngx_pool_t   *pool;
    ngx_chain_t  *cl;

    pool = s->read.op.request->pool;

    cl = ngx_chain_get_free_buf(pool, &s->free);
    if (cl == NULL) {
        return NULL;
    }

    b = cl->buf;

    if (b->start == NULL) {
        b->start = ngx_palloc(pool, NGX_HTTP_TRIFECTA_STREAM_BUF);
        if (b->start == NULL) {
            return NULL;
        }

        b->end = b->start + NGX_HTTP_TRIFECTA_STREAM_BUF;
        b->pos = b->start;
        b->last = b->start;
        b->temporary = 1;
        b->tag = (ngx_buf_tag_t) &ngx_http_trifecta_module;
    }

    b->flush = 0;

    if (s->out == NULL) {
        s->out = cl;

    } else {
        s->tail->next = cl;
    }

    s->tail = cl;

    return b;
}


ngx_http_trifecta_json_t *
ngx_http_trifecta_stream_json(ngx_http_trifecta_stream_t *s)
{
    if (s->json.start == NULL) {

        /* large enough for the pool to give back what has grown */

        ngx_http_trifecta_json_init(&s->json, s->read.op.request->pool,
                                    NGX_HTTP_TRIFECTA_STREAM_BUF);
    }

    s->json.last = s->json.start;

    return &s->json;
}


ngx_int_t
ngx_http_trifecta_stream_put(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_json_t *j)
{
    size_t      len, n;
    u_char     *p;
    ngx_buf_t  *b;

    if (j->failed) {
        return NGX_ERROR;
    }

    p = j->start;
    len = j->last - j->start;

    while (len) {
        b = s->out ? s->tail->buf : NULL;

        if (b == NULL || b->last == b->end) {
            b = ngx_http_trifecta_stream_buf(s);
            if (b == NULL) {
                return NGX_ERROR;
            }
        }

        n = ngx_min(len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, p, n);
        p += n;
        len -= n;
        s->unsent += n;
    }

    j->last = j->start;

    return NGX_OK;
}


/*
 * send_timeout is for a client that takes nothing: bytes that join those that
 * wait do not begin it anew.
 */

static ngx_int_t
ngx_http_trifecta_stream_watch(ngx_http_trifecta_stream_t *s)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = s->read.op.request;
    c = r->connection;
    wev = c->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (wev->delayed) {
        return NGX_OK;      /* limit_rate has a timer there */
    }

    if (!r->buffered && !c->buffered) {
        if (wev->timer_set) {
            ngx_del_timer(wev);
        }

#if (NGX_SSL)
        /*
         * A stream waits most of its time, and this buffer has 16 KB.  With
         * HTTP/2 it belongs to all streams of a connection: what it has may
         * be another one's, and of this one's nothing is said here.
         */

        if (c->ssl && c->ssl->buf && c->ssl->buf->pos == c->ssl->buf->last) {
            ngx_ssl_free_buffer(c);
        }
#endif

    } else if (!wev->timer_set || c->sent != s->sent) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    s->sent = c->sent;

    return ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_trifecta_stream_send(ngx_http_trifecta_stream_t *s, ngx_uint_t last)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = s->read.op.request;

    if (s->out) {
        s->tail->buf->flush = 1;
        s->tail->buf->last_buf = last ? 1 : 0;
        s->tail->buf->last_in_chain = last ? 1 : 0;
        s->beat_at = ngx_current_msec + NGX_HTTP_TRIFECTA_STREAM_BEAT;

    } else if (last) {

        /* an encoder that has nothing to say at its end */

        b = ngx_http_trifecta_stream_buf(s);
        if (b == NULL) {
            return NGX_ERROR;
        }

        b->last_buf = 1;
        b->last_in_chain = 1;
        b->temporary = 0;
    }

    rc = NGX_OK;

    if (s->out || r->buffered || r->connection->buffered) {
        rc = ngx_http_output_filter(r, s->out);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    ngx_chain_update_chains(r->pool, &s->free, &s->busy, &s->out,
                            (ngx_buf_tag_t) &ngx_http_trifecta_module);

    s->tail = NULL;
    s->unsent = 0;

    for (cl = s->busy; cl; cl = cl->next) {
        s->unsent += ngx_buf_size(cl->buf);
    }

    if (last) {
        return rc;
    }

    return ngx_http_trifecta_stream_watch(s);
}


ngx_int_t
ngx_http_trifecta_stream_beat(ngx_http_trifecta_stream_t *s)
{
    ngx_http_trifecta_json_t  *j;

    s->beat_at = ngx_current_msec + NGX_HTTP_TRIFECTA_STREAM_BEAT;

    if (s->unsent) {
        return NGX_OK;      /* it has not taken yet what there is */
    }

    j = ngx_http_trifecta_stream_json(s);

    ngx_http_trifecta_json_lit(j, ":\n\n");

    if (ngx_http_trifecta_stream_put(s, j) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_stream_send(s, 0);
}


ngx_int_t
ngx_http_trifecta_stream_writable(ngx_http_trifecta_stream_t *s)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = s->read.op.request;
    c = r->connection;
    wev = c->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "trifecta: a client took nothing of its stream for too "
                      "long, %uz bytes are left", s->unsent);

        ngx_http_trifecta_count(ngx_http_get_module_main_conf(r,
                                                  ngx_http_trifecta_module),
                                NGX_HTTP_TRIFECTA_M_STREAM_SLOW);

        c->timedout = 1;

        return NGX_HTTP_REQUEST_TIME_OUT;
    }

    if (wev->delayed) {
        return ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK
               ? NGX_OK : NGX_ERROR;
    }

    return ngx_http_trifecta_stream_send(s, 0);
}


/*
 * The end of a body that has neither chunks nor a length is that of its
 * connection, so the connection must not end properly: it is reset.  Over TLS
 * a reset says nothing to those who take an end without a goodbye for a proper
 * one, as nginx does; bytes that are no record of TLS say it to everybody.
 */

void
ngx_http_trifecta_stream_reset(ngx_connection_t *c)
{
    struct linger  linger;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        (void) send(c->fd, "\0\0\0\0\0", 5, MSG_NOSIGNAL);

        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
        return;
    }
#endif

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, (const void *) &linger,
                   sizeof(struct linger)) == -1)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }
}


ngx_int_t
ngx_http_trifecta_stream_cut(ngx_http_trifecta_stream_t *s, const char *why)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = s->read.op.request;
    c = r->connection;

    ngx_log_error(NGX_LOG_WARN, c->log, 0,
                  "trifecta: a stream is cut, its client may ask again: %s",
                  why);

    ngx_http_trifecta_count(ngx_http_get_module_main_conf(r,
                                                  ngx_http_trifecta_module),
                            NGX_HTTP_TRIFECTA_M_STREAM_CUT);

    if (r->http_version <= NGX_HTTP_VERSION_11 && !r->chunked) {
        ngx_http_trifecta_stream_reset(c);
    }

    return NGX_ERROR;
}
