#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "llm/call.h"
#include "llm/prompt.h"
#include "llm/provider.h"


/*
 * A model behind a server: the prompt goes out, the answer is read as it
 * comes, and handed on as it comes, too, as soon as it cannot be what a model
 * says that has found nothing.
 */

#define TF_CHAT_NOT_FOUND_MAX  (3 * (sizeof(TF_PROMPT_NOT_FOUND) - 1))

typedef struct {
    const tf_llm_model_t    *model;
    const tf_llm_wire_t     *wire;
    const tf_llm_request_t  *request;
    int                      found;     /* it may say that it found nothing */
    size_t                   given;     /* bytes of the text that were */
    int                      stuck;     /* nobody takes it */
    const tf_stream_answer_t *answer;   /* while it comes */
    tf_llm_reading_t         reading;   /* of this try */
    tf_sse_t                 sse;
    tf_buf_t                 whole;     /* of an answer that is no stream */
    int                      streams;   /* -1: not known yet */
} tf_chat_t;


/*
 * "NOT FOUND", maybe with a full stop or in quotes, or (not *ends) what may
 * still become that.
 */

static int
tf_chat_not_found(const tf_buf_t *text, int ends)
{
    size_t       i, n, len;
    const char  *p;

    len = sizeof(TF_PROMPT_NOT_FOUND) - 1;
    p = text->data;

    if (text->len >= TF_CHAT_NOT_FOUND_MAX) {
        return 0;
    }

    for (i = 0; i < text->len && strchr(" \t\r\n\"'*.", p[i]) != NULL; i++) {
        /* void */
    }

    n = text->len - i;

    if (n < len && ends) {
        return 0;
    }

    return strncasecmp(p + i, TF_PROMPT_NOT_FOUND, n < len ? n : len) == 0;
}


/* Hands on what came; 0, or -1 when it is not taken. */

static int
tf_chat_give(tf_chat_t *chat, int ends)
{
    size_t           from;
    const tf_buf_t  *text;

    text = &chat->reading.text;
    from = chat->given;

    if (chat->request->sink == NULL || text->len == from || text->failed
        || (from == 0 && chat->found && tf_chat_not_found(text, ends)))
    {
        return 0;
    }

    chat->given = text->len;
    chat->stuck = tf_llm_give(chat->request, text->data + from,
                              text->len - from);

    return chat->stuck;
}


static void
tf_chat_idle(void *arg)
{
    tf_chat_t  *chat = arg;

    tf_llm_flush(chat->request);
}


