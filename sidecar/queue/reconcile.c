#include "queue/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>
#include <trifecta/fault.h>

#include "base/clock.h"
#include "queue/follow.h"


#define TF_RECONCILE_OVERDUE  3600000   /* ms past its deadline */
#define TF_RECONCILE_PAUSE    10        /* ms between two batches, at least */
#define TF_RECONCILE_LATE     10        /* looks at the accept log, 100 ms */

enum {
    TF_RECONCILE_IDLE,
    TF_RECONCILE_KEYS,
    TF_RECONCILE_ROWS,
    TF_RECONCILE_LIVE,
    TF_RECONCILE_STRAYS
};


static int
tf_reconcile_failed(tf_keeper_t *k)
{
    return tf_keeper_fail(k, "%s", k->compare.err);
}


/* The next round is due after "ms", less a random part of it. */

static void
tf_reconcile_next(tf_keeper_t *k, int64_t ms)
{
    unsigned  rnd;

    if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) == 1) {
        ms -= (int64_t) (rnd % 1000) * ms / 4000;
    }

    k->reconcile.due = tf_clock_ms() + ms;
}


void
tf_reconcile_stop(tf_keeper_t *k)
{
    tf_compare_scan_free(&k->reconcile.scan);
    k->reconcile.scan.cursor[0] = '\0';

    if (k->reconcile.phase != TF_RECONCILE_IDLE) {
        k->reconcile.phase = TF_RECONCILE_IDLE;
        tf_keeper_unlock(k);
    }
}


static void
tf_reconcile_phase(tf_keeper_t *k, int phase)
{
    k->reconcile.phase = phase;
    k->reconcile.rank = 0;
    k->reconcile.scan.cursor[0] = '\0';
    memcpy(k->reconcile.after, TF_COMPARE_FIRST, sizeof(k->reconcile.after));
}


static void
tf_reconcile_jobs(tf_keeper_t *k)
{
    tf_compare_counts(&k->reconcile.before, &k->stats->reconciled);
    tf_reconcile_phase(k, TF_RECONCILE_ROWS);
}


/* 1: begun, 0: somebody else does it or just did, -1. */

static int
tf_reconcile_begin(tf_keeper_t *k)
{
    int  rc;

    rc = tf_keeper_lock(k);
    if (rc != 1) {
        return rc;
    }

    rc = tf_keeper_mark(k, k->reconcile.at_once ? 0
                                                : k->conf->reconcile / 2);
    if (rc != 1) {
        tf_keeper_unlock(k);
        return rc;
    }

    k->reconcile.at_once = 0;
    tf_fault(reconcile, begun);

    rc = tf_follow_begin(k);
    if (rc == -1) {
        tf_keeper_unlock(k);
        return -1;
    }

    if (rc == 1) {
        tf_reconcile_phase(k, TF_RECONCILE_KEYS);

    } else {
        tf_reconcile_jobs(k);
    }

    return 1;
}


static void
tf_reconcile_end(tf_keeper_t *k)
{
    char  done[512];

    tf_reconcile_stop(k);
    (void) atomic_fetch_add(&k->stats->rounds, 1);
    tf_reconcile_next(k, k->conf->reconcile);

    if (tf_compare_report(&k->reconcile.before, &k->stats->reconciled, done,
                          sizeof(done))
        > 0)
    {
        tf_keeper_say(k, TF_LOG_WARN, "the stores did not agree about single "
                      "jobs%s", done);
    }
}


/* Redis' clock, ms; -1 */

static int64_t
tf_reconcile_now(tf_keeper_t *k)
{
    int64_t      now;
    redisReply  *reply;

    reply = tf_redis_command(&k->redis, 0, "TIME", NULL);
    now = tf_reply_num(reply, 0) * 1000 + tf_reply_num(reply, 1) / 1000;

    return tf_compare_done(&k->compare, reply) == 0 ? now : -1;
}


/*
 * Whether the accept log has been written up to that time: 1, 0 when it is
 * late and stays so for a while, -1.
 */

static int
tf_reconcile_written(tf_keeper_t *k, int64_t ms)
{
    int          i;
    char         key[TF_KEY_PREFIX_MAX + 8];
    int64_t      first;
    redisReply  *reply;

    (void) snprintf(key, sizeof(key), "%s:acc", k->prefix);

    for (i = 0; i < TF_RECONCILE_LATE && !tf_keeper_over(k); i++) {

        if (i > 0) {
            tf_keeper_sleep(k, 100);
        }

        reply = tf_redis_command(&k->redis, 0, "XRANGE", key, "-", "+",
                                 "COUNT", "1", NULL);
        first = 0;

        if (tf_reply_len(reply) > 0) {
            first = strtoll(tf_reply_str(reply->element[0], 0), NULL, 10);
        }

        if (tf_compare_done(&k->compare, reply) != 0) {
            return -1;
        }

        if (first == 0 || first > ms) {
            return 1;
        }
    }

    return 0;
}


