#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <trifecta/fault.h>
#include <trifecta/version.h>

#include "cli/cli.h"


/*
 * The program "trifecta": a table of commands.  Options of a command are
 * its own (cli.h).
 */

typedef struct {
    const char  *name;
    const char  *what;
    int        (*run)(int argc, char **argv);
} tf_command_t;

static const tf_command_t  tf_commands[] = {
    { "serve",   "run jobs: the worker pool",                tf_cli_serve },
    { "migrate", "prepare PostgreSQL and Redis, or update",  tf_cli_migrate },
    { "ingest",  "read documents into the store",            tf_cli_ingest },
    { "ask",     "ask a question through nginx",             tf_cli_ask },
    { "token",   "make a bearer token",                      tf_cli_token },
    { "jobs",    "list, show, repeat, stop, purge jobs",     tf_cli_jobs },
    { "embed",   "make vectors of the passages",             tf_cli_embed },
    { "eval",    "measure retrieval and answers",            tf_cli_eval },
    { "prune",   "remove jobs that ended long ago",          tf_cli_prune },
    { "doctor",  "say what is wrong and what mends it",      tf_cli_doctor },
    { "models",  "list the models that can answer",          tf_cli_models },
    { "webhook", "print the secret that verifies webhooks",  tf_cli_webhook },
};

#define TF_NCOMMANDS  (sizeof(tf_commands) / sizeof(tf_commands[0]))


static void
tf_main_help(FILE *out)
{
    size_t  i;

    (void) fprintf(out,
                   "Usage: trifecta COMMAND [options] [arguments]\n"
                   "       trifecta COMMAND --help\n"
                   "       trifecta --help | --version\n"
                   "\n"
                   "Commands:\n");

    for (i = 0; i < TF_NCOMMANDS; i++) {
        (void) fprintf(out, "  %-9s %s\n", tf_commands[i].name,
                       tf_commands[i].what);
    }

    (void) fprintf(out,
                   "\n"
                   "Every command takes --config FILE (else $TRIFECTA_CONF, "
                   "else\n"
                   "/etc/trifecta/sidecar.conf); every key of the file is "
                   "also read from the\n"
                   "environment as TRIFECTA_<KEY>.\n"
                   "\n"
                   "Exit codes: 0 done, 1 failed, 2 wrong use.\n");
}


int
main(int argc, char **argv)
{
    size_t  i;

    tf_fault_start();

    /* a peer that closes is an error of a call, not the end of the program */

    (void) signal(SIGPIPE, SIG_IGN);

    if (argc < 2) {
        tf_main_help(stderr);
        return TF_CLI_USAGE;
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        tf_main_help(stdout);
        return TF_CLI_OK;
    }

    if (strcmp(argv[1], "--version") == 0) {
        (void) printf("trifecta %s (schemas: PostgreSQL %d, Redis %d)\n",
                      TF_VERSION, TF_PG_SCHEMA, TF_REDIS_SCHEMA);
        return TF_CLI_OK;
    }

    for (i = 0; i < TF_NCOMMANDS; i++) {
        if (strcmp(argv[1], tf_commands[i].name) == 0) {
            return tf_commands[i].run(argc - 1, argv + 1);
        }
    }

    (void) fprintf(stderr, "trifecta: unknown %s \"%s\"\n"
                   "\"trifecta --help\" lists the commands.\n",
                   argv[1][0] == '-' ? "option" : "command", argv[1]);

    return TF_CLI_USAGE;
}
