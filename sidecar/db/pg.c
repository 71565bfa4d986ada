#include "db/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include <trifecta/version.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"


void
tf_pg_init(tf_pg_t *pg, const tf_conf_t *conf, tf_pg_role_t role)
{
    memset(pg, 0, sizeof(tf_pg_t));
    pg->conf = conf;
    pg->role = role;
}


void
tf_pg_close(tf_pg_t *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->nprepared = 0;
}


tf_pg_status_t
tf_pg_down(tf_pg_t *pg, const char *what)
{
    const char  *why;

    why = (pg->conn != NULL) ? PQerrorMessage(pg->conn) : "";
    (void) snprintf(pg->err, sizeof(pg->err), "%s%s%s", what,
                    *why ? ": " : "", why);
    pg->err[strcspn(pg->err, "\n")] = '\0';
    tf_pg_close(pg);

    return TF_PG_DOWN;
}


/* 1 when the socket is ready, 0 when the deadline has passed. */

static int
tf_pg_wait(PGconn *conn, short events, int64_t deadline)
{
    int            n;
    int64_t        left;
    struct pollfd  pfd;

    pfd.fd = PQsocket(conn);
    pfd.events = events;

    if (pfd.fd == -1) {
        return 0;
    }

    for ( ;; ) {
        left = deadline - tf_clock_ms();
        if (left <= 0) {
            return 0;
        }

        n = poll(&pfd, 1, (int) left);
        if (n > 0) {
            return 1;
        }

        if (n == -1 && errno != EINTR) {
            return 0;
        }
    }
}


/* The same for a query: who asked for it is told that it takes long. */

static int
tf_pg_wait_query(tf_pg_t *pg, short events, int64_t deadline)
{
    int64_t  until;

    if (pg->tell == NULL) {
        return tf_pg_wait(pg->conn, events, deadline);
    }

    for ( ;; ) {
        until = tf_clock_ms() + TF_PG_TELL_MS;
        if (until > deadline) {
            until = deadline;
        }

        if (tf_pg_wait(pg->conn, events, until)) {
            return 1;
        }

        /* before its time: the socket is of no use */

        if (until == deadline || tf_clock_ms() < until) {
            return 0;
        }

        pg->tell(pg->tell_data);
    }
}


static int64_t
tf_pg_deadline(const tf_pg_t *pg, int timeout)
{
    if (timeout == 0) {
        timeout = (pg->role == TF_PG_ADMIN) ? TF_PG_ADMIN_MS : TF_PG_QUERY_MS;
    }

    return tf_clock_ms() + timeout;
}


static tf_pg_status_t
tf_pg_check_schema(tf_pg_t *pg)
{
    char            found[32];
    PGresult       *res;
    tf_pg_status_t  rc;

    rc = tf_pg_query(pg, &res, 0,
                     "SELECT max(version::int) "
                     "FROM trifecta.flyway_schema_history WHERE success",
                     0, NULL);

    if (rc == TF_PG_DOWN) {
        return rc;
    }

    if (rc == TF_PG_OK) {
        (void) snprintf(found, sizeof(found), "%s", PQgetvalue(res, 0, 0));
        PQclear(res);

        if (strcmp(found, TF_PG_SCHEMA_STR) == 0) {
            return TF_PG_OK;
        }

    } else {
        found[0] = '\0';
    }

    (void) snprintf(pg->err, sizeof(pg->err), "the database has schema "
                    "version \"%s\", this program needs %s: run "
                    "\"trifecta migrate\" of the same release",
                    found[0] ? found : "none", TF_PG_SCHEMA_STR);
    tf_pg_close(pg);

    return TF_PG_ERROR;
}


/*
 * What the server remarks, such as a word that is too long to be indexed, is
 * nothing for stderr.
 */

static void
tf_pg_notice(void *data, const PGresult *res)
{
    const char  *text;

    (void) data;

    text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    tf_log(TF_LOG_DEBUG, "PostgreSQL remarks: %s", text ? text : "");
}


