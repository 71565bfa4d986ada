#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "queue/batches.h"
#include "queue/keeper.h"
#include "queue/pool.h"
#include "queue/prune.h"


/*
 * The keeper of a shard as a thread of the pool.  Nobody else touches a
 * shard's Redis before the keeper has found out that it is this
 * installation's.  That of the first shard looks after the days and the
 * batches, too.
 */

typedef struct {
    tf_keeper_t   keeper;
    tf_shard_t   *shard;
    tf_prune_t    prune;
    tf_batches_t  batches;
} tf_keep_t;


static int
tf_keep_over(void *data)
{
    tf_keep_t  *keep = data;

    return tf_pool_over(keep->shard->q);
}


static void
tf_keep_ticked(tf_keeper_t *k)
{
    tf_keep_t   *keep = k->data;
    tf_queue_t  *q;
    tf_shard_t  *shard;

    shard = keep->shard;
    q = shard->q;

    (void) pthread_mutex_lock(&q->mutex);

    if (k->state == TF_KEEPER_ADOPTED) {
        shard->unkept[0] = '\0';

        if (shard->install[0] == '\0' && k->look.pg_install[0]) {
            (void) snprintf(shard->install, sizeof(shard->install), "%s",
                            k->look.pg_install);
            (void) pthread_cond_broadcast(&q->tick);
        }

    } else {
        (void) snprintf(shard->unkept, sizeof(shard->unkept),
                        "shard %u is not adopted: %.440s", shard->index,
                        k->why);
    }

    (void) pthread_mutex_unlock(&q->mutex);

    if (shard->index == 0) {
        tf_prune_tick(&keep->prune);
        tf_keeper_beat(k);
        tf_batches_tick(&keep->batches);
    }
}


void *
tf_pool_keep(void *data)
{
    tf_keep_t   *keep;
    tf_shard_t  *shard = data;

    keep = malloc(sizeof(tf_keep_t));
    if (keep == NULL || tf_batches_init(&keep->batches, shard->q) != 0) {
        tf_log(TF_LOG_ERROR, "shard %u: out of memory, its stores are not "
               "compared", shard->index);
        free(keep);
        return NULL;
    }

    keep->shard = shard;
    tf_prune_init(&keep->prune, shard->q);
    tf_keeper_init(&keep->keeper, shard->q->conf, &shard->q->urls,
                   shard->index, &shard->keeper);
    keep->keeper.over = tf_keep_over;
    keep->keeper.ticked = tf_keep_ticked;
    keep->keeper.data = keep;
    keep->keeper.pulse = &shard->pulses[TF_POOL_STEP_keep];

    tf_keeper_run(&keep->keeper);
    tf_keeper_free(&keep->keeper);
    tf_prune_close(&keep->prune);
    tf_batches_free(&keep->batches);
    free(keep);

    return NULL;
}
