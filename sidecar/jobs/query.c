#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "jobs/jobs.h"
#include "queue/emit.h"
#include "rag/answer.h"
#include "rag/goes_on.h"
#include "rag/talk.h"


/*
 * A question: retrieve, generate, cite.  The payload is what the module made
 * of the request: {"query": "...", "conversation_id"?, "collections"?,
 * "filters"?, "instructions"?, "turns"?, "after"?, "previous"?, "options"?};
 * the model is the job's.  Other members are not about the answer.  Without a
 * query it goes on with the one of "previous" (rag/goes_on.h).
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


/*
 * A text of a payload, of at most max bytes: NULL for none; 0, or -1 when it
 * is damaged.
 */

static int
tf_query_text_of(const json_t *payload, const char *name, size_t max,
    const char **text)
{
    const json_t  *value;

    value = json_object_get(payload, name);
    *text = json_string_value(value);

    return value == NULL
           || (*text != NULL && **text != '\0' && strlen(*text) <= max)
           ? 0 : -1;
}


/* What of the payload says how it is to be answered; 0, or -1. */

static int
tf_query_read(const json_t *payload, tf_answer_request_t *request,
    tf_llm_options_t *options)
{
    tf_id_t  id;

    request->question = json_string_value(json_object_get(payload, "query"));
    request->collections = json_object_get(payload, "collections");
    request->filters = json_object_get(payload, "filters");
    request->turns = json_object_get(payload, "turns");
    request->after = json_object_get(payload, "after");
    request->options = options;

    if ((request->after != NULL && !json_is_array(request->after))
        || (request->turns != NULL && !json_is_array(request->turns))
        || tf_query_text_of(payload, "conversation_id", TF_TALK_ID_MAX,
                            &request->conversation) != 0
        || tf_query_text_of(payload, "instructions", (size_t) -1,
                            &request->instructions) != 0
        || tf_query_text_of(payload, "previous", TF_ID_TEXT_LEN,
                            &request->previous) != 0)
    {
        return -1;
    }

    if (request->previous != NULL
        && tf_id_parse(&id, request->previous, strlen(request->previous)) != 0)
    {
        return -1;
    }

    if (request->question == NULL
        && (json_object_get(payload, "query") != NULL
            || request->previous == NULL || request->after == NULL))
    {
        return -1;
    }

    return tf_llm_options_read(options, json_object_get(payload, "options"));
}


/* What the answer says on its way is what the job says. */

static int
tf_query_searched(void *arg, int news)
{
    return tf_job_emit_searched(arg, news);
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


static void
tf_query_flush(void *arg)
{
    tf_job_emit_flush(arg);
}


/* What came of it moves to the job: an empty body is one, too. */

static int
tf_query_succeeded(tf_job_t *job, tf_answer_t *answer)
{
    job->body = answer->body.len ? tf_query_take(&answer->body) : strdup("");
    job->citations = tf_query_take(&answer->citations);
    job->usage = tf_query_take(&answer->usage);
    job->tool_calls = tf_query_take(&answer->tool_calls);
    job->state = TF_JOB_SUCCEEDED;

    return job->body ? 0 : -1;
}


/* The question is that of an earlier job; TF_RUN_ENDED: it is there. */

static tf_run_t
tf_query_goes_on(tf_job_t *job, tf_answer_request_t *request, tf_goes_on_t *g)
{
    int              away;
    tf_pg_t         *pg;
    tf_pg_status_t   rc;

    pg = tf_pg_pool_get(request->pool, TF_PG_SHORT, TF_PG_WAIT_MS, &job->stop);

    if (pg == NULL) {
        return TF_RUN_LATE;
    }

    rc = tf_rag_goes_on(pg, request, g);

    if (rc != TF_PG_OK) {
        tf_log(TF_LOG_WARN, "what a job goes on with cannot be read: %s",
               pg->err);
    }

    away = rc == TF_PG_DOWN || pg->conn == NULL;
    tf_pg_pool_put(request->pool, pg);

    if (rc != TF_PG_OK) {
        if (away) {
            return TF_RUN_RELEASE;
        }

        tf_job_fail(job, TF_JOB_FAILED, "internal_error",
                    "The response that this goes on with cannot be read.");
        return TF_RUN_RETRY;
    }

    if (g->why != NULL) {
        tf_job_fail(job, TF_JOB_FAILED, "model_rejected", g->why);
    }

    return TF_RUN_ENDED;
}


static tf_run_t
tf_query_answer(tf_jobs_t *jobs, tf_job_t *job, tf_answer_request_t *request)
{
    tf_run_t             rc;
    tf_answer_t          answer;
    tf_goes_on_t         goes_on;
    tf_answer_sink_t     sink;
    tf_answer_status_t   status;

    sink.searched = tf_query_searched;
    sink.text = tf_query_text;
    sink.reset = tf_query_reset;
    sink.flush = tf_query_flush;
    sink.arg = job;

    request->conf = jobs->conf;
    request->pool = jobs->rag;
    request->tenant = job->tenant;
    request->owner = job->owner;
    request->groups = job->groups;
    request->job = job->id;
    request->model = job->model;
    request->models = jobs->models;
    request->mem = jobs->mem;
    request->attempt = (unsigned) job->attempt;
    request->cancel = &job->stop;
    request->sink = &sink;

    memset(&answer, 0, sizeof(answer));
    memset(&goes_on, 0, sizeof(goes_on));
    rc = TF_RUN_ENDED;

    if (request->question == NULL) {
        rc = tf_query_goes_on(job, request, &goes_on);

        if (rc != TF_RUN_ENDED || goes_on.why != NULL) {
            goto done;
        }
    }

    status = tf_rag_answer(request, &answer);

    switch (status) {

    case TF_ANSWER_OK:
        if (tf_query_succeeded(job, &answer) != 0) {
            tf_job_fail(job, TF_JOB_FAILED, "internal_error",
                        "Out of memory.");
            rc = TF_RUN_RETRY;
        }
        break;

    case TF_ANSWER_STORE:
    case TF_ANSWER_LATE:
        tf_log(TF_LOG_WARN, "the documents cannot be read: %s",
               answer.message);
        rc = status == TF_ANSWER_LATE ? TF_RUN_LATE : TF_RUN_RELEASE;
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

done:

    tf_rag_answer_free(&answer);
    tf_rag_goes_on_free(&goes_on);

    return rc;
}


tf_run_t
tf_jobs_query(tf_jobs_t *jobs, tf_job_t *job)
{
    json_t               *payload;
    tf_run_t              rc;
    tf_llm_options_t      options;
    tf_answer_request_t   request;

    memset(&request, 0, sizeof(request));
    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);

    if (tf_query_read(payload, &request, &options) != 0) {
        tf_log(TF_LOG_ERROR, "the payload is no question: it was not "
               "written by the nginx module, or was damaged");
        json_decref(payload);
        tf_job_fail(job, TF_JOB_FAILED, "invalid_payload",
                    "The job's request could not be read.");
        return TF_RUN_ENDED;
    }

    request.payload = payload;
    rc = tf_query_answer(jobs, job, &request);

    json_decref(payload);

    return rc;
}
