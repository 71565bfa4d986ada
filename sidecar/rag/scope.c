#include "rag/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/meta.h>

#include "rag/array.h"


#define TF_SCOPE_MS          10000
#define TF_SCOPE_NAME_SHOWN  120    /* bytes of it, in a message */


static tf_rag_scope_status_t tf_rag_scope_allowed(const json_t *only,
    const json_t *names, tf_rag_scope_of_t *scope);
static tf_rag_scope_status_t tf_rag_scope_collections(tf_pg_t *pg,
    const json_t *names, int all, tf_rag_scope_of_t *scope);
static tf_rag_scope_status_t tf_rag_scope_documents(tf_pg_t *pg,
    const json_t *filters, tf_rag_scope_of_t *scope);


static tf_rag_scope_status_t
tf_rag_scope_refuse(tf_rag_scope_of_t *scope, const char *code,
    const char *message)
{
    scope->code = code;
    (void) snprintf(scope->message, sizeof(scope->message), "%s", message);

    return TF_SCOPE_REFUSED;
}


static tf_rag_scope_status_t
tf_rag_scope_invalid(tf_rag_scope_of_t *scope)
{
    return tf_rag_scope_refuse(scope, "invalid_payload",
                               "The job's request could not be read.");
}


static tf_rag_scope_status_t
tf_rag_scope_store(tf_rag_scope_of_t *scope, tf_pg_status_t rc)
{
    scope->rc = rc;

    return TF_SCOPE_STORE;
}


tf_rag_scope_status_t
tf_rag_scope_find(tf_pg_t *pg, const json_t *only,
    const json_t *collections, const json_t *filters,
    tf_rag_scope_of_t *scope)
{
    tf_rag_scope_status_t  status;

    memset(scope, 0, sizeof(tf_rag_scope_of_t));

    status = TF_SCOPE_OK;

    if (collections != NULL && only != NULL) {
        status = tf_rag_scope_allowed(only, collections, scope);
    }

    if (status == TF_SCOPE_OK && (collections != NULL || only != NULL)) {
        status = tf_rag_scope_collections(pg, collections ? collections : only,
                                          collections != NULL, scope);
    }

    if (status == TF_SCOPE_OK && json_object_size(filters) > 0) {
        status = tf_rag_scope_documents(pg, filters, scope);
    }

    return status;
}


/* Refuses because of a name, of which as much is shown as there is room. */

static tf_rag_scope_status_t
tf_rag_scope_name(tf_rag_scope_of_t *scope, const char *code,
    const char *before, const char *name, const char *after)
{
    char    message[256];
    size_t  len;

    len = strlen(name);

    if (len > TF_SCOPE_NAME_SHOWN) {
        for (len = TF_SCOPE_NAME_SHOWN; (name[len] & 0xc0) == 0x80; len--) {
            /* void */
        }
    }

    (void) snprintf(message, sizeof(message), "%s \"%.*s\" %s", before,
                    (int) len, name, after);

    return tf_rag_scope_refuse(scope, code, message);
}


static tf_rag_scope_status_t
tf_rag_scope_allowed(const json_t *only, const json_t *names,
    tf_rag_scope_of_t *scope)
{
    size_t         i, k;
    const json_t  *name;

    for (i = 0; i < json_array_size(names); i++) {
        name = json_array_get(names, i);

        for (k = 0; k < json_array_size(only); k++) {
            if (json_equal(name, json_array_get(only, k))) {
                break;
            }
        }

        if (json_is_string(name) && k == json_array_size(only)) {
            return tf_rag_scope_name(scope, "collection_not_allowed",
                                     "The model does not answer from the "
                                     "collection", json_string_value(name),
                                     "- leave it out, or ask another model.");
        }
    }

    return TF_SCOPE_OK;
}


/* The first of the names that has no row. */

static const char *
tf_rag_scope_missing(const json_t *names, PGresult *res)
{
    int          row;
    size_t       i;
    const char  *name;

    for (i = 0; i < json_array_size(names); i++) {
        name = json_string_value(json_array_get(names, i));

        for (row = 0; row < PQntuples(res); row++) {
            if (strcmp(PQgetvalue(res, row, 1), name) == 0) {
                break;
            }
        }

        if (row == PQntuples(res)) {
            return name;
        }
    }

    return NULL;
}


