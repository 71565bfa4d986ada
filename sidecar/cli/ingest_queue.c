#include "cli/ingest_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include <trifecta/job.h>

#include "queue/redis_url.h"


static int tf_ingest_send(tf_ingest_sending_t *s, const char *path);
static int tf_ingest_send_row(tf_ingest_sending_t *s);
static void tf_ingest_tell_redis(tf_ingest_sending_t *s);


int
tf_ingest_queue(tf_ingest_run_t *run)
{
    int                   i, rc;
    size_t                n;
    tf_redis_urls_t       urls;
    tf_ingest_queued_t   *jobs;
    tf_ingest_sending_t   s;
    char                  err[512];

    if (tf_redis_urls(&urls, run->conf.redis_url, err, sizeof(err)) != 0) {
        return tf_cli_error(&run->cli, "%s", err);
    }

    jobs = calloc((size_t) run->cli.argc, sizeof(tf_ingest_queued_t));
    if (jobs == NULL) {
        tf_redis_urls_free(&urls);
        return tf_cli_error(&run->cli, "out of memory");
    }

    rc = TF_CLI_OK;

    for (i = 0, n = 0; i < run->cli.argc && rc == TF_CLI_OK; i++) {
        memset(&s, 0, sizeof(tf_ingest_sending_t));
        s.run = run;
        s.job = &jobs[n];
        s.job->path = run->cli.argv[i];
        s.submit.tenant = run->target.tenant;
        s.submit.owner = run->target.owner;
        s.submit.groups = "[]";
        s.submit.scopes = "[]";
        s.submit.kind = "ingest";
        s.submit.model = "";
        s.submit.fp = "";

        if (tf_submit_id(&run->conf, &s.submit, urls.n, s.job->id, &s.shard,
                         err, sizeof(err))
            != 0)
        {
            rc = tf_cli_error(&run->cli, "%s", err);
            break;
        }

        rc = tf_ingest_send(&s, run->cli.argv[i]);

        if (rc == TF_CLI_OK && s.payload != NULL) {
            tf_ingest_tell_redis(&s);
            (void) printf("%s\n", s.job->id);
            (void) fflush(stdout);
            n++;
        }

        tf_buf_free(&s.present);
        free(s.payload);
    }

    tf_redis_urls_free(&urls);

    if (rc == TF_CLI_OK && n == 0) {
        rc = tf_cli_error(&run->cli, "no document was sent");
    }

    if (n > 0 && !run->detach) {
        i = tf_ingest_wait(run, jobs, n);
        rc = rc == TF_CLI_OK ? i : rc;
    }

    if (rc == TF_CLI_OK && run->skipped) {
        rc = TF_CLI_SKIPPED;
    }

    free(jobs);

    return rc;
}


static int
tf_ingest_send(tf_ingest_sending_t *s, const char *path)
{
    int               rc, folder;
    char              name[256];
    tf_files_t        files;
    struct stat       st;
    tf_ingest_run_t  *run;

    run = s->run;

    if (stat(path, &st) == -1) {
        tf_ingest_skipped(run, path, "no such file or folder");
        return TF_CLI_OK;
    }

    memset(&files, 0, sizeof(tf_files_t));
    folder = S_ISDIR(st.st_mode);

    if (folder) {
        tf_folder_walk(&files, path, tf_ingest_skipped, run);

    } else {
        tf_folder_file(&files, path);
    }

    run->target.collection = run->collection;
    if (run->collection == NULL) {
        run->target.collection = tf_ingest_collection(path, folder, name,
                                                      sizeof(name));
    }

    s->of.job = s->job->id;
    s->of.tenant = run->target.tenant;
    s->of.owner = run->target.owner;

    if (files.failed) {
        rc = tf_cli_error(&run->cli, "out of memory");

    } else if (tf_pg_begin_as(&run->pg, s->of.tenant, s->of.owner, "[]")
               != TF_PG_OK)
    {
        rc = tf_cli_error(&run->cli, "%s", run->pg.err);

    } else {
        s->remove = run->remove && folder;
        rc = tf_ingest_send_files(s, &files);

        if (s->remove && files.errors > 0) {
            (void) fprintf(stderr, "%s: nothing is removed, because not "
                           "everything in it can be read\n", path);
            s->remove = 0;
        }

        if (rc == TF_CLI_OK && s->remove && s->present.len > 0) {
            rc = tf_ingest_send_present(s);
        }

        if (rc == TF_CLI_OK
            && (s->job->files > 0 || (s->remove && s->present.len > 0)))
        {
            rc = tf_ingest_send_row(s);

        } else {
            tf_pg_rollback(&run->pg);
        }
    }

    tf_files_free(&files);

    return rc;
}


/* When the list of files was made, by the clock of the store; or NULL. */

static json_t *
tf_ingest_when(tf_pg_t *pg)
{
    json_t    *when;
    PGresult  *res;

    if (tf_pg_query(pg, &res, TF_FILES_MS, "SELECT now()", 0, NULL)
        != TF_PG_OK)
    {
        return NULL;
    }

    when = json_string(PQgetvalue(res, 0, 0));
    PQclear(res);

    return when;
}


