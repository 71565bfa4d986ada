#ifndef NGX_HTTP_TRIFECTA_STREAM_H_INCLUDED
#define NGX_HTTP_TRIFECTA_STREAM_H_INCLUDED


#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_replay.h"
#include "ngx_http_trifecta_subscriber.h"


/*
 * A response that goes on while its job does: server-sent events.
 *
 *   start --> joined --> reading --> giving --> asleep --.
 *                           ^          |  ^              | it rings
 *                           |          v  |              |
 *                           |       blocked              |
 *                           '----------------------------'
 *
 * The engine knows the job, the client and the stores; what the bytes are, an
 * encoder knows: a row of functions.  Each event of the job is given to it
 * once and in order, always from the first one on, whether it comes from
 * Redis, while the job is open, or from its row, afterwards: so the numbers
 * are the same for everybody, and an encoder that counts may leave out what
 * its client has.
 *
 * - It joins the job's doorbell, then reads what lies behind the last event
 *   that it has given, then follows.  An event that is said to it while it
 *   sleeps, and is the next one, is given without a reading.  Rings that come
 *   while it reads, or while the client does not, are one.
 * - What the client has not taken is at most NGX_HTTP_TRIFECTA_STREAM_UNSENT
 *   bytes and one event: beyond that nothing is given, and Redis is not read.
 *   A client that takes nothing at all for send_timeout is cut.
 * - After NGX_HTTP_TRIFECTA_STREAM_BEAT ms without a byte it sends a comment.
 * - A job that has ended has a row, and the engine goes on there with the next
 *   event.  What was given must be what the row has: if it is not, somebody
 *   lies, and the stream is cut.
 * - A stream that cannot go on (the stores are away for too long, a row that
 *   is no answer to what was said) is cut: its connection ends without the
 *   last chunk, over HTTP/2 with RST_STREAM.  A client that sees a proper end
 *   without the encoder's last event has found a defect.
 * - A worker that leaves keeps its streams until they end, or until nginx
 *   closes their connections (worker_shutdown_timeout).
 *
 * A stream counts as a waiter (trifecta_max_waiters).
 */

#define NGX_HTTP_TRIFECTA_STREAM_UNSENT   65536
#define NGX_HTTP_TRIFECTA_STREAM_EVENTS   256       /* of a reading */
#define NGX_HTTP_TRIFECTA_STREAM_BEAT     15000     /* ms */
#define NGX_HTTP_TRIFECTA_STREAM_PATIENCE 30000     /* ms, without a store */

typedef struct ngx_http_trifecta_stream_s  ngx_http_trifecta_stream_t;


/*
 * The functions append bytes with ngx_http_trifecta_stream_put(), and find
 * the job in s->read.  But for begin they return NGX_OK; NGX_ERROR, and the
 * stream is cut; or NGX_ABORT, and it is cut when all that was put has been
 * sent.
 */

typedef struct {
    ngx_uint_t                        metric;   /* NGX_HTTP_TRIFECTA_M_... */

    /*
     * Before the header: the job is open or has ended.  NGX_DECLINED: there
     * is no such stream, and refuse() says so.
     */
    ngx_int_t                       (*begin)(ngx_http_trifecta_stream_t *s);

    /* The open job stands differently than at the last call, or NULL. */
    ngx_int_t                       (*state)(ngx_http_trifecta_stream_t *s);

    ngx_int_t                       (*event)(ngx_http_trifecta_stream_t *s,
                                         ngx_http_trifecta_event_t *event);

    /* s->read.seen: ended (row is NULL if none was kept), gone, deleted. */
    ngx_int_t                       (*end)(ngx_http_trifecta_stream_t *s);

    unsigned                          payload:1;    /* s->read.request */
} ngx_http_trifecta_encoder_t;


struct ngx_http_trifecta_stream_s {
    ngx_http_trifecta_read_t            read;
    const ngx_http_trifecta_encoder_t  *encoder;
    void                               *data;       /* of the encoder */

    /*
     * Answers a request whose stream cannot begin, or NULL: as GET does.
     * s->crowded: this worker has too many waiters.
     */
    ngx_int_t                         (*refuse)(ngx_http_trifecta_stream_t *s);
    void                               *refused;    /* of that */

