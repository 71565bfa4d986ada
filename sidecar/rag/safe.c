#include "rag/safe_scan.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>


#define TF_SAFE_REMOVED  "[link removed]"

static size_t tf_safe_step(tf_safe_t *t, const char *s, size_t left);


/* What two neighbours may become that something stood between. */

static int
tf_safe_joins(unsigned char a, unsigned char b)
{
    return a == '<' || (a == '!' && b == '[') || (a == '(' && b == '/')
           || ((isalnum(a) || a == ':' || a == '/')
               && (isalnum(b) || b == ':' || b == '/'))
           || (a == ']' && (b == '(' || b == '['));
}


void
tf_safe_put(tf_safe_t *t, const char *s, size_t len)
{
    size_t         i, n;
    unsigned char  solid[2];

    if (len == 0) {
        return;
    }

    if (t->cut && tf_safe_joins(t->last, (unsigned char) s[0])) {
        tf_buf_append(t->out, " ", 1);
    }

    t->cut = 0;
    tf_buf_append(t->out, s, len);
    t->last = (unsigned char) s[len - 1];

    for (i = len, n = 0; i > 0 && n < 2; i--) {
        if ((unsigned char) s[i - 1] > ' ') {
            solid[n++] = (unsigned char) s[i - 1];
        }
    }

    if (n > 0) {
        t->solid[1] = n == 2 ? solid[1] : t->solid[0];
        t->solid[0] = solid[0];
    }
}


void
tf_safe_remove(tf_safe_t *t)
{
    tf_safe_put(t, TF_SAFE_REMOVED, sizeof(TF_SAFE_REMOVED) - 1);
    t->removed++;
}


/*
 * The length of the longest word of the list at s, 0, or TF_SAFE_MORE; case
 * is ignored.
 */

size_t
tf_safe_one_of(const tf_safe_t *t, const char *s, size_t len,
    const char *const *list)
{
    size_t  i, n, found;

    found = 0;

    for (i = 0; list[i] != NULL; i++) {
        n = strlen(list[i]);

        if (strncasecmp(s, list[i], n < len ? n : len) != 0) {
            continue;
        }

        if (n > len) {
            if (!t->ends) {
                return TF_SAFE_MORE;
            }

        } else if (n > found) {
            found = n;
        }
    }

    return found;
}


/* An image becomes its text, in which the same rules hold. */

static void
tf_safe_alt(tf_safe_t *t, const char *s, size_t len)
{
    size_t    i;
    unsigned  ends, inside;

    ends = t->ends;
    inside = t->inside;
    t->ends = 1;
    t->inside = 1;
    t->cut = 1;
    t->removed++;

    for (i = 0; i < len; /* void */) {
        i += tf_safe_step(t, s + i, len - i);
    }

    t->ends = ends & 1;
    t->inside = inside & 1;
    t->cut = 1;
}


static size_t
tf_safe_bang(tf_safe_t *t, const char *s, size_t left)
{
    int     defuse;
    size_t  n, alt;

    if (left == 1 && !t->ends) {
        return TF_SAFE_MORE;
    }

    if (left > 1 && s[1] == '[') {
        n = tf_safe_image(t, s, left, &alt, &defuse);

        if (n == TF_SAFE_MORE) {
            return n;
        }

        if (n > 0) {
            tf_safe_alt(t, s + 2, alt - 2);
            return n;
        }

        if (defuse && !t->fence && !t->span) {
            t->removed++;
            t->cut = 1;
            return 1;
        }
    }

    tf_safe_put(t, s, 1);

    return 1;
}


/*
 * How much of s is prose in which nothing begins that tf_safe_step() would
 * have to look at: most of a text, so it does not go through there by bytes.
 */

static size_t
tf_safe_plain(const tf_safe_t *t, const char *s, size_t left)
{
    int            letter;
    size_t         n;
    unsigned char  c, low, last;

    if (t->cut || t->skips || t->solid[0] == ']'
        || (t->solid[1] == ']' && (t->solid[0] == '(' || t->solid[0] == ':')))
    {
        return 0;
    }

    last = t->last;

    for (n = 0; n < left; n++, last = c) {
        c = (unsigned char) s[n];
        low = c | 0x20;
        letter = low >= 'a' && low <= 'z';

        if (letter) {

            /* a word begins; https, ftp, ws, javascript, vbscript */

            if (!isalnum(last)
                && (tf_safe_opens(last) || low == 'h' || low == 'f'
                    || low == 'w' || low == 'j' || low == 'v'))
            {
                break;
            }

        } else if (c == '!' || c == '<' || c == '`' || c == ']'
                   || (c == '/' && tf_safe_opens(last))
                   || (c == '\n' && t->span))
        {
            break;
        }
    }

    return n;
}


