#ifndef TF_LLM_MODELS_CHECK_H
#define TF_LLM_MODELS_CHECK_H


#include "llm/models.h"


/*
 * What a section of the file of models says, when all of its keys are read:
 * each function but the last returns NULL, or a static text that says what is
 * wrong.
 */

/* Sets what the word of the key "kind" is. */
const char *tf_llm_models_kind(tf_llm_model_t *model);

/* Sets what the names of the key "collections" are. */
const char *tf_llm_models_collections(tf_llm_model_t *model);

/* Sets who the key "groups" says may use it. */
const char *tf_llm_models_groups(tf_llm_model_t *model);

/* The keys with each other; the kind and the provider are known. */
const char *tf_llm_models_check(const tf_llm_model_t *model);

/*
 * Reads the file of keys, if it has one; each line that is not empty is one.
 * 0, or -1 with a message in err, which never has a key in it.
 */
int tf_llm_models_keys(tf_llm_model_t *model, char *err, size_t errlen);


#endif /* TF_LLM_MODELS_CHECK_H */
