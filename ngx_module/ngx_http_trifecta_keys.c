#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_claims.h"

#include <openssl/crypto.h>


/*
 * trifecta_jwt_issuer NAME iss=ISS alg=ALG key=FILE [kid=KID] [aud=AUD]
 *     ( tenant=T | tenant_claim=C tenants=A,B,... [default_tenant=T] );
 * trifecta_jwt_issuer NAME alg=ALG key=FILE [kid=KID];
 *
 * The first form names an issuer, the second gives an issuer that is named
 * above one more key, so that keys can rotate without a gap.
 */

typedef struct {
    ngx_str_t  iss;
    ngx_str_t  alg;
    ngx_str_t  key;
    ngx_str_t  kid;
    ngx_str_t  aud;
    ngx_str_t  tenant;
    ngx_str_t  tenant_claim;
    ngx_str_t  tenants;
    ngx_str_t  default_tenant;
} ngx_http_trifecta_keys_args_t;


typedef struct {
    ngx_str_t  name;            /* with its "=" */
    size_t     offset;
    unsigned   of_key:1;        /* may stand in the second form */
} ngx_http_trifecta_keys_arg_t;


static char *ngx_http_trifecta_keys_read_args(ngx_conf_t *cf,
    ngx_http_trifecta_keys_args_t *args, ngx_uint_t more);
static char *ngx_http_trifecta_keys_check_name(ngx_conf_t *cf,
    ngx_str_t *name);
static tf_jwt_issuer_t *ngx_http_trifecta_keys_issuer(ngx_conf_t *cf,
    ngx_array_t *issuers, ngx_str_t *name,
    ngx_http_trifecta_keys_args_t *args);
static char *ngx_http_trifecta_keys_tenants(ngx_conf_t *cf,
    tf_jwt_issuer_t *issuer, ngx_http_trifecta_keys_args_t *args);
static char *ngx_http_trifecta_keys_list(ngx_conf_t *cf,
    tf_jwt_issuer_t *issuer, ngx_str_t *list);
static ngx_uint_t ngx_http_trifecta_keys_is_tenant(ngx_conf_t *cf,
    ngx_str_t *tenant);
static char *ngx_http_trifecta_keys_add(ngx_conf_t *cf,
    tf_jwt_issuer_t *issuer, ngx_http_trifecta_keys_args_t *args);
static void ngx_http_trifecta_keys_warn(ngx_conf_t *cf, ngx_str_t *file);
static void ngx_http_trifecta_keys_cleanup(void *data);


