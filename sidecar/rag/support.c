#include <ctype.h>
#include <string.h>

#include "rag/cite.h"


/* How much of a statement a text supports: by words, not by meaning. */

typedef struct {
    const char  *s;
    size_t       len;
    int          number;        /* has a digit */
} tf_cite_word_t;


static int
tf_cite_is_word(unsigned char c)
{
    return isalnum(c) || c >= 0x80;
}


/* The next word at or after *pos; 0 when there is none. */

static int
tf_cite_word(const char *s, size_t len, size_t *pos, tf_cite_word_t *word)
{
    size_t  i;

    for (i = *pos; i < len && !tf_cite_is_word((unsigned char) s[i]); i++) {
        /* void */
    }

    if (i == len) {
        return 0;
    }

    word->s = s + i;
    word->number = 0;

    for ( /* void */ ; i < len && tf_cite_is_word((unsigned char) s[i]); i++) {
        word->number |= isdigit((unsigned char) s[i]) != 0;
    }

    word->len = (size_t) (s + i - word->s);
    *pos = i;

    return 1;
}


/* Whether the text has a word that begins like this one; a number must be
 * the same. */

static int
tf_cite_has(const char *text, size_t len, const tf_cite_word_t *word)
{
    size_t          i, n, pos;
    tf_cite_word_t  other;

    n = word->number || word->len < TF_CITE_PREFIX ? word->len
                                                   : TF_CITE_PREFIX;
    pos = 0;

    while (tf_cite_word(text, len, &pos, &other)) {
        if (other.len < n || (word->number && other.len != n)) {
            continue;
        }

        for (i = 0; i < n && tolower((unsigned char) other.s[i])
                             == tolower((unsigned char) word->s[i]); i++)
        {
            /* void */
        }

        if (i == n) {
            return 1;
        }
    }

    return 0;
}


double
tf_cite_support(const char *claim, size_t len, const char *text,
    size_t textlen)
{
    int             has;
    size_t          pos;
    unsigned        all, found;
    tf_cite_word_t  word;

    all = 0;
    found = 0;
    pos = 0;

    while (tf_cite_word(claim, len, &pos, &word)) {
        if (word.len < TF_CITE_WORD && !word.number) {
            continue;
        }

        has = tf_cite_has(text, textlen, &word);

        if (!has && word.number) {
            return 0;
        }

        all++;
        found += has != 0;
    }

    return all ? (double) found / all : 1;
}
