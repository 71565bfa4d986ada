#ifndef TF_QUEUE_POOL_H
#define TF_QUEUE_POOL_H


#include <pthread.h>

#include <trifecta/keys.h>

#include "queue/batches.h"
#include "queue/emit.h"
#include "queue/keeper.h"
#include "queue/pulse.h"
#include "queue/queue.h"
#include "queue/redis.h"
#include "queue/redis_url.h"
#include "queue/store.h"


/*
 * What the stages share; only for the files of queue/.
 *
 * One mutex guards all of it.  Nobody waits for a store while holding it.
 * "freed" is the claimers' condition; the threads of a stage have their own.
 *
 * A place is free when it is neither held by a job nor reserved by a claimer
 * whose call is on its way.  Claimers that want one take a number and those
 * who wait are served in its order.  Jobs that only wait for a shard that is
 * down to be told of their end take no place: nothing of them is left to do,
 * and the other shards go on.
 */

#define TF_POOL_NAME_MAX  96

/*
 * A stage wakes one thread at a time: who gets up takes what it can, and wakes
 * the next before it begins, if something is left.  So jobs that are done in
 * no time do not cost the getting up of a thread each, which would find
 * nothing, and of those that last a while every one has its thread at once.
 * It is the one that went to sleep last, whose memory is still at hand.
 */

typedef struct tf_waiter_s  tf_waiter_t;

struct tf_waiter_s {
    tf_waiter_t     *next;          /* of its stage, or of the free ones */
    int              told;
    pthread_cond_t   cond;
};

typedef struct {
    tf_job_t        *head;
    tf_job_t        *tail;
    unsigned         n;
    tf_waiter_t     *waiters;       /* threads that sleep */
    int              waking;        /* one was told, and is not up yet */
} tf_stage_t;

/* Jobs that go on together, linked by "next". */

typedef struct {
    tf_job_t  *head;
    tf_job_t  *tail;
    unsigned   n;
} tf_some_t;

#define TF_SOME_INIT  { NULL, NULL, 0 }

/*
 * The steps whose progress is watched (pulse.h): X(stage, needs Redis, needs
 * PostgreSQL, ms that it has besides stuck_after).  "reclaim" stands for the
 * claimer as a whole: it is due at any time, so a claimer that hangs anywhere
 * is found.  A step of the keeper is several calls, each with seconds of its
 * own.
 */

#define TF_POOL_STEPS(X)                                                      \
    X(claim,    1, 0, 0)                                                      \
    X(reclaim,  1, 0, 0)                                                      \
    X(begin,    0, 1, 0)                                                      \
    X(complete, 0, 1, 0)                                                      \
    X(emit,     1, 0, 0)                                                      \
    X(return,   1, 0, 0)                                                      \
    X(heart,    1, 0, 0)                                                      \
    X(control,  1, 0, 0)                                                      \
    X(ledger,   1, 1, 0)                                                      \
    X(keep,     1, 1, 20000)

enum {
#define TF_POOL_STEP_ENUM(name, redis, pg, more)  TF_POOL_STEP_##name,
    TF_POOL_STEPS(TF_POOL_STEP_ENUM)
#undef TF_POOL_STEP_ENUM
    TF_POOL_NSTEPS
};

/* A shard: its threads have the pool's mutex and this. */

struct tf_shard_s {
    tf_queue_t           *q;
    unsigned              index;
    const char           *url;
    char                  prefix[TF_KEY_PREFIX_MAX];
    char                  worker[TF_POOL_NAME_MAX + 16];
    int                   named;        /* worker is certainly ours */

    tf_stage_t            back;         /* to be finished or released */
    tf_emitter_t          emitter;
    unsigned              nheld;
    unsigned              nreturning;

    tf_pulse_t            pulses[TF_POOL_NSTEPS];
    tf_answers_t          answers;      /* of its Redis */
    atomic_llong          ledgered;     /* when its log was last written */

    int                   down;
    char                  why[512];

    tf_keeper_stats_t     keeper;
    char                  install[64];  /* ours; "": not looked at yet */
    char                  unkept[512];  /* why it is not adopted, or "" */
};

struct tf_queue_s {
    const tf_conf_t      *conf;
    tf_queue_run_pt       run;
    void                 *data;
    char                  worker[TF_POOL_NAME_MAX];     /* new each start */

    tf_redis_urls_t       urls;
    tf_shard_t           *shards;
    unsigned              nshards;

    pthread_mutex_t       mutex;
    tf_stage_t            begin;
    tf_stage_t            ready;
    tf_stage_t            complete;
    tf_waiter_t          *waiters;      /* as many as there are threads */
    tf_waiter_t          *spare;
    pthread_cond_t        freed;
    pthread_cond_t        tick;         /* those that only sleep */
    tf_job_t             *held;         /* every job in the pool */
    unsigned              nheld;
    unsigned              reserved;     /* places that a claim may fill */
    unsigned              reserved_back;    /* with work in the background */
    uint64_t              last_number;  /* of a claimer that wants places */
    uint64_t              numbers[TF_SHARDS_MAX];   /* 0: does not wait */

