#include <string.h>
#include <strings.h>

#include "rag/units.h"


/* One unit is kept back: it may have to go with the next block. */

typedef struct {
    const char  *data;
    tf_unit_pt   handler;
    void        *ctx;
    size_t       start;
    size_t       end;           /* 0: none is kept */
} tf_units_t;


static void tf_units_block(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end);
static void tf_units_put(void *ctx, size_t start, size_t end);
static int tf_is_abbreviation(const char *s, size_t start, size_t dot);
static int tf_opens_sentence(const char *s, size_t len);


#define tf_is_indent(c)  ((c) == ' ' || (c) == '\t')
#define tf_is_blank(c)  (tf_is_indent(c) || (c) == '\n' || (c) == '\r')
#define tf_is_lower(c)  ((c) >= 'a' && (c) <= 'z')
#define tf_is_upper(c)  ((c) >= 'A' && (c) <= 'Z')
#define tf_is_digit(c)  ((c) >= '0' && (c) <= '9')


void
tf_units(const char *body, size_t len, tf_unit_pt handler, void *ctx)
{
    tf_units_t  units;

    units.data = body;
    units.handler = handler;
    units.ctx = ctx;
    units.start = 0;
    units.end = 0;

    tf_blocks_scan(body, 0, len, 0, tf_units_block, &units);

    if (units.end) {
        handler(ctx, units.start, units.end);
    }
}


static void
tf_units_block(void *ctx, tf_block_kind_t kind, unsigned level, size_t start,
    size_t end)
{
    size_t       stop, next;
    tf_units_t  *units = ctx;

    (void) level;

    switch (kind) {

    case TF_BLOCK_LIST:
    case TF_BLOCK_TABLE:
    case TF_BLOCK_CODE:
        if (units->end && units->data[units->end - 1] == ':'
            && end - units->start <= TF_UNIT_WHOLE)
        {
            units->end = end;
            return;
        }

        if (end - start <= TF_UNIT_WHOLE) {
            tf_units_put(units, start, end);
            return;
        }

        tf_unit_lines(units->data, kind == TF_BLOCK_LIST, start, end,
                      tf_units_put, units);
        return;

    case TF_BLOCK_FIELDS:
        tf_unit_lines(units->data, 0, start, end, tf_units_put, units);
        return;

    default:
        for (/* void */; start < end; start = next) {
            stop = tf_sentence(units->data, start, end, &next);
            tf_units_put(units, start, stop);
        }
    }
}


static void
tf_units_put(void *ctx, size_t start, size_t end)
{
    tf_units_t  *units = ctx;

    if (units->end) {
        units->handler(units->ctx, units->start, units->end);
    }

    units->start = start;
    units->end = end;
}


void
tf_unit_lines(const char *s, int list, size_t start, size_t end,
    tf_unit_pt handler, void *ctx)
{
    size_t       pos, stop, first, from, last, outer;
    const char  *nl;

    /* the block starts after the first line's indentation */

    for (outer = 0; outer < start && tf_is_indent(s[start - outer - 1]);
         outer++)
    {
        /* void */
    }

    from = start;
    last = start;

    for (pos = start; pos < end; pos = stop + 1) {
        nl = memchr(s + pos, '\n', end - pos);
        stop = nl == NULL ? end : (size_t) (nl - s);

        for (first = pos; first < stop && tf_is_blank(s[first]); first++) {
            /* void */
        }

        if (first == stop) {
            continue;
        }

        if (last > from
            && (!list
                || (first - pos <= outer
                    && (strchr("-*+", s[first]) != NULL
                        || tf_is_digit(s[first])))))
        {
            handler(ctx, from, last);
            from = first;
        }

        for (last = stop; tf_is_blank(s[last - 1]); last--) {
            /* void */
        }
    }

    if (last > from) {
        handler(ctx, from, last);
    }
}


