#include "llm/call.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "llm/provider.h"


tf_llm_call_status_t
tf_llm_call_failed(tf_llm_failure_t *failure, const char *code,
    const char *message, int retryable, int64_t retry_after)
{
    failure->code = code;
    failure->retryable = retryable;
    failure->retry_after = retry_after > 0 ? (long) retry_after : 0;
    failure->waits = 0;
    (void) snprintf(failure->message, sizeof(failure->message), "%s",
                    message);

    return TF_LLM_CALL_FAILED;
}


/* An answer with a status that is no 200. */

static tf_llm_call_status_t
tf_call_refused(const tf_llm_model_t *model, tf_stream_answer_t *answer,
    tf_llm_failure_t *failure)
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
        (void) tf_llm_call_failed(failure, "model_limited", "The model's "
                                  "server takes no more requests at the "
                                  "moment.", 1, answer->retry_after);
        return TF_LLM_CALL_NEXT_KEY;
    }

    if (answer->status == 429 || answer->status == 401
        || answer->status == 402 || answer->status == 403)
    {
        (void) tf_llm_call_failed(failure, "model_refused", "The model's "
                                  "server refuses this installation's key, "
                                  "or its quota is used up.", 0, 0);
        return TF_LLM_CALL_NEXT_KEY;
    }

    if (answer->status == 408 || answer->status == 409
        || answer->status >= 500 || answer->status < 200)
    {
        return tf_llm_call_failed(failure, "model_unavailable", "The model's "
                                  "server is in trouble.", 1,
                                  answer->retry_after);
    }

    return tf_llm_call_failed(failure, "model_rejected", "The model's server "
                              "does not take this request.", 0, 0);
}


static tf_llm_call_status_t
tf_call_once(const tf_llm_call_t *call, const char *url, const char *key,
    tf_llm_failure_t *failure)
{
    tf_stream_call_t       post;
    tf_stream_answer_t     answer;
    tf_stream_result_t     result;
    const tf_llm_model_t  *model;
    tf_llm_call_status_t   rc;

    model = call->model;

    memset(&post, 0, sizeof(post));
    post.url = url;
    post.ca = model->ca;
    post.key = key;
    post.json = call->json;
    post.connect_ms = model->connect_timeout;
    post.first_ms = model->first_token_timeout;
    post.idle_ms = model->idle_timeout;
    post.total_ms = call->total_ms ? call->total_ms : model->total_timeout;
    post.cancel = call->cancel;
    post.data = call->data;
    post.idle = call->idle;
    post.arg = call->arg;

    memset(&answer, 0, sizeof(answer));
    call->begin(call->arg, &answer);

    result = tf_stream_post(model->pool, &post, &answer);

    if (result == TF_STREAM_CANCELLED) {
        rc = TF_LLM_CALL_CANCELLED;

    } else if (result == TF_STREAM_OK && answer.status != 200) {
        rc = tf_call_refused(model, &answer, failure);

    } else if (result == TF_STREAM_OK || result == TF_STREAM_STOPPED) {
        rc = call->end(call->arg, &answer, failure);

    } else {
        tf_log(TF_LOG_WARN, "the server of model %s at %s: %s", model->name,
               model->base_url, answer.err[0] ? answer.err
                                              : "the answer is too long");
        rc = result == TF_STREAM_URL
             ? tf_llm_call_failed(failure, "model_refused", "The model is not "
                                  "set up correctly.", 0, 0)
             : tf_llm_call_failed(failure, "model_unavailable", "The model's "
                                  "server cannot be reached, or did not "
                                  "answer in time.", 1, 0);
    }

    tf_stream_answer_free(&answer);

    return rc;
}


/* Each key at most once, beginning with another one at each attempt. */

