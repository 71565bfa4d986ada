#include "queue/redis.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include <trifecta/keys.h>

#include "base/clock.h"


typedef struct {
    char  user[128];
    char  host[256];
    int   port;
} tf_redis_url_t;


/* redis://[user@]host[:port][/]; 0 or -1 */

static int
tf_redis_parse_url(tf_redis_url_t *u, const char *url)
{
    long         port;
    char        *end;
    size_t       n;
    const char  *p, *at, *stop, *colon;

    memset(u, 0, sizeof(tf_redis_url_t));
    u->port = 6379;

    if (strncmp(url, "redis://", 8) != 0) {
        return -1;
    }

    p = url + 8;
    at = strchr(p, '@');

    if (at != NULL) {
        n = (size_t) (at - p);
        if (n >= sizeof(u->user) || memchr(p, ':', n) != NULL) {
            return -1;
        }

        memcpy(u->user, p, n);
        p = at + 1;
    }

    stop = p + strcspn(p, "/");
    if (*stop == '/' && stop[1] != '\0') {
        return -1;
    }

    if (*p == '[') {
        p++;
        colon = strchr(p, ']');
        if (colon == NULL || colon > stop) {
            return -1;
        }
        n = (size_t) (colon - p);
        colon++;

    } else {
        colon = p + strcspn(p, ":/");
        n = (size_t) (colon - p);
    }

    if (n == 0 || n >= sizeof(u->host)) {
        return -1;
    }

    memcpy(u->host, p, n);

    if (colon < stop) {
        if (*colon != ':') {
            return -1;
        }

        port = strtol(colon + 1, &end, 10);
        if (end != stop || port < 1 || port > 65535) {
            return -1;
        }
        u->port = (int) port;
    }

    return 0;
}


void
tf_redis_init(tf_redis_t *redis, const tf_conf_t *conf, const char *prefix,
    int check)
{
    memset(redis, 0, sizeof(tf_redis_t));
    redis->conf = conf;
    redis->prefix = prefix;
    redis->check = check;
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
    (void) snprintf(redis->err, sizeof(redis->err), "%s%s%s", what,
                    *why ? ": " : "", why);
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

    if (redis->conf->redis_password_file[0] == '\0') {
        return 0;
    }

    password = tf_read_secret(redis->conf->redis_password_file, redis->err,
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
                        redis->conf->redis_password_file, reply->str);
        freeReplyObject(reply);
        tf_redis_close(redis);
        return -1;
    }

    freeReplyObject(reply);

    return 0;
}


static int
tf_redis_check(tf_redis_t *redis)
{
    int          rc;
    char         key[64];
    redisReply  *reply;
    const char  *epoch, *schema;

    (void) snprintf(key, sizeof(key), "%s:meta", redis->prefix);

    reply = tf_redis_command(redis, 0, "HMGET", key, "epoch", "schema", NULL);
    if (reply == NULL) {
        return -1;
    }

    rc = -1;
    epoch = tf_reply_str(reply, 0);
    schema = tf_reply_str(reply, 1);

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(redis->err, sizeof(redis->err), "Redis: %s",
                        reply->str);

    } else if (epoch[0] == '\0') {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "this Redis holds no queue (NOTREADY): run "
                        "\"trifecta migrate\", or \"trifecta doctor\" if it "
                        "held one before");

    } else if (strcmp(schema, TF_REDIS_SCHEMA_STR) != 0) {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "the queue in Redis has schema version \"%.16s\", "
                        "this program needs %s: run \"trifecta migrate\" of "
                        "the same release", schema, TF_REDIS_SCHEMA_STR);

    } else {
        redis->epoch = strtoll(epoch, NULL, 10);
        rc = 0;
    }

    freeReplyObject(reply);

    if (rc != 0) {
        tf_redis_close(redis);
    }

    return rc;
}


