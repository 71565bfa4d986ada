#include "ngx_http_trifecta_idem.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_reply.h"


ngx_int_t
ngx_http_trifecta_idem_check(ngx_http_request_t *r)
{
    size_t                      i;
    ngx_str_t                  *key;
    ngx_http_trifecta_lines_t   at;

    ngx_memzero(&at, sizeof(ngx_http_trifecta_lines_t));

    key = ngx_http_trifecta_header_next(r, "idempotency-key", &at);

    if (key == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_http_trifecta_header_next(r, "idempotency-key", &at) != NULL) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE,
                                       "Idempotency-Key",
                                       "there is more than one "
                                       "Idempotency-Key");
    }

    if (key->len == 0 || key->len > NGX_HTTP_TRIFECTA_IDEM_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE,
                                       "Idempotency-Key",
                                       "the Idempotency-Key has %uz bytes, 1 "
                                       "to %d are accepted", key->len,
                                       NGX_HTTP_TRIFECTA_IDEM_MAX);
    }

    for (i = 0; i < key->len; i++) {
        if (key->data[i] < 0x20 || key->data[i] > 0x7e) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE,
                                           "Idempotency-Key",
                                           "the Idempotency-Key has bytes "
                                           "that are not printable ASCII");
        }
    }

    return NGX_DECLINED;
}


static u_char *
ngx_http_trifecta_idem_part(u_char *p, const u_char *data, size_t len)
{
    *p++ = (u_char) (len >> 8);
    *p++ = (u_char) len;

    return ngx_cpymem(p, data, len);
}


ngx_int_t
ngx_http_trifecta_idem_text(ngx_http_request_t *r, const char *route,
    u_char text[NGX_HTTP_TRIFECTA_IDEM_LEN])
{
    u_char                   *p, *in;
    u_char                    digest[SHA256_DIGEST_LENGTH];
    size_t                    len;
    ngx_str_t                *key;
    ngx_http_trifecta_ctx_t  *ctx;

    key = ngx_http_trifecta_header_in(r, "idempotency-key");

    if (key == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    len = ngx_strlen(route);

    in = ngx_pnalloc(r->pool, 3 * 2 + ctx->owner.len + len + key->len);
    if (in == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_trifecta_idem_part(in, ctx->owner.data, ctx->owner.len);
    p = ngx_http_trifecta_idem_part(p, (const u_char *) route, len);
    p = ngx_http_trifecta_idem_part(p, key->data, key->len);

    if (ngx_http_trifecta_sha256(r, in, p - in, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(text, digest, SHA256_DIGEST_LENGTH);

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_idem_conflict(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_IDEMPOTENCY_KEY_REUSED,
                                   "Idempotency-Key",
                                   "this Idempotency-Key came with another "
                                   "body before");
}


ngx_int_t
ngx_http_trifecta_replay(ngx_http_request_t *r, const char *id, size_t len)
{
    tf_id_t                   tid;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    if (tf_id_parse(&tid, id, len) != 0
        || ngx_http_trifecta_header_lit(r, "Idempotency-Replayed", "true")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the new id was never used, its text has the same length */

    tf_id_format((char *) ctx->job_id.data, &tid);

    return NGX_DECLINED;
}
