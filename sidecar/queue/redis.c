#include "queue/redis.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include <trifecta/keys.h>

#include "base/clock.h"
#include "queue/sentinel.h"


/* A peer whose machine is gone: probed after so many idle seconds. */
#define TF_REDIS_KEEPIDLE   5
#define TF_REDIS_KEEPINTVL  2
#define TF_REDIS_KEEPCNT    3


void
tf_redis_init(tf_redis_t *redis, const tf_conf_t *conf, const char *url,
    const char *prefix, int check)
{
    memset(redis, 0, sizeof(tf_redis_t));
    redis->conf = conf;
    redis->url = url;
    redis->prefix = prefix;
    redis->check = check;
    redis->role = 1;
    redis->password_file = conf->redis_password_file;
    redis->connect_ms = TF_REDIS_CONNECT_MS;
    redis->command_ms = TF_REDIS_COMMAND_MS;
}


void
tf_redis_close(tf_redis_t *redis)
{
    if (redis->ctx != NULL) {
        redisFree(redis->ctx);
        redis->ctx = NULL;
    }

    redis->pending = 0;
}


static int
tf_redis_fail(tf_redis_t *redis, const char *what)
{
    const char  *why;

    why = redis->ctx ? redis->ctx->errstr : "";
    (void) snprintf(redis->err, sizeof(redis->err), "%s%s%s (%s)", what,
                    *why ? ": " : "", why, redis->at);
    redis->refused = 0;
    tf_redis_close(redis);

    return -1;
}


static int
tf_redis_wait(tf_redis_t *redis, short events, int64_t deadline)
{
    int            n;
    int64_t        left;
    struct pollfd  pfd;

    pfd.fd = redis->ctx->fd;
    pfd.events = events;

    for ( ;; ) {
        left = deadline - tf_clock_ms();
        if (left <= 0) {
            return 0;
        }

        n = poll(&pfd, 1, (int) left);
        if (n > 0) {
            return 1;
        }

        if (n == -1 && errno != EINTR) {
            return 0;
        }
    }
}


/* AUTH with the password of the file, if there is one. */

static int
tf_redis_auth(tf_redis_t *redis, const char *user)
{
    char        *password;
    redisReply  *reply;

    if (redis->password_file[0] == '\0') {
        return 0;
    }

    password = tf_read_secret(redis->password_file, redis->err,
                              sizeof(redis->err));
    if (password == NULL) {
        tf_redis_close(redis);
        return -1;
    }

    if (user[0]) {
        reply = tf_redis_command(redis, 0, "AUTH", user, password, NULL);

    } else {
        reply = tf_redis_command(redis, 0, "AUTH", password, NULL);
    }

    OPENSSL_cleanse(password, strlen(password));
    free(password);

    if (reply == NULL) {
        return -1;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "Redis refused the password of \"%s\": %s",
                        redis->password_file, reply->str);
        freeReplyObject(reply);
        redis->refused = 1;
        tf_redis_close(redis);
        return -1;
    }

    freeReplyObject(reply);

    return 0;
}


/* A replica would take what is read for the queue, and nothing else. */

static int
tf_redis_check_role(tf_redis_t *redis, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(redis->err, sizeof(redis->err), "Redis at %s does "
                        "not tell its role: %s", redis->at, reply->str);
        return -1;
    }

    if (reply->type == REDIS_REPLY_STRING
        && strstr(reply->str, "role:master\r\n") != NULL)
    {
        return 0;
    }

    (void) snprintf(redis->err, sizeof(redis->err), "Redis at %s is a "
                    "replica, the queue needs the master: %s", redis->at,
                    strncmp(redis->url, "sentinel:", 9) == 0
                    ? "the sentinels still name it, a failover may be on "
                      "its way"
                    : "name the master in redis_url, or its sentinels "
                      "(sentinel://host:port,host:port/master)");

    return -1;
}


