#include "ngx_http_trifecta_batch_check.h"
#include "ngx_http_trifecta_metrics.h"


/*
 * The check of a batch's file, once there is its row.  One step follows the
 * other,
 *
 *   turn ──> lines, a few ms of them ──> turn
 *        ──> rows are written         ──> turn
 *        ──> the next piece is read   ──> turn
 *        ──> the batch goes on, or has failed
 *
 * each from a timer that keeps a worker that wants to leave.  A query that
 * fails is asked again with a growing pause, for a minute; after that the
 * batch is left alone, and a sidecar ends it.
 *
 * The time of a turn is that of all checks: of those whose timers are over in
 * the same pass of the event loop one works, and the others come before it in
 * the next one.
 */

#define NGX_HTTP_TRIFECTA_BATCH_ROWS     131072     /* bytes written at once */
#define NGX_HTTP_TRIFECTA_BATCH_TURN     4000       /* us of the worker */
#define NGX_HTTP_TRIFECTA_BATCH_PATIENCE 60000      /* ms without a store */


static void ngx_http_trifecta_batch_read(void *data, PGresult *res);
static void ngx_http_trifecta_batch_written(void *data, PGresult *res);
static void ngx_http_trifecta_batch_closed(void *data, PGresult *res);


/* A piece does not go beyond its part. */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_read_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT encode(substring(p.body FROM ($4::jsonb->>'from')::int"
      " FOR ($4::jsonb->>'for')::int), 'hex'), octet_length(p.body)"
      " FROM trifecta.file_part AS p"
      " WHERE p.file = $3::uuid AND p.tenant = $1 AND p.owner = $2"
      " AND p.part = ($4::jsonb->>'part')::int", 4 },

    { NULL, 0 }
};


/* The lock holds off a cancel until the rows are in, or finds that it was. */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_write_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "WITH b AS (SELECT b.id FROM trifecta.batch AS b"
      " WHERE b.id = $3::uuid AND b.tenant = $1 AND b.owner = $2"
      " AND b.state = 'validating' FOR SHARE),"
      " l AS (INSERT INTO trifecta.batch_line (batch, n, tenant, owner,"
      " custom_id, request, model, error, status)"
      " SELECT b.id, x.n, $1, $2, x.custom_id, x.request,"
      " coalesce(x.model, ''), x.error, x.status"
      " FROM b, jsonb_to_recordset($4::jsonb) AS x(n integer, custom_id text,"
      " request jsonb, model text, error jsonb, status integer)"
      " ON CONFLICT DO NOTHING RETURNING n)"
      " SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM l)", 4 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_close_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "UPDATE trifecta.batch AS b SET"
      " state = x.state, total = x.total, model = x.model,"
      " errors = x.errors,"
      " begun = CASE WHEN x.state = 'in_progress' THEN now() END,"
      " ended = CASE WHEN x.state = 'failed' THEN now() END"
      " FROM jsonb_to_record($4::jsonb) AS x(state text, total integer,"
      " model text, errors jsonb)"
      " WHERE b.id = $3::uuid AND b.tenant = $1 AND b.owner = $2"
      " AND b.state = 'validating' RETURNING b.state", 4 },

    { NULL, 0 }
};


void
ngx_http_trifecta_batch_end(ngx_http_trifecta_batch_check_t *check,
    const char *why)
{
    if (why) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "trifecta: the file of batch %V was not checked to its "
                      "end, a sidecar will end it as failed: %s",
                      &check->batch, why);
    }

    if (check->turn.timer_set) {
        ngx_del_timer(&check->turn);
    }

    ngx_queue_remove(&check->queue);
    check->mcf->worker->nchecks--;

    ngx_http_trifecta_batch_lines_free(&check->lines);
    ngx_destroy_pool(check->pool);
}


void
ngx_http_trifecta_batch_checks_end(ngx_http_trifecta_worker_t *worker)
{
    ngx_queue_t                      *q;
    ngx_http_trifecta_batch_check_t  *check;

    while (!ngx_queue_empty(&worker->checks)) {
        q = ngx_queue_head(&worker->checks);
        check = ngx_queue_data(q, ngx_http_trifecta_batch_check_t, queue);

        ngx_http_trifecta_batch_end(check, "the worker ends");
    }
}


