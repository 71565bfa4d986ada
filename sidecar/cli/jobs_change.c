#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <trifecta/trace.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/jobs.h"
#include "queue/job.h"


#define TF_JOBS_NO_BOUND  "10000000"    /* an operator is not held up by it */

/* columns of the row that is repeated */
enum {
    TF_JOBS_TENANT_COL, TF_JOBS_OWNER_COL, TF_JOBS_GROUPS_COL,
    TF_JOBS_SCOPES_COL, TF_JOBS_KIND_COL, TF_JOBS_MODEL_COL,
    TF_JOBS_PRIO_COL, TF_JOBS_REQUEST_COL, TF_JOBS_FP_COL,
    TF_JOBS_STATE_COL
};


/* An id for the owner of the row; 0 or -1. */

static int
tf_cli_jobs_new_id(tf_cli_jobs_t *jobs, PGresult *row,
    char text[TF_ID_TEXT_LEN + 1])
{
    int            rc;
    char          *data;
    size_t         len;
    tf_id_t        id;
    const char    *err, *tenant, *owner, *file;
    tf_id_keys_t   keys;
    unsigned char  rnd[TF_ID_RND_LEN];

    file = jobs->conf->id_key_file;

    if (file[0] == '\0') {
        (void) tf_cli_error(jobs->cli, "id_key_file is not set: it names the "
                            "file with the key of job ids, the same that "
                            "nginx reads (trifecta_id_key_file)");
        return -1;
    }

    data = tf_read_file(file, 4096, &len);
    if (data == NULL) {
        (void) tf_cli_error(jobs->cli, "cannot read id_key_file \"%s\": %m",
                            file);
        return -1;
    }

    err = tf_id_keys_parse(&keys, data, len);
    OPENSSL_cleanse(data, len);
    free(data);

    if (err != NULL) {
        (void) tf_cli_error(jobs->cli, "id_key_file \"%s\": %s", file, err);
        return -1;
    }

    tenant = PQgetvalue(row, 0, TF_JOBS_TENANT_COL);
    owner = PQgetvalue(row, 0, TF_JOBS_OWNER_COL);
    rc = -1;

    if (tf_cli_jobs_at(jobs, tf_shard_of(tenant, strlen(tenant),
                                         jobs->urls.n))
        != 0)
    {
        OPENSSL_cleanse(&keys, sizeof(keys));
        return -1;
    }

    if (RAND_bytes(rnd, sizeof(rnd)) == 1
        && tf_id_make(&id, &keys, (uint64_t) tf_clock_wall_ms(),
                      jobs->shard, rnd, tenant, strlen(tenant), owner,
                      strlen(owner))
           == 0)
    {
        tf_id_format(text, &id);
        text[TF_ID_TEXT_LEN] = '\0';
        rc = 0;

    } else {
        (void) tf_cli_error(jobs->cli, "cannot make an id");
    }

    OPENSSL_cleanse(&keys, sizeof(keys));

    return rc;
}


static void
tf_cli_jobs_pair(tf_cmd_t *cmd, const char *name, const char *value)
{
    tf_cmd_str(cmd, name);
    tf_cmd_str(cmd, value);
}


/* "submit" with what the row has; 0, or -1 when its kind is unknown. */

