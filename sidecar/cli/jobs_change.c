#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/jobs.h"
#include "queue/job.h"
#include "queue/submit.h"


/* columns of the row that is repeated */
enum {
    TF_JOBS_TENANT_COL, TF_JOBS_OWNER_COL, TF_JOBS_GROUPS_COL,
    TF_JOBS_SCOPES_COL, TF_JOBS_KIND_COL, TF_JOBS_MODEL_COL,
    TF_JOBS_PRIO_COL, TF_JOBS_REQUEST_COL, TF_JOBS_FP_COL,
    TF_JOBS_STATE_COL
};


/* The job of a row, to be made again; rows are kept by reference. */

static void
tf_cli_jobs_again(const tf_cli_jobs_t *jobs, PGresult *row, tf_submit_t *job)
{
    job->tenant = PQgetvalue(row, 0, TF_JOBS_TENANT_COL);
    job->owner = PQgetvalue(row, 0, TF_JOBS_OWNER_COL);
    job->groups = PQgetvalue(row, 0, TF_JOBS_GROUPS_COL);
    job->scopes = PQgetvalue(row, 0, TF_JOBS_SCOPES_COL);
    job->kind = PQgetvalue(row, 0, TF_JOBS_KIND_COL);
    job->model = PQgetvalue(row, 0, TF_JOBS_MODEL_COL);
    job->prio = PQgetvalue(row, 0, TF_JOBS_PRIO_COL);
    job->payload = PQgetvalue(row, 0, TF_JOBS_REQUEST_COL);
    job->fp = PQgetvalue(row, 0, TF_JOBS_FP_COL);
    job->retry_of = jobs->id;
}


static int
tf_cli_jobs_repeat(tf_cli_jobs_t *jobs, PGresult *row)
{
    int           status;
    char          id[TF_ID_TEXT_LEN + 1], err[512];
    unsigned      shard;
    tf_cmd_t      cmd = TF_CMD_INIT;
    redisReply   *reply;
    const char   *word;
    tf_submit_t   job;

    tf_cli_jobs_again(jobs, row, &job);

    if (tf_submit_id(jobs->conf, &job, jobs->urls.n, id, &shard, err,
                     sizeof(err))
        != 0)
    {
        return tf_cli_error(jobs->cli, "%s", err);
    }

    if (tf_cli_jobs_at(jobs, shard) != 0) {
        return TF_CLI_FAILED;
    }

    if (tf_submit_cmd(&job, jobs->prefix, id, &cmd) != 0) {
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
        status = tf_cli_error(jobs->cli, "job %s was deleted, or damaged in the "
                              "queue: its request is gone and cannot be "
                              "repeated", jobs->id);

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
