#include "cli/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/job.h"


/* Which options a command takes. */

#define TF_JOBS_STATE    1
#define TF_JOBS_TENANT   2
#define TF_JOBS_LIMIT    4
#define TF_JOBS_JSON     8
#define TF_JOBS_OLDER    16
#define TF_JOBS_DRY_RUN  32
#define TF_JOBS_ID       64         /* an operand, in fact */

#define TF_JOBS_LIMIT_MAX  10000

typedef struct {
    const char  *name;
    unsigned     takes;
    unsigned     needs;
    int        (*run)(tf_cli_jobs_t *jobs);
} tf_cli_jobs_command_t;

static const tf_cli_jobs_command_t  tf_cli_jobs_commands[] = {
    { "list", TF_JOBS_STATE|TF_JOBS_TENANT|TF_JOBS_LIMIT|TF_JOBS_JSON, 0,
      tf_cli_jobs_list },
    { "show", TF_JOBS_ID|TF_JOBS_JSON, TF_JOBS_ID, tf_cli_jobs_show },
    { "retry", TF_JOBS_ID|TF_JOBS_JSON, TF_JOBS_ID, tf_cli_jobs_retry },
    { "cancel", TF_JOBS_ID, TF_JOBS_ID, tf_cli_jobs_cancel },
    { "purge", TF_JOBS_STATE|TF_JOBS_TENANT|TF_JOBS_OLDER|TF_JOBS_DRY_RUN,
      TF_JOBS_STATE|TF_JOBS_OLDER, tf_cli_jobs_purge },
    { "stats", TF_JOBS_JSON, 0, tf_cli_jobs_stats },
    { NULL, 0, 0, NULL }
};

