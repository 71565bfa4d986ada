#include "rag/safe.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>


#define TF_SAFE_REMOVED  "[link removed]"

typedef struct {
    const char        *s;
    size_t             len;
    tf_buf_t          *out;
    tf_safe_known_pt   known;
    void              *arg;
    unsigned          *removed;
    unsigned           urls;
} tf_safe_t;

static const char *const  tf_safe_schemes[] = {
    "https://", "http://", "ftp://", "ws://", "wss://", NULL
};

static const char *const  tf_safe_running[] = {
    "javascript:", "vbscript:", "data:", "file:", NULL
};

static const char *const  tf_safe_tags[] = {
    "img", "image", "script", "iframe", "object", "embed", "svg", "link",
    "meta", "base", "form", "input", "button", "video", "audio", "source",
    "style", "a", NULL
};


/* The length of the word at s, if it is one of the list; case is ignored. */

static size_t
tf_safe_one_of(const char *s, size_t len, const char *const *list)
{
    size_t  i, n;

    for (i = 0; list[i] != NULL; i++) {
        n = strlen(list[i]);

        if (n <= len && strncasecmp(s, list[i], n) == 0) {
            return n;
        }
    }

    return 0;
}


/* Where a URL that starts at s ends; brackets count if they are balanced. */

static size_t
tf_safe_url_end(const char *s, size_t len)
{
    int     depth;
    size_t  i;

    depth = 0;

    for (i = 0; i < len && (unsigned char) s[i] > ' '
         && strchr("<>\"`\\|^", s[i]) == NULL; i++)
    {
        if (s[i] == '(') {
            depth++;

        } else if (s[i] == ')' && depth-- == 0) {
            break;

        } else if (s[i] == ']') {
            break;
        }
    }

    /* what ends a sentence is not part of it */

    while (i > 0 && strchr(".,;:!?'*_", s[i - 1]) != NULL) {
        i--;
    }

    return i;
}


/* "![alt](url)": the length, and where the alternative text is; or 0. */

static size_t
tf_safe_image(const char *s, size_t len, size_t *alt_end)
{
    size_t  i;
    int     depth;

    if (len < 5 || s[0] != '!' || s[1] != '[') {
        return 0;
    }

    for (i = 2; i < len && s[i] != ']' && s[i] != '\n'; i++) {
        /* void */
    }

    if (i + 1 >= len || s[i] != ']') {
        return 0;
    }

    *alt_end = i;

    /* "![alt][ref]": the reference stands elsewhere, and is a URL there */

    if (s[i + 1] != '(') {
        return s[i + 1] == '[' ? i + 1 : 0;
    }

    depth = 0;

    for (i++; i < len && s[i] != '\n'; i++) {
        if (s[i] == '(') {
            depth++;

        } else if (s[i] == ')' && --depth == 0) {
            return i + 1;
        }
    }

    return 0;
}


static size_t
tf_safe_url(tf_safe_t *t, size_t i)
{
    size_t  n;

    n = tf_safe_url_end(t->s + i, t->len - i);

    if (t->urls++ < TF_SAFE_URLS && t->known(t->arg, t->s + i, n)) {
        tf_buf_append(t->out, t->s + i, n);

    } else {
        tf_buf_puts(t->out, TF_SAFE_REMOVED);
        (*t->removed)++;
    }

    return n;
}


/* What stands at i is written, as it may stand; its length. */

static size_t
tf_safe_step(tf_safe_t *t, size_t i)
{
    size_t       n, alt, left;
    const char  *s;

    s = t->s + i;
    left = t->len - i;

    n = tf_safe_image(s, left, &alt);

    if (n > 0) {
        tf_buf_append(t->out, s + 2, alt - 2);
        (*t->removed)++;
        return n;
    }

    if (i == 0 || !isalnum((unsigned char) s[-1])) {

        if (tf_safe_one_of(s, left, tf_safe_schemes) > 0) {
            return tf_safe_url(t, i);
        }

        n = tf_safe_one_of(s, left, tf_safe_running);

        if (n > 0 && n < left && (unsigned char) s[n] > ' '
            && (i > 0 && strchr("(<\"'=", s[-1]) != NULL))
        {
            n += tf_safe_url_end(s + n, left - n);
            tf_buf_puts(t->out, TF_SAFE_REMOVED);
            (*t->removed)++;
            return n;
        }
    }

    /* "//host/path" in a link takes the page's scheme */

    if (left > 2 && s[0] == '(' && s[1] == '/' && s[2] == '/') {
        tf_buf_append(t->out, "(", 1);
        return 1 + tf_safe_url(t, i + 1);
    }

    if (s[0] == '<' && left > 1) {
        n = s[1] == '/';
        n = n + 1 + tf_safe_one_of(s + n + 1, left - n - 1, tf_safe_tags);

        if (n > 1u + (s[1] == '/')
            && (n == left || !(isalnum((unsigned char) s[n]) || s[n] == '_'
                               || s[n] == '-')))
        {
            tf_buf_puts(t->out, "&lt;");
            (*t->removed)++;
            return 1;
        }
    }

    tf_buf_append(t->out, s, 1);

    return 1;
}


int
tf_rag_safe(const tf_buf_t *in, tf_buf_t *out, tf_safe_known_pt known,
    void *arg, unsigned *removed)
{
    size_t     i;
    tf_safe_t  t;

    t.s = in->data;
    t.len = in->len;
    t.out = out;
    t.known = known;
    t.arg = arg;
    t.removed = removed;
    t.urls = 0;

    for (i = 0; i < in->len; /* void */) {
        i += tf_safe_step(&t, i);
    }

    tf_buf_append(out, "", 0);

    return out->failed ? -1 : 0;
}
