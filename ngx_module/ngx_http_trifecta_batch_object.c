#include "ngx_http_trifecta_batch.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_store.h"


/*
 * A batch as its owner sees it: GET /v1/batches/{id}, GET /v1/batches, and
 * POST /v1/batches/{id}/cancel.
 *
 * An id that was not made for the caller is 404 without a look at a store.
 * Ids are ordered by time, so the list is what comes before an id.
 */

#define NGX_HTTP_TRIFECTA_BATCH_LIMIT      20
#define NGX_HTTP_TRIFECTA_BATCH_LIMIT_MAX  100

/* what no id is behind */
#define NGX_HTTP_TRIFECTA_BATCH_NEWEST                                        \
    "ffffffff-ffff-ffff-ffff-ffffffffffff"


typedef struct {
    ngx_http_trifecta_op_t   op;
    ngx_uint_t               limit;     /* 0: one batch */
    ngx_uint_t               cancel;
} ngx_http_trifecta_batch_see_t;


enum {
    ngx_http_trifecta_batch_c_id = 0,
    ngx_http_trifecta_batch_c_endpoint,
    ngx_http_trifecta_batch_c_state,
    ngx_http_trifecta_batch_c_model,
    ngx_http_trifecta_batch_c_errors,
    ngx_http_trifecta_batch_c_input,
    ngx_http_trifecta_batch_c_output,
    ngx_http_trifecta_batch_c_errors_file,
    ngx_http_trifecta_batch_c_created,
    ngx_http_trifecta_batch_c_begun,
    ngx_http_trifecta_batch_c_expires,
    ngx_http_trifecta_batch_c_finalizing,
    ngx_http_trifecta_batch_c_ended,
    ngx_http_trifecta_batch_c_cancelling,
    ngx_http_trifecta_batch_c_total,
    ngx_http_trifecta_batch_c_done,
    ngx_http_trifecta_batch_c_failed,
    ngx_http_trifecta_batch_c_usage,
    ngx_http_trifecta_batch_c_metadata
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_one_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT " NGX_HTTP_TRIFECTA_BATCH_COLUMNS " FROM trifecta.batch AS b"
      " WHERE b.tenant = $1 AND b.owner = $2 AND b.id = $3::uuid", 3 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_list_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT " NGX_HTTP_TRIFECTA_BATCH_COLUMNS " FROM trifecta.batch AS b"
      " WHERE b.tenant = $1 AND b.owner = $2 AND b.id < $3::uuid"
      " ORDER BY b.id DESC LIMIT $4::int", 4 },

    { NULL, 0 }
};


/*
 * Of a batch whose file is still checked nothing runs, and its check finds
 * that it has ended; the others are ended by a sidecar.
 */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_cancel_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "WITH b AS (UPDATE trifecta.batch AS b SET cancelling = now(),"
      " state = CASE b.state WHEN 'validating' THEN 'cancelled'"
      " ELSE 'cancelling' END,"
      " ended = CASE b.state WHEN 'validating' THEN now() END"
      " WHERE b.tenant = $1 AND b.owner = $2 AND b.id = $3::uuid"
      " AND b.state IN ('validating', 'in_progress') RETURNING b.*)"
      " SELECT " NGX_HTTP_TRIFECTA_BATCH_COLUMNS " FROM b"
      " UNION ALL SELECT " NGX_HTTP_TRIFECTA_BATCH_COLUMNS
      " FROM trifecta.batch AS b WHERE b.tenant = $1 AND b.owner = $2"
      " AND b.id = $3::uuid AND NOT EXISTS (SELECT FROM b)", 3 },

    { NULL, 0 }
};


static ngx_uint_t
ngx_http_trifecta_batch_is(PGresult *res, int row, int column,
    const char *word)
{
    return ngx_strcmp(PQgetvalue(res, row, column), word) == 0;
}


static void
ngx_http_trifecta_batch_hex_id(ngx_http_trifecta_json_t *j, const char *name,
    const char *prefix, PGresult *res, int row, int column)
{
    const char  *p;

    ngx_http_trifecta_json_printf(j, "\"%s\":", name);

    if (PQgetisnull(res, row, column)) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    ngx_http_trifecta_json_printf(j, "\"%s", prefix);

    for (p = PQgetvalue(res, row, column); *p; p++) {
        if (*p != '-') {
            ngx_http_trifecta_json_raw(j, p, 1);
        }
    }

    ngx_http_trifecta_json_lit(j, "\"");
}


