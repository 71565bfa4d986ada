#include "cli/epoch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/keys.h>

#include "cli/doctor.h"
#include "queue/library.h"
#include "queue/redis.h"
#include "queue/redis_url.h"


#define TF_EPOCH_FAIL_MS  300000


static int
tf_epoch_redis_failed(const tf_cli_t *cli, tf_redis_t *redis,
    redisReply *reply, const char *what)
{
    if (reply == NULL) {
        (void) tf_cli_error(cli, "%s: %s", what, redis->err);

    } else if (reply->type == REDIS_REPLY_ERROR
               && strstr(reply->str, "unknown command") != NULL)
    {
        (void) tf_cli_error(cli, "%s: this Redis has no functions; Redis 7.0 "
                            "or newer is needed (%s)", what, reply->str);

    } else {
        (void) tf_cli_error(cli, "%s: %s", what,
                            reply->type == REDIS_REPLY_ERROR
                            ? reply->str : "unexpected reply");
    }

    freeReplyObject(reply);

    return -1;
}


static int
tf_epoch_library(tf_epoch_t *e, const tf_cli_t *cli, const tf_conf_t *conf,
    tf_redis_t *redis)
{
    int           rc;
    char         *code;
    char          err[512];
    tf_library_t  found;

    rc = -1;

    code = tf_library_read(conf, err, sizeof(err));
    if (code == NULL) {
        (void) tf_cli_error(cli, "%s", err);
        return -1;
    }

    found = tf_library_look(redis, code);

    if (found == TF_LIBRARY_FAILED) {
        (void) tf_cli_error(cli, "%s", redis->err);

    } else if (found == TF_LIBRARY_SAME) {
        rc = 0;

    } else if (e->dry_run) {
        e->changed = 1;
        (void) printf("would load the Redis function library " TF_LIBRARY
                      "\n");
        rc = 0;

    } else if (tf_library_load(redis, code) != 0) {
        (void) tf_cli_error(cli, "%s", redis->err);

    } else {
        e->changed = 1;
        (void) printf("loaded the Redis function library " TF_LIBRARY "\n");
        rc = 0;
    }

    free(code);

    return rc;
}


/* The newest epoch of PostgreSQL (0: none) and of Redis (0: none). */

static int
tf_epoch_read(tf_epoch_t *e, const tf_cli_t *cli, tf_pg_t *pg,
    tf_redis_t *redis, int64_t *in_pg, int64_t *in_redis)
{
    int          rc;
    char         key[TF_KEY_PREFIX_MAX + 8];
    PGresult    *res;
    redisReply  *reply;
    const char  *schema, *params[1];

    *in_pg = 0;
    *in_redis = 0;

    /* before the first migration (a dry run) there is no such table */

    params[0] = e->shard;

    if (tf_pg_query(pg, &res, 0, "SELECT max(epoch) FROM trifecta.epoch "
                    "WHERE shard = $1::int", 1, params)
        == TF_PG_OK)
    {
        *in_pg = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
        PQclear(res);

    } else if (strcmp(pg->sqlstate, "42P01") != 0
               && strcmp(pg->sqlstate, "3F000") != 0)
    {
        (void) tf_cli_error(cli, "cannot read the epoch: %s", pg->err);
        return -1;
    }

    (void) snprintf(key, sizeof(key), "%s:meta", redis->prefix);
    reply = tf_redis_command(redis, 0, "HMGET", key, "epoch", "schema", NULL);

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return tf_epoch_redis_failed(cli, redis, reply,
                                     "cannot read the epoch from Redis");
    }

    rc = 0;
    *in_redis = strtoll(tf_reply_str(reply, 0), NULL, 10);
    schema = tf_reply_str(reply, 1);

    if (*in_redis && strcmp(schema, TF_REDIS_SCHEMA_STR) != 0) {
        (void) tf_cli_error(cli, "the queue in Redis has schema \"%.16s\", "
                            "this program needs " TF_REDIS_SCHEMA_STR ": "
                            "run \"trifecta migrate\" of the release that "
                            "made it", schema);
        rc = -1;
    }

    freeReplyObject(reply);

    return rc;
}


/*
 * The row comes first and is committed last: if Redis refuses, the number is
 * free again; if the commit is lost, Redis' number is adopted the next time.
 */

