#ifndef TF_DB_PG_H
#define TF_DB_PG_H


#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include <trifecta/fault.h>

#include "base/conf.h"


/*
 * PostgreSQL: plain calls that block, but never without a deadline.
 *
 * A connection belongs to one thread at a time.  Every query is sent,
 * awaited by poll() until its deadline, and read to its end; when the
 * deadline passes, the socket fails or the server says that it is going
 * away, the connection is closed and the call reports TF_PG_DOWN.  So a
 * frozen server costs one deadline and never a thread.  PQexec() and friends
 * are not used anywhere else.
 *
 * Text from outside goes into parameters only.
 */

#define TF_PG_CONNECT_MS  2000
#define TF_PG_QUERY_MS    5000

/* for TF_PG_ADMIN: an operator would rather wait for a busy server */
#define TF_PG_ADMIN_CONNECT_MS  10000
#define TF_PG_ADMIN_MS          120000

#define TF_PG_PREPARED    24        /* statements of a connection */
#define TF_PG_TELL_MS     10000     /* how often pg->tell is called */

typedef enum {
    TF_PG_OK,           /* a result is there (tuples or command) */
    TF_PG_ERROR,        /* the server refused the statement: SQLSTATE is set */
    TF_PG_DOWN          /* no server, no answer in time, or it shuts down */
} tf_pg_status_t;

typedef enum {
    TF_PG_QUEUE,        /* role trifecta_queue */
    TF_PG_RAG,          /* role trifecta_rag */
    TF_PG_ADMIN         /* what migrate connects with */
} tf_pg_role_t;

typedef struct {
    PGconn           *conn;         /* NULL while there is no connection */
    const tf_conf_t  *conf;
    tf_pg_role_t      role;
    char              sqlstate[6];  /* of the last TF_PG_ERROR */
    char              err[512];     /* what was wrong, for a log or a user */
    const char       *prepared[TF_PG_PREPARED]; /* pg_prepared.c */
    unsigned          nprepared;
    int               unprepared;   /* they are not kept where we are sent */
    const char       *settings;     /* a statement for each new connection */
    void            (*tell)(void *data);    /* while one is waited for; or NULL */
    void             *tell_data;
#ifdef TF_FAULTS
    unsigned          fault;        /* passed when the next query has left */
#endif
} tf_pg_t;


/* Prepares the handle; connects nothing yet. */
void tf_pg_init(tf_pg_t *pg, const tf_conf_t *conf, tf_pg_role_t role);

/*
 * Connects if there is no connection; checks the version of the schema
 * (except for TF_PG_ADMIN).  TF_PG_OK, TF_PG_DOWN, or TF_PG_ERROR when the
 * schema is another one or the login is refused; err says what to do.
 */
tf_pg_status_t tf_pg_connect(tf_pg_t *pg);

void tf_pg_close(tf_pg_t *pg);

/*
 * Runs one statement with text parameters (NULL is SQL NULL); connects
 * first if need be.  *res (if res is not NULL) is the result, which the
 * caller clears with PQclear(); it is NULL unless TF_PG_OK is returned.
 * timeout in ms, 0 means TF_PG_QUERY_MS, or TF_PG_ADMIN_MS.
 */
tf_pg_status_t tf_pg_query(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, int nparams, const char *const *params);

/*
 * The same for a statement that comes again and again, as a search's do: the
 * server parses it once a connection and may keep its plan.  So it must be
 * good with one plan for all parameters, and sql must stay where it is, such
 * as a literal.
 */
tf_pg_status_t tf_pg_prepared(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, int nparams, const char *const *params);

/* Both with parameters in any form, as PQexecParams() has them. */

typedef struct {
    int                 n;
    const char *const  *values;
    const int          *lengths;    /* NULL: all are text */
    const int          *formats;
} tf_pg_params_t;

tf_pg_status_t tf_pg_query_with(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, const tf_pg_params_t *params);
tf_pg_status_t tf_pg_prepared_with(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, const tf_pg_params_t *params);

/* A statement, or several separated by ";", without parameters or result. */
tf_pg_status_t tf_pg_exec(tf_pg_t *pg, int timeout, const char *sql);

/*
 * The transaction of somebody: BEGIN and the settings that row-level
 * security reads (groups is a JSON array).  tf_pg_commit() and
 * tf_pg_rollback() end it.
 */
tf_pg_status_t tf_pg_begin_as(tf_pg_t *pg, const char *tenant,
    const char *owner, const char *groups);
tf_pg_status_t tf_pg_commit(tf_pg_t *pg);
void tf_pg_rollback(tf_pg_t *pg);


/*
 * For pg_prepared.c: what was sent is awaited until the deadline and read to
 * its end; and what cannot even be sent.
 */
tf_pg_status_t tf_pg_finish(tf_pg_t *pg, PGresult **keep, int64_t deadline);
tf_pg_status_t tf_pg_down(tf_pg_t *pg, const char *what);


/*
 * A pool: connections of one role, at most max at a time.  A caller waits for
 * a free one, in turn, until its timeout (in ms) or until *stop is set; NULL
 * then.  Give every one back; one with an open transaction is rolled back by
 * closing it.
 *
 * A connection is not kept while something else than the database is waited
 * for, such as a model.  Work that needs one for minutes takes it for long:
 * half of them are never lent so, and who needs one for a moment finds it.
 */

#define TF_PG_WAIT_MS  30000

typedef enum {
    TF_PG_SHORT,
    TF_PG_LONG
} tf_pg_use_t;

typedef struct tf_pg_pool_s  tf_pg_pool_t;

tf_pg_pool_t *tf_pg_pool_create(const tf_conf_t *conf, tf_pg_role_t role,
    unsigned max);
tf_pg_t *tf_pg_pool_get(tf_pg_pool_t *pool, tf_pg_use_t use, int64_t timeout,
    const atomic_int *stop);
void tf_pg_pool_put(tf_pg_pool_t *pool, tf_pg_t *pg);
void tf_pg_pool_destroy(tf_pg_pool_t *pool);


#endif /* TF_DB_PG_H */
