#ifndef NGX_HTTP_TRIFECTA_CONFIRM_BATCH_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CONFIRM_BATCH_H_INCLUDED


#include "ngx_http_trifecta_confirm.h"
#include "ngx_http_trifecta_redis_cmd.h"


/*
 * What the two files of a connection whose commands are confirmed share:
 * confirm.c owns the connection, confirm_batch.c moves commands from those
 * that were gathered into a batch, and answers them.
 */

/* Its reply is kept until that of WAIT has come. */

struct ngx_http_trifecta_confirm_cmd_s {
    ngx_queue_t                          queue;
    char                                *text;
    size_t                               len;
    ngx_msec_t                           deadline;
    uint64_t                             started;   /* us */
    uint64_t                            *spent;
    ngx_http_trifecta_redis_handler_pt   handler;
    void                                *data;
    redisReply                          *reply;
    unsigned                             sent:1;
    unsigned                             resent:1;
};


/* A debug build of nginx takes the data of an event for a connection. */

struct ngx_http_trifecta_confirm_s {
    ngx_http_trifecta_main_conf_t       *mcf;
    ngx_http_trifecta_shard_t           *shard;
    ngx_http_trifecta_redis_t           *redis;
    ngx_socket_t                         fd;        /* -1 */
    ngx_log_t                           *log;

    ngx_queue_t                          gathered;
    ngx_queue_t                          batch;     /* written, not answered */
    ngx_queue_t                         *next;      /* of it, to be replied */
    ngx_uint_t                           ncmds;
    size_t                               bytes;

    ngx_event_t                          flush;
    ngx_event_t                          deadline;

    unsigned                             known:1;   /* its version */
    unsigned                             aof:1;     /* it has WAITAOF */
    unsigned                             out:1;     /* a batch is */
    unsigned                             waits:1;   /* with its WAIT */
};


/* The handlers of the two events. */
void ngx_http_trifecta_confirm_flush(ngx_event_t *ev);
void ngx_http_trifecta_confirm_expire(ngx_event_t *ev);

/* The timer runs for the oldest command that somebody waits for. */
void ngx_http_trifecta_confirm_rearm(ngx_http_trifecta_confirm_t *confirm);

void ngx_http_trifecta_confirm_move(ngx_queue_t *to, ngx_queue_t *from);

/* Answers those in a local queue, which no handler can reach. */
void ngx_http_trifecta_confirm_finish(ngx_http_trifecta_confirm_t *confirm,
    ngx_queue_t *done, ngx_uint_t confirmed);


static ngx_inline ngx_http_trifecta_confirm_cmd_t *
ngx_http_trifecta_confirm_cmd(ngx_queue_t *q)
{
    return ngx_queue_data(q, ngx_http_trifecta_confirm_cmd_t, queue);
}


#endif /* NGX_HTTP_TRIFECTA_CONFIRM_BATCH_H_INCLUDED */
