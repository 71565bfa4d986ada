#include "queue/batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


/*
 * The end of batches, and what Redis has to be told of their jobs.
 */

#define TF_BATCHES_REDIS_MS   1000
#define TF_BATCHES_CANCEL_MS  100       /* of a round, at least */


/* The two digits of an id that are its shard's: of shards that answer only. */

static const char  tf_batches_stop_sql[] =
    "SELECT l.job, b.tenant, b.owner FROM trifecta.batch AS b "
    "CROSS JOIN LATERAL (SELECT job FROM trifecta.batch_line "
        "WHERE batch = b.id AND NOT ended AND job IS NOT NULL "
        "AND substr(job::text, 16, 2) = ANY ($2::text[]) "
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


/* The shard of an id; TF_SHARDS_MAX: it is none, or of none that is there. */

static unsigned
tf_batches_shard(tf_batches_t *b, const char *id)
{
    tf_id_t   parsed;
    unsigned  shard;

    if (tf_id_parse(&parsed, id, strlen(id)) != 0) {
        return TF_SHARDS_MAX;
    }

    shard = tf_id_shard(&parsed);

    return shard < b->q->nshards ? shard : TF_SHARDS_MAX;
}


/* The items, to their shard. */

static void
tf_batches_restore(tf_batches_t *b, unsigned shard)
{
    tf_compare_t  compare;

    /* what a connection of its own would do were done without the lock */

    if (b->pg.conn == NULL || !tf_batches_kept(b, shard)) {
        return;
    }

    memset(&compare, 0, sizeof(tf_compare_t));
    compare.redis = &b->redis[shard];
    compare.pg = &b->pg;
    compare.prefix = b->q->shards[shard].prefix;
    compare.shard = shard;
    compare.nshards = b->q->nshards;
    compare.counters = &b->restored;

    if (tf_compare_apply(&compare, &b->items) != 0) {
        tf_batches_say(b, "%s", compare.err);
        tf_redis_close(&b->redis[shard]);
    }
}


void
tf_batches_put(tf_batches_t *b, PGresult *jobs, const char *only)
{
    int          i;
    unsigned     shard;
    tf_item_t   *item;
    const char  *id;

    for (shard = 0; shard < b->q->nshards; shard++) {
        b->items.n = 0;

        for (i = 0; i < PQntuples(jobs) && b->items.n < TF_COMPARE_MAX; i++) {
            id = PQgetvalue(jobs, i, 0);

            if ((only == NULL || only[i]) && tf_batches_shard(b, id) == shard)
            {
                item = &b->items.list[b->items.n++];
                memcpy(item->id, id, TF_ID_TEXT_LEN + 1);
                item->act = TF_ACT_RESTORE;
            }
        }

        if (b->items.n > 0) {
            tf_batches_restore(b, shard);
        }
    }
}


void
tf_batches_fcall(tf_batches_t *b, const char *function, const char *tenant,
    const char *owner, const char *id, char *text)
{
    tf_cmd_t     cmd = TF_CMD_INIT;
    unsigned     shard;
    redisReply  *reply;

    text[0] = '\0';
    shard = tf_batches_shard(b, id);

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
 * Cancels the jobs of some rows, until one of their shards does not answer:
 * 0, and it has no place in "answers" any more.  1: all were asked, or the
 * time is over.  A job of which Redis does not know is put there: the next
 * sweep can cancel it.
 */

static int
tf_batches_stop(tf_batches_t *b, PGresult *res, char *answers, int64_t until)
{
    int          i, rc;
    char         said[16], absent[TF_COMPARE_MAX];
    unsigned     shard;
    const char  *id;

    rc = 1;
    memset(absent, 0, sizeof(absent));

    for (i = 0; i < PQntuples(res) && i < TF_COMPARE_MAX; i++) {
        id = PQgetvalue(res, i, 0);
        shard = tf_batches_shard(b, id);

        if (shard == TF_SHARDS_MAX) {
            continue;
        }

        if (tf_clock_ms() >= until || tf_pool_over(b->q)) {
            break;
        }

        tf_batches_fcall(b, TF_FN_CANCEL, PQgetvalue(res, i, 1),
                         PQgetvalue(res, i, 2), id, said);

        if (said[0] == '\0') {
            answers[shard] = 0;
            rc = 0;
            break;
        }

        absent[i] = strcmp(said, "ABSENT") == 0;
    }

    tf_batches_put(b, res, absent);

    return rc;
}


/*
 * When a shard fails its rows are left out and the next ones are asked for:
 * each round has a shard less.  Each has some time, though the lines that end
 * and begin, or the shard that failed, have taken all of it.
 */

int
tf_batches_cancel(tf_batches_t *b, int64_t until)
{
    int          rc, all;
    char         answers[TF_SHARDS_MAX];
    tf_buf_t     shards = TF_BUF_INIT;
    unsigned     i, kept;
    PGresult    *res;
    const char  *params[2];

    for (i = 0; i < b->q->nshards; i++) {
        answers[i] = (char) tf_batches_kept(b, i);
    }

    rc = 0;

    do {
        kept = 0;
        tf_buf_reset(&shards);

        for (i = 0; i < b->q->nshards; i++) {
            if (answers[i]) {
                tf_buf_printf(&shards, "%s%02x", kept++ ? "," : "{", i);
            }
        }

        if (kept == 0) {
            break;
        }

        tf_buf_puts(&shards, "}");
        params[0] = b->page.data;
        params[1] = shards.data;

        if (shards.failed
            || tf_batches_query(b, &res, tf_batches_stop_sql, 2, params) != 0)
        {
            rc = -1;
            break;
        }

        if (until < tf_clock_ms() + TF_BATCHES_CANCEL_MS) {
            until = tf_clock_ms() + TF_BATCHES_CANCEL_MS;
        }

        rc += PQntuples(res);
        all = tf_batches_stop(b, res, answers, until);
        PQclear(res);

    } while (!all && !tf_pool_over(b->q));

    tf_buf_free(&shards);

    return rc;
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
