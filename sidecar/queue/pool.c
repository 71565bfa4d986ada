#include <stdio.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/pool.h"


void
tf_pool_enter(tf_queue_t *q, tf_some_t *some)
{
    tf_job_t     *job;
    tf_waiter_t  *wakes;

    if (some->n == 0) {
        return;
    }

    (void) pthread_mutex_lock(&q->mutex);

    for (job = some->head; job != NULL; job = job->next) {
        job->held_next = q->held;
        if (q->held != NULL) {
            q->held->held_prev = job;
        }

        q->held = job;
        q->nheld++;
        job->shard->nheld++;
    }

    wakes = tf_stage_append(&q->begin, some);

    (void) pthread_mutex_unlock(&q->mutex);

    tf_stage_wake(wakes);
}


void
tf_pool_forget_some(tf_queue_t *q, tf_some_t *some)
{
    tf_job_t  *job, *next;

    if (some->n == 0) {
        return;
    }

    (void) pthread_mutex_lock(&q->mutex);

    for (job = some->head; job != NULL; job = job->next) {
        if (job->held_prev != NULL) {
            job->held_prev->held_next = job->held_next;

        } else {
            q->held = job->held_next;
        }

        if (job->held_next != NULL) {
            job->held_next->held_prev = job->held_prev;
        }

        q->nheld--;
        job->shard->nheld--;
        job->shard->nreturning -= (unsigned) job->returning;
    }

    (void) pthread_cond_broadcast(&q->freed);

    (void) pthread_mutex_unlock(&q->mutex);

    for (job = some->head; job != NULL; job = next) {
        next = job->next;
        tf_job_free(job);
    }

    *some = (tf_some_t) TF_SOME_INIT;
}


void
tf_pool_forget(tf_queue_t *q, tf_job_t *job)
{
    tf_some_t  one = TF_SOME_INIT;

    tf_some_add(&one, job);
    tf_pool_forget_some(q, &one);
}


/* All of one shard. */

static void
tf_pool_back(tf_queue_t *q, tf_shard_t *shard, tf_some_t *some,
    tf_return_t back)
{
    tf_job_t     *job;
    tf_waiter_t  *wakes;

    (void) pthread_mutex_lock(&q->mutex);

    for (job = some->head; job != NULL; job = job->next) {
        job->back = back;
        job->returning = 1;
        shard->nreturning++;
    }

    wakes = tf_stage_append(&shard->back, some);

    if (shard->down) {
        (void) pthread_cond_broadcast(&q->freed);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    tf_stage_wake(wakes);
}


static void
tf_pool_back_one(tf_queue_t *q, tf_job_t *job, tf_return_t back)
{
    tf_some_t  one = TF_SOME_INIT;

    tf_some_add(&one, job);
    tf_pool_back(q, job->shard, &one, back);
}


void
tf_pool_finish_some(tf_queue_t *q, tf_some_t *some)
{
    tf_job_t    *job, *next;
    tf_some_t    same = TF_SOME_INIT;
    tf_shard_t  *shard;

    for (job = some->head; job != NULL; job = next) {
        next = job->next;
        shard = job->shard;
        tf_some_add(&same, job);

        if (next == NULL || next->shard != shard) {
            tf_pool_back(q, shard, &same, TF_RETURN_FINISH);
        }
    }

    *some = (tf_some_t) TF_SOME_INIT;
}


void
tf_pool_finish(tf_queue_t *q, tf_job_t *job)
{
    tf_pool_back_one(q, job, TF_RETURN_FINISH);
}


void
tf_pool_release(tf_queue_t *q, tf_job_t *job)
{
    if (job->handed == TF_HANDED_DEAD) {

        /*
         * Back in the queue it would run once more.  Its lease ends by
         * itself, and then it is handed over as dead again.
         */

        tf_pool_forget(q, job);
        return;
    }

    tf_pool_back_one(q, job, TF_RETURN_RELEASE);
}


void
tf_pool_retry(tf_queue_t *q, tf_job_t *job)
{
    tf_pool_back_one(q, job, TF_RETURN_RETRY);
}


void
tf_pool_redis(tf_shard_t *shard, tf_redis_t *redis)
{
    tf_redis_init(redis, shard->q->conf, shard->url, shard->prefix, 1);
    redis->install = shard->install;
    redis->answers = &shard->answers;
}


int
tf_pool_silent(tf_queue_t *q)
{
    int  down;

    (void) pthread_mutex_lock(&q->mutex);
    down = q->store_down;
    (void) pthread_mutex_unlock(&q->mutex);

    /* while it is down there is somebody who asks */

    return !down && tf_clock_ms() - atomic_load(&q->answers.last)
                    > q->answers.gap / 2;
}


int
tf_pool_ping(tf_queue_t *q, tf_pg_t *pg)
{
    if (tf_pg_exec(pg, 0, "SELECT 1") == TF_PG_OK) {
        tf_answers_note(&q->answers);
        return 0;
    }

    tf_pool_store_down(q, pg->err);

    return -1;
}


/* done, in PostgreSQL */

void
tf_pool_committed(tf_queue_t *q, tf_pulse_t *pulse)
{
    tf_answers_note(&q->answers);
    tf_pulse_done(pulse);
}


void
tf_pool_tried(tf_pulse_t *pulse, int done, int refused)
{
    if (done) {
        tf_pulse_done(pulse);

    } else if (refused) {
        tf_pulse_rest(pulse);

    } else {
        tf_pulse_miss(pulse);
    }
}


int
tf_pool_over(tf_queue_t *q)
{
    return atomic_load(&q->over);
}


void
tf_pool_sleep(tf_queue_t *q, int ms)
{
    int64_t  deadline;

    deadline = tf_clock_ms() + ms;

    (void) pthread_mutex_lock(&q->mutex);

    while (!q->over
           && tf_cond_wait_until(&q->tick, &q->mutex, deadline) == 0)
    {
        /* void */
    }

    (void) pthread_mutex_unlock(&q->mutex);
}


int
tf_pool_jitter(int ms)
{
    unsigned  rnd;

    if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) != 1) {
        return ms;
    }

    return ms - (int) (rnd % (unsigned) (ms / 4));
}


