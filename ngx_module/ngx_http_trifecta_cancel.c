#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_worker.h"


/*
 * POST /api/v1/query/{id}/cancel and DELETE /api/v1/query/{id}.
 *
 * Both are decided by Redis, in one call.  A cancel then answers as GET does,
 * so a job that waited is "cancelled", one that runs is "running" with
 * "cancel_requested" until its worker has stopped, and one that has ended
 * says how.  A job that Redis does not know cannot be cancelled: its row
 * says how it ended, or it is 503, for an open row's job will come back.
 *
 * A delete looks first, because Redis forgets a tombstone after a while and
 * would make another: what was deleted before, or is known nowhere, is 410.
 * PostgreSQL is not needed to delete; if it is away, the ledger erases later.
 *
 * Either may be sent again on a new connection: the second time finds what
 * the first one did.
 *
 * With trifecta_replicas both count when the replicas have them, so that no
 * failover brings back what was answered to be gone; what was deleted before
 * is then asked for once more, for that may be what they have missed.
 */

typedef struct {
    ngx_http_trifecta_op_t                  op;
    const ngx_http_trifecta_cancel_face_t  *face;
} ngx_http_trifecta_cancel_t;


static void ngx_http_trifecta_cancelled(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_delete_looked(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_delete_read(void *data, PGresult *res);
static void ngx_http_trifecta_deleted(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_deleted_body(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j);


static const ngx_http_trifecta_cancel_face_t  ngx_http_trifecta_cancel_face = {
    ngx_http_trifecta_result_cancelled,
    ngx_http_trifecta_deleted_body
};


static const ngx_http_trifecta_pg_statement_t  ngx_http_trifecta_tombstone[] =
{
    { "SELECT set_config('trifecta.tenant', $1, true),"
      " set_config('trifecta.owner', $2, true)", 2 },

    { "SELECT deleted IS NOT NULL FROM trifecta.job"
      " WHERE id = $3 AND tenant = $1 AND owner = $2", 3 },

    { NULL, 0 }
};


static ngx_int_t
ngx_http_trifecta_cancel_unavailable(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                   "the queue has not confirmed it: send it "
                                   "again");
}


/* A content handler has sent its first command, or could not. */

static ngx_int_t
ngx_http_trifecta_cancel_wait(ngx_http_request_t *r,
    ngx_http_trifecta_cancel_t *cancel)
{
    if (cancel->op.cmd == NULL && cancel->op.confirm == NULL) {
        return ngx_http_trifecta_cancel_unavailable(r);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_trifecta_cancel_end(ngx_http_request_t *r, ngx_int_t rc)
{
    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


/* Whether it is an answer of a function: a list that begins with a word. */

static ngx_uint_t
ngx_http_trifecta_cancel_says(ngx_http_request_t *r, redisReply *reply)
{
    if (reply == NULL) {
        return 0;
    }

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0
        && reply->element[0]->type == REDIS_REPLY_STRING)
    {
        return !ngx_http_trifecta_resp_is(reply, 0, "NOTREADY");
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "trifecta: Redis refused to cancel: %*s",
                      (size_t) reply->len, reply->str);
    }

    return 0;
}


static ngx_http_trifecta_cancel_t *
ngx_http_trifecta_cancel_create(ngx_http_request_t *r, ngx_str_t *id,
    const ngx_http_trifecta_cancel_face_t *face, ngx_int_t *rc)
{
    ngx_http_trifecta_cancel_t  *cancel;

    *rc = ngx_http_discard_request_body(r);

    if (*rc != NGX_OK) {
        return NULL;
    }

    *rc = ngx_http_trifecta_own_job(r, id);

    if (*rc != NGX_DECLINED) {
        return NULL;
    }

    cancel = ngx_http_trifecta_op_create(r,
                                         sizeof(ngx_http_trifecta_cancel_t));
    if (cancel == NULL) {
        *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NULL;
    }

    cancel->face = face;

    return cancel;
}


ngx_int_t
ngx_http_trifecta_cancel(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_cancel_job(r, id, &ngx_http_trifecta_cancel_face);
}


ngx_int_t
ngx_http_trifecta_cancel_job(ngx_http_request_t *r, ngx_str_t *id,
    const ngx_http_trifecta_cancel_face_t *face)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_cancel_t  *cancel;

    cancel = ngx_http_trifecta_cancel_create(r, id, face, &rc);
    if (cancel == NULL) {
        return rc;
    }

    ngx_http_trifecta_fault(r, cancel, before);

    (void) ngx_http_trifecta_job_change(&cancel->op, TF_FN_CANCEL,
                                        ngx_http_trifecta_cancelled);

    ngx_http_trifecta_fault_sent(cancel->op.cmd, cancel);

    return ngx_http_trifecta_cancel_wait(r, cancel);
}


static void
ngx_http_trifecta_cancelled(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_cancel_t *cancel = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = cancel->op.request;
    cancel->op.cmd = NULL;
    cancel->op.confirm = NULL;

    if (!ngx_http_trifecta_cancel_says(r, answer->reply)) {
        rc = ngx_http_trifecta_cancel_unavailable(r);

    } else if (ngx_http_trifecta_resp_is(answer->reply, 0, "DELETED")) {
        rc = ngx_http_trifecta_gone(r, "the job was deleted");

    } else if (answer->unconfirmed
               && !ngx_http_trifecta_resp_is(answer->reply, 0, "ABSENT"))
    {
        rc = ngx_http_trifecta_cancel_unavailable(r);

    } else {
        ngx_http_trifecta_fault(r, cancel, answered);

        rc = cancel->face->cancelled(r);
    }

    ngx_http_trifecta_cancel_end(r, rc);
}


ngx_int_t
ngx_http_trifecta_delete(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_delete_job(r, id, &ngx_http_trifecta_cancel_face);
}


ngx_int_t
ngx_http_trifecta_delete_job(ngx_http_request_t *r, ngx_str_t *id,
    const ngx_http_trifecta_cancel_face_t *face)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_cancel_t  *cancel;

    cancel = ngx_http_trifecta_cancel_create(r, id, face, &rc);
    if (cancel == NULL) {
        return rc;
    }

    cancel->op.cmd = ngx_http_trifecta_job_command(r, "FCALL_RO", TF_FN_LOOK,
                                              NGX_HTTP_TRIFECTA_REDIS_RESEND,
                                              ngx_http_trifecta_delete_looked,
                                              cancel);

    return ngx_http_trifecta_cancel_wait(r, cancel);
}


static ngx_int_t
ngx_http_trifecta_delete_send(ngx_http_request_t *r,
    ngx_http_trifecta_cancel_t *cancel)
{
    ngx_int_t  rc;

    ngx_http_trifecta_fault(r, delete, before);

    rc = ngx_http_trifecta_job_change(&cancel->op, TF_FN_DELETE,
                                      ngx_http_trifecta_deleted);

    ngx_http_trifecta_fault_sent(cancel->op.cmd, delete);

    if (rc != NGX_OK) {
        return ngx_http_trifecta_cancel_unavailable(r);
    }

    return NGX_DONE;
}


static void
ngx_http_trifecta_delete_looked(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_cancel_t *cancel = data;

    ngx_int_t                       rc;
    ngx_str_t                       params[3];
    ngx_http_request_t             *r;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    r = cancel->op.request;
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    cancel->op.cmd = NULL;

    if (!ngx_http_trifecta_cancel_says(r, answer->reply)) {
        rc = ngx_http_trifecta_cancel_unavailable(r);

    } else if (ngx_http_trifecta_resp_is(answer->reply, 0, "DELETED")
               && mcf->replicas == 0)
    {
        rc = ngx_http_trifecta_gone(r, "the job was deleted before");

    } else if (ngx_http_trifecta_resp_is(answer->reply, 0, "ABSENT")) {

        ctx = ngx_http_trifecta_get_ctx(r);

        params[0] = ctx->tenant;
        params[1] = ctx->owner;
        params[2] = ctx->job_id;

        cancel->op.query = ngx_http_trifecta_pg_query(mcf->worker->pg,
                                                ngx_http_trifecta_tombstone,
                                                params, 3,
                                                ngx_http_trifecta_delete_read,
                                                cancel);

        ngx_http_trifecta_pg_charge(cancel->op.query, &ctx->store_time);

        rc = cancel->op.query ? NGX_DONE
                              : ngx_http_trifecta_delete_send(r, cancel);

    } else {
        rc = ngx_http_trifecta_delete_send(r, cancel);
    }

    ngx_http_trifecta_cancel_end(r, rc);
}


static void
ngx_http_trifecta_delete_read(void *data, PGresult *res)
{
    ngx_http_trifecta_cancel_t *cancel = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = cancel->op.request;
    cancel->op.query = NULL;

    if (res != NULL && PQntuples(res) == 0) {
        rc = ngx_http_trifecta_lost(r);

    } else if (res != NULL && PQgetvalue(res, 0, 0)[0] == 't') {
        rc = ngx_http_trifecta_gone(r, "the job was deleted before");

    } else {
        rc = ngx_http_trifecta_delete_send(r, cancel);
    }

    ngx_http_trifecta_cancel_end(r, rc);
}


static void
ngx_http_trifecta_deleted_body(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    ngx_http_trifecta_json_lit(j, "{\"query_id\":");
    ngx_http_trifecta_json_str(j, &ctx->job_id);
    ngx_http_trifecta_json_lit(j, ",\"deleted\":true}");
}


static ngx_int_t
ngx_http_trifecta_deleted_reply(ngx_http_request_t *r,
    ngx_http_trifecta_cancel_t *cancel,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    if (!ngx_http_trifecta_cancel_says(r, answer->reply)) {
        return ngx_http_trifecta_cancel_unavailable(r);
    }

    ngx_http_trifecta_fault(r, delete, answered);

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    /* the client may go on to another worker before the message gets there */

    ngx_http_trifecta_cache_forget(mcf, &ctx->job_id);

    if (answer->unconfirmed) {
        return ngx_http_trifecta_cancel_unavailable(r);
    }

    /* after a resend the one who deleted it before was this request */

    if (!ngx_http_trifecta_resp_is(answer->reply, 0, "DELETED")
        && !answer->resent)
    {
        return ngx_http_trifecta_gone(r, "the job was deleted before");
    }

    ngx_http_trifecta_json_init(&j, r->pool, 128);
    cancel->face->deleted(r, &j);

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static void
ngx_http_trifecta_deleted(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_cancel_t *cancel = data;

    ngx_http_request_t  *r;

    r = cancel->op.request;
    cancel->op.cmd = NULL;
    cancel->op.confirm = NULL;

    ngx_http_trifecta_finalize(r, ngx_http_trifecta_deleted_reply(r, cancel,
                                                                  answer));
}
