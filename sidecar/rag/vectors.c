#include "rag/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "llm/embed.h"


/* The live set, in a transaction of its own. */

static tf_pg_status_t
tf_vector_set(tf_pg_t *pg, const tf_answer_request_t *request,
    tf_rag_set_t *set)
{
    const char            *name;
    const json_t          *names;
    tf_pg_status_t         rc;
    const tf_llm_model_t  *model;

    model = tf_llm_models_find(request->models, request->model);
    names = request->collections == NULL && model != NULL
            ? model->only : request->collections;

    name = json_array_size(names) == 1
           ? json_string_value(json_array_get(names, 0)) : NULL;

    rc = tf_pg_begin_as(pg, request->tenant, request->owner, request->groups);

    if (rc == TF_PG_OK) {
        rc = tf_rag_set_live(pg, name, set);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);
    }

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
    }

    return rc;
}


tf_pg_status_t
tf_rag_vector_set(tf_pg_t *pg, const tf_answer_request_t *request,
    tf_rag_vector_t *vector)
{
    tf_pg_status_t  rc;

    memset(vector, 0, sizeof(tf_rag_vector_t));

    /*
     * An installation without such models has no sets to look for, and a
     * vector that weighs nothing is not asked for.
     */

    if (pg->conf->weight_vectors <= 0
        || tf_llm_models_of(request->models, TF_LLM_EMBEDDING, NULL) == NULL)
    {
        return TF_PG_OK;
    }

    rc = tf_vector_set(pg, request, &vector->set);

    if (rc != TF_PG_OK || vector->set.id == 0) {
        return rc;
    }

    vector->model = tf_llm_models_of(request->models, TF_LLM_EMBEDDING,
                                     vector->set.model);

    if (vector->model == NULL
        || vector->model->dimensions != vector->set.dims)
    {
        tf_log(TF_LOG_ERROR, "the live set %d is of model %s with %zu "
               "numbers, which this sidecar does not have: questions find "
               "words only", vector->set.id, vector->set.model,
               vector->set.dims);
        vector->model = NULL;
        vector->error = "model_not_found";
    }

    return TF_PG_OK;
}


void
tf_rag_vector(const tf_answer_request_t *request, const char *question,
    tf_rag_vector_t *vector)
{
    tf_llm_embed_t     embed;
    tf_llm_status_t    status;
    tf_llm_vectors_t   v;
    tf_llm_failure_t   failure;

    memset(&embed, 0, sizeof(embed));
    embed.texts = &question;
    embed.n = 1;
    embed.question = 1;
    embed.attempt = request->attempt;
    embed.cancel = request->cancel;

    status = tf_llm_embed(vector->model, &embed, &v, &failure);

    if (status == TF_LLM_OK) {
        tf_rag_set_vector(&vector->text, v.of, v.dims);
        vector->tokens = v.tokens;

        if (vector->text.failed) {
            vector->error = "internal_error";
        }

    } else {
        vector->error = status == TF_LLM_FAILED ? failure.code : "cancelled";
        tf_log(TF_LOG_WARN, "the question has no vector (%s) and finds words "
               "only", vector->error);
    }

    free(v.of);
}


void
tf_rag_vector_free(tf_rag_vector_t *vector)
{
    tf_buf_free(&vector->text);
}


typedef struct {
    size_t  hit;
    float   score;
} tf_order_t;


static int
tf_order_compare(const void *a, const void *b)
{
    const tf_order_t  *x = a, *y = b;

    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }

    return (x->hit > y->hit) - (x->hit < y->hit);
}


/* Hits in the new order; units go on pointing at theirs. */

static void
tf_order_apply(tf_rag_found_t *found, const tf_order_t *places,
    tf_rag_hit_t *hits, size_t *where)
{
    size_t  i;

    for (i = 0; i < found->nhits; i++) {
        hits[i] = found->hits[places[i].hit];
        where[places[i].hit] = i;
    }

    memcpy(found->hits, hits, found->nhits * sizeof(tf_rag_hit_t));

    for (i = 0; i < found->nunits; i++) {
        found->units[i].hit = where[found->units[i].hit];
    }
}


void
tf_rag_order(const tf_answer_request_t *request, const char *question,
    tf_rag_found_t *found, tf_rag_order_t *order)
{
    memset(order, 0, sizeof(tf_rag_order_t));
    order->model = tf_llm_models_of(request->models, TF_LLM_RERANK, NULL);

    tf_rag_order_by(question, request->cancel, found, order);
}


void
tf_rag_order_by(const char *question, const atomic_int *cancel,
    tf_rag_found_t *found, tf_rag_order_t *order)
{
    float               *scores;
    size_t               i, n, *where;
    tf_order_t          *places;
    const char         **texts;
    tf_rag_hit_t        *hits;
    tf_llm_status_t      rc;
    tf_llm_rerank_t      rerank;
    tf_llm_failure_t     failure;

    n = found->nhits;

    if (order->model == NULL || n < 2) {
        order->model = NULL;
        return;
    }

    scores = calloc(n, sizeof(float));
    texts = calloc(n, sizeof(char *));
    places = calloc(n, sizeof(tf_order_t));
    hits = calloc(n, sizeof(tf_rag_hit_t));
    where = calloc(n, sizeof(size_t));

    if (scores == NULL || texts == NULL || places == NULL || hits == NULL
        || where == NULL)
    {
        order->error = "internal_error";
        goto done;
    }

    for (i = 0; i < n; i++) {
        texts[i] = found->hits[i].body;
    }

    memset(&rerank, 0, sizeof(rerank));
    rerank.question = question;
    rerank.documents = texts;
    rerank.n = n;
    rerank.cancel = cancel;

    rc = tf_llm_rerank(order->model, &rerank, scores, &failure);

    if (rc != TF_LLM_OK) {
        order->error = rc == TF_LLM_FAILED ? failure.code : "cancelled";
        tf_log(TF_LOG_WARN, "the passages keep the order of the search (%s)",
               order->error);
        goto done;
    }

    for (i = 0; i < n; i++) {
        places[i].hit = i;
        places[i].score = scores[i];
    }

    qsort(places, n, sizeof(tf_order_t), tf_order_compare);
    tf_order_apply(found, places, hits, where);

done:

    free(scores);
    free(texts);
    free(places);
    free(hits);
    free(where);
}


static void
tf_vector_member(tf_buf_t *usage, const char *name, const char *model,
    const char *error)
{
    tf_buf_printf(usage, ",\"%s\":{\"model\":\"%s\"", name, model);

    if (error != NULL) {
        tf_buf_printf(usage, ",\"error\":\"%s\"", error);
    }
}


void
tf_rag_vector_usage(const tf_rag_vector_t *vector,
    const tf_rag_order_t *order, tf_buf_t *usage)
{
    if (vector->set.id != 0) {
        tf_vector_member(usage, "embedding", vector->set.model,
                         vector->error);

        if (vector->error == NULL) {
            tf_buf_printf(usage, ",\"input_tokens\":%lld", vector->tokens);
        }

        tf_buf_puts(usage, "}");
    }

    if (order->model != NULL) {
        tf_vector_member(usage, "rerank", order->model->name, order->error);
        tf_buf_puts(usage, "}");
    }
}


double
tf_rag_vector_cost(const tf_rag_vector_t *vector)
{
    return vector->model == NULL ? 0
           : (double) vector->tokens * vector->model->input_price / 1e6;
}
