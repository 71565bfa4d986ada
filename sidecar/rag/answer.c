#define _GNU_SOURCE     /* memmem() */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "llm/provider.h"
#include "rag/answer.h"
#include "rag/cite.h"
#include "rag/index.h"
#include "rag/reuse.h"
#include "rag/safe.h"
#include "rag/scope.h"
#include "rag/search.h"
#include "rag/talk.h"
#include "rag/vectors.h"


/* What a provider is given: arrays that point into what was found. */

typedef struct {
    const tf_llm_model_t  *model;       /* that was asked for */
    tf_talk_t           talk;
    tf_reuse_t          reuse;
    tf_rag_found_t      found;
    tf_rag_vector_t     vector;
    tf_rag_order_t      order;
    tf_llm_request_t    request;
    tf_llm_reply_t      reply;
    tf_llm_passage_t   *passages;
    tf_llm_quote_t     *quotes;
} tf_answering_t;


static tf_answer_status_t tf_answer_before(tf_pg_t *pg,
    const tf_answer_request_t *request, const tf_llm_model_t *model,
    tf_answering_t *a, tf_answer_t *answer, int *over);
static tf_answer_status_t tf_answer_retrieve(tf_pg_t *pg,
    const tf_answer_request_t *request, tf_answering_t *a,
    tf_answer_t *answer);
static tf_answer_status_t tf_answer_prepare(const tf_pg_t *pg,
    const tf_answer_request_t *request, tf_answering_t *a,
    tf_answer_t *answer);
static tf_answer_status_t tf_answer_finish(tf_answering_t *a,
    tf_answer_t *answer);
static void tf_answer_usage(const tf_answering_t *a, tf_buf_t *usage);
static int tf_answer_generated(tf_answering_t *a);
static int tf_answer_check(const tf_answering_t *a);
static json_t *tf_answer_citation(const tf_answering_t *a, size_t i);
static tf_answer_status_t tf_answer_store(tf_pg_t *pg, tf_pg_status_t rc,
    tf_answer_t *answer);
static tf_answer_status_t tf_answer_failed(tf_answer_t *answer,
    const char *code, const char *message, int retryable);


tf_answer_status_t
tf_rag_answer(tf_pg_t *pg, const tf_answer_request_t *request,
    tf_answer_t *answer)
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

    a = calloc(1, sizeof(tf_answering_t));
    if (a == NULL) {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    a->model = model;
    over = 0;
    rc = tf_answer_before(pg, request, model, a, answer, &over);

    if (rc != TF_ANSWER_OK || over) {
        goto done;
    }

    if (model->retrieval) {
        rc = tf_answer_retrieve(pg, request, a, answer);
    }

    if (rc == TF_ANSWER_OK) {
        rc = tf_answer_prepare(pg, request, a, answer);
    }

    if (rc == TF_ANSWER_OK) {
        switch (tf_llm_answer(model, &a->request, &a->reply)) {

        case TF_LLM_OK:
            rc = tf_answer_finish(a, answer);

            /* what nobody paid for, or somebody else wrote, is not kept */

            if (rc == TF_ANSWER_OK && a->reply.model == model
                && a->vector.error == NULL && a->order.error == NULL
                && a->reply.output_tokens + a->reply.input_tokens > 0)
            {
                tf_reuse_keep(pg, request, model, &a->reuse);
            }

            break;

        case TF_LLM_CANCELLED:
            rc = TF_ANSWER_CANCELLED;
            break;

        default: /* TF_LLM_FAILED */
            answer->retry_after = a->reply.retry_after;
            rc = tf_answer_failed(answer, a->reply.code, a->reply.message,
                                  a->reply.retryable);
            break;
        }
    }

done:

    tf_talk_free(&a->talk);
    tf_llm_reply_free(&a->reply);
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
}


/* What was said before; without that, what was answered before (*over). */

static tf_answer_status_t
tf_answer_before(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_answering_t *a, tf_answer_t *answer,
    int *over)
{
    tf_pg_status_t  rc;

    rc = TF_PG_OK;

    if (request->conversation != NULL) {
        rc = tf_talk_open(pg, request, model, &a->talk);
    }

    if (rc == TF_PG_OK && tf_talk_empty(&a->talk)) {
        rc = tf_reuse_find(pg, request, model, &a->reuse, answer, over);

    } else if (rc == TF_PG_OK) {
        tf_talk_summarise(pg, request, model, &a->talk);
        tf_talk_restate(request, model, &a->talk);
    }

    return rc == TF_PG_OK ? TF_ANSWER_OK : tf_answer_store(pg, rc, answer);
}


/* What is searched for. */

static const char *
tf_answer_question(const tf_answer_request_t *request,
    const tf_answering_t *a)
{
    return a->talk.restated.len ? a->talk.restated.data : request->question;
}


