#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/jobs.h"


#define TF_JOBS_TIME(column)                                                  \
    "to_char(" column " AT TIME ZONE 'UTC', "                                 \
    "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


/* A column as a JSON value: its text, or null. */

static json_t *
tf_cli_jobs_column(PGresult *res, int row, int column)
{
    json_t  *value;

    if (PQgetisnull(res, row, column)) {
        return json_null();
    }

    value = json_string(PQgetvalue(res, row, column));

    return value ? value : json_null();
}


static int
tf_cli_jobs_list_json(tf_cli_jobs_t *jobs, PGresult *res)
{
    int      r, c;
    json_t  *list, *job;

    list = json_array();

    for (r = 0; r < PQntuples(res); r++) {
        job = json_object();

        for (c = 0; c < PQnfields(res); c++) {
            (void) json_object_set_new(job, PQfname(res, c),
                                       tf_cli_jobs_column(res, r, c));
        }

        (void) json_array_append_new(list, job);
    }

    return tf_cli_jobs_dump(jobs, json_pack("{s:o}", "jobs", list));
}


int
tf_cli_jobs_list(tf_cli_jobs_t *jobs)
{
    int          r, status;
    PGresult    *res;
    const char  *params[3];

    static const char  sql[] =
        "SELECT id, state, tenant, owner, model, attempt, "
        TF_JOBS_TIME("accepted") " AS accepted, "
        TF_JOBS_TIME("finished") " AS finished, error->>'code' AS error, "
        TF_JOBS_TIME("deleted") " AS deleted, retry_of, kind "
        "FROM trifecta.job "
        "WHERE ($1::text IS NULL OR state = $1) "
        "AND ($2::text IS NULL OR tenant = $2) ORDER BY id DESC LIMIT $3::int";

    params[0] = jobs->state;
    params[1] = jobs->tenant;
    params[2] = jobs->limit;

    res = tf_cli_jobs_query(jobs, sql, 3, params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    if (jobs->json) {
        status = tf_cli_jobs_list_json(jobs, res);
        PQclear(res);
        return status;
    }

    if (PQntuples(res)) {
        (void) printf("%-36s  %-9s  %-7s  %-24s  %-12s  %s\n", "ID", "STATE",
                      "KIND", "ACCEPTED", "TENANT", "OWNER");
    }

    for (r = 0; r < PQntuples(res); r++) {
        (void) printf("%-36s  %-9s  %-7s  %-24s  ", PQgetvalue(res, r, 0),
                      PQgetvalue(res, r, 1), PQgetvalue(res, r, 11),
                      PQgetvalue(res, r, 6));
        tf_cli_jobs_print(PQgetvalue(res, r, 2), 12);
        (void) printf("  ");
        tf_cli_jobs_print(PQgetvalue(res, r, 3), 0);

        if (!PQgetisnull(res, r, 8)) {
            (void) printf("  (");
            tf_cli_jobs_print(PQgetvalue(res, r, 8), 0);
            (void) printf(")");
        }

        (void) printf("%s\n", PQgetisnull(res, r, 9) ? "" : "  (deleted)");
    }

    PQclear(res);

    return fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
}


/* What Redis has of the job: an object, empty when it has nothing. */

static json_t *
tf_cli_jobs_hash(tf_cli_jobs_t *jobs)
{
    char         key[TF_KEY_PREFIX_MAX + 64];
    size_t       i;
    json_t      *hash;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    static const char *const  fields[] = {
        "state", "sub", "tenant", "owner", "lease", "attempt", "fails",
        "crashes", "lost", "worker", "cancel", "deleted", "request_id",
        "trace"
    };

    (void) snprintf(key, sizeof(key), "%s:j:%s", jobs->prefix, jobs->id);
    tf_cmd_begin(&cmd, "HMGET");
    tf_cmd_str(&cmd, key);

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        tf_cmd_str(&cmd, fields[i]);
    }

    reply = tf_redis_call(jobs->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (tf_reply_len(reply) != sizeof(fields) / sizeof(fields[0])) {
        (void) tf_cli_jobs_redis_failed(jobs, reply);
        freeReplyObject(reply);
        return NULL;
    }

    hash = json_object();

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (tf_reply_str(reply, i)[0]) {
            (void) json_object_set_new(hash, fields[i],
                                       json_string(tf_reply_str(reply, i)));
        }
    }

    freeReplyObject(reply);

    return hash;
}


