#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/rank.h"


#define TF_SEARCH_MS  10000


static tf_pg_status_t tf_rag_hits_read(tf_pg_t *pg, PGresult *res,
    const tf_rag_list_t *list, tf_rag_found_t *found);


tf_pg_status_t
tf_rag_search_load(tf_pg_t *pg, const tf_rag_list_t *list,
    tf_rag_found_t *found)
{
    size_t           i;
    tf_buf_t         ids = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    for (i = 0; i < list->n; i++) {
        tf_array_int(&ids, list->of[i].chunk);
    }

    tf_array_close(&ids);

    if (ids.failed) {
        tf_buf_free(&ids);
        return tf_rag_no_memory(pg);
    }

    params[0] = ids.data;

    rc = tf_pg_prepared(pg, &res, TF_SEARCH_MS,
        "SELECT c.id, c.document, d.source, d.title, c.heading, c.body, "
            "l.language, c.start_byte, c.end_byte "
        "FROM unnest($1::bigint[]) WITH ORDINALITY AS s(chunk, ord) "
        "JOIN trifecta.chunk c ON c.id = s.chunk "
        "JOIN trifecta.document d ON d.id = c.document "
        "JOIN trifecta.collection l ON l.id = c.collection "
        "ORDER BY s.ord",
        1, params);

    if (rc == TF_PG_OK) {
        rc = tf_rag_hits_read(pg, res, list, found);
        PQclear(res);
    }

    tf_buf_free(&ids);

    return rc;
}


/* In the list's order; one that went meanwhile is left out. */

static tf_pg_status_t
tf_rag_hits_read(tf_pg_t *pg, PGresult *res, const tf_rag_list_t *list,
    tf_rag_found_t *found)
{
    int            i, n;
    size_t         at;
    tf_rag_hit_t  *hit;

    n = PQntuples(res);

    found->hits = calloc((size_t) n + 1, sizeof(tf_rag_hit_t));
    if (found->hits == NULL) {
        return tf_rag_no_memory(pg);
    }

    for (i = 0, at = 0; i < n; i++) {
        hit = &found->hits[found->nhits++];

        hit->chunk = atoll(PQgetvalue(res, i, 0));
        hit->document = strdup(PQgetvalue(res, i, 1));
        hit->source = strdup(PQgetvalue(res, i, 2));
        hit->title = strdup(PQgetvalue(res, i, 3));
        hit->heading = strdup(PQgetvalue(res, i, 4));
        hit->body = strdup(PQgetvalue(res, i, 5));
        hit->language = strdup(PQgetvalue(res, i, 6));
        hit->start = strtoul(PQgetvalue(res, i, 7), NULL, 10);
        hit->end = strtoul(PQgetvalue(res, i, 8), NULL, 10);

        if (hit->document == NULL || hit->source == NULL || hit->title == NULL
            || hit->heading == NULL || hit->body == NULL
            || hit->language == NULL)
        {
            return tf_rag_no_memory(pg);
        }

        while (at < list->n && list->of[at].chunk != hit->chunk) {
            at++;
        }

        if (at < list->n) {
            hit->fused = list->of[at].score;
            hit->terms = list->of[at].terms;
        }
    }

    return TF_PG_OK;
}
