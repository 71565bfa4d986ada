#ifndef NGX_HTTP_TRIFECTA_PG_QUERY_H_INCLUDED
#define NGX_HTTP_TRIFECTA_PG_QUERY_H_INCLUDED


#include "ngx_http_trifecta_pg.h"


/*
 * What the files of the PostgreSQL connection share: pg.c moves the connection
 * from state to state, pg_greet.c asks whom it has reached, pg_query.c moves
 * queries through the two queues, pg_named.c prepares statements.
 */

typedef enum {
    ngx_http_trifecta_pg_down = 0,
    ngx_http_trifecta_pg_connecting,
    ngx_http_trifecta_pg_checking,
    ngx_http_trifecta_pg_ready
} ngx_http_trifecta_pg_state_e;


/* pg_named.c: a statement of a day, as it is prepared on a connection. */

#define NGX_HTTP_TRIFECTA_PG_NAMED  64

typedef struct {
    const char                              *sql;       /* whose text it is */
    ngx_uint_t                               day;
    ngx_uint_t                               used;
    char                                    *text;      /* NULL: none */
    char                                     name[24];
    unsigned                                 prepared:1;
    unsigned                                 kept:1;    /* of an older life */
} ngx_http_trifecta_pg_named_t;


struct ngx_http_trifecta_pg_query_s {
    ngx_queue_t                              queue;
    const ngx_http_trifecta_pg_statement_t  *statements;
    char                                    *params[
                                               NGX_HTTP_TRIFECTA_PG_PARAMS];
    int                                      lengths[
                                               NGX_HTTP_TRIFECTA_PG_PARAMS];
    int                                      formats[
                                               NGX_HTTP_TRIFECTA_PG_PARAMS];
    ngx_msec_t                               deadline;
    uint64_t                                 started;   /* us */
    uint64_t                                *spent;
    ngx_http_trifecta_pg_handler_pt          handler;
    void                                    *data;
    PGresult                                *res;
    ngx_uint_t                               left;      /* results of it */
    ngx_uint_t                               day;       /* or 0: not named */
    ngx_uint_t                               life;      /* as of pg */
    unsigned                                 own:1;     /* the check */
    unsigned                                 sent:1;
    unsigned                                 failed:1;
    unsigned                                 raw:1;     /* bytes, not text */
    unsigned                                 sync:1;    /* ends a segment */
    unsigned                                 prepares:1;
    unsigned                                 again:1;   /* it is sent again, */
    unsigned                                 alone:1;   /* with its own Sync */
    unsigned                                 whole:1;   /* and not by name */
};


/* A debug build of nginx takes the data of a timer for a connection. */

struct ngx_http_trifecta_pg_s {
    ngx_http_trifecta_main_conf_t           *mcf;
    ngx_connection_t                        *connection;
    ngx_log_t                               *log;
    ngx_socket_t                             fd;        /* -1 */

    PGconn                                  *conn;
    ngx_http_trifecta_pg_state_e             state;
    ngx_uint_t                               fails;     /* in a row */
    ngx_msec_t                               ready_at;
    ngx_msec_t                               failed_at;
    ngx_msec_t                               timeout;   /* of a query */

    ngx_queue_t                              waiting;
    ngx_queue_t                              sent;
    ngx_uint_t                               nqueries;

    ngx_http_trifecta_pg_named_t             named[NGX_HTTP_TRIFECTA_PG_NAMED];
    ngx_uint_t                               used;      /* counts uses */
    ngx_uint_t                               life;      /* of the names */
    ngx_uint_t                               forgets;   /* soon, in a row */
    ngx_msec_t                               forgot_at;

    ngx_event_t                              deadline;
    ngx_event_t                              reconnect;
    ngx_event_t                              login;

    unsigned                                 refused:1; /* by the check */
    unsigned                                 tried:1;   /* once, to its end */
    unsigned                                 asking:1;  /* for the id again */
    unsigned                                 lazy:1;    /* not that for jobs */
    unsigned                                 whole:1;   /* prepares nothing */
    u_char                                   reason[256];
};


void ngx_http_trifecta_pg_connect(ngx_http_trifecta_pg_t *pg);

/* The deadline timer runs for the oldest query; call it after any change. */
void ngx_http_trifecta_pg_rearm(ngx_http_trifecta_pg_t *pg);

/*
 * Hands what waits to libpq, which keeps what the socket does not take;
 * NGX_ERROR when libpq refuses.
 */
ngx_int_t ngx_http_trifecta_pg_send_waiting(ngx_http_trifecta_pg_t *pg);

/* Takes every result that is there; NGX_ERROR when libpq is out of step. */
ngx_int_t ngx_http_trifecta_pg_results(ngx_http_trifecta_pg_t *pg);

/* Asks something as the connection's own query, while nothing waits. */
ngx_int_t ngx_http_trifecta_pg_own(ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_handler_pt handler);

/*
 * Sends a query that has a day, by name or whole; whether one that PostgreSQL
 * has refused, or not begun, is to be sent again; and nothing is prepared any
 * more, for the connection is gone.
 */
ngx_int_t ngx_http_trifecta_pg_named_send(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query);
ngx_uint_t ngx_http_trifecta_pg_named_again(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query, PGresult *res);
void ngx_http_trifecta_pg_named_clear(ngx_http_trifecta_pg_t *pg);

/* pg_greet.c: what a new connection asks first. */
ngx_int_t ngx_http_trifecta_pg_introduce(ngx_http_trifecta_pg_t *pg);

/* Moves the queries whose time is over, or all, and answers those moved. */
void ngx_http_trifecta_pg_expire(ngx_http_trifecta_pg_t *pg,
    ngx_queue_t *doomed);
void ngx_http_trifecta_pg_move(ngx_queue_t *to, ngx_queue_t *from);
void ngx_http_trifecta_pg_doom(ngx_http_trifecta_pg_t *pg,
    ngx_queue_t *doomed);


#endif /* NGX_HTTP_TRIFECTA_PG_QUERY_H_INCLUDED */
