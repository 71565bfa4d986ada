#include "cli/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "extract/extract.h"
#include "jobs/embed.h"
#include "rag/meta.h"


#define TF_INGEST_OWNER  "cli:operator"

enum {
    OPT_TENANT = 1, OPT_OWNER, OPT_VISIBILITY, OPT_GROUPS, OPT_COLLECTION,
    OPT_LANGUAGE, OPT_DELETE, OPT_AGAIN, OPT_META, OPT_QUEUE, OPT_NO_WAIT,
    OPT_LIMIT, OPT_TEXT, OPT_QUIET, OPT_CONNECTIONS
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
    { "language", OPT_LANGUAGE, "L", "text search configuration of a new "
      "collection, such as german (configuration: language)" },
    { "delete", OPT_DELETE, NULL, "remove the owner's documents of "
      "--collection that are not in the folder" },
    { "prune", OPT_DELETE, NULL, "the same as --delete" },
    { "again", OPT_AGAIN, NULL, "read unchanged files again, too" },
    { "meta", OPT_META, "PAIR", "NAME=VALUE: what the documents are said to "
      "be, for filters; any number of times" },
    { "queue", OPT_QUEUE, NULL, "make a job of each PATH, which a sidecar "
      "does, and wait for it" },
    { "no-wait", OPT_NO_WAIT, NULL, "with --queue: print the ids of the jobs "
      "and leave" },
    { "limit", OPT_LIMIT, "LIMITS", "change limits, such as "
      "pages=5000,text=32m (configuration: ingest_limits)" },
    { "connections", OPT_CONNECTIONS, "N", "to PostgreSQL that write at the "
      "same time, 1 to 16 (2)" },
    { "text", OPT_TEXT, NULL, "print the text that a file is made into, and "
      "store nothing" },
    { "quiet", OPT_QUIET, NULL, "only what is skipped, and the summary" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_ingest_usage = {
    "ingest",
    "PATH...",
    "Reads documents (txt, md, html, xml, csv, tsv, json, jsonl, docx, odt,\n"
    "pptx, xlsx, pdf, eml) into the store: files, folders and archives (zip,\n"
    "tar, tar.gz) with all that is in them but hidden files.  Unchanged\n"
    "documents are skipped; of changed ones only the passages that changed\n"
    "are replaced.  Whenever it is interrupted, each document is there as a\n"
    "whole, old or new, and running it again reads the rest.  What cannot be\n"
    "read is named and skipped.  A document is known by its path in the\n"
    "folder, its collection and its owner: folders of the same name that hold\n"
    "different things need --collection.\n",
    tf_ingest_options,
    "  0  everything was read\n"
    "  1  nothing was read, or a store failed\n"
    "  2  wrong use\n"
    "  4  done, but something was skipped: it is named on standard error\n",
    "  trifecta ingest docs/\n"
    "  trifecta ingest --delete --collection handbook /srv/handbook\n"
    "  trifecta ingest --queue --meta team=search reports/ mails.zip\n"
    "  trifecta ingest --owner main:alice --visibility private notes.md\n"
};


static int tf_ingest_options_read(tf_ingest_run_t *run, int argc,
    char **argv);
static unsigned tf_ingest_number(const char *s);
static int tf_ingest_options_check(tf_ingest_run_t *run);
static int tf_ingest_text(tf_ingest_run_t *run);


static void
tf_ingest_run_free(tf_ingest_run_t *run)
{
    tf_buf_free(&run->given);
    tf_buf_free(&run->limits);
    free(run);
}


/* A path, and jobs that embed what is new of it. */

static int
tf_ingest_embedded(tf_ingest_run_t *run, const char *path)
{
    int            rc;
    char           err[512];
    unsigned long  before;

    before = run->count[TF_INGEST_NEW] + run->count[TF_INGEST_CHANGED];

    rc = tf_ingest_path(run, path);

    if (run->count[TF_INGEST_NEW] + run->count[TF_INGEST_CHANGED] > before
        && tf_embed_after(&run->pg, run->target.tenant, run->target.owner,
                          run->target.collection_id, err, sizeof(err))
           < 0)
    {
        tf_ingest_line(run);
        (void) fprintf(stderr, "no job embeds what is new (%s): \"trifecta "
                       "embed run SET\" submits one\n", err);
    }

    return rc;
}


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
        tf_ingest_run_free(run);
        return rc;
    }

    if (run->text) {
        rc = tf_ingest_text(run);
        tf_conf_free(&run->conf);
        tf_ingest_run_free(run);
        return rc;
    }

    run->tty = isatty(STDERR_FILENO) && !run->quiet;
    run->start = tf_clock_ms();
    run->told = 0;

    tf_pg_init(&run->pg, &run->conf, TF_PG_RAG);

    if (run->queue) {
        rc = tf_ingest_queue(run);
        goto done;
    }

    rc = TF_CLI_OK;

    for (i = 0; i < run->cli.argc && rc == TF_CLI_OK; i++) {
        rc = tf_ingest_embedded(run, run->cli.argv[i]);
    }

    tf_ingest_line(run);
    tf_ingest_summary(run);

    if (rc == TF_CLI_OK && run->count[TF_INGEST_NEW] == 0
        && run->count[TF_INGEST_CHANGED] == 0
        && run->count[TF_INGEST_SAME] == 0 && run->removed == 0)
    {
        rc = tf_cli_error(&run->cli, "no document was read");
    }

    if (rc == TF_CLI_OK && run->skipped) {
        rc = TF_CLI_SKIPPED;
    }

done:

