#ifndef TF_JOBS_JOBS_H
#define TF_JOBS_JOBS_H


#include "base/conf.h"
#include "db/pg.h"
#include "jobs/webhook.h"
#include "llm/models.h"
#include "queue/queue.h"
#include "rag/mem.h"


/*
 * The kinds of job: a table in jobs.c, one file and one row a kind.
 *
 * A kind's function does the work of one attempt, with plain calls that
 * block, and sets what came of it in the job (state, body, citations, usage,
 * or an error by tf_job_fail()): TF_RUN_ENDED.  It returns TF_RUN_RELEASE
 * when a store that it needs is away or job->stop was set before it came to
 * an end, and then has changed nothing that another attempt would miss.
 */

typedef struct {
    const tf_conf_t  *conf;
    tf_pg_pool_t     *rag;      /* connections of the role trifecta_rag */
    tf_llm_models_t  *models;
    tf_rag_mem_t     *mem;      /* indexes in memory; NULL: none */
    tf_webhooks_t    *hooks;
} tf_jobs_t;

/* A tf_queue_run_pt; data is a tf_jobs_t. */
tf_run_t tf_jobs_run(void *data, tf_job_t *job);

tf_run_t tf_jobs_query(tf_jobs_t *jobs, tf_job_t *job);
tf_run_t tf_jobs_embed(tf_jobs_t *jobs, tf_job_t *job);
tf_run_t tf_jobs_embeddings(tf_jobs_t *jobs, tf_job_t *job);
tf_run_t tf_jobs_forget(tf_jobs_t *jobs, tf_job_t *job);
tf_run_t tf_jobs_ingest(tf_jobs_t *jobs, tf_job_t *job);
tf_run_t tf_jobs_webhook(tf_jobs_t *jobs, tf_job_t *job);


#endif /* TF_JOBS_JOBS_H */
