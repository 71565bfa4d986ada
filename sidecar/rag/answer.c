#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rag/answering.h"
#include "rag/index.h"
#include "rag/scope.h"


static tf_answer_status_t tf_answer_retrieve(tf_answering_t *a,
    tf_answer_t *answer);
static tf_answer_status_t tf_answer_prepare(tf_answering_t *a,
    tf_answer_t *answer);


tf_answer_status_t
tf_rag_answer(const tf_answer_request_t *request, tf_answer_t *answer)
{
    int                        over;
    tf_answering_t            *a;
    tf_answer_status_t         rc;
    const tf_llm_model_t      *model;

    memset(answer, 0, sizeof(tf_answer_t));

    model = tf_llm_models_find(request->models, request->model);
    if (model == NULL) {
        return tf_answer_failed(answer, "model_not_found",
                                "This worker does not have the model.", 0);
    }

    if (!tf_llm_models_allowed(model, request->groups)) {
        return tf_answer_failed(answer, "model_not_allowed", "The model is "
                                "for groups that the asker does not have.",
                                0);
    }

    a = calloc(1, sizeof(tf_answering_t));
    if (a == NULL) {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    a->asked = request;
    a->model = model;
    tf_answer_watch(a);
    over = 0;
    rc = tf_answer_before(a, answer, &over);

    if (rc != TF_ANSWER_OK || over) {
        goto done;
    }

    if (model->retrieval) {
        rc = tf_answer_retrieve(a, answer);
    }

    if (rc == TF_ANSWER_OK) {
        rc = tf_answer_prepare(a, answer);
    }

    if (rc == TF_ANSWER_OK && model->by->wire != NULL
        && tf_answer_searched(a, model->retrieval) != 0)
    {
        rc = tf_answer_failed(answer, "internal_error", "The answer could not "
                              "be passed on as it came.", 1);
    }

    if (rc == TF_ANSWER_OK) {
        tf_answer_return(a);

        switch (tf_llm_answer(model, &a->request, &a->reply)) {

        case TF_LLM_OK:
            rc = tf_answer_finish(a, answer);

            /*
             * what nobody paid for, somebody else wrote, or is not whole, is
             * not kept
             */

            if (rc == TF_ANSWER_OK && a->reply.model == model
                && a->vector.error == NULL && a->order.error == NULL
                && answer->tool_calls.len == 0 && !a->reply.incomplete
                && a->reply.output_tokens + a->reply.input_tokens > 0)
            {
                tf_answer_keep(a);
            }

            break;

        case TF_LLM_CANCELLED:
            rc = TF_ANSWER_CANCELLED;
            break;

        default: /* TF_LLM_FAILED */
            answer->retry_after = a->reply.retry_after;
            answer->waits = a->reply.waits;
            rc = tf_answer_failed(answer, a->reply.code, a->reply.message,
                                  a->reply.retryable);
            break;
        }
    }

done:

    tf_answer_return(a);
    tf_talk_free(&a->talk);
    tf_llm_reply_free(&a->reply);
    tf_flow_free(&a->flow);
    free(a->passages);
    free(a->quotes);
    tf_rag_vector_free(&a->vector);
    tf_rag_found_free(&a->found);
    free(a);

    return rc;
}


void
tf_rag_answer_free(tf_answer_t *answer)
{
    tf_buf_free(&answer->body);
    tf_buf_free(&answer->citations);
    tf_buf_free(&answer->usage);
    tf_buf_free(&answer->tool_calls);
}


/* What is searched for. */

static const char *
tf_answer_question(const tf_answer_request_t *request,
    const tf_answering_t *a)
{
    return a->talk.restated.len ? a->talk.restated.data : request->question;
}


/* The question's vector: no connection waits for the model that makes it. */

static tf_answer_status_t
tf_answer_vector(tf_answering_t *a, const char *question, tf_answer_t *answer)
{
    tf_pg_status_t      rc;
    tf_answer_status_t  status;

    status = tf_answer_borrow(a, answer);

    if (status != TF_ANSWER_OK) {
        return status;
    }

    rc = tf_rag_vector_set(a->pg, a->asked, &a->vector);

    if (rc != TF_PG_OK || a->vector.model == NULL) {
        return tf_answer_store(a, rc, answer);
    }

    tf_answer_return(a);
    tf_rag_vector(a->asked, question, &a->vector);

    return tf_answer_borrow(a, answer);
}


static tf_answer_status_t
tf_answer_retrieve(tf_answering_t *a, tf_answer_t *answer)
{
    tf_pg_t                    *pg;
    tf_pg_status_t              rc;
    tf_rag_query_t              query;
    const char                 *question;
    tf_rag_scope_of_t           scope;
    tf_answer_status_t          status;
    const tf_answer_request_t  *request;

    request = a->asked;
    question = tf_answer_question(request, a);

    status = tf_answer_vector(a, question, answer);

    if (status != TF_ANSWER_OK) {
        return status;
    }

    pg = a->pg;

    memset(&query, 0, sizeof(query));
    query.vector = &a->vector;
    query.question = question;
    query.k = TF_ANSWER_PASSAGES;
    query.mem = request->mem;

    memset(&scope, 0, sizeof(scope));

    rc = tf_pg_begin_as(pg, request->tenant, request->owner, request->groups);

    if (rc == TF_PG_OK) {
        switch (tf_rag_scope_find(pg, a->model->only, request->collections,
                                  request->filters, &scope))
        {

        case TF_SCOPE_OK:
            query.scope.collections = scope.collections.data;
            query.scope.documents = scope.documents.data;
            break;

        case TF_SCOPE_REFUSED:
            status = tf_answer_failed(answer, scope.code, scope.message, 0);
            goto failed;

        default: /* TF_SCOPE_STORE */
            rc = scope.rc;
            break;
        }
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_search(pg, &query, &a->found);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_quotes(pg, question, &a->found);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);
    }

    if (rc == TF_PG_OK) {
        tf_answer_return(a);
        tf_rag_scope_free(&scope);
        tf_rag_order(request, question, &a->found, &a->order);
        return TF_ANSWER_OK;
    }

    status = tf_answer_store(a, rc, answer);

failed:

    tf_pg_rollback(pg);
    tf_rag_scope_free(&scope);

    return status;
}


