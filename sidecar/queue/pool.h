#ifndef TF_QUEUE_POOL_H
#define TF_QUEUE_POOL_H


#include <pthread.h>

#include <trifecta/keys.h>

#include "queue/queue.h"
#include "queue/redis.h"
#include "queue/store.h"


/*
 * What the stages share; only for the files of queue/.
 *
 * One mutex guards all of it.  Nobody waits for a store while holding it.
 * A stage waits on its own condition; "freed" is the claimer's.
 */

typedef struct {
    tf_job_t        *head;
    tf_job_t        *tail;
    unsigned         n;
    pthread_cond_t   filled;
} tf_stage_t;

struct tf_queue_s {
    const tf_conf_t      *conf;
    tf_queue_run_pt       run;
    void                 *data;
    char                  prefix[TF_KEY_PREFIX_MAX];
    char                  worker[96];   /* host-pid-random: new each start */

    pthread_mutex_t       mutex;
    tf_stage_t            begin;
    tf_stage_t            ready;
    tf_stage_t            complete;
    tf_stage_t            back;         /* to be finished or released */
    pthread_cond_t        freed;
    pthread_cond_t        tick;         /* those that only sleep */
    tf_job_t             *held;         /* every job in the pool */
    unsigned              nheld;

    int                   draining;
    int                   hurry;
    int                   over;         /* drain is done: threads return */

    int                   store_down;
    unsigned              store_streak; /* failures since the last success */
    int                   redis_down;
    char                  why[512];

    tf_queue_counters_t   counters;
    tf_queue_histograms_t hist;

    pthread_t             threads[7 + 256];
    unsigned              nthreads;
};


/* Each of these is the body of a thread. */
void *tf_pool_claim(void *queue);
void *tf_pool_begin(void *queue);
void *tf_pool_run(void *queue);
void *tf_pool_complete(void *queue);
void *tf_pool_return(void *queue);
void *tf_pool_heart(void *queue);
void *tf_pool_control(void *queue);
void *tf_pool_ledger(void *queue);


/* The job joins or leaves the held ones; leaving frees it. */
void tf_pool_hold(tf_queue_t *q, tf_job_t *job);
void tf_pool_forget(tf_queue_t *q, tf_job_t *job);

/* Moves a job to a stage. */
void tf_pool_put(tf_queue_t *q, tf_stage_t *stage, tf_job_t *job);

/* The ways out: it ended, it goes on elsewhere, or it is tried later. */
void tf_pool_finish(tf_queue_t *q, tf_job_t *job);
void tf_pool_release(tf_queue_t *q, tf_job_t *job);
void tf_pool_retry(tf_queue_t *q, tf_job_t *job);

/* Sets job->stop of a held job, if it is held under that lease. */
void tf_pool_stop(tf_queue_t *q, const char *id, int64_t lease,
    tf_stop_t stop);

/*
 * Takes at most max jobs from the stage; waits until there is one, the time
 * (ms, 0: no limit) is over or the pool is over.  Returns how many.
 */
unsigned tf_pool_take(tf_queue_t *q, tf_stage_t *stage, tf_job_t **jobs,
    unsigned max, int timeout);

int tf_pool_over(tf_queue_t *q);

/* Waits; returns early when the pool is over. */
void tf_pool_sleep(tf_queue_t *q, int ms);

/* ms less a random part of it, up to a quarter. */
int tf_pool_jitter(int ms);

/* 2^streak * 100 ms, at most 5 s, with jitter. */
int tf_pool_backoff(unsigned streak);

/* A store failed or is well again. */
void tf_pool_store_down(tf_queue_t *q, const char *why);
void tf_pool_store_up(tf_queue_t *q);
void tf_pool_redis_down(tf_queue_t *q, const char *why);
void tf_pool_redis_up(tf_queue_t *q);


#endif /* TF_QUEUE_POOL_H */
