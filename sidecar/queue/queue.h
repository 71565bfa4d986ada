#ifndef TF_QUEUE_QUEUE_H
#define TF_QUEUE_QUEUE_H


#include <stdatomic.h>
#include <stdint.h>

#include <trifecta/keys.h>

#include "base/conf.h"
#include "base/hist.h"
#include "queue/job.h"


/*
 * The worker pool.  A job goes through stages, each with a list and its own
 * thread (the run stage has "threads" of them):
 *
 *   claim     hands out at most as many jobs as there are free places
 *     v
 *   begin     PostgreSQL gives the attempt numbers, a batch at a time;
 *     v       Redis is told (started)
 *   run       the job's kind does its work
 *     v
 *   complete  PostgreSQL stores the ends, a batch at a time
 *     v
 *   return    Redis is told: finish, release or retry, until it answers
 *
 * Batches need no timer: what gathers while one is on its way is the next
 * one, so a lone job waits for nothing.  A place is taken from the claim to
 * the return, so nothing is prefetched beyond the free threads.
 *
 * Beside the stages: the emitter (tells Redis what jobs say while they run,
 * emit.h), the heartbeat (holds the leases of every job in the
 * pool and stops those past their deadline), the control channel (stops what
 * was cancelled) and the ledger (writes what was accepted, cancelled and
 * deleted into PostgreSQL, behind the submits).
 *
 * The queue is cut into shards, one URL of redis_url each.  Claim, return,
 * heartbeat, control and ledger are threads of each shard; begin, run and
 * complete are shared by all, because PostgreSQL is.  The free places are
 * reserved before a claim and handed to the claimers in the order in which
 * they ask, so that one shard's flood leaves room for the others and no more
 * is claimed than there is room for.  Jobs of the lowest priority take a part
 * of the places at most ("background"): what comes in a hurry finds a thread.
 *
 * A store that is away is no job's fault: what was not begun or could not
 * read is released, what is finished waits as long as its lease is held, and
 * nothing is claimed until PostgreSQL is back.  A shard that is away concerns
 * its own jobs only: a claimer reserves no place before its Redis answers,
 * and what begins in one batch waits for a silent shard once at most.
 */

typedef struct tf_queue_s  tf_queue_t;

/* Does the work of a job; called by several threads at once. */
typedef tf_run_t (*tf_queue_run_pt)(void *data, tf_job_t *job);


/* Counters since the start: X(name, what it counts) */

#define TF_QUEUE_COUNTERS(X)                                                  \
    X(claimed,    "jobs claimed")                                             \
    X(reclaimed,  "jobs taken over from a worker that was lost")              \
    X(succeeded,  "jobs stored as succeeded")                                 \
    X(failed,     "jobs stored as failed, cancelled or dead")                 \
    X(retried,    "attempts that failed and are made again later")            \
    X(released,   "jobs given back to the queue")                             \
    X(lost,       "leases lost while their job was held")                     \
    X(dropped,    "jobs dropped because another attempt holds them")          \
    X(ledgered,   "entries of the accept log written to PostgreSQL")          \
    X(strange,    "entries of the queue that no function of it wrote")        \
    X(damaged,    "jobs whose hash in Redis was damaged")                     \
    X(batches,    "transactions that stored ends of jobs")                    \
    X(events,     "pieces of answers and other events told to Redis")         \
    X(event_bytes, "bytes of text in them")                                   \
    X(pg_errors,  "calls to PostgreSQL that failed")                          \
    X(redis_errors, "calls to Redis that failed")

typedef struct {
#define TF_QUEUE_COUNTER_FIELD(name, what)  atomic_ulong  name;
    TF_QUEUE_COUNTERS(TF_QUEUE_COUNTER_FIELD)
#undef TF_QUEUE_COUNTER_FIELD
    atomic_ulong  pruned_partitions;
    atomic_ulong  pruned_jobs;          /* row by row */
} tf_queue_counters_t;

