#include <string.h>

#include "rag/array.h"


static void
tf_array_next(tf_buf_t *b)
{
    tf_buf_append(b, b->len ? "," : "{", 1);
}


void
tf_array_text(tf_buf_t *b, const char *s, size_t len)
{
    size_t  i, start;

    tf_array_next(b);
    tf_buf_append(b, "\"", 1);

    for (i = 0, start = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\') {
            tf_buf_append(b, s + start, i - start);
            tf_buf_append(b, "\\", 1);
            start = i;
        }
    }

    tf_buf_append(b, s + start, len - start);
    tf_buf_append(b, "\"", 1);
}


void
tf_array_int(tf_buf_t *b, long long n)
{
    char                 digits[24], *p;
    unsigned long long   u;

    /* by hand: an ingest writes some hundreds of them for each chunk */

    p = digits + sizeof(digits);
    u = n < 0 ? 0 - (unsigned long long) n : (unsigned long long) n;

    do {
        *--p = (char) ('0' + u % 10);
        u /= 10;
    } while (u);

    if (n < 0) {
        *--p = '-';
    }

    tf_array_next(b);
    tf_buf_append(b, p, (size_t) (digits + sizeof(digits) - p));
}


void
tf_array_real(tf_buf_t *b, double x)
{
    tf_array_next(b);
    tf_buf_printf(b, "%.17g", x);
}


void
tf_array_null(tf_buf_t *b)
{
    tf_array_next(b);
    tf_buf_puts(b, "NULL");
}


void
tf_array_add(tf_buf_t *b, const char *array)
{
    size_t  len;

    len = strlen(array);

    if (len > 2) {
        tf_array_next(b);
        tf_buf_append(b, array + 1, len - 2);
    }
}


void
tf_array_close(tf_buf_t *b)
{
    tf_buf_puts(b, b->len ? "}" : "{}");
}
