#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


static int
tf_buf_grow(tf_buf_t *b, size_t more)
{
    char    *p;
    size_t   size;

    if (b->failed || more > (size_t) -1 / 2 - b->len - 1) {
        b->failed = 1;
        return -1;
    }

    if (b->len + more + 1 <= b->size) {
        return 0;
    }

    size = b->size ? b->size : 256;
    while (size < b->len + more + 1) {
        size *= 2;
    }

    p = realloc(b->data, size);
    if (p == NULL) {
        b->failed = 1;
        return -1;
    }

    b->data = p;
    b->size = size;

    return 0;
}


void
tf_buf_append(tf_buf_t *b, const void *data, size_t len)
{
    if (tf_buf_grow(b, len) != 0) {
        return;
    }

    if (len) {
        memcpy(b->data + b->len, data, len);
    }

    b->len += len;
    b->data[b->len] = '\0';
}


void
tf_buf_puts(tf_buf_t *b, const char *s)
{
    tf_buf_append(b, s, strlen(s));
}


void
tf_buf_vprintf(tf_buf_t *b, const char *fmt, va_list ap)
{
    int      n;
    va_list  copy;

    va_copy(copy, ap);
    n = vsnprintf(NULL, 0, fmt, copy);
    va_end(copy);

    if (n < 0) {
        b->failed = 1;
        return;
    }

    if (tf_buf_grow(b, (size_t) n) != 0) {
        return;
    }

    (void) vsnprintf(b->data + b->len, (size_t) n + 1, fmt, ap);
    b->len += (size_t) n;
}


void
tf_buf_printf(tf_buf_t *b, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    tf_buf_vprintf(b, fmt, ap);
    va_end(ap);
}


void
tf_buf_reset(tf_buf_t *b)
{
    b->len = 0;
    b->failed = 0;

    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}


void
tf_buf_free(tf_buf_t *b)
{
    free(b->data);
    memset(b, 0, sizeof(tf_buf_t));
}


char *
tf_read_file(const char *path, size_t max, size_t *len)
{
    int          fd, saved;
    char         part[65536];
    ssize_t      n;
    tf_buf_t     b = TF_BUF_INIT;
    struct stat  st;

    /* a FIFO or a device would make the caller wait, maybe for ever */

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1) {
        return NULL;
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        (void) close(fd);
        errno = EINVAL;
        return NULL;
    }

    tf_buf_append(&b, "", 0);

    for ( ;; ) {
        n = read(fd, part, sizeof(part));

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            break;
        }

        if (b.len + (size_t) n > max) {
            errno = EFBIG;
            n = -1;
            break;
        }

        tf_buf_append(&b, part, (size_t) n);
    }

    saved = errno;
    (void) close(fd);

    if (n == -1 || b.failed) {
        tf_buf_free(&b);
        errno = (n == -1) ? saved : ENOMEM;
        return NULL;
    }

    *len = b.len;

    return b.data;
}


char *
tf_read_secret(const char *path, char *err, size_t errlen)
{
    char    *data;
    size_t   len;

    data = tf_read_file(path, 65536, &len);
    if (data == NULL) {
        (void) snprintf(err, errlen, "cannot read \"%s\": %s", path,
                        strerror(errno));
        return NULL;
    }

    data[strcspn(data, "\r\n")] = '\0';

    if (data[0] == '\0') {
        (void) snprintf(err, errlen, "\"%s\" is empty", path);
        free(data);
        return NULL;
    }

    return data;
}
