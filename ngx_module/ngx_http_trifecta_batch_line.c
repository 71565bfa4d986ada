#include "ngx_http_trifecta_batch.h"

#include <openssl/sha.h>


#define NGX_HTTP_TRIFECTA_BATCH_DIGEST  16


/* Of a custom_id only a digest is kept: there may be many, and long ones. */

typedef struct {
    ngx_rbtree_node_t   node;
    u_char              digest[NGX_HTTP_TRIFECTA_BATCH_DIGEST];
} ngx_http_trifecta_batch_id_t;


const ngx_http_trifecta_batch_endpoint_t
    ngx_http_trifecta_batch_endpoints[] =
{
    { ngx_string("/v1/responses"), NGX_HTTP_TRIFECTA_OPENAI_RESPONSE },
    { ngx_string("/v1/chat/completions"), NGX_HTTP_TRIFECTA_OPENAI_CHAT },
    { ngx_string("/v1/embeddings"), NGX_HTTP_TRIFECTA_BATCH_VECTORS },
    { ngx_null_string, 0 }
};


const ngx_http_trifecta_batch_endpoint_t *
ngx_http_trifecta_batch_endpoint(const u_char *path, size_t len)
{
    const ngx_http_trifecta_batch_endpoint_t  *e;

    for (e = ngx_http_trifecta_batch_endpoints; e->path.len; e++) {
        if (e->path.len == len && ngx_memcmp(e->path.data, path, len) == 0) {
            return e;
        }
    }

    return NULL;
}


