#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_worker.h"


#define NGX_HTTP_TRIFECTA_JOB_ARGS     7
#define NGX_HTTP_TRIFECTA_EVENTS_ARGS  (NGX_HTTP_TRIFECTA_JOB_ARGS + 3)


ngx_int_t
ngx_http_trifecta_own_job(ngx_http_request_t *r, ngx_str_t *id)
{
    tf_id_t                         tid;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    if (tf_id_parse(&tid, (char *) id->data, id->len) != 0
        || !tf_id_verify(&tid, &mcf->id_keys, (char *) ctx->tenant.data,
                         ctx->tenant.len, (char *) ctx->owner.data,
                         ctx->owner.len))
    {
        return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, NULL,
                                       "there is no such job");
    }

    ctx->job_id.data = ngx_pnalloc(r->pool, TF_ID_TEXT_LEN);
    if (ctx->job_id.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->job_id.len = TF_ID_TEXT_LEN;
    tf_id_format((char *) ctx->job_id.data, &tid);

    return NGX_DECLINED;
}


/* The arguments of "fn P tenant owner id"; NULL: the shard is not there. */

static ngx_http_trifecta_shard_t *
ngx_http_trifecta_job_args(ngx_http_request_t *r, const char *call,
    const char *fn, const char **argv, size_t *argvlen)
{
    ngx_uint_t                  i;
    ngx_http_trifecta_ctx_t    *ctx;
    ngx_http_trifecta_shard_t  *shard;

    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_job_shard(r);

    if (shard == NULL) {
        return NULL;
    }

    argv[0] = call;
    argv[1] = fn;
    argv[2] = "1";
    argv[3] = shard->prefix;

    for (i = 0; i < 4; i++) {
        argvlen[i] = ngx_strlen(argv[i]);
    }

    argv[4] = (char *) ctx->tenant.data;
    argvlen[4] = ctx->tenant.len;
    argv[5] = (char *) ctx->owner.data;
    argvlen[5] = ctx->owner.len;
    argv[6] = (char *) ctx->job_id.data;
    argvlen[6] = ctx->job_id.len;

    return shard;
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_job_command(ngx_http_request_t *r, const char *call,
    const char *fn, ngx_uint_t flags,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    size_t                          argvlen[NGX_HTTP_TRIFECTA_JOB_ARGS];
    const char                     *argv[NGX_HTTP_TRIFECTA_JOB_ARGS];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_shard_t      *shard;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_job_args(r, call, fn, argv, argvlen);

    if (shard == NULL) {
        return NULL;
    }

    cmd = ngx_http_trifecta_redis_command(shard->redis,
                                          NGX_HTTP_TRIFECTA_JOB_ARGS, argv,
                                          argvlen, flags, handler, data);

    ngx_http_trifecta_redis_charge(cmd, &ctx->queue_time);

    return cmd;
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_job_events(ngx_http_request_t *r,
    ngx_http_trifecta_mark_t *after, ngx_uint_t count, ngx_uint_t payload,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    size_t                          argvlen[NGX_HTTP_TRIFECTA_EVENTS_ARGS];
    u_char                          mark[2 * NGX_INT_T_LEN + 2];
    u_char                          number[NGX_INT_T_LEN];
    const char                     *argv[NGX_HTTP_TRIFECTA_EVENTS_ARGS];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_shard_t      *shard;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_job_args(r, "FCALL_RO", TF_FN_EVENTS, argv,
                                       argvlen);
    if (shard == NULL) {
        return NULL;
    }

    argv[7] = (char *) mark;
    argvlen[7] = ngx_sprintf(mark, "%ui-%ui", after->attempt, after->n) - mark;
    argv[8] = (char *) number;
    argvlen[8] = ngx_sprintf(number, "%ui", count) - number;
    argv[9] = payload ? "1" : "0";
    argvlen[9] = 1;

    cmd = ngx_http_trifecta_redis_command(shard->redis,
                                          NGX_HTTP_TRIFECTA_EVENTS_ARGS, argv,
                                          argvlen, 0, handler, data);

    ngx_http_trifecta_redis_charge(cmd, &ctx->queue_time);

    return cmd;
}


ngx_int_t
ngx_http_trifecta_job_change(ngx_http_trifecta_op_t *op, const char *fn,
    ngx_http_trifecta_redis_handler_pt handler)
{
    size_t                      argvlen[NGX_HTTP_TRIFECTA_JOB_ARGS];
    const char                 *argv[NGX_HTTP_TRIFECTA_JOB_ARGS];
    ngx_http_trifecta_shard_t  *shard;

    shard = ngx_http_trifecta_job_args(op->request, "FCALL", fn, argv,
                                       argvlen);
    if (shard == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_op_change(op, shard, NGX_HTTP_TRIFECTA_JOB_ARGS,
                                       argv, argvlen, handler);
}


ngx_int_t
ngx_http_trifecta_gone(ngx_http_request_t *r, const char *why)
{
    return ngx_http_trifecta_error(r, TF_E_GONE, NULL, "%s", why);
}


ngx_int_t
ngx_http_trifecta_lost(ngx_http_request_t *r)
{
    return ngx_http_trifecta_gone(r, "this job was accepted here, but no store "
                                     "has it any more: it was removed after "
                                     "its retention, or lost with the data of "
                                     "a store; ask again");
}
