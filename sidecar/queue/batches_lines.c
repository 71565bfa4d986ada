#include "queue/batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <trifecta/fault.h>

#include "base/log.h"
#include "queue/pool.h"
#include "queue/submit.h"


/*
 * Lines become jobs, and end.
 *
 * A job's row is found by its id in a look-up of its own (LIMIT 1 keeps it
 * one): statistics of a busy hour must not make it a scan of all jobs.
 *
 * One sweeps at a time, but no statement counts on it: each locks the lines it
 * takes, leaves those that another one has or has changed, and counts what it
 * has changed itself.  Lines end under the lock of their batch, so that their
 * places have no gap.
 */

#define TF_LINES_TEXT_(x)  #x
#define TF_LINES_TEXT(x)   TF_LINES_TEXT_(x)
#define TF_LINES_MAX       TF_LINES_TEXT(TF_BATCHES_LINES)

/* Why a line has no answer, though nothing was wrong with it. */

#define TF_LINES_CANCELLED                                                    \
    "'{\"code\":\"batch_cancelled\",\"message\":\"The batch was cancelled "    \
    "before this request had an answer.\"}'"

#define TF_LINES_EXPIRED                                                      \
    "'{\"code\":\"batch_expired\",\"message\":\"The batch had no time left "   \
    "for this request.\"}'"

#define TF_LINES_LOST                                                         \
    "'{\"code\":\"job_lost\",\"message\":\"What became of this request is "    \
    "not known.\"}'"

#define TF_LINES_WHY                                                          \
    "CASE WHEN b.state = 'cancelling' THEN " TF_LINES_CANCELLED                \
    "::jsonb ELSE " TF_LINES_EXPIRED "::jsonb END"

/*
 * Lines whose jobs have ended.  The row of a job that is open two hours past
 * its deadline belongs to a shard that is no more.
 */

static const char  tf_lines_collect_sql[] =
    "WITH b AS (SELECT id, state, expiring, usage, done + failed AS n "
        "FROM trifecta.batch WHERE id = ANY ($1::uuid[]) "
        "AND state IN ('in_progress', 'cancelling') ORDER BY id FOR UPDATE), "
    "e AS MATERIALIZED (SELECT b.id AS batch, l.n, b.n AS before, l.job, "
        "coalesce(j.state = 'succeeded', false) AS ok, j.usage, j.finished, "
        "CASE WHEN coalesce(j.state, 'queued') IN ('queued', 'running') "
            "THEN " TF_LINES_LOST "::jsonb "
            "WHEN j.state = 'cancelled' AND j.deleted IS NULL "
            "AND (b.expiring OR b.state = 'cancelling') THEN " TF_LINES_WHY
            " END AS error "
        "FROM b CROSS JOIN LATERAL (SELECT n, job FROM trifecta.batch_line "
            "WHERE batch = b.id AND NOT ended AND job IS NOT NULL "
            "ORDER BY n LIMIT 10000) AS l "
        "LEFT JOIN LATERAL (SELECT state, usage, finished, deleted, deadline "
            "FROM trifecta.job WHERE id = l.job LIMIT 1) AS j ON true "
        "WHERE j.state IS NULL OR j.state NOT IN ('queued', 'running') "
            "OR j.deadline < now() - interval '2 hours' "
        "LIMIT " TF_LINES_MAX "), "
    "x AS MATERIALIZED (SELECT e.* FROM e JOIN trifecta.batch_line AS l "
        "ON l.batch = e.batch AND l.n = e.n WHERE NOT l.ended "
        "FOR UPDATE OF l SKIP LOCKED), "
    "s AS MATERIALIZED (SELECT x.*, before + row_number() OVER (PARTITION BY "
        "batch ORDER BY finished, n) AS seq, (SELECT octet_length(r.body) "
        "FROM trifecta.job_result AS r WHERE r.job = x.job LIMIT 1) AS bytes "
        "FROM x), "
    "u AS (UPDATE trifecta.batch_line AS l SET ended = true, seq = s.seq, "
        "ok = s.ok, error = s.error, request = NULL FROM s "
        "WHERE l.batch = s.batch AND l.n = s.n AND NOT l.ended "
        "RETURNING s.*), "

    /* each number of the usage, summed up by its name */

    "g AS (SELECT batch, jsonb_object_agg(key, v) AS usage FROM ("
        "SELECT batch, key, sum(value::numeric) AS v FROM ("
            "SELECT u.batch, x.* FROM u, LATERAL jsonb_each(CASE "
            "jsonb_typeof(u.usage) WHEN 'object' THEN u.usage ELSE '{}' END) "
            "AS x UNION ALL "
            "SELECT b.id, x.* FROM b, LATERAL jsonb_each(coalesce(b.usage, "
            "'{}')) AS x) AS y "
        "WHERE jsonb_typeof(value) = 'number' GROUP BY batch, key) AS z "
        "GROUP BY batch), "
    "k AS (SELECT batch, count(*) FILTER (WHERE ok) AS done, "
        "count(*) FILTER (WHERE NOT ok) AS failed, "
        "coalesce(sum(bytes) FILTER (WHERE ok), 0) AS output_bytes, "
        "coalesce(sum(octet_length(error::text)) FILTER (WHERE NOT ok), 0) "
        "AS error_bytes FROM u GROUP BY batch), "
    "c AS (UPDATE trifecta.batch AS b SET done = b.done + k.done, "
        "failed = b.failed + k.failed, "
        "output_bytes = b.output_bytes + k.output_bytes, "
        "error_bytes = b.error_bytes + k.error_bytes, "
        "usage = coalesce(g.usage, b.usage) "
        "FROM k LEFT JOIN g USING (batch) WHERE b.id = k.batch) "
    "SELECT coalesce(sum(done), 0), coalesce(sum(failed), 0) FROM k";

