#include "queue/batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/log.h"
#include "queue/pool.h"


/*
 * The end of batches, and what Redis has to be told of their jobs.
 */

#define TF_BATCHES_REDIS_MS  1000


static const char  tf_batches_stop_sql[] =
    "SELECT l.job, b.tenant, b.owner FROM trifecta.batch AS b "
    "CROSS JOIN LATERAL (SELECT job FROM trifecta.batch_line "
        "WHERE batch = b.id AND NOT ended AND job IS NOT NULL "
        "ORDER BY n LIMIT 1000) AS l "
    "WHERE b.id = ANY ($1::uuid[]) AND (b.state = 'cancelling' "
        "OR b.state = 'in_progress' AND b.expiring) "
    "LIMIT 500";        /* TF_COMPARE_MAX */

static const char  tf_batches_final_sql[] =
    "WITH f AS (UPDATE trifecta.batch SET state = 'finalizing', "
        "finalizing = now() WHERE id = ANY ($1::uuid[]) "
        "AND state = 'in_progress' AND done + failed = total RETURNING 1) "
    "SELECT count(*) FROM f";

/* Ids are ordered by time, all of them: lists of files go by it. */

#define TF_BATCHES_MS                                                         \
    "lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')"
#define TF_BATCHES_ID                                                         \
    "overlay(overlay(gen_random_uuid()::text PLACING '7' FROM 15) "           \
        "PLACING substr(" TF_BATCHES_MS ", 1, 8) || '-' || "                  \
        "substr(" TF_BATCHES_MS ", 9, 4) FROM 1 FOR 13)::uuid"

/* A file of the output, or of the errors, is there when a line is in it. */

#define TF_BATCHES_FILE(word, count, bytes)                                   \
    "(INSERT INTO trifecta.file (id, tenant, owner, name, purpose, bytes, "   \
        "expires, whole, batch, kind) "                                       \
        "SELECT " TF_BATCHES_ID ", tenant, owner, "                           \
        "'batch_' || replace(id::text, '-', '') || '_" word ".jsonl', "       \
        "'batch_output', " bytes ", now() + output_expires_after "            \
        "* interval '1 s', true, id, '" word "' FROM e WHERE " count " > 0 "  \
        "RETURNING id, batch)"

static const char  tf_batches_close_sql[] =
    "WITH e AS MATERIALIZED (SELECT * FROM trifecta.batch "
        "WHERE id = ANY ($1::uuid[]) AND done + failed = total "
        "AND (state = 'finalizing' "
        "OR (state = 'cancelling' AND begun IS NOT NULL)) "
        "ORDER BY id FOR UPDATE), "
    "o AS " TF_BATCHES_FILE("output", "done", "output_bytes") ", "
    "f AS " TF_BATCHES_FILE("error", "failed", "error_bytes") ", "
    "c AS (UPDATE trifecta.batch AS b SET ended = now(), output = o.id, "
        "errors_file = f.id, state = CASE WHEN b.state = 'cancelling' "
        "THEN 'cancelled' WHEN b.expiring THEN 'expired' "
        "ELSE 'completed' END "
        "FROM e LEFT JOIN o ON o.batch = e.id LEFT JOIN f ON f.batch = e.id "
        "WHERE b.id = e.id RETURNING b.id) "
    "SELECT count(*) FROM c";


/* Whether the keeper of the shard has found it to be ours. */

static int
tf_batches_kept(tf_batches_t *b, unsigned shard)
{
    int          kept;
    tf_shard_t  *s;

    if (shard >= b->q->nshards) {
        return 0;
    }

    s = &b->q->shards[shard];

    (void) pthread_mutex_lock(&b->q->mutex);
    kept = s->install[0] != '\0' && s->unkept[0] == '\0' && !s->down;
    (void) pthread_mutex_unlock(&b->q->mutex);

    if (kept) {
        b->redis[shard].connect_ms = TF_BATCHES_REDIS_MS;
        b->redis[shard].command_ms = TF_BATCHES_REDIS_MS;
    }

    return kept;
}