static int
tf_chat_event(void *arg, const char *event, const char *data, size_t len)
{
    int         rc;
    tf_chat_t  *chat = arg;

    (void) event;

    rc = chat->wire->read(&chat->reading, data, len);

    return rc == 0 ? tf_chat_give(chat, 0) : rc;
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


/* It stopped because it had no more tokens. */

static int
tf_chat_cut(const tf_llm_reading_t *reading)
{
    return strcmp(reading->finish, "length") == 0;
}


/* Whether tools are called, each of them one that was offered. */

static int
tf_chat_offered(const tf_chat_t *chat)
{
    size_t         i, k, n;
    const char    *name, *had;
    const json_t  *tools, *calls;

    tools = chat->request->options ? chat->request->options->tools : NULL;
    calls = chat->reading.tools;

    for (i = 0; i < json_array_size(calls); i++) {
        name = json_string_value(json_object_get(json_array_get(calls, i),
                                                 "name"));
        n = json_array_size(tools);

        for (k = 0; k < n; k++) {
            had = json_string_value(json_object_get(json_object_get(
                      json_array_get(tools, k), "function"), "name"));

            if (name != NULL && had != NULL && strcmp(name, had) == 0) {
                break;
            }
        }

        if (k == n) {
            return 0;
        }
    }

    return i > 0;
}


/* A call needs an id, which a result refers to; an Ollama gives none. */

static void
tf_chat_name(json_t *call)
{
    char  word[TF_PROMPT_WORD_LEN + 1];

    if (json_string_length(json_object_get(call, "id")) == 0
        && tf_llm_prompt_word(word) == 0)
    {
        (void) json_object_set_new(call, "id", json_sprintf("call_%s", word));
    }
}


/* Moves what was read into the reply. */

static void
tf_chat_take(tf_chat_t *chat, tf_llm_reply_t *reply)
{
    char    *tools;
    size_t   i;
    json_t  *call;

    reply->generated = 1;
    reply->input_tokens = chat->reading.input_tokens;
    reply->output_tokens = chat->reading.output_tokens;
    reply->incomplete = tf_chat_cut(&chat->reading);
    reply->body = chat->reading.text;
    memset(&chat->reading.text, 0, sizeof(tf_buf_t));

    if (tf_chat_offered(chat)) {
        json_array_foreach(chat->reading.tools, i, call) {
            tf_chat_name(call);
        }

        tools = json_dumps(chat->reading.tools, JSON_COMPACT);
        if (tools != NULL) {
            tf_buf_puts(&reply->tool_calls, tools);
        }
        free(tools);
    }
}


static void
tf_chat_forget(tf_chat_t *chat)
{
    tf_llm_reading_free(&chat->reading);
    tf_sse_free(&chat->sse);
    tf_buf_free(&chat->whole);
}


static void
tf_chat_begin(void *arg, const tf_stream_answer_t *answer)
{
    tf_chat_t  *chat = arg;

    tf_chat_forget(chat);
    memset(&chat->reading, 0, sizeof(tf_llm_reading_t));

    if (chat->given > 0) {
        chat->given = 0;
        chat->stuck |= chat->request->sink->reset(chat->request->sink->arg);
    }

    chat->answer = answer;
    chat->streams = -1;
    tf_sse_init(&chat->sse, chat->wire->kind, tf_chat_event, chat);
}


/* A 200 whose body has ended, or was given up. */

static tf_llm_call_status_t
tf_chat_end(void *arg, const tf_stream_answer_t *answer,
    tf_llm_failure_t *failure)
{
    tf_chat_t         *chat = arg;
    const char        *why;
    tf_llm_reading_t  *reading;

    reading = &chat->reading;

    if (chat->streams == 1) {
        (void) tf_sse_end(&chat->sse);

    } else if (chat->streams == 0 && !reading->broken) {
        (void) chat->wire->read(reading, chat->whole.data, chat->whole.len);
    }

    if (chat->stuck) {
        return tf_llm_call_failed(failure, "internal_error", "The answer "
                                  "could not be passed on as it came.", 1, 0);
    }

    why = NULL;

    if (reading->failed) {
        why = "an error in its answer";

    } else if (reading->broken) {
        why = "what is no answer";

    } else if (reading->text.failed || chat->sse.line.failed) {
        return tf_llm_call_failed(failure, "internal_error",
                                  "Out of memory.", 1, 0);

    } else if (!reading->ended) {
        why = "an answer that broke off";

    } else if (reading->text.len == 0 && !tf_chat_cut(reading)
               && !tf_chat_offered(chat))
    {
        why = "an empty answer";
    }

    if (why != NULL) {
        tf_log(TF_LOG_WARN, "the server of model %s sent %s (%s)%s%s%s%s",
               chat->model->name, why,
               answer->type[0] ? answer->type : "no type",
               reading->code[0] ? " " : "", reading->code,
               reading->message[0] ? ": " : "", reading->message);

        return tf_llm_call_failed(failure, "model_unavailable",
                                  "The model's server gave no whole answer.",
                                  1, 0);
    }

    if (strcmp(reading->finish, "content_filter") == 0) {
        return tf_llm_call_failed(failure, "model_rejected", "The model's "
                                  "server does not answer this question.", 0,
                                  0);
    }

    /* what was held back, and all of an answer that is no stream */

    if (tf_chat_give(chat, 1) != 0) {
        return tf_llm_call_failed(failure, "internal_error", "The answer "
                                  "could not be passed on as it came.", 1, 0);
    }

    return TF_LLM_CALL_OK;
}


static int64_t
tf_chat_used(void *arg)
{
    const tf_chat_t  *chat = arg;

    return chat->reading.input_tokens + chat->reading.output_tokens;
}


static tf_llm_status_t
tf_chat_failed(tf_llm_reply_t *reply, const tf_llm_failure_t *failure)
{
    reply->code = failure->code;
    reply->retryable = failure->retryable;
    reply->retry_after = failure->retry_after;
    reply->waits = failure->waits;
    memcpy(reply->message, failure->message, sizeof(reply->message));

    return TF_LLM_FAILED;
}


/*
 * found: the model was told to say when the passages have no answer.
 */

static tf_llm_status_t
tf_chat_call(const tf_llm_model_t *model, const char *json,
    const tf_llm_request_t *request, int found, tf_llm_reply_t *reply)
{
    tf_chat_t             chat;
    tf_llm_call_t         call;
    tf_llm_status_t       rc;
    tf_llm_failure_t      failure;

    memset(&failure, 0, sizeof(failure));

    memset(&chat, 0, sizeof(chat));
    chat.model = model;
    chat.wire = model->by->wire;
    chat.request = request;
    chat.found = found;

    memset(&call, 0, sizeof(call));
    call.model = model;
    call.path = chat.wire->path;
    call.json = json;
    call.attempt = request->attempt;
    call.cancel = request->cancel;
    call.arg = &chat;
    call.begin = tf_chat_begin;
    call.data = tf_chat_data;
    call.idle = tf_chat_idle;
    call.end = tf_chat_end;
    call.used = tf_chat_used;
    call.tokens = (json ? strlen(json) / TF_PROMPT_TOKEN_BYTES : 0)
                  + model->max_output;

    switch (tf_llm_call(&call, &failure)) {

    case TF_LLM_CALL_OK:
        tf_chat_take(&chat, reply);
        rc = TF_LLM_OK;
        break;

    case TF_LLM_CALL_CANCELLED:
        rc = TF_LLM_CANCELLED;
        break;

    default:
        rc = tf_chat_failed(reply, &failure);
        break;
    }

    tf_chat_forget(&chat);

    return rc;
}


tf_llm_status_t
tf_llm_chat(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    int                      too_long;
    char                    *json;
    size_t                   npassages;
    json_t                  *messages, *body;
    tf_llm_model_t           tuned;
    tf_llm_status_t          rc;
    tf_llm_failure_t         failure;
    tf_llm_options_t         none;
    const tf_llm_options_t  *options;

    memset(&none, 0, sizeof(none));
    options = request->options ? request->options : &none;

    /* a tool may know what no document says, and JSON was promised */

    if (model->retrieval && request->npassages == 0 && options->tools == NULL
        && options->format == NULL && request->after == NULL)
    {
        tf_llm_abstain(request, reply);
        return TF_LLM_OK;
    }

    tuned = *model;

    if (options->max_output > 0 && options->max_output < tuned.max_output) {
        tuned.max_output = options->max_output;
    }

    model = &tuned;
    npassages = 0;
    too_long = 0;

    messages = request->messages != NULL
               ? json_incref(request->messages)
               : tf_llm_prompt(model, request, &npassages, &too_long);

    if (too_long) {
        (void) tf_llm_call_failed(&failure, "model_rejected", "The question "
                                  "and what stands with it, its instructions "
                                  "for example, are longer than the model can "
                                  "take.", 0, 0);
        return tf_chat_failed(reply, &failure);
    }

    body = messages ? model->by->wire->request(model, messages, options)
                    : NULL;
    json = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(messages);
    json_decref(body);

    rc = tf_chat_call(model, json, request, npassages > 0, reply);

    if (rc == TF_LLM_OK && npassages > 0 && reply->tool_calls.len == 0
        && tf_chat_not_found(&reply->body, 1))
    {
        tf_buf_reset(&reply->body);
        reply->generated = 0;
        tf_llm_abstain(request, reply);
    }

    free(json);

    return rc;
}
