#include "rag/safe_json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define TF_SAFE_JSON_LOST  0xfffd


/* What safe.h let through is written. */

static void
tf_safe_json_write(tf_safe_json_t *j)
{
    size_t               i;
    const char          *at;
    unsigned char        c;
    static const char    escaped[] = "\"\\\n\r\t\b\f";
    static const char    letters[] = "\"\\nrtbf";

    for (i = 0; i < j->text.len; i++) {
        c = (unsigned char) j->text.data[i];
        at = j->inside && c != '\0' ? strchr(escaped, c) : NULL;

        if (at != NULL) {
            tf_buf_append(j->out, "\\", 1);
            tf_buf_append(j->out, &letters[at - escaped], 1);

        } else if (j->inside && c < ' ') {
            tf_buf_printf(j->out, "\\u%04x", c);

        } else {
            tf_buf_append(j->out, &j->text.data[i], 1);
        }
    }

    tf_buf_reset(&j->text);
}


static int
tf_safe_json_pass(tf_safe_json_t *j, int ends)
{
    int  rc;

    rc = j->plain.failed ? -1 : 0;

    if (rc == 0 && j->plain.len > 0) {
        rc = tf_safe_text(j->safe, j->plain.data, j->plain.len);
        tf_buf_reset(&j->plain);
    }

    if (rc == 0 && ends) {
        rc = tf_safe_next(j->safe);
    }

    tf_safe_json_write(j);

    return rc == 0 && !j->out->failed ? 0 : -1;
}


static void
tf_safe_json_utf8(tf_buf_t *out, unsigned c)
{
    size_t  n;
    char    s[4];

    n = 0;

    if (c < 0x80) {
        s[n++] = (char) c;

    } else if (c < 0x800) {
        s[n++] = (char) (0xc0 | (c >> 6));
        s[n++] = (char) (0x80 | (c & 0x3f));

    } else if (c < 0x10000) {
        s[n++] = (char) (0xe0 | (c >> 12));
        s[n++] = (char) (0x80 | ((c >> 6) & 0x3f));
        s[n++] = (char) (0x80 | (c & 0x3f));

    } else {
        s[n++] = (char) (0xf0 | (c >> 18));
        s[n++] = (char) (0x80 | ((c >> 12) & 0x3f));
        s[n++] = (char) (0x80 | ((c >> 6) & 0x3f));
        s[n++] = (char) (0x80 | (c & 0x3f));
    }

    tf_buf_append(out, s, n);
}


/* The second of a pair does not come. */

static void
tf_safe_json_alone(tf_safe_json_t *j)
{
    if (j->high) {
        j->high = 0;
        tf_safe_json_utf8(&j->plain, TF_SAFE_JSON_LOST);
    }
}


static void
tf_safe_json_code(tf_safe_json_t *j, unsigned c)
{
    if (c >= 0xdc00 && c <= 0xdfff && j->high) {
        c = 0x10000 + ((j->high - 0xd800) << 10) + (c - 0xdc00);
        j->high = 0;

    } else {
        tf_safe_json_alone(j);

        if (c >= 0xd800 && c <= 0xdbff) {
            j->high = c;
            return;
        }

        if (c >= 0xdc00 && c <= 0xdfff) {
            c = TF_SAFE_JSON_LOST;
        }
    }

    tf_safe_json_utf8(&j->plain, c);
}


/*
 * The next byte of an escape.  One that JSON does not have is taken for what
 * it looks like; 0: then the byte is not part of it.
 */

static int
tf_safe_json_escape(tf_safe_json_t *j, char c)
{
    const char         *at;
    static const char   letters[] = "\"\\/nrtbf";
    static const char   means[] = "\"\\/\n\r\t\b\f";

    at = c != '\0' ? strchr(letters, c) : NULL;

    if (j->nescape == 1 && at != NULL) {
        tf_safe_json_alone(j);
        tf_buf_append(&j->plain, &means[at - letters], 1);
        j->nescape = 0;
        return 1;
    }

    if (j->nescape == 1 ? c == 'u' : isxdigit((unsigned char) c) != 0) {
        j->escape[j->nescape++] = c;

        if (j->nescape == 6) {
            j->escape[6] = '\0';
            j->nescape = 0;
            tf_safe_json_code(j, (unsigned) strtoul(j->escape + 2, NULL, 16));
        }

        return 1;
    }

    tf_safe_json_alone(j);
    tf_buf_append(&j->plain, j->escape, j->nescape);
    j->nescape = 0;

    return 0;
}


static int
tf_safe_json_byte(tf_safe_json_t *j, char c)
{
    int  rc;

    if (j->nescape > 0 && tf_safe_json_escape(j, c)) {
        return 0;
    }

    if (c == '"') {
        tf_safe_json_alone(j);
        rc = tf_safe_json_pass(j, 1);
        tf_buf_append(j->out, "\"", 1);
        j->inside = !j->inside;
        return rc;
    }

    if (c == '\\' && j->inside) {
        j->escape[0] = c;
        j->nescape = 1;
        return 0;
    }

    tf_safe_json_alone(j);
    tf_buf_append(&j->plain, &c, 1);

    return 0;
}


void
tf_safe_json_begin(tf_safe_json_t *j, tf_safe_t *safe, tf_buf_t *out)
{
    memset(j, 0, sizeof(tf_safe_json_t));
    j->safe = safe;
    j->out = out;
}


int
tf_safe_json_text(tf_safe_json_t *j, const char *text, size_t len)
{
    size_t  i;

    j->safe->out = &j->text;

    for (i = 0; i < len; i++) {
        if (tf_safe_json_byte(j, text[i]) != 0) {
            return -1;
        }
    }

    return tf_safe_json_pass(j, 0);
}


int
tf_safe_json_end(tf_safe_json_t *j)
{
    j->safe->out = &j->text;
    tf_buf_append(j->out, "", 0);
    tf_buf_append(&j->plain, j->escape, j->nescape);
    j->nescape = 0;
    tf_safe_json_alone(j);

    return tf_safe_json_pass(j, 1);
}


void
tf_safe_json_free(tf_safe_json_t *j)
{
    tf_buf_free(&j->plain);
    tf_buf_free(&j->text);
}
