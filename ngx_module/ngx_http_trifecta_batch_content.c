#include "ngx_http_trifecta_batch.h"
#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_store.h"
#include "ngx_http_trifecta_stream.h"
#include "ngx_http_trifecta_worker.h"


/*
 * A file of a batch's answers, or of its errors, drawn while it is sent.
 *
 *   page of lines ──> drawn ──> sent ──> the next page
 *
 * A page has at most 64 lines, and ends after the one that makes it 256 KB of
 * requests and answers, as they are stored or as they are drawn: to draw more
 * of them would keep a worker from all others.  While a client has not taken
 * one page, no other is read.  Nothing ever changes a
 * line that has ended, so each reading gives the same bytes, unless an answer
 * was deleted meanwhile.
 *
 * A store that is away is asked again for a while.  When that is of no use
 * the connection is cut, so that nobody takes what came for all of it.
 */

#define NGX_HTTP_TRIFECTA_BATCH_TRIES     8
#define NGX_HTTP_TRIFECTA_BATCH_LINES     64        /* of a page */
#define NGX_HTTP_TRIFECTA_BATCH_BYTES     262144


typedef struct {
    ngx_http_trifecta_op_t         op;
    ngx_str_t                      batch;
    ngx_uint_t                     errors;
    int64_t                        after;       /* seq of the last line */
    ngx_http_trifecta_standin_t   *standin;
    ngx_pool_t                    *pool;        /* of the page's bytes */
    ngx_buf_t                      buf;         /* filters may keep it */
    ngx_event_t                    timer;
    ngx_uint_t                     tries;
    ngx_uint_t                     begun;       /* the header is out */
} ngx_http_trifecta_batch_content_t;


static ngx_int_t ngx_http_trifecta_batch_page(
    ngx_http_trifecta_batch_content_t *content);


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_page_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    /*
     * Line by line, or what is not sent would be read each time, too.  The
     * line before the first one says where to begin, and the types.
     */

    { "WITH RECURSIVE p AS ("
      "SELECT 0 AS lines, 0::bigint AS bytes, $4::bigint AS seq, x.*"
      " FROM (SELECT NULL::text AS state, NULL::int AS attempt,"
      " NULL::text AS model, NULL::bigint AS accepted,"
      " NULL::bigint AS finished, NULL::text AS error, NULL::text AS usage,"
      " NULL::text AS body, NULL::text AS citations, false AS deleted,"
      " NULL::text AS conversation, NULL::text AS metadata,"
      " NULL::text AS request, NULL::text AS deltas, NULL::text AS streamed,"
      " NULL::text AS tool_calls, NULL::text AS custom_id,"
      " NULL::text AS refused, NULL::int AS status, NULL::uuid AS job,"
      " NULL::text AS request_id, 0 AS n, false AS ok) AS x"
      " UNION ALL"
      " SELECT p.lines + 1, p.bytes + octet_length(concat(x.refused,"
      " x.custom_id, x.request, x.streamed, x.error, x.body, x.citations,"
      " x.deltas, x.tool_calls)), x.*"
      " FROM p CROSS JOIN LATERAL (SELECT l.seq, j.state::text, j.attempt,"
      " j.model, (extract(epoch from j.accepted) * 1000)::bigint,"
      " (extract(epoch from j.finished) * 1000)::bigint,"
      " j.error::text, j.usage::text, r.body, r.citations::text AS citations,"
      " j.deleted IS NOT NULL, j.conversation::text,"
      " (j.request->'metadata')::text, j.request::text AS request,"
      " r.deltas::text AS deltas, j.streamed::text AS streamed,"
      " r.tool_calls::text AS tool_calls, l.custom_id,"
      " l.error::text AS refused, l.status, l.job, j.request_id::text, l.n,"
      " l.ok"
      " FROM (SELECT * FROM trifecta.batch_line AS l"
      " WHERE l.batch = $3::uuid AND l.tenant = $1 AND l.owner = $2"
      " AND l.ended AND l.ok = $5::boolean AND l.seq > p.seq"
      " ORDER BY l.seq LIMIT 1) AS l"
      " LEFT JOIN trifecta.job AS j ON j.id = l.job"
      " LEFT JOIN trifecta.job_result AS r ON r.job = l.job OFFSET 0) AS x"
      " WHERE p.lines < " ngx_value(NGX_HTTP_TRIFECTA_BATCH_LINES)
      " AND p.bytes < " ngx_value(NGX_HTTP_TRIFECTA_BATCH_BYTES) ")"
      " SELECT p.state, p.attempt, p.model, p.accepted, p.finished, p.error,"
      " p.usage, p.body, p.citations, p.deleted, p.conversation, p.metadata,"
      " p.request, p.deltas, p.streamed, p.tool_calls, p.seq, p.custom_id,"
      " p.refused, p.status, p.job, p.request_id, p.n, b.endpoint, p.ok"
      " FROM p JOIN trifecta.batch AS b ON b.id = $3::uuid"
      " WHERE p.lines > 0 AND b.tenant = $1 AND b.owner = $2"
      " ORDER BY p.lines", 5 },

    { NULL, 0 }
};


