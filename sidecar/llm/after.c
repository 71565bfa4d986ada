#include "llm/after.h"

#include <string.h>


#define TF_AFTER_FRAME  64      /* bytes around a call or a result */


static const char *
tf_after_text(const json_t *item, const char *name)
{
    const char  *text;

    text = json_string_value(json_object_get(item, name));

    return text ? text : "";
}


size_t
tf_llm_after_size(const json_t *after)
{
    size_t         i, size;
    const json_t  *item;

    for (i = 0, size = 0; i < json_array_size(after); i++) {
        item = json_array_get(after, i);
        size += strlen(tf_after_text(item, "content"))
                + strlen(tf_after_text(item, "name"))
                + strlen(tf_after_text(item, "arguments")) + TF_AFTER_FRAME;
    }

    return size;
}


/* The message of the model that a call belongs to. */

static json_t *
tf_after_caller(json_t *messages, json_t *caller)
{
    if (caller == NULL) {
        caller = json_pack("{s:s, s:n}", "role", "assistant", "content");
        (void) json_array_append_new(messages, caller);
    }

    if (json_object_get(caller, "tool_calls") == NULL) {
        (void) json_object_set_new(caller, "tool_calls", json_array());
    }

    return caller;
}


void
tf_llm_after_tell(json_t *messages, const json_t *after)
{
    size_t         i;
    json_t        *caller;
    const char    *role;
    const json_t  *item;

    caller = NULL;

    for (i = 0; i < json_array_size(after); i++) {
        item = json_array_get(after, i);
        role = tf_after_text(item, "role");

        if (strcmp(role, "call") == 0) {
            caller = tf_after_caller(messages, caller);
            (void) json_array_append_new(json_object_get(caller,
                                                         "tool_calls"),
                json_pack("{s:s, s:s, s:{s:s, s:s}}", "id",
                          tf_after_text(item, "id"), "type", "function",
                          "function", "name", tf_after_text(item, "name"),
                          "arguments", tf_after_text(item, "arguments")));

        } else if (strcmp(role, "result") == 0) {
            caller = NULL;
            (void) json_array_append_new(messages,
                json_pack("{s:s, s:s, s:s}", "role", "tool", "tool_call_id",
                          tf_after_text(item, "id"), "content",
                          tf_after_text(item, "content")));

        } else {
            caller = json_pack("{s:s, s:s}", "role", "assistant", "content",
                               tf_after_text(item, "content"));
            (void) json_array_append_new(messages, caller);
        }
    }
}


/* The function that was called with this id in the messages before. */

static const char *
tf_after_name(const json_t *messages, size_t before, const char *id)
{
    size_t         i, k;
    const json_t  *calls, *call;

    for (i = 0; i < before; i++) {
        calls = json_object_get(json_array_get(messages, i), "tool_calls");

        for (k = 0; k < json_array_size(calls); k++) {
            call = json_array_get(calls, k);

            if (strcmp(tf_after_text(call, "id"), id) == 0) {
                return tf_after_text(json_object_get(call, "function"),
                                     "name");
            }
        }
    }

    return "";
}


/* Arguments as an object: what is none was no model's, and is empty. */

static json_t *
tf_after_calls(const json_t *calls)
{
    size_t         i;
    json_t        *list, *arguments;
    const json_t  *function;

    list = json_array();

    for (i = 0; i < json_array_size(calls); i++) {
        function = json_object_get(json_array_get(calls, i), "function");
        arguments = json_loads(tf_after_text(function, "arguments"), 0, NULL);

        if (!json_is_object(arguments)) {
            json_decref(arguments);
            arguments = json_object();
        }

        (void) json_array_append_new(list,
                   json_pack("{s:{s:s, s:o}}", "function", "name",
                             tf_after_text(function, "name"), "arguments",
                             arguments));
    }

    return list;
}


json_t *
tf_llm_after_objects(const json_t *messages)
{
    size_t         i;
    json_t        *list, *message;
    const json_t  *calls, *from;

    list = json_array();

    for (i = 0; i < json_array_size(messages); i++) {
        from = json_array_get(messages, i);
        calls = json_object_get(from, "tool_calls");

        if (strcmp(tf_after_text(from, "role"), "tool") == 0) {
            message = json_pack("{s:s, s:s, s:s}", "role", "tool", "content",
                                tf_after_text(from, "content"), "tool_name",
                                tf_after_name(messages, i,
                                              tf_after_text(from,
                                                            "tool_call_id")));

        } else if (calls != NULL) {
            message = json_pack("{s:s, s:s, s:o}", "role", "assistant",
                                "content", tf_after_text(from, "content"),
                                "tool_calls", tf_after_calls(calls));

        } else {
            message = json_incref((json_t *) from);
        }

        (void) json_array_append_new(list, message);
    }

    return list;
}
