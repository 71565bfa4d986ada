#include "ngx_http_trifecta_enqueue.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_durable.h"
#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_idem.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_worker.h"

#include <trifecta/text.h>


#define NGX_HTTP_TRIFECTA_ARGS_MAX   (44 + NGX_HTTP_TRIFECTA_LIMIT_ARGS)


typedef struct {
    const char              *word;
    ngx_uint_t               prio;
    ngx_uint_t               limit;
} ngx_http_trifecta_kind_t;


static const ngx_http_trifecta_kind_t  ngx_http_trifecta_kinds[] = {
#define NGX_HTTP_TRIFECTA_KIND(name, word, prio, limit, ...)                  \
    { word, prio, limit },
    TF_JOB_KINDS(NGX_HTTP_TRIFECTA_KIND)
#undef NGX_HTTP_TRIFECTA_KIND
};


static ngx_int_t
ngx_http_trifecta_new_job_id(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, unsigned shard)
{
    tf_id_t                         id;
    uint64_t                        ms;
    ngx_time_t                     *tp;
    unsigned char                   rnd[TF_ID_RND_LEN];
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    tp = ngx_timeofday();
    ms = (uint64_t) tp->sec * 1000 + tp->msec;

    if (ngx_http_trifecta_random(r, rnd, sizeof(rnd)) != NGX_OK
        || tf_id_make(&id, &mcf->id_keys, ms, shard, rnd,
                      (char *) ctx->tenant.data, ctx->tenant.len,
                      (char *) ctx->owner.data, ctx->owner.len)
           != 0)
    {
        return NGX_ERROR;
    }

    ctx->job_id.len = TF_ID_TEXT_LEN;
    ctx->job_id.data = ngx_pnalloc(r->pool, TF_ID_TEXT_LEN);
    if (ctx->job_id.data == NULL) {
        return NGX_ERROR;
    }

    tf_id_format((char *) ctx->job_id.data, &id);

    return NGX_OK;
}


ngx_http_trifecta_submit_t *
ngx_http_trifecta_submit_create(ngx_http_request_t *r,
    const ngx_http_trifecta_face_t *face, size_t size)
{
    ngx_str_t                      *first;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_submit_t     *submit;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    submit = ngx_http_trifecta_op_create(r,
                                         sizeof(ngx_http_trifecta_submit_t));
    if (submit == NULL) {
        return NULL;
    }

    first = mcf->models->elts;

    submit->face = face;
    submit->model = *first;
    submit->shard = ngx_http_trifecta_tenant_shard(r);

    if (ngx_http_trifecta_trace(r, ctx) != NGX_OK
        || ngx_http_trifecta_new_job_id(r, ctx,
                                        (unsigned) submit->shard->index)
           != NGX_OK
        || face->path(r, &ctx->job_id, &submit->path) != NGX_OK)
    {
        return NULL;
    }

    ngx_http_trifecta_json_init(&submit->payload, r->pool, size);

    return submit;
}


void
ngx_http_trifecta_submit_value(ngx_http_trifecta_json_t *payload,
    const char *head, json_t *value)
{
    char  *text;

    if (value == NULL) {
        return;
    }

    text = json_dumps(value, JSON_COMPACT);

    if (text == NULL) {
        payload->failed = 1;
        return;
    }

    ngx_http_trifecta_json_raw(payload, head, ngx_strlen(head));
    ngx_http_trifecta_json_raw(payload, text, ngx_strlen(text));
    free(text);
}


