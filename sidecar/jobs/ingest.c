#define _GNU_SOURCE     /* memfd_create() */

#include "jobs/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "extract/archive.h"
#include "extract/charset.h"
#include "extract/extract.h"
#include "jobs/embed.h"
#include "rag/index.h"


static tf_run_t tf_ingest_job(tf_ingest_job_t *ij, const json_t *payload);
static int tf_ingest_payload(tf_ingest_job_t *ij, const json_t *payload);
static tf_run_t tf_ingest_all(tf_ingest_job_t *ij);
static void tf_ingest_embed(tf_ingest_job_t *ij);
static int tf_ingest_flush(tf_ingest_job_t *ij, int now);
static int tf_ingest_one(tf_ingest_job_t *ij);
static int tf_ingest_archive(tf_ingest_job_t *ij, const char *data,
    size_t len);
static int tf_ingest_member(void *ctx, const char *path, const char *data,
    size_t len);
static void tf_ingest_member_skipped(void *ctx, const char *path,
    const char *why);
static tf_run_t tf_ingest_store(tf_ingest_job_t *ij, tf_pg_status_t rc);

tf_run_t
tf_jobs_ingest(tf_jobs_t *jobs, tf_job_t *job)
{
    size_t            i;
    json_t           *payload;
    tf_run_t          rc;
    tf_ingest_job_t  *ij;

    ij = calloc(1, sizeof(tf_ingest_job_t));
    if (ij == NULL) {
        return TF_RUN_RELEASE;
    }

    ij->jobs = jobs;
    ij->job = job;
    ij->steps = json_object();
    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);

    /*
     * No error: it waits for its turn like any job in the queue, and a little
     * longer than its deadline, which says itself what has become of it.
     */

    ij->pg = tf_pg_pool_get(jobs->rag, TF_PG_LONG,
                            job->until - tf_clock_ms() + 1000, &job->stop);

    rc = ij->pg == NULL ? TF_RUN_LATE
         : ij->steps == NULL ? TF_RUN_RELEASE : tf_ingest_job(ij, payload);

    if (ij->pg != NULL) {
        tf_pg_pool_put(jobs->rag, ij->pg);
    }

    for (i = 0; i < ij->nfiles; i++) {
        free(ij->files[i].source);
    }

    free(ij->files);
    tf_buf_free(&ij->told);
    tf_buf_free(&ij->present);
    json_decref(ij->steps);
    json_decref(payload);
    free(ij);

    return rc;
}


static tf_run_t
tf_ingest_job(tf_ingest_job_t *ij, const json_t *payload)
{
    int             more;
    tf_pg_status_t  rc;

    if (tf_ingest_payload(ij, payload) != 0) {
        tf_log(TF_LOG_ERROR, "the payload says nothing that can be ingested: "
               "it was not written by this release, or was damaged");
        tf_job_fail(ij->job, TF_JOB_FAILED, "invalid_payload",
                    "The job's request could not be read.");
        return TF_RUN_ENDED;
    }

    rc = tf_files_list(ij->pg, &ij->of, &ij->files, &ij->nfiles);

    if (rc == TF_PG_OK) {
        rc = tf_ingest_steps_load(ij);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_target_open(ij->pg, &ij->target);
    }

    if (rc != TF_PG_OK) {
        return tf_ingest_store(ij, rc);
    }

    more = json_is_true(json_object_get(payload, "present"));

    if ((json_int_t) ij->nfiles
        != json_integer_value(json_object_get(payload, "count")) + more)
    {
        tf_job_fail(ij->job, TF_JOB_FAILED, "files_gone",
                    "The files of this job are not stored any more: send them "
                    "again.");
        return TF_RUN_ENDED;
    }

    if (more) {
        rc = tf_ingest_present_load(ij);

        if (rc != TF_PG_OK) {
            return tf_ingest_store(ij, rc);
        }
    }

    return tf_ingest_all(ij);
}


static int
tf_ingest_payload(tf_ingest_job_t *ij, const json_t *payload)
{
    char              err[256];
    const char       *limits;
    tf_rag_target_t  *target;

    target = &ij->target;

    ij->of.job = json_string_value(json_object_get(payload, "files"));
    ij->of.tenant = ij->job->tenant;
    ij->of.owner = ij->job->owner;

    target->tenant = ij->job->tenant;
    target->owner = ij->job->owner;
    target->collection = json_string_value(json_object_get(payload,
                                                           "collection"));
    target->visibility = json_string_value(json_object_get(payload,
                                                           "visibility"));
    target->groups = json_string_value(json_object_get(payload, "groups"));
    target->given = json_string_value(json_object_get(payload, "given"));
    target->again = json_is_true(json_object_get(payload, "again"));
    target->before = json_string_value(json_object_get(payload, "delete"));
    ij->remove = target->before != NULL;
    target->language = ij->jobs->conf->language;
    target->lazy = 1;
    target->stored = tf_ingest_step_stored;
    target->stored_ctx = ij;

    limits = json_string_value(json_object_get(payload, "limits"));
    tf_limits_default(&target->limits);

    return ij->of.job == NULL || target->collection == NULL
           || target->visibility == NULL
           || tf_limits_parse(&target->limits, ij->jobs->conf->ingest_limits,
                              err, sizeof(err))
              != 0
           || tf_limits_parse(&target->limits, limits == NULL ? "" : limits,
                              err, sizeof(err))
              != 0
           ? -1 : 0;
}


