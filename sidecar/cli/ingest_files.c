#include "cli/ingest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extract/archive.h"
#include "extract/extract.h"
#include "rag/array.h"


static int tf_ingest_files(tf_ingest_run_t *run, const tf_files_t *files);
static int tf_ingest_file(tf_ingest_run_t *run, const tf_file_t *file);
static int tf_ingest_archive(tf_ingest_run_t *run, const tf_file_t *file);
static int tf_ingest_member(void *ctx, const char *path, const char *data,
    size_t len);
static void tf_ingest_member_skipped(void *ctx, const char *path,
    const char *why);
static void tf_ingest_outcome(void *ctx, const char *path,
    const char *source, tf_ingest_t outcome, const tf_ingest_count_t *count,
    const char *err);
static int tf_ingest_vanished(tf_ingest_run_t *run, const tf_files_t *files,
    const char *path);
static void tf_ingest_gone(void *ctx, const char *source);
static void tf_ingest_source(tf_ingest_run_t *run, const char *source);


int
tf_ingest_path(tf_ingest_run_t *run, const char *path)
{
    int          rc, folder;
    char         name[256];
    tf_files_t   files;
    struct stat  st;

    if (stat(path, &st) == -1) {
        tf_ingest_skipped(run, path, "no such file or folder");
        return TF_CLI_OK;
    }

    memset(&files, 0, sizeof(tf_files_t));
    folder = S_ISDIR(st.st_mode);

    if (folder) {
        tf_folder_walk(&files, path, tf_ingest_skipped, run);

    } else {
        tf_folder_file(&files, path);
    }

    if (files.failed) {
        tf_files_free(&files);
        return tf_cli_error(&run->cli, "out of memory");
    }

    run->target.collection_id = 0;
    run->target.collection = run->collection;
    if (run->collection == NULL) {
        run->target.collection = tf_ingest_collection(path, folder, name,
                                                      sizeof(name));
    }

    tf_buf_reset(&run->sources);
    run->nsources = 0;
    run->partial = (files.errors > 0);

    rc = TF_CLI_OK;

    if (files.n || run->remove) {
        if (tf_rag_target_open(&run->pg, &run->target) != TF_PG_OK) {
            rc = tf_cli_error(&run->cli, "%s", run->pg.err);

        } else if (run->language != NULL
                   && strcmp(run->language, run->target.config) != 0)
        {
            rc = tf_cli_error(&run->cli, "the collection \"%s\" is %s and "
                              "stays so: leave --language out, or choose "
                              "another --collection",
                              run->target.collection, run->target.config);

        } else {
            rc = tf_ingest_files(run, &files);
        }
    }

    if (rc == TF_CLI_OK && folder && run->cli.argc == 1
        && run->target.collection_id)
    {
        rc = tf_ingest_vanished(run, &files, path);
    }

    if (rc == TF_CLI_OK && run->target.collection_id
        && tf_rag_target_flush(&run->pg, &run->target) != TF_PG_OK)
    {
        rc = tf_cli_error(&run->cli, "%s", run->pg.err);
    }

    tf_files_free(&files);
    tf_buf_free(&run->sources);

    return rc;
}


/* A folder's documents are a collection of its name, a file's of its folder. */

const char *
tf_ingest_collection(const char *path, int folder, char *name, size_t len)
{
    char   full[PATH_MAX];
    char  *slash;

    if (realpath(path, full) == NULL) {
        return "default";
    }

    slash = strrchr(full, '/');

    if (!folder && slash != NULL) {
        *slash = '\0';
        slash = strrchr(full, '/');
    }

    if (slash == NULL || slash[1] == '\0'
        || tf_utf8_valid(slash, strlen(slash)) != strlen(slash))
    {
        return "default";
    }

    (void) snprintf(name, len, "%s", slash + 1);

    return name;
}


static int
tf_ingest_files(tf_ingest_run_t *run, const tf_files_t *files)
{
    int               rc;
    size_t            i;
    const tf_file_t  *file;

    run->total += files->n;
    run->alone = files->n == 1;

    run->group = tf_rag_group_create(&run->pg, &run->target,
                                     tf_ingest_outcome, run);
    if (run->group == NULL) {
        return tf_cli_error(&run->cli, "out of memory");
    }

    for (i = 0, rc = TF_CLI_OK; i < files->n && rc == TF_CLI_OK; i++) {
        file = &files->list[i];

        rc = tf_archive_is(file->source)
             ? tf_ingest_archive(run, file)
             : tf_ingest_file(run, file);

        run->done++;
    }

    if (rc == TF_CLI_OK && tf_rag_group_flush(run->group) != 0) {
        rc = TF_CLI_FAILED;
    }

    tf_rag_group_free(run->group);
    run->group = NULL;

    return rc;
}


static int
tf_ingest_file(tf_ingest_run_t *run, const tf_file_t *file)
{
    tf_ingest_source(run, file->source);
    tf_ingest_progress(run, file->source);

    return tf_rag_group_add_file(run->group, file->path, file->source) == 0
           ? TF_CLI_OK : TF_CLI_FAILED;
}


