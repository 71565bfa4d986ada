#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/pool.h"


/* After the drain timeout: how long a job has to notice that it must stop. */
#define TF_POOL_STOP_MS  3000


void
tf_pool_hold(tf_queue_t *q, tf_job_t *job)
{
    (void) pthread_mutex_lock(&q->mutex);

    job->held_next = q->held;
    if (q->held != NULL) {
        q->held->held_prev = job;
    }

    q->held = job;
    q->nheld++;

    (void) pthread_mutex_unlock(&q->mutex);
}


void
tf_pool_forget(tf_queue_t *q, tf_job_t *job)
{
    (void) pthread_mutex_lock(&q->mutex);

    if (job->held_prev != NULL) {
        job->held_prev->held_next = job->held_next;

    } else {
        q->held = job->held_next;
    }

    if (job->held_next != NULL) {
        job->held_next->held_prev = job->held_prev;
    }

    q->nheld--;
    (void) pthread_cond_broadcast(&q->freed);

    (void) pthread_mutex_unlock(&q->mutex);

    tf_job_free(job);
}


void
tf_pool_put(tf_queue_t *q, tf_stage_t *stage, tf_job_t *job)
{
    job->next = NULL;

    (void) pthread_mutex_lock(&q->mutex);

    if (stage->tail != NULL) {
        stage->tail->next = job;

    } else {
        stage->head = job;
    }

    stage->tail = job;
    stage->n++;
    (void) pthread_cond_signal(&stage->filled);

    (void) pthread_mutex_unlock(&q->mutex);
}


void
tf_pool_finish(tf_queue_t *q, tf_job_t *job)
{
    job->back = TF_RETURN_FINISH;
    tf_pool_put(q, &q->back, job);
}


void
tf_pool_release(tf_queue_t *q, tf_job_t *job)
{
    job->back = TF_RETURN_RELEASE;
    tf_pool_put(q, &q->back, job);
}


void
tf_pool_retry(tf_queue_t *q, tf_job_t *job)
{
    job->back = TF_RETURN_RETRY;
    tf_pool_put(q, &q->back, job);
}


unsigned
tf_pool_take(tf_queue_t *q, tf_stage_t *stage, tf_job_t **jobs, unsigned max,
    int timeout)
{
    int64_t   deadline;
    unsigned  n;

    deadline = tf_clock_ms() + timeout;
    n = 0;

    (void) pthread_mutex_lock(&q->mutex);

    while (stage->head == NULL && !q->over) {
        if (timeout == 0) {
            (void) pthread_cond_wait(&stage->filled, &q->mutex);

        } else if (tf_cond_wait_until(&stage->filled, &q->mutex, deadline)
                   != 0)
        {
            break;
        }
    }

    while (stage->head != NULL && n < max) {
        jobs[n] = stage->head;
        stage->head = jobs[n++]->next;
        stage->n--;
    }

    if (stage->head == NULL) {
        stage->tail = NULL;
    }

    (void) pthread_mutex_unlock(&q->mutex);

    return n;
}