static tf_run_t
tf_ingest_all(tf_ingest_job_t *ij)
{
    int             failed;
    tf_pg_status_t  rc;

    atomic_store(&ij->job->done, 0);
    atomic_store(&ij->job->total, (unsigned) ij->nfiles);
    ij->flushed = tf_clock_ms();

    ij->group = tf_rag_group_create(ij->pg, &ij->target, tf_ingest_step_done,
                                    ij);
    if (ij->group == NULL) {
        return TF_RUN_RELEASE;
    }

    failed = 0;

    for (ij->file = 0; ij->file < ij->nfiles && !failed; ij->file++) {

        if (atomic_load(&ij->job->stop) != TF_STOP_NONE) {
            failed = 1;
            break;
        }

        failed = tf_ingest_one(ij) != 0 || tf_ingest_flush(ij, 0) != 0;
    }

    failed = failed || tf_ingest_flush(ij, 1) != 0;

    tf_rag_group_free(ij->group);

    if (atomic_load(&ij->job->stop) != TF_STOP_NONE) {
        return TF_RUN_RELEASE;
    }

    if (failed) {
        return tf_ingest_store(ij, TF_PG_ERROR);
    }

    rc = ij->remove ? tf_ingest_gone(ij) : TF_PG_OK;

    /* what is told as done must be on the disk */

    if (rc == TF_PG_OK) {
        rc = tf_rag_target_flush(ij->pg, &ij->target);
    }

    if (rc != TF_PG_OK) {
        return tf_ingest_store(ij, rc);
    }

    if (ij->count[TF_INGEST_NEW] + ij->count[TF_INGEST_CHANGED] > 0) {
        tf_ingest_embed(ij);
    }

    if (tf_ingest_result(ij) != 0) {
        tf_job_fail(ij->job, TF_JOB_FAILED, "internal_error",
                    "Out of memory.");
        return TF_RUN_RETRY;
    }

    ij->job->state = TF_JOB_SUCCEEDED;

    return TF_RUN_ENDED;
}


/* What is new may want vectors: jobs of their own make them. */

static void
tf_ingest_embed(tf_ingest_job_t *ij)
{
    char  err[512];

    if (tf_embed_after(ij->pg, ij->of.tenant, ij->of.owner,
                       ij->target.collection_id, err, sizeof(err))
        < 0)
    {
        tf_log(TF_LOG_WARN, "no job embeds what is new: %s", err);
    }
}


/* Writes what was gathered, now and then, so that others see it. */

static int
tf_ingest_flush(tf_ingest_job_t *ij, int now)
{
    if (!now && tf_clock_ms() - ij->flushed < TF_INGEST_FLUSH_MS) {
        return 0;
    }

    if (tf_rag_group_flush(ij->group) != 0 || ij->failed) {
        ij->failed = 1;
        return -1;
    }

    ij->flushed = tf_clock_ms();

    return 0;
}


/* The file at hand: 0, or -1: the store failed, or it is to stop. */

static int
tf_ingest_one(tf_ingest_job_t *ij)
{
    int                rc;
    char              *data, step[TF_INGEST_STEP_MAX];
    tf_stored_file_t  *file;

    static const tf_ingest_count_t  none;

    file = &ij->files[ij->file];
    (void) snprintf(step, sizeof(step), "file:%zu", ij->file);

    if (file->source == NULL) {
        return -1;
    }

    if (!tf_archive_is(file->source)) {
        tf_ingest_present(ij, file->source);

        if (tf_ingest_step_known(ij, step, file->source)) {
            return 0;
        }
    }

    if (tf_files_get(ij->pg, &ij->of, (int) ij->file, file->bytes, &data)
        != TF_PG_OK)
    {
        return -1;
    }

    if (data == NULL) {
        ij->partial |= tf_archive_is(file->source);
        tf_ingest_step_done(ij, step, file->source, TF_INGEST_REFUSED, &none,
                            "it is not stored whole: send it again");
        return ij->failed ? -1 : 0;
    }

    if (tf_archive_is(file->source)) {
        rc = tf_ingest_archive(ij, data, file->bytes);

        /* the archive itself is no document, and has no step */

        (void) atomic_fetch_add(&ij->job->done, 1);

    } else {
        rc = tf_rag_group_add(ij->group, step, file->source, data,
                              file->bytes);
    }

    free(data);

    return rc;
}


