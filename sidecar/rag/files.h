#ifndef TF_RAG_FILES_H
#define TF_RAG_FILES_H


#include "db/pg.h"


/*
 * Files that wait to be read by a job: stored in parts of 1 MiB, in the
 * transaction that makes the job's row (tf_pg_begin_as() of its owner).
 */

#define TF_FILES_PART  1048576      /* bytes */
#define TF_FILES_MS    30000        /* a call */

typedef struct {
    const char  *job;
    const char  *tenant;
    const char  *owner;
} tf_files_of_t;

typedef struct {
    char    *source;
    size_t   bytes;
} tf_stored_file_t;


/*
 * Stores what fd has from its beginning to its end, at most max bytes: 1 when
 * there was more, -1 with errno when it cannot be read, 0 with *rc.
 */
int tf_files_put(tf_pg_t *pg, const tf_files_of_t *of, int file,
    const char *source, int fd, int64_t max, int64_t *bytes,
    tf_pg_status_t *rc);

/* The files of a job in their order: free each source, and the list. */
tf_pg_status_t tf_files_list(tf_pg_t *pg, const tf_files_of_t *of,
    tf_stored_file_t **list, size_t *n);

/* A file as it was, malloc'ed with a NUL behind it; NULL: parts are missing. */
tf_pg_status_t tf_files_get(tf_pg_t *pg, const tf_files_of_t *of, int file,
    size_t bytes, char **data);


#endif /* TF_RAG_FILES_H */
