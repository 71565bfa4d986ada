#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


/*
 * Redis is told of what began over a connection to each shard.  A shard that
 * is down, or was silent here a moment ago, is not asked: its jobs go on
 * untold, and their leases are kept or lost by the heartbeat, as ever.  One
 * that was silent has little time to show that it answers again: the jobs of
 * the others wait for it in the meantime.
 */

#define TF_BEGIN_LATE_MS   50   /* what another shard may still take */
#define TF_BEGIN_PROBE_MS  200
#define TF_BEGIN_AGAIN     16   /* in a call, of those that began before */

typedef struct {
    tf_redis_t  redis;
    int64_t     next;           /* not before that */
    unsigned    streak;
    unsigned    n;              /* jobs of the batch */
} tf_begin_shard_t;

typedef struct {
    tf_queue_t        *q;
    tf_pg_t            pg;
    tf_begin_shard_t   shards[TF_SHARDS_MAX];
    tf_job_t          *jobs[TF_STORE_BATCH_MAX];
    tf_begin_t         result[TF_STORE_BATCH_MAX];
    tf_some_t          ready;       /* to run */
} tf_beginner_t;


static int
tf_begin_may_ask(tf_beginner_t *b, unsigned shard)
{
    int  down;

    (void) pthread_mutex_lock(&b->q->mutex);
    down = b->q->shards[shard].down;
    (void) pthread_mutex_unlock(&b->q->mutex);

    return !down && tf_clock_ms() >= b->shards[shard].next;
}


static void
tf_begin_answered(tf_begin_shard_t *s)
{
    s->streak = 0;
    s->redis.connect_ms = TF_REDIS_CONNECT_MS;
    s->redis.command_ms = TF_REDIS_COMMAND_MS;
}


