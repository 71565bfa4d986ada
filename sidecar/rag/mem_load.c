#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rag/array.h"
#include "rag/mem.h"


/* What has changed since the version that an entry has. */

typedef struct {
    long long   version;
    char        stamp[TF_MEM_STAMP];
    int64_t    *came;           /* and has not gone again */
    size_t      ncame;
    int64_t    *gone;
    size_t      ngone;
    PGresult  **chunks;         /* of those that came */
    size_t      nchunks;
} tf_mem_news_t;


static tf_mem_status_t tf_mem_news_read(tf_pg_t *pg, tf_mem_entry_t *entry,
    long long upto, tf_mem_news_t *news);
static tf_mem_status_t tf_mem_news_add(const PGresult *res,
    tf_mem_news_t *news);
static tf_mem_status_t tf_mem_news_chunks(tf_pg_t *pg, tf_mem_news_t *news);
static tf_mem_status_t tf_mem_news_apply(tf_mem_entry_t *entry,
    const tf_mem_news_t *news);
static void tf_mem_news_free(tf_mem_news_t *news);
static int tf_mem_compare(const void *a, const void *b);


int
tf_mem_numbers(const char *array, int64_t **numbers, size_t *n)
{
    char        *end;
    size_t       size;
    const char  *p;

    size = 1;

    for (p = array; *p; p++) {
        size += *p == ',';
    }

    *n = 0;
    *numbers = malloc(size * sizeof(int64_t));

    if (*numbers == NULL) {
        return -1;
    }

    for (p = array; *p == '{' || *p == ','; p = end) {
        (*numbers)[*n] = strtoll(p + 1, &end, 10);

        if (end == p + 1) {
            break;
        }

        (*n)++;
    }

    return 0;
}


void
tf_mem_uuid(const char *text, uint8_t *uuid)
{
    int     c;
    size_t  i;

    for (i = 0; i < 2 * TF_MEM_UUID && *text; text++) {
        c = *text >= 'a' ? *text - 'a' + 10
            : *text >= 'A' ? *text - 'A' + 10 : *text - '0';

        if (*text != '-') {
            uuid[i / 2] = (uint8_t) ((i % 2 ? uuid[i / 2] << 4 : 0)
                                     | (c & 15));
            i++;
        }
    }
}


tf_pg_status_t
tf_mem_load(tf_pg_t *pg, const int64_t *ids, size_t n, PGresult **res)
{
    size_t           i;
    tf_buf_t         array = TF_BUF_INIT;
    const char      *params[1];
    tf_pg_status_t   rc;

    for (i = 0; i < n; i++) {
        tf_array_int(&array, ids[i]);
    }

    tf_array_close(&array);

    if (array.failed) {
        tf_buf_free(&array);
        return tf_rag_no_memory(pg);
    }

    params[0] = array.data;

    rc = tf_pg_query(pg, res, TF_MEM_MS,
                     "SELECT chunk, acl, len, document, terms, tfs "
                     "FROM trifecta.chunk_numbers($1::bigint[]) "
                     "ORDER BY chunk", 1, params);

    tf_buf_free(&array);

    return rc;
}


int
tf_mem_put_in(tf_mem_index_t *index, const PGresult *res)
{
    int              i, rc;
    size_t           k, n;
    int64_t         *terms, *counts;
    int32_t         *tfs;
    tf_mem_chunk_t   chunk;

    rc = 0;

    for (i = 0; i < PQntuples(res) && rc == 0; i++) {
        terms = NULL;
        counts = NULL;
        tfs = NULL;

        if (tf_mem_numbers(PQgetvalue(res, i, 4), &terms, &chunk.n) == 0
            && tf_mem_numbers(PQgetvalue(res, i, 5), &counts, &n) == 0)
        {
            tfs = malloc((n + 1) * sizeof(int32_t));
        }

        if (tfs == NULL) {
            rc = -1;

        } else {
            for (k = 0; k < n; k++) {
                tfs[k] = (int32_t) counts[k];
            }

            chunk.chunk = atoll(PQgetvalue(res, i, 0));
            chunk.acl = atoi(PQgetvalue(res, i, 1));
            chunk.len = (uint32_t) strtoul(PQgetvalue(res, i, 2), NULL, 10);
            chunk.n = n < chunk.n ? n : chunk.n;
            chunk.terms = terms;
            chunk.tfs = tfs;
            memset(chunk.document, 0, TF_MEM_UUID);
            tf_mem_uuid(PQgetvalue(res, i, 3), chunk.document);

            rc = tf_mem_index_add(index, &chunk);
        }

        free(terms);
        free(counts);
        free(tfs);
    }

    return rc;
}


