#include "llm/options.h"

#include <stdlib.h>
#include <string.h>


static int
tf_options_is(const json_t *value, const char *word)
{
    return json_is_string(value) && strcmp(json_string_value(value), word) == 0;
}


static const json_t *
tf_options_number(const json_t *from, const char *name, double min, double max,
    int *bad)
{
    const json_t  *value;

    value = json_object_get(from, name);

    if (value == NULL) {
        return NULL;
    }

    if (!json_is_number(value)
        || !(json_number_value(value) >= min
             && json_number_value(value) <= max))
    {
        *bad = 1;
    }

    return value;
}


static const json_t *
tf_options_word(const json_t *from, const char *name, int *bad)
{
    const json_t  *value;

    value = json_object_get(from, name);
    *bad |= value != NULL && !json_is_string(value);

    return value;
}


/* A text, or a list of them; an empty list is none. */

static int
tf_options_stop(tf_llm_options_t *options, const json_t *from)
{
    size_t         i;
    const json_t  *stop;

    stop = json_object_get(from, "stop");

    if (stop == NULL || json_is_string(stop)) {
        options->stop = stop;
        return 0;
    }

    for (i = 0; i < json_array_size(stop); i++) {
        if (!json_is_string(json_array_get(stop, i))) {
            return -1;
        }
    }

    options->stop = i ? stop : NULL;

    return json_is_array(stop) ? 0 : -1;
}


/* A function that is called by name: a tool, or the choice of one. */

static int
tf_options_function(const json_t *value)
{
    return tf_options_is(json_object_get(value, "type"), "function")
           && json_is_string(json_object_get(json_object_get(value,
                                                             "function"),
                                             "name"));
}


static int
tf_options_format(tf_llm_options_t *options, const json_t *from)
{
    const json_t  *type;

    options->format = json_object_get(from, "format");
    type = json_object_get(options->format, "type");

    if (options->format == NULL || tf_options_is(type, "text")) {
        options->format = NULL;
        return 0;
    }

    if (tf_options_is(type, "json_object")) {
        return 0;
    }

    return tf_options_is(type, "json_schema")
           && json_is_string(json_object_get(options->format, "name"))
           && json_is_object(json_object_get(options->format, "schema"))
           ? 0 : -1;
}


static int
tf_options_tools(tf_llm_options_t *options, const json_t *from)
{
    size_t         i;
    const json_t  *tool, *choice;

    options->tools = json_object_get(from, "tools");
    choice = json_object_get(from, "tool_choice");

    if (options->tools != NULL && !json_is_array(options->tools)) {
        return -1;
    }

    for (i = 0; i < json_array_size(options->tools); i++) {
        tool = json_array_get(options->tools, i);

        if (!tf_options_function(tool)) {
            return -1;
        }
    }

    if (tf_options_is(choice, "none") || i == 0) {
        options->tools = NULL;
        return 0;
    }

    if (json_is_false(json_object_get(from, "parallel_tool_calls"))) {
        options->single = json_object_get(from, "parallel_tool_calls");
    }

    if (choice == NULL || tf_options_is(choice, "auto")) {
        return 0;
    }

    options->choice = choice;

    return tf_options_is(choice, "required") || tf_options_function(choice)
           ? 0 : -1;
}


int
tf_llm_options_read(tf_llm_options_t *options, const json_t *from)
{
    int            bad;
    const json_t  *max;

    memset(options, 0, sizeof(tf_llm_options_t));

    if (from == NULL) {
        return 0;
    }

    bad = !json_is_object(from);

    options->temperature = tf_options_number(from, "temperature", 0, 2, &bad);
    options->top_p = tf_options_number(from, "top_p", 0, 1, &bad);
    options->frequency = tf_options_number(from, "frequency_penalty", -2, 2,
                                           &bad);
    options->presence = tf_options_number(from, "presence_penalty", -2, 2,
                                          &bad);
    options->seed = tf_options_number(from, "seed", -9007199254740991.0,
                                      9007199254740991.0, &bad);
    options->effort = tf_options_word(from, "reasoning_effort", &bad);
    options->verbosity = tf_options_word(from, "verbosity", &bad);
    options->whole = tf_options_is(tf_options_word(from, "truncation", &bad),
                                   "disabled");

    max = json_object_get(from, "max_output_tokens");

    if (max != NULL) {
        bad |= !json_is_integer(max) || json_integer_value(max) < 1;
        options->max_output = (unsigned long long) json_integer_value(max);
    }

    return bad || tf_options_stop(options, from) != 0
           || tf_options_format(options, from) != 0
           || tf_options_tools(options, from) != 0 ? -1 : 0;
}


const char *
tf_llm_options_lack(const tf_llm_options_t *options, unsigned has)
{
    if (options->format != NULL && !(has & TF_LLM_HAS_FORMAT)) {
        return "an answer in JSON";
    }

    if (options->tools != NULL && !(has & TF_LLM_HAS_TOOLS)) {
        return "tools";
    }

    if (options->choice != NULL && !(has & TF_LLM_HAS_CHOICE)) {
        return "tool_choice";
    }

    if (options->single != NULL && !(has & TF_LLM_HAS_SINGLE)) {
        return "parallel_tool_calls: false";
    }

    if (options->stop != NULL && !(has & TF_LLM_HAS_STOP)) {
        return "stop";
    }

    if (options->effort != NULL && !(has & TF_LLM_HAS_EFFORT)) {
        return "reasoning effort";
    }

    if (options->verbosity != NULL && !(has & TF_LLM_HAS_EFFORT)) {
        return "verbosity";
    }

    return NULL;
}


void
tf_llm_options_put(json_t *request, const char *name, const json_t *value)
{
    if (value != NULL) {
        (void) json_object_set(request, name, (json_t *) value);
    }
}


int
tf_llm_options_format(const tf_llm_options_t *options, const char *type)
{
    return tf_options_is(json_object_get(options->format, "type"), type);
}


void
tf_llm_options_number(json_t *request, const char *name,
    const json_t *number, const char *otherwise)
{
    if (number != NULL) {
        (void) json_object_set(request, name, (json_t *) number);

    } else if (otherwise[0]) {
        (void) json_object_set_new(request, name,
                                   json_real(strtod(otherwise, NULL)));
    }
}