/* The readers of archives want a file that is open. */

static int
tf_ingest_archive(tf_ingest_job_t *ij, const char *data, size_t len)
{
    int                     fd, rc;
    char                    err[512];
    size_t                  done;
    ssize_t                 n;
    tf_archive_handlers_t   handlers;

    fd = memfd_create("archive", MFD_CLOEXEC);

    for (done = 0; fd != -1 && done < len; done += (size_t) n) {
        n = write(fd, data + done, len - done);

        if (n == -1) {
            (void) close(fd);
            fd = -1;
        }
    }

    if (fd == -1) {
        (void) snprintf(ij->pg->err, sizeof(ij->pg->err), "an archive cannot "
                        "be kept in memory: %s", strerror(errno));
        return -1;
    }

    handlers.member = tf_ingest_member;
    handlers.skipped = tf_ingest_member_skipped;
    handlers.ctx = ij;

    rc = tf_archive_read(&ij->target.limits, ij->files[ij->file].source, fd,
                         (int64_t) len, &handlers, err, sizeof(err));
    (void) close(fd);

    if (ij->failed || atomic_load(&ij->job->stop) != TF_STOP_NONE) {
        return -1;
    }

    ij->partial |= (rc != 0);

    if (rc != 0 && ij->skipped++ < TF_INGEST_TOLD) {
        tf_buf_printf(&ij->told, "skipped %s: %s\n",
                      ij->files[ij->file].source, err);
    }

    return 0;
}


/* A member's step is named by the digest of its path, which may be long. */

static int
tf_ingest_member(void *ctx, const char *path, const char *data, size_t len)
{
    int               rc;
    char              step[TF_INGEST_STEP_MAX], hash[TF_RAG_HASH];
    tf_buf_t          source = TF_BUF_INIT;
    tf_ingest_job_t  *ij = ctx;

    if (atomic_load(&ij->job->stop) != TF_STOP_NONE) {
        return -1;
    }

    tf_buf_printf(&source, "%s/%s", ij->files[ij->file].source, path);

    if (source.failed) {
        tf_buf_free(&source);
        ij->failed = 1;
        return -1;
    }

    tf_ingest_present(ij, source.data);

    if (data == NULL
        || (tf_extract_format(path) == NULL
            && tf_extract_sniff(path, data, len) == NULL))
    {
        ij->count[TF_INGEST_OTHER]++;
        tf_buf_free(&source);
        return 0;
    }

    tf_rag_hash(path, strlen(path), hash);
    (void) snprintf(step, sizeof(step), "file:%zu:%.32s", ij->file, hash + 2);

    if (tf_ingest_step_known(ij, step, source.data)) {
        rc = 0;

    } else if (tf_utf8_valid(source.data, source.len) != source.len) {
        tf_ingest_member_skipped(ij, path, "its name is not valid UTF-8");
        rc = 0;

    } else {
        rc = tf_rag_group_add(ij->group, step, source.data, data, len);
        rc = rc == 0 ? tf_ingest_flush(ij, 0) : rc;
    }

    ij->failed |= (rc != 0);
    tf_buf_free(&source);

    return rc;
}


static void
tf_ingest_member_skipped(void *ctx, const char *path, const char *why)
{
    size_t            start;
    tf_buf_t          source = TF_BUF_INIT;
    tf_ingest_job_t  *ij = ctx;

    tf_buf_printf(&source, "%s/%s", ij->files[ij->file].source, path);

    if (!source.failed) {
        tf_ingest_present(ij, source.data);
    }

    ij->partial |= source.failed;
    tf_buf_free(&source);

    if (ij->skipped++ < TF_INGEST_TOLD) {
        start = ij->told.len;
        tf_buf_printf(&ij->told, "skipped %s/%s: %s",
                      ij->files[ij->file].source, path, why);

        if (!ij->told.failed) {
            tf_charset_clean(ij->told.data + start, ij->told.len - start);
        }

        tf_buf_puts(&ij->told, "\n");
    }
}


static tf_run_t
tf_ingest_store(tf_ingest_job_t *ij, tf_pg_status_t rc)
{
    tf_log(TF_LOG_WARN, "the documents cannot be stored: %s", ij->pg->err);

    /* no connection: away, or its schema or password is another one */

    if (rc == TF_PG_DOWN || ij->pg->conn == NULL) {
        return TF_RUN_RELEASE;
    }

    tf_job_fail(ij->job, TF_JOB_FAILED, "internal_error",
                "The documents could not be stored.");

    return TF_RUN_RETRY;
}
