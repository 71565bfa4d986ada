#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "queue/keeper.h"
#include "queue/pool.h"


/*
 * The keeper of a shard as a thread of the pool.  Nobody else touches a
 * shard's Redis before the keeper has found out that it is this
 * installation's.
 */

static int
tf_keep_over(void *data)
{
    tf_shard_t  *shard = data;

    return tf_pool_over(shard->q);
}


static void
tf_keep_ticked(tf_keeper_t *k)
{
    tf_queue_t  *q;
    tf_shard_t  *shard = k->data;

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
}


void *
tf_pool_keep(void *data)
{
    tf_keeper_t  *k;
    tf_shard_t   *shard = data;

    k = malloc(sizeof(tf_keeper_t));
    if (k == NULL) {
        tf_log(TF_LOG_ERROR, "shard %u: out of memory, its stores are not "
               "compared", shard->index);
        return NULL;
    }

    tf_keeper_init(k, shard->q->conf, shard->url, shard->index,
                   &shard->keeper);
    k->over = tf_keep_over;
    k->ticked = tf_keep_ticked;
    k->data = shard;

    tf_keeper_run(k);
    tf_keeper_free(k);
    free(k);

    return NULL;
}
