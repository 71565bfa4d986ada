#ifndef NGX_HTTP_TRIFECTA_LIMIT_H_INCLUDED
#define NGX_HTTP_TRIFECTA_LIMIT_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_resp.h"


/*
 * Limits by rate, in two places.
 *
 * "trifecta_limit" (limit.c) is a policy that Redis counts: it travels with
 * a submit, which checks all policies and charges all of them or none, so it
 * holds over all workers and servers, and what is refused costs nothing.  In
 * a location that makes no jobs it is asked alone (limit_phase.c).
 *
 * "trifecta_fence" (fence.h) stands in front, in shared memory of one server:
 * a bucket for each address, asked before any token is looked at, or for each
 * subject, asked after its token was verified.  It protects the server, not
 * a quota.
 *
 * Both are the generic cell rate algorithm.  "rate" is n requests a unit,
 * "burst" how many may come at once when nothing was used lately; without it
 * as many as the rate allows in a unit.
 */

#define NGX_HTTP_TRIFECTA_LIMITS_MAX   8        /* policies of a location */
#define NGX_HTTP_TRIFECTA_LIMIT_ARGS   (2 + 8 * NGX_HTTP_TRIFECTA_LIMITS_MAX)
#define NGX_HTTP_TRIFECTA_LIMIT_NAME   32       /* bytes */
#define NGX_HTTP_TRIFECTA_RATE_MAX     1000000
#define NGX_HTTP_TRIFECTA_WINDOW_MAX   31622400 /* s, to fill an empty burst */

#define NGX_HTTP_TRIFECTA_LIMIT_CLOSED  0       /* when Redis is away */
#define NGX_HTTP_TRIFECTA_LIMIT_OPEN    1

typedef struct {
    ngx_uint_t   n;
    ngx_uint_t   unit;      /* ms */
    ngx_uint_t   burst;
    u_char       letter;    /* of the unit */
} ngx_http_trifecta_rate_t;


/*
 * Takes "rate=" and "burst=" of a directive: NGX_OK, NGX_DECLINED when it is
 * another parameter, NGX_ERROR when the value is bad.
 */
ngx_int_t ngx_http_trifecta_rate_param(ngx_http_trifecta_rate_t *rate,
    ngx_str_t *param);

/* After the last parameter: NULL, or what is wrong. */
char *ngx_http_trifecta_rate_check(ngx_http_trifecta_rate_t *rate);

/* Letters, digits, "-", "_" and ".", at most NGX_HTTP_TRIFECTA_LIMIT_NAME. */
ngx_uint_t ngx_http_trifecta_limit_name(ngx_str_t *name);

char *ngx_http_trifecta_conf_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_trifecta_conf_fence(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Handlers of the PREACCESS phase: the first one before the token's check. */
ngx_int_t ngx_http_trifecta_fence_address(ngx_http_request_t *r);
ngx_int_t ngx_http_trifecta_fence_subject(ngx_http_request_t *r);
ngx_int_t ngx_http_trifecta_limit_phase(ngx_http_request_t *r);


/*
 * Appends the arguments of submit, or of limit, for the policies of the request's location,
 * at most NGX_HTTP_TRIFECTA_LIMIT_ARGS; how many, or NGX_ERROR.
 */
ngx_int_t ngx_http_trifecta_limit_args(ngx_http_request_t *r,
    ngx_str_t *route, const char **argv, size_t *argvlen);

/* RateLimit headers from what the function says from element "from" on. */
ngx_int_t ngx_http_trifecta_limit_headers(ngx_http_request_t *r,
    redisReply *reply, size_t from);

/* The 429 for its answer LIMITED. */
ngx_int_t ngx_http_trifecta_limited(ngx_http_request_t *r,
    redisReply *reply);

/* Retry-After in seconds and retry-after-ms, for a 429. */
ngx_int_t ngx_http_trifecta_limit_wait(ngx_http_request_t *r, int64_t ms);


#endif /* NGX_HTTP_TRIFECTA_LIMIT_H_INCLUDED */
