#ifndef NGX_HTTP_TRIFECTA_SENTINEL_H_INCLUDED
#define NGX_HTTP_TRIFECTA_SENTINEL_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * Asks the sentinels of a shard which Redis server is the master.
 *
 * They are asked one after the other, each over a connection of its own that
 * is closed afterwards, until one gives an address: 300 ms to connect, 800 ms
 * to answer.  The first is the one that gave it last time, unless what it
 * gave was no good.  An answer is only a hint: whoever asked connects to the
 * server and makes sure that it is the master, for a sentinel may be behind.
 *
 *   idle ──> connecting ──> asking ──> idle, and the handler is called
 *                ^             │
 *                └── the next ─┘
 */

#define NGX_HTTP_TRIFECTA_SENTINEL_CONNECT  300     /* ms */
#define NGX_HTTP_TRIFECTA_SENTINEL_TIMEOUT  800     /* ms */

typedef struct ngx_http_trifecta_sentinel_s  ngx_http_trifecta_sentinel_t;

/* The address is good until the next question; NULL: for this reason. */

typedef void (*ngx_http_trifecta_sentinel_pt)(void *data, ngx_addr_t *master,
    const char *reason);


ngx_http_trifecta_sentinel_t *ngx_http_trifecta_sentinel_create(
    ngx_cycle_t *cycle, ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_server_t *server, ngx_http_trifecta_sentinel_pt handler,
    void *data);

/* The handler is called once, and never from within. */
void ngx_http_trifecta_sentinel_ask(ngx_http_trifecta_sentinel_t *s);

/* The handler is not called any more.  May be called at any time. */
void ngx_http_trifecta_sentinel_stop(ngx_http_trifecta_sentinel_t *s);

/* What was found was no good: the next question goes to another one first. */
void ngx_http_trifecta_sentinel_skip(ngx_http_trifecta_sentinel_t *s);


#endif /* NGX_HTTP_TRIFECTA_SENTINEL_H_INCLUDED */
