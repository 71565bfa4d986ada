#ifndef TF_QUEUE_BATCHES_H
#define TF_QUEUE_BATCHES_H


#include <stdatomic.h>
#include <stdint.h>

#include "db/pg.h"
#include "queue/compare.h"
#include "queue/queue.h"
#include "queue/redis.h"


/*
 * Batches of requests (migrations/V19) are run by a sweep, once a second while
 * there is an open one, by one sidecar at a time: whoever has the session lock
 * of PostgreSQL.  A sweep whose connection fails is over, as it would go on
 * without the lock; and should two meet all the same, each takes other lines.
 *
 *   mark     whose time is over, and whose lines never came all
 *   collect  lines whose jobs have ended: their place in the output, the
 *            batch's counts and sums, in one transaction
 *   make     lines become jobs: the jobs' rows and the lines' job in one
 *            transaction, and then Redis is told of them ("restore").  At most
 *            batch_open lines of a batch are jobs at a time, and four times as
 *            many of a tenant, whose batches take turns.  A line that was
 *            refused, or whose batch is cancelled or expired, ends instead
 *   cancel   the jobs of a batch that is cancelled or has expired
 *   close    every line has ended: finalizing, then the rows of its files and
 *            its end, in one transaction
 *
 * Each step is a statement over a page of batches, bounded in rows, and takes
 * up what it finds.  So a sweep may die anywhere: what is committed is there,
 * and the rest is found again by the next one.  A job whose row is there and
 * of which Redis never heard is put there by the reconciler, as every other
 * one; a cancel that was lost is sent again by the next sweep.
 *
 * Counts are raised in the statement that ends the lines, so at any time
 * done + failed is the number of lines that have ended.
 */

#define TF_BATCHES_PAGE    64           /* batches of a statement */
#define TF_BATCHES_LINES   500          /* lines of a statement */
#define TF_BATCHES_TENANT  4            /* times batch_open */
#define TF_BATCHES_PG_MS   10000

/* What this process has done with lines: X(name, what) */

#define TF_BATCHES_COUNTERS(X)                                                \
    X(submitted, "became jobs")                                               \
    X(succeeded, "have an answer")                                            \
    X(failed,    "have an error of their job")                                \
    X(ended,     "ended without a job: refused, cancelled or expired")

/* Open batches by state, as the last look of this process found them. */

#define TF_BATCHES_STATES(X)                                                  \
    X(validating) X(in_progress) X(finalizing) X(cancelling)

typedef struct tf_batches_stats_s {
#define TF_BATCHES_COUNTER_FIELD(name, what)  atomic_ulong  name;
    TF_BATCHES_COUNTERS(TF_BATCHES_COUNTER_FIELD)
#undef TF_BATCHES_COUNTER_FIELD
#define TF_BATCHES_STATE_FIELD(name)  atomic_ulong  name;
    TF_BATCHES_STATES(TF_BATCHES_STATE_FIELD)
#undef TF_BATCHES_STATE_FIELD
    atomic_ulong  closed;               /* batches that came to an end */
} tf_batches_stats_t;

typedef struct {
    tf_queue_t             *q;
    const tf_conf_t        *conf;
    tf_batches_stats_t     *stats;
    tf_pg_t                 pg;
    tf_redis_t             *redis;      /* of each shard */
    char                    after[TF_ID_TEXT_LEN + 1];  /* last of a page */
    tf_buf_t                page;       /* "{id,id}" */
    int                     held;       /* the lock was taken by pg */
    int64_t                 prune_at;
    int64_t                 said;       /* when why was logged */
    tf_items_t              items;
    tf_compare_counters_t   restored;   /* of no interest */
} tf_batches_t;


/* 0, or -1: no memory. */
int tf_batches_init(tf_batches_t *b, tf_queue_t *queue);
void tf_batches_free(tf_batches_t *b);

/* What a thread of the pool calls about once a second. */
void tf_batches_tick(tf_batches_t *b);


/*
 * The steps, for batches.c.  Each returns how many rows it has changed, or -1
 * when a store failed: it is tried again with the next sweep.
 */

int tf_batches_collect(tf_batches_t *b);
int tf_batches_make(tf_batches_t *b);
int tf_batches_cancel(tf_batches_t *b, int64_t until);
int tf_batches_close(tf_batches_t *b);

/*
 * What deleted files have left behind: as much of it as a slice of time is
 * enough for.  And what is too old, one small piece of each kind.
 */

void tf_batches_gone(tf_batches_t *b);
void tf_batches_prune(tf_batches_t *b);

/* A warning, not more than once a minute. */
void tf_batches_say(tf_batches_t *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A statement; -1 is told. */
int tf_batches_query(tf_batches_t *b, PGresult **res, const char *sql,
    int nparams, const char *const *params);

/*
 * Jobs, the first column of a result, told to the Redis of each; of those
 * only whose byte of "only" is set, unless it is NULL.  What does not get
 * there is found later: nobody waits for a shard that is away.
 */
void tf_batches_put(tf_batches_t *b, PGresult *jobs, const char *only);

/* One function of the queue for a job of somebody: what it said, "" if Redis
 * is away; text has 16 bytes. */
void tf_batches_fcall(tf_batches_t *b, const char *function,
    const char *tenant, const char *owner, const char *id, char *text);


#endif /* TF_QUEUE_BATCHES_H */
