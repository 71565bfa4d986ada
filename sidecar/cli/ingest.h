#ifndef TF_CLI_INGEST_H
#define TF_CLI_INGEST_H


#include "cli/cli.h"

#include <stddef.h>
#include <stdint.h>

#include <trifecta/id.h>

#include "base/buf.h"
#include "rag/folder.h"
#include "rag/ingest.h"


/*
 * trifecta ingest: ingest.c reads what is wanted, ingest_files.c goes through
 * the files, ingest_show.c tells what happens.  With --queue a sidecar does
 * the work: ingest_queue.c makes a job of each path, ingest_wait.c waits for
 * the jobs and tells how far they are.
 *
 * On a terminal one line moves; elsewhere each file has its line.  Both, and
 * what is skipped, go to standard error; the summary to standard output.
 */

#define TF_CLI_SKIPPED  4           /* done, but not all was read */

#define TF_INGEST_GONE  10          /* so many are named */

typedef struct {
    tf_cli_t          cli;
    tf_conf_t         conf;
    tf_pg_t           pg;
    tf_rag_target_t   target;
    tf_rag_group_t   *group;        /* of this path */
    tf_buf_t          given;        /* metadata of --meta */
    size_t            nmeta;
    const char       *language;     /* of --language, or NULL */
    const char       *collection;   /* of --collection, or NULL */
    tf_buf_t          limits;       /* of --limit */
    int               remove;
    int               queue;
    int               detach;       /* and do not wait for the jobs */
    int               text;
    int               quiet;
    int               tty;

    const tf_file_t  *archive;      /* the one whose members are read */
    tf_buf_t          sources;      /* of this path: array of documents */
    size_t            nsources;
    int               partial;      /* something of it could not be listed */

    int               alone;        /* one file was named */

    size_t            total;        /* files of all paths so far */
    size_t            done;
    size_t            count[TF_INGEST_FAILED + 1];
    size_t            skipped;
    size_t            gone;         /* documents without a file */
    size_t            removed;
    tf_ingest_count_t chunks;       /* of documents that are new or changed */
    size_t            kept;         /* of those that are the same */
    int64_t           start;
    int64_t           told;
} tf_ingest_run_t;


/* A file, a folder or an archive: TF_CLI_OK or TF_CLI_FAILED. */
int tf_ingest_path(tf_ingest_run_t *run, const char *path);

/* The collection of a path that --collection does not name. */
const char *tf_ingest_collection(const char *path, int folder, char *name,
    size_t len);

/* A job of --queue. */

typedef struct {
    char         id[TF_ID_TEXT_LEN + 1];
    const char  *path;
    size_t       files;
    size_t       done;
    char         state[16];         /* as it was told; "": not told yet */
    int          ended;
} tf_ingest_queued_t;

/* All paths become jobs, and they end: the exit code. */
int tf_ingest_queue(tf_ingest_run_t *run);
int tf_ingest_wait(tf_ingest_run_t *run, tf_ingest_queued_t *jobs, size_t n);

/* A bar of so many characters for the line of a terminal. */
#define TF_INGEST_BAR  24
void tf_ingest_bar(char bar[TF_INGEST_BAR + 1], size_t done, size_t total);

/* A name or a text of a line without control characters. */
const char *tf_ingest_name(char *name, size_t size, const char *path);

/* A file or folder was skipped; a handler of folders, too. */
void tf_ingest_skipped(void *ctx, const char *path, const char *why);

/* What became of a file. */
void tf_ingest_tell(tf_ingest_run_t *run, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *note);

/* What is at work now. */
void tf_ingest_progress(tf_ingest_run_t *run, const char *source);

/* The line of the terminal is wanted for something else. */
void tf_ingest_line(tf_ingest_run_t *run);

void tf_ingest_summary(tf_ingest_run_t *run);


#endif /* TF_CLI_INGEST_H */
