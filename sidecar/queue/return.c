#include <string.h>

#include <openssl/rand.h>

#include <trifecta/fault.h>

#include "base/log.h"
#include "queue/pool.h"


#define TF_RETURN_BATCH       256
#define TF_RETURN_RETRY_BASE  1000LL    /* ms */
#define TF_RETURN_RETRY_MAX   60000LL


/*
 * When to try again: full jitter over a doubling time, or what the provider
 * asked for, if that is longer.
 */

static int64_t
tf_return_delay(const tf_job_t *job)
{
    int64_t   ms;
    uint32_t  rnd;

    ms = TF_RETURN_RETRY_BASE << (job->fails < 8 ? job->fails : 8);

    if (ms > TF_RETURN_RETRY_MAX) {
        ms = TF_RETURN_RETRY_MAX;
    }

    if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) == 1) {
        ms = 1 + rnd % ms;
    }

    return ms > job->retry_after ? ms : job->retry_after;
}


static void
tf_return_command(tf_shard_t *shard, const tf_job_t *job, tf_cmd_t *cmd)
{
    static const char *const  functions[] = {
        TF_FN_FINISH, TF_FN_RELEASE, TF_FN_RETRY
    };

    tf_cmd_fcall(cmd, functions[job->back], shard->prefix);
    tf_cmd_str(cmd, shard->worker);
    tf_cmd_str(cmd, job->id);
    tf_cmd_num(cmd, job->lease);

    if (job->back == TF_RETURN_FINISH) {
        tf_cmd_str(cmd, tf_job_state_word(job->state));

    } else if (job->back == TF_RETURN_RETRY) {
        tf_cmd_num(cmd, tf_return_delay(job));
        tf_cmd_num(cmd, !job->waits);
    }
}


/*
 * Tells Redis of n jobs in one write; returns how many were not answered, or
 * with an error, and moves these to the front.  They are told again: each
 * function checks worker and lease, so a repetition does nothing.
 */

static unsigned
tf_return_batch(tf_shard_t *shard, tf_redis_t *redis, tf_job_t **jobs,
    unsigned n)
{
    unsigned     i, keep;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_queue_t  *q;
    redisReply  *reply;

    q = shard->q;

    for (i = 0; i < n; i++) {
        tf_fault_at(finish, before, 3 * jobs[i]->back);
        tf_return_command(shard, jobs[i], &cmd);

        if (tf_redis_append(redis, &cmd) != 0) {
            tf_cmd_free(&cmd);
            return n;
        }
    }

    tf_cmd_free(&cmd);

    if (n) {
        tf_fault_expect_at(redis, redis, finish, 3 * jobs[0]->back);
    }

    for (i = 0, keep = 0; i < n; i++) {
        reply = tf_redis_reply(redis, 0);
        if (reply == NULL) {
            memmove(jobs + keep, jobs + i, (n - i) * sizeof(tf_job_t *));
            return keep + n - i;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            (void) snprintf(redis->err, sizeof(redis->err), "Redis: %s",
                            reply->str);
            freeReplyObject(reply);
            jobs[keep++] = jobs[i];
            continue;
        }

        tf_fault_at(finish, answered, 3 * jobs[i]->back);

        if (jobs[i]->back == TF_RETURN_RELEASE) {
            (void) atomic_fetch_add(&q->counters.released, 1);

        } else if (jobs[i]->back == TF_RETURN_RETRY) {
            (void) atomic_fetch_add(&q->counters.retried, 1);
        }

        freeReplyObject(reply);
        tf_pool_forget(q, jobs[i]);
    }

    return keep;
}


void *
tf_pool_return(void *data)
{
    unsigned     i, n, left, streak;
    tf_job_t    *jobs[TF_RETURN_BATCH];
    tf_queue_t  *q;
    tf_redis_t   redis;
    tf_shard_t  *shard = data;

    q = shard->q;
    tf_pool_redis(shard, &redis);
    streak = 0;

    while (!tf_pool_over(q)) {
        n = tf_pool_take(q, &shard->back, jobs, TF_RETURN_BATCH, 0);

        if (n == 0) {
            continue;
        }

        tf_hist_add(&q->hist.back, &tf_hist_size, n);
        tf_pulse_try(&shard->pulses[TF_POOL_STEP_return]);

        left = tf_return_batch(shard, &redis, jobs, n);
        tf_pool_tried(&shard->pulses[TF_POOL_STEP_return], left < n,
                      redis.refused);
        n = left;

        if (n == 0) {
            streak = 0;
            continue;
        }

        tf_pool_shard_down(shard, redis.err);
        tf_pool_sleep(q, tf_pool_backoff(streak++));

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
