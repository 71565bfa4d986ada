#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "extract/charset.h"
#include "extract/mime.h"


static int tf_mime_word(const char *s, size_t len, size_t *used,
    tf_buf_t *out);
static int tf_mime_piece(const char *value, const char *name, tf_buf_t *out);
static void tf_mime_percent(const char *s, size_t len, tf_buf_t *out);
static void tf_mime_base64(const char *data, size_t len, tf_buf_t *out);
static void tf_mime_quoted(const char *data, size_t len, int header,
    tf_buf_t *out);
static int tf_hex(char c);


#define tf_is_blank(c)                                                        \
    ((c) == ' ' || (c) == '\t' || (c) == '\r' || (c) == '\n')


size_t
tf_mime_body(const char *data, size_t len)
{
    size_t       pos, n;
    const char  *nl;

    for (pos = 0; pos < len; pos += n + 1) {
        nl = memchr(data + pos, '\n', len - pos);
        n = nl == NULL ? len - pos : (size_t) (nl - data) - pos;

        if (n == 0 || (n == 1 && data[pos] == '\r')) {
            return pos + n + 1 < len ? pos + n + 1 : len;
        }
    }

    return len;
}


int
tf_mime_header(const char *data, size_t len, const char *name, size_t max,
    tf_buf_t *value)
{
    int          inside;
    size_t       pos, n, skip, namelen;
    const char  *nl;

    inside = 0;
    namelen = strlen(name);

    for (pos = 0; pos < len; pos += n + 1) {
        nl = memchr(data + pos, '\n', len - pos);
        n = nl == NULL ? len - pos : (size_t) (nl - data) - pos;

        if (inside && (data[pos] == ' ' || data[pos] == '\t')) {
            tf_buf_append(value, " ", 1);
            skip = 1;

        } else if (inside) {
            return 0;

        } else if (n > namelen && data[pos + namelen] == ':'
                   && strncasecmp(data + pos, name, namelen) == 0)
        {
            inside = 1;
            skip = namelen + 1;

        } else {
            continue;
        }

        while (skip < n && tf_is_blank(data[pos + skip])) {
            skip++;
        }

        if (value->len + n - skip > max) {
            return -1;
        }

        tf_buf_append(value, data + pos + skip, n - skip);

        while (value->len && tf_is_blank(value->data[value->len - 1])) {
            value->data[--value->len] = '\0';
        }
    }

    return inside ? 0 : -1;
}


/* Blanks between two encoded words are no text. */

void
tf_mime_words(const char *s, size_t len, tf_buf_t *out)
{
    size_t  i, n, used, blanks;
    int     after;

    for (i = 0, after = 0; i < len; i += n) {

        for (blanks = 0; i + blanks < len && tf_is_blank(s[i + blanks]);
             blanks++)
        {
            /* void */
        }

        if (after && blanks
            && tf_mime_word(s + i + blanks, len - i - blanks, &used, out) == 0)
        {
            n = blanks + used;
            continue;
        }

        if (tf_mime_word(s + i, len - i, &used, out) == 0) {
            n = used;
            after = 1;
            continue;
        }

        n = blanks ? blanks : 1;
        after = 0;

        if (blanks) {
            tf_buf_append(out, " ", 1);

        } else {
            tf_buf_append(out, s + i, 1);
        }
    }
}


/* =?charset?Q?text?= */

static int
tf_mime_word(const char *s, size_t len, size_t *used, tf_buf_t *out)
{
    size_t       charset, text, end;
    tf_buf_t     bytes = TF_BUF_INIT;
    const char  *q;

    if (len < 8 || s[0] != '=' || s[1] != '?') {
        return -1;
    }

    q = memchr(s + 2, '?', len - 2 < 60 ? len - 2 : 60);
    if (q == NULL) {
        return -1;
    }

    charset = (size_t) (q - s) - 2;
    text = charset + 5;

    if (text >= len || s[text - 1] != '?'
        || strchr("QqBb", s[text - 2]) == NULL)
    {
        return -1;
    }

    for (end = text; end + 1 < len && !(s[end] == '?' && s[end + 1] == '=');
         end++)
    {
        if (end - text > 1000) {
            return -1;
        }
    }

    if (end + 1 >= len) {
        return -1;
    }

    if ((s[text - 2] | 0x20) == 'b') {
        tf_mime_base64(s + text, end - text, &bytes);

    } else {
        tf_mime_quoted(s + text, end - text, 1, &bytes);
    }

    q = memchr(s + 2, '*', charset);        /* RFC 2231: with a language */

    if (tf_charset_decode(s + 2, q == NULL ? charset : (size_t) (q - s) - 2,
                          bytes.len ? bytes.data : "", bytes.len, out) != 0)
    {
        (void) tf_charset_decode("utf-8", 5, bytes.len ? bytes.data : "",
                                 bytes.len, out);
    }

    out->failed |= bytes.failed;
    tf_buf_free(&bytes);
    *used = end + 2;

    return 0;
}


