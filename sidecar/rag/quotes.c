#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rag/array.h"
#include "rag/search.h"
#include "rag/terms.h"
#include "rag/units.h"


/*
 * Which units of the found chunks answer the question.
 *
 * A unit's score is the info of the question's terms that it has itself, and
 * a share of the info that only its surroundings have (the rest of the chunk,
 * headings, title): "Default: 60s" is about what the heading names.  Long
 * units have more of everything, so length costs a little, and what ranks
 * higher as a whole is preferred.
 *
 * Two things tell more than shared words.  The question names the section
 * ("... of proxy_read_timeout?" and a heading that is just that): then it is
 * about this section.  The question names a field ("the default value ..." and
 * a line "Default: ..."): then that line is the answer's place.
 */

#define TF_QUOTE_AROUND    0.35     /* share of the surroundings' info */
#define TF_QUOTE_RANK      0.25     /* share of the chunk's own rank */
#define TF_QUOTE_SUBJECT   0.5      /* share of the heading's info */
#define TF_QUOTE_FIELD     0.3      /* the question names the field */
#define TF_QUOTE_FIELD_MAX 32       /* bytes of a field's name */
#define TF_QUOTE_LONG      240      /* bytes: what a sentence has */
#define TF_QUOTE_SHORT     12

#define TF_QUOTES_MS       10000

