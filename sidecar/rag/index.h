#ifndef TF_RAG_INDEX_H
#define TF_RAG_INDEX_H


#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "db/pg.h"
#include "rag/chunk.h"
#include "rag/lexicon.h"


/*
 * The index of some documents: their chunks, and under which terms they are.
 *
 * A chunk is indexed under the terms of its body, of the headings above it
 * and of the document's title.  The last heading counts TF_RAG_HEADING times:
 * it names what the chunk is about.
 *
 * First, without any lock: diff finds what there is to do.  Of a document
 * that changed only what differs is dropped and put; chunks that are there
 * already, word for word and under the same heading, are moved, wherever they
 * stand now.  analyse has the server make terms of the text of what is put,
 * and tf_lexicon_resolve() finds their numbers.
 *
 * Then, in one transaction with the documents' rows locked: move, drop, put,
 * count.  Changes of statistics are gathered and written by count, at the
 * end, each row once.
 */

#define TF_RAG_HEADING   3
#define TF_RAG_BATCH     256        /* chunks a statement */
#define TF_RAG_STORE_MS  60000

typedef struct {
    tf_text_t             text;
    tf_chunk_t           *chunks;
    size_t                nchunks;
    size_t                nput;     /* those of them that are new */
    char                  id[40];   /* of the store, or "" */
    int                   alike;    /* it is there with this title and acl */
} tf_rag_doc_t;

typedef struct {
    size_t                lexeme;   /* in the lexicon */
    unsigned              tf;
} tf_rag_place_t;

typedef struct {                    /* a chunk to be put */
    const tf_rag_doc_t   *doc;
    size_t                chunk;
    size_t                hit;      /* its first */
    size_t                nhits;
    size_t                len;
    long long             id;
} tf_rag_put_t;

typedef struct {
    long long             term;
    long long             n;        /* so many chunks more have it */
} tf_rag_delta_t;

typedef struct tf_rag_grams_s  tf_rag_grams_t;

typedef struct {
    tf_lexicon_t          lexicon;

    tf_rag_put_t         *put;
    size_t                nput;
    tf_rag_place_t         *hits;
    size_t                nhits;
    size_t                hit_room;
    tf_buf_t              moved[4]; /* arrays: chunk, seq, start, end */
    tf_buf_t              gone;     /* array of chunks */

    tf_rag_delta_t       *deltas;
    size_t                ndeltas;
    size_t                delta_room;
    long long             more_chunks;
    long long             more_len;
    tf_buf_t              went;     /* array of chunks that were dropped */

    tf_rag_grams_t       *grams;    /* see index_ngrams.c; NULL: not yet */
} tf_rag_index_t;


/* Forgets everything but the lexicon; free forgets that, too. */
void tf_rag_index_reset(tf_rag_index_t *index);
void tf_rag_index_free(tf_rag_index_t *index);

/* SHA-256 as bytea is written: "\\x" and digits. */
#define TF_RAG_HASH  (2 + 64 + 1)
void tf_rag_hash(const char *data, size_t len, char *hex);

/* Fills put, moved and gone, and nput of each document. */
tf_pg_status_t tf_rag_index_diff(tf_pg_t *pg, tf_rag_index_t *index,
    tf_rag_doc_t **docs, size_t ndocs);

/* Fills hits; language is a text search configuration. */
tf_pg_status_t tf_rag_index_analyse(tf_pg_t *pg, tf_rag_index_t *index,
    const char *language);

tf_pg_status_t tf_rag_index_move(tf_pg_t *pg, tf_rag_index_t *index);

/* Of these documents (an array) these chunks (an array; NULL: all). */
tf_pg_status_t tf_rag_index_drop(tf_pg_t *pg, tf_rag_index_t *index,
    const char *documents, const char *chunks);
tf_pg_status_t tf_rag_index_put(tf_pg_t *pg, tf_rag_index_t *index,
    int collection, int acl);
/* Its parts for n-grams: once before, then for chunks that are put. */
tf_pg_status_t tf_rag_index_grams(tf_pg_t *pg, tf_rag_index_t *index,
    const char *collection);
tf_pg_status_t tf_rag_index_put_grams(tf_pg_t *pg, tf_rag_index_t *index,
    size_t first, size_t last, const char *collection, const char *acl);
void tf_rag_index_free_grams(tf_rag_index_t *index);

tf_pg_status_t tf_rag_index_count(tf_pg_t *pg, tf_rag_index_t *index,
    int collection);

/*
 * Part of count: the collection's own counts, and a new version of it with
 * what came and went written down, for the indexes that are kept elsewhere
 * (mem.h).  So many versions are kept.
 */
#define TF_RAG_VERSIONS  4096
tf_pg_status_t tf_rag_index_version(tf_pg_t *pg, tf_rag_index_t *index,
    int collection);


#endif /* TF_RAG_INDEX_H */
