#ifndef TF_RAG_GROUP_H
#define TF_RAG_GROUP_H


#include <stddef.h>

#include "rag/index.h"
#include "rag/ingest.h"


/*
 * Inside of a group (see ingest.h): read.c reads files, group.c takes
 * documents in, asks which of them are known and extracts the others, lane.c
 * gives them to connections that write at the same time, and store.c writes.
 */

#define TF_GROUP_DOCUMENTS  256
#define TF_GROUP_BYTES      (4 * 1024 * 1024)   /* of originals, of texts */
#define TF_GROUP_CHUNKS     512                 /* a transaction */

typedef struct {
    char               *path;
    char               *source;
    char               *data;       /* until it is extracted */
    size_t              len;
    char                hash[TF_RAG_HASH];

    char                version[24];    /* of the document that is there */
    char               *title;          /* its title */
    int                 same;           /* nothing is to be done */
    int                 acl;            /* with the same rights */
    size_t              old;            /* its chunks */

    tf_rag_doc_t        doc;
    int                 settled;        /* outcome, count and err are known */
    tf_ingest_t         outcome;
    tf_ingest_count_t   count;
    char               *err;
} tf_rag_item_t;

typedef struct tf_rag_lane_s  tf_rag_lane_t;

struct tf_rag_group_s {
    tf_pg_t                *pg;
    const tf_rag_target_t  *target;
    tf_rag_done_pt          done;
    void                   *ctx;

    tf_rag_item_t          *items;
    size_t                  n;
    size_t                  bytes;
    tf_rag_index_t          index;

    tf_rag_lane_t          *lanes;
    size_t                  nlanes;
    size_t                  turn;
    int                     opened;     /* as far as they could be */
};


/*
 * The bytes of a file that can be a document: TF_INGEST_NEW, or why not.
 * *bytes is freed by the caller then.
 */
tf_ingest_t tf_rag_read(const tf_limits_t *limits, const char *path,
    const char *source, char **bytes, size_t *length, char *err,
    size_t errlen);

/* Asks the store about the items first .. last - 1 that are not settled. */
tf_pg_status_t tf_rag_group_known(tf_rag_group_t *group, size_t first,
    size_t last);

/* Writes them, and settles them. */
tf_pg_status_t tf_rag_store(tf_rag_group_t *group, size_t first, size_t last);

/*
 * The same by one of the lanes (lane.c); what became of them is told later.
 * final: nothing follows.  0, or -1 if an earlier one could not be written.
 */
int tf_rag_lanes_write(tf_rag_group_t *group, size_t first, size_t last,
    int final);
int tf_rag_lanes_wait(tf_rag_group_t *group);
int tf_rag_lanes_have(const tf_rag_group_t *group, const char *source);
void tf_rag_lanes_close(tf_rag_group_t *group);

/* What became of items, until one that was not written: -1 then. */
int tf_rag_group_tell(tf_rag_group_t *group, size_t first, size_t last);

/* Forgets all items. */
void tf_rag_group_reset(tf_rag_group_t *group);

void tf_rag_settle(tf_rag_item_t *item, tf_ingest_t outcome,
    const char *err);


#endif /* TF_RAG_GROUP_H */
