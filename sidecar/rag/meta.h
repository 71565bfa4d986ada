#ifndef TF_RAG_META_H
#define TF_RAG_META_H


#include "base/buf.h"
#include "extract/text.h"
#include "rag/ingest.h"


/*
 * What is said about a document, into the store: by the document itself, and
 * by whoever ingests it, whose word replaces the document's.  What was given
 * is lines "name=value", each ended by a newline, names in small letters.
 */

/*
 * Adds a line of "NAME=VALUE": 0, or -1 with the reason in err.  nmeta is how
 * many there are so far.
 */
int tf_rag_meta_given(tf_buf_t *given, size_t nmeta, const char *pair,
    char *err, size_t errlen);

/* What documents have, until it is written: zero it, free it. */

typedef struct {
    tf_buf_t   documents;           /* arrays, a value a place */
    tf_buf_t   names;
    tf_buf_t   seqs;
    tf_buf_t   values;
    tf_buf_t   numbers;
    tf_buf_t   moments;             /* ms */
    size_t     n;
} tf_rag_meta_t;

void tf_rag_meta_add(tf_rag_meta_t *meta, const tf_rag_target_t *target,
    const char *document, const tf_text_t *text);

/*
 * In the transaction that stores the documents: what there is of those in
 * the array "stored" goes, and what was added comes.
 */
tf_pg_status_t tf_rag_meta_put(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *stored, tf_rag_meta_t *meta);

void tf_rag_meta_free(tf_rag_meta_t *meta);


#endif /* TF_RAG_META_H */
