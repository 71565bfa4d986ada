#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/keys.h>

#include "base/clock.h"
#include "cli/doctor.h"
#include "queue/durability.h"
#include "queue/library.h"
#include "queue/look.h"
#include "queue/redis_url.h"


#define TF_DOCTOR_SEEN_MS  60000

#define TF_DOCTOR_MIGRATE  "run \"trifecta migrate\""


/* A line of INFO; "" when it has none. */

static void
tf_doctor_info(tf_redis_t *redis, const char *section, const char *name,
    char *value, size_t size)
{
    redisReply  *reply;

    reply = tf_redis_command(redis, 0, "INFO", section, NULL);
    tf_info_value(reply != NULL && reply->type == REDIS_REPLY_STRING
                  ? reply->str : "", name, value, size);
    freeReplyObject(reply);
}


/* The findings of queue/durability.h. */

void
tf_doctor_durability(tf_doctor_t *d, const tf_durability_t *found)
{
    unsigned                        i;
    tf_doctor_level_t               level;
    const tf_durability_finding_t  *f;

    for (i = 0; i < found->n; i++) {
        f = &found->list[i];

        level = f->level == TF_DURABILITY_KEEPS ? TF_DOCTOR_OK
                : f->level == TF_DURABILITY_WEAK
                  && tf_durability_strict(d->conf) ? TF_DOCTOR_FAIL
                : TF_DOCTOR_WARN;

        tf_doctor_add(d, level, f->what, f->mend, "%s%s%s%s", f->found,
                      level == TF_DOCTOR_FAIL ? ", less than \"durability = "
                      : "",
                      level == TF_DOCTOR_FAIL ? d->conf->durability : "",
                      level == TF_DOCTOR_FAIL ? "\": nothing is accepted"
                      : "");
    }
}


static void
tf_doctor_keeps(tf_doctor_t *d, tf_redis_t *redis)
{
    char             value[64];
    tf_durability_t  found;

    memset(&found, 0, sizeof(found));

    if (tf_durability_redis(&found, d->conf, redis) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis durability",
                      "look at redis_url and at the rights of its user", "%s",
                      redis->err);
        return;
    }

    tf_doctor_durability(d, &found);

    tf_doctor_info(redis, "persistence", "aof_last_write_status", value,
                   sizeof(value));
    if (strcmp(value, "ok") != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis last write",
                      "free the disk that Redis writes to",
                      "the append-only file could not be written (%s)", value);
    }

    tf_doctor_info(redis, "memory", "maxmemory", value, sizeof(value));
    tf_doctor_add(d, strcmp(value, "0") == 0 ? TF_DOCTOR_WARN : TF_DOCTOR_OK,
                  "Redis maxmemory",
                  "set maxmemory below the machine's: a Redis without a "
                  "bound is killed with everything else",
                  "%s bytes", strcmp(value, "0") == 0 ? "unlimited" : value);
}


static void
tf_doctor_library(tf_doctor_t *d, tf_redis_t *redis)
{
    char   err[512];
    char  *code;

    code = tf_library_read(d->conf, err, sizeof(err));

    switch (tf_library_look(redis, code)) {

    case TF_LIBRARY_FAILED:
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis functions",
                      "use Redis 7.0 or newer, and a user that may use them",
                      "%s", redis->err);
        break;

    case TF_LIBRARY_NONE:
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis functions",
                      TF_DOCTOR_MIGRATE, "the library " TF_LIBRARY
                      " is not loaded");
        break;

    case TF_LIBRARY_OTHER:
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis functions",
                      TF_DOCTOR_MIGRATE, "the library " TF_LIBRARY
                      " is not the one of this release");
        break;

    default: /* TF_LIBRARY_SAME */
        if (code == NULL) {
            tf_doctor_add(d, TF_DOCTOR_WARN, "Redis functions",
                          "\"migrations\" must name the folder of this "
                          "release",
                          TF_LIBRARY " is loaded, but there is nothing to "
                          "compare it with: %s", err);
            break;
        }

        tf_doctor_add(d, TF_DOCTOR_OK, "Redis functions", NULL, TF_LIBRARY);
        break;
    }

    free(code);
}


