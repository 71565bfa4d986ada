#include "queue/ledger.h"

#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"


#define TF_LEDGER_BLOCK_MS  1000


/* What Redis refuses is an error of it: NULL then. */

static redisReply *
tf_ledger_call(tf_ledger_t *l, int timeout, tf_cmd_t *cmd)
{
    redisReply  *reply;

    reply = tf_redis_call(&l->redis, timeout, cmd);
    tf_cmd_free(cmd);

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(l->redis.err, sizeof(l->redis.err), "Redis: %s",
                        reply->str);
        freeReplyObject(reply);
        tf_redis_close(&l->redis);
        l->redis.refused = 1;
        reply = NULL;
    }

    return reply;
}


/*
 * Entries as XREADGROUP or XAUTOCLAIM list them; the caller frees root.  Those
 * that are not new, but were left behind, do not wait any longer.
 */

static redisReply *
tf_ledger_read(tf_ledger_t *l, redisReply **root, int *old)
{
    int          stale, again;
    int64_t      block;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    stale = tf_clock_ms() >= l->stale_at;
    again = l->again;

    if (stale) {
        l->stale_at = tf_clock_ms() + l->q->conf->lease / 2;
        tf_cmd_begin(&cmd, "XAUTOCLAIM");
        tf_cmd_str(&cmd, l->key);
        tf_cmd_str(&cmd, TF_GROUP_LEDGER);
        tf_cmd_str(&cmd, l->shard->worker);
        tf_cmd_num(&cmd, l->q->conf->lease);
        tf_cmd_str(&cmd, "0");
        tf_cmd_str(&cmd, "COUNT");
        tf_cmd_num(&cmd, TF_LEDGER_BATCH);

    } else {
        block = l->n ? l->due - tf_clock_ms() : TF_LEDGER_BLOCK_MS;

        tf_cmd_begin(&cmd, "XREADGROUP");
        tf_cmd_str(&cmd, "GROUP");
        tf_cmd_str(&cmd, TF_GROUP_LEDGER);
        tf_cmd_str(&cmd, l->shard->worker);
        tf_cmd_str(&cmd, "COUNT");
        tf_cmd_num(&cmd, TF_LEDGER_BATCH - l->n);
        tf_cmd_str(&cmd, "BLOCK");
        tf_cmd_num(&cmd, block > 0 ? block : 1);
        tf_cmd_str(&cmd, "STREAMS");
        tf_cmd_str(&cmd, l->key);
        tf_cmd_str(&cmd, again ? "0" : ">");
    }

    *old = stale || again;
    *root = reply = tf_ledger_call(l, TF_LEDGER_BLOCK_MS
                                   + TF_REDIS_COMMAND_MS, &cmd);

    if (stale) {
        return tf_reply_len(reply) > 1 ? reply->element[1] : NULL;
    }

    if (tf_reply_len(reply) == 0 || tf_reply_len(reply->element[0]) < 2) {
        return NULL;
    }

    if (tf_reply_len(reply->element[0]->element[1]) == 0) {
        l->again = 0;
    }

    return reply->element[0]->element[1];
}


/* Nothing waits any more: it is acknowledged, or comes again. */

static void
tf_ledger_forget(tf_ledger_t *l)
{
    unsigned  i;

    for (i = 0; i < l->n; i++) {
        freeReplyObject(l->entries[i].brief);
    }

    for (i = 0; i < l->nroots; i++) {
        freeReplyObject(l->roots[i]);
    }

    l->n = 0;
    l->nroots = 0;
}


/* Whether the row says what Redis does, of what is in "brief". */

static int
tf_ledger_same(const redisReply *brief, PGresult *res, int row)
{
    int     i;
    size_t  len;

    for (i = 1; i <= 3; i++) {
        len = brief->element[i]->type == REDIS_REPLY_STRING
              ? brief->element[i]->len : 0;

        if (len != (size_t) PQgetlength(res, row, i)
            || (len > 0 && memcmp(brief->element[i]->str,
                                  PQgetvalue(res, row, i), len) != 0))
        {
            return 0;
        }
    }

    return 1;
}


/* Which of the new jobs have their row already; TF_PG_OK or TF_PG_DOWN. */

static tf_pg_status_t
tf_ledger_known(tf_ledger_t *l, tf_ledger_entry_t *entries, unsigned n)
{
    int          r, nrows;
    unsigned     i, k, nids, at[TF_LEDGER_BATCH];
    PGresult    *res;
    const char  *ids[TF_LEDGER_BATCH];

    nids = 0;

    for (i = 0; i < n; i++) {
        entries[i].known = 0;

        if (entries[i].brief != NULL
            && tf_reply_len(entries[i].brief) == 4)
        {
            ids[nids] = tf_ledger_field(entries[i].entry, "id");
            at[nids++] = i;
        }
    }

    if (nids == 0) {
        return TF_PG_OK;
    }

    if (tf_store_known(&l->pg, &res, ids, nids) != TF_PG_OK) {
        return TF_PG_DOWN;
    }

    /* both come in the order of time, or nearly so */

    nrows = PQntuples(res);

    for (r = 0, k = 0; r < nrows; r++) {
        for (i = 0; i < nids; i++, k++) {
            if (strcmp(ids[k % nids], PQgetvalue(res, r, 0)) == 0) {
                break;
            }
        }

        if (i < nids) {
            k %= nids;
            entries[at[k]].known = tf_ledger_same(entries[at[k]].brief, res,
                                                  r);
            k++;
        }
    }

    PQclear(res);

    return TF_PG_OK;
}


