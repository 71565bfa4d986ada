#define _GNU_SOURCE     /* memmem() */

#include <string.h>

#include "rag/terms.h"


static size_t tf_terms_skip(const char *s, size_t len);
static void tf_terms_lower(tf_buf_t *b, const char *s, size_t len);
static void tf_terms_parts(tf_buf_t *b, const char *s, size_t len);


static inline int
tf_is_word(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
           || (c >= 'A' && c <= 'Z');
}


/* The first of two bytes: a letter of Latin, Greek, Cyrillic, Arabic ... */

static inline int
tf_is_letter(unsigned char c)
{
    return c >= 0xc3 && c <= 0xdf;
}


static inline int
tf_is_joint(unsigned char c)
{
    return c == '_' || c == '.' || c == '-' || c == '/';
}


void
tf_terms_split(const char *text, size_t len, tf_buf_t *ids, tf_buf_t *rest,
    tf_buf_t *parts)
{
    int                   joints, whole;
    size_t                i, k, n, start, end;
    const unsigned char  *s;

    s = (const unsigned char *) text;

    for (i = 0, start = 0; i < len; /* void */) {

        n = tf_terms_skip(text + i, len - i);
        if (n) {
            tf_buf_append(rest, text + start, i - start);
            tf_buf_append(rest, " ", 1);
            i += n;
            start = i;
            continue;
        }

        if (!tf_is_word(s[i])) {
            i++;
            continue;
        }

        /* a joint counts between two words only; several in a row are one */

        joints = 0;
        end = i;

        for (k = i; k < len; k++) {
            if (tf_is_word(s[k])) {
                joints += (k > end);
                end = k + 1;

            } else if (!tf_is_joint(s[k])) {
                break;
            }
        }

        /* next to a letter beyond ASCII it is a piece of a word */

        if (joints == 0
            || (i > 1 && (s[i - 1] & 0xc0) == 0x80 && tf_is_letter(s[i - 2]))
            || (end < len && tf_is_letter(s[end])))
        {
            i = end;
            continue;
        }

        whole = (end - i <= TF_TERM_MAX);

        if (whole) {
            tf_terms_lower(ids, text + i, end - i);
        }

        tf_buf_append(rest, text + start, i - start);
        tf_terms_parts(whole && parts != NULL ? parts : rest, text + i,
                       end - i);

        if (whole && parts != NULL) {
            tf_buf_append(parts, "\n", 1);
            tf_buf_append(rest, " ", 1);
        }

        i = end;
        start = i;
    }

    tf_buf_append(rest, text + start, len - start);
}


static void
tf_terms_lower(tf_buf_t *b, const char *s, size_t len)
{
    char    id[TF_TERM_MAX + 1];
    size_t  i;

    for (i = 0; i < len; i++) {
        id[i] = (char) (s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 0x20 : s[i]);
    }

    id[i] = ' ';
    tf_buf_append(b, id, i + 1);
}


static void
tf_terms_parts(tf_buf_t *b, const char *s, size_t len)
{
    size_t  i, start;

    for (i = 0; i < len; /* void */) {
        for (start = i; i < len && !tf_is_joint((unsigned char) s[i]); i++) {
            /* void */
        }

        tf_buf_append(b, s + start, i - start);
        tf_buf_append(b, " ", 1);

        while (i < len && tf_is_joint((unsigned char) s[i])) {
            i++;
        }
    }
}


/* The bytes of "](target)", "{{< tag >}}" or "{#anchor}", or 0. */

static size_t
tf_terms_skip(const char *s, size_t len)
{
    size_t       n, max;
    const char  *end;

    if (len < 4 || (s[0] != ']' && s[0] != '{')) {
        return 0;
    }

    max = len < 512 ? len : 512;

    if (s[0] == ']' && s[1] == '(') {
        for (n = 2; n < max && s[n] != ')' && s[n] != '\n'; n++) {
            /* void */
        }

        return n < max && s[n] == ')' ? n + 1 : 0;
    }

    if (s[0] == '{' && s[1] == '{' && (s[2] == '<' || s[2] == '%')) {
        end = memmem(s, max, "}}", 2);
        return end == NULL ? 0 : (size_t) (end - s) + 2;
    }

    if (s[0] == '{' && s[1] == '#') {
        end = memchr(s, '}', max);
        return end == NULL ? 0 : (size_t) (end - s) + 1;
    }

    return 0;
}


int
tf_terms_is_name(const char *id, size_t len)
{
    return memchr(id, '_', len) != NULL;
}
