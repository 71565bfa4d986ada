#ifndef TF_JOBS_INGEST_H
#define TF_JOBS_INGEST_H


#include <jansson.h>

#include "base/buf.h"
#include "jobs/jobs.h"
#include "rag/files.h"
#include "rag/ingest.h"


/*
 * A job that ingests: its files wait in the store (rag/files.h), its payload
 * says what they shall become:
 *
 *   {"files": id of the job with which they were stored, "count": how many,
 *    "collection", "visibility", "groups", "given", "limits", "again",
 *    "delete": when their list was made; "present": there is one more file,
 *    with the names of those that were there and not stored}
 *
 * What became of a file is a step of the job, written in the transaction that
 * stores the document: an attempt after a crash goes on behind the last one,
 * and the counts at the end are those of all attempts.  A file of an archive
 * is a step, too, and so are documents that were removed in one transaction.
 * A job that repeats a failed one has other steps and the same files; it finds
 * by the hash what is in the store already.
 *
 * ingest.c goes through the files, ingest_steps.c keeps what became of them
 * and writes the result, ingest_gone.c removes documents without a file.
 */

#define TF_INGEST_STEP_MAX  96
#define TF_INGEST_FLUSH_MS  500         /* so often progress is seen */
#define TF_INGEST_TOLD      200         /* skipped files that are named */
#define TF_INGEST_REMOVED   "removed:"  /* a step, and the first document */

typedef struct {
    tf_jobs_t          *jobs;
    tf_job_t           *job;
    tf_pg_t            *pg;
    tf_rag_target_t     target;
    tf_files_of_t       of;
    tf_stored_file_t   *files;
    size_t              nfiles;

    tf_rag_group_t     *group;
    int64_t             flushed;        /* when it was written last */

    json_t             *steps;          /* of attempts before, by name */
    size_t              file;           /* the one at hand */

    size_t              count[TF_INGEST_FAILED + 1];
    tf_ingest_count_t   chunks;
    size_t              skipped;
    int                 remove;         /* documents without a file */
    int                 partial;        /* there may be other files */
    tf_buf_t            present;        /* array of documents with a file */
    size_t              removed;
    tf_buf_t            told;           /* a line for each */

    int                 failed;         /* the store: pg->err */
} tf_ingest_job_t;


/* Reads the steps of attempts before. */
tf_pg_status_t tf_ingest_steps_load(tf_ingest_job_t *ij);

/* The step is done already: counts what became of it, returns 1. */
int tf_ingest_step_known(tf_ingest_job_t *ij, const char *step,
    const char *source);

/* Both are for the group of documents, whose path is the step. */

/* A tf_rag_stored_pt: writes the step together with its document. */
tf_pg_status_t tf_ingest_step_stored(void *ctx, tf_pg_t *pg,
    const char *step, const char *source, tf_ingest_t outcome,
    const tf_ingest_count_t *count, const char *note);

/* Writes a step and what came of it, JSON; in an open transaction. */
tf_pg_status_t tf_ingest_step_write(tf_ingest_job_t *ij, tf_pg_t *pg,
    const char *step, const char *output);

/* A tf_rag_done_pt: counts it; what stored no document gets its step now. */
void tf_ingest_step_done(void *ctx, const char *step, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *note);

/* Its document stays; the names of files that the job does not have. */
void tf_ingest_present(tf_ingest_job_t *ij, const char *source);
tf_pg_status_t tf_ingest_present_load(tf_ingest_job_t *ij);

/* Removes the documents whose file is not there any more. */
tf_pg_status_t tf_ingest_gone(tf_ingest_job_t *ij);

/* The job's body and usage: 0, or -1: memory is short. */
int tf_ingest_result(tf_ingest_job_t *ij);


#endif /* TF_JOBS_INGEST_H */
