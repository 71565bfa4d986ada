#include "queue/ledger.h"

#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"


#define TF_LEDGER_BLOCK_MS  1000
#define TF_LEDGER_LEAVE_MS  2000


/*
 * What Redis refuses is an error of it: NULL then.  A function library of an
 * earlier release cannot say what is due: everything is, until the next look
 * for what others have left.
 */

static redisReply *
tf_ledger_call(tf_ledger_t *l, int timeout, tf_cmd_t *cmd)
{
    redisReply  *reply;

    reply = tf_redis_call(&l->redis, timeout, cmd);
    tf_cmd_free(cmd);

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return reply;
    }

    if (!l->plain && strstr(reply->str, "Function not found") != NULL) {
        if (!l->said) {
            l->said = 1;
            tf_log(TF_LOG_WARN, "Redis cannot say what of its accept log is "
                   "due: its function library is of an earlier release; run "
                   "\"trifecta migrate\" (shard %u)", l->shard->index);
        }

        l->plain = 1;
        return reply;
    }

    (void) snprintf(l->redis.err, sizeof(l->redis.err), "Redis: %s",
                    reply->str);
    freeReplyObject(reply);
    tf_redis_close(&l->redis);
    l->redis.refused = 1;

    return NULL;
}


static void
tf_ledger_stale_cmd(tf_ledger_t *l, tf_cmd_t *cmd)
{
    l->stale_at = tf_clock_ms() + l->q->conf->lease / 2;
    l->plain = 0;

    tf_cmd_begin(cmd, "XAUTOCLAIM");
    tf_cmd_str(cmd, l->key);
    tf_cmd_str(cmd, TF_GROUP_LEDGER);
    tf_cmd_str(cmd, l->shard->worker);
    tf_cmd_num(cmd, l->q->conf->lease);
    tf_cmd_str(cmd, "0");
    tf_cmd_str(cmd, "COUNT");
    tf_cmd_num(cmd, TF_LEDGER_BATCH);
}


static void
tf_ledger_read_cmd(tf_ledger_t *l, tf_cmd_t *cmd)
{
    tf_cmd_begin(cmd, "XREADGROUP");
    tf_cmd_str(cmd, "GROUP");
    tf_cmd_str(cmd, TF_GROUP_LEDGER);
    tf_cmd_str(cmd, l->shard->worker);
    tf_cmd_str(cmd, "COUNT");
    tf_cmd_num(cmd, TF_LEDGER_BATCH);
    tf_cmd_str(cmd, "STREAMS");
    tf_cmd_str(cmd, l->key);
    tf_cmd_str(cmd, l->again ? "0" : ">");
}


static void
tf_ledger_due_cmd(tf_ledger_t *l, tf_cmd_t *cmd)
{
    tf_cmd_fcall(cmd, TF_FN_DUE, l->shard->prefix);
    tf_cmd_str(cmd, l->shard->worker);
    tf_cmd_num(cmd, TF_LEDGER_BATCH);
    tf_cmd_num(cmd, l->wait);
    tf_cmd_str(cmd, l->from);
}


/*
 * The entries that are to be stored now, in a reply that the caller frees, and
 * whether there will be others soon; NULL: Redis is away.  First come those
 * that were left behind, by others and by ourselves.
 */

static redisReply *
tf_ledger_read(tf_ledger_t *l, redisReply ***entries, size_t *n, int *more)
{
    int          stale, again, plain;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply, *list;

    stale = tf_clock_ms() >= l->stale_at;
    again = l->again;
    plain = l->plain;

    if (stale) {
        tf_ledger_stale_cmd(l, &cmd);

    } else if (again || plain) {
        tf_ledger_read_cmd(l, &cmd);

    } else {
        tf_ledger_due_cmd(l, &cmd);
    }

    *n = 0;
    *more = 1;
    reply = tf_ledger_call(l, 0, &cmd);
    list = NULL;

    if (stale) {
        list = tf_reply_len(reply) > 1 ? reply->element[1] : NULL;

    } else if (again || plain) {
        if (tf_reply_len(reply) > 0 && tf_reply_len(reply->element[0]) > 1) {
            list = reply->element[0]->element[1];
        }

        l->again = again && (reply == NULL || tf_reply_len(list) > 0);

    } else if (tf_reply_len(reply) >= 2) {
        (void) snprintf(l->from, sizeof(l->from), "%s",
                        tf_reply_str(reply, 0));
        *more = tf_reply_num(reply, 1) != 0;
        *n = reply->elements - 2;
        *entries = &reply->element[2];
    }

    if (tf_reply_len(list) > 0) {
        *n = list->elements;
        *entries = list->element;
    }

    return reply;
}


