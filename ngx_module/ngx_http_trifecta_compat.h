#ifndef NGX_HTTP_TRIFECTA_COMPAT_H_INCLUDED
#define NGX_HTTP_TRIFECTA_COMPAT_H_INCLUDED


#include <nginx.h>
#include <hiredis/hiredis.h>


/* What differs between the versions of nginx and hiredis, and nothing else. */

#if (nginx_version >= 1023000)
#define ngx_http_trifecta_last_header(h)  (h)->next = NULL
#else
#define ngx_http_trifecta_last_header(h)
#endif


/* The type of the length in redisReplyObjectFunctions.createArray. */

#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_http_trifecta_redis_len_t;
#else
typedef int     ngx_http_trifecta_redis_len_t;
#endif


#endif /* NGX_HTTP_TRIFECTA_COMPAT_H_INCLUDED */
