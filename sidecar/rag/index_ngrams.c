#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/ngrams.h"
#include "rag/search.h"


/*
 * The n-grams of chunks that are put (ngrams.h), and the collection's table of
 * idf, which is made again when the collection has doubled.  The row of that
 * table is locked after the documents and before the collection's row.
 */

struct tf_rag_grams_s {
    tf_ngrams_t      work;
    tf_ngram_idf_t   idf;
};


static tf_pg_status_t tf_rag_grams_read(tf_pg_t *pg, tf_rag_grams_t *grams,
    const char *collection, double *chunks);
static tf_pg_status_t tf_rag_grams_make(tf_pg_t *pg, tf_rag_index_t *index,
    const char *collection, double chunks);
static tf_pg_status_t tf_rag_grams_save(tf_pg_t *pg,
    const tf_ngram_idf_t *idf, const char *collection);


tf_pg_status_t
tf_rag_index_grams(tf_pg_t *pg, tf_rag_index_t *index, const char *collection)
{
    double           chunks;
    tf_pg_status_t   rc;

    if (!(pg->conf->weight_ngrams > 0) || index->nput == 0) {
        return TF_PG_OK;
    }

    if (index->grams == NULL) {
        index->grams = calloc(1, sizeof(tf_rag_grams_t));
        if (index->grams == NULL) {
            return tf_rag_no_memory(pg);
        }
    }

    rc = tf_rag_grams_read(pg, index->grams, collection, &chunks);

    chunks += (double) index->nput;

    if (rc == TF_PG_OK && chunks >= 2 * index->grams->idf.chunks) {
        rc = tf_rag_grams_make(pg, index, collection, chunks);
    }

    return rc;
}


/* The stored table, if it is another one than that which is here. */

static tf_pg_status_t
tf_rag_grams_read(tf_pg_t *pg, tf_rag_grams_t *grams, const char *collection,
    double *chunks)
{
    char             number[32];
    size_t           len;
    PGresult        *res;
    const char      *params[2];
    unsigned char   *bytes;
    tf_pg_status_t   rc;

    (void) snprintf(number, sizeof(number), "%.0f", grams->idf.chunks);
    params[0] = collection;
    params[1] = number;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "SELECT c.chunks, coalesce(n.chunks, 0), "
                     "CASE WHEN n.chunks <> $2::bigint THEN n.idf END "
                     "FROM trifecta.collection c LEFT JOIN "
                     "trifecta.ngram_idf n ON n.collection = c.id "
                     "WHERE c.id = $1::int", 2, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    *chunks = 0;

    if (PQntuples(res) == 1) {
        *chunks = strtod(PQgetvalue(res, 0, 0), NULL);
        grams->idf.chunks = strtod(PQgetvalue(res, 0, 1), NULL);
    }

    if (PQntuples(res) == 1 && !PQgetisnull(res, 0, 2)) {
        bytes = PQunescapeBytea((unsigned char *) PQgetvalue(res, 0, 2),
                                &len);

        if (bytes != NULL && len == TF_NGRAM_BUCKETS) {
            memcpy(grams->idf.idf, bytes, len);
        }

        PQfreemem(bytes);
    }

    PQclear(res);

    return TF_PG_OK;
}


/* From all words that are stored, and those that are coming. */

static tf_pg_status_t
tf_rag_grams_make(tf_pg_t *pg, tf_rag_index_t *index, const char *collection,
    double chunks)
{
    int              row;
    size_t           i, k;
    PGresult        *res;
    const char      *params[1], *word;
    tf_ngrams_t     *work;
    tf_rag_put_t    *put;
    tf_pg_status_t   rc;

    params[0] = collection;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "SELECT term, df FROM trifecta.term "
                     "WHERE collection = $1 AND df > 0", 1, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    work = &index->grams->work;
    tf_ngrams_begin(work);

    for (row = 0; row < PQntuples(res); row++) {
        tf_ngrams_count(work, PQgetvalue(res, row, 0),
                        (size_t) PQgetlength(res, row, 0),
                        strtod(PQgetvalue(res, row, 1), NULL));
    }

    PQclear(res);

    for (i = 0; i < index->nput; i++) {
        put = &index->put[i];

        for (k = 0; k < put->nhits; k++) {
            word = index->lexicon.list[index->hits[put->hit + k].lexeme].term;
            tf_ngrams_count(work, word, strlen(word), 1);
        }
    }

    tf_ngrams_idf(work, chunks, &index->grams->idf);

    return tf_rag_grams_save(pg, &index->grams->idf, collection);
}