ngx_int_t
ngx_http_trifecta_enqueue(ngx_http_trifecta_submit_t *submit,
    ngx_str_t *text)
{
    int                              argc;
    ngx_int_t                        rc;
    u_char                           digest[SHA256_DIGEST_LENGTH];
    u_char                           fp[2 * SHA256_DIGEST_LENGTH];
    u_char                           idem[NGX_HTTP_TRIFECTA_IDEM_LEN];
    u_char                           numbers[4][TF_TEXT_NUMBER_MAX];
    size_t                           argvlen[NGX_HTTP_TRIFECTA_ARGS_MAX];
    ngx_str_t                        route;
    const char                      *argv[NGX_HTTP_TRIFECTA_ARGS_MAX];
    ngx_http_request_t              *r;
    ngx_http_trifecta_ctx_t         *ctx;
    ngx_http_trifecta_shard_t       *shard;
    ngx_http_trifecta_main_conf_t   *mcf;
    const ngx_http_trifecta_kind_t  *kind;

    r = submit->op.request;
    shard = submit->shard;
    kind = &ngx_http_trifecta_kinds[submit->face->kind];
    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    if (submit->payload.failed
        || ngx_http_trifecta_sha256(r, text->data, text->len, digest)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_hex_dump(fp, digest, sizeof(digest));

    argc = 0;

#define ngx_http_trifecta_arg(value, length)                                  \
    argv[argc] = (const char *) (value);                                      \
    argvlen[argc++] = (length)

#define ngx_http_trifecta_pair(name, value, length)                           \
    ngx_http_trifecta_arg(name, sizeof(name) - 1);                            \
    ngx_http_trifecta_arg(value, length)

#define ngx_http_trifecta_number(name, i, value)                              \
    ngx_http_trifecta_pair(name, numbers[i],                                  \
                    tf_text_number(numbers[i], (int64_t) (value))             \
                    - numbers[i])

    ngx_http_trifecta_arg("FCALL", 5);
    ngx_http_trifecta_arg(TF_FN_SUBMIT, sizeof(TF_FN_SUBMIT) - 1);
    ngx_http_trifecta_arg("1", 1);
    ngx_http_trifecta_arg(shard->prefix, ngx_strlen(shard->prefix));

    ngx_http_trifecta_pair("id", ctx->job_id.data, ctx->job_id.len);
    ngx_http_trifecta_pair("tenant", ctx->tenant.data, ctx->tenant.len);
    ngx_http_trifecta_pair("owner", ctx->owner.data, ctx->owner.len);

    if (ctx->groups_json.len) {
        ngx_http_trifecta_pair("groups", ctx->groups_json.data,
                               ctx->groups_json.len);
    } else {
        ngx_http_trifecta_pair("groups", "[]", 2);
    }

    if (ctx->scopes_json.len) {
        ngx_http_trifecta_pair("scopes", ctx->scopes_json.data,
                               ctx->scopes_json.len);
    } else {
        ngx_http_trifecta_pair("scopes", "[]", 2);
    }

    ngx_http_trifecta_pair("kind", kind->word, ngx_strlen(kind->word));
    ngx_http_trifecta_pair("model", submit->model.data,
                           submit->model.len);
    ngx_http_trifecta_pair("payload", submit->payload.start,
                           submit->payload.last - submit->payload.start);
    ngx_http_trifecta_pair("request_id", ctx->request_id.data,
                           ctx->request_id.len);
    ngx_http_trifecta_pair("trace", ctx->traceparent.data,
                           ctx->traceparent.len);
    ngx_http_trifecta_pair("fp", fp, sizeof(fp));
    ngx_http_trifecta_number("prio", 0, kind->prio);
    ngx_http_trifecta_number("limit", 1, kind->limit);
    ngx_http_trifecta_number("max", 2, mcf->max_jobs);
    ngx_http_trifecta_number("tmax", 3, mcf->max_jobs_per_tenant);

    if (ngx_http_trifecta_durable_preferred(r)) {
        ngx_http_trifecta_pair("durable", "1", 1);
    }

    rc = ngx_http_trifecta_idem_text(r, submit->face->route, idem);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_http_trifecta_pair("idem", idem, sizeof(idem));
    }

    route.data = (u_char *) submit->face->route;
    route.len = ngx_strlen(route.data);

    rc = ngx_http_trifecta_limit_args(r, &route, argv + argc,
                                      argvlen + argc);
    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    argc += rc;

    ngx_http_trifecta_fault(r, submit, before);

    rc = ngx_http_trifecta_op_change(&submit->op, shard, argc, argv, argvlen,
                                     ngx_http_trifecta_enqueued);

    ngx_http_trifecta_fault_sent(submit->op.cmd, submit);

    if (rc != NGX_OK) {
        return ngx_http_trifecta_not_enqueued(r);
    }

    /* megabytes perhaps, and the client may wait for minutes */

    (void) ngx_pfree(r->pool, text->data);
    ngx_str_null(text);

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


ngx_int_t
ngx_http_trifecta_submit_check(ngx_http_request_t *r)
{
    if (!ngx_http_trifecta_is_json(r)) {
        return ngx_http_trifecta_error(r, TF_E_UNSUPPORTED_MEDIA, NULL,
                                       "the body must be application/json in "
                                       "UTF-8, without a content encoding");
    }

    return ngx_http_trifecta_idem_check(r);
}
