#include "cli/cli.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "rag/array.h"
#include "extract/extract.h"
#include "rag/folder.h"
#include "rag/ingest.h"


#define TF_INGEST_OWNER  "cli:operator"

typedef struct {
    tf_cli_t          cli;
    tf_conf_t         conf;
    tf_pg_t           pg;
    tf_rag_target_t   target;
    const char       *collection;   /* of --collection, or NULL */
    int               prune;
    int               tty;

    size_t            total;        /* files of all paths so far */
    size_t            done;
    size_t            count[TF_INGEST_FAILED + 1];
    size_t            others;       /* files of no known format */
    size_t            skipped;      /* links, and what could not be read */
    size_t            pruned;
    size_t            chunks;       /* of documents that are new or changed */
    size_t            kept;         /* of those that are the same */
    int64_t           start;
    int64_t           told;
} tf_ingest_run_t;


enum {
    OPT_TENANT = 1, OPT_OWNER, OPT_VISIBILITY, OPT_GROUPS, OPT_COLLECTION,
    OPT_PRUNE, OPT_AGAIN
};

static const tf_cli_option_t  tf_ingest_options[] = {
    { "tenant", OPT_TENANT, "T", "whose documents they are (configuration: "
      "tenant)" },
    { "owner", OPT_OWNER, "O", "who may replace and remove them "
      "(" TF_INGEST_OWNER ")" },
    { "visibility", OPT_VISIBILITY, "V", "who may see them: tenant, groups or "
      "private (tenant)" },
    { "groups", OPT_GROUPS, "A,B", "the groups of --visibility groups" },
    { "collection", OPT_COLLECTION, "C", "the collection (the folder's name)" },
    { "prune", OPT_PRUNE, NULL, "remove the owner's documents of --collection "
      "that are not in the folder" },
    { "again", OPT_AGAIN, NULL, "read unchanged files again, too" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_ingest_usage = {
    "ingest",
    "PATH...",
    "Reads documents (.txt, .md, .xml) into the store: files, and folders\n"
    "with all that is in them but hidden files.  Unchanged documents are\n"
    "skipped, changed ones replaced, each in one transaction; what cannot be\n"
    "read is named and skipped.  A document is known by its path in the\n"
    "folder, its collection and its owner: folders of the same name that hold\n"
    "different things need --collection.\n",
    tf_ingest_options,
    NULL,
    "  trifecta ingest docs/\n"
    "  trifecta ingest --prune --collection handbook /srv/handbook\n"
    "  trifecta ingest --owner main:alice --visibility private notes.md\n"
};


static int tf_ingest_options_read(tf_ingest_run_t *run, int argc,
    char **argv);
static int tf_ingest_path(tf_ingest_run_t *run, const char *path);
static int tf_ingest_files(tf_ingest_run_t *run, const tf_files_t *files);
static int tf_ingest_prune(tf_ingest_run_t *run, const tf_files_t *files,
    const char *path);
static const char *tf_ingest_collection(const char *path, int folder,
    char *name, size_t len);
static void tf_ingest_skipped(void *ctx, const char *path, const char *why);
static const char *tf_ingest_name(char *name, const char *path);
static void tf_ingest_progress(tf_ingest_run_t *run, const char *source);
static void tf_ingest_line(tf_ingest_run_t *run);
static void tf_ingest_summary(tf_ingest_run_t *run);


int
tf_cli_ingest(int argc, char **argv)
{
    int               i, rc;
    tf_ingest_run_t  *run;

    run = calloc(1, sizeof(tf_ingest_run_t));
    if (run == NULL) {
        return TF_CLI_FAILED;
    }

    if (tf_ingest_options_read(run, argc, argv) != 0) {
        rc = run->cli.status;
        free(run);
        return rc;
    }

    run->tty = isatty(STDERR_FILENO);
    run->start = tf_clock_ms();
    run->told = run->start;

    tf_pg_init(&run->pg, &run->conf, TF_PG_RAG);

    rc = TF_CLI_OK;

    for (i = 0; i < run->cli.argc && rc == TF_CLI_OK; i++) {
        rc = tf_ingest_path(run, run->cli.argv[i]);
    }

    tf_ingest_line(run);
    tf_ingest_summary(run);

    if (rc == TF_CLI_OK && run->count[TF_INGEST_NEW] == 0
        && run->count[TF_INGEST_CHANGED] == 0
        && run->count[TF_INGEST_SAME] == 0 && run->pruned == 0)
    {
        rc = tf_cli_error(&run->cli, "no document was read");
    }

    tf_pg_close(&run->pg);
    tf_conf_free(&run->conf);
    free(run);

    return rc;
}


static int
tf_ingest_options_read(tf_ingest_run_t *run, int argc, char **argv)
{
    int  c;

    tf_cli_begin(&run->cli, &tf_ingest_usage, argc, argv);

    run->target.owner = TF_INGEST_OWNER;
    run->target.visibility = "tenant";

    while ((c = tf_cli_next(&run->cli)) > 0) {
        switch (c) {

        case OPT_TENANT:
            run->target.tenant = run->cli.value;
            break;

        case OPT_OWNER:
            run->target.owner = run->cli.value;
            break;

        case OPT_VISIBILITY:
            run->target.visibility = run->cli.value;
            break;

        case OPT_GROUPS:
            run->target.groups = run->cli.value;
            break;

        case OPT_COLLECTION:
            run->collection = run->cli.value;
            break;

        case OPT_PRUNE:
            run->prune = 1;
            break;

        case OPT_AGAIN:
            run->target.again = 1;
            break;
        }
    }

    if (c < 0) {
        return -1;
    }

    if (run->cli.argc == 0) {
        run->cli.status = tf_cli_misuse(&run->cli, "which PATH?");
        return -1;
    }

    if (run->prune && (run->cli.argc > 1 || run->collection == NULL)) {
        run->cli.status = tf_cli_misuse(&run->cli, "--prune takes one folder "
                                        "and its --collection (whose other "
                                        "documents go)");
        return -1;
    }

    if (strcmp(run->target.visibility, "tenant") != 0
        && strcmp(run->target.visibility, "groups") != 0
        && strcmp(run->target.visibility, "private") != 0)
    {
        run->cli.status = tf_cli_misuse(&run->cli, "--visibility is tenant, "
                                        "groups or private");
        return -1;
    }

    if ((strcmp(run->target.visibility, "groups") == 0)
        != (run->target.groups != NULL && run->target.groups[0]))
    {
        run->cli.status = tf_cli_misuse(&run->cli, "--visibility groups and "
                                        "--groups belong together");
        return -1;
    }

    if ((run->target.tenant != NULL && run->target.tenant[0] == '\0')
        || run->target.owner[0] == '\0'
        || (run->collection != NULL && run->collection[0] == '\0'))
    {
        run->cli.status = tf_cli_misuse(&run->cli, "an empty name");
        return -1;
    }

    if (tf_cli_conf(&run->cli, &run->conf) != 0) {
        return -1;
    }

    if (run->target.tenant == NULL) {
        run->target.tenant = run->conf.tenant;
    }

    run->target.language = run->conf.language;
    run->target.lazy = 1;
    tf_limits_default(&run->target.limits);

    return 0;
}


static int
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

    rc = TF_CLI_OK;

    if (files.n || run->prune) {
        if (tf_rag_target_open(&run->pg, &run->target) != TF_PG_OK) {
            rc = tf_cli_error(&run->cli, "%s", run->pg.err);

        } else {
            rc = tf_ingest_files(run, &files);
        }
    }

    if (rc == TF_CLI_OK && run->prune && folder) {
        rc = tf_ingest_prune(run, &files, path);
    }

    if (rc == TF_CLI_OK && run->target.collection_id
        && tf_rag_target_flush(&run->pg, &run->target) != TF_PG_OK)
    {
        rc = tf_cli_error(&run->cli, "%s", run->pg.err);
    }

    tf_files_free(&files);

    return rc;
}


/* A folder's documents are a collection of its name, a file's of its folder. */

static const char *
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
    char         err[512], name[PATH_MAX];
    size_t       i, chunks;
    tf_file_t   *file;
    tf_ingest_t  outcome;

    run->total += files->n;

    for (i = 0; i < files->n; i++) {
        file = &files->list[i];
        run->done++;

        tf_ingest_progress(run, file->source);

        outcome = tf_rag_ingest_file(&run->pg, &run->target, file->path,
                                     file->source, &chunks, err, sizeof(err));
        run->count[outcome]++;

        switch (outcome) {

        case TF_INGEST_OTHER:
            run->others++;

            if (files->n > 1) {
                break;
            }

            /* fall through */

        case TF_INGEST_REFUSED:
            tf_ingest_line(run);
            (void) fprintf(stderr, "skipped %s: %s\n",
                           tf_ingest_name(name, file->path), err);
            break;

        case TF_INGEST_FAILED:
            tf_ingest_line(run);
            return tf_cli_error(&run->cli, "%s: %s",
                                tf_ingest_name(name, file->path), err);

        case TF_INGEST_SAME:
            run->kept += chunks;
            break;

        default:
            run->chunks += chunks;
            break;
        }
    }

    return TF_CLI_OK;
}


