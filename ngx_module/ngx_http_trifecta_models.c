#include "ngx_http_trifecta_models.h"


static ngx_uint_t
ngx_http_trifecta_models_has(ngx_array_t *models, ngx_str_t *model)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (models == NULL) {
        return 0;
    }

    name = models->elts;

    for (i = 0; i < models->nelts; i++) {
        if (name[i].len == model->len
            && ngx_memcmp(name[i].data, model->data, model->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* trifecta_models and trifecta_embedding_models: cmd says which list. */

char *
ngx_http_trifecta_conf_models(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t     *value, *model;
    ngx_uint_t     i;
    ngx_array_t  **models;

    models = (ngx_array_t **) ((u_char *) conf + cmd->offset);

    if (*models) {
        return "is duplicate";
    }

    value = cf->args->elts;

    *models = ngx_array_create(cf->pool, cf->args->nelts, sizeof(ngx_str_t));
    if (*models == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 0 || value[i].len > TF_MODEL_MAX) {
            return "has a name that is empty or longer than 128 bytes";
        }

        if (ngx_http_trifecta_models_has(*models, &value[i])) {
            return "has the same name twice";
        }

        model = ngx_array_push(*models);
        if (model == NULL) {
            return NGX_CONF_ERROR;
        }

        *model = value[i];
    }

    return NGX_CONF_OK;
}


static ngx_http_trifecta_model_groups_t *
ngx_http_trifecta_model_row(ngx_http_trifecta_main_conf_t *mcf,
    ngx_str_t *model)
{
    ngx_uint_t                         i;
    ngx_http_trifecta_model_groups_t  *row;

    row = mcf->model_groups.elts;

    for (i = 0; i < mcf->model_groups.nelts; i++) {
        if (row[i].model.len == model->len
            && ngx_memcmp(row[i].model.data, model->data, model->len) == 0)
        {
            return &row[i];
        }
    }

    return NULL;
}


char *
ngx_http_trifecta_conf_model_groups(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    ngx_str_t                         *value, *group;
    ngx_uint_t                         i;
    ngx_http_trifecta_model_groups_t  *row;

    value = cf->args->elts;

    if (ngx_http_trifecta_model_row(mcf, &value[1])) {
        return "has groups of the same model twice";
    }

    if (mcf->model_groups.elts == NULL
        && ngx_array_init(&mcf->model_groups, cf->pool, 4,
                          sizeof(ngx_http_trifecta_model_groups_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    row = ngx_array_push(&mcf->model_groups);

    if (row == NULL
        || ngx_array_init(&row->groups, cf->pool, cf->args->nelts,
                          sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    row->model = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        if (value[i].len == 0) {
            return "has a group without a name";
        }

        group = ngx_array_push(&row->groups);
        if (group == NULL) {
            return NGX_CONF_ERROR;
        }

        *group = value[i];
    }

    return NGX_CONF_OK;
}


/* Groups of a model that is misspelt would protect nothing. */

ngx_int_t
ngx_http_trifecta_models_init(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_str_t                         *model;
    ngx_uint_t                         i;
    ngx_http_trifecta_model_groups_t  *row;

    if (mcf->models == NULL) {
        mcf->models = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
        if (mcf->models == NULL) {
            return NGX_ERROR;
        }

        model = ngx_array_push(mcf->models);
        ngx_str_set(model, "extractive");
    }

    row = mcf->model_groups.elts;

    for (i = 0; i < mcf->model_groups.nelts; i++) {

        if (!ngx_http_trifecta_models_has(mcf->models, &row[i].model)
            && !ngx_http_trifecta_models_has(mcf->vectors, &row[i].model))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "trifecta_model_groups: \"%V\" is in neither "
                               "trifecta_models nor "
                               "trifecta_embedding_models", &row[i].model);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_trifecta_model_allowed(ngx_http_request_t *r, ngx_str_t *model)
{
    size_t                             k;
    json_t                            *has;
    ngx_str_t                         *group;
    ngx_uint_t                         i;
    ngx_http_trifecta_ctx_t           *ctx;
    ngx_http_trifecta_main_conf_t     *mcf;
    ngx_http_trifecta_model_groups_t  *row;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    row = ngx_http_trifecta_model_row(mcf, model);

    if (row == NULL) {
        return 1;
    }

    group = row->groups.elts;

    json_array_foreach(ctx->groups, k, has) {

        for (i = 0; i < row->groups.nelts; i++) {
            if (json_string_length(has) == group[i].len
                && ngx_memcmp(json_string_value(has), group[i].data,
                              group[i].len)
                   == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_http_trifecta_model_check(ngx_http_request_t *r, const char *param,
    ngx_array_t *models, ngx_str_t *model)
{
    ngx_str_t  name;

    name = *model;

    if (name.len > TF_MODEL_MAX) {
        name.len = 0;
    }

    if (models && !ngx_http_trifecta_models_has(models, model)) {
        return ngx_http_trifecta_error(r, TF_E_MODEL_NOT_FOUND, param,
                                       "there is no model \"%V\"", &name);
    }

    if (!ngx_http_trifecta_model_allowed(r, model)) {
        return ngx_http_trifecta_error(r, TF_E_MODEL_NOT_ALLOWED, param,
                                       "the model \"%V\" is for groups that "
                                       "the token does not have: GET "
                                       "/v1/models lists what it may use",
                                       &name);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_model_default(ngx_http_request_t *r, ngx_str_t *model)
{
    ngx_str_t                      *name;
    ngx_uint_t                      i;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    name = mcf->models->elts;

    for (i = 0; i < mcf->models->nelts; i++) {
        if (ngx_http_trifecta_model_allowed(r, &name[i])) {
            *model = name[i];

            return NGX_DECLINED;
        }
    }

    return ngx_http_trifecta_error(r, TF_E_MODEL_NOT_ALLOWED, "model",
                                   "every model is for groups that the token "
                                   "does not have");
}
