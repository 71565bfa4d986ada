#include "queue/batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "queue/pool.h"


/*
 * What goes.  A file that is deleted, by its owner or because its time is
 * over, is out of sight at once; its parts go some at a time, and with an
 * output or a list of errors the answers in it, as if each job was deleted by
 * its owner.  A file of which nothing could be done, because a shard is away,
 * is put off: "gone" is then the time of the next try.
 *
 * A batch goes when what was accepted at its time does (retention): its lines
 * some at a time, then its files, then itself.
 */

#define TF_GONE_MINUTE_MS  60000
#define TF_GONE_SLICE_MS   400          /* a tick: then the keeper goes on */
#define TF_GONE_PARTS      16           /* MiB at a time */
#define TF_GONE_ANSWERS    200          /* at a time */

static const char  tf_gone_list_sql[] =
    "SELECT file, tenant, owner, batch, kind, after FROM trifecta.file_gone "
    "WHERE gone <= now() ORDER BY gone LIMIT 32";

enum { TF_GONE_FILE, TF_GONE_TENANT, TF_GONE_OWNER, TF_GONE_BATCH,
       TF_GONE_KIND, TF_GONE_AFTER };

#define TF_GONE_TEXT_(x)  #x
#define TF_GONE_TEXT(x)   TF_GONE_TEXT_(x)

static const char  tf_gone_parts_sql[] =
    "WITH d AS (DELETE FROM trifecta.file_part WHERE file = $1::uuid "
        "AND part IN (SELECT part FROM trifecta.file_part "
        "WHERE file = $1::uuid ORDER BY part LIMIT "
        TF_GONE_TEXT(TF_GONE_PARTS) ") RETURNING 1) "
    "SELECT count(*) FROM d";

static const char  tf_gone_jobs_sql[] =
    "SELECT l.job, l.seq, j.id IS NOT NULL FROM (SELECT job, seq "
        "FROM trifecta.batch_line WHERE batch = $1::uuid "
        "AND ok = ($2 = 'output') AND ended AND seq > $3::bigint "
        "ORDER BY seq LIMIT " TF_GONE_TEXT(TF_GONE_ANSWERS) ") AS l "
    "LEFT JOIN LATERAL (SELECT id FROM trifecta.job WHERE id = l.job "
        "AND deleted IS NULL LIMIT 1) AS j ON true ORDER BY l.seq";

/*
 * The requests of batches that ended before they began: nobody reads them any
 * more.  The index of lines that wait is walked from batch to batch.
 */

static const char  tf_gone_requests_sql[] =
    "WITH RECURSIVE w AS ((SELECT batch FROM trifecta.batch_line "
        "WHERE NOT ended AND job IS NULL ORDER BY batch LIMIT 1) "
        "UNION ALL SELECT (SELECT l.batch FROM trifecta.batch_line AS l "
            "WHERE NOT l.ended AND l.job IS NULL AND l.batch > w.batch "
            "ORDER BY l.batch LIMIT 1) FROM w WHERE w.batch IS NOT NULL), "
    "x AS MATERIALIZED (SELECT l.batch, l.n FROM w JOIN trifecta.batch AS b "
        "ON b.id = w.batch CROSS JOIN LATERAL (SELECT batch, n "
            "FROM trifecta.batch_line WHERE batch = b.id AND NOT ended "
            "AND job IS NULL ORDER BY n LIMIT 1000) AS l "
        "WHERE b.ended IS NOT NULL AND b.begun IS NULL LIMIT 1000), "
    "d AS (DELETE FROM trifecta.batch_line AS l USING x "
        "WHERE l.batch = x.batch AND l.n = x.n RETURNING 1) "
    "SELECT count(*) FROM d";

/* What is too old; the input of a batch that is being read stays so long. */

static const char  tf_gone_files_sql[] =
    "WITH x AS (SELECT id FROM trifecta.file AS f WHERE expires < now() "
        "AND NOT EXISTS (SELECT FROM trifecta.batch AS b "
            "WHERE b.input = f.id AND b.state IN ('validating', "
            "'in_progress', 'finalizing', 'cancelling')) LIMIT 100), "
    "y AS (SELECT id FROM trifecta.file WHERE NOT whole "
        "AND created < now() - interval '1 hour' LIMIT 100), "
    "d AS (DELETE FROM trifecta.file WHERE id IN (SELECT id FROM x "
        "UNION SELECT id FROM y) RETURNING 1) "
    "SELECT count(*) FROM d";

static const char  tf_gone_old_sql[] =
    "SELECT id FROM trifecta.batch WHERE created < now() "
    "- $1::bigint * interval '1 ms' AND ended IS NOT NULL "
    "ORDER BY created LIMIT 1";

static const char  tf_gone_lines_sql[] =
    "WITH d AS (DELETE FROM trifecta.batch_line WHERE batch = $1::uuid "
        "AND n IN (SELECT n FROM trifecta.batch_line WHERE batch = $1::uuid "
        "ORDER BY n LIMIT 1000) RETURNING 1) "
    "SELECT count(*) FROM d";

static const char  tf_gone_batch_sql[] =
    "WITH f AS (DELETE FROM trifecta.file WHERE batch = $1::uuid) "
    "DELETE FROM trifecta.batch WHERE id = $1::uuid";


/* A statement that says how many rows went: these, or -1. */

static int
tf_gone_rows(tf_batches_t *b, const char *sql, const char *id)
{
    int          n;
    PGresult    *res;
    const char  *params[1];

    params[0] = id;

    if (tf_batches_query(b, &res, sql, id != NULL, params) != 0) {
        return -1;
    }

    n = atoi(PQgetvalue(res, 0, 0));
    PQclear(res);

    if (n > 0) {
        tf_fault(batch, gone);
    }

    return n;
}


