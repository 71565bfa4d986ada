#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"


/*
 * The pages of the operator, on a listener that clients do not reach.
 *
 * /livez says that this worker turns its loop.  /readyz asks every shard and
 * PostgreSQL, over the connections that requests use, and says which is not
 * ready and why: 200 when PostgreSQL and one shard at least are, for every
 * worker, else 503.  /metrics is Prometheus' text format.
 */

#define NGX_HTTP_TRIFECTA_REASON_MAX  256

typedef struct ngx_http_trifecta_readyz_s  ngx_http_trifecta_readyz_t;

typedef struct {
    ngx_http_trifecta_op_t             op;
    ngx_http_trifecta_readyz_t        *ready;
    ngx_http_trifecta_shard_t         *shard;
    u_char                             reason[NGX_HTTP_TRIFECTA_REASON_MAX];
} ngx_http_trifecta_readyz_shard_t;

struct ngx_http_trifecta_readyz_s {
    ngx_http_trifecta_op_t             op;
    ngx_uint_t                         owed;        /* answers */
    ngx_uint_t                         nshards;
    ngx_http_trifecta_readyz_shard_t  *shards[TF_SHARDS_MAX];
    u_char                             pg[NGX_HTTP_TRIFECTA_REASON_MAX];
};


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
ngx_http_trifecta_readyz_reason(ngx_http_trifecta_json_t *j, u_char *reason)
{
    ngx_http_trifecta_json_printf(j, "\"ready\":%s",
                                  reason[0] ? "false,\"reason\":" : "true");

    if (reason[0]) {
        ngx_http_trifecta_json_string(j, reason, ngx_strlen(reason));
    }
}


/* NULL is no reason: the store is ready. */

static void
ngx_http_trifecta_reason(u_char *reason, const char *text)
{
    ngx_cpystrn(reason, (u_char *) (text ? text : ""),
                NGX_HTTP_TRIFECTA_REASON_MAX);
}


/* Any worker may get the next request; whether a shard is ready for all. */

static ngx_uint_t
ngx_http_trifecta_readyz_shards(ngx_http_trifecta_readyz_t *ready,
    ngx_http_trifecta_sum_t *sum)
{
    ngx_uint_t                         i, good;
    ngx_http_trifecta_readyz_shard_t  *s;

    good = 0;

    for (i = 0; i < ready->nshards; i++) {
        s = ready->shards[i];

        if (s->reason[0] == '\0' && sum->shards[i].redis < sum->shards[i].know)
        {
            ngx_http_trifecta_reason(s->reason, "a worker is not connected");
        }

        good += (s->reason[0] == '\0');
    }

    return good;
}


static ngx_int_t
ngx_http_trifecta_readyz_reply(ngx_http_request_t *r,
    ngx_http_trifecta_readyz_t *ready)
{
    ngx_uint_t                      i, good, redis;
    ngx_http_trifecta_sum_t         sum;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_sum(mcf, &sum);

    redis = ngx_http_trifecta_readyz_shards(ready, &sum);

    if (ready->pg[0] == '\0' && sum.pg < sum.workers) {
        ngx_http_trifecta_reason(ready->pg, "a worker is not connected");
    }

    good = (redis && ready->pg[0] == '\0');

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_json_printf(&j, "{\"status\":\"%s\",\"redis\":{",
                                  good ? "ready" : "not ready");
    ngx_http_trifecta_readyz_reason(&j, redis ? (u_char *) ""
                                              : ready->shards[0]->reason);
    ngx_http_trifecta_json_lit(&j, ",\"shards\":[");

    for (i = 0; i < ready->nshards; i++) {
        ngx_http_trifecta_json_printf(&j, "%s{\"shard\":%ui,", i ? "," : "",
                                      i);
        ngx_http_trifecta_readyz_reason(&j, ready->shards[i]->reason);
        ngx_http_trifecta_json_lit(&j, "}");
    }

    ngx_http_trifecta_json_lit(&j, "]},\"postgresql\":{");
    ngx_http_trifecta_readyz_reason(&j, ready->pg);
    ngx_http_trifecta_json_lit(&j, "}}");

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
    ngx_http_trifecta_readyz_shard_t *s = data;

    u_char       buf[NGX_HTTP_TRIFECTA_REASON_MAX];
    const char  *reason;

    s->op.cmd = NULL;

    if (answer->reply) {
        reason = ngx_http_trifecta_redis_check(s->shard->redis, answer->reply,
                                               buf, sizeof(buf));

    } else {
        reason = ngx_http_trifecta_redis_reason(s->shard->redis);

        if (reason == NULL) {
            reason = "Redis does not answer";
        }
    }

    ngx_http_trifecta_reason(s->reason, reason);
    ngx_http_trifecta_readyz_answered(s->ready);
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


/* Every shard is asked by an operation of its own. */

static ngx_int_t
ngx_http_trifecta_readyz_ask(ngx_http_request_t *r,
    ngx_http_trifecta_readyz_t *ready, ngx_http_trifecta_shard_t *shard)
{
    const char                        *reason;
    ngx_http_trifecta_readyz_shard_t  *s;

    s = ngx_http_trifecta_op_create(r,
                                    sizeof(ngx_http_trifecta_readyz_shard_t));
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->ready = ready;
    s->shard = shard;
    ready->shards[ready->nshards++] = s;

    s->op.cmd = ngx_http_trifecta_redis_meta(shard->redis,
                                             ngx_http_trifecta_readyz_redis,
                                             s);
    if (s->op.cmd) {
        ready->owed++;

    } else {
        reason = ngx_http_trifecta_redis_reason(shard->redis);

        ngx_http_trifecta_reason(s->reason, reason ? reason
                                 : "too many commands have no answer yet");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_readyz(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
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

    for (i = 0; i < worker->nshards; i++) {
        if (ngx_http_trifecta_readyz_ask(r, ready, &worker->shards[i])
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
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
