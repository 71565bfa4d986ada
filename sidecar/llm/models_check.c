#include "llm/models_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include <trifecta/meta.h>

#include "llm/provider.h"


const char *
tf_llm_models_kind(tf_llm_model_t *model)
{
    size_t  i;

    static const struct {
        const char     *word;
        tf_llm_kind_t   is;
    } kinds[] = {
        { "chat", TF_LLM_CHAT },
        { "embedding", TF_LLM_EMBEDDING },
        { "rerank", TF_LLM_RERANK }
    };

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(model->kind, kinds[i].word) == 0) {
            model->is = kinds[i].is;
            return NULL;
        }
    }

    return "kind must be chat, embedding or rerank";
}


/*
 * The names of a list with commas between, as an array; NULL: one is empty,
 * too long, or no UTF-8.
 */

static json_t *
tf_models_names(const char *text)
{
    size_t       n;
    json_t      *list;
    const char  *p;

    list = json_array();

    for (p = text; p != NULL; p = p[n] ? p + n + 1 : NULL) {
        p += strspn(p, " \t");
        n = strcspn(p, ",");

        while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) {
            n--;
        }

        if (n == 0 || n > TF_COLLECTION_NAME_MAX
            || json_array_append_new(list, json_stringn(p, n)) != 0)
        {
            json_decref(list);
            return NULL;
        }

        n += strspn(p + n, " \t");
    }

    return list;
}


const char *
tf_llm_models_collections(tf_llm_model_t *model)
{
    if (model->collections[0] == '\0') {
        return NULL;
    }

    if (model->is != TF_LLM_CHAT || !model->retrieval) {
        return "collections are for models of kind chat with retrieval = on";
    }

    model->only = tf_models_names(model->collections);

    if (model->only == NULL) {
        return "collections must be names of 1 to 255 bytes in UTF-8, with "
               "commas between";
    }

    return json_array_size(model->only) > TF_COLLECTIONS_MAX
           ? "collections must be 16 names at most" : NULL;
}


const char *
tf_llm_models_groups(tf_llm_model_t *model)
{
    if (model->groups[0] == '\0') {
        return NULL;
    }

    if (model->is == TF_LLM_RERANK) {
        return "groups are for models that clients can ask for: not for kind "
               "rerank";
    }

    model->users = tf_models_names(model->groups);

    return model->users == NULL
           ? "groups must be names of 1 to 255 bytes in UTF-8, with commas "
             "between"
           : NULL;
}


/* What a model that does not answer must say; NULL or what is wrong. */

static const char *
tf_models_check_kind(const tf_llm_model_t *model)
{
    const tf_llm_wire_t  *wire;

    wire = model->by->wire;

    if (wire == NULL) {
        return "this provider has only models of kind chat";
    }

    if (model->fallback[0]) {
        return "only models of kind chat have a fallback";
    }

    if (model->query_timeout < 1) {
        return "query_timeout must be more than 0";
    }

    if (model->is == TF_LLM_RERANK) {
        return wire->rerank == NULL
               ? "this provider has no rerank: openai has" : NULL;
    }

    if (model->dimensions < 1 || model->dimensions > TF_LLM_DIMS_MAX) {
        return "dimensions must be set: how many numbers a vector of this "
               "model has, 1 to 4000";
    }

    if (strcmp(model->encoding, "base64") != 0
        && strcmp(model->encoding, "float") != 0)
    {
        return "encoding must be base64 or float";
    }

    if (model->batch < 1 || model->batch > TF_LLM_INPUTS_MAX) {
        return "batch must be between 1 and 2048";
    }

    return NULL;
}


const char *
tf_llm_models_check(const tf_llm_model_t *model)
{
    char        *end;
    double       t;
    const char  *why;

    if (model->by == NULL) {
        return "provider must be extractive, openai, ollama or echo";
    }

    why = model->is == TF_LLM_CHAT ? NULL : tf_models_check_kind(model);
    if (why != NULL) {
        return why;
    }

    if (model->by->wire != NULL && model->base_url[0] == '\0') {
        return "base_url is missing: where is the server?";
    }

    if (model->by->wire != NULL
        && strncmp(model->base_url, "https://", 8) != 0
        && strncmp(model->base_url, "http://", 7) != 0)
    {
        return "base_url must begin with https:// or http://";
    }

    if (model->temperature[0]) {
        t = strtod(model->temperature, &end);
        if (*end != '\0' || !(t >= 0 && t <= 2)) {
            return "temperature must be between 0 and 2";
        }
    }

    if (model->is != TF_LLM_CHAT && model->context < 16) {
        return "context must be at least 16";
    }

    if (model->context > 100000000
        || (model->is == TF_LLM_CHAT
            && (model->max_output < 1 || model->max_output > 1000000
                || model->context < model->max_output + 256)))
    {
        return "context must be at least max_output + 256";
    }

    if (model->by->wire == NULL
        && (model->parallel_requests || model->requests_per_minute
            || model->tokens_per_minute))
    {
        return "only models behind a server have limits: parallel_requests, "
               "requests_per_minute, tokens_per_minute";
    }

    if (model->parallel_requests > 1000000000
        || model->requests_per_minute > 1000000000
        || model->tokens_per_minute > 1000000000000)
    {
        return "a limit is larger than any server's: leave it out";
    }

    if (model->limit_wait > 60000) {
        return "limit_wait must be a minute at most";
    }

    if (model->history > 1000000) {
        return "history must be at most 1000000 tokens";
    }

    if (model->talk_timeout > 600000) {
        return "talk_timeout must be ten minutes at most";
    }

    if (model->connect_timeout < 1 || model->first_token_timeout < 1
        || model->idle_timeout < 1 || model->total_timeout < 1
        || model->total_timeout > 86400000)
    {
        return "every timeout must be more than 0, and a day at most";
    }

    return NULL;
}


int
tf_llm_models_keys(tf_llm_model_t *model, char *err, size_t errlen)
{
    int      rc;
    char    *data, *p, *next;
    size_t   len, n;

    if (model->key_file[0] == '\0') {
        return 0;
    }

    data = tf_read_file(model->key_file, 65536, &len);
    if (data == NULL) {
        (void) snprintf(err, errlen, "[%s]: cannot read \"%s\": %s",
                        model->name, model->key_file, strerror(errno));
        return -1;
    }

    rc = -1;

    model->keys = calloc(TF_LLM_KEYS_MAX, sizeof(char *));
    if (model->keys == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        goto done;
    }

    for (p = data; p != NULL; p = next) {
        next = strchr(p, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }

        n = strcspn(p, " \t\r");
        p[n] = '\0';

        if (n == 0) {
            continue;
        }

        if (model->nkeys == TF_LLM_KEYS_MAX) {
            (void) snprintf(err, errlen, "[%s]: more than %d keys in \"%s\"",
                            model->name, TF_LLM_KEYS_MAX, model->key_file);
            goto done;
        }

        model->keys[model->nkeys] = strdup(p);
        if (model->keys[model->nkeys] == NULL) {
            (void) snprintf(err, errlen, "out of memory");
            goto done;
        }

        model->nkeys++;
    }

    if (model->nkeys == 0) {
        (void) snprintf(err, errlen, "[%s]: \"%s\" has no key in it",
                        model->name, model->key_file);
        goto done;
    }

    rc = 0;

done:

    OPENSSL_cleanse(data, len);
    free(data);

    return rc;
}
