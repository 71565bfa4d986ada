#ifndef TF_RAG_CITE_H
#define TF_RAG_CITE_H


#include "llm/provider.h"


/*
 * Checks what a model claims to have read.
 *
 * In its answer "[n]" behind a statement refers to the n-th passage.  By
 * rule, not by asking a model again: the statement is the sentence before the
 * mark; at least TF_CITE_SUPPORT of its words (of four letters and more, by
 * their beginnings, which forgives inflection) and every number in it must
 * stand in the passage.  A mark that fails moves to the passage that supports
 * the statement best, or goes if there is none.  What is left is numbered
 * anew, 1, 2, 3 ... in the order of the answer, each number a quotation: the
 * unit of the passage that supports the statement best.
 *
 * What this cannot see: a statement of the passage's own words that turns
 * their meaning around.
 */

#define TF_CITE_SUPPORT  0.5
#define TF_CITE_WORD     4      /* letters of a word that counts */
#define TF_CITE_PREFIX   6      /* bytes of it that must agree */
#define TF_CITE_CLAIM    1024   /* bytes of a statement that are looked at */
#define TF_CITE_MARKS    256    /* marks of an answer; those beyond go */


/*
 * Rewrites the body and fills the citations of a generated reply; the counts
 * of marks that were moved and that went are added to moved and dropped.
 * 0, or -1 when memory is short.
 */
int tf_rag_cite(const tf_llm_request_t *request, tf_llm_reply_t *reply,
    unsigned *moved, unsigned *dropped);

/*
 * How much of a statement a text supports, 0 to 1; 1 when there is nothing in
 * it that could be looked for.  Both are UTF-8.
 */
double tf_cite_support(const char *claim, size_t len, const char *text,
    size_t textlen);


#endif /* TF_RAG_CITE_H */