tf_pg_status_t
tf_pg_connect(tf_pg_t *pg)
{
    int                        n, i;
    char                      *password;
    int64_t                    deadline;
    const char                *file, *user, *url;
    const char                *names[8], *values[8];
    tf_pg_status_t             rc;
    PostgresPollingStatusType  st;

    if (pg->conn != NULL) {
        return TF_PG_OK;
    }

    pg->sqlstate[0] = '\0';
    url = pg->conf->pg_url;

    switch (pg->role) {

    case TF_PG_QUEUE:
        user = pg->conf->pg_queue_user;
        file = pg->conf->pg_queue_password_file;
        break;

    case TF_PG_RAG:
        user = pg->conf->pg_rag_user;
        file = pg->conf->pg_rag_password_file;
        break;

    default: /* TF_PG_ADMIN */
        user = NULL;
        file = pg->conf->pg_admin_password_file;
        if (pg->conf->pg_admin_url[0]) {
            url = pg->conf->pg_admin_url;
        }
        break;
    }

    password = NULL;
    if (file[0]) {
        password = tf_read_secret(file, pg->err, sizeof(pg->err));
        if (password == NULL) {
            return TF_PG_ERROR;
        }
    }

    n = 0;
    names[n] = "dbname";
    values[n++] = url;

    if (user != NULL) {
        names[n] = "user";
        values[n++] = user;
    }

    if (password != NULL) {
        names[n] = "password";
        values[n++] = password;
    }

    names[n] = "application_name";
    values[n++] = "trifecta";
    names[n] = "client_encoding";
    values[n++] = "UTF8";
    names[n] = NULL;
    values[n] = NULL;

    deadline = tf_clock_ms() + (pg->role == TF_PG_ADMIN
                                ? TF_PG_ADMIN_CONNECT_MS : TF_PG_CONNECT_MS);

    pg->conn = PQconnectStartParams(names, values, 1);

    if (password != NULL) {
        OPENSSL_cleanse(password, strlen(password));
        free(password);
    }

    if (pg->conn == NULL) {
        return tf_pg_down(pg, "out of memory");
    }

    if (pg->role != TF_PG_ADMIN) {
        (void) PQsetNoticeReceiver(pg->conn, tf_pg_notice, NULL);
    }

    st = PGRES_POLLING_WRITING;

    for (i = 0; ; i++) {
        if (PQstatus(pg->conn) == CONNECTION_BAD) {
            return tf_pg_down(pg, "cannot connect to PostgreSQL");
        }

        if (i > 0) {
            st = PQconnectPoll(pg->conn);
        }

        if (st == PGRES_POLLING_OK) {
            break;
        }

        if (st == PGRES_POLLING_FAILED) {
            return tf_pg_down(pg, "cannot connect to PostgreSQL");
        }

        if (!tf_pg_wait(pg->conn, st == PGRES_POLLING_READING ? POLLIN
                                                              : POLLOUT,
                        deadline))
        {
            return tf_pg_down(pg, "PostgreSQL does not answer");
        }
    }

    (void) PQsetnonblocking(pg->conn, 1);

    if (pg->role == TF_PG_ADMIN) {
        return TF_PG_OK;
    }

    rc = tf_pg_check_schema(pg);

    if (rc == TF_PG_OK && pg->settings != NULL) {
        rc = tf_pg_exec(pg, 0, pg->settings);
    }

    return rc;
}


/* Flushes what was sent and reads every result; keeps the first one. */

tf_pg_status_t
tf_pg_finish(tf_pg_t *pg, PGresult **keep, int64_t deadline)
{
    int              flush;
    PGresult        *res, *first;
    const char      *state;
    ExecStatusType   st;

    first = NULL;

    for ( ;; ) {
        flush = PQflush(pg->conn);
        if (flush == -1) {
            PQclear(first);
            return tf_pg_down(pg, "the connection to PostgreSQL failed");
        }

        if (flush == 0) {
            tf_fault_sent(pg);
        }

        while (flush == 0 && !PQisBusy(pg->conn)) {
            res = PQgetResult(pg->conn);

            if (res == NULL) {
                goto done;
            }

            st = PQresultStatus(res);

            if (first == NULL
                || (PQresultStatus(first) != PGRES_FATAL_ERROR
                    && st == PGRES_FATAL_ERROR))
            {
                PQclear(first);
                first = res;
                continue;
            }

            PQclear(res);
        }

        if (!tf_pg_wait_query(pg, flush ? POLLIN | POLLOUT : POLLIN,
                              deadline))
        {
            PQclear(first);
            return tf_pg_down(pg, "PostgreSQL did not answer in time");
        }

        if (PQconsumeInput(pg->conn) == 0) {
            PQclear(first);
            return tf_pg_down(pg, "the connection to PostgreSQL failed");
        }
    }

done:

    if (first == NULL || PQstatus(pg->conn) != CONNECTION_OK) {
        PQclear(first);
        return tf_pg_down(pg, "the connection to PostgreSQL failed");
    }

    st = PQresultStatus(first);

    if (st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK) {
        *keep = first;
        return TF_PG_OK;
    }

    state = PQresultErrorField(first, PG_DIAG_SQLSTATE);
    (void) snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s",
                    state ? state : "XX000");
    (void) snprintf(pg->err, sizeof(pg->err), "%s",
                    PQresultErrorMessage(first));
    pg->err[strcspn(pg->err, "\n")] = '\0';
    PQclear(first);

    /*
     * Class 57P: shutdown, crash, cannot connect now; 53: out of disk, memory
     * or connections; 58: I/O; 25006: a standby after a failover.  The
     * statement is not to blame, and may succeed on the store that comes back.
     */

    if (strncmp(pg->sqlstate, "57P", 3) == 0
        || strncmp(pg->sqlstate, "53", 2) == 0
        || strncmp(pg->sqlstate, "58", 2) == 0
        || strcmp(pg->sqlstate, "25006") == 0)
    {
        tf_pg_close(pg);
        return TF_PG_DOWN;
    }

    return TF_PG_ERROR;
}


