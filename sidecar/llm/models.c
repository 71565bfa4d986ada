#include "llm/models.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include <trifecta/job.h>

#include "llm/models_check.h"
#include "llm/provider.h"


static const tf_key_t  tf_models_table[] = {
#define TF_MODELS_ROW(type, key, def, what)                                   \
    { #key, TF_KEY_##type, offsetof(tf_llm_model_t, key), def, what },
    TF_LLM_MODEL_KEYS(TF_MODELS_ROW)
#undef TF_MODELS_ROW
};

#define TF_MODELS_NKEYS  (sizeof(tf_models_table) / sizeof(tf_models_table[0]))

typedef struct {
    tf_llm_models_t  *models;
    unsigned char     seen[TF_MODELS_NKEYS];    /* in this section */
    char              why[512];
} tf_models_reader_t;


static void
tf_models_free_one(tf_llm_model_t *model)
{
    size_t  i;

    for (i = 0; i < model->nkeys; i++) {
        OPENSSL_cleanse(model->keys[i], strlen(model->keys[i]));
        free(model->keys[i]);
    }

    free(model->keys);
    free(model->name);
    json_decref(model->only);
    json_decref(model->users);
    tf_llm_breaker_free(model->breaker);
    tf_llm_breaker_free(model->side);
    tf_llm_limits_free(model->limits);
    tf_keys_free(model, tf_models_table, TF_MODELS_NKEYS);
}


void
tf_llm_models_free(tf_llm_models_t *models)
{
    size_t  i;

    if (models == NULL) {
        return;
    }

    for (i = 0; i < models->n; i++) {
        tf_models_free_one(&models->list[i]);
    }

    tf_stream_pool_destroy(models->pool);
    free(models->list);
    free(models);
}


/* A model with every default, at the end of the list; NULL: no memory. */

static tf_llm_model_t *
tf_models_add(tf_llm_models_t *models, const char *name)
{
    tf_llm_model_t  *model;

    model = &models->list[models->n];
    memset(model, 0, sizeof(tf_llm_model_t));

    model->name = strdup(name);
    model->breaker = tf_llm_breaker_create();
    model->side = tf_llm_breaker_create();
    model->pool = models->pool;
    models->n++;

    if (model->name == NULL || model->breaker == NULL || model->side == NULL
        || tf_keys_default(model, tf_models_table, TF_MODELS_NKEYS) != NULL)
    {
        return NULL;
    }

    return model;
}


static tf_llm_model_t *
tf_models_get(const tf_llm_models_t *models, const char *name)
{
    size_t  i;

    for (i = 0; i < models->n; i++) {
        if (strcmp(models->list[i].name, name) == 0) {
            return &models->list[i];
        }
    }

    return NULL;
}


static const char *
tf_models_section(tf_models_reader_t *reader, const char *name)
{
    size_t            len;
    tf_llm_models_t  *models;

    models = reader->models;
    len = strlen(name);

    /* it stands in URLs of metrics, in nginx' configuration and in JSON */

    if (len == 0 || len > TF_MODEL_MAX
        || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                  "0123456789._:/-") != len)
    {
        return "a model's name is of letters, digits and . _ : / -";
    }

    if (tf_models_get(models, name) != NULL) {
        (void) snprintf(reader->why, sizeof(reader->why),
                        "the model [%s] is there twice", name);
        return reader->why;
    }

    if (models->n == TF_LLM_MODELS_MAX) {
        return "there are too many models";
    }

    memset(reader->seen, 0, sizeof(reader->seen));

    return tf_models_add(models, name) == NULL ? "out of memory" : NULL;
}


static const char *
tf_models_line(void *arg, const char *name, const char *value)
{
    const char          *why;
    const tf_key_t      *key;
    tf_llm_model_t      *model;
    tf_models_reader_t  *reader = arg;

    if (value == NULL) {
        return tf_models_section(reader, name);
    }

    if (reader->models->n == 0) {
        return "a model begins with its name in brackets: [name]";
    }

    model = &reader->models->list[reader->models->n - 1];
    key = tf_key_find(tf_models_table, TF_MODELS_NKEYS, name);

    if (key == NULL) {
        (void) snprintf(reader->why, sizeof(reader->why),
                        "unknown key \"%s\"", name);
        return reader->why;
    }

    if (reader->seen[key - tf_models_table]++) {
        (void) snprintf(reader->why, sizeof(reader->why),
                        "\"%s\" is there twice", name);
        return reader->why;
    }

    why = tf_key_set(model, key, value);

    if (why != NULL) {
        (void) snprintf(reader->why, sizeof(reader->why), "%s = %s: %s", name,
                        value, why);
        return reader->why;
    }

    return NULL;
}


