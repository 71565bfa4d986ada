#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_require.h"
#include "ngx_http_trifecta_tokens.h"


/*
 * From the request to an identity in its context, or to a 401 or 403.
 *
 * The credential is the one header "Authorization: Bearer <token>".  Tokens
 * elsewhere (query string, cookie, Proxy-Authorization) are none, and so are
 * two Authorization headers, of which two readers might take different ones.
 *
 * The handler declines when all is well: NGX_OK would end the phase, and
 * with it limit_req and limit_conn.  Subrequests are part of a request that
 * was checked or needed no check.  An internal redirect comes here again:
 * the context says that the token was verified, but what the new location
 * requires of it is asked anew.
 */

static tf_error_t ngx_http_trifecta_auth_bearer(ngx_http_request_t *r,
    ngx_str_t *token, const char **err);
static ngx_int_t ngx_http_trifecta_auth_allow(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_array_t *list);
static ngx_int_t ngx_http_trifecta_auth_keep(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_http_trifecta_token_t *token);
static void ngx_http_trifecta_auth_cleanup(void *data);


#define NGX_HTTP_TRIFECTA_AUTH_GOOD  TF_E_COUNT


ngx_int_t
ngx_http_trifecta_auth_handler(ngx_http_request_t *r)
{
    ngx_str_t                      text;
    tf_error_t                     code;
    const char                    *err;
    tf_jwt_reason_t                reason;
    tf_jwt_verdict_t               verdict;
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_token_t     *token;
    ngx_http_trifecta_loc_conf_t  *tlcf;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (!tlcf->auth || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->authenticated) {
        return ngx_http_trifecta_auth_allow(r, ctx, tlcf->require);
    }

    code = ngx_http_trifecta_auth_bearer(r, &text, &err);

    if (code != NGX_HTTP_TRIFECTA_AUTH_GOOD) {
        return ngx_http_trifecta_error(r, code, NULL, "%s", err);
    }

    verdict = ngx_http_trifecta_token_check(r, &text, &token, &reason);

    switch (verdict) {

    case TF_JWT_OK:
        if (ngx_http_trifecta_auth_keep(r, ctx, token) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_auth_allow(r, ctx, tlcf->require);

    case TF_JWT_EXPIRED:
        code = TF_E_TOKEN_EXPIRED;
        break;

    case TF_JWT_FORBIDDEN:
        code = TF_E_FORBIDDEN;
        break;

    case TF_JWT_FAILED:
        code = TF_E_INTERNAL;
        break;

    default:
        code = TF_E_INVALID_TOKEN;
        break;
    }

    return ngx_http_trifecta_error(r, code, NULL, "%s",
                                   tf_jwt_reason_text(reason));
}


static tf_error_t
ngx_http_trifecta_auth_bearer(ngx_http_request_t *r, ngx_str_t *token,
    const char **err)
{
    u_char           *p, *end;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *found;

    found = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len != sizeof("Authorization") - 1
                || ngx_strcasecmp(h[i].key.data, (u_char *) "Authorization")
                   != 0)
            {
                continue;
            }

            if (found) {
                *err = "the request has more than one Authorization header";
                return TF_E_INVALID_TOKEN;
            }

            found = &h[i];
        }
    }

    if (found == NULL) {
        *err = "the request has no Authorization header";
        return TF_E_MISSING_TOKEN;
    }

    p = found->value.data;
    end = p + found->value.len;

    if (found->value.len < sizeof("Bearer") - 1
        || ngx_strncasecmp(p, (u_char *) "Bearer", sizeof("Bearer") - 1) != 0
        || (found->value.len > sizeof("Bearer") - 1 && p[6] != ' '))
    {
        *err = "the Authorization header has not the scheme Bearer";
        return TF_E_MISSING_TOKEN;
    }

    for (p += sizeof("Bearer") - 1; p < end && *p == ' '; p++) {
        /* void */
    }

    if (p == end) {
        *err = "the Authorization header has no token";
        return TF_E_MISSING_TOKEN;
    }

    /* the alphabet is checked with the token: base64url and dots, no more */

    token->data = p;
    token->len = end - p;

    return NGX_HTTP_TRIFECTA_AUTH_GOOD;
}


/* Who the caller is is known; whether that is enough for this location. */

static ngx_int_t
ngx_http_trifecta_auth_allow(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_array_t *list)
{
    ngx_str_t  *unmet;

    unmet = ngx_http_trifecta_require_check(r, ctx, list);

    if (unmet == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_FORBIDDEN, NULL,
                                   "the token does not meet the requirement "
                                   "\"%V\"", unmet);
}


/* The token is held as long as the request lives. */

static ngx_int_t
ngx_http_trifecta_auth_keep(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_http_trifecta_token_t *token)
{
    tf_jwt_identity_t   *id;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (cln == NULL) {
        ngx_http_trifecta_token_release(token);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_trifecta_auth_cleanup;
    cln->data = token;

    id = &token->id;

    ctx->claims = id->claims;
    ctx->groups = id->groups;
    ctx->scopes = id->scopes;
    ctx->owner.data = (u_char *) id->owner;
    ctx->owner.len = id->owner_len;
    ctx->groups_json = token->groups;
    ctx->scopes_json = token->scopes;
    ctx->tenant.data = (u_char *) id->tenant.data;
    ctx->tenant.len = id->tenant.len;
    ctx->sub.data = (u_char *) id->sub.data;
    ctx->sub.len = id->sub.len;

    ctx->authenticated = 1;

    return NGX_OK;
}


static void
ngx_http_trifecta_auth_cleanup(void *data)
{
    ngx_http_trifecta_token_release(data);
}
