#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"


/*
 * GET /api/v1/queries: the caller's own jobs, newest first, a page at a time.
 *
 * Ids are ordered by time, so a page is what comes before an id: the cursor
 * is the last id of the page before.  It is a position and gives no right;
 * row-level security and the predicate decide what is shown.  One row more
 * than a page is read to know whether there is another.
 *
 * PostgreSQL alone answers: a job is listed as soon as the ledger has written
 * it, a moment after it was accepted.
 */

#define NGX_HTTP_TRIFECTA_QUERIES_LIMIT    20
#define NGX_HTTP_TRIFECTA_QUERIES_MAX      100
#define NGX_HTTP_TRIFECTA_QUERIES_COLUMNS  6

/* what no id is behind */
#define NGX_HTTP_TRIFECTA_QUERIES_NEWEST                                      \
    "ffffffff-ffff-ffff-ffff-ffffffffffff"


typedef struct {
    ngx_http_trifecta_op_t   op;
    ngx_uint_t               limit;
    ngx_str_t                cursor;
    ngx_str_t                status;        /* empty: any */
} ngx_http_trifecta_queries_t;

typedef ngx_int_t (*ngx_http_trifecta_query_arg_pt)(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value);

typedef struct {
    ngx_str_t                        name;
    ngx_http_trifecta_query_arg_pt   check;
} ngx_http_trifecta_query_arg_t;


static ngx_int_t ngx_http_trifecta_arg_cursor(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value);
static ngx_int_t ngx_http_trifecta_arg_limit(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value);
static ngx_int_t ngx_http_trifecta_arg_status(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value);


/* What is in no row is ignored. */

static const ngx_http_trifecta_query_arg_t  ngx_http_trifecta_query_args[] = {
    { ngx_string("cursor"), ngx_http_trifecta_arg_cursor },
    { ngx_string("limit"), ngx_http_trifecta_arg_limit },
    { ngx_string("status"), ngx_http_trifecta_arg_status },
    { ngx_null_string, NULL }
};


static const char *const  ngx_http_trifecta_query_states[] = {
#define NGX_HTTP_TRIFECTA_STATE(name, word, terminal)  word,
    TF_JOB_STATES(NGX_HTTP_TRIFECTA_STATE)
#undef NGX_HTTP_TRIFECTA_STATE
};


static const ngx_http_trifecta_pg_statement_t  ngx_http_trifecta_page_query[]
= {
    { "SELECT set_config('trifecta.tenant', $1, true),"
      " set_config('trifecta.owner', $2, true)", 2 },

    { "SELECT id, state, model,"
      " (extract(epoch from accepted) * 1000)::bigint,"
      " (extract(epoch from finished) * 1000)::bigint,"
      " left(request->>'query', 200)"
      " FROM trifecta.job"
      " WHERE tenant = $1 AND owner = $2 AND id < $3 AND deleted IS NULL"
      " AND kind NOT IN ('embed', 'embeddings', 'forget', 'webhook')"
      " AND ($5 = '' OR state = $5)"
      " ORDER BY id DESC LIMIT $4::int", 5 },

    { NULL, 0 }
};


/* The check of an argument returns NGX_DECLINED when it is good. */

static ngx_int_t
ngx_http_trifecta_arg_cursor(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value)
{
    tf_id_t  id;

    if (tf_id_parse(&id, (char *) value->data, value->len) != 0) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "cursor",
                                       "\"cursor\" is no \"next_cursor\" of "
                                       "an earlier page");
    }

    queries->cursor = *value;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_arg_limit(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > NGX_HTTP_TRIFECTA_QUERIES_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "limit",
                                       "\"limit\" must be a number between 1 "
                                       "and %d",
                                       NGX_HTTP_TRIFECTA_QUERIES_MAX);
    }

    queries->limit = n;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_arg_status(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, ngx_str_t *value)
{
    ngx_uint_t  i;

    for (i = 0; i < TF_JOB_NSTATES; i++) {
        if (ngx_strlen(ngx_http_trifecta_query_states[i]) == value->len
            && ngx_memcmp(ngx_http_trifecta_query_states[i], value->data,
                          value->len)
               == 0)
        {
            queries->status = *value;
            return NGX_DECLINED;
        }
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "status",
                                   "\"status\" is no status of a job");
}


