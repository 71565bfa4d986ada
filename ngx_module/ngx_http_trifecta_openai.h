#ifndef NGX_HTTP_TRIFECTA_OPENAI_H_INCLUDED
#define NGX_HTTP_TRIFECTA_OPENAI_H_INCLUDED


#include "ngx_http_trifecta_ask.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_enqueue.h"
#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_read.h"


/*
 * The second face of the same jobs: what programs that speak to OpenAI send
 * and expect.
 *
 *   openai_members.c   what a body may have: one table, one row a member
 *   openai_values.c    the checks of members that have a form of their own
 *   openai_tools.c     those of the answer's form and the tools
 *   openai_input.c     input and messages: the question, and what was before
 *   openai_calls.c     functions that were called, and their results
 *   openai_payload.c   what of it the job keeps
 *   openai_create.c    POST: body, payload, job
 *   openai_wait.c      the answer: at once, or when the job has ended
 *   openai_object.c    a job drawn as a response
 *   openai_items.c     its output: the search, the message, the citations
 *   openai_chat.c      a job drawn as a chat completion
 *   openai_stream.c    a job as a stream of events, and two encoders of it:
 *                      openai_stream_response.c (with openai_stream_items.c)
 *                      and openai_stream_chat.c
 *   openai_response.c  GET, cancel, DELETE of a response
 *   openai_input_items.c  what it was asked
 *   openai_embeddings.c   vectors of texts, as a job of its own kind
 *   openai_models.c    the models
 *
 * An id here is a prefix and the 32 hex digits of the job's id, so each job
 * of a question can be seen through either face.
 *
 * The job keeps in the member "openai" of its request what only this face
 * needs, to draw the same object again; what the answer depends on stands
 * beside that, and the sidecar reads it there.
 */

#define NGX_HTTP_TRIFECTA_OPENAI_BODY_MAX   8388608     /* bytes */
#define NGX_HTTP_TRIFECTA_OPENAI_KEPT_MAX   4194304     /* ... of a job */
#define NGX_HTTP_TRIFECTA_OPENAI_ITEMS_MAX  1024        /* messages */
#define NGX_HTTP_TRIFECTA_OPENAI_TEXT_MAX   1048576     /* bytes of them */
#define NGX_HTTP_TRIFECTA_OPENAI_ANNOTATIONS_MAX  512   /* of a text */
#define NGX_HTTP_TRIFECTA_OPENAI_HEX        32

/* longer than the deadline of a question, by what stores may need */
#define NGX_HTTP_TRIFECTA_OPENAI_WAIT       630000      /* ms */

#define NGX_HTTP_TRIFECTA_OPENAI_RESPONSE   1           /* shapes, bits */
#define NGX_HTTP_TRIFECTA_OPENAI_CHAT       2


/*
 * A body, checked.  ngx_http_trifecta_openai_free() releases all that it
 * points to.
 */

typedef struct {
    ngx_uint_t                shape;
    json_t                   *root;
    ngx_http_trifecta_ask_t   ask;          /* what both shapes have */
    ngx_str_t                 query;
    ngx_str_t                 previous;     /* a job's id; or empty */

    json_t                   *background;   /* or NULL, and so on */
    json_t                   *cache_key;
    json_t                   *effort;
    json_t                   *format;
    json_t                   *frequency;
    json_t                   *include;
    json_t                   *input;
    json_t                   *instructions;
    json_t                   *max_tokens;
    json_t                   *parallel;
    json_t                   *presence;
    json_t                   *safety;
    json_t                   *seed;
    json_t                   *stop;
    json_t                   *store;
    json_t                   *stream;
    json_t                   *stream_options;
    json_t                   *temperature;
    json_t                   *tier;
    json_t                   *tool_choice;
    json_t                   *tools;
    json_t                   *top_p;
    json_t                   *truncation;
    json_t                   *user;
    json_t                   *verbosity;

    /* made of what is above, and owned by the array */

    json_t                   *own;
    json_t                   *turns;        /* before the question, */
    json_t                   *after;        /* and calls behind it */
    json_t                   *systems;      /* {"at", "role", "content"} */
    json_t                   *told;         /* all of them, one string */
    json_t                   *functions;    /* tools as a model takes them */
    json_t                   *choice;
} ngx_http_trifecta_openai_t;


/* What an object is drawn from. */

