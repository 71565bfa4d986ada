#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/mem_search.h"


static int tf_mem_ask_read(tf_mem_search_t *s, const PGresult *res);
static int tf_mem_compare_acls(const void *a, const void *b);
static int tf_mem_compare_documents(const void *a, const void *b);


tf_pg_status_t
tf_mem_ask(tf_mem_search_t *s)
{
    char             from[32];
    size_t           i;
    tf_buf_t         ids = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[3];
    tf_pg_status_t   rc;

    tf_mem_ask_free(s);

    for (i = 0; i < s->terms->n; i++) {
        tf_array_int(&ids, s->terms->ids[i]);
    }

    tf_array_close(&ids);

    if (ids.failed) {
        tf_buf_free(&ids);
        return tf_rag_no_memory(s->pg);
    }

    (void) snprintf(from, sizeof(from), "%lu",
                    (unsigned long) s->mem->conf->index_from);
    params[0] = ids.data;
    params[1] = from;
    params[2] = s->query->scope.collections;

    rc = tf_pg_query(s->pg, &res, TF_MEM_MS,
        "SELECT l.id, l.version, l.stamp, l.tenant, "
            "ARRAY(SELECT t.id FROM trifecta.term t "
                "WHERE t.id = ANY ($1::bigint[]) AND t.collection = l.id), "
            "(SELECT trifecta.my_acls()), "
            "(SELECT sum(version) FROM trifecta.collection) "
        "FROM trifecta.collection l WHERE l.chunks >= $2::bigint "
            "AND ($3::int[] IS NULL OR l.id = ANY ($3))",
        3, params);

    tf_buf_free(&ids);

    if (rc != TF_PG_OK) {
        return rc;
    }

    if (tf_mem_ask_read(s, res) != 0) {
        rc = tf_rag_no_memory(s->pg);
    }

    PQclear(res);

    return rc;
}


static int
tf_mem_ask_read(tf_mem_search_t *s, const PGresult *res)
{
    int              i, n;
    size_t           k;
    int64_t         *acls;
    tf_mem_asked_t  *asked;

    n = PQntuples(res);
    if (n == 0) {
        return 0;
    }

    s->asked = calloc((size_t) n, sizeof(tf_mem_asked_t));
    if (s->asked == NULL) {
        return -1;
    }

    for (i = 0; i < n; i++) {
        asked = &s->asked[s->nasked++];
        asked->collection = atoi(PQgetvalue(res, i, 0));
        asked->version = atoll(PQgetvalue(res, i, 1));
        (void) snprintf(asked->stamp, sizeof(asked->stamp), "%s",
                        PQgetvalue(res, i, 2));
        (void) snprintf(asked->tenant, sizeof(asked->tenant), "%s",
                        PQgetvalue(res, i, 3));

        if (tf_mem_numbers(PQgetvalue(res, i, 4), &asked->terms,
                           &asked->nterms)
            != 0)
        {
            return -1;
        }
    }

    s->versions = atoll(PQgetvalue(res, 0, 6));

    if (tf_mem_numbers(PQgetvalue(res, 0, 5), &acls, &s->nacls) != 0) {
        return -1;
    }

    s->acls = malloc((s->nacls + 1) * sizeof(int32_t));

    for (k = 0; k < s->nacls && s->acls != NULL; k++) {
        s->acls[k] = (int32_t) acls[k];
    }

    free(acls);

    if (s->acls == NULL) {
        return -1;
    }

    qsort(s->acls, s->nacls, sizeof(int32_t), tf_mem_compare_acls);

    return 0;
}


void
tf_mem_ask_free(tf_mem_search_t *s)
{
    size_t  i;

    for (i = 0; i < s->nasked; i++) {
        free(s->asked[i].terms);
    }

    free(s->asked);
    free(s->acls);
    s->asked = NULL;
    s->nasked = 0;
    s->acls = NULL;
    s->nacls = 0;
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
