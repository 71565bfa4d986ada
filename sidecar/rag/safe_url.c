#include "rag/safe_scan.h"

#include <ctype.h>
#include <string.h>


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

size_t
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

size_t
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


/* Behind "](" or "]:", and blanks. */

static int
tf_safe_linked(const tf_safe_t *t)
{
    return t->solid[1] == ']' && (t->solid[0] == '(' || t->solid[0] == ':')
           && (t->last <= ' ' || t->last == t->solid[0]);
}


/* Whether the address of a link may begin behind what was written. */

int
tf_safe_target(const tf_safe_t *t)
{
    return t->last != '\0' && (tf_safe_opens(t->last) || tf_safe_linked(t));
}


/*
 * The address of a link whose characters are written in another way: what a
 * viewer makes of it cannot be compared with what is known, so it goes.
 * 0: it is none.
 */

size_t
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

size_t
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
