#ifndef NGX_HTTP_TRIFECTA_ISSUER_H_INCLUDED
#define NGX_HTTP_TRIFECTA_ISSUER_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * trifecta_jwt_issuer NAME iss=ISS alg=ALG,... key=FILE [kid=KID] ...
 *     [aud=AUD]
 *     ( tenant=T | tenant_claim=C tenants=A,B,... [default_tenant=T] );
 * trifecta_jwt_issuer NAME alg=ALG,... key=FILE [kid=KID] ...;
 *
 * The first form names an issuer, the second gives an issuer that is named
 * above more keys, so that keys can rotate without a gap.  A line has one
 * alg= for all of its keys; a kid= belongs to the key= before it.
 *
 * issuer.c reads the line and makes the issuer, keys.c reads its key files.
 */

typedef struct {
    ngx_str_t    file;
    ngx_str_t    kid;
} ngx_http_trifecta_issuer_key_t;


typedef struct {
    ngx_str_t    iss;
    ngx_str_t    alg;
    ngx_str_t    aud;
    ngx_str_t    tenant;
    ngx_str_t    tenant_claim;
    ngx_str_t    tenants;
    ngx_str_t    default_tenant;
    ngx_array_t  keys;          /* ngx_http_trifecta_issuer_key_t */
} ngx_http_trifecta_issuer_args_t;


/* Gives the issuer the keys of a line. */

char *ngx_http_trifecta_keys_add(ngx_conf_t *cf, tf_jwt_issuer_t *issuer,
    ngx_http_trifecta_issuer_args_t *args);


#endif /* NGX_HTTP_TRIFECTA_ISSUER_H_INCLUDED */
