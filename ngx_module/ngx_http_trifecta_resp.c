#include "ngx_http_trifecta_resp.h"

#include <trifecta/text.h>


/*
 * A submit has half a hundred arguments: with printf() for the length of each
 * its command would cost more than the rest of it.  This is a number's line,
 * as the command has one for the arguments and one for each argument.
 */

static size_t
ngx_http_trifecta_resp_number_size(size_t n)
{
    size_t  size;

    for (size = 1 + 1 + 2; n >= 10; n /= 10) {
        size++;
    }

    return size;
}


static u_char *
ngx_http_trifecta_resp_number(u_char *p, char type, size_t n)
{
    *p++ = (u_char) type;

    p = tf_text_number(p, (int64_t) n);

    *p++ = CR;
    *p++ = LF;

    return p;
}


size_t
ngx_http_trifecta_resp_size(int argc, const char **argv,
    const size_t *argvlen)
{
    int     i;
    size_t  n, len;

    n = ngx_http_trifecta_resp_number_size((size_t) argc);

    for (i = 0; i < argc; i++) {
        len = argvlen ? argvlen[i] : ngx_strlen(argv[i]);
        n += ngx_http_trifecta_resp_number_size(len) + len + 2;
    }

    return n;
}


u_char *
ngx_http_trifecta_resp_write(u_char *p, int argc, const char **argv,
    const size_t *argvlen)
{
    int     i;
    size_t  len;

    p = ngx_http_trifecta_resp_number(p, '*', (size_t) argc);

    for (i = 0; i < argc; i++) {
        len = argvlen ? argvlen[i] : ngx_strlen(argv[i]);

        p = ngx_http_trifecta_resp_number(p, '$', len);
        p = ngx_cpymem(p, argv[i], len);

        *p++ = CR;
        *p++ = LF;
    }

    return p;
}


/*
 * hiredis allocates an array when it sees its length, before any element:
 * one line of a broken server could ask for gigabytes.
 */

static void *
ngx_http_trifecta_resp_array(const redisReadTask *task,
    ngx_http_trifecta_redis_len_t n)
{
    ngx_http_trifecta_resp_t  *resp = task->privdata;

    if (n > NGX_HTTP_TRIFECTA_RESP_ELEMENTS) {
        return NULL;
    }

    return resp->create_array(task, n);
}


ngx_int_t
ngx_http_trifecta_resp_open(ngx_http_trifecta_resp_t *resp)
{
    resp->reader = redisReaderCreate();
    if (resp->reader == NULL) {
        return NGX_ERROR;
    }

    resp->functions = *resp->reader->fn;
    resp->create_array = resp->functions.createArray;
    resp->functions.createArray = ngx_http_trifecta_resp_array;

    resp->reader->fn = &resp->functions;
    resp->reader->privdata = resp;

    return NGX_OK;
}


void
ngx_http_trifecta_resp_close(ngx_http_trifecta_resp_t *resp)
{
    if (resp->reader) {
        redisReaderFree(resp->reader);
        resp->reader = NULL;
    }
}


