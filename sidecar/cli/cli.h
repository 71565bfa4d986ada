#ifndef TF_CLI_CLI_H
#define TF_CLI_CLI_H


#include <getopt.h>

#include "base/conf.h"


/*
 * The commands of the program.
 *
 * A command is a row of the table in main.c and a function
 * tf_cli_<command>(argc, argv), whose argv[0] is the command's own name.  The
 * function describes itself in one tf_cli_usage_t: its --help is made of
 * that, and its options are parsed by that, so the two cannot disagree:
 *
 *     tf_cli_begin(&cli, &usage, argc, argv);
 *
 *     while ((c = tf_cli_next(&cli)) > 0) {
 *         switch (c) { ... cli.value ... }
 *     }
 *
 *     if (c < 0 || tf_cli_conf(&cli, &conf) != 0) {
 *         return cli.status;
 *     }
 *
 * What is left are operands: cli.argc and cli.argv.  --help and --config FILE
 * are understood everywhere.
 *
 * Results go to stdout, everything else to stderr.  An error says what was
 * wrong and, where there is one, the next step.
 */

#define TF_CLI_OK      0
#define TF_CLI_FAILED  1
#define TF_CLI_USAGE   2            /* unknown option, missing argument */

#define TF_CLI_OPTIONS_MAX  24

typedef struct {
    const char  *name;              /* without the leading "--" */
    int          c;                 /* > 0: what tf_cli_next() returns */
    const char  *arg;               /* name of its argument; NULL: none */
    const char  *what;
} tf_cli_option_t;

typedef struct {
    const char             *name;
    const char             *operands;   /* "PATH..."; "": takes none */
    const char             *what;       /* paragraph, ends with "\n" */
    const tf_cli_option_t  *options;    /* ends with a NULL name, or NULL */
    const char             *exits;      /* lines "  1  ..."; NULL: usual */
    const char             *examples;   /* lines, ends with "\n" */
} tf_cli_usage_t;

typedef struct {
    const tf_cli_usage_t  *usage;
    int                    argc;
    char                 **argv;
    const char            *value;   /* argument of the current option */
    const char            *config;  /* of --config, or NULL */
    int                    status;  /* what to return when c < 0 */
    struct option          longopts[TF_CLI_OPTIONS_MAX + 1];
} tf_cli_t;


void tf_cli_begin(tf_cli_t *cli, const tf_cli_usage_t *usage, int argc,
    char **argv);

/*
 * The next option's c; 0 after the last one; -1 when the command is over
 * (--help was printed, or an error): return cli->status then.
 */
int tf_cli_next(tf_cli_t *cli);

/* Reports wrong use; returns TF_CLI_USAGE. */
int tf_cli_misuse(const tf_cli_t *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Loads the configuration, or says what is wrong with it: 0 or -1. */
int tf_cli_conf(tf_cli_t *cli, tf_conf_t *conf);

/* "trifecta <command>: ..." on stderr; returns TF_CLI_FAILED. */
int tf_cli_error(const tf_cli_t *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


int tf_cli_serve(int argc, char **argv);
int tf_cli_migrate(int argc, char **argv);
int tf_cli_ingest(int argc, char **argv);
int tf_cli_ask(int argc, char **argv);
int tf_cli_token(int argc, char **argv);
int tf_cli_webhook(int argc, char **argv);
int tf_cli_doctor(int argc, char **argv);
int tf_cli_jobs(int argc, char **argv);
int tf_cli_models(int argc, char **argv);
int tf_cli_prune(int argc, char **argv);
int tf_cli_eval(int argc, char **argv);
int tf_cli_embed(int argc, char **argv);


#endif /* TF_CLI_CLI_H */
