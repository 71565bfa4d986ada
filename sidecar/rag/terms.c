#define _GNU_SOURCE     /* memmem() */

#include <string.h>

#include "rag/terms.h"


static size_t tf_terms_skip(const char *s, size_t len);


static inline int
tf_is_word(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
           || (c >= 'A' && c <= 'Z');
}


static inline int
tf_is_joint(unsigned char c)
{
    return c == '_' || c == '.' || c == '-' || c == '/';
}


void
tf_terms_split(const char *text, size_t len, tf_buf_t *ids, tf_buf_t *rest)
{
    int                   joints;
    char                  id[TF_TERM_MAX + 1];
    size_t                i, k, n, start, end;
    const unsigned char  *s;

    s = (const unsigned char *) text;

    for (i = 0, start = 0; i < len; /* void */) {

        n = tf_terms_skip(text + i, len - i);
        if (n) {
            if (rest != NULL) {
                tf_buf_append(rest, text + start, i - start);
                tf_buf_append(rest, " ", 1);
            }

            i += n;
            start = i;
            continue;
        }

        if (!tf_is_word(s[i])) {
            i++;
            continue;
        }

        /*
         * A run of words and joints.  A joint counts between two words only,
         * but names may have several in a row ("ngx__x", "a/../b"): one.
         */

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

        if (joints == 0) {
            i = end;
            continue;
        }

        if (end - i <= TF_TERM_MAX && ids != NULL) {
            for (k = 0; k < end - i; k++) {
                id[k] = (char) (s[i + k] >= 'A' && s[i + k] <= 'Z'
                                ? s[i + k] | 0x20 : s[i + k]);
            }

            id[k] = ' ';
            tf_buf_append(ids, id, k + 1);
        }

        if (rest != NULL) {
            tf_buf_append(rest, text + start, i - start);

            for (k = i; k < end; k = n) {
                for (n = k; n < end && !tf_is_joint(s[n]); n++) {
                    /* void */
                }

                if (n > k) {
                    tf_buf_append(rest, text + k, n - k);
                }

                tf_buf_append(rest, " ", 1);

                while (n < end && tf_is_joint(s[n])) {
                    n++;
                }
            }
        }

        i = end;
        start = i;
    }

    if (rest != NULL) {
        tf_buf_append(rest, text + start, len - start);
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
