#include "ngx_http_trifecta_batch.h"
#include "ngx_http_trifecta_ask.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_reply.h"


/*
 * POST /v1/batches: one statement looks for the file and makes the row, if
 * all is well.  The check of the file owns it: then the answer goes out, and
 * the check goes on.
 */

#define NGX_HTTP_TRIFECTA_BATCH_BODY_MAX  65536
#define NGX_HTTP_TRIFECTA_BATCH_HEX       32

/* what output_expires_after may say, in seconds */
#define NGX_HTTP_TRIFECTA_BATCH_KEEP_MIN  3600
#define NGX_HTTP_TRIFECTA_BATCH_KEEP_MAX  2592000


typedef struct {
    ngx_http_request_t                        *request;
    ngx_http_trifecta_batch_check_t           *check;   /* makes the row */
    ngx_http_trifecta_batch_plan_t             plan;
    json_t                                    *metadata;
    json_int_t                                 keep;    /* 0: for ever */
    unsigned                                   no_file:1;
} ngx_http_trifecta_batch_t;

typedef ngx_int_t (*ngx_http_trifecta_batch_check_pt)(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_batch_t *batch);

typedef struct {
    const char                        *name;
    ngx_http_trifecta_batch_check_pt   check;
    ngx_uint_t                         required;
} ngx_http_trifecta_batch_member_t;


static ngx_int_t ngx_http_trifecta_batch_is_file(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_batch_t *batch);
static ngx_int_t ngx_http_trifecta_batch_is_endpoint(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_batch_t *batch);
static ngx_int_t ngx_http_trifecta_batch_is_window(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_batch_t *batch);
static ngx_int_t ngx_http_trifecta_batch_is_metadata(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_batch_t *batch);
static ngx_int_t ngx_http_trifecta_batch_is_keep(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_batch_t *batch);


/* null is the same as nothing, and what is in no row is ignored. */

static const ngx_http_trifecta_batch_member_t
    ngx_http_trifecta_batch_members[] =
{
    { "input_file_id", ngx_http_trifecta_batch_is_file, 1 },
    { "endpoint", ngx_http_trifecta_batch_is_endpoint, 1 },
    { "completion_window", ngx_http_trifecta_batch_is_window, 1 },
    { "metadata", ngx_http_trifecta_batch_is_metadata, 0 },
    { "output_expires_after", ngx_http_trifecta_batch_is_keep, 0 },
    { NULL, NULL, 0 }
};


/*
 * Batches of one owner are made one after the other, or two workers could take
 * the same last place.
 */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_batch_make_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT pg_advisory_xact_lock(hashtextextended("
      "'trifecta.batch/' || $1 || '/' || $2, 0))", 2 },

    { "WITH f AS (SELECT f.id, f.kind = 'upload' AND f.purpose = 'batch' AS"
      " good, f.bytes, (SELECT count(*) FROM trifecta.batch AS o"
      " WHERE o.tenant = $1 AND o.owner = $2 AND o.state IN ('validating',"
      " 'in_progress', 'finalizing', 'cancelling')) AS open"
      " FROM trifecta.file AS f"
      " WHERE f.id = ($4::jsonb->>'file')::uuid AND f.tenant = $1"
      " AND f.owner = $2 AND f.whole"
      " AND (f.expires IS NULL OR f.expires > now())),"
      " b AS (INSERT INTO trifecta.batch (id, tenant, owner, groups, scopes,"
      " endpoint, input, metadata, output_expires_after, state, expires,"
      " request_id, trace)"
      " SELECT $3::uuid, $1, $2, $4::jsonb->'groups', $4::jsonb->'scopes',"
      " $4::jsonb->>'endpoint', f.id, $4::jsonb->'metadata',"
      " ($4::jsonb->>'keep')::integer, 'validating',"
      " now() + interval '24 hours', $4::jsonb->>'request_id',"
      " $4::jsonb->>'trace'"
      " FROM f WHERE f.good AND f.open < ($4::jsonb->>'max')::int"
      " RETURNING *)"
      " SELECT f.good, f.bytes, " NGX_HTTP_TRIFECTA_BATCH_COLUMNS
      " FROM f LEFT JOIN b ON true", 4 },

    { NULL, 0 }
};


static ngx_int_t
ngx_http_trifecta_batch_no_file(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, "input_file_id",
                                   "there is no such file");
}


