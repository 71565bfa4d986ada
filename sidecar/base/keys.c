#include "base/keys.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"


#define TF_KEYS_FILE_MAX  (1 << 20)


int64_t
tf_key_parse_ms(const char *text)
{
    char    *end;
    long     unit;
    int64_t  n;

    if (!isdigit((unsigned char) text[0])) {
        return -1;
    }

    errno = 0;
    n = strtoll(text, &end, 10);

    if (strcmp(end, "ms") == 0) {
        unit = 1;
    } else if (*end == '\0' || strcmp(end, "s") == 0) {
        unit = 1000;
    } else if (strcmp(end, "m") == 0) {
        unit = 60 * 1000;
    } else if (strcmp(end, "h") == 0) {
        unit = 60 * 60 * 1000;
    } else if (strcmp(end, "d") == 0) {
        unit = 24 * 60 * 60 * 1000;
    } else {
        return -1;
    }

    if (errno != 0 || n > INT64_MAX / 1000 / unit) {
        return -1;
    }

    return n * unit;
}


const char *
tf_key_set(void *base, const tf_key_t *key, const char *value)
{
    void      *at;
    char      *copy, *end;
    double     real;
    int64_t    ms;
    uint64_t   num;

    at = (char *) base + key->offset;

    switch (key->type) {

    case TF_KEY_STR:
        copy = strdup(value);
        if (copy == NULL) {
            return "out of memory";
        }
        free(*(char **) at);
        *(char **) at = copy;
        return NULL;

    case TF_KEY_MS:
        ms = tf_key_parse_ms(value);
        if (ms < 0) {
            return "a time such as 500ms, 30s or 5m is expected";
        }
        *(int64_t *) at = ms;
        return NULL;

    case TF_KEY_NUM:
        errno = 0;
        num = strtoull(value, &end, 10);
        if (!isdigit((unsigned char) value[0]) || *end || errno) {
            return "a number is expected";
        }
        *(uint64_t *) at = num;
        return NULL;

    case TF_KEY_BOOL:
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
            return "on or off is expected";
        }
        *(int *) at = value[1] == 'n';
        return NULL;

    default: /* TF_KEY_REAL */
        errno = 0;
        real = strtod(value, &end);
        if (!isdigit((unsigned char) value[0]) || *end || errno
            || !isfinite(real))
        {
            return "a number such as 0.5 is expected";
        }
        *(double *) at = real;
        return NULL;
    }
}


const char *
tf_keys_default(void *base, const tf_key_t *table, size_t n)
{
    size_t       i;
    const char  *why;

    for (i = 0; i < n; i++) {
        why = tf_key_set(base, &table[i], table[i].def);
        if (why != NULL) {
            return why;
        }
    }

    return NULL;
}


const tf_key_t *
tf_key_find(const tf_key_t *table, size_t n, const char *name)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }

    return NULL;
}


void
tf_keys_free(void *base, const tf_key_t *table, size_t n)
{
    char   **at;
    size_t   i;

    for (i = 0; i < n; i++) {
        if (table[i].type == TF_KEY_STR) {
            at = (char **) (void *) ((char *) base + table[i].offset);
            free(*at);
            *at = NULL;
        }
    }
}


static char *
tf_keys_trim(char *s)
{
    char  *end;

    while (isspace((unsigned char) *s)) {
        s++;
    }

    end = s + strlen(s);
    while (end > s && isspace((unsigned char) end[-1])) {
        *--end = '\0';
    }

    return s;
}


/* One line, changed in place; NULL or what is wrong. */

static const char *
tf_keys_line(char *text,
    const char *(*line)(void *arg, const char *name, const char *value),
    void *arg)
{
    char   *p, *value;
    size_t  len;

    for (p = text; *p; p++) {
        if (*p == '#' && (p == text || isspace((unsigned char) p[-1]))) {
            *p = '\0';
            break;
        }
    }

    text = tf_keys_trim(text);
    len = strlen(text);

    if (len == 0) {
        return NULL;
    }

    if (text[0] == '[' && text[len - 1] == ']') {
        text[len - 1] = '\0';
        return line(arg, tf_keys_trim(text + 1), NULL);
    }

    value = strchr(text, '=');
    if (value == NULL) {
        return "no \"=\" in the line";
    }

    *value++ = '\0';

    return line(arg, tf_keys_trim(text), tf_keys_trim(value));
}


int
tf_keys_read(const char *file,
    const char *(*line)(void *arg, const char *name, const char *value),
    void *arg, char *err, size_t errlen)
{
    int          rc;
    char        *data, *p, *next;
    size_t       len;
    unsigned     n;
    const char  *why;

    data = tf_read_file(file, TF_KEYS_FILE_MAX, &len);
    if (data == NULL) {
        (void) snprintf(err, errlen, "cannot read \"%s\": %s", file,
                        strerror(errno));
        return -1;
    }

    rc = 0;
    n = 0;

    for (p = data; rc == 0 && p != NULL; p = next) {
        n++;

        next = strchr(p, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }

        why = tf_keys_line(p, line, arg);
        if (why != NULL) {
            (void) snprintf(err, errlen, "%s:%u: %s", file, n, why);
            rc = -1;
        }
    }

    free(data);

    return rc;
}
