#include "ngx_http_trifecta_accepted.h"
#include "ngx_http_trifecta_ask.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_conversation.h"
#include "ngx_http_trifecta_durable.h"
#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_idem.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"

#include <openssl/rand.h>
#include <openssl/sha.h>


/*
 * POST /api/v1/query: from a body to a job.
 *
 * All checks come before anything is sent: what is refused here has touched
 * no store.  Then one FCALL decides; it is sent again once, with the same
 * id, when its connection breaks before the reply.  A failure is
 *   503  when no byte of it has left: it did not happen
 *   504  when some have: nobody knows, and the Location says where to look;
 *        also when the job is there and too few replicas have it
 *
 * What came before with the same Idempotency-Key is answered by idem.c, what
 * is beyond a limit by limit.c.
 */

#define NGX_HTTP_TRIFECTA_ARGS_MAX   (44 + NGX_HTTP_TRIFECTA_LIMIT_ARGS)
#define NGX_HTTP_TRIFECTA_ROUTE      "POST /api/v1/query"
#define NGX_HTTP_TRIFECTA_FORGET     "DELETE /api/v1/conversations"


typedef struct {
    ngx_http_trifecta_op_t   op;
    ngx_str_t                path;
} ngx_http_trifecta_submit_t;


typedef struct {
    const char              *word;
    ngx_uint_t               prio;
    ngx_uint_t               limit;
} ngx_http_trifecta_kind_t;


static const ngx_http_trifecta_kind_t  ngx_http_trifecta_kinds[] = {
#define NGX_HTTP_TRIFECTA_KIND(name, word, prio, limit)  { word, prio, limit },
    TF_JOB_KINDS(NGX_HTTP_TRIFECTA_KIND)
#undef NGX_HTTP_TRIFECTA_KIND
};

typedef enum {
#define NGX_HTTP_TRIFECTA_KIND(name, word, prio, limit)                       \
    NGX_HTTP_TRIFECTA_KIND_##name,
    TF_JOB_KINDS(NGX_HTTP_TRIFECTA_KIND)
#undef NGX_HTTP_TRIFECTA_KIND
    NGX_HTTP_TRIFECTA_NKINDS
} ngx_http_trifecta_kind_e;


static ngx_int_t
ngx_http_trifecta_unconfirmed(ngx_http_request_t *r, ngx_str_t *path,
    const char *what)
{
    ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_UNCONFIRMED);

    if (ngx_http_trifecta_header(r, "Location", path->data, path->len)
        != NGX_OK
        || ngx_http_trifecta_header_lit(r, "X-Should-Retry", "false")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_error(r, TF_E_SUBMIT_UNCONFIRMED, NULL,
                                   "%s confirmed the job: look at the "
                                   "Location before you send it again", what);
}


static ngx_int_t
ngx_http_trifecta_no_reply(ngx_http_request_t *r,
    ngx_http_trifecta_submit_t *submit)
{
    return ngx_http_trifecta_unconfirmed(r, &submit->path,
                                         "the queue has not");
}


/* The job is in the queue, but a failover of Redis could lose it. */

static ngx_int_t
ngx_http_trifecta_no_replicas(ngx_http_request_t *r, ngx_str_t *path)
{
    return ngx_http_trifecta_unconfirmed(r, path, "the queue has the job, but "
                                                  "too few of its replicas "
                                                  "have");
}


/*
 * An earlier request made the job.  Its own 504 must not become a 202 by a
 * repetition, so the replicas have to confirm that, too.
 */

static ngx_int_t
ngx_http_trifecta_submit_replay(ngx_http_request_t *r, redisReply *id,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_str_t  name, path;

    if (!answer->unconfirmed) {
        ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_REPLAYED);
        return ngx_http_trifecta_replay(r, id->str, id->len);
    }

    name.data = (u_char *) id->str;
    name.len = id->len;

    if (ngx_http_trifecta_job_path(r, &name, &path) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_no_replicas(r, &path);
}


static ngx_int_t
ngx_http_trifecta_unavailable(ngx_http_request_t *r, const char *detail)
{
    ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_DOWN);

    return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL, "%s",
                                   detail);
}


