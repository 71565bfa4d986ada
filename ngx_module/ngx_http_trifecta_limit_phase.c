#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"


/*
 * "trifecta_limit" in a location that does not make jobs, one that proxies
 * for example, and for POST /v1/batches and /v1/files, which make none
 * themselves: after its token was verified a request waits in the PREACCESS
 * phase until Redis has counted it, and then goes on through the phases.
 *
 * When Redis cannot be asked, "trifecta_limit_failure" says whether the
 * request is refused or goes on uncounted.  The command is not sent again on
 * another connection: it might count twice.
 */

typedef struct {
    ngx_http_trifecta_op_t   op;
} ngx_http_trifecta_limit_op_t;


/* NGX_DECLINED: on to the next handler; else the value of an error. */

static ngx_int_t
ngx_http_trifecta_limit_failed(ngx_http_request_t *r, redisReply *reply)
{
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "trifecta: Redis refused to count: %*s",
                      (size_t) reply->len, reply->str);
    }

    if (lcf->limit_failure == NGX_HTTP_TRIFECTA_LIMIT_OPEN) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "trifecta: Redis does not count, the request goes on");
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                   "the limits of this location cannot be "
                                   "checked");
}


static ngx_int_t
ngx_http_trifecta_limit_answer(ngx_http_request_t *r, redisReply *reply)
{
    if (reply && ngx_http_trifecta_resp_is(reply, 0, "OK")) {

        if (ngx_http_trifecta_limit_headers(r, reply, 1) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_DECLINED;
    }

    if (reply && ngx_http_trifecta_resp_is(reply, 0, "LIMITED")) {
        return ngx_http_trifecta_limited(r, reply);
    }

    return ngx_http_trifecta_limit_failed(r, reply);
}


static void
ngx_http_trifecta_limit_counted(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_limit_op_t *limit = data;

    ngx_int_t                 rc;
    ngx_http_request_t       *r;
    ngx_http_trifecta_ctx_t  *ctx;

    r = limit->op.request;
    limit->op.cmd = NULL;

    ctx = ngx_http_trifecta_get_ctx(r);

    /* an error is finalized from here, as one of the content phase is */

    ctx->content = 1;

    rc = ngx_http_trifecta_limit_answer(r, answer->reply);

    if (rc != NGX_DECLINED) {
        ngx_http_trifecta_finalize(r, rc);
        return;
    }

    /* the handler is asked again, and has nothing more to say */

    ctx->content = 0;
    ctx->limited = 1;

    ngx_http_trifecta_resume(r);
}


/* What is counted in a location of the API when a job is made is not here. */

static ngx_uint_t
ngx_http_trifecta_limit_here(ngx_http_request_t *r,
    ngx_http_trifecta_loc_conf_t *lcf)
{
    ngx_uint_t  i;

    static const ngx_str_t  paths[] = {
        ngx_string("/v1/batches"),
        ngx_string("/v1/files"),
        ngx_null_string
    };

    if (lcf->mode != NGX_HTTP_TRIFECTA_API || r->method != NGX_HTTP_POST) {
        return lcf->mode == NGX_HTTP_TRIFECTA_NONE;
    }

    for (i = 0; paths[i].len; i++) {
        if (r->uri.len == paths[i].len
            && ngx_memcmp(r->uri.data, paths[i].data, r->uri.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_limit_command(ngx_http_request_t *r,
    ngx_http_trifecta_limit_op_t *limit)
{
    size_t                          len[4 + NGX_HTTP_TRIFECTA_LIMIT_ARGS];
    ngx_int_t                       n;
    ngx_uint_t                      i;
    const char                     *argv[4 + NGX_HTTP_TRIFECTA_LIMIT_ARGS];
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_shard_t      *shard;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_tenant_shard(r);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    argv[0] = "FCALL";
    argv[1] = TF_FN_LIMIT;
    argv[2] = "1";
    argv[3] = shard->prefix;

    for (i = 0; i < 4; i++) {
        len[i] = ngx_strlen(argv[i]);
    }

    n = ngx_http_trifecta_limit_args(r, &clcf->name, argv + 4, len + 4);

    if (n == NGX_ERROR) {
        return NULL;
    }

    cmd = ngx_http_trifecta_redis_command(shard->redis, 4 + (int) n,
                                          argv, len, 0,
                                          ngx_http_trifecta_limit_counted,
                                          limit);

    ngx_http_trifecta_redis_charge(cmd, &ctx->queue_time);

    return cmd;
}


ngx_int_t
ngx_http_trifecta_limit_phase(ngx_http_request_t *r)
{
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_loc_conf_t  *lcf;
    ngx_http_trifecta_limit_op_t  *limit;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (lcf->limits == NULL || lcf->limits->nelts == 0
        || !ngx_http_trifecta_limit_here(r, lcf) || r != r->main)
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ctx->authenticated || ctx->limited) {
        return NGX_DECLINED;
    }

    limit = ngx_http_trifecta_op_create(r,
                                        sizeof(ngx_http_trifecta_limit_op_t));
    if (limit == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    limit->op.cmd = ngx_http_trifecta_limit_command(r, limit);

    if (limit->op.cmd == NULL) {
        ctx->limited = 1;
        return ngx_http_trifecta_limit_failed(r, NULL);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_AGAIN;
}
