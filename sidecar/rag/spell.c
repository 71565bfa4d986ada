#include "rag/spell.h"

#include <string.h>


#define TF_SPELL_ONE    5       /* so long for one error */
#define TF_SPELL_TWO    8
#define TF_SPELL_CJK    0x2e80  /* no spaces between words from here on */
#define TF_SPELL_HOLE   0       /* any letter may be here */


static unsigned tf_spell_distance(const tf_spell_t *a, const tf_spell_t *b);
static int tf_spell_same_letters(const tf_spell_t *a, const tf_spell_t *b);
static void tf_spell_range(const uint32_t *prefix, size_t n,
    tf_spell_range_pt range, void *arg);
static size_t tf_spell_write(char *s, uint32_t c);


int
tf_spell_read(tf_spell_t *word, const char *text, size_t len)
{
    size_t               i, k, n;
    uint32_t             c;
    const unsigned char  *s;

    s = (const unsigned char *) text;
    word->n = 0;

    for (i = 0; i < len; i += n) {
        c = s[i];

        if (c < 0x80) {
            if (c < 'a' || c > 'z') {
                return -1;
            }
            n = 1;

        } else {
            n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            c &= 0x7fu >> n;

            for (k = 1; k < n && i + k < len; k++) {
                c = c << 6 | (s[i + k] & 0x3f);
            }

            if (i + n > len || c >= TF_SPELL_CJK) {
                return -1;
            }
        }

        if (word->n == TF_SPELL_MOST) {
            return -1;
        }

        word->c[word->n++] = c;
    }

    return word->n < TF_SPELL_LEAST ? -1 : 0;
}


int
tf_spell_compare(const tf_spell_t *word, const tf_spell_t *other)
{
    unsigned  distance;

    distance = tf_spell_distance(word, other);

    if (distance == 0) {
        return 0;
    }

    if (distance > 2) {
        return -1;
    }

    if (word->n >= (distance == 1 ? TF_SPELL_ONE : TF_SPELL_TWO)
        || tf_spell_same_letters(word, other))
    {
        return (int) distance;
    }

    return -1;
}


/* Row by row, of which the one before and the one before that are needed. */

static unsigned
tf_spell_distance(const tf_spell_t *a, const tf_spell_t *b)
{
    size_t    i, k;
    unsigned  least, rows[3][TF_SPELL_MOST + 1], *row, *last, *before;

    if (a->n > b->n + 2 || b->n > a->n + 2) {
        return 3;
    }

    for (k = 0; k <= b->n; k++) {
        rows[0][k] = (unsigned) k;
    }

    row = rows[0];
    last = NULL;

    for (i = 1; i <= a->n; i++) {
        before = last;
        last = row;
        row = rows[i % 3];
        row[0] = (unsigned) i;

        for (k = 1; k <= b->n; k++) {
            least = last[k - 1] + (a->c[i - 1] != b->c[k - 1]);

            if (last[k] + 1 < least) {
                least = last[k] + 1;
            }

            if (row[k - 1] + 1 < least) {
                least = row[k - 1] + 1;
            }

            if (before != NULL && k > 1 && a->c[i - 1] == b->c[k - 2]
                && a->c[i - 2] == b->c[k - 1] && before[k - 2] + 1 < least)
            {
                least = before[k - 2] + 1;
            }

            row[k] = least;
        }
    }

    return row[b->n];
}


static int
tf_spell_same_letters(const tf_spell_t *a, const tf_spell_t *b)
{
    size_t    i, k;
    uint64_t  used;

    if (a->n != b->n) {
        return 0;
    }

    used = 0;

    for (i = 0; i < a->n; i++) {
        for (k = 0; k < b->n; k++) {
            if (b->c[k] == a->c[i] && !(used & UINT64_C(1) << k)) {
                break;
            }
        }

        if (k == b->n) {
            return 0;
        }

        used |= UINT64_C(1) << k;
    }

    return 1;
}


/*
 * The beginnings of what is meant, if there is no error in the first three
 * characters, or two are swapped, one is too much, one is another or one is
 * missing.
 */

void
tf_spell_ranges(const tf_spell_t *word, tf_spell_range_pt range, void *arg)
{
    size_t           i;
    const uint32_t  *c = word->c;

    const uint32_t  prefixes[][4] = {
        { c[0], c[1], c[2] },
        { c[1], c[0], c[2] }, { c[0], c[2], c[1] },
        { c[0], c[1], c[3], c[2] },
        { c[1], c[2], c[3] }, { c[0], c[2], c[3] }, { c[0], c[1], c[3] },
        { TF_SPELL_HOLE, c[1], c[2] }, { TF_SPELL_HOLE, c[0], c[1] },
        { c[0], TF_SPELL_HOLE, c[2] }, { c[0], TF_SPELL_HOLE, c[1] },
        { c[0], c[1], TF_SPELL_HOLE, c[3] },
        { c[0], c[1], TF_SPELL_HOLE, c[2] },
    };

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        tf_spell_range(prefixes[i], prefixes[i][3] ? 4 : 3, range, arg);
    }
}


/*
 * A hole is each letter from a to z.  The next letter ends a range whatever
 * the order of the list knows of languages; behind "z" there is none that all
 * of them agree on.
 */

static void
tf_spell_range(const uint32_t *prefix, size_t n, tf_spell_range_pt range,
    void *arg)
{
    char      low[TF_SPELL_BYTES], high[TF_SPELL_BYTES];
    size_t    i, len, hole;
    uint32_t  c[4], letter, last;

    memcpy(c, prefix, n * sizeof(uint32_t));

    for (hole = 0; hole < n && c[hole] != TF_SPELL_HOLE; hole++) {
        /* void */
    }

    letter = 'a';

    do {
        if (hole < n) {
            c[hole] = letter;
        }

        for (i = 0, len = 0; i + 1 < n; i++) {
            len += tf_spell_write(low + len, c[i]);
        }

        last = c[n - 1];
        memcpy(high, low, len);
        low[len + tf_spell_write(low + len, last)] = '\0';

        if (last == 'z') {
            memcpy(high + len, "zzzzzzzz", sizeof("zzzzzzzz"));

        } else {
            high[len + tf_spell_write(high + len, last + 1)] = '\0';
        }

        range(arg, low, high);

    } while (hole < n && letter++ < 'z');
}


static size_t
tf_spell_write(char *s, uint32_t c)
{
    if (c < 0x80) {
        s[0] = (char) c;
        return 1;
    }

    if (c < 0x800) {
        s[0] = (char) (0xc0 | c >> 6);
        s[1] = (char) (0x80 | (c & 0x3f));
        return 2;
    }

    s[0] = (char) (0xe0 | c >> 12);
    s[1] = (char) (0x80 | (c >> 6 & 0x3f));
    s[2] = (char) (0x80 | (c & 0x3f));

    return 3;
}
