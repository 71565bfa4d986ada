#include <stdio.h>

#include "cli/cli.h"
#include "llm/provider.h"


/* Prints the models of the configuration, the default first. */

static const tf_cli_option_t  tf_models_options[] = {
    { "nginx", 'n', NULL, "print the directive for nginx" },
    { "long", 'l', NULL, "say what each one does" },
    { "keys", 'k', NULL, "print what can be set for a model" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_models_usage = {
    "models", "",
    "Lists the models that this program can answer with, one a line; the\n"
    "first is the default. They stand in the file that the configuration's\n"
    "\"models\" names; without one there is \"extractive\" alone, which quotes\n"
    "and needs no key. nginx refuses every other name, so it must be told the\n"
    "same list.\n",
    tf_models_options, NULL,
    "  trifecta models --long\n"
    "  trifecta models --nginx > /etc/nginx/trifecta-models.conf\n"
};


static void
tf_models_describe(const tf_llm_model_t *m)
{
    (void) printf("%-20s %s", m->name, m->by->wire ? m->provider
                                                   : m->by->what);

    if (m->by->wire != NULL) {
        (void) printf(" %s as \"%s\", %s, %zu key%s", m->base_url,
                      m->upstream[0] ? m->upstream : m->name,
                      m->retrieval ? "with documents" : "without documents",
                      m->nkeys, m->nkeys == 1 ? "" : "s");
    }

    if (m->next != NULL) {
        (void) printf(", else %s", m->next->name);
    }

    (void) printf("\n");
}


int
tf_cli_models(int argc, char **argv)
{
    int                    c, nginx, verbose;
    char                   err[512];
    size_t                 i;
    tf_cli_t               cli;
    tf_conf_t              conf;
    tf_llm_models_t       *models;
    const tf_llm_model_t  *m;

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

        case 'k':
            tf_llm_models_print(stdout);
            return fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
        }
    }

    if (c < 0) {
        return cli.status;
    }

    if (nginx && verbose) {
        return tf_cli_misuse(&cli, "--nginx and --long do not go together");
    }

    if (tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    models = tf_llm_models_load(conf.models, err, sizeof(err));
    tf_conf_free(&conf);

    if (models == NULL) {
        return tf_cli_error(&cli, "%s", err);
    }

    if (nginx) {
        (void) printf("trifecta_models");
    }

    for (i = 0; i < models->n; i++) {
        m = &models->list[i];

        if (nginx) {
            (void) printf(" %s", m->name);

        } else if (verbose) {
            tf_models_describe(m);

        } else {
            (void) printf("%s\n", m->name);
        }
    }

    tf_llm_models_free(models);

    if (nginx) {
        (void) printf(";\n");
    }

    return fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
}