int
tf_pool_backoff(unsigned streak)
{
    return tf_pool_jitter(streak > 5 ? 5000 : 100 << streak);
}


void
tf_pool_store_down(tf_queue_t *q, const char *why)
{
    int  first;

    (void) atomic_fetch_add(&q->counters.pg_errors, 1);
    (void) pthread_mutex_lock(&q->mutex);

    first = !q->store_down;
    q->store_down = 1;

    if (first) {
        q->store_streak++;
        (void) snprintf(q->why, sizeof(q->why), "%s", why);
        tf_stage_rouse(&q->begin);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    if (first) {
        tf_log(TF_LOG_ERROR, "the store is not available, claiming stops "
               "until it is back: %s", why);
    }
}


void
tf_pool_store_up(tf_queue_t *q)
{
    int  was;

    (void) pthread_mutex_lock(&q->mutex);
    was = q->store_down;
    q->store_down = 0;
    (void) pthread_cond_broadcast(&q->freed);
    (void) pthread_mutex_unlock(&q->mutex);

    if (was) {
        tf_log(TF_LOG_INFO, "the store is back");
    }
}


void
tf_pool_shard_down(tf_shard_t *shard, const char *why)
{
    int          first;
    tf_queue_t  *q;

    q = shard->q;

    (void) atomic_fetch_add(&q->counters.redis_errors, 1);
    (void) pthread_mutex_lock(&q->mutex);

    first = !shard->down;
    shard->down = 1;

    if (first) {
        (void) snprintf(shard->why, sizeof(shard->why), "%s", why);
        (void) pthread_cond_broadcast(&q->freed);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    if (first) {
        tf_log(TF_LOG_ERROR, "the queue is not available (shard %u of %u): "
               "%s", shard->index, q->nshards, why);
    }
}


void
tf_pool_shard_up(tf_shard_t *shard)
{
    int          was;
    tf_queue_t  *q;

    q = shard->q;

    (void) pthread_mutex_lock(&q->mutex);
    was = shard->down;
    shard->down = 0;
    (void) pthread_mutex_unlock(&q->mutex);

    if (was) {
        tf_log(TF_LOG_INFO, "the queue is back (shard %u of %u)",
               shard->index, q->nshards);
    }
}


int
tf_pool_kept(tf_shard_t *shard)
{
    int          kept;
    tf_queue_t  *q;

    q = shard->q;

    (void) pthread_mutex_lock(&q->mutex);

    while (shard->install[0] == '\0' && !q->over) {
        (void) pthread_cond_wait(&q->tick, &q->mutex);
    }

    kept = shard->install[0] != '\0';

    (void) pthread_mutex_unlock(&q->mutex);

    return kept ? 0 : -1;
}


int
tf_pool_named(tf_shard_t *shard)
{
    int          named;
    tf_queue_t  *q;

    q = shard->q;

    (void) pthread_mutex_lock(&q->mutex);

    while (!shard->named && !q->over) {
        (void) pthread_cond_wait(&q->tick, &q->mutex);
    }

    named = shard->named;

    (void) pthread_mutex_unlock(&q->mutex);

    return named ? 0 : -1;
}
