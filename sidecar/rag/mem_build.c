#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rag/mem.h"


#define TF_MEM_ROUNDS  5        /* of beginning again */


static tf_mem_status_t tf_mem_build_new(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_mem_wish_t *wish);
static tf_mem_status_t tf_mem_build_ids(tf_pg_t *pg,
    const tf_mem_wish_t *wish, tf_mem_entry_t *entry, int64_t **ids,
    size_t *n);
static tf_mem_status_t tf_mem_build_load(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_mem_wish_t *wish, tf_mem_entry_t *entry);
static tf_mem_status_t tf_mem_build_forward(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_mem_wish_t *wish, tf_mem_entry_t *entry);
static int tf_mem_build_begin(tf_pg_t *pg, const tf_mem_wish_t *wish);


/* An index that is there is brought forward; else there is a new one. */

tf_mem_status_t
tf_mem_build(tf_rag_mem_t *mem, tf_pg_t *pg, const tf_mem_wish_t *wish)
{
    int               i;
    tf_mem_entry_t   *entry;
    tf_mem_status_t   rc;

    rc = TF_MEM_LOST;

    entry = tf_mem_shelf_get(&mem->shelf, wish->collection, tf_clock_ms());
    if (entry != NULL) {
        rc = tf_mem_build_forward(mem, pg, wish, entry);
        tf_mem_shelf_put(&mem->shelf, entry);
    }

    for (i = 0; i < TF_MEM_ROUNDS && rc == TF_MEM_LOST; i++) {
        rc = tf_mem_build_new(mem, pg, wish);
    }

    return rc;
}


static tf_mem_status_t
tf_mem_build_new(tf_rag_mem_t *mem, tf_pg_t *pg, const tf_mem_wish_t *wish)
{
    int64_t           start;
    tf_mem_entry_t   *entry;
    tf_mem_status_t   rc;

    start = tf_clock_ms();

    entry = tf_mem_shelf_begin(&mem->shelf, wish->collection);
    if (entry == NULL) {
        return TF_MEM_NO_MEMORY;
    }

    rc = tf_mem_build_load(mem, pg, wish, entry);

    if (rc == TF_MEM_DONE) {
        rc = tf_mem_build_forward(mem, pg, wish, entry);
    }

    if (rc == TF_MEM_DONE) {
        atomic_fetch_add(&mem->builds, 1);
        tf_log(TF_LOG_INFO, "collection %d has an index in memory: version "
               "%lld, %u passages, %zu bytes, built in %lld ms",
               entry->collection, entry->version,
               entry->index.nslots - entry->index.ngone, entry->bytes,
               (long long) (tf_clock_ms() - start));
        tf_mem_shelf_add(&mem->shelf, entry);
    }

    tf_mem_shelf_put(&mem->shelf, entry);

    return rc;
}


static tf_mem_status_t
tf_mem_build_load(tf_rag_mem_t *mem, tf_pg_t *pg, const tf_mem_wish_t *wish,
    tf_mem_entry_t *entry)
{
    size_t            i, n, all;
    int64_t          *ids;
    PGresult         *res;
    tf_pg_status_t    status;
    tf_mem_status_t   rc;

    ids = NULL;
    all = 0;

    rc = tf_mem_build_ids(pg, wish, entry, &ids, &all);

    for (i = 0; i < all && rc == TF_MEM_DONE; i += n) {
        n = all - i > TF_MEM_BATCH ? TF_MEM_BATCH : all - i;

        if (atomic_load(&mem->stop)) {
            rc = TF_MEM_STOPPED;
            break;
        }

        if (tf_mem_build_begin(pg, wish) != 0) {
            rc = TF_MEM_STORE;
            break;
        }

        status = tf_mem_load(pg, ids + i, n, &res);

        if (status == TF_PG_OK) {
            rc = tf_mem_put_in(&entry->index, res) == 0 ? TF_MEM_DONE
                                                        : TF_MEM_NO_MEMORY;
            PQclear(res);
            status = tf_pg_commit(pg);

        } else {
            tf_pg_rollback(pg);
        }

        if (status != TF_PG_OK) {
            rc = TF_MEM_STORE;

        } else if (rc == TF_MEM_DONE
                   && tf_mem_shelf_fit(&mem->shelf, entry, tf_clock_ms())
                      != 0)
        {
            rc = TF_MEM_TOO_BIG;
        }
    }

    free(ids);

    return rc;
}


/*
 * The version first: what comes while the chunks are read is brought forward
 * afterwards, whether it was read already or not.
 */

static tf_mem_status_t
tf_mem_build_ids(tf_pg_t *pg, const tf_mem_wish_t *wish,
    tf_mem_entry_t *entry, int64_t **ids, size_t *n)
{
    int               i;
    char              number[16];
    PGresult         *res;
    const char       *params[1];
    tf_mem_status_t   rc;

    (void) snprintf(number, sizeof(number), "%d", wish->collection);
    params[0] = number;

    if (tf_mem_build_begin(pg, wish) != 0) {
        return TF_MEM_STORE;
    }

    if (tf_pg_query(pg, &res, TF_MEM_MS,
                    "SELECT version, stamp FROM trifecta.collection "
                    "WHERE id = $1", 1, params)
        != TF_PG_OK)
    {
        goto failed;
    }

    if (PQntuples(res) == 1) {
        entry->version = atoll(PQgetvalue(res, 0, 0));
        (void) snprintf(entry->stamp, sizeof(entry->stamp), "%s",
                        PQgetvalue(res, 0, 1));
    }

    PQclear(res);

    if (tf_pg_query(pg, &res, TF_MEM_LIST_MS,
                    "SELECT chunk FROM trifecta.collection_chunks($1)", 1,
                    params)
        != TF_PG_OK)
    {
        goto failed;
    }

    rc = TF_MEM_DONE;

    *ids = malloc(((size_t) PQntuples(res) + 1) * sizeof(int64_t));

    if (*ids == NULL) {
        rc = TF_MEM_NO_MEMORY;

    } else {
        for (i = 0; i < PQntuples(res); i++) {
            (*ids)[(*n)++] = atoll(PQgetvalue(res, i, 0));
        }
    }

    PQclear(res);

    return tf_pg_commit(pg) == TF_PG_OK ? rc : TF_MEM_STORE;

failed:

    tf_pg_rollback(pg);

    return TF_MEM_STORE;
}


/* A rebuild follows if what has changed is not kept any more. */

static tf_mem_status_t
tf_mem_build_forward(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_mem_wish_t *wish, tf_mem_entry_t *entry)
{
    tf_mem_status_t  rc;

    if (atomic_load(&mem->stop)) {
        return TF_MEM_STOPPED;
    }

    if (tf_mem_build_begin(pg, wish) != 0) {
        return TF_MEM_STORE;
    }

    rc = tf_mem_bring_forward(mem, pg, entry, LLONG_MAX, SIZE_MAX);

    if (rc == TF_MEM_STORE) {
        tf_pg_rollback(pg);
        return rc;
    }

    return tf_pg_commit(pg) == TF_PG_OK ? rc : TF_MEM_STORE;
}


static int
tf_mem_build_begin(tf_pg_t *pg, const tf_mem_wish_t *wish)
{
    return tf_pg_begin_as(pg, wish->tenant, "", "[]") == TF_PG_OK ? 0 : -1;
}
