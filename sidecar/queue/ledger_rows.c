#include "queue/ledger.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "queue/born.h"


#define TF_LEDGER_SAID  16      /* whose words are asked for at once */
#define TF_LEDGER_SOME  16      /* whose requests are */

/* In the order of tf_store_new(), and what a job said. */

static const char *const  tf_ledger_fields[] = {
    "tenant", "owner", "groups", "scopes", "kind", "model", "prio", "payload",
    "request_id", "fp", "idem", "retry_of", "trace", "run_at", "acc", "dl",
    "ev"
};

#define TF_LEDGER_PRIO      6
#define TF_LEDGER_RETRY_OF  11
#define TF_LEDGER_RUN_AT    13

#define TF_LEDGER_NFIELDS                                                     \
    (sizeof(tf_ledger_fields) / sizeof(tf_ledger_fields[0]))


const char *
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


/* Digits only, and not too many. */

static int
tf_ledger_number(const redisReply *value)
{
    return value->type == REDIS_REPLY_STRING && value->len > 0
           && value->len <= 15
           && strspn(value->str, "0123456789") == value->len;
}


/*
 * A new job as columns; 0, or -1 when it does not look well: then it is for
 * tf_ledger_row() to see what can be made of it.
 */

static int
tf_ledger_new(tf_pg_columns_t *c, const redisReply *entry,
    const redisReply *values)
{
    size_t             i;
    tf_id_t            id;
    const char        *job;
    const redisReply  *value;

    job = tf_ledger_field(entry, "id");

    if (strcmp(tf_ledger_field(entry, "op"), "new") != 0
        || tf_reply_len(values) != TF_LEDGER_NFIELDS
        || tf_reply_str(values, 0)[0] == '\0'
        || tf_id_parse(&id, job, strlen(job)) != 0
        || !tf_ledger_number(values->element[TF_LEDGER_PRIO])
        || values->element[TF_LEDGER_PRIO]->len > 1)
    {
        return -1;
    }

    for (i = TF_LEDGER_RUN_AT; i < TF_LEDGER_NFIELDS - 1; i++) {
        if (!tf_ledger_number(values->element[i])
            && !(i == TF_LEDGER_RUN_AT
                 && values->element[i]->type == REDIS_REPLY_NIL))
        {
            return -1;
        }
    }

    value = values->element[TF_LEDGER_RETRY_OF];

    if (value->type != REDIS_REPLY_NIL
        && tf_id_parse(&id, value->str, value->len) != 0)
    {
        return -1;
    }

    tf_pg_columns_id(c, job);

    for (i = 0; i < TF_LEDGER_NFIELDS - 1; i++) {
        value = values->element[i];

        if (value->type != REDIS_REPLY_STRING) {
            tf_pg_columns_null(c);

        } else if (i == TF_LEDGER_PRIO || i >= TF_LEDGER_RUN_AT) {
            tf_pg_columns_num(c, strtoll(value->str, NULL, 10));

        } else if (i == TF_LEDGER_RETRY_OF) {
            tf_pg_columns_id(c, value->str);

        } else {
            tf_pg_columns_text(c, value->str);
        }
    }

    return 0;
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


/* Asks for the fields of the entry's job; 0 or -1. */

static int
tf_ledger_ask(tf_ledger_t *l, const redisReply *entry)
{
    int       rc;
    char      key[TF_KEY_PREFIX_MAX + 64];
    size_t    i;
    tf_cmd_t  cmd = TF_CMD_INIT;

    (void) snprintf(key, sizeof(key), "%s:j:%.48s", l->shard->prefix,
                    tf_ledger_field(entry, "id"));
    tf_cmd_begin(&cmd, "HMGET");
    tf_cmd_str(&cmd, key);

    for (i = 0; i < TF_LEDGER_NFIELDS; i++) {
        tf_cmd_str(&cmd, tf_ledger_fields[i]);
    }

    rc = tf_redis_append(&l->redis, &cmd);
    tf_cmd_free(&cmd);

    return rc;
}


/* What Redis has of some of the entries; 0, or -1: it is away. */

static int
tf_ledger_some(tf_ledger_t *l, redisReply *const *entries, unsigned n,
    json_t *rows, unsigned *ops, tf_pg_columns_t *new, size_t *bytes)
{
    size_t       k;
    unsigned     i;
    redisReply  *reply;

    for (i = 0; i < n; i++) {
        if (tf_ledger_ask(l, entries[i]) != 0) {
            return -1;
        }
    }

    for (i = 0; i < n; i++) {
        reply = tf_redis_reply(&l->redis, 0);
        if (reply == NULL) {
            return -1;
        }

        for (k = 0; k < tf_reply_len(reply); k++) {
            *bytes += strlen(tf_reply_str(reply, k));
        }

        if (new == NULL || tf_ledger_new(new, entries[i], reply) != 0) {
            *ops |= tf_store_op(tf_ledger_field(entries[i], "op"));
            tf_ledger_row(rows, entries[i], reply);
        }

        freeReplyObject(reply);
    }

    return 0;
}


char *
tf_ledger_rows(tf_ledger_t *l, redisReply *const *entries, unsigned *n,
    unsigned *ops, tf_pg_columns_t *new)
{
    char      *text;
    size_t     bytes;
    json_t    *rows;
    unsigned   from, some;

    *ops = 0;
    rows = json_array();
    bytes = 0;

    for (from = 0; from < *n && bytes < TF_STORE_BATCH_BYTES; from += some) {
        some = *n - from < TF_LEDGER_SOME ? *n - from : TF_LEDGER_SOME;

        if (tf_ledger_some(l, entries + from, some, rows, ops, new, &bytes)
            != 0)
        {
            json_decref(rows);
            return NULL;
        }
    }

    *n = from;
    text = tf_ledger_said(l, rows) == 0 ? json_dumps(rows, JSON_COMPACT)
                                        : NULL;
    json_decref(rows);

    return text;
}


void
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
