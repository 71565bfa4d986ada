#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "rag/array.h"
#include "rag/index.h"


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
static tf_pg_status_t tf_rag_move(tf_pg_t *pg, tf_buf_t *moved);


void
tf_rag_index_hash(const tf_text_t *text, const tf_chunk_t *chunk, char *hex)
{
    size_t         i;
    unsigned char  md[SHA256_DIGEST_LENGTH];

    (void) SHA256((const unsigned char *) text->data + chunk->start,
                  chunk->end - chunk->start, md);

    (void) strcpy(hex, "\\x");

    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        (void) snprintf(hex + 2 + 2 * i, 3, "%02x", md[i]);
    }
}


tf_pg_status_t
tf_rag_index_diff(tf_pg_t *pg, tf_rag_index_t *index, const char *document,
    const tf_text_t *text, tf_buf_t *gone)
{
    char             hex[TF_RAG_HASH];
    size_t           i, n;
    tf_buf_t         moved[4] = { TF_BUF_INIT, TF_BUF_INIT, TF_BUF_INIT,
                                  TF_BUF_INIT };
    PGresult        *res;
    const char      *params[1];
    tf_chunk_t      *chunk;
    tf_rag_old_t    *old, *row, key;
    tf_pg_status_t   rc;

    params[0] = document;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "SELECT id, '\\x' || encode(hash, 'hex'), heading, seq, "
                     "start_byte, end_byte FROM trifecta.chunk "
                     "WHERE document = $1 ORDER BY seq", 1, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    n = (size_t) PQntuples(res);

    old = calloc(n + 1, sizeof(tf_rag_old_t));
    if (old == NULL) {
        goto failed;
    }

    for (i = 0; i < n; i++) {
        old[i].id = PQgetvalue(res, (int) i, 0);
        old[i].hash = PQgetvalue(res, (int) i, 1);
        old[i].heading = PQgetvalue(res, (int) i, 2);
        old[i].seq = atoll(PQgetvalue(res, (int) i, 3));
        old[i].start = atoll(PQgetvalue(res, (int) i, 4));
        old[i].end = atoll(PQgetvalue(res, (int) i, 5));
    }

    qsort(old, n, sizeof(tf_rag_old_t), tf_rag_old_compare);

    index->nput = 0;

    for (i = 0; i < index->nchunks; i++) {
        chunk = &index->chunks[i];
        tf_rag_index_hash(text, chunk, hex);

        key.hash = hex;
        key.heading = text->sections[chunk->section];
        row = tf_rag_old_take(old, n, &key);

        if (row == NULL) {
            index->put[index->nput++] = i;

        } else if (row->seq != (long long) i
                   || row->start != (long long) chunk->start
                   || row->end != (long long) chunk->end)
        {
            tf_array_int(&moved[0], atoll(row->id));
            tf_array_int(&moved[1], (long long) i);
            tf_array_int(&moved[2], (long long) chunk->start);
            tf_array_int(&moved[3], (long long) chunk->end);
        }
    }

    for (i = 0; i < n; i++) {
        if (!old[i].taken) {
            tf_array_int(gone, atoll(old[i].id));
        }
    }

    tf_array_close(gone);

    if (gone->failed) {
        goto failed;
    }

    free(old);
    PQclear(res);

    return tf_rag_move(pg, moved);

failed:

    free(old);
    PQclear(res);

    for (i = 0; i < 4; i++) {
        tf_buf_free(&moved[i]);
    }

    pg->sqlstate[0] = '\0';
    (void) snprintf(pg->err, sizeof(pg->err), "out of memory");

    return TF_PG_ERROR;
}


/* The same words at another place.  Frees the arrays. */

static tf_pg_status_t
tf_rag_move(tf_pg_t *pg, tf_buf_t *moved)
{
    int              i, failed, any;
    const char      *params[4];
    tf_pg_status_t   rc;

    any = moved[0].len > 0;
    failed = 0;

    for (i = 0; i < 4; i++) {
        tf_array_close(&moved[i]);
        params[i] = moved[i].data;
        failed |= moved[i].failed;
    }

    rc = TF_PG_OK;

    if (failed) {
        pg->sqlstate[0] = '\0';
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        rc = TF_PG_ERROR;

    } else if (any) {
        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                         "UPDATE trifecta.chunk c SET seq = m.seq, "
                         "start_byte = m.s, end_byte = m.e "
                         "FROM unnest($1::bigint[], $2::int[], $3::int[], "
                         "$4::int[]) AS m(id, seq, s, e) WHERE c.id = m.id",
                         4, params);
    }

    for (i = 0; i < 4; i++) {
        tf_buf_free(&moved[i]);
    }

    return rc;
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
