#include "ngx_http_trifecta_batch.h"
#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_worker.h"


/*
 * GET /v1/files/{id}/content: the parts of a file, one after the other.
 *
 * The bytes that a client has not taken yet stand in one buffer; the next
 * part is asked for when it is empty.  A store that is away is asked again for
 * a while.  The length of all was told before the first byte, so a client sees
 * that something is missing when that is of no use, or when the file is
 * deleted in the middle.
 */

#define NGX_HTTP_TRIFECTA_CONTENT_TRIES   8


typedef struct {
    ngx_http_trifecta_op_t   op;
    ngx_str_t                id;
    ngx_uint_t               part;      /* to be asked for */
    off_t                    left;      /* bytes, from there on */
    off_t                    sent;      /* of the connection, at the timer */
    size_t                   size;      /* of the buffer */
    ngx_buf_t                buf;
    ngx_event_t              timer;     /* until it is asked again */
    ngx_uint_t               tries;
} ngx_http_trifecta_content_t;


static void ngx_http_trifecta_content_read(void *data, PGresult *res);


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_content_file_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT " NGX_HTTP_TRIFECTA_FILE_COLUMNS " FROM trifecta.file"
      " WHERE id = $3::uuid AND " NGX_HTTP_TRIFECTA_FILE_SEEN, 3 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_content_part_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT body FROM trifecta.file_part"
      " WHERE file = $3::uuid AND part = $4::int"
      " AND tenant = $1 AND owner = $2", 4 },

    { NULL, 0 }
};


static void
ngx_http_trifecta_content_cleanup(void *data)
{
    ngx_http_trifecta_content_t *ct = data;

    if (ct->timer.timer_set) {
        ngx_del_timer(&ct->timer);
    }
}


/* NGX_DONE, or what ends the request: here and below. */

static ngx_int_t
ngx_http_trifecta_content_later(ngx_http_trifecta_content_t *ct)
{
    if (++ct->tries < NGX_HTTP_TRIFECTA_CONTENT_TRIES) {
        ngx_add_timer(&ct->timer, ngx_http_trifecta_backoff(ct->tries));
        return NGX_DONE;
    }

    ngx_log_error(NGX_LOG_WARN, ct->op.request->connection->log, 0,
                  "trifecta: the content of a file is cut: the store does not "
                  "answer");

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_trifecta_content_ask(ngx_http_trifecta_content_t *ct)
{
    u_char                      number[NGX_INT_T_LEN];
    ngx_str_t                   params[2];
    ngx_http_trifecta_store_t   store;

    params[0] = ct->id;
    params[1].data = number;
    params[1].len = ngx_sprintf(number, "%ui", ct->part) - number;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = ngx_http_trifecta_content_part_query;
    store.params = params;
    store.nparams = 2;
    store.raw = 1;

    if (ngx_http_trifecta_store_op(&ct->op, &store,
                                   ngx_http_trifecta_content_read)
        != NGX_OK)
    {
        return ngx_http_trifecta_content_later(ct);
    }

    return NGX_DONE;
}


static void
ngx_http_trifecta_content_again(ngx_event_t *ev)
{
    ngx_int_t                     rc;
    ngx_http_trifecta_content_t  *ct;

    ct = ev->data;
    rc = ngx_http_trifecta_content_ask(ct);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(ct->op.request, rc);
    }
}


/*
 * Gives the client what is in the buffer, and goes on when it has taken that.
 * send_timeout is for a client that takes nothing.
 */

static ngx_int_t
ngx_http_trifecta_content_send(ngx_http_trifecta_content_t *ct,
    ngx_chain_t *out)
{
    ngx_int_t                  rc;
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ct->op.request;
    c = r->connection;
    wev = c->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    rc = ngx_http_output_filter(r, out);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ct->left == 0) {
        return rc;          /* nginx sends the rest while it finalizes */
    }

    if (ngx_buf_size(&ct->buf) == 0) {

        if (wev->timer_set && !wev->delayed) {
            ngx_del_timer(wev);
        }

        return ngx_http_trifecta_content_ask(ct);
    }

    if (!wev->delayed && (!wev->timer_set || c->sent != ct->sent)) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    ct->sent = c->sent;

    return ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK
           ? NGX_DONE : NGX_ERROR;
}


