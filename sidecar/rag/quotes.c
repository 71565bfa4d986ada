#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
 */

#define TF_QUOTE_AROUND    0.35     /* share of the surroundings' info */
#define TF_QUOTE_RANK      0.25     /* share of the chunk's own rank */
#define TF_QUOTE_LONG      240      /* bytes: what a sentence has */
#define TF_QUOTE_SHORT     12

#define TF_QUOTES_MS       10000

typedef struct {
    tf_rag_found_t  *found;
    size_t           hit;
    size_t           room;
    int              failed;
} tf_quotes_t;


static void tf_quotes_unit(void *ctx, size_t start, size_t end);
static tf_pg_status_t tf_quotes_terms(tf_pg_t *pg, tf_rag_found_t *found);
static void tf_quotes_ids(const tf_rag_found_t *found, tf_rag_unit_t *unit,
    const char *ids);
static void tf_quotes_score(const tf_rag_found_t *found, tf_rag_unit_t *unit);
static int tf_quotes_order(const void *a, const void *b);


tf_pg_status_t
tf_rag_quotes(tf_pg_t *pg, tf_rag_found_t *found)
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

    rc = tf_quotes_terms(pg, found);
    if (rc != TF_PG_OK) {
        return rc;
    }

    for (i = 0, n = 0; i < found->nunits; i++) {
        tf_quotes_score(found, &found->units[i]);

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


/* Which of the question's terms each unit has. */

static tf_pg_status_t
tf_quotes_terms(tf_pg_t *pg, tf_rag_found_t *found)
{
    int              row;
    size_t           i;
    tf_buf_t         languages = TF_BUF_INIT, rests = TF_BUF_INIT;
    tf_buf_t         terms = TF_BUF_INIT, bits = TF_BUF_INIT;
    tf_buf_t         ids = TF_BUF_INIT, rest = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[4];
    tf_rag_hit_t    *hit;
    tf_rag_unit_t   *unit;
    tf_pg_status_t   rc;

    for (i = 0; i < found->nunits; i++) {
        unit = &found->units[i];
        hit = &found->hits[unit->hit];

        tf_buf_reset(&ids);
        tf_buf_reset(&rest);
        tf_terms_split(hit->body + unit->start, unit->end - unit->start, &ids,
                       &rest, NULL);

        tf_array_text(&languages, hit->language, strlen(hit->language));
        tf_array_text(&rests, rest.data, rest.len);

        if (ids.len) {
            tf_quotes_ids(found, unit, ids.data);
        }
    }

    for (i = 0; i < found->nterms; i++) {
        if (!found->terms[i].whole && found->terms[i].info > 0) {
            tf_array_text(&terms, found->terms[i].text,
                          strlen(found->terms[i].text));
            tf_array_int(&bits, (long long) (UINT64_C(1) << i));
        }
    }

    tf_array_close(&languages);
    tf_array_close(&rests);
    tf_array_close(&terms);
    tf_array_close(&bits);

    if (languages.failed || rests.failed || terms.failed || bits.failed
        || ids.failed || rest.failed)
    {
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

        if (i < found->nunits) {
            found->units[i].terms |= (uint64_t) atoll(PQgetvalue(res, row, 1));
        }
    }

    PQclear(res);

done:

    tf_buf_free(&languages);
    tf_buf_free(&rests);
    tf_buf_free(&terms);
    tf_buf_free(&bits);
    tf_buf_free(&ids);
    tf_buf_free(&rest);

    return rc;
}


static void
tf_quotes_ids(const tf_rag_found_t *found, tf_rag_unit_t *unit,
    const char *ids)
{
    size_t       i, n;
    const char  *s;

    for (s = ids; *s; s += n + 1) {
        n = strcspn(s, " ");

        for (i = 0; i < found->nterms; i++) {
            if (found->terms[i].whole && strlen(found->terms[i].text) == n
                && memcmp(found->terms[i].text, s, n) == 0)
            {
                unit->terms |= UINT64_C(1) << i;
            }
        }
    }
}


static void
tf_quotes_score(const tf_rag_found_t *found, tf_rag_unit_t *unit)
{
    double         own, around, len;
    tf_rag_hit_t  *hit;

    hit = &found->hits[unit->hit];
    len = (double) (unit->end - unit->start);

    own = tf_rag_coverage(found, unit->terms);
    around = tf_rag_coverage(found, hit->terms & ~unit->terms);

    if (own <= 0) {
        unit->score = 0;
        return;
    }

    unit->score = own + TF_QUOTE_AROUND * around
                  + TF_QUOTE_RANK * hit->score / found->hits[0].score;

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
