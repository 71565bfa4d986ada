#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/born.h"
#include "queue/pool.h"


/*
 * The accept log's consumer: what was accepted becomes a row, behind the
 * submit.  Every entry stands alone and may come in any order or twice; two
 * sidecars share the work.  An entry is acknowledged after the commit only.
 * What a consumer that died left behind is taken over after a lease.
 */

#define TF_LEDGER_BATCH     500
#define TF_LEDGER_SAID      16      /* whose words are asked for at once */
#define TF_LEDGER_BLOCK_MS  1000

typedef struct {
    tf_queue_t  *q;
    tf_shard_t  *shard;
    tf_redis_t   redis;
    tf_pg_t      pg;
    char         key[TF_KEY_PREFIX_MAX + 8];
    int          again;         /* our own pending entries first */
    int64_t      stale_at;
} tf_ledger_t;

static const char *const  tf_ledger_fields[] = {
    "tenant", "owner", "groups", "scopes", "kind", "model", "prio",
    "request_id", "fp", "idem", "retry_of", "trace", "run_at", "acc", "dl",
    "payload", "ev"
};

#define TF_LEDGER_NFIELDS                                                     \
    (sizeof(tf_ledger_fields) / sizeof(tf_ledger_fields[0]))


/* Entries as XREADGROUP or XAUTOCLAIM list them; the caller frees root. */

static redisReply *
tf_ledger_read(tf_ledger_t *l, redisReply **root)
{
    int          stale;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    stale = tf_clock_ms() >= l->stale_at;

    if (stale) {
        l->stale_at = tf_clock_ms() + l->q->conf->lease / 2;
        tf_cmd_begin(&cmd, "XAUTOCLAIM");
        tf_cmd_str(&cmd, l->key);
        tf_cmd_str(&cmd, TF_GROUP_LEDGER);
        tf_cmd_str(&cmd, l->shard->worker);
        tf_cmd_num(&cmd, l->q->conf->lease);
        tf_cmd_str(&cmd, "0");
        tf_cmd_str(&cmd, "COUNT");
        tf_cmd_num(&cmd, TF_LEDGER_BATCH);

    } else {
        tf_cmd_begin(&cmd, "XREADGROUP");
        tf_cmd_str(&cmd, "GROUP");
        tf_cmd_str(&cmd, TF_GROUP_LEDGER);
        tf_cmd_str(&cmd, l->shard->worker);
        tf_cmd_str(&cmd, "COUNT");
        tf_cmd_num(&cmd, TF_LEDGER_BATCH);
        tf_cmd_str(&cmd, "BLOCK");
        tf_cmd_num(&cmd, TF_LEDGER_BLOCK_MS);
        tf_cmd_str(&cmd, "STREAMS");
        tf_cmd_str(&cmd, l->key);
        tf_cmd_str(&cmd, l->again ? "0" : ">");
    }

    reply = tf_redis_call(&l->redis, TF_LEDGER_BLOCK_MS
                          + TF_REDIS_COMMAND_MS, &cmd);
    tf_cmd_free(&cmd);

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(l->redis.err, sizeof(l->redis.err), "Redis: %s",
                        reply->str);
        freeReplyObject(reply);
        tf_redis_close(&l->redis);
        l->redis.refused = 1;
        reply = NULL;
    }

    *root = reply;

    if (stale) {
        return tf_reply_len(reply) > 1 ? reply->element[1] : NULL;
    }

    if (tf_reply_len(reply) == 0 || tf_reply_len(reply->element[0]) < 2) {
        return NULL;
    }

    if (tf_reply_len(reply->element[0]->element[1]) == 0) {
        l->again = 0;
    }

    return reply->element[0]->element[1];
}


static const char *
tf_ledger_field(const redisReply *entry, const char *name)
{
    size_t             i;
    const redisReply  *fields;

    if (tf_reply_len(entry) < 2) {
        return "";
    }

    fields = entry->element[1];

    for (i = 0; i + 1 < tf_reply_len(fields); i += 2) {
        if (strcmp(tf_reply_str(fields, i), name) == 0) {
            return tf_reply_str(fields, i + 1);
        }
    }

    return "";
}


