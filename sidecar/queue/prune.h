#ifndef TF_QUEUE_PRUNE_H
#define TF_QUEUE_PRUNE_H


#include <stdint.h>

#include "db/pg.h"
#include "queue/queue.h"


/*
 * Housekeeping of days: the partitions of the next days are made, and what
 * ended long ago goes.
 *
 * Time is that of an id, the moment at which a job was accepted.  An open job
 * never goes, nor does anything of the last day.  A partition that lies
 * entirely before the bound is dropped as a whole, jobs first, then results,
 * then steps; of the default partition, and of those that something open
 * keeps, ended jobs are deleted row by row.  What must not be done is done by
 * nobody: the rules are in functions of the database (migrations/V5), whose
 * role here may neither drop nor delete a job itself.
 *
 * A round is a series of steps.  A step is one statement and one transaction:
 * one partition, or at most TF_PRUNE_BATCH jobs.  It waits for a lock for a
 * tenth of a second only, because everybody else waits behind it meanwhile.
 * A round can end after any step; the next one goes on where it was.
 */

#define TF_PRUNE_BATCH   1000
#define TF_PRUNE_IN_USE  "55P03"        /* lock_not_available */

typedef enum {
    TF_PRUNE_MORE,          /* something went: there may be more */
    TF_PRUNE_DONE,          /* nothing is left that may go */
    TF_PRUNE_BUSY,          /* a table is in use: again in a while */
    TF_PRUNE_FAILED         /* pg->err says why */
} tf_prune_rc_t;

typedef struct {
    int            phase;
    unsigned       busy;        /* times in a row that a table was in use */
    unsigned long  partitions;  /* what went so far */
    unsigned long  jobs;
    unsigned long  rest;        /* results and steps, those of jobs included */
    char           name[96];    /* the partition of this step, or "" */
    char           refused[256];    /* why one could not be dropped, or "" */
} tf_prune_round_t;


/*
 * Begins a round: 1, 0 when somebody else is at it, -1 with pg->err.  It is
 * over when the connection is closed.
 */
int tf_prune_begin(tf_prune_round_t *round, tf_pg_t *pg);

/* One step: what was accepted more than age ms ago goes. */
tf_prune_rc_t tf_prune_step(tf_prune_round_t *round, tf_pg_t *pg,
    int64_t age);

/* After TF_PRUNE_BUSY: ms to wait; 0 when it has been tried often enough. */
int tf_prune_pause(tf_prune_round_t *round);

/*
 * After a round in which something went: tells the caches of nginx below
 * which id nothing is kept.  0, or -1 with err.
 */
int tf_prune_tell(const tf_conf_t *conf, tf_pg_t *pg, int64_t age, char *err,
    size_t errlen);

/* "30d", "36h": for people. */
const char *tf_prune_age(int64_t ms, char *text, size_t len);


/*
 * The files of ingest jobs that need them no more go, too (migrations/V13),
 * about once a minute, whether anything else is kept for ever or not.
 *
 * What a thread of the pool calls about once a second: it decides itself
 * when something is due (once an hour, first a few seconds after the start),
 * and gives back control after a quarter of a second, or one step.  One
 * sidecar of all does a round.
 */

typedef struct {
    tf_queue_t        *q;
    const tf_conf_t   *conf;
    tf_pg_t            pg;      /* connected during a round only */
    int64_t            days_at;
    int64_t            files_at;
    int64_t            round_at;
    int                running;
    tf_prune_round_t   round;
} tf_prune_t;

void tf_prune_init(tf_prune_t *prune, tf_queue_t *queue);
void tf_prune_tick(tf_prune_t *prune);
void tf_prune_close(tf_prune_t *prune);


#endif /* TF_QUEUE_PRUNE_H */
