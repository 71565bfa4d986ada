#include "ngx_http_trifecta_issuer.h"
#include "ngx_http_trifecta_claims.h"


typedef struct {
    ngx_str_t  name;            /* with its "=" */
    size_t     offset;
    unsigned   of_key:1;        /* may stand in the second form */
} ngx_http_trifecta_issuer_arg_t;


static char *ngx_http_trifecta_issuer_read_args(ngx_conf_t *cf,
    ngx_http_trifecta_issuer_args_t *args, ngx_uint_t more);
static char *ngx_http_trifecta_issuer_read_arg(ngx_conf_t *cf,
    ngx_http_trifecta_issuer_args_t *args,
    const ngx_http_trifecta_issuer_arg_t *known, ngx_str_t *value);
static ngx_str_t *ngx_http_trifecta_issuer_room(ngx_conf_t *cf,
    ngx_http_trifecta_issuer_args_t *args,
    const ngx_http_trifecta_issuer_arg_t *known);
static char *ngx_http_trifecta_issuer_check_name(ngx_conf_t *cf,
    ngx_str_t *name);
static tf_jwt_issuer_t *ngx_http_trifecta_issuer_create(ngx_conf_t *cf,
    ngx_array_t *issuers, ngx_str_t *name,
    ngx_http_trifecta_issuer_args_t *args);
static char *ngx_http_trifecta_issuer_tenants(ngx_conf_t *cf,
    tf_jwt_issuer_t *issuer, ngx_http_trifecta_issuer_args_t *args);
static char *ngx_http_trifecta_issuer_list(ngx_conf_t *cf,
    tf_jwt_issuer_t *issuer, ngx_str_t *list);
static ngx_uint_t ngx_http_trifecta_issuer_is_tenant(ngx_conf_t *cf,
    ngx_str_t *tenant);


/* key= and kid= come as often as there are keys: they go into a list */

#define NGX_HTTP_TRIFECTA_ISSUER_KEY  ((size_t) -1)
#define NGX_HTTP_TRIFECTA_ISSUER_KID  ((size_t) -2)