/* A statement about a file: 1, or -1. */

static int
tf_gone_note(tf_batches_t *b, const char *sql, const char *file,
    const char *value)
{
    const char  *params[2];

    params[0] = file;
    params[1] = value;

    return tf_batches_query(b, NULL, sql, value ? 2 : 1, params) ? -1 : 1;
}


/* Nothing of it is left. */

static int
tf_gone_done(tf_batches_t *b, const char *file)
{
    return tf_gone_note(b, "DELETE FROM trifecta.file_gone "
                        "WHERE file = $1::uuid", file, NULL);
}


/*
 * Some of the answers of a file: deleted in the queue, as by their owner; what
 * Redis did not take is tried again.  1: it goes on, 0: nothing could be done,
 * -1: PostgreSQL is away.
 */

static int
tf_gone_answers(tf_batches_t *b, PGresult *gone, int row, int64_t until)
{
    int          i, n, rc, late;
    char         said[16];
    PGresult    *res;
    const char  *params[3], *file;

    params[0] = PQgetvalue(gone, row, TF_GONE_BATCH);
    params[1] = PQgetvalue(gone, row, TF_GONE_KIND);
    params[2] = PQgetvalue(gone, row, TF_GONE_AFTER);
    file = PQgetvalue(gone, row, TF_GONE_FILE);

    if (tf_batches_query(b, &res, tf_gone_jobs_sql, 3, params) != 0) {
        return -1;
    }

    n = PQntuples(res);
    late = 0;

    for (i = 0; i < n; i++) {

        if (PQgetvalue(res, i, 2)[0] == 'f') {
            /* it never was a job, or is gone */
            continue;
        }

        late = tf_clock_ms() >= until || tf_pool_over(b->q);
        if (late) {
            break;
        }

        tf_batches_fcall(b, TF_FN_DELETE,
                         PQgetvalue(gone, row, TF_GONE_TENANT),
                         PQgetvalue(gone, row, TF_GONE_OWNER),
                         PQgetvalue(res, i, 0), said);

        if (strcmp(said, "DELETED") != 0 && strcmp(said, "GONE") != 0) {
            break;
        }

        tf_fault(batch, gone);
    }

    if (i == n && n < TF_GONE_ANSWERS) {
        rc = tf_gone_done(b, file);

    } else if (i > 0) {
        rc = tf_gone_note(b, "UPDATE trifecta.file_gone SET after = "
                          "$2::integer WHERE file = $1::uuid", file,
                          PQgetvalue(res, i - 1, 1));

    } else {
        rc = late;
    }

    PQclear(res);

    return rc;
}


/* Some of what a file has left: as tf_gone_answers(). */

static int
tf_gone_some(tf_batches_t *b, PGresult *gone, int row, int64_t until)
{
    int          n;
    const char  *file;

    if (!PQgetisnull(gone, row, TF_GONE_BATCH)) {
        return tf_gone_answers(b, gone, row, until);
    }

    file = PQgetvalue(gone, row, TF_GONE_FILE);
    n = tf_gone_rows(b, tf_gone_parts_sql, file);

    return n == -1 ? -1 : n < TF_GONE_PARTS ? tf_gone_done(b, file) : 1;
}


void
tf_batches_gone(tf_batches_t *b)
{
    int        i, n, rc;
    int64_t    until;
    PGresult  *res;

    until = tf_clock_ms() + TF_GONE_SLICE_MS;

    do {
        if (tf_batches_query(b, &res, tf_gone_list_sql, 0, NULL) != 0) {
            return;
        }

        n = PQntuples(res);
        rc = 1;

        for (i = 0; i < n && rc != -1; i++) {

            if (tf_clock_ms() >= until || tf_pool_over(b->q)) {
                break;
            }

            rc = tf_gone_some(b, res, i, until);

            if (rc == 0) {
                rc = tf_gone_note(b, "UPDATE trifecta.file_gone SET gone = "
                                  "now() + interval '10 s' "
                                  "WHERE file = $1::uuid",
                                  PQgetvalue(res, i, TF_GONE_FILE), NULL);
            }
        }

        PQclear(res);

    } while (n > 0 && i == n && rc != -1);
}


/* One old batch: 1 more of it, or another one, may be there; 0, -1. */

static int
tf_gone_old(tf_batches_t *b)
{
    int          n;
    char         ms[24], id[TF_ID_TEXT_LEN + 1];
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(ms, sizeof(ms), "%lld", (long long) b->conf->retention);
    params[0] = ms;

    if (tf_batches_query(b, &res, tf_gone_old_sql, 1, params) != 0) {
        return -1;
    }

    n = PQntuples(res);

    if (n == 0) {
        PQclear(res);
        return 0;
    }

    (void) snprintf(id, sizeof(id), "%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    n = tf_gone_rows(b, tf_gone_lines_sql, id);

    if (n == 0) {
        params[0] = id;
        n = tf_batches_query(b, NULL, tf_gone_batch_sql, 1, params);
    }

    return n == -1 ? -1 : 1;
}


/* A minute later, or with the next tick when something went. */

void
tf_batches_prune(tf_batches_t *b)
{
    int  files, requests, old;

    files = tf_gone_rows(b, tf_gone_files_sql, NULL);
    requests = files != -1 ? tf_gone_rows(b, tf_gone_requests_sql, NULL) : 0;
    old = files != -1 && requests != -1 && b->conf->retention > 0
          ? tf_gone_old(b) : 0;

    b->prune_at = tf_clock_ms();

    if (files <= 0 && requests <= 0 && old <= 0) {
        b->prune_at += tf_pool_jitter(TF_GONE_MINUTE_MS);
    }
}
