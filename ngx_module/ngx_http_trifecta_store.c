#include "ngx_http_trifecta_store.h"
#include "ngx_http_trifecta_worker.h"


ngx_http_trifecta_pg_query_t *
ngx_http_trifecta_store_run(ngx_http_trifecta_main_conf_t *mcf,
    ngx_str_t *tenant, ngx_str_t *owner, ngx_http_trifecta_store_t *store,
    ngx_http_trifecta_pg_handler_pt handler, void *data)
{
    ngx_uint_t                      i;
    ngx_str_t                       all[NGX_HTTP_TRIFECTA_PG_PARAMS];
    ngx_http_trifecta_pg_params_t   params;

    if (store->nparams > NGX_HTTP_TRIFECTA_PG_PARAMS - 2) {
        return NULL;
    }

    all[0] = *tenant;
    all[1] = *owner;

    for (i = 0; i < store->nparams; i++) {
        all[i + 2] = store->params[i];
    }

    ngx_memzero(&params, sizeof(ngx_http_trifecta_pg_params_t));

    params.params = all;
    params.nparams = store->nparams + 2;
    params.binary = store->binary << 2;
    params.nulls = 1;
    params.raw = store->raw;

    return ngx_http_trifecta_pg_query_params(mcf->worker->store,
                                             store->statements, &params,
                                             handler, data);
}


ngx_int_t
ngx_http_trifecta_store_op(ngx_http_trifecta_op_t *op,
    ngx_http_trifecta_store_t *store, ngx_http_trifecta_pg_handler_pt handler)
{
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(op->request);
    mcf = ngx_http_get_module_main_conf(op->request,
                                        ngx_http_trifecta_module);

    op->query = ngx_http_trifecta_store_run(mcf, &ctx->tenant, &ctx->owner,
                                            store, handler, op);
    ngx_http_trifecta_pg_charge(op->query, &ctx->store_time);

    return op->query ? NGX_OK : NGX_ERROR;
}
