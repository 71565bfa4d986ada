#ifndef NGX_HTTP_TRIFECTA_DURABLE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_DURABLE_H_INCLUDED


#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_subscriber.h"


/*
 * "Prefer: durable": the answer to an accepted job waits until PostgreSQL has
 * the job's row, so that the job survives the loss of Redis.
 *
 *   start ──> joined ──> reading ──> there? ──yes──> done, committed
 *                           ^          │ no
 *                           └────── asleep ── 2 s are over ──> done
 *
 * A job's doorbell rings when its row is there: because the job has begun, or
 * because the ledger has written it.
 * A ring is a hint: only the row that was read is a yes.  A job whose first
 * request did not ask for this does not ring, and rings get lost, so it looks
 * by itself, too, a few times in ever longer steps.
 *
 * Nothing here is an error, since the job is accepted.  It is a no when the
 * time is over, when PostgreSQL cannot be read, when the worker has too many
 * waiters, or when it leaves.
 */

#define NGX_HTTP_TRIFECTA_DURABLE_WAIT   2000       /* ms */
#define NGX_HTTP_TRIFECTA_DURABLE_FIRST  100        /* ms, then twice, ... */

/*
 * A debug build of nginx takes the data of a timer for a connection, and so
 * the last member of op, which is always NULL here, for its descriptor.
 */

typedef struct {
    ngx_http_trifecta_op_t        op;

    void                        (*done)(void *data);
    void                         *data;

    ngx_http_trifecta_waiter_t    waiter;
    ngx_event_t                   timer;
    ngx_msec_t                    until;
    ngx_msec_t                    step;
    unsigned                      again:1;      /* it rang while it read */
    unsigned                      committed:1;
} ngx_http_trifecta_durable_t;


/* Whether the client, or the location, prefers it. */
ngx_uint_t ngx_http_trifecta_durable_preferred(ngx_http_request_t *r);

/* Zeroed but for what is its own.  NULL: no memory. */
ngx_http_trifecta_durable_t *ngx_http_trifecta_durable_create(
    ngx_http_request_t *r);

/*
 * For the job of the request's context.  NGX_OK: committed says what is known
 * already.  NGX_AGAIN: done is called when it is known, from an event that is
 * not the request's.
 */
ngx_int_t ngx_http_trifecta_durable_start(
    ngx_http_trifecta_durable_t *durable);


#endif /* NGX_HTTP_TRIFECTA_DURABLE_H_INCLUDED */
