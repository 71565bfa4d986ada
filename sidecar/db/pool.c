#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "db/pg.h"


struct tf_pg_pool_s {
    pthread_mutex_t   mutex;
    pthread_cond_t    freed;
    unsigned          max;
    unsigned          nfree;
    tf_pg_t          *all;
    tf_pg_t         **free;     /* a stack: the warmest connection first */
};


tf_pg_pool_t *
tf_pg_pool_create(const tf_conf_t *conf, tf_pg_role_t role, unsigned max)
{
    unsigned       i;
    tf_pg_pool_t  *pool;

    pool = calloc(1, sizeof(tf_pg_pool_t));
    if (pool == NULL) {
        return NULL;
    }

    pool->all = calloc(max, sizeof(tf_pg_t));
    pool->free = calloc(max, sizeof(tf_pg_t *));

    if (pool->all == NULL || pool->free == NULL) {
        free(pool->all);
        free(pool->free);
        free(pool);
        return NULL;
    }

    (void) pthread_mutex_init(&pool->mutex, NULL);
    tf_cond_init(&pool->freed);
    pool->max = max;

    for (i = 0; i < max; i++) {
        tf_pg_init(&pool->all[i], conf, role);
        pool->free[pool->nfree++] = &pool->all[i];
    }

    return pool;
}


tf_pg_t *
tf_pg_pool_get(tf_pg_pool_t *pool, int timeout)
{
    int64_t   deadline;
    tf_pg_t  *pg;

    deadline = tf_clock_ms() + timeout;
    pg = NULL;

    (void) pthread_mutex_lock(&pool->mutex);

    while (pool->nfree == 0) {
        if (tf_cond_wait_until(&pool->freed, &pool->mutex, deadline) != 0) {
            break;
        }
    }

    if (pool->nfree) {
        pg = pool->free[--pool->nfree];
    }

    (void) pthread_mutex_unlock(&pool->mutex);

    return pg;
}


void
tf_pg_pool_put(tf_pg_pool_t *pool, tf_pg_t *pg)
{
    if (pg->conn != NULL
        && PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
    {
        tf_pg_close(pg);
    }

    (void) pthread_mutex_lock(&pool->mutex);
    pool->free[pool->nfree++] = pg;
    (void) pthread_cond_signal(&pool->freed);
    (void) pthread_mutex_unlock(&pool->mutex);
}


void
tf_pg_pool_destroy(tf_pg_pool_t *pool)
{
    unsigned  i;

    for (i = 0; i < pool->max; i++) {
        tf_pg_close(&pool->all[i]);
    }

    (void) pthread_cond_destroy(&pool->freed);
    (void) pthread_mutex_destroy(&pool->mutex);
    free(pool->all);
    free(pool->free);
    free(pool);
}
