#include "cli/ingest.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"



void
tf_ingest_skipped(void *ctx, const char *path, const char *why)
{
    char              name[2 * PATH_MAX];
    tf_ingest_run_t  *run = ctx;

    tf_ingest_line(run);
    (void) fprintf(stderr, "skipped %s: %s\n",
                   tf_ingest_name(name, sizeof(name), path), why);
    run->skipped++;
}


/*
 * As it is shown: a name of a file is anything that its author liked, and may
 * neither steer the terminal nor make a line of its own.
 */

const char *
tf_ingest_name(char *name, size_t size, const char *path)
{
    size_t         i;
    unsigned char  c;

    for (i = 0; path[i] && i < size - 1; i++) {
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


void
tf_ingest_tell(tf_ingest_run_t *run, const char *source, tf_ingest_t outcome,
    const tf_ingest_count_t *count, const char *note)
{
    char  name[PATH_MAX];

    (void) tf_ingest_name(name, sizeof(name), source);

    if (note[0]) {
        tf_ingest_line(run);
        (void) fprintf(stderr, "skipped in %s: %s\n", name, note);
        run->skipped++;
    }

    if (outcome == TF_INGEST_OTHER && !run->remove) {
        tf_ingest_line(run);
        (void) fprintf(stderr, "gone %s: its file is not in the folder any "
                       "more; --delete removes it\n", name);
        return;
    }

    if (run->tty || run->quiet) {
        return;
    }

    switch (outcome) {

    case TF_INGEST_NEW:
        (void) fprintf(stderr, "new %s: %zu chunks\n", name, count->written);
        break;

    case TF_INGEST_CHANGED:
        (void) fprintf(stderr, "changed %s: %zu chunks written, %zu kept\n",
                       name, count->written, count->kept);
        break;

    case TF_INGEST_SAME:
        (void) fprintf(stderr, "unchanged %s\n", name);
        break;

    default:
        (void) fprintf(stderr, "removed %s\n", name);
    }
}


void
tf_ingest_bar(char bar[TF_INGEST_BAR + 1], size_t done, size_t total)
{
    size_t  full;

    done = done < total ? done : total;
    full = total ? done * TF_INGEST_BAR / total : 0;
    memset(bar, '#', full);
    memset(bar + full, '.', TF_INGEST_BAR - full);
    bar[TF_INGEST_BAR] = '\0';
}


void
tf_ingest_progress(tf_ingest_run_t *run, const char *source)
{
    char     name[PATH_MAX], bar[TF_INGEST_BAR + 1];
    int64_t  now;

    now = tf_clock_ms();

    if (!run->tty || now - run->told < 50) {
        return;
    }

    run->told = now;

    tf_ingest_bar(bar, run->done, run->total);

    (void) fprintf(stderr, "\r\033[K[%s] %zu of %zu  %zu chunks  %.40s", bar,
                   run->done, run->total, run->chunks.written,
                   tf_ingest_name(name, sizeof(name), source));
    (void) fflush(stderr);
}


void
tf_ingest_line(tf_ingest_run_t *run)
{
    if (run->tty) {
        (void) fputs("\r\033[K", stderr);
    }
}


void
tf_ingest_summary(tf_ingest_run_t *run)
{
    double  seconds;

    seconds = (double) (tf_clock_ms() - run->start) / 1000;

    (void) printf("%zu files: %zu new, %zu changed, %zu unchanged",
                  run->count[TF_INGEST_NEW] + run->count[TF_INGEST_CHANGED]
                  + run->count[TF_INGEST_SAME],
                  run->count[TF_INGEST_NEW], run->count[TF_INGEST_CHANGED],
                  run->count[TF_INGEST_SAME]);

    if (run->remove) {
        (void) printf(", %zu removed", run->removed);

    } else if (run->gone) {
        (void) printf(", %zu gone", run->gone);
    }

    (void) printf("; %zu chunks written, %zu kept; ", run->chunks.written,
                  run->kept + run->chunks.kept);

    if (run->skipped) {
        (void) printf("%zu skipped (see above); ", run->skipped);
    }

    if (run->count[TF_INGEST_OTHER]) {
        (void) printf("%zu of other formats; ", run->count[TF_INGEST_OTHER]);
    }

    (void) printf("%.1f seconds\n", seconds);
}