static int
tf_ingest_archive(tf_ingest_run_t *run, const tf_file_t *file)
{
    int                    fd, rc;
    char                   err[512];
    size_t                 failed;
    struct stat            st;
    tf_archive_handlers_t  handlers;

    fd = open(file->path, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_NOCTTY);

    if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        (void) snprintf(err, sizeof(err), "%s", fd == -1
                        ? strerror(errno) : "not a regular file");
        if (fd != -1) {
            (void) close(fd);
        }

        run->partial = 1;
        tf_ingest_skipped(run, file->path, err);
        return TF_CLI_OK;
    }

    handlers.member = tf_ingest_member;
    handlers.skipped = tf_ingest_member_skipped;
    handlers.ctx = run;

    run->archive = file;
    failed = run->count[TF_INGEST_FAILED];

    rc = tf_archive_read(&run->target.limits, file->path, fd, st.st_size,
                         &handlers, err, sizeof(err));
    (void) close(fd);

    run->archive = NULL;

    if (run->count[TF_INGEST_FAILED] > failed) {
        return TF_CLI_FAILED;
    }

    if (rc != 0) {
        run->partial = 1;
        tf_ingest_skipped(run, file->path, err);
    }

    return TF_CLI_OK;
}


static int
tf_ingest_member(void *ctx, const char *path, const char *data, size_t len)
{
    char              name[PATH_MAX], source[PATH_MAX];
    tf_ingest_run_t  *run = ctx;

    if (snprintf(source, sizeof(source), "%s/%s", run->archive->source, path)
        >= (int) sizeof(source)
        || snprintf(name, sizeof(name), "%s/%s", run->archive->path, path)
           >= (int) sizeof(name))
    {
        run->partial = 1;
        tf_ingest_member_skipped(run, path, "its path is too long");
        return 0;
    }

    tf_ingest_source(run, source);

    if (data == NULL
        || (tf_extract_format(path) == NULL
            && tf_extract_sniff(path, data, len) == NULL))
    {
        run->count[TF_INGEST_OTHER]++;
        return 0;
    }

    tf_ingest_progress(run, source);

    return tf_rag_group_add(run->group, name, source, data, len);
}


static void
tf_ingest_member_skipped(void *ctx, const char *path, const char *why)
{
    char              name[2 * PATH_MAX];
    tf_ingest_run_t  *run = ctx;

    /* it is there, and its document stays */

    (void) snprintf(name, sizeof(name), "%s/%s", run->archive->source, path);
    tf_ingest_source(run, name);

    (void) snprintf(name, sizeof(name), "%s/%s", run->archive->path, path);
    tf_ingest_skipped(run, name, why);
}


static void
tf_ingest_outcome(void *ctx, const char *path, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *err)
{
    tf_ingest_run_t  *run = ctx;

    if (outcome == TF_INGEST_OTHER && run->alone) {
        outcome = TF_INGEST_REFUSED;
    }

    run->count[outcome]++;

    switch (outcome) {

    case TF_INGEST_OTHER:
        break;

    case TF_INGEST_REFUSED:
        tf_ingest_skipped(run, path, err);
        break;

    case TF_INGEST_FAILED:
        tf_ingest_line(run);
        (void) tf_cli_error(&run->cli, "%s: %s", source, err);
        break;

    case TF_INGEST_SAME:
        run->kept += count->kept;
        tf_ingest_tell(run, source, outcome, count, "");
        break;

    default:
        run->chunks.written += count->written;
        run->chunks.kept += count->kept;
        tf_ingest_tell(run, source, outcome, count, err);
        break;
    }
}


static void
tf_ingest_source(tf_ingest_run_t *run, const char *source)
{
    if (tf_utf8_valid(source, strlen(source)) == strlen(source)) {
        tf_array_text(&run->sources, source, strlen(source));
    }

    run->nsources++;
}


/*
 * Documents whose file is not there any more.  What could not be listed may
 * be there still: then nothing is said, and nothing is removed.
 */

static int
tf_ingest_vanished(tf_ingest_run_t *run, const tf_files_t *files,
    const char *path)
{
    tf_pg_status_t  rc;

    if (run->partial || files->n == 0) {
        if (run->remove) {
            tf_ingest_line(run);
            (void) fprintf(stderr, "%s: nothing is removed, because %s\n",
                           path, run->partial
                           ? "not everything in it can be read"
                           : "it has no files");
        }

        return TF_CLI_OK;
    }

    tf_array_close(&run->sources);

    if (run->sources.failed) {
        return tf_cli_error(&run->cli, "out of memory");
    }

    rc = tf_rag_prune(&run->pg, &run->target, run->sources.data, run->remove,
                      NULL, tf_ingest_gone, run);

    return rc == TF_PG_OK ? TF_CLI_OK
                          : tf_cli_error(&run->cli, "%s", run->pg.err);
}


static void
tf_ingest_gone(void *ctx, const char *source)
{
    tf_ingest_run_t  *run = ctx;

    static const tf_ingest_count_t  none;

    if (run->remove) {
        run->removed++;

    } else {
        run->gone++;
    }

    if (run->gone <= TF_INGEST_GONE) {
        tf_ingest_tell(run, source, TF_INGEST_OTHER, &none, "");
    }
}
