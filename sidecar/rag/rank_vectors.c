#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/rank.h"
#include "rag/vectors.h"


/*
 * The passages whose vectors are nearest to the question's.
 *
 * Up to TF_RAG_SET_EXACT vectors that the asker may see are compared one by
 * one, which finds the nearest always.  More of them go by the set's index,
 * if it has one: the index is walked on until enough are found that may be
 * seen and are in the scope, so a foreign passage that is nearer takes no
 * place away.  A walk would go far for a scope of few, and a comparison is
 * cheap there: so the number that counts is that of those who remain.
 */

#define TF_VECTORS_EF  "200"

#define TF_VECTORS_WHERE                                                      \
    "FROM trifecta.embedding e WHERE e.set = $1::integer "                    \
    "AND ($2::integer[] IS NULL OR e.collection = ANY ($2::integer[])) "      \
    "AND ($3::uuid[] IS NULL OR e.chunk IN (SELECT id FROM trifecta.chunk "   \
        "WHERE document = ANY ($3::uuid[]))) "


/*
 * Whether the index is worth it.  That is known now, so the planner, which
 * would have to guess it, is kept from sorting them all.
 */

static tf_pg_status_t
tf_vectors_many(tf_pg_t *pg, const char *const *params, int *many)
{
    char             sql[1024];
    PGresult        *res;
    tf_pg_status_t   rc;

    (void) snprintf(sql, sizeof(sql),
                    "SELECT count(*), set_config('hnsw.iterative_scan', "
                    "'relaxed_order', true), set_config('hnsw.ef_search', '"
                    TF_VECTORS_EF "', true), set_config('enable_sort', "
                    "'off', true) FROM (SELECT 1 "
                    TF_VECTORS_WHERE "LIMIT %d) AS s", TF_RAG_SET_EXACT + 1);

    rc = tf_pg_query(pg, &res, TF_RAG_RANK_MS, sql, 3, params);

    if (rc == TF_PG_OK) {
        *many = atoi(PQgetvalue(res, 0, 0)) > TF_RAG_SET_EXACT;
        PQclear(res);
    }

    return rc;
}


tf_pg_status_t
tf_rag_rank_vectors(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list)
{
    int                     many;
    char                    numbers[2][24], sql[2048];
    PGresult               *res;
    const char             *params[5];
    tf_pg_status_t          rc;
    const tf_rag_vector_t  *vector;

    (void) found;

    vector = query->vector;

    if (vector == NULL || vector->text.len == 0) {
        return TF_PG_OK;
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", vector->set.id);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%u", query->k);

    params[0] = numbers[0];
    params[1] = query->scope.collections;
    params[2] = query->scope.documents;
    params[3] = vector->text.data;
    params[4] = numbers[1];

    many = 0;

    if (vector->set.indexed) {
        rc = tf_vectors_many(pg, params, &many);
        if (rc != TF_PG_OK) {
            return rc;
        }
    }

    /* only the cast makes it the expression that is indexed */

    if (many) {
        (void) snprintf(sql, sizeof(sql),
            "WITH s AS MATERIALIZED ("
                "SELECT e.chunk, (e.vec::halfvec(%zu)) <#> $4::halfvec(%zu) "
                    "AS distance " TF_VECTORS_WHERE
                "ORDER BY (e.vec::halfvec(%zu)) <#> $4::halfvec(%zu) "
                "LIMIT $5::integer"
            ") SELECT chunk, -distance, 0 FROM s ORDER BY distance, chunk",
            vector->set.dims, vector->set.dims, vector->set.dims,
            vector->set.dims);

    } else {
        (void) snprintf(sql, sizeof(sql),
            "SELECT e.chunk, -(e.vec <#> $4::halfvec), 0 " TF_VECTORS_WHERE
            "ORDER BY e.vec <#> $4::halfvec, e.chunk LIMIT $5::integer");
    }

    rc = tf_pg_query(pg, &res, TF_RAG_RANK_MS, sql, 5, params);

    if (rc == TF_PG_OK) {
        rc = tf_rag_list_read(pg, res, list);
        PQclear(res);
    }

    if (rc == TF_PG_OK && vector->set.indexed) {
        rc = tf_pg_exec(pg, 0, "SET LOCAL enable_sort TO DEFAULT");
    }

    return rc;
}
