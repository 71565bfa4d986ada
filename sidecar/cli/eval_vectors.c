#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/eval.h"
#include "llm/embed.h"
#include "rag/sets.h"


/*
 * Vectors of a set's passages and questions: --embed MODEL makes an embedding
 * set of the passages, as "trifecta embed" and its jobs do, in the tenant of
 * the set, and switches to it.  Without --embed none is live.
 *
 * A measurement that quietly went on without vectors would be one of something
 * else, so here a server that fails is an error.
 */

#define TF_EVAL_SETS_MS  600000
#define TF_EVAL_TRIES    20

typedef struct {
    tf_eval_t             *e;
    const tf_llm_model_t  *model;
    tf_rag_set_t           set;
    tf_rag_slice_t         slice;
    long long              tokens;
} tf_eval_vectors_t;


static int
tf_eval_store(tf_eval_t *e)
{
    (void) tf_cli_error(&e->cli, "%s", e->pg.err);
    tf_pg_rollback(&e->pg);

    return -1;
}


/*
 * One statement.  A set's table comes and goes with it, for which a lock is
 * waited half a second only: it is tried again.
 */

static int
tf_eval_change(tf_eval_t *e, const char *sql, int n,
    const char *const *params, PGresult **res)
{
    int             tries;
    tf_pg_status_t  rc;

    for (tries = 0; /* void */; tries++) {
        rc = tf_pg_begin_as(&e->pg, e->tenant, TF_EVAL_OWNER, "[]");

        if (rc == TF_PG_OK) {
            rc = tf_pg_query(&e->pg, res, TF_EVAL_SETS_MS, sql, n, params);
        }

        if (rc == TF_PG_OK) {
            break;
        }

        if (strcmp(e->pg.sqlstate, "55P03") != 0 || tries == TF_EVAL_TRIES) {
            return tf_eval_store(e);
        }

        tf_pg_rollback(&e->pg);
        (void) usleep(100000);
    }

    return tf_pg_commit(&e->pg) == TF_PG_OK ? 0 : tf_eval_store(e);
}


/* The set of this model: that of a run before with --keep, or a new one. */

static int
tf_eval_set(tf_eval_vectors_t *v)
{
    char         dims[24];
    PGresult    *res;
    const char  *params[3];

    (void) snprintf(dims, sizeof(dims), "%llu",
                    (unsigned long long) v->model->dimensions);

    params[0] = v->e->tenant;
    params[1] = v->model->name;
    params[2] = dims;

    if (tf_eval_change(v->e, "SELECT id FROM trifecta.embedding_set WHERE "
                       "tenant = $1 AND model = $2 AND dimensions = "
                       "$3::integer AND collection IS NULL ORDER BY id LIMIT "
                       "1", 3, params, &res)
        != 0)
    {
        return -1;
    }

    if (PQntuples(res) == 0) {
        PQclear(res);

        if (tf_eval_change(v->e, "INSERT INTO trifecta.embedding_set (tenant, "
                           "model, dimensions) VALUES ($1, $2, $3::integer) "
                           "RETURNING id", 3, params, &res)
            != 0)
        {
            return -1;
        }
    }

    v->set.id = atoi(PQgetvalue(res, 0, 0));
    v->set.dims = v->model->dimensions;
    PQclear(res);

    return 0;
}


/* The next passages that it lacks; how many, 0 when there are none, or -1. */

static int
tf_eval_fill(tf_eval_vectors_t *v)
{
    int                n, i, rc;
    tf_eval_t         *e;
    PGresult          *res;
    const char       **texts;
    tf_llm_embed_t     request;
    tf_llm_vectors_t   vectors;
    tf_llm_failure_t   failure;

    e = v->e;

    if (tf_pg_begin_as(&e->pg, e->tenant, TF_EVAL_OWNER, "[]") != TF_PG_OK
        || tf_rag_set_lacks(&e->pg, &v->set, &v->slice, &res) != TF_PG_OK)
    {
        return tf_eval_store(e);
    }

    n = PQntuples(res);

    if (tf_pg_commit(&e->pg) != TF_PG_OK) {
        PQclear(res);
        return tf_eval_store(e);
    }

    texts = calloc((size_t) n + 1, sizeof(char *));
    if (texts == NULL) {
        PQclear(res);
        (void) tf_cli_error(&e->cli, "out of memory");
        return -1;
    }

    for (i = 0; i < n; i++) {
        texts[i] = PQgetvalue(res, i, 1);
    }

    memset(&request, 0, sizeof(request));
    request.texts = texts;
    request.n = (size_t) n;
    request.attempt = 1;
    rc = n;

    if (tf_llm_embed(v->model, &request, &vectors, &failure) != TF_LLM_OK) {
        (void) tf_cli_error(&e->cli, "the passages could not be embedded by "
                            "%s: %s: %s", v->model->name, failure.code,
                            failure.message);
        rc = -1;

    } else if (n > 0
               && (tf_pg_begin_as(&e->pg, e->tenant, TF_EVAL_OWNER, "[]")
                   != TF_PG_OK
                   || tf_rag_set_put(&e->pg, &v->set, res, 0, (size_t) n,
                                     vectors.of, vectors.tokens)
                      != TF_PG_OK
                   || tf_pg_commit(&e->pg) != TF_PG_OK))
    {
        rc = tf_eval_store(e);
    }

    if (n > 0) {
        v->slice.after = atoll(PQgetvalue(res, n - 1, 0));
    }

    v->tokens += vectors.tokens;

    free(vectors.of);
    free(texts);
    PQclear(res);

    return rc;
}


