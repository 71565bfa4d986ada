#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <trifecta/version.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/cli.h"


#define TF_DOCTOR_CLOCK_MS  1000

static const char  *tf_doctor_words[] = { "ok", "warn", "FAIL" };

static const tf_cli_option_t  tf_doctor_options[] = {
    { "json", 'j', NULL, "print a JSON object instead of lines" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_doctor_usage = {
    "doctor", "",
    "Looks at everything that an answer needs: keys, PostgreSQL, Redis,\n"
    "nginx, versions, rights, migrations, durability and clocks. One line\n"
    "each: ok, warn (works, but a bad day would be worse) or FAIL, with what\n"
    "mends it. Changes nothing.\n",
    tf_doctor_options,
    "  0  nothing fails (there may be warnings)\n"
    "  1  something fails\n"
    "  2  wrong use\n",
    "  trifecta doctor\n"
    "  trifecta doctor --json | jq '.checks[] | select(.level != \"ok\")'\n"
};


void
tf_doctor_add(tf_doctor_t *d, tf_doctor_level_t level, const char *what,
    const char *mend, const char *fmt, ...)
{
    va_list        ap;
    tf_buf_t       text = TF_BUF_INIT;
    tf_finding_t  *list;

    if (level > d->worst) {
        d->worst = level;
    }

    tf_buf_puts(&text, d->where);

    va_start(ap, fmt);
    tf_buf_vprintf(&text, fmt, ap);
    va_end(ap);

    list = realloc(d->list, (d->n + 1) * sizeof(tf_finding_t));

    if (list == NULL || text.failed) {
        (void) fprintf(stderr, "trifecta doctor: out of memory\n");
        d->worst = TF_DOCTOR_FAIL;
        d->list = list ? list : d->list;
        tf_buf_free(&text);
        return;
    }

    d->list = list;
    list[d->n].level = level;
    list[d->n].what = what;
    list[d->n].found = text.data;
    list[d->n].mend = level == TF_DOCTOR_OK ? NULL : mend;
    d->n++;
}


void
tf_doctor_free(tf_doctor_t *d)
{
    size_t  i;

    for (i = 0; i < d->n; i++) {
        free(d->list[i].found);
    }

    free(d->list);
    d->list = NULL;
    d->n = 0;
}


void
tf_doctor_clock(tf_doctor_t *d, const char *what, int64_t ms)
{
    int64_t  diff;

    diff = ms - tf_clock_wall_ms();

    tf_doctor_add(d, llabs(diff) > TF_DOCTOR_CLOCK_MS ? TF_DOCTOR_WARN
                                                      : TF_DOCTOR_OK,
                  what, "set the clocks with NTP (chrony, systemd-timesyncd)",
                  "%+.1f s against this host", (double) diff / 1000);
}


static void
tf_doctor_print(const tf_doctor_t *d)
{
    size_t  i, count[3] = { 0, 0, 0 };

    for (i = 0; i < d->n; i++) {
        count[d->list[i].level]++;

        (void) printf("%-4s  %-24s  %s%s%s\n",
                      tf_doctor_words[d->list[i].level], d->list[i].what,
                      d->list[i].found, d->list[i].mend ? " -> " : "",
                      d->list[i].mend ? d->list[i].mend : "");
    }

    (void) printf("%zu ok, %zu warn, %zu FAIL\n", count[TF_DOCTOR_OK],
                  count[TF_DOCTOR_WARN], count[TF_DOCTOR_FAIL]);
}


static int
tf_doctor_print_json(const tf_doctor_t *d)
{
    int      rc;
    size_t   i;
    json_t  *root, *checks, *found;

    checks = json_array();

    for (i = 0; i < d->n; i++) {

        /* what a server said may be no UTF-8 */

        found = json_string(d->list[i].found);
        if (found == NULL) {
            found = json_string("(not UTF-8)");
        }

        (void) json_array_append_new(checks, json_pack(
                   "{s:s, s:s, s:o, s:s?}",
                   "level", tf_doctor_words[d->list[i].level],
                   "check", d->list[i].what,
                   "found", found, "mend", d->list[i].mend));
    }

    root = json_pack("{s:s, s:b, s:o}", "version", TF_VERSION, "ok",
                     d->worst != TF_DOCTOR_FAIL, "checks", checks);

    rc = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
    (void) putchar('\n');

    json_decref(root);

    return rc;
}


int
tf_cli_doctor(int argc, char **argv)
{
    int          c, json;
    tf_cli_t     cli;
    tf_conf_t    conf;
    tf_doctor_t  d;

    memset(&d, 0, sizeof(tf_doctor_t));
    json = 0;

    tf_cli_begin(&cli, &tf_doctor_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 'j':
            json = 1;
            break;
        }
    }

    if (c < 0 || tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    d.conf = &conf;

    tf_doctor_add(&d, TF_DOCTOR_OK, "program", NULL, "trifecta %s, schemas "
                  "PostgreSQL %d and Redis %d", TF_VERSION, TF_PG_SCHEMA,
                  TF_REDIS_SCHEMA);

    tf_doctor_keys(&d);
    tf_doctor_pg(&d);
    tf_doctor_redis(&d);
    tf_doctor_edge(&d);

    if (!json) {
        tf_doctor_print(&d);

    } else if (tf_doctor_print_json(&d) != 0) {
        d.worst = TF_DOCTOR_FAIL;
    }

    tf_doctor_free(&d);
    tf_conf_free(&conf);

    return d.worst == TF_DOCTOR_FAIL || fflush(stdout) != 0 ? TF_CLI_FAILED
                                                            : TF_CLI_OK;
}
