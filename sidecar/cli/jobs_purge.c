#include "cli/jobs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <trifecta/id.h>
#include <trifecta/keys.h>

#include "base/clock.h"
#include "queue/job.h"


#define TF_JOBS_BATCH   200     /* jobs purged at a time */
#define TF_JOBS_LAG     1000    /* entries of the accept log */
#define TF_JOBS_LAG_MS  30000   /* without any progress */

#define TF_JOBS_PURGE_WHERE                                                   \
    "FROM trifecta.job WHERE state = $1 AND deleted IS NULL "                 \
    "AND finished < now() - $2::bigint * interval '1 ms' "                    \
    "AND ($3::text IS NULL OR tenant = $3) AND id > $4::uuid"


static unsigned
tf_cli_jobs_shard_of(PGresult *res, int row)
{
    tf_id_t  id;

    return tf_id_parse(&id, PQgetvalue(res, row, 0), TF_ID_TEXT_LEN) == 0
           ? tf_id_shard(&id) : 0;
}


/* Those of a batch that are in the shard at hand: 0, or an exit code. */

static int
tf_cli_jobs_purge_shard(tf_cli_jobs_t *jobs, PGresult *res, long *purged)
{
    int          r, n, status;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;
    const char  *word;

    n = PQntuples(res);

    for (r = 0; r < n; r++) {
        if (tf_cli_jobs_shard_of(res, r) != jobs->shard) {
            continue;
        }

        tf_cmd_fcall(&cmd, TF_FN_DELETE, jobs->prefix);
        tf_cmd_str(&cmd, PQgetvalue(res, r, 1));
        tf_cmd_str(&cmd, PQgetvalue(res, r, 2));
        tf_cmd_str(&cmd, PQgetvalue(res, r, 0));

        if (tf_redis_append(jobs->redis, &cmd) != 0) {
            tf_cmd_free(&cmd);
            return tf_cli_jobs_redis_failed(jobs, NULL);
        }
    }

    tf_cmd_free(&cmd);

    for (r = 0; r < n; r++) {
        if (tf_cli_jobs_shard_of(res, r) != jobs->shard) {
            continue;
        }

        reply = tf_redis_reply(jobs->redis, 0);
        word = tf_reply_str(reply, 0);

        if (strcmp(word, "DELETED") != 0 && strcmp(word, "GONE") != 0) {
            status = tf_cli_jobs_refused(jobs, word);
            if (status == 0) {
                status = tf_cli_jobs_redis_failed(jobs, reply);
            }
            freeReplyObject(reply);
            return status;
        }

        *purged += strcmp(word, "DELETED") == 0;
        freeReplyObject(reply);
    }

    return 0;
}


/* One batch: 0, or an exit code. */

static int
tf_cli_jobs_purge_batch(tf_cli_jobs_t *jobs, PGresult *res, long *purged)
{
    int       r, n, status;
    char      has[256];             /* an id's shard is an octet */
    unsigned  shard;

    memset(has, 0, sizeof(has));
    n = PQntuples(res);

    for (r = 0; r < n; r++) {
        has[tf_cli_jobs_shard_of(res, r)] = 1;
    }

    for (shard = 0; shard < 256; shard++) {
        if (!has[shard]) {
            continue;
        }

        status = tf_cli_jobs_at(jobs, shard);

        if (status == 0) {
            status = tf_cli_jobs_purge_shard(jobs, res, purged);
        }

        if (status != 0) {
            return status;
        }
    }

    return 0;
}


/* What the ledgers of all shards have not written; -1: the error is said. */

static int64_t
tf_cli_jobs_lag(tf_cli_jobs_t *jobs)
{
    char         key[TF_KEY_PREFIX_MAX + 8];
    int64_t      lag;
    unsigned     shard;
    redisReply  *reply;

    lag = 0;

    for (shard = 0; shard < jobs->urls.n; shard++) {
        (void) tf_cli_jobs_at(jobs, shard);
        (void) snprintf(key, sizeof(key), "%s:acc", jobs->prefix);
        reply = tf_redis_command(jobs->redis, 0, "XLEN", key, NULL);

        if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
            (void) tf_cli_jobs_redis_failed(jobs, reply);
            freeReplyObject(reply);
            return -1;
        }

        lag += reply->integer;
        freeReplyObject(reply);
    }

    return lag;
}


/* The ledger erases in PostgreSQL; it is not to be buried. */

static int
tf_cli_jobs_purge_wait(tf_cli_jobs_t *jobs)
{
    int64_t  lag, least, until;

    least = INT64_MAX;
    until = 0;

    for ( ;; ) {
        lag = tf_cli_jobs_lag(jobs);

        if (lag < 0) {
            return TF_CLI_FAILED;
        }

        if (lag < TF_JOBS_LAG) {
            return 0;
        }

        if (lag < least) {
            least = lag;
            until = tf_clock_ms() + TF_JOBS_LAG_MS;

        } else if (tf_clock_ms() > until) {
            return tf_cli_error(jobs->cli, "%lld entries of the accept log "
                                "are not written to PostgreSQL: does a "
                                "sidecar run (\"trifecta doctor\")? What was "
                                "purged so far will be erased when one does",
                                (long long) lag);
        }

        (void) usleep(50000);
    }
}


int
tf_cli_jobs_purge(tf_cli_jobs_t *jobs)
{
    int          n, status;
    char         older[24], last[TF_ID_TEXT_LEN + 1];
    long         purged;
    PGresult    *res;
    const char  *params[4];

    if (!tf_job_state_terminal(tf_job_state_from_word(jobs->state))) {
        return tf_cli_misuse(jobs->cli, "--state %s: only jobs that have "
                             "ended are purged: succeeded, failed, cancelled, "
                             "dead", jobs->state);
    }

    (void) snprintf(older, sizeof(older), "%lld", (long long) jobs->older);
    (void) snprintf(last, sizeof(last),
                    "00000000-0000-0000-0000-000000000000");
    params[0] = jobs->state;
    params[1] = older;
    params[2] = jobs->tenant;
    params[3] = last;

    if (jobs->dry_run) {
        res = tf_cli_jobs_query(jobs, "SELECT count(*) " TF_JOBS_PURGE_WHERE,
                                4, params);
        if (res == NULL) {
            return TF_CLI_FAILED;
        }

        (void) printf("%s jobs would be purged\n", PQgetvalue(res, 0, 0));
        PQclear(res);
        return TF_CLI_OK;
    }

    purged = 0;

    for ( ;; ) {
        res = tf_cli_jobs_query(jobs, "SELECT id, tenant, owner "
                                TF_JOBS_PURGE_WHERE " ORDER BY id LIMIT 200",
                                4, params);
        if (res == NULL) {
            status = TF_CLI_FAILED;
            break;
        }

        n = PQntuples(res);
        status = tf_cli_jobs_purge_batch(jobs, res, &purged);

        if (n > 0) {
            (void) snprintf(last, sizeof(last), "%s",
                            PQgetvalue(res, n - 1, 0));
        }

        PQclear(res);

        if (status || n < TF_JOBS_BATCH) {
            break;
        }

        (void) fprintf(stderr, "%ld so far\n", purged);

        status = tf_cli_jobs_purge_wait(jobs);
        if (status) {
            break;
        }
    }

    (void) printf("%ld jobs were purged\n", purged);

    return fflush(stdout) == 0 ? status : TF_CLI_FAILED;
}
