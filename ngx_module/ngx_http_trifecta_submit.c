#include "ngx_http_trifecta_accepted.h"
#include "ngx_http_trifecta_ask.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_conversation.h"
#include "ngx_http_trifecta_enqueue.h"
#include "ngx_http_trifecta_events.h"
#include "ngx_http_trifecta_idem.h"
#include "ngx_http_trifecta_reply.h"


/*
 * POST /api/v1/query and DELETE /api/v1/conversations/{id}: the plain shape's
 * ways to a job.
 */

static ngx_int_t ngx_http_trifecta_submit_accepted(
    ngx_http_trifecta_submit_t *submit, int64_t ms, int64_t position);
static ngx_int_t ngx_http_trifecta_submit_before(
    ngx_http_trifecta_submit_t *submit);
static ngx_int_t ngx_http_trifecta_submit_streamed(
    ngx_http_trifecta_submit_t *submit, int64_t ms, int64_t position);
static ngx_int_t ngx_http_trifecta_submit_streamed_before(
    ngx_http_trifecta_submit_t *submit);


/* What is answered where a stream cannot begin. */

typedef struct {
    int64_t                  ms;
    int64_t                  position;
    unsigned                 before:1;
} ngx_http_trifecta_submit_stream_t;


static const ngx_http_trifecta_face_t  ngx_http_trifecta_face_query = {
    NGX_HTTP_TRIFECTA_KIND_QUERY,
    "POST /api/v1/query",
    ngx_http_trifecta_job_path,
    ngx_http_trifecta_submit_accepted,
    ngx_http_trifecta_submit_before
};


static const ngx_http_trifecta_face_t  ngx_http_trifecta_face_stream = {
    NGX_HTTP_TRIFECTA_KIND_QUERY,
    "POST /api/v1/query",
    ngx_http_trifecta_job_path,
    ngx_http_trifecta_submit_streamed,
    ngx_http_trifecta_submit_streamed_before
};


static const ngx_http_trifecta_face_t  ngx_http_trifecta_face_forget = {
    NGX_HTTP_TRIFECTA_KIND_FORGET,
    "DELETE /api/v1/conversations",
    ngx_http_trifecta_job_path,
    ngx_http_trifecta_submit_accepted,
    ngx_http_trifecta_submit_before
};


static ngx_int_t
ngx_http_trifecta_submit_accepted(ngx_http_trifecta_submit_t *submit,
    int64_t ms, int64_t position)
{
    return ngx_http_trifecta_accepted(submit->op.request, ms, position);
}


static ngx_int_t
ngx_http_trifecta_submit_before(ngx_http_trifecta_submit_t *submit)
{
    return ngx_http_trifecta_accepted_before(submit->op.request);
}


/* The job is there all the same: the answer is that to one who asks so. */

static ngx_int_t
ngx_http_trifecta_submit_refuse(ngx_http_trifecta_stream_t *s)
{
    ngx_http_request_t                 *r;
    ngx_http_trifecta_submit_stream_t  *stream;

    r = s->read.op.request;
    stream = s->refused;

    return stream->before ? ngx_http_trifecta_accepted_before(r)
                          : ngx_http_trifecta_accepted(r, stream->ms,
                                                       stream->position);
}


