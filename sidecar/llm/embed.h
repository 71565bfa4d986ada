#ifndef TF_LLM_EMBED_H
#define TF_LLM_EMBED_H


#include "llm/call.h"
#include "llm/provider.h"


/*
 * What models do besides answering: vectors of texts, and the order of
 * passages.
 *
 * Vectors have the model's dimensions and length 1.  Requests are split so
 * that none has more texts than the model's batch or more than
 * TF_LLM_EMBED_TOKENS, or than the model may have in a minute; a text longer
 * than the model's context is cut to it.  An answer counts whole or not at
 * all: each text has its vector, at the place that the server's index says.
 * When a later request fails, the vectors of the earlier ones are there.
 *
 * A question does not wait for long: query_timeout is its deadline, and who
 * asks goes on without when it fails.
 */

#define TF_LLM_EMBED_TOKENS  300000

typedef struct {
    const char *const  *texts;
    size_t              n;
    int                 question;   /* else they are passages */
    unsigned            attempt;
    const atomic_int   *cancel;
} tf_llm_embed_t;

typedef struct {
    float              *of;         /* n * dims */
    size_t              n;          /* of the first texts: all, if it is OK */
    size_t              dims;
    long long           tokens;
} tf_llm_vectors_t;

typedef struct {
    const char         *question;
    const char *const  *documents;
    size_t              n;
    const atomic_int   *cancel;
} tf_llm_rerank_t;


/* vectors->of is freed by the caller, always. */
tf_llm_status_t tf_llm_embed(const tf_llm_model_t *model,
    const tf_llm_embed_t *request, tf_llm_vectors_t *vectors,
    tf_llm_failure_t *failure);

/* Fills scores: one for each document, the higher the better. */
tf_llm_status_t tf_llm_rerank(const tf_llm_model_t *model,
    const tf_llm_rerank_t *request, float *scores,
    tf_llm_failure_t *failure);


#endif /* TF_LLM_EMBED_H */
