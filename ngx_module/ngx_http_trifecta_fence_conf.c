#include "ngx_http_trifecta_fence.h"


static const char  ngx_http_trifecta_fence_tag;


/* zone=name[:size] [key=address|subject rate=10r/s [burst=n]] */

static char *
ngx_http_trifecta_fence_zone(ngx_conf_t *cf, ngx_str_t *zone,
    ngx_http_trifecta_fence_t *fence, ssize_t *size)
{
    u_char     *colon;
    ngx_str_t   s;

    fence->name = *zone;
    *size = 0;

    colon = ngx_strlchr(zone->data, zone->data + zone->len, ':');

    if (colon) {
        fence->name.len = colon - zone->data;

        s.data = colon + 1;
        s.len = zone->data + zone->len - s.data;

        *size = ngx_parse_size(&s);

        if (*size == NGX_ERROR) {
            return "has an invalid size of its zone";
        }

        if (*size < (ssize_t) (8 * ngx_pagesize)) {
            return "has a zone that is too small";
        }
    }

    if (!ngx_http_trifecta_limit_name(&fence->name)) {
        return "has an invalid name of its zone";
    }

    return NGX_CONF_OK;
}


char *
ngx_http_trifecta_conf_fence(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_loc_conf_t *lcf = conf;

    char                        *err;
    ssize_t                      size;
    ngx_int_t                    rc;
    ngx_str_t                   *value, zone;
    ngx_uint_t                   i, keyed;
    ngx_shm_zone_t              *shm, **pshm;
    ngx_http_trifecta_fence_t   *fence;

    fence = ngx_pcalloc(cf->pool, sizeof(ngx_http_trifecta_fence_t));
    if (fence == NULL) {
        return NGX_CONF_ERROR;
    }

    keyed = 0;
    size = 0;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0
            && fence->name.len == 0)
        {
            zone.data = value[i].data + 5;
            zone.len = value[i].len - 5;

            err = ngx_http_trifecta_fence_zone(cf, &zone, fence, &size);

            if (err != NGX_CONF_OK) {
                return err;
            }

            continue;
        }

        if (ngx_strcmp(value[i].data, "key=address") == 0 && !keyed) {
            keyed = 1;
            fence->key = ngx_http_trifecta_fence_by_address;
            continue;
        }

        if (ngx_strcmp(value[i].data, "key=subject") == 0 && !keyed) {
            keyed = 1;
            fence->key = ngx_http_trifecta_fence_by_subject;
            continue;
        }

        rc = ngx_http_trifecta_rate_param(&fence->rate, &value[i]);

        if (rc != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter "
                               "\"%V\" of trifecta_fence", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (fence->name.len == 0) {
        return "has no \"zone=\"";
    }

    shm = ngx_shared_memory_add(cf, &fence->name, size,
                                (void *) &ngx_http_trifecta_fence_tag);
    if (shm == NULL) {
        return NGX_CONF_ERROR;
    }

    if (size == 0) {

        if (keyed || fence->rate.n || fence->rate.burst) {
            return "has no size of its zone: \"zone=name:1m\"";
        }

        if (shm->data == NULL) {
            return "names a zone that is not defined above: give its size, "
                   "key and rate";
        }

    } else {

        if (shm->data) {
            return "defines a zone that is defined above: \"zone=name\" "
                   "alone uses it again";
        }

        if (!keyed) {
            return "needs \"key=address\" or \"key=subject\"";
        }

        err = ngx_http_trifecta_rate_check(&fence->rate);

        if (err) {
            return err;
        }

        fence->step = (uint64_t) fence->rate.unit * 1000 / fence->rate.n;
        fence->window = fence->step * fence->rate.burst;

        shm->init = ngx_http_trifecta_fence_init;
        shm->data = fence;
    }

    if (lcf->fences == NULL) {
        lcf->fences = ngx_array_create(cf->pool, 2, sizeof(ngx_shm_zone_t *));
        if (lcf->fences == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    pshm = lcf->fences->elts;

    for (i = 0; i < lcf->fences->nelts; i++) {
        if (pshm[i] == shm) {
            return "is duplicate";
        }
    }

    pshm = ngx_array_push(lcf->fences);
    if (pshm == NULL) {
        return NGX_CONF_ERROR;
    }

    *pshm = shm;

    return NGX_CONF_OK;
}
