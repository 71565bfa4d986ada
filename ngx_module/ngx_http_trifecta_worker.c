#include "ngx_http_trifecta_worker.h"
#include "ngx_http_trifecta_batch.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_store.h"


static ngx_http_trifecta_main_conf_t *
ngx_http_trifecta_cycle_conf(ngx_cycle_t *cycle)
{
    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL) {
        return NULL;    /* no http{} */
    }

    return ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_trifecta_module);
}


ngx_int_t
ngx_http_trifecta_init_process(ngx_cycle_t *cycle)
{
    ngx_http_trifecta_slot_t       *slot;
    ngx_http_trifecta_worker_t     *worker;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_trifecta_cycle_conf(cycle);

    if (mcf == NULL || !mcf->used
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    worker = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_worker_t));
    if (worker == NULL) {
        return NGX_ERROR;
    }

    slot = ngx_http_trifecta_slot(mcf);
    ngx_memzero(slot, sizeof(ngx_http_trifecta_slot_t));
    slot->pid = ngx_pid;
    slot->started = ngx_time();

    ngx_queue_init(&worker->uploads);
    ngx_queue_init(&worker->checks);

    mcf->worker = worker;

    worker->crypto = ngx_http_trifecta_crypto_create(cycle);
    if (worker->crypto == NULL) {
        return NGX_ERROR;
    }

    tf_id_keys_ready(&mcf->id_keys);

    if (mcf->token_memory) {
        worker->tokens = ngx_http_trifecta_tokens_create(cycle, mcf);

        if (worker->tokens == NULL) {
            return NGX_ERROR;
        }
    }

    worker->pg = ngx_http_trifecta_pg_create(cycle, mcf);
    worker->store = ngx_http_trifecta_pg_create_lazy(cycle, mcf,
                                             NGX_HTTP_TRIFECTA_STORE_TIMEOUT);

    if (worker->pg == NULL || worker->store == NULL
        || ngx_http_trifecta_shards_create(cycle, mcf, worker) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_trifecta_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_trifecta_slot_t       *slot;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_trifecta_cycle_conf(cycle);

    if (mcf == NULL || mcf->worker == NULL) {
        return;
    }

    ngx_http_trifecta_shards_destroy(mcf->worker);
    ngx_http_trifecta_pg_destroy(mcf->worker->store);
    ngx_http_trifecta_pg_destroy(mcf->worker->pg);
    ngx_http_trifecta_batch_checks_end(mcf->worker);
    ngx_http_trifecta_tokens_destroy(mcf->worker->tokens);
    ngx_http_trifecta_crypto_destroy(mcf->worker->crypto);
    tf_id_keys_unready(&mcf->id_keys);

    slot = ngx_http_trifecta_slot(mcf);
    ngx_memzero(slot, sizeof(ngx_http_trifecta_slot_t));

    mcf->worker = NULL;
}
