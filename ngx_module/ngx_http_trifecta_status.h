#ifndef NGX_HTTP_TRIFECTA_STATUS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_STATUS_H_INCLUDED


#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"


/*
 * "trifecta status": one JSON page that says how this nginx and its stores
 * are, for people and scripts.
 *
 * The stores are asked over the connections that requests use: each shard
 * three times, one after the other (the queue's counts, INFO, one parameter),
 * all shards at once, and PostgreSQL once beside that.  What a store does not
 * tell, because it is away or because its user may not ask, is "unknown"; the
 * page is answered all the same.  Addresses are made of host, port and
 * database alone.
 *
 * status.c is the page and PostgreSQL, status_shard.c are the shards.
 */

#define NGX_HTTP_TRIFECTA_STATUS_WORD     64
#define NGX_HTTP_TRIFECTA_STATUS_NUMBERS  16

typedef struct ngx_http_trifecta_status_s  ngx_http_trifecta_status_t;

typedef struct {
    u_char                     word[NGX_HTTP_TRIFECTA_STATUS_WORD];
} ngx_http_trifecta_word_t;

typedef struct {
    u_char                     name[24];
    int64_t                    value;
} ngx_http_trifecta_status_number_t;

typedef struct {
    ngx_http_trifecta_op_t      op;
    ngx_http_trifecta_status_t *status;
    ngx_http_trifecta_shard_t  *shard;

    ngx_uint_t                  nnumbers;   /* of the queue */
    ngx_http_trifecta_status_number_t
                                numbers[NGX_HTTP_TRIFECTA_STATUS_NUMBERS];

    ngx_http_trifecta_word_t    version;    /* of Redis */
    ngx_http_trifecta_word_t    role;
    ngx_http_trifecta_word_t    appendonly;
    ngx_http_trifecta_word_t    appendfsync;
    ngx_http_trifecta_word_t    last_write;
    ngx_http_trifecta_word_t    policy;
} ngx_http_trifecta_status_shard_t;

struct ngx_http_trifecta_status_s {
    ngx_http_trifecta_op_t      op;
    ngx_uint_t                  owed;       /* stores that still answer */
    ngx_uint_t                  nshards;
    ngx_http_trifecta_status_shard_t  *shards[TF_SHARDS_MAX];
    ngx_http_trifecta_word_t    pg[6];
};


/* One store less is owed; the last one makes the page. */
void ngx_http_trifecta_status_answered(ngx_http_trifecta_status_t *st);

void ngx_http_trifecta_status_word(ngx_http_trifecta_word_t *w,
    const char *text, size_t len);

/* A member of an object, but not its first one. */
void ngx_http_trifecta_status_member(ngx_http_trifecta_json_t *j,
    const char *name, const u_char *text);
void ngx_http_trifecta_status_ready(ngx_http_trifecta_json_t *j,
    const char *reason);

/* Asks a shard, whose answers are counted in st->owed. */
ngx_int_t ngx_http_trifecta_status_ask(ngx_http_trifecta_status_t *st,
    ngx_http_trifecta_shard_t *shard);

/* The members "redis" and "queue" of the page. */
void ngx_http_trifecta_status_shards(ngx_http_trifecta_json_t *j,
    ngx_http_trifecta_status_t *st);


#endif /* NGX_HTTP_TRIFECTA_STATUS_H_INCLUDED */