/* What could not be listed may be there still: then nothing is removed. */

static int
tf_ingest_prune(tf_ingest_run_t *run, const tf_files_t *files,
    const char *path)
{
    size_t           i, n;
    tf_buf_t         sources = TF_BUF_INIT;
    tf_pg_status_t   rc;

    if (files->errors || files->n == 0) {
        tf_ingest_line(run);
        (void) fprintf(stderr, "%s: nothing is pruned, because %s\n", path,
                       files->errors ? "not everything in it can be read"
                                     : "it has no files");
        return TF_CLI_OK;
    }

    for (i = 0; i < files->n; i++) {
        if (tf_utf8_valid(files->list[i].source,
                          strlen(files->list[i].source))
            == strlen(files->list[i].source))
        {
            tf_array_text(&sources, files->list[i].source,
                          strlen(files->list[i].source));
        }
    }

    tf_array_close(&sources);

    if (sources.failed) {
        tf_buf_free(&sources);
        return tf_cli_error(&run->cli, "out of memory");
    }

    rc = tf_rag_prune(&run->pg, &run->target, sources.data, &n);
    tf_buf_free(&sources);

    run->pruned += n;

    return rc == TF_PG_OK ? TF_CLI_OK
                          : tf_cli_error(&run->cli, "%s", run->pg.err);
}


