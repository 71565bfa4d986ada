#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "db/pg.h"


#define TF_PG_POOL_TICK_MS  100     /* how soon "stop" is seen */

/* Somebody who waits: the connection is handed over, so nobody overtakes. */

typedef struct tf_pg_wait_s  tf_pg_wait_t;

struct tf_pg_wait_s {
    tf_pg_wait_t     *next;
    tf_pg_use_t       use;
    tf_pg_t          *pg;
    pthread_cond_t    given;
};

struct tf_pg_pool_s {
    pthread_mutex_t   mutex;
    tf_pg_wait_t     *first;    /* the one that has waited longest */
    unsigned          max;
    unsigned          max_long;
    unsigned          nlong;    /* lent for long */
    unsigned          nfree;
    tf_pg_t          *all;
    tf_pg_t         **free;     /* a stack: the warmest connection first */
    unsigned char    *is_long;  /* of all */
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
    pool->is_long = calloc(max, 1);

    if (pool->all == NULL || pool->free == NULL || pool->is_long == NULL) {
        free(pool->all);
        free(pool->free);
        free(pool->is_long);
        free(pool);
        return NULL;
    }

    (void) pthread_mutex_init(&pool->mutex, NULL);
    pool->max = max;
    pool->max_long = (max + 1) / 2;

    for (i = 0; i < max; i++) {
        tf_pg_init(&pool->all[i], conf, role);
        pool->free[pool->nfree++] = &pool->all[i];
    }

    return pool;
}


/* Under the lock: the free connection that is used next, or NULL. */

static tf_pg_t *
tf_pg_pool_take(tf_pg_pool_t *pool, tf_pg_use_t use)
{
    tf_pg_t  *pg;

    if (pool->nfree == 0
        || (use == TF_PG_LONG && pool->nlong == pool->max_long))
    {
        return NULL;
    }

    pg = pool->free[--pool->nfree];
    pool->is_long[pg - pool->all] = use == TF_PG_LONG;
    pool->nlong += use == TF_PG_LONG;

    return pg;
}


/* Under the lock: what is free goes to those who wait, in their order. */

static void
tf_pg_pool_hand(tf_pg_pool_t *pool)
{
    tf_pg_wait_t  *w, **link;

    link = &pool->first;

    while (*link != NULL && pool->nfree > 0) {
        w = *link;
        w->pg = tf_pg_pool_take(pool, w->use);

        if (w->pg == NULL) {
            /* for long: those behind it are not held up */
            link = &w->next;
            continue;
        }

        *link = w->next;
        (void) pthread_cond_signal(&w->given);
    }
}


/* Under the lock, until there is one; w is in no list afterwards. */

static void
tf_pg_pool_wait(tf_pg_pool_t *pool, tf_pg_wait_t *w, int64_t deadline,
    const atomic_int *stop)
{
    int64_t         now, until;
    tf_pg_wait_t  **link;

    while (w->pg == NULL) {
        now = tf_clock_ms();

        if (now >= deadline || (stop != NULL && atomic_load(stop))) {

            for (link = &pool->first; *link != w; link = &(*link)->next) {
                /* void */
            }

            *link = w->next;
            return;
        }

        until = now + TF_PG_POOL_TICK_MS;

        (void) tf_cond_wait_until(&w->given, &pool->mutex,
                                  until < deadline ? until : deadline);
    }
}


tf_pg_t *
tf_pg_pool_get(tf_pg_pool_t *pool, tf_pg_use_t use, int64_t timeout,
    const atomic_int *stop)
{
    tf_pg_wait_t    w, **link;

    w.next = NULL;
    w.use = use;

    (void) pthread_mutex_lock(&pool->mutex);

    /* whoever waits while one is free waits for what is lent for long */

    w.pg = tf_pg_pool_take(pool, use);

    if (w.pg == NULL) {
        tf_cond_init(&w.given);

        for (link = &pool->first; *link != NULL; link = &(*link)->next) {
            /* void */
        }

        *link = &w;
        tf_pg_pool_wait(pool, &w, tf_clock_ms() + timeout, stop);
        (void) pthread_cond_destroy(&w.given);
    }

    (void) pthread_mutex_unlock(&pool->mutex);

    return w.pg;
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

    pool->nlong -= pool->is_long[pg - pool->all];
    pool->is_long[pg - pool->all] = 0;
    pool->free[pool->nfree++] = pg;
    tf_pg_pool_hand(pool);

    (void) pthread_mutex_unlock(&pool->mutex);
}


void
tf_pg_pool_destroy(tf_pg_pool_t *pool)
{
    unsigned  i;

    for (i = 0; i < pool->max; i++) {
        tf_pg_close(&pool->all[i]);
    }

    (void) pthread_mutex_destroy(&pool->mutex);
    free(pool->all);
    free(pool->free);
    free(pool->is_long);
    free(pool);
}
