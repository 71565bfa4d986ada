#include "cli/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/embed.h"


#define TF_EMBED_INDEX_MS  86400000     /* an index of many is long in coming */
#define TF_EMBED_TRIES     20           /* while the tables are in use */


/* The dimension of the model of that name, as text; 0 or an exit code. */

static int
tf_cli_embed_model(tf_cli_embed_t *e, char *dims, size_t size)
{
    char                   err[512];
    tf_llm_models_t       *models;
    const tf_llm_model_t  *model;

    models = tf_llm_models_load(e->conf->models, err, sizeof(err));
    if (models == NULL) {
        return tf_cli_error(e->cli, "%s", err);
    }

    model = tf_llm_models_of(models, TF_LLM_EMBEDDING, e->model);

    if (model != NULL) {
        (void) snprintf(dims, size, "%llu",
                        (unsigned long long) model->dimensions);
    }

    tf_llm_models_free(models);

    return model != NULL ? 0
           : tf_cli_error(e->cli, "there is no model \"%s\" of kind "
                          "embedding: \"trifecta models --long\" lists them",
                          e->model);
}


/* The number of the collection as text, or NULL; 0 or an exit code. */

static int
tf_cli_embed_collection(tf_cli_embed_t *e, char *number, size_t size)
{
    int          n;
    PGresult    *res;
    const char  *params[1];

    params[0] = e->collection;

    res = tf_cli_embed_query(e, "SELECT id FROM trifecta.collection "
                             "WHERE name = $1 AND tenant = "
                             "trifecta.me_tenant()", 1, params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    n = PQntuples(res);

    if (n > 0) {
        (void) snprintf(number, size, "%s", PQgetvalue(res, 0, 0));
    }

    PQclear(res);

    if (n == 0) {
        tf_pg_rollback(&e->pg);
        return tf_cli_error(e->cli, "tenant %s has no collection \"%s\"",
                            e->tenant, e->collection);
    }

    return 0;
}


/* Jobs for each owner who has passages that the set lacks. */

static int
tf_cli_embed_fill(tf_cli_embed_t *e, int set)
{
    int          i, status;
    char         number[16], err[512];
    long long    n;
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(number, sizeof(number), "%d", set);
    params[0] = number;

    if (tf_cli_embed_begin(e) != 0) {
        return TF_CLI_FAILED;
    }

    res = tf_cli_embed_query(e, "SELECT owner, n FROM "
                             "trifecta.embedding_missing($1::integer)", 1,
                             params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    if (tf_pg_commit(&e->pg) != TF_PG_OK) {
        PQclear(res);
        return tf_cli_embed_store(e);
    }

    status = TF_CLI_OK;
    n = 0;

    for (i = 0; i < PQntuples(res) && status == TF_CLI_OK; i++) {
        n += atoll(PQgetvalue(res, i, 1));

        if (tf_embed_submit(e->conf, e->tenant, PQgetvalue(res, i, 0), set,
                            e->parts, err, sizeof(err))
            != 0)
        {
            status = tf_cli_error(e->cli, "%s\nThe set is there: \"trifecta "
                                  "embed run %d\" goes on.", err, set);
        }
    }

    if (status == TF_CLI_OK) {
        (void) fprintf(stderr, "%lld passages of %d owners are to be "
                       "embedded\n", n, PQntuples(res));
    }

    PQclear(res);

    if (status == TF_CLI_OK && e->wait) {
        status = tf_cli_embed_wait(e, set);
    }

    return status;
}


int
tf_cli_embed_create(tf_cli_embed_t *e)
{
    int          set, status, tries;
    char         dims[24], number[16];
    PGresult    *res;
    const char  *params[4];

    status = tf_cli_embed_model(e, dims, sizeof(dims));
    if (status) {
        return status;
    }

    for (tries = 0, set = 0; set == 0; /* void */) {

        if (tf_cli_embed_begin(e) != 0
            || (e->collection != NULL
                && tf_cli_embed_collection(e, number, sizeof(number)) != 0))
        {
            return TF_CLI_FAILED;
        }

        params[0] = e->tenant;
        params[1] = e->model;
        params[2] = dims;
        params[3] = e->collection ? number : NULL;

        /* its table is made with it, which waits for nobody for long */

        if (tf_pg_query(&e->pg, &res, TF_EMBED_CLI_MS,
                        "INSERT INTO trifecta.embedding_set (tenant, model, "
                        "dimensions, collection) VALUES ($1, $2, $3, $4) "
                        "RETURNING id", 4, params)
            != TF_PG_OK)
        {
            if (strcmp(e->pg.sqlstate, "55P03") == 0
                && ++tries < TF_EMBED_TRIES)
            {
                tf_pg_rollback(&e->pg);
                continue;
            }

            return tf_cli_embed_store(e);
        }

        set = atoi(PQgetvalue(res, 0, 0));
        PQclear(res);
    }

    if (tf_pg_commit(&e->pg) != TF_PG_OK) {
        return tf_cli_embed_store(e);
    }

    (void) printf("%d\n", set);
    (void) fflush(stdout);

    return tf_cli_embed_fill(e, set);
}


/* Where the set stands, in a transaction that goes on; 0 or an exit code. */

static int
tf_cli_embed_find(tf_cli_embed_t *e, tf_rag_set_t *set)
{
    if (tf_cli_embed_begin(e) != 0) {
        return TF_CLI_FAILED;
    }

    if (tf_rag_set_get(&e->pg, e->set, set) != TF_PG_OK) {
        return tf_cli_embed_store(e);
    }

    if (set->id == 0) {
        tf_pg_rollback(&e->pg);
        return tf_cli_error(e->cli, "tenant %s has no set %d: \"trifecta "
                            "embed status\" lists its sets", e->tenant,
                            e->set);
    }

    return 0;
}


int
tf_cli_embed_run(tf_cli_embed_t *e)
{
    tf_rag_set_t  set;

    if (tf_cli_embed_find(e, &set) != 0) {
        return TF_CLI_FAILED;
    }

    tf_pg_rollback(&e->pg);

    if (strcmp(set.status, "retired") == 0) {
        return tf_cli_error(e->cli, "set %d is retired, and nothing is added "
                            "to it", e->set);
    }

    return tf_cli_embed_fill(e, e->set);
}


/* The index of a set that is worth one; 0 or an exit code. */

static int
tf_cli_embed_index(tf_cli_embed_t *e, const char *number)
{
    PGresult    *res;
    const char  *params[1];

    params[0] = number;

    (void) fprintf(stderr, "building the index of set %s ...\n", number);

    if (tf_cli_embed_begin(e) != 0) {
        return TF_CLI_FAILED;
    }

    if (tf_pg_query(&e->pg, NULL, TF_EMBED_INDEX_MS,
                    "SELECT trifecta.embedding_index($1::integer)", 1, params)
        != TF_PG_OK)
    {
        return tf_cli_embed_store(e);
    }

    res = tf_cli_embed_query(e, "UPDATE trifecta.embedding_set SET indexed = "
                             "true WHERE id = $1::integer", 1, params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    PQclear(res);

    return tf_pg_commit(&e->pg) == TF_PG_OK ? 0 : tf_cli_embed_store(e);
}


int
tf_cli_embed_switch(tf_cli_embed_t *e)
{
    char           number[16];
    long long      n, missing;
    PGresult      *res;
    const char    *params[1];
    tf_rag_set_t   set;

    if (tf_cli_embed_find(e, &set) != 0) {
        return TF_CLI_FAILED;
    }

    (void) snprintf(number, sizeof(number), "%d", e->set);
    params[0] = number;

    res = tf_cli_embed_query(e, "SELECT trifecta.embedding_count($1), "
                             "(SELECT coalesce(sum(n), 0) FROM "
                             "trifecta.embedding_missing($1::integer))", 1,
                             params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    n = atoll(PQgetvalue(res, 0, 0));
    missing = atoll(PQgetvalue(res, 0, 1));
    PQclear(res);
    tf_pg_rollback(&e->pg);

    if (missing > 0 && !e->force) {
        return tf_cli_error(e->cli, "set %d lacks %lld passages: \"trifecta "
                            "embed run %d --wait\" embeds them, --force "
                            "switches although they are missing", e->set,
                            missing, e->set);
    }

    if (n > TF_RAG_SET_EXACT && !set.indexed
        && tf_cli_embed_index(e, number) != 0)
    {
        return TF_CLI_FAILED;
    }

    /* one statement: a question sees the one or the other, never none */

    if (tf_cli_embed_begin(e) != 0) {
        return TF_CLI_FAILED;
    }

    res = tf_cli_embed_query(e,
        "UPDATE trifecta.embedding_set s SET switched = now(), "
            "status = CASE WHEN s.id = n.id THEN 'live' ELSE 'retired' END "
        "FROM trifecta.embedding_set n WHERE n.id = $1::integer "
            "AND s.collection IS NOT DISTINCT FROM n.collection "
            "AND (s.id = n.id OR s.status = 'live')", 1, params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    PQclear(res);

    if (tf_pg_commit(&e->pg) != TF_PG_OK) {
        return tf_cli_embed_store(e);
    }

    (void) printf("questions use set %d (%s), %lld passages\n", e->set,
                  set.model, n);

    /* what came while it was retired */

    return missing > 0 ? tf_cli_embed_fill(e, e->set) : TF_CLI_OK;
}


int
tf_cli_embed_retire(tf_cli_embed_t *e)
{
    char           number[16];
    PGresult      *res;
    const char    *params[1];
    tf_rag_set_t   set;

    if (tf_cli_embed_find(e, &set) != 0) {
        return TF_CLI_FAILED;
    }

    (void) snprintf(number, sizeof(number), "%d", e->set);
    params[0] = number;

    res = tf_cli_embed_query(e, "UPDATE trifecta.embedding_set SET status = "
                             "'retired' WHERE id = $1::integer", 1, params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    PQclear(res);

    return tf_pg_commit(&e->pg) == TF_PG_OK ? TF_CLI_OK
                                            : tf_cli_embed_store(e);
}


int
tf_cli_embed_delete(tf_cli_embed_t *e)
{
    int            tries;
    char           number[16];
    const char    *params[1];
    tf_rag_set_t   set;

    (void) snprintf(number, sizeof(number), "%d", e->set);
    params[0] = number;

    for (tries = 0; /* void */; tries++) {

        if (tf_cli_embed_find(e, &set) != 0) {
            return TF_CLI_FAILED;
        }

        if (strcmp(set.status, "retired") != 0) {
            tf_pg_rollback(&e->pg);
            return tf_cli_error(e->cli, "set %d is %s: \"trifecta embed retire "
                                "%d\" first", e->set, set.status, e->set);
        }

        if (tf_pg_query(&e->pg, NULL, TF_EMBED_CLI_MS,
                        "DELETE FROM trifecta.embedding_set "
                        "WHERE id = $1::integer AND status = 'retired'", 1,
                        params)
            == TF_PG_OK)
        {
            return tf_pg_commit(&e->pg) == TF_PG_OK ? TF_CLI_OK
                                                    : tf_cli_embed_store(e);
        }

        if (strcmp(e->pg.sqlstate, "55P03") != 0 || tries == TF_EMBED_TRIES) {
            return tf_cli_embed_store(e);
        }

        tf_pg_rollback(&e->pg);
    }
}
