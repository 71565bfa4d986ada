#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/limits.h"


typedef struct {
    const char  *name;
    int64_t      def;
    int64_t      max;
    char         unit;          /* 'B', 'N' or 'S' */
    const char  *help;
} tf_limit_row_t;


static const tf_limit_row_t  tf_limit_rows[] = {
#define TF_LIMIT_ROW(name, def, max, unit, what, help)                        \
    { #name, def, max, #unit[0], help },
    TF_LIMITS(TF_LIMIT_ROW)
#undef TF_LIMIT_ROW
};


static int tf_limit_value(const tf_limit_row_t *row, const char *s,
    size_t len, int64_t *value);


void
tf_limits_default(tf_limits_t *limits)
{
    size_t  i;

    for (i = 0; i < TF_LIMIT_MAX; i++) {
        limits->v[i] = tf_limit_rows[i].def;
    }
}


int
tf_limits_parse(tf_limits_t *limits, const char *s, char *err, size_t errlen)
{
    size_t       i, n, name;
    int64_t      value;
    const char  *eq;

    for ( ;; ) {
        s += strspn(s, ", \t");
        n = strcspn(s, ", \t");

        if (n == 0) {
            return 0;
        }

        eq = memchr(s, '=', n);
        name = eq == NULL ? n : (size_t) (eq - s);

        for (i = 0; i < TF_LIMIT_MAX; i++) {
            if (strlen(tf_limit_rows[i].name) == name
                && memcmp(tf_limit_rows[i].name, s, name) == 0)
            {
                break;
            }
        }

        if (i == TF_LIMIT_MAX) {
            (void) snprintf(err, errlen, "no limit has the name \"%.*s\"; the "
                            "names are file, text, unpacked, ratio, members, "
                            "nesting, depth, pages, line, memory, seconds",
                            name < 40 ? (int) name : 40, s);
            return -1;
        }

        if (eq == NULL
            || tf_limit_value(&tf_limit_rows[i], eq + 1, n - name - 1, &value)
               != 0)
        {
            (void) snprintf(err, errlen, "limit %s: \"%.*s\" is not %s up to "
                            "%lld", tf_limit_rows[i].name,
                            n < 60 ? (int) n : 60, s,
                            tf_limit_rows[i].unit == 'B'
                            ? "a size such as 512k, 16m or 1g" : "a number",
                            (long long) tf_limit_rows[i].max);
            return -1;
        }

        limits->v[i] = value;
        s += n;
    }
}


static int
tf_limit_value(const tf_limit_row_t *row, const char *s, size_t len,
    int64_t *value)
{
    char        digits[24];
    size_t      n;
    long long   number;

    for (n = 0; n < len && n < 19 && s[n] >= '0' && s[n] <= '9'; n++) {
        digits[n] = s[n];
    }

    digits[n] = '\0';

    if (n == 0) {
        return -1;
    }

    errno = 0;
    number = strtoll(digits, NULL, 10);

    if (errno || number > row->max) {
        return -1;
    }

    if (row->unit == 'B' && n < len) {
        switch (s[n] | 0x20) {

        case 'g':
            number *= 1024;
            /* fall through */

        case 'm':
            number *= 1024;
            /* fall through */

        case 'k':
            number *= 1024;
            n++;
            break;
        }

        if (n < len && (s[n] | 0x20) == 'b') {
            n++;
        }
    }

    if (n != len || number > row->max) {
        return -1;
    }

    *value = number;

    return 0;
}


const char *
tf_limit_print(const tf_limits_t *limits, tf_limit_t limit, char *buf,
    size_t len)
{
    int64_t      value;
    const char  *unit;

    value = limits->v[limit];
    unit = "";

    if (tf_limit_rows[limit].unit == 'B') {
        if (value && value % (1024 * TF_MB) == 0) {
            value /= 1024 * TF_MB;
            unit = "g";

        } else if (value && value % TF_MB == 0) {
            value /= TF_MB;
            unit = "m";

        } else if (value && value % 1024 == 0) {
            value /= 1024;
            unit = "k";
        }
    }

    (void) snprintf(buf, len, "%s=%lld%s", tf_limit_rows[limit].name,
                    (long long) value, unit);

    return buf;
}


const char *
tf_limit_name(tf_limit_t limit)
{
    return tf_limit_rows[limit].name;
}


const char *
tf_limit_help(tf_limit_t limit)
{
    return tf_limit_rows[limit].help;
}
