#include "base/clock.h"
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
 * Under the lock: who is to be woken, or NULL; without the lock, which it
 * wants.
 */

static tf_waiter_t *
tf_stage_wakes(tf_stage_t *stage)
{
    tf_waiter_t  *w;

    w = stage->waiters;

    if (stage->head == NULL || stage->waking || w == NULL) {
        return NULL;
    }

    stage->waiters = w->next;
    stage->waking = 1;
    w->told = 1;

    return w;
}


/* Under the lock; as above. */

tf_waiter_t *
tf_stage_append(tf_stage_t *stage, tf_some_t *some)
{
    if (stage->tail != NULL) {
        stage->tail->next = some->head;

    } else {
        stage->head = some->head;
    }

    stage->tail = some->tail;
    stage->n += some->n;
    *some = (tf_some_t) TF_SOME_INIT;

    return tf_stage_wakes(stage);
}


/* A waiter that is up already is woken in vain: it, or who has it now. */

void
tf_stage_wake(tf_waiter_t *w)
{
    if (w != NULL) {
        (void) pthread_cond_signal(&w->cond);
    }
}


void
tf_stage_rouse(tf_stage_t *stage)
{
    tf_waiter_t  *w;

    for (w = stage->waiters; w != NULL; w = w->next) {
        w->told = 1;
        (void) pthread_cond_signal(&w->cond);
    }

    stage->waiters = NULL;
}


/* Under the lock, which it gives back meanwhile; -1: the time is over. */

static int
tf_stage_sleeps(tf_queue_t *q, tf_stage_t *stage, int64_t deadline)
{
    int            late;
    tf_waiter_t   *w, **at;

    w = q->spare;
    q->spare = w->next;
    w->told = 0;
    w->next = stage->waiters;
    stage->waiters = w;
    late = 0;

    while (!w->told && !late) {
        if (deadline == 0) {
            (void) pthread_cond_wait(&w->cond, &q->mutex);

        } else {
            late = tf_cond_wait_until(&w->cond, &q->mutex, deadline);
        }
    }

    if (w->told) {
        /* all that were told at once stand for the one */
        stage->waking = 0;

    } else {
        for (at = &stage->waiters; *at != w; at = &(*at)->next) {
            /* void */
        }

        *at = w->next;
    }

    w->next = q->spare;
    q->spare = w;

    return late;
}


void
tf_pool_put_some(tf_queue_t *q, tf_stage_t *stage, tf_some_t *some)
{
    tf_waiter_t  *wakes;

    if (some->n == 0) {
        return;
    }

    (void) pthread_mutex_lock(&q->mutex);
    wakes = tf_stage_append(stage, some);
    (void) pthread_mutex_unlock(&q->mutex);

    tf_stage_wake(wakes);
}


void
tf_pool_put(tf_queue_t *q, tf_stage_t *stage, tf_job_t *job)
{
    tf_some_t  one = TF_SOME_INIT;

    tf_some_add(&one, job);
    tf_pool_put_some(q, stage, &one);
}


unsigned
tf_pool_take(tf_queue_t *q, tf_stage_t *stage, tf_job_t **jobs, unsigned max,
    int timeout)
{
    int           late;
    int64_t       deadline;
    unsigned      n;
    tf_waiter_t  *wakes;

    deadline = timeout ? tf_clock_ms() + timeout : 0;
    late = 0;
    n = 0;

    (void) pthread_mutex_lock(&q->mutex);

    while (stage->head == NULL && !q->over && !late) {
        late = tf_stage_sleeps(q, stage, deadline);
    }

    while (stage->head != NULL && n < max) {
        jobs[n] = stage->head;
        stage->head = jobs[n++]->next;
        stage->n--;
    }

    if (stage->head == NULL) {
        stage->tail = NULL;
    }

    wakes = tf_stage_wakes(stage);

    (void) pthread_mutex_unlock(&q->mutex);

    tf_stage_wake(wakes);

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
