#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/rank.h"


typedef struct {
    const char           *name;
    tf_rag_retriever_pt   rank;
    size_t                weight;       /* where the tune has it */
} tf_rag_retriever_t;

static const tf_rag_retriever_t  tf_rag_retrievers[] = {
    { "bm25", tf_rag_rank_bm25, offsetof(tf_rag_tune_t, bm25) }
};

#define TF_RAG_RETRIEVERS                                                     \
    (sizeof(tf_rag_retrievers) / sizeof(tf_rag_retrievers[0]))

static const tf_rag_tune_t  tf_rag_tune_default = { 1.0 };


static void tf_rag_search_scores(const tf_rag_list_t *list,
    tf_rag_found_t *found);


tf_pg_status_t
tf_rag_search(tf_pg_t *pg, const tf_rag_query_t *query, tf_rag_found_t *found)
{
    size_t           i;
    tf_rag_list_t    lists[TF_RAG_RETRIEVERS], fused;
    tf_rag_query_t   wide;
    tf_pg_status_t   rc;

    memset(found, 0, sizeof(tf_rag_found_t));
    memset(lists, 0, sizeof(lists));
    memset(&fused, 0, sizeof(fused));

    wide = *query;

    if (wide.k < TF_RAG_DEPTH) {
        wide.k = TF_RAG_DEPTH;
    }

    if (wide.tune == NULL) {
        wide.tune = &tf_rag_tune_default;
    }

    rc = tf_rag_search_terms(pg, &wide, found);

    if (rc != TF_PG_OK || found->chunks < 1) {
        return rc;
    }

    for (i = 0; i < TF_RAG_RETRIEVERS && rc == TF_PG_OK; i++) {
        lists[i].name = tf_rag_retrievers[i].name;
        memcpy(&lists[i].weight, (const char *) wide.tune
               + tf_rag_retrievers[i].weight, sizeof(double));

        if (lists[i].weight > 0) {
            rc = tf_rag_retrievers[i].rank(pg, &wide, found, &lists[i]);
        }
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_fuse(lists, TF_RAG_RETRIEVERS, query->k, &fused);

        if (rc != TF_PG_OK) {
            (void) tf_rag_no_memory(pg);
        }
    }

    if (rc == TF_PG_OK && fused.n) {
        rc = tf_rag_search_load(pg, &fused, found);
    }

    if (rc == TF_PG_OK) {
        tf_rag_search_scores(&lists[0], found);
    }

    for (i = 0; i < TF_RAG_RETRIEVERS; i++) {
        tf_rag_list_free(&lists[i]);
    }

    tf_rag_list_free(&fused);

    return rc;
}


/* What BM25 gave each hit. */

static void
tf_rag_search_scores(const tf_rag_list_t *list, tf_rag_found_t *found)
{
    size_t  i, k;

    for (i = 0; i < found->nhits; i++) {
        for (k = 0; k < list->n; k++) {
            if (list->of[k].chunk == found->hits[i].chunk) {
                found->hits[i].score = list->of[k].score;
                break;
            }
        }
    }
}


double
tf_rag_coverage(const tf_rag_found_t *found, uint64_t terms)
{
    size_t  i;
    double  all, have;

    all = 0;
    have = 0;

    for (i = 0; i < found->nterms; i++) {
        all += found->terms[i].info;

        if (terms & (UINT64_C(1) << i)) {
            have += found->terms[i].info;
        }
    }

    return all > 0 ? have / all : 0;
}


void
tf_rag_found_free(tf_rag_found_t *found)
{
    size_t         i;
    tf_rag_hit_t  *hit;

    for (i = 0; i < found->nterms; i++) {
        free(found->terms[i].text);
        free(found->terms[i].ids);
    }

    for (i = 0; i < found->nhits; i++) {
        hit = &found->hits[i];
        free(hit->document);
        free(hit->source);
        free(hit->title);
        free(hit->heading);
        free(hit->body);
        free(hit->language);
    }

    free(found->hits);
    free(found->units);

    memset(found, 0, sizeof(tf_rag_found_t));
}


tf_pg_status_t
tf_rag_no_memory(tf_pg_t *pg)
{
    pg->sqlstate[0] = '\0';
    (void) snprintf(pg->err, sizeof(pg->err), "out of memory");

    return TF_PG_ERROR;
}
