#ifndef TRIFECTA_TRACE_H
#define TRIFECTA_TRACE_H


#include <stddef.h>
#include <string.h>


/*
 * W3C Trace Context, version 00: the header
 *
 *   traceparent: 00-<trace id: 32 hex>-<span id: 16 hex>-<flags: 2 hex>
 *
 * A trace goes through several programs and each names its own part of it, a
 * span.  What a client sends is believed as far as the trace id and the flag
 * "sampled"; the span id in it is the client's, ours is a new one.  A header
 * that is wrong in any way is as good as none, so that its sender finds its
 * own mistake and nobody continues half a trace: the caller starts a new one.
 *
 * Hex digits are lower case, ids are not all zero, the version is not ff.  A
 * version above 00 may say more behind the flags, after another "-", which
 * is not understood and not passed on.
 */

#define TF_TRACE_HEADER_LEN  55
#define TF_TRACE_ID_LEN      32
#define TF_TRACE_SPAN_LEN    16
#define TF_TRACE_RND_LEN     24     /* 16 for the trace, 8 for the span */

#define TF_TRACE_SAMPLED     1      /* the one flag that is passed on */

typedef struct {
    char      trace_id[TF_TRACE_ID_LEN + 1];
    char      span_id[TF_TRACE_SPAN_LEN + 1];
    unsigned  flags;
} tf_trace_t;


static inline int
tf_trace_hex(int c)
{
    return (c >= '0' && c <= '9') ? c - '0'
           : (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


/* An id of n hex digits that are not all zero; 0 or -1. */

static inline int
tf_trace_id(char *id, const char *text, size_t n)
{
    int     any;
    size_t  i;

    any = 0;

    for (i = 0; i < n; i++) {
        if (tf_trace_hex((unsigned char) text[i]) < 0) {
            return -1;
        }

        any |= text[i] != '0';
        id[i] = text[i];
    }

    id[n] = '\0';

    return any ? 0 : -1;
}


static inline int
tf_trace_octet(const char *text)
{
    int  high, low;

    high = tf_trace_hex((unsigned char) text[0]);
    low = tf_trace_hex((unsigned char) text[1]);

    return (high < 0 || low < 0) ? -1 : high << 4 | low;
}


/* Reads a header's value; 0, or -1 when it is none. */

static inline int
tf_trace_parse(tf_trace_t *trace, const char *text, size_t len)
{
    int  version, flags;

    if (len < TF_TRACE_HEADER_LEN) {
        return -1;
    }

    version = tf_trace_octet(text);
    flags = tf_trace_octet(text + 53);

    if (version < 0 || version == 0xff || flags < 0
        || text[2] != '-' || text[35] != '-' || text[52] != '-')
    {
        return -1;
    }

    if (len > TF_TRACE_HEADER_LEN
        && (version == 0 || text[TF_TRACE_HEADER_LEN] != '-'))
    {
        return -1;
    }

    if (tf_trace_id(trace->trace_id, text + 3, TF_TRACE_ID_LEN) != 0
        || tf_trace_id(trace->span_id, text + 36, TF_TRACE_SPAN_LEN) != 0)
    {
        return -1;
    }

    trace->flags = (unsigned) flags & TF_TRACE_SAMPLED;

    return 0;
}


static inline void
tf_trace_dump(char *text, const unsigned char *rnd, size_t n)
{
    int                any;
    size_t             i;
    static const char  hex[] = "0123456789abcdef";

    any = 0;

    for (i = 0; i < n; i++) {
        any |= rnd[i];
        text[2 * i] = hex[rnd[i] >> 4];
        text[2 * i + 1] = hex[rnd[i] & 0xf];
    }

    text[2 * n] = '\0';

    if (!any) {
        text[2 * n - 1] = '1';
    }
}


/*
 * A span of our own: in the parent's trace, or, when it is NULL, in a new
 * trace that nobody has asked to record.  rnd are TF_TRACE_RND_LEN random
 * octets.
 */

static inline void
tf_trace_make(tf_trace_t *trace, const tf_trace_t *parent,
    const unsigned char rnd[TF_TRACE_RND_LEN])
{
    if (parent != NULL) {
        memcpy(trace->trace_id, parent->trace_id, sizeof(trace->trace_id));
        trace->flags = parent->flags & TF_TRACE_SAMPLED;

    } else {
        tf_trace_dump(trace->trace_id, rnd, TF_TRACE_ID_LEN / 2);
        trace->flags = 0;
    }

    tf_trace_dump(trace->span_id, rnd + TF_TRACE_ID_LEN / 2,
                  TF_TRACE_SPAN_LEN / 2);
}


/* Writes TF_TRACE_HEADER_LEN characters, no terminating NUL. */

static inline void
tf_trace_format(char *text, const tf_trace_t *trace)
{
    memcpy(text, "00-", 3);
    memcpy(text + 3, trace->trace_id, TF_TRACE_ID_LEN);
    text[35] = '-';
    memcpy(text + 36, trace->span_id, TF_TRACE_SPAN_LEN);
    text[52] = '-';
    text[53] = '0';
    text[54] = (trace->flags & TF_TRACE_SAMPLED) ? '1' : '0';
}


#endif /* TRIFECTA_TRACE_H */
