#include <string.h>

#include "base/log.h"
#include "queue/pool.h"


typedef struct {
    tf_queue_t  *q;
    tf_pg_t      pg;
    tf_redis_t   redis;
    tf_job_t    *jobs[TF_STORE_BATCH_MAX];
    tf_begin_t   result[TF_STORE_BATCH_MAX];
} tf_beginner_t;


/*
 * While the store is down nothing is begun, and this thread asks it from
 * time to time.  The time grows with each failure in a row, also when the
 * store answers here but fails elsewhere, so that jobs are not claimed and
 * released in a tight loop.
 */

static void
tf_begin_probe(tf_beginner_t *b)
{
    int         down;
    unsigned    streak;
    tf_queue_t  *q;

    q = b->q;

    (void) pthread_mutex_lock(&q->mutex);
    down = q->store_down;
    streak = q->store_streak;
    (void) pthread_mutex_unlock(&q->mutex);

    if (!down) {
        return;
    }

    tf_pool_sleep(q, tf_pool_backoff(streak ? streak - 1 : 0));

    if (tf_pg_exec(&b->pg, 0, "SELECT 1") == TF_PG_OK) {
        tf_pool_store_up(q);
        return;
    }

    tf_pg_close(&b->pg);
    (void) atomic_fetch_add(&q->counters.pg_errors, 1);

    (void) pthread_mutex_lock(&q->mutex);
    q->store_streak++;
    (void) snprintf(q->why, sizeof(q->why), "%s", b->pg.err);
    (void) pthread_mutex_unlock(&q->mutex);
}


/*
 * This Redis has gone back in time: its lease is behind the row's.  A new
 * lease, above both, and the job is begun once more.
 */

static void
tf_begin_relet(tf_beginner_t *b, tf_job_t *job, int64_t row_lease)
{
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    reply = NULL;

    if (!job->relet) {
        tf_cmd_fcall(&cmd, TF_FN_RELET, b->q->prefix);
        tf_cmd_str(&cmd, b->q->worker);
        tf_cmd_str(&cmd, job->id);
        tf_cmd_num(&cmd, job->lease);
        tf_cmd_num(&cmd, row_lease);
        reply = tf_redis_call(&b->redis, 0, &cmd);
        tf_cmd_free(&cmd);
    }

    if (strcmp(tf_reply_str(reply, 0), "OK") == 0) {
        job->relet = 1;

        /* the heartbeat reads it */

        (void) pthread_mutex_lock(&b->q->mutex);
        job->lease = tf_reply_num(reply, 1);
        (void) pthread_mutex_unlock(&b->q->mutex);

        tf_pool_put(b->q, &b->q->begin, job);

    } else {
        (void) atomic_fetch_add(&b->q->counters.dropped, 1);
        tf_pool_forget(b->q, job);
    }

    if (reply != NULL) {
        freeReplyObject(reply);
    }
}


/* Redis learns the attempts; a job that it does not leave to us is dropped. */

static void
tf_begin_started(tf_beginner_t *b, unsigned n)
{
    unsigned     i;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    if (n == 0) {
        return;
    }

    tf_cmd_fcall(&cmd, TF_FN_STARTED, b->q->prefix);
    tf_cmd_str(&cmd, b->q->worker);

    for (i = 0; i < n; i++) {
        tf_cmd_str(&cmd, b->jobs[i]->id);
        tf_cmd_num(&cmd, b->jobs[i]->lease);
        tf_cmd_num(&cmd, b->jobs[i]->attempt);
    }

    reply = tf_redis_call(&b->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        /* the leases are kept or lost by the heartbeat, as ever */
        tf_pool_redis_down(b->q, b->redis.err);
    }

    for (i = 0; i < n; i++) {
        if (strcmp(tf_reply_str(reply, i), "FENCED") == 0) {
            (void) atomic_fetch_add(&b->q->counters.dropped, 1);
            tf_pool_forget(b->q, b->jobs[i]);

        } else if (b->jobs[i]->handed == TF_HANDED_EXPIRED) {
            tf_job_fail(b->jobs[i], TF_JOB_FAILED, "deadline_exceeded",
                        "The job did not end before its deadline.");
            tf_pool_put(b->q, &b->q->complete, b->jobs[i]);

        } else if (b->jobs[i]->handed == TF_HANDED_DEAD) {
            tf_job_fail(b->jobs[i], TF_JOB_DEAD, "too_many_crashes",
                        "The workers that ran the job were lost too often.");
            tf_pool_put(b->q, &b->q->complete, b->jobs[i]);

        } else {
            tf_pool_put(b->q, &b->q->ready, b->jobs[i]);
        }
    }

    if (reply != NULL) {
        freeReplyObject(reply);
    }
}


static void
tf_begin_batch(tf_beginner_t *b, unsigned n)
{
    int          leave;
    unsigned     i, began;
    tf_job_t    *job;
    tf_queue_t  *q;

    q = b->q;

    (void) pthread_mutex_lock(&q->mutex);
    leave = q->draining || q->store_down;
    (void) pthread_mutex_unlock(&q->mutex);

    if (!leave
        && tf_store_begin(&b->pg, q->worker, b->jobs, n, b->result)
           != TF_PG_OK)
    {
        tf_pool_store_down(q, b->pg.err);
        leave = 1;
    }

    if (leave) {
        for (i = 0; i < n; i++) {
            tf_pool_release(q, b->jobs[i]);
        }
        return;
    }

    began = 0;

    for (i = 0; i < n; i++) {
        job = b->jobs[i];

        switch (b->result[i].status) {

        case TF_BEGIN_OK:
            b->jobs[began++] = job;
            break;

        case TF_BEGIN_ENDED:
            if (!tf_job_state_terminal(job->state)) {
                job->state = TF_JOB_FAILED;
            }
            tf_pool_finish(q, job);
            break;

        case TF_BEGIN_RELET:
            tf_begin_relet(b, job, b->result[i].row_lease);
            break;

        default: /* TF_BEGIN_REFUSED */
            job->state = TF_JOB_FAILED;
            tf_pool_finish(q, job);
            break;
        }
    }

    tf_begin_started(b, began);
}


void *
tf_pool_begin(void *queue)
{
    unsigned        n;
    tf_queue_t     *q = queue;
    tf_beginner_t   b;

    memset(&b, 0, sizeof(b));
    b.q = q;
    tf_pg_init(&b.pg, q->conf, TF_PG_QUEUE);
    tf_redis_init(&b.redis, q->conf, q->prefix, 1);

    while (!tf_pool_over(q)) {
        n = tf_pool_take(q, &q->begin, b.jobs, TF_STORE_BATCH_MAX, 1000);

        if (n) {
            tf_hist_add(&q->hist.begin, &tf_hist_size, n);
            tf_begin_batch(&b, n);
        }

        tf_begin_probe(&b);
    }

    tf_pg_close(&b.pg);
    tf_redis_close(&b.redis);

    return NULL;
}
