#include "cli/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/clock.h"
#include "queue/job.h"


/*
 * How far the jobs of --queue are, from PostgreSQL: their rows, and a step
 * for each file.  A store that is away for a moment comes back; whoever is
 * tired of waiting may leave, the jobs go on.
 */

#define TF_WAIT_POLL_MS  300
#define TF_WAIT_TELL_MS  5000           /* without a terminal */
#define TF_WAIT_PG_MS    10000

static const char  tf_ingest_wait_sql[] =
    "SELECT j.state, (SELECT count(DISTINCT split_part(s.step, ':', 2)) "
    "FROM trifecta.job_step s WHERE s.job = j.id), r.body, "
    "j.error ->> 'message', j.usage ->> 'skipped', "
    "(j.usage ->> 'files')::int + coalesce((j.usage ->> 'removed')::int, 0) "
    "FROM trifecta.job j LEFT JOIN trifecta.job_result r ON r.job = j.id "
    "WHERE j.id = $1";


/* The lines of a text, one by one, without control characters. */

static void
tf_ingest_wait_print(const char *text)
{
    char         line[1024], name[1024];
    size_t       n;
    const char  *s;

    for (s = text; *s; s += n + (s[n] == '\n')) {
        n = strcspn(s, "\n");
        (void) snprintf(line, sizeof(line), "%.*s", (int) (n < 1000 ? n
                                                                    : 1000),
                        s);
        (void) printf("%s\n", tf_ingest_name(name, sizeof(name), line));
    }
}


static int
tf_ingest_wait_ended(tf_ingest_run_t *run, tf_ingest_queued_t *job,
    PGresult *res)
{
    char  name[1024];

    job->ended = 1;
    tf_ingest_line(run);
    (void) printf("%s: %s", tf_ingest_name(name, sizeof(name), job->path),
                  job->state);

    if (strcmp(job->state, "succeeded") != 0) {
        (void) printf(": %s\n", PQgetisnull(res, 0, 3)
                      ? "\"trifecta jobs show\" says more"
                      : tf_ingest_name(name, sizeof(name),
                                       PQgetvalue(res, 0, 3)));
        return TF_CLI_FAILED;
    }

    (void) printf("\n");
    tf_ingest_wait_print(PQgetvalue(res, 0, 2));
    run->skipped += strtoul(PQgetvalue(res, 0, 4), NULL, 10);

    return strcmp(PQgetvalue(res, 0, 5), "0") == 0 ? TF_CLI_FAILED
                                                   : TF_CLI_OK;
}


/* How a job stands: TF_CLI_OK, also as long as nobody knows. */

static int
tf_ingest_wait_look(tf_ingest_run_t *run, tf_pg_t *pg,
    tf_ingest_queued_t *job)
{
    int          rc, changed;
    PGresult    *res;
    const char  *params[1];

    params[0] = job->id;

    if (tf_pg_query(pg, &res, TF_WAIT_PG_MS, tf_ingest_wait_sql, 1, params)
        != TF_PG_OK)
    {
        return pg->conn == NULL ? TF_CLI_OK
                                : tf_cli_error(&run->cli, "%s", pg->err);
    }

    if (PQntuples(res) == 0) {
        PQclear(res);
        job->ended = 1;
        return tf_cli_error(&run->cli, "job %s is gone: it was deleted",
                            job->id);
    }

    changed = strcmp(job->state, PQgetvalue(res, 0, 0)) != 0;
    (void) snprintf(job->state, sizeof(job->state), "%s",
                    PQgetvalue(res, 0, 0));
    job->done = strtoul(PQgetvalue(res, 0, 1), NULL, 10);

    rc = TF_CLI_OK;

    if (tf_job_state_terminal(tf_job_state_from_word(job->state))) {
        job->done = job->files;
        rc = tf_ingest_wait_ended(run, job, res);

    } else if (!run->tty && !run->quiet
               && (changed || tf_clock_ms() - run->told >= TF_WAIT_TELL_MS))
    {
        run->told = tf_clock_ms();
        (void) fprintf(stderr, "%s %s: %zu of %zu files\n", job->state,
                       job->id, job->done, job->files);
    }

    PQclear(res);

    return rc;
}


int
tf_ingest_wait(tf_ingest_run_t *run, tf_ingest_queued_t *jobs, size_t n)
{
    int              rc, one;
    char             bar[TF_INGEST_BAR + 1];
    size_t           i, open, done, total;
    tf_pg_t          pg;
    struct timespec  ts;

    tf_pg_init(&pg, &run->conf, TF_PG_QUEUE);
    rc = TF_CLI_OK;

    ts.tv_sec = 0;
    ts.tv_nsec = TF_WAIT_POLL_MS * 1000000L;

    for ( ;; ) {
        open = 0;
        done = 0;
        total = 0;

        for (i = 0; i < n; i++) {

            if (!jobs[i].ended) {
                one = tf_ingest_wait_look(run, &pg, &jobs[i]);
                rc = one == TF_CLI_OK ? rc : one;

                /* the store answers, and not what was asked */

                jobs[i].ended |= (one != TF_CLI_OK);
            }

            open += !jobs[i].ended;
            done += jobs[i].done;
            total += jobs[i].files;
        }

        if (open == 0) {
            break;
        }

        if (run->tty) {
            tf_ingest_bar(bar, done, total);
            (void) fprintf(stderr, "\r\033[K[%s] %zu of %zu  %zu jobs", bar,
                           done, total, open);
            (void) fflush(stderr);
        }

        (void) nanosleep(&ts, NULL);
    }

    tf_ingest_line(run);
    tf_pg_close(&pg);

    return rc;
}