size_t
tf_sentence(const char *data, size_t start, size_t end, size_t *next)
{
    size_t       i, k, line;
    const char  *s;

    s = data;
    line = 0;

    for (i = start; i < end; i++) {

        if (s[i] == '\n') {
            if (i - start > TF_UNIT_LONG) {
                k = i;
                goto found;
            }

            line = i;
            continue;
        }

        if (i - start > 2 * TF_UNIT_LONG && tf_is_blank(s[i])) {
            k = i = line > start ? line : i;
            goto found;
        }

        /* ideographic full stop, and the full-width marks */

        if ((unsigned char) s[i] >= 0xe3 && end - i >= 3
            && (memcmp(s + i, "\xe3\x80\x82", 3) == 0
                || memcmp(s + i, "\xef\xbc\x81", 3) == 0
                || memcmp(s + i, "\xef\xbc\x9f", 3) == 0))
        {
            k = i + 3;
            goto found;
        }

        if (s[i] != '.' && s[i] != '!' && s[i] != '?') {
            continue;
        }

        for (k = i + 1; k < end && strchr(".!?)]\"'*_`", s[k]) != NULL; k++) {
            /* void */
        }

        while (end - k >= 3 && (memcmp(s + k, "\xe2\x80\x9d", 3) == 0
                                || memcmp(s + k, "\xe2\x80\x99", 3) == 0))
        {
            k += 3;
        }

        if (k < end && !tf_is_blank(s[k])) {
            continue;
        }

        if (s[i] == '.' && k == i + 1 && tf_is_abbreviation(s, start, i)) {
            continue;
        }

        for (i = k; i < end && tf_is_blank(s[i]); i++) {
            /* void */
        }

        if (i == end || tf_opens_sentence(s + i, end - i)) {
            *next = i;
            return k;
        }

        i = k - 1;
    }

    *next = end;
    return end;

found:

    *next = k;
    while (*next < end && tf_is_blank(s[*next])) {
        (*next)++;
    }

    while (k > start && tf_is_blank(s[k - 1])) {
        k--;
    }

    return k;
}


static int
tf_is_abbreviation(const char *s, size_t start, size_t dot)
{
    size_t       from, n, i;
    static const char  *const  known[] = {
        "e.g", "i.e", "etc", "vs", "cf", "approx", "resp", "no", "nos", "vol",
        "fig", "figs", "eq", "ch", "sec", "pp", "ed", "eds", "al", "mr",
        "mrs", "ms", "dr", "prof", "st", "jr", "sr", "gen", "col", "lt",
        "capt", "rev", "hon", "inc", "ltd", "corp", "co", "dept", "est",
        "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept",
        "oct", "nov", "dec", "z.b", "d.h", "bzw", "usw", "nr", NULL
    };

    for (from = dot; from > start && !tf_is_blank(s[from - 1])
         && strchr("([\"'", s[from - 1]) == NULL; from--)
    {
        /* void */
    }

    n = dot - from;

    if (n == 0 || n > 8) {
        return 0;
    }

    /* initials: J. R. R. Tolkien, U.S. */

    if (n == 1 && tf_is_upper(s[from])) {
        return 1;
    }

    if (n >= 3 && n <= 5 && tf_is_upper(s[from]) && s[from + 1] == '.'
        && tf_is_upper(s[dot - 1]))
    {
        return 1;
    }

    for (i = 0; known[i] != NULL; i++) {
        if (strlen(known[i]) == n && strncasecmp(known[i], s + from, n) == 0) {
            /* "No." is one only in front of a number */
            return n != 2 || strncasecmp(s + from, "no", 2) != 0
                   || (s[dot + 1] == ' ' && tf_is_digit(s[dot + 2]));
        }
    }

    return 0;
}


/* A lower-case letter goes on with the sentence, unless it is an identifier. */

static int
tf_opens_sentence(const char *s, size_t len)
{
    size_t  i;

    if (!tf_is_lower(s[0])) {
        return 1;
    }

    for (i = 1; i < len && !tf_is_blank(s[i]); i++) {
        if (s[i] == '_' || s[i] == '(' || s[i] == '/' || tf_is_upper(s[i])) {
            return 1;
        }
    }

    return 0;
}
