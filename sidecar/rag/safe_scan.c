#include "rag/safe_scan.h"

#include <ctype.h>
#include <string.h>


/*
 * Where a URL that starts at s ends, or len; brackets count if they are
 * balanced.
 */

size_t
tf_safe_url_end(const char *s, size_t len, int *depth)
{
    size_t  i;

    for (i = 0; i < len && (unsigned char) s[i] > ' '
         && strchr("<>\"`\\|^", s[i]) == NULL; i++)
    {
        if (s[i] == '(') {
            (*depth)++;

        } else if (s[i] == ')' && (*depth)-- == 0) {
            break;

        } else if (s[i] == ']') {
            break;
        }
    }

    return i;
}


/*
 * What stands directly behind a URL and makes another one of it, since a
 * browser takes what is before an "@" for a name: its length.  In "<...>"
 * neither a blank nor a bracket ends it.
 */

size_t
tf_safe_tail(const char *s, size_t len, int depth, int angle, int *bad)
{
    size_t  i;

    *bad = 0;

    for (i = 0; i < len && s[i] != '<' && s[i] != '>' && s[i] != '\n'; i++) {
        if (!angle) {
            if ((unsigned char) s[i] <= ' ') {
                break;
            }

            if (s[i] == '(') {
                depth++;

            } else if (s[i] == ')' && depth-- <= 0) {
                break;
            }
        }

        *bad |= s[i] == '@' || s[i] == '\\';
    }

    return i;
}


/*
 * The address of a link at s: its length, and whether it has a backslash or
 * an entity, which a viewer replaces before it follows the link.
 */

size_t
tf_safe_address(const char *s, size_t len, int *masked)
{
    int     depth, entity;
    size_t  i;

    depth = 0;
    entity = 0;
    *masked = 0;

    for (i = 0; i < len; i++) {
        if (s[0] == '<') {
            if (s[i] == '\n') {
                break;
            }

            if (s[i] == '>' && (i == 1 || s[i - 1] != '\\')) {
                break;
            }

        } else if ((unsigned char) s[i] <= ' ') {
            break;

        } else if (s[i] == '(') {
            depth++;

        } else if (s[i] == ')' && depth-- == 0) {
            break;
        }

        entity |= s[i] == '&';
        *masked |= s[i] == '\\' || (entity && s[i] == ';');
    }

    return i;
}


/*
 * "![alt](url)" or "![alt][ref]", whose URL stands elsewhere: the length, and
 * where the alternative text ends.  0: it is something else; *defuse: but it
 * may be seen as one.
 */

size_t
tf_safe_image(const tf_safe_t *t, const char *s, size_t left, size_t *alt,
    int *defuse)
{
    int     depth, mark;
    size_t  i, n, max;

    *defuse = 0;
    max = left < TF_SAFE_IMAGE ? left : TF_SAFE_IMAGE;

    for (i = 2; i < max && strchr("]\n[\\", s[i]) == NULL; i++) {
        /* void */
    }

    /* brackets, escapes and lines in it: where it ends is a viewer's choice */

    if (i < max && s[i] != ']') {
        *defuse = 1;
        return 0;
    }

    for (n = 2; n < i && (isdigit((unsigned char) s[n]) || s[n] == ','
         || s[n] == ' '); n++)
    {
        /* void */
    }

    mark = n == i;

    if (i + 1 >= max) {
        if (t->ends && i < max && !mark) {
            *defuse = 1;
            return 0;
        }

        goto undecided;
    }

    *alt = i;

    if (s[i + 1] == '[') {
        if (i == 2 || !mark) {
            return i + 1;
        }

        /* "fine![1][2]" are citations */

        if (i + 2 >= max) {
            goto undecided;
        }

        return isdigit((unsigned char) s[i + 2]) ? 0 : i + 1;
    }

    if (s[i + 1] != '(') {
        *defuse = !mark;
        return 0;
    }

    for (i++, depth = 0; i < max && s[i] != '\n'; i++) {
        if (s[i] == '(') {
            depth++;

        } else if (s[i] == ')' && --depth == 0) {
            return i + 1;
        }
    }

    if (i < max) {
        *defuse = 1;
        return 0;
    }

undecided:

    if (max == TF_SAFE_IMAGE || t->inside) {
        *defuse = 1;
        return 0;
    }

    return t->ends ? 0 : TF_SAFE_MORE;
}