static ngx_int_t
ngx_http_trifecta_submit_answer(ngx_http_request_t *r,
    ngx_http_trifecta_submit_t *submit,
    ngx_http_trifecta_redis_answer_t *answer)
{
    int64_t                         ms, live;
    redisReply                     *reply;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    reply = answer->reply;

    if (reply == NULL) {
        return answer->sent
               ? ngx_http_trifecta_no_reply(r, submit)
               : ngx_http_trifecta_unavailable(r, "the queue cannot be "
                                                  "reached");
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "trifecta: Redis refused a job: %*s",
                      (size_t) reply->len, reply->str);

        /* it was not executed now, but maybe the first time */

        if (answer->resent) {
            return ngx_http_trifecta_no_reply(r, submit);
        }

        if (ngx_http_trifecta_resp_error(reply, "OOM")) {
            ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_FULL);
            return ngx_http_trifecta_error(r, TF_E_QUEUE_FULL, NULL,
                                           "the queue's memory is full");
        }

        return ngx_http_trifecta_unavailable(r, "the queue does not accept "
                                                "jobs");
    }

    if ((ngx_http_trifecta_resp_is(reply, 0, "OK")
         || ngx_http_trifecta_resp_is(reply, 0, "DUP"))
        && reply->elements >= 4)
    {
        ngx_http_trifecta_fault(r, submit, answered);

        if (answer->unconfirmed) {
            return ngx_http_trifecta_no_replicas(r, &submit->path);
        }

        ms = ngx_http_trifecta_resp_int(reply->element[2]);
        live = ngx_http_trifecta_resp_int(reply->element[3]);

        ngx_http_trifecta_outcome(r, ngx_http_trifecta_resp_is(reply, 0, "OK")
                                     ? NGX_HTTP_TRIFECTA_M_SUBMIT_OK
                                     : NGX_HTTP_TRIFECTA_M_SUBMIT_DUP);

        if (ngx_http_trifecta_limit_headers(r, reply, 5) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_accepted(r, ms, live - 1);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "REPLAY")
        && reply->elements >= 2
        && reply->element[1]->type == REDIS_REPLY_STRING)
    {
        return ngx_http_trifecta_submit_replay(r, reply->element[1], answer);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "CONFLICT")) {
        ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_CONFLICT);
        return ngx_http_trifecta_idem_conflict(r);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "LIMITED")) {
        ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_LIMITED);
        return ngx_http_trifecta_limited(r, reply);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "QFULL")) {
        ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_FULL);
        return ngx_http_trifecta_error(r, TF_E_QUEUE_FULL, NULL,
                                       "the queue takes no more than %i open "
                                       "jobs, or cannot write them down fast "
                                       "enough", mcf->max_jobs);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "TFULL")) {
        ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_TFULL);
        return ngx_http_trifecta_error(r, TF_E_TENANT_QUEUE_FULL, NULL,
                                       "%i jobs of this tenant are open, "
                                       "which is its bound",
                                       mcf->max_jobs_per_tenant);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "PAUSED")) {
        return ngx_http_trifecta_unavailable(r, "the queue is paused");
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "NOTREADY")) {
        return ngx_http_trifecta_unavailable(r, "the queue is not set up");
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "trifecta: an unexpected reply to a submit");

    return ngx_http_trifecta_no_reply(r, submit);
}