static void
tf_ingest_skipped(void *ctx, const char *path, const char *why)
{
    tf_ingest_run_t  *run = ctx;

    char  name[PATH_MAX];

    tf_ingest_line(run);
    (void) fprintf(stderr, "skipped %s: %s\n", tf_ingest_name(name, path),
                   why);
    run->skipped++;
}


/*
 * As it is shown: a name of a file is anything that its author liked, and may
 * neither steer the terminal nor make a line of its own.
 */

static const char *
tf_ingest_name(char *name, const char *path)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; path[i] && i < PATH_MAX - 1; i++) {
        c = (unsigned char) path[i];
        name[i] = path[i];

        if (c < 0x20 || c == 0x7f) {
            name[i] = '?';

        } else if (i && c >= 0x80 && c <= 0x9f && path[i - 1] == '\xc2') {
            name[i - 1] = '?';      /* C1 control characters */
            name[i] = '?';
        }
    }

    name[i] = '\0';

    return name;
}


/* One line that changes on a terminal; else a line every two seconds. */

static void
tf_ingest_progress(tf_ingest_run_t *run, const char *source)
{
    char     name[PATH_MAX];
    int64_t  now;

    now = tf_clock_ms();

    if (now - run->told < (run->tty ? 50 : 2000)) {
        return;
    }

    run->told = now;

    if (run->tty) {
        (void) fprintf(stderr, "\r\033[K%zu of %zu  %zu chunks  %.50s",
                       run->done, run->total, run->chunks,
                       tf_ingest_name(name, source));
        (void) fflush(stderr);

    } else {
        (void) fprintf(stderr, "%zu of %zu files, %zu chunks\n", run->done,
                       run->total, run->chunks);
    }
}


static void
tf_ingest_line(tf_ingest_run_t *run)
{
    if (run->tty) {
        (void) fputs("\r\033[K", stderr);
    }
}


static void
tf_ingest_summary(tf_ingest_run_t *run)
{
    double  seconds;
    size_t  refused;

    seconds = (double) (tf_clock_ms() - run->start) / 1000;
    refused = run->count[TF_INGEST_REFUSED] + run->skipped;

    (void) printf("%zu files: %zu new, %zu changed, %zu unchanged",
                  run->count[TF_INGEST_NEW] + run->count[TF_INGEST_CHANGED]
                  + run->count[TF_INGEST_SAME],
                  run->count[TF_INGEST_NEW], run->count[TF_INGEST_CHANGED],
                  run->count[TF_INGEST_SAME]);

    if (run->prune) {
        (void) printf(", %zu removed", run->pruned);
    }

    (void) printf("; %zu chunks written, %zu kept; ", run->chunks, run->kept);

    if (refused) {
        (void) printf("%zu skipped (see above); ", refused);
    }

    if (run->others) {
        (void) printf("%zu of other formats; ", run->others);
    }

    (void) printf("%.1f seconds\n", seconds);
}
