#ifndef TF_RAG_SEARCH_H
#define TF_RAG_SEARCH_H


#include <stddef.h>

#include "db/pg.h"


/*
 * Retrieval: lexical (no neural model), and by vectors of a model where there
 * is a live embedding set.  Several retrievers (rank.h) each give
 * a list of chunks; the lists are fused and the best chunks are loaded.  Run
 * it between tf_pg_begin_as() and the end of that transaction; row-level
 * security leaves what belongs to others out before anything is ranked.
 *
 * A question looks at its scope: all collections that the transaction may see,
 * or some, or some documents.  The collections of the scope are one corpus:
 * their statistics are added up.
 *
 * A question's terms are those of terms.h and of the store's text search.
 * Words that only make it a question ("how", "please") weigh nothing.  A
 * term in more than TF_RAG_COMMON of the chunks is dropped from ranking when
 * there are TF_RAG_COMMON_MIN chunks or more, but never the last one.  The
 * parts of an identifier that is known as a whole weigh TF_RAG_PART.
 *
 * "info" says how much a term tells about what is asked: its idf in a corpus
 * of at least TF_RAG_INFO_MIN chunks.  A term that no document has tells the
 * most.  The share of the info that a passage has is its coverage.  Parts of
 * identifiers do not count there.
 *
 * A word that no document has may be misspelt.  Then the terms that are nearly
 * the same (spell.h) are looked for in its place; a passage with one of them
 * gets the share weight_spelling of the word's weight and of its info, and for
 * two errors the square of that.
 */

#define TF_RAG_K1          1.2
#define TF_RAG_B           0.75
#define TF_RAG_COMMON      0.3
#define TF_RAG_COMMON_MIN  1000
#define TF_RAG_PART        0.25
#define TF_RAG_INFO_MIN    1000
#define TF_RAG_TERMS_MAX   64       /* of a question; the rarest are kept */
#define TF_RAG_MEANT_MAX   4        /* terms that a misspelt one may mean */
#define TF_RAG_QUOTES_MAX  512      /* units that are looked at */

typedef struct {
    char       *text;
    int         whole;      /* an identifier as it stands */
    int         part;       /* a part of one that is known as a whole */
    int         other;      /* not of the question's own language */
    int         name;       /* see tf_terms_is_name() */
    char       *ids;        /* array: its numbers in the collections */
    char       *meant[TF_RAG_MEANT_MAX];    /* ids and df are those of these */
    size_t      nmeant;
    double      share;      /* of weight and info that counts; 1: spelt so */
    double      df;
    double      weight;     /* for ranking; 0: dropped */
    double      info;
} tf_rag_term_t;

typedef struct {
    long long   chunk;
    char       *document;
    char       *source;
    char       *title;
    char       *heading;
    char       *body;
    char       *language;
    size_t      start;
    size_t      end;
    double      score;      /* of BM25; 0: its terms did not find it */
    double      fused;      /* what hits are ordered by */
    uint64_t    terms;      /* bit i: it has the question's term i */
    uint64_t    subject;    /* those of its last heading, if the question
                             * holds that heading word for word */
    double      about;      /* worth.h: how much it is about its terms, */
    double      said;       /* the best coverage of one of its units, */
    double      sure;       /* and how sure it is that it answers */
} tf_rag_hit_t;

typedef struct {
    size_t      hit;
    size_t      start;      /* in the body */
    size_t      end;
    double      score;
    uint64_t    terms;
} tf_rag_unit_t;

typedef struct {
    tf_rag_term_t   terms[TF_RAG_TERMS_MAX];
    size_t          nterms;
    tf_rag_hit_t   *hits;
    size_t          nhits;
    tf_rag_unit_t  *units;      /* best first */
    size_t          nunits;
    double          chunks;     /* in the collections of the scope */
    double          length;     /* of a chunk, on average */

    const struct tf_rag_list_s  *lists;     /* of the retrievers before */
    size_t                       nlists;
    const struct tf_rag_list_s  *words;     /* BM25's, with feedback; */
    size_t                       nwords;    /* so many may be wanted */
} tf_rag_found_t;


/* What a question may look at: arrays as array.h writes them; NULL: all. */

typedef struct {
    const char           *collections;  /* int4[] */
    const char           *documents;    /* uuid[], that filters allow */
} tf_rag_scope_t;

/* How to search; the configuration has the same names. */

typedef struct {
    double                weight_bm25;  /* of a retriever; 0: is not asked */
    double                weight_ngrams;
    double                weight_vectors;
    double                ngrams_scan;  /* chunks of a scope, at most */
    double                weight_spelling;  /* 0: no word is misspelt */
    double                feedback;     /* below this coverage; 0: never */
} tf_rag_tune_t;

typedef struct {
    const char           *question;
    unsigned              k;            /* chunks that are wanted */
    tf_rag_scope_t        scope;
    const tf_rag_tune_t  *tune;         /* NULL: the defaults */
    struct tf_rag_mem_s  *mem;          /* indexes in memory; NULL: none */
    struct tf_mem_view_s *view;         /* mem.h; of the search itself */
    const struct tf_rag_vector_s  *vector;  /* vectors.h; NULL: none */
    struct tf_rag_steps_s *steps;       /* steps.h; NULL: not measured */
} tf_rag_query_t;


/* What the configuration says. */
void tf_rag_tune(const tf_conf_t *conf, tf_rag_tune_t *tune);

/* The k best chunks. */
tf_pg_status_t tf_rag_search(tf_pg_t *pg, const tf_rag_query_t *query,
    tf_rag_found_t *found);


/* What of them can be quoted, best first, and how sure each hit is. */
tf_pg_status_t tf_rag_quotes(tf_pg_t *pg, const char *question,
    tf_rag_found_t *found);

/* The share of the question's info that these terms have; 0 if it has none. */
double tf_rag_coverage(const tf_rag_found_t *found, uint64_t terms);

void tf_rag_found_free(tf_rag_found_t *found);

/* Says so in pg->err. */
tf_pg_status_t tf_rag_no_memory(tf_pg_t *pg);


#endif /* TF_RAG_SEARCH_H */
