#include "ngx_http_trifecta_poll.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_worker.h"


#define NGX_HTTP_TRIFECTA_POLL_FAILED  500      /* ms, then twice, ... */
#define NGX_HTTP_TRIFECTA_POLL_DOUBLE  3        /* ... so often */
#define NGX_HTTP_TRIFECTA_POLL_ALONE   500      /* ms */


static void ngx_http_trifecta_poll_read(ngx_http_trifecta_read_t *read);
static void ngx_http_trifecta_poll_ring(void *data,
    ngx_http_trifecta_ring_e ring);
static void ngx_http_trifecta_poll_timer(ngx_event_t *ev);


static ngx_http_trifecta_main_conf_t *
ngx_http_trifecta_poll_conf(ngx_http_trifecta_poll_t *poll)
{
    return ngx_http_get_module_main_conf(poll->read.op.request,
                                         ngx_http_trifecta_module);
}


static void
ngx_http_trifecta_poll_stop(ngx_http_trifecta_poll_t *poll)
{
    poll->waiting = 0;

    ngx_http_trifecta_subscriber_leave(&poll->waiter);

    if (poll->timer.timer_set) {
        ngx_del_timer(&poll->timer);
    }
}


static void
ngx_http_trifecta_poll_cleanup(void *data)
{
    ngx_http_trifecta_poll_stop(data);
}


void
ngx_http_trifecta_prefers(ngx_http_request_t *r, tf_prefer_t *prefer)
{
    ngx_str_t                  *line;
    ngx_http_trifecta_lines_t   at;

    *prefer = (tf_prefer_t) TF_PREFER_INIT;

    ngx_memzero(&at, sizeof(ngx_http_trifecta_lines_t));

    while ((line = ngx_http_trifecta_header_next(r, "prefer", &at)) != NULL) {
        tf_prefer_parse(prefer, (char *) line->data, line->len);
    }
}