static void
tf_begin_silent(tf_beginner_t *b, unsigned shard)
{
    tf_begin_shard_t  *s;

    s = &b->shards[shard];
    s->next = tf_clock_ms() + tf_pool_backoff(s->streak++);
    s->redis.connect_ms = TF_BEGIN_PROBE_MS;
    s->redis.command_ms = TF_BEGIN_PROBE_MS;
    tf_pool_shard_down(&b->q->shards[shard], s->redis.err);
}


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
        tf_answers_note(&q->answers);
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
    unsigned     n;
    redisReply  *reply;

    reply = NULL;
    n = job->shard->index;

    if (!job->relet && tf_begin_may_ask(b, n)) {
        tf_cmd_fcall(&cmd, TF_FN_RELET, job->shard->prefix);
        tf_cmd_str(&cmd, job->shard->worker);
        tf_cmd_str(&cmd, job->id);
        tf_cmd_num(&cmd, job->lease);
        tf_cmd_num(&cmd, row_lease);
        reply = tf_redis_call(&b->shards[n].redis, 0, &cmd);
        tf_cmd_free(&cmd);

        if (reply == NULL) {
            tf_begin_silent(b, n);
        }
    }

    if (strcmp(tf_reply_str(reply, 0), "OK") == 0) {
        tf_fault(relet, answered);
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


/* What it goes on with, as Redis answered; "" when it did not. */

static void
tf_begin_go_on(tf_beginner_t *b, tf_job_t *job, const char *answer)
{
    if (strcmp(answer, "FENCED") == 0) {
        (void) atomic_fetch_add(&b->q->counters.dropped, 1);
        tf_pool_forget(b->q, job);

    } else if (job->handed == TF_HANDED_EXPIRED) {
        tf_job_fail(job, TF_JOB_FAILED, "deadline_exceeded",
                    "The job did not end before its deadline.");
        tf_pool_put(b->q, &b->q->complete, job);

    } else if (job->handed == TF_HANDED_CANCELLED) {
        tf_job_fail(job, TF_JOB_CANCELLED, "cancelled",
                    "The job was cancelled.");
        tf_pool_put(b->q, &b->q->complete, job);

    } else if (job->handed == TF_HANDED_DEAD) {
        tf_job_fail(job, TF_JOB_DEAD, "too_many_crashes",
                    "The workers that ran the job were lost too often.");
        tf_pool_put(b->q, &b->q->complete, job);

    } else {
        tf_some_add(&b->ready, job);
    }
}


/*
 * Redis answers with what earlier attempts have said, megabytes perhaps: only
 * so many jobs that had one share a call.  1: this one is in the next.
 */

static int
tf_begin_next_call(const tf_job_t *job, unsigned *again)
{
    if (job->lease <= 1 || ++*again <= TF_BEGIN_AGAIN) {
        return 0;
    }

    *again = 1;

    return 1;
}


/* Sends a shard the attempts of its jobs; 0, or -1: it is not to be asked. */

static int
tf_begin_tell(tf_beginner_t *b, unsigned shard, unsigned n)
{
    int          rc;
    unsigned     i, again;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_shard_t  *s;

    if (!tf_begin_may_ask(b, shard)) {
        return -1;
    }

    s = &b->q->shards[shard];
    again = 0;
    rc = 0;
    tf_cmd_fcall(&cmd, TF_FN_STARTED, s->prefix);
    tf_cmd_str(&cmd, s->worker);

    for (i = 0; i < n && rc == 0; i++) {
        if (b->jobs[i]->shard != s) {
            continue;
        }

        if (tf_begin_next_call(b->jobs[i], &again)) {
            rc = tf_redis_append(&b->shards[shard].redis, &cmd);
            tf_cmd_fcall(&cmd, TF_FN_STARTED, s->prefix);
            tf_cmd_str(&cmd, s->worker);
        }

        tf_cmd_str(&cmd, b->jobs[i]->id);
        tf_cmd_num(&cmd, b->jobs[i]->lease);
        tf_cmd_num(&cmd, b->jobs[i]->attempt);
    }

    if (rc == 0) {
        rc = tf_redis_append(&b->shards[shard].redis, &cmd);
    }

    tf_cmd_free(&cmd);

    if (rc == 0) {
        rc = tf_redis_send(&b->shards[shard].redis);
        tf_fault(started, sent);
    }

    if (rc != 0) {
        tf_begin_silent(b, shard);
    }

    return rc;
}


/* The answer to a call; NULL: none came, and *told says so from now on. */

static redisReply *
tf_begin_answer(tf_beginner_t *b, unsigned shard, int *told, int64_t deadline)
{
    int64_t            left;
    redisReply        *reply;
    tf_begin_shard_t  *s;

    if (!*told) {
        return NULL;
    }

    s = &b->shards[shard];
    left = deadline - tf_clock_ms();
    left = left < s->redis.command_ms ? left : s->redis.command_ms;
    reply = tf_redis_reply(&s->redis, left > TF_BEGIN_LATE_MS
                                      ? (int) left : TF_BEGIN_LATE_MS);
    if (reply == NULL) {
        *told = 0;
        tf_begin_silent(b, shard);
        return NULL;
    }

    tf_fault(started, answered);
    tf_begin_answered(s);

    return reply;
}


/* Its answers, and with them or without, its jobs go on. */

static void
tf_begin_told(tf_beginner_t *b, unsigned shard, unsigned n, int told,
    int64_t deadline)
{
    unsigned           i, k, again;
    redisReply        *reply;
    const char        *answer;
    const redisReply  *said;

    again = 0;
    k = 0;
    reply = tf_begin_answer(b, shard, &told, deadline);

    for (i = 0; i < n; i++) {
        if (b->jobs[i] == NULL || b->jobs[i]->shard->index != shard) {
            continue;
        }

        if (tf_begin_next_call(b->jobs[i], &again)) {
            tf_pool_put_some(b->q, &b->q->ready, &b->ready);
            freeReplyObject(reply);
            reply = tf_begin_answer(b, shard, &told, deadline);
            k = 0;
        }

        answer = tf_reply_str(reply, k);

        if (k < tf_reply_len(reply) && tf_reply_len(reply->element[k]) == 2) {

            /* and what earlier attempts have said */
            said = reply->element[k];
            answer = tf_reply_str(said, 0);
            b->jobs[i]->emit = tf_emit_earlier(said->element[1],
                                               b->jobs[i]->attempt);
        }

        tf_begin_go_on(b, b->jobs[i], answer);
        b->jobs[i] = NULL;
        k++;
    }

    tf_pool_put_some(b->q, &b->q->ready, &b->ready);
    freeReplyObject(reply);
}


/*
 * Redis learns the attempts; a job that it does not leave to us is dropped.
 * All shards are told before the first answer is awaited, and one deadline
 * is for all of the answers; first go the jobs of those that are not asked.
 */

static void
tf_begin_started(tf_beginner_t *b, unsigned n)
{
    int       told[TF_SHARDS_MAX];
    int64_t   deadline;
    unsigned  i, shard;

    for (i = 0; i < n; i++) {
        b->shards[b->jobs[i]->shard->index].n++;
    }

    for (shard = 0; shard < b->q->nshards; shard++) {
        told[shard] = b->shards[shard].n > 0
                      && tf_begin_tell(b, shard, n) == 0;
    }

    deadline = tf_clock_ms() + TF_REDIS_COMMAND_MS;

    for (i = 0; i < 2 * b->q->nshards; i++) {
        shard = i % b->q->nshards;

        if (b->shards[shard].n > 0 && told[shard] == (i != shard)) {
            tf_begin_told(b, shard, n, told[shard], deadline);
            b->shards[shard].n = 0;
        }
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

    if (!leave) {
        tf_fault(begin, before);
    }

    if (!leave) {
        tf_pulse_try(&q->pulses[TF_POOL_STEP_begin]);

        if (tf_store_begin(&b->pg, q->worker, b->jobs, n, b->result)
            == TF_PG_OK)
        {
            tf_pool_committed(q, &q->pulses[TF_POOL_STEP_begin]);

        } else {
            tf_pool_tried(&q->pulses[TF_POOL_STEP_begin], 0,
                          b->pg.sqlstate[0] != '\0');
            tf_pool_store_down(q, b->pg.err);
            leave = 1;
        }
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
            (void) atomic_fetch_add(&q->counters.failed, 1);
            job->state = TF_JOB_FAILED;
            tf_pool_finish(q, job);
            break;
        }
    }

    tf_begin_started(b, began);
}


static size_t
tf_begin_size(const tf_job_t *job)
{
    return 512 + strlen(job->payload);
}


void *
tf_pool_begin(void *queue)
{
    unsigned        i, n;
    tf_queue_t     *q = queue;
    tf_beginner_t   b;

    memset(&b, 0, sizeof(b));
    b.q = q;
    tf_store_init(&b.pg, q->conf);

    for (i = 0; i < q->nshards; i++) {
        tf_pool_redis(&q->shards[i], &b.shards[i].redis);
    }

    while (!tf_pool_over(q)) {
        n = tf_pool_take(q, &q->begin, b.jobs, TF_STORE_BATCH_MAX, 1000);
        n = tf_pool_trim(q, &q->begin, b.jobs, n, tf_begin_size);

        if (n) {
            tf_hist_add(&q->hist.begin, &tf_hist_size, n);
            tf_begin_batch(&b, n);

        } else if (tf_pool_silent(q)) {
            (void) tf_pool_ping(q, &b.pg);
        }

        tf_begin_probe(&b);
    }

    tf_pg_close(&b.pg);

    for (i = 0; i < q->nshards; i++) {
        tf_redis_close(&b.shards[i].redis);
    }

    return NULL;
}
