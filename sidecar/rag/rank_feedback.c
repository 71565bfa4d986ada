#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/rank.h"


/*
 * What the best passages have in common, when none of them covers much of the
 * question: a second search for the question and, mildly, for that.
 *
 * The terms of the first TF_FEEDBACK_CHUNKS of BM25, each by its share in its
 * chunk and the chunk by its score, are added up; the TF_FEEDBACK_TERMS
 * largest get 1 - TF_FEEDBACK_OWN of the weight that the question's own have
 * (RM3).  That finds passages that have other words for the same, and it moves
 * away from what was asked.  So the first TF_FEEDBACK_KEEP keep their places,
 * and only what comes behind them is ranked by the second search.
 *
 * It is a step behind BM25, whoever ranks: the store or an index in memory.
 */

#define TF_FEEDBACK_CHUNKS  10
#define TF_FEEDBACK_TERMS   30
#define TF_FEEDBACK_OWN     0.8
#define TF_FEEDBACK_KEEP    20
#define TF_FEEDBACK_BIT     63      /* a question of 64 terms gets none */


static int tf_feedback_wanted(const tf_rag_query_t *query,
    const tf_rag_found_t *found, const tf_rag_list_t *bm25);
static tf_pg_status_t tf_feedback_ask(tf_pg_t *pg,
    const tf_rag_query_t *query, const tf_rag_list_t *bm25, PGresult **res);
static int tf_feedback_terms(const tf_rag_found_t *found,
    const PGresult *res, tf_rag_bm25_t *terms);
static int tf_feedback_behind(const tf_rag_list_t *bm25,
    const tf_rag_list_t *more, tf_rag_list_t *out);


tf_pg_status_t
tf_rag_feedback(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_found_t *found, const tf_rag_list_t *bm25,
    tf_rag_list_t *out)
{
    PGresult        *res;
    tf_rag_list_t    more;
    tf_rag_bm25_t    terms;
    tf_pg_status_t   rc;

    if (!tf_feedback_wanted(query, found, bm25)) {
        return TF_PG_OK;
    }

    rc = tf_feedback_ask(pg, query, bm25, &res);
    if (rc != TF_PG_OK) {
        return rc;
    }

    memset(&more, 0, sizeof(more));

    if (tf_feedback_terms(found, res, &terms) != 0) {
        rc = tf_rag_no_memory(pg);

    } else {
        rc = tf_rag_bm25_rank(pg, query, found, &terms, &more);
    }

    if (rc == TF_PG_OK && tf_feedback_behind(bm25, &more, out) != 0) {
        rc = tf_rag_no_memory(pg);
    }

    tf_rag_bm25_free(&terms);
    tf_rag_list_free(&more);
    PQclear(res);

    return rc;
}


static int
tf_feedback_wanted(const tf_rag_query_t *query, const tf_rag_found_t *found,
    const tf_rag_list_t *bm25)
{
    return query->tune->feedback > 0 && bm25->n > 0
           && found->nterms <= TF_FEEDBACK_BIT
           && tf_rag_weak(found, bm25, query->tune->feedback);
}


int
tf_rag_weak(const tf_rag_found_t *found, const tf_rag_list_t *bm25,
    double share)
{
    size_t  i;

    for (i = 0; i < bm25->n && i < TF_FEEDBACK_CHUNKS; i++) {
        if (tf_rag_coverage(found, bm25->of[i].terms) >= share) {
            return 0;
        }
    }

    return 1;
}


/*
 * The terms that only one passage has, or very many, tell nothing.  There are
 * hundreds, each found by its key: to scan all postings takes longer, whatever
 * the server's statistics say.
 */

