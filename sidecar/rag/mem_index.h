#ifndef TF_RAG_MEM_INDEX_H
#define TF_RAG_MEM_INDEX_H


#include <stddef.h>
#include <stdint.h>

#include "rag/mem_map.h"
#include "rag/mem_terms.h"


/*
 * The inverted index of one collection: numbers only, no text.
 *
 * A chunk has a slot; new ones take the next.  One that goes is marked, and
 * when a quarter of the slots are such, they are taken out and the rest moves
 * up.  Ranking is BM25 with the formula and the numbers of the SQL path, over
 * the chunks that the query allows and no others; equal scores are ordered by
 * the chunk.
 *
 * There is no lock in here: several threads may rank at a time, nobody may
 * while one changes something.
 */

#define TF_MEM_UUID  16

typedef struct {
    int64_t         chunk;
    int32_t         acl;
    uint32_t        len;
    uint8_t         document[TF_MEM_UUID];
    const int64_t  *terms;
    const int32_t  *tfs;
    size_t          n;
} tf_mem_chunk_t;

typedef struct {
    int64_t         chunk;
    uint32_t        acl;        /* its place in acls; 0: the chunk went */
    uint32_t        len;
    uint8_t         document[TF_MEM_UUID];
} tf_mem_slot_t;

typedef struct {
    tf_mem_terms_t  terms;
    tf_mem_map_t    by_chunk;
    tf_mem_map_t    by_acl;
    int32_t        *acls;       /* from 1 on */
    uint32_t        nacls;
    tf_mem_slot_t  *slots;
    uint32_t        nslots;
    uint32_t        size;
    uint32_t        ngone;
} tf_mem_index_t;


/* What is asked.  acls and documents ascend. */

typedef struct {
    const int64_t  *terms;
    const double   *weights;
    const uint64_t *bits;
    size_t          n;
    uint64_t        others;             /* bits that do not count as own */
    double          length;             /* of a chunk, on average */
    const int32_t  *acls;               /* only chunks with one of them */
    size_t          nacls;
    const uint8_t (*documents)[TF_MEM_UUID];    /* only of them; */
    size_t          ndocuments;
    int             all_documents;              /* or of all */
} tf_mem_query_t;

typedef struct {
    int64_t         chunk;
    double          score;
    double          own;                /* of it; see others */
    uint64_t        terms;              /* bits of those it has */
} tf_mem_hit_t;

/* The k best of what was shown to it. */

typedef struct {
    tf_mem_hit_t   *hits;
    size_t          n;
    size_t          k;
} tf_mem_top_t;


/* Start from zeroed memory.  All that return int: 0, or -1: no memory; the
 * index is good for nothing then but to be freed. */

/* A chunk that is there already stays as it is. */
int tf_mem_index_add(tf_mem_index_t *index, const tf_mem_chunk_t *chunk);

/* A chunk that is not there is nothing to worry about. */
int tf_mem_index_remove(tf_mem_index_t *index, int64_t chunk);

void tf_mem_index_free(tf_mem_index_t *index);
size_t tf_mem_index_bytes(const tf_mem_index_t *index);

/* Shows top every chunk that has a term of the query.  The index is as it was
 * even without memory. */
int tf_mem_index_rank(const tf_mem_index_t *index,
    const tf_mem_query_t *query, tf_mem_top_t *top);


/* 0, or -1: no memory. */
int tf_mem_top_init(tf_mem_top_t *top, size_t k);
void tf_mem_top_show(tf_mem_top_t *top, const tf_mem_hit_t *hit);

/* From now on they are in order, the best first. */
void tf_mem_top_sort(tf_mem_top_t *top);
void tf_mem_top_free(tf_mem_top_t *top);


#endif /* TF_RAG_MEM_INDEX_H */
