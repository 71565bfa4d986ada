#ifndef NGX_HTTP_TRIFECTA_POLL_H_INCLUDED
#define NGX_HTTP_TRIFECTA_POLL_H_INCLUDED


#include "ngx_http_trifecta_fields.h"
#include "ngx_http_trifecta_read.h"
#include "ngx_http_trifecta_subscriber.h"


/*
 * A request that reads a job, and waits for it if its client prefers so
 * ("Prefer: wait=N").
 *
 *   start ──> joined ──> reading ──> enough? ──yes──> answer
 *                           ^          │ no
 *                           │          v
 *                           └─────── asleep ── N seconds are over ─┐
 *                           └───────── the last reading ───────────┘
 *
 * It joins the job's doorbell first, and reads when Redis has confirmed that:
 * what changes after the reading rings.  Asleep it is woken by the doorbell;
 * by the fallback timer, for a message may get lost; and after a reading that
 * failed, soon and then less often, for a store that is back does not ring.
 * When its time is over it reads once more and answers whatever is there.
 *
 * When the worker leaves, the answer is what was read last, at once.  A poll
 * that is to "stay", because nothing but the end is an answer, goes on without
 * a doorbell instead, and looks by itself until nginx has had enough of it
 * (worker_shutdown_timeout); so does one for which the worker has too many
 * waiters.
 *
 * What is enough, and what the answer is, say the two functions of whoever
 * polls.  "applied" tells whether the client gets the wait that it preferred,
 * "durable" whether PostgreSQL has the job that it just gave.
 */

typedef struct ngx_http_trifecta_poll_s  ngx_http_trifecta_poll_t;

struct ngx_http_trifecta_poll_s {
    ngx_http_trifecta_read_t      read;

    ngx_uint_t                  (*enough)(ngx_http_trifecta_poll_t *poll);
    ngx_int_t                   (*answer)(ngx_http_trifecta_poll_t *poll);
    void                         *data;

    ngx_int_t                     wait;     /* s; -1: not preferred */
    ngx_http_trifecta_waiter_t    waiter;
    ngx_event_t                   timer;
    ngx_msec_t                    until;    /* from the creation on */
    ngx_uint_t                    failed;   /* readings, in a row */

    /* of an open job, as it was read last */
    tf_job_state_t                state;
    ngx_uint_t                    stopping;
    int64_t                       accepted;
    int64_t                       position;

    unsigned                      applied:1;
    unsigned                      durable:1;
    unsigned                      waiting:1;
    unsigned                      reading:1;
    unsigned                      again:1;  /* it rang while it was read */
    unsigned                      known:1;  /* it was open */
    unsigned                      stay:1;   /* set by whoever polls */
    unsigned                      alone:1;  /* nothing rings for it */
};


/* What the request prefers, in all its lines. */
void ngx_http_trifecta_prefers(ngx_http_request_t *r, tf_prefer_t *prefer);

/* Zeroed but for what the request prefers.  NULL: no memory. */
ngx_http_trifecta_poll_t *ngx_http_trifecta_poll_create(
    ngx_http_request_t *r);

/*
 * NGX_DONE when the answer comes later, from an event that finalizes the
 * request, else the value of the answer.  The caller waits, and holds the
 * request.
 */
ngx_int_t ngx_http_trifecta_poll_start(ngx_http_trifecta_poll_t *poll);

/* Adds Vary and, if it is so, Preference-Applied to the answer. */
ngx_int_t ngx_http_trifecta_poll_headers(ngx_http_trifecta_poll_t *poll);


#endif /* NGX_HTTP_TRIFECTA_POLL_H_INCLUDED */
