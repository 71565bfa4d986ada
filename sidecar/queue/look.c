#include "queue/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/keys.h>

#include "queue/durability.h"
#include "queue/library.h"


static const char *const  tf_look_fields[] = {
    "epoch", "schema", "install", "server", "store", "rebuild", "mark", "wal",
    "shards"
};

#define TF_LOOK_NFIELDS  (sizeof(tf_look_fields) / sizeof(tf_look_fields[0]))


static void
tf_look_meta(tf_look_t *look, const redisReply *meta)
{
    char  *end;

    look->epoch = tf_reply_num(meta, 0);
    look->rebuild = tf_reply_num(meta, 5);
    look->wal = tf_reply_num(meta, 7);

    look->mark = strtoll(tf_reply_str(meta, 6), &end, 10);
    look->marked = strtoll(end, NULL, 10);

    look->shards = strtoll(tf_reply_str(meta, 8), &end, 10);
    look->shards_since = strtoll(end, &end, 10);
    look->shards_last = strtoll(end, NULL, 10);

    (void) snprintf(look->schema, sizeof(look->schema), "%s",
                    tf_reply_str(meta, 1));
    (void) snprintf(look->install, sizeof(look->install), "%s",
                    tf_reply_str(meta, 2));
    (void) snprintf(look->server, sizeof(look->server), "%s",
                    tf_reply_str(meta, 3));
    (void) snprintf(look->store, sizeof(look->store), "%s",
                    tf_reply_str(meta, 4));
}


/* 0, or -1 when this server is not one for a queue. */

static int
tf_look_info(tf_look_t *look, tf_redis_t *redis, const redisReply *server,
    const redisReply *replication)
{
    char  run[64], replid[64], role[16];

    tf_info_value(server->str, "run_id", run, sizeof(run));
    tf_info_value(replication->str, "master_replid", replid, sizeof(replid));
    tf_info_value(replication->str, "role", role, sizeof(role));

    if (run[0] == '\0' || replid[0] == '\0') {
        (void) snprintf(redis->err, sizeof(redis->err), "Redis does not say "
                        "its run_id and master_replid in INFO: its user "
                        "needs the command INFO");
        return -1;
    }

    if (strcmp(role, "master") != 0) {
        (void) snprintf(redis->err, sizeof(redis->err), "this Redis is a "
                        "replica (role %s): the queue is at its master",
                        role);
        return -1;
    }

    (void) snprintf(look->identity, sizeof(look->identity), "%s:%s", run,
                    replid);

    return 0;
}


int
tf_look_redis(tf_look_t *look, tf_redis_t *redis, const char *prefix)
{
    int          rc;
    char         key[TF_KEY_PREFIX_MAX + 8];
    size_t       i, k;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply[5];

    static const char *const  commands[4][4] = {
        { "INFO", "server", NULL, NULL },
        { "INFO", "replication", NULL, NULL },
        { "TIME", NULL, NULL, NULL },
        { "FUNCTION", "LIST", "LIBRARYNAME", TF_LIBRARY }
    };

    memset(look, 0, sizeof(tf_look_t));
    memset(reply, 0, sizeof(reply));
    (void) snprintf(key, sizeof(key), "%s:meta", prefix);
    rc = -1;

    for (i = 0; i < 5; i++) {
        if (i == 0) {
            tf_cmd_begin(&cmd, "HMGET");
            tf_cmd_str(&cmd, key);

            for (k = 0; k < TF_LOOK_NFIELDS; k++) {
                tf_cmd_str(&cmd, tf_look_fields[k]);
            }

        } else {
            tf_cmd_begin(&cmd, commands[i - 1][0]);

            for (k = 1; k < 4 && commands[i - 1][k] != NULL; k++) {
                tf_cmd_str(&cmd, commands[i - 1][k]);
            }
        }

        if (tf_redis_append(redis, &cmd) != 0) {
            goto done;
        }
    }

    for (i = 0; i < 5; i++) {
        reply[i] = tf_redis_reply(redis, 0);

        if (reply[i] == NULL) {
            goto done;
        }
    }

    for (i = 0; i < 5; i++) {
        if (reply[i]->type == REDIS_REPLY_ERROR) {
            (void) snprintf(redis->err, sizeof(redis->err), "Redis: %s",
                            reply[i]->str);
            goto done;
        }
    }

    if (reply[1]->type != REDIS_REPLY_STRING
        || reply[2]->type != REDIS_REPLY_STRING
        || tf_reply_len(reply[0]) != TF_LOOK_NFIELDS)
    {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "unexpected reply of Redis");
        goto done;
    }

    tf_look_meta(look, reply[0]);
    look->now = tf_reply_num(reply[3], 0) * 1000
                + tf_reply_num(reply[3], 1) / 1000;
    look->library = tf_reply_len(reply[4]) > 0;

    rc = tf_look_info(look, redis, reply[1], reply[2]);

