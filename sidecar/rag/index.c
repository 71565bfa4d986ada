#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/terms.h"


/* What the server made of a batch's text; arrays as it printed them. */

typedef struct {
    char  *ords;
    char  *lexemes;
    char  *tfs;
} tf_rag_lexemes_t;


static tf_pg_status_t tf_rag_analyse(tf_pg_t *pg, tf_rag_index_t *index,
    size_t first, size_t last, const char *language, const tf_text_t *text,
    tf_rag_lexemes_t *lexemes);
static tf_pg_status_t tf_rag_new_terms(tf_pg_t *pg, int collection,
    const tf_rag_lexemes_t *lexemes, size_t n);
static tf_pg_status_t tf_rag_put_batch(tf_pg_t *pg, tf_rag_index_t *index,
    size_t first, size_t last, const char *document, int collection, int acl,
    const tf_text_t *text, const tf_rag_lexemes_t *lexemes);
static tf_pg_status_t tf_rag_delta(tf_pg_t *pg, tf_rag_index_t *index,
    PGresult *res, int sign);
static tf_pg_status_t tf_rag_no_memory(tf_pg_t *pg);


tf_rag_index_t *
tf_rag_index_make(const tf_text_t *text)
{
    size_t           i;
    tf_rag_index_t  *index;

    index = calloc(1, sizeof(tf_rag_index_t));
    if (index == NULL) {
        return NULL;
    }

    index->chunks = tf_chunks(text, &index->nchunks);
    index->put = index->chunks == NULL ? NULL
                 : calloc(index->nchunks + 1, sizeof(size_t));

    if (index->put == NULL) {
        free(index->chunks);
        free(index);
        return NULL;
    }

    for (i = 0; i < index->nchunks; i++) {
        index->put[i] = i;
    }

    index->nput = index->nchunks;

    return index;
}


void
tf_rag_index_free(tf_rag_index_t *index)
{
    tf_rag_index_reset(index);
    free(index->chunks);
    free(index->put);
    free(index);
}


void
tf_rag_index_reset(tf_rag_index_t *index)
{
    size_t  i;

    for (i = 0; i < index->nchunks; i++) {
        index->put[i] = i;
    }

    index->nput = index->nchunks;

    for (i = 0; i < index->ndeltas; i++) {
        free(index->deltas[i].terms);
        free(index->deltas[i].counts);
    }

    free(index->deltas);
    index->deltas = NULL;
    index->ndeltas = 0;
    index->more_chunks = 0;
    index->more_len = 0;
}


static tf_pg_status_t
tf_rag_no_memory(tf_pg_t *pg)
{
    pg->sqlstate[0] = '\0';
    (void) snprintf(pg->err, sizeof(pg->err), "out of memory");

    return TF_PG_ERROR;
}


/* Columns of res: terms, counts, chunks, sum of their lengths. */

static tf_pg_status_t
tf_rag_delta(tf_pg_t *pg, tf_rag_index_t *index, PGresult *res, int sign)
{
    tf_rag_delta_t  *delta;

    delta = realloc(index->deltas,
                    (index->ndeltas + 1) * sizeof(tf_rag_delta_t));
    if (delta == NULL) {
        return tf_rag_no_memory(pg);
    }

    index->deltas = delta;
    delta = &index->deltas[index->ndeltas++];
    delta->sign = sign;
    delta->terms = strdup(PQgetvalue(res, 0, 0));
    delta->counts = strdup(PQgetvalue(res, 0, 1));

    if (delta->terms == NULL || delta->counts == NULL) {
        return tf_rag_no_memory(pg);
    }

    index->more_chunks += sign * atoll(PQgetvalue(res, 0, 2));
    index->more_len += sign * atoll(PQgetvalue(res, 0, 3));

    return TF_PG_OK;
}


