#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "llm/provider.h"


const tf_llm_provider_t  tf_llm_providers[] = {

    { "extractive", "quotes the sentences that match best; no model",
      tf_llm_extractive, NULL, 0, 1 },

    { "openai", "a server that speaks OpenAI's chat completions",
      tf_llm_chat, &tf_llm_wire_openai, TF_LLM_HAS_ALL, 0 },

    { "ollama", "an Ollama server", tf_llm_chat, &tf_llm_wire_ollama,
      TF_LLM_HAS_FORMAT|TF_LLM_HAS_TOOLS|TF_LLM_HAS_STOP, 0 },

    { "echo", "answers with the question, to try an installation without a "
      "model", tf_llm_echo, NULL, 0, 0 },

#ifdef TF_TEST_PROVIDER
    { "test", "does what the question says (test builds only)", tf_llm_test,
      NULL, TF_LLM_HAS_ALL, 1 },
#endif

    { NULL, NULL, NULL, NULL, 0, 0 }
};


const tf_llm_provider_t *
tf_llm_provider(const char *name)
{
    const tf_llm_provider_t  *provider;

    for (provider = tf_llm_providers; provider->name != NULL; provider++) {
        if (strcmp(provider->name, name) == 0) {
            return provider;
        }
    }

    return NULL;
}


void
tf_llm_reply_free(tf_llm_reply_t *reply)
{
    tf_buf_free(&reply->body);
    tf_buf_free(&reply->tool_calls);
}


int
tf_llm_give(const tf_llm_request_t *request, const char *data, size_t len)
{
    if (request->sink == NULL || len == 0) {
        return 0;
    }

    return request->sink->text(request->sink->arg, data, len);
}


void
tf_llm_flush(const tf_llm_request_t *request)
{
    if (request->sink != NULL) {
        request->sink->flush(request->sink->arg);
    }
}


tf_llm_status_t
tf_llm_not_given(tf_llm_reply_t *reply)
{
    reply->code = "internal_error";
    reply->retryable = 1;
    (void) snprintf(reply->message, sizeof(reply->message),
                    "The answer could not be passed on as it came.");

    return TF_LLM_FAILED;
}


/* What the request asks for that the model has not, or NULL. */

static const char *
tf_llm_lacks(const tf_llm_model_t *model, const tf_llm_request_t *request)
{
    if (request->after != NULL && !(model->by->has & TF_LLM_HAS_TOOLS)) {
        return "results of tools";
    }

    return request->options == NULL
           ? NULL : tf_llm_options_lack(request->options, model->by->has);
}


/* The next of its chain that has what is asked for. */

static const tf_llm_model_t *
tf_llm_next(const tf_llm_model_t *model, const tf_llm_request_t *request)
{
    do {
        model = model->next;
    } while (model != NULL && tf_llm_lacks(model, request) != NULL);

    return model;
}


tf_llm_status_t
tf_llm_answer(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    const char            *lacks;
    tf_llm_status_t        rc;
    const tf_llm_model_t  *next;

    lacks = tf_llm_lacks(model, request);

    if (lacks != NULL) {
        reply->model = model;
        reply->code = "model_rejected";
        (void) snprintf(reply->message, sizeof(reply->message),
                        "The model %s does not have %s: ask another model, "
                        "or leave that out.", model->name, lacks);
        return TF_LLM_FAILED;
    }

    for ( ;; ) {
        reply->model = model;

        rc = model->by->answer(model, request, reply);

        if (rc != TF_LLM_FAILED) {
            return rc;
        }

        next = tf_llm_next(model, request);
        if (next == NULL) {
            return rc;
        }

        tf_log(TF_LOG_WARN, "the model %s could not answer (%s), %s is asked",
               model->name, reply->message, next->name);

        /* nothing of a half answer stays */

        tf_llm_reply_free(reply);
        memset(reply, 0, sizeof(tf_llm_reply_t));

        if (request->sink != NULL
            && request->sink->reset(request->sink->arg) != 0)
        {
            reply->model = model;
            return tf_llm_not_given(reply);
        }

        model = next;
    }
}
