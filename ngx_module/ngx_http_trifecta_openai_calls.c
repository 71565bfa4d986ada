#include "ngx_http_trifecta_openai_input.h"
#include "ngx_http_trifecta_openai_members.h"


/*
 * Functions that a model has called, and what they returned.
 *
 * A model server refuses a call without a result and a result without a call,
 * so they must fit here: else a job would fail for what can be said at once.
 * The results of calls of the previous response are looked at by whoever
 * reads that response.
 */

#define NGX_HTTP_TRIFECTA_OPENAI_CALL_ID_MAX  256   /* bytes */


static ngx_int_t
ngx_http_trifecta_openai_call_id(ngx_http_trifecta_openai_talk_t *t,
    const char *part, json_t *id)
{
    size_t  len;

    len = json_string_length(id);

    if (len && len <= NGX_HTTP_TRIFECTA_OPENAI_CALL_ID_MAX) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_openai_no(t, part, "must be a string of 1 to 256 "
                                                "bytes");
}


static ngx_int_t
ngx_http_trifecta_openai_called_by(ngx_http_trifecta_openai_talk_t *t,
    const char *id_part, json_t *id, json_t *function)
{
    json_t      *name, *arguments, *item;
    ngx_int_t    rc;
    const char  *key;

    rc = ngx_http_trifecta_openai_call_id(t, id_part, id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    name = json_object_get(function, "name");
    arguments = json_object_get(function, "arguments");

    if (json_string_length(name) == 0 || !json_is_string(arguments)) {
        return ngx_http_trifecta_openai_no(t, NULL, "needs the \"name\" of "
                                           "the function that is called, and "
                                           "its \"arguments\" as a string");
    }

    rc = ngx_http_trifecta_openai_bytes(t, json_string_length(name)
                                           + json_string_length(arguments));
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (json_array_size(t->o->turns) + json_array_size(t->o->after)
        >= NGX_HTTP_TRIFECTA_OPENAI_ITEMS_MAX)
    {
        return ngx_http_trifecta_openai_no(t, id_part, "is one call too many: "
                                           "messages and calls may be 1024 "
                                           "together");
    }

    key = json_string_value(id);

    if (json_object_get(t->calls, key)) {
        return ngx_http_trifecta_openai_no(t, id_part,
                                           "is that of another call");
    }

    item = json_pack("{s:s, s:O, s:O, s:O}", "role", "call", "id", id,
                     "name", name, "arguments", arguments);

    return json_array_append_new(t->to, item) == 0
           && json_object_set_new(t->calls, key, json_integer(t->index)) == 0
           ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* What is in t->text came of the call. */

static ngx_int_t
ngx_http_trifecta_openai_returned_to(ngx_http_trifecta_openai_talk_t *t,
    const char *id_part, json_t *id)
{
    json_t     *item;
    ngx_int_t   rc;

    rc = ngx_http_trifecta_openai_call_id(t, id_part, id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (json_object_del(t->calls, json_string_value(id)) != 0
        && (t->o->previous.len == 0
            || (t->to == t->o->after && t->question >= 0)))
    {
        return ngx_http_trifecta_openai_no(t, id_part, "is that of no call "
                                           "before it, or of one that has its "
                                           "result");
    }

    item = json_pack("{s:s, s:O, s:s%}", "role", "result", "id", id,
                     "content", t->text.start,
                     (size_t) (t->text.last - t->text.start));

    return json_array_append_new(t->to, item) == 0
           ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


ngx_int_t
ngx_http_trifecta_openai_call_item(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    return ngx_http_trifecta_openai_called_by(t, "call_id",
                                              json_object_get(item, "call_id"),
                                              item);
}


ngx_int_t
ngx_http_trifecta_openai_output_item(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    ngx_int_t  rc;

    rc = ngx_http_trifecta_openai_content(t, "output",
                                          json_object_get(item, "output"));

    return rc == NGX_DECLINED
           ? ngx_http_trifecta_openai_returned_to(t, "call_id",
                                             json_object_get(item, "call_id"))
           : rc;
}


ngx_int_t
ngx_http_trifecta_openai_tool_message(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    ngx_int_t  rc;

    rc = ngx_http_trifecta_openai_content(t, "content",
                                          json_object_get(item, "content"));

    return rc == NGX_DECLINED
           ? ngx_http_trifecta_openai_returned_to(t, "tool_call_id",
                                        json_object_get(item, "tool_call_id"))
           : rc;
}


ngx_int_t
ngx_http_trifecta_openai_tool_calls(ngx_http_trifecta_openai_talk_t *t,
    json_t *calls)
{
    size_t       i;
    json_t      *call;
    ngx_int_t    rc;
    const char  *type;

    if (json_array_size(calls) == 0) {
        return ngx_http_trifecta_openai_no(t, "tool_calls",
                                           "must be an array of calls");
    }

    json_array_foreach(calls, i, call) {
        type = json_string_value(json_object_get(call, "type"));

        if (type && ngx_strcmp(type, "function") != 0) {
            return ngx_http_trifecta_openai_no(t, "tool_calls", "has a call "
                                               "of what is no function");
        }

        rc = ngx_http_trifecta_openai_called_by(t, "tool_calls",
                                           json_object_get(call, "id"),
                                           json_object_get(call, "function"));
        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_all_returned(ngx_http_trifecta_openai_talk_t *t)
{
    json_t      *index;
    const char  *id;

    json_object_foreach(t->calls, id, index) {
        t->index = (ngx_int_t) json_integer_value(index);

        return ngx_http_trifecta_openai_no(t, NULL, "calls a function, and "
                                           "its result is not there");
    }

    return NGX_DECLINED;
}
