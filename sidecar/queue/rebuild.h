#ifndef TF_QUEUE_REBUILD_H
#define TF_QUEUE_REBUILD_H


#include "queue/keeper.h"


/*
 * The rebuild of a shard's queue: a new epoch, after which both stores know
 * the same jobs, and then the adoption.
 *
 *   1  the session lock of the shard: one process at a time
 *   2  the next epoch, in PostgreSQL, then in Redis: nothing is accepted
 *   3  open rows that Redis does not have: back from their rows
 *   4  open jobs of Redis: those whose row has ended end here too; where
 *      PostgreSQL is the one that forgot, those without a row go to the
 *      accept log again
 *   5  where PostgreSQL forgot: what had ended in Redis is compared too
 *   6  idempotency keys of the last 24 h
 *   7  a new mark, and adopt, if nobody else began an epoch meanwhile
 *
 * A Redis that was only restarted, or is an older copy of itself, still holds
 * everything of before its last mark; steps 3 and 6 then begin a little
 * before that, and the reconciler looks at the rest afterwards.
 *
 * Workers go on meanwhile: a job of the older epoch that ends is stored, for
 * PostgreSQL fences by attempt, and a job that is restored and claimed again
 * gets a new one.
 *
 * All of it may be begun again at any step, and is when a store fails, for
 * then the lock or the Redis it was about may be gone.
 */

typedef enum {
    TF_REBUILD_DONE,
    TF_REBUILD_NEEDLESS,        /* somebody else has done it */
    TF_REBUILD_BUSY,            /* somebody else does it */
    TF_REBUILD_FAILED           /* k->why */
} tf_rebuild_t;

tf_rebuild_t tf_rebuild(tf_keeper_t *k);


#endif /* TF_QUEUE_REBUILD_H */
