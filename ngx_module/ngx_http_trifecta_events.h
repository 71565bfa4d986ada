#ifndef NGX_HTTP_TRIFECTA_EVENTS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_EVENTS_H_INCLUDED


#include "ngx_http_trifecta_stream.h"


/*
 * The plain shape of a stream, for people and EventSource:
 *
 *   event     id            data
 *   status    -             the body of GET, of the open job
 *   search    <attempt>-<n> {"attempt": 1}
 *   delta     <attempt>-<n> {"text": "..."}
 *   restart   <attempt>-<n> {"attempt": 2}: what was said before is void
 *   done      done          the body of GET, of the ended job
 *   gone      done          the job was deleted, or is lost
 *
 * The last of them is always done or gone.  Last-Event-ID names what the
 * client has: it gets what lies behind it.  A later attempt voids what the one
 * before has said, and begins with a restart of the id <attempt>-0.
 */

/*
 * Streams the job of the context, which is at that path and was made just
 * now, from its first event on; refuse is that of the stream.  NGX_DONE, or
 * the value of the answer: see ngx_http_trifecta_stream_start().
 */
ngx_int_t ngx_http_trifecta_events_start(ngx_http_request_t *r,
    ngx_str_t *path, ngx_int_t (*refuse)(ngx_http_trifecta_stream_t *s),
    void *refused);


#endif /* NGX_HTTP_TRIFECTA_EVENTS_H_INCLUDED */