#define ngx_http_trifecta_keys_arg(member, of_key)                           \
    { ngx_string(#member "="),                                               \
      offsetof(ngx_http_trifecta_keys_args_t, member), of_key }

static const ngx_http_trifecta_keys_arg_t  ngx_http_trifecta_keys_args[] = {
    ngx_http_trifecta_keys_arg(iss, 0),
    ngx_http_trifecta_keys_arg(alg, 1),
    ngx_http_trifecta_keys_arg(key, 1),
    ngx_http_trifecta_keys_arg(kid, 1),
    ngx_http_trifecta_keys_arg(aud, 0),
    ngx_http_trifecta_keys_arg(tenant, 0),
    ngx_http_trifecta_keys_arg(tenant_claim, 0),
    ngx_http_trifecta_keys_arg(tenants, 0),
    ngx_http_trifecta_keys_arg(default_tenant, 0),
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
    ngx_http_trifecta_keys_args_t   args;

    value = cf->args->elts;
    issuer = NULL;

    rv = ngx_http_trifecta_keys_check_name(cf, &value[1]);
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

    rv = ngx_http_trifecta_keys_read_args(cf, &args, issuer != NULL);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (issuer == NULL) {
        issuer = ngx_http_trifecta_keys_issuer(cf, &tmcf->issuers, &value[1],
                                               &args);
        if (issuer == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return ngx_http_trifecta_keys_add(cf, issuer, &args);
}


static char *
ngx_http_trifecta_keys_read_args(ngx_conf_t *cf,
    ngx_http_trifecta_keys_args_t *args, ngx_uint_t more)
{
    ngx_str_t                           *value, *arg;
    ngx_uint_t                           i;
    const ngx_http_trifecta_keys_arg_t  *known;

    ngx_memzero(args, sizeof(ngx_http_trifecta_keys_args_t));

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        for (known = ngx_http_trifecta_keys_args; known->name.len; known++) {
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
                               "line adds a key and takes only alg=, key= "
                               "and kid=, not \"%V\"", &value[1], &value[i]);
            return NGX_CONF_ERROR;
        }

        arg = (ngx_str_t *) ((u_char *) args + known->offset);

        if (arg->data) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" stands twice in issuer \"%V\"",
                               &known->name, &value[1]);
            return NGX_CONF_ERROR;
        }

        arg->data = value[i].data + known->name.len;
        arg->len = value[i].len - known->name.len;

        if (arg->len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of issuer \"%V\" has no value",
                               &known->name, &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    if (args->alg.len == 0 || args->key.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "issuer \"%V\" needs alg= and key=", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * The name starts every owner "NAME:sub", so it must not have a colon, nor
 * be what starts the owners of other credentials.
 */

static char *
ngx_http_trifecta_keys_check_name(ngx_conf_t *cf, ngx_str_t *name)
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
ngx_http_trifecta_keys_issuer(ngx_conf_t *cf, ngx_array_t *issuers,
    ngx_str_t *name, ngx_http_trifecta_keys_args_t *args)
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

    if (ngx_http_trifecta_keys_tenants(cf, issuer, args) != NGX_CONF_OK) {
        return NULL;
    }

    return issuer;
}


static char *
ngx_http_trifecta_keys_tenants(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_http_trifecta_keys_args_t *args)
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
        if (!ngx_http_trifecta_keys_is_tenant(cf, fixed)) {
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

    return ngx_http_trifecta_keys_list(cf, issuer, &args->tenants);
}


static char *
ngx_http_trifecta_keys_list(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
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

        if (!ngx_http_trifecta_keys_is_tenant(cf, &tenant)) {
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
ngx_http_trifecta_keys_is_tenant(ngx_conf_t *cf, ngx_str_t *tenant)
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


static char *
ngx_http_trifecta_keys_add(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_http_trifecta_keys_args_t *args)
{
    ngx_str_t            content;
    const char          *err;
    tf_jwa_key_t        *key;
    const tf_jwa_alg_t  *alg;
    ngx_pool_cleanup_t  *cln;

    alg = tf_jwa_find((char *) args->alg.data, args->alg.len);

    if (alg == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown \"alg=%V\" of issuer \"%s\"; known are "
                           "%s", &args->alg, issuer->name.data,
                           tf_jwa_names());
        return NGX_CONF_ERROR;
    }

    if (issuer->nkeys == TF_JWT_KEYS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "issuer \"%s\" has more than %d keys: remove "
                           "those that no token is signed with any more",
                           issuer->name.data, TF_JWT_KEYS_MAX);
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    /* makes the name of the file a whole path, too */

    if (ngx_http_trifecta_read_file(cf, &args->key, &content,
                                    TF_JWA_FILE_MAX)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (tf_jwa_is_secret(alg)) {
        ngx_http_trifecta_keys_warn(cf, &args->key);
    }

    key = tf_jwa_key_create(alg,
                            args->kid.len ? (char *) args->kid.data : NULL,
                            args->kid.len, content.data, content.len, &err);

    OPENSSL_cleanse(content.data, content.len);

    if (key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key file \"%V\" of issuer \"%s\" is no %V key: "
                           "%s", &args->key, issuer->name.data, &args->alg,
                           err);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_trifecta_keys_cleanup;
    cln->data = key;

    issuer->keys[issuer->nkeys++] = key;

    return NGX_CONF_OK;
}


static void
ngx_http_trifecta_keys_warn(ngx_conf_t *cf, ngx_str_t *file)
{
    ngx_file_info_t  fi;

    if (ngx_file_info(file->data, &fi) == NGX_FILE_ERROR) {
        return;
    }

    if (ngx_file_access(&fi) & S_IRWXO) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "secret file \"%V\" is open to every user of this "
                           "machine: chmod o= it", file);
    }
}


static void
ngx_http_trifecta_keys_cleanup(void *data)
{
    tf_jwa_key_free(data);
}
