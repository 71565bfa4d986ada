#include "ngx_http_trifecta_accepted.h"
#include "ngx_http_trifecta_conversation.h"
#include "ngx_http_trifecta_durable.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_result.h"


typedef struct {
    const char                   *status;
    int64_t                       ms;
    int64_t                       position;
    ngx_str_t                     path;
    ngx_http_trifecta_durable_t  *durable;      /* NULL: not preferred */
    unsigned                      before:1;
} ngx_http_trifecta_accepted_t;


static ngx_int_t
ngx_http_trifecta_accepted_reply(ngx_http_trifecta_poll_t *poll)
{
    ngx_str_t                      conversation;
    ngx_http_request_t            *r;
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_json_t       j;
    ngx_http_trifecta_accepted_t  *accepted;

    r = poll->read.op.request;
    accepted = poll->data;
    ctx = ngx_http_trifecta_get_ctx(r);

    if (ngx_http_trifecta_conversation_of(r, &ctx->conversation,
                                          &conversation)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_trifecta_json_init(&j, r->pool, 512);

    ngx_http_trifecta_json_lit(&j, "{\"query_id\":");
    ngx_http_trifecta_json_str(&j, &ctx->job_id);
    ngx_http_trifecta_json_lit(&j, ",\"status\":\"");
    ngx_http_trifecta_json_raw(&j, accepted->status,
                               ngx_strlen(accepted->status));
    ngx_http_trifecta_json_lit(&j, "\",\"created_at\":");
    ngx_http_trifecta_json_time(&j, accepted->ms);

    if (conversation.len) {
        ngx_http_trifecta_json_lit(&j, ",\"conversation_id\":");
        ngx_http_trifecta_json_str(&j, &conversation);
    }

    ngx_http_trifecta_json_lit(&j, ",\"links\":{\"self\":");
    ngx_http_trifecta_json_str(&j, &accepted->path);
    ngx_http_trifecta_json_lit(&j, ",\"events\":\"");
    ngx_http_trifecta_json_raw(&j, accepted->path.data, accepted->path.len);
    ngx_http_trifecta_json_lit(&j, "/events\",\"cancel\":\"");
    ngx_http_trifecta_json_raw(&j, accepted->path.data, accepted->path.len);
    ngx_http_trifecta_json_lit(&j, "/cancel\"}}");

    if (ngx_http_trifecta_poll_headers(poll) != NGX_OK
        || ngx_http_trifecta_header(r, "Location", accepted->path.data,
                                    accepted->path.len)
           != NGX_OK
        || ngx_http_trifecta_retry_after(r, accepted->position) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_reply(r, NGX_HTTP_ACCEPTED, "application/json",
                                   &j);
}


static ngx_int_t
ngx_http_trifecta_accepted_answer(ngx_http_trifecta_poll_t *poll)
{
    ngx_http_trifecta_read_t      *read;
    ngx_http_trifecta_accepted_t  *accepted;

    read = &poll->read;
    accepted = poll->data;

    switch (read->seen) {

    case ngx_http_trifecta_seen_ended:

        if (accepted->durable && (read->row || read->cached.body.data)) {
            poll->durable = 1;
        }

        /* the body is that of the job, not of what was posted to */

        if (ngx_http_trifecta_header(read->op.request, "Content-Location",
                                     accepted->path.data, accepted->path.len)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_result_reply(poll);

    case ngx_http_trifecta_seen_open:
        accepted->status = ngx_http_trifecta_state_word(read->state);
        accepted->ms = read->accepted;
        accepted->position = read->position;
        break;

    default:
        if (accepted->before) {
            return ngx_http_trifecta_result_reply(poll);
        }
    }

    return ngx_http_trifecta_accepted_reply(poll);
}


static ngx_uint_t
ngx_http_trifecta_accepted_enough(ngx_http_trifecta_poll_t *poll)
{
    return poll->read.seen == ngx_http_trifecta_seen_ended
           || poll->read.seen == ngx_http_trifecta_seen_gone
           || poll->read.seen == ngx_http_trifecta_seen_deleted;
}


static ngx_http_trifecta_poll_t *
ngx_http_trifecta_accepted_create(ngx_http_request_t *r)
{
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_poll_t      *poll;
    ngx_http_trifecta_accepted_t  *accepted;

    ctx = ngx_http_trifecta_get_ctx(r);

    poll = ngx_http_trifecta_poll_create(r);
    accepted = ngx_pcalloc(r->pool, sizeof(ngx_http_trifecta_accepted_t));

    if (poll == NULL || accepted == NULL
        || ngx_http_trifecta_job_path(r, &ctx->job_id, &accepted->path)
           != NGX_OK)
    {
        return NULL;
    }

    if (ngx_http_trifecta_durable_preferred(r)) {
        accepted->durable = ngx_http_trifecta_durable_create(r);

        if (accepted->durable == NULL) {
            return NULL;
        }
    }

    accepted->status = ngx_http_trifecta_state_word(TF_JOB_QUEUED);

    poll->enough = ngx_http_trifecta_accepted_enough;
    poll->answer = ngx_http_trifecta_accepted_answer;
    poll->data = accepted;

    return poll;
}


/* PostgreSQL has it, or it was not asked, or there was no time. */

static ngx_int_t
ngx_http_trifecta_accepted_go(ngx_http_trifecta_poll_t *poll)
{
    ngx_http_trifecta_accepted_t  *accepted;

    accepted = poll->data;

    if (accepted->durable) {
        poll->durable = accepted->durable->committed;
    }

    if (poll->wait > 0 || accepted->before) {
        return ngx_http_trifecta_poll_start(poll);
    }

    /* there is nothing to read: it is queued */

    poll->applied = (poll->wait == 0);

    return ngx_http_trifecta_accepted_reply(poll);
}


static void
ngx_http_trifecta_accepted_durable(void *data)
{
    ngx_http_trifecta_poll_t *poll = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = poll->read.op.request;

    rc = ngx_http_trifecta_accepted_go(poll);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


static ngx_int_t
ngx_http_trifecta_accepted_start(ngx_http_trifecta_poll_t *poll)
{
    ngx_http_trifecta_accepted_t  *accepted;

    accepted = poll->data;

    if (accepted->durable) {
        accepted->durable->done = ngx_http_trifecta_accepted_durable;
        accepted->durable->data = poll;

        if (ngx_http_trifecta_durable_start(accepted->durable) == NGX_AGAIN) {
            return NGX_DONE;
        }
    }

    return ngx_http_trifecta_accepted_go(poll);
}


ngx_int_t
ngx_http_trifecta_accepted(ngx_http_request_t *r, int64_t ms,
    int64_t position)
{
    ngx_http_trifecta_poll_t      *poll;
    ngx_http_trifecta_accepted_t  *accepted;

    poll = ngx_http_trifecta_accepted_create(r);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    accepted = poll->data;
    accepted->ms = ms;
    accepted->position = position;

    return ngx_http_trifecta_accepted_start(poll);
}


ngx_int_t
ngx_http_trifecta_accepted_before(ngx_http_request_t *r)
{
    ngx_http_trifecta_poll_t      *poll;
    ngx_http_trifecta_accepted_t  *accepted;

    poll = ngx_http_trifecta_accepted_create(r);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    accepted = poll->data;
    accepted->before = 1;

    return ngx_http_trifecta_accepted_start(poll);
}
