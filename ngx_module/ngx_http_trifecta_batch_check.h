#ifndef NGX_HTTP_TRIFECTA_BATCH_CHECK_H_INCLUDED
#define NGX_HTTP_TRIFECTA_BATCH_CHECK_H_INCLUDED


#include "ngx_http_trifecta_batch.h"
#include "ngx_http_trifecta_store.h"
#include "ngx_http_trifecta_worker.h"


/*
 * What the files of the check share: batch_begin.c has it until there is a
 * row, batch_check.c from then on.
 *
 * A check is made before the row, whose making it owns: so it has its place
 * among those of the worker, and all the memory that it begins with, before
 * anybody can be told of a batch, and a client that leaves is all that it
 * loses with its client.
 */

#define NGX_HTTP_TRIFECTA_BATCH_PIECE    262144     /* read at once */

/* a line may end just behind what is too long for one */
#define NGX_HTTP_TRIFECTA_BATCH_BUFFER                                        \
    (NGX_HTTP_TRIFECTA_BATCH_LINE_MAX + 2 + NGX_HTTP_TRIFECTA_BATCH_PIECE)


/* A debug build of nginx takes the data of a timer for a connection. */

struct ngx_http_trifecta_batch_check_s {
    ngx_http_trifecta_main_conf_t           *mcf;
    ngx_pool_t                              *pool;
    void                                    *unused;
    int                                      fd;    /* -1 */

    ngx_queue_t                              queue;     /* of the worker */
    ngx_event_t                              turn;
    ngx_http_trifecta_pg_query_t            *making;    /* the row */
    ngx_http_trifecta_pg_handler_pt          made;
    void                                    *client;    /* or NULL: left */
    ngx_str_t                                batch;
    ngx_str_t                                file;
    off_t                                    bytes;
    off_t                                    at;    /* read so far */
    ngx_uint_t                               part;
    ngx_uint_t                               from;  /* in it */

    u_char                                  *buffer;
    u_char                                  *pos;   /* the next line */
    u_char                                  *last;
    u_char                                  *seen;  /* no end up to there */

    ngx_http_trifecta_batch_lines_t          lines;
    const ngx_http_trifecta_pg_statement_t  *again; /* not answered yet */
    ngx_http_trifecta_json_t                 json;
    ngx_uint_t                               fails;
    ngx_msec_t                               failed_at;

    unsigned                                 skip:1;    /* to the next line */
    unsigned                                 stop:1;    /* has read enough */
};


/* The row is there: the file is read. */
void ngx_http_trifecta_batch_next(ngx_http_trifecta_batch_check_t *check);
void ngx_http_trifecta_batch_turn(ngx_event_t *ev);

/* Gives up the place and all memory; why is logged, NULL: nothing. */
void ngx_http_trifecta_batch_end(ngx_http_trifecta_batch_check_t *check,
    const char *why);


#endif /* NGX_HTTP_TRIFECTA_BATCH_CHECK_H_INCLUDED */
