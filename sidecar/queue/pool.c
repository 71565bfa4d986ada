#include <stdio.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/pool.h"


void
tf_some_add(tf_some_t *some, tf_job_t *job)
{
    job->next = NULL;

    if (some->tail != NULL) {
        some->tail->next = job;

    } else {
        some->head = job;
    }

    some->tail = job;
    some->n++;
}


/*
 * Under the lock: whether a thread is to be woken, without the lock, which it
 * wants.
 */

static int
tf_pool_wakes(tf_stage_t *stage)
{
    if (stage->head == NULL || stage->waking > 0 || stage->waiting == 0) {
        return 0;
    }

    stage->waking = 1;

    return 1;
}


/* Under the lock; 1 as above. */

static int
tf_pool_append(tf_stage_t *stage, tf_some_t *some)
{
    if (stage->tail != NULL) {
        stage->tail->next = some->head;

    } else {
        stage->head = some->head;
    }

    stage->tail = some->tail;
    stage->n += some->n;
    *some = (tf_some_t) TF_SOME_INIT;

    return tf_pool_wakes(stage);
}


static void
tf_pool_wake(tf_stage_t *stage, int wakes)
{
    if (wakes) {
        (void) pthread_cond_signal(&stage->filled);
    }
}


void
tf_pool_enter(tf_queue_t *q, tf_some_t *some)
{
    int        wakes;
    tf_job_t  *job;

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

    wakes = tf_pool_append(&q->begin, some);

    (void) pthread_mutex_unlock(&q->mutex);

    tf_pool_wake(&q->begin, wakes);
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


void
tf_pool_put_some(tf_queue_t *q, tf_stage_t *stage, tf_some_t *some)
{
    int  wakes;

    if (some->n == 0) {
        return;
    }

    (void) pthread_mutex_lock(&q->mutex);
    wakes = tf_pool_append(stage, some);
    (void) pthread_mutex_unlock(&q->mutex);

    tf_pool_wake(stage, wakes);
}


void
tf_pool_put(tf_queue_t *q, tf_stage_t *stage, tf_job_t *job)
{
    tf_some_t  one = TF_SOME_INIT;

    tf_some_add(&one, job);
    tf_pool_put_some(q, stage, &one);
}


/* All of one shard. */

static void
tf_pool_back(tf_queue_t *q, tf_shard_t *shard, tf_some_t *some,
    tf_return_t back)
{
    int        wakes;
    tf_job_t  *job;

    (void) pthread_mutex_lock(&q->mutex);

    for (job = some->head; job != NULL; job = job->next) {
        job->back = back;
        job->returning = 1;
        shard->nreturning++;
    }

    wakes = tf_pool_append(&shard->back, some);

    if (shard->down) {
        (void) pthread_cond_broadcast(&q->freed);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    tf_pool_wake(&shard->back, wakes);
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


unsigned
tf_pool_take(tf_queue_t *q, tf_stage_t *stage, tf_job_t **jobs, unsigned max,
    int timeout)
{
    int       late, wakes;
    int64_t   deadline;
    unsigned  n;

    deadline = timeout ? tf_clock_ms() + timeout : 0;
    late = 0;
    n = 0;

    (void) pthread_mutex_lock(&q->mutex);

    while (stage->head == NULL && !q->over && !late) {
        stage->waiting++;

        if (timeout == 0) {
            (void) pthread_cond_wait(&stage->filled, &q->mutex);

        } else {
            late = tf_cond_wait_until(&stage->filled, &q->mutex, deadline);
        }

        /* whoever is up stands for the one that was told */

        stage->waiting--;
        stage->waking = 0;
    }

    while (stage->head != NULL && n < max) {
        jobs[n] = stage->head;
        stage->head = jobs[n++]->next;
        stage->n--;
    }

    if (stage->head == NULL) {
        stage->tail = NULL;
    }

    wakes = tf_pool_wakes(stage);

    (void) pthread_mutex_unlock(&q->mutex);

    tf_pool_wake(stage, wakes);

    return n;
}


unsigned
tf_pool_trim(tf_queue_t *q, tf_stage_t *stage, tf_job_t **jobs, unsigned n,
    size_t (*size)(const tf_job_t *job))
{
    size_t    bytes;
    unsigned  i, keep;

    bytes = 0;
    keep = 0;

    for (i = 0; i < n; i++) {
        bytes += size(jobs[i]);

        if (keep > 0 && bytes > TF_STORE_BATCH_BYTES) {
            tf_pool_put(q, stage, jobs[i]);
            continue;
        }

        jobs[keep++] = jobs[i];
    }

    return keep;
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
        (void) pthread_cond_broadcast(&q->begin.filled);
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