typedef struct {
    ngx_http_request_t       *request;
    json_t                   *payload;      /* or NULL: not known */
    tf_job_state_t            state;
    int64_t                   accepted;     /* ms */
    ngx_str_t                 model;
    PGresult                 *row;          /* or NULL */
    int                       at;           /* which of its rows */
    ngx_uint_t                voided;       /* messages before this one */
} ngx_http_trifecta_openai_job_t;


/*
 * openai_members.c: NGX_DECLINED when the job may be made, else what an error
 * returned.  A zeroed structure but for the shape, and for the root when the
 * text is parsed already (then it may be NULL); free it in any case.
 */
ngx_int_t ngx_http_trifecta_openai_parse(ngx_http_request_t *r,
    ngx_str_t *text, ngx_http_trifecta_openai_t *o);
void ngx_http_trifecta_openai_free(ngx_http_trifecta_openai_t *o);


/* Keeps what was made until the end; the value, or NULL: no memory. */
json_t *ngx_http_trifecta_openai_own(ngx_http_trifecta_openai_t *o,
    json_t *value);


/*
 * openai_input.c: fills query, turns, after and systems from input; the same.
 * The query is empty when it is that of the previous response.
 */
ngx_int_t ngx_http_trifecta_openai_input(ngx_http_request_t *r,
    const char *name, ngx_http_trifecta_openai_t *o);


/* openai_payload.c */

/* The request of the job as JSON text, in the buffer. */
void ngx_http_trifecta_openai_payload(ngx_http_trifecta_openai_t *o,
    ngx_str_t *model, ngx_str_t *conversation, ngx_http_trifecta_json_t *j);

/* A job's request, to be released; NULL: it is not known. */
json_t *ngx_http_trifecta_openai_payload_parse(ngx_str_t *text);

/* This is the request of a question; the jobs of a caller are others, too. */
ngx_uint_t ngx_http_trifecta_openai_is_question(json_t *payload);


/* openai_id.c */

/* Writes "<prefix>" and the hex digits of the job of the context. */
void ngx_http_trifecta_openai_id(ngx_http_request_t *r, const char *prefix,
    ngx_http_trifecta_json_t *j);

/* The job's id of "<prefix>_<hex>", in the pool; NGX_DECLINED: it is none. */
ngx_int_t ngx_http_trifecta_openai_job_id(ngx_http_request_t *r,
    const char *prefix, ngx_str_t *text, ngx_str_t *id);

/* The path of a job's response. */
ngx_int_t ngx_http_trifecta_openai_path(ngx_http_request_t *r, ngx_str_t *id,
    ngx_str_t *path);


/* openai_embeddings.c: the vectors, the same */
ngx_int_t ngx_http_trifecta_openai_vectors(
    ngx_http_trifecta_openai_job_t *job, ngx_http_trifecta_json_t *j);


/*
 * openai_create.c and openai_embeddings.c: a body that was parsed, checked by
 * what checks the body of a POST, and what its job would keep: the name of
 * its model, in the pool, and the request as JSON text.  NGX_DECLINED when the
 * job may be made, else what an error returned.
 */
ngx_int_t ngx_http_trifecta_openai_prepare(ngx_http_request_t *r,
    ngx_uint_t shape, json_t *root, ngx_str_t *model,
    ngx_http_trifecta_json_t *payload);
ngx_int_t ngx_http_trifecta_openai_prepare_vectors(ngx_http_request_t *r,
    json_t *root, ngx_str_t *model, ngx_http_trifecta_json_t *payload);


/* openai_create.c: reads a body of this shape; for content handlers */
ngx_int_t ngx_http_trifecta_openai_read(ngx_http_request_t *r,
    ngx_http_trifecta_body_pt handler);


/* openai_response.c: the job's id of a response's, or a 404's value. */
ngx_int_t ngx_http_trifecta_openai_own_job(ngx_http_request_t *r,
    ngx_str_t *id, ngx_str_t *job);
ngx_int_t ngx_http_trifecta_openai_no_response(ngx_http_request_t *r);


/* openai_wait.c: the answers of both faces; submit->data waits */

typedef struct ngx_http_trifecta_openai_wait_s
    ngx_http_trifecta_openai_wait_t;

/*
 * Writes what a job that has ended is in this shape.  NGX_DECLINED, or what
 * an error returned: there is no body for a job without an answer.
 */
typedef ngx_int_t (*ngx_http_trifecta_openai_draw_pt)(
    ngx_http_trifecta_openai_job_t *job, ngx_http_trifecta_json_t *j);

