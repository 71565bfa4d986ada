#ifndef TF_LLM_PROMPT_H
#define TF_LLM_PROMPT_H


#include <jansson.h>

#include "llm/provider.h"


/*
 * What a model is told: rules, then numbered passages as data, then what was
 * said before in the conversation as data, then the question.
 *
 * A passage stands between two lines that hold a random word, new for each
 * request, so that no document can pretend that it ends earlier.  So does the
 * conversation: its answers were made of documents.  As many passages as the
 * model's context leaves room for, best first; TOKEN_BYTES is a careful guess
 * of how many bytes a token has.  The conversation takes at most half of the
 * room, its newest turns first.
 *
 * A model that finds no answer in the passages is told to say exactly
 * TF_PROMPT_NOT_FOUND.
 *
 * Behind the question stands what the model has called since, with the results
 * (after.h), as messages of their own: without the calls no result is taken.
 *
 * Instructions of the asker stand behind the rules: he may say how he wants
 * to be answered, but not that passages are to be obeyed.  An answer in JSON
 * has neither marks nor TF_PROMPT_NOT_FOUND: they would break it.
 */

#define TF_PROMPT_NOT_FOUND    "NOT FOUND"
#define TF_PROMPT_TOKEN_BYTES  3
#define TF_PROMPT_WORD_LEN     16


/*
 * The messages (an array), and how many passages are in them; NULL when
 * memory is short or the question alone is too long (*too_long).
 */
json_t *tf_llm_prompt(const tf_llm_model_t *model,
    const tf_llm_request_t *request, size_t *npassages, int *too_long);

/* Parts of it, for prompts about a conversation: 0 when a word was made. */
int tf_llm_prompt_word(char word[TF_PROMPT_WORD_LEN + 1]);
void tf_llm_prompt_talk(tf_buf_t *user, const char *summary,
    const tf_llm_turn_t *turns, size_t n, const char *word);
json_t *tf_llm_prompt_messages(const char *system, const tf_buf_t *user);


#endif /* TF_LLM_PROMPT_H */
