#include "ngx_http_trifecta_durable.h"
#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_poll.h"
#include "ngx_http_trifecta_worker.h"


static void ngx_http_trifecta_durable_ring(void *data,
    ngx_http_trifecta_ring_e ring);
static void ngx_http_trifecta_durable_timer(ngx_event_t *ev);
static void ngx_http_trifecta_durable_queried(void *data, PGresult *res);


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_durable_query[] =
{
    { "SELECT set_config('trifecta.tenant', $1, true),"
      " set_config('trifecta.owner', $2, true)", 2 },

    { "SELECT 1 FROM trifecta.job"
      " WHERE id = $3 AND tenant = $1 AND owner = $2", 3 },

    { NULL, 0 }
};


ngx_uint_t
ngx_http_trifecta_durable_preferred(ngx_http_request_t *r)
{
    tf_prefer_t                    prefer;
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (lcf->prefer_durable) {
        return 1;
    }

    ngx_http_trifecta_prefers(r, &prefer);

    return prefer.durable;
}


static ngx_http_trifecta_main_conf_t *
ngx_http_trifecta_durable_conf(ngx_http_trifecta_durable_t *durable)
{
    return ngx_http_get_module_main_conf(durable->op.request,
                                         ngx_http_trifecta_module);
}


static void
ngx_http_trifecta_durable_stop(ngx_http_trifecta_durable_t *durable)
{
    ngx_http_trifecta_op_cancel(&durable->op);
    ngx_http_trifecta_subscriber_leave(&durable->waiter);

    if (durable->timer.timer_set) {
        ngx_del_timer(&durable->timer);
    }
}


static void
ngx_http_trifecta_durable_cleanup(void *data)
{
    ngx_http_trifecta_durable_stop(data);
}


ngx_http_trifecta_durable_t *
ngx_http_trifecta_durable_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t           *cln;
    ngx_http_trifecta_durable_t  *durable;

    durable = ngx_http_trifecta_op_create(r,
                                         sizeof(ngx_http_trifecta_durable_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (durable == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_trifecta_durable_cleanup;
    cln->data = durable;

    durable->step = NGX_HTTP_TRIFECTA_DURABLE_FIRST;

    durable->waiter.handler = ngx_http_trifecta_durable_ring;
    durable->waiter.data = durable;
    durable->waiter.every = 1;

    durable->timer.handler = ngx_http_trifecta_durable_timer;
    durable->timer.data = durable;
    durable->timer.log = r->connection->log;

    return durable;
}


/* It is known, or will not be: NGX_OK. */

static ngx_int_t
ngx_http_trifecta_durable_known(ngx_http_trifecta_durable_t *durable,
    ngx_uint_t committed)
{
    ngx_http_trifecta_durable_stop(durable);

    durable->committed = committed;

    ngx_http_trifecta_count(ngx_http_trifecta_durable_conf(durable),
                            committed ? NGX_HTTP_TRIFECTA_M_DURABLE_YES
                                      : NGX_HTTP_TRIFECTA_M_DURABLE_NO);
    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_durable_look(ngx_http_trifecta_durable_t *durable)
{
    ngx_str_t                       params[3];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(durable->op.request);
    mcf = ngx_http_trifecta_durable_conf(durable);

    durable->again = 0;

    params[0] = ctx->tenant;
    params[1] = ctx->owner;
    params[2] = ctx->job_id;

    durable->op.query = ngx_http_trifecta_pg_query(mcf->worker->pg,
                                            ngx_http_trifecta_durable_query,
                                            params, 3,
                                            ngx_http_trifecta_durable_queried,
                                            durable);

    ngx_http_trifecta_pg_charge(durable->op.query, &ctx->store_time);

    if (durable->op.query == NULL) {
        return ngx_http_trifecta_durable_known(durable, 0);
    }

    return NGX_AGAIN;
}


static void
ngx_http_trifecta_durable_end(ngx_http_trifecta_durable_t *durable,
    ngx_int_t rc)
{
    if (rc == NGX_OK) {
        durable->done(durable->data);
    }
}


/* The next look; those who came together need not look together. */

static void
ngx_http_trifecta_durable_sleep(ngx_http_trifecta_durable_t *durable)
{
    ngx_msec_t      delay;
    ngx_msec_int_t  left;

    delay = durable->step - (ngx_msec_t) ngx_random() % (durable->step / 4);
    durable->step *= 2;

    left = (ngx_msec_int_t) (durable->until - ngx_current_msec);

    if (left < 1) {
        left = 1;
    }

    ngx_add_timer(&durable->timer, ngx_min(delay, (ngx_msec_t) left));
}


static void
ngx_http_trifecta_durable_queried(void *data, PGresult *res)
{
    ngx_http_trifecta_durable_t *durable = data;

    ngx_int_t  rc;

    durable->op.query = NULL;

    if (res == NULL || PQntuples(res) == 1) {

        if (res) {
            ngx_http_trifecta_fault(durable->op.request, durable, committed);
        }

        rc = ngx_http_trifecta_durable_known(durable, res != NULL);

    } else if (durable->again) {
        rc = ngx_http_trifecta_durable_look(durable);

    } else {
        return;
    }

    ngx_http_trifecta_durable_end(durable, rc);
}


static void
ngx_http_trifecta_durable_ring(void *data, ngx_http_trifecta_ring_e ring)
{
    ngx_http_trifecta_durable_t *durable = data;

    ngx_int_t  rc;

    if (ring == ngx_http_trifecta_ring_leaving) {
        durable->op.request->keepalive = 0;
        rc = ngx_http_trifecta_durable_known(durable, 0);

    } else if (durable->op.query) {
        durable->again = 1;
        return;

    } else {
        rc = ngx_http_trifecta_durable_look(durable);
    }

    ngx_http_trifecta_durable_end(durable, rc);
}


static void
ngx_http_trifecta_durable_timer(ngx_event_t *ev)
{
    ngx_int_t                     rc;
    ngx_http_trifecta_durable_t  *durable;

    durable = ev->data;

    if ((ngx_msec_int_t) (durable->until - ngx_current_msec) <= 0) {
        rc = ngx_http_trifecta_durable_known(durable, 0);

    } else {
        ngx_http_trifecta_durable_sleep(durable);

        if (durable->op.query) {
            return;
        }

        rc = ngx_http_trifecta_durable_look(durable);
    }

    ngx_http_trifecta_durable_end(durable, rc);
}


ngx_int_t
ngx_http_trifecta_durable_start(ngx_http_trifecta_durable_t *durable)
{
    ngx_int_t                   rc;
    ngx_http_trifecta_ctx_t    *ctx;
    ngx_http_trifecta_shard_t  *shard;

    ctx = ngx_http_trifecta_get_ctx(durable->op.request);
    shard = ngx_http_trifecta_job_shard(durable->op.request);

    durable->until = ngx_current_msec + NGX_HTTP_TRIFECTA_DURABLE_WAIT;

    rc = shard ? ngx_http_trifecta_subscriber_join(shard->subscriber,
                                                   &ctx->job_id,
                                                   &durable->waiter)
               : NGX_DECLINED;

    if (rc == NGX_DECLINED) {
        return ngx_http_trifecta_durable_known(durable, 0);
    }

    ngx_http_trifecta_fault(durable->op.request, durable, waits);

    ngx_http_trifecta_durable_sleep(durable);

    return rc == NGX_OK ? ngx_http_trifecta_durable_look(durable) : NGX_AGAIN;
}