    tf_pg_close(&run->pg);
    tf_conf_free(&run->conf);
    tf_ingest_run_free(run);

    return rc;
}


static int
tf_ingest_options_read(tf_ingest_run_t *run, int argc, char **argv)
{
    int       c, rc;
    char      err[256];

    tf_cli_begin(&run->cli, &tf_ingest_usage, argc, argv);

    run->target.owner = TF_INGEST_OWNER;
    run->target.visibility = "tenant";
    run->target.connections = 2;

    c = 0;

    while (c >= 0 && (c = tf_cli_next(&run->cli)) > 0) {
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

        case OPT_LANGUAGE:
            run->language = run->cli.value;
            break;

        case OPT_DELETE:
            run->remove = 1;
            break;

        case OPT_META:
            if (tf_rag_meta_given(&run->given, run->nmeta++, run->cli.value,
                                  err, sizeof(err))
                != 0)
            {
                run->cli.status = tf_cli_misuse(&run->cli, "--meta: %s", err);
                c = -1;
            }

            break;

        case OPT_QUEUE:
            run->queue = 1;
            break;

        case OPT_NO_WAIT:
            run->detach = 1;
            break;

        case OPT_LIMIT:
            tf_buf_puts(&run->limits, run->cli.value);
            tf_buf_puts(&run->limits, " ");
            break;

        case OPT_CONNECTIONS:
            run->target.connections = tf_ingest_number(run->cli.value);
            break;

        case OPT_TEXT:
            run->text = 1;
            break;

        case OPT_QUIET:
            run->quiet = 1;
            break;

        case OPT_AGAIN:
            run->target.again = 1;
            break;
        }
    }

    rc = c < 0 || tf_ingest_options_check(run) != 0
         || tf_cli_conf(&run->cli, &run->conf) != 0 ? -1 : 0;

    if (rc == 0) {
        tf_limits_default(&run->target.limits);

        if (tf_limits_parse(&run->target.limits, run->conf.ingest_limits, err,
                            sizeof(err)) != 0
            || tf_limits_parse(&run->target.limits,
                               run->limits.len ? run->limits.data : "",
                               err, sizeof(err)) != 0)
        {
            run->cli.status = tf_cli_misuse(&run->cli, "%s", err);
            tf_conf_free(&run->conf);
            rc = -1;
        }
    }

    if (run->target.tenant == NULL) {
        run->target.tenant = run->conf.tenant;
    }

    run->target.given = run->given.data;
    run->target.language = run->language != NULL ? run->language
                                                 : run->conf.language;
    run->target.lazy = 1;

    return rc;
}


/* 1 to 16, or 0 if it is anything else. */

static unsigned
tf_ingest_number(const char *s)
{
    char  *end;
    long   n;

    n = strtol(s, &end, 10);

    return *s >= '0' && *s <= '9' && *end == '\0' && n >= 1 && n <= 16
           ? (unsigned) n : 0;
}


static int
tf_ingest_options_check(tf_ingest_run_t *run)
{
    const char  *wrong;

    wrong = NULL;

    if (run->cli.argc == 0) {
        wrong = "which PATH?";

    } else if (run->detach && !run->queue) {
        wrong = "--no-wait belongs to --queue";

    } else if (run->queue && run->text) {
        wrong = "--queue does not go with --text";

    } else if (run->queue && run->language != NULL) {
        wrong = "--language does not go with --queue: the collection is made "
                "in the language of the sidecar";

    } else if (run->text && run->cli.argc > 1) {
        wrong = "--text takes one file";

    } else if (run->target.connections == 0) {
        wrong = "--connections is 1 to 16";

    } else if (run->remove
               && (run->cli.argc > 1 || run->collection == NULL))
    {
        wrong = "--delete takes one folder and its --collection (whose other "
                "documents go)";

    } else if (strcmp(run->target.visibility, "tenant") != 0
               && strcmp(run->target.visibility, "groups") != 0
               && strcmp(run->target.visibility, "private") != 0)
    {
        wrong = "--visibility is tenant, groups or private";

    } else if ((strcmp(run->target.visibility, "groups") == 0)
               != (run->target.groups != NULL && run->target.groups[0]))
    {
        wrong = "--visibility groups and --groups belong together";

    } else if ((run->target.tenant != NULL && run->target.tenant[0] == '\0')
               || run->target.owner[0] == '\0'
               || (run->collection != NULL && run->collection[0] == '\0'))
    {
        wrong = "an empty name";
    }

    if (wrong != NULL) {
        run->cli.status = tf_cli_misuse(&run->cli, "%s", wrong);
        return -1;
    }

    return 0;
}


/* What a citation's offsets count in. */

static int
tf_ingest_text(tf_ingest_run_t *run)
{
    char         err[512], *data;
    size_t       len;
    tf_text_t    text;
    const char  *path;

    path = run->cli.argv[0];

    data = tf_read_file(path, (size_t) run->target.limits.v[TF_LIMIT_file],
                        &len);
    if (data == NULL) {
        return tf_cli_error(&run->cli, "%s: cannot be read, or is larger than "
                            "limit file allows", path);
    }

    if (tf_extract(&run->target.limits, path, data, len, &text, err,
                   sizeof(err)) != 0)
    {
        free(data);
        return tf_cli_error(&run->cli, "%s: %s", path, err);
    }

    (void) fwrite(text.data, 1, text.len, stdout);

    if (text.note != NULL) {
        (void) fprintf(stderr, "%s\n", text.note);
    }

    tf_text_free(&text);
    free(data);

    return TF_CLI_OK;
}