static int
tf_epoch_start(tf_epoch_t *e, const tf_cli_t *cli, tf_pg_t *pg,
    tf_redis_t *redis, int64_t number)
{
    char         text[24];
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;
    const char  *params[2];

    e->changed = 1;

    if (e->dry_run) {
        (void) printf("would start epoch %lld of the queue%s\n",
                      (long long) number, e->of);
        return 0;
    }

    (void) snprintf(text, sizeof(text), "%lld", (long long) number);
    params[0] = e->shard;
    params[1] = text;

    if (tf_pg_exec(pg, 0, "BEGIN") != TF_PG_OK
        || tf_pg_query(pg, NULL, 0, "INSERT INTO trifecta.epoch "
                       "(shard, epoch) VALUES ($1::int, $2::bigint)", 2, params)
           != TF_PG_OK)
    {
        (void) tf_cli_error(cli, "cannot take the next epoch: %s", pg->err);
        tf_pg_rollback(pg);
        return -1;
    }

    tf_cmd_fcall(&cmd, TF_FN_EPOCH, redis->prefix);
    tf_cmd_str(&cmd, text);
    reply = tf_redis_call(redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (strcmp(tf_reply_str(reply, 0), "OK") != 0) {
        tf_pg_rollback(pg);
        return tf_epoch_redis_failed(cli, redis, reply,
                                     "Redis did not take the epoch");
    }

    freeReplyObject(reply);

    if (tf_pg_commit(pg) != TF_PG_OK) {
        (void) tf_cli_error(cli, "cannot store the epoch: %s; run migrate "
                            "again", pg->err);
        return -1;
    }

    (void) printf("started epoch %s of the queue%s\n", text, e->of);

    return 0;
}


/* Open jobs of a queue that is no more.  Seen by the queue's own role only. */

static int
tf_epoch_lost(tf_epoch_t *e, const tf_cli_t *cli, const tf_conf_t *conf,
    int64_t in_pg)
{
    char         open[24], digits[4];
    tf_pg_t      pg;
    PGresult    *res;
    const char  *params[1];

    /* as the id says it */

    (void) snprintf(digits, sizeof(digits), "%02lx",
                    strtoul(e->shard, NULL, 10));
    params[0] = digits;
    tf_pg_init(&pg, conf, TF_PG_QUEUE);

    if (tf_pg_query(&pg, &res, 0, "SELECT count(*) FROM trifecta.job "
                    "WHERE state IN ('queued', 'running') "
                    "AND substr(id::text, 16, 2) = $1", 1, params)
        != TF_PG_OK)
    {
        (void) tf_cli_error(cli, "cannot count the open jobs: %s", pg.err);
        goto failed;
    }

    (void) snprintf(open, sizeof(open), "%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    if (!e->new_epoch) {
        (void) tf_cli_error(cli,
            "Redis holds no queue%s, but PostgreSQL knows its epoch %lld: "
            "this Redis was emptied, lost its data or is another one.\n"
            "Jobs that are open in PostgreSQL: %s. Accepted jobs that had "
            "not reached PostgreSQL yet are not counted.\n"
            "Until this is settled nothing is accepted (503).\n"
            "  - If the data can come back (another redis_url, an "
            "append-only file, a backup): bring it back and start Redis "
            "again.\n"
            "  - If it cannot: \"trifecta migrate --new-epoch\" ends the "
            "open jobs as failed (queue_lost) and starts an empty queue.",
            e->of, (long long) in_pg, open);
        goto failed;
    }

    if (e->dry_run) {
        (void) printf("would end %s open jobs as failed (queue_lost)\n",
                      open);

    } else if (tf_pg_query(&pg, &res, TF_EPOCH_FAIL_MS,
               "UPDATE trifecta.job SET state = 'failed', finished = now(), "
               "error = '{\"code\":\"queue_lost\",\"message\":\"The queue "
               "was lost before the job was done.\"}' "
               "WHERE state IN ('queued', 'running') "
               "AND substr(id::text, 16, 2) = $1", 1, params)
               != TF_PG_OK)
    {
        (void) tf_cli_error(cli, "cannot end the open jobs: %s", pg.err);
        goto failed;

    } else {
        (void) printf("ended %s open jobs as failed (queue_lost)\n",
                      PQcmdTuples(res));
        PQclear(res);
    }

    tf_pg_close(&pg);

    return 0;

failed:

    tf_pg_close(&pg);

    return -1;
}


/* Redis has an epoch that this database did not give. */

static int
tf_epoch_foreign(tf_epoch_t *e, const tf_cli_t *cli, tf_pg_t *pg,
    tf_redis_t *redis, int64_t in_pg, int64_t in_redis)
{
    char         text[24];
    char         key[TF_KEY_PREFIX_MAX + 8];
    int64_t      live;
    redisReply  *reply;
    const char  *params[2];

    (void) snprintf(key, sizeof(key), "%s:live", redis->prefix);
    reply = tf_redis_command(redis, 0, "ZCARD", key, NULL);
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        return tf_epoch_redis_failed(cli, redis, reply,
                                     "cannot count the open jobs in Redis");
    }

    live = reply->integer;
    freeReplyObject(reply);

    if (in_pg > in_redis || (live > 0 && !e->adopt_epoch)) {
        (void) tf_cli_error(cli,
            "the queue in Redis%s has epoch %lld and %lld open jobs, the "
            "newest epoch in PostgreSQL is %lld: they do not belong "
            "together.\n"
            "Either redis_url or pg_url names the wrong server, or one of "
            "them was restored from a backup.%s",
            e->of, (long long) in_redis, (long long) live, (long long) in_pg,
            in_pg > in_redis
            ? "\nIf Redis is the one that went back: stop every sidecar, "
              "empty that Redis, and run \"trifecta migrate --new-epoch\"."
            : "\nIf they do belong together: \"trifecta migrate "
              "--adopt-epoch\" goes on with these jobs.");
        return -1;
    }

    e->changed = 1;

    if (e->dry_run) {
        (void) printf("would adopt epoch %lld of the queue in Redis\n",
                      (long long) in_redis);
        return 0;
    }

    (void) snprintf(text, sizeof(text), "%lld", (long long) in_redis);
    params[0] = e->shard;
    params[1] = text;

    if (tf_pg_query(pg, NULL, 0, "INSERT INTO trifecta.epoch (shard, epoch) "
                    "VALUES ($1::int, $2::bigint)", 2, params)
        != TF_PG_OK)
    {
        (void) tf_cli_error(cli, "cannot store the epoch: %s", pg->err);
        return -1;
    }

    (void) printf("adopted epoch %s of the queue in Redis\n", text);

    return 0;
}