static ngx_int_t
ngx_http_trifecta_submit_stream(ngx_http_trifecta_submit_t *submit,
    ngx_http_trifecta_submit_stream_t *stream)
{
    ngx_http_trifecta_submit_stream_t  *refused;

    refused = ngx_palloc(submit->op.request->pool,
                         sizeof(ngx_http_trifecta_submit_stream_t));
    if (refused == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *refused = *stream;

    return ngx_http_trifecta_events_start(submit->op.request, &submit->path,
                                          ngx_http_trifecta_submit_refuse,
                                          refused);
}


static ngx_int_t
ngx_http_trifecta_submit_streamed(ngx_http_trifecta_submit_t *submit,
    int64_t ms, int64_t position)
{
    ngx_http_trifecta_submit_stream_t  stream;

    ngx_memzero(&stream, sizeof(ngx_http_trifecta_submit_stream_t));

    stream.ms = ms;
    stream.position = position;

    return ngx_http_trifecta_submit_stream(submit, &stream);
}


static ngx_int_t
ngx_http_trifecta_submit_streamed_before(ngx_http_trifecta_submit_t *submit)
{
    ngx_http_trifecta_ctx_t            *ctx;
    ngx_http_trifecta_submit_stream_t   stream;

    ctx = ngx_http_trifecta_get_ctx(submit->op.request);

    /* it was that of the id this request would have given */

    if (ngx_http_trifecta_job_path(submit->op.request, &ctx->job_id,
                                   &submit->path)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&stream, sizeof(ngx_http_trifecta_submit_stream_t));

    stream.before = 1;

    return ngx_http_trifecta_submit_stream(submit, &stream);
}


static ngx_int_t
ngx_http_trifecta_submit_ask(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_ask_t *ask)
{
    ngx_str_t                    conversation;
    ngx_http_trifecta_ctx_t     *ctx;
    ngx_http_trifecta_json_t    *payload;
    ngx_http_trifecta_submit_t  *submit;

    ctx = ngx_http_trifecta_get_ctx(r);

    submit = ngx_http_trifecta_submit_create(r,
                                             ask->forget
                                             ? &ngx_http_trifecta_face_forget
                                             : ask->stream
                                             ? &ngx_http_trifecta_face_stream
                                             : &ngx_http_trifecta_face_query,
                                             ask->query.len + 256);
    if (submit == NULL
        || (!ask->forget
            && ngx_http_trifecta_conversation_keep(r, &ask->conversation)
               != NGX_OK)
        || ngx_http_trifecta_conversation_of(r, &ctx->conversation,
                                             &conversation)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ask->model.len) {
        submit->model = ask->model;
    }

    payload = &submit->payload;

    if (ask->forget) {
        ngx_http_trifecta_json_lit(payload, "{\"forget\":");
        ngx_http_trifecta_json_str(payload, &ask->conversation);

    } else {
        ngx_http_trifecta_json_lit(payload, "{\"query\":");
        ngx_http_trifecta_json_str(payload, &ask->query);
    }

    ngx_http_trifecta_json_lit(payload, ",\"model\":");
    ngx_http_trifecta_json_str(payload, &submit->model);
    ngx_http_trifecta_submit_value(payload, ",\"collections\":",
                                   ask->collections);
    ngx_http_trifecta_submit_value(payload, ",\"filters\":", ask->filters);
    ngx_http_trifecta_submit_value(payload, ",\"metadata\":", ask->metadata);

    if (ask->webhook.len) {
        ngx_http_trifecta_json_lit(payload, ",\"webhook_url\":");
        ngx_http_trifecta_json_str(payload, &ask->webhook);
    }

    if (conversation.len) {
        ngx_http_trifecta_json_lit(payload, ",\"conversation_id\":");
        ngx_http_trifecta_json_str(payload, &conversation);
    }

    ngx_http_trifecta_json_lit(payload, "}");

    return ngx_http_trifecta_enqueue(submit, text);
}


static ngx_int_t
ngx_http_trifecta_submit_body(ngx_http_request_t *r, ngx_str_t *text)
{
    ngx_int_t                rc;
    ngx_http_trifecta_ask_t  ask;

    ngx_memzero(&ask, sizeof(ngx_http_trifecta_ask_t));

    rc = ngx_http_trifecta_ask_parse(r, text, &ask);

    if (rc == NGX_DECLINED) {
        ask.stream |= ngx_http_trifecta_accepts(r, "text/event-stream");

        rc = ngx_http_trifecta_submit_ask(r, text, &ask);
    }

    json_decref(ask.root);

    return rc;
}


ngx_int_t
ngx_http_trifecta_submit(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = ngx_http_trifecta_submit_check(r);

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

    rc = ngx_http_trifecta_submit_ask(r, id, &ask);

    if (rc == NGX_DONE) {
        r->main->count++;
    }

    return rc;
}
