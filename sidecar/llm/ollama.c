#include <string.h>

#include "llm/after.h"
#include "llm/models.h"
#include "llm/wire.h"


/*
 * Ollama's chat (POST /api/chat): lines of JSON, the last of which has
 * "done": true.  Arguments of tools are objects, and an error can come as a
 * line after a status of 200.
 * https://github.com/ollama/ollama/blob/main/docs/api.md
 *
 * Without num_ctx the server cuts a prompt at its own, often small, default
 * and says nothing.
 */


static json_t *
tf_ollama_request(const tf_llm_model_t *model, json_t *messages,
    const tf_llm_options_t *options)
{
    json_t  *request, *more;

    request = json_pack("{s:s, s:o, s:b, s:{s:I, s:I}}",
                        "model", model->upstream[0] ? model->upstream
                                                    : model->name,
                        "messages", tf_llm_after_objects(messages),
                        "stream", 1, "options",
                        "num_ctx", (json_int_t) model->context,
                        "num_predict", (json_int_t) model->max_output);

    more = json_object_get(request, "options");
    tf_llm_options_number(more, "temperature", options->temperature,
                          model->temperature);
    tf_llm_options_number(more, "top_p", options->top_p, "");
    tf_llm_options_put(more, "seed", options->seed);
    tf_llm_options_put(more, "frequency_penalty", options->frequency);
    tf_llm_options_put(more, "presence_penalty", options->presence);

    if (json_is_string(options->stop)) {
        (void) json_object_set_new(more, "stop",
                                   json_pack("[O]", options->stop));

    } else {
        tf_llm_options_put(more, "stop", options->stop);
    }

    if (tf_llm_options_format(options, "json_schema")) {
        (void) json_object_set(request, "format",
                               json_object_get(options->format, "schema"));

    } else if (options->format != NULL) {
        (void) json_object_set_new(request, "format", json_string("json"));
    }

    tf_llm_options_put(request, "tools", options->tools);

    return request;
}


static int
tf_ollama_read(tf_llm_reading_t *reading, const char *data, size_t len)
{
    size_t   i;
    json_t  *root, *message, *call, *error;

    root = json_loadb(data, len, 0, NULL);

    if (!json_is_object(root)) {
        reading->broken = 1;
        goto done;
    }

    error = json_object_get(root, "error");

    if (error != NULL) {
        tf_llm_read_error(reading, error);
        goto done;
    }

    message = json_object_get(root, "message");
    tf_llm_read_text(reading, json_object_get(message, "content"));

    json_array_foreach(json_object_get(message, "tool_calls"), i, call) {
        tf_llm_read_tool(reading, reading->tools
                                  ? json_array_size(reading->tools) : 0,
                         json_object_get(call, "id"),
                         json_object_get(call, "function"));
    }

    if (json_is_true(json_object_get(root, "done"))) {
        tf_llm_read_finish(reading, json_object_get(root, "done_reason"));
        tf_llm_read_tokens(&reading->input_tokens,
                           json_object_get(root, "prompt_eval_count"));
        tf_llm_read_tokens(&reading->output_tokens,
                           json_object_get(root, "eval_count"));
        reading->ended = 1;
    }

done:

    json_decref(root);

    return reading->broken || reading->failed || reading->text.failed;
}


/* POST /api/embed: the vectors stand in the order of the texts. */

static json_t *
tf_ollama_embed(const tf_llm_model_t *model, json_t *texts)
{
    json_t  *request;

    request = json_pack("{s:s, s:O, s:b, s:{s:I}}",
                        "model", model->upstream[0] ? model->upstream
                                                    : model->name,
                        "input", texts, "truncate", 1,
                        "options", "num_ctx", (json_int_t) model->context);

    if (request != NULL && model->shorten) {
        (void) json_object_set_new(request, "dimensions",
                                   json_integer((json_int_t)
                                                model->dimensions));
    }

    return request;
}


static void
tf_ollama_embedded(tf_llm_numbers_t *numbers, const json_t *root)
{
    size_t         i;
    const json_t  *list;

    list = json_object_get(root, "embeddings");

    if (!json_is_array(list)) {
        numbers->broken = "no array \"embeddings\"";
        return;
    }

    tf_llm_read_tokens(&numbers->tokens,
                       json_object_get(root, "prompt_eval_count"));

    for (i = 0; i < json_array_size(list) && numbers->broken == NULL; i++) {
        tf_llm_read_row(numbers, i, json_array_get(list, i));
    }
}


const tf_llm_wire_t  tf_llm_wire_ollama = {
    "/api/chat", TF_SSE_LINES, tf_ollama_request, tf_ollama_read,
    "/api/embed", tf_ollama_embed, tf_ollama_embedded,
    NULL, NULL, NULL
};