static void
ngx_http_trifecta_batch_ask(ngx_http_trifecta_batch_check_t *check,
    const ngx_http_trifecta_pg_statement_t *statements)
{
    ngx_str_t                         params[2];
    ngx_http_trifecta_ctx_t          *ctx;
    ngx_http_trifecta_store_t         store;
    ngx_http_trifecta_pg_handler_pt   handler;

    ctx = &check->lines.standin->ctx;
    check->again = statements;

    params[0] = check->batch;
    params[1].data = check->json.start;
    params[1].len = check->json.last - check->json.start;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = statements;
    store.params = params;
    store.nparams = 2;

    if (statements == ngx_http_trifecta_batch_read_query) {
        params[0] = check->file;
        handler = ngx_http_trifecta_batch_read;

    } else if (statements == ngx_http_trifecta_batch_write_query) {
        handler = ngx_http_trifecta_batch_written;

    } else {
        handler = ngx_http_trifecta_batch_closed;
    }

    if (check->json.failed) {
        ngx_http_trifecta_batch_end(check, "no memory");

    } else if (ngx_http_trifecta_store_run(check->mcf, &ctx->tenant,
                                           &ctx->owner, &store, handler,
                                           check)
               == NULL)
    {
        handler(check, NULL);
    }
}


/* The answer of a store that has none: the same again, after a while. */

static void
ngx_http_trifecta_batch_retry(ngx_http_trifecta_batch_check_t *check)
{
    if (check->fails++ == 0) {
        check->failed_at = ngx_current_msec;
    }

    if (ngx_exiting || ngx_terminate
        || ngx_current_msec - check->failed_at
           > NGX_HTTP_TRIFECTA_BATCH_PATIENCE)
    {
        ngx_http_trifecta_batch_end(check, "PostgreSQL is not available");
        return;
    }

    ngx_add_timer(&check->turn, ngx_http_trifecta_backoff(check->fails));
}


void
ngx_http_trifecta_batch_next(ngx_http_trifecta_batch_check_t *check)
{
    check->again = NULL;
    check->fails = 0;

    /* who waits for a turn, a ms at a time, comes first */

    ngx_add_timer(&check->turn, check->mcf->worker->nchecks > 1 ? 2 : 1);
}


static void
ngx_http_trifecta_batch_ask_piece(ngx_http_trifecta_batch_check_t *check)
{
    ngx_http_trifecta_json_t  *j;

    j = &check->json;
    j->last = j->start;

    ngx_http_trifecta_json_printf(j,
                                  "{\"part\":%ui,\"from\":%ui,\"for\":%d}",
                                  check->part, check->from + 1,
                                  NGX_HTTP_TRIFECTA_BATCH_PIECE);

    ngx_http_trifecta_batch_ask(check, ngx_http_trifecta_batch_read_query);
}


static void
ngx_http_trifecta_batch_read(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_check_t *check = data;

    size_t   i, n, keep;
    u_char  *p;

    if (res == NULL || PQnfields(res) != 2) {
        ngx_http_trifecta_batch_retry(check);
        return;
    }

    n = PQntuples(res) ? (size_t) PQgetlength(res, 0, 0) / 2 : 0;

    if (n == 0 || n > NGX_HTTP_TRIFECTA_BATCH_PIECE) {

        /* the file was deleted meanwhile */

        if (ngx_http_trifecta_batch_wrong(&check->lines, "file_deleted",
                                          "input_file_id", 0, "the file went "
                                          "before it was read to its end")
            != NGX_OK)
        {
            ngx_http_trifecta_batch_end(check, "no memory");
            return;
        }

        check->stop = 1;
        ngx_http_trifecta_batch_next(check);
        return;
    }

    /* the line that has begun, to the front */

    keep = check->last - check->pos;
    ngx_memmove(check->buffer, check->pos, keep);

    check->seen = check->buffer + keep;
    check->pos = check->buffer;
    check->last = check->seen + n;
    check->at += (off_t) n;
    check->from += n;

    if ((int64_t) check->from >= ngx_http_trifecta_row_int(res, 1)) {
        check->part++;
        check->from = 0;
    }

    p = (u_char *) PQgetvalue(res, 0, 0);

    for (i = 0; i < n; i++) {
        check->seen[i] = (u_char) ngx_hextoi(p + 2 * i, 2);
    }

    ngx_http_trifecta_batch_next(check);
}


static void
ngx_http_trifecta_batch_written(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_check_t *check = data;

    if (res == NULL || PQntuples(res) != 1) {
        ngx_http_trifecta_batch_retry(check);
        return;
    }

    if (PQgetvalue(res, 0, 0)[0] == '0') {

        /* cancelled, or given up by a sidecar */

        ngx_http_trifecta_batch_end(check, NULL);
        return;
    }

    check->lines.rows.last = check->lines.rows.start;
    check->lines.nrows = 0;

    ngx_http_trifecta_batch_next(check);
}


static void
ngx_http_trifecta_batch_write(ngx_http_trifecta_batch_check_t *check)
{
    ngx_http_trifecta_json_t  *j, *rows;

    j = &check->json;
    rows = &check->lines.rows;

    j->last = j->start;
    ngx_http_trifecta_json_lit(j, "[");
    ngx_http_trifecta_json_raw(j, rows->start, rows->last - rows->start);
    ngx_http_trifecta_json_lit(j, "]");

    ngx_http_trifecta_batch_ask(check, ngx_http_trifecta_batch_write_query);
}


