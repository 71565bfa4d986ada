#ifndef TF_QUEUE_RECONCILE_H
#define TF_QUEUE_RECONCILE_H


#include "queue/keeper.h"


/*
 * The reconciler: single jobs that one store knows and the other does not.
 *
 * A round goes through
 *
 *   keys    for a while after the list of shards got another length: the
 *           Idempotency-Keys that were used on another shard (follow.h)
 *   rows    open in PostgreSQL for longer than a lease: absent in Redis ->
 *           restored; ended in Redis -> told to the accept log, or run again
 *           if they had succeeded; past their deadline by an hour -> failed
 *   live    open in Redis for longer than a lease: without a row -> told to
 *           the accept log; with one that has ended -> settled
 *   strays  open in Redis without a sound hash: restored from an open row,
 *           else dropped
 *
 * What is still in the accept log is not missing, only late: an act that
 * rests on a row that is not there, or is not as Redis says, waits until the
 * log has been written up to the moment of the look.
 *
 * A step is one batch, so that a shard's keeper looks after the rest in
 * between, however many jobs are open.
 */

/*
 * The next step of a round, or the begin of one that is due: ms to wait until
 * the next step (at most "most"); -1 when a store failed (k->why), and the
 * round is over.
 */
int tf_reconcile_step(tf_keeper_t *k, int most);

/* Gives a round up. */
void tf_reconcile_stop(tf_keeper_t *k);


#endif /* TF_QUEUE_RECONCILE_H */