static void
ngx_http_trifecta_submitted(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_submit_t *submit = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = submit->op.request;
    submit->op.cmd = NULL;
    submit->op.confirm = NULL;

    rc = ngx_http_trifecta_submit_answer(r, submit, answer);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


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

    if (RAND_bytes(rnd, sizeof(rnd)) != 1
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


/* A checked value of the body as a member of the payload, if it is there. */

static void
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


/* Makes the job of a checked body and gives it to Redis. */

static ngx_int_t
ngx_http_trifecta_enqueue(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_ask_t *ask)
{
    int                              argc;
    ngx_int_t                        rc;
    u_char                           digest[SHA256_DIGEST_LENGTH];
    u_char                           fp[2 * SHA256_DIGEST_LENGTH];
    u_char                           idem[NGX_HTTP_TRIFECTA_IDEM_LEN];
    u_char                           numbers[4][NGX_INT_T_LEN + 1];
    size_t                           argvlen[NGX_HTTP_TRIFECTA_ARGS_MAX];
    ngx_str_t                       *first, route, conversation;
    const char                      *argv[NGX_HTTP_TRIFECTA_ARGS_MAX];
    ngx_http_trifecta_ctx_t         *ctx;
    ngx_http_trifecta_json_t         payload;
    ngx_http_trifecta_shard_t       *shard;
    ngx_http_trifecta_submit_t      *submit;
    ngx_http_trifecta_main_conf_t   *mcf;
    const ngx_http_trifecta_kind_t  *kind;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    kind = &ngx_http_trifecta_kinds[ask->forget
                                    ? NGX_HTTP_TRIFECTA_KIND_FORGET
                                    : NGX_HTTP_TRIFECTA_KIND_QUERY];

    if (ask->model.len == 0) {
        first = mcf->models->elts;
        ask->model = *first;
    }

    shard = ngx_http_trifecta_tenant_shard(r);

    submit = ngx_http_trifecta_op_create(r,
                                         sizeof(ngx_http_trifecta_submit_t));

    if (submit == NULL
        || ngx_http_trifecta_trace(r, ctx) != NGX_OK
        || ngx_http_trifecta_new_job_id(r, ctx, (unsigned) shard->index)
           != NGX_OK
        || ngx_http_trifecta_job_path(r, &ctx->job_id, &submit->path)
           != NGX_OK
        || (!ask->forget
            && ngx_http_trifecta_conversation_keep(r, &ask->conversation)
               != NGX_OK)
        || ngx_http_trifecta_conversation_of(r, &ctx->conversation,
                                             &conversation)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_trifecta_json_init(&payload, r->pool, ask->query.len + 256);

    if (ask->forget) {
        ngx_http_trifecta_json_lit(&payload, "{\"forget\":");
        ngx_http_trifecta_json_str(&payload, &ask->conversation);

    } else {
        ngx_http_trifecta_json_lit(&payload, "{\"query\":");
        ngx_http_trifecta_json_str(&payload, &ask->query);
    }

    ngx_http_trifecta_json_lit(&payload, ",\"model\":");
    ngx_http_trifecta_json_str(&payload, &ask->model);
    ngx_http_trifecta_submit_value(&payload, ",\"collections\":",
                                   ask->collections);
    ngx_http_trifecta_submit_value(&payload, ",\"filters\":", ask->filters);

    if (conversation.len) {
        ngx_http_trifecta_json_lit(&payload, ",\"conversation_id\":");
        ngx_http_trifecta_json_str(&payload, &conversation);
    }

    ngx_http_trifecta_json_lit(&payload, "}");

    if (payload.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) SHA256(text->data, text->len, digest);
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
                    ngx_sprintf(numbers[i], "%ui", (ngx_uint_t) (value))      \
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
    ngx_http_trifecta_pair("model", ask->model.data, ask->model.len);
    ngx_http_trifecta_pair("payload", payload.start,
                           payload.last - payload.start);
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

    route.data = (u_char *) (ask->forget ? NGX_HTTP_TRIFECTA_FORGET
                                         : NGX_HTTP_TRIFECTA_ROUTE);
    route.len = ngx_strlen(route.data);

    rc = ngx_http_trifecta_idem_text(r, (char *) route.data, idem);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_http_trifecta_pair("idem", idem, sizeof(idem));
    }

    rc = ngx_http_trifecta_limit_args(r, &route, argv + argc,
                                      argvlen + argc);
    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    argc += rc;

    ngx_http_trifecta_fault(r, submit, before);

    rc = ngx_http_trifecta_op_change(&submit->op, shard, argc, argv, argvlen,
                                     ngx_http_trifecta_submitted);

    ngx_http_trifecta_fault_sent(submit->op.cmd, submit);

    if (rc != NGX_OK) {
        return ngx_http_trifecta_unavailable(r, "the queue cannot be "
                                                "reached");
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_trifecta_submit_body(ngx_http_request_t *r, ngx_str_t *text)
{
    ngx_int_t                rc;
    ngx_http_trifecta_ask_t  ask;

    ngx_memzero(&ask, sizeof(ngx_http_trifecta_ask_t));

    rc = ngx_http_trifecta_ask_parse(r, text, &ask);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_trifecta_enqueue(r, text, &ask);
    }

    json_decref(ask.root);

    return rc;
}


ngx_int_t
ngx_http_trifecta_submit(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc;

    if (!ngx_http_trifecta_is_json(r)) {
        return ngx_http_trifecta_error(r, TF_E_UNSUPPORTED_MEDIA, NULL,
                                       "the body must be application/json in "
                                       "UTF-8, without a content encoding");
    }

    rc = ngx_http_trifecta_idem_check(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_trifecta_read_body(r, TF_QUERY_BODY_MAX,
                                       ngx_http_trifecta_submit_body);
}


ngx_int_t
ngx_http_trifecta_forget(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                rc;
    ngx_http_trifecta_ask_t  ask;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_trifecta_idem_check(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_trifecta_conversation_check(r, "conversation_id", id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_memzero(&ask, sizeof(ngx_http_trifecta_ask_t));
    ask.conversation = *id;
    ask.forget = 1;

    rc = ngx_http_trifecta_enqueue(r, id, &ask);

    if (rc == NGX_DONE) {
        r->main->count++;
    }

    return rc;
}
