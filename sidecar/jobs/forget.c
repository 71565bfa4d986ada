#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "jobs/jobs.h"
#include "queue/pool.h"
#include "rag/talk.h"


/*
 * A conversation is deleted: it is forgotten at once, and each of its questions
 * is deleted in the queue, as its owner would do it one by one, so that no
 * cache and no store keeps an answer.
 *
 * What it has done stays done, and nothing of it hurts when it is done again:
 * another attempt finds what is left.
 */

#define TF_FORGET_PAGE  "500"


static const char  tf_forget_sql[] =
    "INSERT INTO trifecta.conversation AS c (tenant, owner, id, after) "
    "VALUES ($1, $2, $3, $4::uuid) ON CONFLICT (tenant, owner, id) DO UPDATE "
    "SET version = c.version + 1, summary = NULL, upto = NULL, groups = '[]', "
    "after = greatest(c.after, excluded.after)";

static const char  tf_forget_jobs_sql[] =
    "SELECT id FROM trifecta.job WHERE tenant = $1 AND owner = $2 "
    "AND conversation = $3 AND id < $4::uuid AND id > $5::uuid "
    "AND deleted IS NULL ORDER BY id LIMIT " TF_FORGET_PAGE;


/* 0, or -1: the queue did not do it. */

static int
tf_forget_job(tf_job_t *job, tf_redis_t *redis, unsigned shard,
    const char *id)
{
    int          rc;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;
    const char  *word;

    tf_cmd_fcall(&cmd, TF_FN_DELETE, job->shard->q->shards[shard].prefix);
    tf_cmd_str(&cmd, job->tenant);
    tf_cmd_str(&cmd, job->owner);
    tf_cmd_str(&cmd, id);

    reply = tf_redis_call(redis, 0, &cmd);
    tf_cmd_free(&cmd);

    word = tf_reply_str(reply, 0);
    rc = strcmp(word, "DELETED") == 0 || strcmp(word, "GONE") == 0 ? 0 : -1;

    if (rc != 0) {
        tf_log(TF_LOG_WARN, "a question of a deleted conversation stays for "
               "now: %s", reply == NULL ? redis->err : word);
    }

    freeReplyObject(reply);

    return rc;
}


/* A page of them, each in its shard; -1: try again later. */

static int
tf_forget_page(tf_job_t *job, const PGresult *res)
{
    int          r, rc;
    tf_id_t      id;
    unsigned     shard, at;
    tf_redis_t   redis;
    const char  *text;

    rc = 0;
    at = TF_SHARDS_MAX;

    for (r = 0; r < PQntuples(res) && rc == 0; r++) {
        text = PQgetvalue(res, r, 0);
        shard = tf_id_parse(&id, text, strlen(text)) == 0 ? tf_id_shard(&id)
                                                          : 0;

        /* of a shard that was taken away: nobody has it there any more */

        if (shard >= job->shard->q->nshards) {
            continue;
        }

        if (shard != at) {
            if (at != TF_SHARDS_MAX) {
                tf_redis_close(&redis);
            }

            tf_pool_redis(&job->shard->q->shards[shard], &redis);
            at = shard;
        }

        rc = atomic_load(&job->stop) ? -1
                                     : tf_forget_job(job, &redis, shard, text);
    }

    if (at != TF_SHARDS_MAX) {
        tf_redis_close(&redis);
    }

    return rc;
}


static tf_run_t
tf_forget_all(tf_pg_t *pg, tf_job_t *job, const char *conversation)
{
    int              n, rc;
    char             after[TF_ID_TEXT_LEN + 1];
    PGresult        *res;
    const char      *params[5];
    tf_pg_status_t   status;

    (void) snprintf(after, sizeof(after), "%s",
                    "00000000-0000-0000-0000-000000000000");

    params[0] = job->tenant;
    params[1] = job->owner;
    params[2] = conversation;
    params[3] = job->id;
    params[4] = after;

    do {
        status = tf_pg_begin_as(pg, job->tenant, job->owner, job->groups);

        if (status == TF_PG_OK) {
            status = tf_pg_query(pg, NULL, 0, tf_forget_sql, 4, params);
        }

        if (status == TF_PG_OK) {
            status = tf_pg_query(pg, &res, 0, tf_forget_jobs_sql, 5, params);
        }

        if (status != TF_PG_OK) {
            tf_log(TF_LOG_WARN, "a conversation cannot be deleted: %s",
                   pg->err);
            tf_pg_rollback(pg);
            return TF_RUN_RELEASE;
        }

        if (tf_pg_commit(pg) != TF_PG_OK) {
            PQclear(res);
            return TF_RUN_RELEASE;
        }

        rc = tf_forget_page(job, res);
        n = PQntuples(res);

        if (n > 0) {
            (void) snprintf(after, sizeof(after), "%s",
                            PQgetvalue(res, n - 1, 0));
        }

        PQclear(res);

        if (rc != 0) {
            return TF_RUN_RELEASE;
        }

    } while (n > 0);

    job->body = strdup("The conversation was deleted.\n");
    job->state = TF_JOB_SUCCEEDED;

    return TF_RUN_ENDED;
}


tf_run_t
tf_jobs_forget(tf_jobs_t *jobs, tf_job_t *job)
{
    json_t      *payload;
    tf_pg_t     *pg;
    tf_run_t     rc;
    const char  *conversation;

    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);
    conversation = json_string_value(json_object_get(payload, "forget"));

    if (conversation == NULL || conversation[0] == '\0'
        || strlen(conversation) > TF_TALK_ID_MAX)
    {
        tf_log(TF_LOG_ERROR, "the payload names no conversation: it was not "
               "written by the nginx module, or was damaged");
        json_decref(payload);
        tf_job_fail(job, TF_JOB_FAILED, "invalid_payload",
                    "The job's request could not be read.");
        return TF_RUN_ENDED;
    }

    pg = tf_pg_pool_get(jobs->rag, TF_PG_SHORT, TF_PG_WAIT_MS, &job->stop);

    if (pg == NULL) {
        json_decref(payload);
        return TF_RUN_LATE;
    }

    rc = tf_forget_all(pg, job, conversation);

    tf_pg_pool_put(jobs->rag, pg);
    json_decref(payload);

    return rc;
}
