#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_worker.h"


/* GET /v1/files, GET and DELETE /v1/files/{id}. */

#define NGX_HTTP_TRIFECTA_FILE_LIMIT       100
#define NGX_HTTP_TRIFECTA_FILE_LIMIT_MAX   10000    /* that may be asked for */
#define NGX_HTTP_TRIFECTA_FILE_PAGE_MAX    1000     /* ... and are given */


typedef struct {
    ngx_http_trifecta_op_t   op;
    ngx_str_t                id;
    ngx_uint_t               limit;
    ngx_uint_t               asc;
    ngx_str_t                after;
    ngx_str_t                purpose;
} ngx_http_trifecta_file_op_t;


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_file_get_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT " NGX_HTTP_TRIFECTA_FILE_COLUMNS " FROM trifecta.file"
      " WHERE id = $3::uuid AND " NGX_HTTP_TRIFECTA_FILE_SEEN, 3 },

    { NULL, 0 }
};


/* Ids are ordered by time; an id that is gone is still a place among them. */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_file_newest_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT " NGX_HTTP_TRIFECTA_FILE_COLUMNS " FROM trifecta.file"
      " WHERE " NGX_HTTP_TRIFECTA_FILE_SEEN
      " AND ($4::text IS NULL OR purpose = $4::text)"
      " AND ($5::uuid IS NULL OR id < $5::uuid)"
      " ORDER BY id DESC LIMIT $3::int", 5 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_file_oldest_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT " NGX_HTTP_TRIFECTA_FILE_COLUMNS " FROM trifecta.file"
      " WHERE " NGX_HTTP_TRIFECTA_FILE_SEEN
      " AND ($4::text IS NULL OR purpose = $4::text)"
      " AND ($5::uuid IS NULL OR id > $5::uuid)"
      " ORDER BY id LIMIT $3::int", 5 },

    { NULL, 0 }
};


/*
 * Its parts, or the jobs behind it, are removed by a sidecar.  The second
 * column sees the file as it was before.
 */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_file_delete_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "WITH d AS (DELETE FROM trifecta.file"
      " WHERE id = $3::uuid AND " NGX_HTTP_TRIFECTA_FILE_SEEN
      " AND NOT EXISTS (SELECT FROM trifecta.batch b WHERE b.input = $3::uuid"
      " AND b.tenant = $1 AND b.owner = $2 AND b.state IN"
      " ('validating', 'in_progress', 'finalizing', 'cancelling'))"
      " RETURNING id)"
      " SELECT (SELECT count(*) FROM d),"
      " (SELECT count(*) FROM trifecta.file WHERE id = $3::uuid"
      " AND " NGX_HTTP_TRIFECTA_FILE_SEEN ")", 3 },

    { NULL, 0 }
};


ngx_int_t
ngx_http_trifecta_file_not_found(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, NULL,
                                   "there is no file of this id");
}


ngx_int_t
ngx_http_trifecta_file_no_store(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                   "the store of files does not answer: try "
                                   "again");
}


/* NGX_DECLINED: it is none. */

static ngx_int_t
ngx_http_trifecta_file_parse(ngx_http_request_t *r, ngx_str_t *text,
    ngx_str_t *id)
{
    u_char      name[sizeof("file_") - 1 + NGX_HTTP_TRIFECTA_OPENAI_HEX];
    ngx_str_t   same;

    if (text->len != sizeof(name) || text->data[sizeof("file") - 1] != '-') {
        return NGX_DECLINED;
    }

    /* but for its hyphen it is as the others are */

    ngx_memcpy(name, text->data, sizeof(name));
    name[sizeof("file") - 1] = '_';

    same.data = name;
    same.len = sizeof(name);

    return ngx_http_trifecta_openai_job_id(r, "file", &same, id);
}


