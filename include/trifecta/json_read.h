#ifndef TRIFECTA_JSON_READ_H
#define TRIFECTA_JSON_READ_H


#include <stdlib.h>

#include <jansson.h>

#include <trifecta/job.h>
#include <trifecta/text.h>


/*
 * A quick reader of JSON, in front of jansson.
 *
 * jansson takes its input byte by byte, through a call for each, which makes
 * up most of what accepting a question of a kilobyte costs.  This reader
 * takes strings by the run (text.h).
 *
 *   text ──> tf_json_read() ──┬──> a tree
 *                             └──> NULL ──> json_loadb() ──> a tree, or why not
 *
 * It refuses nothing, because it gives no reasons: whatever is wrong, or only
 * unusual, is left to jansson, which has the last word.  So it has to be right
 * about what it does read, and no more: that is text of which json_loadb()
 * with JSON_REJECT_DUPLICATES makes the same tree, nested no deeper than
 * TF_JSON_DEPTH_MAX.  Left to jansson are also NUL in any form, long names and
 * names with escapes, and texts with many numbers that are no small integers.
 * NULL is also what no memory is.
 *
 * The work is bounded by the text: what is read twice at the end was not read
 * more than once before.
 */

#define TF_JSON_READ_NAME     128       /* bytes of a name, with its NUL */
#define TF_JSON_READ_DIGITS   18        /* of an integer that surely fits */
#define TF_JSON_READ_NUMBERS  64        /* others, each a call of jansson */

typedef struct {
    const unsigned char  *p;
    const unsigned char  *end;
    unsigned              depth;
    unsigned              numbers;
} tf_json_read_t;


static inline json_t *tf_json_read_value(tf_json_read_t *in);


/* The next byte that is no blank, 0 at the end. */

static inline unsigned char
tf_json_read_next(tf_json_read_t *in)
{
    while (in->p < in->end) {
        if (*in->p != ' ' && *in->p != '\n' && *in->p != '\r'
            && *in->p != '\t')
        {
            return *in->p;
        }

        in->p++;
    }

    return 0;
}


/*
 * Passes a string and finds what is between its quotes.  What stands behind a
 * backslash is not looked at.  Returns 0, or -1.
 */

static inline int
tf_json_read_span(tf_json_read_t *in, const unsigned char **start,
    size_t *len, int *escaped)
{
    size_t                n;
    uint32_t              c;
    const unsigned char  *p;

    p = in->p + 1;

    *start = p;
    *escaped = 0;

    for ( ;; ) {
        p += tf_text_plain(p, (size_t) (in->end - p));

        if (p == in->end || *p < 0x20) {
            return -1;
        }

        if (*p == '"') {
            break;
        }

        if (*p == '\\') {
            *escaped = 1;
            n = 2;

        } else {
            n = tf_text_char(p, in->end, &c);
        }

        if (n == 0 || (size_t) (in->end - p) < n) {
            return -1;
        }

        p += n;
    }

    *len = (size_t) (p - *start);
    in->p = p + 1;

    return 0;
}


/* Four digits; 0 stands for what is not taken, which NUL is, too. */

static inline uint32_t
tf_json_read_hex(const unsigned char *p, const unsigned char *end)
{
    unsigned       i;
    uint32_t       v;
    unsigned char  c;

    if (end - p < 4) {
        return 0;
    }

    for (v = 0, i = 0; i < 4; i++) {
        c = p[i];

        if (c >= '0' && c <= '9') {
            v = v << 4 | (uint32_t) (c - '0');

        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            v = v << 4 | (uint32_t) ((c | 0x20) - 'a' + 10);

        } else {
            return 0;
        }
    }

    return v;
}


/* Of \u and, for what is beyond 16 bits, a second \u; returns its length. */

