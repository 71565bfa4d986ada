#ifndef TF_NET_SSE_H
#define TF_NET_SSE_H


#include <stddef.h>

#include "base/buf.h"


/*
 * Reads a stream of events as it comes, in pieces of any size.
 *
 * Two kinds: server-sent events (HTML Living Standard, 9.2.6: lines that end
 * with LF, CR or CRLF; "data:" lines of one event are joined by LF; an empty
 * line ends it; comments and fields without meaning here are skipped), and
 * lines of JSON (NDJSON), each an event of its own.  Pure: no I/O, no clock.
 */

#define TF_SSE_EVENT_MAX  (1024 * 1024)     /* bytes of one event */

typedef enum {
    TF_SSE_EVENTS,
    TF_SSE_LINES
} tf_sse_kind_t;

/* data is NUL-terminated.  0 to go on; anything else ends the feed. */
typedef int (*tf_sse_pt)(void *arg, const char *event, const char *data,
    size_t len);

typedef struct {
    tf_sse_kind_t   kind;
    tf_sse_pt       handler;
    void           *arg;
    tf_buf_t        line;
    tf_buf_t        data;
    char            event[64];
    int             has_data;
    int             after_cr;
    int             begun;          /* a byte order mark can come no more */
} tf_sse_t;

#define TF_SSE_OK        0
#define TF_SSE_TOO_LONG  (-1)
#define TF_SSE_MEMORY    (-2)


void tf_sse_init(tf_sse_t *sse, tf_sse_kind_t kind, tf_sse_pt handler,
    void *arg);
void tf_sse_free(tf_sse_t *sse);

/* TF_SSE_..., or what the handler returned. */
int tf_sse_feed(tf_sse_t *sse, const char *data, size_t len);

/*
 * The stream has ended.  A last line of JSON without its end counts; an event
 * that no empty line ended does not.
 */
int tf_sse_end(tf_sse_t *sse);


#endif /* TF_NET_SSE_H */
