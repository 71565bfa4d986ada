#include "queue/claim.h"

#include "base/thread.h"


/* Jobs that are claimed by one call: their payloads come in one reply. */

#define TF_CLAIM_MAX  256


/* Under the lock: is it this claimer's turn? */

static int
tf_claim_first(tf_claimer_t *c, unsigned *waiting)
{
    int          first;
    unsigned     i;
    tf_queue_t  *q;

    q = c->q;
    first = 1;
    *waiting = 0;

    for (i = 0; i < q->nshards; i++) {
        if (q->numbers[i] != 0) {
            (*waiting)++;
            first &= q->numbers[i] >= c->number;
        }
    }

    return first;
}


/* Under the lock. */

static unsigned
tf_claim_free(tf_queue_t *q)
{
    unsigned  i, taken;

    taken = q->nheld + q->reserved;

    for (i = 0; i < q->nshards; i++) {
        if (q->shards[i].down) {
            taken -= q->shards[i].nreturning;
        }
    }

    return taken < q->conf->threads ? (unsigned) q->conf->threads - taken : 0;
}


/*
 * Such work is the processor's, and holds a connection while it lasts: of
 * threads that mostly wait for models it takes no more than there are
 * connections for it.
 */

unsigned
tf_claim_back(const tf_queue_t *q)
{
    unsigned          most;
    const tf_conf_t  *conf;

    conf = q->conf;

    if (conf->background) {
        return (unsigned) conf->background;
    }

    most = (unsigned) (conf->threads < conf->pg_connections
                       ? conf->threads : conf->pg_connections);

    return (most + 1) / 2;
}


/* Under the lock: of these, those that may do work in the background. */

static unsigned
tf_claim_free_back(tf_queue_t *q)
{
    unsigned         max, taken;
    const tf_job_t  *job;

    max = tf_claim_back(q);
    taken = q->reserved_back;

    for (job = q->held; job != NULL; job = job->held_next) {
        taken += job->prio == TF_PRIORITY_BACKGROUND
                 && !(job->returning && job->shard->down);
    }

    return taken < max ? max - taken : 0;
}


int
tf_claim_places(tf_claimer_t *c, int64_t until)
{
    int          n;
    unsigned     back, places, waiting;
    tf_queue_t  *q;

    q = c->q;
    n = 0;
    c->back = 0;

    (void) pthread_mutex_lock(&q->mutex);

    if (c->number == 0) {
        c->number = ++q->last_number;
    }

    q->numbers[c->shard->index] = c->number;

    for ( ;; ) {
        if (q->draining || q->over) {
            n = -1;
            break;
        }

        places = q->store_down ? 0 : tf_claim_free(q);

        if (places > 0 && tf_claim_first(c, &waiting)) {
            places = (places + waiting - 1) / waiting;
            places = places < TF_CLAIM_MAX ? places : TF_CLAIM_MAX;
            back = (tf_claim_free_back(q) + waiting - 1) / waiting;

            n = (int) places;
            c->back = (int) (back < places ? back : places);
            q->reserved += places;
            q->reserved_back += (unsigned) c->back;
            c->number = 0;
            break;
        }

        if (tf_cond_wait_until(&q->freed, &q->mutex, until) != 0) {
            break;
        }
    }

    q->numbers[c->shard->index] = 0;

    if (q->nshards > 1) {
        (void) pthread_cond_broadcast(&q->freed);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    return n;
}


void
tf_claim_unreserve(tf_claimer_t *c, int places)
{
    if (places > 0) {
        (void) pthread_mutex_lock(&c->q->mutex);
        c->q->reserved -= (unsigned) places;
        c->q->reserved_back -= (unsigned) c->back;
        (void) pthread_cond_broadcast(&c->q->freed);
        (void) pthread_mutex_unlock(&c->q->mutex);
    }
}
