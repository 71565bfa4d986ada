#ifndef NGX_HTTP_TRIFECTA_REDIS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_REDIS_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_resp.h"


/*
 * A connection to Redis.  A worker has two to each shard (shard.h): one for
 * the commands of requests, and the subscriber's (subscriber.h).  nginx owns
 * the socket; hiredis parses replies, and touches nothing else.
 *
 *   down ──> finding ──> connecting ──> greeting ──> ready
 *     ^         │            │             │           │
 *     └─────────┴────────────┴──── wait ───┴───────────┘
 *
 * "Finding" asks the sentinels, if the shard has any, which server is the
 * master (sentinel.h), before every attempt: so a connection that ends,
 * whether by a close, a deadline or READONLY, is made again to whoever is the
 * master by then.
 *
 * "Greeting" is AUTH, if a password is configured, INFO server replication
 * and HMGET P:meta epoch schema server rebuild install, in one write.  The
 * connection is closed again, and tried again within a second, when the server
 * is a replica, has no epoch or another schema than ours, is being rebuilt, is
 * of another installation (install.h), or is not the one for which a sidecar
 * has adopted the queue: a Redis that was restarted or replaced may have lost
 * jobs, so nothing is accepted until a sidecar has compared it with
 * PostgreSQL.  Every five seconds the connection
 * of requests asks the same again; that of messages, where only PING may be
 * sent, does so after five seconds without any message, and at once when the
 * other has ended.
 *
 * A command is in one of three queues, all in the order of arrival:
 *   waiting   there is no connection for it yet
 *   out       not completely written
 *   sent      written, its reply is owed
 * Every command has a deadline of 800 ms.  When the oldest of out and sent
 * passes its deadline, the server is frozen or the network cut: the whole
 * connection is given up.
 *
 * What happens to commands when a connection ends:
 * - one that was written and has RESEND goes to the waiting queue, once, with
 *   800 ms more, to be written again on the next connection;
 * - any other that was written gets its handler called without a reply;
 * - one of which no byte has left waits for the next attempt, if this
 *   connection was a good one, else it is answered, too.
 * The handler is told whether bytes of the command may have reached Redis in
 * any of the tries: without that a failure means "never happened", with it
 * "unknown".
 *
 * While the first connection of a worker is being made, and after a ready
 * one broke, new commands wait for the attempt; once an attempt has failed
 * they are refused at once until a connection is ready.  A worker that sees
 * in the shared zone that another one got through tries again at once.
 *
 * A command does not live in the request's pool.  A request that ends while
 * its command is out calls ngx_http_trifecta_redis_orphan(); a reply that
 * comes later is parsed and dropped.
 */

#define NGX_HTTP_TRIFECTA_REDIS_CONNECT  300        /* ms */
#define NGX_HTTP_TRIFECTA_REDIS_TIMEOUT  800        /* ms, a command */
#define NGX_HTTP_TRIFECTA_REDIS_IDLE     5000       /* ms, then PING */
#define NGX_HTTP_TRIFECTA_REDIS_MAX      4096       /* commands in flight */
#define NGX_HTTP_TRIFECTA_REDIS_BYTES    67108864   /* of them together */

#define NGX_HTTP_TRIFECTA_REDIS_RESEND   1          /* flags of a command */

typedef struct ngx_http_trifecta_redis_s      ngx_http_trifecta_redis_t;
typedef struct ngx_http_trifecta_redis_cmd_s  ngx_http_trifecta_redis_cmd_t;


/*
 * The reply is NULL when there was none; it belongs to the caller, unless the
 * handler of an owner's command sets "kept".  Of several commands it is that
 * of the last one, and the others are in "first" if there is a last one.  sent: bytes were written at
 * least once.  resent: written on two connections.  unconfirmed: too few
 * replicas have what it did (confirm.h).
 */

#define NGX_HTTP_TRIFECTA_REDIS_FIRST    2

typedef struct {
    redisReply                     *reply;
    redisReply                    **first;  /* of several commands */
    ngx_uint_t                      nfirst;
    unsigned                        sent:1;
    unsigned                        resent:1;
    unsigned                        unconfirmed:1;
    unsigned                        kept:1;
} ngx_http_trifecta_redis_answer_t;

typedef void (*ngx_http_trifecta_redis_handler_pt)(void *data,
    ngx_http_trifecta_redis_answer_t *answer);


/*
 * What somebody who owns a connection of his own is told: that it is ready
 * for his commands, that it is gone or an attempt has failed, and what Redis
 * sends without being asked; with a push nothing but PING may be sent on it
 * beside his own commands.  push and the handlers of commands run inside
 * the loop of the reader, so they must not end the connection.
 */

typedef struct {
    const char                     *what;   /* it is for, in the log */
    void                          (*ready)(void *data);
    void                          (*lost)(void *data);
    void                          (*push)(void *data, redisReply *reply);
} ngx_http_trifecta_redis_owner_t;


/*
 * Both are called at the start and the end of a worker.  The owner is NULL
 * for the connection that requests use.  lost may be called from within
 * create.
 */
ngx_http_trifecta_redis_t *ngx_http_trifecta_redis_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard,
    const ngx_http_trifecta_redis_owner_t *owner, void *data);
void ngx_http_trifecta_redis_destroy(ngx_http_trifecta_redis_t *redis);

/*
 * NULL when the command was refused: no connection, or too much in flight.
 * The handler is never called from within, and exactly once afterwards.
 */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_command(
    ngx_http_trifecta_redis_t *redis, int argc, const char **argv,
    const size_t *argvlen, ngx_uint_t flags,
    ngx_http_trifecta_redis_handler_pt handler, void *data);

/*
 * The same for n commands that only read, of 2 or 3, which are formatted
 * already and go together; the text is copied.
 */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_commands(
    ngx_http_trifecta_redis_t *redis, ngx_uint_t n, const u_char *text,
    size_t len, ngx_http_trifecta_redis_handler_pt handler, void *data);

/*
 * For the shards (shard.h): one that waits before its first attempt makes it,
 * one that is ready looks soon whether it may stay.
 */
void ngx_http_trifecta_redis_hurry(ngx_http_trifecta_redis_t *redis);
void ngx_http_trifecta_redis_look(ngx_http_trifecta_redis_t *redis);

/*
 * HMGET P:meta epoch schema server rebuild install, and what is wrong with
 * the answer of this connection's server, or NULL.
 */
const char *ngx_http_trifecta_redis_check(ngx_http_trifecta_redis_t *redis,
    redisReply *reply, u_char *buf, size_t size);
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_redis_meta(
    ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_handler_pt handler, void *data);

/*
 * Adds the us until the answer to *spent, unless the command is an orphan by
 * then.  NULL is no command.
 */
void ngx_http_trifecta_redis_charge(ngx_http_trifecta_redis_cmd_t *cmd,
    uint64_t *spent);

void ngx_http_trifecta_redis_orphan(ngx_http_trifecta_redis_cmd_t *cmd);

/* Why there is no connection, or NULL when it is ready. */
const char *ngx_http_trifecta_redis_reason(ngx_http_trifecta_redis_t *redis);

/* The server it is connected to, or was tried last; empty if there is none. */
ngx_str_t *ngx_http_trifecta_redis_address(ngx_http_trifecta_redis_t *redis);


#endif /* NGX_HTTP_TRIFECTA_REDIS_H_INCLUDED */
