#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_claims.h"
#include "ngx_http_trifecta_routes.h"


/*
 * Variables of a request:
 *
 *   $trifecta_request_id     req_<32 hex>, on every request
 *   $trifecta_tenant         \
 *   $trifecta_owner           > of the verified token
 *   $trifecta_claim_<name>   /
 *   $trifecta_job_id         once the job is known
 *   $trifecta_route          method and path of the route that it matches
 *   $trifecta_error          code of an error answer
 *   $trifecta_outcome        what became of a submit
 *   $trifecta_queue_time     seconds that Redis and PostgreSQL took for this
 *   $trifecta_store_time     request, if they were asked
 *   $trifecta_trace_id       of the trace that the request belongs to
 *   $trifecta_traceparent    what to send along to continue that trace
 *
 * A variable that has nothing to say is empty.  None is cached: one that is
 * read before the token was checked has its value afterwards, so a limit on
 * it cannot be slipped past by an earlier "set".
 */

static ngx_int_t ngx_http_trifecta_vars_get(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_trifecta_vars_trace(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_trifecta_vars_route(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_trifecta_vars_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_trifecta_vars_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static const json_t *ngx_http_trifecta_vars_find(json_t *claims,
    u_char *name, size_t len);
static void ngx_http_trifecta_vars_set(ngx_http_variable_value_t *v,
    const void *data, size_t len);


static ngx_http_variable_t  ngx_http_trifecta_vars[] = {

    { ngx_string("trifecta_request_id"), NULL, ngx_http_trifecta_vars_get,
      offsetof(ngx_http_trifecta_ctx_t, request_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_tenant"), NULL, ngx_http_trifecta_vars_get,
      offsetof(ngx_http_trifecta_ctx_t, tenant),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_owner"), NULL, ngx_http_trifecta_vars_get,
      offsetof(ngx_http_trifecta_ctx_t, owner),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_job_id"), NULL, ngx_http_trifecta_vars_get,
      offsetof(ngx_http_trifecta_ctx_t, job_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_route"), NULL, ngx_http_trifecta_vars_route, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_error"), NULL, ngx_http_trifecta_vars_get,
      offsetof(ngx_http_trifecta_ctx_t, error),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_outcome"), NULL, ngx_http_trifecta_vars_get,
      offsetof(ngx_http_trifecta_ctx_t, outcome),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_queue_time"), NULL, ngx_http_trifecta_vars_time,
      offsetof(ngx_http_trifecta_ctx_t, queue_time),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_store_time"), NULL, ngx_http_trifecta_vars_time,
      offsetof(ngx_http_trifecta_ctx_t, store_time),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_trace_id"), NULL, ngx_http_trifecta_vars_trace,
      offsetof(ngx_http_trifecta_ctx_t, trace_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_traceparent"), NULL, ngx_http_trifecta_vars_trace,
      offsetof(ngx_http_trifecta_ctx_t, traceparent),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("trifecta_claim_"), NULL, ngx_http_trifecta_vars_claim, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_trifecta_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_trifecta_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_vars_get(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                *value;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    value = (ngx_str_t *) ((u_char *) ctx + data);

    if (value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_trifecta_vars_set(v, value->data, value->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_vars_trace(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    if (ctx == NULL || ngx_http_trifecta_trace(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_vars_get(r, v, data);
}


/* As the label of the metrics: empty where it is "other" there. */

static ngx_int_t
ngx_http_trifecta_vars_route(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    size_t                         len;
    u_char                        *p;
    const char                    *method, *path;
    ngx_http_trifecta_loc_conf_t  *tlcf;

    r = r->main;
    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (tlcf->mode != NGX_HTTP_TRIFECTA_API
        || !ngx_http_trifecta_route_name(ngx_http_trifecta_route_index(r),
                                         &method, &path))
    {
        v->not_found = 1;
        return NGX_OK;
    }

    len = ngx_strlen(method) + ngx_strlen(path) + 1;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(p, "%s %s", method, path);
    ngx_http_trifecta_vars_set(v, p, len);

    return NGX_OK;
}


/* us as seconds, which is how nginx writes its own times */

static ngx_int_t
ngx_http_trifecta_vars_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                   *p;
    uint64_t                  us;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    us = *(uint64_t *) ((u_char *) ctx + data);

    if (us == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN + sizeof(".000000"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_vars_set(v, p, ngx_sprintf(p, "%uL.%06uL", us / 1000000,
                                                 us % 1000000)
                                     - p);

    return NGX_OK;
}


/*
 * Strings as they are, numbers and booleans as in JSON.  A string with
 * control characters is left out: the variable may become a header of a
 * request to somebody else, and a line feed in it another header.
 */

static ngx_int_t
ngx_http_trifecta_vars_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t *name = (ngx_str_t *) data;

    u_char                   *p;
    size_t                    len;
    const json_t             *value;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    v->not_found = 1;

    if (ctx->claims == NULL) {
        return NGX_OK;
    }

    len = sizeof("trifecta_claim_") - 1;

    value = ngx_http_trifecta_vars_find(ctx->claims, name->data + len,
                                        name->len - len);

    if (json_is_string(value)) {
        len = json_string_length(value);

        if (tf_claims_plain(json_string_value(value), len)) {
            ngx_http_trifecta_vars_set(v, json_string_value(value), len);
        }

        return NGX_OK;
    }

    if (!json_is_number(value) && !json_is_boolean(value)) {
        return NGX_OK;
    }

    len = json_dumpb(value, NULL, 0, JSON_ENCODE_ANY);

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (len == 0
        || json_dumpb(value, (char *) p, len, JSON_ENCODE_ANY) != len)
    {
        return NGX_ERROR;
    }

    ngx_http_trifecta_vars_set(v, p, len);

    return NGX_OK;
}


/*
 * nginx makes names of variables lower case, names of claims have both: the
 * claim of exactly this name, else the only one that differs in case.
 */

static const json_t *
ngx_http_trifecta_vars_find(json_t *claims, u_char *name, size_t len)
{
    json_t      *value, *found;
    ngx_uint_t   n;
    const char  *key;

    n = 0;
    found = NULL;

    json_object_foreach(claims, key, value) {

        if (ngx_strlen(key) != len
            || ngx_strncasecmp((u_char *) key, name, len) != 0)
        {
            continue;
        }

        if (ngx_strncmp(key, name, len) == 0) {
            return value;
        }

        found = value;
        n++;
    }

    return n == 1 ? found : NULL;
}


static void
ngx_http_trifecta_vars_set(ngx_http_variable_value_t *v, const void *data,
    size_t len)
{
    v->data = (u_char *) data;
    v->len = len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}
