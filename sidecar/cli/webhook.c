#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include <trifecta/job.h>

#include "cli/cli.h"
#include "jobs/webhook.h"


/*
 * What a receiver of webhooks needs to verify them: its tenant's secret.
 */

static const tf_cli_option_t  tf_webhook_options[] = {
    { "tenant", 't', "TENANT",
      "whose (default: tenant of the configuration)" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_webhook_usage = {
    "webhook", "secret",
    "Prints the secret with which a tenant verifies its webhooks, whsec_...\n"
    "It is made of the key in webhook_key_file and the tenant's name, so that\n"
    "there is nothing to store. While that file has two keys there are two:\n"
    "every webhook is signed with both, the first is the one to use.\n",
    tf_webhook_options, NULL,
    "  openssl rand -hex 32 > /etc/trifecta/webhook.key\n"
    "  trifecta webhook secret --tenant acme\n"
};


int
tf_cli_webhook(int argc, char **argv)
{
    int                    c, status;
    char                   text[TF_WEBHOOK_SECRET_TEXT], err[512];
    unsigned               i;
    tf_cli_t               cli;
    tf_conf_t              conf;
    const char            *tenant;
    tf_webhook_secrets_t   secrets;

    tenant = NULL;
    tf_cli_begin(&cli, &tf_webhook_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        if (c == 't') {
            tenant = cli.value;
        }
    }

    if (c < 0) {
        return cli.status;
    }

    if (cli.argc != 1 || strcmp(cli.argv[0], "secret") != 0) {
        return tf_cli_misuse(&cli, "\"secret\" is expected");
    }

    if (tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    if (tenant == NULL) {
        tenant = conf.tenant;
    }

    if (tenant[0] == '\0' || strlen(tenant) > TF_TENANT_MAX) {
        status = tf_cli_misuse(&cli, "a tenant has 1 to %d bytes",
                               TF_TENANT_MAX);

    } else if (tf_webhook_secrets(&secrets, conf.webhook_key_file, tenant,
                                  err, sizeof(err))
               != 0)
    {
        status = tf_cli_error(&cli, "%s; make a key with: openssl rand -hex "
                              "32", err);

    } else {
        for (i = 0; i < secrets.n; i++) {
            tf_webhook_secret_text(secrets.secret[i], text);
            (void) printf("%s\n", text);
        }

        status = fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
        OPENSSL_cleanse(&secrets, sizeof(secrets));
        OPENSSL_cleanse(text, sizeof(text));
    }

    tf_conf_free(&conf);

    return status;
}