/* What PostgreSQL gives as a number, or as JSON, is that here, too. */

static void
ngx_http_trifecta_batch_raw(ngx_http_trifecta_json_t *j, const char *name,
    PGresult *res, int row, int column)
{
    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);

    if (PQgetisnull(res, row, column)) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    ngx_http_trifecta_json_raw(j, PQgetvalue(res, row, column),
                               PQgetlength(res, row, column));
}


static void
ngx_http_trifecta_batch_usage(ngx_http_trifecta_json_t *j, PGresult *res,
    int row, int column)
{
    json_t      *usage;
    json_int_t   in, out;

    usage = json_loadb(PQgetvalue(res, row, column),
                       (size_t) PQgetlength(res, row, column), 0, NULL);

    in = json_integer_value(json_object_get(usage, "input_tokens"));
    out = json_integer_value(json_object_get(usage, "output_tokens"));

    ngx_http_trifecta_json_printf(j, ",\"usage\":{\"input_tokens\":%L,"
                                  "\"input_tokens_details\":"
                                  "{\"cached_tokens\":0},"
                                  "\"output_tokens\":%L,"
                                  "\"output_tokens_details\":"
                                  "{\"reasoning_tokens\":0},"
                                  "\"total_tokens\":%L", (int64_t) in,
                                  (int64_t) out, (int64_t) (in + out));

    if (json_object_get(usage, "cost")) {
        ngx_http_trifecta_openai_member(j, "cost",
                                        json_object_get(usage, "cost"), "0");
    }

    ngx_http_trifecta_json_lit(j, "}");

    json_decref(usage);
}


