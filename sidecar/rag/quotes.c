#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/search.h"
#include "rag/terms.h"
#include "rag/units.h"
#include "rag/worth.h"


/*
 * Which units the found chunks have, and which of the question's terms are in
 * each; worth.h says what they are worth then.
 */

#define TF_QUOTES_MS       10000

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
static int tf_quotes_order(const void *a, const void *b);


tf_pg_status_t
tf_rag_quotes(tf_pg_t *pg, const char *question, tf_rag_found_t *found)
{
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

    tf_rag_worth(found, question);

    for (i = 0, n = 0; i < found->nunits; i++) {
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

        if (!tf_rag_names(question, leaf, n)) {
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