static void
ngx_http_trifecta_content_writable(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_event_t                  *wev;
    ngx_http_trifecta_ctx_t      *ctx;
    ngx_http_trifecta_content_t  *ct;
    ngx_http_core_loc_conf_t     *clcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    ct = ctx->content_of;
    wev = r->connection->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "trifecta: a client took nothing of a file for too "
                      "long");

        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ct->op.query || ct->timer.timer_set) {
        return;             /* it is the store that is waited for */
    }

    if (wev->delayed) {     /* limit_rate */
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        rc = ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK
             ? NGX_DONE : NGX_ERROR;

    } else {
        rc = ngx_http_trifecta_content_send(ct, NULL);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* A part that was asked for. */

static ngx_int_t
ngx_http_trifecta_content_part(ngx_http_trifecta_content_t *ct, PGresult *res)
{
    size_t               len;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = ct->op.request;

    if (res == NULL) {
        return ngx_http_trifecta_content_later(ct);
    }

    ct->tries = 0;

    len = PQntuples(res) == 1 ? (size_t) PQgetlength(res, 0, 0) : 0;

    if (len == 0 || (off_t) len > ct->left) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "trifecta: the content of a file is cut: it is there no "
                      "more");
        return NGX_ERROR;
    }

    b = &ct->buf;

    if (len > ct->size) {
        if (b->start) {
            (void) ngx_pfree(r->pool, b->start);
        }

        b->start = ngx_palloc(r->pool, len);
        if (b->start == NULL) {
            return NGX_ERROR;
        }

        b->end = b->start + len;
        ct->size = len;
    }

    b->pos = b->start;
    b->last = ngx_cpymem(b->start, PQgetvalue(res, 0, 0), len);

    ct->part++;
    ct->left -= len;

    b->temporary = 1;
    b->flush = 1;
    b->last_buf = (ct->left == 0);
    b->last_in_chain = (ct->left == 0);

    out.buf = b;
    out.next = NULL;

    return ngx_http_trifecta_content_send(ct, &out);
}


static void
ngx_http_trifecta_content_read(void *data, PGresult *res)
{
    ngx_http_trifecta_content_t *ct = data;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ct->op.request;
    c = r->connection;
    ct->op.query = NULL;

    ngx_http_set_log_request(c->log, r);

    rc = ngx_http_trifecta_content_part(ct, res);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


/* The answers of a batch. */

static ngx_int_t
ngx_http_trifecta_content_batch(ngx_http_trifecta_content_t *ct,
    PGresult *res)
{
    ngx_str_t    value, batch;
    const char  *kind;

    value.data = (u_char *) PQgetvalue(res, 0, NGX_HTTP_TRIFECTA_FILE_BATCH);
    value.len = PQgetlength(res, 0, NGX_HTTP_TRIFECTA_FILE_BATCH);

    kind = PQgetvalue(res, 0, NGX_HTTP_TRIFECTA_FILE_KIND);

    batch.len = value.len;
    batch.data = ngx_pstrdup(ct->op.request->pool, &value);
    if (batch.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_batch_content(ct->op.request, &batch,
                                           ngx_strcmp(kind, "error") == 0);
}


static ngx_int_t
ngx_http_trifecta_content_start(ngx_http_trifecta_content_t *ct,
    PGresult *res)
{
    ngx_int_t                 rc;
    ngx_http_cleanup_t       *cln;
    ngx_http_request_t       *r;
    ngx_http_trifecta_ctx_t  *ctx;

    r = ct->op.request;
    ctx = ngx_http_trifecta_get_ctx(r);

    if (res == NULL) {
        return ngx_http_trifecta_file_no_store(r);
    }

    if (PQntuples(res) != 1) {
        return ngx_http_trifecta_file_not_found(r);
    }

    if (!PQgetisnull(res, 0, NGX_HTTP_TRIFECTA_FILE_BATCH)) {
        return ngx_http_trifecta_content_batch(ct, res);
    }

    ct->left = ngx_atoof((u_char *) PQgetvalue(res, 0,
                                           NGX_HTTP_TRIFECTA_FILE_BYTES),
                         PQgetlength(res, 0, NGX_HTTP_TRIFECTA_FILE_BYTES));

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_trifecta_content_cleanup;
    cln->data = ct;

    ct->timer.handler = ngx_http_trifecta_content_again;
    ct->timer.data = ct;
    ct->timer.log = r->connection->log;

    rc = ngx_http_trifecta_reply_file(r, "application/octet-stream",
                                      ct->left);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (ct->left == 0) {
        return ngx_http_send_special(r, NGX_HTTP_LAST);
    }

    ctx->content_of = ct;
    r->write_event_handler = ngx_http_trifecta_content_writable;

    return ngx_http_trifecta_content_ask(ct);
}


static void
ngx_http_trifecta_content_found(void *data, PGresult *res)
{
    ngx_http_trifecta_content_t *ct = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ct->op.request;
    ct->op.query = NULL;

    ngx_http_set_log_request(r->connection->log, r);

    rc = ngx_http_trifecta_content_start(ct, res);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


ngx_int_t
ngx_http_trifecta_file_content(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                     rc;
    ngx_http_trifecta_store_t     store;
    ngx_http_trifecta_content_t  *ct;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ct = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_content_t));
    if (ct == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_file_id(r, id, &ct->id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = ngx_http_trifecta_content_file_query;
    store.params = &ct->id;
    store.nparams = 1;

    if (ngx_http_trifecta_store_op(&ct->op, &store,
                                   ngx_http_trifecta_content_found)
        != NGX_OK)
    {
        return ngx_http_trifecta_file_no_store(r);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
