#ifndef TF_CLI_INGEST_SEND_H
#define TF_CLI_INGEST_SEND_H


#include "cli/ingest.h"

#include "queue/submit.h"
#include "rag/files.h"


/*
 * A path becomes a job: its files and the job's row are stored in one
 * transaction, then Redis is told.  Whoever is killed in between leaves an
 * open row, which a sidecar finds and puts into Redis.
 *
 * ingest_send.c stores the files, ingest_queue.c makes the job.
 */

typedef struct {
    tf_ingest_run_t      *run;
    tf_ingest_queued_t   *job;
    tf_submit_t           submit;
    unsigned              shard;
    tf_files_of_t         of;
    int64_t               bytes;
    tf_buf_t              present;      /* files that it does not get */
    int                   remove;       /* documents without a file */
    char                 *payload;
} tf_ingest_sending_t;


/* Stores the files that a job can read, in the transaction that is open. */
int tf_ingest_send_files(tf_ingest_sending_t *s, const tf_files_t *files);

/* The names of the others, behind the last file. */
int tf_ingest_send_present(tf_ingest_sending_t *s);


#endif /* TF_CLI_INGEST_SEND_H */
