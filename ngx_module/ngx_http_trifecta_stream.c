#include "ngx_http_trifecta_stream.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_shard.h"


#define NGX_HTTP_TRIFECTA_STREAM_FAILED  250    /* ms, then twice, ... */
#define NGX_HTTP_TRIFECTA_STREAM_DOUBLE  4      /* ... so often */


static ngx_int_t ngx_http_trifecta_stream_look(ngx_http_trifecta_stream_t *s);
static void ngx_http_trifecta_stream_write_handler(ngx_http_request_t *r);


static void
ngx_http_trifecta_stream_end(ngx_http_trifecta_stream_t *s, ngx_int_t rc)
{
    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(s->read.op.request, rc);
    }
}


/* Nothing wakes it any more. */

static void
ngx_http_trifecta_stream_stop(ngx_http_trifecta_stream_t *s)
{
    ngx_http_trifecta_subscriber_leave(&s->waiter);

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }
}


/* Until the next look, or the next sign of life: so there is always a timer. */

static ngx_int_t
ngx_http_trifecta_stream_sleep(ngx_http_trifecta_stream_t *s)
{
    ngx_msec_t      at;
    ngx_msec_int_t  delay;

    /* before it begins there is no beat, and no look while it reads */

    at = s->begun ? s->beat_at
                  : ngx_current_msec + NGX_HTTP_TRIFECTA_STREAM_BEAT;

    if (!s->reading && !s->blocked && !s->ended
        && (ngx_msec_int_t) (s->look_at - at) < 0)
    {
        at = s->look_at;
    }

    delay = (ngx_msec_int_t) (at - ngx_current_msec);

    ngx_add_timer(&s->timer, delay > 0 ? (ngx_msec_t) delay : 1);

    return NGX_DONE;
}


/* The way of the answer when there is no stream. */

static ngx_int_t
ngx_http_trifecta_stream_refuse(ngx_http_trifecta_stream_t *s)
{
    ngx_http_request_t  *r;

    r = s->read.op.request;

    ngx_http_trifecta_stream_stop(s);

    if (s->refuse) {
        return s->refuse(s);
    }

    switch (s->read.seen) {

    case ngx_http_trifecta_seen_gone:
        return ngx_http_trifecta_lost(r);

    case ngx_http_trifecta_seen_deleted:
        return ngx_http_trifecta_gone(r, "the job was deleted");

    case ngx_http_trifecta_seen_no_store:
        return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                       "the store of results cannot be read");

    case ngx_http_trifecta_seen_open:
        return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                       "this worker of nginx has too many "
                                       "requests that wait, or is about to "
                                       "end: ask again, or for the job "
                                       "without its events");

    default:
        return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                       "the queue cannot be reached, and the "
                                       "store has no end of this job");
    }
}


/* NGX_DECLINED: it is to be refused. */