static ngx_int_t
ngx_http_trifecta_batch_is_file(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_batch_t *batch)
{
    u_char       c, *p;
    size_t       len;
    ngx_uint_t   i;
    const char  *text;

    text = json_string_value(value);

    if (text == NULL) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be the id of a file",
                                       name);
    }

    len = json_string_length(value);

    if (len != sizeof("file-") - 1 + NGX_HTTP_TRIFECTA_BATCH_HEX
        || ngx_strncmp(text, "file-", 5) != 0)
    {
        batch->no_file = 1;
        return NGX_DECLINED;
    }

    text += 5;
    p = ngx_pnalloc(r->pool, TF_ID_TEXT_LEN);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    batch->plan.file.data = p;
    batch->plan.file.len = TF_ID_TEXT_LEN;

    for (i = 0; i < NGX_HTTP_TRIFECTA_BATCH_HEX; i++) {
        c = (u_char) text[i];

        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            batch->no_file = 1;
            return NGX_DECLINED;
        }

        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *p++ = '-';
        }

        *p++ = c;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_batch_is_endpoint(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_batch_t *batch)
{
    const char  *text;

    text = json_string_value(value);

    if (text) {
        batch->plan.endpoint = ngx_http_trifecta_batch_endpoint((u_char *) text,
                                                 json_string_length(value));
    }

    if (batch->plan.endpoint) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                   "\"%s\" must be \"/v1/responses\", "
                                   "\"/v1/chat/completions\" or "
                                   "\"/v1/embeddings\"", name);
}


static ngx_int_t
ngx_http_trifecta_batch_is_window(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_batch_t *batch)
{
    if (json_is_string(value)
        && ngx_strcmp(json_string_value(value), "24h") == 0)
    {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                   "\"%s\" must be \"24h\"", name);
}


static ngx_int_t
ngx_http_trifecta_batch_is_metadata(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_batch_t *batch)
{
    ngx_int_t                rc;
    ngx_http_trifecta_ask_t  ask;

    ngx_memzero(&ask, sizeof(ngx_http_trifecta_ask_t));

    rc = ngx_http_trifecta_ask_member(r, name, value, &ask);

    batch->metadata = ask.metadata;

    return rc;
}


static ngx_int_t
ngx_http_trifecta_batch_is_keep(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_batch_t *batch)
{
    json_t      *seconds;
    const char  *anchor;

    anchor = json_string_value(json_object_get(value, "anchor"));
    seconds = json_object_get(value, "seconds");
    batch->keep = json_integer_value(seconds);

    if (anchor && ngx_strcmp(anchor, "created_at") == 0
        && batch->keep >= NGX_HTTP_TRIFECTA_BATCH_KEEP_MIN
        && batch->keep <= NGX_HTTP_TRIFECTA_BATCH_KEEP_MAX)
    {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                   "\"%s\" must be an object with \"anchor\": "
                                   "\"created_at\" and \"seconds\" between "
                                   "%d and %d", name,
                                   NGX_HTTP_TRIFECTA_BATCH_KEEP_MIN,
                                   NGX_HTTP_TRIFECTA_BATCH_KEEP_MAX);
}


static ngx_int_t
ngx_http_trifecta_batch_reply(ngx_http_trifecta_batch_t *batch, PGresult *res)
{
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = batch->request;

    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_BATCH_NCOLUMNS + 2)
    {
        return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                       "the store of batches cannot be "
                                       "reached: look at the list of batches "
                                       "before you try again");
    }

    if (PQntuples(res) == 0) {
        return ngx_http_trifecta_batch_no_file(r);
    }

    if (PQgetvalue(res, 0, 0)[0] != 't') {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "input_file_id",
                                       "the file must have the purpose "
                                       "\"batch\"");
    }

    if (PQgetisnull(res, 0, 2)) {
        return ngx_http_trifecta_error(r, TF_E_TENANT_QUEUE_FULL, NULL,
                                       "you have %d batches that have not "
                                       "ended: wait for one of them, or "
                                       "cancel one",
                                       NGX_HTTP_TRIFECTA_BATCH_OPEN);
    }

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_batch_object(res, 0, 2, &j);

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static void
ngx_http_trifecta_batch_made(void *data, PGresult *res)
{
    ngx_http_trifecta_batch_t *batch = data;

    ngx_http_request_t  *r;

    r = batch->request;
    batch->check = NULL;

    ngx_http_trifecta_finalize(r, ngx_http_trifecta_batch_reply(batch, res));
}


static void
ngx_http_trifecta_batch_cleanup(void *data)
{
    ngx_http_trifecta_batch_t *batch = data;

    if (batch->check) {
        ngx_http_trifecta_batch_leave(batch->check);
        batch->check = NULL;
    }
}