static int
tf_cli_jobs_submit(tf_cli_jobs_t *jobs, PGresult *row, const char *id,
    tf_cmd_t *cmd)
{
    char           request_id[sizeof("req_") + 32];
    char           trace[TF_TRACE_HEADER_LEN + 1];
    size_t         i;
    unsigned       limit;
    tf_trace_t     t;
    const char    *kind;
    unsigned char  rnd[16 + TF_TRACE_RND_LEN];

    static const struct {
        const char  *word;
        unsigned     limit;
    } kinds[] = {
#define TF_JOBS_KIND(name, word, prio, ms)  { word, ms },
        TF_JOB_KINDS(TF_JOBS_KIND)
#undef TF_JOBS_KIND
    };

    kind = PQgetvalue(row, 0, TF_JOBS_KIND_COL);
    limit = 0;

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].word, kind) == 0) {
            limit = kinds[i].limit;
        }
    }

    if (limit == 0 || RAND_bytes(rnd, sizeof(rnd)) != 1) {
        return -1;
    }

    memcpy(request_id, "req_", 4);
    tf_trace_dump(request_id + 4, rnd, 16);
    tf_trace_make(&t, NULL, rnd + 16);
    tf_trace_format(trace, &t);
    trace[TF_TRACE_HEADER_LEN] = '\0';

    tf_cmd_fcall(cmd, TF_FN_SUBMIT, jobs->prefix);
    tf_cli_jobs_pair(cmd, "id", id);
    tf_cli_jobs_pair(cmd, "tenant", PQgetvalue(row, 0, TF_JOBS_TENANT_COL));
    tf_cli_jobs_pair(cmd, "owner", PQgetvalue(row, 0, TF_JOBS_OWNER_COL));
    tf_cli_jobs_pair(cmd, "groups", PQgetvalue(row, 0, TF_JOBS_GROUPS_COL));
    tf_cli_jobs_pair(cmd, "scopes", PQgetvalue(row, 0, TF_JOBS_SCOPES_COL));
    tf_cli_jobs_pair(cmd, "kind", kind);
    tf_cli_jobs_pair(cmd, "model", PQgetvalue(row, 0, TF_JOBS_MODEL_COL));
    tf_cli_jobs_pair(cmd, "prio", PQgetvalue(row, 0, TF_JOBS_PRIO_COL));
    tf_cli_jobs_pair(cmd, "payload", PQgetvalue(row, 0, TF_JOBS_REQUEST_COL));
    tf_cli_jobs_pair(cmd, "fp", PQgetvalue(row, 0, TF_JOBS_FP_COL));
    tf_cli_jobs_pair(cmd, "request_id", request_id);
    tf_cli_jobs_pair(cmd, "trace", trace);
    tf_cli_jobs_pair(cmd, "retry_of", jobs->id);
    tf_cli_jobs_pair(cmd, "max", TF_JOBS_NO_BOUND);
    tf_cli_jobs_pair(cmd, "tmax", TF_JOBS_NO_BOUND);
    tf_cmd_str(cmd, "limit");
    tf_cmd_num(cmd, limit);

    return 0;
}


static int
tf_cli_jobs_repeat(tf_cli_jobs_t *jobs, PGresult *row)
{
    int          status;
    char         id[TF_ID_TEXT_LEN + 1];
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;
    const char  *word;

    if (tf_cli_jobs_new_id(jobs, row, id) != 0) {
        return TF_CLI_FAILED;
    }

    if (tf_cli_jobs_submit(jobs, row, id, &cmd) != 0) {
        tf_cmd_free(&cmd);
        return tf_cli_error(jobs->cli, "this release knows no jobs of kind "
                            "\"%s\"", PQgetvalue(row, 0, TF_JOBS_KIND_COL));
    }

    if (tf_redis_append(jobs->redis, &cmd) != 0) {
        tf_cmd_free(&cmd);
        return tf_cli_jobs_redis_failed(jobs, NULL);
    }

    reply = tf_redis_reply(jobs->redis, 0);
    tf_cmd_free(&cmd);

    word = tf_reply_str(reply, 0);

    if (reply == NULL) {
        status = tf_cli_error(jobs->cli, "Redis has not confirmed the new job "
                              "(%s): \"trifecta jobs show %s\" says whether "
                              "it is there", jobs->redis->err, id);

    } else if (strcmp(word, "OK") == 0) {

        if (jobs->json) {
            status = tf_cli_jobs_dump(jobs, json_pack("{s:s, s:s}", "id", id,
                                                      "retry_of", jobs->id));
        } else {
            status = printf("%s\n", id) > 0 && fflush(stdout) == 0
                     ? TF_CLI_OK : TF_CLI_FAILED;
        }

    } else {
        status = tf_cli_jobs_refused(jobs, word);

        if (status == 0) {
            status = tf_cli_jobs_redis_failed(jobs, reply);
        }
    }

    freeReplyObject(reply);

    return status;
}