static int
tf_models_fallbacks(tf_llm_models_t *models, char *err, size_t errlen)
{
    size_t                 i, n;
    tf_llm_model_t        *model;
    const tf_llm_model_t  *next;

    for (i = 0; i < models->n; i++) {
        model = &models->list[i];

        if (model->fallback[0] == '\0') {
            continue;
        }

        model->next = tf_models_get(models, model->fallback);

        if (model->next == NULL) {
            (void) snprintf(err, errlen, "[%s]: fallback = %s: there is no "
                            "such model, or it is not enabled", model->name,
                            model->fallback);
            return -1;
        }

        if (model->next->is != TF_LLM_CHAT) {
            (void) snprintf(err, errlen, "[%s]: fallback = %s: that model "
                            "does not answer questions", model->name,
                            model->fallback);
            return -1;
        }

        if (!tf_llm_models_within(model, model->next)) {
            (void) snprintf(err, errlen, "[%s]: fallback = %s: that model "
                            "must have all of its collections too, or no "
                            "\"collections\"", model->name, model->fallback);
            return -1;
        }
    }

    for (i = 0; i < models->n; i++) {
        n = 0;

        for (next = models->list[i].next; next != NULL; next = next->next) {
            if (next == &models->list[i] || ++n > models->n) {
                (void) snprintf(err, errlen, "[%s]: its fallbacks come back "
                                "to it", models->list[i].name);
                return -1;
            }
        }
    }

    return 0;
}


/* Those that are not enabled go; the rest is checked and completed. */

static int
tf_models_complete(tf_llm_models_t *models, char *err, size_t errlen)
{
    size_t           i, n;
    const char      *why;
    tf_llm_model_t  *model;

    for (i = 0, n = 0; i < models->n; i++) {
        if (models->list[i].enabled) {
            models->list[n++] = models->list[i];

        } else {
            tf_models_free_one(&models->list[i]);
        }
    }

    models->n = n;

    for (i = 0; i < models->n; i++) {
        model = &models->list[i];
        model->by = tf_llm_provider(model->provider);

        why = tf_llm_models_kind(model);
        if (why == NULL) {
            why = tf_llm_models_check(model);
        }

        if (why == NULL) {
            why = tf_llm_models_collections(model);
        }

        if (why == NULL) {
            why = tf_llm_models_groups(model);
        }

        if (why != NULL) {
            (void) snprintf(err, errlen, "[%s]: %s", model->name, why);
            return -1;
        }

        if (tf_llm_models_keys(model, err, errlen) != 0) {
            return -1;
        }

        if (model->parallel_requests == 0 && model->requests_per_minute == 0
            && model->tokens_per_minute == 0)
        {
            continue;
        }

        model->limits = tf_llm_limits_create(model->parallel_requests,
                                             model->requests_per_minute,
                                             model->tokens_per_minute);
        if (model->limits == NULL) {
            (void) snprintf(err, errlen, "out of memory");
            return -1;
        }
    }

    return tf_models_fallbacks(models, err, errlen);
}


