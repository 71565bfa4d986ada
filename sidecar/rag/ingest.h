#ifndef TF_RAG_INGEST_H
#define TF_RAG_INGEST_H


#include <stddef.h>

#include "db/pg.h"
#include "extract/limits.h"


/*
 * Documents into the store, one transaction each.
 *
 * A document is named by collection, owner and source.  The same bytes under
 * the same name change nothing; other bytes replace it: the chunks that are
 * not in it any more go with their postings and the new ones come, and the
 * statistics with them, in that transaction.  Chunks that are in both stay
 * the rows that they are.
 *
 * Several ingests may run at once.  Locks are taken in one order: the
 * document, new terms (sorted, in one statement), the collection's row, the
 * counts of terms.  Whoever holds the collection's row waits for nobody, so
 * the counts are exact and nothing can deadlock; the row is taken last, when
 * only the counts remain to be written.
 */

typedef struct {
    const char   *tenant;
    const char   *owner;
    const char   *collection;
    const char   *language;         /* of a collection that is made */
    const char   *visibility;       /* "private", "groups", "tenant" */
    const char   *groups;           /* "a,b"; only with "groups" */
    int           again;            /* index unchanged documents too */
    int           lazy;             /* commit without waiting for the disk */
    tf_limits_t   limits;

    int           collection_id;    /* of tf_rag_target_open() */
    int           acl_id;
    char          config[64];       /* the collection's language */
} tf_rag_target_t;

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
 * A document from memory.  After success err has what was left out of it, or
 * is empty.
 */
tf_ingest_t tf_rag_ingest(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *source, const char *data, size_t len,
    tf_ingest_count_t *count, char *err, size_t errlen);

/* The same from a file (a regular one; others are refused). */
tf_ingest_t tf_rag_ingest_file(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *path, const char *source, tf_ingest_count_t *count,
    char *err, size_t errlen);

/*
 * The owner's documents of the collection whose source is not in the array
 * (as array.h writes it): tells each source, and removes it if it shall.
 */
typedef void (*tf_rag_gone_pt)(void *ctx, const char *source);

tf_pg_status_t tf_rag_prune(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *sources, int remove, tf_rag_gone_pt gone, void *ctx);

/* Whether a transaction that failed is worth another try. */
int tf_rag_again(const tf_pg_t *pg, tf_pg_status_t rc, int *tries);


#endif /* TF_RAG_INGEST_H */
