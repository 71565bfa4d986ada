#include "jobs/jobs.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"


typedef struct {
    const char  *kind;
    tf_run_t   (*run)(tf_jobs_t *jobs, tf_job_t *job);
} tf_jobs_kind_t;

static const tf_jobs_kind_t  tf_jobs_kinds[] = {
    { "query", tf_jobs_query },
    { "embed", tf_jobs_embed },
    { "embeddings", tf_jobs_embeddings },
    { "forget", tf_jobs_forget },
    { "ingest", tf_jobs_ingest },
    { "webhook", tf_jobs_webhook },
    { "batch_query", tf_jobs_query },
    { "batch_embeddings", tf_jobs_embeddings },
};


tf_run_t
tf_jobs_run(void *data, tf_job_t *job)
{
    char    message[128];
    size_t  i;

    for (i = 0; i < sizeof(tf_jobs_kinds) / sizeof(tf_jobs_kinds[0]); i++) {
        if (strcmp(job->kind, tf_jobs_kinds[i].kind) == 0) {
            return tf_jobs_kinds[i].run(data, job);
        }
    }

    tf_log(TF_LOG_ERROR, "unknown kind of job \"%s\": is this sidecar older "
           "than the nginx module?", job->kind);

    (void) snprintf(message, sizeof(message),
                    "This worker knows no jobs of kind \"%.32s\".",
                    job->kind);
    tf_job_fail(job, TF_JOB_FAILED, "unknown_kind", message);

    return TF_RUN_ENDED;
}