static ngx_int_t
ngx_http_trifecta_queries_parse(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries)
{
    u_char                               *dst, *src;
    ngx_int_t                             rc;
    ngx_str_t                             raw, value;
    const ngx_http_trifecta_query_arg_t  *arg;

    for (arg = ngx_http_trifecta_query_args; arg->check; arg++) {

        if (ngx_http_arg(r, arg->name.data, arg->name.len, &raw) != NGX_OK) {
            continue;
        }

        value.data = ngx_pnalloc(r->pool, raw.len + 1);
        if (value.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        dst = value.data;
        src = raw.data;

        ngx_unescape_uri(&dst, &src, raw.len, 0);

        value.len = dst - value.data;

        rc = arg->check(r, queries, &value);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


static void
ngx_http_trifecta_queries_text(ngx_http_trifecta_json_t *j, const char *name,
    PGresult *res, int row, int column)
{
    ngx_http_trifecta_json_printf(j, "\"%s\":", name);
    ngx_http_trifecta_json_string(j, PQgetvalue(res, row, column),
                                  PQgetlength(res, row, column));
}


static void
ngx_http_trifecta_queries_time(ngx_http_trifecta_json_t *j, const char *name,
    PGresult *res, int row, int column)
{
    off_t  ms;

    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);

    if (PQgetisnull(res, row, column)) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    ms = ngx_atoof((u_char *) PQgetvalue(res, row, column),
                   PQgetlength(res, row, column));

    ngx_http_trifecta_json_time(j, ms == NGX_ERROR ? 0 : ms);
}


static ngx_int_t
ngx_http_trifecta_queries_reply(ngx_http_request_t *r,
    ngx_http_trifecta_queries_t *queries, PGresult *res)
{
    int                        i, n, more;
    ngx_http_trifecta_json_t   j;

    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_QUERIES_COLUMNS) {
        return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                       "the store of jobs cannot be read");
    }

    n = PQntuples(res);
    more = n > (int) queries->limit;

    if (more) {
        n = (int) queries->limit;
    }

    ngx_http_trifecta_json_init(&j, r->pool, 128 + 512 * n);
    ngx_http_trifecta_json_lit(&j, "{\"data\":[");

    for (i = 0; i < n; i++) {
        ngx_http_trifecta_json_printf(&j, "%s{", i ? "," : "");

        ngx_http_trifecta_queries_text(&j, "query_id", res, i, 0);
        ngx_http_trifecta_json_lit(&j, ",");
        ngx_http_trifecta_queries_text(&j, "status", res, i, 1);
        ngx_http_trifecta_json_lit(&j, ",");
        ngx_http_trifecta_queries_text(&j, "model", res, i, 2);
        ngx_http_trifecta_queries_time(&j, "created_at", res, i, 3);
        ngx_http_trifecta_queries_time(&j, "completed_at", res, i, 4);

        if (!PQgetisnull(res, i, 5)) {
            ngx_http_trifecta_json_lit(&j, ",");
            ngx_http_trifecta_queries_text(&j, "query", res, i, 5);
        }

        ngx_http_trifecta_json_lit(&j, "}");
    }

    ngx_http_trifecta_json_printf(&j, "],\"has_more\":%s,",
                                  more ? "true" : "false");

    if (more) {
        ngx_http_trifecta_queries_text(&j, "next_cursor", res, n - 1, 0);

    } else {
        ngx_http_trifecta_json_lit(&j, "\"next_cursor\":null");
    }

    ngx_http_trifecta_json_lit(&j, "}");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static void
ngx_http_trifecta_queries_read(void *data, PGresult *res)
{
    ngx_http_trifecta_queries_t *queries = data;

    ngx_http_request_t  *r;

    r = queries->op.request;
    queries->op.query = NULL;

    ngx_http_trifecta_finalize(r, ngx_http_trifecta_queries_reply(r, queries,
                                                                  res));
}


ngx_int_t
ngx_http_trifecta_queries(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char                          limit[NGX_INT_T_LEN];
    ngx_int_t                       rc;
    ngx_str_t                       params[5];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_queries_t    *queries;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    queries = ngx_http_trifecta_op_create(r,
                                         sizeof(ngx_http_trifecta_queries_t));
    if (queries == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    queries->limit = NGX_HTTP_TRIFECTA_QUERIES_LIMIT;
    ngx_str_set(&queries->cursor, NGX_HTTP_TRIFECTA_QUERIES_NEWEST);

    rc = ngx_http_trifecta_queries_parse(r, queries);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    params[0] = ctx->tenant;
    params[1] = ctx->owner;
    params[2] = queries->cursor;
    params[3].data = limit;
    params[3].len = ngx_sprintf(limit, "%ui", queries->limit + 1) - limit;
    params[4] = queries->status;

    queries->op.query = ngx_http_trifecta_pg_query(mcf->worker->pg,
                                               ngx_http_trifecta_page_query,
                                               params, 5,
                                               ngx_http_trifecta_queries_read,
                                               queries);
    ngx_http_trifecta_pg_charge(queries->op.query, &ctx->store_time);

    if (queries->op.query == NULL) {
        return ngx_http_trifecta_queries_reply(r, queries, NULL);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
