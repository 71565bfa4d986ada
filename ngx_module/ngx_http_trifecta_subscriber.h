#ifndef NGX_HTTP_TRIFECTA_SUBSCRIBER_H_INCLUDED
#define NGX_HTTP_TRIFECTA_SUBSCRIBER_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_redis.h"


/*
 * What Redis tells a worker without being asked: the doorbells of jobs, and
 * which jobs were deleted.
 *
 * One connection a worker and shard.  It is subscribed to P:inv all the time,
 * and to P:c:<id>, the doorbell of a job, while somebody waits for it; a
 * hundred waiters of one job are one subscription.  The function library
 * rings a doorbell with the new state of the job, with "ledgered" when
 * PostgreSQL has it, or with "event" when the job has said something on its
 * way, which is a hint and no truth: a waiter reads.
 *
 * Streams, those who want to hear of events, are one more subscription a job,
 * to P:e:<id>: there the library says each event itself.  Who has the one
 * before it needs no reading; everybody else reads.  Where nobody hears an
 * event, as in a library that does not know P:e, the doorbell rings.
 *
 *   join ──> asked ──> (Redis confirms) ──> heard ──> leave
 *              ^                              │
 *              └──── the connection broke ────┘
 *
 * A waiter that joins a channel that is confirmed may read at once.  Else it
 * is called when Redis confirms: only then can no ring be missed between its
 * reading and its sleep.  A connection that breaks loses messages; so when it
 * is back every channel is asked for again, and every waiter is called once
 * when its channel is confirmed.  When the connection breaks every waiter is
 * called, too, and one that joins while Redis cannot be reached may read at
 * once: a reading that fails tells it to look by itself now and then.
 *
 * Waiters are called in portions, so that a doorbell that thousands listen to
 * does not flood the command connection.
 *
 * A worker that begins to leave calls every waiter with "leaving", once, and
 * takes no more; but streams, those who want to hear of events, stay and are
 * not called for it: they last as long as nginx lets them.
 */

typedef struct ngx_http_trifecta_subscriber_s  ngx_http_trifecta_subscriber_t;
typedef struct ngx_http_trifecta_channel_s     ngx_http_trifecta_channel_t;
typedef struct ngx_http_trifecta_waiter_s      ngx_http_trifecta_waiter_t;
typedef struct ngx_http_trifecta_deletions_s   ngx_http_trifecta_deletions_t;

typedef enum {
    ngx_http_trifecta_ring_read,        /* read: something may be new */
    ngx_http_trifecta_ring_leaving      /* the worker leaves: answer */
} ngx_http_trifecta_ring_e;

typedef void (*ngx_http_trifecta_waiter_pt)(void *data,
    ngx_http_trifecta_ring_e ring);

/* An event as it is said: the text is gone when this returns. */
typedef void (*ngx_http_trifecta_said_pt)(void *data, ngx_str_t *text);


/*
 * A waiter lies in the memory of whoever waits.  He sets the first members
 * and leaves before the memory goes.
 */

struct ngx_http_trifecta_waiter_s {
    ngx_http_trifecta_waiter_pt       handler;
    void                             *data;
    ngx_http_trifecta_said_pt         said;     /* with events */
    unsigned                          every:1;  /* not only the end */
    unsigned                          events:1; /* that, and events; stays */

    unsigned                          asked:1;  /* is owed a first call */
    unsigned                          called:1; /* is in the queue "due" */
    unsigned                          ended:1;  /* only since an end rang */
    ngx_http_trifecta_subscriber_t   *subscriber;   /* or NULL */
    ngx_http_trifecta_channel_t      *channel;
    ngx_queue_t                       queue;    /* of the channel */
    ngx_queue_t                       due;      /* to be called */
    ngx_queue_t                       all;
};


/*
 * A cache that wants to know what was deleted.  id is NULL when messages may
 * have been missed: everything may have been.
 */

struct ngx_http_trifecta_deletions_s {
    void                            (*handler)(void *data, ngx_str_t *id);
    void                             *data;
    ngx_http_trifecta_deletions_t    *next;
};


ngx_http_trifecta_subscriber_t *ngx_http_trifecta_subscriber_create(
    ngx_cycle_t *cycle, ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_shard_t *shard);
void ngx_http_trifecta_subscriber_destroy(ngx_http_trifecta_subscriber_t *sub);

/*
 * NGX_OK: read now.  NGX_AGAIN: the handler is called when it is time to
 * read.  NGX_DECLINED: the worker has too many waiters or leaves; the waiter
 * has not joined.  The handler is never called from within.
 */
ngx_int_t ngx_http_trifecta_subscriber_join(
    ngx_http_trifecta_subscriber_t *sub, ngx_str_t *id,
    ngx_http_trifecta_waiter_t *waiter);

/* May be called at any time, also by one that has not joined. */
void ngx_http_trifecta_subscriber_leave(ngx_http_trifecta_waiter_t *waiter);

/* Whether this worker hears of deletions; without that no cache is right. */
ngx_uint_t ngx_http_trifecta_subscriber_up(
    ngx_http_trifecta_subscriber_t *sub);

ngx_http_trifecta_redis_t *ngx_http_trifecta_subscriber_redis(
    ngx_http_trifecta_subscriber_t *sub);

/* The structure stays the caller's, and must outlive the subscriber. */
void ngx_http_trifecta_subscriber_deletions(
    ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_deletions_t *deletions);


#endif /* NGX_HTTP_TRIFECTA_SUBSCRIBER_H_INCLUDED */
