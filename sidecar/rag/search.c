#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/mem.h"
#include "rag/rank.h"
#include "rag/steps.h"
#include "rag/vectors.h"


typedef struct {
    const char           *name;
    tf_rag_retriever_pt   rank;
    size_t                weight;       /* where the tune has it */
} tf_rag_retriever_t;

/* BM25 is the first: others look at its candidates. */

static const tf_rag_retriever_t  tf_rag_retrievers[] = {
    { "bm25", tf_rag_rank_bm25, offsetof(tf_rag_tune_t, weight_bm25) },
    { "ngrams", tf_rag_rank_ngrams, offsetof(tf_rag_tune_t, weight_ngrams) },
    { "vectors", tf_rag_rank_vectors, offsetof(tf_rag_tune_t, weight_vectors) }
};

#define TF_RAG_RETRIEVERS                                                     \
    (sizeof(tf_rag_retrievers) / sizeof(tf_rag_retrievers[0]))


static tf_pg_status_t tf_rag_search_lists(tf_pg_t *pg,
    const tf_rag_query_t *query, tf_rag_found_t *found, tf_rag_list_t *lists,
    tf_rag_list_t *fed);
static size_t tf_rag_search_words(const tf_rag_query_t *query, size_t n);
static tf_pg_status_t tf_rag_search_scores(tf_pg_t *pg,
    const tf_rag_query_t *query, const tf_rag_list_t *bm25,
    const tf_rag_list_t *fed, tf_rag_found_t *found);
static int tf_rag_search_score(const tf_rag_list_t *list, int own,
    tf_rag_hit_t *hit);


void
tf_rag_tune(const tf_conf_t *conf, tf_rag_tune_t *tune)
{
    tune->weight_bm25 = conf->weight_bm25;
    tune->weight_ngrams = conf->weight_ngrams;
    tune->weight_vectors = conf->weight_vectors;
    tune->ngrams_scan = (double) conf->ngrams_scan;
    tune->weight_spelling = conf->weight_spelling;
    tune->feedback = conf->feedback;
}


tf_pg_status_t
tf_rag_search(tf_pg_t *pg, const tf_rag_query_t *query, tf_rag_found_t *found)
{
    size_t           i;
    tf_rag_list_t    lists[TF_RAG_RETRIEVERS], fused, fed, bm25;
    tf_rag_tune_t    tune;
    tf_mem_view_t    view;
    tf_rag_query_t   wide;
    tf_pg_status_t   rc;

    memset(found, 0, sizeof(tf_rag_found_t));
    memset(lists, 0, sizeof(lists));
    memset(&fused, 0, sizeof(fused));
    memset(&fed, 0, sizeof(fed));
    memset(&view, 0, sizeof(view));

    wide = *query;
    wide.view = &view;

    if (wide.tune == NULL) {
        tf_rag_tune(pg->conf, &tune);
        wide.tune = &tune;
    }

    rc = tf_rag_search_terms(pg, &wide, found);
    tf_rag_step(query->steps, "words");

    if (rc != TF_PG_OK || found->chunks < 1) {
        tf_mem_view_free(&view);
        return rc;
    }

    rc = tf_rag_search_lists(pg, &wide, found, lists, &fed);
    bm25 = lists[0];

    if (rc == TF_PG_OK) {
        if (fed.n) {
            lists[0].of = fed.of;
            lists[0].n = fed.n;
        }

        rc = tf_rag_fuse(lists, TF_RAG_RETRIEVERS, query->k, &fused);

        if (rc != TF_PG_OK) {
            (void) tf_rag_no_memory(pg);
        }
    }

    if (rc == TF_PG_OK && fused.n) {
        rc = tf_rag_search_load(pg, &fused, found);
        tf_rag_step(query->steps, "load");
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_search_scores(pg, &wide, &bm25, &fed, found);
        tf_rag_step(query->steps, "scores");
    }

    lists[0] = bm25;

    for (i = 0; i < TF_RAG_RETRIEVERS; i++) {
        tf_rag_list_free(&lists[i]);
    }

    tf_rag_list_free(&fused);
    tf_rag_list_free(&fed);
    tf_mem_view_free(&view);
    found->lists = NULL;
    found->nlists = 0;
    found->words = NULL;

    return rc;
}


