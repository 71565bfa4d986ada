#include "queue/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* A key that was used again after its 24 h is the newest job's. */

static const char  tf_compare_idem_sql[] =
    "SELECT id, tenant, idem_key, coalesce(fingerprint, ''), "
    "(extract(epoch FROM accepted) * 1000)::bigint + 86400000 - $3::bigint "
    "FROM trifecta.job WHERE " TF_COMPARE_OF_SHARD
    " AND idem_key IS NOT NULL AND id > $2::uuid "
    "ORDER BY id LIMIT $4::integer";


/* Whether the key of a row belongs here, and has not ended. */

static int
tf_compare_idem_ours(tf_compare_t *c, const tf_compare_keys_t *keys,
    const PGresult *res, int row)
{
    const char  *tenant;

    if (strtoll(PQgetvalue(res, row, 4), NULL, 10) <= 0) {
        return 0;
    }

    tenant = PQgetvalue(res, row, 1);

    return keys->of == c->shard
           || tf_shard_of(tenant, strlen(tenant), c->nshards) == c->shard;
}


int
tf_compare_idem(tf_compare_t *c, tf_compare_keys_t *keys)
{
    int             i, n, more;
    char            of[12], ms[24], max[12];
    tf_cmd_t        cmd = TF_CMD_INIT;
    PGresult       *res;
    redisReply     *reply;
    const char     *params[4];
    unsigned long   restored;

    (void) snprintf(of, sizeof(of), "%u", keys->of);
    (void) snprintf(ms, sizeof(ms), "%lld", (long long) keys->now);
    (void) snprintf(max, sizeof(max), "%d", TF_COMPARE_MAX);

    params[0] = of;
    params[1] = keys->after;
    params[2] = ms;
    params[3] = max;

    if (tf_compare_pg_failed(c, tf_pg_query(c->pg, &res, TF_COMPARE_PG_MS,
                                            tf_compare_idem_sql, 4, params))
        != 0)
    {
        return -1;
    }

    n = 0;
    tf_cmd_fcall(&cmd, TF_FN_RESTORE_IDEM, c->prefix);

    for (i = 0; i < PQntuples(res); i++) {
        (void) snprintf(keys->after, sizeof(keys->after), "%s",
                        PQgetvalue(res, i, 0));

        if (!tf_compare_idem_ours(c, keys, res, i)) {
            continue;
        }

        tf_cmd_str(&cmd, PQgetvalue(res, i, 1));
        tf_cmd_str(&cmd, PQgetvalue(res, i, 2));
        tf_cmd_str(&cmd, PQgetvalue(res, i, 0));
        tf_cmd_str(&cmd, PQgetvalue(res, i, 3));
        tf_cmd_str(&cmd, PQgetvalue(res, i, 4));
        n++;
    }

    more = PQntuples(res) == TF_COMPARE_MAX;
    PQclear(res);

    if (n == 0) {
        tf_cmd_free(&cmd);
        return more;
    }

    reply = tf_redis_call(c->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        restored = (unsigned long) reply->integer;
        keys->restored += restored;
        (void) atomic_fetch_add(keys->of == c->shard ? &c->counters->idem
                                                     : &c->counters->followed,
                                restored);
    }

    return tf_compare_done(c, reply) == 0 ? more : -1;
}
