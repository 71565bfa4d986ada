#include "rag/cite.h"

#include <ctype.h>
#include <string.h>

#include <trifecta/code.h>

#include "rag/units.h"


#define TF_CITE_DIGITS  2       /* of the number in a mark */

/* Whoever decides says so when it cannot tell yet. */
#define TF_CITE_MORE  ((size_t) -1)

typedef struct {
    const char  *claim;
    size_t       len;
    const char  *body;
    size_t       start;
    size_t       end;
    double       best;
} tf_cite_unit_t;


/* The sentence that ends at "end", not before "start". */

static size_t
tf_cite_claim(const char *s, size_t start, size_t end)
{
    size_t  from, next;

    while (end > start && strchr(" \t\r\n*_.!?", s[end - 1]) != NULL) {
        end--;
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


/* The number that a citation of this passage has; 0: no room. */

static size_t
tf_cite_number(tf_cite_t *c, size_t passage)
{
    size_t           i;
    tf_llm_quote_t  *quote;
    tf_cite_unit_t   unit;

    memset(&unit, 0, sizeof(unit));
    unit.claim = c->claim.data;
    unit.len = c->claim.len;
    unit.body = c->request->passages[passage].body;
    unit.best = -1;

    tf_units(unit.body, strlen(unit.body), tf_cite_on_unit, &unit);

    if (unit.best < 0) {
        unit.end = strlen(unit.body);
    }

    for (i = 0; i < c->ncitations; i++) {
        quote = &c->citations[i];

        if (quote->passage == passage && quote->start == unit.start
            && quote->end == unit.end)
        {
            return i + 1;
        }
    }

    if (c->ncitations == TF_LLM_CITATIONS_MAX || unit.end == unit.start) {
        return 0;
    }

    quote = &c->citations[c->ncitations++];
    quote->passage = passage;
    quote->start = unit.start;
    quote->end = unit.end;
    quote->score = c->request->passages[passage].score;

    return c->ncitations;
}


/*
 * What the passages say to the claim, once for all marks of its row: a mark
 * may name many, and a row have many marks.
 */

static void
tf_cite_weigh(tf_cite_t *c)
{
    size_t                   i;
    double                   support, most;
    const tf_buf_t          *claim;
    const tf_llm_passage_t  *p;

    claim = &c->claim;
    c->best = c->request->npassages;
    most = 0;
    memset(c->fits, 0, sizeof(c->fits));
    memset(c->number, -1, sizeof(c->number));

    for (i = 0; i < c->request->npassages; i++) {
        p = &c->request->passages[i];
        support = tf_cite_support(claim->data, claim->len, p->body,
                                  strlen(p->body));

        /* a document's title and heading are part of what it says */

        if (support < TF_CITE_SUPPORT && support > 0) {
            support += tf_cite_support(claim->data, claim->len, p->heading,
                                       strlen(p->heading)) / 2;
        }

        if (support < TF_CITE_SUPPORT) {
            continue;
        }

        if (i < TF_CITE_NAMED) {
            c->fits[i] = 1;
        }

        if (support > most) {
            most = support;
            c->best = i;
        }
    }
}


/* The number for a mark: of the passage it names, or of a better one; 0. */

static size_t
tf_cite_passage(tf_cite_t *c, size_t named, size_t *passage)
{
    signed char  *number;

    *passage = named < TF_CITE_NAMED && c->fits[named] ? named : c->best;

    if (*passage == c->request->npassages) {
        return 0;
    }

    /* beyond what can be named there is only the best */

    number = &c->number[*passage < TF_CITE_NAMED ? *passage : TF_CITE_NAMED];

    if (*number < 0) {
        *number = (signed char) tf_cite_number(c, *passage);
    }

    return (size_t) *number;
}


/*
 * Writes what becomes of a mark.  A row of marks is about one statement;
 * "here" has the bits of the numbers that stand behind it already.
 */

static void
tf_cite_write(tf_cite_t *c, const size_t *numbers, size_t n)
{
    size_t    i, passage, number;
    uint64_t  bit;

    for (i = 0; i < n; i++) {
        number = tf_cite_passage(c, numbers[i] - 1, &passage);

        if (number == 0) {
            c->dropped++;
            continue;
        }

        if (passage != numbers[i] - 1) {
            c->moved++;
        }

        bit = UINT64_C(1) << number;

        if (!(c->here & bit)) {
            c->here |= bit;
            tf_buf_printf(c->out, "[%zu]", number);
        }
    }
}


/*
 * A mark at s, "[1]" or "[1, 2]": its length and the numbers, 0, or
 * TF_CITE_MORE.  "a[1]" and "`[1]`" are something else: the caller has seen
 * to that.
 */

static size_t
tf_cite_mark(const tf_cite_t *c, const char *s, size_t left, size_t *numbers,
    size_t *n)
{
    size_t  i, len, digits, value;

    *n = 0;
    len = left < TF_CITE_MARK ? left : TF_CITE_MARK;

    for (i = 1; i < len; i++) {
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

        while (i < len && s[i] == ' ') {
            i++;
        }

        if (i == len) {
            break;
        }

        if (digits == 0 || *n == TF_LLM_CITATIONS_MAX) {
            return 0;
        }

        numbers[(*n)++] = value;

        if (s[i] == ']') {
            if (i + 1 == left) {
                return c->ends ? i + 1 : TF_CITE_MORE;
            }

            return s[i + 1] == '(' ? 0 : i + 1;
        }

        if (s[i] != ',' && s[i] != ';') {
            return 0;
        }
    }

    return len == TF_CITE_MARK || c->ends ? 0 : TF_CITE_MORE;
}


/* A row of marks begins: it is about the sentence before it. */

static void
tf_cite_row(tf_cite_t *c)
{
    size_t  start, from;

    start = c->pos > TF_CITE_CLAIM ? c->pos - TF_CITE_CLAIM : 0;

    if (start < c->after) {
        start = c->after;
    }

    from = tf_cite_claim(c->in.data, start, c->pos);

    tf_buf_reset(&c->claim);
    tf_buf_append(&c->claim, c->in.data + from, c->pos - from);
    c->here = 0;

    if (c->marks < TF_CITE_MARKS && !c->claim.failed) {
        tf_cite_weigh(c);
    }
}


/* A mark becomes what it may be. */

static void
tf_cite_on_mark(tf_cite_t *c, const size_t *numbers, size_t n, size_t len)
{
    if (!c->row) {
        tf_cite_row(c);
    }

    if (c->marks == TF_CITE_MARKS) {
        c->dropped++;

    } else if (!c->claim.failed) {
        c->marks++;
        tf_cite_write(c, numbers, n);
    }

    c->after = c->pos + len;
    c->row = 1;
}


/* What can neither be a mark nor code is written at once: how long it is. */

static size_t
tf_cite_plain(tf_cite_t *c, const char *s, size_t left)
{
    size_t  n;

    for (n = 0; n < left && s[n] != '`' && s[n] != '['; n++) {
        c->row &= s[n] == ' ';
    }

    tf_buf_append(c->out, s, n);

    return n;
}


/* What waits next is written, or not: how long it is, or TF_CITE_MORE. */

static size_t
tf_cite_step(tf_cite_t *c)
{
    size_t       n, len, left;
    size_t       numbers[TF_LLM_CITATIONS_MAX];
    const char  *s;

    s = c->in.data + c->pos;
    left = c->in.len - c->pos;

    len = tf_cite_plain(c, s, left);

    if (len > 0) {
        return len;
    }

    len = 1;

    if (s[0] == '`') {
        len = tf_code_at(s, left, c->pos == 0 || s[-1] == '\n', c->ends,
                         &c->fence);

        if (len == TF_CODE_MORE) {
            return TF_CITE_MORE;
        }

    } else if (s[0] == '[' && c->fence == 0) {
        n = 0;
        len = tf_cite_mark(c, s, left, numbers, &n);

        if (len == TF_CITE_MORE) {
            return len;
        }

        if (len > 0) {
            tf_cite_on_mark(c, numbers, n, len);
            return len;
        }

        len = 1;
    }

    c->row = 0;
    tf_buf_append(c->out, s, len);

    return len;
}


void
tf_cite_begin(tf_cite_t *c, const tf_llm_request_t *request, tf_buf_t *out)
{
    memset(c, 0, sizeof(tf_cite_t));
    c->request = request;
    c->out = out;
}


static int
tf_cite_run(tf_cite_t *c)
{
    size_t  n, old;

    while (c->pos < c->in.len) {
        n = tf_cite_step(c);

        if (n == TF_CITE_MORE) {
            break;
        }

        c->pos += n;
    }

    /* of what was written only so much is remembered as a claim may have */

    if (c->pos > 4 * TF_CITE_CLAIM) {
        old = c->pos - TF_CITE_CLAIM;
        memmove(c->in.data, c->in.data + old, c->in.len - old + 1);
        c->in.len -= old;
        c->pos -= old;
        c->after = c->after > old ? c->after - old : 0;
    }

    return c->in.failed || c->out->failed || c->claim.failed ? -1 : 0;
}


int
tf_cite_text(tf_cite_t *c, const char *text, size_t len)
{
    tf_buf_append(&c->in, text, len);

    return c->in.failed ? -1 : tf_cite_run(c);
}


int
tf_cite_end(tf_cite_t *c)
{
    c->ends = 1;
    tf_buf_append(c->out, "", 0);

    return tf_cite_run(c);
}


void
tf_cite_free(tf_cite_t *c)
{
    tf_buf_free(&c->in);
    tf_buf_free(&c->claim);
}