tf_pg_status_t
tf_rag_index_drop(tf_pg_t *pg, tf_rag_index_t *index, const char *document,
    const char *gone)
{
    PGresult        *res;
    const char      *params[2];
    tf_pg_status_t   rc;

    params[0] = document;
    params[1] = gone;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
        "WITH old AS ("
            "DELETE FROM trifecta.chunk WHERE document = $1 "
            "AND ($2::bigint[] IS NULL OR id = ANY ($2)) "
            "RETURNING id, len, terms"
        "), t AS MATERIALIZED ("
            "SELECT id AS chunk, unnest(terms) AS term FROM old"
        "), gone AS ("
            "DELETE FROM trifecta.posting p USING t "
            "WHERE p.term = t.term AND p.chunk = t.chunk"
        "), c AS ("
            "SELECT term, count(*) AS n FROM t GROUP BY term"
        ") SELECT coalesce((SELECT array_agg(term ORDER BY term) FROM c), "
                          "'{}'), "
                 "coalesce((SELECT array_agg(n ORDER BY term) FROM c), '{}'), "
                 "(SELECT count(*) FROM old), "
                 "(SELECT coalesce(sum(len), 0) FROM old)",
        2, params);

    if (rc != TF_PG_OK) {
        return rc;
    }

    rc = tf_rag_delta(pg, index, res, -1);
    PQclear(res);

    return rc;
}


tf_pg_status_t
tf_rag_index_put(tf_pg_t *pg, tf_rag_index_t *index, const char *document,
    int collection, int acl, const char *language, const tf_text_t *text)
{
    size_t             i, n, first, last;
    tf_pg_status_t     rc;
    tf_rag_lexemes_t  *lexemes;

    n = (index->nput + TF_RAG_BATCH - 1) / TF_RAG_BATCH;

    if (n == 0) {
        return TF_PG_OK;
    }

    lexemes = calloc(n + 1, sizeof(tf_rag_lexemes_t));
    if (lexemes == NULL) {
        return tf_rag_no_memory(pg);
    }

    rc = TF_PG_OK;

    for (i = 0; i < n && rc == TF_PG_OK; i++) {
        first = i * TF_RAG_BATCH;
        last = i + 1 < n ? first + TF_RAG_BATCH : index->nput;

        rc = tf_rag_analyse(pg, index, first, last, language, text,
                            &lexemes[i]);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_new_terms(pg, collection, lexemes, n);
    }

    for (i = 0; i < n && rc == TF_PG_OK; i++) {
        first = i * TF_RAG_BATCH;
        last = i + 1 < n ? first + TF_RAG_BATCH : index->nput;

        rc = tf_rag_put_batch(pg, index, first, last, document, collection,
                              acl, text, &lexemes[i]);
    }

    for (i = 0; i < n; i++) {
        free(lexemes[i].ords);
        free(lexemes[i].lexemes);
        free(lexemes[i].tfs);
    }

    free(lexemes);

    return rc;
}


/* From text to lexemes and how often: before any lock is held. */

static tf_pg_status_t
tf_rag_analyse(tf_pg_t *pg, tf_rag_index_t *index, size_t first, size_t last,
    const char *language, const tf_text_t *text, tf_rag_lexemes_t *lexemes)
{
    int              k;
    size_t           i;
    tf_buf_t         rests = TF_BUF_INIT, all = TF_BUF_INIT;
    tf_buf_t         rest = TF_BUF_INIT, ids = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[3], *path, *leaf, *s;
    tf_chunk_t      *chunk;
    tf_pg_status_t   rc;

    for (i = first; i < last; i++) {
        chunk = &index->chunks[index->put[i]];
        path = text->sections[chunk->section];

        leaf = path;
        while ((s = strstr(leaf, " > ")) != NULL) {
            leaf = s + 3;
        }

        tf_buf_reset(&rest);
        tf_buf_reset(&ids);

        tf_terms_split(text->title, strlen(text->title), &ids, &rest,
                       NULL);
        tf_buf_append(&rest, " . ", 3);
        tf_terms_split(path, strlen(path), &ids, &rest,
                       NULL);

        for (k = 1; k < TF_RAG_HEADING; k++) {
            tf_buf_append(&rest, " . ", 3);
            tf_terms_split(leaf, strlen(leaf), &ids, &rest,
                       NULL);
        }

        tf_buf_append(&rest, " . ", 3);
        tf_terms_split(text->data + chunk->start, chunk->end - chunk->start,
                       &ids, &rest, NULL);

        tf_array_text(&rests, rest.data, rest.len);
        tf_array_text(&all, ids.data, ids.len);
    }

    tf_array_close(&rests);
    tf_array_close(&all);

    if (rests.failed || all.failed || rest.failed || ids.failed) {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    params[0] = language;
    params[1] = rests.data;
    params[2] = all.data;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
        "WITH c AS ("
            "SELECT ord, rest, ids FROM unnest($2::text[], $3::text[]) "
            "WITH ORDINALITY AS u(rest, ids, ord)"
        "), l AS ("
            "SELECT ord, lexeme, coalesce(cardinality(positions), 1) AS tf "
            "FROM c, unnest(to_tsvector($1::regconfig, rest)) "
            "UNION ALL "
            "SELECT ord, id, 1 FROM c, unnest(string_to_array(ids, ' ')) id "
            "WHERE id <> ''"
        "), s AS ("
            "SELECT ord, lexeme, sum(tf) AS tf FROM l GROUP BY ord, lexeme"
        ") SELECT coalesce(array_agg(ord), '{}'), "
                 "coalesce(array_agg(lexeme), '{}'), "
                 "coalesce(array_agg(tf), '{}') FROM s",
        3, params);

    if (rc != TF_PG_OK) {
        goto done;
    }

    lexemes->ords = strdup(PQgetvalue(res, 0, 0));
    lexemes->lexemes = strdup(PQgetvalue(res, 0, 1));
    lexemes->tfs = strdup(PQgetvalue(res, 0, 2));
    PQclear(res);

    if (lexemes->ords == NULL || lexemes->lexemes == NULL
        || lexemes->tfs == NULL)
    {
        rc = tf_rag_no_memory(pg);
    }

done:

    tf_buf_free(&rests);
    tf_buf_free(&all);
    tf_buf_free(&rest);
    tf_buf_free(&ids);

    return rc;
}