ngx_http_trifecta_poll_t *
ngx_http_trifecta_poll_create(ngx_http_request_t *r)
{
    tf_prefer_t                prefer;
    ngx_http_cleanup_t        *cln;
    ngx_http_trifecta_ctx_t   *ctx;
    ngx_http_trifecta_poll_t  *poll;

    ctx = ngx_http_trifecta_get_ctx(r);

    poll = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_poll_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (poll == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_trifecta_poll_cleanup;
    cln->data = poll;

    ctx->poll = poll;

    poll->read.done = ngx_http_trifecta_poll_read;

    ngx_http_trifecta_prefers(r, &prefer);

    poll->wait = prefer.wait;
    poll->until = ngx_current_msec;

    if (poll->wait > 0) {
        poll->until += (ngx_msec_t) poll->wait * 1000;
    }

    poll->waiter.handler = ngx_http_trifecta_poll_ring;
    poll->waiter.data = poll;

    /* a debug build of nginx takes the data of a timer for a connection */

    poll->timer.handler = ngx_http_trifecta_poll_timer;
    poll->timer.data = r->connection;
    poll->timer.log = r->connection->log;

    return poll;
}


/* Asleep until the next look, or the end of the time. */

static void
ngx_http_trifecta_poll_sleep(ngx_http_trifecta_poll_t *poll)
{
    ngx_msec_t      delay;
    ngx_msec_int_t  left;

    delay = ngx_http_trifecta_poll_conf(poll)->wait_fallback;

    if (poll->failed) {
        delay = ngx_min(delay, (ngx_msec_t) NGX_HTTP_TRIFECTA_POLL_FAILED
                        << ngx_min(poll->failed - 1,
                                   NGX_HTTP_TRIFECTA_POLL_DOUBLE));
    }

    if (poll->alone) {
        delay = ngx_min(delay, NGX_HTTP_TRIFECTA_POLL_ALONE);
    }

    /* those who fell asleep together need not look together */

    delay -= (ngx_msec_t) ngx_random() % (delay / 4 + 1);

    left = (ngx_msec_int_t) (poll->until - ngx_current_msec);

    if (left < 1) {
        left = 1;
    }

    ngx_add_timer(&poll->timer, ngx_min(delay, (ngx_msec_t) left));
}


/* NGX_DONE when it sleeps, else the value of the answer. */

static ngx_int_t
ngx_http_trifecta_poll_seen(ngx_http_trifecta_poll_t *poll)
{
    ngx_http_trifecta_read_t  *read;

    read = &poll->read;

    if (!poll->waiting || poll->enough(poll)) {
        ngx_http_trifecta_poll_stop(poll);
        return poll->answer(poll);
    }

    if (read->seen == ngx_http_trifecta_seen_open) {
        poll->known = 1;
        poll->failed = 0;
        poll->state = read->state;
        poll->stopping = read->stopping;
        poll->accepted = read->accepted;
        poll->position = read->position;

    } else {
        poll->failed++;
    }

    ngx_http_trifecta_poll_sleep(poll);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_trifecta_poll_look(ngx_http_trifecta_poll_t *poll)
{
    poll->again = 0;

    if (ngx_http_trifecta_read(&poll->read) == NGX_OK) {
        return ngx_http_trifecta_poll_seen(poll);
    }

    poll->reading = 1;

    return NGX_DONE;
}


static void
ngx_http_trifecta_poll_end(ngx_http_trifecta_poll_t *poll, ngx_int_t rc)
{
    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(poll->read.op.request, rc);
    }
}


static void
ngx_http_trifecta_poll_read(ngx_http_trifecta_read_t *read)
{
    ngx_int_t                  rc;
    ngx_http_trifecta_poll_t  *poll;

    poll = (ngx_http_trifecta_poll_t *) read;
    poll->reading = 0;

    if (poll->again && poll->waiting && !poll->enough(poll)) {
        rc = ngx_http_trifecta_poll_look(poll);

    } else {
        rc = ngx_http_trifecta_poll_seen(poll);
    }

    ngx_http_trifecta_poll_end(poll, rc);
}


/* The worker leaves: there is no time for another look if there was one. */

static void
ngx_http_trifecta_poll_leave(ngx_http_trifecta_poll_t *poll)
{
    if (poll->stay && poll->waiting) {
        poll->alone = 1;
        poll->read.op.request->keepalive = 0;

        if (!poll->reading) {
            ngx_http_trifecta_poll_end(poll,
                                       ngx_http_trifecta_poll_look(poll));
        }

        return;
    }

    ngx_http_trifecta_poll_stop(poll);

    poll->applied = 0;
    poll->read.op.request->keepalive = 0;

    if (poll->known) {
        ngx_http_trifecta_op_cancel(&poll->read.op);

        poll->read.seen = ngx_http_trifecta_seen_open;
        poll->read.state = poll->state;
        poll->read.stopping = poll->stopping;
        poll->read.accepted = poll->accepted;
        poll->read.position = poll->position;
        poll->read.row = NULL;

        ngx_http_trifecta_poll_end(poll, poll->answer(poll));

    } else if (!poll->reading) {
        ngx_http_trifecta_poll_end(poll, ngx_http_trifecta_poll_look(poll));
    }
}


static void
ngx_http_trifecta_poll_ring(void *data, ngx_http_trifecta_ring_e ring)
{
    ngx_http_trifecta_poll_t *poll = data;

    if (ring == ngx_http_trifecta_ring_leaving) {
        ngx_http_trifecta_poll_leave(poll);

    } else if (poll->reading) {
        poll->again = 1;

    } else {
        poll->read.rung = poll->known && poll->waiter.ended;

        ngx_http_trifecta_poll_end(poll, ngx_http_trifecta_poll_look(poll));
    }
}


static void
ngx_http_trifecta_poll_timer(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_trifecta_ctx_t   *ctx;
    ngx_http_trifecta_poll_t  *poll;

    c = ev->data;
    r = c->data;
    ctx = ngx_http_trifecta_get_ctx(r);
    poll = ctx->poll;

    if ((ngx_msec_int_t) (poll->until - ngx_current_msec) <= 0) {
        ngx_http_trifecta_poll_stop(poll);
    }

    if (!poll->reading) {
        ngx_http_trifecta_poll_end(poll, ngx_http_trifecta_poll_look(poll));
    }
}


ngx_int_t
ngx_http_trifecta_poll_start(ngx_http_trifecta_poll_t *poll)
{
    ngx_int_t                   rc;
    ngx_msec_int_t              left;
    ngx_http_request_t         *r;
    ngx_http_trifecta_ctx_t    *ctx;
    ngx_http_trifecta_shard_t  *shard;

    poll->applied = (poll->wait >= 0);

    left = (ngx_msec_int_t) (poll->until - ngx_current_msec);

    if (poll->wait <= 0 || left <= 0) {
        return ngx_http_trifecta_poll_look(poll);
    }

    r = poll->read.op.request;
    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_job_shard(r);

    rc = shard ? ngx_http_trifecta_subscriber_join(shard->subscriber,
                                                   &ctx->job_id,
                                                   &poll->waiter)
               : NGX_DECLINED;

    if (rc == NGX_DECLINED && poll->stay) {
        poll->alone = 1;
        rc = NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        poll->applied = 0;
        return ngx_http_trifecta_poll_look(poll);
    }

    poll->waiting = 1;

    if (rc == NGX_OK) {
        return ngx_http_trifecta_poll_look(poll);
    }

    ngx_add_timer(&poll->timer, (ngx_msec_t) left);

    return NGX_DONE;
}


ngx_int_t
ngx_http_trifecta_poll_headers(ngx_http_trifecta_poll_t *poll)
{
    u_char              *p, *start;
    ngx_http_request_t  *r;

    r = poll->read.op.request;

    if (poll->read.cancelled) {
        return NGX_OK;      /* the answer to a cancel never waits */
    }

    if (ngx_http_trifecta_header_lit(r, "Vary", "Prefer") != NGX_OK) {
        return NGX_ERROR;
    }

    if (!poll->applied && !poll->durable) {
        return NGX_OK;
    }

    start = ngx_pnalloc(r->pool, sizeof("durable, wait=") - 1
                                 + NGX_INT_T_LEN);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = start;

    if (poll->durable) {
        p = ngx_sprintf(p, "durable%s", poll->applied ? ", " : "");
    }

    if (poll->applied) {
        p = ngx_sprintf(p, "wait=%i", poll->wait);
    }

    return ngx_http_trifecta_header(r, "Preference-Applied", start, p - start);
}