ngx_int_t
ngx_http_trifecta_file_id(ngx_http_request_t *r, ngx_str_t *text,
    ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = ngx_http_trifecta_file_parse(r, text, id);

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    return rc == NGX_DECLINED ? ngx_http_trifecta_file_not_found(r)
                              : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


ngx_int_t
ngx_http_trifecta_file_new_id(ngx_http_request_t *r, u_char *text)
{
    tf_id_t                         id;
    ngx_time_t                     *tp;
    unsigned char                   rnd[TF_ID_RND_LEN];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    tp = ngx_timeofday();

    if (ngx_http_trifecta_random(r, rnd, sizeof(rnd)) != NGX_OK
        || tf_id_make(&id, &mcf->id_keys,
                      (uint64_t) tp->sec * 1000 + tp->msec, 0, rnd,
                      (char *) ctx->tenant.data, ctx->tenant.len,
                      (char *) ctx->owner.data, ctx->owner.len)
           != 0)
    {
        return NGX_ERROR;
    }

    tf_id_format((char *) text, &id);

    return NGX_OK;
}


static void
ngx_http_trifecta_file_name(ngx_http_trifecta_json_t *j, const char *id,
    size_t len)
{
    size_t  i;

    ngx_http_trifecta_json_lit(j, "\"file-");

    for (i = 0; i < len; i++) {
        if (id[i] != '-') {
            ngx_http_trifecta_json_raw(j, id + i, 1);
        }
    }

    ngx_http_trifecta_json_lit(j, "\"");
}


static void
ngx_http_trifecta_file_column(ngx_http_trifecta_json_t *j, PGresult *res,
    int row, int column)
{
    ngx_http_trifecta_json_string(j, PQgetvalue(res, row, column),
                                  PQgetlength(res, row, column));
}


static void
ngx_http_trifecta_file_number(ngx_http_trifecta_json_t *j, PGresult *res,
    int row, int column)
{
    ngx_http_trifecta_json_raw(j, PQgetvalue(res, row, column),
                               PQgetlength(res, row, column));
}


void
ngx_http_trifecta_file_object(ngx_http_trifecta_json_t *j, PGresult *res,
    int row)
{
    ngx_http_trifecta_json_lit(j, "{\"id\":");
    ngx_http_trifecta_file_name(j, PQgetvalue(res, row,
                                              NGX_HTTP_TRIFECTA_FILE_ID),
                                PQgetlength(res, row,
                                            NGX_HTTP_TRIFECTA_FILE_ID));
    ngx_http_trifecta_json_lit(j, ",\"object\":\"file\",\"bytes\":");
    ngx_http_trifecta_file_number(j, res, row, NGX_HTTP_TRIFECTA_FILE_BYTES);
    ngx_http_trifecta_json_lit(j, ",\"created_at\":");
    ngx_http_trifecta_file_number(j, res, row,
                                  NGX_HTTP_TRIFECTA_FILE_CREATED);

    if (!PQgetisnull(res, row, NGX_HTTP_TRIFECTA_FILE_EXPIRES)) {
        ngx_http_trifecta_json_lit(j, ",\"expires_at\":");
        ngx_http_trifecta_file_number(j, res, row,
                                      NGX_HTTP_TRIFECTA_FILE_EXPIRES);
    }

    ngx_http_trifecta_json_lit(j, ",\"filename\":");
    ngx_http_trifecta_file_column(j, res, row, NGX_HTTP_TRIFECTA_FILE_NAME);
    ngx_http_trifecta_json_lit(j, ",\"purpose\":");
    ngx_http_trifecta_file_column(j, res, row,
                                  NGX_HTTP_TRIFECTA_FILE_PURPOSE);
    ngx_http_trifecta_json_lit(j, ",\"status\":\"processed\"}");
}


static void
ngx_http_trifecta_file_got(void *data, PGresult *res)
{
    ngx_http_trifecta_file_op_t *op = data;

    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = op->op.request;
    op->op.query = NULL;

    if (res == NULL) {
        rc = ngx_http_trifecta_file_no_store(r);

    } else if (PQntuples(res) != 1) {
        rc = ngx_http_trifecta_file_not_found(r);

    } else {
        ngx_http_trifecta_json_init(&j, r->pool, 512);
        ngx_http_trifecta_file_object(&j, res, 0);

        rc = ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
    }

    ngx_http_trifecta_finalize(r, rc);
}


static void
ngx_http_trifecta_file_deleted(void *data, PGresult *res)
{
    ngx_http_trifecta_file_op_t *op = data;

    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = op->op.request;
    op->op.query = NULL;

    if (res == NULL || PQntuples(res) != 1) {
        rc = ngx_http_trifecta_file_no_store(r);

    } else if (PQgetvalue(res, 0, 0)[0] != '0') {
        ngx_http_trifecta_json_init(&j, r->pool, 128);
        ngx_http_trifecta_json_lit(&j, "{\"id\":");
        ngx_http_trifecta_file_name(&j, (char *) op->id.data, op->id.len);
        ngx_http_trifecta_json_lit(&j,
                                 ",\"object\":\"file\",\"deleted\":true}");

        rc = ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);

    } else if (PQgetvalue(res, 0, 1)[0] != '0') {
        rc = ngx_http_trifecta_error(r, TF_E_CONFLICT, NULL,
                                     "a batch that has not ended reads this "
                                     "file: cancel the batch, or wait for its "
                                     "end");

    } else {
        rc = ngx_http_trifecta_file_not_found(r);
    }

    ngx_http_trifecta_finalize(r, rc);
}


/* Asks, and has the request wait for the answer. */

