#include "rag/cite.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "rag/units.h"


#define TF_CITE_DIGITS  2       /* of the number in a mark */

typedef struct {
    const char  *s;
    size_t       len;
    int          number;        /* has a digit */
} tf_cite_word_t;

typedef struct {
    const tf_llm_request_t  *request;
    tf_llm_reply_t          *reply;
    tf_buf_t                 out;
    unsigned                *moved;
    unsigned                *dropped;
} tf_cite_t;

typedef struct {
    const char  *claim;
    size_t       len;
    const char  *body;
    size_t       start;
    size_t       end;
    double       best;
} tf_cite_unit_t;


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


/* The sentence that ends at "end", not before "start". */

static size_t
tf_cite_claim(const char *s, size_t start, size_t end)
{
    size_t  from, next;

    while (end > start && strchr(" \t\r\n*_.!?", s[end - 1]) != NULL) {
        end--;
    }

    if (end - start > TF_CITE_CLAIM) {
        start = end - TF_CITE_CLAIM;
    }

    for (from = end; from > start && s[from - 1] != '\n'; from--) {
        /* void */
    }

    for (start = from; start < end; start = next) {
        from = start;
        (void) tf_sentence(s, start, end, &next);

        if (next <= start) {
            break;
        }
    }

    return from;
}


static void
tf_cite_on_unit(void *ctx, size_t start, size_t end)
{
    double           support;
    tf_cite_unit_t  *u = ctx;

    support = tf_cite_support(u->claim, u->len, u->body + start, end - start);

    if (support > u->best) {
        u->best = support;
        u->start = start;
        u->end = end;
    }
}


/* The number that a citation of this passage and statement has; 0: no room. */

static size_t
tf_cite_number(tf_cite_t *c, size_t passage, const char *claim, size_t len)
{
    size_t           i;
    tf_llm_quote_t  *quote;
    tf_cite_unit_t   unit;

    memset(&unit, 0, sizeof(unit));
    unit.claim = claim;
    unit.len = len;
    unit.body = c->request->passages[passage].body;
    unit.best = -1;

    tf_units(unit.body, strlen(unit.body), tf_cite_on_unit, &unit);

    if (unit.best < 0) {
        unit.end = strlen(unit.body);
    }

    for (i = 0; i < c->reply->ncitations; i++) {
        quote = &c->reply->citations[i];

        if (quote->passage == passage && quote->start == unit.start
            && quote->end == unit.end)
        {
            return i + 1;
        }
    }

    if (c->reply->ncitations == TF_LLM_CITATIONS_MAX || unit.end == unit.start)
    {
        return 0;
    }

    quote = &c->reply->citations[c->reply->ncitations++];
    quote->passage = passage;
    quote->start = unit.start;
    quote->end = unit.end;
    quote->score = c->request->passages[passage].score;

    return c->reply->ncitations;
}


/* The passage for a mark: the one it names, a better one, or npassages. */

static size_t
tf_cite_passage(tf_cite_t *c, size_t named, const char *claim, size_t len)
{
    size_t                   i, best;
    double                   support, most;
    const tf_llm_passage_t  *p;

    best = c->request->npassages;
    most = 0;

    for (i = 0; i < c->request->npassages; i++) {
        p = &c->request->passages[i];
        support = tf_cite_support(claim, len, p->body, strlen(p->body));

        /* a document's title and heading are part of what it says */

        if (support < TF_CITE_SUPPORT && support > 0) {
            support += tf_cite_support(claim, len, p->heading,
                                       strlen(p->heading)) / 2;
        }

        if (i == named && support >= TF_CITE_SUPPORT) {
            return i;
        }

        if (support >= TF_CITE_SUPPORT && support > most) {
            most = support;
            best = i;
        }
    }

    return best;
}


/*
 * A mark at s[pos]: "[1]", "[1, 2]".  Returns its length and the numbers, or
 * 0.  "a[1]" and "`[1]`" are something else: the caller has seen to that.
 */

