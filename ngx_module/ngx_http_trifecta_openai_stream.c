#include "ngx_http_trifecta_openai_stream.h"
#include "ngx_http_trifecta_reply.h"


static void
ngx_http_trifecta_openai_stream_cleanup(void *data)
{
    ngx_http_trifecta_openai_stream_t *st = data;

    json_decref(st->payload);
}


static ngx_int_t
ngx_http_trifecta_openai_stream_refuse(ngx_http_trifecta_stream_t *s)
{
    ngx_http_request_t                 *r;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;
    r = s->read.op.request;

    if (st->wait && ngx_http_trifecta_openai_no_stream(r, st->wait) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ngx_http_trifecta_openai_is_question(st->payload)) {
        return ngx_http_trifecta_openai_no_response(r);
    }

    if (s->read.seen == ngx_http_trifecta_seen_open) {
        return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                       "too many requests wait in this "
                                       "worker: ask without \"stream\", or "
                                       "again later");
    }

    return ngx_http_trifecta_openai_unknown(&s->read);
}


ngx_int_t
ngx_http_trifecta_openai_stream(ngx_http_request_t *r,
    const ngx_http_trifecta_encoder_t *encoder,
    ngx_http_trifecta_openai_wait_t *wait, int64_t after, ngx_str_t *request)
{
    ngx_pool_cleanup_t                 *cln;
    ngx_http_trifecta_stream_t         *s;
    ngx_http_trifecta_openai_stream_t  *st;

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_trifecta_openai_stream_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    st = cln->data;
    ngx_memzero(st, sizeof(ngx_http_trifecta_openai_stream_t));
    cln->handler = ngx_http_trifecta_openai_stream_cleanup;

    s = ngx_http_trifecta_stream_create(r, encoder, st);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    st->stream = s;
    st->wait = wait;
    st->after = after;

    s->refuse = ngx_http_trifecta_openai_stream_refuse;

    if (request) {
        s->read.request = *request;
    }

    return ngx_http_trifecta_stream_start(s);
}


ngx_int_t
ngx_http_trifecta_openai_stream_begin(ngx_http_trifecta_openai_stream_t *st)
{
    json_t  *face;

    st->payload = ngx_http_trifecta_openai_payload_parse(
                                                  &st->stream->read.request);

    face = json_object_get(st->payload, "openai");

    st->usage = json_is_true(json_object_get(json_object_get(face,
                                                           "stream_options"),
                                             "include_usage"));

    ngx_http_trifecta_json_init(&st->text, st->stream->read.op.request->pool,
                                1024);
    ngx_http_trifecta_openai_stream_job(st);

    return st->text.failed ? NGX_ERROR : NGX_OK;
}


void
ngx_http_trifecta_openai_stream_job(ngx_http_trifecta_openai_stream_t *st)
{
    ngx_http_trifecta_read_t  *read;

    read = &st->stream->read;

    st->job.request = read->op.request;
    st->job.payload = st->payload;
    st->job.state = read->state;
    st->job.accepted = read->accepted;
    st->job.model = read->model;
    st->job.row = read->row;
}
