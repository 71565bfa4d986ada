#ifndef NGX_HTTP_TRIFECTA_PG_H_INCLUDED
#define NGX_HTTP_TRIFECTA_PG_H_INCLUDED


#include "ngx_http_trifecta.h"

#include <libpq-fe.h>


/*
 * A connection to PostgreSQL, in libpq's pipeline mode.  A worker has two: one
 * for what is read of jobs, and one for files and batches (store.h), so that
 * megabytes of a file never stand in front of the status of a job.
 *
 *   down ──> connecting ──> checking ──> ready
 *     ^          │             │           │
 *     └──────────┴─── wait ────┴───────────┘
 *
 * "Checking" asks the migrations' history for the schema version: another
 * one than ours closes the connection again.  Then it asks for the id of the
 * installation (install.h), which an older schema would not let it read.
 *
 * libpq owns the socket and may replace it while it connects, often by one
 * of the same number, so nginx lets go of it before every PQconnectPoll() and
 * takes it again afterwards.  Events are level-triggered: one
 * PQconsumeInput() does not read everything.  The nginx connection is marked
 * shared, so that nginx never closes the descriptor.
 *
 * A query is one or two statements and one Sync: an error in one query does
 * not touch its neighbours, and what set_config(..., true) sets ends with it.
 *
 * A query about the job of an id is one statement, which also sets what
 * row-level security wants to know before it reads anything.  It has a day
 * and is prepared (pg_named.c), and up to 16 of them that wait at the same
 * time share a Sync, for each Sync is a system call here, and a transaction
 * and another call there.  If one of them fails, those behind it have not
 * begun, and each is sent again with a Sync of its own.
 *
 * Queries wait in one queue in the order of arrival, each with the deadline of
 * the connection, 900 ms for jobs.  When the oldest passes its deadline the
 * connection is given up, and every query in it answered without a result.
 * Refusal while down, and the wait for a first attempt, are as for Redis.
 * Reads may be repeated by whoever asks, so nothing else is sent again here.
 *
 * The connection for jobs is made when the worker starts.  The other one is
 * made at its first query and then kept as the first one is.
 */

#define NGX_HTTP_TRIFECTA_PG_CONNECT  900       /* ms, the login included */
#define NGX_HTTP_TRIFECTA_PG_TIMEOUT  900       /* ms, a query */
#define NGX_HTTP_TRIFECTA_PG_MAX      4096      /* queries in flight */
#define NGX_HTTP_TRIFECTA_PG_PARAMS   16
#define NGX_HTTP_TRIFECTA_PG_SHARE    16        /* queries of one Sync */
#define NGX_HTTP_TRIFECTA_PG_DAY      86400000  /* ms */

typedef struct ngx_http_trifecta_pg_s        ngx_http_trifecta_pg_t;
typedef struct ngx_http_trifecta_pg_query_s  ngx_http_trifecta_pg_query_t;


/* A statement uses the first nparams of the query's parameters. */

typedef struct {
    const char  *sql;
    int          nparams;
} ngx_http_trifecta_pg_statement_t;


/*
 * The parameters of a query and how they travel.  Without "nulls" a parameter
 * that has no data is an empty text.  With a day the query is one statement,
 * for the connection for jobs, in whose text {from} is the first id of that
 * day and {to} the first one of the next.
 */

typedef struct {
    ngx_str_t   *params;
    ngx_uint_t   nparams;
    ngx_uint_t   binary;            /* bit n: $n+1 is bytes, not text */
    ngx_uint_t   day;               /* of the id, since 1970; 0: no such */
    unsigned     nulls:1;           /* data == NULL is SQL's NULL */
    unsigned     raw:1;             /* rows come as bytes, not as text */
} ngx_http_trifecta_pg_params_t;


/* The rows of the last statement, which belong to the caller, or NULL. */
typedef void (*ngx_http_trifecta_pg_handler_pt)(void *data, PGresult *res);


/* The connection for jobs, and that for files and batches. */
ngx_http_trifecta_pg_t *ngx_http_trifecta_pg_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf);
ngx_http_trifecta_pg_t *ngx_http_trifecta_pg_create_lazy(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_msec_t timeout);
void ngx_http_trifecta_pg_destroy(ngx_http_trifecta_pg_t *pg);

/*
 * statements ends with a row whose sql is NULL and must outlive the query;
 * the parameters are copied.  NULL when the query was refused.  The handler
 * is never called from within, and exactly once afterwards.
 */
ngx_http_trifecta_pg_query_t *ngx_http_trifecta_pg_query(
    ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements, ngx_str_t *params,
    ngx_uint_t nparams, ngx_http_trifecta_pg_handler_pt handler, void *data);

ngx_http_trifecta_pg_query_t *ngx_http_trifecta_pg_query_params(
    ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_params_t *params,
    ngx_http_trifecta_pg_handler_pt handler, void *data);

/* Asks for the schema version. */
ngx_http_trifecta_pg_query_t *ngx_http_trifecta_pg_version(
    ngx_http_trifecta_pg_t *pg, ngx_http_trifecta_pg_handler_pt handler,
    void *data);

/* What is wrong with the answer to it, or NULL. */
const char *ngx_http_trifecta_pg_check(PGresult *res, u_char *buf,
    size_t size);

/* As ngx_http_trifecta_redis_charge(). */
void ngx_http_trifecta_pg_charge(ngx_http_trifecta_pg_query_t *query,
    uint64_t *spent);

void ngx_http_trifecta_pg_orphan(ngx_http_trifecta_pg_query_t *query);

/* The first attempt since the worker's start has not ended yet. */
ngx_uint_t ngx_http_trifecta_pg_tries_first(ngx_http_trifecta_pg_t *pg);

/*
 * Asks for the installation's id anew, if the connection is ready; the answer
 * goes to install.h.
 */
void ngx_http_trifecta_pg_ask_again(ngx_http_trifecta_pg_t *pg);

/* Why there is no connection, or NULL when it is ready. */
const char *ngx_http_trifecta_pg_reason(ngx_http_trifecta_pg_t *pg);


#endif /* NGX_HTTP_TRIFECTA_PG_H_INCLUDED */
