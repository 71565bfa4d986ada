#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"


static tf_log_level_t       tf_log_level = TF_LOG_INFO;
static _Thread_local char   tf_log_request[64];
static _Thread_local char   tf_log_job[48];
static _Thread_local char   tf_log_trace[48];

static const char          *tf_log_words[] = {
    "error", "warn", "info", "debug"
};


int
tf_log_set_level(const char *word)
{
    unsigned  i;

    for (i = 0; i < sizeof(tf_log_words) / sizeof(tf_log_words[0]); i++) {
        if (strcmp(word, tf_log_words[i]) == 0) {
            tf_log_level = (tf_log_level_t) i;
            return 0;
        }
    }

    return -1;
}


static void
tf_log_set(char *to, size_t size, const char *word)
{
    size_t  n;

    n = word ? strnlen(word, size - 1) : 0;

    if (n > 0) {
        memcpy(to, word, n);
    }

    to[n] = '\0';
}


void
tf_log_context(const char *request_id, const char *job, const char *trace_id)
{
    tf_log_set(tf_log_request, sizeof(tf_log_request), request_id);
    tf_log_set(tf_log_job, sizeof(tf_log_job), job);
    tf_log_set(tf_log_trace, sizeof(tf_log_trace), trace_id);
}


/* Control characters and non-ASCII bytes that are not UTF-8 never get out. */

static void
tf_log_string(tf_buf_t *b, const char *s)
{
    unsigned char  c;

    tf_buf_append(b, "\"", 1);

    for ( /* void */ ; *s; s++) {
        c = (unsigned char) *s;

        if (c == '"' || c == '\\') {
            tf_buf_printf(b, "\\%c", c);

        } else if (c == '\n') {
            tf_buf_puts(b, "\\n");

        } else if (c < 0x20 || c >= 0x7f) {
            tf_buf_printf(b, "\\u%04x", c);

        } else {
            tf_buf_append(b, &c, 1);
        }
    }

    tf_buf_append(b, "\"", 1);
}


void
tf_log(tf_log_level_t level, const char *fmt, ...)
{
    char             when[32];
    size_t           off;
    ssize_t          n;
    va_list          ap;
    tf_buf_t         b = TF_BUF_INIT, msg = TF_BUF_INIT;
    struct tm        tm;
    struct timespec  ts;

    if (level > tf_log_level) {
        return;
    }

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    (void) gmtime_r(&ts.tv_sec, &tm);
    (void) strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);

    va_start(ap, fmt);
    tf_buf_vprintf(&msg, fmt, ap);
    va_end(ap);

    tf_buf_printf(&b, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"pid\":%d,"
                  "\"msg\":", when, ts.tv_nsec / 1000000,
                  tf_log_words[level], (int) getpid());
    tf_log_string(&b, msg.data ? msg.data : fmt);

    if (tf_log_request[0]) {
        tf_buf_puts(&b, ",\"request_id\":");
        tf_log_string(&b, tf_log_request);
    }

    if (tf_log_job[0]) {
        tf_buf_puts(&b, ",\"job\":");
        tf_log_string(&b, tf_log_job);
    }

    if (tf_log_trace[0]) {
        tf_buf_puts(&b, ",\"trace_id\":");
        tf_log_string(&b, tf_log_trace);
    }

    tf_buf_puts(&b, "}\n");

    /* one write a line: lines of several threads do not mix */

    for (off = 0; !b.failed && off < b.len; off += (size_t) n) {
        n = write(STDERR_FILENO, b.data + off, b.len - off);
        if (n <= 0) {
            break;
        }
    }

    tf_buf_free(&msg);
    tf_buf_free(&b);
}
