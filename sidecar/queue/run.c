#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


/*
 * The attempt failed in a way that may pass.  The last one that is allowed,
 * or one that would come after the deadline, ends the job with its error.  One
 * that waits for its turn does so until its deadline.
 */

static void
tf_run_again(tf_queue_t *q, tf_job_t *job)
{
    job->retry_after = tf_job_retry_delay(job);

    if (job->retry_after == -1) {
        job->state = TF_JOB_FAILED;
        tf_pool_put(q, &q->complete, job);
        return;
    }

    tf_log(job->waits ? TF_LOG_INFO : TF_LOG_WARN, "attempt %d %s and is made "
           "again in %lld ms: %s", job->attempt,
           job->waits ? "waits" : "failed", (long long) job->retry_after,
           job->error ? job->error : "");
    tf_pool_retry(q, job);
}


void *
tf_pool_run(void *queue)
{
    int          stop;
    int64_t      began;
    tf_run_t     rc;
    tf_job_t    *job;
    tf_queue_t  *q = queue;

    while (!tf_pool_over(q)) {
        if (tf_pool_take(q, &q->ready, &job, 1, 0) == 0) {
            continue;
        }

        tf_log_context(job->request_id, job->id, job->trace_id);
        atomic_store(&job->runs, 1);
        tf_fault(run, before);

        rc = TF_RUN_RELEASE;

        if (atomic_load(&job->stop) == TF_STOP_NONE) {
            began = tf_clock_ms();
            rc = q->run(q->data, job);
            tf_hist_add(&q->hist.run, &tf_hist_ms, tf_clock_ms() - began);
        }

        tf_emit_close(job);
        tf_fault(run, after);
        atomic_store(&job->runs, 0);
        stop = atomic_load(&job->stop);

        if (stop == TF_STOP_LOST) {
            tf_log(TF_LOG_WARN, "attempt %d lost its lease and is dropped",
                   job->attempt);
            (void) atomic_fetch_add(&q->counters.dropped, 1);
            tf_pool_forget(q, job);

        } else if (rc == TF_RUN_ENDED) {
            tf_pool_put(q, &q->complete, job);

        } else if (rc == TF_RUN_RETRY && stop == TF_STOP_NONE) {
            tf_run_again(q, job);


        } else if (stop == TF_STOP_DEADLINE) {
            tf_job_fail(job, TF_JOB_FAILED, "deadline_exceeded",
                        "The job did not end before its deadline.");
            tf_pool_put(q, &q->complete, job);

        } else if (stop == TF_STOP_CANCELLED) {
            tf_job_fail(job, TF_JOB_CANCELLED, "cancelled",
                        "The job was cancelled.");
            tf_pool_put(q, &q->complete, job);

        } else {
            if (stop == TF_STOP_NONE && rc == TF_RUN_RELEASE) {
                tf_pool_store_down(q, "a job could not reach its store, see "
                                   "the line before");
            }
            tf_pool_release(q, job);
        }

        tf_log_context(NULL, NULL, NULL);
    }

    return NULL;
}
