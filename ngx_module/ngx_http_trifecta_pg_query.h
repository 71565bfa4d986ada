#ifndef NGX_HTTP_TRIFECTA_PG_QUERY_H_INCLUDED
#define NGX_HTTP_TRIFECTA_PG_QUERY_H_INCLUDED


#include "ngx_http_trifecta_pg.h"


/*
 * What the files of the PostgreSQL connection share: pg.c moves the connection
 * from state to state, pg_greet.c asks whom it has reached, pg_query.c moves
 * queries through the two queues.
 */

typedef enum {
    ngx_http_trifecta_pg_down = 0,
    ngx_http_trifecta_pg_connecting,
    ngx_http_trifecta_pg_checking,
    ngx_http_trifecta_pg_ready
} ngx_http_trifecta_pg_state_e;


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
    unsigned                                 own:1;     /* the check */
    unsigned                                 sent:1;
    unsigned                                 failed:1;
    unsigned                                 raw:1;     /* bytes, not text */
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

    ngx_event_t                              deadline;
    ngx_event_t                              reconnect;
    ngx_event_t                              login;

    unsigned                                 refused:1; /* by the check */
    unsigned                                 tried:1;   /* once, to its end */
    unsigned                                 asking:1;  /* for the id again */
    unsigned                                 lazy:1;    /* not that for jobs */
    u_char                                   reason[256];
};


void ngx_http_trifecta_pg_connect(ngx_http_trifecta_pg_t *pg);

/* The deadline timer runs for the oldest query; call it after any change. */
void ngx_http_trifecta_pg_rearm(ngx_http_trifecta_pg_t *pg);

/* Hands a query to libpq, which keeps what the socket does not take. */
ngx_int_t ngx_http_trifecta_pg_send(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query);

/* Takes every result that is there; NGX_ERROR when libpq is out of step. */
ngx_int_t ngx_http_trifecta_pg_results(ngx_http_trifecta_pg_t *pg);

/* Asks something as the connection's own query, while nothing waits. */
ngx_int_t ngx_http_trifecta_pg_own(ngx_http_trifecta_pg_t *pg,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_handler_pt handler);

/* pg_greet.c: what a new connection asks first. */
ngx_int_t ngx_http_trifecta_pg_introduce(ngx_http_trifecta_pg_t *pg);

/* Moves the queries whose time is over, or all, and answers those moved. */
void ngx_http_trifecta_pg_expire(ngx_http_trifecta_pg_t *pg,
    ngx_queue_t *doomed);
void ngx_http_trifecta_pg_move(ngx_queue_t *to, ngx_queue_t *from);
void ngx_http_trifecta_pg_doom(ngx_http_trifecta_pg_t *pg,
    ngx_queue_t *doomed);


#endif /* NGX_HTTP_TRIFECTA_PG_QUERY_H_INCLUDED */
