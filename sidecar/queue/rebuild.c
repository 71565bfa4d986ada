#include "queue/rebuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "queue/follow.h"


/*
 * How long before its last mark a Redis is compared again: more than the
 * clocks of nginx, Redis and PostgreSQL may differ.
 */
#define TF_REBUILD_SLACK  10800000
#define TF_REBUILD_SAY    5000      /* ms between two lines of progress */

typedef struct {
    tf_keeper_t   *k;
    const char    *why;
    char           epoch[24];
    int            forgot;          /* PostgreSQL went back, or is another */
    int64_t        began;
    int64_t        say;
    unsigned long  seen;
    char           since[TF_ID_TEXT_LEN + 1];   /* rows of before are known */
} tf_rebuilder_t;


/* After each batch: progress, and whether to go on. */

static int
tf_rebuild_pause(tf_rebuilder_t *r, const char *what)
{
    r->seen += r->k->items.n;
    tf_keeper_beat(r->k);

    if (tf_keeper_over(r->k)) {
        return tf_keeper_fail(r->k, "leaving in the middle of a rebuild");
    }

    if (tf_clock_ms() >= r->say) {
        r->say = tf_clock_ms() + TF_REBUILD_SAY;
        tf_keeper_say(r->k, TF_LOG_INFO, "rebuilding, epoch %s: %s, %lu "
                      "compared", r->epoch, what, r->seen);
    }

    return 0;
}


