#include "ngx_http_trifecta_openai.h"


/*
 * What of a body the job keeps, as its request:
 *
 *   query, model, collections, filters, conversation_id
 *                 as the plain shape has them
 *   instructions  what the model is told: instructions, then the messages of
 *                 system and developer
 *   turns         what was said before the question (openai_input.h)
 *   after         the calls behind it, and their results; without a query it
 *                 is that of the previous job
 *   previous      the id of the job whose conversation goes on
 *   options       temperature, top_p, max_output_tokens, stop, seed, both
 *                 penalties, format (text.format of a response), tools,
 *                 tool_choice, parallel_tool_calls, reasoning_effort,
 *                 verbosity (of a chat completion), truncation (of a response)
 *   metadata      given back as it is; webhook_url: where the end is told
 *   openai        what only this face needs to draw the object again
 */

typedef struct {
    const char  *name;
    size_t       value;
} ngx_http_trifecta_openai_part_t;

#define ngx_http_trifecta_openai_part(name, member)                           \
    { name, offsetof(ngx_http_trifecta_openai_t, member) }


static const ngx_http_trifecta_openai_part_t
    ngx_http_trifecta_openai_options[] =
{
    ngx_http_trifecta_openai_part("temperature", temperature),
    ngx_http_trifecta_openai_part("top_p", top_p),
    ngx_http_trifecta_openai_part("max_output_tokens", max_tokens),
    ngx_http_trifecta_openai_part("format", format),
    ngx_http_trifecta_openai_part("tools", functions),
    ngx_http_trifecta_openai_part("tool_choice", choice),
    ngx_http_trifecta_openai_part("parallel_tool_calls", parallel),
    ngx_http_trifecta_openai_part("stop", stop),
    ngx_http_trifecta_openai_part("seed", seed),
    ngx_http_trifecta_openai_part("frequency_penalty", frequency),
    ngx_http_trifecta_openai_part("presence_penalty", presence),
    ngx_http_trifecta_openai_part("reasoning_effort", effort),
    ngx_http_trifecta_openai_part("verbosity", verbosity),
    ngx_http_trifecta_openai_part("truncation", truncation),
    { NULL, 0 }
};


static const ngx_http_trifecta_openai_part_t
    ngx_http_trifecta_openai_face[] =
{
    ngx_http_trifecta_openai_part("background", background),
    ngx_http_trifecta_openai_part("store", store),
    ngx_http_trifecta_openai_part("stream", stream),
    ngx_http_trifecta_openai_part("stream_options", stream_options),
    ngx_http_trifecta_openai_part("include", include),
    ngx_http_trifecta_openai_part("instructions", instructions),
    ngx_http_trifecta_openai_part("systems", systems),
    ngx_http_trifecta_openai_part("tools", tools),
    ngx_http_trifecta_openai_part("tool_choice", tool_choice),
    ngx_http_trifecta_openai_part("parallel_tool_calls", parallel),
    ngx_http_trifecta_openai_part("user", user),
    ngx_http_trifecta_openai_part("safety_identifier", safety),
    ngx_http_trifecta_openai_part("prompt_cache_key", cache_key),
    { NULL, 0 }
};


static void
ngx_http_trifecta_openai_put(json_t *object, const char *name, json_t *value)
{
    if (value && !(json_is_array(value) && json_array_size(value) == 0)) {
        (void) json_object_set(object, name, value);
    }
}


static json_t *
ngx_http_trifecta_openai_parts(ngx_http_trifecta_openai_t *o,
    const ngx_http_trifecta_openai_part_t *part)
{
    json_t  *object;

    object = json_object();

    for ( /* void */ ; part->name; part++) {
        ngx_http_trifecta_openai_put(object, part->name,
                                 *(json_t **) ((u_char *) o + part->value));
    }

    return object;
}


static json_t *
ngx_http_trifecta_openai_make(ngx_http_trifecta_openai_t *o,
    ngx_str_t *model, ngx_str_t *conversation)
{
    json_t  *payload, *options, *face;

    payload = json_pack("{s:s%}", "model", model->data, model->len);

    if (o->query.len) {
        (void) json_object_set_new(payload, "query",
                                   json_stringn((char *) o->query.data,
                                                o->query.len));
    }

    options = ngx_http_trifecta_openai_parts(o,
                                            ngx_http_trifecta_openai_options);
    face = ngx_http_trifecta_openai_parts(o, ngx_http_trifecta_openai_face);

    (void) json_object_set_new(face, "shape",
                               json_string(o->shape
                                           == NGX_HTTP_TRIFECTA_OPENAI_CHAT
                                           ? "chat" : "response"));

    ngx_http_trifecta_openai_put(payload, "collections", o->ask.collections);
    ngx_http_trifecta_openai_put(payload, "filters", o->ask.filters);
    ngx_http_trifecta_openai_put(payload, "instructions", o->told);
    ngx_http_trifecta_openai_put(payload, "turns", o->turns);
    ngx_http_trifecta_openai_put(payload, "after", o->after);
    ngx_http_trifecta_openai_put(payload, "metadata", o->ask.metadata);

    if (conversation->len) {
        (void) json_object_set_new(payload, "conversation_id",
                                   json_stringn((char *) conversation->data,
                                                conversation->len));
    }

    if (o->ask.webhook.len) {
        (void) json_object_set_new(payload, "webhook_url",
                                   json_stringn((char *) o->ask.webhook.data,
                                                o->ask.webhook.len));
    }

    if (o->previous.len) {
        (void) json_object_set_new(payload, "previous",
                                   json_stringn((char *) o->previous.data,
                                                o->previous.len));
    }

    if (json_object_size(options)) {
        (void) json_object_set(payload, "options", options);
    }

    (void) json_object_set(payload, "openai", face);

    json_decref(options);
    json_decref(face);

    return payload;
}


void
ngx_http_trifecta_openai_payload(ngx_http_trifecta_openai_t *o,
    ngx_str_t *model, ngx_str_t *conversation, ngx_http_trifecta_json_t *j)
{
    char    *text;
    json_t  *payload;

    payload = ngx_http_trifecta_openai_make(o, model, conversation);

    text = json_object_get(payload, "openai")
           ? json_dumps(payload, JSON_COMPACT|JSON_REAL_PRECISION(15)) : NULL;

    json_decref(payload);

    if (text == NULL) {
        j->failed = 1;
        return;
    }

    ngx_http_trifecta_json_raw(j, text, ngx_strlen(text));
    free(text);
}


json_t *
ngx_http_trifecta_openai_payload_parse(ngx_str_t *text)
{
    return text->len ? ngx_http_trifecta_json_load(text->data, text->len, 0)
                     : NULL;
}


/* One that is not known is taken for one: whoever asks for it has its id. */

ngx_uint_t
ngx_http_trifecta_openai_is_question(json_t *payload)
{
    return payload == NULL || json_object_get(payload, "query") != NULL
           || json_object_get(payload, "after") != NULL;
}
