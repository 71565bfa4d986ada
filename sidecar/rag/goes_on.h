#ifndef TF_RAG_GOES_ON_H
#define TF_RAG_GOES_ON_H


#include "db/pg.h"
#include "rag/answer.h"


/*
 * A question that is asked again with the results of the tools which its
 * answer has called.  Its payload has no "query", but "after", the results,
 * and "previous", the job that has called; that may have gone on itself with
 * an earlier one, and so on, to the one that has the question.
 *
 * That chain is followed through jobs of the same owner that succeeded, as
 * that of a conversation is (talk.h).  The question and what was said before
 * it are those of the oldest; what was called and returned since, in its
 * order, is what stands behind the question.
 */

#define TF_GOES_ON_MAX  64      /* jobs of a chain */

typedef struct {
    char        *question;
    char        *previous;
    json_t      *turns;
    json_t      *after;
    const char  *why;           /* it cannot go on; static, or NULL */
} tf_goes_on_t;


/*
 * Fills in the request's question, turns, previous and after, which live as
 * long as g does; it is zeroed before, and freed always.  In a transaction of
 * its own.
 */
tf_pg_status_t tf_rag_goes_on(tf_pg_t *pg, tf_answer_request_t *request,
    tf_goes_on_t *g);
void tf_rag_goes_on_free(tf_goes_on_t *g);


#endif /* TF_RAG_GOES_ON_H */