/*
 * The next lines: those that are to be jobs, as far as there is room, and
 * those that end without one.  Of batches of one tenant the one that has the
 * fewest jobs is first.
 */

static const char  tf_lines_next_sql[] =
    "WITH o AS (SELECT b.id, b.tenant, r.n FROM trifecta.batch AS b "
        "CROSS JOIN LATERAL (SELECT count(*) AS n FROM trifecta.batch_line "
        "WHERE batch = b.id AND NOT ended AND job IS NOT NULL) AS r "
        "WHERE b.state IN ('in_progress', 'cancelling')), "
    "t AS (SELECT tenant, sum(n) AS n FROM o GROUP BY tenant), "
    "c AS (SELECT b.id, b.tenant, b.owner, l.n, o.n AS has, t.n AS tenant_has, "
        "b.state = 'in_progress' AND NOT b.expiring AND NOT l.wrong AS runs, "
        "count(*) FILTER (WHERE NOT l.wrong) OVER (PARTITION BY b.id "
        "ORDER BY l.n) AS k "
        "FROM trifecta.batch AS b JOIN o USING (id) "
        "JOIN t ON t.tenant = b.tenant "
        "CROSS JOIN LATERAL (SELECT n, error IS NOT NULL AS wrong "
            "FROM trifecta.batch_line WHERE batch = b.id AND NOT ended "
            "AND job IS NULL ORDER BY n LIMIT CASE "
            "WHEN b.state = 'cancelling' OR b.expiring THEN " TF_LINES_MAX
            " WHEN o.n < $2::integer AND t.n < $3::integer "
            "THEN $2::integer - o.n + 64 ELSE 0 END) AS l "
        "WHERE b.id = ANY ($1::uuid[]) "
        "AND b.state IN ('in_progress', 'cancelling') "
        "AND (b.state <> 'cancelling' OR b.begun IS NOT NULL)), "
    "f AS (SELECT *, tenant_has + row_number() OVER (PARTITION BY tenant, runs "
        "ORDER BY has + k, n, id) AS place FROM c "
        "WHERE NOT runs OR has + k <= $2::integer) "
    "SELECT id, n, tenant, owner, runs FROM f "
    "WHERE NOT runs OR place <= $3::integer "
    "ORDER BY runs, has + k, n, id LIMIT " TF_LINES_MAX;

enum {
    TF_LINES_BATCH, TF_LINES_N, TF_LINES_TENANT, TF_LINES_OWNER, TF_LINES_RUNS
};

static const char  tf_lines_end_sql[] =
    "WITH b AS (SELECT id, state, expiring, done + failed AS n "
        "FROM trifecta.batch WHERE id = ANY ($1::uuid[]) "
        "AND state IN ('in_progress', 'cancelling') ORDER BY id FOR UPDATE), "
    "x AS MATERIALIZED (SELECT l.batch, l.n, coalesce(l.error, " TF_LINES_WHY
        ") AS error, b.n AS before "
        "FROM unnest($1::uuid[], $2::integer[]) AS x(batch, n) "
        "JOIN b ON b.id = x.batch "
        "JOIN trifecta.batch_line AS l ON l.batch = x.batch AND l.n = x.n "
        "WHERE NOT l.ended AND l.job IS NULL AND (l.error IS NOT NULL "
        "OR b.state = 'cancelling' OR b.expiring) "
        "FOR UPDATE OF l SKIP LOCKED), "
    "s AS MATERIALIZED (SELECT x.*, before + row_number() OVER (PARTITION BY "
        "batch ORDER BY n) AS seq FROM x), "
    "u AS (UPDATE trifecta.batch_line AS l SET ended = true, ok = false, "
        "seq = s.seq, error = s.error, request = NULL FROM s "
        "WHERE l.batch = s.batch AND l.n = s.n AND NOT l.ended "
        "AND l.job IS NULL RETURNING s.*), "
    "k AS (SELECT batch, count(*) AS failed, sum(octet_length(error::text)) "
        "AS bytes FROM u GROUP BY batch), "
    "c AS (UPDATE trifecta.batch AS b SET failed = b.failed + k.failed, "
        "error_bytes = b.error_bytes + k.bytes FROM k WHERE b.id = k.batch) "
    "SELECT count(*) FROM u";

