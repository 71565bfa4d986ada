#include "queue/keeper.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "queue/library.h"
#include "queue/reconcile.h"


#define TF_KEEPER_LOCK      "1953658982"    /* the first key; "trif" */
#define TF_KEEPER_IDLE      "20s"           /* a stopped holder loses it */
#define TF_KEEPER_COMMAND   5000            /* ms, a call to Redis */
#define TF_KEEPER_LIST      30000           /* ms between two looks at it */


void
tf_keeper_init(tf_keeper_t *k, const tf_conf_t *conf,
    const tf_redis_urls_t *urls, unsigned shard, tf_keeper_stats_t *stats)
{
    memset(k, 0, sizeof(tf_keeper_t));
    k->conf = conf;
    k->shard = shard;
    k->stats = stats;
    k->state = TF_KEEPER_WAITS;

    (void) snprintf(k->prefix, sizeof(k->prefix), TF_KEY_PREFIX_FMT, shard);
    tf_redis_init(&k->redis, conf, urls->url[shard], k->prefix, 0);
    k->redis.command_ms = TF_KEEPER_COMMAND;
    tf_pg_init(&k->pg, conf, TF_PG_QUEUE);

    k->compare.redis = &k->redis;
    k->compare.pg = &k->pg;
    k->compare.prefix = k->prefix;
    k->compare.shard = shard;
    k->compare.nshards = urls->n;
    k->compare.counters = &stats->reconciled;
}


void
tf_keeper_free(tf_keeper_t *k)
{
    tf_reconcile_stop(k);
    tf_redis_close(&k->redis);
    tf_pg_close(&k->pg);
}


void
tf_keeper_say(tf_keeper_t *k, tf_log_level_t level, const char *fmt, ...)
{
    char     text[1280];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (k->say != NULL) {
        k->say(k->data, level, text);
        return;
    }

    tf_log(level, "shard %u: %s", k->shard, text);
}


int
tf_keeper_fail(tf_keeper_t *k, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(k->why, sizeof(k->why), fmt, ap);
    va_end(ap);

    return -1;
}


void
tf_keeper_beat(tf_keeper_t *k)
{
    if (k->pulse != NULL) {
        tf_pulse_done(k->pulse);
        tf_pulse_try(k->pulse);
    }
}


void
tf_keeper_sleep(tf_keeper_t *k, int ms)
{
    int      slice;
    int64_t  left, end;

    end = tf_clock_ms() + ms;

    while (!tf_keeper_over(k) && (left = end - tf_clock_ms()) > 0) {
        slice = left < 100 ? (int) left : 100;
        (void) poll(NULL, 0, slice);
        tf_keeper_beat(k);
    }
}


/*
 * The session of the lock is given a limit of idle time (PostgreSQL 14): a
 * process that was stopped while it holds the lock must not keep the others
 * from the work.
 */

int
tf_keeper_lock(tf_keeper_t *k)
{
    int          got;
    char         shard[12];
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(shard, sizeof(shard), "%u", k->shard);
    params[0] = shard;

    if (tf_pg_connect(&k->pg) != TF_PG_OK
        || tf_pg_exec(&k->pg, 0, "SET statement_timeout = '"
                      TF_KEEPER_IDLE "'")
           != TF_PG_OK
        || (PQserverVersion(k->pg.conn) >= 140000
            && tf_pg_exec(&k->pg, 0, "SET idle_session_timeout = '"
                          TF_KEEPER_IDLE "'")
               != TF_PG_OK)
        || tf_pg_query(&k->pg, &res, 0, "SELECT pg_try_advisory_lock("
                       TF_KEEPER_LOCK ", $1::integer)", 1, params)
           != TF_PG_OK)
    {
        return tf_keeper_fail(k, "PostgreSQL: %s", k->pg.err);
    }

    got = PQgetvalue(res, 0, 0)[0] == 't';
    PQclear(res);
    k->locked = got;

    return got;
}


