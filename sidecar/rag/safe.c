#include "rag/safe_scan.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>


#define TF_SAFE_REMOVED  "[link removed]"

static const char *const  tf_safe_schemes[] = {
    "https://", "http://", "ftp://", "ws://", "wss://", NULL
};

static const char *const  tf_safe_running[] = {
    "javascript:", "vbscript:", NULL
};

/* words of prose, unless a link begins there */

static const char *const  tf_safe_targets[] = {
    "data:", "file:", NULL
};


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
    size_t  i;

    if (len == 0) {
        return;
    }

    if (t->cut && tf_safe_joins(t->last, (unsigned char) s[0])) {
        tf_buf_append(t->out, " ", 1);
    }

    t->cut = 0;
    tf_buf_append(t->out, s, len);
    t->last = (unsigned char) s[len - 1];

    for (i = len > 16 ? len - 16 : 0; i < len; i++) {
        if ((unsigned char) s[i] > ' ') {
            t->solid[1] = t->solid[0];
            t->solid[0] = (unsigned char) s[i];
        }
    }
}


static void
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


/* The address of a link in Markdown begins here. */

static int
tf_safe_address_here(const tf_safe_t *t)
{
    return t->last == '(' || t->last == '<'
           || (t->solid[1] == ']'
               && (t->solid[0] == '(' || t->solid[0] == ':')
               && t->last <= ' ');
}


/*
 * "https://known/x\n" ends where it seems to: what is behind it says nothing,
 * and cannot change the host since there is a path before it.
 */

static int
tf_safe_parts(const tf_safe_t *t, const char *s, size_t end, size_t tail,
    size_t n)
{
    size_t  i;

    if (tail - end > TF_SAFE_TAIL || tf_safe_address_here(t)
        || memchr(s + n, '/', end - n) == NULL
        || memchr(s + n, '@', end - n) != NULL)
    {
        return 0;
    }

    for (i = end; i < tail; i++) {
        if (memchr("\\nrt\"'`,;.)]}", s[i], 13) == NULL) {
            return 0;
        }
    }

    return 1;
}


/*
 * What becomes of the URL at s, whose first n bytes have been recognised: it
 * stays if somebody knows it.
 */

static size_t
tf_safe_url(tf_safe_t *t, const char *s, size_t left, size_t n, int may)
{
    int          depth, bad;
    size_t       max, end, tail;
    const char  *at;

    depth = 0;
    max = left < TF_SAFE_URL ? left : TF_SAFE_URL;
    end = n + tf_safe_url_end(s + n, max - n, &depth);
    tail = end + tf_safe_tail(s + end, max - end, depth, t->last == '<',
                              &bad);

    if (tail == TF_SAFE_URL) {
        t->urls++;
        t->skips = 1;
        t->depth = depth > 0 ? depth : 0;
        tf_safe_remove(t);
        return tail;
    }

    if (tail == left && !t->ends) {
        return TF_SAFE_MORE;
    }

    if (bad && !(may && tf_safe_parts(t, s, end, tail, n))) {
        tf_safe_remove(t);
        return tail;
    }

    /* what ends a sentence is not part of it */

    while (end > n && strchr(".,;:!?'*_", s[end - 1]) != NULL) {
        end--;
    }

    if (may && t->urls++ < TF_SAFE_URLS && t->known(t->arg, s, end)) {
        tf_safe_put(t, s, end);
        return end;
    }

    at = memchr(s + n, '@', end - n);

    if (may && at != NULL && !tf_safe_address_here(t)
        && t->urls <= TF_SAFE_URLS
        && t->known(t->arg, s, (size_t) (at - s)))
    {
        end = (size_t) (at - s);
        tf_safe_put(t, s, end);
        tf_safe_put(t, " ", 1);
        t->removed++;
        return end;
    }

    tf_safe_remove(t);

    return end;
}


/* The rest of one that is too long. */