#define tf_is_inside(c)                                                       \
    (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z')                 \
     || ((c) >= '0' && (c) <= '9') || (c) == '_' || ((c) & 0x80))

typedef struct {
    tf_rag_found_t  *found;
    size_t           hit;
    size_t           room;
    int              failed;
} tf_quotes_t;


static void tf_quotes_unit(void *ctx, size_t start, size_t end);
static tf_pg_status_t tf_quotes_terms(tf_pg_t *pg, const char *question,
    tf_rag_found_t *found);
static void tf_quotes_term(const char *term, size_t i, tf_buf_t *terms,
    tf_buf_t *bits);
static void tf_quotes_text(const tf_rag_found_t *found, const char *text,
    size_t len, tf_buf_t *rests, uint64_t *terms);
static const char *tf_quotes_leaf(const tf_rag_hit_t *hit);
static int tf_quotes_phrase(const char *question, const char *phrase,
    size_t len);
static void tf_quotes_score(const tf_rag_found_t *found,
    const char *question, double best, tf_rag_unit_t *unit);
static int tf_quotes_order(const void *a, const void *b);


tf_pg_status_t
tf_rag_quotes(tf_pg_t *pg, const char *question, tf_rag_found_t *found)
{
    double           best;
    size_t           i, n;
    tf_quotes_t      quotes;
    tf_pg_status_t   rc;

    memset(&quotes, 0, sizeof(tf_quotes_t));
    quotes.found = found;

    for (i = 0; i < found->nhits && found->nunits < TF_RAG_QUOTES_MAX; i++) {
        quotes.hit = i;
        tf_units(found->hits[i].body, strlen(found->hits[i].body),
                 tf_quotes_unit, &quotes);
    }

    if (quotes.failed) {
        pg->sqlstate[0] = '\0';
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        return TF_PG_ERROR;
    }

    if (found->nunits == 0) {
        return TF_PG_OK;
    }

    rc = tf_quotes_terms(pg, question, found);
    if (rc != TF_PG_OK) {
        return rc;
    }

    /* terms that were too common to search by count here */

    for (i = 0; i < found->nunits; i++) {
        found->hits[found->units[i].hit].terms |= found->units[i].terms;
    }

    for (i = 0, best = 0; i < found->nhits; i++) {
        if (found->hits[i].score > best) {
            best = found->hits[i].score;
        }
    }

    for (i = 0, n = 0; i < found->nunits; i++) {
        tf_quotes_score(found, question, best, &found->units[i]);

        if (found->units[i].score > 0) {
            found->units[n++] = found->units[i];
        }
    }

    found->nunits = n;
    qsort(found->units, n, sizeof(tf_rag_unit_t), tf_quotes_order);

    return TF_PG_OK;
}


static void
tf_quotes_unit(void *ctx, size_t start, size_t end)
{
    size_t           room;
    tf_quotes_t     *quotes = ctx;
    tf_rag_unit_t   *unit;
    tf_rag_found_t  *found;

    found = quotes->found;

    if (found->nunits == TF_RAG_QUOTES_MAX) {
        return;
    }

    if (found->nunits == quotes->room) {
        room = quotes->room ? quotes->room * 2 : 64;

        unit = realloc(found->units, room * sizeof(tf_rag_unit_t));
        if (unit == NULL) {
            quotes->failed = 1;
            return;
        }

        found->units = unit;
        quotes->room = room;
    }

    unit = &found->units[found->nunits++];
    memset(unit, 0, sizeof(tf_rag_unit_t));
    unit->hit = quotes->hit;
    unit->start = start;
    unit->end = end;
}


/* Which of the question's terms each unit has, and each heading it names. */

static tf_pg_status_t
tf_quotes_terms(tf_pg_t *pg, const char *question, tf_rag_found_t *found)
{
    int              row;
    size_t           i, n;
    tf_buf_t         languages = TF_BUF_INIT, rests = TF_BUF_INIT;
    tf_buf_t         terms = TF_BUF_INIT, bits = TF_BUF_INIT;
    uint64_t         bit;
    PGresult        *res;
    const char      *params[4], *leaf;
    tf_rag_hit_t    *hit;
    tf_rag_unit_t   *unit;
    tf_pg_status_t   rc;

    for (i = 0; i < found->nunits; i++) {
        unit = &found->units[i];
        hit = &found->hits[unit->hit];

        tf_array_text(&languages, hit->language, strlen(hit->language));
        tf_quotes_text(found, hit->body + unit->start,
                       unit->end - unit->start, &rests, &unit->terms);
    }

    for (i = 0; i < found->nhits; i++) {
        hit = &found->hits[i];
        leaf = tf_quotes_leaf(hit);
        n = strlen(leaf);

        if (!tf_quotes_phrase(question, leaf, n)) {
            n = 0;
        }

        tf_array_text(&languages, hit->language, strlen(hit->language));
        tf_quotes_text(found, leaf, n, &rests, &hit->subject);
    }

    for (i = 0; i < found->nterms; i++) {
        if (!found->terms[i].whole && found->terms[i].info > 0) {
            tf_quotes_term(found->terms[i].text, i, &terms, &bits);

            for (n = 0; n < found->terms[i].nmeant; n++) {
                tf_quotes_term(found->terms[i].meant[n], i, &terms, &bits);
            }
        }
    }

    tf_array_close(&languages);
    tf_array_close(&rests);
    tf_array_close(&terms);
    tf_array_close(&bits);

    if (languages.failed || rests.failed || terms.failed || bits.failed) {
        pg->sqlstate[0] = '\0';
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        rc = TF_PG_ERROR;
        goto done;
    }

    params[0] = languages.data;
    params[1] = rests.data;
    params[2] = terms.data;
    params[3] = bits.data;

    rc = tf_pg_query(pg, &res, TF_QUOTES_MS,
        "SELECT u.ord, bit_or(q.bit) "
        "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY "
            "AS u(language, rest, ord), "
        "unnest(to_tsvector(u.language::regconfig, u.rest)) AS l "
        "JOIN unnest($3::text[], $4::bigint[]) AS q(term, bit) "
            "ON q.term = l.lexeme GROUP BY u.ord",
        4, params);

    if (rc != TF_PG_OK) {
        goto done;
    }

    for (row = 0; row < PQntuples(res); row++) {
        i = strtoul(PQgetvalue(res, row, 0), NULL, 10) - 1;
        bit = (uint64_t) atoll(PQgetvalue(res, row, 1));

        if (i < found->nunits) {
            found->units[i].terms |= bit;

        } else if (i - found->nunits < found->nhits) {
            found->hits[i - found->nunits].subject |= bit;
        }
    }

    PQclear(res);

done:

    tf_buf_free(&languages);
    tf_buf_free(&rests);
    tf_buf_free(&terms);
    tf_buf_free(&bits);

    return rc;
}


static void
tf_quotes_term(const char *term, size_t i, tf_buf_t *terms, tf_buf_t *bits)
{
    tf_array_text(terms, term, strlen(term));
    tf_array_int(bits, (long long) (UINT64_C(1) << i));
}


/* The text for the store, and which identifiers of the question it has. */

static void
tf_quotes_text(const tf_rag_found_t *found, const char *text, size_t len,
    tf_buf_t *rests, uint64_t *terms)
{
    size_t       i, n;
    tf_buf_t     ids = TF_BUF_INIT, rest = TF_BUF_INIT;
    const char  *s;

    tf_terms_split(text, len, &ids, &rest, NULL);
    tf_array_text(rests, rest.data, rest.len);
    rests->failed |= ids.failed | rest.failed;

    for (s = ids.len ? ids.data : ""; *s; s += n + 1) {
        n = strcspn(s, " ");

        for (i = 0; i < found->nterms; i++) {
            if (found->terms[i].whole && strlen(found->terms[i].text) == n
                && memcmp(found->terms[i].text, s, n) == 0)
            {
                *terms |= UINT64_C(1) << i;
            }
        }
    }

    tf_buf_free(&ids);
    tf_buf_free(&rest);
}


static const char *
tf_quotes_leaf(const tf_rag_hit_t *hit)
{
    const char  *leaf, *next;

    leaf = hit->heading;

    while ((next = strstr(leaf, " > ")) != NULL) {
        leaf = next + 3;
    }

    return leaf;
}


/* Whether the question has these words next to each other. */

static int
tf_quotes_phrase(const char *question, const char *phrase, size_t len)
{
    const char  *p, *last;

    if (len == 0 || len > strlen(question)) {
        return 0;
    }

    last = question + strlen(question) - len;

    for (p = question; p <= last; p++) {
        if (strncasecmp(p, phrase, len) == 0
            && (p == question || !tf_is_inside(p[-1]))
            && !tf_is_inside(p[len]))
        {
            return 1;
        }
    }

    return 0;
}


static void
tf_quotes_score(const tf_rag_found_t *found, const char *question,
    double best, tf_rag_unit_t *unit)
{
    double         own, around, len;
    size_t         n;
    const char    *text, *colon;
    tf_rag_hit_t  *hit;

    hit = &found->hits[unit->hit];
    text = hit->body + unit->start;
    n = unit->end - unit->start;
    len = (double) n;

    own = tf_rag_coverage(found, unit->terms);
    around = tf_rag_coverage(found, hit->terms & ~unit->terms);

    if (own <= 0) {
        unit->score = 0;
        return;
    }

    unit->score = own + TF_QUOTE_AROUND * around
                  + TF_QUOTE_SUBJECT * tf_rag_coverage(found, hit->subject);

    if (best > 0) {
        unit->score += TF_QUOTE_RANK * hit->score / best;
    }

    colon = memchr(text, ':', n < TF_QUOTE_FIELD_MAX ? n : TF_QUOTE_FIELD_MAX);

    if (colon != NULL
        && tf_quotes_phrase(question, text, (size_t) (colon - text)))
    {
        unit->score += TF_QUOTE_FIELD;
    }

    if (len > TF_QUOTE_LONG) {
        unit->score /= 1 + 0.15 * log2(len / TF_QUOTE_LONG);
    }

    if (len < TF_QUOTE_SHORT) {
        unit->score /= 2;
    }
}


static int
tf_quotes_order(const void *a, const void *b)
{
    const tf_rag_unit_t  *x = a, *y = b;

    if (x->score > y->score) {
        return -1;
    }

    if (x->score < y->score) {
        return 1;
    }

    if (x->hit != y->hit) {
        return x->hit < y->hit ? -1 : 1;
    }

    return x->start < y->start ? -1 : 1;
}
