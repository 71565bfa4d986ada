#include "net/sse.h"

#include <string.h>


void
tf_sse_init(tf_sse_t *sse, tf_sse_kind_t kind, tf_sse_pt handler, void *arg)
{
    memset(sse, 0, sizeof(tf_sse_t));
    sse->kind = kind;
    sse->handler = handler;
    sse->arg = arg;
}


void
tf_sse_free(tf_sse_t *sse)
{
    tf_buf_free(&sse->line);
    tf_buf_free(&sse->data);
}


static int
tf_sse_field(tf_sse_t *sse, const char *name, size_t len, const char *value)
{
    size_t  n;

    if (len == 4 && memcmp(name, "data", 4) == 0) {
        n = strlen(value);

        if (sse->data.len + n + 1 > TF_SSE_EVENT_MAX) {
            return TF_SSE_TOO_LONG;
        }

        if (sse->has_data) {
            tf_buf_append(&sse->data, "\n", 1);
        }

        tf_buf_append(&sse->data, value, n);
        sse->has_data = 1;

        return sse->data.failed ? TF_SSE_MEMORY : TF_SSE_OK;
    }

    if (len == 5 && memcmp(name, "event", 5) == 0) {
        n = strlen(value);

        if (n >= sizeof(sse->event)) {
            n = sizeof(sse->event) - 1;
        }

        memcpy(sse->event, value, n);
        sse->event[n] = '\0';
    }

    return TF_SSE_OK;
}


/* A whole line, NUL-terminated, without its end. */

static int
tf_sse_line(tf_sse_t *sse, const char *line, size_t len)
{
    int          rc;
    size_t       name;
    const char  *value;

    /* a NUL in it would hide the rest: not text, so not an event */

    if (memchr(line, '\0', len) != NULL) {
        return TF_SSE_OK;
    }

    if (sse->kind == TF_SSE_LINES) {
        return line[strspn(line, " \t")] ? sse->handler(sse->arg, "", line, len)
                                         : TF_SSE_OK;
    }

    if (len > 0) {
        name = strcspn(line, ":");
        value = line + name + (line[name] == ':');
        value += *value == ' ';

        return tf_sse_field(sse, line, name, value);
    }

    rc = TF_SSE_OK;

    if (sse->has_data) {
        rc = sse->handler(sse->arg, sse->event, sse->data.data,
                          sse->data.len);
    }

    tf_buf_reset(&sse->data);
    sse->has_data = 0;
    sse->event[0] = '\0';

    return rc;
}


/* The line that has gathered. */

static int
tf_sse_end_line(tf_sse_t *sse)
{
    int          rc;
    size_t       len;
    const char  *line;

    tf_buf_append(&sse->line, "", 0);

    if (sse->line.failed) {
        return TF_SSE_MEMORY;
    }

    line = sse->line.data;
    len = sse->line.len;

    if (!sse->begun) {
        sse->begun = 1;

        if (len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
            line += 3;
            len -= 3;
        }
    }

    rc = tf_sse_line(sse, line, len);
    tf_buf_reset(&sse->line);

    return rc;
}


int
tf_sse_feed(tf_sse_t *sse, const char *data, size_t len)
{
    int          rc;
    size_t       n;
    const char  *p, *end;

    for (p = data, end = data + len; p < end; /* void */) {

        if (sse->after_cr) {
            sse->after_cr = 0;

            if (*p == '\n') {
                p++;
                continue;
            }
        }

        for (n = 0; p + n < end && p[n] != '\n' && p[n] != '\r'; n++) {
            /* void */
        }

        if (sse->line.len + n > TF_SSE_EVENT_MAX) {
            return TF_SSE_TOO_LONG;
        }

        tf_buf_append(&sse->line, p, n);
        p += n;

        if (p == end) {
            break;
        }

        sse->after_cr = *p++ == '\r';

        rc = tf_sse_end_line(sse);
        if (rc != TF_SSE_OK) {
            return rc;
        }
    }

    return sse->line.failed ? TF_SSE_MEMORY : TF_SSE_OK;
}


int
tf_sse_end(tf_sse_t *sse)
{
    if (sse->kind == TF_SSE_LINES && sse->line.len > 0) {
        return tf_sse_end_line(sse);
    }

    return TF_SSE_OK;
}
