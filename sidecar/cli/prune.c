#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "queue/prune.h"


/*
 * One round of what the sidecars do each hour, now and with another bound.
 * SIGINT ends it after the step that is under way.
 */

#define TF_CLI_PRUNE_LOOK_MS  600000    /* a dry run counts rows */
#define TF_CLI_PRUNE_SAY_MS   1000
#define TF_CLI_PRUNE_LEAST    86400000  /* ms: what the database keeps */

static const tf_cli_option_t  tf_cli_prune_options[] = {
    { "before", 'b', "TIME",
      "jobs that were accepted longer ago than this, at least 1d (default: "
      "the key \"retention\")" },
    { "dry-run", 'd', NULL, "say what would go, and change nothing" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_cli_prune_usage = {
    "prune", "",
    "Removes jobs that ended long ago, with their results: days as a whole\n"
    "where nothing in them is open, else row by row. Sidecars do the same\n"
    "once an hour. Ids of removed jobs are answered with 410. It can be\n"
    "stopped at any time and goes on where it was when it is started again.\n",
    tf_cli_prune_options,
    "  0  nothing is left that may go\n"
    "  1  it was stopped, or something is in the way: it says what\n"
    "  2  wrong use\n",
    "  trifecta prune --dry-run\n"
    "  trifecta prune --before 90d\n"
};

static volatile sig_atomic_t  tf_cli_prune_stop;


static void
tf_cli_prune_signal(int sig)
{
    (void) sig;
    tf_cli_prune_stop = 1;
}


static int
tf_cli_prune_store(const tf_cli_t *cli, const tf_pg_t *pg)
{
    return tf_cli_error(cli, "PostgreSQL: %s\n\"trifecta doctor\" says more.",
                        pg->err);
}


static int
tf_cli_prune_look(const tf_cli_t *cli, tf_pg_t *pg, int64_t age)
{
    int          r, dropped;
    char         ms[24], text[24];
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(ms, sizeof(ms), "%lld", (long long) age);
    params[0] = ms;

    if (tf_pg_query(pg, &res, TF_CLI_PRUNE_LOOK_MS,
                    "SELECT part, dropped, n FROM trifecta.prunable("
                    "now() - $1::bigint * interval '1 ms')", 1, params)
        != TF_PG_OK)
    {
        return tf_cli_prune_store(cli, pg);
    }

    for (r = 0; r < PQntuples(res); r++) {
        dropped = PQgetvalue(res, r, 1)[0] == 't';
        (void) printf(dropped ? "would drop %s (about %s rows)\n"
                              : "would delete from %s: %s jobs that have "
                                "ended\n",
                      PQgetvalue(res, r, 0), PQgetvalue(res, r, 2));
    }

    if (PQntuples(res) == 0) {
        (void) printf("nothing that was accepted more than %s ago is left\n",
                      tf_prune_age(age, text, sizeof(text)));
    }

    PQclear(res);

    return TF_CLI_OK;
}


/* 1 to go on, 0 when it was tried often enough. */

static int
tf_cli_prune_wait(tf_prune_round_t *round, const tf_pg_t *pg)
{
    int  pause;

    pause = tf_prune_pause(round);

    if (pause == 0) {
        return 0;
    }

    (void) fprintf(stderr, "a partition is in use (%s); again in %d s\n",
                   pg->err, (pause + 999) / 1000);

    while (pause > 0 && !tf_cli_prune_stop) {
        (void) usleep(100000);
        pause -= 100;
    }

    return 1;
}


static int
tf_cli_prune_run(const tf_cli_t *cli, tf_prune_round_t *round, tf_pg_t *pg,
    int64_t age)
{
    int            busy;
    int64_t        say;
    tf_prune_rc_t  rc;

    busy = 0;
    say = tf_clock_ms() + TF_CLI_PRUNE_SAY_MS;

    do {
        rc = tf_prune_step(round, pg, age);

        if (round->name[0] != '\0') {
            (void) fprintf(stderr, "dropped %s\n", round->name);

        } else if (tf_clock_ms() >= say && round->jobs > 0) {
            say = tf_clock_ms() + TF_CLI_PRUNE_SAY_MS;
            (void) fprintf(stderr, "%lu jobs so far\n", round->jobs);
        }

        if (rc == TF_PRUNE_BUSY) {
            busy |= !tf_cli_prune_wait(round, pg);
        }

    } while ((rc == TF_PRUNE_MORE || rc == TF_PRUNE_BUSY)
             && !tf_cli_prune_stop);

    (void) printf("%lu partitions were dropped, %lu jobs were deleted row by "
                  "row\n", round->partitions, round->jobs);

    if (rc == TF_PRUNE_FAILED) {
        return tf_cli_prune_store(cli, pg);
    }

    if (round->refused[0] != '\0') {
        (void) tf_cli_error(cli, "a partition stays: %s", round->refused);
    }

    if (rc != TF_PRUNE_DONE) {
        return tf_cli_error(cli, "stopped; run it again to go on");
    }

    if (busy) {
        return tf_cli_error(cli, "something reads or dumps old partitions: "
                            "run it again when that has ended. SELECT * FROM "
                            "pg_stat_activity WHERE xact_start < now() - "
                            "interval '1 min' shows who");
    }

    return round->refused[0] == '\0' ? TF_CLI_OK : TF_CLI_FAILED;
}


static int
tf_cli_prune_round(const tf_cli_t *cli, const tf_conf_t *conf, int64_t age,
    int dry_run)
{
    int               status;
    char              err[512];
    tf_pg_t           pg;
    tf_prune_round_t  round;

    tf_pg_init(&pg, conf, TF_PG_QUEUE);

    if (dry_run) {
        status = tf_cli_prune_look(cli, &pg, age);
        goto done;
    }

    switch (tf_prune_begin(&round, &pg)) {

    case 1:
        break;

    case 0:
        status = tf_cli_error(cli, "a sidecar, or another \"trifecta prune\", "
                              "is at it: wait for it, and run this again");
        goto done;

    default:
        status = tf_cli_prune_store(cli, &pg);
        goto done;
    }

    status = tf_cli_prune_run(cli, &round, &pg, age);

    if (round.partitions + round.jobs > 0
        && tf_prune_tell(conf, &pg, age, err, sizeof(err)) != 0)
    {
        (void) fprintf(stderr, "nginx was not told (%s): its caches forget "
                       "the results within a minute\n", err);
    }

done:

    tf_pg_close(&pg);

    return status;
}


int
tf_cli_prune(int argc, char **argv)
{
    int               c, dry_run, status;
    int64_t           age;
    tf_cli_t          cli;
    tf_conf_t         conf;
    struct sigaction  sa;

    age = -1;
    dry_run = 0;

    tf_cli_begin(&cli, &tf_cli_prune_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 'b':
            age = tf_key_parse_ms(cli.value);
            if (age < TF_CLI_PRUNE_LEAST) {
                return tf_cli_misuse(&cli, "--before %s: a time of at least "
                                     "a day is expected, such as 30d",
                                     cli.value);
            }
            break;

        case 'd':
            dry_run = 1;
            break;
        }
    }

    if (c < 0 || tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    if (age == -1) {
        age = conf.retention;
    }

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = tf_cli_prune_signal;
    (void) sigaction(SIGINT, &sa, NULL);
    (void) sigaction(SIGTERM, &sa, NULL);

    if (age == 0) {
        status = tf_cli_misuse(&cli, "retention = 0 keeps jobs for ever: say "
                               "--before TIME");

    } else {
        status = tf_cli_prune_round(&cli, &conf, age, dry_run);
    }

    if (fflush(stdout) != 0) {
        status = TF_CLI_FAILED;
    }

    tf_conf_free(&conf);

    return status;
}
