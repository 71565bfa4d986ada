#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_openai_stream.h"


/*
 * The events of a response:
 *
 *   created [queued] in_progress
 *   the search:   output_item.added, file_search_call.in_progress,
 *                 .searching, .completed, output_item.done
 *   the message:  output_item.added, content_part.added, output_text.delta
 *                 ..., output_text.annotation.added ..., output_text.done,
 *                 content_part.done, output_item.done
 *   completed, failed or incomplete
 *
 * A message of an attempt that became void is ended as incomplete, and the
 * next one is another item.  For a job that was cancelled there is no event:
 * that is incomplete, and its status says so.
 */

static ngx_int_t ngx_http_trifecta_openai_response_begin(
    ngx_http_trifecta_stream_t *s);
static ngx_int_t ngx_http_trifecta_openai_response_state(
    ngx_http_trifecta_stream_t *s);
static ngx_int_t ngx_http_trifecta_openai_response_event(
    ngx_http_trifecta_stream_t *s, ngx_http_trifecta_event_t *event);
static ngx_int_t ngx_http_trifecta_openai_response_end(
    ngx_http_trifecta_stream_t *s);


const ngx_http_trifecta_encoder_t
    ngx_http_trifecta_openai_response_encoder =
{
    NGX_HTTP_TRIFECTA_M_STREAM_RESPONSES,
    ngx_http_trifecta_openai_response_begin,
    ngx_http_trifecta_openai_response_state,
    ngx_http_trifecta_openai_response_event,
    ngx_http_trifecta_openai_response_end,
    1
};


static ngx_int_t
ngx_http_trifecta_openai_whole(ngx_http_trifecta_openai_stream_t *st,
    const char *type, ngx_http_trifecta_openai_job_t *job)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_event(st, type);

    ngx_http_trifecta_json_lit(j, ",\"response\":");
    ngx_http_trifecta_openai_response(job, j);

    return ngx_http_trifecta_openai_tail(st, j);
}


/* As it was in the beginning, however it stands now. */

static ngx_int_t
ngx_http_trifecta_openai_young(ngx_http_trifecta_openai_stream_t *st,
    const char *type, tf_job_state_t state)
{
    ngx_http_trifecta_openai_job_t  job;

    job = st->job;
    job.state = state;
    job.row = NULL;

    return ngx_http_trifecta_openai_whole(st, type, &job);
}


static ngx_int_t
ngx_http_trifecta_openai_response_begin(ngx_http_trifecta_stream_t *s)
{
    ngx_uint_t                      background;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;

    if (ngx_http_trifecta_openai_stream_begin(st) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_trifecta_openai_is_question(st->payload)) {
        return NGX_DECLINED;
    }

    background = json_is_true(json_object_get(json_object_get(st->payload,
                                                              "openai"),
                                              "background"));

    if (ngx_http_trifecta_openai_young(st, "response.created",
                                       background ? TF_JOB_QUEUED
                                                  : TF_JOB_RUNNING)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return background
           ? ngx_http_trifecta_openai_young(st, "response.queued",
                                            TF_JOB_QUEUED)
           : NGX_OK;
}


ngx_int_t
ngx_http_trifecta_openai_running(ngx_http_trifecta_openai_stream_t *st)
{
    if (st->running) {
        return NGX_OK;
    }

    st->running = 1;

    return ngx_http_trifecta_openai_young(st, "response.in_progress",
                                          TF_JOB_RUNNING);
}


static ngx_int_t
ngx_http_trifecta_openai_response_state(ngx_http_trifecta_stream_t *s)
{
    return s->read.state == TF_JOB_RUNNING
           ? ngx_http_trifecta_openai_running(s->data) : NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_openai_response_event(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_event_t *event)
{
    ngx_http_trifecta_json_t       *j;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;

    if ((event->type == 'r' || event->mark.attempt != st->attempt)
        && ngx_http_trifecta_openai_message_void(st) != NGX_OK)
    {
        return NGX_ERROR;
    }

    st->attempt = event->mark.attempt;

    if (event->type != 'd') {
        return event->type == 's' ? ngx_http_trifecta_openai_searched(st)
                                  : NGX_OK;
    }

    if (ngx_http_trifecta_openai_message_open(st) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_json_raw(&st->text, event->data.data, event->data.len);

    j = ngx_http_trifecta_openai_part_event(st, "response.output_text.delta");

    ngx_http_trifecta_json_lit(j, ",\"delta\":");
    ngx_http_trifecta_json_str(j, &event->data);
    ngx_http_trifecta_json_lit(j, ",\"logprobs\":[]");

    return st->text.failed ? NGX_ERROR : ngx_http_trifecta_openai_tail(st, j);
}


/* The end */

static ngx_int_t
ngx_http_trifecta_openai_succeeded(ngx_http_trifecta_openai_stream_t *st)
{
    size_t       i;
    json_t      *citations, *calls, *call;
    ngx_int_t    rc;
    ngx_str_t    text;
    ngx_uint_t   cut;

    citations = ngx_http_trifecta_openai_column(&st->job,
                                            NGX_HTTP_TRIFECTA_ROW_CITATIONS);
    calls = ngx_http_trifecta_openai_column(&st->job,
                                           NGX_HTTP_TRIFECTA_ROW_TOOL_CALLS);
    cut = ngx_http_trifecta_openai_cut(&st->job);

    ngx_http_trifecta_openai_body(&st->job, &text);

    rc = ngx_http_trifecta_openai_searched(st);

    if (rc == NGX_OK && json_array_size(calls) == 0) {
        rc = ngx_http_trifecta_openai_message_open(st);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_trifecta_openai_message_close(st, cut ? "incomplete"
                                                            : "completed",
                                                    &text, citations);
    }

    json_array_foreach(calls, i, call) {
        if (rc == NGX_OK) {
            rc = ngx_http_trifecta_openai_call_events(st, call, i);
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_http_trifecta_openai_whole(st, cut ? "response.incomplete"
                                                    : "response.completed",
                                            &st->job);
    }

    json_decref(citations);
    json_decref(calls);

    return rc;
}


/* It cannot go on, and there is no response to be shown any more. */

static ngx_int_t
ngx_http_trifecta_openai_lost(ngx_http_trifecta_openai_stream_t *st)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_event(st, "error");

    ngx_http_trifecta_json_lit(j, ",\"code\":\"gone\",\"message\":\"the job "
                                  "was deleted\",\"param\":null");

    return ngx_http_trifecta_openai_tail(st, j);
}


static ngx_int_t
ngx_http_trifecta_openai_response_end(ngx_http_trifecta_stream_t *s)
{
    ngx_str_t                       text;
    ngx_http_trifecta_openai_stream_t  *st;

    st = s->data;

    if (st->wait) {
        ngx_http_trifecta_openai_answered(st->wait);
    }

    if (s->read.seen != ngx_http_trifecta_seen_ended) {
        return ngx_http_trifecta_openai_lost(st);
    }

    ngx_http_trifecta_openai_stream_job(st);

    if (ngx_http_trifecta_openai_running(st) != NGX_OK) {
        return NGX_ERROR;
    }

    if (st->job.state == TF_JOB_SUCCEEDED && st->job.row) {
        return ngx_http_trifecta_openai_succeeded(st);
    }

    text.data = st->text.start;
    text.len = st->text.last - st->text.start;

    if (ngx_http_trifecta_openai_message_close(st, "incomplete", &text, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_openai_whole(st,
                                          st->job.state == TF_JOB_CANCELLED
                                          ? "response.incomplete"
                                          : "response.failed", &st->job);
}