static void
tf_cli_jobs_members(const char *head, const json_t *object)
{
    const char  *name, *text;
    json_t      *value;

    if (json_object_size(object) == 0) {
        (void) printf("%s: nothing\n", head);
        return;
    }

    (void) printf("%s:\n", head);

    json_object_foreach((json_t *) object, name, value) {
        text = json_string_value(value);

        if (text != NULL) {
            (void) printf("  %-16s ", name);
            tf_cli_jobs_print(text, 0);
            (void) printf("\n");
        }
    }
}


int
tf_cli_jobs_show(tf_cli_jobs_t *jobs)
{
    int          c;
    json_t      *row, *hash;
    PGresult    *res;
    const char  *params[1];

    static const char  sql[] =
        "SELECT j.id, j.state, j.tenant, j.owner, j.groups::text, "
        "j.scopes::text, j.kind, j.model, j.prio, j.attempt, j.worker, "
        TF_JOBS_TIME("j.accepted") " AS accepted, "
        TF_JOBS_TIME("j.started") " AS started, "
        TF_JOBS_TIME("j.finished") " AS finished, "
        TF_JOBS_TIME("j.deadline") " AS deadline, "
        TF_JOBS_TIME("j.deleted") " AS deleted, j.retry_of, j.request_id, "
        "j.error::text, j.usage::text, j.request::text, "
        "octet_length(r.body) AS result_bytes, w.id AS webhook, "
        "w.state AS webhook_state FROM trifecta.job j "
        "LEFT JOIN trifecta.job_result r ON r.job = j.id "
        "LEFT JOIN trifecta.job w ON w.id = trifecta.webhook_of(j.id) "
        "WHERE j.id = $1";

    params[0] = jobs->id;

    res = tf_cli_jobs_query(jobs, sql, 1, params);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    row = json_object();

    for (c = 0; PQntuples(res) && c < PQnfields(res); c++) {
        if (!PQgetisnull(res, 0, c)) {
            (void) json_object_set_new(row, PQfname(res, c),
                                       tf_cli_jobs_column(res, 0, c));
        }
    }

    PQclear(res);

    hash = tf_cli_jobs_hash(jobs);
    if (hash == NULL) {
        json_decref(row);
        return TF_CLI_FAILED;
    }

    if (json_object_size(row) == 0 && json_object_size(hash) == 0) {
        json_decref(row);
        json_decref(hash);
        return tf_cli_error(jobs->cli, "neither PostgreSQL nor Redis knows a "
                            "job %s; \"trifecta jobs list\" shows the newest",
                            jobs->id);
    }

    if (jobs->json) {
        return tf_cli_jobs_dump(jobs, json_pack("{s:o, s:o}", "postgresql",
                                                row, "redis", hash));
    }

    tf_cli_jobs_members("PostgreSQL", row);
    tf_cli_jobs_members("Redis", hash);
    json_decref(row);
    json_decref(hash);

    return fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
}


/* The counts of the shard at hand, or NULL with the error printed. */

static json_t *
tf_cli_jobs_counts_here(tf_cli_jobs_t *jobs)
{
    size_t       i;
    json_t      *queue;
    redisReply  *reply;

    reply = tf_redis_command(jobs->redis, 0, "FCALL_RO", TF_FN_STATS, "1",
                             jobs->prefix, NULL);

    if (tf_reply_len(reply) < 2) {

        if (!tf_cli_jobs_refused(jobs, tf_reply_str(reply, 0))) {
            (void) tf_cli_jobs_redis_failed(jobs, reply);
        }

        freeReplyObject(reply);
        return NULL;
    }

    queue = json_object();

    for (i = 0; i + 1 < tf_reply_len(reply); i += 2) {
        (void) json_object_set_new(queue, tf_reply_str(reply, i),
                                   json_integer(tf_reply_num(reply, i + 1)));
    }

    freeReplyObject(reply);

    return queue;
}


/* What is no number of jobs: the highest of the shards counts. */

static int
tf_cli_jobs_highest(const char *name)
{
    return strcmp(name, "oldest") == 0 || strcmp(name, "workers") == 0
           || strcmp(name, "paused") == 0 || strcmp(name, "epoch") == 0;
}


/*
 * The counts of all shards that answer, or NULL when none does; away is how
 * many do not, and their errors are printed.
 */

