#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "llm/embed.h"


/* Prints the models of the configuration, the default first. */

static const tf_cli_option_t  tf_models_options[] = {
    { "nginx", 'n', NULL, "print the directives for nginx" },
    { "long", 'l', NULL, "say what each one does" },
    { "try", 't', "MODEL", "ask the server of a model of kind embedding or "
      "rerank" },
    { "keys", 'k', NULL, "print what can be set for a model" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_models_usage = {
    "models", "[TEXT...]",
    "Lists the models that this program can answer with, one a line; the\n"
    "first is the default. They stand in the file that the configuration's\n"
    "\"models\" names; without one there is \"extractive\" alone, which quotes\n"
    "and needs no key. nginx refuses every other name, so it must be told the\n"
    "same list. Models that make vectors or order passages are listed by\n"
    "--long only.\n"
    "\n"
    "--try sends the TEXTs to the server of such a model, the first as the\n"
    "question, and prints how near each of the others is to it.\n",
    tf_models_options, NULL,
    "  trifecta models --long\n"
    "  trifecta models --try my-embedder \"a cat\" \"a kitten\" \"a bridge\"\n"
    "  trifecta models --nginx > /etc/nginx/trifecta-models.conf\n"
};


static void
tf_models_describe(const tf_llm_model_t *m)
{
    (void) printf("%-20s %s", m->name, m->by->wire ? m->provider
                                                   : m->by->what);

    if (m->by->wire != NULL) {
        (void) printf(" %s as \"%s\", ", m->base_url,
                      m->upstream[0] ? m->upstream : m->name);

        if (m->is == TF_LLM_EMBEDDING) {
            (void) printf("vectors of %llu numbers",
                          (unsigned long long) m->dimensions);

        } else {
            (void) printf("%s", m->is == TF_LLM_RERANK ? "orders passages"
                                : m->retrieval ? "with documents"
                                : "without documents");
        }

        if (m->only != NULL) {
            (void) printf(" from the collections %s", m->collections);
        }

        (void) printf(", %zu key%s", m->nkeys, m->nkeys == 1 ? "" : "s");
    }

    if (m->users != NULL) {
        (void) printf(", for the groups %s", m->groups);
    }

    if (m->next != NULL) {
        (void) printf(", else %s", m->next->name);
    }

    (void) printf("\n");
}


/* How near each text is to the first one, as the model sees it. */

static tf_llm_status_t
tf_models_ask(const tf_llm_model_t *m, char **texts, size_t n, float *near,
    tf_llm_failure_t *failure)
{
    size_t             i, k;
    tf_llm_embed_t     request;
    tf_llm_status_t    rc;
    tf_llm_rerank_t    order;
    tf_llm_vectors_t   v;

    if (m->is == TF_LLM_RERANK) {
        memset(&order, 0, sizeof(order));
        order.question = texts[0];
        order.documents = (const char *const *) texts + 1;
        order.n = n - 1;

        return tf_llm_rerank(m, &order, near + 1, failure);
    }

    memset(&request, 0, sizeof(request));
    request.texts = (const char *const *) texts;
    request.n = n;
    request.attempt = 1;

    rc = tf_llm_embed(m, &request, &v, failure);

    for (i = 0; i < n && rc == TF_LLM_OK; i++) {
        for (k = 0, near[i] = 0; k < v.dims; k++) {
            near[i] += v.of[k] * v.of[i * v.dims + k];
        }
    }

    free(v.of);

    return rc;
}


static int
tf_models_try(const tf_cli_t *cli, const tf_llm_models_t *models,
    const char *name)
{
    int                    i;
    float                 *near;
    int64_t                began;
    tf_llm_status_t        rc;
    tf_llm_failure_t       failure;
    const tf_llm_model_t  *m;

    m = tf_llm_models_of(models, TF_LLM_EMBEDDING, name);

    if (m == NULL) {
        m = tf_llm_models_of(models, TF_LLM_RERANK, name);
    }

    if (m == NULL) {
        return tf_cli_error(cli, "there is no model \"%s\" of kind embedding "
                            "or rerank: \"trifecta models --long\" lists "
                            "them", name);
    }

    if (cli->argc < 2) {
        return tf_cli_misuse(cli, "--try needs at least two TEXTs: a question "
                             "and what may answer it");
    }

    near = calloc((size_t) cli->argc, sizeof(float));
    if (near == NULL) {
        return tf_cli_error(cli, "out of memory");
    }

    began = tf_clock_ms();
    rc = tf_models_ask(m, cli->argv, (size_t) cli->argc, near, &failure);

    if (rc != TF_LLM_OK) {
        free(near);
        return tf_cli_error(cli, "%s: %s", failure.code, failure.message);
    }

    for (i = 1; i < cli->argc; i++) {
        (void) printf("%7.4f  %s\n", (double) near[i], cli->argv[i]);
    }

    (void) fprintf(stderr, "%s answered in %lld ms\n", m->name,
                   (long long) (tf_clock_ms() - began));
    free(near);

    return TF_CLI_OK;
}


/* The names of a kind, as a directive of nginx. */

static void
tf_models_directive(const tf_llm_models_t *models, tf_llm_kind_t kind,
    const char *directive)
{
    size_t  i, n;

    for (i = 0, n = 0; i < models->n; i++) {
        if (models->list[i].is == kind) {
            (void) printf("%s %s", n++ ? "" : directive,
                          models->list[i].name);
        }
    }

    if (n) {
        (void) printf(";\n");
    }
}


/* Who may use a model, in quotes: a group can have any name. */

static void
tf_models_groups(const tf_llm_model_t *m)
{
    size_t       i;
    const char  *p;

    (void) printf("trifecta_model_groups %s", m->name);

    for (i = 0; i < json_array_size(m->users); i++) {
        (void) printf(" \"");

        for (p = json_string_value(json_array_get(m->users, i)); *p; p++) {
            (void) printf(*p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
        }

        (void) printf("\"");
    }

    (void) printf(";\n");
}


static void
tf_models_nginx(const tf_llm_models_t *models)
{
    size_t  i;

    tf_models_directive(models, TF_LLM_CHAT, "trifecta_models");
    tf_models_directive(models, TF_LLM_EMBEDDING,
                        "trifecta_embedding_models");

    for (i = 0; i < models->n; i++) {
        if (models->list[i].users != NULL) {
            tf_models_groups(&models->list[i]);
        }
    }
}


static void
tf_models_list(const tf_llm_models_t *models, int nginx, int verbose)
{
    size_t                 i;
    const tf_llm_model_t  *m;

    if (nginx) {
        tf_models_nginx(models);
        return;
    }

    for (i = 0; i < models->n; i++) {
        m = &models->list[i];

        if (verbose) {
            tf_models_describe(m);

        } else if (m->is == TF_LLM_CHAT) {
            (void) printf("%s\n", m->name);
        }
    }
}


int
tf_cli_models(int argc, char **argv)
{
    int                    c, nginx, verbose, status;
    char                   err[512];
    tf_cli_t               cli;
    tf_conf_t              conf;
    const char            *name;
    tf_llm_models_t       *models;

    nginx = 0;
    verbose = 0;
    name = NULL;

    tf_cli_begin(&cli, &tf_models_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 'n':
            nginx = 1;
            break;

        case 'l':
            verbose = 1;
            break;

        case 't':
            name = cli.value;
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

    if (name == NULL && cli.argc > 0) {
        return tf_cli_misuse(&cli, "TEXTs belong to --try MODEL");
    }

    if (tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    models = tf_llm_models_load(conf.models, err, sizeof(err));
    tf_conf_free(&conf);

    if (models == NULL) {
        return tf_cli_error(&cli, "%s", err);
    }

    status = TF_CLI_OK;

    if (name != NULL) {
        status = tf_models_try(&cli, models, name);

    } else {
        tf_models_list(models, nginx, verbose);
    }

    tf_llm_models_free(models);

    return fflush(stdout) == 0 ? status : TF_CLI_FAILED;
}
