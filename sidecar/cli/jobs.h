#ifndef TF_CLI_JOBS_H
#define TF_CLI_JOBS_H


#include <jansson.h>

#include <trifecta/id.h>
#include <trifecta/keys.h>

#include "cli/cli.h"
#include "db/pg.h"
#include "queue/redis.h"
#include "queue/redis_url.h"


/*
 * "trifecta jobs": what an operator does with jobs, across tenants.
 *
 * PostgreSQL is read as trifecta_queue; whatever changes a job goes through
 * the queue's functions in Redis, as the API's own requests do, so that the
 * rules of the queue hold for an operator, too.
 *
 * A job is in the shard that its id says; a new one goes to its tenant's.
 *
 * jobs.c parses the command line, jobs_read.c lists, shows and counts,
 * jobs_change.c retries and cancels, jobs_purge.c purges.
 */

#define TF_CLI_JOBS_PG_MS  60000    /* a query over all jobs */

typedef struct {
    tf_redis_t        redis;
    char              prefix[TF_KEY_PREFIX_MAX];
} tf_cli_shard_t;

typedef struct {
    const tf_cli_t   *cli;
    const tf_conf_t  *conf;
    tf_pg_t           pg;
    tf_redis_urls_t   urls;
    tf_cli_shard_t    shards[TF_SHARDS_MAX];
    unsigned          shard;        /* the one at hand, and its: */
    tf_redis_t       *redis;
    const char       *prefix;

    const char       *id;
    const char       *state;        /* or NULL, and so on */
    const char       *tenant;
    const char       *limit;
    int64_t           older;        /* ms; -1: not given */
    int               json;
    int               dry_run;
} tf_cli_jobs_t;


/* Each is a command; it returns an exit code. */
int tf_cli_jobs_list(tf_cli_jobs_t *jobs);
int tf_cli_jobs_show(tf_cli_jobs_t *jobs);
int tf_cli_jobs_stats(tf_cli_jobs_t *jobs);
int tf_cli_jobs_retry(tf_cli_jobs_t *jobs);
int tf_cli_jobs_cancel(tf_cli_jobs_t *jobs);
int tf_cli_jobs_purge(tf_cli_jobs_t *jobs);


/*
 * The rows of a query, or NULL with the error printed: clear them with
 * PQclear().
 */
PGresult *tf_cli_jobs_query(tf_cli_jobs_t *jobs, const char *sql, int nparams,
    const char *const *params);

/* From now on this shard is at hand; 0, or an exit code with the error. */
int tf_cli_jobs_at(tf_cli_jobs_t *jobs, unsigned shard);

/* A store failed; prints it with the next step, returns TF_CLI_FAILED. */
int tf_cli_jobs_redis_failed(tf_cli_jobs_t *jobs, const redisReply *reply);

/* What functions answer when there is no queue; 0 when it is none of those. */
int tf_cli_jobs_refused(tf_cli_jobs_t *jobs, const char *word);

/* Text from elsewhere for a terminal: no control characters. */
void tf_cli_jobs_print(const char *text, int width);

/* A JSON document on stdout; takes it. */
int tf_cli_jobs_dump(tf_cli_jobs_t *jobs, json_t *json);


#endif /* TF_CLI_JOBS_H */