static tf_pg_status_t
tf_rag_search_lists(tf_pg_t *pg, const tf_rag_query_t *query,
    tf_rag_found_t *found, tf_rag_list_t *lists, tf_rag_list_t *fed)
{
    size_t           i;
    unsigned         least;
    tf_rag_query_t   wide;
    tf_pg_status_t   rc;

    wide = *query;
    least = found->chunks > query->tune->ngrams_scan ? TF_RAG_DEPTH_MAX
                                                     : TF_RAG_DEPTH;
    if (wide.k < least) {
        wide.k = least;
    }

    found->lists = lists;
    rc = TF_PG_OK;

    for (i = 0; i < TF_RAG_RETRIEVERS && rc == TF_PG_OK; i++) {
        found->nlists = i;
        lists[i].name = tf_rag_retrievers[i].name;
        memcpy(&lists[i].weight, (const char *) query->tune
               + tf_rag_retrievers[i].weight, sizeof(double));

        if (lists[i].weight > 0) {
            rc = tf_rag_retrievers[i].rank(pg, &wide, found, &lists[i]);
            tf_rag_step(query->steps, lists[i].name);
        }

        if (i == 0 && rc == TF_PG_OK) {
            rc = tf_rag_feedback(pg, &wide, found, &lists[0], fed);
            tf_rag_step(query->steps, "feedback");

            found->words = fed->n ? fed : &lists[0];
            found->nwords = tf_rag_search_words(query, found->words->n);
        }
    }

    return rc;
}


/*
 * How many of the words' list can be among the k best at all: the k-th of them
 * has at least its share, and what comes behind gets no more than its own and
 * that of the first place in every other list.
 */

static size_t
tf_rag_search_words(const tf_rag_query_t *query, size_t n)
{
    double                most, least;
    size_t                rank;
    const tf_rag_tune_t  *tune;

    tune = query->tune;

    if (n <= query->k) {
        return n;
    }

    least = tune->weight_bm25 / (double) (TF_RAG_FUSE_K + query->k);
    most = tune->weight_ngrams / (TF_RAG_FUSE_K + 1);

    if (query->vector != NULL && query->vector->text.len) {
        most += tune->weight_vectors / (TF_RAG_FUSE_K + 1);
    }

    for (rank = query->k; rank < n; rank++) {
        if (tune->weight_bm25 / (double) (TF_RAG_FUSE_K + rank + 1) + most
            < least)
        {
            break;
        }
    }

    return rank;
}


/*
 * What BM25 says of each hit, also of those that others found: an index in
 * memory has said that of what feedback found, the store is asked for the
 * rest.
 */

static tf_pg_status_t
tf_rag_search_scores(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_list_t *bm25, const tf_rag_list_t *fed,
    tf_rag_found_t *found)
{
    size_t           i;
    tf_buf_t         rest = TF_BUF_INIT;
    tf_rag_list_t    list;
    tf_pg_status_t   rc;

    for (i = 0; i < found->nhits; i++) {
        if (!tf_rag_search_score(bm25, 0, &found->hits[i])
            && !tf_rag_search_score(fed, 1, &found->hits[i]))
        {
            tf_array_int(&rest, found->hits[i].chunk);
        }
    }

    if (rest.len == 0) {
        return TF_PG_OK;
    }

    memset(&list, 0, sizeof(list));
    tf_array_close(&rest);

    rc = rest.failed ? tf_rag_no_memory(pg)
                     : tf_rag_bm25_of(pg, query, found, rest.data, &list);

    for (i = 0; i < found->nhits && rc == TF_PG_OK; i++) {
        (void) tf_rag_search_score(&list, 0, &found->hits[i]);
    }

    tf_rag_list_free(&list);
    tf_buf_free(&rest);

    return rc;
}


static int
tf_rag_search_score(const tf_rag_list_t *list, int own, tf_rag_hit_t *hit)
{
    size_t                  i;
    const tf_rag_ranked_t  *of;

    for (i = 0; i < list->n; i++) {
        of = &list->of[i];

        if (of->chunk != hit->chunk) {
            continue;
        }

        if (own && of->own < 0) {
            return 0;
        }

        hit->score = own ? of->own : of->score;
        hit->terms |= of->terms;

        return 1;
    }

    return 0;
}


void
tf_rag_found_free(tf_rag_found_t *found)
{
    size_t         i, k;
    tf_rag_hit_t  *hit;

    for (i = 0; i < found->nterms; i++) {
        free(found->terms[i].text);
        free(found->terms[i].ids);

        for (k = 0; k < found->terms[i].nmeant; k++) {
            free(found->terms[i].meant[k]);
        }
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
