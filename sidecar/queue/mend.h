#ifndef TF_QUEUE_MEND_H
#define TF_QUEUE_MEND_H


#include "queue/keeper.h"


/*
 * What strangers did to the keys of a shard, undone by a function of the
 * library (migrations/redis/trifecta_v1/57_mend.lua) each second, and said
 * here: keys of another type, streams that take no more entries, groups that
 * were set beyond their entries.  What was lost by that comes back from
 * PostgreSQL, by the next round of the reconciler, which begins at once.
 *
 * Only for a Redis that is known to be ours.  0, or -1 when it is away, with
 * redis.err.
 */
int tf_mend(tf_keeper_t *k);


#endif /* TF_QUEUE_MEND_H */
