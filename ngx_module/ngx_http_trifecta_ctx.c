#include "ngx_http_trifecta_crypto.h"


/* Marks the context in the pool, where an internal redirect leaves it. */

static void
ngx_http_trifecta_ctx_cleanup(void *data)
{
}


static ngx_int_t
ngx_http_trifecta_new_request_id(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char  *p, rnd[16];

    if (ngx_http_trifecta_random(r, rnd, sizeof(rnd)) != NGX_OK) {
        return NGX_ERROR;
    }

    id->len = sizeof("req_") - 1 + 2 * sizeof(rnd);
    id->data = ngx_pnalloc(r->pool, id->len);
    if (id->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(id->data, "req_", sizeof("req_") - 1);
    ngx_hex_dump(p, rnd, sizeof(rnd));

    return NGX_OK;
}


ngx_http_trifecta_ctx_t *
ngx_http_trifecta_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_trifecta_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_trifecta_module);

    if (ctx) {
        return ctx;
    }

    if (r->internal || r->filter_finalize) {

        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_http_trifecta_ctx_cleanup) {
                ctx = cln->data;
                ngx_http_set_ctx(r, ctx, ngx_http_trifecta_module);
                return ctx;
            }
        }
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_trifecta_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_trifecta_ctx_t));

    if (ngx_http_trifecta_new_request_id(r, &ctx->request_id) != NGX_OK) {
        return NULL;
    }

    cln->handler = ngx_http_trifecta_ctx_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_trifecta_module);

    return ctx;
}
