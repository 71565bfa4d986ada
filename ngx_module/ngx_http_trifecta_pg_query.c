#include "ngx_http_trifecta_pg_query.h"
#include "ngx_http_trifecta_metrics.h"


static ngx_http_trifecta_pg_query_t *
ngx_http_trifecta_pg_query_of(ngx_queue_t *q)
{
    return ngx_queue_data(q, ngx_http_trifecta_pg_query_t, queue);
}


/* libpq wants a NUL behind a text, and a length for what is no text. */

static ngx_http_trifecta_pg_query_t *
ngx_http_trifecta_pg_create_query(ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_params_t *params,
    ngx_http_trifecta_pg_handler_pt handler, void *data)
{
    u_char                        *p;
    size_t                         size;
    ngx_str_t                     *param;
    ngx_uint_t                     i;
    ngx_http_trifecta_pg_query_t  *query;

    size = sizeof(ngx_http_trifecta_pg_query_t);

    if (params->nparams > NGX_HTTP_TRIFECTA_PG_PARAMS) {
        ngx_log_error(NGX_LOG_ALERT, pg->log, 0,
                      "trifecta: a query with %ui parameters",
                      params->nparams);
        return NULL;
    }

    for (i = 0; i < params->nparams; i++) {
        size += params->params[i].len + 1;
    }

    query = ngx_alloc(size, pg->log);
    if (query == NULL) {
        return NULL;
    }

    ngx_memzero(query, sizeof(ngx_http_trifecta_pg_query_t));

    p = (u_char *) (query + 1);

    for (i = 0; i < params->nparams; i++) {
        param = &params->params[i];

        if (params->nulls && param->data == NULL) {
            continue;
        }

        query->params[i] = (char *) p;
        query->lengths[i] = (int) param->len;
        query->formats[i] = (params->binary >> i) & 1;

        p = ngx_cpymem(p, param->data, param->len);
        *p++ = '\0';
    }

    query->statements = statements;
    query->deadline = ngx_current_msec + pg->timeout;
    query->started = ngx_http_trifecta_usec();
    query->handler = handler;
    query->data = data;
    query->raw = params->raw;
    query->day = params->day;

    pg->nqueries++;

    return query;
}


void
ngx_http_trifecta_pg_rearm(ngx_http_trifecta_pg_t *pg)
{
    ngx_uint_t                     i, found;
    ngx_msec_t                     first;
    ngx_queue_t                   *queues[2];
    ngx_msec_int_t                 timer;
    ngx_http_trifecta_pg_query_t  *query;

    if (!pg->lazy) {
        ngx_http_trifecta_slot(pg->mcf)->pg_pending = pg->nqueries;
    }

    queues[0] = &pg->sent;
    queues[1] = &pg->waiting;

    first = 0;
    found = 0;

    pg->deadline.cancelable = 1;

    for (i = 0; i < 2; i++) {
        if (ngx_queue_empty(queues[i])) {
            continue;
        }

        query = ngx_http_trifecta_pg_query_of(ngx_queue_head(queues[i]));

        /* only queries of requests keep a worker that wants to leave */

        if (!query->own) {
            pg->deadline.cancelable = 0;
        }

        if (!found || (ngx_msec_int_t) (query->deadline - first) < 0) {
            first = query->deadline;
            found = 1;
        }
    }

    if (!found) {
        if (pg->deadline.timer_set) {
            ngx_del_timer(&pg->deadline);
        }

        return;
    }

    timer = (ngx_msec_int_t) (first - ngx_current_msec);

    ngx_add_timer(&pg->deadline, timer > 0 ? (ngx_msec_t) timer : 1);
}


static void
ngx_http_trifecta_pg_free(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query)
{
    pg->nqueries--;

    PQclear(query->res);
    ngx_free(query);
}


static void
ngx_http_trifecta_pg_answer(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query)
{
    void                             *data;
    uint64_t                          spent;
    PGresult                         *res;
    ngx_http_trifecta_pg_handler_pt   handler;

    spent = ngx_http_trifecta_usec() - query->started;

    if (query->sent && !query->own) {
        ngx_http_trifecta_observe_store(
                         &ngx_http_trifecta_metrics(pg->mcf)->pg_time, spent);
    }

    if (query->handler && query->spent) {
        *query->spent += spent;
    }

    handler = query->handler;
    data = query->data;

    res = query->failed ? NULL : query->res;

    if (query->failed) {
        PQclear(query->res);
    }

    query->res = NULL;

    ngx_http_trifecta_pg_free(pg, query);

    if (handler) {
        handler(data, res);
    }

    PQclear(res);
}


