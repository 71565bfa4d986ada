#ifndef TF_RAG_CITE_H
#define TF_RAG_CITE_H


#include <stdint.h>

#include <trifecta/code.h>

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
 *
 * The text comes in pieces, cut anywhere, and leaves as soon as it is decided:
 * a mark when the byte behind it is there ("[1](" begins a link), a piece of
 * code in a line, `a[1]`, when it is closed, fenced code at once.  What is
 * held back and what is remembered is bounded, and what becomes of a text
 * does not depend on how it was cut.
 */

#define TF_CITE_SUPPORT  0.5
#define TF_CITE_WORD     4      /* letters of a word that counts */
#define TF_CITE_PREFIX   6      /* bytes of it that must agree */
#define TF_CITE_CLAIM    1024   /* bytes before a mark that are looked at */
#define TF_CITE_MARKS    256    /* marks of an answer; those beyond go */
#define TF_CITE_MARK     128    /* bytes of one */
#define TF_CITE_CODE     TF_CODE_LINE
#define TF_CITE_NAMED    99     /* the highest number a mark can name */

typedef struct {
    const tf_llm_request_t  *request;   /* its passages */
    tf_buf_t                *out;
    tf_llm_quote_t           citations[TF_LLM_CITATIONS_MAX];
    size_t                   ncitations;
    unsigned                 moved;     /* marks that another passage got */
    unsigned                 dropped;

    tf_buf_t                 in;        /* what was last, what waits */
    size_t                   pos;       /* where it waits */
    size_t                   after;     /* where the last mark ended */
    tf_buf_t                 claim;     /* that the marks here are about */
    uint64_t                 here;      /* bits of the numbers behind it */
    size_t                   best;      /* passage for the claim, or none */
    unsigned char            fits[TF_CITE_NAMED];   /* may be cited for it */
    signed char              number[TF_CITE_NAMED + 1];     /* -1: not asked */
    unsigned                 marks;
    unsigned                 fence;     /* ticks of the open one, or 0 */
    unsigned                 row:1;     /* only blanks since the last mark */
    unsigned                 ends:1;    /* no more will come */
} tf_cite_t;


/* Text is appended to out. */
void tf_cite_begin(tf_cite_t *c, const tf_llm_request_t *request,
    tf_buf_t *out);

/* 0, or -1 when memory is short. */
int tf_cite_text(tf_cite_t *c, const char *text, size_t len);
int tf_cite_end(tf_cite_t *c);

void tf_cite_free(tf_cite_t *c);

/*
 * How much of a statement a text supports, 0 to 1; 1 when there is nothing in
 * it that could be looked for.  Both are UTF-8.
 */
double tf_cite_support(const char *claim, size_t len, const char *text,
    size_t textlen);


#endif /* TF_RAG_CITE_H */