static int
tf_rebuild_begin(tf_rebuilder_t *r)
{
    int           rc;
    char          shard[12], above[24];
    tf_cmd_t      cmd = TF_CMD_INIT;
    PGresult     *res;
    redisReply   *reply;
    tf_keeper_t  *k;
    const char   *params[2];

    k = r->k;
    (void) snprintf(shard, sizeof(shard), "%u", k->shard);
    (void) snprintf(above, sizeof(above), "%lld", (long long) k->look.epoch);
    params[0] = shard;
    params[1] = above;

    if (tf_pg_query(&k->pg, &res, 0,
                    "SELECT trifecta.next_epoch($1::integer, $2::bigint)", 2,
                    params)
        != TF_PG_OK)
    {
        return tf_keeper_fail(k, "PostgreSQL gives no epoch: %s", k->pg.err);
    }

    (void) snprintf(r->epoch, sizeof(r->epoch), "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    tf_fault(rebuild, numbered);

    tf_keeper_say(k, TF_LOG_WARN, "rebuilding the queue, epoch %s: %s",
                  r->epoch, r->why);

    tf_cmd_fcall(&cmd, TF_FN_REBUILD, k->prefix);
    tf_cmd_str(&cmd, r->epoch);
    reply = tf_redis_call(&k->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    rc = strcmp(tf_reply_str(reply, 0), "OK");

    if (tf_compare_done(&k->compare, reply) != 0) {
        return tf_keeper_fail(k, "%s", k->compare.err);
    }

    if (rc != 0) {
        return tf_keeper_fail(k, "somebody else began an epoch meanwhile");
    }

    return 0;
}


/*
 * Open rows.  If PostgreSQL forgot how a job ended, Redis may know: what had
 * failed or was stopped is told to the accept log; what had succeeded has
 * lost its result and runs again.
 */

static int
tf_rebuild_rows(tf_rebuilder_t *r)
{
    char          after[TF_ID_TEXT_LEN + 1];
    unsigned      i;
    tf_item_t    *item;
    tf_items_t   *items;
    tf_keeper_t  *k;

    k = r->k;
    items = &k->items;
    memcpy(after, r->since, sizeof(after));

    for ( ;; ) {
        if (tf_compare_open(&k->compare, items, after, 0, 0) != 0
            || tf_compare_redis(&k->compare, items) != 0)
        {
            return tf_keeper_fail(k, "%s", k->compare.err);
        }

        if (items->n == 0) {
            return 0;
        }

        memcpy(after, items->list[items->n - 1].id, sizeof(after));

        for (i = 0; i < items->n; i++) {
            item = &items->list[i];

            if (item->redis == TF_JOB_NSTATES
                || (tf_item_open(item->redis) && !item->sound))
            {
                item->act = TF_ACT_RESTORE;

            } else if (r->forgot && tf_item_ended(item->redis)) {
                item->act = item->redis == TF_JOB_SUCCEEDED && !item->deleted
                            ? TF_ACT_RERUN : TF_ACT_RELOG;
            }
        }

        if (tf_compare_apply(&k->compare, items) != 0) {
            return tf_keeper_fail(k, "%s", k->compare.err);
        }

        if (tf_rebuild_pause(r, "open rows") != 0) {
            return -1;
        }
    }
}


/* Open jobs of Redis. */

static int
tf_rebuild_live(tf_rebuilder_t *r)
{
    int                 rc;
    unsigned            i;
    tf_item_t          *item;
    tf_keeper_t        *k;
    tf_compare_scan_t   scan;

    k = r->k;
    memset(&scan, 0, sizeof(scan));

    while ((rc = tf_compare_live(&k->compare, &k->items, &scan)) == 1) {

        if (tf_compare_rows(&k->compare, &k->items) != 0) {
            rc = -1;
            break;
        }

        for (i = 0; i < k->items.n; i++) {
            item = &k->items.list[i];

            if (tf_item_ended(item->row)) {
                /* of a deleted one nothing stays: polls ask PostgreSQL */
                item->act = item->erased ? TF_ACT_DROP : TF_ACT_SETTLE;

            } else if (r->forgot && item->row == TF_JOB_NSTATES) {
                item->act = TF_ACT_RELOG;
            }
        }

        if (tf_compare_apply(&k->compare, &k->items) != 0) {
            rc = -1;
            break;
        }

        if (tf_rebuild_pause(r, "open jobs") != 0) {
            tf_compare_scan_free(&scan);
            return -1;
        }
    }

    tf_compare_scan_free(&scan);

    return rc == 0 ? 0 : tf_keeper_fail(k, "%s", k->compare.err);
}


/*
 * Jobs that have ended in Redis, within the last hour, and that PostgreSQL
 * has forgotten altogether.  (Those whose row is open were seen above.)
 */

static int
tf_rebuild_ended(tf_rebuilder_t *r)
{
    int                 rc;
    unsigned            i;
    tf_item_t          *item;
    tf_keeper_t        *k;
    tf_compare_scan_t   scan;

    if (!r->forgot) {
        return 0;
    }

    k = r->k;
    memset(&scan, 0, sizeof(scan));

    while ((rc = tf_compare_hashes(&k->compare, &k->items, &scan)) == 1) {

        if (tf_compare_redis(&k->compare, &k->items) != 0
            || tf_compare_rows(&k->compare, &k->items) != 0)
        {
            rc = -1;
            break;
        }

        for (i = 0; i < k->items.n; i++) {
            item = &k->items.list[i];

            if (!tf_item_ended(item->redis)) {
                continue;
            }

            if (item->deleted) {
                item->act = TF_ACT_RELOG;

            } else if (item->row == TF_JOB_NSTATES) {
                item->act = item->redis == TF_JOB_SUCCEEDED ? TF_ACT_FORGET
                                                            : TF_ACT_RELOG;
            }
        }

        if (tf_compare_apply(&k->compare, &k->items) != 0) {
            rc = -1;
            break;
        }

        if (tf_rebuild_pause(r, "ended jobs") != 0) {
            tf_compare_scan_free(&scan);
            return -1;
        }
    }

    tf_compare_scan_free(&scan);

    return rc == 0 ? 0 : tf_keeper_fail(k, "%s", k->compare.err);
}


static int
tf_rebuild_idem(tf_rebuilder_t *r)
{
    int           rc;
    tf_keeper_t  *k;

    k = r->k;
    k->items.n = 0;

    rc = tf_follow_rebuild(k, r->since);

    while (rc == 1) {
        rc = tf_follow_next(k);

        if (rc != -1 && tf_rebuild_pause(r, "idempotency keys") != 0) {
            return -1;
        }
    }

    return rc == 0 ? tf_follow_rebuilt(k) : -1;
}


static int
tf_rebuild_adopt(tf_rebuilder_t *r)
{
    int           rc;
    tf_cmd_t      cmd = TF_CMD_INIT;
    redisReply   *reply;
    tf_keeper_t  *k;

    k = r->k;

    /* the one in Redis may be of a time that PostgreSQL has forgotten */

    if (tf_keeper_mark(k, 0) < 0) {
        return -1;
    }

    tf_fault(rebuild, marked);

    tf_cmd_fcall(&cmd, TF_FN_ADOPT, k->prefix);
    tf_cmd_str(&cmd, k->look.identity);
    tf_cmd_str(&cmd, k->look.pg_store);
    tf_cmd_str(&cmd, r->epoch);
    reply = tf_redis_call(&k->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    rc = strcmp(tf_reply_str(reply, 0), "OK");

    if (tf_compare_done(&k->compare, reply) != 0) {
        return tf_keeper_fail(k, "%s", k->compare.err);
    }

    if (rc != 0) {
        return tf_keeper_fail(k, "Redis was emptied during the rebuild, or "
                              "somebody else began an epoch");
    }

    return 0;
}


static int
tf_rebuild_run(tf_rebuilder_t *r)
{
    char                  done[512];
    tf_keeper_t          *k;
    tf_compare_counts_t   before;

    k = r->k;
    tf_compare_counts(&before, &k->stats->reconciled);

    r->began = tf_clock_ms();
    r->say = r->began + TF_REBUILD_SAY;
    r->forgot = tf_look_store_changed(&k->look);
    memcpy(r->since, TF_COMPARE_FIRST, sizeof(r->since));

    if (!r->forgot && k->look.epoch && k->look.marked) {
        tf_compare_id_at(r->since, k->look.marked - TF_REBUILD_SLACK);
    }

    /* what runs in a Redis that went back may be long over */

    k->compare.older = 1;

    if (tf_rebuild_begin(r) != 0) {
        return -1;
    }

    tf_fault(rebuild, begun);

    if (tf_rebuild_rows(r) != 0) {
        return -1;
    }

    tf_fault(rebuild, restored);

    if (tf_rebuild_live(r) != 0) {
        return -1;
    }

    tf_fault(rebuild, settled);

    if (tf_rebuild_ended(r) != 0) {
        return -1;
    }

    tf_fault(rebuild, forgotten);

    if (tf_rebuild_idem(r) != 0) {
        return -1;
    }

    tf_fault(rebuild, keyed);

    if (tf_rebuild_adopt(r) != 0) {
        return -1;
    }

    tf_fault(rebuild, adopted);

    (void) tf_compare_report(&before, &k->stats->reconciled, done,
                             sizeof(done));

    tf_keeper_say(r->k, TF_LOG_WARN, "started epoch %s of the queue: %lu "
                  "compared%s, in %.1f s", r->epoch, r->seen, done,
                  (double) (tf_clock_ms() - r->began) / 1000);

    return 0;
}


tf_rebuild_t
tf_rebuild(tf_keeper_t *k)
{
    tf_rebuild_t    rc;
    tf_rebuilder_t  r;

    switch (tf_keeper_lock(k)) {

    case 0:
        return TF_REBUILD_BUSY;

    case -1:
        return TF_REBUILD_FAILED;
    }

    memset(&r, 0, sizeof(r));
    r.k = k;
    rc = TF_REBUILD_FAILED;

    /* somebody else may have had the lock, and have done it */

    if (tf_keeper_look(k) != 0) {
        goto done;
    }

    if (tf_look_verdict(&k->look, &r.why) != TF_LOOK_REBUILD) {
        rc = TF_REBUILD_NEEDLESS;
        goto done;
    }

    if (tf_rebuild_run(&r) == 0) {
        (void) atomic_fetch_add(&k->stats->rebuilds, 1);
        k->reconcile.at_once = 1;
        rc = TF_REBUILD_DONE;

    } else {
        /* the next one begins with connections of its own */

        tf_redis_close(&k->redis);
        tf_pg_close(&k->pg);
    }

done:

    k->compare.older = 0;
    tf_keeper_unlock(k);

    return rc;
}
