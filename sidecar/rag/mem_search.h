#ifndef TF_RAG_MEM_SEARCH_H
#define TF_RAG_MEM_SEARCH_H


#include "rag/mem.h"


/*
 * One search of the indexes in memory; for the files of it.
 */

/* One that was ranked here, at which version. */

typedef struct {
    int              collection;
    long long        version;
} tf_mem_served_t;

typedef struct {
    tf_rag_mem_t           *mem;
    tf_pg_t                *pg;
    const tf_rag_query_t   *query;
    const tf_rag_bm25_t    *terms;

    tf_mem_view_t          *view;       /* of the query, */
    tf_mem_view_t           look;       /* or for want of one */
    uint8_t               (*documents)[TF_MEM_UUID];
    size_t                  ndocuments;

    unsigned char          *done;       /* of the terms: ranked here */
    tf_mem_served_t        *served;
    size_t                  nserved;
    int                     again;      /* an index is newer than we see */
    int                     missed;
    tf_mem_top_t            top;
} tf_mem_search_t;


/* Another look. */
tf_pg_status_t tf_mem_ask(tf_mem_search_t *s);

/* The scope's documents; 0, or -1: no memory. */
int tf_mem_documents(tf_mem_search_t *s);

/*
 * The same once more by the store; if the index was wrong, list is the
 * store's.
 */
tf_pg_status_t tf_mem_check(tf_mem_search_t *s, tf_rag_list_t *list);


#endif /* TF_RAG_MEM_SEARCH_H */
