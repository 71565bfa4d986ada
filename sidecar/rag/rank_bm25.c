#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/mem.h"
#include "rag/rank.h"


/*
 * BM25 over the postings.  Their terms belong to collections, so the terms
 * that were looked up in the scope's collections find nothing outside them.
 */


tf_pg_status_t
tf_rag_rank_bm25(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list)
{
    tf_rag_bm25_t    terms;
    tf_pg_status_t   rc;

    if (tf_rag_bm25_terms(found, 0, &terms) != 0) {
        rc = tf_rag_no_memory(pg);

    } else {
        rc = tf_rag_bm25_rank(pg, query, found, &terms, list);
    }

    tf_rag_bm25_free(&terms);

    return rc;
}


tf_pg_status_t
tf_rag_bm25_rank(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, const tf_rag_bm25_t *terms,
    tf_rag_list_t *list)
{
    if (terms->n == 0) {
        return TF_PG_OK;
    }

    if (query->mem != NULL
        && found->chunks >= (double) query->mem->conf->index_from)
    {
        return tf_rag_mem_bm25(query->mem, pg, query, terms, list);
    }

    return tf_rag_bm25_store(pg, query, terms, list);
}


tf_pg_status_t
tf_rag_bm25_of(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, const char *chunks, tf_rag_list_t *list)
{
    tf_rag_bm25_t    terms;
    tf_pg_status_t   rc;

    if (tf_rag_bm25_terms(found, 0, &terms) != 0) {
        rc = tf_rag_no_memory(pg);

    } else if (terms.n == 0) {
        rc = TF_PG_OK;

    } else {
        terms.chunks = chunks;
        rc = tf_rag_bm25_store(pg, query, &terms, list);
    }

    tf_rag_bm25_free(&terms);

    return rc;
}


int
tf_rag_bm25_alloc(tf_rag_bm25_t *terms, size_t n)
{
    terms->n = 0;
    terms->chunks = NULL;
    terms->others = 0;
    terms->ids = calloc(n + 1, sizeof(int64_t));
    terms->weights = calloc(n + 1, sizeof(double));
    terms->bits = calloc(n + 1, sizeof(uint64_t));

    return terms->ids == NULL || terms->weights == NULL
           || terms->bits == NULL ? -1 : 0;
}


void
tf_rag_bm25_free(tf_rag_bm25_t *terms)
{
    free(terms->ids);
    free(terms->weights);
    free(terms->bits);
}


int
tf_rag_bm25_terms(const tf_rag_found_t *found, size_t more,
    tf_rag_bm25_t *terms)
{
    size_t                i, n;
    const tf_rag_term_t  *term;

    for (i = 0, n = more; i < found->nterms; i++) {
        n += tf_rag_bm25_count(found->terms[i].ids);
    }

    if (tf_rag_bm25_alloc(terms, n) != 0) {
        return -1;
    }

    terms->length = found->length > 0 ? found->length : 1;

    for (i = 0; i < found->nterms; i++) {
        term = &found->terms[i];
        tf_rag_bm25_add(terms, term->ids, term->weight, UINT64_C(1) << i);
    }

    return 0;
}


size_t
tf_rag_bm25_count(const char *ids)
{
    size_t  n;

    for (n = 0; *ids; ids++) {
        n += *ids == ',' || *ids == '{';
    }

    return n;
}


void
tf_rag_bm25_add(tf_rag_bm25_t *terms, const char *ids, double weight,
    uint64_t bit)
{
    char        *end;
    const char  *p;

    for (p = ids; weight > 0 && (*p == '{' || *p == ','); p = end) {
        terms->ids[terms->n] = strtoll(p + 1, &end, 10);

        if (end == p + 1) {
            break;
        }

        terms->weights[terms->n] = weight;
        terms->bits[terms->n] = bit;
        terms->n++;
    }
}


tf_pg_status_t
tf_rag_bm25_store(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_bm25_t *terms, tf_rag_list_t *list)
{
    char             numbers[2][32];
    size_t           i;
    tf_buf_t         ids = TF_BUF_INIT, weights = TF_BUF_INIT;
    tf_buf_t         bits = TF_BUF_INIT, sql = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[6];
    tf_pg_status_t   rc;

    for (i = 0; i < terms->n; i++) {
        tf_array_int(&ids, terms->ids[i]);
        tf_array_real(&weights, terms->weights[i]);
        tf_array_int(&bits, (long long) terms->bits[i]);
    }

    tf_array_close(&ids);
    tf_array_close(&weights);
    tf_array_close(&bits);

    /*
     * 2.2 is k1 + 1, 0.3 is k1 * (1 - b), 0.9 is k1 * b; mem_rank.c has the
     * same formula
     */

    tf_buf_printf(&sql,
        "SELECT p.chunk, sum(w.weight * p.tf * 2.2 / (p.tf + 0.3 + "
            "0.9 * p.len / $5::float8)) AS score, bit_or(w.bit) AS terms "
        "FROM unnest($1::bigint[], $2::float8[], $3::bigint[]) "
            "AS w(term, weight, bit) "
        "JOIN trifecta.posting p ON p.term = w.term %s"
        "GROUP BY p.chunk ORDER BY score DESC, p.chunk LIMIT $4::int",
        terms->chunks != NULL ? "WHERE p.chunk = ANY ($6::bigint[]) "
        : query->scope.documents != NULL
            ? "WHERE p.chunk IN (SELECT id FROM trifecta.chunk "
              "WHERE document = ANY ($6::uuid[])) "
            : "");

    if (ids.failed || weights.failed || bits.failed || sql.failed) {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%u", query->k);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%.17g", terms->length);

    params[0] = ids.data;
    params[1] = weights.data;
    params[2] = bits.data;
    params[3] = numbers[0];
    params[4] = numbers[1];
    params[5] = terms->chunks != NULL ? terms->chunks
                                      : query->scope.documents;

    rc = tf_pg_query(pg, &res, TF_RAG_RANK_MS, sql.data,
                     params[5] == NULL ? 5 : 6, params);

    if (rc == TF_PG_OK) {
        rc = tf_rag_list_read(pg, res, list);
        PQclear(res);
    }

done:

    tf_buf_free(&ids);
    tf_buf_free(&weights);
    tf_buf_free(&bits);
    tf_buf_free(&sql);

    return rc;
}