/* What a crash would cost; said here because this is when it can be set. */

static void
tf_epoch_warn(const tf_conf_t *conf, tf_redis_t *redis)
{
    size_t       i;
    tf_doctor_t  d;

    memset(&d, 0, sizeof(tf_doctor_t));
    d.conf = conf;

    tf_doctor_durability(&d, redis);
    (void) fflush(stdout);

    for (i = 0; i < d.n; i++) {
        if (d.list[i].level != TF_DOCTOR_OK) {
            (void) fprintf(stderr, "warning: %s: %s; %s\n", d.list[i].what,
                           d.list[i].found, d.list[i].mend);
        }
    }

    tf_doctor_free(&d);
}


static int
tf_epoch_shard(tf_epoch_t *e, const tf_cli_t *cli, const tf_conf_t *conf,
    tf_pg_t *pg, tf_redis_t *redis)
{
    int      rc;
    int64_t  in_pg, in_redis;

    if (tf_redis_connect(redis) != 0) {
        (void) tf_cli_error(cli, "%s\nPostgreSQL is prepared; run migrate "
                            "again when Redis answers.", redis->err);
        return -1;
    }

    if (tf_epoch_library(e, cli, conf, redis) != 0
        || tf_epoch_read(e, cli, pg, redis, &in_pg, &in_redis) != 0)
    {
        return -1;
    }

    if (in_redis == 0 && in_pg == 0) {
        rc = tf_epoch_start(e, cli, pg, redis, 1);

    } else if (in_redis == 0) {
        rc = tf_epoch_lost(e, cli, conf, in_pg);
        if (rc == 0) {
            rc = tf_epoch_start(e, cli, pg, redis, in_pg + 1);
        }

    } else if (in_redis != in_pg) {
        rc = tf_epoch_foreign(e, cli, pg, redis, in_pg, in_redis);

    } else {
        rc = 0;
    }

    if (rc == 0) {
        tf_epoch_warn(conf, redis);
    }

    return rc;
}


/* Every shard, also when one of them fails. */

int
tf_epoch_migrate(tf_epoch_t *e, const tf_cli_t *cli, const tf_conf_t *conf,
    tf_pg_t *pg)
{
    int              rc;
    char             err[512], prefix[TF_KEY_PREFIX_MAX];
    unsigned         i;
    tf_redis_t       redis;
    tf_redis_urls_t  urls;

    if (tf_redis_urls(&urls, conf->redis_url, err, sizeof(err)) != 0) {
        (void) tf_cli_error(cli, "%s", err);
        return -1;
    }

    rc = 0;

    for (i = 0; i < urls.n; i++) {
        (void) snprintf(prefix, sizeof(prefix), TF_KEY_PREFIX_FMT, i);
        (void) snprintf(e->shard, sizeof(e->shard), "%u", i);

        if (urls.n > 1) {
            (void) snprintf(e->of, sizeof(e->of), " of shard %u", i);
        }

        tf_redis_init(&redis, conf, urls.url[i], prefix, 0);

        if (tf_epoch_shard(e, cli, conf, pg, &redis) != 0) {
            rc = -1;
        }

        tf_redis_close(&redis);
    }

    tf_redis_urls_free(&urls);

    return rc;
}
