#include "db/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"


/*
 * The lock's number has no meaning; Flyway's own lock is another one, but
 * whoever comes second finds the row of the first in the history.
 */

#define TF_MIGRATE_LOCK       "7310293845102"
#define TF_MIGRATE_LOCK_POLL  200           /* ms */


static int
tf_migrate_failed(tf_pg_t *pg, const char *what, char *err)
{
    (void) snprintf(err, TF_MIGRATE_ERR, "%s: %s", what, pg->err);
    tf_pg_rollback(pg);

    return -1;
}


/* Who has the lock, as far as we may know. */

static void
tf_migrate_holder(tf_pg_t *pg, int64_t wait, char *err)
{
    PGresult  *res;

    (void) snprintf(err, TF_MIGRATE_ERR, "another \"trifecta migrate\" is at "
                    "work and did not end within %lld ms",
                    (long long) wait);

    if (tf_pg_query(pg, &res, 0,
                    "SELECT a.pid, coalesce(host(a.client_addr), 'local'), "
                    "to_char(a.backend_start, 'HH24:MI:SS') "
                    "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                    "WHERE l.locktype = 'advisory' AND l.granted "
                    "AND l.database = (SELECT oid FROM pg_database "
                                      "WHERE datname = current_database()) "
                    "AND (l.classid::bigint << 32 | l.objid::bigint) = "
                    TF_MIGRATE_LOCK, 0, NULL)
        != TF_PG_OK)
    {
        return;
    }

    if (PQntuples(res) == 1) {
        (void) snprintf(err, TF_MIGRATE_ERR, "another \"trifecta migrate\" "
                        "is at work and did not end within %lld ms: server "
                        "process %s, from %s, connected at %s. Wait for it, "
                        "or end it with: SELECT pg_terminate_backend(%s)",
                        (long long) wait, PQgetvalue(res, 0, 0),
                        PQgetvalue(res, 0, 1), PQgetvalue(res, 0, 2),
                        PQgetvalue(res, 0, 0));
    }

    PQclear(res);
}


int
tf_migrate_lock(tf_pg_t *pg, int64_t wait, char *err)
{
    int              got;
    int64_t          deadline;
    PGresult        *res;
    struct timespec  ts;

    deadline = tf_clock_ms() + wait;
    ts.tv_sec = 0;
    ts.tv_nsec = TF_MIGRATE_LOCK_POLL * 1000000L;

    for ( ;; ) {
        if (tf_pg_query(pg, &res, 0, "SELECT pg_try_advisory_lock("
                        TF_MIGRATE_LOCK ")", 0, NULL)
            != TF_PG_OK)
        {
            return tf_migrate_failed(pg, "cannot lock", err);
        }

        got = PQgetvalue(res, 0, 0)[0] == 't';
        PQclear(res);

        if (got) {
            return 0;
        }

        if (tf_clock_ms() >= deadline) {
            tf_migrate_holder(pg, wait, err);
            return -1;
        }

        (void) nanosleep(&ts, NULL);
    }
}


void
tf_history_free(tf_history_t *history)
{
    free(history->list);
    memset(history, 0, sizeof(tf_history_t));
}


int
tf_history_read(tf_history_t *history, tf_pg_t *pg, char *err)
{
    int            i, n;
    PGresult      *res;
    tf_applied_t  *row;

    memset(history, 0, sizeof(tf_history_t));

    if (tf_pg_query(pg, &res, 0,
                    "SELECT to_regclass('trifecta.flyway_schema_history') "
                    "IS NOT NULL", 0, NULL)
        != TF_PG_OK)
    {
        return tf_migrate_failed(pg, "cannot look for the history", err);
    }

    history->exists = PQgetvalue(res, 0, 0)[0] == 't';
    PQclear(res);

    if (!history->exists) {
        return 0;
    }

    if (tf_pg_query(pg, &res, 0,
                    "SELECT version, checksum, success, type, script, "
                    "installed_rank, version ~ '^[0-9]{1,6}$' "
                    "FROM trifecta.flyway_schema_history "
                    "ORDER BY installed_rank", 0, NULL)
        != TF_PG_OK)
    {
        return tf_migrate_failed(pg, "cannot read the history", err);
    }

    n = PQntuples(res);

    history->list = calloc((size_t) n + 1, sizeof(tf_applied_t));
    if (history->list == NULL) {
        (void) snprintf(err, TF_MIGRATE_ERR, "out of memory");
        PQclear(res);
        return -1;
    }

    for (i = 0; i < n; i++) {
        history->rank = strtol(PQgetvalue(res, i, 5), NULL, 10);

        if (PQgetisnull(res, i, 0)) {
            continue;
        }

        if (PQgetvalue(res, i, 6)[0] != 't') {
            (void) snprintf(err, TF_MIGRATE_ERR, "the history has version "
                            "\"%s\", which is none of ours",
                            PQgetvalue(res, i, 0));
            PQclear(res);
            tf_history_free(history);
            return -1;
        }

        row = &history->list[history->n++];

        row->version = strtol(PQgetvalue(res, i, 0), NULL, 10);
        row->has_checksum = !PQgetisnull(res, i, 1);
        row->checksum = (int32_t) strtol(PQgetvalue(res, i, 1), NULL, 10);
        row->success = PQgetvalue(res, i, 2)[0] == 't';
        (void) snprintf(row->type, sizeof(row->type), "%s",
                        PQgetvalue(res, i, 3));
        (void) snprintf(row->script, sizeof(row->script), "%s",
                        PQgetvalue(res, i, 4));
    }

    PQclear(res);

    return 0;
}