static void
ngx_http_trifecta_batch_insert_id(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_int_t                      rc;
    ngx_rbtree_node_t            **p;
    ngx_http_trifecta_batch_id_t  *id, *other;

    for ( ;; ) {
        id = (ngx_http_trifecta_batch_id_t *) node;
        other = (ngx_http_trifecta_batch_id_t *) temp;

        rc = ngx_memcmp(id->digest, other->digest, sizeof(id->digest));
        p = rc < 0 ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


/* NGX_DECLINED: it was there before. */

static ngx_int_t
ngx_http_trifecta_batch_id(ngx_http_trifecta_batch_lines_t *lines,
    json_t *custom_id)
{
    u_char                         digest[SHA256_DIGEST_LENGTH];
    ngx_int_t                      rc;
    ngx_rbtree_node_t             *node;
    ngx_http_trifecta_batch_id_t  *id;

    (void) SHA256((u_char *) json_string_value(custom_id),
                  json_string_length(custom_id), digest);

    node = lines->ids.root;

    while (node != &lines->sentinel) {
        id = (ngx_http_trifecta_batch_id_t *) node;
        rc = ngx_memcmp(digest, id->digest, sizeof(id->digest));

        if (rc == 0) {
            return NGX_DECLINED;
        }

        node = rc < 0 ? node->left : node->right;
    }

    id = ngx_pcalloc(lines->pool, sizeof(ngx_http_trifecta_batch_id_t));
    if (id == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(id->digest, digest, sizeof(id->digest));
    ngx_rbtree_insert(&lines->ids, &id->node);

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_batch_lines_init(ngx_http_trifecta_batch_lines_t *lines,
    ngx_pool_t *pool)
{
    ngx_memzero(lines, sizeof(ngx_http_trifecta_batch_lines_t));

    lines->pool = pool;

    ngx_rbtree_init(&lines->ids, &lines->sentinel,
                    ngx_http_trifecta_batch_insert_id);

    ngx_http_trifecta_json_init(&lines->rows, pool, 65536);

    return lines->rows.failed ? NGX_ERROR : NGX_OK;
}


void
ngx_http_trifecta_batch_lines_free(ngx_http_trifecta_batch_lines_t *lines)
{
    json_decref(lines->errors);
}


ngx_int_t
ngx_http_trifecta_batch_wrong(ngx_http_trifecta_batch_lines_t *lines,
    const char *code, const char *param, ngx_uint_t line, const char *fmt, ...)
{
    json_t   *error;
    u_char   *last;
    va_list   args;
    u_char    message[256];

    if (lines->nerrors++ >= NGX_HTTP_TRIFECTA_BATCH_ERRORS) {
        return NGX_OK;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(message, message + sizeof(message), fmt, args);
    va_end(args);

    if (lines->errors == NULL) {
        lines->errors = json_array();
    }

    error = json_pack("{s:s, s:s%, s:s?}", "code", code, "message", message,
                      (size_t) (last - message), "param", param);

    if (line) {
        (void) json_object_set_new(error, "line",
                                   json_integer((json_int_t) line));
    } else {
        (void) json_object_set_new(error, "line", json_null());
    }

    /* the file is no batch: what was made of it is of no use */

    lines->rows.last = lines->rows.start;
    lines->nrows = 0;

    return json_array_append_new(lines->errors, error) == 0 ? NGX_OK
                                                            : NGX_ERROR;
}


/* NGX_DECLINED: the form is good; else it was noted. */

static ngx_int_t
ngx_http_trifecta_batch_form(ngx_http_trifecta_batch_lines_t *lines,
    json_t *root, json_t **custom_id, json_t **body)
{
    size_t       len;
    json_t      *value;
    ngx_int_t    rc;
    const char  *url;

    value = json_object_get(root, "custom_id");
    len = json_string_length(value);

    if (value == NULL || json_is_null(value)) {
        return ngx_http_trifecta_batch_wrong(lines,
                                "missing_required_parameter", "custom_id",
                                lines->number, "\"custom_id\" is missing");
    }

    if (len == 0 || len > NGX_HTTP_TRIFECTA_BATCH_ID_MAX) {
        return ngx_http_trifecta_batch_wrong(lines, "invalid_value",
                                "custom_id", lines->number,
                                "\"custom_id\" must be a string of 1 to %d "
                                "bytes", NGX_HTTP_TRIFECTA_BATCH_ID_MAX);
    }

    *custom_id = value;

    rc = ngx_http_trifecta_batch_id(lines, value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_trifecta_batch_wrong(lines, "duplicate_custom_id",
                                "custom_id", lines->number,
                                "this \"custom_id\" was in an earlier line: "
                                "it tells the answers apart");
    }

    value = json_object_get(root, "method");

    if (value == NULL || json_is_null(value)) {
        return ngx_http_trifecta_batch_wrong(lines,
                                "missing_required_parameter", "method",
                                lines->number, "\"method\" is missing");
    }

    if (!json_is_string(value)
        || ngx_strcmp(json_string_value(value), "POST") != 0)
    {
        return ngx_http_trifecta_batch_wrong(lines, "invalid_method",
                                "method", lines->number,
                                "\"method\" must be \"POST\"");
    }

    value = json_object_get(root, "url");
    url = json_string_value(value);

    if (value == NULL || json_is_null(value)) {
        return ngx_http_trifecta_batch_wrong(lines,
                                "missing_required_parameter", "url",
                                lines->number, "\"url\" is missing");
    }

    if (url == NULL
        || ngx_http_trifecta_batch_endpoint((u_char *) url,
                                            json_string_length(value))
           != lines->endpoint)
    {
        return ngx_http_trifecta_batch_wrong(lines, "invalid_url", "url",
                                lines->number,
                                "\"url\" must be the endpoint of the batch, "
                                "\"%V\"", &lines->endpoint->path);
    }

    *body = json_object_get(root, "body");

    if (*body == NULL || json_is_null(*body)) {
        return ngx_http_trifecta_batch_wrong(lines,
                                "missing_required_parameter", "body",
                                lines->number, "\"body\" is missing");
    }

    if (!json_is_object(*body)) {
        return ngx_http_trifecta_batch_wrong(lines, "invalid_value", "body",
                                lines->number, "\"body\" must be an object");
    }

    return NGX_DECLINED;
}


/*
 * What a single request may ask for and a line of a batch may not: nobody
 * waits for it, and the file of the answers tells of its end.
 */

static ngx_int_t
ngx_http_trifecta_batch_alone(ngx_http_request_t *r, json_t *body)
{
    if (json_is_true(json_object_get(body, "stream"))) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "stream",
                                       "\"stream\" is not for a line of a "
                                       "batch: leave it out");
    }

    if (json_is_true(json_object_get(body, "background"))) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "background",
                                       "\"background\" is not for a line of a "
                                       "batch: leave it out");
    }

    if (json_is_string(json_object_get(body, "webhook_url"))) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "webhook_url",
                                       "\"webhook_url\" is not for a line of "
                                       "a batch: leave it out");
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_batch_model(ngx_http_trifecta_batch_lines_t *lines,
    ngx_str_t *model)
{
    if (lines->model.len == 0) {
        lines->model.len = model->len;
        lines->model.data = ngx_pstrdup(lines->pool, model);

        return lines->model.data ? NGX_OK : NGX_ERROR;
    }

    if (lines->model.len != model->len
        || ngx_memcmp(lines->model.data, model->data, model->len) != 0)
    {
        lines->models = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_batch_row(ngx_http_trifecta_batch_lines_t *lines,
    json_t *custom_id, json_t *body)
{
    ngx_int_t                     rc;
    ngx_str_t                     model;
    ngx_http_request_t           *r;
    ngx_http_trifecta_json_t     *j, payload;
    ngx_http_trifecta_caught_t   *caught;

    r = &lines->standin->request;
    caught = &lines->standin->caught;
    j = &lines->rows;

    if (ngx_http_trifecta_standin_next(lines->standin, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_json_init(&payload, r->pool, 1024);

    rc = ngx_http_trifecta_batch_alone(r, body);

    if (rc == NGX_DECLINED) {
        rc = (lines->endpoint->shape == NGX_HTTP_TRIFECTA_BATCH_VECTORS)
             ? ngx_http_trifecta_openai_prepare_vectors(r, body, &model,
                                                        &payload)
             : ngx_http_trifecta_openai_prepare(r, lines->endpoint->shape,
                                                body, &model, &payload);
    }

    if (rc != NGX_DECLINED && caught->status == 0) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_json_printf(j, "%s{\"n\":%ui,\"custom_id\":",
                                  lines->nrows++ ? "," : "", lines->number);
    ngx_http_trifecta_json_string(j, json_string_value(custom_id),
                                  json_string_length(custom_id));

    if (rc == NGX_DECLINED) {

        if (ngx_http_trifecta_batch_model(lines, &model) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_trifecta_json_lit(j, ",\"model\":");
        ngx_http_trifecta_json_str(j, &model);
        ngx_http_trifecta_json_lit(j, ",\"request\":");
        ngx_http_trifecta_json_raw(j, payload.start,
                                   payload.last - payload.start);

    } else {
        ngx_http_trifecta_json_printf(j, ",\"status\":%ui,"
                                      "\"error\":{\"code\":\"%s\","
                                      "\"message\":", caught->status,
                                      caught->code);
        ngx_http_trifecta_json_str(j, &caught->message);
        ngx_http_trifecta_json_lit(j, ",\"param\":");

        if (caught->param.len) {
            ngx_http_trifecta_json_str(j, &caught->param);

        } else {
            ngx_http_trifecta_json_lit(j, "null");
        }

        ngx_http_trifecta_json_lit(j, "}");
    }

    ngx_http_trifecta_json_lit(j, "}");

    return j->failed ? NGX_ERROR : NGX_OK;
}


static ngx_uint_t
ngx_http_trifecta_batch_blank(u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != CR) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_trifecta_batch_line(ngx_http_trifecta_batch_lines_t *lines,
    u_char *p, size_t len)
{
    json_t      *root, *custom_id, *body;
    ngx_int_t    rc;
    const char  *err;

    lines->number++;

    if (ngx_http_trifecta_batch_blank(p, len)) {
        return NGX_OK;
    }

    if (++lines->total > lines->max) {
        return ngx_http_trifecta_batch_wrong(lines, "too_many_tasks", NULL,
                                lines->number, "a batch has at most %ui "
                                "requests: cut the file", lines->max);
    }

    if (len > NGX_HTTP_TRIFECTA_BATCH_LINE_MAX) {
        return ngx_http_trifecta_batch_wrong(lines, "line_too_long", NULL,
                                lines->number, "a line has at most %d bytes",
                                NGX_HTTP_TRIFECTA_BATCH_LINE_MAX);
    }

    root = ngx_http_trifecta_json_parse(p, len, &err);

    if (root == NULL) {
        return err == NULL ? NGX_ERROR
                           : ngx_http_trifecta_batch_wrong(lines,
                                     "invalid_json_line", NULL,
                                     lines->number, "%s", err);
    }

    custom_id = NULL;
    body = NULL;

    rc = ngx_http_trifecta_batch_form(lines, root, &custom_id, &body);

    if (rc == NGX_DECLINED) {
        rc = lines->nerrors
             ? NGX_OK : ngx_http_trifecta_batch_row(lines, custom_id, body);
    }

    json_decref(root);

    return rc;
}
