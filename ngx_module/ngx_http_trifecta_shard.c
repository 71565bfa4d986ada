#include "ngx_http_trifecta_confirm_batch.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_shard.h"
#include "ngx_http_trifecta_worker.h"


static ngx_int_t
ngx_http_trifecta_shard_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard)
{
    (void) snprintf(shard->prefix, sizeof(shard->prefix), TF_KEY_PREFIX_FMT,
                    (unsigned) shard->index & 255);

    shard->redis = ngx_http_trifecta_redis_create(cycle, mcf, shard, NULL,
                                                  NULL);

    shard->subscriber = ngx_http_trifecta_subscriber_create(cycle, mcf,
                                                            shard);

    if (shard->redis == NULL || shard->subscriber == NULL) {
        return NGX_ERROR;
    }

    if (mcf->replicas > 0) {
        shard->confirm = ngx_http_trifecta_confirm_create(cycle, mcf, shard);

        if (shard->confirm == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_trifecta_cache_listen(cycle, mcf, shard);
}


ngx_int_t
ngx_http_trifecta_shards_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_worker_t *worker)
{
    ngx_uint_t                   i;
    ngx_http_trifecta_shard_t   *shard;
    ngx_http_trifecta_server_t  *server;

    worker->nshards = mcf->servers ? mcf->servers->nelts : 1;

    worker->shards = ngx_pcalloc(cycle->pool, worker->nshards
                                          * sizeof(ngx_http_trifecta_shard_t));
    if (worker->shards == NULL) {
        return NGX_ERROR;
    }

    server = mcf->servers ? mcf->servers->elts
                          : ngx_pcalloc(cycle->pool,
                                        sizeof(ngx_http_trifecta_server_t));
    if (server == NULL) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_slot(mcf)->nshards = worker->nshards;

    for (i = 0; i < worker->nshards; i++) {
        shard = &worker->shards[i];
        shard->index = i;
        shard->server = &server[i];

        if (ngx_http_trifecta_shard_create(cycle, mcf, shard) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_trifecta_shards_destroy(ngx_http_trifecta_worker_t *worker)
{
    ngx_uint_t                  i;
    ngx_http_trifecta_shard_t  *shard;

    for (i = 0; i < worker->nshards; i++) {
        shard = &worker->shards[i];

        ngx_http_trifecta_subscriber_destroy(shard->subscriber);
        ngx_http_trifecta_confirm_destroy(shard->confirm);
        ngx_http_trifecta_redis_destroy(shard->redis);
    }
}


static void
ngx_http_trifecta_shards_each(ngx_http_trifecta_worker_t *worker,
    void (*call)(ngx_http_trifecta_redis_t *redis))
{
    ngx_uint_t                  i;
    ngx_http_trifecta_shard_t  *shard;

    for (i = 0; i < worker->nshards; i++) {
        shard = &worker->shards[i];

        call(shard->redis);
        call(ngx_http_trifecta_subscriber_redis(shard->subscriber));

        if (shard->confirm) {
            call(shard->confirm->redis);
        }
    }
}


void
ngx_http_trifecta_shards_hurry(ngx_http_trifecta_worker_t *worker)
{
    ngx_http_trifecta_shards_each(worker, ngx_http_trifecta_redis_hurry);
}


void
ngx_http_trifecta_shards_look(ngx_http_trifecta_worker_t *worker)
{
    ngx_http_trifecta_shards_each(worker, ngx_http_trifecta_redis_look);
}


ngx_http_trifecta_shard_t *
ngx_http_trifecta_tenant_shard(ngx_http_request_t *r)
{
    unsigned                        i;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_worker_t     *worker;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    worker = mcf->worker;

    i = tf_shard_of((char *) ctx->tenant.data, ctx->tenant.len,
                    (unsigned) worker->nshards);

    return &worker->shards[i];
}


ngx_http_trifecta_shard_t *
ngx_http_trifecta_job_shard(ngx_http_request_t *r)
{
    tf_id_t                         tid;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_worker_t     *worker;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    worker = mcf->worker;

    if (tf_id_parse(&tid, (char *) ctx->job_id.data, ctx->job_id.len) != 0
        || tf_id_shard(&tid) >= worker->nshards)
    {
        return NULL;
    }

    return &worker->shards[tf_id_shard(&tid)];
}
