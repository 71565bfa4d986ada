#ifndef NGX_HTTP_TRIFECTA_JSON_H_INCLUDED
#define NGX_HTTP_TRIFECTA_JSON_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * JSON in both directions.
 *
 * Reading: ngx_http_trifecta_json_parse() is the only door for what comes
 * from outside.  It refuses what
 * two readers could understand differently (duplicate members, trailing
 * bytes, NUL, invalid UTF-8) and what costs more than it sends (nesting
 * beyond TF_JSON_DEPTH_MAX).
 *
 * Writing: a buffer in a pool that grows.  Members are written by hand,
 * strings through ngx_http_trifecta_json_string(), which escapes and turns
 * bytes that are no UTF-8 into U+FFFD, so that the output is always valid.
 * A failed allocation is remembered; it shows once, at the end.
 */

typedef struct {
    ngx_pool_t  *pool;
    u_char      *start;
    u_char      *last;
    u_char      *end;
    unsigned     failed:1;
} ngx_http_trifecta_json_t;


/*
 * NULL and a message in *err (static text) when it is no acceptable JSON
 * object.
 */
json_t *ngx_http_trifecta_json_parse(const u_char *data, size_t len,
    const char **err);

/*
 * JSON that one of our programs has written, by json_loadb() with its flags;
 * of two members of one name the last one counts.
 */
json_t *ngx_http_trifecta_json_load(const void *data, size_t len,
    size_t flags);

/* The bytes are UTF-8, and none of them is NUL. */
ngx_uint_t ngx_http_trifecta_is_text(const u_char *p, size_t len);

/* The number of characters of valid UTF-8; *blank: all of them are blank. */
size_t ngx_http_trifecta_utf8_length(const u_char *p, size_t len,
    ngx_uint_t *blank);

void ngx_http_trifecta_json_init(ngx_http_trifecta_json_t *j,
    ngx_pool_t *pool, size_t size);
void ngx_http_trifecta_json_raw(ngx_http_trifecta_json_t *j, const void *data,
    size_t len);
void ngx_http_trifecta_json_string(ngx_http_trifecta_json_t *j,
    const void *data, size_t len);
void ngx_http_trifecta_json_printf(ngx_http_trifecta_json_t *j,
    const char *fmt, ...);

/* A time in ms since the epoch, as a string of RFC 3339 in UTC. */
void ngx_http_trifecta_json_time(ngx_http_trifecta_json_t *j, int64_t ms);

#define ngx_http_trifecta_json_lit(j, s)                                     \
    ngx_http_trifecta_json_raw(j, s, sizeof(s) - 1)

#define ngx_http_trifecta_json_str(j, s)                                     \
    ngx_http_trifecta_json_string(j, (s)->data, (s)->len)


#endif /* NGX_HTTP_TRIFECTA_JSON_H_INCLUDED */
