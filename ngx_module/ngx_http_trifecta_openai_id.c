#include "ngx_http_trifecta_openai.h"


void
ngx_http_trifecta_openai_id(ngx_http_request_t *r, const char *prefix,
    ngx_http_trifecta_json_t *j)
{
    u_char                    hex[TF_ID_TEXT_LEN];
    ngx_uint_t                i, n;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);
    n = 0;

    for (i = 0; i < ctx->job_id.len; i++) {
        if (ctx->job_id.data[i] != '-') {
            hex[n++] = ctx->job_id.data[i];
        }
    }

    ngx_http_trifecta_json_printf(j, "%s%*s", prefix, (size_t) n, hex);
}


ngx_int_t
ngx_http_trifecta_openai_job_id(ngx_http_request_t *r, const char *prefix,
    ngx_str_t *text, ngx_str_t *id)
{
    u_char      *p, *from;
    size_t       len;
    tf_id_t      tid;
    ngx_uint_t   i;

    len = ngx_strlen(prefix);

    if (text->len != len + 1 + NGX_HTTP_TRIFECTA_OPENAI_HEX
        || ngx_memcmp(text->data, prefix, len) != 0
        || text->data[len] != '_')
    {
        return NGX_DECLINED;
    }

    id->len = TF_ID_TEXT_LEN;
    id->data = ngx_pnalloc(r->pool, TF_ID_TEXT_LEN);
    if (id->data == NULL) {
        return NGX_ERROR;
    }

    from = text->data + len + 1;
    p = id->data;

    for (i = 0; i < NGX_HTTP_TRIFECTA_OPENAI_HEX; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *p++ = '-';
        }

        *p++ = from[i];
    }

    if (tf_id_parse(&tid, (char *) id->data, id->len) != 0) {
        return NGX_DECLINED;
    }

    /* one job has one name, whatever the case of its digits here */

    tf_id_format((char *) id->data, &tid);

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_openai_path(ngx_http_request_t *r, ngx_str_t *id,
    ngx_str_t *path)
{
    u_char      *p;
    ngx_uint_t   i;

    path->data = ngx_pnalloc(r->pool, sizeof("/v1/responses/resp_") - 1
                                      + id->len);
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(path->data, "/v1/responses/resp_",
                   sizeof("/v1/responses/resp_") - 1);

    for (i = 0; i < id->len; i++) {
        if (id->data[i] != '-') {
            *p++ = id->data[i];
        }
    }

    path->len = p - path->data;

    return NGX_OK;
}
