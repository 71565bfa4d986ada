#include "queue/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "queue/durability.h"
#include "queue/follow.h"
#include "queue/mend.h"
#include "queue/rebuild.h"
#include "queue/reconcile.h"


#define TF_KEEPER_LOOK      1000            /* ms between two looks */
#define TF_KEEPER_HURRY     250             /* while nothing is accepted */
#define TF_KEEPER_CHECK     30000           /* ms, durability */
#define TF_KEEPER_AGAIN     60000           /* ms, the same said again */


/* 1: both stores keep what is promised (or need not), 0: k->why, -1. */

static int
tf_keeper_durable(tf_keeper_t *k)
{
    tf_durability_t  d;

    memset(&d, 0, sizeof(d));

    if (tf_durability_redis(&d, k->conf, &k->redis) != 0) {
        return tf_keeper_fail(k, "%s", k->redis.err);
    }

    if (tf_durability_pg(&d, &k->pg) != 0) {
        return tf_keeper_fail(k, "PostgreSQL is away: %s", k->pg.err);
    }

    k->checked = tf_clock_ms();

    if (d.weak == 0) {
        atomic_store(&k->stats->weak, 0);
        return 1;
    }

    tf_durability_say(&d, k->conf, k->why, sizeof(k->why));

    if (tf_durability_strict(k->conf)) {
        atomic_store(&k->stats->weak, 1);
        return 0;
    }

    if (atomic_exchange(&k->stats->weak, 1) == 0) {
        tf_keeper_say(k, TF_LOG_WARN, "%s (durability_check = warn)", k->why);
    }

    return 1;
}


/* Nothing is accepted any more. */

static int
tf_keeper_take_back(tf_keeper_t *k)
{
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_ADOPT, k->prefix);
    tf_cmd_str(&cmd, "");
    tf_cmd_str(&cmd, "");
    reply = tf_redis_call(&k->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    return tf_compare_done(&k->compare, reply);
}


static tf_keeper_state_t
tf_keeper_weak(tf_keeper_t *k)
{
    size_t  n;

    if (tf_look_adopted(&k->look)) {
        (void) tf_keeper_take_back(k);
    }

    n = strlen(k->why);
    (void) snprintf(k->why + n, sizeof(k->why) - n, "; nothing is accepted "
                    "until then (or with \"durability_check = warn\")");

    return TF_KEEPER_REFUSES;
}


static tf_keeper_state_t
tf_keeper_rebuild(tf_keeper_t *k)
{
    int  rc;

    tf_reconcile_stop(k);
    atomic_store(&k->stats->adopted, 0);

    rc = tf_keeper_order(k);

    if (rc != 1) {
        return rc == 0 ? TF_KEEPER_REFUSES : TF_KEEPER_WAITS;
    }

    if (tf_keeper_library(k) != 0 || tf_keeper_install(k) != 0) {
        return TF_KEEPER_WAITS;
    }

    if (tf_mend(k) != 0) {
        (void) tf_keeper_fail(k, "%s", k->redis.err);
        return TF_KEEPER_WAITS;
    }

    rc = tf_keeper_durable(k);

    if (rc != 1) {
        return rc == 0 ? tf_keeper_weak(k) : TF_KEEPER_WAITS;
    }

    switch (tf_rebuild(k)) {

    case TF_REBUILD_DONE:
    case TF_REBUILD_NEEDLESS:
        return TF_KEEPER_ADOPTED;

    case TF_REBUILD_BUSY:
        (void) tf_keeper_fail(k, "another process rebuilds the queue");
        return TF_KEEPER_BUSY;

    default: /* TF_REBUILD_FAILED */
        return TF_KEEPER_WAITS;
    }
}


static tf_keeper_state_t
tf_keeper_whole(tf_keeper_t *k)
{
    int   rc;
    char  wal[24];

    if (tf_keeper_library(k) != 0) {
        return TF_KEEPER_WAITS;
    }

    (void) tf_mend(k);

    if (k->checked == 0 || tf_clock_ms() >= k->checked + TF_KEEPER_CHECK) {
        rc = tf_keeper_durable(k);

        if (rc != 1) {
            return rc == 0 ? tf_keeper_weak(k) : TF_KEEPER_ADOPTED;
        }
    }

    if (k->look.pg_wal > k->look.wal) {
        (void) snprintf(wal, sizeof(wal), "%lld", (long long) k->look.pg_wal);
        (void) tf_keeper_note(k, "wal", wal);
    }

    if (tf_follow(k) != 0) {
        tf_keeper_say(k, TF_LOG_WARN, "idempotency keys of tenants that "
                      "belong to this shard now have not followed them, "
                      "which is tried again: %s", k->why);
    }

    return TF_KEEPER_ADOPTED;
}