/*
 * All new terms of the document at once and sorted: see ingest.h.  Scalar
 * subqueries here and below, so that the plan is one look-up a term and never
 * a scan of the collection's vocabulary.
 */

static tf_pg_status_t
tf_rag_new_terms(tf_pg_t *pg, int collection, const tf_rag_lexemes_t *lexemes,
    size_t n)
{
    char             number[16];
    size_t           i;
    tf_buf_t         all = TF_BUF_INIT;
    const char      *params[2];
    tf_pg_status_t   rc;

    for (i = 0; i < n; i++) {
        tf_array_add(&all, lexemes[i].lexemes);
    }

    tf_array_close(&all);

    if (all.failed) {
        tf_buf_free(&all);
        return tf_rag_no_memory(pg);
    }

    (void) snprintf(number, sizeof(number), "%d", collection);
    params[0] = number;
    params[1] = all.data;

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
        "INSERT INTO trifecta.term (collection, term, df) "
        "SELECT $1, t, 0 FROM (SELECT DISTINCT t FROM unnest($2::text[]) "
                              "AS t) AS u "
        "WHERE (SELECT id FROM trifecta.term x "
               "WHERE x.collection = $1 AND x.term = t) IS NULL "
        "ORDER BY t COLLATE \"C\" ON CONFLICT DO NOTHING",
        2, params);

    tf_buf_free(&all);

    return rc;
}


