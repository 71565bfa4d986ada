#ifndef TRIFECTA_META_H
#define TRIFECTA_META_H


#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


/*
 * What is said about documents, and asked of it by a question's filters.
 *
 * A value is a text; it is a number as well if it is written as one, and a
 * date if it is written as 2026-01-31 or as a time of RFC 3339.  The edge
 * checks filters by these rules, the sidecar reads values and filters by
 * them, so both mean the same.
 *
 * A name is 1 to TF_META_NAME_MAX letters, digits, "_", "." and "-", and
 * begins with a letter or "_".  Large and small letters are the same there.
 */

#define TF_META_NAME_MAX        64      /* bytes */
#define TF_META_TEXT_MAX        255     /* bytes of a value */
#define TF_META_VALUES_MAX      32      /* of a document */

#define TF_COLLECTIONS_MAX      16      /* of a question */
#define TF_COLLECTION_NAME_MAX  255     /* bytes */
#define TF_FILTERS_MAX          16      /* members of "filters" */
#define TF_FILTER_TESTS_MAX     2       /* of one member */
#define TF_FILTER_IN_MAX        64      /* values of one "in" */

/* The tests that a filter may ask for: X(name, word, is a range) */
#define TF_FILTER_TESTS(X)                                                   \
    X(EQ,   "eq",   0)                                                       \
    X(IN,   "in",   0)                                                       \
    X(LT,   "lt",   1)                                                       \
    X(LTE,  "lte",  1)                                                       \
    X(GT,   "gt",   1)                                                       \
    X(GTE,  "gte",  1)

typedef enum {
#define TF_FILTER_TEST_ENUM(name, word, range)  TF_FILTER_##name,
    TF_FILTER_TESTS(TF_FILTER_TEST_ENUM)
#undef TF_FILTER_TEST_ENUM
    TF_FILTER_NTESTS
} tf_filter_test_t;

typedef struct {
    int64_t  ms;                        /* since 1970, of its beginning */
    int      day;                       /* a day, not a moment */
} tf_meta_date_t;

#define TF_META_DAY_MS  86400000


static inline tf_filter_test_t
tf_filter_test(const char *word)
{
    size_t                    i;
    static const char *const  words[] = {
#define TF_FILTER_TEST_WORD(name, word, range)  word,
        TF_FILTER_TESTS(TF_FILTER_TEST_WORD)
#undef TF_FILTER_TEST_WORD
    };

    for (i = 0; i < TF_FILTER_NTESTS; i++) {
        if (strcmp(words[i], word) == 0) {
            return (tf_filter_test_t) i;
        }
    }

    return TF_FILTER_NTESTS;
}


static inline int
tf_filter_is_range(tf_filter_test_t test)
{
    return test >= TF_FILTER_LT && test < TF_FILTER_NTESTS;
}


/* The name in small letters: 0, or -1 when it is none. */

static inline int
tf_meta_name(const char *s, size_t len, char name[TF_META_NAME_MAX + 1])
{
    char    c;
    size_t  i;

    if (len == 0 || len > TF_META_NAME_MAX) {
        return -1;
    }

    for (i = 0; i < len; i++) {
        c = s[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c - 'A' + 'a');

        } else if ((c >= 'a' && c <= 'z') || c == '_') {
            /* at any place */

        } else if (i == 0
                   || ((c < '0' || c > '9') && c != '.' && c != '-'))
        {
            return -1;
        }

        name[i] = c;
    }

    name[len] = '\0';

    return 0;
}


/* A decimal number, all of the text: 0 or -1. */

static inline int
tf_meta_number(const char *s, size_t len, double *number)
{
    char    text[48], *end;
    size_t  i;

    if (len == 0 || len >= sizeof(text)) {
        return -1;
    }

    for (i = 0; i < len; i++) {
        if ((s[i] < '0' || s[i] > '9')
            && (i == 0 ? s[i] != '-'
                       : s[i] == '\0' || strchr(".eE+-", s[i]) == NULL))
        {
            return -1;
        }

        text[i] = s[i];
    }

    text[len] = '\0';
    *number = strtod(text, &end);

    /* what is nearer to nothing or to the end of the range, stores refuse */

    return *end == '\0' && (*number == 0 || (fabs(*number) > 1e-300
                                             && fabs(*number) < 1e300))
           ? 0 : -1;
}


