#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"


/*
 * The pages of the operator, on a listener that clients do not reach.
 *
 * /livez says that this worker turns its loop.  /readyz asks both stores,
 * over the connections that requests use, and says which is not ready and
 * why: 200 when both are, for every worker, else 503.  /metrics is
 * Prometheus' text format.
 */

#define NGX_HTTP_TRIFECTA_REASON_MAX  256

typedef struct {
    ngx_http_trifecta_op_t      op;
    ngx_uint_t                  owed;       /* answers */
    u_char                      redis[NGX_HTTP_TRIFECTA_REASON_MAX];
    u_char                      pg[NGX_HTTP_TRIFECTA_REASON_MAX];
} ngx_http_trifecta_readyz_t;


ngx_int_t
ngx_http_trifecta_livez(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_http_trifecta_json_t  j;

    ngx_http_trifecta_json_init(&j, r->pool, 64);
    ngx_http_trifecta_json_lit(&j, "{\"status\":\"alive\"}");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


ngx_int_t
ngx_http_trifecta_metrics_page(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_json_init(&j, r->pool, 8192);
    ngx_http_trifecta_metrics_write(mcf, &j);

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK,
                                   "text/plain; version=0.0.4", &j);
}


static void
ngx_http_trifecta_readyz_store(ngx_http_trifecta_json_t *j, const char *name,
    u_char *reason)
{
    ngx_http_trifecta_json_printf(j, ",\"%s\":{\"ready\":%s", name,
                                  reason[0] ? "false,\"reason\":" : "true");

    if (reason[0]) {
        ngx_http_trifecta_json_string(j, reason, ngx_strlen(reason));
    }

    ngx_http_trifecta_json_lit(j, "}");
}


/* NULL is no reason: the store is ready. */

static void
ngx_http_trifecta_reason(u_char *reason, const char *text)
{
    ngx_cpystrn(reason, (u_char *) (text ? text : ""),
                NGX_HTTP_TRIFECTA_REASON_MAX);
}


static ngx_int_t
ngx_http_trifecta_readyz_reply(ngx_http_request_t *r,
    ngx_http_trifecta_readyz_t *ready)
{
    ngx_uint_t                      good, workers, redis, pg;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    /* any worker may get the next request */

    ngx_http_trifecta_workers(mcf, &workers, &redis, &pg);

    if (ready->redis[0] == '\0' && redis < workers) {
        ngx_http_trifecta_reason(ready->redis, "a worker is not connected");
    }

    if (ready->pg[0] == '\0' && pg < workers) {
        ngx_http_trifecta_reason(ready->pg, "a worker is not connected");
    }

    good = (ready->redis[0] == '\0' && ready->pg[0] == '\0');

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_json_printf(&j, "{\"status\":\"%s\"",
                                  good ? "ready" : "not ready");
    ngx_http_trifecta_readyz_store(&j, "redis", ready->redis);
    ngx_http_trifecta_readyz_store(&j, "postgresql", ready->pg);
    ngx_http_trifecta_json_lit(&j, "}");

    return ngx_http_trifecta_reply(r, good ? NGX_HTTP_OK
                                   : NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "application/json", &j);
}


static void
ngx_http_trifecta_readyz_answered(ngx_http_trifecta_readyz_t *ready)
{
    ngx_http_request_t  *r;

    if (--ready->owed == 0) {
        r = ready->op.request;

        ngx_http_trifecta_finalize(r, ngx_http_trifecta_readyz_reply(r,
                                                                     ready));
    }
}


static void
ngx_http_trifecta_readyz_redis(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_readyz_t *ready = data;

    u_char                          buf[NGX_HTTP_TRIFECTA_REASON_MAX];
    ngx_uint_t                      usable;
    const char                     *reason;
    ngx_http_trifecta_main_conf_t  *mcf;

    ready->op.cmd = NULL;

    if (answer->reply) {
        reason = ngx_http_trifecta_resp_check(answer->reply, buf, sizeof(buf),
                                              &usable);

    } else {
        mcf = ngx_http_get_module_main_conf(ready->op.request,
                                            ngx_http_trifecta_module);
        reason = ngx_http_trifecta_redis_reason(mcf->worker->redis);

        if (reason == NULL) {
            reason = "Redis does not answer";
        }
    }

    ngx_http_trifecta_reason(ready->redis, reason);
    ngx_http_trifecta_readyz_answered(ready);
}


static void
ngx_http_trifecta_readyz_pg(void *data, PGresult *res)
{
    ngx_http_trifecta_readyz_t *ready = data;

    u_char                          buf[NGX_HTTP_TRIFECTA_REASON_MAX];
    const char                     *reason;
    ngx_http_trifecta_main_conf_t  *mcf;

    ready->op.query = NULL;

    mcf = ngx_http_get_module_main_conf(ready->op.request,
                                        ngx_http_trifecta_module);

    reason = res ? NULL : ngx_http_trifecta_pg_reason(mcf->worker->pg);

    if (reason == NULL) {
        reason = ngx_http_trifecta_pg_check(res, buf, sizeof(buf));
    }

    ngx_http_trifecta_reason(ready->pg, reason);
    ngx_http_trifecta_readyz_answered(ready);
}


ngx_int_t
ngx_http_trifecta_readyz(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                       rc;
    ngx_http_trifecta_worker_t     *worker;
    ngx_http_trifecta_readyz_t     *ready;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    worker = mcf->worker;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ready = ngx_http_trifecta_op_create(r,
                                        sizeof(ngx_http_trifecta_readyz_t));
    if (ready == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ready->op.cmd = ngx_http_trifecta_redis_meta(worker->redis,
                                              ngx_http_trifecta_readyz_redis,
                                              ready);
    if (ready->op.cmd) {
        ready->owed++;

    } else {
        ngx_http_trifecta_reason(ready->redis,
                               ngx_http_trifecta_redis_reason(worker->redis));
    }

    ready->op.query = ngx_http_trifecta_pg_version(worker->pg,
                                                 ngx_http_trifecta_readyz_pg,
                                                 ready);
    if (ready->op.query) {
        ready->owed++;

    } else {
        ngx_http_trifecta_reason(ready->pg,
                                 ngx_http_trifecta_pg_reason(worker->pg));
    }

    if (ready->owed == 0) {
        return ngx_http_trifecta_readyz_reply(r, ready);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
