#include <math.h>
#include <string.h>

#include "llm/models.h"
#include "llm/wire.h"


/*
 * OpenAI's chat completions (POST /chat/completions), as its own server and
 * the many compatible ones speak them: events whose data is a chunk, ended by
 * "[DONE]"; or one object, where a server does not stream.
 * https://platform.openai.com/docs/api-reference/chat
 */


/* The form of the answer, as a chat completion says it. */

static json_t *
tf_openai_format(const tf_llm_options_t *options)
{
    json_t  *schema;

    if (!tf_llm_options_format(options, "json_schema")) {
        return json_deep_copy(options->format);
    }

    schema = json_copy((json_t *) options->format);
    (void) json_object_del(schema, "type");

    return json_pack("{s:s, s:o}", "type", "json_schema", "json_schema",
                     schema);
}


static json_t *
tf_openai_request(const tf_llm_model_t *model, json_t *messages,
    const tf_llm_options_t *options)
{
    json_t  *request;

    request = json_pack("{s:s, s:O, s:b, s:{s:b}, s:I}",
                        "model", model->upstream[0] ? model->upstream
                                                    : model->name,
                        "messages", messages, "stream", 1,
                        "stream_options", "include_usage", 1,
                        model->output_field,
                        (json_int_t) model->max_output);

    tf_llm_options_number(request, "temperature", options->temperature,
                          model->temperature);
    tf_llm_options_number(request, "top_p", options->top_p, "");

    if (options->format != NULL) {
        (void) json_object_set_new(request, "response_format",
                                   tf_openai_format(options));
    }

    tf_llm_options_put(request, "tools", options->tools);
    tf_llm_options_put(request, "tool_choice", options->choice);
    tf_llm_options_put(request, "parallel_tool_calls", options->single);
    tf_llm_options_put(request, "stop", options->stop);
    tf_llm_options_put(request, "seed", options->seed);
    tf_llm_options_put(request, "frequency_penalty", options->frequency);
    tf_llm_options_put(request, "presence_penalty", options->presence);
    tf_llm_options_put(request, "reasoning_effort", options->effort);
    tf_llm_options_put(request, "verbosity", options->verbosity);

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


/*
 * POST /embeddings.  Base64 is a third of the size of digits; a server that
 * does not know it answers with digits.  The order is said by "index".
 * https://platform.openai.com/docs/api-reference/embeddings
 */

static json_t *
tf_openai_embed(const tf_llm_model_t *model, json_t *texts)
{
    json_t  *request;

    request = json_pack("{s:s, s:O, s:s}",
                        "model", model->upstream[0] ? model->upstream
                                                    : model->name,
                        "input", texts, "encoding_format", model->encoding);

    if (request != NULL && model->shorten) {
        (void) json_object_set_new(request, "dimensions",
                                   json_integer((json_int_t)
                                                model->dimensions));
    }

    return request;
}


static void
tf_openai_embedded(tf_llm_numbers_t *numbers, const json_t *root)
{
    size_t         i;
    json_int_t     at;
    const json_t  *list, *one, *index;

    list = json_object_get(root, "data");

    if (!json_is_array(list)) {
        numbers->broken = "no array \"data\"";
        return;
    }

    tf_llm_read_tokens(&numbers->tokens,
                       json_object_get(json_object_get(root, "usage"),
                                       "prompt_tokens"));

    for (i = 0; i < json_array_size(list) && numbers->broken == NULL; i++) {
        one = json_array_get(list, i);
        index = json_object_get(one, "index");
        at = json_is_integer(index) ? json_integer_value(index)
                                    : (json_int_t) i;

        if (at < 0) {
            numbers->broken = "an index that is not in the request";
            return;
        }

        tf_llm_read_row(numbers, (size_t) at,
                        json_object_get(one, "embedding"));
    }
}


/*
 * POST /rerank, as Cohere, Jina and vLLM have it: "results", the best first,
 * each with its "index" in the request.
 */

static json_t *
tf_openai_rerank(const tf_llm_model_t *model, const char *question,
    json_t *documents)
{
    return json_pack("{s:s, s:s, s:O, s:I}",
                     "model", model->upstream[0] ? model->upstream
                                                 : model->name,
                     "query", question, "documents", documents,
                     "top_n", (json_int_t) json_array_size(documents));
}


static void
tf_openai_reranked(tf_llm_numbers_t *numbers, const json_t *root)
{
    size_t         i;
    double         score;
    json_int_t     at;
    const json_t  *list, *one, *value;

    list = json_object_get(root, "results");

    if (!json_is_array(list)) {
        numbers->broken = "no array \"results\"";
        return;
    }

    for (i = 0; i < json_array_size(list); i++) {
        one = json_array_get(list, i);
        at = json_is_integer(json_object_get(one, "index"))
             ? json_integer_value(json_object_get(one, "index")) : -1;
        value = json_object_get(one, "relevance_score");
        score = json_number_value(value);

        if (at < 0 || (size_t) at >= numbers->width || numbers->seen[at]) {
            numbers->broken = "an index that is not in the request";
            return;
        }

        if (!json_is_number(value) || !(fabs(score) < 1e30)) {
            numbers->broken = "a score that is no number";
            return;
        }

        numbers->of[at] = (float) score;
        numbers->seen[at] = 1;
        numbers->nseen++;
    }
}


const tf_llm_wire_t  tf_llm_wire_openai = {
    "/chat/completions", TF_SSE_EVENTS, tf_openai_request, tf_openai_read,
    "/embeddings", tf_openai_embed, tf_openai_embedded,
    "/rerank", tf_openai_rerank, tf_openai_reranked
};
