#include "ngx_http_trifecta_webhook.h"
#include "ngx_http_trifecta_json.h"

#include <trifecta/webhook.h>


ngx_int_t
ngx_http_trifecta_member_metadata(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    json_t      *text;
    ngx_uint_t   blank;
    const char  *member;

    if (!json_is_object(value) || json_object_size(value) > TF_METADATA_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be an object of at most "
                                       "%d members", name, TF_METADATA_MAX);
    }

    json_object_foreach(value, member, text) {

        if (ngx_http_trifecta_utf8_length((u_char *) member,
                                          ngx_strlen(member), &blank)
            > TF_METADATA_NAME_MAX)
        {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                           "\"%s\": a name must have at most "
                                           "%d characters", name,
                                           TF_METADATA_NAME_MAX);
        }

        if (!json_is_string(text)
            || ngx_http_trifecta_utf8_length(
                                       (u_char *) json_string_value(text),
                                       json_string_length(text), &blank)
               > TF_METADATA_VALUE_MAX)
        {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                           "\"%s\": a value must be a string "
                                           "of at most %d characters", name,
                                           TF_METADATA_VALUE_MAX);
        }
    }

    if (json_object_size(value) > 0) {
        ask->metadata = value;
    }

    return NGX_DECLINED;
}


/* "a.example" is that host, "*.a.example" what is below it. */

static ngx_uint_t
ngx_http_trifecta_webhook_listed(ngx_http_trifecta_webhooks_t *hooks,
    tf_webhook_host_t *host)
{
    size_t      len;
    ngx_str_t  *listed;
    ngx_uint_t  i;

    len = ngx_strlen(host->host);
    listed = hooks->hosts.elts;

    for (i = 0; i < hooks->hosts.nelts; i++) {

        if (listed[i].data[0] == '*') {
            if (!host->literal && len >= listed[i].len
                && ngx_memcmp(host->host + len - (listed[i].len - 1),
                              listed[i].data + 1, listed[i].len - 1)
                   == 0)
            {
                return 1;
            }

        } else if (len == listed[i].len
                   && ngx_memcmp(host->host, listed[i].data, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_trifecta_member_webhook(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    const char                    *why;
    tf_webhook_host_t              host;
    ngx_http_trifecta_webhooks_t  *hooks;
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);
    hooks = lcf->webhooks;

    if (hooks == NULL || !hooks->on) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" is not supported here: the "
                                       "directive trifecta_webhooks is off",
                                       name);
    }

    if (!json_is_string(value)) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be a string", name);
    }

    why = tf_webhook_url(json_string_value(value), json_string_length(value),
                         &host);

    if (why != NULL) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\": %s", name, why);
    }

    if (hooks->hosts.nelts) {
        if (!ngx_http_trifecta_webhook_listed(hooks, &host)) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                           "\"%s\": its host is not one of "
                                           "those that trifecta_webhooks "
                                           "names", name);
        }

    } else if (host.inside) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\": its host is an address that "
                                       "is not public", name);
    }

    ask->webhook.data = (u_char *) json_string_value(value);
    ask->webhook.len = json_string_length(value);

    return NGX_DECLINED;
}


char *
ngx_http_trifecta_conf_webhooks(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_trifecta_loc_conf_t *lcf = conf;

    ngx_str_t                     *value, *host;
    ngx_uint_t                     i;
    ngx_http_trifecta_webhooks_t  *hooks;

    if (lcf->webhooks != NULL) {
        return "is duplicate";
    }

    hooks = ngx_pcalloc(cf->pool, sizeof(ngx_http_trifecta_webhooks_t));
    if (hooks == NULL
        || ngx_array_init(&hooks->hosts, cf->pool, 4, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    lcf->webhooks = hooks;
    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    hooks->on = 1;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "on") == 0) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len > TF_WEBHOOK_HOST_MAX
            || ngx_strcmp(value[i].data, "on") == 0
            || ngx_strcmp(value[i].data, "off") == 0
            || strpbrk((char *) value[i].data, "/@ ")
            || (ngx_strchr(value[i].data, '*')
                && (value[i].len < 3 || value[i].data[1] != '.'
                    || value[i].data[0] != '*'
                    || ngx_strchr(value[i].data + 1, '*'))))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is no host: \"hooks.example.com\" or "
                               "\"*.example.com\" is expected", &value[i]);
            return NGX_CONF_ERROR;
        }

        host = ngx_array_push(&hooks->hosts);
        if (host == NULL) {
            return NGX_CONF_ERROR;
        }

        *host = value[i];
        ngx_strlow(host->data, host->data, host->len);
    }

    return NGX_CONF_OK;
}
