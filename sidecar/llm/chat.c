#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "llm/prompt.h"
#include "llm/provider.h"


/*
 * A model behind a server: the prompt goes out, the answer is read as it
 * comes.
 *
 * What a failure means to the job:
 *   the server is away, slow, busy, or its answer is broken
 *                          model_unavailable, later again
 *   429                    model_limited, not before its Retry-After
 *   a quota is used up, no key is accepted
 *                          model_refused; the operator must act
 *   it does not take this request
 *                          model_rejected; so it will the next time
 * A client learns no more than that: what the server said goes to the log.
 * With several keys a refused or limited one is followed by the next.
 */

typedef struct {
    const tf_llm_wire_t     *wire;
    const tf_stream_answer_t *answer;   /* while it comes */
    tf_llm_reading_t         reading;
    tf_sse_t                 sse;
    tf_buf_t                 whole;     /* of an answer that is no stream */
    int                      streams;   /* -1: not known yet */
} tf_chat_t;

typedef enum {
    TF_CHAT_OK,
    TF_CHAT_CANCELLED,
    TF_CHAT_NEXT_KEY,       /* this one is refused, or has no more */
    TF_CHAT_FAILED
} tf_chat_status_t;


static int
tf_chat_event(void *arg, const char *event, const char *data, size_t len)
{
    tf_chat_t  *chat = arg;

    (void) event;

    return chat->wire->read(&chat->reading, data, len);
}


/* A server that was asked for a stream may answer with one object. */

static int
tf_chat_data(void *arg, const char *data, size_t len)
{
    int         rc;
    tf_chat_t  *chat = arg;

    if (chat->streams == -1) {
        chat->streams = strcmp(chat->answer->type, "application/json") != 0
                        || chat->wire->kind == TF_SSE_LINES;
    }

    if (!chat->streams) {
        if (chat->whole.len + len > 4 * TF_LLM_TEXT_MAX) {
            chat->reading.broken = 1;
            return 1;
        }

        tf_buf_append(&chat->whole, data, len);
        return chat->whole.failed;
    }

    rc = tf_sse_feed(&chat->sse, data, len);

    if (rc == TF_SSE_TOO_LONG) {
        chat->reading.broken = 1;
    }

    return rc;
}


static tf_chat_status_t
tf_chat_failed(tf_llm_reply_t *reply, const char *code, const char *message,
    int retryable, int64_t retry_after)
{
    reply->code = code;
    reply->retryable = retryable;
    reply->retry_after = retry_after > 0 ? (long) retry_after : 0;
    (void) snprintf(reply->message, sizeof(reply->message), "%s", message);

    return TF_CHAT_FAILED;
}


/* An answer with a status that is no 200. */

static tf_chat_status_t
tf_chat_refused(const tf_llm_model_t *model, tf_stream_answer_t *answer,
    tf_llm_reply_t *reply)
{
    json_t           *root;
    const json_t     *error;
    tf_llm_reading_t  said;

    memset(&said, 0, sizeof(said));

    root = answer->body.len
           ? json_loadb(answer->body.data, answer->body.len, 0, NULL) : NULL;
    error = json_object_get(root, "error");

    if (error != NULL) {
        tf_llm_read_error(&said, error);

    } else if (answer->body.len) {
        tf_llm_printable(said.message, sizeof(said.message),
                         answer->body.data, answer->body.len);
    }

    json_decref(root);

    tf_log(TF_LOG_WARN, "the server of model %s answered %ld%s%s%s%s",
           model->name, answer->status, said.code[0] ? " " : "", said.code,
           said.message[0] ? ": " : "", said.message);

    if (answer->status == 429 && strcmp(said.code, "insufficient_quota") != 0)
    {
        (void) tf_chat_failed(reply, "model_limited", "The model's server "
                              "takes no more requests at the moment.", 1,
                              answer->retry_after);
        return TF_CHAT_NEXT_KEY;
    }

    if (answer->status == 429 || answer->status == 401
        || answer->status == 402 || answer->status == 403)
    {
        (void) tf_chat_failed(reply, "model_refused", "The model's server "
                              "refuses this installation's key, or its quota "
                              "is used up.", 0, 0);
        return TF_CHAT_NEXT_KEY;
    }

    if (answer->status == 408 || answer->status == 409
        || answer->status >= 500 || answer->status < 200)
    {
        return tf_chat_failed(reply, "model_unavailable", "The model's "
                              "server is in trouble.", 1,
                              answer->retry_after);
    }

    return tf_chat_failed(reply, "model_rejected", "The model's server does "
                          "not take this request.", 0, 0);
}


