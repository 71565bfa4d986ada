#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "jobs/jobs.h"
#include "queue/emit.h"
#include "rag/answer.h"
#include "rag/talk.h"


/*
 * A question: retrieve, generate, cite.  The payload is what the module made
 * of the request: {"query": "...", "conversation_id"?, "collections"?,
 * "filters"?}; the model is the job's.
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


/* The conversation of a payload: NULL for none; 0, or -1 when it is damaged. */

static int
tf_query_conversation(const json_t *payload, const char **id)
{
    const json_t  *value;

    value = json_object_get(payload, "conversation_id");
    *id = json_string_value(value);

    return value == NULL
           || (*id != NULL && **id != '\0' && strlen(*id) <= TF_TALK_ID_MAX)
           ? 0 : -1;
}


/*
 * What else was asked for, always in the same order; the caller frees it.
 * NULL: no memory.
 */

static char *
tf_query_rest(const json_t *payload)
{
    char    *text;
    json_t  *rest;

    rest = json_copy((json_t *) payload);

    (void) json_object_del(rest, "query");
    (void) json_object_del(rest, "model");
    (void) json_object_del(rest, "conversation_id");

    text = json_dumps(rest, JSON_COMPACT|JSON_SORT_KEYS);
    json_decref(rest);

    return text;
}


/* What the answer says on its way is what the job says. */

static int
tf_query_searched(void *arg)
{
    return tf_job_emit_searched(arg);
}


static int
tf_query_text(void *arg, const char *data, size_t len)
{
    return tf_job_emit_text(arg, data, len);
}


static int
tf_query_reset(void *arg)
{
    return tf_job_emit_reset(arg);
}


static tf_run_t
tf_query_answer(tf_jobs_t *jobs, tf_pg_t *pg, tf_job_t *job,
    const json_t *payload, const char *question, const char *conversation,
    const char *rest)
{
    tf_run_t              rc;
    tf_answer_t           answer;
    tf_answer_sink_t      sink;
    tf_answer_request_t   request;

    sink.searched = tf_query_searched;
    sink.text = tf_query_text;
    sink.reset = tf_query_reset;
    sink.arg = job;

    memset(&request, 0, sizeof(request));
    request.tenant = job->tenant;
    request.owner = job->owner;
    request.groups = job->groups;
    request.job = job->id;
    request.conversation = conversation;
    request.question = question;
    request.collections = json_object_get(payload, "collections");
    request.filters = json_object_get(payload, "filters");
    request.rest = rest;
    request.model = job->model;
    request.models = jobs->models;
    request.mem = jobs->mem;
    request.attempt = (unsigned) job->attempt;
    request.cancel = &job->stop;
    request.sink = &sink;

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
        job->waits = answer.waits;
        rc = answer.retryable ? TF_RUN_RETRY : TF_RUN_ENDED;
        break;
    }

    tf_rag_answer_free(&answer);

    return rc;
}


tf_run_t
tf_jobs_query(tf_jobs_t *jobs, tf_job_t *job)
{
    char        *rest;
    json_t      *payload;
    tf_pg_t     *pg;
    tf_run_t     rc;
    const char  *question, *conversation;

    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);
    question = json_string_value(json_object_get(payload, "query"));

    if (question == NULL
        || tf_query_conversation(payload, &conversation) != 0)
    {
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

    rest = tf_query_rest(payload);

    if (rest != NULL) {
        rc = tf_query_answer(jobs, pg, job, payload, question, conversation,
                             rest);

    } else {
        tf_job_fail(job, TF_JOB_FAILED, "internal_error", "Out of memory.");
        rc = TF_RUN_RETRY;
    }

    free(rest);
    tf_pg_pool_put(jobs->rag, pg);
    json_decref(payload);

    return rc;
}