ngx_int_t
ngx_http_trifecta_resp_feed(ngx_http_trifecta_resp_t *resp,
    const u_char *data, size_t len, const char **err)
{
    if (resp->reader->len - resp->reader->pos + len
        > NGX_HTTP_TRIFECTA_RESP_BYTES)
    {
        *err = "a reply is too large";
        return NGX_ERROR;
    }

    if (redisReaderFeed(resp->reader, (const char *) data, len) != REDIS_OK) {
        *err = resp->reader->errstr;
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_resp_next(ngx_http_trifecta_resp_t *resp,
    redisReply **reply, const char **err)
{
    void  *p;

    p = NULL;

    if (redisReaderGetReply(resp->reader, &p) != REDIS_OK) {
        *err = resp->reader->errstr;
        return NGX_ERROR;
    }

    *reply = p;

    return p ? NGX_OK : NGX_AGAIN;
}


int64_t
ngx_http_trifecta_resp_int(const redisReply *reply)
{
    off_t  n;

    if (reply->type == REDIS_REPLY_INTEGER) {
        return reply->integer < 0 ? -1 : reply->integer;
    }

    if (reply->type == REDIS_REPLY_STRING) {
        n = ngx_atoof((u_char *) reply->str, reply->len);
        return n == NGX_ERROR ? -1 : n;
    }

    return -1;
}


ngx_uint_t
ngx_http_trifecta_resp_is(const redisReply *reply, size_t i, const char *word)
{
    redisReply  *e;

    if (reply->type != REDIS_REPLY_ARRAY || i >= reply->elements) {
        return 0;
    }

    e = reply->element[i];

    return (e->type == REDIS_REPLY_STRING || e->type == REDIS_REPLY_STATUS)
           && (size_t) e->len == ngx_strlen(word)
           && ngx_memcmp(e->str, word, e->len) == 0;
}


ngx_uint_t
ngx_http_trifecta_resp_error(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_ERROR
           && ngx_strncmp(reply->str, word, ngx_strlen(word)) == 0;
}


ngx_uint_t
ngx_http_trifecta_resp_line(const redisReply *info, const char *name,
    ngx_str_t *value)
{
    char    *p, *end;
    size_t   len;

    if (info->type != REDIS_REPLY_STRING) {
        return 0;
    }

    len = ngx_strlen(name);
    end = info->str + info->len;

    for (p = info->str; p && p < end; p = memchr(p, LF, end - p)) {
        p += (*p == LF);

        if ((size_t) (end - p) > len && ngx_strncmp(p, name, len) == 0
            && p[len] == ':')
        {
            value->data = (u_char *) p + len + 1;
            value->len = strcspn(p + len + 1, "\r\n");
            return 1;
        }
    }

    return 0;
}


static const char *
ngx_http_trifecta_resp_says(const redisReply *reply, u_char *buf, size_t size)
{
    u_char  *last;

    last = ngx_snprintf(buf, size - 1, "Redis says: %*s", (size_t) reply->len,
                        reply->str);
    *last = '\0';

    return (char *) buf;
}


const char *
ngx_http_trifecta_resp_identity(const redisReply *info,
    ngx_http_trifecta_identity_t *id, u_char *buf, size_t size)
{
    ngx_str_t  run, repl, role;

    id->len = 0;

    if (info->type == REDIS_REPLY_ERROR) {
        return ngx_http_trifecta_resp_says(info, buf, size);
    }

    if (!ngx_http_trifecta_resp_line(info, "role", &role)
        || !ngx_http_trifecta_resp_line(info, "run_id", &run)
        || !ngx_http_trifecta_resp_line(info, "master_replid", &repl)
        || run.len + 1 + repl.len > sizeof(id->text))
    {
        return "an unexpected reply to INFO";
    }

    if (role.len != 6 || ngx_memcmp(role.data, "master", 6) != 0) {
        return "this Redis is a replica";
    }

    id->len = ngx_sprintf(id->text, "%V:%V", &run, &repl) - id->text;

    return NULL;
}


const char *
ngx_http_trifecta_resp_check(const redisReply *reply,
    ngx_http_trifecta_identity_t *id, u_char *buf, size_t size)
{
    int64_t      schema;
    u_char      *last;
    redisReply  *server;

    if (reply->type == REDIS_REPLY_ERROR) {
        return ngx_http_trifecta_resp_says(reply, buf, size);
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4) {
        return "an unexpected reply to HMGET";
    }

    if (reply->element[0]->type == REDIS_REPLY_NIL
        || reply->element[1]->type == REDIS_REPLY_NIL)
    {
        return "Redis has no epoch: run \"trifecta migrate\"";
    }

    schema = ngx_http_trifecta_resp_int(reply->element[1]);

    if (schema != TF_REDIS_SCHEMA) {
        last = ngx_snprintf(buf, size - 1, "Redis has schema %L, this module "
                            "needs %d", schema, TF_REDIS_SCHEMA);
        *last = '\0';
        return (char *) buf;
    }

    if (reply->element[3]->type != REDIS_REPLY_NIL) {
        return "the queue is being rebuilt from PostgreSQL";
    }

    server = reply->element[2];

    if (server->type != REDIS_REPLY_STRING) {
        return "no sidecar has adopted this Redis: run one, or \"trifecta "
               "migrate\"; its log says what is wrong";
    }

    if ((size_t) server->len != id->len
        || ngx_memcmp(server->str, id->text, id->len) != 0)
    {
        return "Redis was restarted or replaced, and no sidecar has looked at "
               "it since: run one, or \"trifecta migrate\"";
    }

    return NULL;
}
