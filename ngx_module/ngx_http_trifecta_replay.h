#ifndef NGX_HTTP_TRIFECTA_REPLAY_H_INCLUDED
#define NGX_HTTP_TRIFECTA_REPLAY_H_INCLUDED


#include "ngx_http_trifecta_read.h"


/*
 * What a job has said on its way, once it has ended: the same events with the
 * same numbers as Redis had, made again from the row of PostgreSQL.
 *
 * What was said is a list of runs.  A run begins with an attempt, and anew
 * when the attempt voids what it has said; only the last one is the answer.
 *
 *   attempt 1   1-1 s   1-2 d   1-3 d        earlier[0], marks[0] = [1, 1]
 *   attempt 2   2-1 s   2-2 d                earlier[1], marks[1] = [2, 1]
 *               2-3 r   2-4 d   2-5 d        the answer, marks[2] = [2, 0]
 *
 * "earlier" and "marks" are members of the column streamed.  Mostly there is
 * one run, neither of them, and "search" says whether it began with an s.
 * The pieces of the last run are cut from the body where the column deltas
 * says; without that the body is one piece.  A job that has not succeeded has
 * no body: its pieces are the member "last".
 */

typedef struct {
    ngx_http_trifecta_mark_t     mark;
    u_char                       type;      /* s, d or r */
    ngx_str_t                    data;      /* of a d */
} ngx_http_trifecta_event_t;

typedef struct {
    json_t                      *streamed;  /* or NULL */
    json_t                      *earlier;   /* of it, or NULL */
    json_t                      *marks;
    json_t                      *last;

    ngx_uint_t                   attempt;   /* of the row */
    ngx_str_t                    body;
    u_char                      *delta;     /* the next one, as text */
    u_char                      *deltas_end;

    ngx_uint_t                   run;
    ngx_uint_t                   piece;     /* of it */
    size_t                       offset;    /* in the body */
    ngx_http_trifecta_mark_t     mark;
    unsigned                     begun:1;       /* the run, */
    unsigned                     searched:1;    /* and its s */
} ngx_http_trifecta_replay_t;


/*
 * Begins with the first event.  It points into the row, which must stay until
 * the end of it.  NGX_ERROR: the row is not understood.
 */
ngx_int_t ngx_http_trifecta_replay_init(ngx_http_trifecta_replay_t *replay,
    PGresult *row);

/* NGX_DONE: there are no more.  NGX_ERROR: the row is not understood. */
ngx_int_t ngx_http_trifecta_replay_next(ngx_http_trifecta_replay_t *replay,
    ngx_http_trifecta_event_t *event);

/* May be called at any time, also twice. */
void ngx_http_trifecta_replay_clear(ngx_http_trifecta_replay_t *replay);


#endif /* NGX_HTTP_TRIFECTA_REPLAY_H_INCLUDED */
