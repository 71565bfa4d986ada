#include "queue/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/reconcile.h"


#define TF_FOLLOW_DAY     86400000
#define TF_FOLLOW_HOUR    3600000
#define TF_FOLLOW_SETTLE  300000        /* ms, before a shorter list counts */

/* How much the clocks of nginx, which are in the ids, may differ: as long as
 * a rebuild takes it, and in what is done again and again. */
#define TF_FOLLOW_SLACK   10800000
#define TF_FOLLOW_SHORT   600000


/*
 * Begins at an id.  The shards that are read are this one ("own"), and the
 * others that have ever been: "others" is 1, or -1 if none of them is new.
 */

static int
tf_follow_start(tf_keeper_t *k, const char *from, int own, int others)
{
    int           i, news;
    long          shard;
    PGresult     *res;
    tf_follow_t  *f;

    f = &k->follow;
    memset(f, 0, sizeof(tf_follow_t));
    (void) snprintf(f->from, sizeof(f->from), "%s", from);
    f->keys.now = k->look.now;
    news = 0;

    if (tf_pg_query(&k->pg, &res, TF_COMPARE_PG_MS,
                    "SELECT shard, min(created) > now() - interval '25 hours' "
                    "FROM trifecta.epoch GROUP BY shard", 0, NULL)
        != TF_PG_OK)
    {
        return tf_keeper_fail(k, "PostgreSQL: %s", k->pg.err);
    }

    for (i = 0; i < PQntuples(res); i++) {
        shard = strtol(PQgetvalue(res, i, 0), NULL, 10);

        if (shard < 0 || shard >= TF_SHARDS_MAX || shard == (long) k->shard) {
            continue;
        }

        f->shards |= (uint32_t) 1 << shard;
        news |= PQgetvalue(res, i, 1)[0] == 't'
                || shard >= (long) k->compare.nshards;
    }

    PQclear(res);

    if (others == -1 && !news) {
        f->shards = 0;
    }

    if (own) {
        f->shards |= (uint32_t) 1 << k->shard;
    }

    f->keys.of = TF_SHARDS_MAX;

    return 0;
}


int
tf_follow_next(tf_keeper_t *k)
{
    int           rc;
    unsigned      i;
    tf_follow_t  *f;

    f = &k->follow;

    if (f->keys.of == TF_SHARDS_MAX) {

        for (i = 0; i < TF_SHARDS_MAX; i++) {
            if (f->shards & (uint32_t) 1 << i) {
                break;
            }
        }

        if (i == TF_SHARDS_MAX) {
            return 0;
        }

        f->keys.of = i;
        memcpy(f->keys.after, f->from, sizeof(f->from));
    }

    rc = tf_compare_idem(&k->compare, &f->keys);
    if (rc == -1) {
        return tf_keeper_fail(k, "%s", k->compare.err);
    }

    if (rc == 0) {
        f->shards &= ~((uint32_t) 1 << f->keys.of);
        f->keys.of = TF_SHARDS_MAX;
    }

    return 1;
}


static int
tf_follow_note(tf_keeper_t *k, int64_t since)
{
    char  note[80];

    (void) snprintf(note, sizeof(note), "%u %lld %lld", k->compare.nshards,
                    (long long) since, (long long) k->follow.keys.now);

    return tf_keeper_note(k, "shards", note);
}


static void
tf_follow_say(tf_keeper_t *k)
{
    if (k->follow.keys.restored) {
        tf_keeper_say(k, TF_LOG_INFO, "%lu idempotency keys followed their "
                      "tenants to this shard, of %u", k->follow.keys.restored,
                      k->compare.nshards);
    }
}


static int
tf_follow_due(tf_keeper_t *k)
{
    const tf_look_t  *look;

    look = &k->look;

    if (look->shards == k->compare.nshards) {
        return 0;
    }

    return look->shards < k->compare.nshards
           || look->shards_since > look->now
           || look->now >= look->shards_since + TF_FOLLOW_SETTLE;
}


int
tf_follow(tf_keeper_t *k)
{
    int          rc;
    char         from[TF_ID_TEXT_LEN + 1];
    const char  *why;

    if (!tf_follow_due(k)) {
        return 0;
    }

    tf_reconcile_stop(k);

    rc = tf_keeper_lock(k);
    if (rc != 1) {
        return rc;
    }

    /* somebody else may have had the lock, and have done it */

    rc = tf_keeper_look(k);

    if (rc == 0 && tf_look_verdict(&k->look, &why) == TF_LOOK_WHOLE
        && tf_follow_due(k))
    {
        tf_compare_id_at(from, k->look.now - TF_FOLLOW_DAY - TF_FOLLOW_SLACK);
        rc = tf_follow_start(k, from, 0, 1);

        if (rc == 0) {
            do {
                rc = tf_follow_next(k);
            } while (rc == 1 && !tf_keeper_over(k));
        }

        if (rc == 0) {
            tf_follow_say(k);
            rc = tf_follow_note(k, k->look.now);
        }
    }

    tf_keeper_unlock(k);

    return rc == -1 ? -1 : 0;
}


int
tf_follow_rebuild(tf_keeper_t *k, const char *since)
{
    int               same, others;
    char              from[TF_ID_TEXT_LEN + 1];
    const tf_look_t  *look;

    look = &k->look;
    same = look->shards == k->compare.nshards;
    tf_compare_id_at(from, look->now - TF_FOLLOW_DAY - TF_FOLLOW_SLACK);

    /* what it has kept, it has gathered for that list */

    if (same && strcmp(from, since) < 0) {
        (void) snprintf(from, sizeof(from), "%s", since);
    }

    /* a list that has been as long for a day has keys of this shard only */

    others = look->shards == 0
             || (same && look->now > look->shards_since + TF_FOLLOW_DAY
                                     + TF_FOLLOW_HOUR)
             ? -1 : 1;

    return tf_follow_start(k, from, 1, others) == 0 ? 1 : -1;
}


int
tf_follow_rebuilt(tf_keeper_t *k)
{
    return k->look.shards == k->compare.nshards
           ? 0 : tf_follow_note(k, k->look.now);
}


int
tf_follow_begin(tf_keeper_t *k)
{
    char              from[TF_ID_TEXT_LEN + 1];
    const tf_look_t  *look;

    look = &k->look;

    if (look->shards != k->compare.nshards
        || look->now > look->shards_since + TF_FOLLOW_HOUR)
    {
        return 0;
    }

    tf_compare_id_at(from, look->shards_last - TF_FOLLOW_SHORT);

    if (tf_follow_start(k, from, 0, 1) != 0) {
        return -1;
    }

    return k->follow.shards != 0;
}


int
tf_follow_step(tf_keeper_t *k)
{
    int  rc;

    rc = tf_follow_next(k);

    if (rc == 0) {
        tf_follow_say(k);
        rc = tf_follow_note(k, k->follow.keys.restored
                               ? k->follow.keys.now : k->look.shards_since);
    }

    return rc;
}