static ngx_int_t
ngx_http_trifecta_stream_begin(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t                       rc;
    ngx_http_request_t             *r;
    ngx_http_trifecta_main_conf_t  *mcf;

    r = s->read.op.request;
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    rc = s->encoder->begin(s);

    if (rc != NGX_OK) {
        return rc == NGX_ERROR ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    rc = ngx_http_trifecta_reply_stream(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    s->begun = 1;
    s->beat_at = ngx_current_msec + NGX_HTTP_TRIFECTA_STREAM_BEAT;
    ngx_http_trifecta_slot(mcf)->streams++;
    ngx_http_trifecta_count(mcf, s->encoder->metric);

    r->write_event_handler = ngx_http_trifecta_stream_write_handler;

    if (s->out == NULL && ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Goes on: after a reading, or when the client has taken what it had. */

static ngx_int_t
ngx_http_trifecta_stream_go(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t  rc;

    for ( ;; ) {

        s->blocked = 0;

        rc = s->aborted ? NGX_ABORT : ngx_http_trifecta_stream_give(s);

        if (rc == NGX_OK && s->ended) {

            rc = s->encoder->end(s);

            if (rc == NGX_OK) {
                ngx_http_trifecta_stream_stop(s);

                return ngx_http_trifecta_stream_send(s, 1);
            }
        }

        if (rc == NGX_ERROR) {
            return ngx_http_trifecta_stream_cut(s, s->replays
                                   ? "what was said is not what was stored"
                                   : "no memory");
        }

        if (ngx_http_trifecta_stream_send(s, 0) == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_ABORT) {
            s->aborted = 1;

            if (s->unsent == 0) {
                return ngx_http_trifecta_stream_cut(s, "what was said cannot "
                                                       "be taken back");
            }

            s->blocked = 1;

            return ngx_http_trifecta_stream_sleep(s);
        }

        if (rc == NGX_OK) {
            break;
        }

        if (s->unsent >= NGX_HTTP_TRIFECTA_STREAM_UNSENT) {
            s->blocked = 1;

            return ngx_http_trifecta_stream_sleep(s);
        }
    }

    if (s->again || s->more) {
        return ngx_http_trifecta_stream_look(s);
    }

    return ngx_http_trifecta_stream_sleep(s);
}


/* A stream that has begun, and the stores do not say how its job stands. */

static ngx_int_t
ngx_http_trifecta_stream_failed(ngx_http_trifecta_stream_t *s)
{
    ngx_msec_t  delay;

    /* the last good reading may be long ago: nothing was to be read since */

    if (s->failed == 0) {
        s->failed_at = ngx_current_msec;
    }

    if (ngx_current_msec - s->failed_at > NGX_HTTP_TRIFECTA_STREAM_PATIENCE) {
        return ngx_http_trifecta_stream_cut(s, "the stores are away");
    }

    delay = (ngx_msec_t) NGX_HTTP_TRIFECTA_STREAM_FAILED
            << ngx_min(s->failed, NGX_HTTP_TRIFECTA_STREAM_DOUBLE);

    s->failed++;
    s->look_at = ngx_current_msec + delay - (ngx_msec_t) ngx_random()
                                            % (delay / 4 + 1);

    return ngx_http_trifecta_stream_sleep(s);
}


static ngx_int_t
ngx_http_trifecta_stream_open(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t                  rc;
    ngx_uint_t                 known;
    ngx_http_trifecta_read_t  *read;

    read = &s->read;
    known = s->begun;

    if (!s->begun) {

        if (s->crowded) {
            return NGX_DECLINED;
        }

        rc = ngx_http_trifecta_stream_begin(s);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (s->encoder->state
        && (!known || s->state != read->state || s->stopping != read->stopping
            || s->ready != read->ready))
    {
        s->state = read->state;
        s->stopping = read->stopping;
        s->ready = read->ready;

        if (s->encoder->state(s) != NGX_OK) {
            return ngx_http_trifecta_stream_cut(s, "no memory");
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_stream_ended(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t  rc;

    if (!s->begun) {
        rc = ngx_http_trifecta_stream_begin(s);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (s->read.row) {
        s->replays = 1;
        s->more = 0;

        if (ngx_http_trifecta_replay_init(&s->replay, s->read.row) != NGX_OK) {
            return ngx_http_trifecta_stream_cut(s, "its row is not "
                                                   "understood");
        }
    }

    s->ended = !s->more;

    return NGX_OK;
}


/* NGX_DONE when it goes on later, else the value of the answer. */

static ngx_int_t
ngx_http_trifecta_stream_seen(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t                       rc;
    ngx_msec_t                      fallback;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(s->read.op.request,
                                        ngx_http_trifecta_module);

    s->next = 0;
    s->more = 0;

    switch (s->read.seen) {

    case ngx_http_trifecta_seen_open:
        s->more = ngx_http_trifecta_stream_more(s);
        rc = ngx_http_trifecta_stream_open(s);
        break;

    case ngx_http_trifecta_seen_ended:
        s->more = ngx_http_trifecta_stream_more(s);
        rc = ngx_http_trifecta_stream_ended(s);
        break;

    case ngx_http_trifecta_seen_gone:
    case ngx_http_trifecta_seen_deleted:

        if (!s->begun) {
            return ngx_http_trifecta_stream_refuse(s);
        }

        s->ended = 1;
        rc = NGX_OK;
        break;

    default:
        return s->begun ? ngx_http_trifecta_stream_failed(s)
                        : ngx_http_trifecta_stream_refuse(s);
    }

    if (rc != NGX_OK) {

        /* the value of an answer may be NGX_OK: nothing goes on behind it */

        return rc == NGX_DECLINED ? ngx_http_trifecta_stream_refuse(s) : rc;
    }

    fallback = mcf->wait_fallback;

    s->failed = 0;
    s->look_at = ngx_current_msec + fallback
                 - (ngx_msec_t) ngx_random() % (fallback / 4 + 1);

    return ngx_http_trifecta_stream_go(s);
}


static ngx_int_t
ngx_http_trifecta_stream_look(ngx_http_trifecta_stream_t *s)
{
    s->again = 0;

    if (ngx_http_trifecta_read(&s->read) == NGX_OK) {
        return ngx_http_trifecta_stream_seen(s);
    }

    s->reading = 1;

    return ngx_http_trifecta_stream_sleep(s);
}


static void
ngx_http_trifecta_stream_read(ngx_http_trifecta_read_t *read)
{
    ngx_http_trifecta_stream_t  *s;

    s = (ngx_http_trifecta_stream_t *) read;
    s->reading = 0;

    ngx_http_trifecta_stream_end(s, ngx_http_trifecta_stream_seen(s));
}


static void
ngx_http_trifecta_stream_ring(void *data, ngx_http_trifecta_ring_e ring)
{
    ngx_http_trifecta_stream_t *s = data;

    if (s->ended || s->aborted) {
        return;
    }

    if (s->reading || s->blocked) {
        s->again = 1;
        return;
    }

    s->read.rung = s->begun && s->waiter.ended;

    ngx_http_trifecta_stream_end(s, ngx_http_trifecta_stream_look(s));
}


/* Nothing is read or waits for the client: the next event can be given. */

static void
ngx_http_trifecta_stream_said(void *data, ngx_str_t *text)
{
    ngx_http_trifecta_stream_t *s = data;

    ngx_int_t                  rc;
    ngx_http_trifecta_event_t  event;

    if (s->begun && !s->reading && !s->blocked && !s->ended && !s->aborted) {
        rc = ngx_http_trifecta_stream_next(s, text, &event);

        if (rc == NGX_DONE) {
            return;
        }

        if (rc == NGX_OK) {
            s->said = &event;
            ngx_http_trifecta_stream_end(s, ngx_http_trifecta_stream_go(s));
            return;
        }
    }

    ngx_http_trifecta_stream_ring(s, ngx_http_trifecta_ring_read);
}


static void
ngx_http_trifecta_stream_timer(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_trifecta_ctx_t     *ctx;
    ngx_http_trifecta_stream_t  *s;

    c = ev->data;
    ctx = ngx_http_trifecta_get_ctx(c->data);
    s = ctx->stream;

    if (s->begun && (ngx_msec_int_t) (s->beat_at - ngx_current_msec) <= 0
        && ngx_http_trifecta_stream_beat(s) == NGX_ERROR)
    {
        ngx_http_trifecta_stream_end(s, NGX_ERROR);
        return;
    }

    if (!s->reading && !s->blocked && !s->ended && !s->aborted
        && (ngx_msec_int_t) (s->look_at - ngx_current_msec) <= 0)
    {
        rc = ngx_http_trifecta_stream_look(s);

    } else {
        rc = ngx_http_trifecta_stream_sleep(s);
    }

    ngx_http_trifecta_stream_end(s, rc);
}


/* A handler of the client's connection, which runs what is posted itself. */

static void
ngx_http_trifecta_stream_write_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_ctx_t     *ctx;
    ngx_http_trifecta_stream_t  *s;

    ctx = ngx_http_trifecta_get_ctx(r);
    s = ctx->stream;

    rc = ngx_http_trifecta_stream_writable(s);

    if (rc == NGX_OK) {

        if (!s->blocked || (s->aborted ? s->unsent > 0 : s->unsent
                                       >= NGX_HTTP_TRIFECTA_STREAM_UNSENT))
        {
            return;
        }

        rc = ngx_http_trifecta_stream_go(s);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


static void
ngx_http_trifecta_stream_cleanup(void *data)
{
    ngx_http_trifecta_stream_t *s = data;

    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(s->read.op.request,
                                        ngx_http_trifecta_module);
    ngx_http_trifecta_stream_stop(s);

    if (s->begun) {
        s->begun = 0;
        ngx_http_trifecta_slot(mcf)->streams--;
    }

    ngx_http_trifecta_replay_clear(&s->replay);
    ngx_http_trifecta_read_clear(&s->read);
}


ngx_http_trifecta_stream_t *
ngx_http_trifecta_stream_create(ngx_http_request_t *r,
    const ngx_http_trifecta_encoder_t *encoder, void *data)
{
    ngx_http_cleanup_t          *cln;
    ngx_http_trifecta_ctx_t     *ctx;
    ngx_http_trifecta_stream_t  *s;

    ctx = ngx_http_trifecta_get_ctx(r);

    s = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_stream_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (s == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_trifecta_stream_cleanup;
    cln->data = s;

    ctx->stream = s;

    s->encoder = encoder;
    s->data = data;

    s->read.done = ngx_http_trifecta_stream_read;
    s->read.full = 1;
    s->read.payload = encoder->payload;
    s->read.count = NGX_HTTP_TRIFECTA_STREAM_EVENTS;

    s->waiter.handler = ngx_http_trifecta_stream_ring;
    s->waiter.data = s;
    s->waiter.said = ngx_http_trifecta_stream_said;
    s->waiter.events = 1;

    /* a debug build of nginx takes the data of a timer for a connection */

    s->timer.handler = ngx_http_trifecta_stream_timer;
    s->timer.data = r->connection;
    s->timer.log = r->connection->log;

    return s;
}


ngx_int_t
ngx_http_trifecta_stream_start(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t                       rc;
    ngx_http_request_t             *r;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_shard_t      *shard;
    ngx_http_trifecta_main_conf_t  *mcf;

    r = s->read.op.request;
    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    shard = ngx_http_trifecta_job_shard(r);

    rc = shard ? ngx_http_trifecta_subscriber_join(shard->subscriber,
                                                   &ctx->job_id, &s->waiter)
               : NGX_DECLINED;

    if (rc == NGX_AGAIN) {
        s->look_at = ngx_current_msec + mcf->wait_fallback;

        return ngx_http_trifecta_stream_sleep(s);
    }

    s->crowded = (rc == NGX_DECLINED);

    return ngx_http_trifecta_stream_look(s);
}