int
tf_mime_param(const char *value, const char *name, tf_buf_t *out)
{
    int          i, rc;
    char         part[64];
    size_t       start, n;
    tf_buf_t     raw = TF_BUF_INIT;
    const char  *first, *second;

    start = out->len;

    if (tf_mime_piece(value, name, &raw) == 0) {
        tf_mime_words(raw.len ? raw.data : "", raw.len, out);
        tf_buf_free(&raw);
        return 0;
    }

    /* name*=charset'language'text, or in pieces of which some are like that */

    rc = -1;

    for (i = -1; i < 100; i++) {
        if (i < 0) {
            (void) snprintf(part, sizeof(part), "%s*", name);
        } else {
            (void) snprintf(part, sizeof(part), "%s*%d", name, i);
        }

        tf_buf_reset(&raw);
        n = 0;

        if (tf_mime_piece(value, part, &raw) == 0) {
            n = (i < 0);

        } else if (i >= 0) {
            (void) snprintf(part, sizeof(part), "%s*%d*", name, i);
            if (tf_mime_piece(value, part, &raw) != 0) {
                break;
            }
            n = 1;

        } else {
            continue;
        }

        rc = 0;

        if (!n) {
            tf_buf_append(out, raw.data, raw.len);
            continue;
        }

        first = raw.len ? strchr(raw.data, '\'') : NULL;
        second = first == NULL ? NULL : strchr(first + 1, '\'');

        if (i <= 0 && second != NULL) {
            tf_mime_percent(second + 1, strlen(second + 1), out);

        } else if (raw.len) {
            tf_mime_percent(raw.data, raw.len, out);
        }

        if (i < 0) {
            break;
        }
    }

    tf_buf_free(&raw);

    if (out->len > start) {
        tf_charset_clean(out->data + start, out->len - start);
    }

    return rc;
}


/* The raw value of "; name=value" or "; name="value"". */

static int
tf_mime_piece(const char *value, const char *name, tf_buf_t *out)
{
    size_t       n;
    const char  *s;

    n = strlen(name);

    for (s = strchr(value, ';'); s != NULL; s = strchr(s, ';')) {
        s++;
        while (tf_is_blank(*s)) {
            s++;
        }

        if (strncasecmp(s, name, n) == 0 && s[n] == '=') {
            s += n + 1;
            break;
        }

        /* over a quoted value, which may hold a semicolon */

        while (*s && *s != ';' && *s != '"') {
            s++;
        }

        if (*s == '"') {
            for (s++; *s && *s != '"'; s += (*s == '\\' && s[1]) ? 2 : 1) {
                /* void */
            }
        }
    }

    if (s == NULL) {
        return -1;
    }

    tf_buf_append(out, "", 0);

    if (*s != '"') {
        tf_buf_append(out, s, strcspn(s, "; \t\r\n"));
        return 0;
    }

    for (s++; *s && *s != '"'; s++) {
        s += (*s == '\\' && s[1]);
        tf_buf_append(out, s, 1);
    }

    return 0;
}


static void
tf_mime_percent(const char *s, size_t len, tf_buf_t *out)
{
    char    c;
    size_t  i;

    for (i = 0; i < len; i++) {
        c = s[i];

        if (c == '%' && i + 2 < len && tf_hex(s[i + 1]) >= 0
            && tf_hex(s[i + 2]) >= 0)
        {
            c = (char) (tf_hex(s[i + 1]) * 16 + tf_hex(s[i + 2]));
            i += 2;
        }

        tf_buf_append(out, &c, 1);
    }
}


void
tf_mime_decode(const char *encoding, const char *data, size_t len,
    tf_buf_t *out)
{
    if (strcasecmp(encoding, "base64") == 0) {
        tf_mime_base64(data, len, out);

    } else if (strcasecmp(encoding, "quoted-printable") == 0) {
        tf_mime_quoted(data, len, 0, out);

    } else {
        tf_buf_append(out, data, len);
    }
}


static void
tf_mime_base64(const char *data, size_t len, tf_buf_t *out)
{
    int          n;
    char         bytes[3];
    size_t       i;
    unsigned     bits, value;

    for (i = 0, n = 0, bits = 0; i < len; i++) {

        if (data[i] >= 'A' && data[i] <= 'Z') {
            value = (unsigned) (data[i] - 'A');

        } else if (data[i] >= 'a' && data[i] <= 'z') {
            value = (unsigned) (data[i] - 'a' + 26);

        } else if (data[i] >= '0' && data[i] <= '9') {
            value = (unsigned) (data[i] - '0' + 52);

        } else if (data[i] == '+' || data[i] == '/') {
            value = data[i] == '+' ? 62 : 63;

        } else if (data[i] == '=') {
            break;

        } else {
            continue;
        }

        bits = (bits << 6) | value;

        if (++n == 4) {
            bytes[0] = (char) (bits >> 16);
            bytes[1] = (char) (bits >> 8);
            bytes[2] = (char) bits;
            tf_buf_append(out, bytes, 3);
            n = 0;
            bits = 0;
        }
    }

    if (n >= 2) {
        bits <<= 6 * (4 - n);
        bytes[0] = (char) (bits >> 16);
        bytes[1] = (char) (bits >> 8);
        tf_buf_append(out, bytes, (size_t) n - 1);
    }
}


/* In a header "_" is a blank; in a body "=" at the end joins lines. */

static void
tf_mime_quoted(const char *data, size_t len, int header, tf_buf_t *out)
{
    char    c;
    size_t  i, end;

    for (i = 0; i < len; i++) {
        c = data[i];

        if (header && c == '_') {
            c = ' ';

        } else if (c == '=') {
            if (i + 2 < len && tf_hex(data[i + 1]) >= 0
                && tf_hex(data[i + 2]) >= 0)
            {
                c = (char) (tf_hex(data[i + 1]) * 16 + tf_hex(data[i + 2]));
                i += 2;

            } else {
                for (end = i + 1; end < len && (data[end] == ' '
                     || data[end] == '\t' || data[end] == '\r'); end++)
                {
                    /* void */
                }

                if (end == len || data[end] == '\n') {
                    i = end;
                    continue;
                }
            }
        }

        tf_buf_append(out, &c, 1);
    }
}


static int
tf_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
