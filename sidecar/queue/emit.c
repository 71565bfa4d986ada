#include "queue/emit.h"

#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "queue/pool.h"


#define TF_EMIT_BATCH        256        /* events of one call */
#define TF_EMIT_BATCH_BYTES  262144

/* An event of a call that is on its way. */

typedef struct {
    tf_emit_t  *e;
    unsigned    index;
    char        id[TF_ID_TEXT_LEN + 1];
    int64_t     lease;
    int         fenced;
} tf_emit_sent_t;

typedef struct {
    tf_shard_t      *shard;
    tf_redis_t       redis;
    tf_emit_sent_t   sent[TF_EMIT_BATCH];
    unsigned         n;
} tf_emit_call_t;


/* Bytes of the longest begin of the text that is no longer than max and does
 * not end within a character. */

static size_t
tf_emit_whole(const char *text, size_t len, size_t max)
{
    size_t  n;

    if (len <= max) {
        return len;
    }

    for (n = max; n > max - 4; n--) {
        if (((unsigned char) text[n] & 0xc0) != 0x80) {
            return n;
        }
    }

    return max;
}


static unsigned
tf_emit_many(const tf_emit_t *e)
{
    return e->n - e->base >= TF_EMIT_MANY;
}


/* All that Redis does not have yet is that the job has searched. */

static unsigned
tf_emit_searched(const tf_emit_t *e)
{
    return e->sent + 1 == e->n && e->said[e->sent].type == 's';
}


/* Text that may be cut into pieces. */

static size_t
tf_emit_pending(const tf_emit_t *e)
{
    return e->ready ? e->text.len - e->cut : 0;
}


/* When there is something to send; -1: not before somebody says more. */

static int64_t
tf_emit_due(const tf_emit_t *e, int64_t now)
{
    size_t  pending;

    if (e->mute) {
        return -1;
    }

    pending = tf_emit_pending(e);

    if (e->sent < e->n
        && !(e->quiet && pending == 0 && tf_emit_searched(e)))
    {
        return now;
    }

    if (pending == 0) {
        return -1;
    }

    return pending >= (size_t) (tf_emit_many(e) ? TF_EMIT_MANY_BYTES
                                                : TF_EMIT_BYTES)
           || e->next_at < now ? now : e->next_at;
}


/*
 * What gathered becomes pieces, once Redis has those before them; no call is on
 * its way.
 */

static void
tf_emit_cut(tf_emit_t *e, int64_t now)
{
    size_t  len;

    if ((e->sent < e->n && !tf_emit_searched(e)) || tf_emit_pending(e) == 0
        || tf_emit_due(e, now) != now)
    {
        return;
    }

    e->ready = 0;
    e->next_at = now + (tf_emit_many(e) ? TF_EMIT_MANY_MS : TF_EMIT_MS);
    e->cut_since = e->since;

    while (e->cut < e->text.len) {
        len = tf_emit_whole(e->text.data + e->cut, e->text.len - e->cut,
                            TF_EMIT_PIECE_MAX);

        if (tf_emit_add(e, e->attempt, 'd', e->cut + len) != 0) {
            e->mute = 1;
            return;
        }

        e->cut += len;
        e->pieces++;
    }
}


static void
tf_emit_arguments(tf_cmd_t *cmd, const tf_emit_t *e, unsigned i)
{
    char    type[2];
    size_t  from;

    from = i > 0 ? e->said[i - 1].end : 0;
    type[0] = e->said[i].type;
    type[1] = '\0';

    tf_cmd_str(cmd, e->id);
    tf_cmd_num(cmd, e->lease);
    tf_cmd_num(cmd, e->attempt);
    tf_cmd_num(cmd, (int64_t) i - e->base + 1);
    tf_cmd_str(cmd, type);
    tf_cmd_arg(cmd, e->text.data ? e->text.data + from : "",
               e->said[i].end - from);
}


/* The events of one call; under the lock. */

static void
tf_emit_gather(tf_emit_call_t *c, tf_cmd_t *cmd)
{
    int64_t          now;
    unsigned         i;
    tf_emit_t       *e;
    tf_emit_sent_t  *s;

    now = tf_clock_ms();
    c->n = 0;

    for (e = c->shard->emitter.first; e != NULL; e = e->next) {
        tf_emit_cut(e, now);

        if (tf_emit_due(e, now) != now) {
            continue;
        }

        for (i = e->sent; i < e->n && !e->mute; i++) {
            if (c->n == TF_EMIT_BATCH
                || cmd->args.len > TF_EMIT_BATCH_BYTES)
            {
                return;
            }

            tf_emit_arguments(cmd, e, i);
            e->busy = 1;

            s = &c->sent[c->n++];
            s->e = e;
            s->index = i;
            s->lease = e->lease;
            s->fenced = 0;
            memcpy(s->id, e->id, sizeof(s->id));
        }
    }
}


/*
 * Waits until there is something to send, and lists it: how many events; 0:
 * leave.
 */

