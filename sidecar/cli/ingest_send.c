#define _GNU_SOURCE     /* memfd_create() */

#include "cli/ingest_send.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extract/archive.h"
#include "extract/extract.h"


/* Whether a file goes to the job: its first bytes may have to tell. */

static int
tf_ingest_wanted(int fd, const char *source)
{
    char     head[512];
    ssize_t  n;

    if (tf_archive_is(source) || tf_extract_format(source) != NULL) {
        return 1;
    }

    n = pread(fd, head, sizeof(head), 0);

    return n > 0 && tf_extract_sniff(source, head, (size_t) n) != NULL;
}


/*
 * The file is there, so its document stays; of an archive nobody knows which
 * ones these are.
 */

static void
tf_ingest_not_sent(tf_ingest_sending_t *s, const tf_file_t *file,
    const char *why)
{
    if (why != NULL) {
        tf_ingest_skipped(s->run, file->path, why);
    }

    tf_buf_append(&s->present, file->source, strlen(file->source) + 1);

    if (s->remove && tf_archive_is(file->source)) {
        (void) fprintf(stderr, "%s: nothing is removed, because not "
                       "everything in it can be read\n", s->job->path);
        s->remove = 0;
    }
}


/* Nothing of it is stored. */

static int
tf_ingest_too_much(const tf_ingest_sending_t *s, tf_limit_t limit)
{
    char  value[64];

    return tf_cli_error(&s->run->cli, "%s: too much for one job (limit %s); "
                        "%s", s->job->path,
                        tf_limit_print(&s->run->target.limits, limit, value,
                                       sizeof(value)), tf_limit_help(limit));
}


static int
tf_ingest_send_file(tf_ingest_sending_t *s, const tf_file_t *file, int fd,
    int64_t max)
{
    int64_t           bytes;
    tf_pg_status_t    rc;
    tf_ingest_run_t  *run;

    run = s->run;

    if ((int64_t) s->job->files == run->target.limits.v[TF_LIMIT_files]) {
        return tf_ingest_too_much(s, TF_LIMIT_files);
    }

    switch (tf_files_put(&run->pg, &s->of, (int) s->job->files, file->source,
                         fd, max, &bytes, &rc))
    {

    case 0:
        break;

    case 1:
        return tf_cli_error(&run->cli, "%s: it grows", file->path);

    default:
        return tf_cli_error(&run->cli, "%s: %s", file->path, strerror(errno));
    }

    if (rc != TF_PG_OK) {
        return tf_cli_error(&run->cli, "%s", run->pg.err);
    }

    s->job->files++;
    s->bytes += bytes;

    if (s->bytes > run->target.limits.v[TF_LIMIT_total]) {
        return tf_ingest_too_much(s, TF_LIMIT_total);
    }

    return TF_CLI_OK;
}


int
tf_ingest_send_files(tf_ingest_sending_t *s, const tf_files_t *files)
{
    int               fd, rc;
    char              value[64], why[256];
    size_t            i;
    int64_t           max;
    tf_limit_t        limit;
    struct stat       st;
    tf_ingest_run_t  *run;
    const tf_file_t  *file;

    run = s->run;
    run->total = files->n;
    rc = TF_CLI_OK;

    for (i = 0; i < files->n && rc == TF_CLI_OK; i++) {
        file = &files->list[i];
        run->done = i;
        tf_ingest_progress(run, file->source);

        fd = open(file->path, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_NOCTTY);

        if (fd == -1) {
            tf_ingest_not_sent(s, file, strerror(errno));
            continue;
        }

        limit = tf_archive_is(file->source) ? TF_LIMIT_archive
                                            : TF_LIMIT_file;
        max = run->target.limits.v[limit];

        if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
            tf_ingest_not_sent(s, file, "not a regular file");

        } else if (tf_utf8_valid(file->source, strlen(file->source))
                   != strlen(file->source))
        {
            tf_ingest_not_sent(s, file, "its name is not valid UTF-8");

        } else if (!tf_ingest_wanted(fd, file->source)) {
            run->count[TF_INGEST_OTHER]++;
            tf_ingest_not_sent(s, file, NULL);

        } else if (st.st_size > max) {
            (void) snprintf(why, sizeof(why), "it is too large (limit %s); "
                            "%s", tf_limit_print(&run->target.limits, limit,
                                                 value, sizeof(value)),
                            tf_limit_help(limit));
            tf_ingest_not_sent(s, file, why);

        } else {
            rc = tf_ingest_send_file(s, file, fd, max);
        }

        (void) close(fd);
    }

    tf_ingest_line(run);

    return rc;
}


/* Their names, behind the last file. */

int
tf_ingest_send_present(tf_ingest_sending_t *s)
{
    int              fd, put;
    int64_t          bytes;
    tf_pg_status_t   rc;

    fd = memfd_create("present", MFD_CLOEXEC);

    if (s->present.failed || fd == -1
        || write(fd, s->present.data, s->present.len)
           != (ssize_t) s->present.len
        || lseek(fd, 0, SEEK_SET) == -1)
    {
        if (fd != -1) {
            (void) close(fd);
        }

        return tf_cli_error(&s->run->cli, "out of memory");
    }

    put = tf_files_put(&s->run->pg, &s->of, (int) s->job->files, "", fd,
                       (int64_t) s->present.len, &bytes, &rc);
    (void) close(fd);

    if (put != 0) {
        return tf_cli_error(&s->run->cli, "out of memory");
    }

    return rc == TF_PG_OK ? TF_CLI_OK
                          : tf_cli_error(&s->run->cli, "%s", s->run->pg.err);
}
