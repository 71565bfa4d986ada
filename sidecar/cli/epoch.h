#ifndef TF_CLI_EPOCH_H
#define TF_CLI_EPOCH_H


#include "cli/cli.h"
#include "db/pg.h"


/*
 * Redis' part of migrate: the function library, which is always brought to
 * this release, and then what a keeper does (queue/keeper.h), for each shard:
 * a queue that is not whole gets a new epoch, what PostgreSQL knows is put
 * back into it, and it is adopted.  So an installation without a running
 * sidecar can be brought up, and a second run does nothing.
 */

typedef struct {
    int      dry_run;
    int      changed;           /* something was done */
    int64_t  wait;              /* ms, for another process that does it */
} tf_epoch_t;

/*
 * The schema is there, and admin has the rights of its owner; 0, or -1 (it
 * has said why).
 */
int tf_epoch_migrate(tf_epoch_t *e, const tf_cli_t *cli,
    const tf_conf_t *conf, tf_pg_t *admin);


#endif /* TF_CLI_EPOCH_H */