/*
 * The limits of the kinds come from TF_JOB_KINDS; a job has as long as its
 * batch, though it may wait behind hours of other work.
 */

static const char  tf_lines_jobs_sql[] =
    "WITH s AS MATERIALIZED (SELECT x.*, l.request, l.model, b.tenant, "
        "b.owner, b.groups, b.scopes, b.request_id, b.trace, b.expires, "
        "b.endpoint = '/v1/embeddings' AS vectors "
        "FROM unnest($1::uuid[], $2::integer[], $3::uuid[]) "
        "AS x(batch, n, job) JOIN trifecta.batch AS b ON b.id = x.batch "
        "JOIN trifecta.batch_line AS l ON l.batch = x.batch AND l.n = x.n "
        "WHERE NOT l.ended AND l.job IS NULL AND l.error IS NULL "
        "AND b.state = 'in_progress' AND NOT b.expiring "
        "FOR UPDATE OF l SKIP LOCKED), "
    "u AS (UPDATE trifecta.batch_line AS l SET job = s.job, request = NULL "
        "FROM s WHERE l.batch = s.batch AND l.n = s.n AND l.job IS NULL "
        "AND NOT l.ended RETURNING s.*), "
    "j AS (INSERT INTO trifecta.job (id, tenant, owner, groups, scopes, kind, "
        "model, prio, state, request, request_id, trace, fingerprint, "
        "conversation, accepted, deadline) "
        "SELECT job, tenant, owner, groups, scopes, CASE WHEN vectors "
        "THEN 'batch_embeddings' ELSE 'batch_query' END, model, "
        "$4::smallint, 'queued', request, request_id, trace, '', "
        "request ->> 'conversation_id', clock_timestamp(), "
        "greatest(expires, clock_timestamp() + CASE WHEN vectors "
        "THEN $6::bigint ELSE $5::bigint END * interval '1 ms') FROM u) "
    "SELECT job FROM u";


int
tf_batches_collect(tf_batches_t *b)
{
    PGresult       *res;
    const char     *params[1];
    unsigned long   done, failed;

    params[0] = b->page.data;

    if (tf_batches_query(b, &res, tf_lines_collect_sql, 1, params) != 0) {
        return -1;
    }

    done = strtoul(PQgetvalue(res, 0, 0), NULL, 10);
    failed = strtoul(PQgetvalue(res, 0, 1), NULL, 10);
    PQclear(res);

    (void) atomic_fetch_add(&b->stats->succeeded, done);
    (void) atomic_fetch_add(&b->stats->failed, failed);

    return (int) (done + failed);
}


/* Of the lines of the answer those that run, or do not, as arrays. */

typedef struct {
    tf_buf_t  batches;
    tf_buf_t  lines;
    tf_buf_t  jobs;
    int       n;
} tf_lines_t;


static void
tf_lines_free(tf_lines_t *lines)
{
    tf_buf_free(&lines->batches);
    tf_buf_free(&lines->lines);
    tf_buf_free(&lines->jobs);
}


/* Adds a line, and the job that it is to be, if any. */

static void
tf_lines_add(tf_lines_t *lines, PGresult *res, int row, const char *job)
{
    const char  *sep;

    sep = lines->n++ ? "," : "{";

    tf_buf_printf(&lines->batches, "%s%s", sep,
                  PQgetvalue(res, row, TF_LINES_BATCH));
    tf_buf_printf(&lines->lines, "%s%s", sep,
                  PQgetvalue(res, row, TF_LINES_N));

    if (job != NULL) {
        tf_buf_printf(&lines->jobs, "%s%s", sep, job);
    }
}


/* 0, or -1: no memory */

static int
tf_lines_close(tf_lines_t *lines)
{
    tf_buf_puts(&lines->batches, "}");
    tf_buf_puts(&lines->lines, "}");
    tf_buf_puts(&lines->jobs, "}");

    return lines->batches.failed || lines->lines.failed || lines->jobs.failed
           ? -1 : 0;
}


/* Those that end without a job: how many, -1. */