/*
 * P:meta says whose Redis it is.  When it is no hash any more, nobody can say
 * so, and a queue is rebuilt in its place.
 */

static int
tf_keeper_look_redis(tf_keeper_t *k)
{
    if (tf_look_redis(&k->look, &k->redis, k->prefix) == 0) {
        return 0;
    }

    if (strstr(k->redis.err, "WRONGTYPE") != NULL && tf_mend(k) == 0
        && tf_look_redis(&k->look, &k->redis, k->prefix) == 0)
    {
        return 0;
    }

    tf_redis_close(&k->redis);

    return tf_keeper_fail(k, "%s", k->redis.err);
}


static tf_keeper_state_t
tf_keeper_decide(tf_keeper_t *k)
{
    const char         *why;
    tf_look_verdict_t   verdict;

    if (tf_keeper_look_redis(k) != 0) {
        return TF_KEEPER_WAITS;
    }

    if (tf_look_pg(&k->look, &k->pg, k->shard) != 0) {

        /* a Redis that is what it was goes on without PostgreSQL */

        if (tf_look_adopted(&k->look)) {
            tf_reconcile_stop(k);
            (void) tf_mend(k);
            return TF_KEEPER_ADOPTED;
        }

        (void) tf_keeper_fail(k, "Redis is not what it was, and has to be "
                              "compared with PostgreSQL before anything is "
                              "accepted, but %s%s", k->pg.conn == NULL
                              ? "PostgreSQL is away: " : "", k->pg.err);
        return TF_KEEPER_WAITS;
    }

    verdict = tf_look_verdict(&k->look, &why);

    switch (verdict) {

    case TF_LOOK_WHOLE:
        return tf_keeper_whole(k);

    case TF_LOOK_REBUILD:
        return tf_keeper_rebuild(k);

    case TF_LOOK_FOREIGN:
        (void) tf_keeper_fail(k, "%s (%s; ours is %s): it is left alone. "
                              "Correct redis_url, or use another database of "
                              "PostgreSQL or an empty Redis", why,
                              k->look.install, k->look.pg_install);
        return TF_KEEPER_REFUSES;

    default: /* TF_LOOK_SCHEMA */
        (void) tf_keeper_fail(k, "%s (schema %s, this one needs "
                              TF_REDIS_SCHEMA_STR "): run the same release "
                              "everywhere", why, k->look.schema);
        return TF_KEEPER_REFUSES;
    }
}


tf_keeper_state_t
tf_keeper_tick(tf_keeper_t *k)
{
    tf_keeper_state_t  was;

    was = k->state;
    k->why[0] = '\0';
    k->state = tf_keeper_decide(k);
    atomic_store(&k->stats->adopted, k->state == TF_KEEPER_ADOPTED);

    if (k->state == TF_KEEPER_ADOPTED) {
        if (was != TF_KEEPER_ADOPTED && k->say == NULL) {
            tf_keeper_say(k, TF_LOG_INFO, "the queue is adopted");
        }

        k->saying[0] = '\0';
        return k->state;
    }

    if (was == TF_KEEPER_ADOPTED) {
        tf_reconcile_stop(k);
    }

    /* migrate says it when it gives up */

    if (k->say == NULL
        && (strcmp(k->saying, k->why) != 0
            || tf_clock_ms() >= k->said + TF_KEEPER_AGAIN))
    {
        tf_keeper_say(k, TF_LOG_ERROR, "the queue is not adopted, nothing is "
                      "accepted: %s", k->why);
        memcpy(k->saying, k->why, sizeof(k->saying));
        k->said = tf_clock_ms();
    }

    return k->state;
}


void
tf_keeper_run(tf_keeper_t *k)
{
    int      ms;
    int64_t  next;

    while (!tf_keeper_over(k)) {

        tf_keeper_beat(k);
        (void) tf_keeper_tick(k);
        tf_keeper_beat(k);

        if (k->ticked != NULL) {
            k->ticked(k);
        }

        if (k->state != TF_KEEPER_ADOPTED) {
            tf_keeper_sleep(k, TF_KEEPER_HURRY);
            continue;
        }

        next = tf_clock_ms() + TF_KEEPER_LOOK;

        while (!tf_keeper_over(k) && (ms = (int) (next - tf_clock_ms())) > 0) {

            if (k->look.pg_store[0] == '\0') {
                /* PostgreSQL is away */
                tf_keeper_sleep(k, ms);
                break;
            }

            tf_keeper_beat(k);
            ms = tf_reconcile_step(k, ms);

            if (ms == -1) {
                tf_log(TF_LOG_WARN, "shard %u: the stores are not compared: "
                       "%s", k->shard, k->why);
                break;
            }

            tf_keeper_sleep(k, ms);
        }
    }

    if (k->pulse != NULL) {
        tf_pulse_rest(k->pulse);
    }
}
