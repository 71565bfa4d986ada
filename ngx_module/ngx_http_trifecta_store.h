#ifndef NGX_HTTP_TRIFECTA_STORE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_STORE_H_INCLUDED


#include "ngx_http_trifecta_routes.h"


/*
 * What the edge itself keeps in PostgreSQL, files and batches: statements
 * that may write, as a tenant and an owner.
 *
 * They go over a connection of their own (pg.h), which alone may write, with a
 * deadline of its own.  All of a worker use it, one after the other: what
 * would wait for a lock PostgreSQL gives up long before the deadline, and the
 * others go on.
 * $1 is the tenant and $2 the owner; the first statement of a query is
 * NGX_HTTP_TRIFECTA_STORE_AS, which tells row-level security who asks, and
 * each statement behind it names $1 and $2 in its predicate, too: that is the
 * first lock, row-level security the second.  The caller's parameters are $3
 * and so on.  The statements of a query are one transaction.
 *
 * The handler gets the rows of the last statement (none, but PQcmdTuples(),
 * of one that returns nothing), or NULL: PostgreSQL is away, was too slow, or
 * has refused a statement, which is logged where it is known.  After NULL
 * nobody knows whether a statement that was sent has been done, so each must
 * be one that may be repeated, or that nobody sees before a later one.
 */

#define NGX_HTTP_TRIFECTA_STORE_TIMEOUT  5000       /* ms, a query */
#define NGX_HTTP_TRIFECTA_STORE_LOCK     1000       /* ms, it waits for one */

#define NGX_HTTP_TRIFECTA_STORE_AS                                            \
    { "SELECT set_config('trifecta.tenant', $1, true),"                       \
      " set_config('trifecta.owner', $2, true)", 2 }


typedef struct {
    const ngx_http_trifecta_pg_statement_t  *statements;
    ngx_str_t                               *params;    /* $3, $4 ... */
    ngx_uint_t                               nparams;   /* NULL: data is */
    ngx_uint_t                               binary;    /* bit n: $n+3 is
                                                           bytes, as bytea */
    unsigned                                 raw:1;     /* the rows are */
} ngx_http_trifecta_store_t;


/*
 * For whoever is no request: data is the caller's, who orphans the query with
 * ngx_http_trifecta_pg_orphan() if it goes before the answer.  Everything is
 * copied but the statements.  NULL: refused, there is no store now.  The
 * handler is never called from within.
 */
ngx_http_trifecta_pg_query_t *ngx_http_trifecta_store_run(
    ngx_http_trifecta_main_conf_t *mcf, ngx_str_t *tenant, ngx_str_t *owner,
    ngx_http_trifecta_store_t *store, ngx_http_trifecta_pg_handler_pt handler,
    void *data);

/*
 * For a request: as its tenant and owner.  data of the handler is the
 * operation, whose query it clears first.  NGX_ERROR: refused.
 */
ngx_int_t ngx_http_trifecta_store_op(ngx_http_trifecta_op_t *op,
    ngx_http_trifecta_store_t *store,
    ngx_http_trifecta_pg_handler_pt handler);


#endif /* NGX_HTTP_TRIFECTA_STORE_H_INCLUDED */