static size_t
tf_cite_mark(const char *s, size_t len, size_t *numbers, size_t *n)
{
    size_t  i, digits, value;

    *n = 0;

    for (i = 1; i < len; /* void */) {
        while (i < len && s[i] == ' ') {
            i++;
        }

        value = 0;

        for (digits = 0; i < len && isdigit((unsigned char) s[i]); digits++) {
            value = value * 10 + (size_t) (s[i++] - '0');

            if (digits == TF_CITE_DIGITS) {
                return 0;
            }
        }

        if (digits == 0 || *n == TF_LLM_CITATIONS_MAX) {
            return 0;
        }

        numbers[(*n)++] = value;

        while (i < len && s[i] == ' ') {
            i++;
        }

        if (i < len && s[i] == ']') {
            return i + 1;
        }

        if (i == len || (s[i] != ',' && s[i] != ';')) {
            return 0;
        }

        i++;
    }

    return 0;
}


/*
 * Writes what becomes of a mark.  A row of marks is about one statement;
 * "here" has the bits of the numbers that stand behind it already.
 */

static void
tf_cite_write(tf_cite_t *c, const size_t *numbers, size_t n,
    const char *claim, size_t len, uint64_t *here)
{
    size_t    i, passage, number;
    uint64_t  bit;

    for (i = 0; i < n; i++) {
        passage = tf_cite_passage(c, numbers[i] - 1, claim, len);
        number = passage < c->request->npassages
                 ? tf_cite_number(c, passage, claim, len) : 0;

        if (number == 0) {
            (*c->dropped)++;
            continue;
        }

        if (passage != numbers[i] - 1) {
            (*c->moved)++;
        }

        bit = UINT64_C(1) << number;

        if (!(*here & bit)) {
            *here |= bit;
            tf_buf_printf(&c->out, "[%zu]", number);
        }
    }
}


/*
 * Code is copied as it stands: "a[1]" in it is no mark.  Returns the length
 * of a fenced block or of a span at s, or 0.
 */

static size_t
tf_cite_code(const char *s, size_t len, int line_start)
{
    size_t  i, ticks;

    for (ticks = 0; ticks < len && s[ticks] == '`'; ticks++) {
        /* void */
    }

    if (ticks == 0) {
        return 0;
    }

    for (i = ticks; i + ticks <= len; i++) {
        if (memcmp(s + i, s, ticks) == 0) {
            return i + ticks;
        }

        if (s[i] == '\n' && !(ticks >= 3 && line_start)) {
            break;
        }
    }

    /* a fence that is not closed goes to the end */

    return ticks >= 3 && line_start ? len : ticks;
}


int
tf_rag_cite(const tf_llm_request_t *request, tf_llm_reply_t *reply,
    unsigned *moved, unsigned *dropped)
{
    size_t       i, n, len, size, from, to, after, marks;
    size_t       numbers[TF_LLM_CITATIONS_MAX];
    uint64_t     here;
    tf_cite_t    c;
    const char  *s;

    memset(&c, 0, sizeof(c));
    c.request = request;
    c.reply = reply;
    c.moved = moved;
    c.dropped = dropped;

    reply->ncitations = 0;
    s = reply->body.data;
    len = reply->body.len;
    from = to = after = marks = 0;
    here = 0;

    for (i = 0; i < len; i += size) {

        size = tf_cite_code(s + i, len - i, i == 0 || s[i - 1] == '\n');

        if (size == 0 && s[i] == '[') {
            size = tf_cite_mark(s + i, len - i, numbers, &n);

            if (size > 0 && (i + size == len || s[i + size] != '(')) {

                if (marks++ == TF_CITE_MARKS) {
                    n = 0;
                    marks--;
                    (*dropped)++;
                }

                if (after == 0 || strspn(s + after, " ") < i - after) {
                    from = tf_cite_claim(s, after, i);
                    to = i;
                    here = 0;
                }

                tf_cite_write(&c, numbers, n, s + from, to - from, &here);
                after = i + size;
                continue;
            }
        }

        if (size == 0) {
            size = 1;
        }

        tf_buf_append(&c.out, s + i, size);
    }

    tf_buf_append(&c.out, "", 0);

    if (c.out.failed) {
        tf_buf_free(&c.out);
        return -1;
    }

    tf_buf_free(&reply->body);
    reply->body = c.out;

    return 0;
}
