#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/search.h"


#define TF_RAG_POSTING_MAX  32767       /* a smallint */

/* What a posting is: sorted, neighbours of the store's index come together. */

typedef struct {
    long long  term;
    long long  chunk;
    unsigned   tf;
    unsigned   len;
} tf_rag_posting_t;


static tf_pg_status_t tf_rag_put_chunks(tf_pg_t *pg, tf_rag_index_t *index,
    size_t first, size_t last, const char *collection, const char *acl);
static tf_pg_status_t tf_rag_put_postings(tf_pg_t *pg, tf_rag_index_t *index,
    size_t first, size_t last, const char *acl);
static int tf_rag_posting_compare(const void *a, const void *b);
static int tf_rag_delta(tf_rag_index_t *index, long long term, long long n);
static int tf_rag_delta_compare(const void *a, const void *b);


void
tf_rag_index_reset(tf_rag_index_t *index)
{
    size_t  i;

    free(index->put);
    free(index->hits);
    free(index->deltas);
    tf_buf_free(&index->gone);
    tf_buf_free(&index->went);

    for (i = 0; i < 4; i++) {
        tf_buf_free(&index->moved[i]);
    }

    index->put = NULL;
    index->nput = 0;
    index->hits = NULL;
    index->nhits = 0;
    index->hit_room = 0;
    index->deltas = NULL;
    index->ndeltas = 0;
    index->delta_room = 0;
    index->more_chunks = 0;
    index->more_len = 0;
}


void
tf_rag_index_free(tf_rag_index_t *index)
{
    tf_rag_index_reset(index);
    tf_rag_index_free_grams(index);
    tf_lexicon_reset(&index->lexicon);
}


void
tf_rag_hash(const char *data, size_t len, char *hex)
{
    size_t         i;
    unsigned char  md[SHA256_DIGEST_LENGTH];

    static const char  digits[] = "0123456789abcdef";

    (void) SHA256((const unsigned char *) data, len, md);

    *hex++ = '\\';
    *hex++ = 'x';

    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        *hex++ = digits[md[i] >> 4];
        *hex++ = digits[md[i] & 15];
    }

    *hex = '\0';
}


static int
tf_rag_delta(tf_rag_index_t *index, long long term, long long n)
{
    size_t           room;
    tf_rag_delta_t  *deltas;

    if (index->ndeltas
        && index->deltas[index->ndeltas - 1].term == term)
    {
        index->deltas[index->ndeltas - 1].n += n;
        return 0;
    }

    if (index->ndeltas == index->delta_room) {
        room = index->delta_room ? 2 * index->delta_room : 4096;

        deltas = realloc(index->deltas, room * sizeof(tf_rag_delta_t));
        if (deltas == NULL) {
            return -1;
        }

        index->deltas = deltas;
        index->delta_room = room;
    }

    index->deltas[index->ndeltas].term = term;
    index->deltas[index->ndeltas].n = n;
    index->ndeltas++;

    return 0;
}


tf_pg_status_t
tf_rag_index_drop(tf_pg_t *pg, tf_rag_index_t *index, const char *documents,
    const char *chunks)
{
    int              i, n;
    PGresult        *res;
    const char      *params[2];
    tf_pg_status_t   rc;

    params[0] = documents;
    params[1] = chunks;

    /*
     * The way to a posting is its key, for each of them, and then its place:
     * the server's statistics know nothing of a table that has just come or
     * gone, and a scan of it for each chunk would take minutes.
     */

    rc = tf_pg_exec(pg, 0, "SET LOCAL enable_seqscan = off");
    if (rc != TF_PG_OK) {
        return rc;
    }

    /* the first row: how many chunks, the sum of their lengths, and which */

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
        "WITH old AS ("
            "DELETE FROM trifecta.chunk WHERE document = ANY ($1::uuid[]) "
            "AND ($2::bigint[] IS NULL OR id = ANY ($2)) "
            "RETURNING id, len, terms"
        "), t AS MATERIALIZED ("
            "SELECT id AS chunk, unnest(terms) AS term FROM old"
        "), gone AS ("
            "DELETE FROM trifecta.posting p USING t, LATERAL ("
                "SELECT ctid AS place FROM trifecta.posting x "
                "WHERE x.term = t.term AND x.chunk = t.chunk OFFSET 0"
            ") AS q WHERE p.ctid = q.place"
        "), grams AS ("
            "DELETE FROM trifecta.chunk_ngrams g USING old, LATERAL ("
                "SELECT ctid AS place FROM trifecta.chunk_ngrams x "
                "WHERE x.chunk = old.id OFFSET 0"
            ") AS q WHERE g.ctid = q.place"
        ") SELECT count(*), coalesce(sum(len), 0), "
            "coalesce(array_agg(id), '{}') FROM old UNION ALL "
        "(SELECT term, count(*), NULL FROM t GROUP BY term)",
        2, params);

    if (rc != TF_PG_OK) {
        return rc;
    }

    n = PQntuples(res);
    index->more_chunks -= atoll(PQgetvalue(res, 0, 0));
    index->more_len -= atoll(PQgetvalue(res, 0, 1));
    tf_array_add(&index->went, PQgetvalue(res, 0, 2));

    for (i = 1; i < n && rc == TF_PG_OK; i++) {
        if (tf_rag_delta(index, atoll(PQgetvalue(res, i, 0)),
                         -atoll(PQgetvalue(res, i, 1)))
            != 0)
        {
            rc = tf_rag_no_memory(pg);
        }
    }

    PQclear(res);

    return rc;
}


