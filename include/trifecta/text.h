#ifndef TRIFECTA_TEXT_H
#define TRIFECTA_TEXT_H


#include <stddef.h>
#include <stdint.h>
#include <string.h>


/*
 * Text as it comes from outside: characters of UTF-8, and runs of those that
 * nothing has to be done about.
 *
 * A question is mostly printable ASCII.  Whoever looks at its bytes one by
 * one pays for each of them, so runs are taken eight bytes at a time.
 */

#define TF_TEXT_EACH(c)  (UINT64_C(0x0101010101010101) * (c))


/*
 * So many bytes from p on are printable ASCII (0x20 to 0x7e) and neither a
 * quote nor a backslash: what stands in JSON as it is.  One that is not ends
 * the run.
 */

static inline size_t
tf_text_plain(const unsigned char *p, size_t len)
{
    size_t    i;
    uint64_t  w, odd, quote, slash;

    for (i = 0; len - i >= 8; i += 8) {
        memcpy(&w, p + i, 8);

        quote = w ^ TF_TEXT_EACH('"');
        slash = w ^ TF_TEXT_EACH('\\');

        /* the top bit of a byte is set where it is below 0x20, above 0x7e, */
        odd = ((w - TF_TEXT_EACH(0x20)) & ~w) | w | (w + TF_TEXT_EACH(1));

        /* or nothing is left of it; maybe, too, where one before it was so */
        odd |= ((quote - TF_TEXT_EACH(1)) & ~quote)
               | ((slash - TF_TEXT_EACH(1)) & ~slash);

        if (odd & TF_TEXT_EACH(0x80)) {
            break;
        }
    }

    while (i < len && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"'
           && p[i] != '\\')
    {
        i++;
    }

    return i;
}


/* So many bytes from p on, in whole words, are ASCII and not NUL. */

static inline size_t
tf_text_ascii(const unsigned char *p, size_t len)
{
    size_t    i;
    uint64_t  w;

    for (i = 0; len - i >= 8; i += 8) {
        memcpy(&w, p + i, 8);

        if ((((w - TF_TEXT_EACH(1)) & ~w) | w) & TF_TEXT_EACH(0x80)) {
            break;
        }
    }

    return i;
}


/*
 * The length of the character at p, which it decodes; 0 when the bytes there
 * are no UTF-8 (overlong forms and surrogates included).  p < end.
 */

static inline size_t
tf_text_char(const unsigned char *p, const unsigned char *end, uint32_t *c)
{
    size_t    i, len;
    uint32_t  v, min;

    if (*p < 0x80) {
        *c = *p;
        return 1;
    }

    if ((*p & 0xe0) == 0xc0) {
        len = 2;
        min = 0x80;
        v = *p & 0x1f;

    } else if ((*p & 0xf0) == 0xe0) {
        len = 3;
        min = 0x800;
        v = *p & 0x0f;

    } else if ((*p & 0xf8) == 0xf0) {
        len = 4;
        min = 0x10000;
        v = *p & 0x07;

    } else {
        return 0;
    }

    if ((size_t) (end - p) < len) {
        return 0;
    }

    for (i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        v = v << 6 | (p[i] & 0x3f);
    }

    if (v < min || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) {
        return 0;
    }

    *c = v;

    return len;
}


#define TF_TEXT_NUMBER_MAX  20      /* bytes of any number */

/* Writes a number in decimal digits, without a NUL; returns its end. */

static inline unsigned char *
tf_text_number(unsigned char *p, int64_t number)
{
    size_t         n;
    uint64_t       v;
    unsigned char  digits[TF_TEXT_NUMBER_MAX];

    v = (uint64_t) number;

    if (number < 0) {
        *p++ = '-';
        v = 0 - v;
    }

    n = sizeof(digits);

    do {
        digits[--n] = (unsigned char) ('0' + v % 10);
        v /= 10;
    } while (v);

    while (n < sizeof(digits)) {
        *p++ = digits[n++];
    }

    return p;
}


#endif /* TRIFECTA_TEXT_H */
