#ifndef NGX_HTTP_TRIFECTA_REDIS_CMD_H_INCLUDED
#define NGX_HTTP_TRIFECTA_REDIS_CMD_H_INCLUDED


#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_sentinel.h"


/*
 * What the files of a Redis connection share with each other and with the
 * owner of one: redis.c moves the connection from state to state,
 * redis_greet.c asks whom it has reached, redis_ask.c takes commands of
 * requests, redis_cmd.c moves them through the three queues.
 */

typedef enum {
    ngx_http_trifecta_redis_down = 0,
    ngx_http_trifecta_redis_finding,
    ngx_http_trifecta_redis_connecting,
    ngx_http_trifecta_redis_greeting,
    ngx_http_trifecta_redis_ready
} ngx_http_trifecta_redis_state_e;


struct ngx_http_trifecta_redis_cmd_s {
    ngx_queue_t                          queue;
    char                                *buf;
    size_t                               len;
    size_t                               written;
    ngx_msec_t                           deadline;
    uint64_t                             started;   /* us */
    uint64_t                            *spent;
    ngx_http_trifecta_redis_handler_pt   handler;
    void                                *data;
    ngx_uint_t                           owed;      /* replies, but one */
    ngx_uint_t                           nfirst;    /* of them are here */
    redisReply                          *first[NGX_HTTP_TRIFECTA_REDIS_FIRST];
#ifdef TF_FAULTS
    ngx_uint_t                           fault;     /* of fault.h; or 0 */
#endif
    unsigned                             own:1;     /* of no request */
    unsigned                             resend:1;
    unsigned                             retried:1;
    unsigned                             sent:1;
    unsigned                             resent:1;
};


/* What the connection of requests means for that of messages, when it ends. */

typedef enum {
    ngx_http_trifecta_doubt_none = 0,
    ngx_http_trifecta_doubt_alive,      /* try it now */
    ngx_http_trifecta_doubt_moved       /* it is the wrong server */
} ngx_http_trifecta_doubt_e;


/* A debug build of nginx takes the data of a timer for a connection. */

struct ngx_http_trifecta_redis_s {
    ngx_http_trifecta_main_conf_t       *mcf;
    ngx_connection_t                    *connection;
    ngx_log_t                           *log;
    ngx_socket_t                         fd;        /* -1 */

    ngx_http_trifecta_shard_t           *shard;
    const ngx_http_trifecta_redis_owner_t  *owner;  /* or NULL */
    void                                *data;      /* of the owner */

    ngx_http_trifecta_resp_t             resp;
    ngx_http_trifecta_redis_state_e      state;
    ngx_uint_t                           fails;     /* in a row */
    ngx_http_trifecta_sentinel_t        *sentinel;  /* or NULL */
    ngx_uint_t                           addr;      /* of the list */
    ngx_addr_t                           peer;
    ngx_http_trifecta_identity_t         identity;
    ngx_http_trifecta_doubt_e            doubt;
    ngx_msec_t                           ready_at;
    ngx_msec_t                           failed_at;
    ngx_msec_t                           active_at;

    ngx_queue_t                          waiting;
    ngx_queue_t                          out;
    ngx_queue_t                          sent;
    ngx_uint_t                           ncmds;
    ngx_uint_t                           nown;      /* of them */
    size_t                               bytes;

    ngx_event_t                          deadline;
    ngx_event_t                          reconnect;
    ngx_event_t                          idle;

    unsigned                             readonly:1;
    unsigned                             refused:1; /* it said so */
    unsigned                             held:1;    /* for PostgreSQL */
    u_char                               reason[256];
};


void ngx_http_trifecta_redis_connect(ngx_http_trifecta_redis_t *redis);

/*
 * redis_greet.c: queues what a new connection asks first, and what one asks
 * now and then.
 */
ngx_int_t ngx_http_trifecta_redis_introduce(ngx_http_trifecta_redis_t *redis);
ngx_int_t ngx_http_trifecta_redis_inquire(ngx_http_trifecta_redis_t *redis);

/* The deadline timer runs for the oldest command; call it after any change. */
void ngx_http_trifecta_redis_rearm(ngx_http_trifecta_redis_t *redis);

/*
 * Queues a command of the connection's own, or of its owner, while there is a
 * connection; it leaves with the next ngx_http_trifecta_redis_write().  It is
 * never sent again, and the data of its handler is the connection.
 */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_own(
    ngx_http_trifecta_redis_t *redis, int argc, const char **argv,
    ngx_http_trifecta_redis_handler_pt handler);

/* The same for one that is formatted already; the text is copied. */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_own_text(
    ngx_http_trifecta_redis_t *redis, const char *text, size_t len,
    ngx_http_trifecta_redis_handler_pt handler);

/* A command and, behind it, room for what is written; and that, written. */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_alloc_cmd(
    ngx_http_trifecta_redis_t *redis, size_t len);
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_create_cmd(
    ngx_http_trifecta_redis_t *redis, int argc, const char **argv,
    const size_t *argvlen);

/* Another worker may have found the server back: then try now. */
void ngx_http_trifecta_redis_hint(ngx_http_trifecta_redis_t *redis);

/* Writes what is in the queue "out"; NGX_ERROR when the socket fails. */
ngx_int_t ngx_http_trifecta_redis_write(ngx_http_trifecta_redis_t *redis);

/*
 * Answers commands by the replies that are there.  NGX_ERROR when the
 * connection is of no use any more, for the reason in *err.
 */
ngx_int_t ngx_http_trifecta_redis_replies(ngx_http_trifecta_redis_t *redis,
    const char **err);

/* Lets out what waited for a connection. */
void ngx_http_trifecta_redis_release(ngx_http_trifecta_redis_t *redis);

/*
 * The connection is gone: sorts all commands into those that wait for the
 * next one and those that are doomed.
 */
void ngx_http_trifecta_redis_sort(ngx_http_trifecta_redis_t *redis,
    ngx_queue_t *doomed);

/* Those that have waited for too long; whether a reply is overdue. */
ngx_uint_t ngx_http_trifecta_redis_expire(ngx_http_trifecta_redis_t *redis,
    ngx_queue_t *doomed);

/* Answers without a reply. */
void ngx_http_trifecta_redis_doom(ngx_http_trifecta_redis_t *redis,
    ngx_queue_t *doomed);


#endif /* NGX_HTTP_TRIFECTA_REDIS_CMD_H_INCLUDED */
