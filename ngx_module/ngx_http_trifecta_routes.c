#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_shard.h"


#define NGX_HTTP_TRIFECTA_QUERY_PATH  "/api/v1/query"


typedef struct {
    ngx_uint_t                   mode;      /* kind of location */
    ngx_uint_t                   methods;
    const char                  *allow;
    const char                  *path;      /* {id} is one segment, {*} all */
    ngx_http_trifecta_route_pt   handler;
} ngx_http_trifecta_route_t;


static const ngx_http_trifecta_route_t  ngx_http_trifecta_routes[] = {

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      NGX_HTTP_TRIFECTA_QUERY_PATH, ngx_http_trifecta_submit },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      NGX_HTTP_TRIFECTA_QUERY_PATH "/{id}", ngx_http_trifecta_result },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_DELETE, "DELETE",
      NGX_HTTP_TRIFECTA_QUERY_PATH "/{id}", ngx_http_trifecta_delete },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      NGX_HTTP_TRIFECTA_QUERY_PATH "/{id}/events", ngx_http_trifecta_events },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      NGX_HTTP_TRIFECTA_QUERY_PATH "/{id}/cancel", ngx_http_trifecta_cancel },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/api/v1/queries", ngx_http_trifecta_queries },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_DELETE, "DELETE",
      "/api/v1/conversations/{id}", ngx_http_trifecta_forget },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/responses", ngx_http_trifecta_openai_create },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/responses/{id}", ngx_http_trifecta_openai_get },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_DELETE, "DELETE",
      "/v1/responses/{id}", ngx_http_trifecta_openai_delete },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/responses/{id}/cancel", ngx_http_trifecta_openai_cancel },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/responses/{id}/input_items", ngx_http_trifecta_openai_input_items },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/chat/completions", ngx_http_trifecta_openai_create_chat },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/embeddings", ngx_http_trifecta_openai_create_embeddings },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/files", ngx_http_trifecta_file_create },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/files", ngx_http_trifecta_file_list },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/files/{id}", ngx_http_trifecta_file_get },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_DELETE, "DELETE",
      "/v1/files/{id}", ngx_http_trifecta_file_delete },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/files/{id}/content", ngx_http_trifecta_file_content },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/models", ngx_http_trifecta_openai_models },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/models/{*}", ngx_http_trifecta_openai_one_model },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/batches", ngx_http_trifecta_batch_create },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/batches", ngx_http_trifecta_batch_list },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_GET, "GET",
      "/v1/batches/{id}", ngx_http_trifecta_batch_get },

    { NGX_HTTP_TRIFECTA_API, NGX_HTTP_POST, "POST",
      "/v1/batches/{id}/cancel", ngx_http_trifecta_batch_cancel },

    { NGX_HTTP_TRIFECTA_ADMIN, NGX_HTTP_GET|NGX_HTTP_HEAD, "GET, HEAD",
      "/livez", ngx_http_trifecta_livez },

    { NGX_HTTP_TRIFECTA_ADMIN, NGX_HTTP_GET|NGX_HTTP_HEAD, "GET, HEAD",
      "/readyz", ngx_http_trifecta_readyz },

    { NGX_HTTP_TRIFECTA_ADMIN, NGX_HTTP_GET|NGX_HTTP_HEAD, "GET, HEAD",
      "/metrics", ngx_http_trifecta_metrics_page },

    { 0, 0, NULL, NULL, NULL }
};


static ngx_uint_t
ngx_http_trifecta_match(const char *path, ngx_str_t *uri, ngx_str_t *id)
{
    u_char  *p, *end;

    p = uri->data;
    end = uri->data + uri->len;

    while (*path) {

        if (path[0] == '{' && path[1] == 'i') {
            id->data = p;

            while (p < end && *p != '/') {
                p++;
            }

            id->len = p - id->data;

            if (id->len == 0) {
                return 0;
            }

            path += 4;
            continue;
        }

        if (path[0] == '{') {
            id->data = p;
            id->len = end - p;

            return id->len > 0;
        }

        if (p == end || *p != (u_char) *path) {
            return 0;
        }

        p++;
        path++;
    }

    return p == end;
}


/*
 * The rows of one path stand together for 405: Allow lists the methods of
 * all of them.
 */