tf_mem_status_t
tf_mem_bring_forward(tf_rag_mem_t *mem, tf_pg_t *pg, tf_mem_entry_t *entry,
    long long upto, size_t max)
{
    tf_mem_news_t    news;
    tf_mem_status_t  rc;

    memset(&news, 0, sizeof(tf_mem_news_t));

    rc = tf_mem_news_read(pg, entry, upto, &news);

    if (rc == TF_MEM_DONE && news.version && news.ncame > max) {
        rc = TF_MEM_BEHIND;
    }

    if (rc == TF_MEM_DONE && news.version) {
        rc = tf_mem_news_chunks(pg, &news);

        if (rc == TF_MEM_DONE) {
            (void) pthread_rwlock_wrlock(&entry->lock);

            rc = tf_mem_news_apply(entry, &news);

            if (rc == TF_MEM_DONE
                && tf_mem_shelf_fit(&mem->shelf, entry, tf_clock_ms()) != 0)
            {
                rc = TF_MEM_TOO_BIG;
            }

            (void) pthread_rwlock_unlock(&entry->lock);

            atomic_fetch_add(&mem->news, 1);
        }
    }

    tf_mem_news_free(&news);

    if (rc == TF_MEM_LOST || rc == TF_MEM_TOO_BIG || rc == TF_MEM_NO_MEMORY) {
        tf_mem_shelf_drop(&mem->shelf, entry);
    }

    return rc;
}


/*
 * If anything is written down, the row of the entry's own version has to be
 * there, with its stamp: else more has changed than is kept, or the store is
 * another than it was.
 */

static tf_mem_status_t
tf_mem_news_read(tf_pg_t *pg, tf_mem_entry_t *entry, long long upto,
    tf_mem_news_t *news)
{
    int               n;
    char              numbers[3][32], stamp[TF_MEM_STAMP];
    PGresult         *res;
    long long         version;
    const char       *params[3];
    tf_mem_status_t   rc;

    (void) pthread_rwlock_rdlock(&entry->lock);
    version = entry->version;
    (void) snprintf(stamp, sizeof(stamp), "%s", entry->stamp);
    (void) pthread_rwlock_unlock(&entry->lock);

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", entry->collection);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%lld", version);
    params[0] = numbers[0];
    (void) snprintf(numbers[2], sizeof(numbers[2]), "%lld", upto);
    params[1] = numbers[1];
    params[2] = numbers[2];

    if (tf_pg_query(pg, &res, TF_MEM_MS,
                    "SELECT version, stamp, came, gone "
                    "FROM trifecta.collection_change "
                    "WHERE collection = $1 AND version >= $2 "
                    "AND version <= $3 ORDER BY version", 3, params)
        != TF_PG_OK)
    {
        return TF_MEM_STORE;
    }

    n = PQntuples(res);
    rc = TF_MEM_LOST;

    if (n == 0) {
        rc = TF_MEM_DONE;

    } else if (atoll(PQgetvalue(res, 0, 0)) == version
               && strcmp(PQgetvalue(res, 0, 1), stamp) == 0
               && atoll(PQgetvalue(res, n - 1, 0)) == version + n - 1)
    {
        rc = n == 1 ? TF_MEM_DONE : tf_mem_news_add(res, news);
    }

    PQclear(res);

    return rc;
}


