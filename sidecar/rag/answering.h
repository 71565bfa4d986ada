#ifndef TF_RAG_ANSWERING_H
#define TF_RAG_ANSWERING_H


#include "llm/provider.h"
#include "rag/answer.h"
#include "rag/flow.h"
#include "rag/reuse.h"
#include "rag/search.h"
#include "rag/talk.h"
#include "rag/vectors.h"


/*
 * An answer while it is made.  answer.c finds what it is made of and asks the
 * model, answer_before.c knows what was before; answer_out.c is what becomes of its reply, on the way and in the end.
 */

typedef struct {
    const tf_answer_request_t  *asked;
    tf_pg_t                    *pg;         /* while it is lent, or NULL */
    const tf_llm_model_t       *model;      /* that was asked for */
    tf_talk_t                   talk;
    tf_reuse_t                  reuse;
    tf_rag_found_t              found;
    tf_rag_vector_t             vector;
    tf_rag_order_t              order;
    tf_llm_request_t            request;
    tf_llm_reply_t              reply;
    tf_llm_passage_t           *passages;   /* arrays that point into what */
    tf_llm_quote_t             *quotes;     /* was found */

    tf_llm_sink_t               sink;
    tf_flow_t                   flow;
    int                         searched;   /* who watches was told so, */
    int                         shown;      /* and was given text */
} tf_answering_t;


/* answer_before.c */

/*
 * The database is needed: a->pg is there until tf_answer_return().  Else
 * nothing of a->pg is used.
 */
tf_answer_status_t tf_answer_borrow(tf_answering_t *a, tf_answer_t *answer);
void tf_answer_return(tf_answering_t *a);

/* It was read or written; if not, this says what that means. */
tf_answer_status_t tf_answer_store(tf_answering_t *a, tf_pg_status_t rc,
    tf_answer_t *answer);

/* What was said before; without that, what was answered before (*over). */
tf_answer_status_t tf_answer_before(tf_answering_t *a, tf_answer_t *answer,
    int *over);

/* The answer is there, and does not wait long for that. */
void tf_answer_keep(tf_answering_t *a);


/* answer_out.c */

/* The model's text goes on from here; before it is asked. */
void tf_answer_watch(tf_answering_t *a);

/* Who watches is told, once, that the search is over; 0, or -1. */
int tf_answer_searched(tf_answering_t *a, int news);

/* Something is waited for: who watches sees what there is. */
void tf_answer_flush(tf_answering_t *a);

/* From the reply of a model: the answer as it may be served. */
tf_answer_status_t tf_answer_finish(tf_answering_t *a, tf_answer_t *answer);

tf_answer_status_t tf_answer_failed(tf_answer_t *answer, const char *code,
    const char *message, int retryable);


#endif /* TF_RAG_ANSWERING_H */
