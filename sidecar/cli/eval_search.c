#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/eval.h"
#include "rag/answer.h"
#include "rag/evaluate.h"
#include "rag/search.h"


/*
 * The search of a question of retrieval, and what it costs.
 *
 * A rank of 100 documents wants more passages than an answer has.  So what is
 * measured is the ranking, not the time of a job, unless --job is given.
 */

#define TF_EVAL_PASSAGES  400   /* so that 100 documents come */


static tf_pg_status_t tf_eval_lookup(tf_eval_t *e,
    const tf_rag_query_t *query, tf_rag_found_t *found);
static int tf_eval_order(tf_eval_t *e, const char *question,
    tf_rag_found_t *found);
static void tf_eval_cost(tf_eval_t *e, const char *name,
    const tf_rag_cost_t *cost);


int
tf_eval_search(tf_eval_t *e, const char *question, tf_rag_found_t *found)
{
    int64_t          began;
    double          *more;
    tf_rag_query_t   query;
    tf_pg_status_t   rc;
    tf_rag_vector_t  vector;

    memset(&query, 0, sizeof(query));
    query.vector = &vector;
    query.question = question;
    query.k = e->job ? TF_ANSWER_PASSAGES : TF_EVAL_PASSAGES;
    query.mem = e->mem;
    query.steps = e->job ? &e->steps : NULL;

    if (e->nasked == e->room) {
        e->room = e->room ? e->room * 2 : 1024;
        more = realloc(e->ms, e->room * sizeof(double));
        if (more == NULL) {
            return tf_cli_error(&e->cli, "out of memory");
        }
        e->ms = more;
    }

    if (tf_eval_vector(e, question, &vector) != 0) {
        tf_rag_vector_free(&vector);
        return -1;
    }

    if (e->job) {
        tf_rag_steps_begin(&e->steps, &e->pg);
    }

    began = tf_clock_us();
    rc = tf_eval_lookup(e, &query, found);
    tf_rag_vector_free(&vector);

    if (rc != TF_PG_OK) {
        (void) tf_cli_error(&e->cli, "%s", e->pg.err);
        tf_pg_rollback(&e->pg);
        return -1;
    }

    e->ms[e->nasked++] = (double) (tf_clock_us() - began) / 1000;

    return tf_eval_order(e, question, found);
}


static tf_pg_status_t
tf_eval_lookup(tf_eval_t *e, const tf_rag_query_t *query,
    tf_rag_found_t *found)
{
    tf_pg_status_t  rc;

    rc = tf_pg_begin_as(&e->pg, e->tenant, TF_EVAL_OWNER, "[]");
    tf_rag_step(query->steps, "begin");

    if (rc == TF_PG_OK) {
        rc = tf_rag_search(&e->pg, query, found);
    }

    if (rc == TF_PG_OK && e->job) {
        rc = tf_rag_quotes(&e->pg, query->question, found);
        tf_rag_step(query->steps, "quotes");
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(&e->pg);
        tf_rag_step(query->steps, "commit");
    }

    return rc;
}


/* As many as an answer shows to the model; the others stay behind them. */

static int
tf_eval_order(tf_eval_t *e, const char *question, tf_rag_found_t *found)
{
    size_t           n;
    tf_rag_order_t   order;

    if (e->rerank == NULL) {
        return 0;
    }

    memset(&order, 0, sizeof(tf_rag_order_t));
    order.model = tf_llm_models_of(e->models, TF_LLM_RERANK, e->rerank);

    if (order.model == NULL) {
        return tf_cli_error(&e->cli, "there is no model \"%s\" of kind "
                            "rerank: \"trifecta models --long\" lists them",
                            e->rerank);
    }

    if (e->nasked == 1) {
        (void) json_object_set_new(e->report, "rerank",
                                   json_string(e->rerank));
    }

    /* a measurement in another order would be one of something else */

    n = found->nhits;
    found->nhits = n < TF_ANSWER_PASSAGES ? n : TF_ANSWER_PASSAGES;
    tf_rag_order_by(question, NULL, found, &order);
    found->nhits = n;

    if (order.error != NULL) {
        return tf_cli_error(&e->cli, "passages could not be ordered by %s: "
                            "%s; the log says why", e->rerank, order.error);
    }

    return 0;
}


static void
tf_eval_cost(tf_eval_t *e, const char *name, const tf_rag_cost_t *cost)
{
    char    full[64];
    double  n;

    n = (double) e->nasked;

    (void) snprintf(full, sizeof(full), "%s_ms", name);
    tf_eval_say(e, full, cost->wall / n);

    (void) snprintf(full, sizeof(full), "%s_cpu_ms", name);
    tf_eval_say(e, full, cost->own / n);

    if (!e->steps.blind) {
        (void) snprintf(full, sizeof(full), "%s_postgresql_cpu_ms", name);
        tf_eval_say(e, full, cost->store / n);
    }
}


void
tf_eval_searched(tf_eval_t *e)
{
    char            name[32];
    size_t          i;
    tf_rag_cost_t   all;

    tf_eval_say(e, "search_p50_ms", tf_eval_quantile(e->ms, e->nasked, 0.5));
    tf_eval_say(e, "search_p99_ms", tf_eval_quantile(e->ms, e->nasked, 0.99));

    if (!e->job) {
        return;
    }

    memset(&all, 0, sizeof(tf_rag_cost_t));

    for (i = 0; i < e->steps.n; i++) {
        all.wall += e->steps.of[i].cost.wall;
        all.own += e->steps.of[i].cost.own;
        all.store += e->steps.of[i].cost.store;
    }

    tf_eval_cost(e, "search", &all);

    for (i = 0; i < e->steps.n; i++) {
        (void) snprintf(name, sizeof(name), "step_%s", e->steps.of[i].name);
        tf_eval_cost(e, name, &e->steps.of[i].cost);
    }
}