static void
tf_ledger_row(json_t *rows, const redisReply *entry, const redisReply *values)
{
    size_t       i;
    json_t      *row, *value;
    const char  *text;

    if (strcmp(tf_ledger_field(entry, "op"), "damaged") == 0) {
        /* nothing of its hash can be relied on; the id names its row */

        row = json_pack("{s:s, s:s}", "op", "damaged",
                        "id", tf_ledger_field(entry, "id"));
        (void) json_array_append_new(rows, row);
        return;
    }

    if (tf_reply_len(values) != TF_LEDGER_NFIELDS
        || tf_reply_str(values, 0)[0] == '\0')
    {
        /* the job's hash has gone: it ended long ago, its row is there */
        return;
    }

    row = json_pack("{s:s, s:s}", "op", tf_ledger_field(entry, "op"),
                    "id", tf_ledger_field(entry, "id"));

    if (strcmp(tf_ledger_field(entry, "op"), "end") == 0) {
        (void) json_object_set_new(row, "state",
                                   json_string(tf_ledger_field(entry,
                                                               "state")));
    }

    for (i = 0; row != NULL && i < TF_LEDGER_NFIELDS; i++) {
        text = tf_reply_str(values, i);

        if (values->element[i]->type == REDIS_REPLY_NIL) {
            /* a member that is missing is NULL there */
            continue;
        }

        if (strcmp(tf_ledger_fields[i], "ev") == 0
            && strcmp(tf_ledger_field(entry, "op"), "cancel") != 0
            && strcmp(tf_ledger_field(entry, "op"), "expire") != 0)
        {
            continue;
        }

        if (strcmp(tf_ledger_fields[i], "payload") == 0) {
            value = json_loads(text, 0, NULL);
            (void) json_object_set_new(row, "request",
                                       value ? value : json_null());

        } else if (strcmp(tf_ledger_fields[i], "groups") == 0
                   || strcmp(tf_ledger_fields[i], "scopes") == 0)
        {
            value = json_loads(text, 0, NULL);
            (void) json_object_set_new(row, tf_ledger_fields[i],
                                       value ? value : json_array());

        } else {
            (void) json_object_set_new(row, tf_ledger_fields[i],
                                       json_string(text));
        }
    }

    (void) json_array_append_new(rows, row);
}


/* What a job said before its end, from Redis' answer. */

static void
tf_ledger_say(json_t *row, const redisReply *said)
{
    tf_job_t  job;

    (void) json_object_del(row, "ev");

    if (tf_reply_len(said) != 2) {
        return;
    }

    memset(&job, 0, sizeof(job));
    (void) snprintf(job.id, sizeof(job.id), "%s",
                    json_string_value(json_object_get(row, "id")));
    job.state = TF_JOB_CANCELLED;
    job.attempt = (int) tf_reply_num(said, 0);
    job.emit = tf_emit_earlier(said->element[1], job.attempt + 1);

    if (job.emit != NULL) {
        tf_emit_row(&job, row);
        tf_emit_destroy(job.emit);
    }
}


/*
 * Jobs that ended while they waited may have said something before, in an
 * attempt that was given back.  Each of them may have said megabytes, so they
 * are asked for a few at a time, and Redis answers with no more than some of
 * them at once.  0, or -1: Redis is away.
 */

