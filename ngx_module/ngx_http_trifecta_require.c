#include "ngx_http_trifecta_require.h"
#include "ngx_http_trifecta_claims.h"


typedef enum {
    NGX_HTTP_TRIFECTA_REQUIRE_CLAIM = 0,
    NGX_HTTP_TRIFECTA_REQUIRE_GROUPS,
    NGX_HTTP_TRIFECTA_REQUIRE_SCOPES
} ngx_http_trifecta_require_of_t;


typedef struct {
    ngx_str_t                        text;      /* as it was configured */
    ngx_http_trifecta_require_of_t   of;
    char                            *claim;
    ngx_array_t                      values;    /* of tf_jwt_str_t */
#if (NGX_PCRE)
    ngx_regex_t                     *regex;     /* NULL: values */
#endif
} ngx_http_trifecta_require_t;


static char *ngx_http_trifecta_require_parse(ngx_conf_t *cf,
    ngx_http_trifecta_require_t *require);
static char *ngx_http_trifecta_require_values(ngx_conf_t *cf,
    ngx_http_trifecta_require_t *require, u_char *p, u_char *end);
static char *ngx_http_trifecta_require_regex(ngx_conf_t *cf,
    ngx_http_trifecta_require_t *require, u_char *p, u_char *end);
static ngx_uint_t ngx_http_trifecta_require_holds(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_http_trifecta_require_t *require);
static ngx_uint_t ngx_http_trifecta_require_fits(ngx_http_request_t *r,
    ngx_http_trifecta_require_t *require, const char *data, size_t len);


static const struct {
    const char                      *claim;
    ngx_http_trifecta_require_of_t   of;
} ngx_http_trifecta_require_lists[] = {
    { "scope", NGX_HTTP_TRIFECTA_REQUIRE_SCOPES },
    { "scopes", NGX_HTTP_TRIFECTA_REQUIRE_SCOPES },
    { "groups", NGX_HTTP_TRIFECTA_REQUIRE_GROUPS },
    { "roles", NGX_HTTP_TRIFECTA_REQUIRE_GROUPS },
    { NULL, NGX_HTTP_TRIFECTA_REQUIRE_CLAIM }
};


