#ifndef TF_RAG_INGEST_H
#define TF_RAG_INGEST_H


#include <stddef.h>

#include "db/pg.h"
#include "extract/limits.h"


/*
 * Documents into the store, small ones several in a transaction.
 *
 * A document is named by collection, owner and source.  The same bytes under
 * the same name change nothing; other bytes replace it: the chunks that are
 * not in it any more go with their postings and the new ones come, and the
 * statistics with them, in one transaction.  Chunks that are in both stay the
 * rows that they are.
 *
 * A group gathers documents, up to some hundreds or some megabytes, and
 * writes them in one transaction, or several: what it costs to ask, to plan,
 * to commit and to count is paid once for all of them.  Each document is
 * there as a whole or not at all, whenever anything dies; those that were not
 * written yet are found missing by the next ingest.  When the server refuses
 * a group, its documents are written one by one, so that the message names
 * the one that is to blame and the others are there.
 *
 * Several connections may write groups at once, and several ingests.  What is to be done is found without a
 * lock; then locks are taken in one order: the documents that are there,
 * those that are new (each sorted by source), the collection's row, the
 * counts of terms.  If a document has changed since it was looked at, the
 * transaction is given up and everything is looked at again.  Whoever holds
 * the collection's row waits for nobody, so the counts are exact and nothing
 * can deadlock; the row is taken last, when only the counts remain to be
 * written.
 */

typedef enum {
    TF_INGEST_NEW,
    TF_INGEST_CHANGED,
    TF_INGEST_SAME,
    TF_INGEST_OTHER,        /* of no known format */
    TF_INGEST_REFUSED,      /* this file: err says why; go on with others */
    TF_INGEST_FAILED        /* the store: err says what; stop */
} tf_ingest_t;

typedef struct {
    size_t        written;          /* chunks */
    size_t        kept;
} tf_ingest_count_t;

/*
 * Called for each document that is new or changed in the transaction that
 * writes it, which may fail and be tried again; path is the one with which it
 * was added, note what was left out of it, or "".  With several connections
 * it is called by several threads, each with its own.
 */
typedef tf_pg_status_t (*tf_rag_stored_pt)(void *ctx, tf_pg_t *pg,
    const char *path, const char *source, tf_ingest_t outcome,
    const tf_ingest_count_t *count, const char *note);

typedef struct {
    const char   *tenant;
    const char   *owner;
    const char   *collection;
    const char   *language;         /* of a collection that is made */
    const char   *visibility;       /* "private", "groups", "tenant" */
    const char   *groups;           /* "a,b"; only with "groups" */
    const char   *given;            /* metadata, see meta.h; NULL: none */
    int           again;            /* index unchanged documents too */
    unsigned      connections;      /* that write at once; 0 and 1: one */
    const char   *before;           /* what is gone is removed only if it was
                                       written before that; NULL: always */
    int           lazy;             /* commit without waiting for the disk */
    tf_limits_t   limits;

    tf_rag_stored_pt  stored;       /* or NULL */
    void             *stored_ctx;

    int           collection_id;    /* of tf_rag_target_open() */
    int           acl_id;
    char          config[64];       /* the collection's language */
} tf_rag_target_t;


/* Finds or makes the collection and the access rule; err is pg->err. */
tf_pg_status_t tf_rag_target_open(tf_pg_t *pg, tf_rag_target_t *target);

/*
 * For lazy targets: returns when everything is on the disk.  A power cut
 * before that may take the last documents whole, which the next ingest would
 * find missing; waiting for the disk after each would halve the speed.
 */
tf_pg_status_t tf_rag_target_flush(tf_pg_t *pg,
    const tf_rag_target_t *target);

/*
 * What became of a document, in the order in which they were added.  err is
 * what was left out of it, or why it was not read.
 */
typedef void (*tf_rag_done_pt)(void *ctx, const char *path,
    const char *source, tf_ingest_t outcome, const tf_ingest_count_t *count,
    const char *err);

typedef struct tf_rag_group_s  tf_rag_group_t;

/* For an opened target.  NULL: out of memory. */
tf_rag_group_t *tf_rag_group_create(tf_pg_t *pg,
    const tf_rag_target_t *target, tf_rag_done_pt done, void *ctx);

/*
 * Adds a document from memory, or a file (a regular one; others are refused);
 * path is for done().  Writes what is there when that is enough.  0, or -1
 * after done() was told TF_INGEST_FAILED of a document: stop then.
 */
int tf_rag_group_add(tf_rag_group_t *group, const char *path,
    const char *source, const char *data, size_t len);
int tf_rag_group_add_file(tf_rag_group_t *group, const char *path,
    const char *source);

/* Writes what is left; 0 or -1, as above. */
int tf_rag_group_flush(tf_rag_group_t *group);

/* What was not written is forgotten. */
void tf_rag_group_free(tf_rag_group_t *group);

/*
 * A single document from memory.  After success err has what was left out of
 * it, or is empty.
 */
tf_ingest_t tf_rag_ingest(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *source, const char *data, size_t len,
    tf_ingest_count_t *count, char *err, size_t errlen);

/*
 * The owner's documents of the collection whose source is not in the array
 * (as array.h writes it): tells each source, and removes it if it shall.
 */
typedef void (*tf_rag_gone_pt)(void *ctx, const char *source);

/*
 * Documents go, in the transaction that is open: rows of id and source.  If
 * it fails, so does the transaction, which may be tried again.
 */
typedef tf_pg_status_t (*tf_rag_going_pt)(void *ctx, tf_pg_t *pg,
    const PGresult *rows);

tf_pg_status_t tf_rag_prune(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *sources, int remove, tf_rag_going_pt going,
    tf_rag_gone_pt gone, void *ctx);

/*
 * Whether a transaction that failed is worth another try; waits a little
 * before it says so.
 */
int tf_rag_again(const tf_pg_t *pg, tf_pg_status_t rc, int *tries);


#endif /* TF_RAG_INGEST_H */
