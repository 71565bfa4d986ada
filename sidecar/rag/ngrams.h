#ifndef TF_RAG_NGRAMS_H
#define TF_RAG_NGRAMS_H


#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "db/pg.h"


/*
 * Hashed character n-grams: what forgives typing errors and endings.
 *
 * A chunk's terms, with a mark in front of each and behind it, are taken apart
 * into runs of 3, 4 and 5 characters.  Each gram adds its weight to one of
 * TF_NGRAM_DIM numbers or takes it away, as its hash says, so that grams that
 * meet by chance cancel out rather than add up.  The weight is
 * the square root of how often it is there, times its idf.  All vectors have
 * one length, so that an inner product is a cosine.
 *
 * Without idf the grams of "-ation" would drown those of a name.  It cannot be
 * that of the moment, or every new document would change every vector.  So a
 * collection keeps a table of idf, one byte for each of TF_NGRAM_BUCKETS
 * groups of grams, which is made from the words of its index when it is first
 * written to and each time when it has doubled.  A chunk is written with the
 * table of its time and never again; a question uses the newest.  What a chunk
 * of the beginning has is an estimate from fewer chunks: that of 60 already
 * does nearly as well as that of all.
 *
 * Chunks of before this table was there are found by their words only, until
 * they are ingested again.
 */

#define TF_NGRAM_DIM      1024
#define TF_NGRAM_BUCKETS  16384
#define TF_NGRAM_SCALE    1000      /* length of a vector: whole numbers */
#define TF_NGRAM_SLOTS    16384     /* different grams of a chunk, at most */

typedef struct {
    double     chunks;              /* when it was made; 0: all weigh 1 */
    uint8_t    idf[TF_NGRAM_BUCKETS];   /* in sixteenths */
} tf_ngram_idf_t;

typedef struct {
    uint64_t   gram;
    float      n;                   /* how often; 0: a free slot */
} tf_ngram_slot_t;

/* A place to work in: reset, add words, vector. */

typedef struct {
    tf_ngram_slot_t  slots[TF_NGRAM_SLOTS];
    uint16_t         used[TF_NGRAM_SLOTS];
    size_t           nused;
    double           df[TF_NGRAM_BUCKETS];
} tf_ngrams_t;


void tf_ngrams_reset(tf_ngrams_t *g);

/* A word that occurs n times.  What is too much is left out. */
void tf_ngrams_add(tf_ngrams_t *g, const char *word, size_t len, unsigned n);

/*
 * The vector as the store reads it: [1,-2,...]; returns 0 and writes nothing
 * when there is no gram.
 */
int tf_ngrams_vector(const tf_ngrams_t *g, const tf_ngram_idf_t *idf,
    tf_buf_t *out);


/* The table: begin, count each word of the index with its df, make. */

void tf_ngrams_begin(tf_ngrams_t *g);
void tf_ngrams_count(tf_ngrams_t *g, const char *word, size_t len, double df);
void tf_ngrams_idf(const tf_ngrams_t *g, double chunks, tf_ngram_idf_t *idf);


/*
 * The table of collections (an int4[]; NULL: all that may be seen): their
 * average, weighted by their chunks, over the largest TF_NGRAM_COLLECTIONS.
 */
#define TF_NGRAM_COLLECTIONS  16
tf_pg_status_t tf_ngrams_load(tf_pg_t *pg, const char *collections,
    tf_ngram_idf_t *idf);


#endif /* TF_RAG_NGRAMS_H */