void
ngx_http_trifecta_pg_doom(ngx_http_trifecta_pg_t *pg, ngx_queue_t *doomed)
{
    ngx_queue_t                   *q;
    ngx_http_trifecta_pg_query_t  *query;

    while (!ngx_queue_empty(doomed)) {
        q = ngx_queue_head(doomed);
        ngx_queue_remove(q);

        query = ngx_http_trifecta_pg_query_of(q);
        query->failed = 1;

        ngx_http_trifecta_pg_answer(pg, query);
    }
}


static ngx_int_t
ngx_http_trifecta_pg_send(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query, ngx_uint_t sync)
{
    const ngx_http_trifecta_pg_statement_t  *st;

    query->sent = 1;
    query->left = 0;
    query->sync = sync;

    if (query->day) {
        if (ngx_http_trifecta_pg_named_send(pg, query) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        for (st = query->statements; st->sql; st++) {
            if (PQsendQueryParams(pg->conn, st->sql, st->nparams, NULL,
                                  (const char *const *) query->params,
                                  query->lengths, query->formats, query->raw)
                == 0)
            {
                return NGX_ERROR;
            }

            query->left++;
        }
    }

    if (sync && PQpipelineSync(pg->conn) == 0) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_count(pg->mcf, NGX_HTTP_TRIFECTA_M_PG_QUERIES);

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_pg_send_waiting(ngx_http_trifecta_pg_t *pg)
{
    ngx_uint_t                     n, sync;
    ngx_queue_t                   *q;
    ngx_http_trifecta_pg_query_t  *query, *next;

    n = 0;

    while (!ngx_queue_empty(&pg->waiting)) {
        q = ngx_queue_head(&pg->waiting);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&pg->sent, q);

        query = ngx_http_trifecta_pg_query_of(q);
        sync = 1;

        if (query->day && !query->alone && !ngx_queue_empty(&pg->waiting)
            && ++n < NGX_HTTP_TRIFECTA_PG_SHARE)
        {
            next = ngx_http_trifecta_pg_query_of(ngx_queue_head(&pg->waiting));
            sync = (next->day == 0 || next->alone);
        }

        if (ngx_http_trifecta_pg_send(pg, query, sync) != NGX_OK) {
            return NGX_ERROR;
        }

        if (sync) {
            n = 0;
        }
    }

    return NGX_OK;
}


/* The result of a statement. */

static ngx_int_t
ngx_http_trifecta_pg_result(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query, PGresult *res)
{
    ExecStatusType  status;

    if (query->left == 0) {
        PQclear(res);
        return NGX_ERROR;
    }

    query->left--;

    status = PQresultStatus(res);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        PQclear(query->res);
        query->res = res;
        return NGX_OK;
    }

    if (!ngx_http_trifecta_pg_named_again(pg, query, res)) {
        query->failed = 1;

        if (status != PGRES_PIPELINE_ABORTED) {
            ngx_log_error(NGX_LOG_ERR, pg->log, 0,
                          "trifecta: PostgreSQL refused a query: %s",
                          PQresultErrorMessage(res));
        }
    }

    PQclear(res);

    return PQstatus(pg->conn) == CONNECTION_BAD ? NGX_ERROR : NGX_OK;
}


static void
ngx_http_trifecta_pg_end(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query)
{
    ngx_queue_remove(&query->queue);

    if (!query->again) {
        ngx_http_trifecta_pg_answer(pg, query);
        return;
    }

    PQclear(query->res);

    query->res = NULL;
    query->again = 0;
    query->prepares = 0;

    ngx_queue_insert_head(&pg->waiting, &query->queue);
}