static tf_rag_scope_status_t
tf_rag_scope_collections(tf_pg_t *pg, const json_t *names, int all,
    tf_rag_scope_of_t *scope)
{
    int              row;
    size_t           i, len;
    json_t          *name;
    tf_buf_t         list = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[1], *missing;
    tf_pg_status_t   rc;

    len = json_array_size(names);

    if (len == 0 || len > TF_COLLECTIONS_MAX) {
        return tf_rag_scope_invalid(scope);
    }

    for (i = 0; i < len; i++) {
        name = json_array_get(names, i);

        if (!json_is_string(name)) {
            tf_buf_free(&list);
            return tf_rag_scope_invalid(scope);
        }

        tf_array_text(&list, json_string_value(name),
                      json_string_length(name));
    }

    tf_array_close(&list);
    params[0] = list.failed ? "{}" : list.data;

    /* one of which nothing can be seen is not there */

    rc = tf_pg_query(pg, &res, TF_SCOPE_MS,
                     "SELECT id, name FROM trifecta.collection c "
                     "WHERE name = ANY ($1::text[]) AND EXISTS (SELECT FROM "
                     "trifecta.document d WHERE d.collection = c.id) "
                     "ORDER BY id", 1, params);
    tf_buf_free(&list);

    if (rc != TF_PG_OK) {
        return tf_rag_scope_store(scope, rc);
    }

    missing = all ? tf_rag_scope_missing(names, res) : NULL;

    if (missing != NULL) {
        PQclear(res);

        return tf_rag_scope_name(scope, "collection_not_found", "There is no "
                                 "collection", missing, "with documents that "
                                 "you may see.");
    }

    for (row = 0; row < PQntuples(res); row++) {
        tf_array_int(&scope->collections, atoll(PQgetvalue(res, row, 0)));
    }

    tf_array_close(&scope->collections);
    PQclear(res);

    if (scope->collections.failed) {
        return tf_rag_scope_store(scope, TF_PG_ERROR);
    }

    return TF_SCOPE_OK;
}


static tf_rag_scope_status_t
tf_rag_scope_documents(tf_pg_t *pg, const json_t *filters,
    tf_rag_scope_of_t *scope)
{
    long long         n;
    tf_buf_t          sql = TF_BUF_INIT;
    PGresult         *res;
    tf_pg_status_t    rc;
    tf_rag_params_t   params;

    memset(&params, 0, sizeof(tf_rag_params_t));

    tf_buf_puts(&sql, "SELECT count(*), array_agg(document) FROM (");

    if (tf_rag_filters_sql(filters, &sql, &params) != 0) {
        tf_rag_params_free(&params);
        tf_buf_free(&sql);
        return tf_rag_scope_invalid(scope);
    }

    tf_buf_printf(&sql, " LIMIT %d) AS f", TF_RAG_SCOPE_DOCUMENTS + 1);

    rc = sql.failed ? TF_PG_ERROR
         : tf_pg_query(pg, &res, TF_SCOPE_MS, sql.data, params.n,
                       (const char *const *) params.list);

    tf_rag_params_free(&params);
    tf_buf_free(&sql);

    if (rc != TF_PG_OK) {
        return tf_rag_scope_store(scope, rc);
    }

    n = atoll(PQgetvalue(res, 0, 0));

    tf_buf_puts(&scope->documents, n ? PQgetvalue(res, 0, 1) : "{}");
    PQclear(res);

    if (n > TF_RAG_SCOPE_DOCUMENTS) {
        return tf_rag_scope_refuse(scope, "filters_too_wide",
                                   "More documents pass the filters than can "
                                   "be looked through: add a member that "
                                   "fewer of them pass.");
    }

    return scope->documents.failed ? tf_rag_scope_store(scope, TF_PG_ERROR)
                                   : TF_SCOPE_OK;
}


void
tf_rag_scope_free(tf_rag_scope_of_t *scope)
{
    tf_buf_free(&scope->collections);
    tf_buf_free(&scope->documents);
}