/*
 * Histograms: X(field, unit of tf_hist_..., name, labels or "", what or "" for
 * one more series of the same)
 */

#define TF_QUEUE_HISTOGRAMS(X)                                                \
    X(wait, ms, "queue_wait_seconds", "",                                     \
      "time from the acceptance of a job to its first claim")                 \
    X(run, ms, "job_duration_seconds", "", "time that an attempt ran")        \
    X(whole, ms, "job_turnaround_seconds", "",                                \
      "time from the acceptance of a job to its stored end")                  \
    X(begin, size, "batch_jobs", "stage=\"begin\"",                           \
      "jobs in one call to a store")                                          \
    X(complete, size, "batch_jobs", "stage=\"complete\"", "")                 \
    X(back, size, "batch_jobs", "stage=\"return\"", "")                       \
    X(ledger, size, "batch_jobs", "stage=\"ledger\"", "")                       \
    X(emit, size, "batch_events", "", "events in one call to Redis")          \
    X(emitted, ms, "emit_seconds", "",                                        \
      "time from the first byte of a piece to the answer of Redis")

typedef struct {
#define TF_QUEUE_HISTOGRAM_FIELD(field, unit, name, labels, what)             \
    tf_hist_t  field;
    TF_QUEUE_HISTOGRAMS(TF_QUEUE_HISTOGRAM_FIELD)
#undef TF_QUEUE_HISTOGRAM_FIELD
} tf_queue_histograms_t;

typedef struct {
    int       up;
    unsigned  held;             /* its jobs in the pool now */
    char      why[512];         /* why it is not up */
} tf_queue_shard_status_t;

typedef struct {
    unsigned  held;             /* jobs in the pool now */
    unsigned  threads;
    unsigned  held_back;        /* of them, work in the background */
    unsigned  places_back;      /* and how much of it there may be */
    unsigned  nshards;
    unsigned  nup;              /* shards whose Redis answers */
    int       store_up;
    int       draining;
    char      why[512];         /* why a store is not up */
} tf_queue_status_t;


/* Starts every thread; NULL when that is not possible. */
tf_queue_t *tf_queue_start(const tf_conf_t *conf, tf_queue_run_pt run,
    void *data);

/*
 * Leaves: claims nothing more, releases what has not begun, lets the rest go
 * on for drain_timeout, then releases it.  hurry() may be called meanwhile
 * from a signal's thread: release at once.  Returns when nothing is held any
 * more or nothing more can be done; the process may exit then.
 */
void tf_queue_drain(tf_queue_t *queue);
void tf_queue_hurry(tf_queue_t *queue);

/* After a drain that left nothing held. */
void tf_queue_free(tf_queue_t *queue);

/*
 * Whether a thread that has work makes no progress though its stores answer
 * (pulse.h): 1, and where; or 0.
 */

typedef struct {
    const char  *stage;
    int          shard;             /* -1: of all */
    int64_t      ms;
} tf_queue_stuck_t;

int tf_queue_stuck(tf_queue_t *queue, tf_queue_stuck_t *stuck);

/* ms since a shard last answered its claimer, and since the last commit. */
int64_t tf_queue_claim_age(tf_queue_t *queue, unsigned shard);
int64_t tf_queue_commit_age(tf_queue_t *queue);

void tf_queue_status(tf_queue_t *queue, tf_queue_status_t *status);
void tf_queue_shard_status(tf_queue_t *queue, unsigned shard,
    tf_queue_shard_status_t *status);
/* What the keeper of a shard has done and found (queue/keeper.h). */
const struct tf_keeper_stats_s *tf_queue_keeper(tf_queue_t *queue,
    unsigned shard);

/* What this process has done for batches (queue/batches.h). */
const struct tf_batches_stats_s *tf_queue_batches(tf_queue_t *queue);

const tf_queue_counters_t *tf_queue_counters(tf_queue_t *queue);
const tf_queue_histograms_t *tf_queue_histograms(tf_queue_t *queue);


#endif /* TF_QUEUE_QUEUE_H */
