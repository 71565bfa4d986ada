#ifndef TF_RAG_MEM_H
#define TF_RAG_MEM_H


#include <pthread.h>
#include <stdatomic.h>

#include "base/conf.h"
#include "db/pg.h"
#include "rag/mem_shelf.h"
#include "rag/rank.h"


/*
 * Indexes of large collections in this process' memory.
 *
 * PostgreSQL has the truth.  A collection has a version, and every change of
 * its passages is written down with the version that it made
 * (V10__index_in_memory.sql).  A search reads in its own transaction which
 * version it sees and which acls its asker may see; an index of that very
 * version ranks, with those acls.  An index that is behind is brought
 * forward with what was written down; one that cannot be is not used, and
 * the store ranks.  So what is found never depends on whether there is an
 * index, only how long it takes.
 *
 * An index is built by one thread when a search has missed it, from numbers
 * that two functions of the store give (no text), in short transactions: what
 * changes meanwhile is made up for afterwards.  Adding what is there and
 * removing what is not do nothing, so changes may be seen twice.
 *
 * Of so many searches one ("index_check") is repeated by the store: if the
 * index is wrong, it is said and counted, the index goes, and the store's
 * result is the one.
 */

#define TF_MEM_WISHES   64
#define TF_MEM_BATCH    500         /* chunks a query */
#define TF_MEM_MS       10000       /* a query; */
#define TF_MEM_LIST_MS  60000       /* of all chunks of a collection */
#define TF_MEM_NEWS     1000        /* chunks that a search itself makes up */
#define TF_MEM_AGAIN_MS 600000      /* until what did not fit is tried again */

typedef enum {
    TF_MEM_DONE,
    TF_MEM_BEHIND,          /* too much has changed for a search to make up */
    TF_MEM_LOST,            /* what has changed is not known any more */
    TF_MEM_TOO_BIG,
    TF_MEM_NO_MEMORY,
    TF_MEM_STOPPED,
    TF_MEM_STORE            /* pg->err says what */
} tf_mem_status_t;

typedef struct {
    enum {
        TF_MEM_FREE, TF_MEM_WAITS, TF_MEM_BUSY, TF_MEM_REFUSED
    }                   state;
    int                 collection;
    char                tenant[65];
    int64_t             until;          /* refused: not before */
    unsigned            tries;
    tf_mem_status_t     said;           /* why, in the log */
} tf_mem_wish_t;

#define TF_MEM_COUNTERS(X)                                                    \
    X(hits,       "searches that an index in memory has ranked")              \
    X(fallbacks,  "searches of large collections that the store has ranked")  \
    X(builds,     "indexes built from the store")                             \
    X(news,       "times that an index was brought forward")                  \
    X(refused,    "builds given up, because of memory or the store")          \
    X(checks,     "searches repeated by the store to compare")                \
    X(mismatches, "of those: the index was wrong, and is gone")

/* A large collection, as a search sees it. */

typedef struct {
    int                 collection;
    long long           version;
    char                stamp[TF_MEM_STAMP];
    char                tenant[65];
} tf_mem_asked_t;

/*
 * What one statement, and so one snapshot, said: the large collections of the
 * scope, and which acls the asker may see.  A search looks once, and again
 * only if an index has gone ahead of it.
 */

typedef struct tf_mem_view_s {
    tf_mem_asked_t     *asked;
    size_t              nasked;
    int32_t            *acls;
    size_t              nacls;
    long long           versions;   /* sum of all that the asker has */
} tf_mem_view_t;

typedef struct tf_rag_mem_s {
    const tf_conf_t    *conf;
    tf_mem_shelf_t      shelf;

    pthread_mutex_t     mutex;          /* of wishes and stop */
    pthread_cond_t      wished;
    tf_mem_wish_t       wishes[TF_MEM_WISHES];
    atomic_int          stop;
    pthread_t           thread;

    atomic_ulong        searches;
#define TF_MEM_COUNTER(name, what)  atomic_ulong name;
    TF_MEM_COUNTERS(TF_MEM_COUNTER)
#undef TF_MEM_COUNTER
} tf_rag_mem_t;


/* NULL, with a line in the log, if it cannot be had: the store does it. */
tf_rag_mem_t *tf_rag_mem_start(const tf_conf_t *conf);

/* After the last search. */
void tf_rag_mem_stop(tf_rag_mem_t *mem);

/* This collection should have an index, or its index be brought forward. */
void tf_rag_mem_wish(tf_rag_mem_t *mem, int collection, const char *tenant);


/*
 * Looks, and says what the collections of the scope have, large or not.  Free
 * the view in any case.
 */
tf_pg_status_t tf_mem_look(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_rag_query_t *query, tf_mem_view_t *view, double *chunks,
    double *length);
void tf_mem_view_free(tf_mem_view_t *view);

/*
 * tf_rag_rank_bm25() with the terms that it has weighed: what has an index is
 * ranked here, the rest by the store.
 */
tf_pg_status_t tf_rag_mem_bm25(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_rag_query_t *query, const tf_rag_bm25_t *terms,
    tf_rag_list_t *list);


/*
 * mem_check.c: whether two lists of the same question say the same.  The
 * store adds in any order, so the last digits may differ, and with them the
 * order of equals.
 */
int tf_mem_same(const tf_rag_list_t *a, const tf_rag_list_t *b, size_t k);


/* mem_build.c: what the thread does for a wish. */

tf_mem_status_t tf_mem_build(tf_rag_mem_t *mem, tf_pg_t *pg,
    const tf_mem_wish_t *wish);


/* mem_load.c; in a transaction of the tenant. */

/* An array of integers as the server prints it; free() them.  0 or -1. */
int tf_mem_numbers(const char *array, int64_t **numbers, size_t *n);

/* A uuid as the server prints it. */
void tf_mem_uuid(const char *text, uint8_t *uuid);

/* Numbers of these chunks (those that are still there). */
tf_pg_status_t tf_mem_load(tf_pg_t *pg, const int64_t *ids, size_t n,
    PGresult **res);

/* Into the index; 0 or -1: no memory. */
int tf_mem_put_in(tf_mem_index_t *index, const PGresult *res);

/*
 * Brings an entry forward to a version, or to the last one before it, if that
 * takes at most max chunks.  Others may use the entry meanwhile.  What is no
 * longer good is taken off the shelf.
 */
tf_mem_status_t tf_mem_bring_forward(tf_rag_mem_t *mem, tf_pg_t *pg,
    tf_mem_entry_t *entry, long long upto, size_t max);


#endif /* TF_RAG_MEM_H */
