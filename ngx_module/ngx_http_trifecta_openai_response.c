#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_openai_stream.h"
#include "ngx_http_trifecta_poll.h"
#include "ngx_http_trifecta_reply.h"


/*
 * GET and DELETE /v1/responses/{id}, and POST …/cancel.
 *
 * Any job of a question can be seen so, whichever way it came in; another job
 * is no response, and 404.  An id that was not made for the caller is 404
 * without a look anywhere.
 */

static ngx_int_t ngx_http_trifecta_openai_cancelled(ngx_http_request_t *r);
static void ngx_http_trifecta_openai_deleted(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j);


static const ngx_http_trifecta_cancel_face_t
    ngx_http_trifecta_openai_cancel_face =
{
    ngx_http_trifecta_openai_cancelled,
    ngx_http_trifecta_openai_deleted
};


ngx_int_t
ngx_http_trifecta_openai_no_response(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, NULL,
                                   "there is no such response");
}


ngx_int_t
ngx_http_trifecta_openai_own_job(ngx_http_request_t *r, ngx_str_t *id,
    ngx_str_t *job)
{
    switch (ngx_http_trifecta_openai_job_id(r, "resp", id, job)) {

    case NGX_OK:
        return NGX_DECLINED;

    case NGX_DECLINED:
        return ngx_http_trifecta_openai_no_response(r);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


static ngx_int_t
ngx_http_trifecta_openai_seen(ngx_http_trifecta_poll_t *poll)
{
    ngx_uint_t                       question;
    ngx_http_request_t              *r;
    ngx_http_trifecta_json_t         j;
    ngx_http_trifecta_read_t        *read;
    ngx_http_trifecta_openai_job_t   job;

    read = &poll->read;
    r = read->op.request;

    if (read->seen != ngx_http_trifecta_seen_open
        && read->seen != ngx_http_trifecta_seen_ended)
    {
        return ngx_http_trifecta_openai_unknown(read);
    }

    ngx_http_trifecta_json_init(&j, r->pool, 2048);
    ngx_http_trifecta_openai_job(read, &job);
    question = ngx_http_trifecta_openai_is_question(job.payload);

    if (question) {
        ngx_http_trifecta_openai_response(&job, &j);
    }

    json_decref(job.payload);

    if (!question) {
        return ngx_http_trifecta_openai_no_response(r);
    }

    if (ngx_http_trifecta_poll_headers(poll) != NGX_OK
        || (read->seen == ngx_http_trifecta_seen_open
            && ngx_http_trifecta_retry_after(r, read->position) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static ngx_uint_t
ngx_http_trifecta_openai_ended(ngx_http_trifecta_poll_t *poll)
{
    return poll->read.seen == ngx_http_trifecta_seen_ended
           || poll->read.seen == ngx_http_trifecta_seen_gone
           || poll->read.seen == ngx_http_trifecta_seen_deleted;
}


static ngx_int_t
ngx_http_trifecta_openai_look(ngx_http_request_t *r, ngx_uint_t cancelled)
{
    ngx_http_trifecta_poll_t  *poll;

    poll = ngx_http_trifecta_poll_create(r);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    poll->enough = ngx_http_trifecta_openai_ended;
    poll->answer = ngx_http_trifecta_openai_seen;
    poll->read.payload = 1;

    if (cancelled) {
        poll->read.cancelled = 1;
        poll->wait = -1;
    }

    return ngx_http_trifecta_poll_start(poll);
}


static ngx_int_t
ngx_http_trifecta_openai_cancelled(ngx_http_request_t *r)
{
    return ngx_http_trifecta_openai_look(r, 1);
}


static void
ngx_http_trifecta_openai_deleted(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(r, "resp_", j);
    ngx_http_trifecta_json_lit(j, "\",\"object\":\"response\","
                                  "\"deleted\":true}");
}


ngx_int_t
ngx_http_trifecta_openai_get(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc, after;
    ngx_str_t  job, value;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_trifecta_openai_own_job(r, id, &job);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_trifecta_own_job(r, &job);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_arg(r, (u_char *) "stream", 6, &value) == NGX_OK
        && value.len == 4 && ngx_strncmp(value.data, "true", 4) == 0)
    {
        after = -1;

        if (ngx_http_arg(r, (u_char *) "starting_after", 14, &value)
            == NGX_OK)
        {
            after = ngx_atoi(value.data, value.len);

            if (after < 0) {
                return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE,
                                               "starting_after",
                                               "\"starting_after\" must be "
                                               "the sequence_number of an "
                                               "event");
            }
        }

        rc = ngx_http_trifecta_openai_stream(r,
                                   &ngx_http_trifecta_openai_response_encoder,
                                   NULL, after, NULL);
    } else {
        rc = ngx_http_trifecta_openai_look(r, 0);
    }

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


ngx_int_t
ngx_http_trifecta_openai_cancel(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc;
    ngx_str_t  job;

    rc = ngx_http_trifecta_openai_own_job(r, id, &job);

    return rc == NGX_DECLINED
           ? ngx_http_trifecta_cancel_job(r, &job,
                                        &ngx_http_trifecta_openai_cancel_face)
           : rc;
}


ngx_int_t
ngx_http_trifecta_openai_delete(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc;
    ngx_str_t  job;

    rc = ngx_http_trifecta_openai_own_job(r, id, &job);

    return rc == NGX_DECLINED
           ? ngx_http_trifecta_delete_job(r, &job,
                                        &ngx_http_trifecta_openai_cancel_face)
           : rc;
}