tf_pg_status_t
tf_rag_index_put(tf_pg_t *pg, tf_rag_index_t *index, int collection, int acl)
{
    char            numbers[2][16];
    size_t          first, last;
    tf_pg_status_t  rc;

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", collection);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%d", acl);

    rc = tf_rag_index_grams(pg, index, numbers[0]);

    for (first = 0; first < index->nput && rc == TF_PG_OK; first = last) {
        last = first + TF_RAG_BATCH;
        if (last > index->nput) {
            last = index->nput;
        }

        rc = tf_rag_put_chunks(pg, index, first, last, numbers[0],
                               numbers[1]);

        if (rc == TF_PG_OK) {
            rc = tf_rag_put_postings(pg, index, first, last, numbers[1]);
        }

        if (rc == TF_PG_OK) {
            rc = tf_rag_index_put_grams(pg, index, first, last, numbers[0],
                                        numbers[1]);
        }
    }

    return rc;
}


static tf_pg_status_t
tf_rag_put_chunks(tf_pg_t *pg, tf_rag_index_t *index, size_t first,
    size_t last, const char *collection, const char *acl)
{
    char              hex[TF_RAG_HASH];
    size_t            i, k;
    tf_buf_t          a[9], terms = TF_BUF_INIT;
    PGresult         *res;
    const char       *params[11];
    tf_rag_place_t     *hits;
    tf_rag_put_t     *put;
    tf_pg_status_t    rc;
    const tf_text_t  *text;
    const tf_chunk_t *chunk;

    memset(a, 0, sizeof(a));

    for (i = first; i < last; i++) {
        put = &index->put[i];
        text = &put->doc->text;
        chunk = &put->doc->chunks[put->chunk];
        hits = &index->hits[put->hit];

        tf_rag_hash(text->data + chunk->start, chunk->end - chunk->start,
                    hex);

        tf_buf_reset(&terms);
        for (k = 0; k < put->nhits; k++) {
            tf_array_int(&terms, index->lexicon.list[hits[k].lexeme].id);
        }
        tf_array_close(&terms);

        tf_array_text(&a[0], put->doc->id, strlen(put->doc->id));
        tf_array_int(&a[1], (long long) put->chunk);
        tf_array_text(&a[2], text->sections[chunk->section],
                      strlen(text->sections[chunk->section]));
        tf_array_text(&a[3], text->data + chunk->start,
                      chunk->end - chunk->start);
        tf_array_int(&a[4], (long long) chunk->start);
        tf_array_int(&a[5], (long long) chunk->end);
        tf_array_text(&a[6], hex, strlen(hex));
        tf_array_int(&a[7], (long long) put->len);
        tf_array_text(&a[8], terms.data, terms.len);
    }

    rc = terms.failed ? tf_rag_no_memory(pg) : TF_PG_OK;

    params[0] = collection;
    params[1] = acl;

    for (i = 0; i < 9; i++) {
        tf_array_close(&a[i]);
        params[2 + i] = a[i].data;
        if (a[i].failed) {
            rc = tf_rag_no_memory(pg);
        }
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
            "WITH b AS MATERIALIZED ("
                "SELECT * FROM unnest($3::uuid[], $4::int[], $5::text[], "
                    "$6::text[], $7::int[], $8::int[], $9::bytea[], "
                    "$10::int[], $11::text[]) WITH ORDINALITY AS b(document, "
                    "seq, heading, body, s, e, hash, len, terms, ord)"
            "), n AS ("
                "INSERT INTO trifecta.chunk (document, collection, acl, seq, "
                    "heading, body, start_byte, end_byte, hash, len, terms) "
                "SELECT document, $1, $2, seq, heading, body, s, e, hash, "
                    "len, terms::bigint[] FROM b ORDER BY ord "
                "RETURNING id, document, seq"
            ") SELECT n.id FROM n JOIN b USING (document, seq) "
            "ORDER BY b.ord", 11, params);
    }

    if (rc == TF_PG_OK) {
        for (i = first; i < last; i++) {
            put = &index->put[i];
            put->id = atoll(PQgetvalue(res, (int) (i - first), 0));
            index->more_chunks++;
            index->more_len += (long long) put->len;
        }

        PQclear(res);
    }

    for (i = 0; i < 9; i++) {
        tf_buf_free(&a[i]);
    }

    tf_buf_free(&terms);

    return rc;
}