/* So many digits as a number, or -1. */

static inline int
tf_meta_digits(const char *s, size_t n)
{
    int     number;
    size_t  i;

    number = 0;

    for (i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return -1;
        }

        number = number * 10 + (s[i] - '0');
    }

    return number;
}


/* Days since 1970-01-01 of a day of the Gregorian calendar, or -1. */

static inline int
tf_meta_days(int y, int m, int d, int64_t *days)
{
    int               leap, last;
    static const int  before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243,
                                   273, 304, 334, 365 };

    if (y < 1 || m < 1 || m > 12 || d < 1) {
        return -1;
    }

    leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    last = before[m] - before[m - 1] + (leap && m == 2);

    if (d > last) {
        return -1;
    }

    y--;

    /* from 0001-01-01, which is 719162 days before 1970 */

    *days = (int64_t) y * 365 + y / 4 - y / 100 + y / 400 + before[m - 1]
            + (leap && m > 2) + d - 1 - 719162;

    return 0;
}


/*
 * 2026-01-31, or with "T" or a blank, hours and minutes, seconds and their
 * fraction if one likes, and "Z" or an offset (UTC without): 0 or -1.
 */

static inline int
tf_meta_date(const char *s, size_t len, tf_meta_date_t *date)
{
    int         h, m, sec, oh, om, sign;
    size_t      i;
    int64_t     days, ms;

    /* what is behind the text is no digit and no mark */

    char        t[40] = { 0 };

    if (len < 10 || len > 35) {
        return -1;
    }

    memcpy(t, s, len);

    if (t[4] != '-' || t[7] != '-'
        || tf_meta_days(tf_meta_digits(t, 4), tf_meta_digits(t + 5, 2),
                        tf_meta_digits(t + 8, 2), &days)
           != 0)
    {
        return -1;
    }

    date->ms = days * TF_META_DAY_MS;
    date->day = (len == 10);

    if (date->day) {
        return 0;
    }

    h = tf_meta_digits(t + 11, 2);
    m = tf_meta_digits(t + 14, 2);
    sec = 0;
    ms = 0;
    i = 16;

    if ((t[10] != 'T' && t[10] != 't' && t[10] != ' ') || t[13] != ':'
        || h < 0 || h > 23 || m < 0 || m > 59)
    {
        return -1;
    }

    if (t[i] == ':') {
        sec = tf_meta_digits(t + i + 1, 2);
        i += 3;

        /* 60 is a leap second */

        if (sec < 0 || sec > 60) {
            return -1;
        }

        if (t[i] == '.') {
            ms = tf_meta_digits(t + i + 1, 1) * 100;
            if (ms < 0) {
                return -1;
            }

            for (i += 2; tf_meta_digits(t + i, 1) >= 0; i++) { /* void */ }
        }
    }

    date->ms += ((h * 60 + m) * 60 + sec) * (int64_t) 1000 + ms;

    if (t[i] == '\0' || ((t[i] == 'Z' || t[i] == 'z') && i + 1 == len)) {
        return i >= len - 1 ? 0 : -1;
    }

    sign = t[i] == '+' ? 1 : t[i] == '-' ? -1 : 0;
    oh = tf_meta_digits(t + i + 1, 2);
    i += 3;
    om = 0;

    if (sign == 0 || oh < 0 || oh > 23) {
        return -1;
    }

    if (i < len) {
        i += (t[i] == ':');
        om = tf_meta_digits(t + i, 2);
        i += 2;
    }

    if (om < 0 || om > 59 || i != len) {
        return -1;
    }

    date->ms -= sign * (oh * 60 + om) * (int64_t) 60000;

    return 0;
}


#endif /* TRIFECTA_META_H */