static tf_answer_status_t
tf_answer_retrieve(tf_pg_t *pg, const tf_answer_request_t *request,
    tf_answering_t *a, tf_answer_t *answer)
{
    tf_pg_status_t      rc;
    tf_rag_query_t      query;
    const char         *question;
    tf_rag_scope_of_t   scope;
    tf_answer_status_t  status;

    question = tf_answer_question(request, a);

    rc = tf_rag_vector(pg, request, question, &a->vector);

    if (rc != TF_PG_OK) {
        return tf_answer_store(pg, rc, answer);
    }

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
        tf_rag_scope_free(&scope);
        tf_rag_order(request, question, &a->found, &a->order);
        return TF_ANSWER_OK;
    }

    status = tf_answer_store(pg, rc, answer);

failed:

    tf_pg_rollback(pg);
    tf_rag_scope_free(&scope);

    return status;
}


static tf_answer_status_t
tf_answer_store(tf_pg_t *pg, tf_pg_status_t rc, tf_answer_t *answer)
{
    /* no connection: away, or its schema or password is another one */

    if (rc == TF_PG_DOWN || pg->conn == NULL) {
        return TF_ANSWER_STORE;
    }

    tf_log(TF_LOG_ERROR, "a question could not be looked up: %s", pg->err);

    return tf_answer_failed(answer, "internal_error",
                            "The documents could not be searched.", 1);
}


static tf_answer_status_t
tf_answer_failed(tf_answer_t *answer, const char *code, const char *message,
    int retryable)
{
    answer->code = code;
    answer->retryable = retryable;
    (void) snprintf(answer->message, sizeof(answer->message), "%s", message);

    return TF_ANSWER_FAILED;
}