static tf_mem_status_t
tf_mem_news_add(const PGresult *res, tf_mem_news_t *news)
{
    int        i, k, n;
    size_t     more, kept, j;
    int64_t   *numbers, *all, **list;
    size_t    *count;

    n = PQntuples(res);

    for (i = 1; i < n; i++) {
        for (k = 2; k < 4; k++) {
            list = k == 2 ? &news->came : &news->gone;
            count = k == 2 ? &news->ncame : &news->ngone;

            if (tf_mem_numbers(PQgetvalue(res, i, k), &numbers, &more) != 0) {
                return TF_MEM_NO_MEMORY;
            }

            all = realloc(*list, (*count + more + 1) * sizeof(int64_t));

            if (all != NULL) {
                memcpy(all + *count, numbers, more * sizeof(int64_t));
                *list = all;
                *count += more;
            }

            free(numbers);

            if (all == NULL) {
                return TF_MEM_NO_MEMORY;
            }
        }
    }

    qsort(news->came, news->ncame, sizeof(int64_t), tf_mem_compare);
    qsort(news->gone, news->ngone, sizeof(int64_t), tf_mem_compare);

    for (j = 0, kept = 0; j < news->ncame; j++) {
        if (bsearch(&news->came[j], news->gone, news->ngone, sizeof(int64_t),
                    tf_mem_compare)
            == NULL)
        {
            news->came[kept++] = news->came[j];
        }
    }

    news->ncame = kept;
    news->version = atoll(PQgetvalue(res, n - 1, 0));
    (void) snprintf(news->stamp, sizeof(news->stamp), "%s",
                    PQgetvalue(res, n - 1, 1));

    return TF_MEM_DONE;
}


static int
tf_mem_compare(const void *a, const void *b)
{
    const int64_t  *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}


static tf_mem_status_t
tf_mem_news_chunks(tf_pg_t *pg, tf_mem_news_t *news)
{
    size_t  i, n;

    news->chunks = calloc(news->ncame / TF_MEM_BATCH + 1, sizeof(PGresult *));
    if (news->chunks == NULL) {
        return TF_MEM_NO_MEMORY;
    }

    for (i = 0; i < news->ncame; i += n) {
        n = news->ncame - i;
        n = n > TF_MEM_BATCH ? TF_MEM_BATCH : n;

        if (tf_mem_load(pg, news->came + i, n, &news->chunks[news->nchunks])
            != TF_PG_OK)
        {
            return TF_MEM_STORE;
        }

        news->nchunks++;
    }

    return TF_MEM_DONE;
}


/* With the write lock.  Another thread may have come here first. */

static tf_mem_status_t
tf_mem_news_apply(tf_mem_entry_t *entry, const tf_mem_news_t *news)
{
    int     rc;
    size_t  i;

    if (entry->version >= news->version) {
        return TF_MEM_DONE;
    }

    rc = 0;

    for (i = 0; i < news->nchunks && rc == 0; i++) {
        rc = tf_mem_put_in(&entry->index, news->chunks[i]);
    }

    for (i = 0; i < news->ngone && rc == 0; i++) {
        rc = tf_mem_index_remove(&entry->index, news->gone[i]);
    }

    /* an index that is half changed must not be used by those that have it */

    entry->version = rc == 0 ? news->version : -1;
    entry->advanced = tf_clock_ms();
    (void) snprintf(entry->stamp, sizeof(entry->stamp), "%s",
                    rc == 0 ? news->stamp : "");

    return rc == 0 ? TF_MEM_DONE : TF_MEM_NO_MEMORY;
}


static void
tf_mem_news_free(tf_mem_news_t *news)
{
    size_t  i;

    for (i = 0; i < news->nchunks; i++) {
        PQclear(news->chunks[i]);
    }

    free(news->chunks);
    free(news->came);
    free(news->gone);
}
