#include "ngx_http_trifecta_enqueue.h"
#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_idem.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"


/*
 * What the queue says of a job that was given to it.  What came before with
 * the same Idempotency-Key is answered by idem.c, what is beyond a limit by
 * limit.c.
 */


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
ngx_http_trifecta_submit_replay(ngx_http_request_t *r,
    ngx_http_trifecta_submit_t *submit, redisReply *id,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_int_t  rc;
    ngx_str_t  name, path;

    if (!answer->unconfirmed) {
        ngx_http_trifecta_outcome(r, NGX_HTTP_TRIFECTA_M_SUBMIT_REPLAYED);

        rc = ngx_http_trifecta_replay(r, id->str, id->len);

        return rc == NGX_DECLINED ? submit->face->before(submit) : rc;
    }

    name.data = (u_char *) id->str;
    name.len = id->len;

    if (submit->face->path(r, &name, &path) != NGX_OK) {
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


ngx_int_t
ngx_http_trifecta_not_enqueued(ngx_http_request_t *r)
{
    return ngx_http_trifecta_unavailable(r, "the queue cannot be reached");
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
               : ngx_http_trifecta_not_enqueued(r);
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

        return submit->face->accepted(submit, ms, live - 1);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "REPLAY")
        && reply->elements >= 2
        && reply->element[1]->type == REDIS_REPLY_STRING)
    {
        return ngx_http_trifecta_submit_replay(r, submit, reply->element[1],
                                               answer);
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


void
ngx_http_trifecta_enqueued(void *data,
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