int
tf_batches_put(tf_batches_t *b, unsigned shard)
{
    unsigned      i;
    tf_compare_t  compare;

    /* what a connection of its own would do were done without the lock */

    if (b->pg.conn == NULL || !tf_batches_kept(b, shard)) {
        return -1;
    }

    memset(&compare, 0, sizeof(tf_compare_t));
    compare.redis = &b->redis[shard];
    compare.pg = &b->pg;
    compare.prefix = b->q->shards[shard].prefix;
    compare.shard = shard;
    compare.nshards = b->q->nshards;
    compare.counters = &b->restored;

    for (i = 0; i < b->items.n; i++) {
        b->items.list[i].act = TF_ACT_RESTORE;
    }

    if (tf_compare_apply(&compare, &b->items) != 0) {
        tf_batches_say(b, "%s", compare.err);
        tf_redis_close(&b->redis[shard]);
        return -1;
    }

    return 0;
}


void
tf_batches_fcall(tf_batches_t *b, const char *function, const char *tenant,
    const char *owner, const char *id, char *text)
{
    tf_id_t      parsed;
    tf_cmd_t     cmd = TF_CMD_INIT;
    unsigned     shard;
    redisReply  *reply;

    text[0] = '\0';

    if (tf_id_parse(&parsed, id, strlen(id)) != 0) {
        return;
    }

    shard = tf_id_shard(&parsed);

    if (!tf_batches_kept(b, shard)) {
        return;
    }

    tf_cmd_fcall(&cmd, function, b->q->shards[shard].prefix);
    tf_cmd_str(&cmd, tenant);
    tf_cmd_str(&cmd, owner);
    tf_cmd_str(&cmd, id);
    reply = tf_redis_call(&b->redis[shard], 0, &cmd);
    tf_cmd_free(&cmd);

    (void) snprintf(text, 16, "%s", tf_reply_str(reply, 0));

    if (text[0] == '\0') {
        tf_batches_say(b, "%s", reply != NULL && reply->str ? reply->str
                                : b->redis[shard].err);
    }

    freeReplyObject(reply);
}


/*
 * A job of which Redis does not know is put there first: the next sweep can
 * cancel it.
 */

int
tf_batches_cancel(tf_batches_t *b)
{
    int          i, n;
    char         said[16];
    tf_id_t      id;
    unsigned     shard;
    PGresult    *res;
    const char  *params[1], *text;

    params[0] = b->page.data;

    if (tf_batches_query(b, &res, tf_batches_stop_sql, 1, params) != 0) {
        return -1;
    }

    n = PQntuples(res);
    b->items.n = 0;

    for (i = 0; i < n; i++) {
        text = PQgetvalue(res, i, 0);
        tf_batches_fcall(b, TF_FN_CANCEL, PQgetvalue(res, i, 1),
                         PQgetvalue(res, i, 2), text, said);

        if (said[0] == '\0') {
            /* a Redis is away: nobody waits for it for every job */
            break;
        }

        if (strcmp(said, "ABSENT") == 0 && b->items.n < TF_COMPARE_MAX) {
            memcpy(b->items.list[b->items.n++].id, text, TF_ID_TEXT_LEN + 1);
        }
    }

    PQclear(res);

    /* those of one tenant are in one shard, but for a moved one's */

    for (shard = 0; b->items.n > 0 && shard < b->q->nshards; shard++) {
        text = b->items.list[0].id;

        if (tf_id_parse(&id, text, strlen(text)) == 0
            && tf_id_shard(&id) == shard)
        {
            (void) tf_batches_put(b, shard);
            break;
        }
    }

    return n;
}


int
tf_batches_close(tf_batches_t *b)
{
    int          n;
    PGresult    *res;
    const char  *params[1];

    params[0] = b->page.data;

    if (tf_batches_query(b, &res, tf_batches_final_sql, 1, params) != 0) {
        return -1;
    }

    n = atoi(PQgetvalue(res, 0, 0));
    PQclear(res);

    if (n > 0) {
        tf_fault(batch, final);
    }

    if (tf_batches_query(b, &res, tf_batches_close_sql, 1, params) != 0) {
        return -1;
    }

    n = atoi(PQgetvalue(res, 0, 0));
    PQclear(res);

    if (n > 0) {
        tf_fault(batch, closed);
        (void) atomic_fetch_add(&b->stats->closed, (unsigned long) n);
        tf_log(TF_LOG_INFO, "%d batch%s came to an end", n,
               n == 1 ? "" : "es");
    }

    return n;
}