static tf_answer_status_t
tf_answer_prepare(tf_answering_t *a, tf_answer_t *answer)
{
    size_t                      i;
    uint64_t                    seen;
    tf_rag_hit_t               *hit;
    tf_rag_unit_t              *unit;
    tf_llm_quote_t             *quote;
    tf_llm_passage_t           *passage;
    const tf_answer_request_t  *request;

    request = a->asked;

    a->passages = calloc(a->found.nhits + 1, sizeof(tf_llm_passage_t));
    a->quotes = calloc(a->found.nunits + 1, sizeof(tf_llm_quote_t));

    if (a->passages == NULL || a->quotes == NULL) {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    a->request.question = request->question;
    a->request.instructions = request->instructions;
    a->request.options = request->options;
    a->request.after = request->after;
    a->request.restated = a->talk.restated.len ? a->talk.restated.data : NULL;
    a->request.summary = a->talk.summary.len ? a->talk.summary.data : NULL;
    a->request.turns = a->talk.turns + a->talk.first;
    a->request.nturns = a->talk.nturns - a->talk.first;
    a->request.attempt = request->attempt;
    a->request.cancel = request->cancel;
    a->request.threshold = request->conf->answer_threshold;
    a->request.passages = a->passages;
    a->request.npassages = a->found.nhits;
    a->request.quotes = a->quotes;

    seen = 0;

    for (i = 0; i < a->found.nhits; i++) {
        hit = &a->found.hits[i];
        passage = &a->passages[i];

        passage->chunk = hit->chunk;
        passage->document = hit->document;
        passage->source = hit->source;
        passage->title = hit->title;
        passage->heading = hit->heading;
        passage->body = hit->body;
        passage->start = hit->start;
        passage->score = hit->score;

        seen |= hit->terms;

        if (hit->sure > a->request.sure) {
            a->request.sure = hit->sure;
        }
    }

    for (i = 0; i < a->found.nterms && a->request.unknown == NULL; i++) {
        if (a->found.terms[i].name && !(seen & (UINT64_C(1) << i))) {
            a->request.unknown = a->found.terms[i].text;
        }
    }

    for (i = 0; i < a->found.nunits; i++) {
        unit = &a->found.units[i];

        if (a->found.hits[unit->hit].sure < a->request.threshold) {
            continue;
        }

        quote = &a->quotes[a->request.nquotes++];
        quote->passage = unit->hit;
        quote->start = unit->start;
        quote->end = unit->end;
        quote->score = unit->score;
    }

    return TF_ANSWER_OK;
}