int
tf_redis_connect(tf_redis_t *redis)
{
    int             error;
    int64_t         deadline;
    socklen_t       len;
    tf_redis_url_t  u;

    if (redis->ctx != NULL) {
        return 0;
    }

    if (tf_redis_parse_url(&u, redis->conf->redis_url) != 0) {
        (void) snprintf(redis->err, sizeof(redis->err),
                        "redis_url must look like redis://[user@]host:port, "
                        "with the password in redis_password_file");
        return -1;
    }

    deadline = tf_clock_ms() + redis->connect_ms;

    redis->ctx = redisConnectNonBlock(u.host, u.port);
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
                        "cannot connect to Redis at %s:%d: %s", u.host,
                        u.port, strerror(error));
        tf_redis_close(redis);
        return -1;
    }

    redis->ctx->flags |= REDIS_CONNECTED;

    if (tf_redis_auth(redis, u.user) != 0) {
        return -1;
    }

    return redis->check ? tf_redis_check(redis) : 0;
}


void
tf_cmd_arg(tf_cmd_t *cmd, const char *data, size_t len)
{
    tf_buf_printf(&cmd->args, "$%zu\r\n", len);
    tf_buf_append(&cmd->args, data, len);
    tf_buf_append(&cmd->args, "\r\n", 2);
    cmd->n++;
}


void
tf_cmd_str(tf_cmd_t *cmd, const char *s)
{
    tf_cmd_arg(cmd, s, strlen(s));
}


void
tf_cmd_num(tf_cmd_t *cmd, int64_t n)
{
    char  text[24];

    (void) snprintf(text, sizeof(text), "%lld", (long long) n);
    tf_cmd_str(cmd, text);
}


void
tf_cmd_begin(tf_cmd_t *cmd, const char *name)
{
    tf_buf_reset(&cmd->args);
    cmd->n = 0;
    tf_cmd_str(cmd, name);
}


void
tf_cmd_fcall(tf_cmd_t *cmd, const char *function, const char *prefix)
{
    tf_cmd_begin(cmd, "FCALL");
    tf_cmd_str(cmd, function);
    tf_cmd_str(cmd, "1");
    tf_cmd_str(cmd, prefix);
}


void
tf_cmd_free(tf_cmd_t *cmd)
{
    tf_buf_free(&cmd->args);
    cmd->n = 0;
}


int
tf_redis_append(tf_redis_t *redis, const tf_cmd_t *cmd)
{
    char  head[32];
    int   n;

    if (cmd->args.failed) {
        (void) snprintf(redis->err, sizeof(redis->err), "out of memory");
        return -1;
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

    if (reply != NULL) {
        redis->pending--;

    } else if (late) {
        (void) tf_redis_fail(redis, "Redis did not answer in time");
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


redisReply *
tf_redis_call(tf_redis_t *redis, int timeout, const tf_cmd_t *cmd)
{
    if (tf_redis_append(redis, cmd) != 0) {
        return NULL;
    }

    return tf_redis_reply(redis, timeout);
}


redisReply *
tf_redis_command(tf_redis_t *redis, int timeout, ...)
{
    va_list      ap;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;
    const char  *word;

    va_start(ap, timeout);

    for (word = va_arg(ap, const char *);
         word != NULL;
         word = va_arg(ap, const char *))
    {
        tf_cmd_str(&cmd, word);
    }

    va_end(ap);

    reply = tf_redis_call(redis, timeout, &cmd);

    OPENSSL_cleanse(cmd.args.data, cmd.args.len);
    tf_cmd_free(&cmd);

    return reply;
}


size_t
tf_reply_len(const redisReply *reply)
{
    return (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
           ? reply->elements : 0;
}


const char *
tf_reply_str(const redisReply *reply, size_t i)
{
    const redisReply  *e;

    if (i >= tf_reply_len(reply)) {
        return "";
    }

    e = reply->element[i];

    return (e->type == REDIS_REPLY_STRING || e->type == REDIS_REPLY_STATUS)
           ? e->str : "";
}


int64_t
tf_reply_num(const redisReply *reply, size_t i)
{
    const redisReply  *e;

    if (i >= tf_reply_len(reply)) {
        return 0;
    }

    e = reply->element[i];

    if (e->type == REDIS_REPLY_INTEGER) {
        return e->integer;
    }

    return strtoll(tf_reply_str(reply, i), NULL, 10);
}
