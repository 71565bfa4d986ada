#ifndef TF_RAG_REUSE_H
#define TF_RAG_REUSE_H


#include "db/pg.h"
#include "llm/models.h"
#include "rag/answer.h"


/*
 * Answers that are given again: the same question, word for word, of the same
 * user, who has the same rights, to the same model, about the same documents.
 *
 * The key is a digest of tenant, owner, groups, the model and all that was set
 * for it, everything that was asked for, the sets of vectors that are live, and
 * the versions of the tenant's collections (their stamps), which every change
 * of a document renews in its own transaction.
 * Nothing is ever compared by likeness, and no two users share an entry.
 *
 * An entry names the job whose answer it is.  The answer is read from there,
 * so it cannot be had before that job has ended well, nor after it was deleted
 * or pruned.
 *
 * The versions are read before the search: an answer may have been made from
 * newer documents than its key says, never from older ones, and nobody asks
 * for old versions again.
 *
 * Only answers that a server was asked for are kept, not those of a fallback;
 * a question that has a conversation before it is always asked anew.
 */

typedef struct {
    char  digest[65];       /* of all but the versions, in hex */
    char  key[65];
} tf_reuse_t;


/* Whether an answer may be given again: 1, and reuse is filled; or 0. */
int tf_reuse_may(const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_reuse_t *reuse);

/*
 * Then looks: *hit is 1, and answer filled, when there is one.  Without one
 * tf_reuse_keep() may be called later with the same reuse, if it has a key.
 */
tf_pg_status_t tf_reuse_find(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_reuse_t *reuse, tf_answer_t *answer,
    int *hit);

/* Remembers this job's answer; a failure is only logged. */
void tf_reuse_keep(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, const tf_reuse_t *reuse);


#endif /* TF_RAG_REUSE_H */
