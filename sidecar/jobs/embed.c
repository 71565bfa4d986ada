#include "jobs/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "jobs/jobs.h"
#include "llm/embed.h"
#include "rag/sets.h"


#define TF_EMBED_JOB_MS  60000

typedef struct {
    tf_jobs_t             *jobs;
    tf_job_t              *job;
    tf_rag_set_t           set;
    tf_rag_slice_t         slice;
    const tf_llm_model_t  *model;
    PGresult              *rows;    /* what is to be embedded next */
    unsigned long          done;
    unsigned long          skipped;
    long long              tokens;
} tf_embed_run_t;

typedef enum {
    TF_EMBED_MORE,
    TF_EMBED_DONE,
    TF_EMBED_OVER       /* the job has its end: rc says which */
} tf_embed_step_t;


static int
tf_embed_payload(const tf_job_t *job, tf_embed_run_t *run)
{
    int         rc;
    int         set, part, parts;
    json_t     *root;
    json_int_t  after;

    root = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);

    rc = json_unpack(root, "{s:i, s:i, s:i, s:I}", "set", &set, "part", &part,
                     "parts", &parts, "after", &after);
    json_decref(root);

    if (rc != 0 || part < 0 || parts < 1 || parts > TF_EMBED_PARTS_MAX
        || part >= parts)
    {
        return -1;
    }

    run->set.id = set;
    run->slice.part = (unsigned) part;
    run->slice.parts = (unsigned) parts;
    run->slice.after = after;

    return 0;
}


static tf_embed_step_t
tf_embed_store(tf_embed_run_t *run, tf_pg_t *pg, tf_run_t *rc)
{
    tf_log(TF_LOG_WARN, "the passages cannot be embedded: %s", pg->err);

    if (pg->conn == NULL) {
        *rc = TF_RUN_RELEASE;

    } else {
        tf_pg_rollback(pg);
        tf_job_fail(run->job, TF_JOB_FAILED, "internal_error",
                    "The passages could not be embedded.");
        *rc = TF_RUN_RETRY;
    }

    return TF_EMBED_OVER;
}


/* Which set it is, and what it lacks. */

static tf_embed_step_t
tf_embed_look(tf_embed_run_t *run, tf_run_t *rc)
{
    tf_pg_t                *pg;
    const char             *code;
    tf_embed_step_t         step;
    const tf_llm_models_t  *models;

    pg = tf_pg_pool_get(run->jobs->rag, TF_PG_SHORT, TF_PG_WAIT_MS,
                        &run->job->stop);
    models = run->jobs->models;

    if (pg == NULL) {
        *rc = TF_RUN_LATE;
        return TF_EMBED_OVER;
    }

    step = TF_EMBED_DONE;
    code = NULL;

    if (tf_pg_begin_as(pg, run->job->tenant, run->job->owner, "[]")
        != TF_PG_OK
        || tf_rag_set_get(pg, run->set.id, &run->set) != TF_PG_OK)
    {
        step = tf_embed_store(run, pg, rc);
        goto done;
    }

    if (run->set.id != 0 && strcmp(run->set.status, "retired") != 0) {
        run->model = tf_llm_models_of(models, TF_LLM_EMBEDDING,
                                      run->set.model);

        if (run->model == NULL || run->model->dimensions != run->set.dims) {
            code = run->model == NULL
                   ? "This worker does not have the set's model."
                   : "The model has another dimension here than its set.";

        } else {
            run->slice.max = (unsigned) run->model->batch;

            if (tf_rag_set_lacks(pg, &run->set, &run->slice, &run->rows)
                != TF_PG_OK)
            {
                step = tf_embed_store(run, pg, rc);
                goto done;
            }

            step = PQntuples(run->rows) ? TF_EMBED_MORE : TF_EMBED_DONE;
        }
    }

    if (tf_pg_commit(pg) != TF_PG_OK) {
        step = tf_embed_store(run, pg, rc);
        goto done;
    }

    if (code != NULL) {
        tf_log(TF_LOG_ERROR, "set %d: model %s: %s", run->set.id,
               run->set.model, code);
        tf_job_fail(run->job, TF_JOB_FAILED, "model_not_found", code);
        *rc = TF_RUN_ENDED;
        step = TF_EMBED_OVER;
    }

done:

    tf_pg_pool_put(run->jobs->rag, pg);

    return step;
}


static tf_embed_step_t
tf_embed_put(tf_embed_run_t *run, size_t first, const tf_llm_vectors_t *v,
    tf_run_t *rc)
{
    tf_pg_t          *pg;
    tf_embed_step_t   step;

    pg = tf_pg_pool_get(run->jobs->rag, TF_PG_SHORT, TF_PG_WAIT_MS,
                        &run->job->stop);

    if (pg == NULL) {
        *rc = TF_RUN_LATE;
        return TF_EMBED_OVER;
    }

    step = TF_EMBED_MORE;

    if (tf_pg_begin_as(pg, run->job->tenant, run->job->owner, "[]")
        != TF_PG_OK
        || tf_rag_set_put(pg, &run->set, run->rows, first, v->n, v->of,
                          v->tokens)
           != TF_PG_OK
        || tf_pg_commit(pg) != TF_PG_OK)
    {
        step = tf_embed_store(run, pg, rc);
    }

    tf_pg_pool_put(run->jobs->rag, pg);

    if (step == TF_EMBED_MORE) {
        run->done += v->n;
        run->tokens += v->tokens;
    }

    return step;
}


