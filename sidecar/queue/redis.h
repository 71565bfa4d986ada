#ifndef TF_QUEUE_REDIS_H
#define TF_QUEUE_REDIS_H


#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include <trifecta/fault.h>

#include "base/buf.h"
#include "base/conf.h"
#include "queue/pulse.h"


/*
 * Redis: plain calls that block, but never without a deadline.
 *
 * A connection belongs to one thread.  Commands are appended (tf_cmd_*) and
 * go out with the first wait for a reply, so pipelining is appending several
 * before reading as many replies.  When a deadline passes or the socket
 * fails the connection is closed and NULL is returned; what was on the way
 * may or may not have been executed.  The next append connects again.
 *
 * Every connect finds the server anew: a sentinel:// URL asks the sentinels
 * which one is the master.  A server that is a replica is refused, and a
 * connection whose server became one is closed with the first answer that
 * says so.  TCP keepalive finds peers that are gone; those that are frozen
 * are for the deadlines.
 *
 * A connection that is made with "check" serves the queue: at every connect
 * it refuses a Redis that has no epoch, whose function library is of another
 * version, or that holds the queue of another installation.
 */

#define TF_REDIS_CONNECT_MS  1000
#define TF_REDIS_COMMAND_MS  2000

typedef struct {
    redisContext     *ctx;
    const tf_conf_t  *conf;
    const char       *url;          /* of the shard */
    const char       *prefix;       /* P of the shard */
    const char       *password_file;
    const char       *install;      /* if set: whose queue it has to be */
    int               check;
    int               role;         /* it has to be a master */
    int               connect_ms;   /* deadlines, if not told otherwise */
    int               command_ms;
    unsigned          pending;      /* replies that are still to come */
    unsigned          sentinel;     /* the one that answered last */
    int               refused;      /* err is what it answered */
    tf_answers_t     *answers;      /* if set: told of each */
    char              at[272];      /* where it is connected to */
    char              err[512];
#ifdef TF_FAULTS
    unsigned          fault;        /* passed when all commands have left */
#endif
} tf_redis_t;


/* url and prefix are kept by reference. */
void tf_redis_init(tf_redis_t *redis, const tf_conf_t *conf,
    const char *url, const char *prefix, int check);

/* 0, or -1 with err that says what to do.  Nothing when it is connected. */
int tf_redis_connect(tf_redis_t *redis);
void tf_redis_close(tf_redis_t *redis);


/* A command: begin, then its arguments, then append or call. */

typedef struct {
    tf_buf_t  args;
    unsigned  n;
} tf_cmd_t;

#define TF_CMD_INIT  { TF_BUF_INIT, 0 }

void tf_cmd_begin(tf_cmd_t *cmd, const char *name);
/* "FCALL <function> 1 <prefix>" (FCALL_RO is never needed here) */
void tf_cmd_fcall(tf_cmd_t *cmd, const char *function, const char *prefix);
void tf_cmd_arg(tf_cmd_t *cmd, const char *data, size_t len);
void tf_cmd_str(tf_cmd_t *cmd, const char *s);
void tf_cmd_num(tf_cmd_t *cmd, int64_t n);
void tf_cmd_free(tf_cmd_t *cmd);

/* Connects if need be and queues the command; 0 or -1. */
int tf_redis_append(tf_redis_t *redis, const tf_cmd_t *cmd);

/* Writes as much of what is queued as goes at once; 0 or -1. */
int tf_redis_send(tf_redis_t *redis);

/*
 * The next reply, awaited for timeout ms (0: command_ms); the caller
 * frees it.  NULL closes the connection.  An error reply is a reply.
 */
redisReply *tf_redis_reply(tf_redis_t *redis, int timeout);

/*
 * What a subscription brings, the confirmation included: NULL after timeout
 * ms without anything, the connection staying, or when the connection is
 * closed.
 */
redisReply *tf_redis_push(tf_redis_t *redis, int timeout);

/* Append and reply in one. */
redisReply *tf_redis_call(tf_redis_t *redis, int timeout,
    const tf_cmd_t *cmd);

/* The same for a command of plain words that end with NULL. */
redisReply *tf_redis_command(tf_redis_t *redis, int timeout, ...)
    __attribute__((sentinel));

/* The text of an element of an array reply; "" when it has none. */
const char *tf_reply_str(const redisReply *reply, size_t i);
int64_t tf_reply_num(const redisReply *reply, size_t i);
size_t tf_reply_len(const redisReply *reply);


#endif /* TF_QUEUE_REDIS_H */
