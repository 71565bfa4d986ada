#include "rag/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"


#define TF_MEM_AWAY_MS      1000    /* first wait when the store is away */
#define TF_MEM_AWAY_MAX_MS  60000


static const char *const  tf_mem_why[] = {
    "", "its documents change faster than they can be read",
    "its documents change faster than they can be read",
    "it does not fit into index_memory: give it more, or raise index_from",
    "there is not enough memory", "", "PostgreSQL does not give it"
};


/* The next wish whose time has come; NULL if there is none. */

static tf_mem_wish_t *
tf_mem_next(tf_rag_mem_t *mem)
{
    size_t  i;

    for (i = 0; i < TF_MEM_WISHES; i++) {
        if (mem->wishes[i].state == TF_MEM_WAITS) {
            return &mem->wishes[i];
        }
    }

    return NULL;
}


/* With the mutex.  It is said once why there is no index. */

static void
tf_mem_refuse(tf_rag_mem_t *mem, tf_mem_wish_t *wish, tf_mem_status_t rc,
    const char *err)
{
    int64_t  wait;

    wish->state = TF_MEM_REFUSED;
    wait = TF_MEM_AGAIN_MS;

    if (rc == TF_MEM_STORE || rc == TF_MEM_LOST) {
        wait = TF_MEM_AWAY_MS << (wish->tries < 6 ? wish->tries : 6);
        wait = wait < TF_MEM_AWAY_MAX_MS ? wait : TF_MEM_AWAY_MAX_MS;
        wait -= random() % (wait / 4 + 1);
    }

    wish->until = tf_clock_ms() + wait;
    wish->tries++;
    atomic_fetch_add(&mem->refused, 1);

    if (wish->said != rc) {
        wish->said = rc;
        tf_log(TF_LOG_WARN, "collection %d has no index in memory, the "
               "store ranks it: %s%s%s", wish->collection, tf_mem_why[rc],
               rc == TF_MEM_STORE ? ": " : "", rc == TF_MEM_STORE ? err : "");
    }
}


static void *
tf_mem_run(void *data)
{
    tf_pg_t           pg;
    tf_mem_wish_t    *wish, copy;
    tf_rag_mem_t     *mem = data;
    tf_mem_status_t   rc;

    tf_pg_init(&pg, mem->conf, TF_PG_RAG);

    (void) pthread_mutex_lock(&mem->mutex);

    while (!atomic_load(&mem->stop)) {
        wish = tf_mem_next(mem);

        if (wish == NULL) {
            (void) pthread_cond_wait(&mem->wished, &mem->mutex);
            continue;
        }

        wish->state = TF_MEM_BUSY;
        copy = *wish;

        (void) pthread_mutex_unlock(&mem->mutex);
        rc = tf_mem_build(mem, &pg, &copy);
        (void) pthread_mutex_lock(&mem->mutex);

        if (rc == TF_MEM_DONE || rc == TF_MEM_STOPPED) {
            memset(wish, 0, sizeof(tf_mem_wish_t));

        } else {
            tf_mem_refuse(mem, wish, rc, pg.err);
        }
    }

    (void) pthread_mutex_unlock(&mem->mutex);

    tf_pg_close(&pg);

    return NULL;
}


tf_rag_mem_t *
tf_rag_mem_start(const tf_conf_t *conf)
{
    tf_rag_mem_t  *mem;

    mem = calloc(1, sizeof(tf_rag_mem_t));

    if (mem != NULL) {
        mem->conf = conf;
        tf_mem_shelf_init(&mem->shelf, (size_t) conf->index_memory);
        (void) pthread_mutex_init(&mem->mutex, NULL);
        tf_cond_init(&mem->wished);

        if (tf_thread_start(&mem->thread, "index", tf_mem_run, mem) == 0) {
            return mem;
        }

        (void) pthread_cond_destroy(&mem->wished);
        (void) pthread_mutex_destroy(&mem->mutex);
        tf_mem_shelf_free(&mem->shelf);
        free(mem);
    }

    tf_log(TF_LOG_WARN, "no thread for indexes in memory: PostgreSQL ranks "
           "all passages");

    return NULL;
}


void
tf_rag_mem_stop(tf_rag_mem_t *mem)
{
    if (mem == NULL) {
        return;
    }

    (void) pthread_mutex_lock(&mem->mutex);
    atomic_store(&mem->stop, 1);
    (void) pthread_cond_signal(&mem->wished);
    (void) pthread_mutex_unlock(&mem->mutex);

    (void) pthread_join(mem->thread, NULL);

    (void) pthread_cond_destroy(&mem->wished);
    (void) pthread_mutex_destroy(&mem->mutex);
    tf_mem_shelf_free(&mem->shelf);
    free(mem);
}


/*
 * A full table loses the wish: the next search has it again.  A refused one
 * keeps its place until its time has come, or until a new wish needs it.
 */

void
tf_rag_mem_wish(tf_rag_mem_t *mem, int collection, const char *tenant)
{
    size_t          i;
    int64_t         now;
    tf_mem_wish_t  *wish, *place;

    now = tf_clock_ms();
    place = NULL;

    (void) pthread_mutex_lock(&mem->mutex);

    for (i = 0; i < TF_MEM_WISHES; i++) {
        wish = &mem->wishes[i];

        if (wish->state != TF_MEM_FREE && wish->collection == collection) {
            place = wish;
            break;
        }

        if (wish->state == TF_MEM_FREE
            || (wish->state == TF_MEM_REFUSED
                && (place == NULL || (place->state == TF_MEM_REFUSED
                                      && wish->until < place->until))))
        {
            place = wish;
        }
    }

    if (i == TF_MEM_WISHES && place != NULL) {
        memset(place, 0, sizeof(tf_mem_wish_t));
        place->collection = collection;
        (void) snprintf(place->tenant, sizeof(place->tenant), "%s", tenant);
    }

    if (place != NULL
        && (place->state == TF_MEM_FREE
            || (place->state == TF_MEM_REFUSED && now >= place->until)))
    {
        place->state = TF_MEM_WAITS;
        (void) pthread_cond_signal(&mem->wished);
    }

    (void) pthread_mutex_unlock(&mem->mutex);
}
