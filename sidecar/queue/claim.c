#include <string.h>

#include <openssl/rand.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/claim.h"


#define TF_CLAIM_RECLAIM_MS   1000
#define TF_CLAIM_PUMP         1000  /* delayed jobs at a time */
#define TF_CLAIM_LOWEST       8     /* each so many starts at the lowest */
#define TF_CLAIM_FULL_MS      100   /* the background is */


static int
tf_claim_leave(tf_queue_t *q)
{
    int  leave;

    (void) pthread_mutex_lock(&q->mutex);
    leave = q->draining || q->over;
    (void) pthread_mutex_unlock(&q->mutex);

    return leave;
}


/* What Redis dropped because it was none of ours, or had been spoilt. */

static void
tf_claim_odd(tf_claimer_t *c, int64_t strange, int64_t damaged)
{
    if (strange > 0) {
        (void) atomic_fetch_add(&c->q->counters.strange,
                                (unsigned long) strange);
        tf_log(TF_LOG_WARN, "%lld entries of the queue named no job and were "
               "dropped (shard %u): something else writes to the keys %s:*",
               (long long) strange, c->shard->index, c->shard->prefix);
    }

    if (damaged > 0) {
        (void) atomic_fetch_add(&c->q->counters.damaged,
                                (unsigned long) damaged);
        tf_log(TF_LOG_ERROR, "%lld jobs were damaged in Redis and end as "
               "failed (shard %u): something else writes to the keys %s:*",
               (long long) damaged, c->shard->index, c->shard->prefix);
    }
}


static unsigned
tf_claim_take(tf_claimer_t *c, const redisReply *reply)
{
    size_t             i;
    int64_t            epoch;
    unsigned           n;
    tf_job_t          *job;
    tf_some_t          some = TF_SOME_INIT;
    const redisReply  *head;

    if (tf_reply_len(reply) == 0) {
        return 0;
    }

    n = 0;
    c->took = 0;
    head = reply->element[0];
    epoch = tf_reply_num(head, 0);
    tf_claim_odd(c, tf_reply_num(head, 1), tf_reply_num(head, 2));

    for (i = 1; i < tf_reply_len(reply); i++) {
        job = tf_job_from_reply(reply->element[i], epoch);

        if (job == NULL) {
            tf_log(TF_LOG_ERROR, "Redis handed out what is no job");
            continue;
        }

        if (job->lease == 1) {
            tf_hist_add(&c->q->hist.wait, &tf_hist_ms, job->waited);
        }

        c->took += job->prio == TF_PRIORITY_BACKGROUND;
        job->shard = c->shard;
        tf_some_add(&some, job);
        n++;
    }

    tf_pool_enter(c->q, &some);

    return n;
}


static void
tf_claim_failed(tf_claimer_t *c)
{
    tf_pool_tried(&c->shard->pulses[TF_POOL_STEP_claim], 0,
                  c->redis.refused);
    tf_pool_tried(&c->shard->pulses[TF_POOL_STEP_reclaim], 0,
                  c->redis.refused);
    tf_pool_shard_down(c->shard, c->redis.err);
    tf_pool_sleep(c->q, tf_pool_backoff(c->streak++));
}


/* The reply, or NULL with redis.err. */

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
        c->redis.refused = 1;
    }

    if (reply != NULL) {
        c->streak = 0;
        tf_pool_shard_up(c->shard);
    }

    return reply;
}


/* Delayed jobs whose time has come go on to their streams: 0 or -1. */

static int
tf_claim_pump(tf_claimer_t *c)
{
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_PUMP, c->shard->prefix);
    tf_cmd_num(&cmd, TF_CLAIM_PUMP);

    reply = tf_claim_call(c, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        tf_claim_failed(c);
        return -1;
    }

    if (reply->type == REDIS_REPLY_INTEGER && reply->integer > 0) {
        tf_fault(pump, answered);
    }

    freeReplyObject(reply);

    return 0;
}


static void
tf_claim_reclaim(tf_claimer_t *c, int places)
{
    unsigned     n;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_RECLAIM, c->shard->prefix);
    tf_cmd_str(&cmd, c->shard->worker);
    tf_cmd_num(&cmd, places);
    tf_cmd_num(&cmd, c->q->conf->lease);
    tf_cmd_num(&cmd, c->back);

    reply = tf_claim_call(c, 0, &cmd);
    tf_cmd_free(&cmd);

    if (tf_reply_len(reply) > 1) {
        tf_fault(reclaim, answered);
    }

    n = tf_claim_take(c, reply);
    tf_claim_unreserve(c, places);

    if (reply == NULL) {
        tf_claim_failed(c);
        return;
    }

    freeReplyObject(reply);
    tf_pulse_done(&c->shard->pulses[TF_POOL_STEP_reclaim]);

    if (n) {
        (void) atomic_fetch_add(&c->q->counters.reclaimed, n);
        tf_log(TF_LOG_WARN, "took over %u jobs from workers that were lost",
               n);
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

    tf_cmd_fcall(&cmd, TF_FN_CLAIM, c->shard->prefix);
    tf_cmd_str(&cmd, c->shard->worker);
    tf_cmd_num(&cmd, places);
    tf_cmd_str(&cmd, ++c->claims % TF_CLAIM_LOWEST ? "0" : "1");
    tf_cmd_num(&cmd, c->back);

    tf_pulse_try(&c->shard->pulses[TF_POOL_STEP_claim]);
    reply = tf_claim_call(c, 0, &cmd);
    tf_cmd_free(&cmd);

    if (tf_reply_len(reply) > 1) {
        tf_fault(claim, answered);
    }

    n = tf_claim_take(c, reply);
    tf_claim_unreserve(c, places);

    if (reply == NULL) {
        tf_claim_failed(c);
        return -1;
    }

    tf_pulse_done(&c->shard->pulses[TF_POOL_STEP_claim]);

    if (n) {
        tf_fault(claim, held);
    }

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

    if (c->back == 0 && ms > TF_CLAIM_FULL_MS) {
        ms = TF_CLAIM_FULL_MS;
    }

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
        (void) snprintf(key, sizeof(key), "%s:r:%d", c->shard->prefix, i);
        tf_cmd_str(&cmd, key);
    }

    for (i = 0; i < TF_PRIORITIES; i++) {
        tf_cmd_str(&cmd, c->last[i]);
    }

    reply = tf_claim_call(c, ms + TF_REDIS_COMMAND_MS, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        tf_claim_failed(c);
        return;
    }

    freeReplyObject(reply);
}