tf_pg_status_t
tf_pg_query(tf_pg_t *pg, PGresult **res, int timeout, const char *sql,
    int nparams, const char *const *params)
{
    tf_pg_params_t  p;

    p.n = nparams;
    p.values = params;
    p.lengths = NULL;
    p.formats = NULL;

    return tf_pg_query_with(pg, res, timeout, sql, &p);
}


tf_pg_status_t
tf_pg_query_with(tf_pg_t *pg, PGresult **res, int timeout, const char *sql,
    const tf_pg_params_t *params)
{
    int64_t         deadline;
    PGresult       *first;
    tf_pg_status_t  rc;

    if (res != NULL) {
        *res = NULL;
    }

    rc = tf_pg_connect(pg);
    if (rc != TF_PG_OK) {
        return rc;
    }

    pg->sqlstate[0] = '\0';
    deadline = tf_pg_deadline(pg, timeout);

    if (!PQsendQueryParams(pg->conn, sql, params->n, NULL, params->values,
                           params->lengths, params->formats, 0))
    {
        return tf_pg_down(pg, "cannot send to PostgreSQL");
    }

    first = NULL;

    rc = tf_pg_finish(pg, &first, deadline);

    if (res != NULL) {
        *res = first;

    } else {
        PQclear(first);
    }

    return rc;
}


tf_pg_status_t
tf_pg_exec(tf_pg_t *pg, int timeout, const char *sql)
{
    int64_t         deadline;
    PGresult       *first;
    tf_pg_status_t  rc;

    rc = tf_pg_connect(pg);
    if (rc != TF_PG_OK) {
        return rc;
    }

    pg->sqlstate[0] = '\0';
    deadline = tf_pg_deadline(pg, timeout);

    if (!PQsendQuery(pg->conn, sql)) {
        return tf_pg_down(pg, "cannot send to PostgreSQL");
    }

    first = NULL;
    rc = tf_pg_finish(pg, &first, deadline);
    PQclear(first);

    return rc;
}


tf_pg_status_t
tf_pg_begin_as(tf_pg_t *pg, const char *tenant, const char *owner,
    const char *groups)
{
    PGresult        *res;
    const char      *params[3];
    tf_pg_status_t   rc;

    rc = tf_pg_exec(pg, 0, "BEGIN");
    if (rc != TF_PG_OK) {
        return rc;
    }

    params[0] = tenant;
    params[1] = owner;
    params[2] = groups;

    /* to compile a statement takes longer than any of these searches */

    rc = tf_pg_prepared(pg, &res, 0,
                        "SELECT set_config('jit', 'off', true), "
                        "set_config('trifecta.tenant', $1, true), "
                        "set_config('trifecta.owner', $2, true), "
                        "set_config('trifecta.groups', $3, true)", 3, params);
    PQclear(res);

    if (rc == TF_PG_ERROR) {
        tf_pg_rollback(pg);
    }

    return rc;
}


tf_pg_status_t
tf_pg_commit(tf_pg_t *pg)
{
    PGresult        *res;
    tf_pg_status_t   rc;

    if (pg->conn == NULL) {
        return TF_PG_DOWN;
    }

    rc = tf_pg_query(pg, &res, 0, "COMMIT", 0, NULL);

    /* a transaction that had failed is rolled back by COMMIT, quietly */

    if (rc == TF_PG_OK && strcmp(PQcmdStatus(res), "COMMIT") != 0) {
        (void) snprintf(pg->err, sizeof(pg->err),
                        "the transaction had failed before its commit");
        rc = TF_PG_ERROR;
    }

    PQclear(res);

    return rc;
}


void
tf_pg_rollback(tf_pg_t *pg)
{
    char  err[sizeof(pg->err)], sqlstate[sizeof(pg->sqlstate)];

    if (pg->conn == NULL) {
        return;
    }

    /* what was wrong is of more interest than how the rollback went */

    memcpy(err, pg->err, sizeof(err));
    memcpy(sqlstate, pg->sqlstate, sizeof(sqlstate));

    if (tf_pg_exec(pg, 0, "ROLLBACK") != TF_PG_OK) {
        tf_pg_close(pg);
    }

    memcpy(pg->err, err, sizeof(err));
    memcpy(pg->sqlstate, sqlstate, sizeof(sqlstate));
}
