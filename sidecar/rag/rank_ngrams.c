#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/ngrams.h"
#include "rag/rank.h"


/*
 * Chunks whose words look like those of the question (ngrams.h).
 *
 * In a scope of up to TF_RANK_NGRAMS_ALL chunks all of them are compared, so
 * that a passage is found that has no word of the question as it was typed; in
 * one of up to conf->ngrams_scan, too, if what BM25 has found is weak.  Else
 * that would take too long for what it adds, and the candidates of BM25 are
 * compared only, those that may still get among the wanted: their order gets
 * better, their number does not.  An index
 * (HNSW) is none of the ways: to write a chunk into it takes longer than
 * everything else that is done with the chunk, and it filters by rights after
 * it has ranked.
 *
 * What is less alike than chance can make it is left out.
 */

#define TF_RANK_NGRAMS_LEAST  0.03
#define TF_RANK_NGRAMS_ALL    2000
#define TF_RANK_NGRAMS_WEAK   0.6   /* nothing covers so much */

/* The operator's sign is that of a distance. */

#define TF_NGRAMS_SELECT                                                      \
    "SELECT chunk, score, 0 FROM ("                                           \
        "SELECT g.chunk, -(g.grams <#> $1::halfvec) / 1000000 AS score "      \
        "FROM trifecta.chunk_ngrams g WHERE "

#define TF_NGRAMS_ORDER                                                       \
        "ORDER BY g.grams <#> $1::halfvec, g.chunk LIMIT $2::int"             \
    ") s WHERE score >= $3::float8 ORDER BY score DESC, chunk"


static int tf_rag_ngrams_all(const tf_rag_query_t *query,
    const tf_rag_found_t *found);
static tf_pg_status_t tf_rag_question_vector(tf_pg_t *pg,
    const tf_rag_query_t *query, const tf_rag_found_t *found, tf_buf_t *out);
static void tf_rag_candidates(const tf_rag_found_t *found, tf_buf_t *out);


tf_pg_status_t
tf_rag_rank_ngrams(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list)
{
    int              few;
    char             numbers[2][32];
    tf_buf_t         vector = TF_BUF_INIT, chunks = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[5];
    tf_pg_status_t   rc;

    rc = tf_rag_question_vector(pg, query, found, &vector);
    if (rc != TF_PG_OK || vector.len == 0) {
        goto done;
    }

    few = tf_rag_ngrams_all(query, found);

    if (!few) {
        tf_rag_candidates(found, &chunks);
        if (chunks.len == 0) {
            goto done;
        }
        tf_array_close(&chunks);
    }

    if (vector.failed || chunks.failed) {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%u", query->k);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%f",
                    TF_RANK_NGRAMS_LEAST);

    params[0] = vector.data;
    params[1] = numbers[0];
    params[2] = numbers[1];

    /* who is a candidate is in the scope */

    if (!few) {
        params[3] = chunks.data;

        rc = tf_pg_prepared(pg, &res, TF_RAG_RANK_MS,
            TF_NGRAMS_SELECT "g.chunk = ANY ($4::bigint[]) " TF_NGRAMS_ORDER,
            4, params);

    } else {
        params[3] = query->scope.collections;
        params[4] = query->scope.documents;

        /* planned for what is asked: it may be everything, or little */

        rc = tf_pg_query(pg, &res, TF_RAG_RANK_MS,
            TF_NGRAMS_SELECT "($4::int[] IS NULL "
                "OR g.collection = ANY ($4::int[])) "
            "AND ($5::uuid[] IS NULL OR g.chunk IN (SELECT id "
                "FROM trifecta.chunk WHERE document = ANY ($5::uuid[]))) "
            TF_NGRAMS_ORDER, 5, params);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_list_read(pg, res, list);
        PQclear(res);
    }

done:

    tf_buf_free(&vector);
    tf_buf_free(&chunks);

    return rc;
}


static int
tf_rag_ngrams_all(const tf_rag_query_t *query, const tf_rag_found_t *found)
{
    if (found->chunks > query->tune->ngrams_scan) {
        return 0;
    }

    return found->chunks <= TF_RANK_NGRAMS_ALL || found->nlists == 0
           || tf_rag_weak(found, &found->lists[0], TF_RANK_NGRAMS_WEAK);
}


static tf_pg_status_t
tf_rag_question_vector(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_buf_t *out)
{
    size_t           i;
    tf_ngrams_t     *grams;
    tf_pg_status_t   rc;
    tf_ngram_idf_t  *idf;

    grams = calloc(1, sizeof(tf_ngrams_t));
    idf = calloc(1, sizeof(tf_ngram_idf_t));

    rc = grams == NULL || idf == NULL
         ? tf_rag_no_memory(pg)
         : tf_ngrams_load(pg, query->scope.collections, idf);

    if (rc == TF_PG_OK) {
        for (i = 0; i < found->nterms; i++) {
            tf_ngrams_add(grams, found->terms[i].text,
                          strlen(found->terms[i].text), 1);
        }

        (void) tf_ngrams_vector(grams, idf, out);
    }

    free(grams);
    free(idf);

    return rc;
}


static void
tf_rag_candidates(const tf_rag_found_t *found, tf_buf_t *out)
{
    size_t  i;

    for (i = 0; i < found->nwords; i++) {
        tf_array_int(out, found->words->of[i].chunk);
    }
}