static ngx_int_t
ngx_http_trifecta_file_ask(ngx_http_trifecta_file_op_t *op,
    const ngx_http_trifecta_pg_statement_t *statements, ngx_str_t *params,
    ngx_uint_t nparams, ngx_http_trifecta_pg_handler_pt handler)
{
    ngx_http_request_t         *r;
    ngx_http_trifecta_store_t   store;

    r = op->op.request;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = statements;
    store.params = params;
    store.nparams = nparams;

    if (ngx_http_trifecta_store_op(&op->op, &store, handler) != NGX_OK) {
        return ngx_http_trifecta_file_no_store(r);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


static ngx_int_t
ngx_http_trifecta_file_one(ngx_http_request_t *r, ngx_str_t *id,
    const ngx_http_trifecta_pg_statement_t *statements,
    ngx_http_trifecta_pg_handler_pt handler)
{
    ngx_int_t                     rc;
    ngx_http_trifecta_file_op_t  *op;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    op = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_file_op_t));
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_file_id(r, id, &op->id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_trifecta_file_ask(op, statements, &op->id, 1, handler);
}


ngx_int_t
ngx_http_trifecta_file_get(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_file_one(r, id, ngx_http_trifecta_file_get_query,
                                      ngx_http_trifecta_file_got);
}


ngx_int_t
ngx_http_trifecta_file_delete(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_file_one(r, id,
                                      ngx_http_trifecta_file_delete_query,
                                      ngx_http_trifecta_file_deleted);
}


static void
ngx_http_trifecta_file_listed(void *data, PGresult *res)
{
    ngx_http_trifecta_file_op_t *op = data;

    int                        i, n, more;
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = op->op.request;
    op->op.query = NULL;

    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_FILE_NCOLUMNS) {
        ngx_http_trifecta_finalize(r, ngx_http_trifecta_file_no_store(r));
        return;
    }

    n = PQntuples(res);
    more = n > (int) op->limit;

    if (more) {
        n = (int) op->limit;
    }

    ngx_http_trifecta_json_init(&j, r->pool, 128 + 320 * n);
    ngx_http_trifecta_json_lit(&j, "{\"object\":\"list\",\"data\":[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_trifecta_json_lit(&j, ",");
        }

        ngx_http_trifecta_file_object(&j, res, i);
    }

    ngx_http_trifecta_json_lit(&j, "]");

    if (n) {
        ngx_http_trifecta_json_lit(&j, ",\"first_id\":");
        ngx_http_trifecta_file_name(&j, PQgetvalue(res, 0, 0),
                                    PQgetlength(res, 0, 0));
        ngx_http_trifecta_json_lit(&j, ",\"last_id\":");
        ngx_http_trifecta_file_name(&j, PQgetvalue(res, n - 1, 0),
                                    PQgetlength(res, n - 1, 0));

    } else {
        ngx_http_trifecta_json_lit(&j, ",\"first_id\":null,\"last_id\":null");
    }

    ngx_http_trifecta_json_printf(&j, ",\"has_more\":%s}",
                                  more ? "true" : "false");

    rc = ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);

    ngx_http_trifecta_finalize(r, rc);
}


/* NGX_OK: it is there, unescaped in the pool. */

static ngx_int_t
ngx_http_trifecta_file_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char     *dst, *src;
    ngx_str_t   raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, raw.len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    dst = value->data;
    src = raw.data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_file_args(ngx_http_request_t *r,
    ngx_http_trifecta_file_op_t *op)
{
    ngx_int_t   n, rc;
    ngx_str_t   value;

    op->limit = NGX_HTTP_TRIFECTA_FILE_LIMIT;

    if (ngx_http_trifecta_file_arg(r, "limit", &value) == NGX_OK) {
        n = ngx_atoi(value.data, value.len);

        if (n < 1 || n > NGX_HTTP_TRIFECTA_FILE_LIMIT_MAX) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "limit",
                                           "\"limit\" must be a number "
                                           "between 1 and %d",
                                           NGX_HTTP_TRIFECTA_FILE_LIMIT_MAX);
        }

        op->limit = ngx_min(n, NGX_HTTP_TRIFECTA_FILE_PAGE_MAX);
    }

    if (ngx_http_trifecta_file_arg(r, "order", &value) == NGX_OK) {

        if (value.len == 3 && ngx_memcmp(value.data, "asc", 3) == 0) {
            op->asc = 1;

        } else if (value.len != 4 || ngx_memcmp(value.data, "desc", 4) != 0) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "order",
                                           "\"order\" must be \"asc\" or "
                                           "\"desc\"");
        }
    }

    if (ngx_http_trifecta_file_arg(r, "purpose", &op->purpose) == NGX_OK
        && (op->purpose.len > NGX_HTTP_TRIFECTA_FILE_VALUE_MAX
            || !ngx_http_trifecta_is_text(op->purpose.data, op->purpose.len)))
    {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "purpose",
                                       "\"purpose\" is no purpose of a file");
    }

    if (ngx_http_trifecta_file_arg(r, "after", &value) == NGX_OK) {
        rc = ngx_http_trifecta_file_parse(r, &value, &op->after);

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (rc == NGX_DECLINED) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "after",
                                           "\"after\" is no id of a file");
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_file_list(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char                        limit[NGX_INT_T_LEN];
    ngx_int_t                     rc;
    ngx_str_t                     params[3];
    ngx_http_trifecta_file_op_t  *op;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    op = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_file_op_t));
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_file_args(r, op);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    params[0].data = limit;
    params[0].len = ngx_sprintf(limit, "%ui", op->limit + 1) - limit;
    params[1] = op->purpose;
    params[2] = op->after;

    return ngx_http_trifecta_file_ask(op, op->asc
                                      ? ngx_http_trifecta_file_oldest_query
                                      : ngx_http_trifecta_file_newest_query,
                                      params, 3,
                                      ngx_http_trifecta_file_listed);
}