int
tf_eval_embed(tf_eval_t *e)
{
    int                 n;
    char                number[16];
    size_t              done;
    int64_t             began;
    const char         *params[1];
    tf_eval_vectors_t   v;

    if (tf_eval_change(e, "UPDATE trifecta.embedding_set SET status = "
                       "'retired' WHERE status = 'live' AND tenant = "
                       "trifecta.me_tenant()", 0, NULL, NULL)
        != 0)
    {
        return -1;
    }

    if (e->embed == NULL) {
        return 0;
    }

    memset(&v, 0, sizeof(v));
    v.e = e;
    v.model = tf_llm_models_of(e->models, TF_LLM_EMBEDDING, e->embed);

    if (v.model == NULL) {
        return tf_cli_error(&e->cli, "there is no model \"%s\" of kind "
                            "embedding: \"trifecta models --long\" lists them",
                            e->embed);
    }

    if (e->conf.weight_vectors <= 0) {
        return tf_cli_error(&e->cli, "weight_vectors is 0: vectors would not "
                            "be used");
    }

    v.slice.parts = 1;
    v.slice.max = (unsigned) v.model->batch;
    began = tf_clock_ms();
    done = 0;

    if (tf_eval_set(&v) != 0) {
        return -1;
    }

    while ((n = tf_eval_fill(&v)) > 0) {
        done += (size_t) n;
        tf_eval_progress(e, "passages with vectors", done, 0);
    }

    if (n < 0) {
        return -1;
    }

    (void) snprintf(number, sizeof(number), "%d", v.set.id);
    params[0] = number;

    if ((e->chunks > TF_RAG_SET_EXACT
         && (tf_eval_change(e, "SELECT trifecta.embedding_index($1::integer)",
                            1, params, NULL)
             != 0
             || tf_eval_change(e, "UPDATE trifecta.embedding_set SET indexed "
                               "= true WHERE id = $1::integer", 1, params,
                               NULL)
                != 0))
        || tf_eval_change(e, "UPDATE trifecta.embedding_set SET status = "
                          "'live', switched = now() WHERE id = $1::integer", 1,
                          params, NULL)
           != 0)
    {
        return -1;
    }

    (void) json_object_set_new(e->report, "embedding", json_string(e->embed));
    tf_eval_count(e, "embedded", done);
    tf_eval_count(e, "embedded_tokens", (size_t) v.tokens);
    tf_eval_say(e, "embed_seconds", (double) (tf_clock_ms() - began) / 1000);

    return 0;
}


int
tf_eval_vector(tf_eval_t *e, const char *question, tf_rag_vector_t *vector)
{
    tf_answer_request_t  request;

    memset(vector, 0, sizeof(tf_rag_vector_t));

    if (e->embed == NULL) {
        return 0;
    }

    memset(&request, 0, sizeof(request));
    request.conf = &e->conf;
    request.tenant = e->tenant;
    request.owner = TF_EVAL_OWNER;
    request.groups = "[]";
    request.model = "";
    request.models = e->models;
    request.attempt = 1;

    if (tf_rag_vector_set(&e->pg, &request, vector) != TF_PG_OK) {
        return tf_eval_store(e);
    }

    if (vector->model != NULL) {
        tf_rag_vector(&request, question, vector);
    }

    if (vector->error != NULL) {
        return tf_cli_error(&e->cli, "a question could not be embedded by %s: "
                            "%s; the log says why", e->embed, vector->error);
    }

    return 0;
}


void
tf_eval_retrievers(tf_eval_t *e)
{
    size_t      i;
    tf_buf_t    b = TF_BUF_INIT;

    const struct {
        const char  *name;
        double       weight;
    } all[] = {
        { "bm25", e->conf.weight_bm25 },
        { "ngrams", e->conf.weight_ngrams },
        { "vectors", e->embed ? e->conf.weight_vectors : 0 }
    };

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].weight > 0) {
            tf_buf_printf(&b, "%s%s=%g", b.len ? " " : "", all[i].name,
                          all[i].weight);
        }
    }

    (void) json_object_set_new(e->report, "retrievers",
                               json_string(b.len ? b.data : ""));
    tf_buf_free(&b);

    tf_eval_say(e, "weight_spelling", e->conf.weight_spelling);
    tf_eval_say(e, "feedback", e->conf.feedback);
}


int
tf_eval_embed_clean(tf_eval_t *e)
{
    return tf_eval_change(e, "DELETE FROM trifecta.embedding_set WHERE "
                          "tenant = trifecta.me_tenant()", 0, NULL, NULL);
}
