#ifndef TF_LLM_AFTER_H
#define TF_LLM_AFTER_H


#include <stddef.h>

#include <jansson.h>


/*
 * What stands behind a question: functions that the model has called, and
 * what came of them.  A payload says it as items, in their order:
 *
 *   {"role": "call", "id", "name", "arguments"}    arguments are a string
 *   {"role": "result", "id", "content"}
 *   {"role": "assistant", "content"}               what the model said to that
 *
 * Whoever made the list has seen to it that each call has a result behind it.
 */


/* How many bytes of a prompt it takes, about. */
size_t tf_llm_after_size(const json_t *after);

/* Appends it to messages, as those of a chat completion. */
void tf_llm_after_tell(json_t *messages, const json_t *after);

/*
 * A copy of such messages for a server that knows no ids: arguments are
 * objects, and a result says which function it is of.
 */
json_t *tf_llm_after_objects(const json_t *messages);


#endif /* TF_LLM_AFTER_H */