static const tf_cli_option_t  tf_cli_jobs_options[] = {
    { "state", TF_JOBS_STATE, "STATE",
      "list, purge: jobs in this state: queued, running, succeeded, failed, "
      "cancelled, dead" },
    { "tenant", TF_JOBS_TENANT, "TENANT", "list, purge: jobs of this tenant" },
    { "limit", TF_JOBS_LIMIT, "N",
      "list: at most so many, the newest (default 50)" },
    { "older", TF_JOBS_OLDER, "TIME",
      "purge: jobs that ended longer ago than this: 12h, 7d" },
    { "dry-run", TF_JOBS_DRY_RUN, NULL,
      "purge: say how many, and change nothing" },
    { "json", TF_JOBS_JSON, NULL, "list, show, retry, stats: print JSON" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_cli_jobs_usage = {
    "jobs", "list|show ID|retry ID|cancel ID|purge|stats",
    "Looks at jobs of all tenants, and changes them.\n"
    "\n"
    "  list    the newest jobs\n"
    "  show    one job: its row in PostgreSQL and where Redis has it\n"
    "  retry   a new job with the request of one that has ended, for its\n"
    "          owner; prints the new id. The old job stays as it is\n"
    "  cancel  stops a job that waits or runs\n"
    "  purge   erases request and result of jobs that ended long ago; their\n"
    "          rows stay, and their ids are answered with 410\n"
    "  stats   the queue as Redis sees it, jobs by tenant and state\n"
    "\n"
    "It needs the role trifecta_queue and Redis, retry also id_key_file.\n",
    tf_cli_jobs_options, NULL,
    "  trifecta jobs list --state dead\n"
    "  trifecta jobs retry 01990000-0000-7000-8000-000000000001\n"
    "  trifecta jobs purge --state failed --older 30d --dry-run\n"
};


PGresult *
tf_cli_jobs_query(tf_cli_jobs_t *jobs, const char *sql, int nparams,
    const char *const *params)
{
    PGresult  *res;

    if (tf_pg_query(&jobs->pg, &res, TF_CLI_JOBS_PG_MS, sql, nparams, params)
        != TF_PG_OK)
    {
        (void) tf_cli_error(jobs->cli, "PostgreSQL: %s\n\"trifecta doctor\" "
                            "says more.", jobs->pg.err);
        return NULL;
    }

    return res;
}


int
tf_cli_jobs_redis_failed(tf_cli_jobs_t *jobs, const redisReply *reply)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {

        if (strstr(reply->str, "unction not found") != NULL) {
            return tf_cli_error(jobs->cli, "Redis has not the functions of "
                                "this release: run \"trifecta migrate\"");
        }

        return tf_cli_error(jobs->cli, "Redis: %s", reply->str);
    }

    return tf_cli_error(jobs->cli, "Redis: %s\n\"trifecta doctor\" says "
                        "more.", reply ? "an unexpected reply"
                                       : jobs->redis->err);
}


int
tf_cli_jobs_refused(tf_cli_jobs_t *jobs, const char *word)
{
    if (strcmp(word, "NOTREADY") == 0) {
        return tf_cli_error(jobs->cli, "this Redis holds no queue (NOTREADY): "
                            "\"trifecta doctor\" says what mends it");
    }

    if (strcmp(word, "PAUSED") == 0) {
        return tf_cli_error(jobs->cli, "the queue is paused or being rebuilt, "
                            "and takes no new jobs. A rebuild ends by itself "
                            "(the log of a sidecar says how far it is); the "
                            "end of a pause is to delete the field \"paused\" "
                            "of %s:meta in Redis", jobs->prefix);
    }

    return 0;
}


void
tf_cli_jobs_print(const char *text, int width)
{
    int                   n;
    const unsigned char  *p;

    n = 0;

    for (p = (const unsigned char *) text; *p; p++) {
        (void) putchar(*p < 0x20 || *p == 0x7f ? '?' : *p);
        n += (*p & 0xc0) != 0x80;
    }

    for ( /* void */ ; n < width; n++) {
        (void) putchar(' ');
    }
}


int
tf_cli_jobs_dump(tf_cli_jobs_t *jobs, json_t *json)
{
    int  rc;

    rc = json ? json_dumpf(json, stdout, JSON_INDENT(2)) : -1;
    json_decref(json);

    if (rc != 0 || printf("\n") < 0 || fflush(stdout) != 0) {
        return tf_cli_error(jobs->cli, "cannot write the output");
    }

    return TF_CLI_OK;
}


static const tf_cli_jobs_command_t *
tf_cli_jobs_find(const char *name)
{
    const tf_cli_jobs_command_t  *command;

    for (command = tf_cli_jobs_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }

    return NULL;
}


/* The name of an option, for a message. */

static const char *
tf_cli_jobs_option(unsigned bit)
{
    const tf_cli_option_t  *o;

    for (o = tf_cli_jobs_options; o->name; o++) {
        if ((unsigned) o->c & bit) {
            return o->name;
        }
    }

    return "";
}


static int
tf_cli_jobs_value(tf_cli_jobs_t *jobs, const tf_cli_t *cli, int c)
{
    long             n;
    char            *end;
    tf_job_state_t   state;

    switch (c) {

    case TF_JOBS_STATE:
        state = tf_job_state_from_word(cli->value);
        if (state == TF_JOB_NSTATES) {
            return tf_cli_misuse(cli, "--state %s: there is no such state",
                                 cli->value);
        }
        jobs->state = cli->value;
        break;

    case TF_JOBS_TENANT:
        jobs->tenant = cli->value;
        break;

    case TF_JOBS_LIMIT:
        n = strtol(cli->value, &end, 10);
        if (end == cli->value || *end || n < 1 || n > TF_JOBS_LIMIT_MAX) {
            return tf_cli_misuse(cli, "--limit %s: a number from 1 to %d is "
                                 "expected", cli->value, TF_JOBS_LIMIT_MAX);
        }
        jobs->limit = cli->value;
        break;

    case TF_JOBS_OLDER:
        jobs->older = tf_key_parse_ms(cli->value);
        if (jobs->older < 0) {
            return tf_cli_misuse(cli, "--older %s: a time such as 12h or 7d "
                                 "is expected", cli->value);
        }
        break;

    case TF_JOBS_JSON:
        jobs->json = 1;
        break;

    case TF_JOBS_DRY_RUN:
        jobs->dry_run = 1;
        break;
    }

    return 0;
}


/* Whether the command line fits its command: 0, or an exit code. */

static int
tf_cli_jobs_check(tf_cli_jobs_t *jobs, const tf_cli_t *cli,
    const tf_cli_jobs_command_t *command, unsigned given)
{
    tf_id_t   id;
    unsigned  wrong;

    wrong = given & ~command->takes;
    if (wrong & ~TF_JOBS_ID) {
        return tf_cli_misuse(cli, "\"jobs %s\" takes no --%s", command->name,
                             tf_cli_jobs_option(wrong));
    }

    wrong = command->needs & ~given & ~TF_JOBS_ID;
    if (wrong) {
        return tf_cli_misuse(cli, "\"jobs %s\" needs --%s", command->name,
                             tf_cli_jobs_option(wrong & -wrong));
    }

    if (cli->argc - 1 != (command->needs & TF_JOBS_ID ? 1 : 0)) {
        return tf_cli_misuse(cli, command->needs & TF_JOBS_ID
                             ? "\"jobs %s\" needs one ID"
                             : "\"jobs %s\" takes no further argument",
                             command->name);
    }

    if (command->needs & TF_JOBS_ID) {
        jobs->id = cli->argv[1];

        if (tf_id_parse(&id, jobs->id, strlen(jobs->id)) != 0) {
            return tf_cli_misuse(cli, "\"%s\" is no id of a job", jobs->id);
        }

        jobs->shard = tf_id_shard(&id);
    }

    return 0;
}


int
tf_cli_jobs_at(tf_cli_jobs_t *jobs, unsigned shard)
{
    if (shard >= jobs->urls.n) {
        return tf_cli_error(jobs->cli, "the job is in shard %u and redis_url "
                            "names %u: it must name all shards that still "
                            "have jobs", shard, jobs->urls.n);
    }

    jobs->shard = shard;
    jobs->redis = &jobs->shards[shard].redis;
    jobs->prefix = jobs->shards[shard].prefix;

    return 0;
}


static int
tf_cli_jobs_shards(tf_cli_jobs_t *jobs)
{
    char             err[512];
    unsigned         i;
    tf_cli_shard_t  *shard;

    if (tf_redis_urls(&jobs->urls, jobs->conf->redis_url, err, sizeof(err))
        != 0)
    {
        return tf_cli_error(jobs->cli, "%s", err);
    }

    for (i = 0; i < jobs->urls.n; i++) {
        shard = &jobs->shards[i];
        (void) snprintf(shard->prefix, sizeof(shard->prefix),
                        TF_KEY_PREFIX_FMT, i);
        tf_redis_init(&shard->redis, jobs->conf, jobs->urls.url[i],
                      shard->prefix, 0);
    }

    return tf_cli_jobs_at(jobs, jobs->shard);
}


int
tf_cli_jobs(int argc, char **argv)
{
    int                           c, status;
    tf_cli_t                      cli;
    unsigned                      i, given;
    tf_conf_t                     conf;
    tf_cli_jobs_t                 jobs;
    const tf_cli_jobs_command_t  *command;

    memset(&jobs, 0, sizeof(tf_cli_jobs_t));
    jobs.limit = "50";
    jobs.older = -1;
    given = 0;

    tf_cli_begin(&cli, &tf_cli_jobs_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        given |= (unsigned) c;
        status = tf_cli_jobs_value(&jobs, &cli, c);
        if (status) {
            return status;
        }
    }

    if (c < 0) {
        return cli.status;
    }

    if (cli.argc == 0) {
        return tf_cli_misuse(&cli, "list, show, retry, cancel, purge or stats "
                             "is expected");
    }

    command = tf_cli_jobs_find(cli.argv[0]);
    if (command == NULL) {
        return tf_cli_misuse(&cli, "there is no \"jobs %s\"", cli.argv[0]);
    }

    status = tf_cli_jobs_check(&jobs, &cli, command, given);
    if (status) {
        return status;
    }

    if (tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    jobs.cli = &cli;
    jobs.conf = &conf;
    tf_pg_init(&jobs.pg, &conf, TF_PG_QUEUE);

    status = tf_cli_jobs_shards(&jobs);

    if (status == 0) {
        status = command->run(&jobs);
    }

    tf_pg_close(&jobs.pg);

    for (i = 0; i < jobs.urls.n; i++) {
        tf_redis_close(&jobs.shards[i].redis);
    }

    tf_redis_urls_free(&jobs.urls);
    tf_conf_free(&conf);

    return status;
}
