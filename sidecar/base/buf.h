#ifndef TF_BASE_BUF_H
#define TF_BASE_BUF_H


#include <stdarg.h>
#include <stddef.h>


/*
 * A growing byte string.
 *
 * Start from TF_BUF_INIT (or zeroed memory), append, free with tf_buf_free().
 * data is always NUL-terminated once something was appended; len does not
 * count the NUL.  When memory is short an append sets "failed" and does
 * nothing from then on, so that a caller checks once, at the end.
 */

typedef struct {
    char    *data;
    size_t   len;
    size_t   size;
    int      failed;
} tf_buf_t;

#define TF_BUF_INIT  { NULL, 0, 0, 0 }


void tf_buf_append(tf_buf_t *b, const void *data, size_t len);
void tf_buf_puts(tf_buf_t *b, const char *s);
void tf_buf_printf(tf_buf_t *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void tf_buf_vprintf(tf_buf_t *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
void tf_buf_reset(tf_buf_t *b);
void tf_buf_free(tf_buf_t *b);

/*
 * Reads a whole regular file of at most max bytes; NULL with errno set (EFBIG;
 * EINVAL: it is a directory, a FIFO or a device).
 */
char *tf_read_file(const char *path, size_t max, size_t *len);

/*
 * Reads a secret: the file's first line without its end, at least one byte.
 * NULL and a message in err (which names the file, never its content).
 * The caller frees it.
 */
char *tf_read_secret(const char *path, char *err, size_t errlen);


#endif /* TF_BASE_BUF_H */