static int
tf_doctor_paused(tf_redis_t *redis, const char *prefix)
{
    int          paused;
    char         key[TF_KEY_PREFIX_MAX + 8];
    redisReply  *reply;

    (void) snprintf(key, sizeof(key), "%s:meta", prefix);
    reply = tf_redis_command(redis, 0, "HEXISTS", key, "paused", NULL);
    paused = reply != NULL && reply->type == REDIS_REPLY_INTEGER
             && reply->integer == 1;
    freeReplyObject(reply);

    return paused;
}


static void
tf_doctor_queue(tf_doctor_t *d, tf_redis_t *redis, const char *prefix,
    unsigned shard)
{
    int                 known;
    tf_pg_t             pg;
    tf_look_t           look;
    const char         *why;
    tf_look_verdict_t   verdict;

    if (tf_look_redis(&look, redis, prefix) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "look at redis_url and at the rights of its user",
                      "%s", redis->err);
        return;
    }

    /* one that is away has been said; then Redis alone must do */

    tf_pg_init(&pg, d->conf, TF_PG_QUEUE);
    known = tf_look_pg(&look, &pg, shard) == 0;
    tf_pg_close(&pg);

    why = "Redis was restarted, failed over or is another one";
    verdict = known ? tf_look_verdict(&look, &why)
              : tf_look_adopted(&look) ? TF_LOOK_WHOLE : TF_LOOK_REBUILD;

    if (verdict == TF_LOOK_FOREIGN) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "correct redis_url, or use another database of "
                      "PostgreSQL or an empty Redis",
                      "%s (%s; ours is %s)", why, look.install,
                      look.pg_install);

    } else if (look.epoch && strcmp(look.schema, TF_REDIS_SCHEMA_STR) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "run the same release everywhere",
                      "the queue has schema \"%s\", this program needs "
                      TF_REDIS_SCHEMA_STR, look.schema);

    } else if (look.epoch == 0 && known && look.pg_epoch) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "start \"trifecta serve\" or run \"trifecta migrate\": "
                      "what PostgreSQL knows is put back",
                      "NOTREADY: Redis holds no queue, but PostgreSQL knows "
                      "its epoch %lld: Redis was emptied, lost its data or "
                      "is another one; nothing is accepted (503)",
                      (long long) look.pg_epoch);

    } else if (look.epoch == 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue", TF_DOCTOR_MIGRATE,
                      "NOTREADY: Redis holds no queue yet; nothing is "
                      "accepted (503)");

    } else if (verdict != TF_LOOK_WHOLE) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "start \"trifecta serve\", which compares both stores "
                      "and says in its log what keeps it from that",
                      "epoch %lld, not adopted: %s; nothing is accepted "
                      "(503)", (long long) look.epoch, why);

    } else if (known && look.pg_epoch > look.epoch) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "compare redis_url of all sidecars and trifecta_redis "
                      "of all nginx servers: the same servers, in the same "
                      "order", "epoch %lld, but another Redis was given epoch "
                      "%lld of this shard since",
                      (long long) look.epoch, (long long) look.pg_epoch);

    } else if (tf_doctor_paused(redis, prefix)) {
        tf_doctor_add(d, TF_DOCTOR_WARN, "queue",
                      "delete the field \"paused\" of the shard's hash "
                      "{trifecta:<shard>}:meta in Redis", "epoch %lld, "
                      "paused: nothing is accepted (503)",
                      (long long) look.epoch);

    } else {
        tf_doctor_add(d, TF_DOCTOR_OK, "queue", NULL, "epoch %lld",
                      (long long) look.epoch);
    }
}


static int64_t
tf_doctor_count(tf_redis_t *redis, const char *command, const char *key,
    const char *min, const char *max)
{
    int64_t      n;
    redisReply  *reply;

    reply = tf_redis_command(redis, 0, command, key, min, max, NULL);
    n = reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);

    return n;
}


