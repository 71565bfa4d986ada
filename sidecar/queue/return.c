#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/born.h"
#include "queue/pool.h"


#define TF_RETURN_BATCH  256


static void
tf_return_command(tf_shard_t *shard, tf_job_t *const *jobs, unsigned n,
    tf_cmd_t *cmd)
{
    unsigned         i;
    const tf_job_t  *job;

    static const char *const  functions[] = {
        TF_FN_FINISH, TF_FN_RELEASE, TF_FN_RETRY
    };

    tf_cmd_fcall(cmd, functions[jobs[0]->back], shard->prefix);
    tf_cmd_str(cmd, shard->worker);

    for (i = 0; i < n; i++) {
        job = jobs[i];
        tf_fault_at(finish, before, 3 * job->back);
        tf_cmd_str(cmd, job->id);
        tf_cmd_num(cmd, job->lease);

        if (job->back == TF_RETURN_FINISH) {
            tf_cmd_str(cmd, tf_job_state_word(job->state));

        } else if (job->back == TF_RETURN_RETRY) {
            tf_cmd_num(cmd, job->retry_after);
            tf_cmd_num(cmd, !job->waits);
        }
    }
}


/*
 * How many of the jobs the next call is for.  Those that have ended share one,
 * unless a call failed just now: that may be the fault of one of them.
 */

static unsigned
tf_return_some(tf_job_t *const *jobs, unsigned n, int alone)
{
    unsigned  i;

    for (i = 0; i < n && jobs[i]->back == TF_RETURN_FINISH && !alone; i++) {
        /* void */
    }

    return i ? i : 1;
}


/*
 * The ends that somebody waits for elsewhere: their deliveries.  What comes of
 * that is not asked: the reconciler finds what is not there.  Returns how many
 * answers are to be read.
 */

static unsigned
tf_return_born(tf_shard_t *shard, tf_redis_t *redis, tf_job_t **jobs,
    unsigned n)
{
    unsigned   i, born;
    tf_cmd_t   cmd = TF_CMD_INIT;
    tf_job_t  *job;
    tf_born_t  of;

    for (i = 0, born = 0; i < n; i++) {
        job = jobs[i];

        if (job->back != TF_RETURN_FINISH || !tf_born_wanted(job->payload)) {
            continue;
        }

        of.id = job->id;
        of.tenant = job->tenant;
        of.owner = job->owner;
        of.request_id = job->request_id;
        of.now = tf_clock_ms() - job->until + job->deadline;

        if (tf_born_cmd(&of, shard->prefix, &cmd) == 0
            && tf_redis_append(redis, &cmd) == 0)
        {
            born++;
        }
    }

    tf_cmd_free(&cmd);

    return born;
}


static void
tf_return_done(tf_queue_t *q, tf_job_t *job, tf_some_t *told)
{
    tf_fault_at(finish, answered, 3 * job->back);

    if (job->back == TF_RETURN_RELEASE) {
        (void) atomic_fetch_add(&q->counters.released, 1);

    } else if (job->back == TF_RETURN_RETRY) {
        (void) atomic_fetch_add(&q->counters.retried, 1);
    }

    tf_some_add(told, job);
}


/*
 * Tells Redis of n jobs in one write; returns how many were not answered, or
 * with an error, and moves these to the front.  They are told again: each
 * function checks worker and lease, so a repetition does nothing.
 *
 * A function library of an earlier release ends one job a call and answers for
 * that one: *single is set, and from then on each job has a call of its own.
 */

static unsigned
tf_return_batch(tf_shard_t *shard, tf_redis_t *redis, tf_job_t **jobs,
    unsigned n, int alone, int *single)
{
    unsigned     i, k, some, keep, born;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_some_t    told = TF_SOME_INIT;
    redisReply  *reply;

    alone = alone || *single;
    born = tf_return_born(shard, redis, jobs, n);

    for (i = 0; i < n; i += some) {
        some = tf_return_some(jobs + i, n - i, alone);
        tf_return_command(shard, jobs + i, some, &cmd);

        if (tf_redis_append(redis, &cmd) != 0) {
            tf_cmd_free(&cmd);
            return n;
        }
    }

    tf_cmd_free(&cmd);

    if (n) {
        tf_fault_expect_at(redis, redis, finish, 3 * jobs[0]->back);
    }

    for (i = 0; i < born; i++) {
        reply = tf_redis_reply(redis, 0);
        if (reply == NULL) {
            return n;
        }

        freeReplyObject(reply);
    }

    for (i = 0, keep = 0; i < n; i += some) {
        some = tf_return_some(jobs + i, n - i, alone);

        reply = tf_redis_reply(redis, 0);
        if (reply == NULL) {
            memmove(jobs + keep, jobs + i, (n - i) * sizeof(tf_job_t *));
            keep += n - i;
            break;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            (void) snprintf(redis->err, sizeof(redis->err), "Redis: %s",
                            reply->str);

        } else if (tf_reply_len(reply) < some) {
            *single = 1;
            tf_log(TF_LOG_WARN, "Redis answered for %zu of %u jobs: its "
                   "function library is of an earlier release; run "
                   "\"trifecta migrate\" (shard %u)", tf_reply_len(reply),
                   some, shard->index);
        }

        for (k = 0; k < some; k++) {

            /* an error has no elements */

            if (k < tf_reply_len(reply)) {
                tf_return_done(shard->q, jobs[i + k], &told);

            } else {
                jobs[keep++] = jobs[i + k];
            }
        }

        freeReplyObject(reply);
    }

    tf_pool_forget_some(shard->q, &told);

    return keep;
}


void *
tf_pool_return(void *data)
{
    int          single, was;
    unsigned     i, n, left, streak;
    tf_job_t    *jobs[TF_RETURN_BATCH];
    tf_queue_t  *q;
    tf_redis_t   redis;
    tf_shard_t  *shard = data;

    q = shard->q;
    tf_pool_redis(shard, &redis);
    streak = 0;
    single = 0;

    while (!tf_pool_over(q)) {
        n = tf_pool_take(q, &shard->back, jobs, TF_RETURN_BATCH, 0);

        if (n == 0) {
            continue;
        }

        tf_hist_add(&q->hist.back, &tf_hist_size, n);
        tf_pulse_try(&shard->pulses[TF_POOL_STEP_return]);

        was = single;
        left = tf_return_batch(shard, &redis, jobs, n, streak > 0, &single);
        tf_pool_tried(&shard->pulses[TF_POOL_STEP_return], left < n,
                      redis.refused);
        n = left;

        if (n == 0) {
            streak = 0;
            continue;
        }

        if (single == was) {
            tf_pool_shard_down(shard, redis.err);
            tf_pool_sleep(q, tf_pool_backoff(streak++));
        }

        /* behind those that came meanwhile: it may be the fault of one job */

        for (i = 0; i < n; i++) {
            if (atomic_load(&jobs[i]->stop) == TF_STOP_LOST) {
                tf_pool_forget(q, jobs[i]);

            } else {
                tf_pool_put(q, &shard->back, jobs[i]);
            }
        }
    }

    tf_redis_close(&redis);

    return NULL;
}