/*
 * What stands at s is written, as it may stand; its length, or TF_SAFE_MORE.
 */

static size_t
tf_safe_step(tf_safe_t *t, const char *s, size_t left)
{
    size_t  n;

    n = tf_safe_plain(t, s, left);

    if (n > 0) {
        tf_safe_put(t, s, n);
        return n;
    }

    if (t->skips) {
        n = tf_safe_skip(t, s, left);

        if (n > 0) {
            return n;
        }
    }

    n = tf_safe_masked(t, s, left);

    if (n > 0) {
        return n;
    }

    if (s[0] == '!') {
        return tf_safe_bang(t, s, left);
    }

    if (s[0] == '<') {
        return tf_safe_tag(t, s, left);
    }

    if (s[0] == '`') {
        return tf_safe_ticks(t, s, left);
    }

    if (isalpha((unsigned char) s[0]) && (t->cut || !isalnum(t->last))) {
        n = tf_safe_word(t, s, left);

    } else if (s[0] == '/' && tf_safe_target(t)) {

        /* "//host/path" in a link takes the page's scheme */

        if (left < 3 && !t->ends && (left == 1 || s[1] == '/')) {
            return TF_SAFE_MORE;
        }

        if (left > 2 && s[1] == '/' && (unsigned char) s[2] > ' ') {
            n = tf_safe_url(t, s, left, 2, 1);
        }
    }

    if (n > 0) {
        return n;
    }

    if (s[0] == '\n') {
        t->span = 0;
    }

    tf_safe_put(t, s, 1);

    return 1;
}


void
tf_safe_begin(tf_safe_t *t, tf_buf_t *out, tf_safe_known_pt known, void *arg)
{
    memset(t, 0, sizeof(tf_safe_t));
    t->out = out;
    t->known = known;
    t->arg = arg;
}


/* Writes what is decided: how much. */

static size_t
tf_safe_some(tf_safe_t *t, const char *s, size_t len)
{
    size_t  i, n;

    for (i = 0; i < len; i += n) {
        n = tf_safe_step(t, s + i, len - i);

        if (n == TF_SAFE_MORE) {
            break;
        }
    }

    return i;
}


/* The same with what has waited; the rest goes on waiting. */

static int
tf_safe_run(tf_safe_t *t)
{
    size_t  i;

    i = tf_safe_some(t, t->in.data, t->in.len);

    if (i > 0) {
        memmove(t->in.data, t->in.data + i, t->in.len - i);
        t->in.len -= i;
        t->in.data[t->in.len] = '\0';
    }

    return t->in.failed || t->out->failed ? -1 : 0;
}


int
tf_safe_text(tf_safe_t *t, const char *text, size_t len)
{
    size_t  n;

    if (t->in.len > 0) {
        tf_buf_append(&t->in, text, len);
        return tf_safe_run(t);
    }

    n = tf_safe_some(t, text, len);

    if (n < len) {
        tf_buf_append(&t->in, text + n, len - n);
    }

    return t->in.failed || t->out->failed ? -1 : 0;
}


int
tf_safe_end(tf_safe_t *t)
{
    t->ends = 1;
    tf_buf_append(t->out, "", 0);

    return tf_safe_run(t);
}


int
tf_safe_next(tf_safe_t *t)
{
    int  rc;

    t->ends = 1;
    rc = tf_safe_run(t);

    t->ends = 0;
    t->cut = 0;
    t->skips = 0;
    t->depth = 0;
    t->fence = 0;
    t->span = 0;
    t->last = '\0';
    memset(t->solid, 0, sizeof(t->solid));

    return rc;
}


void
tf_safe_free(tf_safe_t *t)
{
    tf_buf_free(&t->in);
}


int
tf_rag_safe(const tf_buf_t *in, tf_buf_t *out, tf_safe_known_pt known,
    void *arg, unsigned *removed)
{
    int        rc;
    tf_safe_t  t;

    tf_safe_begin(&t, out, known, arg);

    rc = tf_safe_text(&t, in->data, in->len);

    if (rc == 0) {
        rc = tf_safe_end(&t);
    }

    *removed = t.removed;
    tf_safe_free(&t);

    return rc;
}
