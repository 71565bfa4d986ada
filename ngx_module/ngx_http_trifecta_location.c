#include "ngx_http_trifecta_conf.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_require.h"


/* What a location can be. */

typedef struct {
    const char           *word;
    ngx_uint_t            mode;
    ngx_http_handler_pt   handler;
} ngx_http_trifecta_location_t;

static const ngx_http_trifecta_location_t  ngx_http_trifecta_locations[] = {
    { "api", NGX_HTTP_TRIFECTA_API, ngx_http_trifecta_api_handler },
    { "admin", NGX_HTTP_TRIFECTA_ADMIN, ngx_http_trifecta_admin_handler },
    { "status", NGX_HTTP_TRIFECTA_STATUS, ngx_http_trifecta_status_handler },
    { NULL, 0, NULL }
};


void *
ngx_http_trifecta_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_trifecta_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->auth = NGX_CONF_UNSET;
    lcf->prefer_durable = NGX_CONF_UNSET;
    lcf->require = NGX_CONF_UNSET_PTR;
    lcf->limit_failure = NGX_CONF_UNSET_UINT;

    return lcf;
}


char *
ngx_http_trifecta_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_trifecta_loc_conf_t *prev = parent;
    ngx_http_trifecta_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t            *clcf;
    ngx_http_trifecta_main_conf_t       *mcf;
    const ngx_http_trifecta_location_t  *kind;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_trifecta_module);

    ngx_conf_merge_value(conf->auth, prev->auth, 0);
    ngx_conf_merge_value(conf->prefer_durable, prev->prefer_durable, 0);

    ngx_conf_merge_uint_value(conf->limit_failure, prev->limit_failure,
                              NGX_HTTP_TRIFECTA_LIMIT_CLOSED);

    if (conf->webhooks == NULL) {
        conf->webhooks = prev->webhooks;
    }

    if (conf->limits == NULL) {
        conf->limits = prev->limits;
    }

    if (conf->fences == NULL) {
        conf->fences = prev->fences;
    }

    /* "if" and "limit_except" are the location itself, in another place */

    if (conf->mode == NGX_HTTP_TRIFECTA_NONE && clcf->handler == NULL
        && (clcf->noname || clcf->lmt_excpt))
    {
        conf->mode = prev->mode;

        for (kind = ngx_http_trifecta_locations; kind->word; kind++) {
            if (kind->mode == prev->mode) {
                clcf->handler = kind->handler;
            }
        }
    }

    if (conf->mode == NGX_HTTP_TRIFECTA_API) {

        if (mcf->id_keys.n == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"trifecta api\" needs "
                               "trifecta_id_key_file in http{}");
            return NGX_CONF_ERROR;
        }

        conf->auth = 1;

        /*
         * The core would refuse a large body before the token is seen, with
         * a page of its own; body.c has a bound for either kind of body.
         */

        clcf->client_max_body_size = 0;
    }

    if (ngx_http_trifecta_require_merge(cf, prev, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->mode != NGX_HTTP_TRIFECTA_NONE
        || (conf->auth && conf->limits && conf->limits->nelts))
    {
        mcf->used = 1;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_trifecta_conf_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_trifecta_loc_conf_t *lcf = conf;

    ngx_str_t                           *value;
    ngx_http_core_loc_conf_t            *clcf;
    const ngx_http_trifecta_location_t  *kind;

    if (lcf->mode != NGX_HTTP_TRIFECTA_NONE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    for (kind = ngx_http_trifecta_locations; kind->word; kind++) {

        if (ngx_strcmp(value[1].data, kind->word) == 0) {
            lcf->mode = kind->mode;
            clcf->handler = kind->handler;
            return NGX_CONF_OK;
        }
    }

    return "must be \"api\", \"admin\" or \"status\"";
}