void
ngx_http_trifecta_batch_object(PGresult *res, int row, int from,
    ngx_http_trifecta_json_t *j)
{
    int          c;
    ngx_uint_t   i;

    static const struct {
        const char  *name;
        const char  *state;
    } ends[] = {
        { "completed_at", "completed" },
        { "failed_at", "failed" },
        { "expired_at", "expired" },
        { "cancelled_at", "cancelled" }
    };

#define ngx_http_trifecta_batch_column(name)                                  \
    (from + ngx_http_trifecta_batch_c_##name)

    ngx_http_trifecta_json_lit(j, "{");
    ngx_http_trifecta_batch_hex_id(j, "id", "batch_", res, row,
                                   ngx_http_trifecta_batch_column(id));
    ngx_http_trifecta_json_lit(j, ",\"object\":\"batch\",\"endpoint\":");
    c = ngx_http_trifecta_batch_column(endpoint);
    ngx_http_trifecta_json_string(j, PQgetvalue(res, row, c),
                                  PQgetlength(res, row, c));
    ngx_http_trifecta_json_lit(j, ",\"model\":");
    c = ngx_http_trifecta_batch_column(model);

    if (PQgetisnull(res, row, c)) {
        ngx_http_trifecta_json_lit(j, "null");

    } else {
        ngx_http_trifecta_json_string(j, PQgetvalue(res, row, c),
                                      PQgetlength(res, row, c));
    }

    ngx_http_trifecta_batch_raw(j, "errors", res, row,
                                ngx_http_trifecta_batch_column(errors));
    ngx_http_trifecta_json_lit(j, ",");
    ngx_http_trifecta_batch_hex_id(j, "input_file_id", "file-", res, row,
                                   ngx_http_trifecta_batch_column(input));
    ngx_http_trifecta_json_lit(j, ",\"completion_window\":\"24h\",");
    ngx_http_trifecta_json_printf(j, "\"status\":\"%s\",",
                                  PQgetvalue(res, row,
                                       ngx_http_trifecta_batch_column(state)));
    ngx_http_trifecta_batch_hex_id(j, "output_file_id", "file-", res, row,
                                   ngx_http_trifecta_batch_column(output));
    ngx_http_trifecta_json_lit(j, ",");
    ngx_http_trifecta_batch_hex_id(j, "error_file_id", "file-", res, row,
                                 ngx_http_trifecta_batch_column(errors_file));
    ngx_http_trifecta_batch_raw(j, "created_at", res, row,
                                ngx_http_trifecta_batch_column(created));
    ngx_http_trifecta_batch_raw(j, "in_progress_at", res, row,
                                ngx_http_trifecta_batch_column(begun));
    ngx_http_trifecta_batch_raw(j, "expires_at", res, row,
                                ngx_http_trifecta_batch_column(expires));
    ngx_http_trifecta_batch_raw(j, "finalizing_at", res, row,
                                ngx_http_trifecta_batch_column(finalizing));

    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {

        if (ngx_http_trifecta_batch_is(res, row,
                                       ngx_http_trifecta_batch_column(state),
                                       ends[i].state))
        {
            ngx_http_trifecta_batch_raw(j, ends[i].name, res, row,
                                       ngx_http_trifecta_batch_column(ended));
        } else {
            ngx_http_trifecta_json_printf(j, ",\"%s\":null", ends[i].name);
        }
    }

    ngx_http_trifecta_batch_raw(j, "cancelling_at", res, row,
                                ngx_http_trifecta_batch_column(cancelling));
    ngx_http_trifecta_json_printf(j, ",\"request_counts\":{\"total\":%s,"
                                  "\"completed\":%s,\"failed\":%s}",
                  PQgetvalue(res, row, ngx_http_trifecta_batch_column(total)),
                  PQgetvalue(res, row, ngx_http_trifecta_batch_column(done)),
                  PQgetvalue(res, row,
                             ngx_http_trifecta_batch_column(failed)));
    ngx_http_trifecta_batch_usage(j, res, row,
                                  ngx_http_trifecta_batch_column(usage));
    ngx_http_trifecta_batch_raw(j, "metadata", res, row,
                                ngx_http_trifecta_batch_column(metadata));
    ngx_http_trifecta_json_lit(j, "}");
}


static ngx_int_t
ngx_http_trifecta_batch_reply_one(ngx_http_trifecta_batch_see_t *see,
    PGresult *res)
{
    const char                *state;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = see->op.request;

    if (PQntuples(res) == 0) {
        return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, NULL,
                                       "there is no such batch");
    }

    state = PQgetvalue(res, 0, ngx_http_trifecta_batch_c_state);

    if (see->cancel && ngx_strcmp(state, "cancelling") != 0
        && ngx_strcmp(state, "cancelled") != 0)
    {
        return ngx_http_trifecta_error(r, TF_E_CONFLICT, NULL,
                                       "the batch is %s: there is nothing to "
                                       "cancel", state);
    }

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_batch_object(res, 0, 0, &j);

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static ngx_int_t
ngx_http_trifecta_batch_reply_list(ngx_http_trifecta_batch_see_t *see,
    PGresult *res)
{
    int                        i, n;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = see->op.request;
    n = ngx_min(PQntuples(res), (int) see->limit);

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_json_lit(&j, "{\"object\":\"list\",\"data\":[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_trifecta_json_lit(&j, ",");
        }

        ngx_http_trifecta_batch_object(res, i, 0, &j);
    }

    ngx_http_trifecta_json_lit(&j, "],");

    if (n) {
        ngx_http_trifecta_batch_hex_id(&j, "first_id", "batch_", res, 0, 0);
        ngx_http_trifecta_json_lit(&j, ",");
        ngx_http_trifecta_batch_hex_id(&j, "last_id", "batch_", res, n - 1,
                                       0);
    } else {
        ngx_http_trifecta_json_lit(&j, "\"first_id\":null,\"last_id\":null");
    }

    ngx_http_trifecta_json_printf(&j, ",\"has_more\":%s}",
                                  PQntuples(res) > n ? "true" : "false");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static ngx_int_t
ngx_http_trifecta_batch_seen(ngx_http_trifecta_batch_see_t *see,
    PGresult *res)
{
    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_BATCH_NCOLUMNS) {
        return ngx_http_trifecta_error(see->op.request,
                                       TF_E_STORE_UNAVAILABLE, NULL,
                                       "the store of batches cannot be "
                                       "reached: try again");
    }

    return see->limit ? ngx_http_trifecta_batch_reply_list(see, res)
                      : ngx_http_trifecta_batch_reply_one(see, res);
}