int
tf_pool_over(tf_queue_t *q)
{
    int  over;

    (void) pthread_mutex_lock(&q->mutex);
    over = q->over;
    (void) pthread_mutex_unlock(&q->mutex);

    return over;
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
tf_pool_redis_down(tf_queue_t *q, const char *why)
{
    int  first;

    (void) atomic_fetch_add(&q->counters.redis_errors, 1);
    (void) pthread_mutex_lock(&q->mutex);

    first = !q->redis_down;
    q->redis_down = 1;

    if (first) {
        (void) snprintf(q->why, sizeof(q->why), "%s", why);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    if (first) {
        tf_log(TF_LOG_ERROR, "the queue is not available: %s", why);
    }
}


void
tf_pool_redis_up(tf_queue_t *q)
{
    int  was;

    (void) pthread_mutex_lock(&q->mutex);
    was = q->redis_down;
    q->redis_down = 0;
    (void) pthread_mutex_unlock(&q->mutex);

    if (was) {
        tf_log(TF_LOG_INFO, "the queue is back");
    }
}


static int
tf_queue_name(tf_queue_t *q)
{
    char           host[64];
    unsigned char  rnd[6];

    if (gethostname(host, sizeof(host)) != 0) {
        (void) snprintf(host, sizeof(host), "host");
    }

    host[sizeof(host) - 1] = '\0';

    if (RAND_bytes(rnd, sizeof(rnd)) != 1) {
        return -1;
    }

    (void) snprintf(q->worker, sizeof(q->worker),
                    "%s-%d-%02x%02x%02x%02x%02x%02x", host, (int) getpid(),
                    rnd[0], rnd[1], rnd[2], rnd[3], rnd[4], rnd[5]);

    return 0;
}


tf_queue_t *
tf_queue_start(const tf_conf_t *conf, tf_queue_run_pt run, void *data)
{
    size_t       i;
    tf_queue_t  *q;

    static const struct {
        const char  *name;
        void      *(*body)(void *);
    } stages[] = {
        { "claim",    tf_pool_claim },
        { "begin",    tf_pool_begin },
        { "complete", tf_pool_complete },
        { "return",   tf_pool_return },
        { "heart",    tf_pool_heart },
        { "control",  tf_pool_control },
        { "ledger",   tf_pool_ledger }
    };

    q = calloc(1, sizeof(tf_queue_t));
    if (q == NULL || tf_queue_name(q) != 0) {
        free(q);
        return NULL;
    }

    q->conf = conf;
    q->run = run;
    q->data = data;
    (void) snprintf(q->prefix, sizeof(q->prefix), TF_KEY_PREFIX_FMT, 0u);

    (void) pthread_mutex_init(&q->mutex, NULL);
    tf_cond_init(&q->begin.filled);
    tf_cond_init(&q->ready.filled);
    tf_cond_init(&q->complete.filled);
    tf_cond_init(&q->back.filled);
    tf_cond_init(&q->freed);
    tf_cond_init(&q->tick);

    for (i = 0; i < conf->threads; i++) {
        if (tf_thread_start(&q->threads[q->nthreads], "run", tf_pool_run, q)
            != 0)
        {
            goto failed;
        }
        q->nthreads++;
    }

    for (i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        if (tf_thread_start(&q->threads[q->nthreads], stages[i].name,
                            stages[i].body, q)
            != 0)
        {
            goto failed;
        }
        q->nthreads++;
    }

    tf_log(TF_LOG_INFO, "worker %s runs %u jobs at a time", q->worker,
           (unsigned) conf->threads);

    return q;

failed:

    /* the caller ends the process; the threads that run go with it */

    tf_log(TF_LOG_ERROR, "cannot start %u threads: lower \"threads\" or "
           "raise the limit of processes", (unsigned) conf->threads);

    return NULL;
}


/* Waits until nothing is held; 0, or -1 when the time is over. */

static int
tf_queue_empty(tf_queue_t *q, int ms, int hurry_ends)
{
    int      rc;
    int64_t  deadline;

    rc = 0;
    deadline = tf_clock_ms() + ms;

    (void) pthread_mutex_lock(&q->mutex);

    while (q->nheld > 0 && !(hurry_ends && q->hurry)) {
        if (tf_cond_wait_until(&q->freed, &q->mutex, deadline) != 0) {
            rc = -1;
            break;
        }
    }

    if (q->nheld > 0) {
        rc = -1;
    }

    (void) pthread_mutex_unlock(&q->mutex);

    return rc;
}


void
tf_queue_drain(tf_queue_t *q)
{
    unsigned   i, left;
    tf_job_t  *job;

    (void) pthread_mutex_lock(&q->mutex);
    q->draining = 1;
    left = q->nheld;
    (void) pthread_cond_broadcast(&q->freed);
    (void) pthread_mutex_unlock(&q->mutex);

    tf_log(TF_LOG_INFO, "draining: %u jobs are held, claiming has stopped",
           left);

    if (tf_queue_empty(q, (int) q->conf->drain_timeout, 1) != 0) {

        (void) pthread_mutex_lock(&q->mutex);

        q->hurry = 1;

        for (job = q->held; job != NULL; job = job->held_next) {
            (void) atomic_compare_exchange_strong(&job->stop,
                                                  &(int) { TF_STOP_NONE },
                                                  TF_STOP_DRAIN);
        }

        left = q->nheld;

        (void) pthread_cond_broadcast(&q->begin.filled);
        (void) pthread_cond_broadcast(&q->complete.filled);
        (void) pthread_mutex_unlock(&q->mutex);

        tf_log(TF_LOG_WARN, "%u jobs have not ended, they go back to the "
               "queue", left);

        if (tf_queue_empty(q, TF_POOL_STOP_MS, 0) != 0) {
            tf_log(TF_LOG_ERROR, "some jobs could not be given back: they "
                   "are taken over when their lease ends");
        }
    }

    (void) pthread_mutex_lock(&q->mutex);

    q->over = 1;
    left = q->nheld;
    (void) pthread_cond_broadcast(&q->begin.filled);
    (void) pthread_cond_broadcast(&q->ready.filled);
    (void) pthread_cond_broadcast(&q->complete.filled);
    (void) pthread_cond_broadcast(&q->back.filled);
    (void) pthread_cond_broadcast(&q->freed);
    (void) pthread_cond_broadcast(&q->tick);

    (void) pthread_mutex_unlock(&q->mutex);

    if (left > 0) {
        /* a thread may be stuck in its job: the process ends without it */
        return;
    }

    for (i = 0; i < q->nthreads; i++) {
        (void) pthread_join(q->threads[i], NULL);
    }

    tf_log(TF_LOG_INFO, "drained");
}


void
tf_queue_hurry(tf_queue_t *q)
{
    (void) pthread_mutex_lock(&q->mutex);
    q->hurry = 1;
    (void) pthread_cond_broadcast(&q->freed);
    (void) pthread_mutex_unlock(&q->mutex);
}


void
tf_queue_free(tf_queue_t *q)
{
    (void) pthread_cond_destroy(&q->begin.filled);
    (void) pthread_cond_destroy(&q->ready.filled);
    (void) pthread_cond_destroy(&q->complete.filled);
    (void) pthread_cond_destroy(&q->back.filled);
    (void) pthread_cond_destroy(&q->freed);
    (void) pthread_cond_destroy(&q->tick);
    (void) pthread_mutex_destroy(&q->mutex);
    free(q);
}


void
tf_queue_status(tf_queue_t *q, tf_queue_status_t *status)
{
    memset(status, 0, sizeof(tf_queue_status_t));

    (void) pthread_mutex_lock(&q->mutex);

    status->held = q->nheld;
    status->threads = (unsigned) q->conf->threads;
    status->store_up = !q->store_down;
    status->redis_up = !q->redis_down;
    status->draining = q->draining;

    if (q->store_down || q->redis_down) {
        memcpy(status->why, q->why, sizeof(q->why));
    }

    (void) pthread_mutex_unlock(&q->mutex);
}


const tf_queue_counters_t *
tf_queue_counters(tf_queue_t *q)
{
    return &q->counters;
}


const tf_queue_histograms_t *
tf_queue_histograms(tf_queue_t *q)
{
    return &q->hist;
}
