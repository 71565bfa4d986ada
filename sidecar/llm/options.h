#ifndef TF_LLM_OPTIONS_H
#define TF_LLM_OPTIONS_H


#include <jansson.h>


/*
 * What an asker wants of the model itself, and how a payload says it:
 *
 *   "options": {
 *     "temperature": 0..2, "top_p": 0..1, "max_output_tokens": 1..,
 *     "format": {"type": "text"} or {"type": "json_object"} or
 *               {"type": "json_schema", "name": ..., "schema": {...}, ...},
 *     "tools": [{"type": "function", "function": {...}}, ...],
 *     "tool_choice": "none", "auto", "required" or
 *                    {"type": "function", "function": {"name": ...}},
 *     "parallel_tool_calls": false,
 *     "stop": "..." or ["...", ...], "seed": a whole number,
 *     "frequency_penalty": -2..2, "presence_penalty": -2..2,
 *     "reasoning_effort": "...", "verbosity": "...",
 *     "truncation": "auto" or "disabled"
 *   }
 *
 * A member is NULL, or 0, when it is not asked for: "text" is every model's
 * form, tools that must not be used are none, and may be called together.
 * What a model cannot do is refused by name and never left out; but what only
 * tunes the choice of words (temperature, top_p, seed and penalties) changes
 * nothing of a quotation, and is no reason to refuse one.
 *
 * "disabled" is no matter of a model: then what was said before is told whole,
 * or the question fails.
 */

#define TF_LLM_HAS_FORMAT  0x01     /* json_object and json_schema */
#define TF_LLM_HAS_TOOLS   0x02
#define TF_LLM_HAS_CHOICE  0x04     /* "required", or one of the tools */
#define TF_LLM_HAS_SINGLE  0x08     /* parallel_tool_calls: false */
#define TF_LLM_HAS_STOP    0x10
#define TF_LLM_HAS_EFFORT  0x20     /* and verbosity */

#define TF_LLM_HAS_ALL     0x3f

typedef struct {
    const json_t        *temperature;
    const json_t        *top_p;
    unsigned long long   max_output;
    const json_t        *format;
    const json_t        *tools;
    const json_t        *choice;
    const json_t        *single;    /* of the tools: one call at a time */
    const json_t        *stop;
    const json_t        *seed;
    const json_t        *frequency;
    const json_t        *presence;
    const json_t        *effort;
    const json_t        *verbosity;
    int                  whole;     /* nothing that was said is left out */
} tf_llm_options_t;


/* NULL has none of them.  0, or -1: these are no options. */
int tf_llm_options_read(tf_llm_options_t *options, const json_t *from);

/* What of them is not in has (TF_LLM_HAS_...), by its name; or NULL. */
const char *tf_llm_options_lack(const tf_llm_options_t *options,
    unsigned has);

/* The type of a format is this one. */
int tf_llm_options_format(const tf_llm_options_t *options, const char *type);

/* A value of the options as a member of a request, unless it is NULL. */
void tf_llm_options_put(json_t *request, const char *name,
    const json_t *value);

/* A number of the options as a member of a request, or the default text. */
void tf_llm_options_number(json_t *request, const char *name,
    const json_t *number, const char *otherwise);


#endif /* TF_LLM_OPTIONS_H */
