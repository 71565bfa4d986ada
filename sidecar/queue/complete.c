#include <string.h>
#include <time.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


/*
 * What gathered during a commit is the next batch.  Where several jobs came
 * to it, more are on their way, and a commit costs as much for one as for
 * ten: the next one then waits for as long as the last one took, but never
 * for longer than this.  After a commit of a single job nothing waits.
 */

#define TF_COMPLETE_GATHER_US  2000

typedef struct {
    tf_queue_t     *q;
    tf_pg_t         pg;
    tf_job_t       *jobs[TF_STORE_BATCH_MAX];
    tf_complete_t   result[TF_STORE_BATCH_MAX];
} tf_completer_t;


static size_t
tf_complete_size(const tf_job_t *job)
{
    return 512 + (job->body ? strlen(job->body) : 0)
           + (job->citations ? strlen(job->citations) : 0)
           + (job->tool_calls ? strlen(job->tool_calls) : 0)
           + tf_emit_size(job);
}


/*
 * The store is away: wait.  Jobs whose lease was lost meanwhile are dropped,
 * and when this process must leave, all go back to the queue.
 */

static unsigned
tf_complete_wait(tf_completer_t *c, unsigned n, unsigned streak)
{
    int       stop, hurry;
    unsigned  i, keep;

    tf_pool_store_down(c->q, c->pg.err);
    tf_pool_sleep(c->q, tf_pool_backoff(streak));

    (void) pthread_mutex_lock(&c->q->mutex);
    hurry = c->q->hurry || c->q->over;
    (void) pthread_mutex_unlock(&c->q->mutex);

    keep = 0;

    for (i = 0; i < n; i++) {
        stop = atomic_load(&c->jobs[i]->stop);

        if (stop == TF_STOP_LOST) {
            (void) atomic_fetch_add(&c->q->counters.dropped, 1);
            tf_pool_forget(c->q, c->jobs[i]);

        } else if (hurry) {
            tf_pool_release(c->q, c->jobs[i]);

        } else {
            c->jobs[keep++] = c->jobs[i];
        }
    }

    return keep;
}


static void
tf_complete_done(tf_completer_t *c, unsigned n)
{
    int64_t              now;
    unsigned             i;
    tf_job_t            *job;
    tf_some_t            ended = TF_SOME_INIT;
    tf_queue_counters_t *counters;

    tf_fault(complete, committed);

    counters = &c->q->counters;
    (void) atomic_fetch_add(&counters->batches, 1);
    tf_hist_add(&c->q->hist.complete, &tf_hist_size, n);
    now = tf_clock_ms();

    for (i = 0; i < n; i++) {
        job = c->jobs[i];

        switch (c->result[i]) {

        case TF_COMPLETE_OK:
            (void) atomic_fetch_add(job->state == TF_JOB_SUCCEEDED
                                    ? &counters->succeeded
                                    : &counters->failed, 1);
            tf_hist_add(&c->q->hist.whole, &tf_hist_ms,
                        now - (job->until - job->deadline + job->accepted));
            tf_some_add(&ended, job);
            break;

        case TF_COMPLETE_ENDED:
            tf_some_add(&ended, job);
            break;

        case TF_COMPLETE_FENCED:
            tf_log(TF_LOG_WARN, "attempt %d of job %s is fenced: another "
                   "one holds it", job->attempt, job->id);
            (void) atomic_fetch_add(&counters->dropped, 1);
            tf_pool_forget(c->q, job);
            break;

        default: /* TF_COMPLETE_REFUSED */
            tf_emit_free(job);
            tf_job_fail(job, TF_JOB_FAILED, "result_invalid",
                        "The result could not be stored.");
            tf_pool_put(c->q, &c->q->complete, job);
            break;
        }
    }

    tf_pool_finish_some(c->q, &ended);

    (void) pthread_mutex_lock(&c->q->mutex);
    c->q->store_streak = 0;
    (void) pthread_mutex_unlock(&c->q->mutex);
}


static void
tf_complete_gather(unsigned n, int64_t took)
{
    struct timespec  rest;

    if (n > 1 && n < TF_STORE_BATCH_MAX && took > 0) {
        rest.tv_sec = 0;
        rest.tv_nsec = 1000 * (long) (took < TF_COMPLETE_GATHER_US
                                      ? took : TF_COMPLETE_GATHER_US);
        (void) nanosleep(&rest, NULL);
    }
}


void *
tf_pool_complete(void *queue)
{
    int64_t          began;
    unsigned         n, streak;
    tf_queue_t      *q = queue;
    tf_completer_t   c;

    memset(&c, 0, sizeof(c));
    c.q = q;
    tf_store_complete_init(&c.pg, q->conf);

    while (!tf_pool_over(q)) {
        n = tf_pool_take(q, &q->complete, c.jobs, TF_STORE_BATCH_MAX, 0);
        n = tf_pool_trim(q, &q->complete, c.jobs, n, tf_complete_size);

        if (n) {
            tf_fault(complete, before);
        }

        for (streak = 0; n > 0; streak++) {
            tf_fault_expect(pg, &c.pg, complete);
            tf_pulse_try(&q->pulses[TF_POOL_STEP_complete]);
            began = tf_clock_us();

            if (tf_store_complete(&c.pg, c.jobs, n, c.result) == TF_PG_OK) {
                tf_pool_committed(q, &q->pulses[TF_POOL_STEP_complete]);
                tf_complete_done(&c, n);
                tf_complete_gather(n, tf_clock_us() - began);
                break;
            }

            tf_pool_tried(&q->pulses[TF_POOL_STEP_complete], 0,
                          c.pg.sqlstate[0] != '\0');
            n = tf_complete_wait(&c, n, streak);
        }
    }

    tf_pg_close(&c.pg);

    return NULL;
}
