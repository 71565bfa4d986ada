#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "jobs/jobs.h"
#include "rag/answer.h"


/*
 * A question: retrieve, generate, cite.  The payload is what the module made
 * of the request: {"query": "...", "collections"?, "filters"?}; the model is
 * the job's.
 */


/* The string moves to the job; what is empty becomes NULL. */

static char *
tf_query_take(tf_buf_t *b)
{
    char  *s;

    s = b->len ? b->data : NULL;

    if (s != NULL) {
        b->data = NULL;
        tf_buf_free(b);
    }

    return s;
}


static tf_run_t
tf_query_answer(tf_jobs_t *jobs, tf_pg_t *pg, tf_job_t *job,
    const json_t *payload, const char *question)
{
    tf_run_t              rc;
    tf_answer_t           answer;
    tf_answer_request_t   request;

    memset(&request, 0, sizeof(request));
    request.tenant = job->tenant;
    request.owner = job->owner;
    request.groups = job->groups;
    request.question = question;
    request.collections = json_object_get(payload, "collections");
    request.filters = json_object_get(payload, "filters");
    request.model = job->model;
    request.models = jobs->models;
    request.mem = jobs->mem;
    request.attempt = (unsigned) job->attempt;
    request.cancel = &job->stop;

    rc = TF_RUN_ENDED;

    switch (tf_rag_answer(pg, &request, &answer)) {

    case TF_ANSWER_OK:
        job->body = tf_query_take(&answer.body);
        job->citations = tf_query_take(&answer.citations);
        job->usage = tf_query_take(&answer.usage);
        job->state = TF_JOB_SUCCEEDED;
        break;

    case TF_ANSWER_STORE:
        tf_log(TF_LOG_WARN, "the documents cannot be read: %s", pg->err);
        rc = TF_RUN_RELEASE;
        break;

    case TF_ANSWER_CANCELLED:
        rc = TF_RUN_RELEASE;
        break;

    default: /* TF_ANSWER_FAILED */
        tf_log(TF_LOG_WARN, "no answer: %s: %s", answer.code,
               answer.message);
        tf_job_fail(job, TF_JOB_FAILED, answer.code, answer.message);
        job->retry_after = answer.retry_after;
        rc = answer.retryable ? TF_RUN_RETRY : TF_RUN_ENDED;
        break;
    }

    tf_rag_answer_free(&answer);

    return rc;
}


tf_run_t
tf_jobs_query(tf_jobs_t *jobs, tf_job_t *job)
{
    json_t      *payload;
    tf_pg_t     *pg;
    tf_run_t     rc;
    const char  *question;

    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);
    question = json_string_value(json_object_get(payload, "query"));

    if (question == NULL) {
        tf_log(TF_LOG_ERROR, "the payload is no question: it was not "
               "written by the nginx module, or was damaged");
        json_decref(payload);
        tf_job_fail(job, TF_JOB_FAILED, "invalid_payload",
                    "The job's request could not be read.");
        return TF_RUN_ENDED;
    }

    pg = tf_pg_pool_get(jobs->rag, TF_PG_CONNECT_MS);

    if (pg == NULL) {
        json_decref(payload);
        return TF_RUN_RELEASE;
    }

    rc = tf_query_answer(jobs, pg, job, payload, question);

    tf_pg_pool_put(jobs->rag, pg);
    json_decref(payload);

    return rc;
}