static int
tf_lines_end(tf_batches_t *b, PGresult *next)
{
    int          i, n;
    PGresult    *res;
    tf_lines_t   lines;
    const char  *params[2];

    memset(&lines, 0, sizeof(tf_lines_t));

    for (i = 0; i < PQntuples(next); i++) {
        if (PQgetvalue(next, i, TF_LINES_RUNS)[0] == 'f') {
            tf_lines_add(&lines, next, i, NULL);
        }
    }

    n = lines.n;

    if (n > 0) {
        params[0] = lines.batches.data;
        params[1] = lines.lines.data;

        if (tf_lines_close(&lines) == 0
            && tf_batches_query(b, &res, tf_lines_end_sql, 2, params) == 0)
        {
            n = atoi(PQgetvalue(res, 0, 0));
            (void) atomic_fetch_add(&b->stats->ended, (unsigned long) n);
            PQclear(res);

        } else {
            n = -1;
        }
    }

    tf_lines_free(&lines);

    return n;
}


/* Their ids; -1 and a message: there is no key. */

static int
tf_lines_ids(tf_batches_t *b, PGresult *next, tf_lines_t *lines)
{
    int           i, rc;
    char          id[TF_ID_TEXT_LEN + 1], err[512];
    unsigned      shard;
    tf_submit_t   job;
    tf_id_keys_t  keys;

    memset(&job, 0, sizeof(tf_submit_t));

    if (tf_submit_keys(b->conf, &keys, err, sizeof(err)) != 0) {
        tf_batches_say(b, "%s", err);
        return -1;
    }

    rc = 0;

    for (i = 0; i < PQntuples(next) && rc == 0; i++) {

        if (PQgetvalue(next, i, TF_LINES_RUNS)[0] == 'f') {
            continue;
        }

        job.tenant = PQgetvalue(next, i, TF_LINES_TENANT);
        job.owner = PQgetvalue(next, i, TF_LINES_OWNER);

        rc = tf_submit_id_by(&keys, &job, b->q->nshards, id, &shard);

        if (rc == 0) {
            tf_lines_add(lines, next, i, id);
        }
    }

    OPENSSL_cleanse(&keys, sizeof(keys));

    if (rc != 0 || tf_lines_close(lines) != 0) {
        tf_batches_say(b, "no id could be made");
        return -1;
    }

    return 0;
}


static int
tf_lines_jobs(tf_batches_t *b, PGresult *next)
{
    int                   n;
    char                  query[24], vectors[24], prio[12];
    PGresult             *res;
    tf_lines_t            lines;
    const char           *params[6];

    memset(&lines, 0, sizeof(tf_lines_t));

    if (tf_lines_ids(b, next, &lines) != 0) {
        tf_lines_free(&lines);
        return 0;
    }

    (void) snprintf(prio, sizeof(prio), "%d", TF_PRIORITY_BACKGROUND);
    (void) snprintf(query, sizeof(query), "%lld",
                    (long long) tf_job_kind("batch_query")->limit);
    (void) snprintf(vectors, sizeof(vectors), "%lld",
                    (long long) tf_job_kind("batch_embeddings")->limit);

    params[0] = lines.batches.data;
    params[1] = lines.lines.data;
    params[2] = lines.jobs.data;
    params[3] = prio;
    params[4] = query;
    params[5] = vectors;

    if (tf_batches_query(b, &res, tf_lines_jobs_sql, 6, params) != 0) {
        tf_lines_free(&lines);
        return -1;
    }

    tf_fault(batch, made);

    n = PQntuples(res);
    tf_batches_put(b, res, NULL);
    PQclear(res);
    tf_lines_free(&lines);

    tf_fault(batch, put);

    (void) atomic_fetch_add(&b->stats->submitted, (unsigned long) n);

    return n;
}


int
tf_batches_make(tf_batches_t *b)
{
    int          i, ended, runs, made;
    char         window[12], most[12];
    PGresult    *res;
    const char  *params[3];

    (void) snprintf(window, sizeof(window), "%d", (int) b->conf->batch_open);
    (void) snprintf(most, sizeof(most), "%d",
                    TF_BATCHES_TENANT * (int) b->conf->batch_open);
    params[0] = b->page.data;
    params[1] = window;
    params[2] = most;

    if (tf_batches_query(b, &res, tf_lines_next_sql, 3, params) != 0) {
        return -1;
    }

    runs = 0;

    for (i = 0; i < PQntuples(res); i++) {
        runs += PQgetvalue(res, i, TF_LINES_RUNS)[0] == 't';
    }

    ended = tf_lines_end(b, res);
    made = ended != -1 && runs > 0 ? tf_lines_jobs(b, res) : 0;
    PQclear(res);

    return ended == -1 || made == -1 ? -1 : ended + made;
}
