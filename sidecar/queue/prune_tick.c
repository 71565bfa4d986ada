#include "queue/prune.h"

#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


/* When a sidecar does what prune.c can do, and what it says of it. */

#define TF_PRUNE_HOUR_MS   3600000
#define TF_PRUNE_FIRST_MS  5000         /* after the start */
#define TF_PRUNE_AGAIN_MS  300000       /* after a failure */
#define TF_PRUNE_DAYS_MS   60000        /* when partitions were not made */
#define TF_PRUNE_SLICE_MS  250
#define TF_PRUNE_FILES_MS  60000
#define TF_PRUNE_DELETE_MS 30000


void
tf_prune_init(tf_prune_t *p, tf_queue_t *q)
{
    memset(p, 0, sizeof(tf_prune_t));

    p->q = q;
    p->conf = q->conf;
    tf_pg_init(&p->pg, p->conf, TF_PG_QUEUE);
    p->round_at = tf_clock_ms() + tf_pool_jitter(TF_PRUNE_FIRST_MS);
    p->files_at = p->round_at;
}


void
tf_prune_close(tf_prune_t *p)
{
    tf_pg_close(&p->pg);
    p->running = 0;
}


static void
tf_prune_days(tf_prune_t *p, int64_t now)
{
    if (tf_pg_exec(&p->pg, 0, "SELECT trifecta.make_partitions(7)")
        == TF_PG_OK)
    {
        tf_fault(days, made);
        p->days_at = now + tf_pool_jitter(TF_PRUNE_HOUR_MS);
        return;
    }

    p->days_at = now + tf_pool_jitter(TF_PRUNE_DAYS_MS);

    /* there are days ahead as a rule, and a backup takes hours */

    if (p->pg.conn != NULL && strcmp(p->pg.sqlstate, TF_PRUNE_IN_USE) == 0) {
        tf_log(TF_LOG_INFO, "the tables of jobs are in use: the partitions of "
               "the next days are made later");
        return;
    }

    tf_log(TF_LOG_WARN, "the partitions of the next days were not made, "
           "their jobs go into the default partition: %s", p->pg.err);
}


/* Jobs that need their files no more: one a step, for it may have many. */

static void
tf_prune_files(tf_prune_t *p, int64_t now)
{
    int        more;
    PGresult  *res;

    more = 0;

    if (tf_pg_query(&p->pg, &res, TF_PRUNE_DELETE_MS,
                    "SELECT trifecta.prune_files(1)", 0, NULL)
        == TF_PG_OK)
    {
        more = strcmp(PQgetvalue(res, 0, 0), "0") != 0;
        PQclear(res);

    } else {
        tf_log(TF_LOG_WARN, "files that were ingested were not removed: %s",
               p->pg.err);
    }

    p->files_at = more ? now : now + tf_pool_jitter(TF_PRUNE_FILES_MS);
}


static void
tf_prune_end(tf_prune_t *p, int64_t after)
{
    char               age[24], err[512];
    tf_prune_round_t  *round = &p->round;

    if (round->partitions + round->jobs + round->rest > 0) {

        tf_log(TF_LOG_INFO, "pruned %lu partitions and %lu jobs row by row: "
               "what was accepted more than %s ago and has ended",
               round->partitions, round->jobs,
               tf_prune_age(p->conf->retention, age, sizeof(age)));

        tf_fault(prune, done);

        /* caches forget a result after a minute on their own */

        if (tf_prune_tell(p->conf, &p->pg, p->conf->retention, err,
                          sizeof(err))
            != 0)
        {
            tf_log(TF_LOG_DEBUG, "the caches were not told what was pruned: "
                   "%s", err);
        }

        tf_fault(prune, told);
    }

    if (round->refused[0] != '\0') {
        tf_log(TF_LOG_WARN, "a partition was not pruned: %s", round->refused);
    }

    p->round_at = tf_clock_ms() + tf_pool_jitter((int) after);
    tf_prune_close(p);
}


/* A slice of a round: as many steps as fit. */

static void
tf_prune_slice(tf_prune_t *p, int64_t until)
{
    int            pause;
    tf_prune_rc_t  rc;
    unsigned long  partitions, jobs;

    do {
        partitions = p->round.partitions;
        jobs = p->round.jobs;

        rc = tf_prune_step(&p->round, &p->pg, p->conf->retention);

        (void) atomic_fetch_add(&p->q->counters.pruned_partitions,
                                p->round.partitions - partitions);
        (void) atomic_fetch_add(&p->q->counters.pruned_jobs,
                                p->round.jobs - jobs);

    } while (rc == TF_PRUNE_MORE && tf_clock_ms() < until
             && !tf_pool_over(p->q));

    switch (rc) {

    case TF_PRUNE_MORE:
        return;

    case TF_PRUNE_BUSY:
        pause = tf_prune_pause(&p->round);
        p->round_at = tf_clock_ms() + pause;

        if (pause == 0) {
            tf_log(TF_LOG_INFO, "old partitions are in use: they are pruned "
                   "later (%s)", p->pg.err);
        }

        return;

    case TF_PRUNE_DONE:
        tf_prune_end(p, TF_PRUNE_HOUR_MS);
        return;

    default: /* TF_PRUNE_FAILED */
        tf_log(TF_LOG_WARN, "what has ended long ago was not pruned: %s",
               p->pg.err);
        tf_prune_end(p, TF_PRUNE_AGAIN_MS);
        return;
    }
}


void
tf_prune_tick(tf_prune_t *p)
{
    int                rc;
    int64_t            now;
    tf_queue_status_t  status;

    now = tf_clock_ms();

    if (now < p->days_at && now < p->files_at
        && (p->conf->retention == 0 || now < p->round_at))
    {
        return;
    }

    tf_queue_status(p->q, &status);

    if (!status.store_up || tf_pool_over(p->q)) {
        /* its threads say so; a round goes on when it is back */
        tf_prune_close(p);
        return;
    }

    if (now >= p->days_at) {
        tf_prune_days(p, now);
    }

    if (now >= p->files_at) {
        tf_prune_files(p, now);
    }

    if (p->conf->retention > 0 && now >= p->round_at) {

        if (!p->running) {
            rc = tf_prune_begin(&p->round, &p->pg);

            if (rc != 1) {
                tf_log(rc == 0 ? TF_LOG_DEBUG : TF_LOG_WARN,
                       "this sidecar does not prune now: %s",
                       rc == 0 ? "another one does" : p->pg.err);
                p->round_at = now + tf_pool_jitter(rc == 0
                                                   ? TF_PRUNE_HOUR_MS
                                                   : TF_PRUNE_AGAIN_MS);
                tf_prune_close(p);
                return;
            }

            tf_fault(prune, begun);
            p->running = 1;
        }

        tf_prune_slice(p, now + TF_PRUNE_SLICE_MS);
    }

    if (!p->running) {
        tf_prune_close(p);
    }
}
