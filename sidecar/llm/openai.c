#include <stdlib.h>
#include <string.h>

#include "llm/models.h"
#include "llm/wire.h"


/*
 * OpenAI's chat completions (POST /chat/completions), as its own server and
 * the many compatible ones speak them: events whose data is a chunk, ended by
 * "[DONE]"; or one object, where a server does not stream.
 * https://platform.openai.com/docs/api-reference/chat
 */


static json_t *
tf_openai_request(const tf_llm_model_t *model, json_t *messages)
{
    json_t  *request;

    request = json_pack("{s:s, s:O, s:b, s:{s:b}, s:I}",
                        "model", model->upstream[0] ? model->upstream
                                                    : model->name,
                        "messages", messages, "stream", 1,
                        "stream_options", "include_usage", 1,
                        model->output_field,
                        (json_int_t) model->max_output);

    if (request != NULL && model->temperature[0]) {
        (void) json_object_set_new(request, "temperature",
                                   json_real(strtod(model->temperature,
                                                    NULL)));
    }

    return request;
}


static void
tf_openai_message(tf_llm_reading_t *reading, const json_t *message)
{
    size_t   i, index;
    json_t  *calls, *call;

    if (!json_is_object(message)) {
        return;
    }

    tf_llm_read_text(reading, json_object_get(message, "content"));

    calls = json_object_get(message, "tool_calls");

    json_array_foreach(calls, i, call) {
        index = json_is_integer(json_object_get(call, "index"))
                ? (size_t) json_integer_value(json_object_get(call, "index"))
                : i;
        tf_llm_read_tool(reading, index, json_object_get(call, "id"),
                         json_object_get(call, "function"));
    }
}


static int
tf_openai_read(tf_llm_reading_t *reading, const char *data, size_t len)
{
    json_t  *root, *choice, *usage, *error;

    if (len >= 6 && memcmp(data, "[DONE]", 6) == 0) {
        reading->ended = 1;
        return 0;
    }

    root = json_loadb(data, len, 0, NULL);

    if (!json_is_object(root)) {
        reading->broken = 1;
        goto done;
    }

    error = json_object_get(root, "error");

    if (error != NULL && !json_is_null(error)) {
        tf_llm_read_error(reading, error);
        goto done;
    }

    usage = json_object_get(root, "usage");

    if (json_is_object(usage)) {
        tf_llm_read_tokens(&reading->input_tokens,
                           json_object_get(usage, "prompt_tokens"));
        tf_llm_read_tokens(&reading->output_tokens,
                           json_object_get(usage, "completion_tokens"));
    }

    /* only the first one was asked for; the last chunk has none */

    choice = json_array_get(json_object_get(root, "choices"), 0);

    if (json_is_object(choice)) {
        tf_openai_message(reading, json_object_get(choice, "delta"));
        tf_openai_message(reading, json_object_get(choice, "message"));
        tf_llm_read_finish(reading, json_object_get(choice,
                                                    "finish_reason"));
    }

done:

    json_decref(root);

    return reading->broken || reading->failed || reading->text.failed;
}


const tf_llm_wire_t  tf_llm_wire_openai = {
    "/chat/completions", TF_SSE_EVENTS, tf_openai_request, tf_openai_read
};
