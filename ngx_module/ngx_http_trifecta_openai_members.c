#include "ngx_http_trifecta_openai_members.h"
#include "ngx_http_trifecta_filters.h"
#include "ngx_http_trifecta_models.h"


#define NGX_HTTP_TRIFECTA_OPENAI_BOTH  (NGX_HTTP_TRIFECTA_OPENAI_RESPONSE     \
                                        |NGX_HTTP_TRIFECTA_OPENAI_CHAT)

#define ngx_http_trifecta_openai_row(shape, name, check, keep, min, max, only)\
    { NGX_HTTP_TRIFECTA_OPENAI_##shape, name,                                 \
      ngx_http_trifecta_openai_##check,                                       \
      offsetof(ngx_http_trifecta_openai_t, keep), min, max, only }

#define ngx_http_trifecta_openai_keeps(shape, name, check, keep)              \
    ngx_http_trifecta_openai_row(shape, name, check, keep, 0, 0, NULL)

#define ngx_http_trifecta_openai_only(shape, name, only)                      \
    ngx_http_trifecta_openai_row(shape, name, is_only, root, 0, 0, only)

#define ngx_http_trifecta_openai_not(shape, name)                             \
    ngx_http_trifecta_openai_row(shape, name, is_not_there, root, 0, 0, NULL)