char *
ngx_http_trifecta_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_array_t **list = (ngx_array_t **) ((u_char *) conf + cmd->offset);

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_trifecta_require_t  *require;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts != 2 || *list != NGX_CONF_UNSET_PTR) {
            return "has \"off\" beside a requirement";
        }

        *list = NULL;

        return NGX_CONF_OK;
    }

    if (*list == NULL) {
        return "has \"off\" beside a requirement";
    }

    if (*list == NGX_CONF_UNSET_PTR) {
        *list = ngx_array_create(cf->pool, 2,
                                 sizeof(ngx_http_trifecta_require_t));
        if (*list == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts; i++) {

        require = ngx_array_push(*list);
        if (require == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(require, sizeof(ngx_http_trifecta_require_t));
        require->text = value[i];

        if (ngx_http_trifecta_require_parse(cf, require) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_trifecta_require_parse(ngx_conf_t *cf,
    ngx_http_trifecta_require_t *require)
{
    size_t       len;
    u_char      *p, *end;
    ngx_uint_t   i;

    p = require->text.data;
    end = p + require->text.len;

    while (p < end && *p != '=' && *p != '~') {
        p++;
    }

    len = p - require->text.data;

    if (len == 0 || p >= end - 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid requirement \"%V\": it must be "
                           "claim=value,... or claim~regex", &require->text);
        return NGX_CONF_ERROR;
    }

    require->claim = ngx_pnalloc(cf->pool, len + 1);
    if (require->claim == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn((u_char *) require->claim, require->text.data, len + 1);

    for (i = 0; ngx_http_trifecta_require_lists[i].claim; i++) {
        if (ngx_strcmp(require->claim,
                       ngx_http_trifecta_require_lists[i].claim)
            == 0)
        {
            require->of = ngx_http_trifecta_require_lists[i].of;
        }
    }

    return *p == '='
           ? ngx_http_trifecta_require_values(cf, require, p + 1, end)
           : ngx_http_trifecta_require_regex(cf, require, p + 1, end);
}


static char *
ngx_http_trifecta_require_values(ngx_conf_t *cf,
    ngx_http_trifecta_require_t *require, u_char *p, u_char *end)
{
    u_char        *comma;
    tf_jwt_str_t  *value;

    if (ngx_array_init(&require->values, cf->pool, 2, sizeof(tf_jwt_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for ( /* void */ ; p <= end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');
        if (comma == NULL) {
            comma = end;
        }

        if (comma == p) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "requirement \"%V\" has an empty value",
                               &require->text);
            return NGX_CONF_ERROR;
        }

        value = ngx_array_push(&require->values);
        if (value == NULL) {
            return NGX_CONF_ERROR;
        }

        value->data = (char *) p;
        value->len = comma - p;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_trifecta_require_regex(ngx_conf_t *cf,
    ngx_http_trifecta_require_t *require, u_char *p, u_char *end)
{
#if (NGX_PCRE)

    ngx_regex_compile_t  rc;
    u_char               errstr[NGX_MAX_CONF_ERRSTR];

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    if (*p == '*') {
        rc.options = NGX_REGEX_CASELESS;
        p++;
    }

    if (p == end) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "requirement \"%V\" has an empty regex",
                           &require->text);
        return NGX_CONF_ERROR;
    }

    rc.pattern.data = p;
    rc.pattern.len = end - p;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "requirement \"%V\": %V", &require->text, &rc.err);
        return NGX_CONF_ERROR;
    }

    require->regex = rc.regex;

    return NGX_CONF_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "requirement \"%V\" needs nginx with PCRE",
                       &require->text);
    return NGX_CONF_ERROR;

#endif
}


char *
ngx_http_trifecta_require_merge(ngx_conf_t *cf,
    ngx_http_trifecta_loc_conf_t *prev, ngx_http_trifecta_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->require == NGX_CONF_UNSET_PTR) {
        ngx_conf_merge_ptr_value(conf->require, prev->require, NULL);
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* what has no name is a server, which may require for its locations */

    if (conf->require != NULL && !conf->auth && clcf->name.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "location \"%V\" has trifecta_jwt_require, but "
                           "checks no token: add \"trifecta_auth on\"",
                           &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_str_t *
ngx_http_trifecta_require_check(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_array_t *list)
{
    ngx_uint_t                    i;
    ngx_http_trifecta_require_t  *require;

    if (list == NULL) {
        return NULL;
    }

    require = list->elts;

    for (i = 0; i < list->nelts; i++) {
        if (!ngx_http_trifecta_require_holds(r, ctx, &require[i])) {
            return &require[i].text;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_trifecta_require_holds(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_http_trifecta_require_t *require)
{
    size_t         i;
    const json_t  *value, *one;

    value = require->of == NGX_HTTP_TRIFECTA_REQUIRE_SCOPES ? ctx->scopes
            : require->of == NGX_HTTP_TRIFECTA_REQUIRE_GROUPS ? ctx->groups
            : json_object_get(ctx->claims, require->claim);

    if (json_is_string(value)) {
        return ngx_http_trifecta_require_fits(r, require,
                                              json_string_value(value),
                                              json_string_length(value));
    }

    if (json_is_true(value)) {
        return ngx_http_trifecta_require_fits(r, require, "true", 4);
    }

    if (json_is_false(value)) {
        return ngx_http_trifecta_require_fits(r, require, "false", 5);
    }

    /* what is no array has no elements */

    for (i = 0; i < json_array_size(value); i++) {
        one = json_array_get(value, i);

        if (json_is_string(one)
            && ngx_http_trifecta_require_fits(r, require,
                                              json_string_value(one),
                                              json_string_length(one)))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_trifecta_require_fits(ngx_http_request_t *r,
    ngx_http_trifecta_require_t *require, const char *data, size_t len)
{
    ngx_uint_t     i;
    tf_jwt_str_t  *value;

#if (NGX_PCRE)

    if (require->regex) {
        ngx_int_t  n;
        ngx_str_t  text;

        text.data = (u_char *) data;
        text.len = len;

        n = ngx_regex_exec(require->regex, &text, NULL, 0);

        if (n < NGX_REGEX_NO_MATCHED) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          ngx_regex_exec_n " failed: %i on a claim for "
                          "\"%V\"", n, &require->text);
        }

        return n >= 0;
    }

#endif

    value = require->values.elts;

    for (i = 0; i < require->values.nelts; i++) {
        if (value[i].len == len
            && ngx_memcmp(value[i].data, data, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
