#ifndef TF_QUEUE_FOLLOW_H
#define TF_QUEUE_FOLLOW_H


#include "queue/keeper.h"


/*
 * An Idempotency-Key follows its tenant to another shard.
 *
 * A tenant belongs to a shard by its name and the length of redis_url, so a
 * longer list gives some tenants to another shard, and submit looks for a key
 * in the shard that the tenant belongs to at that time.  The rows have the
 * keys, whichever shard their id says, and P:meta notes in "shards" for which
 * list the keys of this shard were last gathered:
 *
 *   "<length> <ms, since when> <ms, the last time>"
 *
 * With another length all keys of the last day are gathered at once.  Until
 * every nginx has the new list, some of them accept jobs on the old shard, so
 * the reconciler gathers again what is new, in every round, until none has
 * come for an hour.
 *
 * While sidecars with different lists run at the same time, the longer one
 * counts at once, for a list grows as a rule, and a shorter one when the note
 * has not changed for five minutes.
 */

/*
 * Gathers when the list has another length than the note says.  0, also when
 * it is not due or somebody else has the lock, or -1 with k->why.
 */
int tf_follow(tf_keeper_t *k);

/*
 * The same in a rebuild: begins at the keys of this shard behind an id, and
 * is repeated until it is 0; -1 with k->why.
 */
int tf_follow_rebuild(tf_keeper_t *k, const char *since);
int tf_follow_next(tf_keeper_t *k);
int tf_follow_rebuilt(tf_keeper_t *k);

/*
 * The reconciler's.  Begin: 1, or 0 when there is nothing to do, -1.  Step:
 * 1, 0 when it is done, -1 with k->why.
 */
int tf_follow_begin(tf_keeper_t *k);
int tf_follow_step(tf_keeper_t *k);


#endif /* TF_QUEUE_FOLLOW_H */