static tf_llm_call_status_t
tf_call_keys(const tf_llm_call_t *call, const char *url,
    tf_llm_failure_t *failure)
{
    size_t                 i, first;
    const tf_llm_model_t  *model;
    tf_llm_call_status_t   rc;

    model = call->model;

    if (model->nkeys == 0) {
        return tf_call_once(call, url, NULL, failure);
    }

    first = call->attempt ? (call->attempt - 1) % model->nkeys : 0;
    rc = TF_LLM_CALL_FAILED;

    for (i = 0; i < model->nkeys; i++) {
        if (i > 0 && model->limits != NULL) {
            tf_llm_limits_again(model->limits, tf_clock_ms());
        }

        rc = tf_call_once(call, url, model->keys[(first + i) % model->nkeys],
                          failure);

        if (rc != TF_LLM_CALL_NEXT_KEY) {
            break;
        }
    }

    return rc;
}


/* The model's own limits decide when it is asked. */

static tf_llm_call_status_t
tf_call_limited(const tf_llm_call_t *call, const char *url,
    tf_llm_failure_t *failure)
{
    int64_t                wait, used;
    tf_llm_place_t         place;
    const tf_llm_model_t  *model;
    tf_llm_call_status_t   rc;

    model = call->model;

    if (model->limits == NULL) {
        return tf_call_keys(call, url, failure);
    }

    if (call->idle != NULL) {
        call->idle(call->arg);
    }

    wait = call->total_ms ? call->total_ms : model->total_timeout;
    wait = wait < model->limit_wait ? wait : model->limit_wait;
    wait = tf_llm_limits_enter(model->limits, call->tokens, wait,
                               call->cancel, &place);

    if (wait < 0) {
        return TF_LLM_CALL_CANCELLED;
    }

    if (wait > 0) {
        (void) tf_llm_call_failed(failure, "model_limited", "The model has "
                                  "as many requests as it is allowed to have "
                                  "at the moment.", 1, wait);
        failure->waits = 1;
        return TF_LLM_CALL_FAILED;
    }

    rc = tf_call_keys(call, url, failure);

    /* what failed is taken to have cost a request and nothing else */

    used = rc == TF_LLM_CALL_OK ? call->used(call->arg) : 0;

    if (rc == TF_LLM_CALL_CANCELLED || (rc == TF_LLM_CALL_OK && used <= 0)) {
        used = -1;
    }

    tf_llm_limits_leave(model->limits, &place, used, tf_clock_ms());

    return rc;
}


/* The breaker decides whether it is asked, and learns how it was. */

static tf_llm_call_status_t
tf_call_guarded(const tf_llm_call_t *call, const char *url,
    tf_llm_failure_t *failure)
{
    int64_t                wait;
    const tf_llm_model_t  *model;
    tf_llm_call_status_t   rc;

    model = call->model;
    wait = tf_llm_breaker_ask(model->breaker, tf_clock_ms());

    if (wait > 0) {
        return tf_llm_call_failed(failure, "model_unavailable", "The model's "
                                  "server failed several times and is left "
                                  "alone for a while.", 1, wait);
    }

    rc = tf_call_limited(call, url, failure);

    if (rc == TF_LLM_CALL_OK) {
        tf_llm_breaker_ok(model->breaker);
        return rc;
    }

    if (rc == TF_LLM_CALL_CANCELLED || failure->waits) {
        tf_llm_breaker_void(model->breaker);
        return rc;
    }

    /* a server that refuses a request is well */

    if (strcmp(failure->code, "model_unavailable") != 0) {
        tf_llm_breaker_ok(model->breaker);

    } else if (tf_llm_breaker_fail(model->breaker, tf_clock_ms())) {
        tf_log(TF_LOG_ERROR, "the server of model %s failed too often and is "
               "left alone for a while", model->name);
    }

    return TF_LLM_CALL_FAILED;
}


tf_llm_call_status_t
tf_llm_call(const tf_llm_call_t *call, tf_llm_failure_t *failure)
{
    tf_buf_t              url = TF_BUF_INIT;
    tf_llm_call_status_t  rc;

    tf_buf_puts(&url, call->model->base_url);

    while (url.len > 0 && url.data[url.len - 1] == '/') {
        url.data[--url.len] = '\0';
    }

    tf_buf_puts(&url, call->path);

    if (call->json == NULL || url.failed) {
        rc = tf_llm_call_failed(failure, "internal_error", "Out of memory.",
                                1, 0);

    } else {
        rc = tf_call_guarded(call, url.data, failure);
    }

    tf_buf_free(&url);

    return rc;
}
