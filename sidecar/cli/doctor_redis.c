#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/keys.h>

#include "base/clock.h"
#include "cli/doctor.h"
#include "queue/library.h"


#define TF_DOCTOR_PREFIX   "{trifecta:0}"
#define TF_DOCTOR_SEEN_MS  60000

#define TF_DOCTOR_MIGRATE  "run \"trifecta migrate\""


/* A line "name:value" of INFO; "" when it has none. */

static void
tf_doctor_info(tf_redis_t *redis, const char *section, const char *name,
    char *value, size_t size)
{
    size_t       len;
    const char  *p;
    redisReply  *reply;

    value[0] = '\0';
    len = strlen(name);

    reply = tf_redis_command(redis, 0, "INFO", section, NULL);

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        freeReplyObject(reply);
        return;
    }

    for (p = reply->str; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n';

        if (strncmp(p, name, len) == 0 && p[len] == ':') {
            p += len + 1;
            (void) snprintf(value, size, "%.*s", (int) strcspn(p, "\r\n"), p);
            break;
        }
    }

    freeReplyObject(reply);
}


/* A parameter of Redis; "" when we may not see it. */

static void
tf_doctor_config(tf_redis_t *redis, const char *name, char *value,
    size_t size)
{
    redisReply  *reply;

    reply = tf_redis_command(redis, 0, "CONFIG", "GET", name, NULL);
    (void) snprintf(value, size, "%s", tf_reply_str(reply, 1));
    freeReplyObject(reply);
}


static void
tf_doctor_setting(tf_doctor_t *d, const char *what, const char *found,
    const char *wanted, const char *mend)
{
    if (found[0] == '\0') {
        tf_doctor_add(d, TF_DOCTOR_WARN, what, mend, "may not be read here");
        return;
    }

    tf_doctor_add(d, strcmp(found, wanted) == 0 ? TF_DOCTOR_OK
                                                : TF_DOCTOR_WARN,
                  what, mend, "%s", found);
}


void
tf_doctor_durability(tf_doctor_t *d, tf_redis_t *redis)
{
    char  value[64];

    tf_doctor_info(redis, "persistence", "aof_enabled", value, sizeof(value));
    tf_doctor_setting(d, "Redis appendonly",
                      strcmp(value, "1") == 0 ? "yes"
                      : value[0] ? "no" : "", "yes",
                      "set \"appendonly yes\": without it every accepted job "
                      "is lost when Redis crashes");

    tf_doctor_config(redis, "appendfsync", value, sizeof(value));
    tf_doctor_setting(d, "Redis appendfsync", value, "always",
                      "set \"appendfsync always\": otherwise a power cut "
                      "loses about a second of accepted jobs");

    tf_doctor_info(redis, "persistence", "aof_last_write_status", value,
                   sizeof(value));
    if (strcmp(value, "ok") != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "Redis last write",
                      "free the disk that Redis writes to",
                      "the append-only file could not be written (%s)", value);
    }

    tf_doctor_info(redis, "memory", "maxmemory_policy", value, sizeof(value));
    tf_doctor_setting(d, "Redis maxmemory-policy", value, "noeviction",
                      "set \"maxmemory-policy noeviction\": otherwise a full "
                      "Redis throws jobs away");

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


static void
tf_doctor_epoch(tf_doctor_t *d, tf_redis_t *redis)
{
    long         epoch;
    redisReply  *reply;
    const char  *schema;

    reply = tf_redis_command(redis, 0, "HMGET", TF_DOCTOR_PREFIX ":meta",
                             "epoch", "schema", "paused", NULL);

    epoch = strtol(tf_reply_str(reply, 0), NULL, 10);
    schema = tf_reply_str(reply, 1);

    if (tf_reply_len(reply) != 3) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "look at redis_url and at the rights of its user",
                      "%s", reply && reply->type == REDIS_REPLY_ERROR
                            ? reply->str : redis->err);

    } else if (epoch == 0 && d->pg_epoch > 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "bring back Redis' data (append-only file, backup, the "
                      "right redis_url) and restart it; if it is gone, "
                      "\"trifecta migrate --new-epoch\" ends the open jobs "
                      "as failed and starts an empty queue",
                      "NOTREADY: Redis holds no queue, but PostgreSQL knows "
                      "its epoch %ld: Redis was emptied, lost its data or is "
                      "another one; nothing is accepted (503)", d->pg_epoch);

    } else if (epoch == 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue", TF_DOCTOR_MIGRATE,
                      "NOTREADY: Redis holds no queue yet; nothing is "
                      "accepted (503)");

    } else if (strcmp(schema, TF_REDIS_SCHEMA_STR) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      "run the same release everywhere",
                      "the queue has schema \"%.16s\", this program needs "
                      TF_REDIS_SCHEMA_STR, schema);

    } else if (d->pg_epoch != -2 && d->pg_epoch != epoch) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "queue",
                      TF_DOCTOR_MIGRATE ", which explains what can be done",
                      "Redis has epoch %ld, PostgreSQL %ld: they do not "
                      "belong together", epoch,
                      d->pg_epoch < 0 ? 0 : d->pg_epoch);

    } else if (tf_reply_str(reply, 2)[0]) {
        tf_doctor_add(d, TF_DOCTOR_WARN, "queue",
                      "delete the field \"paused\" of " TF_DOCTOR_PREFIX
                      ":meta in Redis", "epoch %ld, paused: nothing is "
                      "accepted (503)", epoch);

    } else {
        tf_doctor_add(d, TF_DOCTOR_OK, "queue", NULL, "epoch %ld", epoch);
    }

    freeReplyObject(reply);
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
tf_doctor_work(tf_doctor_t *d, tf_redis_t *redis, int64_t now)
{
    char     since[24];
    int64_t  live, workers;

    (void) snprintf(since, sizeof(since), "%lld",
                    (long long) (now - TF_DOCTOR_SEEN_MS));

    live = tf_doctor_count(redis, "ZCARD", TF_DOCTOR_PREFIX ":live", NULL,
                           NULL);
    workers = tf_doctor_count(redis, "ZCOUNT", TF_DOCTOR_PREFIX ":wk", since,
                              "+inf");

    if (live < 0 || workers < 0) {
        return;
    }

    tf_doctor_add(d, workers ? TF_DOCTOR_OK : TF_DOCTOR_WARN, "workers",
                  "start \"trifecta serve\"", "%lld seen within a minute, "
                  "%lld open jobs", (long long) workers, (long long) live);
}


void
tf_doctor_redis(tf_doctor_t *d)
{
    char         value[64];
    int64_t      now;
    redisReply  *reply;
    tf_redis_t   redis;

    tf_redis_init(&redis, d->conf, d->conf->redis_url, TF_DOCTOR_PREFIX, 0);

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
                  d->conf->redis_url);

    tf_doctor_library(d, &redis);
    tf_doctor_epoch(d, &redis);
    tf_doctor_work(d, &redis, now);
    tf_doctor_durability(d, &redis);

    tf_redis_close(&redis);
}