static void
ngx_http_trifecta_batch_document(ngx_http_trifecta_batch_t *batch,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(batch->request);

    ngx_http_trifecta_json_lit(j, "{\"file\":");
    ngx_http_trifecta_json_str(j, &batch->plan.file);
    ngx_http_trifecta_json_lit(j, ",\"endpoint\":");
    ngx_http_trifecta_json_str(j, &batch->plan.endpoint->path);
    ngx_http_trifecta_json_lit(j, ",\"request_id\":");
    ngx_http_trifecta_json_str(j, &ctx->request_id);
    ngx_http_trifecta_json_lit(j, ",\"trace\":");
    ngx_http_trifecta_json_str(j, &ctx->traceparent);
    ngx_http_trifecta_json_printf(j, ",\"max\":%d,\"groups\":",
                                  NGX_HTTP_TRIFECTA_BATCH_OPEN);

    if (ctx->groups_json.len) {
        ngx_http_trifecta_json_raw(j, ctx->groups_json.data,
                                   ctx->groups_json.len);
    } else {
        ngx_http_trifecta_json_lit(j, "[]");
    }

    ngx_http_trifecta_json_lit(j, ",\"scopes\":");

    if (ctx->scopes_json.len) {
        ngx_http_trifecta_json_raw(j, ctx->scopes_json.data,
                                   ctx->scopes_json.len);
    } else {
        ngx_http_trifecta_json_lit(j, "[]");
    }

    if (batch->metadata) {
        ngx_http_trifecta_openai_member(j, "metadata", batch->metadata, "");
    }

    if (batch->keep) {
        ngx_http_trifecta_json_printf(j, ",\"keep\":%L",
                                      (int64_t) batch->keep);
    }

    ngx_http_trifecta_json_lit(j, "}");
}


static ngx_int_t
ngx_http_trifecta_batch_make(ngx_http_request_t *r,
    ngx_http_trifecta_batch_t *batch)
{
    ngx_int_t                   rc;
    ngx_str_t                   params[2];
    ngx_http_trifecta_ctx_t    *ctx;
    ngx_http_trifecta_json_t    j;

    ctx = ngx_http_trifecta_get_ctx(r);

    batch->plan.id.len = TF_ID_TEXT_LEN;
    batch->plan.id.data = ngx_pnalloc(r->pool, TF_ID_TEXT_LEN);

    if (batch->plan.id.data == NULL
        || ngx_http_trifecta_standin_id(r, batch->plan.id.data) != NGX_OK
        || ngx_http_trifecta_trace(r, ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_batch_document(batch, &j);

    if (j.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[0] = batch->plan.id;
    params[1].data = j.start;
    params[1].len = j.last - j.start;

    batch->plan.row.statements = ngx_http_trifecta_batch_make_query;
    batch->plan.row.params = params;
    batch->plan.row.nparams = 2;

    rc = ngx_http_trifecta_batch_begin(r, &batch->plan,
                                       ngx_http_trifecta_batch_made, batch,
                                       &batch->check);
    if (rc == NGX_BUSY) {
        return ngx_http_trifecta_error(r, TF_E_QUEUE_FULL, NULL,
                                       "too many files of batches are being "
                                       "checked: try again in a while");
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_trifecta_batch_reply(batch, NULL);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_wait(r) == NGX_OK
           ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_http_trifecta_batch_parse(ngx_http_request_t *r, json_t *root,
    ngx_http_trifecta_batch_t *batch)
{
    json_t                                  *value;
    ngx_int_t                                rc;
    const ngx_http_trifecta_batch_member_t  *m;

    for (m = ngx_http_trifecta_batch_members; m->name; m++) {

        value = json_object_get(root, m->name);

        if (value == NULL || json_is_null(value)) {

            if (m->required) {
                return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, m->name,
                                               "\"%s\" is missing", m->name);
            }

            continue;
        }

        rc = m->check(r, m->name, value, batch);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return batch->no_file ? ngx_http_trifecta_batch_no_file(r)
                          : ngx_http_trifecta_batch_make(r, batch);
}


static ngx_int_t
ngx_http_trifecta_batch_body(ngx_http_request_t *r, ngx_str_t *text)
{
    json_t                     *root;
    ngx_int_t                   rc;
    const char                 *err;
    ngx_http_cleanup_t         *cln;
    ngx_http_trifecta_batch_t  *batch;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_trifecta_batch_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    batch = cln->data;
    ngx_memzero(batch, sizeof(ngx_http_trifecta_batch_t));
    batch->request = r;
    cln->handler = ngx_http_trifecta_batch_cleanup;

    root = ngx_http_trifecta_json_parse(text->data, text->len, &err);

    if (root == NULL) {
        return err ? ngx_http_trifecta_error(r, TF_E_INVALID_JSON, NULL, "%s",
                                             err)
                   : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_batch_parse(r, root, batch);

    json_decref(root);

    return rc;
}


ngx_int_t
ngx_http_trifecta_batch_create(ngx_http_request_t *r, ngx_str_t *id)
{
    if (!ngx_http_trifecta_is_json(r)) {
        return ngx_http_trifecta_error(r, TF_E_UNSUPPORTED_MEDIA, NULL,
                                       "the body must be application/json in "
                                       "UTF-8, without a content encoding");
    }

    return ngx_http_trifecta_read_body(r, NGX_HTTP_TRIFECTA_BATCH_BODY_MAX,
                                       ngx_http_trifecta_batch_body);
}
