#include "ngx_http_trifecta_issuer.h"

#include <openssl/crypto.h>


static char *ngx_http_trifecta_keys_algs(ngx_conf_t *cf, ngx_array_t *algs,
    tf_jwt_issuer_t *issuer, ngx_str_t *list);
static char *ngx_http_trifecta_keys_file(ngx_conf_t *cf,
    tf_jwt_issuer_t *issuer, ngx_array_t *algs,
    ngx_http_trifecta_issuer_key_t *arg);
static tf_jwa_key_t *ngx_http_trifecta_keys_create(ngx_array_t *algs,
    ngx_http_trifecta_issuer_key_t *arg, ngx_str_t *content,
    const tf_jwa_alg_t **alg, const char **err);
static void ngx_http_trifecta_keys_warn(ngx_conf_t *cf, ngx_str_t *file);
static void ngx_http_trifecta_keys_cleanup(void *data);


char *
ngx_http_trifecta_keys_add(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_http_trifecta_issuer_args_t *args)
{
    ngx_uint_t                       i;
    ngx_array_t                      algs;
    ngx_http_trifecta_issuer_key_t  *arg;

    if (ngx_array_init(&algs, cf->temp_pool, 4, sizeof(tf_jwa_alg_t *))
        != NGX_OK
        || ngx_http_trifecta_keys_algs(cf, &algs, issuer, &args->alg)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    arg = args->keys.elts;

    for (i = 0; i < args->keys.nelts; i++) {

        if (issuer->nkeys == TF_JWT_KEYS_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "issuer \"%s\" has more than %d keys: remove "
                               "those that no token is signed with any more",
                               issuer->name.data, TF_JWT_KEYS_MAX);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_trifecta_keys_file(cf, issuer, &algs, &arg[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* The rows that "alg=A,B,..." names. */

static char *
ngx_http_trifecta_keys_algs(ngx_conf_t *cf, ngx_array_t *algs,
    tf_jwt_issuer_t *issuer, ngx_str_t *list)
{
    u_char               *p, *comma, *end;
    ngx_str_t             name;
    ngx_uint_t            i;
    const tf_jwa_alg_t   *alg, **row;

    end = list->data + list->len;

    for (p = list->data; p <= end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');
        if (comma == NULL) {
            comma = end;
        }

        name.data = p;
        name.len = comma - p;

        alg = tf_jwa_find((char *) name.data, name.len);

        if (alg == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown \"alg=%V\" of issuer \"%s\"; known "
                               "are %s", &name, issuer->name.data,
                               tf_jwa_names());
            return NGX_CONF_ERROR;
        }

        row = algs->elts;

        for (i = 0; i < algs->nelts; i++) {
            if (row[i] == alg) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"alg=\" of issuer \"%s\" names %V "
                                   "twice", issuer->name.data, &name);
                return NGX_CONF_ERROR;
            }
        }

        row = ngx_array_push(algs);
        if (row == NULL) {
            return NGX_CONF_ERROR;
        }

        *row = alg;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_trifecta_keys_file(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_array_t *algs, ngx_http_trifecta_issuer_key_t *arg)
{
    ngx_str_t             content;
    const char           *err;
    tf_jwa_key_t         *key;
    const tf_jwa_alg_t   *alg, **row;
    ngx_pool_cleanup_t   *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    /* makes the name of the file a whole path, too */

    if (ngx_http_trifecta_read_file(cf, &arg->file, &content,
                                    TF_JWA_FILE_MAX)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    row = algs->elts;

    if (tf_jwa_is_secret(row[0])) {
        ngx_http_trifecta_keys_warn(cf, &arg->file);
    }

    key = ngx_http_trifecta_keys_create(algs, arg, &content, &alg, &err);

    OPENSSL_cleanse(content.data, content.len);

    if (key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key file \"%V\" of issuer \"%s\" is no %s key: "
                           "%s", &arg->file, issuer->name.data,
                           tf_jwa_name(alg), err);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_trifecta_keys_cleanup;
    cln->data = key;

    issuer->keys[issuer->nkeys++] = key;

    return NGX_CONF_OK;
}


/* One key that fits all the rows; else *alg is the one that it does not. */

static tf_jwa_key_t *
ngx_http_trifecta_keys_create(ngx_array_t *algs,
    ngx_http_trifecta_issuer_key_t *arg, ngx_str_t *content,
    const tf_jwa_alg_t **alg, const char **err)
{
    ngx_uint_t            i;
    tf_jwa_key_t         *key;
    const tf_jwa_alg_t  **row;

    row = algs->elts;
    *alg = row[0];

    key = tf_jwa_key_create(row[0],
                            arg->kid.len ? (char *) arg->kid.data : NULL,
                            arg->kid.len, content->data, content->len, err);

    for (i = 1; key && i < algs->nelts; i++) {
        *alg = row[i];
        *err = tf_jwa_key_add(key, row[i], content->data, content->len);

        if (*err) {
            tf_jwa_key_free(key);
            key = NULL;
        }
    }

    return key;
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