/* A 200 whose body has ended, or was given up. */

static tf_chat_status_t
tf_chat_read(const tf_llm_model_t *model, tf_chat_t *chat,
    tf_stream_answer_t *answer, tf_llm_reply_t *reply)
{
    const char        *why;
    tf_llm_reading_t  *reading;

    reading = &chat->reading;

    if (chat->streams == 1) {
        (void) tf_sse_end(&chat->sse);

    } else if (chat->streams == 0 && !reading->broken) {
        (void) chat->wire->read(reading, chat->whole.data, chat->whole.len);
    }

    why = NULL;

    if (reading->failed) {
        why = "an error in its answer";

    } else if (reading->broken) {
        why = "what is no answer";

    } else if (reading->text.failed || chat->sse.line.failed) {
        return tf_chat_failed(reply, "internal_error", "Out of memory.", 1, 0);

    } else if (!reading->ended) {
        why = "an answer that broke off";

    } else if (reading->text.len == 0 && reading->tools == NULL) {
        why = "an empty answer";
    }

    if (why != NULL) {
        tf_log(TF_LOG_WARN, "the server of model %s sent %s (%s)%s%s%s%s",
               model->name, why, answer->type[0] ? answer->type : "no type",
               reading->code[0] ? " " : "", reading->code,
               reading->message[0] ? ": " : "", reading->message);

        return tf_chat_failed(reply, "model_unavailable",
                              "The model's server gave no whole answer.", 1,
                              0);
    }

    if (strcmp(reading->finish, "content_filter") == 0) {
        return tf_chat_failed(reply, "model_rejected", "The model's server "
                              "does not answer this question.", 0, 0);
    }

    return TF_CHAT_OK;
}


/* Moves what was read into the reply. */

static tf_chat_status_t
tf_chat_take(tf_chat_t *chat, tf_llm_reply_t *reply)
{
    char  *tools;

    reply->generated = 1;
    reply->input_tokens = chat->reading.input_tokens;
    reply->output_tokens = chat->reading.output_tokens;
    reply->body = chat->reading.text;
    memset(&chat->reading.text, 0, sizeof(tf_buf_t));

    if (chat->reading.tools != NULL) {
        tools = json_dumps(chat->reading.tools, JSON_COMPACT);
        if (tools != NULL) {
            tf_buf_puts(&reply->tool_calls, tools);
        }
        free(tools);
    }

    return TF_CHAT_OK;
}


static tf_chat_status_t
tf_chat_call(const tf_llm_model_t *model, const char *url, const char *json,
    const char *key, const tf_llm_request_t *request, tf_llm_reply_t *reply)
{
    tf_chat_t            chat;
    tf_stream_call_t     call;
    tf_chat_status_t     rc;
    tf_stream_answer_t   answer;
    tf_stream_result_t   result;

    memset(&chat, 0, sizeof(chat));
    chat.wire = model->by->wire;
    chat.answer = &answer;
    chat.streams = -1;
    tf_sse_init(&chat.sse, chat.wire->kind, tf_chat_event, &chat);

    memset(&call, 0, sizeof(call));
    call.url = url;
    call.ca = model->ca;
    call.key = key;
    call.json = json;
    call.connect_ms = model->connect_timeout;
    call.first_ms = model->first_token_timeout;
    call.idle_ms = model->idle_timeout;
    call.total_ms = model->total_timeout;
    call.cancel = request->cancel;
    call.data = tf_chat_data;
    call.arg = &chat;

    result = tf_stream_post(model->pool, &call, &answer);

    if (result == TF_STREAM_CANCELLED) {
        rc = TF_CHAT_CANCELLED;

    } else if (result == TF_STREAM_OK && answer.status != 200) {
        rc = tf_chat_refused(model, &answer, reply);

    } else if (result == TF_STREAM_OK || result == TF_STREAM_STOPPED) {
        rc = tf_chat_read(model, &chat, &answer, reply);

    } else {
        tf_log(TF_LOG_WARN, "the server of model %s at %s: %s", model->name,
               model->base_url, answer.err[0] ? answer.err
                                              : "the answer is too long");
        rc = result == TF_STREAM_URL
             ? tf_chat_failed(reply, "model_refused", "The model is not set "
                              "up correctly.", 0, 0)
             : tf_chat_failed(reply, "model_unavailable", "The model's server "
                              "cannot be reached, or did not answer in time.",
                              1, 0);
    }

    if (rc == TF_CHAT_OK) {
        rc = tf_chat_take(&chat, reply);
    }

    tf_stream_answer_free(&answer);
    tf_llm_reading_free(&chat.reading);
    tf_sse_free(&chat.sse);
    tf_buf_free(&chat.whole);

    return rc;
}