static inline size_t
tf_json_read_unicode(const unsigned char *p, const unsigned char *end,
    unsigned char **to)
{
    size_t          len;
    uint32_t        c, low;
    unsigned char  *out;

    c = tf_json_read_hex(p + 2, end);
    len = 6;

    if (c >= 0xd800 && c <= 0xdbff) {
        if (end - p < 12 || p[6] != '\\' || p[7] != 'u') {
            return 0;
        }

        low = tf_json_read_hex(p + 8, end);

        if (low < 0xdc00 || low > 0xdfff) {
            return 0;
        }

        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        len = 12;

    } else if (c == 0 || (c >= 0xdc00 && c <= 0xdfff)) {
        return 0;
    }

    out = *to;

    if (c < 0x80) {
        *out++ = (unsigned char) c;

    } else if (c < 0x800) {
        *out++ = (unsigned char) (0xc0 | c >> 6);
        *out++ = (unsigned char) (0x80 | (c & 0x3f));

    } else if (c < 0x10000) {
        *out++ = (unsigned char) (0xe0 | c >> 12);
        *out++ = (unsigned char) (0x80 | (c >> 6 & 0x3f));
        *out++ = (unsigned char) (0x80 | (c & 0x3f));

    } else {
        *out++ = (unsigned char) (0xf0 | c >> 18);
        *out++ = (unsigned char) (0x80 | (c >> 12 & 0x3f));
        *out++ = (unsigned char) (0x80 | (c >> 6 & 0x3f));
        *out++ = (unsigned char) (0x80 | (c & 0x3f));
    }

    *to = out;

    return len;
}


/* What is written is never longer than what is read; NULL: not taken. */

static inline unsigned char *
tf_json_read_unescape(const unsigned char *p, size_t len, unsigned char *out)
{
    size_t                n;
    const char           *at;
    const unsigned char  *end, *slash;

    static const char  from[] = "\"\\/bfnrt";
    static const char  to[] = "\"\\/\b\f\n\r\t";

    for (end = p + len; p < end; p += n) {
        slash = memchr(p, '\\', (size_t) (end - p));
        n = (size_t) ((slash ? slash : end) - p);

        memcpy(out, p, n);
        out += n;
        p += n;

        if (slash == NULL) {
            break;
        }

        n = 2;

        if (p[1] == 'u') {
            n = tf_json_read_unicode(p, end, &out);

            if (n == 0) {
                return NULL;
            }

            continue;
        }

        at = memchr(from, p[1], sizeof(from) - 1);

        if (at == NULL) {
            return NULL;
        }

        *out++ = (unsigned char) to[at - from];
    }

    return out;
}


static inline json_t *
tf_json_read_string(tf_json_read_t *in)
{
    int                   escaped;
    size_t                len;
    json_t               *value;
    unsigned char        *text, *end;
    const unsigned char  *start;

    if (tf_json_read_span(in, &start, &len, &escaped) != 0) {
        return NULL;
    }

    if (!escaped) {
        return json_stringn_nocheck((const char *) start, len);
    }

    text = malloc(len);
    if (text == NULL) {
        return NULL;
    }

    value = NULL;
    end = tf_json_read_unescape(start, len, text);

    if (end != NULL) {
        value = json_stringn_nocheck((const char *) text,
                                     (size_t) (end - text));
    }

    free(text);

    return value;
}


static inline json_t *
tf_json_read_number(tf_json_read_t *in)
{
    size_t                n, len, minus;
    json_int_t            v;
    const unsigned char  *p;

    p = in->p;
    len = (size_t) (in->end - p);
    minus = (*p == '-');

    for (n = minus, v = 0;
         n < len && n < minus + TF_JSON_READ_DIGITS
         && p[n] >= '0' && p[n] <= '9';
         n++)
    {
        v = v * 10 + (p[n] - '0');
    }

    if (n > minus && (p[minus] != '0' || n == minus + 1)
        && (n == len || p[n] == ',' || p[n] == '}' || p[n] == ']'
            || p[n] == ' ' || p[n] == '\n' || p[n] == '\r' || p[n] == '\t'))
    {
        in->p += n;

        return json_integer(minus ? -v : v);
    }

    if (++in->numbers > TF_JSON_READ_NUMBERS) {
        return NULL;
    }

    for (n = 0; n < len && p[n] != '\0'
                && memchr("0123456789+-.eE", p[n], 15) != NULL; n++)
    {
        /* void */
    }

    in->p += n;

    return json_loadb((const char *) p, n, JSON_DECODE_ANY, NULL);
}