static int
tf_ledger_said(tf_ledger_t *l, json_t *rows)
{
    size_t       i, n, answered;
    json_t      *row, *some[TF_LEDGER_SAID];
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    for ( ;; ) {
        n = 0;
        tf_cmd_fcall(&cmd, TF_FN_SAID, l->shard->prefix);

        json_array_foreach(rows, i, row) {
            if (n < TF_LEDGER_SAID && json_object_get(row, "ev") != NULL) {
                tf_cmd_str(&cmd,
                           json_string_value(json_object_get(row, "id")));
                some[n++] = row;
            }
        }

        reply = n ? tf_redis_call(&l->redis, 0, &cmd) : NULL;
        tf_cmd_free(&cmd);

        if (n == 0 || reply == NULL) {
            return n == 0 ? 0 : -1;
        }

        answered = tf_reply_len(reply);

        for (i = 0; i < n && i < answered; i++) {
            tf_ledger_say(some[i], reply->element[i]);
        }

        freeReplyObject(reply);

        if (answered == 0) {
            return -1;
        }
    }
}


/* The jobs of the entries, as the rows that tf_store_ledger() takes. */

static char *
tf_ledger_rows(tf_ledger_t *l, const redisReply *entries, size_t from,
    size_t n)
{
    char         key[TF_KEY_PREFIX_MAX + 64];
    char        *text;
    json_t      *rows;
    size_t       i, k;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    for (i = 0; i < n; i++) {
        (void) snprintf(key, sizeof(key), "%s:j:%.48s", l->shard->prefix,
                        tf_ledger_field(entries->element[from + i], "id"));
        tf_cmd_begin(&cmd, "HMGET");
        tf_cmd_str(&cmd, key);

        for (k = 0; k < TF_LEDGER_NFIELDS; k++) {
            tf_cmd_str(&cmd, tf_ledger_fields[k]);
        }

        if (tf_redis_append(&l->redis, &cmd) != 0) {
            tf_cmd_free(&cmd);
            return NULL;
        }
    }

    tf_cmd_free(&cmd);
    rows = json_array();

    for (i = 0; i < n; i++) {
        reply = tf_redis_reply(&l->redis, 0);
        if (reply == NULL) {
            json_decref(rows);
            return NULL;
        }

        tf_ledger_row(rows, entries->element[from + i], reply);
        freeReplyObject(reply);
    }

    text = tf_ledger_said(l, rows) == 0 ? json_dumps(rows, JSON_COMPACT)
                                        : NULL;
    json_decref(rows);

    return text;
}


/*
 * Jobs that ended in the queue have deliveries, too.  "now" is the time of the
 * last entry; what fails here is found by the reconciler.
 */

static void
tf_ledger_born(tf_ledger_t *l, const char *text, int64_t now)
{
    size_t       i, n;
    json_t      *rows, *row;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_born_t    of;
    const char  *op;

    if (!tf_born_wanted(text)) {
        return;
    }

    rows = json_loads(text, 0, NULL);
    n = 0;

    json_array_foreach(rows, i, row) {
        op = json_string_value(json_object_get(row, "op"));
        of.id = json_string_value(json_object_get(row, "id"));
        of.tenant = json_string_value(json_object_get(row, "tenant"));
        of.owner = json_string_value(json_object_get(row, "owner"));
        of.request_id = json_string_value(json_object_get(row, "request_id"));
        of.now = now;

        if ((strcmp(op, "cancel") == 0 || strcmp(op, "expire") == 0)
            && of.owner != NULL && of.request_id != NULL
            && json_is_string(json_object_get(json_object_get(row, "request"),
                                              "webhook_url"))
            && tf_born_cmd(&of, l->shard->prefix, &cmd) == 0
            && tf_redis_append(&l->redis, &cmd) == 0)
        {
            n++;
        }
    }

    tf_cmd_free(&cmd);
    json_decref(rows);

    for ( /* void */ ; n > 0; n--) {
        freeReplyObject(tf_redis_reply(&l->redis, 0));
    }
}


/* 0: stored and acknowledged; -1: a store is away, the entries stay. */

