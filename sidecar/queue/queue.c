#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/claim.h"
#include "queue/pool.h"


/* After the drain timeout: how long a job has to notice that it must stop. */
#define TF_POOL_STOP_MS  3000


static int
tf_queue_name(tf_queue_t *q)
{
    char           host[64];
    unsigned char  rnd[6];

    if (q->conf->worker[0]) {
        (void) snprintf(q->worker, sizeof(q->worker), "%s", q->conf->worker);
        return 0;
    }

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


static int
tf_queue_shards(tf_queue_t *q)
{
    char         err[512];
    unsigned     i;
    tf_shard_t  *shard;

    if (tf_redis_urls(&q->urls, q->conf->redis_url, err, sizeof(err)) != 0) {
        tf_log(TF_LOG_ERROR, "%s", err);
        return -1;
    }

    q->nshards = q->urls.n;
    q->shards = calloc(q->nshards, sizeof(tf_shard_t));
    if (q->shards == NULL) {
        tf_log(TF_LOG_ERROR, "out of memory");
        return -1;
    }

    for (i = 0; i < q->nshards; i++) {
        shard = &q->shards[i];
        shard->q = q;
        shard->index = i;
        shard->answers.gap = q->conf->stuck_after / 2;
        shard->url = q->urls.url[i];
        (void) snprintf(shard->unkept, sizeof(shard->unkept), "the stores of "
                        "shard %u are looked at", i);
        (void) snprintf(shard->prefix, sizeof(shard->prefix),
                        TF_KEY_PREFIX_FMT, i);
        (void) snprintf(shard->worker, sizeof(shard->worker), "%s",
                        q->worker);
        tf_emitter_init(&shard->emitter);
    }

    return 0;
}


static int
tf_queue_thread(tf_queue_t *q, const char *name, void *(*body)(void *),
    void *arg)
{
    if (tf_thread_start(&q->threads[q->nthreads], name, body, arg) != 0) {
        return -1;
    }

    q->nthreads++;

    return 0;
}


static int
tf_queue_threads(tf_queue_t *q)
{
    size_t    k, most;
    unsigned  i;

    /* run, and those beside it */

    static const struct {
        const char  *name;
        void      *(*body)(void *);
    } shared[] = {
        { "begin",    tf_pool_begin },
        { "complete", tf_pool_complete }
    }, of_shard[] = {
        { "claim",    tf_pool_claim },
        { "emit",     tf_pool_emit },
        { "return",   tf_pool_return },
        { "heart",    tf_pool_heart },
        { "control",  tf_pool_control },
        { "ledger",   tf_pool_ledger },
        { "keep",     tf_pool_keep }
    };

    most = q->conf->threads + sizeof(shared) / sizeof(shared[0])
           + q->nshards * sizeof(of_shard) / sizeof(of_shard[0]);

    q->threads = calloc(most, sizeof(pthread_t));
    q->waiters = calloc(most, sizeof(tf_waiter_t));

    if (q->threads == NULL || q->waiters == NULL) {
        return -1;
    }

    for (k = 0; k < most; k++) {
        tf_cond_init(&q->waiters[k].cond);
        q->waiters[k].next = q->spare;
        q->spare = &q->waiters[k];
    }

    for (i = 0; i < q->conf->threads; i++) {
        if (tf_queue_thread(q, "run", tf_pool_run, q) != 0) {
            return -1;
        }
    }

    for (k = 0; k < sizeof(shared) / sizeof(shared[0]); k++) {
        if (tf_queue_thread(q, shared[k].name, shared[k].body, q) != 0) {
            return -1;
        }
    }

    for (i = 0; i < q->nshards; i++) {
        for (k = 0; k < sizeof(of_shard) / sizeof(of_shard[0]); k++) {
            if (tf_queue_thread(q, of_shard[k].name, of_shard[k].body,
                                &q->shards[i])
                != 0)
            {
                return -1;
            }
        }
    }

    return 0;
}


tf_queue_t *
tf_queue_start(const tf_conf_t *conf, tf_queue_run_pt run, void *data)
{
    tf_queue_t  *q;

    q = calloc(1, sizeof(tf_queue_t));
    if (q == NULL) {
        return NULL;
    }

    q->conf = conf;

    if (tf_queue_name(q) != 0) {
        free(q);
        return NULL;
    }

    q->run = run;
    q->data = data;
    q->started = tf_clock_ms();
    q->answers.gap = conf->stuck_after / 2;

    if (tf_queue_shards(q) != 0) {
        tf_redis_urls_free(&q->urls);
        free(q);
        return NULL;
    }

    (void) pthread_mutex_init(&q->mutex, NULL);
    tf_cond_init(&q->freed);
    tf_cond_init(&q->tick);

    if (tf_queue_threads(q) != 0) {

        /* the caller ends the process; the threads that run go with it */

        tf_log(TF_LOG_ERROR, "cannot start %u threads: lower \"threads\" or "
               "raise the limit of processes", (unsigned) conf->threads);
        return NULL;
    }

    tf_log(TF_LOG_INFO, "worker %s runs %u jobs at a time, of %u shard%s",
           q->worker, (unsigned) conf->threads, q->nshards,
           q->nshards == 1 ? "" : "s");

    return q;
}


/*
 * Waits until nothing is held, nor on its way in the answer to a claim; 0, or
 * -1 when the time is over.
 */

static int
tf_queue_empty(tf_queue_t *q, int ms, int hurry_ends)
{
    int      rc;
    int64_t  deadline;

    rc = 0;
    deadline = tf_clock_ms() + ms;

    (void) pthread_mutex_lock(&q->mutex);

    while (q->nheld + q->reserved > 0 && !(hurry_ends && q->hurry)) {
        if (tf_cond_wait_until(&q->freed, &q->mutex, deadline) != 0) {
            rc = -1;
            break;
        }
    }

    if (q->nheld + q->reserved > 0) {
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
    tf_fault(drain, begun);

    if (tf_queue_empty(q, (int) q->conf->drain_timeout, 1) != 0) {

        (void) pthread_mutex_lock(&q->mutex);

        q->hurry = 1;

        for (job = q->held; job != NULL; job = job->held_next) {
            atomic_store(&job->stopped, tf_clock_ms());
            (void) atomic_compare_exchange_strong(&job->stop,
                                                  &(int) { TF_STOP_NONE },
                                                  TF_STOP_DRAIN);
        }

        left = q->nheld;

        tf_stage_rouse(&q->begin);
        tf_stage_rouse(&q->complete);
        (void) pthread_mutex_unlock(&q->mutex);

        tf_log(TF_LOG_WARN, "%u jobs have not ended, they go back to the "
               "queue", left);
        tf_fault(drain, stopped);

        if (tf_queue_empty(q, TF_POOL_STOP_MS, 0) != 0) {
            tf_log(TF_LOG_ERROR, "some jobs could not be given back: they "
                   "are taken over when their lease ends");
        }
    }

    (void) pthread_mutex_lock(&q->mutex);

    q->over = 1;
    left = q->nheld;
    tf_stage_rouse(&q->begin);
    tf_stage_rouse(&q->ready);
    tf_stage_rouse(&q->complete);

    for (i = 0; i < q->nshards; i++) {
        tf_stage_rouse(&q->shards[i].back);
        tf_emitter_over(&q->shards[i].emitter);
    }

    (void) pthread_cond_broadcast(&q->freed);
    (void) pthread_cond_broadcast(&q->tick);

    (void) pthread_mutex_unlock(&q->mutex);

    if (left > 0) {
        /* a thread may be stuck in its job: the process ends without it */
        return;
    }

    tf_fault(drain, empty);

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
    unsigned      i;
    tf_waiter_t  *w;

    for (i = 0; i < q->nshards; i++) {
        tf_emitter_free(&q->shards[i].emitter);
    }

    for (w = q->spare; w != NULL; w = w->next) {
        (void) pthread_cond_destroy(&w->cond);
    }

    (void) pthread_cond_destroy(&q->freed);
    (void) pthread_cond_destroy(&q->tick);
    (void) pthread_mutex_destroy(&q->mutex);
    tf_redis_urls_free(&q->urls);
    free(q->waiters);
    free(q->threads);
    free(q->shards);
    free(q);
}


void
tf_queue_status(tf_queue_t *q, tf_queue_status_t *status)
{
    unsigned         i;
    const tf_job_t  *job;

    memset(status, 0, sizeof(tf_queue_status_t));

    (void) pthread_mutex_lock(&q->mutex);

    status->held = q->nheld;
    status->threads = (unsigned) q->conf->threads;
    status->places_back = tf_claim_back(q);

    for (job = q->held; job != NULL; job = job->held_next) {
        status->held_back += job->prio == TF_PRIORITY_BACKGROUND;
    }

    status->nshards = q->nshards;
    status->store_up = !q->store_down;
    status->draining = q->draining;

    for (i = 0; i < q->nshards; i++) {
        if (!q->shards[i].down && q->shards[i].unkept[0] == '\0') {
            status->nup++;

        } else if (status->why[0] == '\0') {
            memcpy(status->why, q->shards[i].down ? q->shards[i].why
                                                  : q->shards[i].unkept,
                   sizeof(status->why));
        }
    }

    if (q->store_down) {
        memcpy(status->why, q->why, sizeof(q->why));
    }

    (void) pthread_mutex_unlock(&q->mutex);
}


void
tf_queue_shard_status(tf_queue_t *q, unsigned shard,
    tf_queue_shard_status_t *status)
{
    const tf_shard_t  *s;

    memset(status, 0, sizeof(tf_queue_shard_status_t));

    (void) pthread_mutex_lock(&q->mutex);

    s = &q->shards[shard];
    status->up = !s->down && s->unkept[0] == '\0';
    status->held = s->nheld;

    if (!status->up) {
        memcpy(status->why, s->down ? s->why : s->unkept, sizeof(s->why));
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


const tf_keeper_stats_t *
tf_queue_keeper(tf_queue_t *q, unsigned shard)
{
    return &q->shards[shard].keeper;
}


const tf_batches_stats_t *
tf_queue_batches(tf_queue_t *q)
{
    return &q->batches;
}