/* The job's row, and the end of the transaction. */

static int
tf_ingest_send_row(tf_ingest_sending_t *s)
{
    char              limit[16], prio[16];
    json_t           *payload;
    const char       *params[6];
    tf_pg_status_t    rc;
    tf_ingest_run_t  *run;

    static const struct {
        unsigned  prio;
        unsigned  limit;
    } kinds[] = {
#define TF_INGEST_KIND(name, word, prio, ms, ...)  { prio, ms },
        TF_JOB_KINDS(TF_INGEST_KIND)
#undef TF_INGEST_KIND
    };

    enum {
#define TF_INGEST_KIND(name, word, prio, ms, ...)  TF_INGEST_KIND_##name,
        TF_JOB_KINDS(TF_INGEST_KIND)
#undef TF_INGEST_KIND
        TF_INGEST_NKINDS
    };

    run = s->run;

    payload = json_pack("{s:s, s:I, s:I, s:s, s:s, s:b}", "files", s->job->id,
                        "count", (json_int_t) s->job->files,
                        "bytes", (json_int_t) s->bytes,
                        "collection", run->target.collection,
                        "visibility", run->target.visibility,
                        "again", run->target.again);

    if (payload != NULL && run->target.groups != NULL) {
        (void) json_object_set_new(payload, "groups",
                                   json_string(run->target.groups));
    }

    if (payload != NULL && run->given.len) {
        (void) json_object_set_new(payload, "given",
                                   json_string(run->given.data));
    }

    if (payload != NULL && run->limits.len) {
        (void) json_object_set_new(payload, "limits",
                                   json_string(run->limits.data));
    }

    if (payload != NULL && s->remove) {
        (void) json_object_set_new(payload, "delete",
                                   tf_ingest_when(&run->pg));
    }

    if (payload != NULL && s->remove && s->present.len) {
        (void) json_object_set_new(payload, "present", json_true());
    }

    s->payload = payload == NULL ? NULL : json_dumps(payload, JSON_COMPACT);
    json_decref(payload);

    if (s->payload == NULL) {
        tf_pg_rollback(&run->pg);
        return tf_cli_error(&run->cli, "a name is not UTF-8, or memory is "
                            "short");
    }

    s->submit.payload = s->payload;

    (void) snprintf(prio, sizeof(prio), "%u",
                    kinds[TF_INGEST_KIND_INGEST].prio);
    (void) snprintf(limit, sizeof(limit), "%u",
                    kinds[TF_INGEST_KIND_INGEST].limit);

    params[0] = s->job->id;
    params[1] = s->of.tenant;
    params[2] = s->of.owner;
    params[3] = prio;
    params[4] = s->payload;
    params[5] = limit;

    rc = tf_pg_query(&run->pg, NULL, TF_FILES_MS,
                     "INSERT INTO trifecta.job (id, tenant, owner, kind, "
                     "prio, state, request, accepted, deadline) VALUES "
                     "($1, $2, $3, 'ingest', $4, 'queued', $5, "
                     "clock_timestamp(), clock_timestamp() "
                     "+ $6::integer * interval '1 ms')", 6, params);

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(&run->pg);

    } else {
        tf_pg_rollback(&run->pg);
    }

    return rc == TF_PG_OK ? TF_CLI_OK
                          : tf_cli_error(&run->cli, "%s", run->pg.err);
}


/* What fails here is no error: the job is there, and a sidecar finds it. */

static void
tf_ingest_tell_redis(tf_ingest_sending_t *s)
{
    char              prefix[TF_KEY_PREFIX_MAX], err[512];
    tf_cmd_t          cmd = TF_CMD_INIT;
    redisReply       *reply;
    tf_redis_t        redis;
    const char       *word;
    tf_ingest_run_t  *run;
    tf_redis_urls_t   urls;

    run = s->run;

    if (tf_redis_urls(&urls, run->conf.redis_url, err, sizeof(err)) != 0) {
        return;
    }

    (void) snprintf(prefix, sizeof(prefix), TF_KEY_PREFIX_FMT, s->shard);
    tf_redis_init(&redis, &run->conf, urls.url[s->shard], prefix, 0);

    reply = tf_submit_cmd(&s->submit, prefix, s->job->id, &cmd) == 0
            ? tf_redis_call(&redis, 0, &cmd) : NULL;
    word = tf_reply_str(reply, 0);

    if (strcmp(word, "OK") != 0 && strcmp(word, "DUP") != 0) {
        (void) fprintf(stderr, "job %s is stored, and the queue does not take "
                       "it now (%s): a sidecar puts it there later\n",
                       s->job->id, word[0] ? word : redis.err);
    }

    freeReplyObject(reply);
    tf_cmd_free(&cmd);
    tf_redis_close(&redis);
    tf_redis_urls_free(&urls);
}