    ngx_http_trifecta_waiter_t          waiter;
    ngx_event_t                         timer;
    ngx_msec_t                          look_at;
    ngx_msec_t                          beat_at;
    ngx_uint_t                          failed;     /* readings, in a row */
    ngx_msec_t                          failed_at;  /* the first of them */

    /* how the open job stood */
    tf_job_state_t                      state;
    ngx_uint_t                          stopping;
    int64_t                             ready;

    /* the last event that was given, and the text since the last void */
    ngx_http_trifecta_mark_t            given;
    uint32_t                            crc;
    size_t                              text;

    size_t                              next;       /* of read.events */
    ngx_http_trifecta_event_t          *said;       /* and one more, or NULL */
    ngx_http_trifecta_replay_t          replay;
    ngx_http_trifecta_mark_t            replayed;
    uint32_t                            replayed_crc;
    size_t                              replayed_text;

    /* of stream_send.c */
    ngx_http_trifecta_json_t            json;
    ngx_chain_t                        *out;
    ngx_chain_t                        *tail;       /* of out */
    ngx_chain_t                        *busy;
    ngx_chain_t                        *free;
    size_t                              unsent;
    off_t                               sent;       /* of the connection */

    unsigned                            crowded:1;
    unsigned                            begun:1;
    unsigned                            reading:1;
    unsigned                            again:1;    /* it rang meanwhile */
    unsigned                            more:1;     /* than one reading */
    unsigned                            blocked:1;  /* by the client */
    unsigned                            ended:1;
    unsigned                            replays:1;
    unsigned                            compared:1;
    unsigned                            aborted:1;
};


/* Zeroed but for these.  NULL: no memory. */
ngx_http_trifecta_stream_t *ngx_http_trifecta_stream_create(
    ngx_http_request_t *r, const ngx_http_trifecta_encoder_t *encoder,
    void *data);

/*
 * Streams the job of the context.  NGX_DONE when the answer comes later, from
 * an event that finalizes the request, else the value of the answer.  The
 * caller waits, and holds the request.
 */
ngx_int_t ngx_http_trifecta_stream_start(ngx_http_trifecta_stream_t *s);

/* For encoders: an empty buffer, the same one each time. */
ngx_http_trifecta_json_t *ngx_http_trifecta_stream_json(
    ngx_http_trifecta_stream_t *s);

/* Appends its bytes, and empties it.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_trifecta_stream_put(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_json_t *j);


/*
 * stream_give.c: gives events to the encoder until the client has enough of
 * them: NGX_AGAIN.  NGX_OK: there are no more for now; NGX_ERROR, NGX_ABORT:
 * see the encoder.
 */
ngx_int_t ngx_http_trifecta_stream_give(ngx_http_trifecta_stream_t *s);

/*
 * What was said on the job's channel, "<attempt>-<n> <type> <data>": NGX_OK if
 * it is the event behind those that were given; NGX_DONE: that one was given;
 * NGX_DECLINED: reading tells what comes next.
 */
ngx_int_t ngx_http_trifecta_stream_next(ngx_http_trifecta_stream_t *s,
    ngx_str_t *text, ngx_http_trifecta_event_t *event);

/* Whether the last reading may have left events behind it. */
ngx_uint_t ngx_http_trifecta_stream_more(ngx_http_trifecta_stream_t *s);

/*
 * stream_send.c: sends what was put; with "last" that was all.  NGX_ERROR, or
 * else the value with which a request ends whose last bytes these were.
 */
ngx_int_t ngx_http_trifecta_stream_send(ngx_http_trifecta_stream_t *s,
    ngx_uint_t last);

/* A comment, for a client that has heard nothing for long. */
ngx_int_t ngx_http_trifecta_stream_beat(ngx_http_trifecta_stream_t *s);

/* The client's connection takes more, or has not for too long. */
ngx_int_t ngx_http_trifecta_stream_writable(ngx_http_trifecta_stream_t *s);

/*
 * The connection will end without a proper end, for this reason.  Returns
 * the value to finalize the request with.
 */
ngx_int_t ngx_http_trifecta_stream_cut(ngx_http_trifecta_stream_t *s,
    const char *why);

/* The same for a connection whose bytes end only with itself. */
void ngx_http_trifecta_stream_reset(ngx_connection_t *c);


#endif /* NGX_HTTP_TRIFECTA_STREAM_H_INCLUDED */
