#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>


#define TF_CLI_C_HELP    1
#define TF_CLI_C_CONFIG  2
#define TF_CLI_C_BASE    16         /* the command's own come after these */

#define TF_CLI_HELP_WIDTH  55       /* beside the options' names */

static const tf_cli_option_t  tf_cli_common[] = {
    { "config", TF_CLI_C_CONFIG, "FILE",
      "configuration file (else $TRIFECTA_CONF, else "
      "/etc/trifecta/sidecar.conf)" },
    { "help", TF_CLI_C_HELP, NULL, "print this" },
    { NULL, 0, NULL, NULL }
};


/* How much of a text fits on the rest of a line: whole words, if it can. */

static size_t
tf_cli_fit(const char *p)
{
    size_t  len, word;

    len = strlen(p);

    if (len <= TF_CLI_HELP_WIDTH) {
        return len;
    }

    for (word = TF_CLI_HELP_WIDTH; word > 0; word--) {
        if (p[word] == ' ') {
            return word;
        }
    }

    return TF_CLI_HELP_WIDTH;
}


static void
tf_cli_print_options(const tf_cli_option_t *options)
{
    char         left[64];
    size_t       i, len;
    const char  *p;

    for (i = 0; options != NULL && options[i].name != NULL; i++) {
        (void) snprintf(left, sizeof(left), "--%s%s%s", options[i].name,
                        options[i].arg ? " " : "",
                        options[i].arg ? options[i].arg : "");

        for (p = options[i].what; *p; p += len + (p[len] == ' ')) {
            len = tf_cli_fit(p);
            (void) printf("  %-20s  %.*s\n", left, (int) len, p);
            left[0] = '\0';
        }
    }
}


static void
tf_cli_help(const tf_cli_usage_t *usage)
{
    (void) printf("Usage: trifecta %s [options]%s%s\n\n%s\nOptions:\n",
                  usage->name, usage->operands[0] ? " " : "",
                  usage->operands, usage->what);

    tf_cli_print_options(usage->options);
    tf_cli_print_options(tf_cli_common);

    (void) printf("\nExit codes:\n%s\nExamples:\n%s",
                  usage->exits ? usage->exits
                               : "  0  done\n  1  failed\n  2  wrong use\n",
                  usage->examples);
}


static struct option *
tf_cli_longopts(struct option *to, const struct option *end,
    const tf_cli_option_t *from, int base)
{
    for ( /* void */ ; from != NULL && from->name != NULL && to < end;
          from++, to++)
    {
        to->name = from->name;
        to->has_arg = from->arg ? required_argument : no_argument;
        to->val = base + from->c;
    }

    return to;
}


void
tf_cli_begin(tf_cli_t *cli, const tf_cli_usage_t *usage, int argc,
    char **argv)
{
    struct option  *next, *end;

    memset(cli, 0, sizeof(tf_cli_t));

    cli->usage = usage;
    cli->argc = argc;
    cli->argv = argv;

    /* the last one stays zeroed, which ends the list */

    end = cli->longopts + TF_CLI_OPTIONS_MAX;
    next = tf_cli_longopts(cli->longopts, end, usage->options, TF_CLI_C_BASE);
    (void) tf_cli_longopts(next, end, tf_cli_common, 0);

    optind = 1;
    opterr = 0;
}


static int
tf_cli_over(tf_cli_t *cli, int status)
{
    cli->status = status;

    return -1;
}


int
tf_cli_next(tf_cli_t *cli)
{
    int  c;

    for ( ;; ) {
        c = getopt_long(cli->argc, cli->argv, ":", cli->longopts, NULL);

        switch (c) {

        case -1:
            cli->argc -= optind;
            cli->argv += optind;

            if (cli->argc > 0 && cli->usage->operands[0] == '\0') {
                return tf_cli_over(cli, tf_cli_misuse(cli,
                                   "unexpected argument \"%s\"",
                                   cli->argv[0]));
            }

            cli->status = TF_CLI_FAILED;
            return 0;

        case '?':
            return tf_cli_over(cli, tf_cli_misuse(cli,
                               "unknown, ambiguous or misused option \"%s\"",
                               cli->argv[optind - 1]));

        case ':':
            return tf_cli_over(cli, tf_cli_misuse(cli,
                               "option \"%s\" needs an argument",
                               cli->argv[optind - 1]));

        case TF_CLI_C_HELP:
            tf_cli_help(cli->usage);
            return tf_cli_over(cli, fflush(stdout) == 0 ? TF_CLI_OK
                                                        : TF_CLI_FAILED);

        case TF_CLI_C_CONFIG:
            cli->config = optarg;
            break;

        default:
            cli->value = optarg;
            return c - TF_CLI_C_BASE;
        }
    }
}


int
tf_cli_misuse(const tf_cli_t *cli, const char *fmt, ...)
{
    va_list  ap;

    (void) fprintf(stderr, "trifecta %s: ", cli->usage->name);

    va_start(ap, fmt);
    (void) vfprintf(stderr, fmt, ap);
    va_end(ap);

    (void) fprintf(stderr, "\n\"trifecta %s --help\" shows what there is.\n",
                   cli->usage->name);

    return TF_CLI_USAGE;
}


int
tf_cli_error(const tf_cli_t *cli, const char *fmt, ...)
{
    va_list  ap;

    (void) fflush(stdout);
    (void) fprintf(stderr, "trifecta %s: ", cli->usage->name);

    va_start(ap, fmt);
    (void) vfprintf(stderr, fmt, ap);
    va_end(ap);

    (void) fputc('\n', stderr);

    return TF_CLI_FAILED;
}


int
tf_cli_conf(tf_cli_t *cli, tf_conf_t *conf)
{
    char  err[512];

    if (tf_conf_load(conf, cli->config, err, sizeof(err)) == 0) {
        return 0;
    }

    cli->status = tf_cli_error(cli, "the configuration is not usable: %s",
                               err);

    return -1;
}
