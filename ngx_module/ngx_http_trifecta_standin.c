#include "ngx_http_trifecta_standin.h"
#include "ngx_http_trifecta_crypto.h"


#define NGX_HTTP_TRIFECTA_STANDIN_POOL  16384


static void
ngx_http_trifecta_standin_cleanup(void *data)
{
    ngx_http_trifecta_standin_t *standin = data;

    json_decref(standin->ctx.claims);
    json_decref(standin->ctx.groups);
    json_decref(standin->ctx.scopes);

    if (standin->request.pool) {
        ngx_destroy_pool(standin->request.pool);
    }
}


static ngx_int_t
ngx_http_trifecta_standin_caller(ngx_http_trifecta_standin_t *standin,
    ngx_pool_t *pool, ngx_http_trifecta_ctx_t *from)
{
    size_t                    i;
    ngx_str_t                *to, *text;
    ngx_http_trifecta_ctx_t  *ctx;

    static const size_t  texts[] = {
        offsetof(ngx_http_trifecta_ctx_t, request_id),
        offsetof(ngx_http_trifecta_ctx_t, tenant),
        offsetof(ngx_http_trifecta_ctx_t, owner),
        offsetof(ngx_http_trifecta_ctx_t, sub),
        offsetof(ngx_http_trifecta_ctx_t, groups_json),
        offsetof(ngx_http_trifecta_ctx_t, scopes_json)
    };

    ctx = &standin->ctx;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        text = (ngx_str_t *) ((u_char *) from + texts[i]);
        to = (ngx_str_t *) ((u_char *) ctx + texts[i]);

        if (text->len == 0) {
            continue;
        }

        to->len = text->len;
        to->data = ngx_pstrdup(pool, text);

        if (to->data == NULL) {
            return NGX_ERROR;
        }
    }

    ctx->claims = json_incref(from->claims);
    ctx->groups = json_incref(from->groups);
    ctx->scopes = json_incref(from->scopes);

    ctx->authenticated = from->authenticated;
    ctx->content = 1;

    return NGX_OK;
}


ngx_http_trifecta_standin_t *
ngx_http_trifecta_standin_create(ngx_pool_t *pool, ngx_http_request_t *r,
    const char *path)
{
    ngx_pool_cleanup_t           *cln;
    ngx_http_request_t           *own;
    ngx_http_trifecta_ctx_t      *ctx;
    ngx_http_trifecta_standin_t  *standin;

    ctx = ngx_http_trifecta_get_ctx(r);

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_trifecta_standin_t));

    if (ctx == NULL || cln == NULL) {
        return NULL;
    }

    standin = cln->data;
    ngx_memzero(standin, sizeof(ngx_http_trifecta_standin_t));
    cln->handler = ngx_http_trifecta_standin_cleanup;

    own = &standin->request;

    own->signature = NGX_HTTP_MODULE;
    own->main = own;
    own->connection = &standin->connection;
    own->main_conf = r->main_conf;
    own->srv_conf = r->srv_conf;
    own->loc_conf = r->loc_conf;
    own->method = r->method;
    own->http_version = r->http_version;
    own->uri.data = (u_char *) path;
    own->uri.len = ngx_strlen(path);

    standin->connection.log = ngx_cycle->log;

    own->ctx = ngx_pcalloc(pool, sizeof(void *) * ngx_http_max_module);
    own->pool = ngx_create_pool(NGX_HTTP_TRIFECTA_STANDIN_POOL,
                                ngx_cycle->log);

    if (own->ctx == NULL || own->pool == NULL) {
        return NULL;
    }

    ngx_http_set_ctx(own, &standin->ctx, ngx_http_trifecta_module);

    return ngx_http_trifecta_standin_caller(standin, pool, ctx) == NGX_OK
           ? standin : NULL;
}


ngx_int_t
ngx_http_trifecta_standin_next(ngx_http_trifecta_standin_t *standin,
    const char *job)
{
    ngx_http_request_t       *r;
    ngx_http_trifecta_ctx_t  *ctx;

    r = &standin->request;
    ctx = &standin->ctx;

    ngx_reset_pool(r->pool);

    ngx_memzero(&r->headers_out, sizeof(ngx_http_headers_out_t));
    ngx_memzero(&standin->caught, sizeof(ngx_http_trifecta_caught_t));

    ctx->caught = &standin->caught;
    ctx->job_id.data = standin->job_id;
    ctx->job_id.len = TF_ID_TEXT_LEN;
    ngx_str_null(&ctx->conversation);

    if (job) {
        ngx_memcpy(standin->job_id, job, TF_ID_TEXT_LEN);

    } else if (ngx_http_trifecta_standin_id(r, standin->job_id) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_list_init(&r->headers_out.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t));
}


ngx_int_t
ngx_http_trifecta_standin_id(ngx_http_request_t *r, u_char *text)
{
    tf_id_t                         id;
    uint64_t                        ms;
    ngx_time_t                     *tp;
    unsigned char                   rnd[TF_ID_RND_LEN];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    tp = ngx_timeofday();
    ms = (uint64_t) tp->sec * 1000 + tp->msec;

    if (ngx_http_trifecta_random(r, rnd, sizeof(rnd)) != NGX_OK
        || tf_id_make(&id, &mcf->id_keys, ms, 0, rnd,
                      (char *) ctx->tenant.data, ctx->tenant.len,
                      (char *) ctx->owner.data, ctx->owner.len)
           != 0)
    {
        return NGX_ERROR;
    }

    tf_id_format((char *) text, &id);

    return NGX_OK;
}