static tf_answer_status_t
tf_answer_prepare(const tf_pg_t *pg, const tf_answer_request_t *request,
    tf_answering_t *a, tf_answer_t *answer)
{
    double             coverage;
    size_t             i;
    uint64_t           seen;
    tf_rag_hit_t      *hit;
    tf_rag_unit_t     *unit;
    tf_llm_quote_t    *quote;
    tf_llm_passage_t  *passage;

    a->passages = calloc(a->found.nhits + 1, sizeof(tf_llm_passage_t));
    a->quotes = calloc(a->found.nunits + 1, sizeof(tf_llm_quote_t));

    if (a->passages == NULL || a->quotes == NULL) {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    a->request.question = request->question;
    a->request.restated = a->talk.restated.len ? a->talk.restated.data : NULL;
    a->request.summary = a->talk.summary.len ? a->talk.summary.data : NULL;
    a->request.turns = a->talk.turns + a->talk.first;
    a->request.nturns = a->talk.nturns - a->talk.first;
    a->request.attempt = request->attempt;
    a->request.cancel = request->cancel;
    a->request.threshold = pg->conf->answer_threshold;
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

        coverage = tf_rag_coverage(&a->found, hit->terms);
        if (coverage > a->request.coverage) {
            a->request.coverage = coverage;
        }
    }

    for (i = 0; i < a->found.nterms && a->request.unknown == NULL; i++) {
        if (a->found.terms[i].name && !(seen & (UINT64_C(1) << i))) {
            a->request.unknown = a->found.terms[i].text;
        }
    }

    for (i = 0; i < a->found.nunits; i++) {
        unit = &a->found.units[i];

        if (tf_rag_coverage(&a->found, a->found.hits[unit->hit].terms)
            < a->request.threshold)
        {
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


static tf_answer_status_t
tf_answer_finish(tf_answering_t *a, tf_answer_t *answer)
{
    char    *text;
    size_t   i;
    json_t  *list;

    if (a->reply.body.failed
        || (a->reply.generated && tf_answer_generated(a) != 0))
    {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    if (!a->reply.generated && !tf_answer_check(a)) {
        tf_log(TF_LOG_ERROR, "the model gave a citation that is not in its "
               "passage; the answer is not served");

        return tf_answer_failed(answer, "internal_error",
                                "A citation did not match its document.", 1);
    }

    list = json_array();

    for (i = 0; i < a->reply.ncitations; i++) {
        (void) json_array_append_new(list, tf_answer_citation(a, i));
    }

    text = json_array_size(list) == a->reply.ncitations
           ? json_dumps(list, JSON_COMPACT|JSON_REAL_PRECISION(6)) : NULL;
    json_decref(list);

    if (text == NULL) {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    tf_buf_puts(&answer->citations, text);
    free(text);

    tf_buf_append(&answer->body, a->reply.body.data, a->reply.body.len);
    tf_answer_usage(a, &answer->usage);

    if (answer->citations.failed || answer->body.failed
        || answer->usage.failed)
    {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    return TF_ANSWER_OK;
}


/*
 * Who answered (a fallback may have), how many tokens that and what was before
 * it took, and what it cost where the models have a price.
 */

static void
tf_answer_usage(const tf_answering_t *a, tf_buf_t *usage)
{
    double                 cost;
    long long              input, output;
    const tf_llm_model_t  *by, *asked;

    by = a->reply.model;
    asked = a->model;
    input = a->reply.input_tokens + a->talk.input_tokens;
    output = a->reply.output_tokens + a->talk.output_tokens;

    tf_buf_printf(usage, "{\"input_tokens\":%lld,\"output_tokens\":%lld,"
                  "\"total_tokens\":%lld,\"model\":\"%s\"",
                  input, output, input + output, by->name);

    cost = (double) a->reply.input_tokens * by->input_price
           + (double) a->reply.output_tokens * by->output_price
           + (double) a->talk.input_tokens * asked->input_price
           + (double) a->talk.output_tokens * asked->output_price;

    cost = cost / 1e6 + tf_rag_vector_cost(&a->vector);

    if (cost > 0 || by->input_price > 0 || by->output_price > 0) {
        tf_buf_printf(usage, ",\"cost\":%.6f", cost);
    }

    tf_rag_vector_usage(&a->vector, &a->order, usage);

    tf_buf_puts(usage, "}");
}


/* Whether the question or a passage has the URL word for word. */

static int
tf_answer_known(void *arg, const char *url, size_t len)
{
    size_t                 i;
    const tf_answering_t  *a = arg;

    if (memmem(a->request.question, strlen(a->request.question), url, len)
        != NULL)
    {
        return 1;
    }

    for (i = 0; i < a->request.npassages; i++) {
        if (memmem(a->passages[i].body, strlen(a->passages[i].body), url, len)
            != NULL)
        {
            return 1;
        }
    }

    return 0;
}


/* What a model wrote becomes what may be served. */

static int
tf_answer_generated(tf_answering_t *a)
{
    tf_buf_t   safe = TF_BUF_INIT;
    unsigned   removed, moved, dropped;

    removed = 0;
    moved = 0;
    dropped = 0;

    if (tf_rag_safe(&a->reply.body, &safe, tf_answer_known, a, &removed) != 0)
    {
        tf_buf_free(&safe);
        return -1;
    }

    tf_buf_free(&a->reply.body);
    a->reply.body = safe;

    if (tf_rag_cite(&a->request, &a->reply, &moved, &dropped) != 0) {
        return -1;
    }

    if (removed || moved || dropped) {
        tf_log(TF_LOG_INFO, "of the answer of model %s %u links or tags were "
               "taken out, %u citations moved and %u dropped",
               a->reply.model->name, removed, moved, dropped);
    }

    return 0;
}


static int
tf_answer_check(const tf_answering_t *a)
{
    char                     mark[32];
    size_t                   i, n, len;
    const char              *pos, *end, *quote;
    const tf_llm_quote_t    *citation;
    const tf_llm_passage_t  *passage;

    pos = a->reply.body.data;
    end = pos + a->reply.body.len;

    for (i = 0; i < a->reply.ncitations; i++) {
        citation = &a->reply.citations[i];

        if (citation->passage >= a->request.npassages) {
            return 0;
        }

        passage = &a->passages[citation->passage];
        len = strlen(passage->body);

        if (citation->start >= citation->end || citation->end > len
            || (passage->body[citation->start] & 0xc0) == 0x80
            || (passage->body[citation->end] & 0xc0) == 0x80)
        {
            return 0;
        }

        quote = passage->body + citation->start;
        len = citation->end - citation->start;

        n = (size_t) snprintf(mark, sizeof(mark), "[%zu]", i + 1);

        /* the words may also stand elsewhere, without the mark */

        for ( ;; ) {
            pos = memmem(pos, (size_t) (end - pos), quote, len);

            if (pos == NULL || (size_t) (end - pos) < len + 1 + n) {
                return 0;
            }

            if ((pos[len] == ' ' || pos[len] == '\n')
                && memcmp(pos + len + 1, mark, n) == 0)
            {
                break;
            }

            pos++;
        }

        pos += len;
    }

    return 1;
}


static json_t *
tf_answer_citation(const tf_answering_t *a, size_t i)
{
    const tf_llm_quote_t    *citation;
    const tf_llm_passage_t  *passage;

    citation = &a->reply.citations[i];
    passage = &a->passages[citation->passage];

    return json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:f}",
                     "n", (json_int_t) (i + 1),
                     "document_id", passage->document,
                     "source", passage->source,
                     "title", passage->title,
                     "chunk_id", (json_int_t) passage->chunk,
                     "start", (json_int_t) (passage->start + citation->start),
                     "end", (json_int_t) (passage->start + citation->end),
                     "score", passage->score);
}
