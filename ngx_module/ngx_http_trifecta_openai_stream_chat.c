#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_openai_stream.h"


/*
 * The chunks of a chat completion: one with the role, one for each piece of
 * the text, one with the reason why it ended, one with the usage if that was
 * wanted, and [DONE].
 *
 * The shape cannot take back what it has said, and has no place for a job
 * without an answer: then there is a chunk with an error, and the connection
 * is cut behind it.
 */

static ngx_int_t ngx_http_trifecta_openai_chat_begin(
    ngx_http_trifecta_stream_t *s);
static ngx_int_t ngx_http_trifecta_openai_chat_event(
    ngx_http_trifecta_stream_t *s, ngx_http_trifecta_event_t *event);
static ngx_int_t ngx_http_trifecta_openai_chat_end(
    ngx_http_trifecta_stream_t *s);


const ngx_http_trifecta_encoder_t  ngx_http_trifecta_openai_chat_encoder = {
    NGX_HTTP_TRIFECTA_M_STREAM_CHAT,
    ngx_http_trifecta_openai_chat_begin,
    NULL,
    ngx_http_trifecta_openai_chat_event,
    ngx_http_trifecta_openai_chat_end,
    1
};


static ngx_http_trifecta_json_t *
ngx_http_trifecta_openai_chunk(ngx_http_trifecta_openai_stream_t *st)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_stream_json(st->stream);

    ngx_http_trifecta_json_lit(j, "data: ");
    ngx_http_trifecta_openai_chat_start(&st->job, "chat.completion.chunk", j);

    if (st->usage) {
        ngx_http_trifecta_json_lit(j, ",\"usage\":null");
    }

    ngx_http_trifecta_json_lit(j, ",\"choices\":[{\"index\":0,"
                                  "\"logprobs\":null,\"delta\":{");
    return j;
}


/* Behind the delta. */

static ngx_int_t
ngx_http_trifecta_openai_chunk_end(ngx_http_trifecta_openai_stream_t *st,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_json_lit(j, "},\"finish_reason\":null}]}\n\n");

    return ngx_http_trifecta_stream_put(st->stream, j);
}


static ngx_int_t
ngx_http_trifecta_openai_chat_error(ngx_http_trifecta_openai_stream_t *st,
    const char *code, const char *message)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_stream_json(st->stream);

    ngx_http_trifecta_json_lit(j, "data: {\"error\":{\"message\":");
    ngx_http_trifecta_json_string(j, message, ngx_strlen(message));
    ngx_http_trifecta_json_lit(j, ",\"type\":\"server_error\","
                                  "\"param\":null,\"code\":");
    ngx_http_trifecta_json_string(j, code, ngx_strlen(code));
    ngx_http_trifecta_json_lit(j, "}}\n\n");

    return ngx_http_trifecta_stream_put(st->stream, j) == NGX_OK ? NGX_ABORT
                                                                 : NGX_ERROR;
}


static ngx_int_t
ngx_http_trifecta_openai_chat_begin(ngx_http_trifecta_stream_t *s)
{
    ngx_http_trifecta_json_t           *j;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;

    if (ngx_http_trifecta_openai_stream_begin(st) != NGX_OK) {
        return NGX_ERROR;
    }

    j = ngx_http_trifecta_openai_chunk(st);

    ngx_http_trifecta_json_lit(j, "\"role\":\"assistant\",\"content\":\"\","
                                  "\"refusal\":null");

    return ngx_http_trifecta_openai_chunk_end(st, j);
}