static void
ngx_http_trifecta_batch_content_cleanup(void *data)
{
    ngx_http_trifecta_batch_content_t *content = data;

    if (content->timer.timer_set) {
        ngx_del_timer(&content->timer);
    }

    if (content->pool) {
        ngx_destroy_pool(content->pool);
    }
}


/*
 * The request is about to end before its file does.  Where the end of the
 * connection is that of the file, it must not look like one.
 */

static void
ngx_http_trifecta_batch_broken(ngx_http_trifecta_batch_content_t *content)
{
    ngx_http_request_t  *r;

    r = content->op.request;

    if (content->begun && r->http_version <= NGX_HTTP_VERSION_11
        && !r->chunked)
    {
        ngx_http_trifecta_stream_reset(r->connection);
    }
}


static ngx_int_t
ngx_http_trifecta_batch_cut(ngx_http_trifecta_batch_content_t *content)
{
    ngx_http_request_t  *r;

    r = content->op.request;

    if (!content->begun) {
        return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                       "the store of results cannot be read");
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "trifecta: the file of a batch is cut, its client may ask "
                  "again: the store of results cannot be read");

    return NGX_ERROR;
}


/* In an event that is none of the request's. */

static void
ngx_http_trifecta_batch_done(ngx_http_trifecta_batch_content_t *content,
    ngx_int_t rc)
{
    if (rc == NGX_DONE) {
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_http_trifecta_batch_broken(content);
    }

    ngx_http_trifecta_finalize(content->op.request, rc);
}


/* NGX_DONE: there is more to send, or to read; else the end. */

static ngx_int_t
ngx_http_trifecta_batch_push(ngx_http_trifecta_batch_content_t *content,
    ngx_chain_t *out, ngx_uint_t last)
{
    ngx_int_t                  rc;
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = content->op.request;
    c = r->connection;
    wev = c->write;

    rc = ngx_http_output_filter(r, out);

    if (rc == NGX_ERROR || last) {
        return rc;
    }

    if (r->buffered || c->buffered || r->postponed) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (!wev->delayed) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

        return ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK
               ? NGX_DONE : NGX_ERROR;
    }

    if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    ngx_destroy_pool(content->pool);
    content->pool = NULL;

    return ngx_http_trifecta_batch_page(content);
}


static void
ngx_http_trifecta_batch_writable(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_event_t                        *wev;
    ngx_http_trifecta_ctx_t            *ctx;
    ngx_http_trifecta_batch_content_t  *content;

    ctx = ngx_http_trifecta_get_ctx(r);
    content = ctx->content_of;
    wev = r->connection->write;

    if (content->pool == NULL) {
        return;     /* a page is read */
    }

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "trifecta: a client took nothing of its file for too "
                      "long");
        r->connection->timedout = 1;
        ngx_http_trifecta_batch_broken(content);
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    rc = wev->delayed ? NGX_DONE
                      : ngx_http_trifecta_batch_push(content, NULL, 0);

    if (rc == NGX_ERROR) {
        ngx_http_trifecta_batch_broken(content);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_http_trifecta_batch_send(ngx_http_trifecta_batch_content_t *content,
    ngx_http_trifecta_json_t *j, ngx_uint_t last)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = content->op.request;

    if (!content->begun) {
        content->begun = 1;

        rc = ngx_http_trifecta_reply_file(r, "application/jsonl", -1);

        /* NGX_AGAIN: it waits behind what the connection carries */

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }

        r->write_event_handler = ngx_http_trifecta_batch_writable;
    }

    /*
     * A filter may look at a buffer that is sent, at its tag and its size,
     * as long as the request lives; at its bytes none does any more.
     */

    b = &content->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->tag = (ngx_buf_tag_t) &ngx_http_trifecta_module;
    b->pos = j->start;
    b->last = j->last;
    b->memory = (j->last > j->start);
    b->flush = 1;
    b->last_buf = last ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_trifecta_batch_push(content, &out, last);
}


/* There were jobs, and none of them is there. */

static ngx_uint_t
ngx_http_trifecta_batch_pruned(PGresult *res)
{
    int         i;
    ngx_uint_t  had;

    had = 0;

    for (i = 0; i < PQntuples(res); i++) {

        if (PQgetisnull(res, i, NGX_HTTP_TRIFECTA_BATCH_COL_JOB)) {
            continue;
        }

        if (!PQgetisnull(res, i, 0)) {
            return 0;
        }

        had = 1;
    }

    return had;
}