/*
 * Rows of the batch from first on.  When the server refuses them for good,
 * the halves are tried, so that one text that it does not take is all that
 * stays without a vector.
 */

static tf_embed_step_t
tf_embed_rows(tf_embed_run_t *run, size_t first, size_t n, tf_run_t *rc)
{
    size_t             i;
    const char       **texts;
    tf_llm_embed_t     request;
    tf_llm_status_t    status;
    tf_embed_step_t    step;
    tf_llm_vectors_t   v;
    tf_llm_failure_t   failure;

    texts = calloc(n, sizeof(char *));
    if (texts == NULL) {
        *rc = TF_RUN_RELEASE;
        return TF_EMBED_OVER;
    }

    for (i = 0; i < n; i++) {
        texts[i] = PQgetvalue(run->rows, (int) (first + i), 1);
    }

    memset(&request, 0, sizeof(request));
    request.texts = texts;
    request.n = n;
    request.attempt = (unsigned) run->job->attempt;
    request.cancel = &run->job->stop;

    status = tf_llm_embed(run->model, &request, &v, &failure);

    step = TF_EMBED_MORE;

    /* a request that failed takes nothing from those before it */

    if (v.n > 0) {
        step = tf_embed_put(run, first, &v, rc);
        first += v.n;
        n -= v.n;
    }

    if (status == TF_LLM_OK || step != TF_EMBED_MORE) {
        goto done;
    }

    if (status == TF_LLM_CANCELLED) {
        *rc = TF_RUN_RELEASE;
        step = TF_EMBED_OVER;

    } else if (strcmp(failure.code, "model_rejected") != 0) {
        tf_job_fail(run->job, TF_JOB_FAILED, failure.code, failure.message);
        run->job->retry_after = failure.retry_after;
        run->job->waits = failure.waits;
        *rc = failure.retryable ? TF_RUN_RETRY : TF_RUN_ENDED;
        step = TF_EMBED_OVER;

    } else if (n == 1) {
        tf_log(TF_LOG_WARN, "the server of model %s refuses chunk %s, which "
               "stays without a vector", run->model->name,
               PQgetvalue(run->rows, (int) first, 0));
        run->skipped++;

    } else {
        step = tf_embed_rows(run, first, n / 2, rc);

        if (step == TF_EMBED_MORE) {
            step = tf_embed_rows(run, first + n / 2, n - n / 2, rc);
        }
    }

done:

    free(v.of);
    free(texts);

    return step;
}


/* What came of it, as the job's result. */

static tf_run_t
tf_embed_end(tf_embed_run_t *run)
{
    double    cost;
    tf_buf_t  body = TF_BUF_INIT, usage = TF_BUF_INIT;

    tf_buf_printf(&body, "%lu passages were embedded for set %d.", run->done,
                  run->set.id);

    if (run->skipped) {
        tf_buf_printf(&body, " %lu were refused by the model's server.",
                      run->skipped);
    }

    tf_buf_printf(&usage, "{\"input_tokens\":%lld,\"output_tokens\":0,"
                  "\"total_tokens\":%lld,\"model\":\"%s\"", run->tokens,
                  run->tokens, run->model ? run->model->name : "");

    if (run->model != NULL && run->model->input_price > 0) {
        cost = (double) run->tokens * run->model->input_price / 1e6;
        tf_buf_printf(&usage, ",\"cost\":%.6f", cost);
    }

    tf_buf_puts(&usage, "}");

    if (body.failed || usage.failed) {
        tf_buf_free(&body);
        tf_buf_free(&usage);
        return TF_RUN_RELEASE;
    }

    run->job->body = body.data;
    run->job->usage = usage.data;
    run->job->state = TF_JOB_SUCCEEDED;

    return TF_RUN_ENDED;
}


tf_run_t
tf_jobs_embed(tf_jobs_t *jobs, tf_job_t *job)
{
    int              n;
    char             err[512];
    int64_t          until;
    tf_run_t         rc;
    tf_embed_run_t   run;
    tf_embed_step_t  step;

    memset(&run, 0, sizeof(run));
    run.jobs = jobs;
    run.job = job;

    if (tf_embed_payload(job, &run) != 0) {
        tf_log(TF_LOG_ERROR, "the payload is none of an embed job: it was "
               "damaged, or written by another release");
        tf_job_fail(job, TF_JOB_FAILED, "invalid_payload",
                    "The job's request could not be read.");
        return TF_RUN_ENDED;
    }

    rc = TF_RUN_ENDED;
    until = tf_clock_ms() + TF_EMBED_JOB_MS;

    do {
        step = tf_embed_look(&run, &rc);

        if (step == TF_EMBED_MORE) {
            n = PQntuples(run.rows);
            step = tf_embed_rows(&run, 0, (size_t) n, &rc);
            run.slice.after = atoll(PQgetvalue(run.rows, n - 1, 0));
        }

        PQclear(run.rows);
        run.rows = NULL;

        if (atomic_load(&job->stop) && step != TF_EMBED_OVER) {
            return TF_RUN_RELEASE;
        }

    } while (step == TF_EMBED_MORE && tf_clock_ms() < until);

    if (step == TF_EMBED_OVER) {
        return rc;
    }

    if (step == TF_EMBED_MORE
        && tf_embed_submit_one(jobs->conf, job->tenant, job->owner,
                               run.set.id, &run.slice, err, sizeof(err))
           != 0)
    {
        tf_log(TF_LOG_WARN, "what is left to embed found no job: %s", err);
        return TF_RUN_RELEASE;
    }

    return tf_embed_end(&run);
}