static ngx_int_t ngx_http_trifecta_openai_is_bool(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_number(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_integer(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_text(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_messages(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_asked(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_only(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
static ngx_int_t ngx_http_trifecta_openai_is_not_there(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);


/*
 * Every member that is known, in the order of the checks.  null means absent
 * for all of them.  A row keeps the value, or says which values alone change
 * nothing about what is done and are accepted for that; other values, and
 * members that are not there at all, are refused by name, for ignoring them
 * would do something else than was asked.  What is in no row is ignored.
 *
 * The last three numbers and texts: from, to, and the accepted values as JSON
 * texts with a blank between them.
 */

static const ngx_http_trifecta_openai_member_t
    ngx_http_trifecta_openai_members[] =
{
    /* shared with the plain shape, or like it */

    ngx_http_trifecta_openai_keeps(BOTH, "model", is_asked, root),
    ngx_http_trifecta_openai_keeps(BOTH, "collections", is_asked, root),
    ngx_http_trifecta_openai_keeps(BOTH, "filters", is_asked, root),
    ngx_http_trifecta_openai_keeps(BOTH, "metadata", is_asked, root),
    ngx_http_trifecta_openai_keeps(BOTH, "webhook_url", is_asked, root),

    /* how it is answered */

    ngx_http_trifecta_openai_keeps(BOTH, "stream", is_bool, stream),
    ngx_http_trifecta_openai_keeps(BOTH, "stream_options", is_stream_options,
                                   stream_options),
    ngx_http_trifecta_openai_keeps(RESPONSE, "background", is_bool,
                                   background),
    ngx_http_trifecta_openai_keeps(BOTH, "store", is_bool, store),
    ngx_http_trifecta_openai_keeps(RESPONSE, "include", is_include, include),

    /* what the model is told */

    ngx_http_trifecta_openai_row(RESPONSE, "instructions", is_text,
                                 instructions, 0,
                                 NGX_HTTP_TRIFECTA_OPENAI_TEXT_MAX, NULL),
    ngx_http_trifecta_openai_keeps(RESPONSE, "previous_response_id",
                                   is_previous, root),
    ngx_http_trifecta_openai_keeps(RESPONSE, "conversation", is_conversation,
                                   root),
    ngx_http_trifecta_openai_row(RESPONSE, "input", is_messages, input, 1, 0,
                                 NULL),
    ngx_http_trifecta_openai_row(CHAT, "messages", is_messages, input, 1, 0,
                                 NULL),

    /* how it answers */

    ngx_http_trifecta_openai_row(BOTH, "temperature", is_number, temperature,
                                 0, 2, NULL),
    ngx_http_trifecta_openai_row(BOTH, "top_p", is_number, top_p, 0, 1, NULL),
    ngx_http_trifecta_openai_row(RESPONSE, "max_output_tokens", is_integer,
                                 max_tokens, 1, 1000000, NULL),
    ngx_http_trifecta_openai_row(CHAT, "max_completion_tokens", is_integer,
                                 max_tokens, 1, 1000000, NULL),
    ngx_http_trifecta_openai_row(CHAT, "max_tokens", is_integer, max_tokens,
                                 1, 1000000, NULL),
    ngx_http_trifecta_openai_keeps(RESPONSE, "text", is_text_config, root),
    ngx_http_trifecta_openai_keeps(CHAT, "response_format",
                                   is_response_format, root),
    ngx_http_trifecta_openai_keeps(BOTH, "tools", is_tools, tools),
    ngx_http_trifecta_openai_keeps(BOTH, "tool_choice", is_tool_choice,
                                   tool_choice),
    ngx_http_trifecta_openai_keeps(BOTH, "parallel_tool_calls", is_bool,
                                   parallel),
    ngx_http_trifecta_openai_keeps(CHAT, "stop", is_stop, stop),
    ngx_http_trifecta_openai_row(CHAT, "seed", is_integer, seed,
                                 -9007199254740991, 9007199254740991, NULL),
    ngx_http_trifecta_openai_row(CHAT, "frequency_penalty", is_number,
                                 frequency, -2, 2, NULL),
    ngx_http_trifecta_openai_row(CHAT, "presence_penalty", is_number,
                                 presence, -2, 2, NULL),
    ngx_http_trifecta_openai_row(CHAT, "reasoning_effort", is_only, effort,
                                 0, 0, NGX_HTTP_TRIFECTA_OPENAI_EFFORTS),
    ngx_http_trifecta_openai_keeps(RESPONSE, "reasoning", is_reasoning, root),
    ngx_http_trifecta_openai_row(CHAT, "verbosity", is_only, verbosity, 0, 0,
                                 NGX_HTTP_TRIFECTA_OPENAI_VERBOSITIES),
    ngx_http_trifecta_openai_row(RESPONSE, "truncation", is_only, truncation,
                                 0, 0, "\"auto\" \"disabled\""),

    /* labels, given back as they came */

    ngx_http_trifecta_openai_row(BOTH, "user", is_text, user, 0, 512, NULL),
    ngx_http_trifecta_openai_row(BOTH, "safety_identifier", is_text, safety,
                                 0, 512, NULL),
    ngx_http_trifecta_openai_row(BOTH, "prompt_cache_key", is_text, cache_key,
                                 0, 512, NULL),

    /* one value only */

    ngx_http_trifecta_openai_only(BOTH, "service_tier",
                                  "\"auto\" \"default\""),
    ngx_http_trifecta_openai_only(BOTH, "top_logprobs", "0"),
    ngx_http_trifecta_openai_only(CHAT, "n", "1"),
    ngx_http_trifecta_openai_only(CHAT, "logprobs", "false"),
    ngx_http_trifecta_openai_only(CHAT, "logit_bias", "{}"),
    ngx_http_trifecta_openai_only(CHAT, "modalities", "[\"text\"]"),

    /* not there */

    ngx_http_trifecta_openai_not(RESPONSE, "access_programs"),
    ngx_http_trifecta_openai_not(RESPONSE, "context_management"),
    ngx_http_trifecta_openai_not(RESPONSE, "image"),
    ngx_http_trifecta_openai_not(RESPONSE, "max_tool_calls"),
    ngx_http_trifecta_openai_not(RESPONSE, "prompt"),
    ngx_http_trifecta_openai_not(BOTH, "moderation"),
    ngx_http_trifecta_openai_not(BOTH, "prompt_cache_options"),
    ngx_http_trifecta_openai_not(BOTH, "prompt_cache_retention"),
    ngx_http_trifecta_openai_not(CHAT, "audio"),
    ngx_http_trifecta_openai_not(CHAT, "function_call"),
    ngx_http_trifecta_openai_not(CHAT, "functions"),
    ngx_http_trifecta_openai_not(CHAT, "prediction"),
    ngx_http_trifecta_openai_not(CHAT, "web_search_options"),

    { 0, NULL, NULL, 0, 0, 0, NULL }
};


static ngx_int_t
ngx_http_trifecta_openai_is_bool(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    if (json_is_boolean(value)) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, m->name,
                                   "\"%s\" must be true or false", m->name);
}


static ngx_int_t
ngx_http_trifecta_openai_is_number(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    double  n;

    n = json_number_value(value);

    if (json_is_number(value) && n >= m->min && n <= m->max) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, m->name,
                                   "\"%s\" must be a number between %i and "
                                   "%i", m->name, (ngx_int_t) m->min,
                                   (ngx_int_t) m->max);
}


static ngx_int_t
ngx_http_trifecta_openai_is_integer(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    if (json_is_integer(value) && json_number_value(value) >= m->min
        && json_number_value(value) <= m->max)
    {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, m->name,
                                   "\"%s\" must be a whole number between %i "
                                   "and %i", m->name, (ngx_int_t) m->min,
                                   (ngx_int_t) m->max);
}


static ngx_int_t
ngx_http_trifecta_openai_is_text(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    if (json_is_string(value) && json_string_length(value) <= m->max) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, m->name,
                                   "\"%s\" must be a string of at most %i "
                                   "bytes", m->name, (ngx_int_t) m->max);
}


/* They are read when all else is known to be good. */

static ngx_int_t
ngx_http_trifecta_openai_is_messages(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_openai_is_asked(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    return ngx_http_trifecta_ask_member(r, m->name, value, &o->ask);
}


ngx_int_t
ngx_http_trifecta_openai_among(ngx_http_request_t *r, const char *name,
    const char *only, json_t *value)
{
    char        *text;
    size_t       len;
    ngx_uint_t   is;
    const char  *p;

    text = json_dumps(value, JSON_COMPACT|JSON_ENCODE_ANY
                             |JSON_REAL_PRECISION(15));
    if (text == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_strlen(text);
    is = 0;

    for (p = ngx_strstr(only, text); p && !is; p = ngx_strstr(p + 1, text)) {
        is = (p == only || p[-1] == ' ')
             && (p[len] == '\0' || p[len] == ' ');
    }

    free(text);

    if (is) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                   "\"%s\" is not supported, but for %s",
                                   name, only);
}


static ngx_int_t
ngx_http_trifecta_openai_is_only(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    return ngx_http_trifecta_openai_among(r, m->name, m->only, value);
}


static ngx_int_t
ngx_http_trifecta_openai_is_not_there(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, m->name,
                                   "\"%s\" is not supported: leave it out",
                                   m->name);
}


static ngx_int_t
ngx_http_trifecta_openai_check(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, ngx_http_trifecta_openai_t *o)
{
    json_t     *value, **keep;
    ngx_int_t   rc;

    value = json_object_get(o->root, m->name);

    if (value == NULL || json_is_null(value)) {

        if (m->min > 0 && m->check == ngx_http_trifecta_openai_is_messages) {
            return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, m->name,
                                           "\"%s\" is missing", m->name);
        }

        return NGX_DECLINED;
    }

    rc = m->check(r, m, value, o);

    if (rc == NGX_DECLINED
        && m->keep != offsetof(ngx_http_trifecta_openai_t, root))
    {
        keep = (json_t **) ((u_char *) o + m->keep);

        if (*keep == NULL) {
            *keep = value;
        }
    }

    return rc;
}


ngx_int_t
ngx_http_trifecta_openai_parse(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_openai_t *o)
{
    ngx_int_t                                 rc;
    const char                               *err;
    const ngx_http_trifecta_openai_member_t  *m;

    err = NULL;

    if (o->root == NULL) {
        o->root = ngx_http_trifecta_json_parse(text->data, text->len, &err);
    }

    if (o->root == NULL) {
        if (err == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_error(r, TF_E_INVALID_JSON, NULL, "%s", err);
    }

    for (m = ngx_http_trifecta_openai_members; m->name; m++) {

        if ((m->shapes & o->shape) == 0) {
            continue;
        }

        rc = ngx_http_trifecta_openai_check(r, m, o);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    rc = o->ask.model.len
         ? NGX_DECLINED : ngx_http_trifecta_model_default(r, &o->ask.model);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_trifecta_openai_together(r, o);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_trifecta_openai_input(r,
                                          o->shape
                                          == NGX_HTTP_TRIFECTA_OPENAI_CHAT
                                          ? "messages" : "input", o);
}


json_t *
ngx_http_trifecta_openai_own(ngx_http_trifecta_openai_t *o, json_t *value)
{
    if (o->own == NULL) {
        o->own = json_array();
    }

    return json_array_append_new(o->own, value) == 0 ? value : NULL;
}


void
ngx_http_trifecta_openai_free(ngx_http_trifecta_openai_t *o)
{
    json_decref(o->own);
    json_decref(o->root);
}