int
tf_cli_jobs_retry(tf_cli_jobs_t *jobs)
{
    int          status;
    PGresult    *row;
    const char  *params[1], *state;

    static const char  sql[] =
        "SELECT tenant, owner, groups::text, scopes::text, kind, model, prio, "
        "request::text, coalesce(fingerprint, ''), state FROM trifecta.job "
        "WHERE id = $1";

    params[0] = jobs->id;

    row = tf_cli_jobs_query(jobs, sql, 1, params);
    if (row == NULL) {
        return TF_CLI_FAILED;
    }

    state = PQntuples(row) ? PQgetvalue(row, 0, TF_JOBS_STATE_COL) : "";

    if (PQntuples(row) == 0) {
        status = tf_cli_error(jobs->cli, "PostgreSQL knows no job %s; one "
                              "that was accepted a moment ago has its row "
                              "soon", jobs->id);

    } else if (!tf_job_state_terminal(tf_job_state_from_word(state))) {
        status = tf_cli_error(jobs->cli, "job %s is %s: only a job that has "
                              "ended can be repeated; \"trifecta jobs cancel "
                              "%s\" stops it", jobs->id, state, jobs->id);

    } else if (PQgetisnull(row, 0, TF_JOBS_REQUEST_COL)) {
        status = tf_cli_error(jobs->cli, "job %s was deleted: its request is "
                              "gone and cannot be repeated", jobs->id);

    } else {
        status = tf_cli_jobs_repeat(jobs, row);
    }

    PQclear(row);

    return status;
}


/* Whose job it is, from the row or, before it has one, from Redis. */

static int
tf_cli_jobs_whose(tf_cli_jobs_t *jobs, tf_buf_t *tenant, tf_buf_t *owner)
{
    char         key[TF_KEY_PREFIX_MAX + 64];
    PGresult    *row;
    redisReply  *reply;
    const char  *params[1];

    (void) snprintf(key, sizeof(key), "%s:j:%s", jobs->prefix, jobs->id);

    reply = tf_redis_command(jobs->redis, 0, "HMGET", key, "tenant", "owner",
                             NULL);

    if (tf_reply_len(reply) != 2) {
        (void) tf_cli_jobs_redis_failed(jobs, reply);
        freeReplyObject(reply);
        return -1;
    }

    tf_buf_puts(tenant, tf_reply_str(reply, 0));
    tf_buf_puts(owner, tf_reply_str(reply, 1));
    freeReplyObject(reply);

    if (tenant->len == 0) {
        params[0] = jobs->id;

        row = tf_cli_jobs_query(jobs, "SELECT tenant, owner FROM trifecta.job "
                                "WHERE id = $1", 1, params);
        if (row == NULL) {
            return -1;
        }

        if (PQntuples(row) == 0) {
            PQclear(row);
            (void) tf_cli_error(jobs->cli, "neither PostgreSQL nor Redis "
                                "knows a job %s; \"trifecta jobs list\" shows "
                                "the newest", jobs->id);
            return -1;
        }

        tf_buf_puts(tenant, PQgetvalue(row, 0, 0));
        tf_buf_puts(owner, PQgetvalue(row, 0, 1));
        PQclear(row);
    }

    return tenant->failed || owner->failed ? -1 : 0;
}


int
tf_cli_jobs_cancel(tf_cli_jobs_t *jobs)
{
    int          status;
    tf_buf_t     tenant = TF_BUF_INIT, owner = TF_BUF_INIT;
    redisReply  *reply;
    const char  *word;

    status = TF_CLI_FAILED;

    if (tf_cli_jobs_whose(jobs, &tenant, &owner) != 0) {
        goto done;
    }

    reply = tf_redis_command(jobs->redis, 0, "FCALL", TF_FN_CANCEL, "1",
                             jobs->prefix, tenant.data, owner.data, jobs->id,
                             NULL);
    word = tf_reply_str(reply, 0);

    if (strcmp(word, "CANCELLED") == 0) {
        (void) printf("cancelled\n");
        status = TF_CLI_OK;

    } else if (strcmp(word, "SIGNALLED") == 0) {
        (void) printf("it runs, and was told to stop\n");
        status = TF_CLI_OK;

    } else if (strcmp(word, "ABSENT") == 0) {
        (void) tf_cli_error(jobs->cli, "the queue does not have job %s any "
                            "more: \"trifecta jobs show %s\" says how it "
                            "stands", jobs->id, jobs->id);

    } else if (strcmp(word, "DELETED") == 0) {
        (void) tf_cli_error(jobs->cli, "job %s was deleted", jobs->id);

    } else if (tf_job_state_from_word(word) != TF_JOB_NSTATES) {
        (void) tf_cli_error(jobs->cli, "job %s has ended before: %s",
                            jobs->id, word);

    } else if (tf_cli_jobs_refused(jobs, word) == 0) {
        (void) tf_cli_jobs_redis_failed(jobs, reply);
    }

    freeReplyObject(reply);

done:

    tf_buf_free(&tenant);
    tf_buf_free(&owner);

    return status;
}