static void
ngx_http_trifecta_batch_see_read(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_see_t *see = data;

    ngx_http_request_t  *r;

    r = see->op.request;
    see->op.query = NULL;

    ngx_http_trifecta_finalize(r, ngx_http_trifecta_batch_seen(see, res));
}


static ngx_int_t
ngx_http_trifecta_batch_see(ngx_http_trifecta_batch_see_t *see,
    const ngx_http_trifecta_pg_statement_t *statements, ngx_str_t *id)
{
    u_char                      limit[NGX_INT_T_LEN];
    ngx_str_t                   params[2];
    ngx_http_request_t         *r;
    ngx_http_trifecta_store_t   store;

    r = see->op.request;

    params[0] = *id;
    params[1].data = limit;
    params[1].len = ngx_sprintf(limit, "%ui", see->limit + 1) - limit;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = statements;
    store.params = params;
    store.nparams = 2;

    if (ngx_http_trifecta_store_op(&see->op, &store,
                                   ngx_http_trifecta_batch_see_read)
        != NGX_OK)
    {
        return ngx_http_trifecta_batch_seen(see, NULL);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


/* The id of a batch of the caller; NGX_DECLINED: it is none. */

static ngx_int_t
ngx_http_trifecta_batch_own(ngx_http_request_t *r, ngx_str_t *text,
    ngx_str_t *id)
{
    tf_id_t                         tid;
    ngx_int_t                       rc;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    rc = ngx_http_trifecta_openai_job_id(r, "batch", text, id);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    return tf_id_parse(&tid, (char *) id->data, id->len) == 0
           && tf_id_verify(&tid, &mcf->id_keys, (char *) ctx->tenant.data,
                           ctx->tenant.len, (char *) ctx->owner.data,
                           ctx->owner.len)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_batch_see_one(ngx_http_request_t *r, ngx_str_t *text,
    ngx_uint_t cancel)
{
    ngx_int_t                       rc;
    ngx_str_t                       id;
    ngx_http_trifecta_batch_see_t  *see;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_trifecta_batch_own(r, text, &id);

    if (rc == NGX_DECLINED) {
        return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, NULL,
                                       "there is no such batch");
    }

    see = ngx_http_trifecta_op_create(r,
                                      sizeof(ngx_http_trifecta_batch_see_t));

    if (rc != NGX_OK || see == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    see->cancel = cancel;

    return ngx_http_trifecta_batch_see(see, cancel
                                       ? ngx_http_trifecta_batch_cancel_query
                                       : ngx_http_trifecta_batch_one_query,
                                       &id);
}


ngx_int_t
ngx_http_trifecta_batch_get(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_batch_see_one(r, id, 0);
}


ngx_int_t
ngx_http_trifecta_batch_cancel(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_batch_see_one(r, id, 1);
}


ngx_int_t
ngx_http_trifecta_batch_list(ngx_http_request_t *r, ngx_str_t *none)
{
    ngx_int_t                       rc, limit;
    ngx_str_t                       value, id;
    ngx_http_trifecta_batch_see_t  *see;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    limit = NGX_HTTP_TRIFECTA_BATCH_LIMIT;
    ngx_str_set(&id, NGX_HTTP_TRIFECTA_BATCH_NEWEST);

    if (ngx_http_arg(r, (u_char *) "limit", 5, &value) == NGX_OK) {
        limit = ngx_atoi(value.data, value.len);

        if (limit < 1 || limit > NGX_HTTP_TRIFECTA_BATCH_LIMIT_MAX) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "limit",
                                           "\"limit\" must be a number "
                                           "between 1 and %d",
                                           NGX_HTTP_TRIFECTA_BATCH_LIMIT_MAX);
        }
    }

    if (ngx_http_arg(r, (u_char *) "after", 5, &value) == NGX_OK) {
        rc = ngx_http_trifecta_batch_own(r, &value, &id);

        if (rc == NGX_DECLINED) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "after",
                                           "\"after\" is no id of a batch");
        }

        if (rc != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    see = ngx_http_trifecta_op_create(r,
                                      sizeof(ngx_http_trifecta_batch_see_t));
    if (see == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    see->limit = (ngx_uint_t) limit;

    return ngx_http_trifecta_batch_see(see,
                                       ngx_http_trifecta_batch_list_query,
                                       &id);
}
