#ifndef TF_RAG_VECTORS_H
#define TF_RAG_VECTORS_H


#include "base/buf.h"
#include "llm/models.h"
#include "rag/answer.h"
#include "rag/search.h"
#include "rag/sets.h"


/*
 * What models do for a search: the question's vector before it, and the order
 * of the passages after it.
 *
 * Both are calls to servers and belong outside of a transaction.  Neither can
 * fail a question: when a server is away, slow or wrong, the search goes on
 * with words alone, or its own order stays, and the answer's usage says so.
 *
 * The set that is live is chosen here, once; the search then looks at that set
 * and no other, whatever is switched to meanwhile.  What is looked for may be
 * another question than the request's: one that stands alone.
 */

typedef struct tf_rag_vector_s  tf_rag_vector_t;

struct tf_rag_vector_s {
    tf_rag_set_t           set;         /* id 0: none is live */
    tf_buf_t               text;        /* the vector; empty: it failed */
    const tf_llm_model_t  *model;       /* or NULL: it is not here */
    const char            *error;       /* its code, or NULL */
    long long              tokens;
};

typedef struct {
    const tf_llm_model_t  *model;       /* NULL: there is none */
    const char            *error;       /* its code, or NULL */
} tf_rag_order_t;


/*
 * Which set is looked at; only the store can fail this.  With a model in
 * vector tf_rag_vector() then asks that.
 */
tf_pg_status_t tf_rag_vector_set(tf_pg_t *pg,
    const tf_answer_request_t *request, tf_rag_vector_t *vector);
void tf_rag_vector(const tf_answer_request_t *request, const char *question,
    tf_rag_vector_t *vector);
void tf_rag_vector_free(tf_rag_vector_t *vector);

/* Sorts what was found, hits and what refers to them. */
void tf_rag_order(const tf_answer_request_t *request, const char *question,
    tf_rag_found_t *found, tf_rag_order_t *order);

/* The same by the model in order, if there is one. */
void tf_rag_order_by(const char *question, const atomic_int *cancel,
    tf_rag_found_t *found, tf_rag_order_t *order);

/* {...,"embedding":{...},"rerank":{...}}: members for the usage, if any. */
void tf_rag_vector_usage(const tf_rag_vector_t *vector,
    const tf_rag_order_t *order, tf_buf_t *usage);
double tf_rag_vector_cost(const tf_rag_vector_t *vector);


#endif /* TF_RAG_VECTORS_H */