/* The rows once more, when nothing that Redis knew can be on its way. */

static int
tf_reconcile_sure(tf_keeper_t *k, int64_t ms)
{
    int  rc;

    rc = tf_reconcile_written(k, ms);

    if (rc == 1 && tf_compare_rows(&k->compare, &k->items) != 0) {
        rc = -1;
    }

    return rc;
}


static int
tf_reconcile_rows(tf_keeper_t *k)
{
    int          rc;
    int64_t      now;
    unsigned     i, doubts;
    tf_item_t   *item;
    tf_items_t  *items;

    items = &k->items;

    now = tf_reconcile_now(k);
    if (now == -1) {
        return -1;
    }

    if (tf_compare_open(&k->compare, items, k->reconcile.after,
                        now - k->conf->lease, now - TF_RECONCILE_OVERDUE)
        != 0)
    {
        return -1;
    }

    if (items->n == 0) {
        tf_fault(reconcile, rows);
        tf_reconcile_phase(k, TF_RECONCILE_LIVE);
        return 0;
    }

    memcpy(k->reconcile.after, items->list[items->n - 1].id,
           sizeof(k->reconcile.after));

    now = tf_reconcile_now(k);

    if (now == -1 || tf_compare_redis(&k->compare, items) != 0) {
        return -1;
    }

    doubts = 0;

    for (i = 0; i < items->n; i++) {
        item = &items->list[i];

        if (item->overdue && (item->redis == TF_JOB_NSTATES
                              || item->redis == TF_JOB_QUEUED))
        {
            item->act = TF_ACT_EXPIRE;

        } else if (item->redis == TF_JOB_NSTATES
                   || (tf_item_open(item->redis) && !item->sound))
        {
            item->act = TF_ACT_RESTORE;

        } else if (tf_item_ended(item->redis)) {
            doubts++;
        }
    }

    if (doubts) {
        rc = tf_reconcile_sure(k, now);
        if (rc == -1) {
            return -1;
        }

        for (i = 0; i < items->n && rc == 1; i++) {
            item = &items->list[i];

            if (tf_item_ended(item->redis) && tf_item_open(item->row)
                && item->act == TF_ACT_NONE)
            {
                item->act = item->redis == TF_JOB_SUCCEEDED && !item->deleted
                            ? TF_ACT_RERUN : TF_ACT_RELOG;
            }
        }
    }

    return tf_compare_apply(&k->compare, items);
}


static int
tf_reconcile_live(tf_keeper_t *k)
{
    int          rc;
    int64_t      now;
    unsigned     i, kept, doubts;
    tf_item_t   *item;
    tf_items_t  *items;

    items = &k->items;

    now = tf_reconcile_now(k);
    if (now == -1) {
        return -1;
    }

    rc = tf_compare_live(&k->compare, items, &k->reconcile.scan);

    if (rc != 1) {
        if (rc == 0) {
            tf_fault(reconcile, live);
            tf_reconcile_phase(k, TF_RECONCILE_STRAYS);
        }
        return rc;
    }

    /* a young one is left to those who are at work with it */

    for (i = 0, kept = 0; i < items->n; i++) {
        if (items->list[i].acc < now - k->conf->lease) {
            items->list[kept++] = items->list[i];
        }
    }

    items->n = kept;

    if (tf_compare_rows(&k->compare, items) != 0) {
        return -1;
    }

    doubts = 0;

    for (i = 0; i < items->n; i++) {
        item = &items->list[i];

        if (tf_item_ended(item->row)) {
            item->act = TF_ACT_SETTLE;

        } else if (item->row == TF_JOB_NSTATES) {
            doubts++;
        }
    }

    if (doubts) {
        rc = tf_reconcile_sure(k, now);
        if (rc == -1) {
            return -1;
        }

        for (i = 0; i < items->n && rc == 1; i++) {
            item = &items->list[i];

            if (item->row == TF_JOB_NSTATES) {
                item->act = TF_ACT_RELOG;
            }
        }
    }

    return tf_compare_apply(&k->compare, items);
}


/* What Redis calls open, of so many from this rank, and is not sound. */

