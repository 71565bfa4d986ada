#include "cli/embed.h"

#include <stdlib.h>
#include <string.h>

#include "jobs/embed.h"


enum {
    TF_EMBED_MODEL = 1, TF_EMBED_COLLECTION = 2, TF_EMBED_PARTS = 4,
    TF_EMBED_WAIT = 8, TF_EMBED_FORCE = 16, TF_EMBED_JSON = 32,
    TF_EMBED_TENANT = 64, TF_EMBED_SET = 128    /* an operand, in fact */
};

typedef struct {
    const char  *name;
    unsigned     takes;
    unsigned     needs;
    int        (*run)(tf_cli_embed_t *e);
} tf_cli_embed_command_t;

static const tf_cli_embed_command_t  tf_cli_embed_commands[] = {
    { "create", TF_EMBED_MODEL|TF_EMBED_COLLECTION|TF_EMBED_PARTS
      |TF_EMBED_WAIT, TF_EMBED_MODEL, tf_cli_embed_create },
    { "run", TF_EMBED_SET|TF_EMBED_PARTS|TF_EMBED_WAIT, TF_EMBED_SET,
      tf_cli_embed_run },
    { "status", TF_EMBED_SET|TF_EMBED_JSON, 0, tf_cli_embed_status },
    { "switch", TF_EMBED_SET|TF_EMBED_FORCE, TF_EMBED_SET,
      tf_cli_embed_switch },
    { "retire", TF_EMBED_SET, TF_EMBED_SET, tf_cli_embed_retire },
    { "delete", TF_EMBED_SET, TF_EMBED_SET, tf_cli_embed_delete },
    { NULL, 0, 0, NULL }
};

