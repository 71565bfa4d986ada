#ifndef TF_CLI_INSTALLATION_H
#define TF_CLI_INSTALLATION_H


#include "cli/epoch.h"
#include "db/pg.h"
#include "queue/redis_url.h"


/*
 * The id of the installation, the one row of trifecta.install, is made by a
 * migration.  When somebody has deleted it, no queue can be adopted any more:
 * migrate writes the id again that the queues in Redis have, and makes a new
 * one only if each of them answers and none has one.
 *
 * admin has the rights of the owner.  0, or -1 (it has said why).
 */
int tf_installation_mend(tf_epoch_t *e, const tf_cli_t *cli,
    const tf_conf_t *conf, tf_pg_t *admin, const tf_redis_urls_t *urls);


#endif /* TF_CLI_INSTALLATION_H */
