/* links: sidecar/db/pool.c sidecar/db/pg.c sidecar/db/pg_prepared.c
 *        sidecar/base/ */

/* Who gets a connection of the pool, and when; nothing connects here. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "db/pg.h"


#define WAITERS  6

typedef struct {
    tf_pg_pool_t  *pool;
    tf_pg_use_t    use;
    atomic_int     begun;
    atomic_int     place;       /* in the order in which they were served */
} waiter_t;

static const tf_conf_t  conf;
static atomic_int       served;


static void
pause_ms(int64_t ms)
{
    struct timespec  ts = { ms / 1000, ms % 1000 * 1000000 };

    (void) nanosleep(&ts, NULL);
}


static void *
waits(void *arg)
{
    tf_pg_t   *pg;
    waiter_t  *w = arg;

    atomic_store(&w->begun, 1);
    pg = tf_pg_pool_get(w->pool, w->use, 20000, NULL);

    if (pg != NULL) {
        atomic_store(&w->place, atomic_fetch_add(&served, 1) + 1);
        tf_pg_pool_put(w->pool, pg);
    }

    return NULL;
}


static void
start(pthread_t *thread, waiter_t *w, tf_pg_pool_t *pool, tf_pg_use_t use)
{
    w->pool = pool;
    w->use = use;
    atomic_store(&w->begun, 0);
    atomic_store(&w->place, 0);

    assert_int_equal(pthread_create(thread, NULL, waits, w), 0);

    while (!atomic_load(&w->begun)) {
        pause_ms(1);
    }

    pause_ms(20);
}


static void
at_most_so_many_are_lent(void **state)
{
    size_t         i;
    tf_pg_t       *pg[3], *more;
    tf_pg_pool_t  *pool;

    (void) state;

    pool = tf_pg_pool_create(&conf, TF_PG_RAG, 3);
    assert_non_null(pool);

    for (i = 0; i < 3; i++) {
        pg[i] = tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL);
        assert_non_null(pg[i]);
    }

    assert_null(tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL));

    tf_pg_pool_put(pool, pg[1]);
    more = tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL);
    assert_ptr_equal(more, pg[1]);
    assert_null(tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL));

    for (i = 0; i < 3; i++) {
        tf_pg_pool_put(pool, pg[i]);
    }

    tf_pg_pool_destroy(pool);
}


static void
a_wait_ends_with_its_timeout(void **state)
{
    int64_t        began;
    tf_pg_t       *pg;
    tf_pg_pool_t  *pool;

    (void) state;

    pool = tf_pg_pool_create(&conf, TF_PG_RAG, 1);
    assert_non_null(pool);
    pg = tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL);

    began = tf_clock_ms();
    assert_null(tf_pg_pool_get(pool, TF_PG_SHORT, 200, NULL));
    assert_in_range(tf_clock_ms() - began, 200, 1000);

    /* and leaves nothing behind */

    tf_pg_pool_put(pool, pg);
    assert_ptr_equal(tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL), pg);
    tf_pg_pool_put(pool, pg);
    tf_pg_pool_destroy(pool);
}


static void *
stops(void *arg)
{
    pause_ms(200);
    atomic_store((atomic_int *) arg, 1);

    return NULL;
}


static void
a_wait_ends_when_it_is_told_to(void **state)
{
    int64_t        began;
    tf_pg_t       *pg;
    pthread_t      thread;
    atomic_int     stop;
    tf_pg_pool_t  *pool;

    (void) state;

    atomic_init(&stop, 0);
    pool = tf_pg_pool_create(&conf, TF_PG_RAG, 1);
    assert_non_null(pool);
    pg = tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL);

    began = tf_clock_ms();
    assert_int_equal(pthread_create(&thread, NULL, stops, &stop), 0);
    assert_null(tf_pg_pool_get(pool, TF_PG_SHORT, 60000, &stop));
    assert_in_range(tf_clock_ms() - began, 150, 2000);
    assert_int_equal(pthread_join(thread, NULL), 0);

    tf_pg_pool_put(pool, pg);
    tf_pg_pool_destroy(pool);
}


static void
who_waits_is_served_in_turn(void **state)
{
    int            i;
    tf_pg_t       *pg;
    waiter_t       w[WAITERS];
    pthread_t      thread[WAITERS];
    tf_pg_pool_t  *pool;

    (void) state;

    atomic_store(&served, 0);
    pool = tf_pg_pool_create(&conf, TF_PG_RAG, 1);
    assert_non_null(pool);
    pg = tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL);

    for (i = 0; i < WAITERS; i++) {
        start(&thread[i], &w[i], pool, TF_PG_SHORT);
    }

    tf_pg_pool_put(pool, pg);

    for (i = 0; i < WAITERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(atomic_load(&w[i].place), i + 1);
    }

    tf_pg_pool_destroy(pool);
}


static void
half_of_them_are_never_lent_for_long(void **state)
{
    tf_pg_t       *pg[3];
    waiter_t       longer, shorter;
    pthread_t      thread[2];
    tf_pg_pool_t  *pool;

    (void) state;

    atomic_store(&served, 0);
    pool = tf_pg_pool_create(&conf, TF_PG_RAG, 4);
    assert_non_null(pool);

    pg[0] = tf_pg_pool_get(pool, TF_PG_LONG, 0, NULL);
    pg[1] = tf_pg_pool_get(pool, TF_PG_LONG, 0, NULL);
    assert_non_null(pg[1]);
    assert_null(tf_pg_pool_get(pool, TF_PG_LONG, 0, NULL));

    /* who waits for one so holds up nobody else */

    start(&thread[0], &longer, pool, TF_PG_LONG);
    pg[2] = tf_pg_pool_get(pool, TF_PG_SHORT, 0, NULL);
    assert_non_null(pg[2]);
    start(&thread[1], &shorter, pool, TF_PG_SHORT);
    assert_int_equal(pthread_join(thread[1], NULL), 0);
    assert_int_equal(atomic_load(&shorter.place), 1);
    tf_pg_pool_put(pool, pg[2]);
    pause_ms(50);
    assert_int_equal(atomic_load(&longer.place), 0);

    tf_pg_pool_put(pool, pg[0]);
    assert_int_equal(pthread_join(thread[0], NULL), 0);
    assert_int_equal(atomic_load(&longer.place), 2);

    tf_pg_pool_put(pool, pg[1]);
    tf_pg_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(at_most_so_many_are_lent),
        cmocka_unit_test(a_wait_ends_with_its_timeout),
        cmocka_unit_test(a_wait_ends_when_it_is_told_to),
        cmocka_unit_test(who_waits_is_served_in_turn),
        cmocka_unit_test(half_of_them_are_never_lent_for_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
