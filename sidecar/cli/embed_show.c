#include "cli/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"


#define TF_EMBED_LOOK_US   500000
#define TF_EMBED_STUCK_MS  120000   /* without any progress */

static const char  tf_cli_embed_sql[] =
    "SELECT s.id, s.status, s.model, s.dimensions, coalesce(c.name, ''), "
        "trifecta.embedding_count(s.id), "
        "(SELECT coalesce(sum(n), 0) FROM trifecta.embedding_missing(s.id)), "
        "s.tokens, s.indexed "
    "FROM trifecta.embedding_set s "
        "LEFT JOIN trifecta.collection c ON c.id = s.collection "
    "WHERE $1::integer = 0 OR s.id = $1::integer ORDER BY s.id";


static PGresult *
tf_cli_embed_rows(tf_cli_embed_t *e, int set)
{
    char         number[16];
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(number, sizeof(number), "%d", set);
    params[0] = number;

    if (tf_cli_embed_begin(e) != 0) {
        return NULL;
    }

    res = tf_cli_embed_query(e, tf_cli_embed_sql, 1, params);

    if (res != NULL) {
        tf_pg_rollback(&e->pg);
    }

    return res;
}


static int
tf_cli_embed_print(PGresult *res)
{
    int  i;

    if (PQntuples(res) == 0) {
        (void) printf("no sets: questions find passages by their words. "
                      "\"trifecta embed create\" makes one\n");
    }

    for (i = 0; i < PQntuples(res); i++) {
        (void) printf("%s  %-8s  %s, %s numbers, %s%s  %s passages, %s "
                      "missing, %s tokens%s\n", PQgetvalue(res, i, 0),
                      PQgetvalue(res, i, 1), PQgetvalue(res, i, 2),
                      PQgetvalue(res, i, 3),
                      PQgetvalue(res, i, 4)[0] ? "collection "
                                               : "all collections",
                      PQgetvalue(res, i, 4), PQgetvalue(res, i, 5),
                      PQgetvalue(res, i, 6), PQgetvalue(res, i, 7),
                      PQgetvalue(res, i, 8)[0] == 't' ? ", indexed" : "");
    }

    return fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
}


static int
tf_cli_embed_json(PGresult *res)
{
    int      i, rc;
    json_t  *list;

    list = json_array();

    for (i = 0; i < PQntuples(res); i++) {
        (void) json_array_append_new(list, json_pack(
            "{s:I, s:s, s:s, s:I, s:s?, s:I, s:I, s:I, s:b}",
            "set", (json_int_t) atoll(PQgetvalue(res, i, 0)),
            "status", PQgetvalue(res, i, 1), "model", PQgetvalue(res, i, 2),
            "dimensions", (json_int_t) atoll(PQgetvalue(res, i, 3)),
            "collection", PQgetvalue(res, i, 4)[0] ? PQgetvalue(res, i, 4)
                                                   : NULL,
            "passages", (json_int_t) atoll(PQgetvalue(res, i, 5)),
            "missing", (json_int_t) atoll(PQgetvalue(res, i, 6)),
            "tokens", (json_int_t) atoll(PQgetvalue(res, i, 7)),
            "indexed", PQgetvalue(res, i, 8)[0] == 't'));
    }

    rc = json_dumpf(list, stdout, JSON_INDENT(2));
    json_decref(list);

    return rc == 0 && printf("\n") > 0 && fflush(stdout) == 0
           ? TF_CLI_OK : TF_CLI_FAILED;
}


int
tf_cli_embed_status(tf_cli_embed_t *e)
{
    int        status;
    PGresult  *res;

    res = tf_cli_embed_rows(e, e->set);
    if (res == NULL) {
        return TF_CLI_FAILED;
    }

    if (e->set != 0 && PQntuples(res) == 0) {
        status = tf_cli_error(e->cli, "tenant %s has no set %d", e->tenant,
                              e->set);

    } else {
        status = e->json ? tf_cli_embed_json(res) : tf_cli_embed_print(res);
    }

    PQclear(res);

    return status;
}


int
tf_cli_embed_wait(tf_cli_embed_t *e, int set)
{
    int         tty;
    int64_t     moved;
    PGresult   *res;
    long long   done, missing, last;

    tty = isatty(STDERR_FILENO);
    last = -1;
    moved = tf_clock_ms();

    for ( ;; ) {
        res = tf_cli_embed_rows(e, set);
        if (res == NULL) {
            return TF_CLI_FAILED;
        }

        if (PQntuples(res) == 0) {
            PQclear(res);
            return tf_cli_error(e->cli, "set %d was deleted", set);
        }

        done = atoll(PQgetvalue(res, 0, 5));
        missing = atoll(PQgetvalue(res, 0, 6));
        PQclear(res);

        if (done != last) {
            moved = tf_clock_ms();
            last = done;
            (void) fprintf(stderr, "%s%lld of %lld passages%s",
                           tty ? "\r" : "", done, done + missing,
                           tty ? "" : "\n");
        }

        if (missing == 0) {
            (void) fprintf(stderr, tty ? "\n" : "");
            return TF_CLI_OK;
        }

        if (tf_clock_ms() - moved > TF_EMBED_STUCK_MS) {
            (void) fprintf(stderr, tty ? "\n" : "");
            return tf_cli_error(e->cli, "nothing has moved for two minutes: "
                                "does a sidecar run (\"trifecta jobs "
                                "stats\"), and does the model answer "
                                "(\"trifecta models --try\")? The jobs go on "
                                "by themselves when they can; \"trifecta jobs "
                                "list --state failed\" shows those that gave "
                                "up, \"trifecta embed run %d\" begins again",
                                set);
        }

        (void) usleep(TF_EMBED_LOOK_US);
    }
}