static void
ngx_http_trifecta_batch_closed(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_check_t *check = data;

    if (res == NULL) {
        ngx_http_trifecta_batch_retry(check);
        return;
    }

    /* no row: it was cancelled, or a first try did it */

    ngx_http_trifecta_batch_end(check, NULL);
}


static void
ngx_http_trifecta_batch_close(ngx_http_trifecta_batch_check_t *check)
{
    json_t                           *list;
    ngx_http_trifecta_json_t         *j;
    ngx_http_trifecta_batch_lines_t  *lines;

    j = &check->json;
    lines = &check->lines;

    if (lines->total == 0 && lines->nerrors == 0
        && ngx_http_trifecta_batch_wrong(lines, "empty_file", "input_file_id",
                                         0, "the file has no requests")
           != NGX_OK)
    {
        ngx_http_trifecta_batch_end(check, "no memory");
        return;
    }

    j->last = j->start;

    if (lines->nerrors) {
        list = json_pack("{s:s, s:O}", "object", "list", "data",
                         lines->errors);

        ngx_http_trifecta_json_lit(j, "{\"state\":\"failed\",\"total\":0");
        ngx_http_trifecta_openai_member(j, "errors", list, "null");
        json_decref(list);

    } else {
        ngx_http_trifecta_json_printf(j, "{\"state\":\"in_progress\","
                                      "\"total\":%ui", lines->total);

        if (lines->model.len && !lines->models) {
            ngx_http_trifecta_json_lit(j, ",\"model\":");
            ngx_http_trifecta_json_str(j, &lines->model);
        }
    }

    ngx_http_trifecta_json_lit(j, "}");

    ngx_http_trifecta_batch_ask(check, ngx_http_trifecta_batch_close_query);
}


/* One line, or the beginning of one that is too long; NGX_DECLINED: none. */

static ngx_int_t
ngx_http_trifecta_batch_split(ngx_http_trifecta_batch_check_t *check)
{
    u_char     *p, *end;
    size_t      len;
    ngx_int_t   rc;

    p = check->seen < check->last
        ? ngx_strlchr(check->seen, check->last, LF) : NULL;

    end = p ? p : check->last;
    len = end - check->pos;

    check->seen = end;

    if (p == NULL && check->at < check->bytes
        && len <= NGX_HTTP_TRIFECTA_BATCH_LINE_MAX)
    {
        return NGX_DECLINED;
    }

    if (p == NULL && len == 0) {
        return NGX_DECLINED;
    }

    rc = check->skip ? NGX_OK
                     : ngx_http_trifecta_batch_line(&check->lines, check->pos,
                                                    len);

    /* of a line that is too long the rest is still to come */

    check->skip = (p == NULL);
    check->pos = p ? p + 1 : end;
    check->seen = check->pos;

    return rc;
}


void
ngx_http_trifecta_batch_turn(ngx_event_t *ev)
{
    ngx_int_t                          rc;
    uint64_t                           started;
    ngx_http_trifecta_worker_t        *worker;
    ngx_http_trifecta_batch_check_t   *check;
    ngx_http_trifecta_batch_lines_t   *lines;

    check = ev->data;
    lines = &check->lines;
    worker = check->mcf->worker;

    if (check->again) {
        ngx_http_trifecta_batch_ask(check, check->again);
        return;
    }

    if (worker->checked_at == ngx_current_msec) {
        ngx_add_timer(&check->turn, 1);
        return;
    }

    worker->checked_at = ngx_current_msec;

    started = ngx_http_trifecta_usec();
    rc = NGX_OK;

    while (!check->stop) {

        rc = ngx_http_trifecta_batch_split(check);

        if (rc != NGX_OK) {
            break;
        }

        check->stop = (lines->nerrors >= NGX_HTTP_TRIFECTA_BATCH_ERRORS
                       || lines->total > lines->max);

        if (lines->rows.last - lines->rows.start
            >= NGX_HTTP_TRIFECTA_BATCH_ROWS)
        {
            break;
        }

        if (ngx_http_trifecta_usec() - started > NGX_HTTP_TRIFECTA_BATCH_TURN)
        {
            ngx_http_trifecta_batch_next(check);
            return;
        }
    }

    if (rc == NGX_ERROR) {
        ngx_http_trifecta_batch_end(check, "no memory");

    } else if (lines->nrows
               && (rc == NGX_OK || check->at >= check->bytes))
    {
        ngx_http_trifecta_batch_write(check);

    } else if (!check->stop && check->at < check->bytes) {
        ngx_http_trifecta_batch_ask_piece(check);

    } else {
        ngx_http_trifecta_batch_close(check);
    }
}
