#include "base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"


#define TF_CONF_DEFAULT_FILE  "/etc/trifecta/sidecar.conf"
#define TF_CONF_DAY           86400000  /* ms; longer waits overflow an int */

typedef enum {
    TF_CONF_STR,
    TF_CONF_MS,
    TF_CONF_NUM,
    TF_CONF_REAL
} tf_conf_type_t;

typedef struct {
    const char      *name;
    tf_conf_type_t   type;
    size_t           offset;
    const char      *def;
    const char      *what;
} tf_conf_key_t;

static const tf_conf_key_t  tf_conf_table[] = {
#define TF_CONF_ROW(type, key, def, what)                                     \
    { #key, TF_CONF_##type, offsetof(tf_conf_t, key), def, what },
    TF_CONF_KEYS(TF_CONF_ROW)
#undef TF_CONF_ROW
};

#define TF_CONF_NKEYS  (sizeof(tf_conf_table) / sizeof(tf_conf_table[0]))


int64_t
tf_conf_parse_ms(const char *text)
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


/* Returns NULL, or what the value should have been. */

static const char *
tf_conf_set(tf_conf_t *conf, const tf_conf_key_t *key, const char *value)
{
    void      *at;
    char      *copy, *end;
    double     real;
    int64_t    ms;
    uint64_t   num;

    at = (char *) conf + key->offset;

    switch (key->type) {

    case TF_CONF_STR:
        copy = strdup(value);
        if (copy == NULL) {
            return "out of memory";
        }
        free(*(char **) at);
        *(char **) at = copy;
        return NULL;

    case TF_CONF_MS:
        ms = tf_conf_parse_ms(value);
        if (ms < 0) {
            return "a time such as 500ms, 30s or 5m is expected";
        }
        *(int64_t *) at = ms;
        return NULL;

    case TF_CONF_NUM:
        errno = 0;
        num = strtoull(value, &end, 10);
        if (!isdigit((unsigned char) value[0]) || *end || errno) {
            return "a number is expected";
        }
        *(uint64_t *) at = num;
        return NULL;

    default: /* TF_CONF_REAL */
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


static const tf_conf_key_t *
tf_conf_find(const char *name)
{
    size_t  i;

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        if (strcmp(tf_conf_table[i].name, name) == 0) {
            return &tf_conf_table[i];
        }
    }

    return NULL;
}


static char *
tf_conf_trim(char *s)
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


static int
tf_conf_read(tf_conf_t *conf, const char *file, char *err, size_t errlen)
{
    int                   rc;
    char                 *data, *line, *next, *value, *p, *name;
    size_t                len;
    unsigned              n;
    const char           *why;
    const tf_conf_key_t  *key;
    unsigned char         seen[TF_CONF_NKEYS];

    memset(seen, 0, sizeof(seen));

    data = tf_read_file(file, 1 << 20, &len);
    if (data == NULL) {
        (void) snprintf(err, errlen, "cannot read \"%s\": %s", file,
                        strerror(errno));
        return -1;
    }

    rc = -1;
    n = 0;

    for (line = data; line != NULL; line = next) {
        n++;

        next = strchr(line, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }

        for (p = line; *p; p++) {
            if (*p == '#' && (p == line || isspace((unsigned char) p[-1]))) {
                *p = '\0';
                break;
            }
        }

        line = tf_conf_trim(line);
        if (*line == '\0') {
            continue;
        }

        value = strchr(line, '=');
        if (value == NULL) {
            (void) snprintf(err, errlen, "%s:%u: no \"=\" in \"%s\"", file, n,
                            line);
            goto done;
        }

        *value++ = '\0';
        value = tf_conf_trim(value);
        name = tf_conf_trim(line);

        key = tf_conf_find(name);
        if (key == NULL) {
            (void) snprintf(err, errlen, "%s:%u: unknown key \"%s\"", file, n,
                            name);
            goto done;
        }

        if (seen[key - tf_conf_table]) {
            (void) snprintf(err, errlen, "%s:%u: \"%s\" is there twice", file,
                            n, name);
            goto done;
        }

        seen[key - tf_conf_table] = 1;

        why = tf_conf_set(conf, key, value);
        if (why != NULL) {
            (void) snprintf(err, errlen, "%s:%u: %s = %s: %s", file, n, name,
                            value, why);
            goto done;
        }
    }

    rc = 0;

done:

    free(data);

    return rc;
}


static int
tf_conf_check(const tf_conf_t *conf, char *err, size_t errlen)
{
    const char  *why;

    why = NULL;

    if (conf->threads < 1 || conf->threads > 256) {
        why = "threads must be between 1 and 256";

    } else if (conf->lease < 100) {
        why = "lease must be at least 100ms";

    } else if (conf->heartbeat < 10 || conf->heartbeat * 3 > conf->lease) {
        why = "heartbeat must be at least 10ms and at most a third of lease";

    } else if (conf->lease > TF_CONF_DAY || conf->drain_timeout > TF_CONF_DAY) {
        why = "lease and drain_timeout must be at most 1d";

    } else if (conf->answer_threshold > 1) {
        why = "answer_threshold must be between 0 and 1";
    }

    if (why != NULL) {
        (void) snprintf(err, errlen, "%s", why);
        return -1;
    }

    return 0;
}


int
tf_conf_load(tf_conf_t *conf, const char *file, char *err, size_t errlen)
{
    char         name[64];
    FILE        *f;
    size_t       i, k;
    const char  *value, *why;

    memset(conf, 0, sizeof(tf_conf_t));

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        why = tf_conf_set(conf, &tf_conf_table[i], tf_conf_table[i].def);
        if (why != NULL) {
            (void) snprintf(err, errlen, "%s: %s", tf_conf_table[i].name, why);
            goto failed;
        }
    }

    if (file == NULL) {
        file = getenv("TRIFECTA_CONF");
    }

    if (file == NULL || *file == '\0') {
        file = NULL;
        f = fopen(TF_CONF_DEFAULT_FILE, "r");
        if (f != NULL) {
            (void) fclose(f);
            file = TF_CONF_DEFAULT_FILE;
        }
    }

    if (file != NULL && tf_conf_read(conf, file, err, errlen) != 0) {
        goto failed;
    }

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        (void) snprintf(name, sizeof(name), "TRIFECTA_%s",
                        tf_conf_table[i].name);
        for (k = 0; name[k]; k++) {
            name[k] = (char) toupper((unsigned char) name[k]);
        }

        value = getenv(name);
        if (value == NULL) {
            continue;
        }

        why = tf_conf_set(conf, &tf_conf_table[i], value);
        if (why != NULL) {
            (void) snprintf(err, errlen, "environment %s: %s", name, why);
            goto failed;
        }
    }

    if (tf_conf_check(conf, err, errlen) == 0) {
        return 0;
    }

failed:

    tf_conf_free(conf);

    return -1;
}


void
tf_conf_free(tf_conf_t *conf)
{
    size_t  i;
    char  **at;

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        if (tf_conf_table[i].type == TF_CONF_STR) {
            at = (char **) (void *) ((char *) conf + tf_conf_table[i].offset);
            free(*at);
            *at = NULL;
        }
    }
}


void
tf_conf_print(FILE *out)
{
    size_t  i;

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        (void) fprintf(out, "%s# %s\n#%s = %s\n", i ? "\n" : "",
                       tf_conf_table[i].what, tf_conf_table[i].name,
                       tf_conf_table[i].def);
    }
}
