#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/ingest.h"


#define TF_INGEST_TRIES  12


typedef struct {
    tf_ingest_t         outcome;
    tf_ingest_count_t  *count;
    char               *err;
    size_t              errlen;
} tf_ingest_single_t;

static void tf_rag_single(void *ctx, const char *path, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *err);


tf_pg_status_t
tf_rag_target_open(tf_pg_t *pg, tf_rag_target_t *target)
{
    size_t           n;
    tf_buf_t         groups = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[4], *s;
    tf_pg_status_t   rc;

    for (s = target->groups ? target->groups : ""; *s; s += n + (s[n] == ','))
    {
        n = strcspn(s, ",");
        if (n) {
            tf_array_text(&groups, s, n);
        }
    }

    tf_array_close(&groups);

    if (groups.failed) {
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        tf_buf_free(&groups);
        return TF_PG_ERROR;
    }

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        goto done;
    }

    params[0] = target->tenant;
    params[1] = target->collection;
    params[2] = target->language;

    rc = tf_pg_query(pg, NULL, 0,
                     "INSERT INTO trifecta.collection (tenant, name, language) "
                     "SELECT $1, $2, $3::regconfig::text "
                     "ON CONFLICT DO NOTHING", 3, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    rc = tf_pg_query(pg, &res, 0,
                     "SELECT id, language FROM trifecta.collection "
                     "WHERE tenant = $1 AND name = $2", 2, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    target->collection_id = PQntuples(res) ? atoi(PQgetvalue(res, 0, 0)) : 0;
    (void) snprintf(target->config, sizeof(target->config), "%s",
                    PQntuples(res) ? PQgetvalue(res, 0, 1) : "");
    PQclear(res);

    params[1] = target->owner;
    params[2] = target->visibility;
    params[3] = groups.data;

    rc = tf_pg_query(pg, NULL, 0,
                     "INSERT INTO trifecta.acl (tenant, owner, visibility, "
                     "groups) VALUES ($1, $2, $3, (SELECT coalesce(array_agg("
                     "DISTINCT g ORDER BY g), '{}') FROM unnest($4::text[]) g"
                     ")) ON CONFLICT DO NOTHING", 4, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    rc = tf_pg_query(pg, &res, 0,
                     "SELECT id FROM trifecta.acl WHERE tenant = $1 "
                     "AND owner = $2 AND visibility = $3 AND groups = (SELECT "
                     "coalesce(array_agg(DISTINCT g ORDER BY g), '{}') FROM "
                     "unnest($4::text[]) g)", 4, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    target->acl_id = PQntuples(res) ? atoi(PQgetvalue(res, 0, 0)) : 0;
    PQclear(res);

    rc = tf_pg_commit(pg);
    goto done;

failed:

    tf_pg_rollback(pg);

done:

    tf_buf_free(&groups);

    return rc;
}


tf_pg_status_t
tf_rag_target_flush(tf_pg_t *pg, const tf_rag_target_t *target)
{
    char             collection[16];
    const char      *params[1];
    tf_pg_status_t   rc;

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    /* something must be written, or the commit waits for nothing */

    (void) snprintf(collection, sizeof(collection), "%d",
                    target->collection_id);
    params[0] = collection;

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                     "UPDATE trifecta.collection SET chunks = chunks "
                     "WHERE id = $1", 1, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    return tf_pg_commit(pg);
}


tf_ingest_t
tf_rag_ingest(tf_pg_t *pg, const tf_rag_target_t *target, const char *source,
    const char *data, size_t len, tf_ingest_count_t *count, char *err,
    size_t errlen)
{
    tf_rag_group_t      *group;
    tf_ingest_single_t   single;

    single.outcome = TF_INGEST_REFUSED;
    single.count = count;
    single.err = err;
    single.errlen = errlen;

    memset(count, 0, sizeof(tf_ingest_count_t));
    (void) snprintf(err, errlen, "out of memory");

    group = tf_rag_group_create(pg, target, tf_rag_single, &single);

    if (group != NULL) {
        if (tf_rag_group_add(group, source, source, data, len) == 0) {
            (void) tf_rag_group_flush(group);
        }

        tf_rag_group_free(group);
    }

    return single.outcome;
}


static void
tf_rag_single(void *ctx, const char *path, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *err)
{
    tf_ingest_single_t  *single = ctx;

    (void) path;
    (void) source;

    single->outcome = outcome;
    *single->count = *count;
    (void) snprintf(single->err, single->errlen, "%s", err);
}


/*
 * Somebody else ingests the same documents, or a server breaks a tie.  Who
 * has waited for the other's transaction need not wait for long.
 */

int
tf_rag_again(const tf_pg_t *pg, tf_pg_status_t rc, int *tries)
{
    unsigned char    r;
    struct timespec  ts;

    if (rc != TF_PG_ERROR || ++*tries >= TF_INGEST_TRIES
        || (strcmp(pg->sqlstate, "40P01") != 0
            && strcmp(pg->sqlstate, "40001") != 0
            && strcmp(pg->sqlstate, "23505") != 0))
    {
        return 0;
    }

    r = 128;
    (void) RAND_bytes(&r, 1);

    ts.tv_sec = 0;
    ts.tv_nsec = (long) *tries * (r + 1) * 100000;      /* up to 0.3 s */
    (void) nanosleep(&ts, NULL);

    return 1;
}
