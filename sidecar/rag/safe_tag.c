#include "rag/safe_scan.h"

#include <ctype.h>
#include <string.h>


/* Elements that act, or take away what is behind them, by themselves. */

static const char *const  tf_safe_acting[] = {
    "a", "applet", "area", "audio", "base", "bgsound", "body", "button",
    "details", "dialog", "embed", "fencedframe", "form", "frame", "frameset",
    "head", "html", "iframe", "image", "img", "input", "link", "listing",
    "map", "marquee", "math", "meta", "noembed", "noframes", "noscript",
    "object", "param", "picture", "plaintext", "portal", "script", "select",
    "slot", "source", "style", "svg", "template", "textarea", "title",
    "track", "video", "xmp", NULL
};


/*
 * Whether what begins with the letter at s is a tag in which nothing has a
 * value, as seen by whoever reads it: 1, 0, or -1 when that is not known yet.
 * There is nothing in it that could be taken out together with its end.
 */

static int
tf_safe_inert(const tf_safe_t *t, const char *s, size_t left)
{
    size_t  i, max;

    max = left < TF_SAFE_TAG ? left : TF_SAFE_TAG;

    for (i = 0; i < max; i++) {
        if (s[i] == '>') {
            return 1;
        }

        if (s[i] == '\0' || strchr("=<![]`\"'\\", s[i]) != NULL) {
            return 0;
        }

        if (s[i] == '&') {
            if (i + 1 == max) {
                break;
            }

            if (s[i + 1] == '#' || isalpha((unsigned char) s[i + 1])) {
                return 0;
            }
        }
    }

    return max == TF_SAFE_TAG || t->ends ? 0 : -1;
}


/* Of each tag only its "<" is decided here. */

size_t
tf_safe_tag(tf_safe_t *t, const char *s, size_t left)
{
    int     inert;
    size_t  n, from;

    from = left > 1 && s[1] == '/' ? 2 : 1;

    if (left == from) {
        if (!t->ends) {
            return TF_SAFE_MORE;
        }

        goto stays;
    }

    if (from == 1 && (s[1] == '!' || s[1] == '?')) {
        if (t->fence || t->span) {
            goto stays;
        }

        goto goes;
    }

    if (!isalpha((unsigned char) s[from])) {
        goto stays;
    }

    n = tf_safe_one_of(t, s + from, left - from, tf_safe_acting);

    if (n == TF_SAFE_MORE || (n > 0 && from + n == left && !t->ends)) {
        return TF_SAFE_MORE;
    }

    if (n > 0
        && (from + n == left
            || !(isalnum((unsigned char) s[from + n]) || s[from + n] == '_'
                 || s[from + n] == '-')))
    {
        goto goes;
    }

    inert = tf_safe_inert(t, s + from, left - from);

    if (inert == -1) {
        return TF_SAFE_MORE;
    }

    if (inert) {
        goto stays;
    }

goes:

    tf_safe_put(t, "&lt;", 4);
    t->removed++;

    return 1;

stays:

    tf_safe_put(t, s, 1);

    return 1;
}


/* Whether as many ticks close the code in this line: 1, 0, -1 as above. */

static int
tf_safe_closes(const tf_safe_t *t, const char *s, size_t left, size_t ticks)
{
    size_t  i, max, n;

    max = left < TF_SAFE_SPAN ? left : TF_SAFE_SPAN;

    for (i = ticks; i < max && s[i] != '\n'; i += n ? n : 1) {
        for (n = 0; i + n < max && s[i + n] == '`'; n++) {
            /* void */
        }

        if (n > 0 && i + n == max && max < TF_SAFE_SPAN && !t->ends) {
            return -1;
        }

        if (n == ticks) {
            return 1;
        }
    }

    return i < max || max == TF_SAFE_SPAN || t->ends ? 0 : -1;
}


size_t
tf_safe_ticks(tf_safe_t *t, const char *s, size_t left)
{
    int     closes, line;
    size_t  n;

    for (n = 0; n < left && n < TF_SAFE_SPAN && s[n] == '`'; n++) {
        /* void */
    }

    if (n == left && n < TF_SAFE_SPAN && !t->ends) {
        return TF_SAFE_MORE;
    }

    line = t->last == '\n' || t->last == '\0';

    if (t->fence) {
        if (line && n >= t->fence) {
            t->fence = 0;
        }

    } else if (line && n >= 3) {
        t->fence = (unsigned) n;

    } else if (t->span) {
        if (n == t->span) {
            t->span = 0;
        }

    } else {
        closes = tf_safe_closes(t, s, left, n);

        if (closes == -1) {
            return TF_SAFE_MORE;
        }

        t->span = closes ? (unsigned) n : 0;
    }

    tf_safe_put(t, s, n);

    return n;
}
