#include "rag/sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"


#define TF_SET_COLUMNS                                                        \
    "SELECT id, coalesce(collection, 0), indexed, status, model, dimensions " \
    "FROM trifecta.embedding_set "


static tf_pg_status_t
tf_set_read(tf_pg_t *pg, const char *sql, const char *param,
    tf_rag_set_t *set)
{
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    memset(set, 0, sizeof(tf_rag_set_t));
    params[0] = param;

    rc = tf_pg_query(pg, &res, 0, sql, 1, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    if (PQntuples(res) > 0) {
        set->id = atoi(PQgetvalue(res, 0, 0));
        set->collection = atoi(PQgetvalue(res, 0, 1));
        set->indexed = PQgetvalue(res, 0, 2)[0] == 't';
        (void) snprintf(set->status, sizeof(set->status), "%s",
                        PQgetvalue(res, 0, 3));
        (void) snprintf(set->model, sizeof(set->model), "%s",
                        PQgetvalue(res, 0, 4));
        set->dims = strtoul(PQgetvalue(res, 0, 5), NULL, 10);
    }

    PQclear(res);

    return TF_PG_OK;
}


tf_pg_status_t
tf_rag_set_get(tf_pg_t *pg, int id, tf_rag_set_t *set)
{
    char  number[16];

    (void) snprintf(number, sizeof(number), "%d", id);

    return tf_set_read(pg, TF_SET_COLUMNS "WHERE id = $1", number, set);
}


tf_pg_status_t
tf_rag_set_live(tf_pg_t *pg, const char *collection, tf_rag_set_t *set)
{
    return tf_set_read(pg, TF_SET_COLUMNS
                       "WHERE status = 'live' AND (collection IS NULL "
                       "OR collection = (SELECT c.id FROM "
                           "trifecta.collection c WHERE c.name = $1)) "
                       "ORDER BY collection NULLS LAST LIMIT 1", collection,
                       set);
}


tf_pg_status_t
tf_rag_set_lacks(tf_pg_t *pg, const tf_rag_set_t *set,
    const tf_rag_slice_t *slice, PGresult **res)
{
    char         numbers[6][24];
    size_t       i;
    const char  *params[6];

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", set->id);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%lld", slice->after);
    (void) snprintf(numbers[2], sizeof(numbers[2]), "%d", set->collection);
    (void) snprintf(numbers[3], sizeof(numbers[3]), "%u", slice->parts);
    (void) snprintf(numbers[4], sizeof(numbers[4]), "%u", slice->part);
    (void) snprintf(numbers[5], sizeof(numbers[5]), "%u", slice->max);

    for (i = 0; i < 6; i++) {
        params[i] = numbers[i];
    }

    return tf_pg_query(pg, res, TF_RAG_SET_MS,
        "SELECT c.id, concat_ws(E'\\n', d.title, nullif(c.heading, ''), "
            "c.body) "
        "FROM trifecta.chunk c JOIN trifecta.document d ON d.id = c.document "
        "WHERE c.id > $2::bigint "
            "AND c.acl = ANY ((SELECT trifecta.my_own_acls())::integer[]) "
            "AND ($3::integer = 0 OR c.collection = $3::integer) "
            "AND c.id % $4::bigint = $5::bigint "
            "AND NOT EXISTS (SELECT FROM trifecta.embedding e "
                            "WHERE e.set = $1::integer AND e.chunk = c.id) "
        "ORDER BY c.id LIMIT $6::integer", 6, params);
}


void
tf_rag_set_vector(tf_buf_t *b, const float *v, size_t dims)
{
    size_t  i;

    for (i = 0; i < dims; i++) {
        tf_buf_printf(b, "%c%.5g", i ? ',' : '[', (double) v[i]);
    }

    tf_buf_append(b, "]", 1);
}


tf_pg_status_t
tf_rag_set_put(tf_pg_t *pg, const tf_rag_set_t *set, PGresult *rows,
    size_t first, size_t n, const float *vectors, long long tokens)
{
    char             numbers[2][24];
    size_t           i;
    tf_buf_t         ids = TF_BUF_INIT, texts = TF_BUF_INIT;
    tf_buf_t         one = TF_BUF_INIT;
    const char      *params[4];
    tf_pg_status_t   rc;

    for (i = 0; i < n; i++) {
        tf_buf_reset(&one);
        tf_rag_set_vector(&one, vectors + i * set->dims, set->dims);
        tf_array_int(&ids, atoll(PQgetvalue(rows, (int) (first + i), 0)));
        tf_array_text(&texts, one.len ? one.data : "", one.len);
    }

    tf_array_close(&ids);
    tf_array_close(&texts);

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", set->id);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%lld", tokens);
    params[0] = numbers[0];
    params[1] = ids.data;
    params[2] = texts.data;
    params[3] = numbers[1];

    if (ids.failed || texts.failed || one.failed) {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    /* who deletes a chunk waits for this, and then takes its vector along */

    rc = tf_pg_query(pg, NULL, TF_RAG_SET_MS,
        "WITH k AS MATERIALIZED ("
            "SELECT id, acl, collection FROM trifecta.chunk "
            "WHERE id = ANY ($2::bigint[]) ORDER BY id FOR KEY SHARE"
        "), u AS ("
            "UPDATE trifecta.embedding_set SET tokens = tokens + $4::bigint "
            "WHERE id = $1::integer"
        ") INSERT INTO trifecta.embedding (set, chunk, acl, collection, vec) "
        "SELECT $1::integer, k.id, k.acl, k.collection, v.vec::halfvec "
        "FROM unnest($2::bigint[], $3::text[]) AS v(id, vec) "
        "JOIN k ON k.id = v.id ON CONFLICT DO NOTHING",
        4, params);

done:

    tf_buf_free(&ids);
    tf_buf_free(&texts);
    tf_buf_free(&one);

    return rc;
}
