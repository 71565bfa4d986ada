#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/pool.h"


#define TF_CLAIM_RECLAIM_MS   1000
#define TF_CLAIM_PUMP         1000  /* delayed jobs at a time */
#define TF_CLAIM_LOWEST       8     /* each so many starts at the lowest */

typedef struct {
    tf_queue_t  *q;
    tf_redis_t   redis;
    unsigned     claims;
    unsigned     streak;
    int64_t      reclaim_at;
    char         last[TF_PRIORITIES][32];   /* what XREAD waits behind */
} tf_claimer_t;


/* Free places, after waiting for one until the next reclaim; -1: leave. */

static int
tf_claim_places(tf_claimer_t *c)
{
    int          n;
    tf_queue_t  *q;

    q = c->q;
    n = 0;

    (void) pthread_mutex_lock(&q->mutex);

    for ( ;; ) {
        if (q->draining || q->over) {
            n = -1;
            break;
        }

        if (!q->store_down && q->nheld < q->conf->threads) {
            n = (int) (q->conf->threads - q->nheld);
            break;
        }

        if (tf_cond_wait_until(&q->freed, &q->mutex, c->reclaim_at) != 0) {
            break;
        }
    }

    (void) pthread_mutex_unlock(&q->mutex);

    return n;
}


static unsigned
tf_claim_take(tf_claimer_t *c, const redisReply *reply)
{
    size_t     i;
    int64_t    epoch;
    unsigned   n;
    tf_job_t  *job;

    if (tf_reply_len(reply) == 0) {
        return 0;
    }

    n = 0;
    epoch = tf_reply_num(reply->element[0], 0);

    for (i = 1; i < tf_reply_len(reply); i++) {
        job = tf_job_from_reply(reply->element[i], epoch);

        if (job == NULL) {
            tf_log(TF_LOG_ERROR, "Redis handed out what is no job");
            continue;
        }

        if (job->lease == 1) {
            tf_hist_add(&c->q->hist.wait, &tf_hist_ms, job->waited);
        }

        tf_pool_hold(c->q, job);
        tf_pool_put(c->q, &c->q->begin, job);
        n++;
    }

    return n;
}


/* The reply, or NULL after a failure that was logged and waited for. */

static redisReply *
tf_claim_call(tf_claimer_t *c, int timeout, const tf_cmd_t *cmd)
{
    redisReply  *reply;

    reply = tf_redis_call(&c->redis, timeout, cmd);

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(c->redis.err, sizeof(c->redis.err), "Redis: %s",
                        reply->str);
        freeReplyObject(reply);
        reply = NULL;
        tf_redis_close(&c->redis);
    }

    if (reply == NULL) {
        tf_pool_redis_down(c->q, c->redis.err);
        tf_pool_sleep(c->q, tf_pool_backoff(c->streak++));
        return NULL;
    }

    c->streak = 0;
    tf_pool_redis_up(c->q);

    return reply;
}


static void
tf_claim_reclaim(tf_claimer_t *c, int places)
{
    unsigned     n;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_RECLAIM, c->q->prefix);
    tf_cmd_str(&cmd, c->q->worker);
    tf_cmd_num(&cmd, places);
    tf_cmd_num(&cmd, c->q->conf->lease);

    reply = tf_claim_call(c, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        return;
    }

    n = tf_claim_take(c, reply);
    freeReplyObject(reply);

    if (n) {
        (void) atomic_fetch_add(&c->q->counters.reclaimed, n);
        tf_log(TF_LOG_WARN, "took over %u jobs from workers that were lost",
               n);
    }
}


/* Delayed jobs whose time has come go on to their streams. */

static void
tf_claim_pump(tf_claimer_t *c)
{
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_PUMP, c->q->prefix);
    tf_cmd_num(&cmd, TF_CLAIM_PUMP);

    reply = tf_claim_call(c, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply != NULL) {
        freeReplyObject(reply);
    }
}


/* -1: failed, else how many came.  Less than asked for: last is set. */

static int
tf_claim_claim(tf_claimer_t *c, int places)
{
    int          i;
    unsigned     n;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_CLAIM, c->q->prefix);
    tf_cmd_str(&cmd, c->q->worker);
    tf_cmd_num(&cmd, places);
    tf_cmd_str(&cmd, ++c->claims % TF_CLAIM_LOWEST ? "0" : "1");

    reply = tf_claim_call(c, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        return -1;
    }

    n = tf_claim_take(c, reply);

    for (i = 0; i < TF_PRIORITIES && tf_reply_len(reply) > 0; i++) {
        (void) snprintf(c->last[i], sizeof(c->last[i]), "%s",
                        tf_reply_str(reply->element[0], (size_t) i + 3));
    }

    freeReplyObject(reply);
    (void) atomic_fetch_add(&c->q->counters.claimed, n);

    return (int) n;
}


/* Until new work comes, behind the last ids and never "$", or to the time. */

static void
tf_claim_wait(tf_claimer_t *c)
{
    int          i, ms;
    char         key[TF_KEY_PREFIX_MAX + 8];
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    ms = (int) (c->reclaim_at - tf_clock_ms());
    if (ms <= 0 || c->last[0][0] == '\0') {
        return;
    }

    tf_cmd_begin(&cmd, "XREAD");
    tf_cmd_str(&cmd, "COUNT");
    tf_cmd_str(&cmd, "1");
    tf_cmd_str(&cmd, "BLOCK");
    tf_cmd_num(&cmd, ms);
    tf_cmd_str(&cmd, "STREAMS");

    for (i = 0; i < TF_PRIORITIES; i++) {
        (void) snprintf(key, sizeof(key), "%s:r:%d", c->q->prefix, i);
        tf_cmd_str(&cmd, key);
    }

    for (i = 0; i < TF_PRIORITIES; i++) {
        tf_cmd_str(&cmd, c->last[i]);
    }

    reply = tf_claim_call(c, ms + TF_REDIS_COMMAND_MS, &cmd);
    tf_cmd_free(&cmd);

    if (reply != NULL) {
        freeReplyObject(reply);
    }
}


void *
tf_pool_claim(void *queue)
{
    int           places, came;
    tf_queue_t   *q = queue;
    tf_claimer_t  c;

    memset(&c, 0, sizeof(c));
    c.q = q;
    tf_redis_init(&c.redis, q->conf, q->prefix, 1);
    c.reclaim_at = tf_clock_ms();

    for ( ;; ) {
        places = tf_claim_places(&c);
        if (places < 0) {
            break;
        }

        if (tf_clock_ms() >= c.reclaim_at) {
            c.reclaim_at = tf_clock_ms()
                           + tf_pool_jitter(TF_CLAIM_RECLAIM_MS);
            tf_claim_pump(&c);
            tf_claim_reclaim(&c, places);
            continue;
        }

        if (places == 0) {
            continue;
        }

        came = tf_claim_claim(&c, places);

        if (came == 0) {
            tf_claim_wait(&c);
        }
    }

    tf_redis_close(&c.redis);

    return NULL;
}