/* TF_PG_OK: they are stored. */

static tf_pg_status_t
tf_ledger_write(tf_ledger_t *l, redisReply *const *entries, unsigned n,
    const char *rows, unsigned ops, tf_pg_columns_t *new)
{
    tf_pg_status_t  rc;

    tf_fault(ledger, gathered);
    rc = new != NULL && new->rows > 0 ? tf_store_new(&l->pg, new) : TF_PG_OK;

    if (rc == TF_PG_OK) {
        rc = tf_store_ledger(&l->pg, rows, ops);
    }

    if (rc == TF_PG_ERROR && new == NULL) {
        tf_log(TF_LOG_ERROR, "accepted job %s cannot be written to the "
               "ledger: %s", tf_ledger_field(entries[0], "id"),
               l->pg.err);
        rc = tf_store_refused_entry(&l->pg, rows);
    }

    if (rc == TF_PG_OK) {
        tf_ledger_born(l, rows, strtoll(tf_reply_str(
                           entries[n - 1], 0), NULL, 10));
        tf_answers_note(&l->q->answers);
        atomic_store(&l->shard->ledgered, tf_clock_ms());
    }

    return rc;
}


/*
 * 0: *n entries are stored and acknowledged, all of them or the first ones
 * that are large together; -1: a store is away, the entries stay.  What the
 * server refuses is stored one by one, each with care.
 */

