#include "ngx_http_trifecta_openai_members.h"

#include <math.h>


/*
 * The form of the answer, and the tools that it may ask for.
 *
 * Both shapes say the same in two ways.  What the model is told is in one of
 * them: the format as "text.format" of a response, tools and tool_choice as
 * those of a chat completion.
 *
 * The tool file_search is what is done in any case; its vector stores are
 * collections.
 */

#define NGX_HTTP_TRIFECTA_OPENAI_TOOLS_MAX  128
#define NGX_HTTP_TRIFECTA_OPENAI_NAME_MAX   64

#define NGX_HTTP_TRIFECTA_OPENAI_NUMBER_MIN  1e-15
#define NGX_HTTP_TRIFECTA_OPENAI_NUMBER_MAX  9e15


/* A name of a function or schema: letters, digits, "_" and "-". */

static ngx_uint_t
ngx_http_trifecta_openai_is_name(json_t *value)
{
    size_t       i, len;
    const char  *name;

    name = json_string_value(value);
    len = json_string_length(value);

    if (name == NULL || len == 0 || len > NGX_HTTP_TRIFECTA_OPENAI_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if ((name[i] < '0' || name[i] > '9') && (name[i] < 'a' || name[i] > 'z')
            && (name[i] < 'A' || name[i] > 'Z') && name[i] != '_'
            && name[i] != '-')
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_trifecta_openai_word(json_t *value, const char *name,
    const char *word)
{
    const char  *is;

    is = json_string_value(json_object_get(value, name));

    return is != NULL && ngx_strcmp(is, word) == 0;
}


/*
 * Whether all numbers in it stay what they are: 1e300 is three hundred digits
 * in PostgreSQL, and an integer that no reader takes again.
 */

static ngx_uint_t
ngx_http_trifecta_openai_has_plain_numbers(json_t *value)
{
    size_t       i;
    double       x;
    json_t      *part;
    const char  *name;

    if (json_is_number(value)) {
        x = fabs(json_number_value(value));

        return x == 0 || (x >= NGX_HTTP_TRIFECTA_OPENAI_NUMBER_MIN
                          && x <= NGX_HTTP_TRIFECTA_OPENAI_NUMBER_MAX);
    }

    json_array_foreach(value, i, part) {
        if (!ngx_http_trifecta_openai_has_plain_numbers(part)) {
            return 0;
        }
    }

    json_object_foreach(value, name, part) {
        if (!ngx_http_trifecta_openai_has_plain_numbers(part)) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_trifecta_openai_numbers(ngx_http_request_t *r, const char *name,
    ngx_int_t index, json_t *value)
{
    if (ngx_http_trifecta_openai_has_plain_numbers(value)) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_openai_bad(r, name, index, NULL,
                                        "has a number that cannot be stored: "
                                        "its amount must be 0 or between "
                                        "1e-15 and 9e15");
}


/* schema: where the name and the schema stand, the format itself or in it */

static ngx_int_t
ngx_http_trifecta_openai_format(ngx_http_request_t *r, const char *name,
    json_t *format, json_t *schema, ngx_http_trifecta_openai_t *o)
{
    json_t     *flat;
    ngx_int_t   rc;

    rc = ngx_http_trifecta_openai_numbers(r, name, -1, format);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_trifecta_openai_word(format, "type", "text")
        || ngx_http_trifecta_openai_word(format, "type", "json_object"))
    {
        o->format = format;
        return NGX_DECLINED;
    }

    if (!ngx_http_trifecta_openai_word(format, "type", "json_schema")) {
        return ngx_http_trifecta_openai_bad(r, name, -1, "type",
                                            "must be \"text\", "
                                            "\"json_object\" or "
                                            "\"json_schema\"");
    }

    if (!ngx_http_trifecta_openai_is_name(json_object_get(schema, "name"))
        || !json_is_object(json_object_get(schema, "schema")))
    {
        return ngx_http_trifecta_openai_bad(r, name, -1, NULL,
                                            "needs a \"name\" of 1 to 64 "
                                            "letters, digits, _ and -, and "
                                            "an object \"schema\"");
    }

    flat = ngx_http_trifecta_openai_own(o, json_copy(schema));

    if (flat == NULL
        || json_object_set_new(flat, "type", json_string("json_schema")) != 0)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    o->format = flat;

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_is_text_config(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    json_t     *format, *verbosity;
    ngx_int_t   rc;

    if (!json_is_object(value)) {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be an object");
    }

    verbosity = json_object_get(value, "verbosity");

    if (verbosity && !json_is_null(verbosity)) {
        rc = ngx_http_trifecta_openai_among(r, "text.verbosity",
                                         NGX_HTTP_TRIFECTA_OPENAI_VERBOSITIES,
                                         verbosity);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        o->verbosity = verbosity;
    }

    format = json_object_get(value, "format");

    return format == NULL || json_is_null(format)
           ? NGX_DECLINED
           : ngx_http_trifecta_openai_format(r, "text.format", format, format,
                                             o);
}


ngx_int_t
ngx_http_trifecta_openai_is_response_format(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    return ngx_http_trifecta_openai_format(r, m->name, value,
                                           json_object_get(value,
                                                           "json_schema"),
                                           o);
}


/* What else file_search can be told is not there. */

static ngx_int_t
ngx_http_trifecta_openai_file_search(ngx_http_request_t *r, ngx_int_t i,
    json_t *tool, ngx_http_trifecta_openai_t *o)
{
    json_t      *part;
    const char  *name;

    json_object_foreach(tool, name, part) {

        if (ngx_strcmp(name, "type") == 0 || json_is_null(part)) {
            continue;
        }

        if (ngx_strcmp(name, "vector_store_ids") != 0) {
            return ngx_http_trifecta_openai_bad(r, "tools", i, name,
                                                "is not supported: leave it "
                                                "out");
        }
    }

    part = json_object_get(tool, "vector_store_ids");

    if (part == NULL || json_is_null(part) || json_array_size(part) == 0) {
        return NGX_DECLINED;
    }

    if (o->ask.collections) {
        return ngx_http_trifecta_openai_bad(r, "tools", i, "vector_store_ids",
                                            "and other collections do not go "
                                            "together");
    }

    return ngx_http_trifecta_ask_member(r, "collections", part, &o->ask);
}


static ngx_int_t
ngx_http_trifecta_openai_function(ngx_http_request_t *r, ngx_int_t i,
    json_t *tool, ngx_http_trifecta_openai_t *o)
{
    json_t  *function, *parameters;

    function = (o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT)
               ? json_object_get(tool, "function") : tool;

    parameters = json_object_get(function, "parameters");

    if (!ngx_http_trifecta_openai_is_name(json_object_get(function, "name"))
        || (parameters && !json_is_null(parameters)
            && !json_is_object(parameters)))
    {
        return ngx_http_trifecta_openai_bad(r, "tools", i, NULL,
                                            "needs a \"name\" of 1 to 64 "
                                            "letters, digits, _ and -, and "
                                            "its \"parameters\" must be an "
                                            "object");
    }

    function = json_copy(function);

    (void) json_object_del(function, "type");

    if (o->functions == NULL) {
        o->functions = ngx_http_trifecta_openai_own(o, json_array());
    }

    if (json_array_append_new(o->functions,
                              json_pack("{s:s, s:o}", "type", "function",
                                        "function", function))
        != 0)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_is_tools(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    size_t      i;
    json_t     *tool;
    ngx_int_t   rc;

    if (!json_is_array(value)
        || json_array_size(value) > NGX_HTTP_TRIFECTA_OPENAI_TOOLS_MAX)
    {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be an array of at most 128 "
                                            "tools");
    }

    json_array_foreach(value, i, tool) {

        rc = ngx_http_trifecta_openai_numbers(r, m->name, (ngx_int_t) i, tool);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        if (ngx_http_trifecta_openai_word(tool, "type", "function")) {
            rc = ngx_http_trifecta_openai_function(r, (ngx_int_t) i, tool, o);

        } else if (ngx_http_trifecta_openai_word(tool, "type", "file_search")
                   && o->shape == NGX_HTTP_TRIFECTA_OPENAI_RESPONSE)
        {
            rc = ngx_http_trifecta_openai_file_search(r, (ngx_int_t) i, tool,
                                                      o);

        } else {
            rc = ngx_http_trifecta_openai_bad(r, m->name, (ngx_int_t) i,
                                              "type", "is not supported: "
                                              "there are function and, for "
                                              "responses, file_search");
        }

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_is_tool_choice(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    json_t      *name;
    ngx_int_t    rc;
    const char  *word;

    rc = ngx_http_trifecta_openai_numbers(r, m->name, -1, value);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    word = json_string_value(value);

    if (word && (ngx_strcmp(word, "auto") == 0 || ngx_strcmp(word, "none") == 0
                 || ngx_strcmp(word, "required") == 0))
    {
        o->choice = value;
        return NGX_DECLINED;
    }

    if (ngx_http_trifecta_openai_word(value, "type", "file_search")
        && o->shape == NGX_HTTP_TRIFECTA_OPENAI_RESPONSE)
    {
        return NGX_DECLINED;
    }

    name = (o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT)
           ? json_object_get(json_object_get(value, "function"), "name")
           : json_object_get(value, "name");

    if (!ngx_http_trifecta_openai_word(value, "type", "function")
        || !ngx_http_trifecta_openai_is_name(name))
    {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be \"none\", \"auto\", "
                                            "\"required\" or one function");
    }

    o->choice = ngx_http_trifecta_openai_own(o,
                             json_pack("{s:s, s:{s:O}}", "type", "function",
                                       "function", "name", name));

    return o->choice ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}
