#include "base/conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>


#define TF_CONF_DEFAULT_FILE  "/etc/trifecta/sidecar.conf"
#define TF_CONF_DAY           86400000  /* ms; longer waits overflow an int */

static const tf_key_t  tf_conf_table[] = {
#define TF_CONF_ROW(type, key, def, what)                                     \
    { #key, TF_KEY_##type, offsetof(tf_conf_t, key), def, what },
    TF_CONF_KEYS(TF_CONF_ROW)
#undef TF_CONF_ROW
};

#define TF_CONF_NKEYS  (sizeof(tf_conf_table) / sizeof(tf_conf_table[0]))

typedef struct {
    tf_conf_t      *conf;
    unsigned char   seen[TF_CONF_NKEYS];
    char            why[512];
} tf_conf_reader_t;


static const char *
tf_conf_line(void *arg, const char *name, const char *value)
{
    const char        *why;
    const tf_key_t    *key;
    tf_conf_reader_t  *reader = arg;

    if (value == NULL) {
        return "there are no sections in this file";
    }

    key = tf_key_find(tf_conf_table, TF_CONF_NKEYS, name);

    if (key == NULL) {
        (void) snprintf(reader->why, sizeof(reader->why),
                        "unknown key \"%s\"", name);
        return reader->why;
    }

    if (reader->seen[key - tf_conf_table]++) {
        (void) snprintf(reader->why, sizeof(reader->why),
                        "\"%s\" is there twice", name);
        return reader->why;
    }

    why = tf_key_set(reader->conf, key, value);

    if (why != NULL) {
        (void) snprintf(reader->why, sizeof(reader->why), "%s = %s: %s", name,
                        value, why);
        return reader->why;
    }

    return NULL;
}


static int
tf_conf_check(const tf_conf_t *conf, char *err, size_t errlen)
{
    const char  *why;

    why = NULL;

    if (conf->threads < 1 || conf->threads > 1024) {
        why = "threads must be between 1 and 1024";

    } else if (conf->background > conf->threads) {
        why = "background must be at most threads";

    } else if (conf->pg_connections < 2 || conf->pg_connections > 256) {
        /* half of them are never lent for long */
        why = "pg_connections must be between 2 and 256";

    } else if (conf->lease < 100) {
        why = "lease must be at least 100ms";

    } else if (conf->heartbeat < 10 || conf->heartbeat * 3 > conf->lease) {
        why = "heartbeat must be at least 10ms and at most a third of lease";

    } else if (strlen(conf->worker) > 64
               || strspn(conf->worker, "abcdefghijklmnopqrstuvwxyz"
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
                  != strlen(conf->worker))
    {
        why = "worker must have at most 64 letters, digits, \".\", \"_\" and "
              "\"-\"";

    } else if (conf->stuck_after < 5000 || conf->stuck_after > TF_CONF_DAY) {
        why = "stuck_after must be at least 5s and at most 1d";

    } else if (conf->lease > TF_CONF_DAY || conf->drain_timeout > TF_CONF_DAY) {
        why = "lease and drain_timeout must be at most 1d";

    } else if (conf->retention != 0 && conf->retention < TF_CONF_DAY) {
        why = "retention must be at least 1d, or 0 to keep jobs for ever";

    } else if (conf->batch_open < 1 || conf->batch_open > 1000) {
        why = "batch_open must be between 1 and 1000";

    } else if (conf->reconcile < 100 || conf->reconcile > TF_CONF_DAY) {
        why = "reconcile must be between 100ms and 1d";

    } else if (strcmp(conf->durability, "fast") != 0
               && strcmp(conf->durability, "durable") != 0
               && strcmp(conf->durability, "replicated") != 0)
    {
        why = "durability must be fast, durable or replicated";

    } else if (strcmp(conf->durability_check, "strict") != 0
               && strcmp(conf->durability_check, "warn") != 0)
    {
        why = "durability_check must be strict or warn";

    } else if (conf->replicas < 1 || conf->replicas > 16) {
        why = "replicas must be between 1 and 16";

    } else if (conf->index_from < 1) {
        why = "index_from must be at least 1";

    } else if (conf->webhook_timeout < 100 || conf->webhook_timeout > 60000) {
        why = "webhook_timeout must be between 100ms and 60s";

    } else if (conf->webhook_wait < 10 || conf->webhook_wait > 3600000) {
        why = "webhook_wait must be between 10ms and 1h";

    } else if (conf->webhook_for < 1000
               || conf->webhook_for > 3 * (tf_key_MS) TF_CONF_DAY)
    {
        why = "webhook_for must be between 1s and 72h";

    } else if (conf->webhook_backlog < 1 || conf->webhook_backlog > 100000) {
        why = "webhook_backlog must be between 1 and 100000";

    } else if (conf->answer_cache > 100000) {
        why = "answer_cache must be at most 100000";

    } else if (conf->answer_threshold > 1) {
        why = "answer_threshold must be between 0 and 1";

    } else if (conf->weight_spelling > 1) {
        why = "weight_spelling must be between 0 and 1";

    } else if (conf->feedback > 1) {
        why = "feedback must be between 0 and 1";
    }

    if (why != NULL) {
        (void) snprintf(err, errlen, "%s", why);
        return -1;
    }

    return 0;
}


int
tf_conf_load(tf_conf_t *conf, const char *file, char *err, size_t errlen)
{
    char               name[64];
    FILE              *f;
    size_t             i, k;
    const char        *value, *why;
    tf_conf_reader_t   reader;

    memset(conf, 0, sizeof(tf_conf_t));

    why = tf_keys_default(conf, tf_conf_table, TF_CONF_NKEYS);
    if (why != NULL) {
        (void) snprintf(err, errlen, "%s", why);
        goto failed;
    }

    if (file == NULL) {
        file = getenv("TRIFECTA_CONF");
    }

    if (file == NULL || *file == '\0') {
        file = NULL;
        f = fopen(TF_CONF_DEFAULT_FILE, "r");
        if (f != NULL) {
            (void) fclose(f);
            file = TF_CONF_DEFAULT_FILE;
        }
    }

    memset(&reader, 0, sizeof(reader));
    reader.conf = conf;

    if (file != NULL
        && tf_keys_read(file, tf_conf_line, &reader, err, errlen) != 0)
    {
        goto failed;
    }

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        (void) snprintf(name, sizeof(name), "TRIFECTA_%s",
                        tf_conf_table[i].name);
        for (k = 0; name[k]; k++) {
            name[k] = (char) toupper((unsigned char) name[k]);
        }

        value = getenv(name);
        if (value == NULL) {
            continue;
        }

        why = tf_key_set(conf, &tf_conf_table[i], value);
        if (why != NULL) {
            (void) snprintf(err, errlen, "environment %s: %s", name, why);
            goto failed;
        }
    }

    if (tf_conf_check(conf, err, errlen) == 0) {
        return 0;
    }

failed:

    tf_conf_free(conf);

    return -1;
}


int
tf_conf_set(tf_conf_t *conf, const char *setting, char *err, size_t errlen)
{
    char             name[64];
    size_t           n;
    const char      *why;
    const tf_key_t  *key;

    n = strcspn(setting, "=");

    if (setting[n] == '\0' || n >= sizeof(name)) {
        (void) snprintf(err, errlen, "\"%s\" is not \"name=value\"", setting);
        return -1;
    }

    (void) snprintf(name, sizeof(name), "%.*s", (int) n, setting);
    key = tf_key_find(tf_conf_table, TF_CONF_NKEYS, name);

    if (key == NULL) {
        (void) snprintf(err, errlen, "there is no key \"%s\" of the "
                        "configuration", name);
        return -1;
    }

    why = tf_key_set(conf, key, setting + n + 1);

    if (why != NULL) {
        (void) snprintf(err, errlen, "%s: %s", setting, why);
        return -1;
    }

    return tf_conf_check(conf, err, errlen);
}


void
tf_conf_free(tf_conf_t *conf)
{
    tf_keys_free(conf, tf_conf_table, TF_CONF_NKEYS);
}


void
tf_conf_print(FILE *out)
{
    size_t  i;

    for (i = 0; i < TF_CONF_NKEYS; i++) {
        (void) fprintf(out, "%s# %s\n#%s = %s\n", i ? "\n" : "",
                       tf_conf_table[i].what, tf_conf_table[i].name,
                       tf_conf_table[i].def);
    }
}
