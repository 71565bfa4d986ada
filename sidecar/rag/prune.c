#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/group.h"
#include "rag/search.h"


static tf_pg_status_t tf_rag_prune_some(tf_pg_t *pg,
    const tf_rag_target_t *target, const char *ids, tf_rag_going_pt going,
    void *ctx, PGresult **rows);


/*
 * As many documents in a transaction as have together no more chunks than a
 * group that is written: what is locked is bounded, and a row of statistics
 * is written once for all of them.
 */

tf_pg_status_t
tf_rag_prune(tf_pg_t *pg, const tf_rag_target_t *target, const char *sources,
    int remove, tf_rag_going_pt going, tf_rag_gone_pt gone, void *ctx)
{
    int              i, k, last, tries;
    char             collection[16];
    size_t           n, chunks;
    tf_buf_t         ids = TF_BUF_INIT;
    PGresult        *res, *rows;
    const char      *params[4];
    tf_pg_status_t   rc;

    (void) snprintf(collection, sizeof(collection), "%d",
                    target->collection_id);
    params[0] = collection;
    params[1] = target->owner;
    params[2] = sources;
    params[3] = target->before;

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "SELECT id, source, (SELECT count(*) FROM trifecta.chunk "
                     "c WHERE c.document = d.id) FROM trifecta.document d "
                     "WHERE collection = $1 AND owner = $2 "
                     "AND source <> ALL ($3::text[]) AND "
                     "coalesce(ingested < $4::timestamptz, true) "
                     "ORDER BY source COLLATE \"C\"",
                     4, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    rc = tf_pg_commit(pg);

    for (i = 0; i < PQntuples(res) && rc == TF_PG_OK; i = last) {
        tf_buf_reset(&ids);
        chunks = 0;

        for (last = i; last < PQntuples(res); last++) {
            n = strtoul(PQgetvalue(res, last, 2), NULL, 10);

            if (last - i == TF_GROUP_DOCUMENTS
                || (last > i && chunks + n > TF_GROUP_CHUNKS))
            {
                break;
            }

            chunks += n;
            tf_array_text(&ids, PQgetvalue(res, last, 0),
                          strlen(PQgetvalue(res, last, 0)));
        }

        tf_array_close(&ids);

        if (ids.failed) {
            rc = tf_rag_no_memory(pg);
            break;
        }

        if (!remove) {
            for (k = i; k < last; k++) {
                gone(ctx, PQgetvalue(res, k, 1));
            }

            continue;
        }

        tries = 0;

        do {
            rc = tf_rag_prune_some(pg, target, ids.data, going, ctx, &rows);
        } while (tf_rag_again(pg, rc, &tries));

        /* others may have been faster with some of them */

        for (k = 0; rc == TF_PG_OK && k < PQntuples(rows); k++) {
            gone(ctx, PQgetvalue(rows, k, 1));
        }

        PQclear(rows);
    }

    tf_buf_free(&ids);
    PQclear(res);

    return rc;
}


static tf_pg_status_t
tf_rag_prune_some(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *ids, tf_rag_going_pt going, void *ctx, PGresult **rows)
{
    const char      *params[1];
    tf_pg_status_t   rc;
    tf_rag_index_t   index;

    memset(&index, 0, sizeof(tf_rag_index_t));
    *rows = NULL;

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    if (target->lazy) {
        rc = tf_pg_exec(pg, 0, "SET LOCAL synchronous_commit = off");
    }

    params[0] = ids;

    /* the locks first: an ingest of the same documents has to wait */

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                         "SELECT FROM trifecta.document "
                         "WHERE id = ANY ($1::uuid[]) "
                         "ORDER BY source COLLATE \"C\" FOR UPDATE",
                         1, params);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_drop(pg, &index, ids, NULL);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, rows, TF_RAG_STORE_MS,
                         "WITH d AS (DELETE FROM trifecta.document "
                         "WHERE id = ANY ($1::uuid[]) RETURNING id, source) "
                         "SELECT id, source FROM d "
                         "ORDER BY source COLLATE \"C\"", 1, params);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_count(pg, &index, target->collection_id);
    }

    if (rc == TF_PG_OK && going != NULL && PQntuples(*rows) > 0) {
        rc = going(ctx, pg, *rows);
    }

    tf_rag_index_free(&index);

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);

    } else {
        tf_pg_rollback(pg);
    }

    if (rc != TF_PG_OK) {
        PQclear(*rows);
        *rows = NULL;
    }

    return rc;
}