void
tf_keeper_unlock(tf_keeper_t *k)
{
    char         shard[12];
    const char  *params[1];

    if (!k->locked) {
        return;
    }

    k->locked = 0;

    if (k->pg.conn == NULL) {
        return;
    }

    (void) snprintf(shard, sizeof(shard), "%u", k->shard);
    params[0] = shard;

    if (tf_pg_query(&k->pg, NULL, 0, "SELECT pg_advisory_unlock("
                    TF_KEEPER_LOCK ", $1::integer)", 1, params)
        != TF_PG_OK)
    {
        tf_pg_close(&k->pg);
    }
}


int
tf_keeper_look(tf_keeper_t *k)
{
    if (tf_look_redis(&k->look, &k->redis, k->prefix) != 0) {
        tf_redis_close(&k->redis);
        return tf_keeper_fail(k, "%s", k->redis.err);
    }

    if (tf_look_pg(&k->look, &k->pg, k->shard) != 0) {
        return tf_keeper_fail(k, "PostgreSQL is away: %s", k->pg.err);
    }

    return 0;
}


/* Fields of P:meta that are the keeper's own. */

int
tf_keeper_note(tf_keeper_t *k, const char *field, const char *value)
{
    int          rc;
    char         key[TF_KEY_PREFIX_MAX + 8];
    redisReply  *reply;

    (void) snprintf(key, sizeof(key), "%s:meta", k->prefix);
    reply = tf_redis_command(&k->redis, 0, "HSET", key, field, value, NULL);

    rc = tf_compare_done(&k->compare, reply);
    if (rc != 0) {
        (void) tf_keeper_fail(k, "%s", k->compare.err);
    }

    return rc;
}


int
tf_keeper_mark(tf_keeper_t *k, int64_t younger)
{
    char         shard[12], ms[24], mark[64], wal[24];
    int64_t      now;
    PGresult    *res;
    redisReply  *reply;
    const char  *params[2];

    (void) snprintf(shard, sizeof(shard), "%u", k->shard);
    (void) snprintf(ms, sizeof(ms), "%lld", (long long) younger);
    params[0] = shard;
    params[1] = ms;

    /* before: what Redis holds now, it holds in any later state */

    reply = tf_redis_command(&k->redis, 0, "TIME", NULL);
    now = tf_reply_num(reply, 0) * 1000 + tf_reply_num(reply, 1) / 1000;

    if (tf_compare_done(&k->compare, reply) != 0) {
        return tf_keeper_fail(k, "%s", k->compare.err);
    }

    if (tf_pg_query(&k->pg, &res, 0, "SELECT trifecta.next_mark("
                    "$1::integer, $2::bigint), "
                    "(pg_current_wal_flush_lsn() - '0/0')::bigint", 2, params)
        != TF_PG_OK)
    {
        return tf_keeper_fail(k, "PostgreSQL: %s", k->pg.err);
    }

    if (PQgetisnull(res, 0, 0)) {
        PQclear(res);
        return 0;
    }

    (void) snprintf(mark, sizeof(mark), "%.24s %lld", PQgetvalue(res, 0, 0),
                    (long long) now);
    (void) snprintf(wal, sizeof(wal), "%s", PQgetvalue(res, 0, 1));
    PQclear(res);

    if (tf_keeper_note(k, "mark", mark) != 0
        || tf_keeper_note(k, "wal", wal) != 0)
    {
        return -1;
    }

    return 1;
}


