#ifndef NGX_HTTP_TRIFECTA_READ_H_INCLUDED
#define NGX_HTTP_TRIFECTA_READ_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_cache.h"
#include "ngx_http_trifecta_job.h"


/*
 * What became of a job: the cache of results, then one look at Redis, then,
 * where that does not tell, one at PostgreSQL.
 *
 * Redis says where an open job stands; what ended, and what Redis does not
 * know, PostgreSQL says:
 *
 *                       PostgreSQL has the job
 *   Redis      ended          open               not              away
 *   open       -              -                  -                - (not asked)
 *   ended      the row        Redis' word        Redis' word      no store
 *   absent     the row        the row            gone             no store
 *   deleted    -              -                  -                -
 *   away       the row        no queue           no queue         no queue
 *
 * "Away" is also a Redis without an epoch.  A job that Redis calls succeeded
 * has its row committed before; if the row is not there the store has gone
 * back in time: that is "no store", not an empty success.  A row that is only
 * a tombstone is "deleted", too.
 *
 * After a cancel two fields of the table differ: a job that Redis does not
 * know and that is open in PostgreSQL is "no queue", since nobody could tell
 * it, and one that Redis calls cancelled does not need PostgreSQL.
 *
 * Where an end was told while Redis was away, Redis may still call that job
 * open when it is back: the sidecar tells it after the commit, and its own
 * connection need not be back.  All workers of this nginx remember such a job
 * for ten minutes, by a hash; if Redis calls it open then, PostgreSQL is
 * asked, too, and an end that is there counts:
 *
 *   doubted    the row        Redis' word        Redis' word      no store
 *
 * What the cache has is an end that was read like this, and nobody is asked
 * then; a reading after a cancel, or one that wants the job's request, too,
 * does not use it.
 *
 * A reading may be repeated as often as one likes: it takes nothing from the
 * request's pool, but for what comes from the cache and, once, the request.
 *
 * A reading may want more than GET does, and then does not use the cache:
 * - with "payload" the request of the job, as it was given to the queue;
 * - with "full" the row has all its columns, and what the job says on its way
 *   is read with it: its events behind a mark, while Redis has them.  What a
 *   full reading has found stays until the next one, or until whoever made it
 *   calls ngx_http_trifecta_read_clear() in the end.
 */

#define NGX_HTTP_TRIFECTA_READ_DOUBT  600000    /* ms */

typedef struct ngx_http_trifecta_read_s  ngx_http_trifecta_read_t;

typedef void (*ngx_http_trifecta_read_pt)(ngx_http_trifecta_read_t *read);

typedef enum {
    ngx_http_trifecta_seen_nothing = 0,     /* not read yet */
    ngx_http_trifecta_seen_open,
    ngx_http_trifecta_seen_ended,
    ngx_http_trifecta_seen_gone,
    ngx_http_trifecta_seen_deleted,
    ngx_http_trifecta_seen_no_queue,
    ngx_http_trifecta_seen_no_store
} ngx_http_trifecta_seen_e;

typedef enum {
    ngx_http_trifecta_queue_away = 0,
    ngx_http_trifecta_queue_absent,
    ngx_http_trifecta_queue_doubted,        /* it says open */
    ngx_http_trifecta_queue_ended
} ngx_http_trifecta_queue_e;


/* It is zeroed by whoever makes it, and starts an operation of a request. */

struct ngx_http_trifecta_read_s {
    ngx_http_trifecta_op_t       op;
    ngx_http_trifecta_read_pt    done;
    unsigned                     cancelled:1;   /* it is after a cancel */
    unsigned                     payload:1;     /* the request, too */
    unsigned                     full:1;        /* and all else */
    unsigned                     rung:1;        /* an end: see below */

    /* of a full one: so many events, at most, behind that one */
    ngx_uint_t                   count;
    ngx_http_trifecta_mark_t     after;

    ngx_http_trifecta_seen_e     seen;

    /* of an open or ended job */
    tf_job_state_t               state;
    int64_t                      accepted;      /* ms */
    int64_t                      position;      /* jobs in front of it */
    ngx_uint_t                   stopping;      /* it was told to stop */
    int64_t                      ready;         /* how far it is, */
    int64_t                      total;         /* of so much; 0: unknown */
    ngx_str_t                    model;
    ngx_str_t                    request;       /* empty: not known */
    PGresult                    *row;   /* or NULL; gone when done returns */
    redisReply                  *events;    /* of {id, type, data}; or NULL */
    ngx_http_trifecta_cached_t   cached;        /* then nothing above is set */

    ngx_http_trifecta_queue_e    queue;         /* what Redis has said */
    redisReply                  *reply;         /* kept for its events */
    uint64_t                     ticket;        /* for the cache */
    u_char                       name[TF_MODEL_MAX];
};


/* Columns of the row. */

#define NGX_HTTP_TRIFECTA_ROW_ATTEMPT        1
#define NGX_HTTP_TRIFECTA_ROW_MODEL          2
#define NGX_HTTP_TRIFECTA_ROW_ACCEPTED       3
#define NGX_HTTP_TRIFECTA_ROW_FINISHED       4
#define NGX_HTTP_TRIFECTA_ROW_ERROR          5
#define NGX_HTTP_TRIFECTA_ROW_USAGE          6
#define NGX_HTTP_TRIFECTA_ROW_BODY           7
#define NGX_HTTP_TRIFECTA_ROW_CITATIONS      8
#define NGX_HTTP_TRIFECTA_ROW_DELETED        9
#define NGX_HTTP_TRIFECTA_ROW_CONVERSATION   10
#define NGX_HTTP_TRIFECTA_ROW_METADATA       11
#define NGX_HTTP_TRIFECTA_ROW_COLUMNS        12

/* and those with "payload" or "full" */

#define NGX_HTTP_TRIFECTA_ROW_REQUEST        12
#define NGX_HTTP_TRIFECTA_ROW_DELTAS         13
#define NGX_HTTP_TRIFECTA_ROW_STREAMED       14
#define NGX_HTTP_TRIFECTA_ROW_TOOL_CALLS     15
#define NGX_HTTP_TRIFECTA_ROW_MORE           16


/*
 * Reads the job of the request's context.  With "rung" the doorbell has just
 * said that the job has ended, which was open when it was read before: then its
 * row has the end already, and Redis is asked only if it has not.
 *
 * NGX_AGAIN: read->done is called when it is known.  NGX_OK: it is known
 * already, and done is not called.
 */
ngx_int_t ngx_http_trifecta_read(ngx_http_trifecta_read_t *read);

/* What a full reading has kept. */
void ngx_http_trifecta_read_clear(ngx_http_trifecta_read_t *read);

const char *ngx_http_trifecta_state_word(tf_job_state_t state);

/* A state's word to the state, TF_JOB_NSTATES for none. */
tf_job_state_t ngx_http_trifecta_state_of(const char *word, size_t len);
ngx_uint_t ngx_http_trifecta_state_ends(tf_job_state_t state);

int64_t ngx_http_trifecta_row_int(PGresult *row, int column);


#endif /* NGX_HTTP_TRIFECTA_READ_H_INCLUDED */
