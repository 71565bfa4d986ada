#ifndef TF_RAG_SCOPE_H
#define TF_RAG_SCOPE_H


#include <jansson.h>

#include "base/buf.h"
#include "db/pg.h"
#include "rag/search.h"


/*
 * What a question may look at: collections by name, and documents by filters
 * on their metadata.  Both are resolved to ids before anything is ranked, in
 * the asker's transaction, so nobody learns of what he may not see:
 *
 * - A collection of which the asker sees no document is the same to him as
 *   one that is not there.  That is an error and not an empty answer, because
 *   "no answer in your documents" after a slip of the pen would be a lie.
 * - A filter that no visible document passes is no error: the names and
 *   values of metadata are the documents' own, and "nothing found" is what is
 *   true of them.
 *
 * Filters are an object: {"author": "x", "year": {"gte": 2020, "lt": 2024},
 * "tag": {"in": ["a", "b"]}}.  A document must pass all members; one of its
 * values must pass all tests of a member.  A number is compared with numbers;
 * a text that is a date (trifecta/meta.h) with dates, where a day is the whole
 * of that day in UTC; any other text, and all texts of "in", with texts.
 */

#define TF_RAG_SCOPE_DOCUMENTS  100000      /* that filters may leave */

typedef enum {
    TF_SCOPE_OK,
    TF_SCOPE_REFUSED,       /* code, message: the question is at fault */
    TF_SCOPE_STORE          /* rc, pg->err */
} tf_rag_scope_status_t;

typedef struct {
    tf_buf_t         collections;   /* arrays of ids; no data: all */
    tf_buf_t         documents;
    tf_pg_status_t   rc;
    const char      *code;          /* static */
    char             message[256];
} tf_rag_scope_of_t;


/*
 * Between tf_pg_begin_as() and the end of that transaction; each may be NULL.
 * only has the names that may be looked at at all: collections outside of
 * them are refused by name, before the store is asked, and without collections
 * those of them are looked at that there are.  Free with tf_rag_scope_free() whatever came of it.
 */
tf_rag_scope_status_t tf_rag_scope_find(tf_pg_t *pg, const json_t *only,
    const json_t *collections, const json_t *filters,
    tf_rag_scope_of_t *scope);

void tf_rag_scope_free(tf_rag_scope_of_t *scope);

/*
 * Adds "SELECT document ..." for the filters; params are added to an array of
 * TF_SCOPE_PARAMS texts that the caller frees.  0, or -1: they are no
 * filters, or memory is short.
 */
#define TF_SCOPE_PARAMS  96

typedef struct {
    int    n;
    char  *list[TF_SCOPE_PARAMS];
} tf_rag_params_t;

int tf_rag_filters_sql(const json_t *filters, tf_buf_t *sql,
    tf_rag_params_t *params);
void tf_rag_params_free(tf_rag_params_t *params);


#endif /* TF_RAG_SCOPE_H */