ngx_http_trifecta_openai_wait_t *ngx_http_trifecta_openai_wait_create(
    ngx_http_trifecta_submit_t *submit, ngx_http_trifecta_openai_t *o,
    ngx_http_trifecta_openai_draw_pt draw);
ngx_int_t ngx_http_trifecta_openai_accepted(
    ngx_http_trifecta_submit_t *submit, int64_t ms, int64_t position);
ngx_int_t ngx_http_trifecta_openai_before(ngx_http_trifecta_submit_t *submit);


/* openai_object.c */

void ngx_http_trifecta_openai_response(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j);

/* Of what was read; the payload is to be released. */
void ngx_http_trifecta_openai_job(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_openai_job_t *job);

/* The same of a row with the columns of a full reading, and the request. */
void ngx_http_trifecta_openai_row(ngx_http_request_t *r, PGresult *row,
    int at, ngx_str_t *request, ngx_http_trifecta_openai_job_t *job);

/* "name": value, with a comma in front; null when it is not there. */
void ngx_http_trifecta_openai_member(ngx_http_trifecta_json_t *j,
    const char *name, json_t *value, const char *otherwise);
void ngx_http_trifecta_openai_value(ngx_http_trifecta_json_t *j,
    json_t *value);

/* 503 and 410 of a reading that says nothing of the job. */
ngx_int_t ngx_http_trifecta_openai_unknown(ngx_http_trifecta_read_t *read);


/* openai_items.c */

void ngx_http_trifecta_openai_output(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j);
void ngx_http_trifecta_openai_usage(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j);

void ngx_http_trifecta_openai_search(ngx_http_trifecta_openai_job_t *job,
    const char *status, json_t *citations, ngx_http_trifecta_json_t *j);

/*
 * The message; without text it has no content yet.  Those that an attempt
 * left behind have the same id but for a number.
 */
void ngx_http_trifecta_openai_message(ngx_http_trifecta_openai_job_t *job,
    const char *status, ngx_str_t *text, json_t *citations,
    ngx_http_trifecta_json_t *j);
void ngx_http_trifecta_openai_message_id(ngx_http_request_t *r, ngx_uint_t n,
    ngx_http_trifecta_json_t *j);

/* The n-th call of a function that the model asks for. */
void ngx_http_trifecta_openai_call(ngx_http_trifecta_openai_job_t *job,
    json_t *call, ngx_uint_t n, ngx_uint_t done, ngx_http_trifecta_json_t *j);

/* The answer of a job that has one. */
void ngx_http_trifecta_openai_body(ngx_http_trifecta_openai_job_t *job,
    ngx_str_t *text);

/* The content part of a message. */
void ngx_http_trifecta_openai_text(ngx_http_trifecta_json_t *j,
    const u_char *text, size_t len, json_t *citations);

/*
 * Calls a function for each mark of a citation in the text, with its number
 * from 0 and where it stands, in characters; how many there were.
 */
typedef void (*ngx_http_trifecta_openai_annotation_pt)(void *data,
    json_t *citation, ngx_uint_t n, size_t index);

ngx_uint_t ngx_http_trifecta_openai_annotations(json_t *citations,
    const u_char *text, size_t len,
    ngx_http_trifecta_openai_annotation_pt each, void *data);
void ngx_http_trifecta_openai_annotation(ngx_http_trifecta_json_t *j,
    json_t *citation, size_t index);

/* A column that holds JSON, to be released; NULL: it is null. */
json_t *ngx_http_trifecta_openai_column(ngx_http_trifecta_openai_job_t *job,
    int column);

/* The job stopped at the limit of tokens. */
ngx_uint_t ngx_http_trifecta_openai_cut(ngx_http_trifecta_openai_job_t *job);


/* openai_chat.c: the completion, or the error that the job became */
ngx_int_t ngx_http_trifecta_openai_chat(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j);
ngx_int_t ngx_http_trifecta_openai_failed(
    ngx_http_trifecta_openai_job_t *job);
void ngx_http_trifecta_openai_chat_start(ngx_http_trifecta_openai_job_t *job,
    const char *object, ngx_http_trifecta_json_t *j);
void ngx_http_trifecta_openai_chat_calls(json_t *calls,
    ngx_http_trifecta_json_t *j);
const char *ngx_http_trifecta_openai_chat_why(
    ngx_http_trifecta_openai_job_t *job, json_t *calls);
void ngx_http_trifecta_openai_chat_usage(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j);


#endif /* NGX_HTTP_TRIFECTA_OPENAI_H_INCLUDED */