static tf_pg_status_t
tf_feedback_ask(tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_list_t *bm25, PGresult **res)
{
    char             numbers[3][32];
    size_t           i;
    tf_buf_t         chunks = TF_BUF_INIT, scores = TF_BUF_INIT;
    const char      *params[6];
    tf_pg_status_t   rc;

    for (i = 0; i < bm25->n && i < TF_FEEDBACK_CHUNKS; i++) {
        tf_array_int(&chunks, bm25->of[i].chunk);
        tf_array_real(&scores, bm25->of[i].score);
    }

    tf_array_close(&chunks);
    tf_array_close(&scores);

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", TF_FEEDBACK_TERMS);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%d", TF_RAG_COMMON_MIN);
    (void) snprintf(numbers[2], sizeof(numbers[2]), "%g", TF_RAG_COMMON);

    params[0] = chunks.data;
    params[1] = scores.data;
    params[2] = query->scope.collections;
    params[3] = numbers[0];
    params[4] = numbers[1];
    params[5] = numbers[2];

    if (chunks.failed || scores.failed) {
        rc = tf_rag_no_memory(pg);

    } else {
        rc = tf_pg_prepared(pg, res, TF_RAG_RANK_MS,
            "WITH best AS (SELECT t.term, "
                "sum(s.score * p.tf / greatest(p.len, 1)) AS weight "
                "FROM unnest($1::bigint[], $2::float8[]) AS s(chunk, score) "
                "JOIN trifecta.chunk c ON c.id = s.chunk "
                "JOIN trifecta.collection l ON l.id = c.collection "
                "CROSS JOIN unnest(c.terms) AS u(term) "
                "CROSS JOIN LATERAL (SELECT tf, len FROM trifecta.posting "
                    "WHERE term = u.term AND chunk = s.chunk OFFSET 0) AS p "
                "CROSS JOIN LATERAL (SELECT id, term, df FROM trifecta.term "
                    "WHERE id = u.term OFFSET 0) AS t "
                "WHERE t.df > 1 AND (l.chunks < $5::int "
                    "OR t.df <= $6::float8 * l.chunks) "
                "GROUP BY t.term ORDER BY weight DESC, t.term LIMIT $4::int) "
            "SELECT b.weight, sum(t.df), array_agg(t.id) "
            "FROM best b JOIN trifecta.term t ON t.term = b.term "
            "WHERE $3::int[] IS NULL OR t.collection = ANY ($3::int[]) "
            "GROUP BY b.term, b.weight ORDER BY b.weight DESC, b.term",
            6, params);
    }

    tf_buf_free(&chunks);
    tf_buf_free(&scores);

    return rc;
}


/* The weights of the best add up to their share of those of the question. */

static int
tf_feedback_terms(const tf_rag_found_t *found, const PGresult *res,
    tf_rag_bm25_t *terms)
{
    int          row, n;
    double       own, sum, df, share;
    size_t       i, more;
    const char  *ids;

    n = PQntuples(res);
    sum = 0;
    own = 0;
    more = 0;

    for (row = 0; row < n; row++) {
        sum += strtod(PQgetvalue(res, row, 0), NULL);
        more += tf_rag_bm25_count(PQgetvalue(res, row, 2));
    }

    for (i = 0; i < found->nterms; i++) {
        own += found->terms[i].weight > 0;
    }

    if (tf_rag_bm25_terms(found, more, terms) != 0) {
        return -1;
    }

    terms->others = UINT64_C(1) << TF_FEEDBACK_BIT;

    for (row = 0; row < n && sum > 0; row++) {
        df = strtod(PQgetvalue(res, row, 1), NULL);
        ids = PQgetvalue(res, row, 2);

        if (df > found->chunks) {
            df = found->chunks;
        }

        share = own * (1 - TF_FEEDBACK_OWN) / TF_FEEDBACK_OWN
                * strtod(PQgetvalue(res, row, 0), NULL) / sum;

        tf_rag_bm25_add(terms, ids,
                        share * log(1 + (found->chunks - df + 0.5)
                                        / (df + 0.5)),
                        UINT64_C(1) << TF_FEEDBACK_BIT);
    }

    return 0;
}


static int
tf_feedback_behind(const tf_rag_list_t *bm25, const tf_rag_list_t *more,
    tf_rag_list_t *out)
{
    size_t  i, k, kept;

    kept = bm25->n < TF_FEEDBACK_KEEP ? bm25->n : TF_FEEDBACK_KEEP;

    out->n = 0;
    out->of = calloc(kept + more->n + 1, sizeof(tf_rag_ranked_t));

    if (out->of == NULL) {
        return -1;
    }

    for (i = 0; i < kept; i++) {
        out->of[out->n++] = bm25->of[i];
    }

    for (i = 0; i < more->n; i++) {
        for (k = 0; k < kept; k++) {
            if (bm25->of[k].chunk == more->of[i].chunk) {
                break;
            }
        }

        if (k == kept) {
            out->of[out->n] = more->of[i];
            out->of[out->n++].terms &= ~(UINT64_C(1) << TF_FEEDBACK_BIT);
        }
    }

    return 0;
}
