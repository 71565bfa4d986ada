#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/search.h"


/*
 * Chunks of a document that are stored, sorted by what must be equal, so that
 * each new one takes the first of its kind that nobody has taken.
 */

typedef struct {
    const char  *id;
    const char  *hash;          /* as the server prints it */
    const char  *heading;
    long long    seq;
    long long    start;
    long long    end;
    int          taken;
    size_t       used;          /* of its kind, at the first of them */
} tf_rag_old_t;

static int tf_rag_old_compare(const void *a, const void *b);
static tf_rag_old_t *tf_rag_old_take(tf_rag_old_t *list, size_t n,
    const tf_rag_old_t *key);
static tf_pg_status_t tf_rag_diff_one(tf_pg_t *pg, tf_rag_index_t *index,
    tf_rag_doc_t *doc, const PGresult *res, int from, int to);
static int tf_rag_rows(const PGresult *res, int n, const char *document);


/*
 * Without a lock: if a document changes before it is locked, the transaction
 * is given up, and this is done again.
 */

tf_pg_status_t
tf_rag_index_diff(tf_pg_t *pg, tf_rag_index_t *index, tf_rag_doc_t **docs,
    size_t ndocs)
{
    int              row, from, n;
    size_t           i;
    tf_buf_t         ids = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    for (i = 0, row = 0; i < ndocs; i++) {
        row += (int) docs[i]->nchunks;

        if (docs[i]->id[0]) {
            tf_array_text(&ids, docs[i]->id, strlen(docs[i]->id));
        }
    }

    index->put = calloc((size_t) row + 1, sizeof(tf_rag_put_t));
    if (index->put == NULL || ids.failed) {
        tf_buf_free(&ids);
        return tf_rag_no_memory(pg);
    }

    res = NULL;
    n = 0;

    if (ids.len) {
        tf_array_close(&ids);
        params[0] = ids.data;

        rc = ids.failed ? tf_rag_no_memory(pg)
             : tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                           "SELECT document, id, '\\x' || encode(hash, 'hex'),"
                           " heading, seq, start_byte, end_byte "
                           "FROM trifecta.chunk WHERE document = "
                           "ANY ($1::uuid[]) ORDER BY document, seq",
                           1, params);
        tf_buf_free(&ids);

        if (rc != TF_PG_OK) {
            return rc;
        }

        n = PQntuples(res);
    }

    rc = TF_PG_OK;

    for (i = 0; i < ndocs && rc == TF_PG_OK; i++) {
        from = row = 0;

        if (docs[i]->id[0]) {
            from = tf_rag_rows(res, n, docs[i]->id);

            for (row = from;
                 row < n && strcmp(PQgetvalue(res, row, 0), docs[i]->id) == 0;
                 row++)
            {
                /* void */
            }
        }

        rc = tf_rag_diff_one(pg, index, docs[i], res, from, row);
    }

    PQclear(res);

    for (i = 0; i < 4; i++) {
        tf_array_close(&index->moved[i]);
    }

    tf_array_close(&index->gone);

    return rc;
}


/* The first row of a document; they are sorted, as uuids are printed. */

static int
tf_rag_rows(const PGresult *res, int n, const char *document)
{
    int  low, high, mid;

    for (low = 0, high = n; low < high; /* void */) {
        mid = low + (high - low) / 2;

        if (strcmp(PQgetvalue(res, mid, 0), document) < 0) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return low;
}


static tf_pg_status_t
tf_rag_diff_one(tf_pg_t *pg, tf_rag_index_t *index, tf_rag_doc_t *doc,
    const PGresult *res, int from, int to)
{
    int            row;
    char           hex[TF_RAG_HASH];
    size_t         i, n;
    tf_chunk_t    *chunk;
    tf_rag_old_t  *old, *o, key;

    n = (size_t) (to - from);

    old = calloc(n + 1, sizeof(tf_rag_old_t));
    if (old == NULL) {
        return tf_rag_no_memory(pg);
    }

    for (i = 0, row = from; row < to; i++, row++) {
        old[i].id = PQgetvalue(res, row, 1);
        old[i].hash = PQgetvalue(res, row, 2);
        old[i].heading = PQgetvalue(res, row, 3);
        old[i].seq = atoll(PQgetvalue(res, row, 4));
        old[i].start = atoll(PQgetvalue(res, row, 5));
        old[i].end = atoll(PQgetvalue(res, row, 6));
    }

    qsort(old, n, sizeof(tf_rag_old_t), tf_rag_old_compare);

    doc->nput = 0;

    for (i = 0; i < doc->nchunks; i++) {
        chunk = &doc->chunks[i];
        o = NULL;

        if (n && doc->alike) {
            tf_rag_hash(doc->text.data + chunk->start,
                        chunk->end - chunk->start, hex);
            key.hash = hex;
            key.heading = doc->text.sections[chunk->section];
            o = tf_rag_old_take(old, n, &key);
        }

        if (o == NULL) {
            index->put[index->nput].doc = doc;
            index->put[index->nput].chunk = i;
            index->nput++;
            doc->nput++;

        } else if (o->seq != (long long) i
                   || o->start != (long long) chunk->start
                   || o->end != (long long) chunk->end)
        {
            tf_array_int(&index->moved[0], atoll(o->id));
            tf_array_int(&index->moved[1], (long long) i);
            tf_array_int(&index->moved[2], (long long) chunk->start);
            tf_array_int(&index->moved[3], (long long) chunk->end);
        }
    }

    for (i = 0; i < n; i++) {
        if (!old[i].taken) {
            tf_array_int(&index->gone, atoll(old[i].id));
        }
    }

    free(old);

    return TF_PG_OK;
}


/* The same words at another place. */

tf_pg_status_t
tf_rag_index_move(tf_pg_t *pg, tf_rag_index_t *index)
{
    int          i;
    const char  *params[4];

    for (i = 0; i < 4; i++) {
        if (index->moved[i].failed) {
            return tf_rag_no_memory(pg);
        }

        params[i] = index->moved[i].data;
    }

    if (strcmp(params[0], "{}") == 0) {
        return TF_PG_OK;
    }

    return tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                       "UPDATE trifecta.chunk c SET seq = m.seq, "
                       "start_byte = m.s, end_byte = m.e "
                       "FROM unnest($1::bigint[], $2::int[], $3::int[], "
                       "$4::int[]) AS m(id, seq, s, e) WHERE c.id = m.id",
                       4, params);
}


static int
tf_rag_old_compare(const void *a, const void *b)
{
    int                  rc;
    const tf_rag_old_t  *x = a, *y = b;

    rc = strcmp(x->hash, y->hash);
    if (rc == 0) {
        rc = strcmp(x->heading, y->heading);
    }

    return rc != 0 ? rc : (x->seq > y->seq) - (x->seq < y->seq);
}


static tf_rag_old_t *
tf_rag_old_take(tf_rag_old_t *list, size_t n, const tf_rag_old_t *key)
{
    int     rc;
    size_t  low, high, mid;

    for (low = 0, high = n; low < high; /* void */) {
        mid = (low + high) / 2;

        rc = strcmp(list[mid].hash, key->hash);
        if (rc == 0) {
            rc = strcmp(list[mid].heading, key->heading);
        }

        if (rc < 0) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    /* those of its kind stand together */

    if (low == n) {
        return NULL;
    }

    mid = low + list[low].used;

    if (mid >= n || strcmp(list[mid].hash, key->hash) != 0
        || strcmp(list[mid].heading, key->heading) != 0)
    {
        return NULL;
    }

    list[low].used++;
    list[mid].taken = 1;

    return &list[mid];
}