/* Whoever knows more chunks is right. */

static tf_pg_status_t
tf_rag_grams_save(tf_pg_t *pg, const tf_ngram_idf_t *idf,
    const char *collection)
{
    char             number[32];
    size_t           i;
    tf_buf_t         hex = TF_BUF_INIT;
    const char      *params[3];
    tf_pg_status_t   rc;

    tf_buf_puts(&hex, "\\x");

    for (i = 0; i < TF_NGRAM_BUCKETS; i++) {
        tf_buf_printf(&hex, "%02x", idf->idf[i]);
    }

    if (hex.failed) {
        tf_buf_free(&hex);
        return tf_rag_no_memory(pg);
    }

    (void) snprintf(number, sizeof(number), "%.0f", idf->chunks);
    params[0] = collection;
    params[1] = number;
    params[2] = hex.data;

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                     "INSERT INTO trifecta.ngram_idf AS n "
                     "(collection, chunks, idf) VALUES ($1, $2, $3) "
                     "ON CONFLICT (collection) DO UPDATE SET "
                     "chunks = excluded.chunks, idf = excluded.idf "
                     "WHERE n.chunks < excluded.chunks", 3, params);

    tf_buf_free(&hex);

    return rc;
}


tf_pg_status_t
tf_rag_index_put_grams(tf_pg_t *pg, tf_rag_index_t *index, size_t first,
    size_t last, const char *collection, const char *acl)
{
    size_t           i, k;
    tf_buf_t         a[2] = { TF_BUF_INIT, TF_BUF_INIT };
    tf_buf_t         vector = TF_BUF_INIT;
    const char      *params[4], *word;
    tf_ngrams_t     *work;
    tf_rag_put_t    *put;
    tf_rag_place_t  *hit;
    tf_pg_status_t   rc;

    if (!(pg->conf->weight_ngrams > 0)) {
        return TF_PG_OK;
    }

    work = &index->grams->work;

    for (i = first; i < last; i++) {
        put = &index->put[i];
        tf_ngrams_reset(work);

        for (k = 0; k < put->nhits; k++) {
            hit = &index->hits[put->hit + k];
            word = index->lexicon.list[hit->lexeme].term;
            tf_ngrams_add(work, word, strlen(word), hit->tf);
        }

        tf_buf_reset(&vector);

        if (tf_ngrams_vector(work, &index->grams->idf, &vector)) {
            tf_array_int(&a[0], put->id);
            tf_array_text(&a[1], vector.data, vector.len);
        }
    }

    tf_array_close(&a[0]);
    tf_array_close(&a[1]);

    params[0] = collection;
    params[1] = acl;
    params[2] = a[0].data;
    params[3] = a[1].data;

    if (a[0].failed || a[1].failed || vector.failed) {
        rc = tf_rag_no_memory(pg);

    } else {
        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
            "INSERT INTO trifecta.chunk_ngrams (chunk, collection, acl, grams) "
            "SELECT chunk, $1, $2, grams::halfvec FROM unnest($3::bigint[], "
                "$4::text[]) AS g(chunk, grams)", 4, params);
    }

    tf_buf_free(&a[0]);
    tf_buf_free(&a[1]);
    tf_buf_free(&vector);

    return rc;
}


void
tf_rag_index_free_grams(tf_rag_index_t *index)
{
    free(index->grams);
    index->grams = NULL;
}