static ngx_int_t
ngx_http_trifecta_batch_drawn(ngx_http_trifecta_batch_content_t *content,
    PGresult *res)
{
    int                        i, n;
    ngx_http_trifecta_json_t   j;

    n = PQntuples(res);

    if (!content->begun && ngx_http_trifecta_batch_pruned(res)) {
        return ngx_http_trifecta_gone(content->op.request,
                                      "the answers of this batch are not kept "
                                      "any more");
    }

    content->pool = ngx_create_pool(4096, ngx_cycle->log);
    if (content->pool == NULL) {
        return content->begun ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_trifecta_json_init(&j, content->pool, 65536);

    for (i = 0; i < n; i++) {

        if (j.last - j.start >= NGX_HTTP_TRIFECTA_BATCH_BYTES) {
            n = i;      /* the rest is read again */
            break;
        }

        if (ngx_http_trifecta_batch_draw(content->standin, &content->batch,
                                         res, i, &j)
            != NGX_OK)
        {
            return content->begun ? NGX_ERROR
                                  : NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (n) {
        content->after = (int64_t) ngx_atoof((u_char *)
                             PQgetvalue(res, n - 1,
                                        NGX_HTTP_TRIFECTA_BATCH_COL_SEQ),
                             (size_t) PQgetlength(res, n - 1,
                                          NGX_HTTP_TRIFECTA_BATCH_COL_SEQ));
    }

    return ngx_http_trifecta_batch_send(content, &j, n == 0);
}


static void
ngx_http_trifecta_batch_page_read(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_content_t *content = data;

    ngx_int_t  rc;

    content->op.query = NULL;

    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_BATCH_COLS) {

        if (++content->tries < NGX_HTTP_TRIFECTA_BATCH_TRIES) {
            ngx_add_timer(&content->timer,
                          ngx_http_trifecta_backoff(content->tries));
            return;
        }

        rc = ngx_http_trifecta_batch_cut(content);

    } else {
        content->tries = 0;
        rc = ngx_http_trifecta_batch_drawn(content, res);
    }

    ngx_http_trifecta_batch_done(content, rc);
}


static void
ngx_http_trifecta_batch_again(ngx_event_t *ev)
{
    ngx_http_trifecta_batch_content_t  *content;

    content = ngx_http_trifecta_get_ctx((ngx_http_request_t *) ev->data)
              ->content_of;

    ngx_http_trifecta_batch_done(content,
                                 ngx_http_trifecta_batch_page(content));
}


static ngx_int_t
ngx_http_trifecta_batch_page(ngx_http_trifecta_batch_content_t *content)
{
    u_char                     after[NGX_INT64_LEN];
    ngx_str_t                  params[3];
    ngx_http_trifecta_store_t  store;

    params[0] = content->batch;
    params[1].data = after;
    params[1].len = ngx_sprintf(after, "%L", content->after) - after;
    params[2].data = (u_char *) (content->errors ? "f" : "t");
    params[2].len = 1;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = ngx_http_trifecta_batch_page_query;
    store.params = params;
    store.nparams = 3;

    if (ngx_http_trifecta_store_op(&content->op, &store,
                                   ngx_http_trifecta_batch_page_read)
        == NGX_OK)
    {
        return NGX_DONE;
    }

    if (++content->tries < NGX_HTTP_TRIFECTA_BATCH_TRIES) {
        ngx_add_timer(&content->timer,
                      ngx_http_trifecta_backoff(content->tries));
        return NGX_DONE;
    }

    return ngx_http_trifecta_batch_cut(content);
}


ngx_int_t
ngx_http_trifecta_batch_content(ngx_http_request_t *r, ngx_str_t *batch,
    ngx_uint_t errors)
{
    ngx_http_cleanup_t                 *cln;
    ngx_http_trifecta_ctx_t            *ctx;
    ngx_http_trifecta_batch_content_t  *content;

    ctx = ngx_http_trifecta_get_ctx(r);

    content = ngx_http_trifecta_op_create(r,
                                  sizeof(ngx_http_trifecta_batch_content_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (content == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_trifecta_batch_content_cleanup;
    cln->data = content;

    content->errors = errors;
    content->batch.len = batch->len;
    content->batch.data = ngx_pnalloc(r->pool, batch->len + 1);
    content->standin = ngx_http_trifecta_standin_create(r->pool, r, "/");

    if (content->batch.data == NULL || content->standin == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *ngx_cpymem(content->batch.data, batch->data, batch->len) = '\0';

    content->timer.handler = ngx_http_trifecta_batch_again;
    content->timer.data = r;
    content->timer.log = r->connection->log;

    ctx->content_of = content;

    return ngx_http_trifecta_batch_page(content);
}
