#ifndef TF_CLI_EPOCH_H
#define TF_CLI_EPOCH_H


#include "cli/cli.h"
#include "db/pg.h"


/*
 * Redis' part of migrate: the function library and the first epoch.
 *
 * An epoch is the life of one queue.  Its number is taken in PostgreSQL
 * (trifecta.epoch) and then written into Redis; a Redis without one accepts
 * no job.  So a Redis that was emptied, or is another one, does not go on as
 * if nothing had happened: the jobs that it had accepted are gone, and
 * somebody must know.
 *
 *   PostgreSQL   Redis   migrate
 *   none         none    starts epoch 1
 *   n            n       nothing to do
 *   n            none    refuses; --new-epoch ends the jobs that were open
 *                        as failed (queue_lost) and starts n + 1
 *   m < n, none  n       refuses when Redis holds jobs, for it belongs to
 *                        another database or this one was restored;
 *                        --adopt-epoch (or no job there) takes n over
 */

typedef struct {
    int   dry_run;
    int   new_epoch;
    int   adopt_epoch;
    int   changed;              /* something was done */
    char  shard[12];            /* the one at hand, and for messages */
    char  of[24];
} tf_epoch_t;

/* pg is a connection in the role of the owner; 0 or -1 (it has said why). */
int tf_epoch_migrate(tf_epoch_t *e, const tf_cli_t *cli,
    const tf_conf_t *conf, tf_pg_t *pg);


#endif /* TF_CLI_EPOCH_H */