static inline int
tf_json_read_member(tf_json_read_t *in, json_t *object)
{
    int                   escaped;
    char                  name[TF_JSON_READ_NAME];
    size_t                len;
    json_t               *value;
    const unsigned char  *start;

    if (tf_json_read_next(in) != '"'
        || tf_json_read_span(in, &start, &len, &escaped) != 0
        || escaped || len >= TF_JSON_READ_NAME)
    {
        return -1;
    }

    memcpy(name, start, len);
    name[len] = '\0';

    if (json_object_get(object, name) != NULL
        || tf_json_read_next(in) != ':')
    {
        return -1;
    }

    in->p++;

    value = tf_json_read_value(in);

    return value ? json_object_set_new_nocheck(object, name, value) : -1;
}


/* An array or an object, of which this is the first byte. */

static inline json_t *
tf_json_read_container(tf_json_read_t *in)
{
    int             is_object, rc;
    json_t         *value, *container;
    unsigned char   c, last;

    if (++in->depth > TF_JSON_DEPTH_MAX) {
        return NULL;
    }

    is_object = (*in->p++ == '{');
    last = is_object ? '}' : ']';

    container = is_object ? json_object() : json_array();

    if (container == NULL) {
        return NULL;
    }

    c = tf_json_read_next(in);

    while (c != last) {

        if (is_object) {
            rc = tf_json_read_member(in, container);

        } else {
            value = tf_json_read_value(in);
            rc = value ? json_array_append_new(container, value) : -1;
        }

        c = tf_json_read_next(in);

        if (rc != 0 || (c != ',' && c != last)) {
            json_decref(container);
            return NULL;
        }

        if (c == ',') {
            in->p++;

            if (tf_json_read_next(in) == last) {
                json_decref(container);
                return NULL;
            }
        }
    }

    in->p++;
    in->depth--;

    return container;
}


static inline json_t *
tf_json_read_word(tf_json_read_t *in, const char *word, size_t len,
    json_t *value)
{
    if ((size_t) (in->end - in->p) < len || memcmp(in->p, word, len) != 0) {
        return NULL;
    }

    /* what follows must be a comma or an end: all others see to that */

    in->p += len;

    return value;
}


static inline json_t *
tf_json_read_value(tf_json_read_t *in)
{
    switch (tf_json_read_next(in)) {

    case '"':
        return tf_json_read_string(in);

    case '{':
    case '[':
        return tf_json_read_container(in);

    case 't':
        return tf_json_read_word(in, "true", 4, json_true());

    case 'f':
        return tf_json_read_word(in, "false", 5, json_false());

    case 'n':
        return tf_json_read_word(in, "null", 4, json_null());

    case '-':
    case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        return tf_json_read_number(in);

    default:
        return NULL;
    }
}


/* An object or an array, or NULL: ask jansson. */

static inline json_t *
tf_json_read(const void *data, size_t len)
{
    json_t          *root;
    tf_json_read_t   in;

    memset(&in, 0, sizeof(tf_json_read_t));

    in.p = data;
    in.end = in.p + len;

    if (tf_json_read_next(&in) != '{' && (in.p == in.end || *in.p != '[')) {
        return NULL;
    }

    root = tf_json_read_container(&in);

    /* a byte of NUL is no end */

    if (root && (tf_json_read_next(&in) != 0 || in.p != in.end)) {
        json_decref(root);
        return NULL;
    }

    return root;
}


#endif /* TRIFECTA_JSON_READ_H */