    int                   draining;
    int                   hurry;
    atomic_int            over;         /* drain is done: threads return */

    tf_pulse_t            pulses[TF_POOL_NSTEPS];
    tf_answers_t          answers;      /* of PostgreSQL */
    int64_t               started;

    int                   store_down;
    unsigned              store_streak; /* failures since the last success */
    char                  why[512];

    tf_queue_counters_t   counters;
    tf_queue_histograms_t hist;
    tf_batches_stats_t    batches;

    pthread_t            *threads;
    unsigned              nthreads;
};


/* The bodies of the threads: of those that all shards share, */
void *tf_pool_begin(void *queue);
void *tf_pool_run(void *queue);
void *tf_pool_complete(void *queue);

/* and of those of a shard. */
void *tf_pool_claim(void *shard);
void *tf_pool_emit(void *shard);
void *tf_pool_return(void *shard);
void *tf_pool_heart(void *shard);
void *tf_pool_control(void *shard);
void *tf_pool_ledger(void *shard);
void *tf_pool_keep(void *shard);


/*
 * The functions for "some" do to all of them at once what the others do to
 * one: the next stage finds them as one batch.  The list is empty then.
 */
void tf_some_add(tf_some_t *some, tf_job_t *job);

/* The jobs join the held ones and go to the begin stage. */
void tf_pool_enter(tf_queue_t *q, tf_some_t *some);

/* They leave the held ones, and are freed. */
void tf_pool_forget(tf_queue_t *q, tf_job_t *job);
void tf_pool_forget_some(tf_queue_t *q, tf_some_t *some);

/* Moves a job to a stage. */
void tf_pool_put(tf_queue_t *q, tf_stage_t *stage, tf_job_t *job);
void tf_pool_put_some(tf_queue_t *q, tf_stage_t *stage, tf_some_t *some);

/*
 * The ways out, to the return stage of its shard: it ended, it goes on
 * elsewhere, or it is tried later.
 */
void tf_pool_finish(tf_queue_t *q, tf_job_t *job);
void tf_pool_finish_some(tf_queue_t *q, tf_some_t *some);
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

/*
 * Appends under the lock, and returns who is to be woken without it, or NULL;
 * some is empty then.
 */
tf_waiter_t *tf_stage_append(tf_stage_t *stage, tf_some_t *some);
void tf_stage_wake(tf_waiter_t *w);

/* All threads of a stage get up and look; under the lock. */
void tf_stage_rouse(tf_stage_t *stage);

/*
 * Of n jobs that were taken, those that fit into the bytes of a batch, one at
 * least, by the size that each says it has; the others go back to the stage.
 * Returns how many are left.
 */
unsigned tf_pool_trim(tf_queue_t *q, tf_stage_t *stage, tf_job_t **jobs,
    unsigned n, size_t (*size)(const tf_job_t *job));

int tf_pool_over(tf_queue_t *q);

/* A connection of a thread of this shard to its Redis. */
void tf_pool_redis(tf_shard_t *shard, tf_redis_t *redis);

/*
 * Nobody has asked PostgreSQL for a while: whoever has nothing to do there
 * asks whether it answers; 0 or -1.
 */
int tf_pool_silent(tf_queue_t *q);
int tf_pool_ping(tf_queue_t *q, tf_pg_t *pg);

/*
 * What came of a try: done, or it failed; refused says that the store had
 * answered.
 */
void tf_pool_committed(tf_queue_t *q, tf_pulse_t *pulse);
void tf_pool_tried(tf_pulse_t *pulse, int done, int refused);

/* Waits; returns early when the pool is over. */
void tf_pool_sleep(tf_queue_t *q, int ms);

/* ms less a random part of it, up to a quarter. */
int tf_pool_jitter(int ms);

/* 2^streak * 100 ms, at most 5 s, with jitter. */
int tf_pool_backoff(unsigned streak);

/* A store failed or is well again. */
void tf_pool_store_down(tf_queue_t *q, const char *why);
void tf_pool_store_up(tf_queue_t *q);
void tf_pool_shard_down(tf_shard_t *shard, const char *why);
void tf_pool_shard_up(tf_shard_t *shard);

/* Waits until the shard is known to be ours: 0, or -1: over. */
int tf_pool_kept(tf_shard_t *shard);

/* Waits until the shard's claimer has found a free name: 0, or -1: over. */
int tf_pool_named(tf_shard_t *shard);


#endif /* TF_QUEUE_POOL_H */