static int
tf_redis_check_queue(tf_redis_t *redis, const redisReply *reply)
{
    const char  *epoch, *schema, *install;

    epoch = tf_reply_str(reply, 0);
    schema = tf_reply_str(reply, 1);
    install = tf_reply_str(reply, 2);

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(redis->err, sizeof(redis->err), "Redis at %s: %s",
                        redis->at, reply->str);

    } else if (epoch[0] == '\0') {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "the Redis at %s holds no queue (NOTREADY) until it "
                        "is rebuilt from PostgreSQL", redis->at);

    } else if (redis->install != NULL && strcmp(install, redis->install) != 0)
    {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "the Redis at %s holds the queue of another "
                        "installation (%.64s)", redis->at, install);

    } else if (strcmp(schema, TF_REDIS_SCHEMA_STR) != 0) {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "the queue in the Redis at %s has schema version "
                        "\"%.16s\", this program needs %s: run \"trifecta "
                        "migrate\" of the same release", redis->at, schema,
                        TF_REDIS_SCHEMA_STR);

    } else {
        return 0;
    }

    return -1;
}


/* Is this the server that was meant?  One write, two replies. */

static int
tf_redis_check(tf_redis_t *redis)
{
    int          rc;
    char         key[64];
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_begin(&cmd, "INFO");
    tf_cmd_str(&cmd, "replication");
    rc = tf_redis_append(redis, &cmd);

    if (rc == 0 && redis->check) {
        (void) snprintf(key, sizeof(key), "%s:meta", redis->prefix);
        tf_cmd_begin(&cmd, "HMGET");
        tf_cmd_str(&cmd, key);
        tf_cmd_str(&cmd, "epoch");
        tf_cmd_str(&cmd, "schema");
        tf_cmd_str(&cmd, "install");
        rc = tf_redis_append(redis, &cmd);
    }

    tf_cmd_free(&cmd);

    if (rc == 0) {
        reply = tf_redis_reply(redis, 0);
        redis->refused |= reply != NULL;
        rc = reply ? tf_redis_check_role(redis, reply) : -1;
        freeReplyObject(reply);
    }

    if (rc == 0 && redis->check) {
        reply = tf_redis_reply(redis, 0);
        redis->refused |= reply != NULL;
        rc = reply ? tf_redis_check_queue(redis, reply) : -1;
        freeReplyObject(reply);
    }

    if (rc != 0) {
        tf_redis_close(redis);
    }

    return rc;
}


/*
 * The kernel notices a peer that has vanished, also while nothing is asked;
 * one that is there and does not answer is for the deadlines.
 */

static void
tf_redis_keepalive(int fd)
{
    (void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int) { 1 },
                      sizeof(int));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE,
                      &(int) { TF_REDIS_KEEPIDLE }, sizeof(int));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL,
                      &(int) { TF_REDIS_KEEPINTVL }, sizeof(int));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT,
                      &(int) { TF_REDIS_KEEPCNT }, sizeof(int));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 },
                      sizeof(int));
}


static int
tf_redis_open(tf_redis_t *redis, const tf_redis_host_t *host)
{
    int        error;
    int64_t    deadline;
    socklen_t  len;

    (void) snprintf(redis->at, sizeof(redis->at), "%s:%d", host->host,
                    host->port);
    deadline = tf_clock_ms() + redis->connect_ms;

    redis->ctx = redisConnectNonBlock(host->host, host->port);
    if (redis->ctx == NULL || redis->ctx->err) {
        return tf_redis_fail(redis, "cannot connect to Redis");
    }

    if (!tf_redis_wait(redis, POLLOUT, deadline)) {
        return tf_redis_fail(redis, "Redis does not answer");
    }

    len = sizeof(error);
    if (getsockopt(redis->ctx->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1
        || error != 0)
    {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "cannot connect to Redis at %s: %s", redis->at,
                        strerror(error));
        redis->refused = 0;
        tf_redis_close(redis);
        return -1;
    }

    redis->ctx->flags |= REDIS_CONNECTED;
    tf_redis_keepalive(redis->ctx->fd);

    return 0;
}


int
tf_redis_connect(tf_redis_t *redis)
{
    tf_redis_url_t   u;
    tf_redis_host_t  master;

    if (redis->ctx != NULL) {
        return 0;
    }

    if (tf_redis_url_parse(&u, redis->url) != 0) {
        (void) snprintf(redis->err, sizeof(redis->err), "redis_url: this is "
                        "no URL of a Redis");
        return -1;
    }

    if (u.master[0] == '\0') {
        master = u.hosts[0];

    } else if (tf_sentinel_find(redis, &u, &master) != 0) {
        redis->refused = 0;
        return -1;
    }

    if (tf_redis_open(redis, &master) != 0
        || tf_redis_auth(redis, u.user) != 0)
    {
        return -1;
    }

    return redis->role ? tf_redis_check(redis) : 0;
}


