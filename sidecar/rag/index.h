#ifndef TF_RAG_INDEX_H
#define TF_RAG_INDEX_H


#include <stddef.h>

#include "base/buf.h"
#include "db/pg.h"
#include "rag/chunk.h"


/*
 * The index of one document: its chunks, and under which terms they are.
 *
 * A chunk is indexed under the terms of its body, of the headings above it
 * and of the document's title.  The last heading counts TF_RAG_HEADING times:
 * it names what the chunk is about.
 *
 * The calls belong into one transaction: drop (of what was there before),
 * put, count.  Of a document that changed only what differs is dropped and
 * put: diff finds chunks that are there already, word for word and under the
 * same heading, wherever they stand now.  Changes of statistics are gathered
 * in lists, exactly as the server printed them, and written by count, at the
 * end.
 */

#define TF_RAG_HEADING   3
#define TF_RAG_BATCH     256        /* chunks a statement */
#define TF_RAG_STORE_MS  60000

typedef struct {
    char                 *terms;    /* array of numbers of terms */
    char                 *counts;   /* array: in how many chunks */
    int                   sign;     /* +1: they came, -1: they went */
} tf_rag_delta_t;

typedef struct {
    tf_chunk_t           *chunks;
    size_t                nchunks;
    size_t               *put;      /* which of them are to be put */
    size_t                nput;

    tf_rag_delta_t       *deltas;
    size_t                ndeltas;
    long long             more_chunks;
    long long             more_len;
} tf_rag_index_t;


tf_rag_index_t *tf_rag_index_make(const tf_text_t *text);
void tf_rag_index_free(tf_rag_index_t *index);

/* Forgets the gathered changes. */
void tf_rag_index_reset(tf_rag_index_t *index);

/* SHA-256 of a chunk's body, as bytea is written: "\\x" and digits. */
#define TF_RAG_HASH  (2 + 64 + 1)
void tf_rag_index_hash(const tf_text_t *text, const tf_chunk_t *chunk,
    char *hex);

/*
 * Finds what stays of a document and moves it to its new place; the rest of
 * the chunks are to be put.  gone is an array of those to be dropped.
 */
tf_pg_status_t tf_rag_index_diff(tf_pg_t *pg, tf_rag_index_t *index,
    const char *document, const tf_text_t *text, tf_buf_t *gone);

/* gone NULL: all of the document. */
tf_pg_status_t tf_rag_index_drop(tf_pg_t *pg, tf_rag_index_t *index,
    const char *document, const char *gone);
tf_pg_status_t tf_rag_index_put(tf_pg_t *pg, tf_rag_index_t *index,
    const char *document, int collection, int acl, const char *language,
    const tf_text_t *text);
tf_pg_status_t tf_rag_index_count(tf_pg_t *pg, tf_rag_index_t *index,
    int collection);


#endif /* TF_RAG_INDEX_H */