done:

    for (i = 0; i < 5; i++) {
        freeReplyObject(reply[i]);
    }

    tf_cmd_free(&cmd);

    return rc;
}


int
tf_look_pg(tf_look_t *look, tf_pg_t *pg, unsigned shard)
{
    char         text[12];
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(text, sizeof(text), "%u", shard);
    params[0] = text;

    if (tf_pg_query(pg, &res, 0,
            "SELECT (SELECT id FROM trifecta.install), "
            "trifecta.store_identity(), "
            "(pg_current_wal_flush_lsn() - '0/0')::bigint, "
            "(SELECT mark FROM trifecta.shard WHERE shard = $1::integer), "
            "(SELECT max(epoch) FROM trifecta.epoch "
            "WHERE shard = $1::integer)", 1, params)
        != TF_PG_OK)
    {
        return -1;
    }

    (void) snprintf(look->pg_install, sizeof(look->pg_install), "%s",
                    PQgetvalue(res, 0, 0));
    (void) snprintf(look->pg_store, sizeof(look->pg_store), "%s",
                    PQgetvalue(res, 0, 1));
    look->pg_wal = strtoll(PQgetvalue(res, 0, 2), NULL, 10);
    look->pg_mark = strtoll(PQgetvalue(res, 0, 3), NULL, 10);
    look->pg_epoch = strtoll(PQgetvalue(res, 0, 4), NULL, 10);
    PQclear(res);

    if (look->pg_install[0] == '\0') {
        (void) snprintf(pg->err, sizeof(pg->err), "trifecta.install is empty: "
                        "run \"trifecta migrate\", which fills it with the id "
                        "that Redis has");
        return -1;
    }

    if (look->pg_store[0] == '\0') {
        (void) snprintf(pg->err, sizeof(pg->err), "trifecta.store_identity() "
                        "says nothing: run \"trifecta doctor\"");
        return -1;
    }

    return 0;
}


int
tf_look_adopted(const tf_look_t *look)
{
    return look->epoch > 0 && look->rebuild == 0
           && strcmp(look->server, look->identity) == 0;
}


/* The same server, but with less than it had. */

static int
tf_look_went_back(const tf_look_t *look)
{
    return look->epoch > look->pg_epoch || look->mark > look->pg_mark
           || look->wal > look->pg_wal;
}


int
tf_look_store_changed(const tf_look_t *look)
{
    return look->store[0]
           && (strcmp(look->store, look->pg_store) != 0
               || tf_look_went_back(look));
}


tf_look_verdict_t
tf_look_verdict(const tf_look_t *look, const char **why)
{
    *why = NULL;

    if (look->install[0] && strcmp(look->install, look->pg_install) != 0) {
        *why = "this Redis holds the queue of another installation";
        return TF_LOOK_FOREIGN;
    }

    if (look->epoch && strcmp(look->schema, TF_REDIS_SCHEMA_STR) != 0) {
        *why = "the queue in this Redis was made by another release";
        return TF_LOOK_SCHEMA;
    }

    if (look->epoch == 0) {
        *why = look->pg_epoch
               ? "Redis holds no queue, but had one: it was emptied, lost its "
                 "data or is another one"
               : "the queue is new";

    } else if (look->store[0] && strcmp(look->store, look->pg_store) != 0) {
        *why = "PostgreSQL was restored, promoted or is another one";

    } else if (look->store[0] && tf_look_went_back(look)) {
        *why = "PostgreSQL went back to an earlier moment";

    } else if (look->rebuild) {
        *why = "a rebuild did not come to its end";

    } else if (look->server[0] == '\0') {
        *why = "the queue is not adopted";

    } else if (!tf_look_adopted(look)) {
        *why = "Redis was restarted, failed over or is another one";

    } else {
        return TF_LOOK_WHOLE;
    }

    return TF_LOOK_REBUILD;
}