static int
tf_ledger_store(tf_ledger_t *l, const redisReply *entries, size_t from,
    size_t n)
{
    char            *rows;
    size_t           i;
    tf_cmd_t         cmd = TF_CMD_INIT;
    redisReply      *reply;
    tf_pg_status_t   rc;

    rows = tf_ledger_rows(l, entries, from, n);
    if (rows == NULL) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    tf_fault(ledger, gathered);
    rc = tf_store_ledger(&l->pg, rows);

    if (rc == TF_PG_ERROR && n == 1) {
        tf_log(TF_LOG_ERROR, "accepted job %s cannot be written to the "
               "ledger: %s", tf_ledger_field(entries->element[from], "id"),
               l->pg.err);
        rc = tf_store_refused_entry(&l->pg, rows);
    }

    if (rc == TF_PG_OK) {
        tf_ledger_born(l, rows, strtoll(tf_reply_str(
                           entries->element[from + n - 1], 0), NULL, 10));
    }

    free(rows);

    if (rc == TF_PG_OK) {
        tf_answers_note(&l->q->answers);
        atomic_store(&l->shard->ledgered, tf_clock_ms());
    }

    if (rc == TF_PG_DOWN) {
        tf_pool_store_down(l->q, l->pg.err);
        return -1;
    }

    if (rc == TF_PG_ERROR && n > 1) {
        for (i = 0; i < n; i++) {
            if (tf_ledger_store(l, entries, from + i, 1) != 0) {
                return -1;
            }
        }
        return 0;
    }

    tf_cmd_fcall(&cmd, TF_FN_LEDGERED, l->shard->prefix);

    for (i = 0; i < n; i++) {
        tf_cmd_str(&cmd, tf_reply_str(entries->element[from + i], 0));
        tf_cmd_str(&cmd, tf_ledger_field(entries->element[from + i], "id"));
    }

    reply = tf_redis_call(&l->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(l->redis.err, sizeof(l->redis.err), "Redis: %s",
                        reply->str);
        freeReplyObject(reply);
        tf_redis_close(&l->redis);
        l->redis.refused = 1;
        reply = NULL;
    }

    if (reply == NULL) {
        tf_pool_shard_down(l->shard, l->redis.err);
        return -1;
    }

    tf_fault(ledger, answered);
    freeReplyObject(reply);
    (void) atomic_fetch_add(&l->q->counters.ledgered, n);
    tf_hist_add(&l->q->hist.ledger, &tf_hist_size, (int64_t) n);

    return 0;
}


void *
tf_pool_ledger(void *data)
{
    int           rc;
    size_t        n;
    unsigned      streak;
    tf_queue_t   *q;
    redisReply   *root, *entries;
    tf_ledger_t   l;

    memset(&l, 0, sizeof(l));
    l.shard = data;
    q = l.q = l.shard->q;
    tf_pool_redis(l.shard, &l.redis);
    tf_pg_init(&l.pg, q->conf, TF_PG_QUEUE);
    (void) snprintf(l.key, sizeof(l.key), "%s:acc", l.shard->prefix);
    streak = 0;

    while (tf_pool_named(l.shard) == 0 && !tf_pool_over(q)) {
        tf_pulse_try(&l.shard->pulses[TF_POOL_STEP_ledger]);
        l.pg.sqlstate[0] = '\0';

        entries = tf_ledger_read(&l, &root);
        n = tf_reply_len(entries);
        rc = 0;

        if (root == NULL) {
            tf_pool_shard_down(l.shard, l.redis.err);
            rc = -1;

        } else if (n > 0) {
            tf_fault(ledger, read);
            rc = tf_ledger_store(&l, entries, 0, n);

        } else if (tf_pool_silent(q)) {
            rc = tf_pool_ping(q, &l.pg);
        }

        if (root != NULL) {
            freeReplyObject(root);
        }

        tf_pool_tried(&l.shard->pulses[TF_POOL_STEP_ledger], rc == 0,
                      l.redis.refused || l.pg.sqlstate[0] != '\0');

        if (rc != 0) {
            l.again = 1;
            tf_pool_sleep(q, tf_pool_backoff(streak++));

        } else {
            streak = 0;
        }
    }

    tf_redis_close(&l.redis);
    tf_pg_close(&l.pg);

    return NULL;
}