static int
tf_ledger_store_some(tf_ledger_t *l, redisReply *const *entries, unsigned *n,
    int care)
{
    char             *rows;
    unsigned          i, ops, one;
    tf_cmd_t          cmd = TF_CMD_INIT;
    redisReply       *reply;
    tf_pg_status_t    rc;
    tf_pg_columns_t   new;

    tf_store_new_init(&new);
    rows = tf_ledger_rows(l, entries, n, &ops, care ? NULL : &new);

    if (rows == NULL) {
        tf_pg_columns_free(&new);
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    rc = tf_ledger_write(l, entries, *n, rows, ops, care ? NULL : &new);
    tf_pg_columns_free(&new);
    free(rows);

    if (rc == TF_PG_DOWN) {
        tf_pool_store_down(l->q, l->pg.err);
        return -1;
    }

    if (rc == TF_PG_ERROR && !care) {
        for (i = 0; i < *n; i++) {
            one = 1;

            if (tf_ledger_store_some(l, entries + i, &one, 1) != 0) {
                return -1;
            }
        }
        return 0;
    }

    tf_cmd_fcall(&cmd, TF_FN_LEDGERED, l->shard->prefix);

    for (i = 0; i < *n; i++) {
        tf_cmd_str(&cmd, tf_reply_str(entries[i], 0));
        tf_cmd_str(&cmd, tf_ledger_field(entries[i], "id"));
    }

    reply = tf_ledger_call(l, 0, &cmd);

    if (reply == NULL) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    tf_fault(ledger, answered);
    freeReplyObject(reply);
    (void) atomic_fetch_add(&l->q->counters.ledgered, *n);
    tf_hist_add(&l->q->hist.ledger, &tf_hist_size, (int64_t) *n);

    return 0;
}


static int
tf_ledger_store(tf_ledger_t *l, redisReply *const *entries, size_t n)
{
    unsigned  some;

    for ( ; n > 0; n -= some, entries += some) {
        some = n < TF_LEDGER_BATCH ? (unsigned) n : TF_LEDGER_BATCH;

        if (tf_ledger_store_some(l, entries, &some, 0) != 0) {
            return -1;
        }
    }

    return 0;
}


/* Nothing is to be looked at: until something is.  0 or -1. */

static int
tf_ledger_await(tf_ledger_t *l)
{
    int          ms;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    ms = (int) (l->stale_at - tf_clock_ms());
    ms = ms < TF_LEDGER_BLOCK_MS ? ms : TF_LEDGER_BLOCK_MS;

    if (ms <= 0) {
        return 0;
    }

    tf_cmd_begin(&cmd, "XREAD");
    tf_cmd_str(&cmd, "COUNT");
    tf_cmd_str(&cmd, "1");
    tf_cmd_str(&cmd, "BLOCK");
    tf_cmd_num(&cmd, ms);
    tf_cmd_str(&cmd, "STREAMS");
    tf_cmd_str(&cmd, l->key);
    tf_cmd_str(&cmd, l->from);

    reply = tf_ledger_call(l, ms + TF_REDIS_COMMAND_MS, &cmd);

    if (reply == NULL) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    freeReplyObject(reply);

    return 0;
}


/*
 * What is due is stored: *n entries, and whether there are more; 0, or -1: a
 * store is away.
 */

static int
tf_ledger_due(tf_ledger_t *l, size_t *n, int *more)
{
    int          rc;
    redisReply  *root, **entries;

    entries = NULL;
    root = tf_ledger_read(l, &entries, n, more);

    if (root == NULL) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    rc = 0;

    if (*n > 0) {
        tf_fault(ledger, read);
        rc = tf_ledger_store(l, entries, *n);
    }

    freeReplyObject(root);

    return rc;
}


/* One step, and the rest until the next; 0 or -1. */

static int
tf_ledger_step(tf_ledger_t *l)
{
    int     more;
    size_t  n;

    if (tf_ledger_due(l, &n, &more) != 0) {
        return -1;
    }

    if (n == 0 && tf_pool_silent(l->q) && tf_pool_ping(l->q, &l->pg) != 0) {
        return -1;
    }

    if (!more && tf_ledger_await(l) != 0) {
        return -1;
    }

    if (n < TF_LEDGER_BATCH) {
        tf_pool_sleep(l->q, TF_LEDGER_REST_MS);
    }

    return 0;
}


/* What waits when this process leaves may find nobody else for a while. */

static void
tf_ledger_leave(tf_ledger_t *l)
{
    int      down, more;
    size_t   n;
    int64_t  until;

    (void) pthread_mutex_lock(&l->q->mutex);
    down = l->q->store_down || l->shard->down || !l->shard->named;
    (void) pthread_mutex_unlock(&l->q->mutex);

    l->wait = 0;
    l->stale_at = INT64_MAX;
    until = tf_clock_ms() + TF_LEDGER_LEAVE_MS;

    while (!down && tf_clock_ms() < until) {
        down = tf_ledger_due(l, &n, &more) != 0 || n == 0;
    }
}


void *
tf_pool_ledger(void *data)
{
    int           rc;
    unsigned      streak;
    tf_queue_t   *q;
    tf_ledger_t   l;

    memset(&l, 0, sizeof(l));
    l.shard = data;
    q = l.q = l.shard->q;
    tf_pool_redis(l.shard, &l.redis);
    tf_store_init(&l.pg, q->conf);
    (void) snprintf(l.key, sizeof(l.key), "%s:acc", l.shard->prefix);
    l.wait = TF_LEDGER_WAIT_MS;
    streak = 0;

    while (tf_pool_named(l.shard) == 0 && !tf_pool_over(q)) {
        tf_pulse_try(&l.shard->pulses[TF_POOL_STEP_ledger]);
        l.pg.sqlstate[0] = '\0';

        rc = tf_ledger_step(&l);

        tf_pool_tried(&l.shard->pulses[TF_POOL_STEP_ledger], rc == 0,
                      l.redis.refused || l.pg.sqlstate[0] != '\0');

        if (rc != 0) {
            l.again = 1;
            tf_pool_sleep(q, tf_pool_backoff(streak++));

        } else {
            streak = 0;
        }
    }

    tf_ledger_leave(&l);
    tf_redis_close(&l.redis);
    tf_pg_close(&l.pg);

    return NULL;
}