static tf_pg_status_t
tf_rag_put_batch(tf_pg_t *pg, tf_rag_index_t *index, size_t first,
    size_t last, const char *document, int collection, int acl,
    const tf_text_t *text, const tf_rag_lexemes_t *lexemes)
{
    char             numbers[2][24], hex[TF_RAG_HASH];
    size_t           i;
    tf_buf_t         a[6] = { TF_BUF_INIT, TF_BUF_INIT, TF_BUF_INIT,
                              TF_BUF_INIT, TF_BUF_INIT, TF_BUF_INIT };
    PGresult        *res;
    const char      *params[12];
    tf_chunk_t      *chunk;
    tf_pg_status_t   rc;

    for (i = first; i < last; i++) {
        chunk = &index->chunks[index->put[i]];
        tf_rag_index_hash(text, chunk, hex);

        tf_array_text(&a[0], text->sections[chunk->section],
                      strlen(text->sections[chunk->section]));
        tf_array_text(&a[1], text->data + chunk->start,
                      chunk->end - chunk->start);
        tf_array_int(&a[2], (long long) chunk->start);
        tf_array_int(&a[3], (long long) chunk->end);
        tf_array_text(&a[4], hex, strlen(hex));
        tf_array_int(&a[5], (long long) index->put[i]);
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", collection);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%d", acl);

    rc = TF_PG_OK;

    params[0] = document;
    params[1] = numbers[0];
    params[2] = numbers[1];
    for (i = 0; i < 6; i++) {
        tf_array_close(&a[i]);
        params[3 + i] = a[i].data;
        if (a[i].failed) {
            rc = tf_rag_no_memory(pg);
        }
    }
    params[9] = lexemes->ords;
    params[10] = lexemes->lexemes;
    params[11] = lexemes->tfs;

    if (rc != TF_PG_OK) {
        goto done;
    }

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
        "WITH u AS MATERIALIZED ("
            "SELECT * FROM unnest($10::int[], $11::text[], $12::int[]) "
                "AS u(ord, lexeme, tf)"
        "), t AS MATERIALIZED ("
            "SELECT lexeme, (SELECT id FROM trifecta.term t "
                "WHERE t.collection = $2 AND t.term = d.lexeme) AS term "
            "FROM (SELECT DISTINCT lexeme FROM u) AS d"
        "), l AS MATERIALIZED ("
            "SELECT t.term, u.ord, u.tf FROM u JOIN t USING (lexeme)"
        "), s AS ("
            "SELECT ord, sum(tf) AS len, array_agg(term) AS terms FROM l "
            "GROUP BY ord"
        "), b AS MATERIALIZED ("
            "SELECT * FROM unnest($4::text[], $5::text[], $6::int[], "
                "$7::int[], $8::bytea[], $9::int[]) WITH ORDINALITY "
                "AS b(heading, body, s, e, hash, seq, ord)"
        "), n AS ("
            "INSERT INTO trifecta.chunk (document, collection, acl, seq, "
                "heading, body, start_byte, end_byte, hash, len, terms) "
            "SELECT $1, $2, $3, b.seq, b.heading, b.body, b.s, b.e, b.hash, "
                "coalesce(s.len, 0), coalesce(s.terms, '{}') "
            "FROM b LEFT JOIN s ON s.ord = b.ord ORDER BY b.ord "
            "RETURNING id, seq, len"
        "), p AS ("
            "INSERT INTO trifecta.posting (term, chunk, acl, tf, len) "
            "SELECT l.term, n.id, $3, l.tf, n.len "
            "FROM l JOIN b ON b.ord = l.ord JOIN n ON n.seq = b.seq"
        "), c AS ("
            "SELECT term, count(*) AS n FROM l GROUP BY term"
        ") SELECT coalesce((SELECT array_agg(term ORDER BY term) FROM c), "
                          "'{}'), "
                 "coalesce((SELECT array_agg(n ORDER BY term) FROM c), '{}'), "
                 "(SELECT count(*) FROM n), "
                 "(SELECT coalesce(sum(len), 0) FROM n)",
        12, params);

    if (rc == TF_PG_OK) {
        rc = tf_rag_delta(pg, index, res, 1);
        PQclear(res);
    }

done:

    for (i = 0; i < 6; i++) {
        tf_buf_free(&a[i]);
    }

    return rc;
}


tf_pg_status_t
tf_rag_index_count(tf_pg_t *pg, tf_rag_index_t *index, int collection)
{
    char             numbers[3][24], sign[8];
    size_t           i;
    const char      *params[3];
    tf_pg_status_t   rc;

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", collection);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%lld",
                    index->more_chunks);
    (void) snprintf(numbers[2], sizeof(numbers[2]), "%lld", index->more_len);
    params[0] = numbers[0];
    params[1] = numbers[1];
    params[2] = numbers[2];

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                     "UPDATE trifecta.collection SET chunks = chunks + $2, "
                     "total_len = total_len + $3 WHERE id = $1", 3, params);

    for (i = 0; i < index->ndeltas && rc == TF_PG_OK; i++) {
        (void) snprintf(sign, sizeof(sign), "%d", index->deltas[i].sign);
        params[0] = index->deltas[i].terms;
        params[1] = index->deltas[i].counts;
        params[2] = sign;

        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                         "UPDATE trifecta.term t SET df = t.df + $3::int * d.n "
                         "FROM unnest($1::bigint[], $2::int[]) AS d(id, n) "
                         "WHERE t.id = d.id", 3, params);
    }

    return rc;
}
