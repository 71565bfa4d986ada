#include <stdio.h>
#include <string.h>

#include "rag/array.h"
#include "rag/rank.h"


/*
 * BM25 over the postings.  Their terms belong to collections, so the terms
 * that were looked up in the scope's collections find nothing outside them.
 */


tf_pg_status_t
tf_rag_rank_bm25(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list)
{
    char                  numbers[2][32];
    size_t                i;
    tf_buf_t              ids = TF_BUF_INIT, weights = TF_BUF_INIT;
    tf_buf_t              bits = TF_BUF_INIT, sql = TF_BUF_INIT;
    PGresult             *res;
    const char           *params[6], *p;
    tf_pg_status_t        rc;
    const tf_rag_term_t  *term;

    for (i = 0; i < found->nterms; i++) {
        term = &found->terms[i];

        if (term->weight <= 0 || strlen(term->ids) <= 2) {
            continue;
        }

        tf_array_add(&ids, term->ids);

        for (p = term->ids; p != NULL; p = strchr(p + 1, ',')) {
            tf_array_real(&weights, term->weight);
            tf_array_int(&bits, (long long) (UINT64_C(1) << i));
        }
    }

    if (ids.len == 0) {
        return TF_PG_OK;
    }

    tf_array_close(&ids);
    tf_array_close(&weights);
    tf_array_close(&bits);

    /* 2.2 is k1 + 1, 0.3 is k1 * (1 - b), 0.9 is k1 * b */

    tf_buf_printf(&sql,
        "SELECT p.chunk, sum(w.weight * p.tf * 2.2 / (p.tf + 0.3 + "
            "0.9 * p.len / $5::float8)) AS score, bit_or(w.bit) AS terms "
        "FROM unnest($1::bigint[], $2::float8[], $3::bigint[]) "
            "AS w(term, weight, bit) "
        "JOIN trifecta.posting p ON p.term = w.term %s"
        "GROUP BY p.chunk ORDER BY score DESC, p.chunk LIMIT $4::int",
        query->scope.documents == NULL ? ""
            : "WHERE p.chunk IN (SELECT id FROM trifecta.chunk "
              "WHERE document = ANY ($6::uuid[])) ");

    if (ids.failed || weights.failed || bits.failed || sql.failed) {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%u", query->k);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%.6f",
                    found->length > 0 ? found->length : 1);

    params[0] = ids.data;
    params[1] = weights.data;
    params[2] = bits.data;
    params[3] = numbers[0];
    params[4] = numbers[1];
    params[5] = query->scope.documents;

    rc = tf_pg_query(pg, &res, TF_RAG_RANK_MS, sql.data,
                     query->scope.documents == NULL ? 5 : 6, params);

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
