#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_models.h"
#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_reply.h"


/*
 * GET /v1/models and /v1/models/{id}: the models that answer questions, the
 * default one first, and those that make vectors.  What the caller may not use
 * is not there.
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


/*
 * Those of a list that the caller may use, or of them the one with this id:
 * how many are written, behind so many others.
 */

static ngx_uint_t
ngx_http_trifecta_openai_models_of(ngx_http_request_t *r, ngx_array_t *models,
    ngx_str_t *id, ngx_uint_t n, ngx_http_trifecta_json_t *j)
{
    ngx_str_t   *model;
    ngx_uint_t   i, count;

    if (models == NULL) {
        return 0;
    }

    model = models->elts;
    count = 0;

    for (i = 0; i < models->nelts; i++) {

        if ((id && (model[i].len != id->len
                    || ngx_memcmp(model[i].data, id->data, id->len) != 0))
            || !ngx_http_trifecta_model_allowed(r, &model[i]))
        {
            continue;
        }

        if (n + count++) {
            ngx_http_trifecta_json_lit(j, ",");
        }

        ngx_http_trifecta_openai_model(r, &model[i], j);
    }

    return count;
}


ngx_int_t
ngx_http_trifecta_openai_models(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                       rc;
    ngx_uint_t                      n;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_json_init(&j, r->pool, 512);
    ngx_http_trifecta_json_lit(&j, "{\"object\":\"list\",\"data\":[");

    n = ngx_http_trifecta_openai_models_of(r, mcf->models, NULL, 0, &j);

    (void) ngx_http_trifecta_openai_models_of(r, mcf->vectors, NULL, n, &j);

    ngx_http_trifecta_json_lit(&j, "]}");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


ngx_int_t
ngx_http_trifecta_openai_one_model(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                       rc;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_json_init(&j, r->pool, 256);

    if (ngx_http_trifecta_openai_models_of(r, mcf->models, id, 0, &j)
        || ngx_http_trifecta_openai_models_of(r, mcf->vectors, id, 0, &j))
    {
        return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json",
                                       &j);
    }

    if (id->len > TF_MODEL_MAX) {
        id->len = 0;
    }

    return ngx_http_trifecta_error(r, TF_E_MODEL_NOT_FOUND, "model",
                                   "there is no model \"%V\"", id);
}