/*
 * Two processes of one name would take each other's jobs for their own.  The
 * name is ours when it was not among the workers that Redis knows; else this
 * process takes another one in this shard.  0, or -1 with redis.err.
 */

static int
tf_claim_name(tf_claimer_t *c)
{
    char           now[32], key[TF_KEY_PREFIX_MAX + 8];
    int            added;
    unsigned char  rnd[4];
    redisReply    *reply;

    (void) snprintf(key, sizeof(key), "%s:wk", c->shard->prefix);

    while (!c->shard->named) {
        reply = tf_redis_command(&c->redis, 0, "TIME", NULL);
        if (reply == NULL) {
            return -1;
        }

        (void) snprintf(now, sizeof(now), "%lld",
                        (long long) tf_reply_num(reply, 0) * 1000
                        + tf_reply_num(reply, 1) / 1000);
        freeReplyObject(reply);

        reply = tf_redis_command(&c->redis, 0, "ZADD", key, "NX", now,
                                 c->shard->worker, NULL);
        if (reply == NULL) {
            return -1;
        }

        if (reply->type != REDIS_REPLY_INTEGER) {
            (void) snprintf(c->redis.err, sizeof(c->redis.err),
                            "Redis: %.400s", reply->str ? reply->str : "?");
            freeReplyObject(reply);
            tf_redis_close(&c->redis);
            return -1;
        }

        added = reply->integer == 1;
        freeReplyObject(reply);

        if (added) {
            (void) pthread_mutex_lock(&c->q->mutex);
            c->shard->named = 1;
            (void) pthread_cond_broadcast(&c->q->tick);
            (void) pthread_mutex_unlock(&c->q->mutex);
            break;
        }

        if (RAND_bytes(rnd, sizeof(rnd)) != 1) {
            (void) snprintf(c->redis.err, sizeof(c->redis.err),
                            "no random numbers for another name");
            return -1;
        }

        tf_log(TF_LOG_WARN, "a worker called %s is known in shard %u: this "
               "process calls itself %s-%02x%02x%02x%02x there",
               c->shard->worker, c->shard->index, c->q->worker, rnd[0],
               rnd[1], rnd[2], rnd[3]);
        (void) snprintf(c->shard->worker, sizeof(c->shard->worker),
                        "%s-%02x%02x%02x%02x", c->q->worker, rnd[0], rnd[1],
                        rnd[2], rnd[3]);
    }

    return 0;
}


void *
tf_pool_claim(void *data)
{
    int           n, due, places;
    tf_queue_t   *q;
    tf_claimer_t  c;

    memset(&c, 0, sizeof(c));
    c.shard = data;
    q = c.q = c.shard->q;
    tf_pool_redis(c.shard, &c.redis);

    if (tf_pool_kept(c.shard) != 0) {
        return NULL;
    }

    c.reclaim_at = tf_clock_ms();

    while (!tf_claim_leave(q)) {
        tf_pulse_try(&c.shard->pulses[TF_POOL_STEP_reclaim]);

        if (tf_redis_connect(&c.redis) != 0 || tf_claim_name(&c) != 0) {
            tf_claim_failed(&c);
            continue;
        }

        due = tf_clock_ms() >= c.reclaim_at;

        if (due) {
            c.reclaim_at = tf_clock_ms()
                           + tf_pool_jitter(TF_CLAIM_RECLAIM_MS);

            if (tf_claim_pump(&c) != 0) {
                continue;
            }
        }

        places = tf_claim_places(&c, due ? 0 : c.reclaim_at);
        if (places < 0) {
            break;
        }

        if (due || (c.owed && places > 0)) {
            c.owed = places == 0;
            tf_claim_reclaim(&c, places);
            continue;
        }

        if (places > 0) {
            n = tf_claim_claim(&c, places);

            if (n >= 0 && n < places && (c.took == 0 || c.took < c.back)) {
                tf_claim_wait(&c);
            }
        }
    }

    tf_pulse_rest(&c.shard->pulses[TF_POOL_STEP_claim]);
    tf_pulse_rest(&c.shard->pulses[TF_POOL_STEP_reclaim]);
    tf_redis_close(&c.redis);

    return NULL;
}
