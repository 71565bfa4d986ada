#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/mem.h"
#include "rag/rank.h"
#include "rag/terms.h"


#define TF_SEARCH_MS  10000


static tf_pg_status_t tf_rag_terms_all(tf_pg_t *pg,
    const tf_rag_query_t *query, tf_rag_found_t *found);
static tf_pg_status_t tf_rag_terms_read(tf_pg_t *pg, PGresult *res,
    tf_rag_found_t *found);
static void tf_rag_terms_weigh(tf_rag_found_t *found);


/* The question's terms, and what the collections know of them. */

tf_pg_status_t
tf_rag_search_terms(tf_pg_t *pg, const tf_rag_query_t *query,
    tf_rag_found_t *found)
{
    size_t           n;
    tf_buf_t         ids = TF_BUF_INIT, rest = TF_BUF_INIT;
    tf_buf_t         parts = TF_BUF_INIT, idlist = TF_BUF_INIT;
    tf_buf_t         partlist = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[4], *s;
    tf_pg_status_t   rc;

    rc = tf_rag_terms_all(pg, query, found);
    if (rc != TF_PG_OK || found->chunks < 1) {
        return rc;
    }

    found->length /= found->chunks;

    tf_terms_split(query->question, strlen(query->question), &ids, &rest,
                   &parts);

    for (s = ids.len ? ids.data : ""; *s; s += n + 1) {
        n = strcspn(s, " ");
        tf_array_text(&idlist, s, n);
    }

    for (s = parts.len ? parts.data : ""; *s; s += n + 1) {
        n = strcspn(s, "\n");
        tf_array_text(&partlist, s, n);
    }

    tf_array_close(&idlist);
    tf_array_close(&partlist);

    if (ids.failed || rest.failed || parts.failed || idlist.failed
        || partlist.failed)
    {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    params[0] = rest.data;
    params[1] = idlist.data;
    params[2] = partlist.data;
    params[3] = query->scope.collections;

    /*
     * kinds: 0 a word, 1 an identifier, 2 a part of the identifier "whole".
     * The question's own language is the one of the scope that has most of its
     * words for stop words: what another language makes of them is looked for,
     * but that nobody knows it means nothing.
     */

    rc = tf_pg_prepared(pg, &res, TF_SEARCH_MS,
        "WITH c AS (SELECT id, language FROM trifecta.collection "
            "WHERE $4::int[] IS NULL OR id = ANY ($4::int[])), "
        "v AS (SELECT language, to_tsvector(language::regconfig, $1) AS v "
            "FROM (SELECT DISTINCT language FROM c) AS d), "
        "g AS (SELECT language, rank() OVER (ORDER BY (SELECT "
            "coalesce(sum(cardinality(positions)), 0) FROM unnest(v))) = 1 "
            "AS own FROM v), "
        "q AS ("
            "SELECT language, lexeme AS term, 0 AS kind, '' AS whole, own "
            "FROM g, unnest(to_tsvector(language::regconfig, $1)) "
            "UNION "
            "SELECT language, u, 1, '', true FROM g, unnest($2::text[]) u "
            "UNION "
            "SELECT language, lexeme, 2, w, own "
            "FROM g, unnest($2::text[], $3::text[]) AS u(w, p), "
                "unnest(to_tsvector(language::regconfig, p))"
        ") SELECT q.term, q.kind, q.whole, coalesce(sum(t.df), 0) AS n, "
            "array_remove(array_agg(t.id), NULL), bool_or(q.own) "
        "FROM q JOIN c USING (language) LEFT JOIN trifecta.term t "
            "ON t.collection = c.id AND t.term = q.term "
        "GROUP BY q.term, q.kind, q.whole "
        "ORDER BY CASE q.kind WHEN 1 THEN 0 WHEN 0 THEN 1 ELSE 2 END, "
            "n, q.term",
        4, params);

    if (rc == TF_PG_OK) {
        rc = tf_rag_terms_read(pg, res, found);
        PQclear(res);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_search_spelling(pg, query, found);
        tf_rag_terms_weigh(found);
    }

done:

    tf_buf_free(&ids);
    tf_buf_free(&rest);
    tf_buf_free(&parts);
    tf_buf_free(&idlist);
    tf_buf_free(&partlist);

    return rc;
}


/* How large the scope is; with it, what indexes in memory want to know. */

static tf_pg_status_t
tf_rag_terms_all(tf_pg_t *pg, const tf_rag_query_t *query,
    tf_rag_found_t *found)
{
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    if (query->mem != NULL) {
        return tf_mem_look(query->mem, pg, query, query->view, &found->chunks,
                           &found->length);
    }

    params[0] = query->scope.collections;

    rc = tf_pg_prepared(pg, &res, TF_SEARCH_MS,
                        "SELECT coalesce(sum(chunks), 0), "
                        "coalesce(sum(total_len), 0) "
                        "FROM trifecta.collection "
                        "WHERE $1::int[] IS NULL OR id = ANY ($1::int[])",
                        1, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    found->chunks = strtod(PQgetvalue(res, 0, 0), NULL);
    found->length = strtod(PQgetvalue(res, 0, 1), NULL);
    PQclear(res);

    return TF_PG_OK;
}


static tf_pg_status_t
tf_rag_terms_read(tf_pg_t *pg, PGresult *res, tf_rag_found_t *found)
{
    int             i;
    size_t          k;
    const char     *text, *whole;
    tf_rag_term_t  *term;

    for (i = 0; i < PQntuples(res) && found->nterms < TF_RAG_TERMS_MAX; i++) {
        text = PQgetvalue(res, i, 0);
        whole = PQgetvalue(res, i, 2);

        /* a part that is a word of the question as well is a word */

        for (k = 0; k < found->nterms; k++) {
            if (strcmp(found->terms[k].text, text) == 0) {
                break;
            }
        }

        if (k < found->nterms) {
            continue;
        }

        term = &found->terms[found->nterms];
        term->text = strdup(text);
        term->ids = strdup(PQgetvalue(res, i, 4));
        term->df = strtod(PQgetvalue(res, i, 3), NULL);
        term->whole = (strcmp(PQgetvalue(res, i, 1), "1") == 0);
        term->name = term->whole && tf_terms_is_name(text, strlen(text));
        term->other = strcmp(PQgetvalue(res, i, 5), "t") != 0;
        term->part = 0;
        term->share = 1;
        found->nterms++;

        if (term->text == NULL || term->ids == NULL) {
            return tf_rag_no_memory(pg);
        }

        if (strcmp(PQgetvalue(res, i, 1), "2") != 0) {
            continue;
        }

        for (k = 0; k < found->nterms; k++) {
            if (found->terms[k].whole
                && strcmp(found->terms[k].text, whole) == 0)
            {
                term->part = found->terms[k].df > 0 || found->terms[k].name;
                break;
            }
        }
    }

    return TF_PG_OK;
}


static void
tf_rag_terms_weigh(tf_rag_found_t *found)
{
    double          n, info_n;
    size_t          i, kept;
    tf_rag_term_t  *term, *rarest;

    n = found->chunks;
    info_n = n > TF_RAG_INFO_MIN ? n : TF_RAG_INFO_MIN;
    kept = 0;
    rarest = NULL;

    for (i = 0; i < found->nterms; i++) {
        term = &found->terms[i];

        if (term->df > n) {
            term->df = n;
        }

        term->weight = term->df > 0
                       ? log(1 + (n - term->df + 0.5) / (term->df + 0.5)) : 0;
        term->info = log(1 + (info_n - term->df + 0.5) / (term->df + 0.5));
        term->weight *= term->share;

        if (term->part) {
            term->weight *= TF_RAG_PART;
            term->info = 0;
        }

        /* joined words that nobody writes so: their parts tell it all */

        if (term->whole && !term->name && term->df < 1) {
            term->info = 0;
        }

        /* what is meant does not make it less unknown */

        if (term->nmeant) {
            term->info = log(1 + (info_n + 0.5) / 0.5);
        }

        if (term->other || tf_rag_is_filler(term->text)) {
            term->info = 0;
        }

        if (term->df > 0 && (rarest == NULL || term->df < rarest->df)) {
            rarest = term;
        }
    }

    for (i = 0; i < found->nterms && n >= TF_RAG_COMMON_MIN; i++) {
        term = &found->terms[i];

        if (term != rarest && term->df > TF_RAG_COMMON * n) {
            term->weight = 0;
        }
    }

    /* a question of fillers only is about those words */

    for (i = 0; i < found->nterms; i++) {
        kept += found->terms[i].info > 0;
    }

    for (i = 0; i < found->nterms && kept == 0; i++) {
        term = &found->terms[i];
        term->info = log(1 + (info_n - term->df + 0.5) / (term->df + 0.5));
    }
}


/*
 * Words of asking, as the English and the German stemmer leave them; stop words
 * ("what", "how", "ist") are gone already.
 */

int
tf_rag_is_filler(const char *term)
{
    size_t                     i;
    static const char  *const  words[] = {
        "answer", "anyth", "ask", "could", "describ", "detail", "exact",
        "explain", "find", "give", "know", "let", "like", "look", "mani",
        "may", "mean", "might", "much", "must", "need", "pleas", "question",
        "say", "shall", "show", "someth", "tell", "thank", "understand",
        "us", "want", "wonder", "would",

        "bitt", "beschreib", "erklar", "find", "frag", "gibt", "genau",
        "konnt", "mocht", "nenn", "sag", "weiss", "wiss", "woll", "zeig",
        NULL
    };

    for (i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], term) == 0) {
            return 1;
        }
    }

    return 0;
}