static ngx_int_t
ngx_http_trifecta_not_allowed(ngx_http_request_t *r, ngx_uint_t mode)
{
    u_char                           *p, *last;
    ngx_str_t                         allow, id;
    const ngx_http_trifecta_route_t  *route;

    allow.data = ngx_pnalloc(r->pool, 256);
    if (allow.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = allow.data;
    last = p + 256;

    for (route = ngx_http_trifecta_routes; route->path; route++) {
        if (route->mode == mode
            && ngx_http_trifecta_match(route->path, &r->uri, &id))
        {
            p = ngx_slprintf(p, last, p == allow.data ? "%s" : ", %s",
                             route->allow);
        }
    }

    allow.len = p - allow.data;

    if (ngx_http_trifecta_header(r, "Allow", allow.data, allow.len)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_error(r, TF_E_METHOD_NOT_ALLOWED, NULL,
                                   "this path takes %V", &allow);
}


static ngx_int_t
ngx_http_trifecta_route(ngx_http_request_t *r, ngx_uint_t mode)
{
    ngx_str_t                         id;
    ngx_uint_t                        found;
    ngx_http_trifecta_ctx_t          *ctx;
    const ngx_http_trifecta_route_t  *route;

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->content = 1;

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    /* the phase before has seen to it; without it nobody gets in */

    if (mode == NGX_HTTP_TRIFECTA_API && !ctx->authenticated) {
        return ngx_http_trifecta_error(r, TF_E_MISSING_TOKEN, NULL,
                                       "a bearer token is required");
    }

    found = 0;

    for (route = ngx_http_trifecta_routes; route->path; route++) {

        if (route->mode != mode) {
            continue;
        }

        ngx_str_null(&id);

        if (ngx_http_trifecta_match(route->path, &r->uri, &id)) {
            found = 1;

            if (r->method & route->methods) {
                return route->handler(r, &id);
            }
        }
    }

    if (found) {
        return ngx_http_trifecta_not_allowed(r, mode);
    }

    return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, NULL,
                                   "there is nothing at this path");
}


ngx_int_t
ngx_http_trifecta_api_handler(ngx_http_request_t *r)
{
    return ngx_http_trifecta_route(r, NGX_HTTP_TRIFECTA_API);
}


ngx_int_t
ngx_http_trifecta_admin_handler(ngx_http_request_t *r)
{
    return ngx_http_trifecta_route(r, NGX_HTTP_TRIFECTA_ADMIN);
}


ngx_uint_t
ngx_http_trifecta_route_index(ngx_http_request_t *r)
{
    ngx_str_t                         id;
    ngx_uint_t                        i;
    const ngx_http_trifecta_route_t  *route;

    for (i = 0; ngx_http_trifecta_routes[i].path; i++) {
        route = &ngx_http_trifecta_routes[i];

        if (route->mode == NGX_HTTP_TRIFECTA_API
            && (r->method & route->methods)
            && ngx_http_trifecta_match(route->path, &r->uri, &id))
        {
            return i + 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_trifecta_route_name(ngx_uint_t i, const char **method,
    const char **path)
{
    const ngx_http_trifecta_route_t  *route;

    if (i - 1 >= sizeof(ngx_http_trifecta_routes)
                 / sizeof(ngx_http_trifecta_routes[0]) - 1)
    {
        return 0;
    }

    route = &ngx_http_trifecta_routes[i - 1];

    *method = route->allow;
    *path = route->path;

    return route->mode == NGX_HTTP_TRIFECTA_API;
}


void
ngx_http_trifecta_op_cancel(ngx_http_trifecta_op_t *op)
{
    if (op->cmd) {
        ngx_http_trifecta_redis_orphan(op->cmd);
        op->cmd = NULL;
    }

    if (op->query) {
        ngx_http_trifecta_pg_orphan(op->query);
        op->query = NULL;
    }

    if (op->confirm) {
        ngx_http_trifecta_confirm_orphan(op->confirm);
        op->confirm = NULL;
    }
}


ngx_int_t
ngx_http_trifecta_op_change(ngx_http_trifecta_op_t *op,
    ngx_http_trifecta_shard_t *shard, int argc, const char **argv,
    const size_t *argvlen, ngx_http_trifecta_redis_handler_pt handler)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(op->request);

    if (shard->confirm) {
        op->confirm = ngx_http_trifecta_confirm_command(shard->confirm, argc,
                                                        argv, argvlen,
                                                        handler, op,
                                                        &ctx->queue_time);
        return op->confirm ? NGX_OK : NGX_ERROR;
    }

    op->cmd = ngx_http_trifecta_redis_command(shard->redis, argc, argv,
                                              argvlen,
                                              NGX_HTTP_TRIFECTA_REDIS_RESEND,
                                              handler, op);
    ngx_http_trifecta_redis_charge(op->cmd, &ctx->queue_time);

    return op->cmd ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_trifecta_op_cleanup(void *data)
{
    ngx_http_trifecta_op_cancel(data);
}


void *
ngx_http_trifecta_op_create(ngx_http_request_t *r, size_t size)
{
    ngx_http_cleanup_t      *cln;
    ngx_http_trifecta_op_t  *op;

    op = ngx_pcalloc(r->pool, size);
    if (op == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    op->request = r;

    cln->handler = ngx_http_trifecta_op_cleanup;
    cln->data = op;

    return op;
}


ngx_int_t
ngx_http_trifecta_job_path(ngx_http_request_t *r, ngx_str_t *id,
    ngx_str_t *path)
{
    u_char  *p;

    path->len = sizeof(NGX_HTTP_TRIFECTA_QUERY_PATH "/") - 1 + id->len;
    path->data = ngx_pnalloc(r->pool, path->len);
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(path->data, NGX_HTTP_TRIFECTA_QUERY_PATH "/",
                   sizeof(NGX_HTTP_TRIFECTA_QUERY_PATH "/") - 1);
    ngx_memcpy(p, id->data, id->len);

    return NGX_OK;
}
