#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/mem_search.h"


static int tf_mem_look_read(tf_mem_view_t *view, const PGresult *res);
static int tf_mem_compare_acls(const void *a, const void *b);
static int tf_mem_compare_documents(const void *a, const void *b);


tf_pg_status_t
tf_mem_ask(tf_mem_search_t *s)
{
    double  chunks, length;

    return tf_mem_look(s->mem, s->pg, s->query, s->view, &chunks, &length);
}


/* A scope without large collections has one row, without any. */

tf_pg_status_t
tf_mem_look(tf_rag_mem_t *mem, tf_pg_t *pg, const tf_rag_query_t *query,
    tf_mem_view_t *view, double *chunks, double *length)
{
    char             from[32];
    PGresult        *res;
    const char      *params[2];
    tf_pg_status_t   rc;

    tf_mem_view_free(view);

    (void) snprintf(from, sizeof(from), "%lu",
                    (unsigned long) mem->conf->index_from);
    params[0] = query->scope.collections;
    params[1] = from;

    rc = tf_pg_prepared(pg, &res, TF_MEM_MS,
        "WITH c AS MATERIALIZED ("
            "SELECT id, version, stamp, tenant, chunks, total_len "
            "FROM trifecta.collection "
            "WHERE $1::int[] IS NULL OR id = ANY ($1::int[])), "
        "l AS (SELECT * FROM c WHERE chunks >= $2::bigint), "
        "s AS (SELECT coalesce(sum(chunks), 0) AS chunks, "
            "coalesce(sum(total_len), 0) AS length FROM c) "
        "SELECT s.chunks, s.length, l.id, l.version, l.stamp, l.tenant, "
            "CASE WHEN l.id IS NOT NULL "
                "THEN (SELECT trifecta.my_acls()) END, "
            "CASE WHEN l.id IS NOT NULL "
                "THEN (SELECT sum(version) FROM trifecta.collection) END "
        "FROM s LEFT JOIN l ON true",
        2, params);

    if (rc != TF_PG_OK) {
        return rc;
    }

    *chunks = strtod(PQgetvalue(res, 0, 0), NULL);
    *length = strtod(PQgetvalue(res, 0, 1), NULL);

    if (tf_mem_look_read(view, res) != 0) {
        rc = tf_rag_no_memory(pg);
    }

    PQclear(res);

    return rc;
}


static int
tf_mem_look_read(tf_mem_view_t *view, const PGresult *res)
{
    int              i, n;
    size_t           k;
    int64_t         *acls;
    tf_mem_asked_t  *asked;

    n = PQntuples(res);
    if (PQgetisnull(res, 0, 2)) {
        return 0;
    }

    view->asked = calloc((size_t) n, sizeof(tf_mem_asked_t));
    if (view->asked == NULL) {
        return -1;
    }

    for (i = 0; i < n; i++) {
        asked = &view->asked[view->nasked++];
        asked->collection = atoi(PQgetvalue(res, i, 2));
        asked->version = atoll(PQgetvalue(res, i, 3));
        (void) snprintf(asked->stamp, sizeof(asked->stamp), "%s",
                        PQgetvalue(res, i, 4));
        (void) snprintf(asked->tenant, sizeof(asked->tenant), "%s",
                        PQgetvalue(res, i, 5));
    }

    view->versions = atoll(PQgetvalue(res, 0, 7));

    if (tf_mem_numbers(PQgetvalue(res, 0, 6), &acls, &view->nacls) != 0) {
        return -1;
    }

    view->acls = malloc((view->nacls + 1) * sizeof(int32_t));

    for (k = 0; k < view->nacls && view->acls != NULL; k++) {
        view->acls[k] = (int32_t) acls[k];
    }

    free(acls);

    if (view->acls == NULL) {
        return -1;
    }

    qsort(view->acls, view->nacls, sizeof(int32_t), tf_mem_compare_acls);

    return 0;
}


void
tf_mem_view_free(tf_mem_view_t *view)
{
    free(view->asked);
    free(view->acls);
    memset(view, 0, sizeof(tf_mem_view_t));
}


static int
tf_mem_compare_acls(const void *a, const void *b)
{
    const int32_t  *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}


static int
tf_mem_compare_documents(const void *a, const void *b)
{
    return memcmp(a, b, TF_MEM_UUID);
}


int
tf_mem_documents(tf_mem_search_t *s)
{
    size_t       n;
    const char  *p, *array;

    array = s->query->scope.documents;
    if (array == NULL) {
        return 0;
    }

    n = 1;

    for (p = array; *p; p++) {
        n += *p == ',';
    }

    s->documents = calloc(n, TF_MEM_UUID);
    if (s->documents == NULL) {
        return -1;
    }

    for (p = array; *p; p += strcspn(p, ",}")) {
        p += strspn(p, "{\",}");

        if (*p) {
            tf_mem_uuid(p, s->documents[s->ndocuments++]);
        }
    }

    qsort(s->documents, s->ndocuments, TF_MEM_UUID,
          tf_mem_compare_documents);

    return 0;
}
