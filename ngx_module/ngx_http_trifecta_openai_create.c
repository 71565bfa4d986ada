#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_conversation.h"
#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_reply.h"


/* POST /v1/responses and POST /v1/chat/completions. */

static const ngx_http_trifecta_face_t  ngx_http_trifecta_face_response = {
    NGX_HTTP_TRIFECTA_KIND_QUERY,
    "POST /v1/responses",
    ngx_http_trifecta_openai_path,
    ngx_http_trifecta_openai_accepted,
    ngx_http_trifecta_openai_before
};


static const ngx_http_trifecta_face_t  ngx_http_trifecta_face_chat = {
    NGX_HTTP_TRIFECTA_KIND_QUERY,
    "POST /v1/chat/completions",
    ngx_http_trifecta_openai_path,
    ngx_http_trifecta_openai_accepted,
    ngx_http_trifecta_openai_before
};


/*
 * The request of the job whose id is that of the context.  The model is at
 * first the default one; after that the name is in the pool.
 */

static ngx_int_t
ngx_http_trifecta_openai_keeps(ngx_http_request_t *r,
    ngx_http_trifecta_openai_t *o, ngx_str_t *model,
    ngx_http_trifecta_json_t *payload)
{
    size_t                    had;
    ngx_str_t                 conversation;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    if (ngx_http_trifecta_conversation_keep(r, &o->ask.conversation) != NGX_OK
        || ngx_http_trifecta_conversation_of(r, &ctx->conversation,
                                             &conversation)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (o->ask.model.len) {
        model->len = o->ask.model.len;
        model->data = ngx_pstrdup(r->pool, &o->ask.model);

        if (model->data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    had = payload->last - payload->start;

    ngx_http_trifecta_openai_payload(o, model, &conversation, payload);

    /* Redis holds it until the end, and some of the body is in it twice */

    if (payload->last - payload->start - had
        > NGX_HTTP_TRIFECTA_OPENAI_KEPT_MAX)
    {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "tools",
                                       "a job can keep at most %d bytes of "
                                       "its request: send fewer or smaller "
                                       "tools",
                                       NGX_HTTP_TRIFECTA_OPENAI_KEPT_MAX);
    }

    return payload->failed ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_prepare(ngx_http_request_t *r, ngx_uint_t shape,
    json_t *root, ngx_str_t *model, ngx_http_trifecta_json_t *payload)
{
    ngx_int_t                       rc;
    ngx_str_t                      *first;
    ngx_http_trifecta_openai_t      o;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    first = mcf->models->elts;
    *model = *first;

    ngx_memzero(&o, sizeof(ngx_http_trifecta_openai_t));

    o.shape = shape;
    o.root = json_incref(root);

    rc = ngx_http_trifecta_openai_parse(r, NULL, &o);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_trifecta_openai_keeps(r, &o, model, payload);
    }

    ngx_http_trifecta_openai_free(&o);

    return rc;
}


static ngx_int_t
ngx_http_trifecta_openai_submit(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_openai_t *o)
{
    ngx_int_t                         rc;
    ngx_http_trifecta_submit_t       *submit;
    ngx_http_trifecta_openai_wait_t  *wait;

    submit = ngx_http_trifecta_submit_create(r,
                                  o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT
                                  ? &ngx_http_trifecta_face_chat
                                  : &ngx_http_trifecta_face_response,
                                  o->query.len + 512);
    if (submit == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_openai_keeps(r, o, &submit->model,
                                        &submit->payload);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    wait = ngx_http_trifecta_openai_wait_create(submit, o,
                                  o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT
                                  ? ngx_http_trifecta_openai_chat : NULL);
    if (wait == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_enqueue(submit, text);
}


static ngx_int_t
ngx_http_trifecta_openai_shaped(ngx_http_request_t *r, ngx_str_t *text,
    ngx_uint_t shape)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_openai_t   o;

    ngx_memzero(&o, sizeof(ngx_http_trifecta_openai_t));
    o.shape = shape;

    rc = ngx_http_trifecta_openai_parse(r, text, &o);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_trifecta_openai_submit(r, text, &o);
    }

    ngx_http_trifecta_openai_free(&o);

    return rc;
}


static ngx_int_t
ngx_http_trifecta_openai_response_body(ngx_http_request_t *r, ngx_str_t *text)
{
    return ngx_http_trifecta_openai_shaped(r, text,
                                           NGX_HTTP_TRIFECTA_OPENAI_RESPONSE);
}


static ngx_int_t
ngx_http_trifecta_openai_chat_body(ngx_http_request_t *r, ngx_str_t *text)
{
    return ngx_http_trifecta_openai_shaped(r, text,
                                           NGX_HTTP_TRIFECTA_OPENAI_CHAT);
}


/*
 * A chunked body would buy the whole buffer with its first byte, and this one
 * may be large: its length must be known.
 */

ngx_int_t
ngx_http_trifecta_openai_read(ngx_http_request_t *r,
    ngx_http_trifecta_body_pt handler)
{
    ngx_int_t  rc;

    if (r->headers_in.content_length_n < 0) {
        r->keepalive = 0;

        return ngx_http_trifecta_error(r, TF_E_LENGTH_REQUIRED, NULL,
                                       "the body needs a Content-Length");
    }

    rc = ngx_http_trifecta_submit_check(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_trifecta_read_body(r, NGX_HTTP_TRIFECTA_OPENAI_BODY_MAX,
                                       handler);
}


ngx_int_t
ngx_http_trifecta_openai_create(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_openai_read(r,
                                      ngx_http_trifecta_openai_response_body);
}


ngx_int_t
ngx_http_trifecta_openai_create_chat(ngx_http_request_t *r, ngx_str_t *id)
{
    return ngx_http_trifecta_openai_read(r,
                                         ngx_http_trifecta_openai_chat_body);
}
