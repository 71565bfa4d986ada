#ifndef NGX_HTTP_TRIFECTA_OPENAI_STREAM_H_INCLUDED
#define NGX_HTTP_TRIFECTA_OPENAI_STREAM_H_INCLUDED


#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_stream.h"


/*
 * A job as a stream of events of this shape.
 *
 * Everything is counted from the first event on, whoever listens and since
 * when, and nothing that is written depends on when it is written: so an
 * event has the same number in each stream of the job, and a client that
 * names the last one it has gets the rest.
 *
 * A stream is said to be done by its last event.  What a client must not take
 * for an end has none: the connection is cut.
 */

typedef struct {
    ngx_http_trifecta_stream_t      *stream;
    ngx_http_trifecta_openai_wait_t *wait;      /* of a POST; or NULL */
    json_t                          *payload;   /* of the job; or NULL */
    ngx_http_trifecta_openai_job_t   job;

    int64_t                          after;     /* the client has it; -1 */
    int64_t                          number;    /* of the next event */
    ngx_uint_t                       index;     /* of the next item */
    ngx_uint_t                       attempt;   /* of the open message */
    ngx_http_trifecta_json_t         text;      /* of it */

    unsigned                         usage:1;   /* of a chat: wanted */
    unsigned                         running:1; /* that was said */
    unsigned                         searched:1;
    unsigned                         open:1;    /* a message is */
} ngx_http_trifecta_openai_stream_t;


extern const ngx_http_trifecta_encoder_t
    ngx_http_trifecta_openai_response_encoder;
extern const ngx_http_trifecta_encoder_t
    ngx_http_trifecta_openai_chat_encoder;


/*
 * Streams the job of the context.  NGX_DONE when the answer comes later, else
 * its value.  The request of the job may be known already.
 */
ngx_int_t ngx_http_trifecta_openai_stream(ngx_http_request_t *r,
    const ngx_http_trifecta_encoder_t *encoder,
    ngx_http_trifecta_openai_wait_t *wait, int64_t after, ngx_str_t *request);

/* What the encoders begin with: the job, as far as it is known. */
ngx_int_t ngx_http_trifecta_openai_stream_begin(
    ngx_http_trifecta_openai_stream_t *st);

/* The job as it was read last, for the objects that are drawn of it. */
void ngx_http_trifecta_openai_stream_job(
    ngx_http_trifecta_openai_stream_t *st);


/*
 * openai_stream_items.c: an event of a response is a head, its members and a
 * tail, which sends it unless the client has it.
 */
ngx_http_trifecta_json_t *ngx_http_trifecta_openai_event(
    ngx_http_trifecta_openai_stream_t *st, const char *type);
ngx_http_trifecta_json_t *ngx_http_trifecta_openai_part_event(
    ngx_http_trifecta_openai_stream_t *st, const char *type);
ngx_int_t ngx_http_trifecta_openai_tail(
    ngx_http_trifecta_openai_stream_t *st, ngx_http_trifecta_json_t *j);

/* All events of the search, unless they were there. */
ngx_int_t ngx_http_trifecta_openai_searched(
    ngx_http_trifecta_openai_stream_t *st);

/* The message begins, ends with this text, or was not the answer. */
ngx_int_t ngx_http_trifecta_openai_message_open(
    ngx_http_trifecta_openai_stream_t *st);
ngx_int_t ngx_http_trifecta_openai_message_close(
    ngx_http_trifecta_openai_stream_t *st, const char *status,
    ngx_str_t *text, json_t *citations);
ngx_int_t ngx_http_trifecta_openai_message_void(
    ngx_http_trifecta_openai_stream_t *st);

ngx_int_t ngx_http_trifecta_openai_call_events(
    ngx_http_trifecta_openai_stream_t *st, json_t *call, ngx_uint_t n);

/* openai_stream_response.c: "in_progress", unless that was said. */
ngx_int_t ngx_http_trifecta_openai_running(
    ngx_http_trifecta_openai_stream_t *st);


/* openai_wait.c: it has its end, so who leaves now does not cancel it. */
void ngx_http_trifecta_openai_answered(ngx_http_trifecta_openai_wait_t *w);

/* Headers of an answer to a POST that is no stream after all. */
ngx_int_t ngx_http_trifecta_openai_no_stream(ngx_http_request_t *r,
    ngx_http_trifecta_openai_wait_t *w);


#endif /* NGX_HTTP_TRIFECTA_OPENAI_STREAM_H_INCLUDED */
