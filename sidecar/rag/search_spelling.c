#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/rank.h"
#include "rag/spell.h"


/*
 * What words mean that the collections do not have.
 *
 * Each term is looked for in the ranges that spell.h gives it, in the index of
 * the collections' terms; those that are nearest take its place, the more
 * frequent ones first.  Names (identifiers) mean what they say.
 *
 * A question has some 160 ranges a word, each a look into an index.  So that
 * it takes milliseconds, whatever was asked, TF_SPELLING_WORDS words are
 * looked for at most, in the largest TF_SPELLING_COLLECTIONS.
 */

#define TF_SPELLING_WORDS        8
#define TF_SPELLING_COLLECTIONS  "8"
#define TF_SPELLING_RANGE        "500"      /* terms of a range, at most */
#define TF_SPELLING_MS           10000

typedef struct {
    tf_buf_t     words;
    tf_buf_t     lows;
    tf_buf_t     highs;
    tf_buf_t     lengths;
    size_t       word;
    size_t       length;
} tf_spelling_ask_t;


static int tf_spelling_wants(const tf_rag_found_t *found, size_t i,
    tf_spell_t *word);
static void tf_spelling_range(void *arg, const char *low, const char *high);
static tf_pg_status_t tf_spelling_read(tf_pg_t *pg, const PGresult *res,
    const tf_rag_query_t *query, tf_rag_found_t *found);
static int tf_spelling_add(tf_rag_term_t *term, const char *text,
    const char *ids, double df);
static void tf_spelling_forget(tf_rag_term_t *term);


tf_pg_status_t
tf_rag_search_spelling(tf_pg_t *pg, const tf_rag_query_t *query,
    tf_rag_found_t *found)
{
    size_t              i, n;
    PGresult           *res;
    tf_spell_t          word;
    const char         *params[5];
    tf_pg_status_t      rc;
    tf_spelling_ask_t   ask;

    if (!(query->tune->weight_spelling > 0)) {
        return TF_PG_OK;
    }

    memset(&ask, 0, sizeof(ask));
    n = 0;

    for (i = 0; i < found->nterms && n < TF_SPELLING_WORDS; i++) {
        if (tf_spelling_wants(found, i, &word)) {
            ask.word = i;
            ask.length = word.n;
            tf_spell_ranges(&word, tf_spelling_range, &ask);
            n++;
        }
    }

    if (n == 0) {
        return TF_PG_OK;
    }

    tf_array_close(&ask.words);
    tf_array_close(&ask.lows);
    tf_array_close(&ask.highs);
    tf_array_close(&ask.lengths);

    if (ask.words.failed || ask.lows.failed || ask.highs.failed
        || ask.lengths.failed)
    {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    params[0] = ask.words.data;
    params[1] = ask.lows.data;
    params[2] = ask.highs.data;
    params[3] = ask.lengths.data;
    params[4] = query->scope.collections;

    rc = tf_pg_query(pg, &res, TF_SPELLING_MS,
        "WITH c AS (SELECT id FROM trifecta.collection "
            "WHERE $5::int[] IS NULL OR id = ANY ($5::int[]) "
            "ORDER BY chunks DESC, id LIMIT " TF_SPELLING_COLLECTIONS ") "
        "SELECT word, term, sum(df) AS df, array_agg(id) FROM ("
            "SELECT DISTINCT w.word, t.id, t.term, t.df FROM c, "
            "unnest($1::int[], $2::text[], $3::text[], $4::int[]) "
                "AS w(word, low, high, length), "
            "LATERAL (SELECT id, term, df FROM trifecta.term "
                "WHERE collection = c.id AND term >= w.low AND term < w.high "
                "AND df > 0 AND char_length(term) "
                    "BETWEEN w.length - 2 AND w.length + 2 "
                "LIMIT " TF_SPELLING_RANGE ") AS t"
        ") AS terms GROUP BY word, term ORDER BY word, df DESC, term",
        5, params);

    if (rc == TF_PG_OK) {
        rc = tf_spelling_read(pg, res, query, found);
        PQclear(res);
    }

done:

    tf_buf_free(&ask.words);
    tf_buf_free(&ask.lows);
    tf_buf_free(&ask.highs);
    tf_buf_free(&ask.lengths);

    return rc;
}


static int
tf_spelling_wants(const tf_rag_found_t *found, size_t i, tf_spell_t *word)
{
    const tf_rag_term_t  *term;

    term = &found->terms[i];

    return term->df < 1 && !term->whole && !term->part && !term->other
           && !tf_rag_is_filler(term->text)
           && tf_spell_read(word, term->text, strlen(term->text)) == 0;
}


static void
tf_spelling_range(void *arg, const char *low, const char *high)
{
    tf_spelling_ask_t  *ask = arg;

    tf_array_int(&ask->words, (long long) ask->word);
    tf_array_text(&ask->lows, low, strlen(low));
    tf_array_text(&ask->highs, high, strlen(high));
    tf_array_int(&ask->lengths, (long long) ask->length);
}


/* The rows of a word follow each other, the frequent terms first. */

static tf_pg_status_t
tf_spelling_read(tf_pg_t *pg, const PGresult *res,
    const tf_rag_query_t *query, tf_rag_found_t *found)
{
    int             row, away, nearest;
    size_t          i, last;
    tf_spell_t      word, other;
    const char     *text;
    tf_rag_term_t  *term;

    last = TF_RAG_TERMS_MAX;
    nearest = 0;

    for (row = 0; row < PQntuples(res); row++) {
        i = strtoul(PQgetvalue(res, row, 0), NULL, 10);

        if (i >= found->nterms) {
            continue;
        }

        term = &found->terms[i];
        text = PQgetvalue(res, row, 1);

        if (i != last) {
            last = i;
            nearest = TF_SPELL_MOST;
        }

        if (tf_spell_read(&word, term->text, strlen(term->text)) != 0
            || tf_spell_read(&other, text, strlen(text)) != 0)
        {
            continue;
        }

        away = tf_spell_compare(&word, &other);

        if (away <= 0 || away > nearest) {
            continue;
        }

        if (away < nearest) {
            tf_spelling_forget(term);
            nearest = away;
        }

        term->share = query->tune->weight_spelling;

        if (away > 1) {
            term->share *= term->share;
        }

        if (tf_spelling_add(term, text, PQgetvalue(res, row, 3),
                            strtod(PQgetvalue(res, row, 2), NULL))
            != 0)
        {
            return tf_rag_no_memory(pg);
        }
    }

    return TF_PG_OK;
}


static int
tf_spelling_add(tf_rag_term_t *term, const char *text, const char *ids,
    double df)
{
    char      *copy;
    tf_buf_t   all = TF_BUF_INIT;

    if (term->nmeant == TF_RAG_MEANT_MAX) {
        return 0;
    }

    copy = strdup(text);
    if (copy == NULL) {
        return -1;
    }

    term->meant[term->nmeant++] = copy;
    term->df += df;

    if (term->nmeant > 1) {
        tf_array_add(&all, term->ids);
    }

    tf_array_add(&all, ids);
    tf_array_close(&all);

    if (all.failed) {
        tf_buf_free(&all);
        return -1;
    }

    free(term->ids);
    term->ids = all.data;

    return 0;
}


static void
tf_spelling_forget(tf_rag_term_t *term)
{
    while (term->nmeant) {
        free(term->meant[--term->nmeant]);
    }

    term->df = 0;
}
