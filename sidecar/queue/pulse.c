#include "queue/pulse.h"

#include "base/clock.h"
#include "queue/pool.h"


void
tf_pulse_try(tf_pulse_t *pulse)
{
    int64_t  now;

    now = tf_clock_ms();

    if (atomic_load(&pulse->since) == 0) {
        atomic_store(&pulse->since, now);
    }

    atomic_store(&pulse->tried, now);
    atomic_store(&pulse->busy, 1);
}


void
tf_pulse_done(tf_pulse_t *pulse)
{
    atomic_store(&pulse->done, tf_clock_ms());
    tf_pulse_rest(pulse);
}


void
tf_pulse_miss(tf_pulse_t *pulse)
{
    atomic_store(&pulse->busy, 0);
}


void
tf_pulse_rest(tf_pulse_t *pulse)
{
    atomic_store(&pulse->since, 0);
    atomic_store(&pulse->busy, 0);
}


void
tf_answers_note(tf_answers_t *answers)
{
    int64_t  now;

    now = tf_clock_ms();

    if (now - atomic_load(&answers->last) > answers->gap) {
        atomic_store(&answers->from, now);
    }

    atomic_store(&answers->last, now);
}


/* The later of since and the store's first answer; 0: it does not answer. */

static int64_t
tf_pulse_since(int64_t since, int64_t now, const tf_answers_t *store)
{
    int64_t  from;

    if (store == NULL || since == 0) {
        return since;
    }

    if (now - atomic_load(&store->last) > store->gap) {
        return 0;
    }

    from = atomic_load(&store->from);

    return from > since ? from : since;
}


int64_t
tf_pulse_stuck(const tf_pulse_t *pulse, int64_t now, int64_t limit,
    const tf_answers_t *redis, const tf_answers_t *pg)
{
    int64_t  since;

    since = tf_pulse_since(atomic_load(&pulse->since), now, redis);
    since = tf_pulse_since(since, now, pg);

    if (since == 0 || now - since <= limit
        || (!atomic_load(&pulse->busy)
            && now - atomic_load(&pulse->tried) > limit))
    {
        return 0;
    }

    return now - since;
}


/* The steps, and the stores that each needs. */

static const struct {
    const char  *stage;
    int          redis;
    int          pg;
    int64_t      more;
} tf_pool_steps[] = {
#define TF_POOL_STEP_ROW(name, redis, pg, more)  { #name, redis, pg, more },
    TF_POOL_STEPS(TF_POOL_STEP_ROW)
#undef TF_POOL_STEP_ROW
};


/* A job that was told to stop and is still run: the thread does not look. */

static int
tf_queue_stuck_run(tf_queue_t *q, int64_t now, tf_queue_stuck_t *stuck)
{
    int64_t    since;
    tf_job_t  *job;

    for (job = q->held; job != NULL; job = job->held_next) {
        since = atomic_load(&job->stopped);

        if (atomic_load(&job->runs) && since != 0
            && now - since > q->conf->stuck_after)
        {
            stuck->stage = "run";
            stuck->shard = -1;
            stuck->ms = now - since;
            return 1;
        }
    }

    return 0;
}


int
tf_queue_stuck(tf_queue_t *q, tf_queue_stuck_t *stuck)
{
    int          rc;
    int64_t      now, limit;
    unsigned     i, k;
    tf_shard_t  *shard;

    now = tf_clock_ms();

    for (k = 0; k < TF_POOL_NSTEPS; k++) {
        stuck->stage = tf_pool_steps[k].stage;
        limit = q->conf->stuck_after + tf_pool_steps[k].more;

        for (i = 0; i < q->nshards; i++) {
            shard = &q->shards[i];
            stuck->shard = (int) i;
            stuck->ms = tf_pulse_stuck(&shard->pulses[k], now, limit,
                           tf_pool_steps[k].redis ? &shard->answers : NULL,
                           tf_pool_steps[k].pg ? &q->answers : NULL);
            if (stuck->ms > 0) {
                return 1;
            }
        }

        stuck->shard = -1;
        stuck->ms = tf_pulse_stuck(&q->pulses[k], now, limit, NULL,
                                   tf_pool_steps[k].pg ? &q->answers : NULL);
        if (stuck->ms > 0) {
            return 1;
        }
    }

    (void) pthread_mutex_lock(&q->mutex);
    rc = tf_queue_stuck_run(q, now, stuck);
    (void) pthread_mutex_unlock(&q->mutex);

    return rc;
}


/* Since then, or since the start. */

static int64_t
tf_queue_age(tf_queue_t *q, int64_t now, int64_t then)
{
    return now - (then != 0 ? then : q->started);
}


int64_t
tf_queue_claim_age(tf_queue_t *q, unsigned shard)
{
    return tf_queue_age(q, tf_clock_ms(), atomic_load(
                        &q->shards[shard].pulses[TF_POOL_STEP_reclaim].done));
}


int64_t
tf_queue_commit_age(tf_queue_t *q)
{
    int64_t   then, at;
    unsigned  i;

    then = atomic_load(&q->pulses[TF_POOL_STEP_complete].done);
    at = atomic_load(&q->pulses[TF_POOL_STEP_begin].done);
    then = at > then ? at : then;

    for (i = 0; i < q->nshards; i++) {
        at = atomic_load(&q->shards[i].ledgered);
        then = at > then ? at : then;
    }

    return tf_queue_age(q, tf_clock_ms(), then);
}