static ngx_int_t
ngx_http_trifecta_openai_chat_event(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_event_t *event)
{
    ngx_http_trifecta_json_t           *j;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;

    if (st->open
        && (event->type == 'r' || event->mark.attempt != st->attempt))
    {
        return ngx_http_trifecta_openai_chat_error(st, "attempt_void",
                                                   "what was said of the "
                                                   "answer is void: its "
                                                   "model or its worker "
                                                   "failed, and it is made "
                                                   "anew");
    }

    st->attempt = event->mark.attempt;

    if (event->type != 'd') {
        return NGX_OK;
    }

    st->open = 1;

    j = ngx_http_trifecta_openai_chunk(st);

    ngx_http_trifecta_json_lit(j, "\"content\":");
    ngx_http_trifecta_json_str(j, &event->data);

    return ngx_http_trifecta_openai_chunk_end(st, j);
}


static ngx_int_t
ngx_http_trifecta_openai_chat_failure(ngx_http_trifecta_openai_stream_t *st)
{
    json_t      *error;
    ngx_int_t    rc;
    const char  *code, *message;

    if (st->job.state == TF_JOB_CANCELLED) {
        return ngx_http_trifecta_openai_chat_error(st, "job_cancelled",
                                                   "the job was cancelled "
                                                   "before it had an answer");
    }

    error = ngx_http_trifecta_openai_column(&st->job,
                                            NGX_HTTP_TRIFECTA_ROW_ERROR);
    code = json_string_value(json_object_get(error, "code"));
    message = json_string_value(json_object_get(error, "message"));

    rc = ngx_http_trifecta_openai_chat_error(st, code ? code : "job_failed",
                                             message ? message
                                                     : "the job failed");
    json_decref(error);

    return rc;
}


static ngx_int_t
ngx_http_trifecta_openai_chat_end(ngx_http_trifecta_stream_t *s)
{
    json_t                             *calls, *citations;
    ngx_http_trifecta_json_t           *j;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;

    if (st->wait) {
        ngx_http_trifecta_openai_answered(st->wait);
    }

    if (s->read.seen != ngx_http_trifecta_seen_ended) {
        return ngx_http_trifecta_openai_chat_error(st, "gone",
                                                   "the job was deleted");
    }

    ngx_http_trifecta_openai_stream_job(st);

    if (st->job.state != TF_JOB_SUCCEEDED || st->job.row == NULL) {
        return ngx_http_trifecta_openai_chat_failure(st);
    }

    calls = ngx_http_trifecta_openai_column(&st->job,
                                           NGX_HTTP_TRIFECTA_ROW_TOOL_CALLS);
    citations = ngx_http_trifecta_openai_column(&st->job,
                                            NGX_HTTP_TRIFECTA_ROW_CITATIONS);

    if (json_array_size(calls)) {
        j = ngx_http_trifecta_openai_chunk(st);

        ngx_http_trifecta_json_lit(j, "\"tool_calls\":");
        ngx_http_trifecta_openai_chat_calls(calls, j);

        if (ngx_http_trifecta_openai_chunk_end(st, j) != NGX_OK) {
            goto failed;
        }
    }

    j = ngx_http_trifecta_openai_chunk(st);

    ngx_http_trifecta_json_printf(j, "},\"finish_reason\":\"%s\"}]",
                                  ngx_http_trifecta_openai_chat_why(&st->job,
                                                                    calls));
    ngx_http_trifecta_openai_member(j, "citations", citations, "[]");
    ngx_http_trifecta_json_lit(j, "}\n\n");

    if (st->usage) {
        ngx_http_trifecta_json_lit(j, "data: ");
        ngx_http_trifecta_openai_chat_start(&st->job, "chat.completion.chunk",
                                            j);
        ngx_http_trifecta_json_lit(j, ",\"choices\":[],\"usage\":");
        ngx_http_trifecta_openai_chat_usage(&st->job, j);
        ngx_http_trifecta_json_lit(j, "}\n\n");
    }

    ngx_http_trifecta_json_lit(j, "data: [DONE]\n\n");

    json_decref(calls);
    json_decref(citations);

    return ngx_http_trifecta_stream_put(s, j);

failed:

    json_decref(calls);
    json_decref(citations);

    return NGX_ERROR;
}
