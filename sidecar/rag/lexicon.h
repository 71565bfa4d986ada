#ifndef TF_RAG_LEXICON_H
#define TF_RAG_LEXICON_H


#include <stddef.h>
#include <stdint.h>

#include "db/pg.h"


/*
 * The terms of one collection that this process has met, and the numbers that
 * the store has given them.  The number of a term never changes and no term
 * is ever removed, so what was committed once need not be asked again.
 *
 * New terms are committed in a transaction of their own, before the documents
 * that have them: in how many chunks they occur is 0 until then, which is
 * true.  So two ingests that meet the same new word wait for each other no
 * longer than it takes to write it.
 *
 * Beyond TF_LEXICON_MAX terms everything is forgotten, when no chunk is in
 * work.
 */

#define TF_LEXICON_MAX  200000

typedef struct {
    char       *term;
    long long   id;             /* 0: not known yet */
    size_t      mark;           /* the chunk that has met it last, from 1 */
    size_t      hit;            /* and where it keeps how often */
} tf_lexeme_t;

typedef struct {
    tf_lexeme_t  *list;
    size_t        n;
    size_t        room;
    size_t        known;        /* the first of them have their numbers */
    uint32_t     *table;        /* places in list + 1; 0 is free */
    size_t        size;         /* a power of two */
    size_t        marks;
} tf_lexicon_t;


/* The place of a term in the list, which is added if need be; -1: memory. */
long tf_lexicon_add(tf_lexicon_t *lexicon, const char *term, size_t len);

/* Asks for the numbers of the terms that have none, and makes new ones. */
tf_pg_status_t tf_lexicon_resolve(tf_lexicon_t *lexicon, tf_pg_t *pg,
    const char *tenant, const char *owner, int collection);

/* Forgets everything. */
void tf_lexicon_reset(tf_lexicon_t *lexicon);


#endif /* TF_RAG_LEXICON_H */