tf_llm_models_t *
tf_llm_models_load(const char *file, char *err, size_t errlen)
{
    size_t               i;
    tf_llm_model_t      *model;
    tf_llm_models_t     *models;
    tf_models_reader_t   reader;

    models = calloc(1, sizeof(tf_llm_models_t));

    if (models != NULL) {
        models->pool = tf_stream_pool_create();

        /* and the built-in ones */
        models->list = calloc(TF_LLM_MODELS_MAX + 8, sizeof(tf_llm_model_t));
    }

    if (models == NULL || models->pool == NULL || models->list == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        goto failed;
    }

    memset(&reader, 0, sizeof(reader));
    reader.models = models;

    if (file[0]
        && tf_keys_read(file, tf_models_line, &reader, err, errlen) != 0)
    {
        goto failed;
    }

    for (i = 0; tf_llm_providers[i].name != NULL; i++) {
        if (!tf_llm_providers[i].own
            || tf_models_get(models, tf_llm_providers[i].name) != NULL)
        {
            continue;
        }

        model = tf_models_add(models, tf_llm_providers[i].name);

        if (model == NULL
            || tf_key_set(model, tf_key_find(tf_models_table, TF_MODELS_NKEYS,
                                             "provider"),
                          tf_llm_providers[i].name)
               != NULL)
        {
            (void) snprintf(err, errlen, "out of memory");
            goto failed;
        }
    }

    if (tf_models_complete(models, err, errlen) != 0) {
        goto failed;
    }

    return models;

failed:

    tf_llm_models_free(models);

    return NULL;
}


const tf_llm_model_t *
tf_llm_models_find(const tf_llm_models_t *models, const char *name)
{
    return tf_llm_models_of(models, TF_LLM_CHAT,
                            name == NULL || name[0] == '\0' ? NULL : name);
}


const tf_llm_model_t *
tf_llm_models_of(const tf_llm_models_t *models, tf_llm_kind_t kind,
    const char *name)
{
    size_t  i;

    for (i = 0; i < models->n; i++) {
        if (models->list[i].is == kind
            && (name == NULL || strcmp(models->list[i].name, name) == 0))
        {
            return &models->list[i];
        }
    }

    return NULL;
}


int
tf_llm_models_allowed(const tf_llm_model_t *model, const char *groups)
{
    size_t   i, k;
    json_t  *has, *list, *user;

    if (model->users == NULL) {
        return 1;
    }

    list = groups ? json_loads(groups, 0, NULL) : NULL;

    json_array_foreach(list, i, has) {
        json_array_foreach(model->users, k, user) {
            if (json_equal(has, user)) {
                json_decref(list);
                return 1;
            }
        }
    }

    json_decref(list);

    return 0;
}


int
tf_llm_models_within(const tf_llm_model_t *a, const tf_llm_model_t *b)
{
    size_t   i, k;
    json_t  *one, *other;

    if (b->only == NULL) {
        return 1;
    }

    if (a->only == NULL) {
        return 0;
    }

    json_array_foreach(a->only, i, one) {
        json_array_foreach(b->only, k, other) {
            if (json_equal(one, other)) {
                break;
            }
        }

        if (k == json_array_size(b->only)) {
            return 0;
        }
    }

    return 1;
}


void
tf_llm_models_settings(const tf_llm_model_t *model, tf_buf_t *out)
{
    size_t           i;
    const char      *at;
    const tf_key_t  *key;

    for (i = 0; i < TF_MODELS_NKEYS; i++) {
        key = &tf_models_table[i];
        at = (const char *) model + key->offset;

        switch (key->type) {

        case TF_KEY_STR:
            tf_buf_printf(out, "%s=%s\n", key->name,
                          *(const tf_key_STR *) (const void *) at);
            break;

        case TF_KEY_MS:
            tf_buf_printf(out, "%s=%lld\n", key->name, (long long)
                          *(const tf_key_MS *) (const void *) at);
            break;

        case TF_KEY_NUM:
            tf_buf_printf(out, "%s=%llu\n", key->name, (unsigned long long)
                          *(const tf_key_NUM *) (const void *) at);
            break;

        case TF_KEY_REAL:
            tf_buf_printf(out, "%s=%.17g\n", key->name,
                          *(const tf_key_REAL *) (const void *) at);
            break;

        default: /* TF_KEY_BOOL */
            tf_buf_printf(out, "%s=%d\n", key->name,
                          *(const tf_key_BOOL *) (const void *) at);
            break;
        }
    }
}


void
tf_llm_models_print(FILE *out)
{
    size_t  i;

    for (i = 0; i < TF_MODELS_NKEYS; i++) {
        (void) fprintf(out, "%s# %s\n#%s = %s\n", i ? "\n" : "",
                       tf_models_table[i].what, tf_models_table[i].name,
                       tf_models_table[i].def);
    }
}
