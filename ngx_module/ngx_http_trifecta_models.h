#ifndef NGX_HTTP_TRIFECTA_MODELS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_MODELS_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * Which models there are, and who may use them.
 *
 * trifecta_models names those that answer questions, and
 * trifecta_embedding_models those that make vectors; without the latter nginx
 * does not know them, and leaves every name to the sidecar.
 *
 * A model with groups (trifecta_model_groups) is for callers who have one of
 * them; another one is for everybody.  The sidecar has the same rows, and
 * looks again.
 */

typedef struct {
    ngx_str_t      model;
    ngx_array_t    groups;      /* of ngx_str_t */
} ngx_http_trifecta_model_groups_t;


/* The handlers of the directives. */
char *ngx_http_trifecta_conf_models(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_trifecta_conf_model_groups(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Groups are those of models that there are; after all directives. */
ngx_int_t ngx_http_trifecta_models_init(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf);

/* The caller has one of the model's groups, or it has none. */
ngx_uint_t ngx_http_trifecta_model_allowed(ngx_http_request_t *r,
    ngx_str_t *model);

/*
 * The caller may name this model of the list, or that of embedding models;
 * NULL is a list that is not known.  NGX_DECLINED, or what an error returned.
 */
ngx_int_t ngx_http_trifecta_model_check(ngx_http_request_t *r,
    const char *param, ngx_array_t *models, ngx_str_t *model);

/*
 * The model for who names none: the first that he may use.  The same; the
 * name is that of the configuration.
 */
ngx_int_t ngx_http_trifecta_model_default(ngx_http_request_t *r,
    ngx_str_t *model);


#endif /* NGX_HTTP_TRIFECTA_MODELS_H_INCLUDED */
