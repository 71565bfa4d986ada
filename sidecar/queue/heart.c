#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


#define TF_HEART_TICK_MS  250   /* how exactly deadlines are kept */

typedef struct {
    char     id[TF_ID_TEXT_LEN + 1];
    int64_t  lease;
    unsigned done;
    unsigned total;             /* 0: nothing new to tell */
} tf_beat_t;


static void
tf_heart_stop(tf_queue_t *q, tf_job_t *job, tf_stop_t stop)
{
    int  none;

    /* a lost lease overrides every other reason to stop */

    none = TF_STOP_NONE;

    if (atomic_load(&job->stopped) == 0) {
        atomic_store(&job->stopped, tf_clock_ms());
    }

    if (stop == TF_STOP_LOST) {
        if (atomic_exchange(&job->stop, stop) != TF_STOP_LOST) {
            (void) atomic_fetch_add(&q->counters.lost, 1);
        }

    } else {
        (void) atomic_compare_exchange_strong(&job->stop, &none, stop);
    }
}


void
tf_pool_stop(tf_queue_t *q, const char *id, int64_t lease, tf_stop_t stop)
{
    tf_job_t  *job;

    (void) pthread_mutex_lock(&q->mutex);

    for (job = q->held; job != NULL; job = job->held_next) {
        /* it may have been relet, or finished and come again, meanwhile */

        if (job->lease == lease && strcmp(job->id, id) == 0) {
            tf_heart_stop(q, job, stop);
            break;
        }
    }

    (void) pthread_mutex_unlock(&q->mutex);
}


static void
tf_heart_progress(tf_job_t *job, tf_beat_t *beat)
{
    beat->total = atomic_load(&job->total);
    beat->done = atomic_load(&job->done);

    if (job->told == beat->done + 1) {
        beat->total = 0;

    } else if (beat->total > 0) {
        job->told = beat->done + 1;
    }
}


/*
 * Lists the leases to keep.  A job past its hard deadline is stopped, and
 * its lease is kept no longer.
 */

static unsigned
tf_heart_list(tf_shard_t *shard, tf_beat_t **beats, unsigned *size)
{
    int64_t      now;
    unsigned     n;
    tf_job_t    *job;
    tf_beat_t   *more;
    tf_queue_t  *q;

    q = shard->q;
    now = tf_clock_ms();
    n = 0;

    (void) pthread_mutex_lock(&q->mutex);

    if (shard->nheld > *size) {
        more = realloc(*beats, shard->nheld * sizeof(tf_beat_t));
        if (more != NULL) {
            *beats = more;
            *size = shard->nheld;
        }
    }

    for (job = q->held; job != NULL && n < *size; job = job->held_next) {
        if (job->shard != shard) {
            continue;
        }

        if (now > job->until) {
            tf_heart_stop(q, job, TF_STOP_DEADLINE);
            continue;
        }

        if (atomic_load(&job->stop) != TF_STOP_LOST) {
            memcpy((*beats)[n].id, job->id, sizeof(job->id));
            tf_heart_progress(job, &(*beats)[n]);
            (*beats)[n++].lease = job->lease;
        }
    }

    (void) pthread_mutex_unlock(&q->mutex);

    return n;
}


static void
tf_heart_answer(tf_queue_t *q, const tf_beat_t *beat, const char *answer)
{
    if (strcmp(answer, "LOST") == 0) {
        tf_pool_stop(q, beat->id, beat->lease, TF_STOP_LOST);

    } else if (strcmp(answer, "CANCEL") == 0) {
        tf_fault(cancel, beaten);
        tf_pool_stop(q, beat->id, beat->lease, TF_STOP_CANCELLED);
    }
}


/* Nothing depends on it: what was lost is told by the next beat. */

static void
tf_heart_tell(tf_shard_t *shard, tf_redis_t *redis, const tf_beat_t *beats,
    unsigned n)
{
    unsigned     i, some;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    some = 0;

    tf_cmd_fcall(&cmd, TF_FN_PROGRESS, shard->prefix);
    tf_cmd_str(&cmd, shard->worker);

    for (i = 0; i < n; i++) {
        if (beats[i].total) {
            tf_cmd_str(&cmd, beats[i].id);
            tf_cmd_num(&cmd, beats[i].lease);
            tf_cmd_num(&cmd, beats[i].done);
            tf_cmd_num(&cmd, beats[i].total);
            some = 1;
        }
    }

    reply = some ? tf_redis_call(redis, 0, &cmd) : NULL;

    tf_cmd_free(&cmd);
    freeReplyObject(reply);
}


static int
tf_heart_beat(tf_shard_t *shard, tf_redis_t *redis, const tf_beat_t *beats,
    unsigned n)
{
    unsigned     i;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_HEARTBEAT, shard->prefix);
    tf_cmd_str(&cmd, shard->worker);

    for (i = 0; i < n; i++) {
        tf_cmd_str(&cmd, beats[i].id);
        tf_cmd_num(&cmd, beats[i].lease);
    }

    tf_fault(heart, before);

    reply = tf_redis_call(redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        tf_pool_shard_down(shard, redis->err);
        return -1;
    }

    tf_fault(heart, answered);

    for (i = 0; i < n; i++) {
        tf_heart_answer(shard->q, &beats[i], tf_reply_str(reply, i));
    }

    freeReplyObject(reply);
    tf_heart_tell(shard, redis, beats, n);

    return 0;
}


void *
tf_pool_heart(void *data)
{
    int          beaten;
    int64_t      at;
    unsigned     n, size, streak;
    tf_beat_t   *beats;
    tf_queue_t  *q;
    tf_redis_t   redis;
    tf_shard_t  *shard = data;

    q = shard->q;
    tf_pool_redis(shard, &redis);
    beats = NULL;
    size = 0;
    streak = 0;
    at = tf_clock_ms();

    while (!tf_pool_over(q)) {
        n = tf_heart_list(shard, &beats, &size);

        if (n == 0) {
            tf_pulse_rest(&shard->pulses[TF_POOL_STEP_heart]);

        } else if (tf_clock_ms() >= at) {
            tf_pulse_try(&shard->pulses[TF_POOL_STEP_heart]);
            beaten = tf_heart_beat(shard, &redis, beats, n) == 0;
            tf_pool_tried(&shard->pulses[TF_POOL_STEP_heart], beaten,
                          redis.refused);

            if (beaten) {
                streak = 0;
                at = tf_clock_ms() + q->conf->heartbeat;

            } else {
                at = tf_clock_ms() + tf_pool_backoff(streak++);
            }
        }

        tf_pool_sleep(q, q->conf->heartbeat < TF_HEART_TICK_MS
                         ? (int) q->conf->heartbeat : TF_HEART_TICK_MS);
    }

    tf_redis_close(&redis);
    free(beats);

    return NULL;
}