/* TF_PG_OK: they are stored. */

static tf_pg_status_t
tf_ledger_write(tf_ledger_t *l, tf_ledger_entry_t *entries, unsigned n,
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
               "ledger: %s", tf_ledger_field(entries[0].entry, "id"),
               l->pg.err);
        rc = tf_store_refused_entry(&l->pg, rows);
    }

    if (rc == TF_PG_OK) {
        tf_ledger_born(l, rows, strtoll(tf_reply_str(
                           entries[n - 1].entry, 0), NULL, 10));
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
tf_ledger_store_some(tf_ledger_t *l, tf_ledger_entry_t *entries, unsigned *n,
    int care)
{
    char             *rows;
    unsigned          i, ops, one;
    tf_cmd_t          cmd = TF_CMD_INIT;
    redisReply       *reply;
    tf_pg_status_t    rc;
    tf_pg_columns_t   new;

    rc = tf_ledger_known(l, entries, *n);

    if (rc == TF_PG_OK) {
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
    }

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
        tf_cmd_str(&cmd, tf_reply_str(entries[i].entry, 0));
        tf_cmd_str(&cmd, tf_ledger_field(entries[i].entry, "id"));
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
tf_ledger_store(tf_ledger_t *l, tf_ledger_entry_t *entries, unsigned n)
{
    unsigned  some;

    for ( ; n > 0; n -= some, entries += some) {
        some = n;

        if (tf_ledger_store_some(l, entries, &some, 0) != 0) {
            return -1;
        }
    }

    return 0;
}


/* Reads what there is, or waits for it; 0, or -1: Redis is away. */

static int
tf_ledger_gather(tf_ledger_t *l)
{
    int                 old, waits;
    size_t              i, n;
    redisReply         *root, *read;
    tf_ledger_entry_t  *entries;

    read = tf_ledger_read(l, &root, &old);
    n = tf_reply_len(read);

    if (root == NULL) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    if (n == 0) {
        freeReplyObject(root);
        return 0;
    }

    tf_fault(ledger, read);
    entries = &l->entries[l->n];

    if (n > TF_LEDGER_BATCH - l->n) {
        n = TF_LEDGER_BATCH - l->n;
    }

    if (l->n == 0) {
        l->due = tf_clock_ms() + TF_LEDGER_WAIT_MS;
    }

    for (i = 0; i < n; i++) {
        entries[i].entry = read->element[i];
        entries[i].brief = NULL;
    }

    l->n += (unsigned) n;
    l->roots[l->nroots++] = root;
    waits = tf_ledger_brief(l, entries, (unsigned) n);

    if (waits == -1) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    if (old || waits) {
        l->due = 0;
    }

    return 0;
}


/* One step: gathers, and stores what has waited long enough; 0 or -1. */

static int
tf_ledger_step(tf_ledger_t *l)
{
    int  rc;

    if (l->n > 0 && tf_clock_ms() >= l->stale_at) {
        /* or our own would be read once more, as those of somebody lost */
        l->due = 0;

    } else if (tf_ledger_gather(l) != 0) {
        return -1;
    }

    if (l->n == 0) {
        return tf_pool_silent(l->q) ? tf_pool_ping(l->q, &l->pg) : 0;
    }

    if (l->n < TF_LEDGER_BATCH && tf_clock_ms() < l->due) {
        tf_pool_sleep(l->q, TF_LEDGER_REST_MS);
        return 0;
    }

    rc = tf_ledger_store(l, l->entries, l->n);

    if (rc == 0) {
        tf_ledger_forget(l);
    }

    return rc;
}


/* What waits when this process leaves: somebody else writes it, in a while. */

static void
tf_ledger_leave(tf_ledger_t *l)
{
    int  down;

    (void) pthread_mutex_lock(&l->q->mutex);
    down = l->q->store_down || l->shard->down;
    (void) pthread_mutex_unlock(&l->q->mutex);

    if (l->n > 0 && !down) {
        (void) tf_ledger_store(l, l->entries, l->n);
    }

    tf_ledger_forget(l);
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
    streak = 0;

    while (tf_pool_named(l.shard) == 0 && !tf_pool_over(q)) {
        tf_pulse_try(&l.shard->pulses[TF_POOL_STEP_ledger]);
        l.pg.sqlstate[0] = '\0';

        rc = tf_ledger_step(&l);

        tf_pool_tried(&l.shard->pulses[TF_POOL_STEP_ledger], rc == 0,
                      l.redis.refused || l.pg.sqlstate[0] != '\0');

        if (rc != 0) {
            tf_ledger_forget(&l);
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
