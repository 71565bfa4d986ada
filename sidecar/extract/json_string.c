#include <string.h>

#include "extract/json_string.h"


static int tf_json_escape(const char *data, size_t len, size_t *pos,
    tf_buf_t *out);
static int tf_json_hex(const char *data, size_t len, size_t *pos,
    unsigned *code);
static void tf_json_utf8(tf_buf_t *out, unsigned code);


const char *
tf_json_string(const char *data, size_t len, size_t *pos, tf_buf_t *out)
{
    size_t         start;
    unsigned char  c;

    start = ++*pos;

    for (/* void */; *pos < len; ++*pos) {
        c = (unsigned char) data[*pos];

        if (c == '"') {
            tf_buf_append(out, data + start, *pos - start);
            ++*pos;
            return NULL;
        }

        if (c < 0x20) {
            return "a control character in a string";
        }

        if (c == '\\') {
            tf_buf_append(out, data + start, *pos - start);
            ++*pos;

            if (*pos == len || tf_json_escape(data, len, pos, out) != 0) {
                return "a wrong escape in a string";
            }

            start = *pos + 1;
        }
    }

    return "a string is never closed";
}


/* At the character after the backslash; stays on the escape's last. */

static int
tf_json_escape(const char *data, size_t len, size_t *pos, tf_buf_t *out)
{
    char         c;
    unsigned     code, low;
    const char  *s;
    static const char  names[] = "\"\\/bfnrt";
    static const char  means[] = "\"\\/  \n\r\t";

    c = data[*pos];
    s = strchr(names, c);

    if (s != NULL && c != '\0') {
        tf_buf_append(out, &means[s - names], 1);
        return 0;
    }

    if (c != 'u' || tf_json_hex(data, len, pos, &code) != 0) {
        return -1;
    }

    if (code >= 0xd800 && code <= 0xdbff && *pos + 2 < len
        && data[*pos + 1] == '\\' && data[*pos + 2] == 'u')
    {
        *pos += 2;

        if (tf_json_hex(data, len, pos, &low) != 0) {
            return -1;
        }

        if (low >= 0xdc00 && low <= 0xdfff) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);

        } else {
            tf_json_utf8(out, 0xfffd);
            code = low;
        }
    }

    if (code == 0 || (code >= 0xd800 && code <= 0xdfff)) {
        code = 0xfffd;
    }

    tf_json_utf8(out, code < 0x20 && code != '\n' && code != '\t' ? ' '
                                                                  : code);

    return 0;
}


/* At the "u"; stays on the last digit. */

static int
tf_json_hex(const char *data, size_t len, size_t *pos, unsigned *code)
{
    int   i;
    char  c;

    *code = 0;

    for (i = 0; i < 4; i++) {
        if (++*pos >= len) {
            return -1;
        }

        c = data[*pos];
        *code <<= 4;

        if (c >= '0' && c <= '9') {
            *code |= (unsigned) (c - '0');

        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            *code |= (unsigned) ((c | 0x20) - 'a' + 10);

        } else {
            return -1;
        }
    }

    return 0;
}


static void
tf_json_utf8(tf_buf_t *out, unsigned code)
{
    char    s[4];
    size_t  n;

    if (code < 0x80) {
        s[0] = (char) code;
        n = 1;

    } else if (code < 0x800) {
        s[0] = (char) (0xc0 | (code >> 6));
        s[1] = (char) (0x80 | (code & 0x3f));
        n = 2;

    } else if (code < 0x10000) {
        s[0] = (char) (0xe0 | (code >> 12));
        s[1] = (char) (0x80 | ((code >> 6) & 0x3f));
        s[2] = (char) (0x80 | (code & 0x3f));
        n = 3;

    } else {
        s[0] = (char) (0xf0 | (code >> 18));
        s[1] = (char) (0x80 | ((code >> 12) & 0x3f));
        s[2] = (char) (0x80 | ((code >> 6) & 0x3f));
        s[3] = (char) (0x80 | (code & 0x3f));
        n = 4;
    }

    tf_buf_append(out, s, n);
}
