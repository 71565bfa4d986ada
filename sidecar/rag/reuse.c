#include "rag/reuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/sha.h>

#include <trifecta/version.h>

#include "base/log.h"
#include "llm/provider.h"


static const char  tf_reuse_find_sql[] =
    "WITH k AS (SELECT sha256(convert_to($3 || coalesce((SELECT "
    "string_agg(id || ':' || stamp, ',' ORDER BY id) "
    "FROM trifecta.collection), '') || ';' || coalesce((SELECT "
    "string_agg(id::text, ',' ORDER BY id) FROM trifecta.embedding_set "
    "WHERE status = 'live'), ''), 'UTF8')) AS key) "
    "SELECT encode(k.key, 'hex'), r.body, r.citations::text FROM k "
    "LEFT JOIN trifecta.answer_cache c ON c.tenant = $1 AND c.owner = $2 "
    "AND c.key = k.key AND c.expires > now() "
    "LEFT JOIN trifecta.job j ON j.id = c.job AND j.tenant = $1 "
    "AND j.owner = $2 AND j.state = 'succeeded' AND j.deleted IS NULL "
    "LEFT JOIN trifecta.job_result r ON r.job = j.id";

static const char  tf_reuse_keep_sql[] =
    "INSERT INTO trifecta.answer_cache (tenant, owner, key, job, expires) "
    "VALUES ($1, $2, decode($3, 'hex'), $4::uuid, "
    "now() + $5::bigint * interval '1 ms') "
    "ON CONFLICT (tenant, owner, key) DO UPDATE SET job = excluded.job, "
    "made = now(), expires = excluded.expires";

static const char  tf_reuse_evict_sql[] =
    "DELETE FROM trifecta.answer_cache WHERE tenant = $1 AND owner = $2 "
    "AND (expires <= now() OR key IN (SELECT key FROM trifecta.answer_cache "
    "WHERE tenant = $1 AND owner = $2 ORDER BY made DESC, key OFFSET $3))";


static int
tf_reuse_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}


/* What of a payload the answer does not depend on, or is a part of its own. */

static const char *const  tf_reuse_others[] = {
    "query", "model", "conversation_id", "metadata", "webhook_url", "openai",
    NULL
};


/* Each part with its length, so that no two lists of parts look alike. */

static void
tf_reuse_part(tf_buf_t *all, const char *text)
{
    tf_buf_printf(all, "%zu:%s\n", strlen(text), text);
}


/* The same rights in another order are the same rights. */

static int
tf_reuse_groups(tf_buf_t *all, const char *groups)
{
    size_t        i, n;
    json_t       *list;
    const char  **names;

    list = json_loads(groups, 0, NULL);
    n = json_array_size(list);
    names = calloc(n + 1, sizeof(char *));

    if (list == NULL || names == NULL) {
        json_decref(list);
        free(names);
        return -1;
    }

    for (i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(list, i));

        if (names[i] == NULL) {
            names[i] = "";
        }
    }

    qsort(names, n, sizeof(char *), tf_reuse_order);

    tf_buf_printf(all, "groups %zu\n", n);

    for (i = 0; i < n; i++) {
        tf_reuse_part(all, names[i]);
    }

    json_decref(list);
    free(names);

    return 0;
}


/* What else was asked for, always in the same order. */

static int
tf_reuse_rest(tf_buf_t *all, const json_t *payload)
{
    char    *text;
    size_t   i;
    json_t  *rest;

    rest = json_copy((json_t *) payload);

    for (i = 0; tf_reuse_others[i] != NULL; i++) {
        (void) json_object_del(rest, tf_reuse_others[i]);
    }

    text = json_dumps(rest, JSON_COMPACT|JSON_SORT_KEYS);
    json_decref(rest);

    if (text == NULL) {
        return -1;
    }

    tf_reuse_part(all, text);
    free(text);

    return 0;
}