static tf_pg_status_t
tf_rag_put_postings(tf_pg_t *pg, tf_rag_index_t *index, size_t first,
    size_t last, const char *acl)
{
    size_t             i, k, n;
    tf_buf_t           a[4];
    const char        *params[5];
    tf_rag_place_t      *hit;
    tf_rag_put_t      *put;
    tf_pg_status_t     rc;
    tf_rag_posting_t  *list;

    for (i = first, n = 0; i < last; i++) {
        n += index->put[i].nhits;
    }

    if (n == 0) {
        return TF_PG_OK;
    }

    list = calloc(n, sizeof(tf_rag_posting_t));
    if (list == NULL) {
        return tf_rag_no_memory(pg);
    }

    for (i = first, n = 0; i < last; i++) {
        put = &index->put[i];

        for (k = 0; k < put->nhits; k++, n++) {
            hit = &index->hits[put->hit + k];
            list[n].term = index->lexicon.list[hit->lexeme].id;
            list[n].chunk = put->id;
            list[n].tf = hit->tf < TF_RAG_POSTING_MAX ? hit->tf
                                                      : TF_RAG_POSTING_MAX;
            list[n].len = put->len < TF_RAG_POSTING_MAX
                          ? (unsigned) put->len : TF_RAG_POSTING_MAX;
        }
    }

    qsort(list, n, sizeof(tf_rag_posting_t), tf_rag_posting_compare);

    memset(a, 0, sizeof(a));
    rc = TF_PG_OK;

    for (i = 0; i < n; i++) {
        tf_array_int(&a[0], list[i].term);
        tf_array_int(&a[1], list[i].chunk);
        tf_array_int(&a[2], list[i].tf);
        tf_array_int(&a[3], list[i].len);

        if (tf_rag_delta(index, list[i].term, 1) != 0) {
            rc = tf_rag_no_memory(pg);
        }
    }

    free(list);

    params[0] = acl;

    for (i = 0; i < 4; i++) {
        tf_array_close(&a[i]);
        params[1 + i] = a[i].data;
        if (a[i].failed) {
            rc = tf_rag_no_memory(pg);
        }
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
            "INSERT INTO trifecta.posting (term, chunk, acl, tf, len) "
            "SELECT term, chunk, $1, tf, len FROM unnest($2::bigint[], "
                "$3::bigint[], $4::smallint[], $5::smallint[]) "
                "AS p(term, chunk, tf, len)", 5, params);
    }

    for (i = 0; i < 4; i++) {
        tf_buf_free(&a[i]);
    }

    return rc;
}


static int
tf_rag_posting_compare(const void *a, const void *b)
{
    const tf_rag_posting_t  *x = a, *y = b;

    if (x->term != y->term) {
        return x->term < y->term ? -1 : 1;
    }

    return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}


static int
tf_rag_delta_compare(const void *a, const void *b)
{
    const tf_rag_delta_t  *x = a, *y = b;

    return (x->term > y->term) - (x->term < y->term);
}


tf_pg_status_t
tf_rag_index_count(tf_pg_t *pg, tf_rag_index_t *index, int collection)
{
    size_t           i, k;
    tf_buf_t         terms = TF_BUF_INIT, counts = TF_BUF_INIT;
    long long        n;
    const char      *params[2];
    tf_pg_status_t   rc;

    rc = tf_rag_index_version(pg, index, collection);

    if (rc != TF_PG_OK || index->ndeltas == 0) {
        return rc;
    }

    qsort(index->deltas, index->ndeltas, sizeof(tf_rag_delta_t),
          tf_rag_delta_compare);

    for (i = 0; i < index->ndeltas; i = k) {
        for (k = i, n = 0;
             k < index->ndeltas
             && index->deltas[k].term == index->deltas[i].term;
             k++)
        {
            n += index->deltas[k].n;
        }

        if (n) {
            tf_array_int(&terms, index->deltas[i].term);
            tf_array_int(&counts, n);
        }
    }

    tf_array_close(&terms);
    tf_array_close(&counts);

    params[0] = terms.data;
    params[1] = counts.data;

    if (terms.failed || counts.failed) {
        rc = tf_rag_no_memory(pg);

    } else {
        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                         "UPDATE trifecta.term t SET df = t.df + d.n "
                         "FROM unnest($1::bigint[], $2::int[]) AS d(id, n) "
                         "WHERE t.id = d.id", 2, params);
    }

    tf_buf_free(&terms);
    tf_buf_free(&counts);

    return rc;
}