int
tf_history_create(tf_pg_t *pg, char *err)
{
    if (tf_pg_exec(pg, 0,
        "BEGIN;"
        "CREATE TABLE IF NOT EXISTS trifecta.flyway_schema_history ("
        "  installed_rank  integer        NOT NULL,"
        "  version         varchar(50),"
        "  description     varchar(200)   NOT NULL,"
        "  type            varchar(20)    NOT NULL,"
        "  script          varchar(1000)  NOT NULL,"
        "  checksum        integer,"
        "  installed_by    varchar(100)   NOT NULL,"
        "  installed_on    timestamp      NOT NULL DEFAULT now(),"
        "  execution_time  integer        NOT NULL,"
        "  success         boolean        NOT NULL,"
        "  CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank));"
        "CREATE INDEX IF NOT EXISTS flyway_schema_history_s_idx"
        "  ON trifecta.flyway_schema_history (success);"
        "GRANT SELECT ON trifecta.flyway_schema_history"
        "  TO trifecta_queue, trifecta_rag, trifecta_edge;"
        "COMMIT")
        != TF_PG_OK)
    {
        return tf_migrate_failed(pg, "cannot make the history table", err);
    }

    return 0;
}


/* The row says how long the file took, so it comes last. */

static int
tf_migrate_record(tf_pg_t *pg, const tf_migration_t *m, long rank,
    int64_t took, char *err)
{
    char         version[24], checksum[24], ranks[24], ms[24];
    const char  *params[6];

    (void) snprintf(ranks, sizeof(ranks), "%ld", rank);
    (void) snprintf(version, sizeof(version), "%ld", m->version);
    (void) snprintf(checksum, sizeof(checksum), "%ld", (long) m->checksum);
    (void) snprintf(ms, sizeof(ms), "%lld", (long long) took);

    params[0] = ranks;
    params[1] = version;
    params[2] = m->description;
    params[3] = m->script;
    params[4] = checksum;
    params[5] = ms;

    if (tf_pg_query(pg, NULL, 0,
                    "INSERT INTO trifecta.flyway_schema_history "
                    "(installed_rank, version, description, type, script, "
                    "checksum, installed_by, execution_time, success) "
                    "VALUES ($1::int, $2, $3, 'SQL', $4, $5::int, "
                    "session_user, $6::int, true)", 6, params)
        != TF_PG_OK
        || tf_pg_commit(pg) != TF_PG_OK)
    {
        return tf_migrate_failed(pg, m->script, err);
    }

    return 0;
}


int
tf_migrate_apply(tf_pg_t *pg, const tf_migration_t *m, long rank, char *err)
{
    int64_t     begun;
    const char  *sql;

    begun = tf_clock_ms();

    /* unqualified names mean the schema's, as they do under Flyway */

    if (tf_pg_exec(pg, 0, "BEGIN; SET LOCAL lock_timeout = '30s'; "
                   "SET LOCAL search_path = trifecta, public")
        != TF_PG_OK)
    {
        return tf_migrate_failed(pg, m->script, err);
    }

    sql = m->sql;
    if (m->len >= 3 && memcmp(sql, "\xef\xbb\xbf", 3) == 0) {
        sql += 3;
    }

    if (tf_pg_exec(pg, TF_MIGRATE_MS, sql) != TF_PG_OK) {

        /* libpq's own message has the line too */

        (void) snprintf(err, TF_MIGRATE_ERR, "%s failed and nothing of it "
                        "stays: %s", m->script,
                        pg->conn ? PQerrorMessage(pg->conn) : pg->err);
        tf_pg_rollback(pg);
        return -1;
    }

    if (PQtransactionStatus(pg->conn) != PQTRANS_INTRANS) {
        (void) snprintf(err, TF_MIGRATE_ERR, "%s ends the transaction that it "
                        "runs in: it must not have COMMIT or ROLLBACK",
                        m->script);
        tf_pg_rollback(pg);
        return -1;
    }

    return tf_migrate_record(pg, m, rank, tf_clock_ms() - begun, err);
}
