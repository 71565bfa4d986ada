#ifndef TF_RAG_SETS_H
#define TF_RAG_SETS_H


#include "base/buf.h"
#include "db/pg.h"
#include "rag/search.h"


/*
 * Embedding sets: what one model made of the passages of a tenant, or of one
 * of its collections (the migration explains their life).
 *
 * Passages are embedded as their owner, whose transaction sees them anyway.
 * What a set lacks is simply what has no row in it yet, so the work can stop
 * and begin again anywhere, several may do it at once (each takes the chunks
 * of its part), and a passage that did not change is not embedded again: it
 * kept its row.  What is embedded is the title, the headings above, and the
 * text.
 *
 * The calls belong between tf_pg_begin_as() and the end of that transaction.
 */

#define TF_RAG_SET_MS     60000
#define TF_RAG_SET_EXACT  20000     /* chunks: more are worth an index */

typedef struct {
    int         id;                 /* 0: there is none */
    int         collection;         /* 0: all of the tenant */
    int         indexed;
    char        status[16];
    char        model[129];
    size_t      dims;
} tf_rag_set_t;

typedef struct {
    long long   after;              /* chunks behind this one */
    unsigned    part;               /* of parts */
    unsigned    parts;
    unsigned    max;
} tf_rag_slice_t;


/* The set of the transaction's tenant; id 0: there is no such set. */
tf_pg_status_t tf_rag_set_get(tf_pg_t *pg, int id, tf_rag_set_t *set);

/*
 * The live set that a question uses: that of the collection, if it is about
 * one (else NULL) that has a set, or that of the tenant.
 */
tf_pg_status_t tf_rag_set_live(tf_pg_t *pg, const char *collection,
    tf_rag_set_t *set);

/* Chunks of the transaction's owner that the set lacks: id, text. */
tf_pg_status_t tf_rag_set_lacks(tf_pg_t *pg, const tf_rag_set_t *set,
    const tf_rag_slice_t *slice, PGresult **res);

/*
 * Puts vectors of the set's dimensions for the rows from first on; chunks
 * that went meanwhile are left out.
 */
tf_pg_status_t tf_rag_set_put(tf_pg_t *pg, const tf_rag_set_t *set,
    PGresult *rows, size_t first, size_t n, const float *vectors,
    long long tokens);

/* A vector as the server reads it: [0.1,...]. */
void tf_rag_set_vector(tf_buf_t *b, const float *v, size_t dims);


#endif /* TF_RAG_SETS_H */