ngx_int_t
ngx_http_trifecta_pg_results(ngx_http_trifecta_pg_t *pg)
{
    PGresult                      *res;
    ngx_uint_t                     nulls;
    ngx_http_trifecta_pg_query_t  *query;

    nulls = 0;

    while (!ngx_queue_empty(&pg->sent) && !PQisBusy(pg->conn)) {

        query = ngx_http_trifecta_pg_query_of(ngx_queue_head(&pg->sent));

        res = PQgetResult(pg->conn);

        if (res == NULL) {

            /* the end of one statement; two ends in a row are none */

            if (++nulls > 2) {
                return NGX_ERROR;
            }

            continue;
        }

        nulls = 0;

        if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
            PQclear(res);

            if (!query->sync || query->left) {
                return NGX_ERROR;
            }

            ngx_http_trifecta_pg_end(pg, query);
            continue;
        }

        if (ngx_http_trifecta_pg_result(pg, query, res) != NGX_OK) {
            return NGX_ERROR;
        }

        if (query->left == 0 && !query->sync) {
            ngx_http_trifecta_pg_end(pg, query);
        }
    }

    return PQstatus(pg->conn) == CONNECTION_OK ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_trifecta_pg_own(ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_handler_pt handler)
{
    ngx_http_trifecta_pg_query_t   *query;
    ngx_http_trifecta_pg_params_t   none;

    ngx_memzero(&none, sizeof(ngx_http_trifecta_pg_params_t));

    query = ngx_http_trifecta_pg_create_query(pg, statements, &none, handler,
                                              pg);
    if (query == NULL) {
        return NGX_ERROR;
    }

    query->own = 1;

    ngx_queue_insert_tail(&pg->sent, &query->queue);

    return ngx_http_trifecta_pg_send(pg, query, 1);
}


void
ngx_http_trifecta_pg_expire(ngx_http_trifecta_pg_t *pg, ngx_queue_t *doomed)
{
    ngx_queue_t                   *q;
    ngx_http_trifecta_pg_query_t  *query;

    while (!ngx_queue_empty(&pg->waiting)) {
        q = ngx_queue_head(&pg->waiting);
        query = ngx_http_trifecta_pg_query_of(q);

        if ((ngx_msec_int_t) (query->deadline - ngx_current_msec) > 0) {
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(doomed, q);
    }
}


void
ngx_http_trifecta_pg_move(ngx_queue_t *to, ngx_queue_t *from)
{
    if (!ngx_queue_empty(from)) {
        ngx_queue_add(to, from);
        ngx_queue_init(from);
    }
}


/*
 * While this worker waits to try again, another one may have found the server
 * back: then a request need not be refused.
 */

static void
ngx_http_trifecta_pg_hint(ngx_http_trifecta_pg_t *pg)
{
    ngx_msec_t  ready_at;

    ready_at = ngx_http_trifecta_metrics(pg->mcf)->pg_ready_at;

    if (pg->reconnect.timer_set
        && (ngx_msec_int_t) (ready_at - pg->failed_at) > 0)
    {
        ngx_del_timer(&pg->reconnect);

        pg->fails = 0;

        ngx_http_trifecta_pg_connect(pg);
    }
}


ngx_http_trifecta_pg_query_t *
ngx_http_trifecta_pg_query_params(ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_params_t *params,
    ngx_http_trifecta_pg_handler_pt handler, void *data)
{
    ngx_http_trifecta_pg_query_t  *query;

    ngx_http_trifecta_pg_hint(pg);

    if (pg->lazy && pg->conn == NULL && !pg->fails
        && !pg->reconnect.timer_set)
    {
        ngx_http_trifecta_pg_connect(pg);
    }

    if ((pg->state != ngx_http_trifecta_pg_ready && pg->fails)
        || pg->nqueries >= NGX_HTTP_TRIFECTA_PG_MAX)
    {
        return NULL;
    }

    query = ngx_http_trifecta_pg_create_query(pg, statements, params, handler,
                                              data);
    if (query == NULL) {
        return NULL;
    }

    /* the write event sends it: nothing may fail in here */

    ngx_queue_insert_tail(&pg->waiting, &query->queue);

    if (pg->state == ngx_http_trifecta_pg_ready) {
        ngx_post_event(pg->connection->write, &ngx_posted_events);
    }

    ngx_http_trifecta_pg_rearm(pg);

    return query;
}


ngx_http_trifecta_pg_query_t *
ngx_http_trifecta_pg_query(ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements, ngx_str_t *params,
    ngx_uint_t nparams, ngx_http_trifecta_pg_handler_pt handler, void *data)
{
    ngx_http_trifecta_pg_params_t  texts;

    ngx_memzero(&texts, sizeof(ngx_http_trifecta_pg_params_t));

    texts.params = params;
    texts.nparams = nparams;

    return ngx_http_trifecta_pg_query_params(pg, statements, &texts, handler,
                                             data);
}


void
ngx_http_trifecta_pg_charge(ngx_http_trifecta_pg_query_t *query,
    uint64_t *spent)
{
    if (query) {
        query->spent = spent;
    }
}


void
ngx_http_trifecta_pg_orphan(ngx_http_trifecta_pg_query_t *query)
{
    query->handler = NULL;
}