/* Each key at most once, beginning with another one at each attempt. */

static tf_chat_status_t
tf_chat_keys(const tf_llm_model_t *model, const char *url, const char *json,
    const tf_llm_request_t *request, tf_llm_reply_t *reply)
{
    size_t            i, first;
    tf_chat_status_t  rc;

    if (model->nkeys == 0) {
        return tf_chat_call(model, url, json, NULL, request, reply);
    }

    first = request->attempt ? (request->attempt - 1) % model->nkeys : 0;
    rc = TF_CHAT_FAILED;

    for (i = 0; i < model->nkeys; i++) {
        rc = tf_chat_call(model, url, json,
                          model->keys[(first + i) % model->nkeys], request,
                          reply);

        if (rc != TF_CHAT_NEXT_KEY) {
            break;
        }
    }

    return rc;
}


static tf_llm_status_t
tf_chat_guarded(const tf_llm_model_t *model, const char *url,
    const char *json, const tf_llm_request_t *request, tf_llm_reply_t *reply)
{
    int64_t           wait;
    tf_chat_status_t  rc;

    wait = tf_llm_breaker_ask(model->breaker, tf_clock_ms());

    if (wait > 0) {
        (void) tf_chat_failed(reply, "model_unavailable", "The model's server "
                              "failed several times and is left alone for a "
                              "while.", 1, wait);
        return TF_LLM_FAILED;
    }

    rc = tf_chat_keys(model, url, json, request, reply);

    if (rc == TF_CHAT_OK) {
        tf_llm_breaker_ok(model->breaker);
        return TF_LLM_OK;
    }

    if (rc == TF_CHAT_CANCELLED) {
        tf_llm_breaker_void(model->breaker);
        return TF_LLM_CANCELLED;
    }

    /* a server that refuses a request is well */

    if (strcmp(reply->code, "model_unavailable") != 0) {
        tf_llm_breaker_ok(model->breaker);

    } else if (tf_llm_breaker_fail(model->breaker, tf_clock_ms())) {
        tf_log(TF_LOG_ERROR, "the server of model %s failed too often and is "
               "left alone for a while", model->name);
    }

    return TF_LLM_FAILED;
}


/* "NOT FOUND", maybe with a full stop or in quotes. */

static int
tf_chat_not_found(const tf_buf_t *body)
{
    size_t       i, len;
    const char  *p;

    len = sizeof(TF_PROMPT_NOT_FOUND) - 1;
    p = body->data;

    for (i = 0; i < body->len && strchr(" \t\r\n\"'*.", p[i]) != NULL; i++) {
        /* void */
    }

    return body->len - i >= len && body->len < 3 * len
           && strncasecmp(p + i, TF_PROMPT_NOT_FOUND, len) == 0;
}


tf_llm_status_t
tf_llm_chat(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    int                too_long;
    char              *json;
    size_t             npassages;
    json_t            *messages, *body;
    tf_buf_t           url = TF_BUF_INIT;
    tf_llm_status_t    rc;

    if (model->retrieval && request->npassages == 0) {
        tf_llm_abstain(request, reply);
        return TF_LLM_OK;
    }

    messages = tf_llm_prompt(model, request, &npassages, &too_long);

    if (too_long) {
        (void) tf_chat_failed(reply, "model_rejected", "The question is "
                              "longer than the model can take.", 0, 0);
        return TF_LLM_FAILED;
    }

    body = messages ? model->by->wire->request(model, messages) : NULL;
    json = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(messages);
    json_decref(body);

    tf_buf_puts(&url, model->base_url);

    while (url.len > 0 && url.data[url.len - 1] == '/') {
        url.data[--url.len] = '\0';
    }

    tf_buf_puts(&url, model->by->wire->path);

    if (json == NULL || url.failed) {
        (void) tf_chat_failed(reply, "internal_error", "Out of memory.", 1, 0);
        rc = TF_LLM_FAILED;

    } else {
        rc = tf_chat_guarded(model, url.data, json, request, reply);
    }

    if (rc == TF_LLM_OK && npassages > 0 && tf_chat_not_found(&reply->body)) {
        tf_buf_reset(&reply->body);
        reply->generated = 0;
        tf_llm_abstain(request, reply);
    }

    free(json);
    tf_buf_free(&url);

    return rc;
}