static int
tf_reuse_digest(const tf_answer_request_t *request,
    const tf_llm_model_t *model, char digest[65])
{
    int               rc;
    size_t            i;
    tf_buf_t          all = TF_BUF_INIT;
    unsigned char     md[SHA256_DIGEST_LENGTH];
    const tf_conf_t  *conf;

    conf = request->conf;

    tf_reuse_part(&all, TF_VERSION);
    tf_reuse_part(&all, request->tenant);
    tf_reuse_part(&all, request->owner);
    rc = tf_reuse_groups(&all, request->groups);
    tf_reuse_part(&all, request->question);
    rc |= tf_reuse_rest(&all, request->payload);
    tf_reuse_part(&all, model->name);
    tf_buf_printf(&all, "%.17g %.17g %.17g %.17g %.17g %.17g %llu\n",
                  conf->answer_threshold, conf->weight_bm25,
                  conf->weight_ngrams, conf->weight_vectors,
                  conf->weight_spelling, conf->feedback,
                  (unsigned long long) conf->ngrams_scan);

    /* also those that had a part in the search */

    for (i = 0; i < request->models->n; i++) {
        tf_reuse_part(&all, request->models->list[i].name);
        tf_llm_models_settings(&request->models->list[i], &all);
    }

    if (rc == 0 && !all.failed) {
        (void) SHA256((unsigned char *) all.data, all.len, md);

        for (i = 0; i < sizeof(md); i++) {
            (void) snprintf(digest + 2 * i, 3, "%02x", md[i]);
        }

    } else {
        rc = -1;
    }

    tf_buf_free(&all);

    return rc;
}


int
tf_reuse_may(const tf_answer_request_t *request, const tf_llm_model_t *model,
    tf_reuse_t *reuse)
{
    reuse->key[0] = '\0';

    return request->conf->answer_cache > 0 && model->cache > 0
           && model->by->wire != NULL
           && tf_reuse_digest(request, model, reuse->digest) == 0;
}


tf_pg_status_t
tf_reuse_find(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_reuse_t *reuse, tf_answer_t *answer,
    int *hit)
{
    PGresult        *res;
    const char      *params[3];
    tf_pg_status_t   rc;

    *hit = 0;

    params[0] = request->tenant;
    params[1] = request->owner;
    params[2] = reuse->digest;

    rc = tf_pg_begin_as(pg, request->tenant, request->owner, request->groups);

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, &res, 0, tf_reuse_find_sql, 3, params);
    }

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    (void) snprintf(reuse->key, sizeof(reuse->key), "%s",
                    PQgetvalue(res, 0, 0));

    if (!PQgetisnull(res, 0, 1)) {
        tf_buf_puts(&answer->body, PQgetvalue(res, 0, 1));
        tf_buf_puts(&answer->citations, PQgetvalue(res, 0, 2));
        tf_buf_printf(&answer->usage, "{\"input_tokens\":0,"
                      "\"output_tokens\":0,\"total_tokens\":0,"
                      "\"model\":\"%s\",\"cached\":true}", model->name);

        *hit = !answer->body.failed && !answer->citations.failed
               && !answer->usage.failed;
    }

    PQclear(res);

    return tf_pg_commit(pg);
}


void
tf_reuse_keep(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, const tf_reuse_t *reuse)
{
    char             age[24], max[24];
    const char      *params[5];
    tf_pg_status_t   rc;

    (void) snprintf(age, sizeof(age), "%lld", (long long) model->cache);
    (void) snprintf(max, sizeof(max), "%llu",
                    (unsigned long long) pg->conf->answer_cache);

    params[0] = request->tenant;
    params[1] = request->owner;
    params[2] = reuse->key;
    params[3] = request->job;
    params[4] = age;

    rc = tf_pg_begin_as(pg, request->tenant, request->owner, request->groups);

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, NULL, 0, tf_reuse_keep_sql, 5, params);
    }

    if (rc == TF_PG_OK) {
        params[2] = max;
        rc = tf_pg_query(pg, NULL, 0, tf_reuse_evict_sql, 3, params);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);
    }

    if (rc != TF_PG_OK) {
        tf_log(TF_LOG_INFO, "an answer was not remembered: %s", pg->err);
        tf_pg_rollback(pg);
    }
}
