#include "queue/redis.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>


/* In decimal, at the end of text: where it begins. */

static char *
tf_cmd_digits(char text[24], uint64_t n)
{
    char  *p;

    p = text + 24;

    do {
        *--p = (char) ('0' + n % 10);
        n /= 10;
    } while (n > 0);

    return p;
}


void
tf_cmd_arg(tf_cmd_t *cmd, const char *data, size_t len)
{
    char  *p, text[24];

    p = tf_cmd_digits(text, len);

    tf_buf_append(&cmd->args, "$", 1);
    tf_buf_append(&cmd->args, p, (size_t) (text + sizeof(text) - p));
    tf_buf_append(&cmd->args, "\r\n", 2);
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
    char  *p, text[24];

    p = tf_cmd_digits(text, n < 0 ? 0 - (uint64_t) n : (uint64_t) n);

    if (n < 0) {
        *--p = '-';
    }

    tf_cmd_arg(cmd, p, (size_t) (text + sizeof(text) - p));
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
