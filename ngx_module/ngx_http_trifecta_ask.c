#include "ngx_http_trifecta_ask.h"
#include "ngx_http_trifecta_conversation.h"
#include "ngx_http_trifecta_filters.h"
#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_models.h"
#include "ngx_http_trifecta_webhook.h"


typedef ngx_int_t (*ngx_http_trifecta_member_pt)(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);

typedef struct {
    const char                   *name;
    ngx_uint_t                    required;
    ngx_http_trifecta_member_pt   check;
} ngx_http_trifecta_member_t;


static ngx_int_t ngx_http_trifecta_member_query(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
static ngx_int_t ngx_http_trifecta_member_model(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
static ngx_int_t ngx_http_trifecta_member_user(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
static ngx_int_t ngx_http_trifecta_member_stream(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
static ngx_int_t ngx_http_trifecta_member_conversation(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
static ngx_int_t ngx_http_trifecta_member_not_yet(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);


/*
 * Every member of the body that is known, in the order of the checks.  What
 * is in no row is ignored; what is known but not there yet is refused, for
 * ignoring it would do something else than was asked.
 */

static const ngx_http_trifecta_member_t  ngx_http_trifecta_members[] = {
    { "query",             1, ngx_http_trifecta_member_query },
    { "user_id",           0, ngx_http_trifecta_member_user },
    { "model",             0, ngx_http_trifecta_member_model },
    { "stream",            0, ngx_http_trifecta_member_stream },
    { "conversation_id",   0, ngx_http_trifecta_member_conversation },
    { "collections",       0, ngx_http_trifecta_member_collections },
    { "filters",           0, ngx_http_trifecta_member_filters },
    { "metadata",          0, ngx_http_trifecta_member_metadata },
    { "webhook_url",       0, ngx_http_trifecta_member_webhook },
    { "max_output_tokens", 0, ngx_http_trifecta_member_not_yet },
    { NULL, 0, NULL }
};


/* A member's check returns NGX_DECLINED when it is good. */

static ngx_int_t
ngx_http_trifecta_member_string(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_str_t *s)
{
    if (!json_is_string(value)) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be a string", name);
    }

    s->data = (u_char *) json_string_value(value);
    s->len = json_string_length(value);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_member_query(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    size_t      n;
    ngx_int_t   rc;
    ngx_uint_t  blank;

    rc = ngx_http_trifecta_member_string(r, name, value, &ask->query);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    n = ngx_http_trifecta_utf8_length(ask->query.data, ask->query.len,
                                      &blank);

    if (blank) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" is %s", name,
                                       n ? "blank" : "empty");
    }

    if (n > TF_QUERY_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" has %uz characters, at most "
                                       "%d are accepted", name, n,
                                       TF_QUERY_MAX);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_member_user(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    ngx_int_t                 rc;
    ngx_str_t                 user;
    ngx_http_trifecta_ctx_t  *ctx;

    ngx_str_null(&user);

    rc = ngx_http_trifecta_member_string(r, name, value, &user);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ctx = ngx_http_trifecta_get_ctx(r);

    if (user.len != ctx->sub.len
        || ngx_memcmp(user.data, ctx->sub.data, user.len) != 0)
    {
        return ngx_http_trifecta_error(r, TF_E_USER_MISMATCH, name,
                                       "\"%s\" is not the token's subject",
                                       name);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_member_model(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    ngx_int_t                       rc;
    ngx_http_trifecta_main_conf_t  *mcf;

    rc = ngx_http_trifecta_member_string(r, name, value, &ask->model);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    return ngx_http_trifecta_model_check(r, name, mcf->models, &ask->model);
}


static ngx_int_t
ngx_http_trifecta_member_stream(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    if (json_is_false(value)) {
        return NGX_DECLINED;
    }

    if (!json_is_true(value)) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be true or false", name);
    }

    ask->stream = 1;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_member_conversation(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    ngx_int_t  rc;

    rc = ngx_http_trifecta_member_string(r, name, value, &ask->conversation);

    return rc == NGX_DECLINED
           ? ngx_http_trifecta_conversation_check(r, name, &ask->conversation)
           : rc;
}


static ngx_int_t
ngx_http_trifecta_member_not_yet(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                   "\"%s\" is not supported yet", name);
}


ngx_int_t
ngx_http_trifecta_ask_member(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    const ngx_http_trifecta_member_t  *m;

    for (m = ngx_http_trifecta_members; m->name; m++) {
        if (ngx_strcmp(m->name, name) == 0) {
            return m->check(r, name, value, ask);
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_ask_parse(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_ask_t *ask)
{
    size_t                             left;
    json_t                            *value;
    ngx_int_t                          rc;
    const char                        *err;
    const ngx_http_trifecta_member_t  *m;

    ask->root = ngx_http_trifecta_json_parse(text->data, text->len, &err);

    if (ask->root == NULL) {
        if (err == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_error(r, TF_E_INVALID_JSON, NULL, "%s", err);
    }

    left = json_object_size(ask->root);

    for (m = ngx_http_trifecta_members; m->name; m++) {

        if (left == 0 && !m->required) {
            continue;
        }

        value = json_object_get(ask->root, m->name);

        if (value == NULL) {
            if (m->required) {
                return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, m->name,
                                               "\"%s\" is missing", m->name);
            }

            continue;
        }

        left--;

        rc = m->check(r, m->name, value, ask);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return ask->model.len ? NGX_DECLINED
                          : ngx_http_trifecta_model_default(r, &ask->model);
}