static size_t
tf_safe_skip(tf_safe_t *t, const char *s, size_t left)
{
    size_t  n;

    n = tf_safe_url_end(s, left, &t->depth);

    if (n < left || t->ends) {
        t->skips = 0;
        t->cut = 1;
    }

    return n;
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


/* Behind "](" or "]:", and blanks. */

static int
tf_safe_linked(const tf_safe_t *t)
{
    return t->solid[1] == ']' && (t->solid[0] == '(' || t->solid[0] == ':')
           && (t->last <= ' ' || t->last == t->solid[0]);
}


/* Whether the address of a link may begin behind what was written. */

static int
tf_safe_target(const tf_safe_t *t)
{
    if (t->last == '\0') {
        return 0;
    }

    return strchr("(<\"'=", t->last) != NULL || tf_safe_linked(t);
}


/*
 * The address of a link whose characters are written in another way: what a
 * viewer makes of it cannot be compared with what is known, so it goes.
 * 0: it is none.
 */

static size_t
tf_safe_masked(tf_safe_t *t, const char *s, size_t left)
{
    int     masked;
    size_t  max, n;

    if ((unsigned char) s[0] <= ' ' || !tf_safe_linked(t)) {
        return 0;
    }

    max = left < TF_SAFE_URL ? left : TF_SAFE_URL;
    n = tf_safe_address(s, max, &masked);

    if (n == TF_SAFE_URL) {
        t->skips = 1;
        t->depth = 0;
        tf_safe_remove(t);
        return n;
    }

    if (n == left && !t->ends) {
        return TF_SAFE_MORE;
    }

    if (!masked) {
        return 0;
    }

    tf_safe_remove(t);

    return n;
}


/*
 * "mailto:" and whatever else is a scheme to a viewer: its length, 0, or
 * TF_SAFE_MORE.  "std::string" has none.
 */

static size_t
tf_safe_scheme(const tf_safe_t *t, const char *s, size_t left)
{
    size_t  i;

    for (i = 1; i < left && i <= TF_SAFE_SCHEME; i++) {
        if (s[i] == ':') {
            if (i == 1) {
                return 0;
            }

            if (i + 1 == left) {
                return t->ends ? 0 : TF_SAFE_MORE;
            }

            return s[i + 1] == ':' ? 0 : i + 1;
        }

        if (!isalnum((unsigned char) s[i])
            && (s[i] == '\0' || strchr("+.-", s[i]) == NULL))
        {
            return 0;
        }
    }

    return i > TF_SAFE_SCHEME || t->ends ? 0 : TF_SAFE_MORE;
}


/* The beginning of a word: a scheme that is not wanted there. */

static size_t
tf_safe_word(tf_safe_t *t, const char *s, size_t left)
{
    int     may;
    size_t  n;

    n = tf_safe_one_of(t, s, left, tf_safe_schemes);

    if (n > 0) {
        return n == TF_SAFE_MORE ? n : tf_safe_url(t, s, left, n, 1);
    }

    n = tf_safe_one_of(t, s, left, tf_safe_running);

    if (n == 0 && tf_safe_target(t)) {
        n = tf_safe_one_of(t, s, left, tf_safe_targets);
    }

    may = n == 0;

    if (may && (t->last == '<' || tf_safe_linked(t))) {
        n = tf_safe_scheme(t, s, left);
    }

    if (n == 0 || n == TF_SAFE_MORE) {
        return n;
    }

    if (n == left) {
        return t->ends ? 0 : TF_SAFE_MORE;
    }

    return (unsigned char) s[n] > ' ' ? tf_safe_url(t, s, left, n, may) : 0;
}


/*
 * What stands at s is written, as it may stand; its length, or TF_SAFE_MORE.
 */

static size_t
tf_safe_step(tf_safe_t *t, const char *s, size_t left)
{
    size_t  n;

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


/* Writes what is decided; the rest waits. */

static int
tf_safe_run(tf_safe_t *t)
{
    size_t  i, n;

    for (i = 0; i < t->in.len; i += n) {
        n = tf_safe_step(t, t->in.data + i, t->in.len - i);

        if (n == TF_SAFE_MORE) {
            break;
        }
    }

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
    tf_buf_append(&t->in, text, len);

    return tf_safe_run(t);
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