#define ngx_http_trifecta_issuer_arg(member, of_key)                         \
    { ngx_string(#member "="),                                               \
      offsetof(ngx_http_trifecta_issuer_args_t, member), of_key }

static const ngx_http_trifecta_issuer_arg_t
    ngx_http_trifecta_issuer_args[] =
{
    ngx_http_trifecta_issuer_arg(iss, 0),
    ngx_http_trifecta_issuer_arg(alg, 1),
    { ngx_string("key="), NGX_HTTP_TRIFECTA_ISSUER_KEY, 1 },
    { ngx_string("kid="), NGX_HTTP_TRIFECTA_ISSUER_KID, 1 },
    ngx_http_trifecta_issuer_arg(aud, 0),
    ngx_http_trifecta_issuer_arg(tenant, 0),
    ngx_http_trifecta_issuer_arg(tenant_claim, 0),
    ngx_http_trifecta_issuer_arg(tenants, 0),
    ngx_http_trifecta_issuer_arg(default_tenant, 0),
    { ngx_null_string, 0, 0 }
};


char *
ngx_http_trifecta_jwt_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *tmcf = conf;

    char                           *rv;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    tf_jwt_issuer_t                *issuer, *issuers;
    ngx_http_trifecta_issuer_args_t   args;

    value = cf->args->elts;
    issuer = NULL;

    rv = ngx_http_trifecta_issuer_check_name(cf, &value[1]);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (tmcf->issuers.elts == NULL
        && ngx_array_init(&tmcf->issuers, cf->pool, 2,
                          sizeof(tf_jwt_issuer_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    issuers = tmcf->issuers.elts;

    for (i = 0; i < tmcf->issuers.nelts; i++) {
        if (issuers[i].name.len == value[1].len
            && ngx_strncmp(issuers[i].name.data, value[1].data, value[1].len)
               == 0)
        {
            issuer = &issuers[i];
            break;
        }
    }

    rv = ngx_http_trifecta_issuer_read_args(cf, &args, issuer != NULL);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (issuer == NULL) {
        issuer = ngx_http_trifecta_issuer_create(cf, &tmcf->issuers,
                                                 &value[1], &args);
        if (issuer == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return ngx_http_trifecta_keys_add(cf, issuer, &args);
}


static char *
ngx_http_trifecta_issuer_read_args(ngx_conf_t *cf,
    ngx_http_trifecta_issuer_args_t *args, ngx_uint_t more)
{
    ngx_str_t                             *value;
    ngx_uint_t                             i;
    const ngx_http_trifecta_issuer_arg_t  *known;

    ngx_memzero(args, sizeof(ngx_http_trifecta_issuer_args_t));

    if (ngx_array_init(&args->keys, cf->temp_pool, 4,
                       sizeof(ngx_http_trifecta_issuer_key_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        known = ngx_http_trifecta_issuer_args;

        for ( /* void */ ; known->name.len; known++) {
            if (value[i].len >= known->name.len
                && ngx_strncmp(value[i].data, known->name.data,
                               known->name.len)
                   == 0)
            {
                break;
            }
        }

        if (known->name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" of issuer \"%V\"; "
                               "known are iss=, alg=, key=, kid=, aud=, "
                               "tenant=, tenant_claim=, tenants= and "
                               "default_tenant=", &value[i], &value[1]);
            return NGX_CONF_ERROR;
        }

        if (more && !known->of_key) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "issuer \"%V\" is configured already: another "
                               "line adds keys and takes only alg=, key= "
                               "and kid=, not \"%V\"", &value[1], &value[i]);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_trifecta_issuer_read_arg(cf, args, known, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (args->alg.len == 0 || args->keys.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "issuer \"%V\" needs alg= and key=", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_trifecta_issuer_read_arg(ngx_conf_t *cf,
    ngx_http_trifecta_issuer_args_t *args,
    const ngx_http_trifecta_issuer_arg_t *known, ngx_str_t *value)
{
    ngx_str_t  *arg, *issuer;

    issuer = (ngx_str_t *) cf->args->elts + 1;

    arg = ngx_http_trifecta_issuer_room(cf, args, known);
    if (arg == NULL) {
        return NGX_CONF_ERROR;
    }

    if (arg->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" stands twice in issuer \"%V\"",
                           &known->name, issuer);
        return NGX_CONF_ERROR;
    }

    arg->data = value->data + known->name.len;
    arg->len = value->len - known->name.len;

    if (arg->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of issuer \"%V\" has no value",
                           &known->name, issuer);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Where the value of a parameter goes. */

static ngx_str_t *
ngx_http_trifecta_issuer_room(ngx_conf_t *cf,
    ngx_http_trifecta_issuer_args_t *args,
    const ngx_http_trifecta_issuer_arg_t *known)
{
    ngx_http_trifecta_issuer_key_t  *key;

    if (known->offset == NGX_HTTP_TRIFECTA_ISSUER_KEY) {
        key = ngx_array_push(&args->keys);
        if (key == NULL) {
            return NULL;
        }

        ngx_memzero(key, sizeof(ngx_http_trifecta_issuer_key_t));

        return &key->file;
    }

    if (known->offset == NGX_HTTP_TRIFECTA_ISSUER_KID) {

        if (args->keys.nelts == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"kid=\" must follow the \"key=\" that it "
                               "belongs to");
            return NULL;
        }

        key = args->keys.elts;

        return &key[args->keys.nelts - 1].kid;
    }

    return (ngx_str_t *) ((u_char *) args + known->offset);
}


/*
 * The name starts every owner "NAME:sub", so it must not have a colon, nor
 * be what starts the owners of other credentials.
 */

static char *
ngx_http_trifecta_issuer_check_name(ngx_conf_t *cf, ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    if (name->len == 0 || name->len > TF_JWT_ISSUER_MAX) {
        goto invalid;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
        {
            goto invalid;
        }
    }

    if (ngx_strcmp(name->data, "key") == 0
        || ngx_strcmp(name->data, "mtls") == 0
        || ngx_strcmp(name->data, "cli") == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "an issuer cannot be named \"%V\": owners of "
                           "other origin start with that", name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid name of an issuer \"%V\": 1 to %d letters, "
                       "digits, \"-\", \"_\" and \".\"", name,
                       TF_JWT_ISSUER_MAX);

    return NGX_CONF_ERROR;
}


static tf_jwt_issuer_t *
ngx_http_trifecta_issuer_create(ngx_conf_t *cf, ngx_array_t *issuers,
    ngx_str_t *name, ngx_http_trifecta_issuer_args_t *args)
{
    ngx_uint_t        i;
    tf_jwt_issuer_t  *issuer;

    if (args->iss.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "issuer \"%V\" needs iss=, the value of the "
                           "claim \"iss\" in its tokens", name);
        return NULL;
    }

    issuer = issuers->elts;

    for (i = 0; i < issuers->nelts; i++) {
        if (issuer[i].iss.len == args->iss.len
            && ngx_strncmp(issuer[i].iss.data, args->iss.data, args->iss.len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"iss=%V\" is issuer \"%s\" already; to add "
                               "a key to it, repeat its name with alg= and "
                               "key=", &args->iss, issuer[i].name.data);
            return NULL;
        }
    }

    issuer = ngx_array_push(issuers);
    if (issuer == NULL) {
        return NULL;
    }

    ngx_memzero(issuer, sizeof(tf_jwt_issuer_t));

    issuer->name.data = (char *) name->data;
    issuer->name.len = name->len;
    issuer->iss.data = (char *) args->iss.data;
    issuer->iss.len = args->iss.len;
    issuer->aud.data = (char *) args->aud.data;
    issuer->aud.len = args->aud.len;

    if (ngx_http_trifecta_issuer_tenants(cf, issuer, args) != NGX_CONF_OK) {
        return NULL;
    }

    return issuer;
}


static char *
ngx_http_trifecta_issuer_tenants(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_http_trifecta_issuer_args_t *args)
{
    ngx_str_t  *fixed;

    if ((args->tenant.len == 0) == (args->tenant_claim.len == 0)
        || (args->tenant_claim.len == 0) != (args->tenants.len == 0)
        || (args->tenant.len && args->default_tenant.len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "issuer \"%s\" must be bound to tenants, either "
                           "by tenant=NAME or by tenant_claim=CLAIM "
                           "tenants=A,B,... [default_tenant=NAME]",
                           issuer->name.data);
        return NGX_CONF_ERROR;
    }

    fixed = args->tenant.len ? &args->tenant : &args->default_tenant;

    if (fixed->len) {
        if (!ngx_http_trifecta_issuer_is_tenant(cf, fixed)) {
            return NGX_CONF_ERROR;
        }

        issuer->tenant.data = (char *) fixed->data;
        issuer->tenant.len = fixed->len;
    }

    if (args->tenants.len == 0) {
        return NGX_CONF_OK;
    }

    issuer->tenant_claim.data = (char *) args->tenant_claim.data;
    issuer->tenant_claim.len = args->tenant_claim.len;

    return ngx_http_trifecta_issuer_list(cf, issuer, &args->tenants);
}


static char *
ngx_http_trifecta_issuer_list(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_str_t *list)
{
    u_char        *p, *comma, *end;
    ngx_str_t      tenant;
    tf_jwt_str_t  *str;
    ngx_array_t    tenants;

    if (ngx_array_init(&tenants, cf->pool, 4, sizeof(tf_jwt_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    end = list->data + list->len;

    for (p = list->data; p <= end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');
        if (comma == NULL) {
            comma = end;
        }

        tenant.data = p;
        tenant.len = comma - p;

        if (!ngx_http_trifecta_issuer_is_tenant(cf, &tenant)) {
            return NGX_CONF_ERROR;
        }

        str = ngx_array_push(&tenants);
        if (str == NULL) {
            return NGX_CONF_ERROR;
        }

        str->data = (char *) tenant.data;
        str->len = tenant.len;
    }

    issuer->tenants = tenants.elts;
    issuer->ntenants = tenants.nelts;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_trifecta_issuer_is_tenant(ngx_conf_t *cf, ngx_str_t *tenant)
{
    if (tenant->len > 0 && tenant->len <= TF_TENANT_MAX
        && tf_claims_plain((char *) tenant->data, tenant->len))
    {
        return 1;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid name of a tenant \"%V\": 1 to %d bytes, no "
                       "control characters, no empty one in a list", tenant,
                       TF_TENANT_MAX);
    return 0;
}
