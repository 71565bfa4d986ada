#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "db/pg.h"


/*
 * Statements that a connection's server has parsed already.  Each is sent
 * once to be prepared, and from then on by its name.
 *
 * A proxy that shares connections between clients may know nothing of the
 * name, or know it from somebody else.  So a name says which text it stands
 * for, and never means another statement; the one that has it already, or has
 * none, fails, and this handle sends its statements whole from then on.
 */

#define TF_PG_NAME  24      /* "tf_", sixteen digits, and the end */


static tf_pg_status_t tf_pg_prepare(tf_pg_t *pg, const char *sql,
    const char *name, int nparams, int64_t deadline);


/* FNV-1a of the text. */

static void
tf_pg_name(char *name, const char *sql)
{
    uint64_t  hash;

    hash = 14695981039346656037u;

    for ( /* void */ ; *sql; sql++) {
        hash = (hash ^ (unsigned char) *sql) * 1099511628211u;
    }

    (void) snprintf(name, TF_PG_NAME, "tf_%016" PRIx64, hash);
}


tf_pg_status_t
tf_pg_prepared(tf_pg_t *pg, PGresult **res, int timeout, const char *sql,
    int nparams, const char *const *params)
{
    tf_pg_params_t  p;

    p.n = nparams;
    p.values = params;
    p.lengths = NULL;
    p.formats = NULL;

    return tf_pg_prepared_with(pg, res, timeout, sql, &p);
}


tf_pg_status_t
tf_pg_prepared_with(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, const tf_pg_params_t *params)
{
    char             name[TF_PG_NAME];
    int64_t          deadline;
    unsigned         i;
    PGresult        *first;
    tf_pg_status_t   rc;

    *res = NULL;

    rc = tf_pg_connect(pg);
    if (rc != TF_PG_OK) {
        return rc;
    }

    for (i = 0; i < pg->nprepared && pg->prepared[i] != sql; i++) {
        /* void */
    }

    if (pg->unprepared || i == TF_PG_PREPARED) {
        return tf_pg_query_with(pg, res, timeout, sql, params);
    }

    pg->sqlstate[0] = '\0';
    deadline = tf_clock_ms() + (timeout ? timeout : TF_PG_QUERY_MS);
    tf_pg_name(name, sql);

    if (i == pg->nprepared) {
        rc = tf_pg_prepare(pg, sql, name, params->n, deadline);
    }

    if (rc == TF_PG_OK) {
        if (!PQsendQueryPrepared(pg->conn, name, params->n, params->values,
                                 params->lengths, params->formats, 0))
        {
            return tf_pg_down(pg, "cannot send to PostgreSQL");
        }

        first = NULL;
        rc = tf_pg_finish(pg, &first, deadline);
        *res = first;
    }

    /* there is none of this name, or there was one, or its tables changed */

    if (rc == TF_PG_ERROR
        && (strcmp(pg->sqlstate, "26000") == 0
            || strcmp(pg->sqlstate, "42P05") == 0
            || strcmp(pg->sqlstate, "0A000") == 0))
    {
        pg->unprepared = 1;

        if (PQtransactionStatus(pg->conn) == PQTRANS_IDLE) {
            /* nothing was done, and no transaction has failed with it */
            return tf_pg_query_with(pg, res, timeout, sql, params);
        }
    }

    return rc;
}


static tf_pg_status_t
tf_pg_prepare(tf_pg_t *pg, const char *sql, const char *name, int nparams,
    int64_t deadline)
{
    PGresult        *first;
    tf_pg_status_t   rc;
#ifdef TF_FAULTS
    unsigned         fault;

    /* what is to be sent is the statement, not this */

    fault = pg->fault;
    pg->fault = 0;
#endif

    if (!PQsendPrepare(pg->conn, name, sql, nparams, NULL)) {
        return tf_pg_down(pg, "cannot send to PostgreSQL");
    }

    first = NULL;
    rc = tf_pg_finish(pg, &first, deadline);
    PQclear(first);

#ifdef TF_FAULTS
    pg->fault = fault;
#endif

    if (rc == TF_PG_OK) {
        pg->prepared[pg->nprepared++] = sql;
    }

    return rc;
}