static void
tf_doctor_work(tf_doctor_t *d, tf_redis_t *redis, const char *prefix,
    int64_t now)
{
    char     since[24], key[TF_KEY_PREFIX_MAX + 8];
    int64_t  live, workers;

    (void) snprintf(since, sizeof(since), "%lld",
                    (long long) (now - TF_DOCTOR_SEEN_MS));

    (void) snprintf(key, sizeof(key), "%s:live", prefix);
    live = tf_doctor_count(redis, "ZCARD", key, NULL, NULL);
    (void) snprintf(key, sizeof(key), "%s:wk", prefix);
    workers = tf_doctor_count(redis, "ZCOUNT", key, since, "+inf");

    if (live < 0 || workers < 0) {
        return;
    }

    tf_doctor_add(d, workers ? TF_DOCTOR_OK : TF_DOCTOR_WARN, "workers",
                  "start \"trifecta serve\"", "%lld seen within a minute, "
                  "%lld open jobs", (long long) workers, (long long) live);
}


static void
tf_doctor_shard(tf_doctor_t *d, const char *url, unsigned shard)
{
    char         value[64], prefix[TF_KEY_PREFIX_MAX];
    int64_t      now;
    redisReply  *reply;
    tf_redis_t   redis;

    (void) snprintf(prefix, sizeof(prefix), TF_KEY_PREFIX_FMT, shard);
    tf_redis_init(&redis, d->conf, url, prefix, 0);

    if (tf_redis_connect(&redis) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis",
                      "start it, or correct redis_url and "
                      "redis_password_file", "%s", redis.err);
        return;
    }

    reply = tf_redis_command(&redis, 0, "TIME", NULL);

    if (tf_reply_len(reply) != 2) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis",
                      "correct redis_url and redis_password_file", "%s",
                      reply && reply->type == REDIS_REPLY_ERROR
                      ? reply->str : redis.err);
        freeReplyObject(reply);
        tf_redis_close(&redis);
        return;
    }

    now = strtoll(tf_reply_str(reply, 0), NULL, 10) * 1000
          + strtoll(tf_reply_str(reply, 1), NULL, 10) / 1000;
    freeReplyObject(reply);
    tf_doctor_clock(d, "clock of Redis", now);

    tf_doctor_info(&redis, "server", "redis_version", value, sizeof(value));
    tf_doctor_add(d, strtol(value, NULL, 10) < 7 ? TF_DOCTOR_FAIL
                                                 : TF_DOCTOR_OK,
                  "Redis", "use Redis 7.0 or newer", "%s at %s", value,
                  url);

    tf_doctor_library(d, &redis);
    tf_doctor_queue(d, &redis, prefix, shard);
    tf_doctor_work(d, &redis, prefix, now);
    tf_doctor_keeps(d, &redis);

    tf_redis_close(&redis);
}


/* Open jobs of shards that were taken out of the list: nobody runs them. */

static void
tf_doctor_beyond(tf_doctor_t *d, unsigned nshards)
{
    char         n[12];
    tf_pg_t      pg;
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(n, sizeof(n), "%u", nshards);
    params[0] = n;
    tf_pg_init(&pg, d->conf, TF_PG_QUEUE);

    if (tf_pg_query(&pg, &res, 0, "SELECT count(*) FROM trifecta.job "
                    "WHERE state IN ('queued', 'running') AND "
                    "substr(id::text, 16, 2) "
                    ">= lpad(to_hex($1::integer), 2, '0')", 1, params)
        == TF_PG_OK)
    {
        if (strcmp(PQgetvalue(res, 0, 0), "0") != 0) {
            tf_doctor_add(d, TF_DOCTOR_FAIL, "shards", "put the servers that "
                          "were taken away back into redis_url, and then "
                          "into trifecta_redis, until these have ended",
                          "%s open jobs are in shards that redis_url does "
                          "not name: nobody runs them",
                          PQgetvalue(res, 0, 0));
        }

        PQclear(res);
    }

    tf_pg_close(&pg);
}


void
tf_doctor_redis(tf_doctor_t *d)
{
    char              err[512];
    unsigned          i;
    tf_redis_urls_t   urls;

    if (tf_redis_urls(&urls, d->conf->redis_url, err, sizeof(err)) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis", "correct redis_url", "%s",
                      err);
        return;
    }

    for (i = 0; i < urls.n; i++) {
        if (urls.n > 1) {
            (void) snprintf(d->where, sizeof(d->where), "shard %u: ", i);
        }

        tf_doctor_shard(d, urls.url[i], i);
    }

    d->where[0] = '\0';
    tf_doctor_beyond(d, urls.n);
    tf_redis_urls_free(&urls);
}