static unsigned
tf_emit_wait(tf_emit_call_t *c, tf_cmd_t *cmd)
{
    int64_t        now, at, due;
    tf_emit_t     *e;
    tf_emitter_t  *emitter;

    emitter = &c->shard->emitter;
    c->n = 0;

    (void) pthread_mutex_lock(&emitter->mutex);

    while (!emitter->over) {
        now = tf_clock_ms();
        due = -1;

        for (e = emitter->first; e != NULL; e = e->next) {
            at = tf_emit_due(e, now);

            if (at != -1 && (due == -1 || at < due)) {
                due = at;
            }
        }

        if (due == now) {
            tf_emit_gather(c, cmd);
            if (c->n > 0) {
                break;
            }

        } else if (due == -1) {
            (void) pthread_cond_wait(&emitter->filled, &emitter->mutex);

        } else {
            (void) tf_cond_wait_until(&emitter->filled, &emitter->mutex, due);
        }
    }

    (void) pthread_mutex_unlock(&emitter->mutex);

    return c->n;
}


/* One answer; under the lock. */

static void
tf_emit_answer(tf_emit_call_t *c, tf_emit_sent_t *s, const char *answer)
{
    size_t                from;
    int64_t               n;
    tf_emit_t            *e;
    tf_queue_t           *q;

    e = s->e;
    q = c->shard->q;

    if (e->sent != s->index || e->mute) {
        /* one before it was not taken */
        return;
    }

    if (strcmp(answer, "OK") == 0) {
        from = s->index > 0 ? e->said[s->index - 1].end : 0;
        e->sent++;
        (void) atomic_fetch_add(&q->counters.events, 1);
        (void) atomic_fetch_add(&q->counters.event_bytes,
                                e->said[s->index].end - from);

        if (e->sent == e->n && e->said[s->index].type == 'd') {
            tf_hist_add(&q->hist.emitted, &tf_hist_ms,
                        tf_clock_ms() - e->cut_since);
        }

    } else if (strcmp(answer, "FENCED") == 0) {
        e->mute = 1;
        s->fenced = e->listed;

    } else if (strcmp(answer, "FULL") == 0) {
        e->mute = 1;
        e->full = 1;

    } else if (strncmp(answer, "FROM ", 5) == 0) {
        n = strtoll(answer + 5, NULL, 10);

        if (n > 0 && e->base + n - 1 < e->sent) {
            e->sent = (unsigned) (e->base + n - 1);
        }
    }
}


/* What came of it; NULL: nothing is known, and all is said once more. */

static void
tf_emit_told(tf_emit_call_t *c, const redisReply *reply)
{
    unsigned         i;
    tf_emit_sent_t  *s;
    tf_emitter_t    *emitter;

    emitter = &c->shard->emitter;

    (void) pthread_mutex_lock(&emitter->mutex);

    for (i = 0; i < c->n; i++) {
        if (reply != NULL) {
            tf_emit_answer(c, &c->sent[i], tf_reply_str(reply, i));
        }
    }

    for (i = 0; i < c->n; i++) {
        s = &c->sent[i];

        if (i + 1 < c->n && c->sent[i + 1].e == s->e) {
            continue;
        }

        s->e->busy = 0;

        if (s->e->gone) {
            tf_emit_destroy(s->e);
        }
    }

    (void) pthread_mutex_unlock(&emitter->mutex);

    for (i = 0; i < c->n; i++) {
        if (c->sent[i].fenced) {
            tf_pool_stop(c->shard->q, c->sent[i].id, c->sent[i].lease,
                         TF_STOP_LOST);
        }
    }
}


/* 0, or -1 with redis.err: all of it is to be sent again. */

static int
tf_emit_call(tf_emit_call_t *c, const tf_cmd_t *cmd)
{
    redisReply  *reply;

    tf_fault(emit, before);
    tf_fault_expect(redis, &c->redis, emit);

    reply = tf_redis_call(&c->redis, 0, cmd);

    if (reply != NULL && tf_reply_len(reply) != c->n) {
        (void) snprintf(c->redis.err, sizeof(c->redis.err), "Redis: %.400s",
                        reply->type == REDIS_REPLY_ERROR ? reply->str : "?");
        freeReplyObject(reply);
        reply = NULL;
        tf_redis_close(&c->redis);
        c->redis.refused = 1;
    }

    tf_emit_told(c, reply);

    if (reply == NULL) {
        return -1;
    }

    tf_hist_add(&c->shard->q->hist.emit, &tf_hist_size, (int64_t) c->n);
    freeReplyObject(reply);

    return 0;
}


void *
tf_pool_emit(void *data)
{
    int              rc;
    unsigned         streak;
    tf_cmd_t         cmd = TF_CMD_INIT;
    tf_pulse_t      *pulse;
    tf_emit_call_t   c;

    memset(&c, 0, sizeof(c));
    c.shard = data;
    pulse = &c.shard->pulses[TF_POOL_STEP_emit];
    streak = 0;

    if (tf_pool_named(c.shard) != 0) {
        return NULL;
    }

    tf_pool_redis(c.shard, &c.redis);

    for ( ;; ) {
        tf_cmd_fcall(&cmd, TF_FN_EMIT, c.shard->prefix);
        tf_cmd_str(&cmd, c.shard->worker);

        if (tf_emit_wait(&c, &cmd) == 0) {
            break;
        }

        tf_pulse_try(pulse);
        rc = tf_emit_call(&c, &cmd);
        tf_pool_tried(pulse, rc == 0, c.redis.refused);

        if (rc == 0) {
            streak = 0;
            continue;
        }

        tf_pool_shard_down(c.shard, c.redis.err);
        tf_pool_sleep(c.shard->q, tf_pool_backoff(streak++));
    }

    tf_cmd_free(&cmd);
    tf_redis_close(&c.redis);

    return NULL;
}
