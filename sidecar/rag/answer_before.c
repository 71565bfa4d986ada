#include <stdio.h>

#include "base/log.h"
#include "rag/answering.h"


/*
 * What stands around the search and the model: the connection, what was said
 * before, and the answers that are given again.
 */

tf_answer_status_t
tf_answer_borrow(tf_answering_t *a, tf_answer_t *answer)
{
    const tf_answer_request_t  *asked;

    if (a->pg != NULL) {
        return TF_ANSWER_OK;
    }

    asked = a->asked;
    a->pg = tf_pg_pool_get(asked->pool, TF_PG_SHORT, TF_PG_WAIT_MS,
                           asked->cancel);

    if (a->pg != NULL) {
        return TF_ANSWER_OK;
    }

    if (asked->cancel != NULL && atomic_load(asked->cancel)) {
        return TF_ANSWER_CANCELLED;
    }

    (void) snprintf(answer->message, sizeof(answer->message),
                    "no connection was free for %d s: raise "
                    "\"pg_connections\", or look what PostgreSQL is busy "
                    "with", TF_PG_WAIT_MS / 1000);

    return TF_ANSWER_LATE;
}


void
tf_answer_return(tf_answering_t *a)
{
    if (a->pg != NULL) {
        tf_pg_pool_put(a->asked->pool, a->pg);
        a->pg = NULL;
    }
}


tf_answer_status_t
tf_answer_store(tf_answering_t *a, tf_pg_status_t rc, tf_answer_t *answer)
{
    if (rc == TF_PG_OK) {
        return TF_ANSWER_OK;
    }

    /* no connection: away, or its schema or password is another one */

    if (a->pg != NULL && (rc == TF_PG_DOWN || a->pg->conn == NULL)) {
        (void) snprintf(answer->message, sizeof(answer->message), "%.255s",
                        a->pg->err);
        return TF_ANSWER_STORE;
    }

    tf_log(TF_LOG_ERROR, "a question could not be looked up: %s",
           a->pg ? a->pg->err : "out of memory");

    return tf_answer_failed(answer, "internal_error",
                            "The documents could not be searched.", 1);
}


/* What was said before is in a->talk. */

static tf_answer_status_t
tf_answer_listen(tf_answering_t *a, tf_answer_t *answer)
{
    tf_pg_status_t              rc;
    tf_answer_status_t          status;
    const tf_answer_request_t  *request;

    request = a->asked;
    rc = TF_PG_OK;

    if (request->conversation != NULL
        || (request->previous != NULL && a->model->by->wire != NULL))
    {
        status = tf_answer_borrow(a, answer);
        if (status != TF_ANSWER_OK) {
            return status;
        }
    }

    if (request->conversation != NULL) {
        rc = tf_talk_open(a->pg, request, a->model, &a->talk);
    }

    if (rc == TF_PG_OK
        && (request->previous != NULL || request->turns != NULL))
    {
        rc = tf_talk_tell(a->pg, request, a->model, &a->talk);
    }

    if (rc == TF_PG_OK && a->talk.cut && request->options != NULL
        && request->options->whole)
    {
        return tf_answer_failed(answer, "model_rejected", "What was said "
                                "before is longer than the model can be told: "
                                "ask with \"truncation\": \"auto\", or tell "
                                "less.", 0);
    }

    return tf_answer_store(a, rc, answer);
}


/* What a model makes of it; the next question can have the summary again. */

static void
tf_answer_talk(tf_answering_t *a)
{
    const tf_answer_request_t  *request;

    request = a->asked;
    tf_answer_return(a);

    if (tf_talk_summarise(request, a->model, &a->talk)) {
        a->pg = tf_pg_pool_get(request->pool, TF_PG_SHORT, TF_ANSWER_WAIT_MS,
                               request->cancel);

        if (a->pg == NULL
            || tf_talk_keep(a->pg, request, &a->talk) != TF_PG_OK)
        {
            tf_log(TF_LOG_WARN, "the summary of a conversation was not "
                   "stored: %s", a->pg ? a->pg->err
                                       : "no connection was free");
        }

        tf_answer_return(a);
    }

    tf_talk_restate(request, a->model, &a->talk);
}


tf_answer_status_t
tf_answer_before(tf_answering_t *a, tf_answer_t *answer, int *over)
{
    tf_pg_status_t      rc;
    tf_answer_status_t  status;

    status = tf_answer_listen(a, answer);

    if (status != TF_ANSWER_OK) {
        return status;
    }

    if (!tf_talk_empty(&a->talk)) {
        tf_answer_talk(a);
        return TF_ANSWER_OK;
    }

    if (!tf_reuse_may(a->asked, a->model, &a->reuse)) {
        return TF_ANSWER_OK;
    }

    status = tf_answer_borrow(a, answer);

    if (status == TF_ANSWER_OK) {
        rc = tf_reuse_find(a->pg, a->asked, a->model, &a->reuse, answer, over);
        status = tf_answer_store(a, rc, answer);
    }

    return status;
}


void
tf_answer_keep(tf_answering_t *a)
{
    const tf_answer_request_t  *request;

    if (a->reuse.key[0] == '\0') {
        return;
    }

    request = a->asked;
    tf_answer_flush(a);

    a->pg = tf_pg_pool_get(request->pool, TF_PG_SHORT, TF_ANSWER_WAIT_MS,
                           request->cancel);

    if (a->pg == NULL) {
        tf_log(TF_LOG_INFO, "an answer was not remembered: no connection was "
               "free");
        return;
    }

    tf_reuse_keep(a->pg, request, a->model, &a->reuse);
    tf_answer_return(a);
}
