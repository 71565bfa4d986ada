#include "ngx_http_trifecta_batch_check.h"


/*
 * A check until there is the row of its batch: the place, the statement that
 * makes the row, and what becomes of its answer.
 */


/*
 * Nobody knows whether there is a row.  One that is there would wait for a
 * check that nobody makes, so it ends as failed, once the store is back; and
 * if there is none, nothing happens.
 */

static void
ngx_http_trifecta_batch_lost(ngx_http_trifecta_batch_check_t *check)
{
    if (ngx_http_trifecta_batch_wrong(&check->lines, "store_unavailable", NULL,
                                      0, "the batch was made, but its maker "
                                      "could not be told: make it again")
        != NGX_OK)
    {
        ngx_http_trifecta_batch_end(check, "no memory");
        return;
    }

    check->stop = 1;
    ngx_http_trifecta_batch_next(check);
}


static void
ngx_http_trifecta_batch_answered(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_check_t *check = data;

    void                             *client;
    ngx_http_trifecta_pg_handler_pt   made;

    made = check->made;
    client = check->client;

    check->making = NULL;
    check->client = NULL;

    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_BATCH_NCOLUMNS + 2)
    {
        ngx_http_trifecta_batch_lost(check);

    } else if (PQntuples(res) == 0 || PQgetisnull(res, 0, 2)) {
        ngx_http_trifecta_batch_end(check, NULL);

    } else {
        check->bytes = (off_t) ngx_http_trifecta_row_int(res, 1);
        ngx_http_trifecta_batch_next(check);
    }

    if (client) {
        made(client, res);
    }
}


void
ngx_http_trifecta_batch_leave(ngx_http_trifecta_batch_check_t *check)
{
    check->client = NULL;

    ngx_http_trifecta_pg_charge(check->making, NULL);
}


static ngx_http_trifecta_batch_check_t *
ngx_http_trifecta_batch_check_create(ngx_http_request_t *r,
    const ngx_http_trifecta_batch_endpoint_t *endpoint, ngx_str_t *batch,
    ngx_str_t *file)
{
    ngx_pool_t                       *pool;
    ngx_http_trifecta_main_conf_t    *mcf;
    ngx_http_trifecta_batch_check_t  *check;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    check = ngx_pcalloc(pool, sizeof(ngx_http_trifecta_batch_check_t));
    if (check == NULL) {
        goto failed;
    }

    check->mcf = mcf;
    check->pool = pool;
    check->fd = -1;
    check->batch.len = batch->len;
    check->batch.data = ngx_pstrdup(pool, batch);
    check->file.len = file->len;
    check->file.data = ngx_pstrdup(pool, file);
    check->buffer = ngx_palloc(pool, NGX_HTTP_TRIFECTA_BATCH_BUFFER);
    check->pos = check->buffer;
    check->last = check->buffer;
    check->seen = check->buffer;

    ngx_http_trifecta_json_init(&check->json, pool, 4096);

    if (check->batch.data == NULL || check->file.data == NULL
        || check->buffer == NULL
        || ngx_http_trifecta_batch_lines_init(&check->lines, pool) != NGX_OK)
    {
        goto failed;
    }

    check->lines.endpoint = endpoint;
    check->lines.max = (ngx_uint_t) mcf->batch_lines;
    check->lines.standin = ngx_http_trifecta_standin_create(pool, r,
                                          (const char *) endpoint->path.data);
    if (check->lines.standin == NULL) {
        goto failed;
    }

    check->turn.handler = ngx_http_trifecta_batch_turn;
    check->turn.data = check;
    check->turn.log = ngx_cycle->log;

    ngx_queue_insert_tail(&mcf->worker->checks, &check->queue);
    mcf->worker->nchecks++;

    return check;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


ngx_int_t
ngx_http_trifecta_batch_begin(ngx_http_request_t *r,
    ngx_http_trifecta_batch_plan_t *plan, ngx_http_trifecta_pg_handler_pt made,
    void *client, ngx_http_trifecta_batch_check_t **begun)
{
    ngx_http_trifecta_ctx_t          *ctx;
    ngx_http_trifecta_main_conf_t    *mcf;
    ngx_http_trifecta_batch_check_t  *check;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    if (mcf->worker->nchecks >= NGX_HTTP_TRIFECTA_BATCH_CHECKS) {
        return NGX_BUSY;
    }

    check = ngx_http_trifecta_batch_check_create(r, plan->endpoint, &plan->id,
                                                 &plan->file);
    if (check == NULL) {
        return NGX_ERROR;
    }

    check->made = made;
    check->client = client;
    check->making = ngx_http_trifecta_store_run(mcf, &ctx->tenant, &ctx->owner,
                                              &plan->row,
                                              ngx_http_trifecta_batch_answered,
                                              check);
    if (check->making == NULL) {
        ngx_http_trifecta_batch_end(check, NULL);
        return NGX_DECLINED;
    }

    ngx_http_trifecta_pg_charge(check->making, &ctx->store_time);
    *begun = check;

    return NGX_OK;
}