static json_t *
tf_cli_jobs_counts(tf_cli_jobs_t *jobs, unsigned *away)
{
    json_t      *queue, *here, *value;
    unsigned     shard;
    json_int_t   sum, n;
    const char  *name;

    queue = NULL;
    *away = 0;

    for (shard = 0; shard < jobs->urls.n; shard++) {
        (void) tf_cli_jobs_at(jobs, shard);
        here = tf_cli_jobs_counts_here(jobs);

        if (here == NULL) {
            (*away)++;
            continue;
        }

        if (queue == NULL) {
            queue = here;
            continue;
        }

        json_object_foreach(here, name, value) {
            n = json_integer_value(value);
            sum = json_integer_value(json_object_get(queue, name));
            sum = !tf_cli_jobs_highest(name) ? sum + n : n > sum ? n : sum;
            (void) json_object_set_new(queue, name, json_integer(sum));
        }

        json_decref(here);
    }

    return queue;
}


static long long
tf_cli_jobs_count(const json_t *queue, const char *name)
{
    return (long long) json_integer_value(json_object_get(queue, name));
}


static void
tf_cli_jobs_stats_print(const json_t *queue, PGresult *res)
{
    int  r;

    if (queue != NULL) {
        (void) printf("open %lld: ready %lld, parked %lld, delayed %lld, "
                      "running %lld\n"
                      "oldest open job: %.1f s\n"
                      "accept log: %lld entries not in PostgreSQL yet\n"
                      "dead list: %lld\n"
                      "sidecars seen within a minute: %lld%s\n",
                      tf_cli_jobs_count(queue, "live"),
                      tf_cli_jobs_count(queue, "ready"),
                      tf_cli_jobs_count(queue, "parked"),
                      tf_cli_jobs_count(queue, "delayed"),
                      tf_cli_jobs_count(queue, "running"),
                      (double) tf_cli_jobs_count(queue, "oldest") / 1000,
                      tf_cli_jobs_count(queue, "acc"),
                      tf_cli_jobs_count(queue, "dead"),
                      tf_cli_jobs_count(queue, "workers"),
                      tf_cli_jobs_count(queue, "paused")
                      ? "\nthe queue is paused" : "");
    }

    if (PQntuples(res)) {
        (void) printf("\n%-16s  %-9s  %10s  %s\n", "TENANT", "STATE", "JOBS",
                      "OLDEST");
    }

    for (r = 0; r < PQntuples(res); r++) {
        tf_cli_jobs_print(PQgetvalue(res, r, 0), 16);
        (void) printf("  %-9s  %10s  %s\n", PQgetvalue(res, r, 1),
                      PQgetvalue(res, r, 2), PQgetvalue(res, r, 3));
    }
}


int
tf_cli_jobs_stats(tf_cli_jobs_t *jobs)
{
    int        r, status;
    json_t    *queue, *list;
    PGresult  *res;
    unsigned   away;

    static const char  sql[] =
        "SELECT tenant, state, count(*), " TF_JOBS_TIME("min(accepted)")
        " FROM trifecta.job GROUP BY tenant, state ORDER BY tenant, state";

    /* one store's word is better than none: the other's trouble is said */

    queue = tf_cli_jobs_counts(jobs, &away);

    res = tf_cli_jobs_query(jobs, sql, 0, NULL);
    if (res == NULL) {
        json_decref(queue);
        return TF_CLI_FAILED;
    }

    status = away ? TF_CLI_FAILED : TF_CLI_OK;

    if (!jobs->json) {
        tf_cli_jobs_stats_print(queue, res);
        json_decref(queue);
        PQclear(res);
        return fflush(stdout) == 0 ? status : TF_CLI_FAILED;
    }

    list = json_array();

    for (r = 0; r < PQntuples(res); r++) {
        (void) json_array_append_new(list, json_pack("{s:o, s:s, s:I, s:o}",
                   "tenant", tf_cli_jobs_column(res, r, 0),
                   "state", PQgetvalue(res, r, 1),
                   "count", (json_int_t) strtoll(PQgetvalue(res, r, 2), NULL,
                                                 10),
                   "oldest", tf_cli_jobs_column(res, r, 3)));
    }

    PQclear(res);

    if (tf_cli_jobs_dump(jobs, json_pack("{s:o, s:o}", "queue",
                                         queue ? queue : json_null(),
                                         "jobs", list))
        != TF_CLI_OK)
    {
        return TF_CLI_FAILED;
    }

    return status;
}
