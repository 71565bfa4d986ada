#include "cli/installation.h"

#include <stdio.h>
#include <string.h>

#include <trifecta/keys.h>

#include "queue/redis.h"


#define TF_INSTALLATION_ID  64


/* What one shard says, "" if it says nothing; 0, or -1 with err. */

static int
tf_installation_ask(const tf_conf_t *conf, const char *url, unsigned shard,
    char *id, char *err, size_t errlen)
{
    int          rc;
    char         prefix[TF_KEY_PREFIX_MAX], key[TF_KEY_PREFIX_MAX + 8];
    tf_redis_t   redis;
    redisReply  *reply;

    (void) snprintf(prefix, sizeof(prefix), TF_KEY_PREFIX_FMT, shard);
    (void) snprintf(key, sizeof(key), "%s:meta", prefix);

    tf_redis_init(&redis, conf, url, prefix, 0);
    reply = tf_redis_command(&redis, 0, "HGET", key, "install", NULL);
    rc = -1;
    id[0] = '\0';

    if (reply == NULL) {
        (void) snprintf(err, errlen, "%s", redis.err);

    } else if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(err, errlen, "Redis: %s", reply->str);

    } else {
        rc = 0;

        if (reply->type == REDIS_REPLY_STRING) {
            (void) snprintf(id, TF_INSTALLATION_ID, "%s", reply->str);
        }
    }

    freeReplyObject(reply);
    tf_redis_close(&redis);

    return rc;
}


/* The id that the queues have, "" if they have none. */

static int
tf_installation_find(const tf_cli_t *cli, const tf_conf_t *conf,
    const tf_redis_urls_t *urls, char *id)
{
    char      err[512], away[600], next[TF_INSTALLATION_ID];
    unsigned  i;

    away[0] = '\0';
    id[0] = '\0';

    for (i = 0; i < urls->n; i++) {

        if (tf_installation_ask(conf, urls->url[i], i, next, err, sizeof(err))
            != 0)
        {
            (void) snprintf(away, sizeof(away), "shard %u: %s", i, err);
            continue;
        }

        if (next[0] && id[0] && strcmp(next, id) != 0) {
            (void) tf_cli_error(cli, "trifecta.install is empty, and the "
                                "queues of redis_url belong to two "
                                "installations (%s and %s): correct "
                                "redis_url, and run migrate again", id, next);
            return -1;
        }

        if (next[0]) {
            (void) strcpy(id, next);
        }
    }

    if (id[0] == '\0' && away[0]) {
        (void) tf_cli_error(cli, "trifecta.install is empty, and its id may "
                            "be in a Redis that does not say it: %s\nRun "
                            "migrate again when it answers.", away);
        return -1;
    }

    return 0;
}


int
tf_installation_mend(tf_epoch_t *e, const tf_cli_t *cli,
    const tf_conf_t *conf, tf_pg_t *admin, const tf_redis_urls_t *urls)
{
    int          there;
    char         id[TF_INSTALLATION_ID];
    PGresult    *res;
    const char  *params[1];

    if (tf_pg_query(admin, &res, 0, "SELECT id FROM trifecta.install", 0, NULL)
        != TF_PG_OK)
    {
        if (e->dry_run) {
            return 0;       /* there is no schema yet */
        }

        return tf_cli_error(cli, "%s", admin->err), -1;
    }

    there = PQntuples(res) > 0;
    PQclear(res);

    if (there) {
        return 0;
    }

    if (tf_installation_find(cli, conf, urls, id) != 0) {
        return -1;
    }

    e->changed = 1;

    if (e->dry_run) {
        (void) printf("would fill trifecta.install with %s\n",
                      id[0] ? id : "a new id");
        return 0;
    }

    params[0] = id[0] ? id : NULL;

    if (tf_pg_query(admin, &res, 0, "INSERT INTO trifecta.install (id) "
                    "SELECT coalesce($1::uuid, gen_random_uuid()) "
                    "RETURNING id", 1, params)
        != TF_PG_OK)
    {
        return tf_cli_error(cli, "trifecta.install is empty and cannot be "
                            "filled%s%s: %s", id[0] ? " with the id in Redis, "
                            : "", id, admin->err), -1;
    }

    (void) printf("filled trifecta.install with %s, %s\n",
                  PQgetvalue(res, 0, 0), id[0] ? "the id that Redis has"
                  : "a new id: no Redis has one");
    PQclear(res);

    return 0;
}
