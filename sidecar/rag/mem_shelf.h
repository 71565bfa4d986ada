#ifndef TF_RAG_MEM_SHELF_H
#define TF_RAG_MEM_SHELF_H


#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "rag/mem_index.h"


/*
 * The indexes that a process has, and the memory that all of them may take.
 *
 * An entry is counted from when it is begun, is found by others once it is
 * shelved, and lives until it has been taken off and its last user has let go
 * of it.  When there is too much, those go that nobody has asked for
 * longest; one that was asked for within TF_MEM_IDLE_MS stays, so that two
 * that do not fit together do not put each other out at every question.
 *
 * index, version, stamp and advanced of a shelved entry belong to its lock:
 * read them with a read lock, change them with a write lock.
 */

#define TF_MEM_IDLE_MS  60000
#define TF_MEM_STAMP    40

typedef struct tf_mem_entry_s  tf_mem_entry_t;

struct tf_mem_entry_s {
    int                collection;
    pthread_rwlock_t   lock;
    tf_mem_index_t     index;
    long long          version;
    char               stamp[TF_MEM_STAMP];
    int64_t            advanced;        /* when version became what it is */

    size_t             bytes;           /* the rest is the shelf's */
    int64_t            used;
    unsigned           refs;
    int                shelved;
    tf_mem_entry_t    *next;
};

typedef struct {
    pthread_mutex_t    mutex;
    tf_mem_entry_t    *entries;
    size_t             n;
    size_t             bytes;
    size_t             max;
    unsigned long      evicted;
} tf_mem_shelf_t;


void tf_mem_shelf_init(tf_mem_shelf_t *shelf, size_t max);

/* Nobody may have an entry any more. */
void tf_mem_shelf_free(tf_mem_shelf_t *shelf);

/* An empty one that is nobody else's; NULL: no memory. */
tf_mem_entry_t *tf_mem_shelf_begin(tf_mem_shelf_t *shelf, int collection);

/*
 * Counts an entry anew, after it has changed; the caller has its write lock
 * or has begun it.  Makes room; -1: it does not fit.
 */
int tf_mem_shelf_fit(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry,
    int64_t now);

/* Others find it from now on, in place of an older one. */
void tf_mem_shelf_add(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry);

/* NULL if there is none; let go of it afterwards. */
tf_mem_entry_t *tf_mem_shelf_get(tf_mem_shelf_t *shelf, int collection,
    int64_t now);
void tf_mem_shelf_put(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry);

/* Nobody finds it any more; the caller still has to let go of it. */
void tf_mem_shelf_drop(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry);

void tf_mem_shelf_count(tf_mem_shelf_t *shelf, size_t *n, size_t *bytes,
    unsigned long *evicted);


#endif /* TF_RAG_MEM_SHELF_H */
