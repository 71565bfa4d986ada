#include <stdlib.h>
#include <string.h>

#include "rag/rank.h"


static int
tf_rag_by_chunk(const void *a, const void *b)
{
    const tf_rag_ranked_t  *x = a, *y = b;

    return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}


/* Equal ones in the order that they were written in, so that it never flaps. */

static int
tf_rag_by_score(const void *a, const void *b)
{
    const tf_rag_ranked_t  *x = a, *y = b;

    if (x->score > y->score) {
        return -1;
    }

    return x->score < y->score ? 1 : tf_rag_by_chunk(a, b);
}


tf_pg_status_t
tf_rag_fuse(const tf_rag_list_t *lists, size_t n, unsigned k,
    tf_rag_list_t *out)
{
    size_t            i, rank, all;
    tf_rag_ranked_t  *of;

    all = 0;

    for (i = 0; i < n; i++) {
        all += lists[i].n;
    }

    out->n = 0;
    out->of = calloc(all + 1, sizeof(tf_rag_ranked_t));

    if (out->of == NULL) {
        return TF_PG_ERROR;
    }

    of = out->of;
    all = 0;

    for (i = 0; i < n; i++) {
        for (rank = 1; rank <= lists[i].n; rank++) {
            of[all] = lists[i].of[rank - 1];
            of[all].score = lists[i].weight
                            / (double) (TF_RAG_FUSE_K + rank);
            all += lists[i].weight > 0;
        }
    }

    qsort(of, all, sizeof(tf_rag_ranked_t), tf_rag_by_chunk);

    for (i = 0; i < all; i++) {
        if (out->n && of[out->n - 1].chunk == of[i].chunk) {
            of[out->n - 1].score += of[i].score;
            of[out->n - 1].terms |= of[i].terms;

        } else {
            of[out->n++] = of[i];
        }
    }

    qsort(of, out->n, sizeof(tf_rag_ranked_t), tf_rag_by_score);

    if (out->n > k) {
        out->n = k;
    }

    return TF_PG_OK;
}


void
tf_rag_list_free(tf_rag_list_t *list)
{
    free(list->of);
    list->of = NULL;
    list->n = 0;
}


tf_pg_status_t
tf_rag_list_read(tf_pg_t *pg, PGresult *res, tf_rag_list_t *list)
{
    int  i, n;

    n = PQntuples(res);

    list->n = 0;
    list->of = calloc((size_t) n + 1, sizeof(tf_rag_ranked_t));

    if (list->of == NULL) {
        return tf_rag_no_memory(pg);
    }

    for (i = 0; i < n; i++) {
        list->of[i].chunk = atoll(PQgetvalue(res, i, 0));
        list->of[i].score = strtod(PQgetvalue(res, i, 1), NULL);
        list->of[i].own = -1;
        list->of[i].terms = (uint64_t) atoll(PQgetvalue(res, i, 2));
    }

    list->n = (size_t) n;

    return TF_PG_OK;
}
