#ifndef TF_QUEUE_CLAIM_H
#define TF_QUEUE_CLAIM_H


#include "queue/pool.h"


/*
 * The claimer of a shard.  It waits for Redis without a place, and reserves
 * places only for a call to a Redis that has just answered: a server that
 * falls silent keeps the others from these for one deadline, once.
 *
 * Work in the background (the lowest priority) may hold a thread for long, so
 * it gets a part of the places only.  Redis wakes nobody for a place of that
 * part: as long as it is full the claimer asks again soon.
 *
 * claim.c asks Redis, claim_places.c shares the places between the claimers.
 */

typedef struct {
    tf_queue_t  *q;
    tf_shard_t  *shard;
    tf_redis_t   redis;
    uint64_t     number;        /* among those who wait for a place; or 0 */
    int          back;          /* of its places, for the background */
    int          took;          /* of those, by the last call */
    unsigned     claims;
    unsigned     streak;
    int          owed;          /* a reclaim that had no place */
    int64_t      reclaim_at;
    char         last[TF_PRIORITIES][32];   /* what XREAD waits behind */
} tf_claimer_t;


/* How much work in the background may run at a time. */
unsigned tf_claim_back(const tf_queue_t *q);

/*
 * Reserves this claimer's share of the free places, after waiting for one
 * until the time: how many, or -1: leave.  c->back of them may be filled with
 * work in the background.
 */
int tf_claim_places(tf_claimer_t *c, int64_t until);

/* What came of the reserved places is held by now. */
void tf_claim_unreserve(tf_claimer_t *c, int places);


#endif /* TF_QUEUE_CLAIM_H */
