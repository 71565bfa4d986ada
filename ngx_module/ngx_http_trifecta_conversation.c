#include "ngx_http_trifecta_conversation.h"


#define NGX_HTTP_TRIFECTA_CONVERSATION_NEW  "new"

#define NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX_LEN                             \
    (sizeof(NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX) - 1)

#define NGX_HTTP_TRIFECTA_CONVERSATION_HEX  32


static ngx_uint_t
ngx_http_trifecta_conversation_is_new(ngx_str_t *id)
{
    return id->len == sizeof(NGX_HTTP_TRIFECTA_CONVERSATION_NEW) - 1
           && ngx_strncmp(id->data, NGX_HTTP_TRIFECTA_CONVERSATION_NEW,
                          id->len)
              == 0;
}


/* Whether it was issued to the caller. */

static ngx_uint_t
ngx_http_trifecta_conversation_issued(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char                         *p, *from;
    u_char                          text[TF_ID_TEXT_LEN];
    tf_id_t                         tid;
    ngx_uint_t                      i;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    if (id->len != NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX_LEN
                   + NGX_HTTP_TRIFECTA_CONVERSATION_HEX)
    {
        return 0;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    from = id->data + NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX_LEN;
    p = text;

    for (i = 0; i < NGX_HTTP_TRIFECTA_CONVERSATION_HEX; i++) {

        /* one way to write it: it is a key */

        if (from[i] >= 'A' && from[i] <= 'F') {
            return 0;
        }

        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *p++ = '-';
        }

        *p++ = from[i];
    }

    return tf_id_parse(&tid, (char *) text, sizeof(text)) == 0
           && tf_id_verify(&tid, &mcf->id_keys, (char *) ctx->tenant.data,
                           ctx->tenant.len, (char *) ctx->owner.data,
                           ctx->owner.len);
}


ngx_int_t
ngx_http_trifecta_conversation_check(ngx_http_request_t *r, const char *name,
    ngx_str_t *id)
{
    u_char      c;
    ngx_uint_t  i;

    if (id->len == 0 || id->len > NGX_HTTP_TRIFECTA_CONVERSATION_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must have 1 to %d characters",
                                       name,
                                       NGX_HTTP_TRIFECTA_CONVERSATION_MAX);
    }

    for (i = 0; i < id->len; i++) {
        c = id->data[i];

        if ((c < '0' || c > '9') && (c < 'a' || c > 'z')
            && (c < 'A' || c > 'Z') && c != '.' && c != '_' && c != ':'
            && c != '-')
        {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                           "\"%s\" must be letters, digits "
                                           "and . _ : - only, or \"new\" for "
                                           "an id that the server makes", name);
        }
    }

    if (id->len >= NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX_LEN
        && ngx_strncmp(id->data, NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX,
                       NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX_LEN)
           == 0
        && !ngx_http_trifecta_conversation_issued(r, id))
    {
        return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, name,
                                       "there is no such conversation");
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_conversation_keep(ngx_http_request_t *r, ngx_str_t *asked)
{
    ngx_http_trifecta_ctx_t  *ctx;

    if (asked->len == 0) {
        return NGX_OK;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    ctx->conversation.len = asked->len;
    ctx->conversation.data = ngx_pstrdup(r->pool, asked);

    return ctx->conversation.data == NULL ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_trifecta_conversation_of(ngx_http_request_t *r, ngx_str_t *asked,
    ngx_str_t *id)
{
    u_char                   *p;
    ngx_uint_t                i;
    ngx_http_trifecta_ctx_t  *ctx;

    if (!ngx_http_trifecta_conversation_is_new(asked)) {
        *id = *asked;
        return NGX_OK;
    }

    ctx = ngx_http_trifecta_get_ctx(r);

    id->data = ngx_pnalloc(r->pool, NGX_HTTP_TRIFECTA_CONVERSATION_MAX);
    if (id->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(id->data, NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX,
                   NGX_HTTP_TRIFECTA_CONVERSATION_PREFIX_LEN);

    for (i = 0; i < ctx->job_id.len; i++) {
        if (ctx->job_id.data[i] != '-') {
            *p++ = ctx->job_id.data[i];
        }
    }

    id->len = p - id->data;

    return NGX_OK;
}