static const tf_cli_option_t  tf_cli_embed_options[] = {
    { "model", TF_EMBED_MODEL, "MODEL", "create: which model of kind "
      "embedding" },
    { "collection", TF_EMBED_COLLECTION, "C", "create: for this collection "
      "only (default: all of the tenant)" },
    { "jobs", TF_EMBED_PARTS, "N", "create, run: how many jobs at once for "
      "each owner of documents, 1 to 64 (default 2)" },
    { "wait", TF_EMBED_WAIT, NULL, "create, run: wait until it is done, and "
      "show how far it is" },
    { "force", TF_EMBED_FORCE, NULL, "switch: although passages are missing" },
    { "json", TF_EMBED_JSON, NULL, "status: print JSON" },
    { "tenant", TF_EMBED_TENANT, "T", "whose sets (configuration: tenant)" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_cli_embed_usage = {
    "embed", "COMMAND [SET]",
    "Makes vectors of the passages, so that questions find what is said in\n"
    "other words. The vectors of one model are a set; a new set is built\n"
    "beside the one that questions use, and takes its place at once.\n"
    "\n"
    "  create  a new set, and jobs that fill it; prints its number\n"
    "  run     jobs for what a set lacks, after some have failed\n"
    "  status  the sets, and how far they are\n"
    "  switch  questions use this set from now on; the one before is retired.\n"
    "          A retired set can be switched back to\n"
    "  retire  questions do not use it any more, and nothing is added to it\n"
    "  delete  removes a retired set and all of its vectors\n"
    "\n"
    "The jobs are done by the sidecars, whose file of models must have the\n"
    "model. New documents are embedded by themselves for each set that is not\n"
    "retired, and can be found by their words before that.\n",
    tf_cli_embed_options, NULL,
    "  trifecta embed create --model small-vectors --wait\n"
    "  trifecta embed switch 1\n"
    "  trifecta embed status --json\n"
};


int
tf_cli_embed_store(tf_cli_embed_t *e)
{
    if (strcmp(e->pg.sqlstate, "55P03") == 0) {
        (void) tf_cli_error(e->cli, "the vectors are in use by a long "
                            "statement, a backup perhaps: nothing was "
                            "changed; run it again in a moment");

    } else {
        (void) tf_cli_error(e->cli, "PostgreSQL: %s\n\"trifecta doctor\" says "
                            "more.", e->pg.err);
    }

    tf_pg_rollback(&e->pg);

    return TF_CLI_FAILED;
}


int
tf_cli_embed_begin(tf_cli_embed_t *e)
{
    return tf_pg_begin_as(&e->pg, e->tenant, TF_EMBED_OPERATOR, "[]")
           == TF_PG_OK ? TF_CLI_OK : tf_cli_embed_store(e);
}


PGresult *
tf_cli_embed_query(tf_cli_embed_t *e, const char *sql, int n,
    const char *const *params)
{
    PGresult  *res;

    if (tf_pg_query(&e->pg, &res, TF_EMBED_CLI_MS, sql, n, params)
        != TF_PG_OK)
    {
        (void) tf_cli_embed_store(e);
        return NULL;
    }

    return res;
}


static int
tf_cli_embed_value(tf_cli_embed_t *e, const tf_cli_t *cli, int c)
{
    long   n;
    char  *end;

    switch (c) {

    case TF_EMBED_MODEL:
        e->model = cli->value;
        break;

    case TF_EMBED_COLLECTION:
        e->collection = cli->value;
        break;

    case TF_EMBED_TENANT:
        e->tenant = cli->value;
        break;

    case TF_EMBED_PARTS:
        n = strtol(cli->value, &end, 10);
        if (end == cli->value || *end || n < 1 || n > TF_EMBED_PARTS_MAX) {
            return tf_cli_misuse(cli, "--jobs %s: a number from 1 to %d is "
                                 "expected", cli->value, TF_EMBED_PARTS_MAX);
        }
        e->parts = (unsigned) n;
        break;

    case TF_EMBED_WAIT:
        e->wait = 1;
        break;

    case TF_EMBED_FORCE:
        e->force = 1;
        break;

    case TF_EMBED_JSON:
        e->json = 1;
        break;
    }

    return 0;
}


/* Whether the command line fits its command: 0, or an exit code. */

static int
tf_cli_embed_check(tf_cli_embed_t *e, const tf_cli_t *cli,
    const tf_cli_embed_command_t *command, unsigned given)
{
    long                    n;
    char                   *end;
    unsigned                wrong;
    const tf_cli_option_t  *o;

    wrong = given & ~(command->takes | TF_EMBED_TENANT);

    if (wrong == 0) {
        wrong = command->needs & ~given & ~(unsigned) TF_EMBED_SET;
        given = 0;
    }

    if (wrong) {
        for (o = tf_cli_embed_options; !((unsigned) o->c & wrong); o++) {
            /* void */
        }

        return tf_cli_misuse(cli, "\"embed %s\" %s --%s", command->name,
                             given ? "takes no" : "needs", o->name);
    }

    if (cli->argc > 2
        || (cli->argc == 2 && !(command->takes & TF_EMBED_SET))
        || (cli->argc == 1 && (command->needs & TF_EMBED_SET)))
    {
        return tf_cli_misuse(cli, command->needs & TF_EMBED_SET
                             ? "\"embed %s\" needs the number of one SET: "
                               "\"trifecta embed status\" lists them"
                             : "\"embed %s\" takes no such argument",
                             command->name);
    }

    if (cli->argc == 2) {
        n = strtol(cli->argv[1], &end, 10);
        if (end == cli->argv[1] || *end || n < 1 || n > 2147483647) {
            return tf_cli_misuse(cli, "\"%s\" is no number of a set",
                                 cli->argv[1]);
        }
        e->set = (int) n;
    }

    return 0;
}


int
tf_cli_embed(int argc, char **argv)
{
    int                            c, status;
    tf_cli_t                       cli;
    unsigned                       given;
    tf_conf_t                      conf;
    tf_cli_embed_t                 e;
    const tf_cli_embed_command_t  *command;

    memset(&e, 0, sizeof(e));
    e.parts = 2;
    given = 0;

    tf_cli_begin(&cli, &tf_cli_embed_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        given |= (unsigned) c;
        status = tf_cli_embed_value(&e, &cli, c);
        if (status) {
            return status;
        }
    }

    if (c < 0) {
        return cli.status;
    }

    for (command = tf_cli_embed_commands; command->name != NULL; command++) {
        if (cli.argc > 0 && strcmp(command->name, cli.argv[0]) == 0) {
            break;
        }
    }

    if (command->name == NULL) {
        return tf_cli_misuse(&cli, "create, run, status, switch, retire or "
                             "delete is expected");
    }

    status = tf_cli_embed_check(&e, &cli, command, given);
    if (status) {
        return status;
    }

    if (tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    e.cli = &cli;
    e.conf = &conf;

    if (e.tenant == NULL) {
        e.tenant = conf.tenant;
    }

    tf_pg_init(&e.pg, &conf, TF_PG_RAG);

    status = command->run(&e);

    tf_pg_close(&e.pg);
    tf_conf_free(&conf);

    return status;
}
