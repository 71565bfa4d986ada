#ifndef NGX_HTTP_TRIFECTA_RESP_H_INCLUDED
#define NGX_HTTP_TRIFECTA_RESP_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_compat.h"


/*
 * Redis' protocol (RESP2) as far as the module needs it: a reader that
 * refuses replies beyond any that the functions give, and what replies say.
 */

#define NGX_HTTP_TRIFECTA_RESP_ELEMENTS  1024
#define NGX_HTTP_TRIFECTA_RESP_BYTES     1048576

typedef struct {
    redisReader                *reader;
    redisReplyObjectFunctions   functions;
    void                     *(*create_array)(const redisReadTask *task,
                                    ngx_http_trifecta_redis_len_t n);
} ngx_http_trifecta_resp_t;


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

/*
 * What is wrong with an answer to HMGET P:meta epoch schema, or NULL.
 * *usable: the connection is good all the same, only the first epoch is
 * missing.
 */
const char *ngx_http_trifecta_resp_check(const redisReply *reply, u_char *buf,
    size_t size, ngx_uint_t *usable);


#endif /* NGX_HTTP_TRIFECTA_RESP_H_INCLUDED */
