#ifndef NGX_HTTP_TRIFECTA_RESP_H_INCLUDED
#define NGX_HTTP_TRIFECTA_RESP_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_compat.h"


/*
 * Redis' protocol (RESP2) as far as the module needs it: a writer of commands
 * that are written once, into a buffer of the right size, a reader that
 * refuses replies beyond any that the functions give, and what replies say.
 */

#define NGX_HTTP_TRIFECTA_RESP_ELEMENTS  1024
#define NGX_HTTP_TRIFECTA_RESP_BYTES     16777216   /* a request in it */

typedef struct {
    redisReader                *reader;
    redisReplyObjectFunctions   functions;
    void                     *(*create_array)(const redisReadTask *task,
                                    ngx_http_trifecta_redis_len_t n);
} ngx_http_trifecta_resp_t;


/* The bytes of a command; without argvlen each argument ends with a NUL. */
size_t ngx_http_trifecta_resp_size(int argc, const char **argv,
    const size_t *argvlen);

/* Writes them and returns their end. */
u_char *ngx_http_trifecta_resp_write(u_char *p, int argc, const char **argv,
    const size_t *argvlen);

/* The structure must stay where it is until it is closed. */
ngx_int_t ngx_http_trifecta_resp_open(ngx_http_trifecta_resp_t *resp);
void ngx_http_trifecta_resp_close(ngx_http_trifecta_resp_t *resp);

/* NGX_ERROR: what follows can not be understood; *err says why. */
ngx_int_t ngx_http_trifecta_resp_feed(ngx_http_trifecta_resp_t *resp,
    const u_char *data, size_t len, const char **err);

/* NGX_OK and a reply, NGX_AGAIN, or NGX_ERROR. */
ngx_int_t ngx_http_trifecta_resp_next(ngx_http_trifecta_resp_t *resp,
    redisReply **reply, const char **err);

/* An integer reply, or a string of digits; -1 when it is neither. */
int64_t ngx_http_trifecta_resp_int(const redisReply *reply);

/* Element i of an array is this word. */
ngx_uint_t ngx_http_trifecta_resp_is(const redisReply *reply, size_t i,
    const char *word);

/* An error reply that starts with this word. */
ngx_uint_t ngx_http_trifecta_resp_error(const redisReply *reply,
    const char *word);

/* The value of a line "name:value" of INFO; 0 when there is none. */
ngx_uint_t ngx_http_trifecta_resp_line(const redisReply *info,
    const char *name, ngx_str_t *value);


/*
 * Which server it is, as INFO server replication says: a restart changes the
 * run id, a promotion the id of the replication.  A queue is accepted only on
 * the server for which it was adopted: P:meta says for which one that was.
 */

#define NGX_HTTP_TRIFECTA_SERVER_MAX     128

typedef struct {
    u_char                      text[NGX_HTTP_TRIFECTA_SERVER_MAX];
    size_t                      len;    /* 0: not known */
} ngx_http_trifecta_identity_t;

/* NULL, or what is wrong with it: no master, or no such answer. */
const char *ngx_http_trifecta_resp_identity(const redisReply *info,
    ngx_http_trifecta_identity_t *id, u_char *buf, size_t size);

/*
 * What is wrong with an answer of this server to HMGET P:meta epoch schema
 * server rebuild ..., or NULL; what follows is not looked at.
 */
const char *ngx_http_trifecta_resp_check(const redisReply *reply,
    ngx_http_trifecta_identity_t *id, u_char *buf, size_t size);


#endif /* NGX_HTTP_TRIFECTA_RESP_H_INCLUDED */