static int
tf_reconcile_find(tf_keeper_t *k)
{
    size_t       i;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_item_t   *item;
    redisReply  *reply;

    k->items.n = 0;

    tf_cmd_begin(&cmd, "FCALL_RO");
    tf_cmd_str(&cmd, TF_FN_STRAYS);
    tf_cmd_str(&cmd, "1");
    tf_cmd_str(&cmd, k->prefix);
    tf_cmd_num(&cmd, k->reconcile.rank);
    tf_cmd_num(&cmd, TF_COMPARE_MAX);
    reply = tf_redis_call(&k->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    for (i = 0; i < tf_reply_len(reply) && i < TF_COMPARE_MAX; i++) {
        if (!tf_compare_is_id(tf_reply_str(reply, i))) {
            continue;
        }

        item = &k->items.list[k->items.n++];
        memset(item, 0, sizeof(tf_item_t));
        (void) snprintf(item->id, sizeof(item->id), "%s",
                        tf_reply_str(reply, i));
    }

    return tf_compare_done(&k->compare, reply);
}


static int
tf_reconcile_strays(tf_keeper_t *k)
{
    int          rc;
    char         key[TF_KEY_PREFIX_MAX + 8];
    int64_t      now;
    unsigned     i;
    tf_item_t   *item;
    tf_items_t  *items;
    redisReply  *reply;

    items = &k->items;
    (void) snprintf(key, sizeof(key), "%s:live", k->prefix);

    reply = tf_redis_command(&k->redis, 0, "ZCARD", key, NULL);
    now = reply != NULL && reply->type == REDIS_REPLY_INTEGER
          ? reply->integer : 0;

    if (tf_compare_done(&k->compare, reply) != 0) {
        return -1;
    }

    if (k->reconcile.rank >= now) {
        tf_fault(reconcile, strays);
        tf_reconcile_end(k);
        return 0;
    }

    if (tf_reconcile_find(k) != 0) {
        return -1;
    }

    k->reconcile.rank += TF_COMPARE_MAX;

    if (items->n == 0) {
        return 0;
    }

    now = tf_reconcile_now(k);

    if (now == -1 || tf_compare_redis(&k->compare, items) != 0) {
        return -1;
    }

    rc = tf_reconcile_sure(k, now);
    if (rc != 1) {
        return rc;
    }

    for (i = 0; i < items->n; i++) {
        item = &items->list[i];

        tf_keeper_say(k, TF_LOG_ERROR, "what Redis holds of open job %s is "
                      "damaged (%s): %s", item->id,
                      item->redis == TF_JOB_NSTATES ? "no hash"
                      : tf_item_ended(item->redis) ? "it has ended"
                      : "not sound",
                      tf_item_open(item->row)
                      ? "it comes back from its row"
                      : item->row == TF_JOB_NSTATES
                        ? "it has no row either, and is dropped"
                        : "it has ended in PostgreSQL, and is dropped");

        item->act = tf_item_open(item->row) ? TF_ACT_RERUN : TF_ACT_DROP;
    }

    return tf_compare_apply(&k->compare, items);
}


int
tf_reconcile_step(tf_keeper_t *k, int most)
{
    int      rc;
    int64_t  began;

    began = tf_clock_ms();

    switch (k->reconcile.phase) {

    case TF_RECONCILE_IDLE:
        if (began < k->reconcile.due && !k->reconcile.at_once) {
            return k->reconcile.due - began < most
                   ? (int) (k->reconcile.due - began) : most;
        }

        rc = tf_reconcile_begin(k);

        if (rc == 0) {
            tf_reconcile_next(k, k->conf->reconcile / 2);
        }
        break;

    case TF_RECONCILE_KEYS:
        rc = tf_follow_step(k);

        if (rc == 0) {
            tf_reconcile_jobs(k);
        }
        break;

    case TF_RECONCILE_ROWS:
        rc = tf_reconcile_rows(k);
        break;

    case TF_RECONCILE_LIVE:
        rc = tf_reconcile_live(k);
        break;

    default: /* TF_RECONCILE_STRAYS */
        rc = tf_reconcile_strays(k);
        break;
    }

    if (rc == -1) {
        if (k->reconcile.phase > TF_RECONCILE_KEYS) {
            (void) tf_reconcile_failed(k);
        }

        tf_reconcile_stop(k);
        tf_reconcile_next(k, k->conf->reconcile);
        return -1;
    }

    /* as long as it took, so that half of the time belongs to the others */

    began = tf_clock_ms() - began;

    return began < TF_RECONCILE_PAUSE ? TF_RECONCILE_PAUSE
           : began < most ? (int) began : most;
}
