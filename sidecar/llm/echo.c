#include "llm/provider.h"


/*
 * The answer is the question, as it was asked: a model that costs nothing and
 * waits for nobody.  It goes the way of every generated text, so what an
 * installation does beside the model, from the token to the stored result, can
 * be tried and measured without one.
 */

tf_llm_status_t
tf_llm_echo(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    (void) model;

    tf_buf_puts(&reply->body, request->question);
    reply->generated = 1;

    if (tf_llm_give(request, reply->body.data, reply->body.len) != 0) {
        return tf_llm_not_given(reply);
    }

    return TF_LLM_OK;
}
