#ifndef TF_RAG_RANK_H
#define TF_RAG_RANK_H


#include <stddef.h>
#include <stdint.h>

#include "db/pg.h"
#include "rag/search.h"


/*
 * Lists of chunks, best first, and how they become one.
 *
 * A retriever is a row of one table in search.c: a name, a function, and the
 * weight that the tune has for it.  It is given the question, its terms (in
 * found) and how many chunks are wanted, fills its list, and leaves out what
 * is not in the scope or may not be seen; a list may be empty.
 *
 * Scores of different retrievers cannot be compared, ranks can: a chunk gets
 * weight / (TF_RAG_FUSE_K + rank) of each list that it is in, rank from 1.  A
 * chunk that one retriever ranks first and others do not know stands beside
 * one that all of them find at moderate ranks, whatever their scores mean.
 * To see those, a retriever is asked for TF_RAG_DEPTH chunks at least.
 */

#define TF_RAG_FUSE_K    60
#define TF_RAG_DEPTH     100
#define TF_RAG_DEPTH_MAX 400    /* of a large scope: see rank_ngrams.c */
#define TF_RAG_RANK_MS   10000

typedef struct {
    long long           chunk;
    double              score;
    double              own;        /* of it, what the question's own terms
                                     * give; -1: not known */
    uint64_t            terms;      /* of the question, that it has */
} tf_rag_ranked_t;

typedef struct tf_rag_list_s {
    const char         *name;
    double              weight;
    tf_rag_ranked_t    *of;
    size_t              n;
} tf_rag_list_t;

typedef tf_pg_status_t (*tf_rag_retriever_pt)(tf_pg_t *pg,
    const tf_rag_query_t *query, const tf_rag_found_t *found,
    tf_rag_list_t *list);


/* The k best of all lists; only for want of memory it is TF_PG_ERROR. */
tf_pg_status_t tf_rag_fuse(const tf_rag_list_t *lists, size_t n, unsigned k,
    tf_rag_list_t *out);

void tf_rag_list_free(tf_rag_list_t *list);

/* A list from columns chunk, score, terms, in this order of rows. */
tf_pg_status_t tf_rag_list_read(tf_pg_t *pg, PGresult *res,
    tf_rag_list_t *list);


/* Words of asking, that weigh nothing. */
int tf_rag_is_filler(const char *term);


/* Before: the question's terms, then what they may mean.  After: the chunks of a list as hits. */

tf_pg_status_t tf_rag_search_terms(tf_pg_t *pg, const tf_rag_query_t *query,
    tf_rag_found_t *found);
tf_pg_status_t tf_rag_search_spelling(tf_pg_t *pg,
    const tf_rag_query_t *query, tf_rag_found_t *found);
tf_pg_status_t tf_rag_search_load(tf_pg_t *pg, const tf_rag_list_t *list,
    tf_rag_found_t *found);


/* The retrievers. */

tf_pg_status_t tf_rag_rank_bm25(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list);
tf_pg_status_t tf_rag_rank_vectors(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list);
tf_pg_status_t tf_rag_rank_ngrams(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, tf_rag_list_t *list);

/*
 * The list of BM25 with what the passages at its top tell (rank_feedback.c);
 * out is empty if the top is good enough.
 */
tf_pg_status_t tf_rag_feedback(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, const tf_rag_list_t *bm25,
    tf_rag_list_t *out);

/* None of its first passages covers this share of the question. */
int tf_rag_weak(const tf_rag_found_t *found, const tf_rag_list_t *bm25,
    double share);

/* What BM25 says of these chunks (a bigint[]), in any order. */
tf_pg_status_t tf_rag_bm25_of(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, const char *chunks, tf_rag_list_t *list);

/* What BM25 adds up: the number of a term, its weight and its bit. */

typedef struct {
    int64_t            *ids;
    double             *weights;
    uint64_t           *bits;
    size_t              n;
    double              length;     /* of a chunk, on average */
    uint64_t            others;     /* bits that are not the question's */
    const char         *chunks;     /* bigint[]: only these; NULL: all */
} tf_rag_bm25_t;

/* Room for n; 0, or -1: no memory.  Free it in both cases. */
int tf_rag_bm25_alloc(tf_rag_bm25_t *terms, size_t n);
void tf_rag_bm25_free(tf_rag_bm25_t *terms);

/*
 * The question's, by their numbers in each collection, with room for so many
 * more; the same as alloc.
 */
int tf_rag_bm25_terms(const tf_rag_found_t *found, size_t more,
    tf_rag_bm25_t *terms);

/* An array of numbers: how many; all of one weight and bit, if it is > 0. */
size_t tf_rag_bm25_count(const char *ids);
void tf_rag_bm25_add(tf_rag_bm25_t *terms, const char *ids, double weight,
    uint64_t bit);

/* By an index in memory where there is one, else by the store. */
tf_pg_status_t tf_rag_bm25_rank(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, const tf_rag_bm25_t *terms,
    tf_rag_list_t *list);

/* Ranked by the store, of which an index in memory (mem.h) is a copy. */
tf_pg_status_t tf_rag_bm25_store(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_bm25_t *terms, tf_rag_list_t *list);



#endif /* TF_RAG_RANK_H */
