#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_reply.h"


/*
 * GET /v1/models and /v1/models/{id}: the models of trifecta_models, the
 * default one first.  What the caller may not use is not there.
 */

static void
ngx_http_trifecta_openai_model(ngx_http_request_t *r, ngx_str_t *model,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_json_lit(j, "{\"id\":");
    ngx_http_trifecta_json_str(j, model);
    ngx_http_trifecta_json_printf(j, ",\"object\":\"model\",\"created\":%T,"
                                  "\"owned_by\":\"trifecta\"}",
                          (time_t) ngx_http_trifecta_metrics(mcf)->started);
}


ngx_int_t
ngx_http_trifecta_openai_models(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                       rc;
    ngx_str_t                      *model;
    ngx_uint_t                      i;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    model = mcf->models->elts;

    ngx_http_trifecta_json_init(&j, r->pool, 512);
    ngx_http_trifecta_json_lit(&j, "{\"object\":\"list\",\"data\":[");

    for (i = 0; i < mcf->models->nelts; i++) {
        if (i) {
            ngx_http_trifecta_json_lit(&j, ",");
        }

        ngx_http_trifecta_openai_model(r, &model[i], &j);
    }

    ngx_http_trifecta_json_lit(&j, "]}");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


ngx_int_t
ngx_http_trifecta_openai_one_model(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                       rc;
    ngx_str_t                      *model;
    ngx_uint_t                      i;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    model = mcf->models->elts;

    for (i = 0; i < mcf->models->nelts; i++) {

        if (model[i].len == id->len
            && ngx_memcmp(model[i].data, id->data, id->len) == 0)
        {
            ngx_http_trifecta_json_init(&j, r->pool, 256);
            ngx_http_trifecta_openai_model(r, &model[i], &j);

            return ngx_http_trifecta_reply(r, NGX_HTTP_OK,
                                           "application/json", &j);
        }
    }

    if (id->len > TF_MODEL_MAX) {
        id->len = 0;
    }

    return ngx_http_trifecta_error(r, TF_E_MODEL_NOT_FOUND, "model",
                                   "there is no model \"%V\"", id);
}