int
tf_keeper_library(tf_keeper_t *k)
{
    int           rc;
    char         *text;
    char          err[512];
    tf_library_t  found;

    if (k->look.library
        && (k->listed != 0 && tf_clock_ms() < k->listed + TF_KEEPER_LIST))
    {
        return 0;
    }

    text = tf_library_read(k->conf, err, sizeof(err));
    if (text == NULL) {
        return k->look.library ? 0 : tf_keeper_fail(k, "%s", err);
    }

    rc = 0;
    found = tf_library_look(&k->redis, text);

    if (found == TF_LIBRARY_FAILED) {
        rc = tf_keeper_fail(k, "%s", k->redis.err);

    } else if (found == TF_LIBRARY_NONE) {
        rc = tf_library_load(&k->redis, text);

        if (rc != 0) {
            (void) tf_keeper_fail(k, "%s", k->redis.err);

        } else {
            tf_keeper_say(k, TF_LOG_WARN, "Redis had no function library: "
                          "loaded " TF_LIBRARY);
        }

    } else if (found == TF_LIBRARY_OTHER
               && atomic_exchange(&k->stats->library_other, 1) == 0)
    {
        tf_keeper_say(k, TF_LOG_ERROR, "the function library " TF_LIBRARY
                      " in Redis is not the one of this release and stays as "
                      "it is: run \"trifecta migrate\" of the release that "
                      "is to run");
    }

    if (found == TF_LIBRARY_NONE || found == TF_LIBRARY_SAME) {
        atomic_store(&k->stats->library_other, 0);
    }

    k->listed = tf_clock_ms();
    free(text);

    return rc;
}


int
tf_keeper_install(tf_keeper_t *k)
{
    int          rc;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    if (k->look.install[0]) {
        return 0;
    }

    tf_cmd_fcall(&cmd, TF_FN_INSTALL, k->prefix);
    tf_cmd_str(&cmd, k->look.pg_install);
    reply = tf_redis_call(&k->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    rc = strcmp(tf_reply_str(reply, 0), "OK");

    if (tf_compare_done(&k->compare, reply) != 0) {
        return tf_keeper_fail(k, "%s", k->compare.err);
    }

    return rc == 0 ? 0 : tf_keeper_fail(k, "another installation takes this "
                                        "Redis at the same moment");
}


/* Whether this very server is adopted as another shard of ours: 1, 0, -1. */

static int
tf_keeper_holds(tf_keeper_t *k, unsigned shard)
{
    int          rc;
    char         key[TF_KEY_PREFIX_MAX + 8];
    redisReply  *reply;

    (void) snprintf(key, sizeof(key), TF_KEY_PREFIX_FMT ":meta", shard);
    reply = tf_redis_command(&k->redis, 0, "HMGET", key, "install", "server",
                             NULL);

    rc = strcmp(tf_reply_str(reply, 0), k->look.pg_install) == 0
         && strcmp(tf_reply_str(reply, 1), k->look.identity) == 0;

    if (tf_compare_done(&k->compare, reply) != 0) {
        return tf_keeper_fail(k, "%s", k->compare.err);
    }

    return rc;
}


int
tf_keeper_order(tf_keeper_t *k)
{
    int              rc;
    char             err[512];
    unsigned         i;
    tf_redis_urls_t  urls;

    if (k->look.epoch != 0 || k->look.pg_epoch == 0) {
        return 1;
    }

    if (tf_redis_urls(&urls, k->conf->redis_url, err, sizeof(err)) != 0) {
        return tf_keeper_fail(k, "%s", err);
    }

    rc = 0;

    for (i = 0; rc == 0 && i < TF_SHARDS_MAX; i++) {

        if (i == k->shard
            || (i < urls.n && strcmp(urls.url[i], urls.url[k->shard]) == 0))
        {
            continue;
        }

        rc = tf_keeper_holds(k, i);

        if (rc == 1) {
            (void) tf_keeper_fail(k, "redis_url names %s as shard %u, but "
                                  "this Redis holds shard %u of the queue. "
                                  "Name the servers in the order in which "
                                  "nginx and the other sidecars have them, "
                                  "and a server with several shards by the "
                                  "same URL each time",
                                  urls.url[k->shard], k->shard, i);
        }
    }

    tf_redis_urls_free(&urls);

    return rc == -1 ? -1 : !rc;
}