int
tf_redis_append(tf_redis_t *redis, const tf_cmd_t *cmd)
{
    char  head[32];
    int   n;

    if (cmd->args.failed) {
        /* what was appended before is answered, too: to nobody */
        return tf_redis_fail(redis, "out of memory");
    }

    if (tf_redis_connect(redis) != 0) {
        return -1;
    }

    n = snprintf(head, sizeof(head), "*%u\r\n", cmd->n);

    if (redisAppendFormattedCommand(redis->ctx, head, (size_t) n) != REDIS_OK
        || redisAppendFormattedCommand(redis->ctx, cmd->args.data,
                                       cmd->args.len)
           != REDIS_OK)
    {
        return tf_redis_fail(redis, "out of memory");
    }

    redis->pending++;

    return 0;
}


int
tf_redis_send(tf_redis_t *redis)
{
    int  done;

    if (redisBufferWrite(redis->ctx, &done) != REDIS_OK) {
        return tf_redis_fail(redis, "the connection to Redis failed");
    }

    return 0;
}


/* The next reply before the deadline; *late when there was none. */

static redisReply *
tf_redis_next(tf_redis_t *redis, int64_t deadline, int *late)
{
    int    done;
    void  *reply;

    *late = 0;
    done = 0;

    for ( ;; ) {
        if (!done && redisBufferWrite(redis->ctx, &done) != REDIS_OK) {
            (void) tf_redis_fail(redis, "the connection to Redis failed");
            return NULL;
        }

        if (done) {
            tf_fault_sent(redis);
        }

        if (redisGetReplyFromReader(redis->ctx, &reply) != REDIS_OK) {
            (void) tf_redis_fail(redis, "Redis sent what is no reply");
            return NULL;
        }

        if (reply != NULL) {
            return reply;
        }

        if (!tf_redis_wait(redis, done ? POLLIN : POLLIN | POLLOUT,
                           deadline))
        {
            *late = 1;
            return NULL;
        }

        if (redisBufferRead(redis->ctx) != REDIS_OK) {
            (void) tf_redis_fail(redis, "the connection to Redis failed");
            return NULL;
        }
    }
}


/*
 * Answers that say that this is no longer the server that was connected to:
 * they close the connection, and the next one looks for the master again.
 */

static int
tf_redis_gone(tf_redis_t *redis, const redisReply *reply)
{
    size_t  i;

    static const char *const  words[] = {
        "READONLY", "UNBLOCKED", "MASTERDOWN", "LOADING", "NOAUTH"
    };

    if (!redis->role || reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncmp(reply->str, words[i], strlen(words[i])) == 0) {
            (void) snprintf(redis->err, sizeof(redis->err),
                            "the Redis at %s does not serve the queue now: "
                            "%.160s", redis->at, reply->str);
            redis->refused = 1;
            tf_redis_close(redis);
            return 1;
        }
    }

    return 0;
}


redisReply *
tf_redis_reply(tf_redis_t *redis, int timeout)
{
    int          late;
    redisReply  *reply;

    if (redis->ctx == NULL) {
        return NULL;
    }

    if (redis->pending == 0) {
        (void) tf_redis_fail(redis, "no reply is to come");
        return NULL;
    }

    reply = tf_redis_next(redis, tf_clock_ms()
                          + (timeout ? timeout : redis->command_ms), &late);

    if (reply == NULL) {
        if (late) {
            (void) tf_redis_fail(redis, "Redis did not answer in time");
        }

        return NULL;
    }

    redis->pending--;

    if (tf_redis_gone(redis, reply)) {
        freeReplyObject(reply);
        return NULL;
    }

    redis->refused = reply->type == REDIS_REPLY_ERROR;

    if (redis->answers != NULL && !redis->refused) {
        tf_answers_note(redis->answers);
    }

    return reply;
}


redisReply *
tf_redis_push(tf_redis_t *redis, int timeout)
{
    int  late;

    if (redis->ctx == NULL) {
        return NULL;
    }

    return tf_redis_next(redis, tf_clock_ms() + timeout, &late);
}
