#include <stdio.h>
#include <string.h>

#include "rag/index.h"
#include "rag/ingest.h"


static tf_pg_status_t tf_rag_prune_one(tf_pg_t *pg,
    const tf_rag_target_t *target, const char *id);


tf_pg_status_t
tf_rag_prune(tf_pg_t *pg, const tf_rag_target_t *target, const char *sources,
    int remove, tf_rag_gone_pt gone, void *ctx)
{
    int              i, tries;
    char             collection[16];
    PGresult        *res;
    const char      *params[3];
    tf_pg_status_t   rc;

    (void) snprintf(collection, sizeof(collection), "%d",
                    target->collection_id);
    params[0] = collection;
    params[1] = target->owner;
    params[2] = sources;

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "SELECT id, source FROM trifecta.document "
                     "WHERE collection = $1 AND owner = $2 AND source <> ALL ($3::text[]) "
                     "ORDER BY source", 3, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    rc = tf_pg_commit(pg);

    for (i = 0; i < PQntuples(res) && rc == TF_PG_OK; i++) {
        tries = 0;

        while (remove) {
            rc = tf_rag_prune_one(pg, target, PQgetvalue(res, i, 0));
            if (!tf_rag_again(pg, rc, &tries)) {
                break;
            }
        }

        if (rc == TF_PG_OK) {
            gone(ctx, PQgetvalue(res, i, 1));
        }
    }

    PQclear(res);

    return rc;
}


static tf_pg_status_t
tf_rag_prune_one(tf_pg_t *pg, const tf_rag_target_t *target, const char *id)
{
    const char      *params[1];
    tf_pg_status_t   rc;
    tf_rag_index_t   index;

    memset(&index, 0, sizeof(tf_rag_index_t));

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    params[0] = id;

    /* the lock first: an ingest of the same document has to wait */

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                     "SELECT FROM trifecta.document WHERE id = $1 FOR UPDATE",
                     1, params);

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_drop(pg, &index, id, NULL);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                         "DELETE FROM trifecta.document WHERE id = $1", 1,
                         params);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_count(pg, &index, target->collection_id);
    }

    tf_rag_index_reset(&index);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    return tf_pg_commit(pg);
}
