#include "ngx_http_trifecta_fields.h"

#include <string.h>
#include <strings.h>


typedef struct {
    const char  *p;
    const char  *end;
} tf_fields_t;


static int
tf_fields_is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z')
           || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


static void
tf_fields_blank(tf_fields_t *f)
{
    while (f->p < f->end && (*f->p == ' ' || *f->p == '\t')) {
        f->p++;
    }
}


static size_t
tf_fields_token(tf_fields_t *f)
{
    const char  *start;

    start = f->p;

    while (f->p < f->end && tf_fields_is_token(*f->p)) {
        f->p++;
    }

    return (size_t) (f->p - start);
}


/*
 * Skips a quoted string that starts here; without its end, all the rest.
 * Returns the length of what is between the quotes.
 */

static size_t
tf_fields_quoted(tf_fields_t *f)
{
    const char  *start;

    start = ++f->p;

    while (f->p < f->end && *f->p != '"') {
        f->p += (*f->p == '\\' && f->p + 1 < f->end) ? 2 : 1;
    }

    if (f->p == f->end) {
        return 0;
    }

    f->p++;

    return (size_t) (f->p - 1 - start);
}


/* To the comma behind this element of the list, or to the end. */

static void
tf_fields_next(tf_fields_t *f)
{
    while (f->p < f->end && *f->p != ',') {
        if (*f->p == '"') {
            (void) tf_fields_quoted(f);

        } else {
            f->p++;
        }
    }

    if (f->p < f->end) {
        f->p++;
    }
}


/* Digits to seconds, or -1. */

static int
tf_fields_seconds(const char *data, size_t len)
{
    int     n;
    size_t  i;

    if (len == 0) {
        return -1;
    }

    n = 0;

    for (i = 0; i < len; i++) {
        if (data[i] < '0' || data[i] > '9') {
            return -1;
        }

        n = n * 10 + (data[i] - '0');

        if (n > TF_PREFER_WAIT_MAX) {
            n = TF_PREFER_WAIT_MAX;
        }
    }

    return n;
}


/*
 * The value of a preference whose name was read; 0 when there is none.  What
 * follows it must be the end of the preference: "wait=5 6" is not 5, and then
 * the result is -1.
 */

static int
tf_prefer_value(tf_fields_t *f, const char **value, size_t *len)
{
    int  is;

    is = 0;
    tf_fields_blank(f);

    if (f->p < f->end && *f->p == '=') {
        is = 1;
        f->p++;
        tf_fields_blank(f);

        if (f->p < f->end && *f->p == '"') {
            *value = f->p + 1;
            *len = tf_fields_quoted(f);

            if (*len == 0 && (f->p != *value + 1 || **value != '"')) {
                return -1;      /* it has no end */
            }

        } else {
            *value = f->p;
            *len = tf_fields_token(f);
        }

        tf_fields_blank(f);
    }

    return (f->p == f->end || *f->p == ',' || *f->p == ';') ? is : -1;
}


void
tf_prefer_parse(tf_prefer_t *prefer, const char *data, size_t len)
{
    int           is;
    size_t        n, value_len;
    const char   *name, *value;
    tf_fields_t   f;

    f.p = data;
    f.end = data + len;

    while (f.p < f.end) {
        tf_fields_blank(&f);

        name = f.p;
        n = tf_fields_token(&f);

        if (n == 4 && strncasecmp(name, "wait", 4) == 0
            && !prefer->wait_seen)
        {
            prefer->wait_seen = 1;

            if (tf_prefer_value(&f, &value, &value_len) == 1) {
                prefer->wait = tf_fields_seconds(value, value_len);
            }

        } else if (n == 7 && strncasecmp(name, "durable", 7) == 0
                   && !prefer->durable_seen)
        {
            prefer->durable_seen = 1;

            /* an empty value is the same as none */

            is = tf_prefer_value(&f, &value, &value_len);
            prefer->durable = (is == 0 || (is == 1 && value_len == 0));
        }

        tf_fields_next(&f);
    }
}


int
tf_etag_match(const char *data, size_t len, const char *etag,
    size_t etag_len)
{
    const char   *tag;
    tf_fields_t   f;

    f.p = data;
    f.end = data + len;

    tf_fields_blank(&f);

    if (f.p < f.end && *f.p == '*') {
        f.p++;
        tf_fields_blank(&f);

        return f.p == f.end;
    }

    while (f.p < f.end) {
        tf_fields_blank(&f);

        if (f.end - f.p > 2 && f.p[0] == 'W' && f.p[1] == '/') {
            f.p += 2;
        }

        /* an entity tag has no escapes: it ends at the next quote */

        if (f.p < f.end && *f.p == '"') {
            tag = f.p;
            f.p = memchr(tag + 1, '"', (size_t) (f.end - tag - 1));

            if (f.p == NULL) {
                return 0;
            }

            f.p++;

            if ((size_t) (f.p - tag) == etag_len
                && memcmp(tag, etag, etag_len) == 0)
            {
                return 1;
            }
        }

        while (f.p < f.end && *f.p != ',') {
            f.p++;
        }

        if (f.p < f.end) {
            f.p++;
        }
    }

    return 0;
}
