#include "rag/mem_shelf.h"

#include <stdlib.h>


void
tf_mem_shelf_init(tf_mem_shelf_t *shelf, size_t max)
{
    (void) pthread_mutex_init(&shelf->mutex, NULL);
    shelf->entries = NULL;
    shelf->n = 0;
    shelf->bytes = 0;
    shelf->max = max;
    shelf->evicted = 0;
}


/* With the mutex, as are the next two. */

static void
tf_mem_shelf_let_go(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry)
{
    if (--entry->refs > 0) {
        return;
    }

    shelf->bytes -= entry->bytes;
    tf_mem_index_free(&entry->index);
    (void) pthread_rwlock_destroy(&entry->lock);
    free(entry);
}


static void
tf_mem_shelf_take_off(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry)
{
    tf_mem_entry_t  **p;

    if (!entry->shelved) {
        return;
    }

    for (p = &shelf->entries; *p != entry; p = &(*p)->next) {
        /* void */
    }

    *p = entry->next;
    entry->shelved = 0;
    shelf->n--;
    tf_mem_shelf_let_go(shelf, entry);
}


/* An entry that somebody uses gives no memory back, so it stays, too. */

static int
tf_mem_shelf_evict(tf_mem_shelf_t *shelf, const tf_mem_entry_t *keep,
    int64_t now)
{
    tf_mem_entry_t  *entry, *oldest;

    oldest = NULL;

    for (entry = shelf->entries; entry != NULL; entry = entry->next) {
        if (entry != keep && entry->refs == 1
            && now - entry->used >= TF_MEM_IDLE_MS
            && (oldest == NULL || entry->used < oldest->used))
        {
            oldest = entry;
        }
    }

    if (oldest == NULL) {
        return -1;
    }

    tf_mem_shelf_take_off(shelf, oldest);
    shelf->evicted++;

    return 0;
}


void
tf_mem_shelf_free(tf_mem_shelf_t *shelf)
{
    while (shelf->entries != NULL) {
        tf_mem_shelf_take_off(shelf, shelf->entries);
    }

    (void) pthread_mutex_destroy(&shelf->mutex);
}


tf_mem_entry_t *
tf_mem_shelf_begin(tf_mem_shelf_t *shelf, int collection)
{
    tf_mem_entry_t        *entry;
    pthread_rwlockattr_t   attr;

    entry = calloc(1, sizeof(tf_mem_entry_t));
    if (entry == NULL) {
        return NULL;
    }

    entry->collection = collection;
    entry->refs = 1;
    entry->bytes = sizeof(tf_mem_entry_t);

    /* searches that never end must not keep changes out */

    (void) pthread_rwlockattr_init(&attr);
    (void) pthread_rwlockattr_setkind_np(&attr,
                               PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void) pthread_rwlock_init(&entry->lock, &attr);
    (void) pthread_rwlockattr_destroy(&attr);

    (void) pthread_mutex_lock(&shelf->mutex);
    shelf->bytes += entry->bytes;
    (void) pthread_mutex_unlock(&shelf->mutex);

    return entry;
}


int
tf_mem_shelf_fit(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry, int64_t now)
{
    int     rc;
    size_t  bytes;

    bytes = sizeof(tf_mem_entry_t) + tf_mem_index_bytes(&entry->index);
    rc = 0;

    (void) pthread_mutex_lock(&shelf->mutex);

    shelf->bytes += bytes;
    shelf->bytes -= entry->bytes;
    entry->bytes = bytes;
    entry->used = now;

    while (shelf->bytes > shelf->max && rc == 0) {
        rc = tf_mem_shelf_evict(shelf, entry, now);
    }

    (void) pthread_mutex_unlock(&shelf->mutex);

    return rc;
}


void
tf_mem_shelf_add(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry)
{
    tf_mem_entry_t  *old;

    (void) pthread_mutex_lock(&shelf->mutex);

    for (old = shelf->entries; old != NULL; old = old->next) {
        if (old->collection == entry->collection) {
            tf_mem_shelf_take_off(shelf, old);
            break;
        }
    }

    entry->next = shelf->entries;
    shelf->entries = entry;
    entry->shelved = 1;
    entry->refs++;
    shelf->n++;

    (void) pthread_mutex_unlock(&shelf->mutex);
}


tf_mem_entry_t *
tf_mem_shelf_get(tf_mem_shelf_t *shelf, int collection, int64_t now)
{
    tf_mem_entry_t  *entry;

    (void) pthread_mutex_lock(&shelf->mutex);

    for (entry = shelf->entries; entry != NULL; entry = entry->next) {
        if (entry->collection == collection) {
            entry->refs++;
            entry->used = now;
            break;
        }
    }

    (void) pthread_mutex_unlock(&shelf->mutex);

    return entry;
}


void
tf_mem_shelf_put(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry)
{
    (void) pthread_mutex_lock(&shelf->mutex);
    tf_mem_shelf_let_go(shelf, entry);
    (void) pthread_mutex_unlock(&shelf->mutex);
}


void
tf_mem_shelf_drop(tf_mem_shelf_t *shelf, tf_mem_entry_t *entry)
{
    (void) pthread_mutex_lock(&shelf->mutex);
    tf_mem_shelf_take_off(shelf, entry);
    (void) pthread_mutex_unlock(&shelf->mutex);
}


void
tf_mem_shelf_count(tf_mem_shelf_t *shelf, size_t *n, size_t *bytes,
    unsigned long *evicted)
{
    (void) pthread_mutex_lock(&shelf->mutex);
    *n = shelf->n;
    *bytes = shelf->bytes;
    *evicted = shelf->evicted;
    (void) pthread_mutex_unlock(&shelf->mutex);
}
