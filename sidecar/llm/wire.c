#include "llm/wire.h"

#include <stdlib.h>
#include <string.h>


void
tf_llm_reading_free(tf_llm_reading_t *reading)
{
    tf_buf_free(&reading->text);
    json_decref(reading->tools);
    reading->tools = NULL;
}


void
tf_llm_printable(char *out, size_t size, const char *text, size_t len)
{
    size_t  i, n;

    for (i = 0, n = 0; i < len && n + 1 < size; i++) {
        if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f) {
            if (n > 0 && out[n - 1] != ' ') {
                out[n++] = ' ';
            }

        } else {
            out[n++] = (unsigned char) text[i] < 0x80 ? text[i] : '?';
        }
    }

    out[n] = '\0';
}


void
tf_llm_read_text(tf_llm_reading_t *reading, const json_t *text)
{
    size_t  len;

    if (text == NULL || json_is_null(text)) {
        return;
    }

    if (!json_is_string(text)) {
        reading->broken = 1;
        return;
    }

    len = json_string_length(text);

    if (reading->text.len + len > TF_LLM_TEXT_MAX) {
        reading->broken = 1;
        return;
    }

    tf_buf_append(&reading->text, json_string_value(text), len);
}


void
tf_llm_read_tokens(long long *tokens, const json_t *number)
{
    if (json_is_integer(number) && json_integer_value(number) >= 0) {
        *tokens = json_integer_value(number);
    }
}


void
tf_llm_read_finish(tf_llm_reading_t *reading, const json_t *why)
{
    if (json_is_string(why)) {
        tf_llm_printable(reading->finish, sizeof(reading->finish),
                         json_string_value(why), json_string_length(why));
        reading->ended = 1;
    }
}


static void
tf_llm_read_string(char *out, size_t size, const json_t *text)
{
    if (json_is_string(text)) {
        tf_llm_printable(out, size, json_string_value(text),
                         json_string_length(text));
    }
}


void
tf_llm_read_error(tf_llm_reading_t *reading, const json_t *error)
{
    const json_t  *code;

    reading->failed = 1;

    if (json_is_object(error)) {
        code = json_object_get(error, "code");

        tf_llm_read_string(reading->code, sizeof(reading->code),
                           json_is_string(code)
                           ? code : json_object_get(error, "type"));
        error = json_object_get(error, "message");
    }

    tf_llm_read_string(reading->message, sizeof(reading->message), error);
}


void
tf_llm_read_tool(tf_llm_reading_t *reading, size_t index, const json_t *id,
    const json_t *function)
{
    char        *whole;
    json_t      *call, *args, *more;
    const char  *had;

    if (reading->tools == NULL) {
        reading->tools = json_array();
    }

    if (index >= TF_LLM_TOOLS_MAX || index > json_array_size(reading->tools)
        || !json_is_object(function))
    {
        reading->broken = 1;
        return;
    }

    if (index == json_array_size(reading->tools)) {
        (void) json_array_append_new(reading->tools, json_pack(
            "{s:s, s:s, s:s}", "id", "", "name", "", "arguments", ""));
    }

    call = json_array_get(reading->tools, index);

    if (json_is_string(id)) {
        (void) json_object_set(call, "id", (json_t *) id);
    }

    if (json_is_string(json_object_get(function, "name"))) {
        (void) json_object_set(call, "name",
                               json_object_get(function, "name"));
    }

    args = json_object_get(function, "arguments");
    had = json_string_value(json_object_get(call, "arguments"));

    if (json_is_object(args)) {
        whole = json_dumps(args, JSON_COMPACT);
        more = whole ? json_string(whole) : NULL;
        free(whole);

    } else if (json_is_string(args) && had != NULL) {

        if (strlen(had) + json_string_length(args) > TF_LLM_TEXT_MAX) {
            reading->broken = 1;
            return;
        }

        more = json_sprintf("%s%s", had, json_string_value(args));

    } else {
        return;
    }

    (void) json_object_set_new(call, "arguments", more);
}
