#include <stdio.h>

#include "cli/cli.h"
#include "llm/provider.h"


/* Prints the providers' table, the default first. */

static const tf_cli_option_t  tf_models_options[] = {
    { "nginx", 'n', NULL, "print the directive for nginx" },
    { "long", 'l', NULL, "say what each one does" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_models_usage = {
    "models", "",
    "Lists the models that this program can answer with, one a line; the\n"
    "first is the default. nginx refuses every other name, so it must be told\n"
    "the same list.\n",
    tf_models_options, NULL,
    "  trifecta models --long\n"
    "  trifecta models --nginx > /etc/nginx/trifecta-models.conf\n"
};


int
tf_cli_models(int argc, char **argv)
{
    int                       c, nginx, verbose;
    tf_cli_t                  cli;
    const tf_llm_provider_t  *p;

    nginx = 0;
    verbose = 0;

    tf_cli_begin(&cli, &tf_models_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 'n':
            nginx = 1;
            break;

        case 'l':
            verbose = 1;
            break;
        }
    }

    if (c < 0) {
        return cli.status;
    }

    if (nginx && verbose) {
        return tf_cli_misuse(&cli, "--nginx and --long do not go together");
    }

    if (nginx) {
        (void) printf("trifecta_models");
    }

    for (p = tf_llm_providers; p->name != NULL; p++) {
        if (nginx) {
            (void) printf(" %s", p->name);

        } else if (verbose) {
            (void) printf("%-16s %s\n", p->name, p->what);

        } else {
            (void) printf("%s\n", p->name);
        }
    }

    if (nginx) {
        (void) printf(";\n");
    }

    return fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
}
