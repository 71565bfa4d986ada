#include "ngx_http_trifecta_cache.h"
#include "ngx_http_trifecta_cache_zone.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_worker.h"


/* The directive, and what a worker does with the zone. */

#define NGX_HTTP_TRIFECTA_CACHE_BODY  (256 * 1024)


struct ngx_http_trifecta_cache_worker_s {
    ngx_http_trifecta_deletions_t    deletions;
    ngx_http_trifecta_main_conf_t   *mcf;
    uint64_t                         since;
};


static const char  ngx_http_trifecta_cache_tag;


/* name:size */

static char *
ngx_http_trifecta_conf_cache_zone(ngx_str_t *value, ngx_str_t *name,
    ssize_t *size)
{
    u_char     *colon, *end;
    ngx_str_t   s;

    end = value->data + value->len;
    colon = ngx_strlchr(value->data, end, ':');

    if (colon == NULL) {
        return "has no size of its zone: \"zone=name:16m\"";
    }

    name->data = value->data;
    name->len = colon - value->data;

    s.data = colon + 1;
    s.len = end - s.data;

    *size = ngx_parse_size(&s);

    if (!ngx_http_trifecta_limit_name(name)) {
        return "has an invalid name of its zone";
    }

    if (*size == NGX_ERROR) {
        return "has an invalid size of its zone";
    }

    if (*size < (ssize_t) (8 * ngx_pagesize)) {
        return "has a zone that is too small";
    }

    return NGX_CONF_OK;
}


/* off | zone=name:size [ttl=time] [max=size] */

char *
ngx_http_trifecta_conf_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    char                            *err;
    ssize_t                          size, max;
    ngx_int_t                        ttl;
    ngx_str_t                       *value, name, s;
    ngx_uint_t                       i;
    ngx_shm_zone_t                  *shm;
    ngx_http_trifecta_cache_zone_t  *zone;

    if (mcf->cache_set) {
        return "is duplicate";
    }

    mcf->cache_set = 1;
    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    ngx_str_null(&name);
    size = 0;
    ttl = NGX_CONF_UNSET;
    max = NGX_CONF_UNSET;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0 && size == 0) {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            err = ngx_http_trifecta_conf_cache_zone(&s, &name, &size);

            if (err != NGX_CONF_OK) {
                return err;
            }

            continue;
        }

        s.data = value[i].data + 4;
        s.len = value[i].len - 4;

        if (ngx_strncmp(value[i].data, "ttl=", 4) == 0
            && ttl == NGX_CONF_UNSET)
        {
            ttl = ngx_parse_time(&s, 0);

            if (ttl != NGX_ERROR && ttl != 0) {
                continue;
            }

        } else if (ngx_strncmp(value[i].data, "max=", 4) == 0
                   && max == NGX_CONF_UNSET)
        {
            max = ngx_parse_size(&s);

            if (max != NGX_ERROR && max != 0) {
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" "
                           "of trifecta_result_cache", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (size == 0) {
        return "has no \"zone=\"";
    }

    ngx_conf_init_value(ttl, NGX_HTTP_TRIFECTA_CACHE_TTL);
    ngx_conf_init_value(max, NGX_HTTP_TRIFECTA_CACHE_BODY);

    if (ttl > NGX_HTTP_TRIFECTA_CACHE_TTL) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0, "trifecta_result_cache keeps "
                           "nothing longer than %ui s, whatever ttl= says",
                           (ngx_uint_t) NGX_HTTP_TRIFECTA_CACHE_TTL / 1000);
        ttl = NGX_HTTP_TRIFECTA_CACHE_TTL;
    }

    if (max > size / 4) {
        return "has a zone that is too small for its bodies: it must have at "
               "least four times max= (256k unless given)";
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_trifecta_cache_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->ttl = ttl;
    zone->max = max;

    shm = ngx_shared_memory_add(cf, &name, size,
                                (void *) &ngx_http_trifecta_cache_tag);
    if (shm == NULL) {
        return NGX_CONF_ERROR;
    }

    shm->init = ngx_http_trifecta_cache_zone_init;
    shm->data = zone;

    mcf->cache = shm;

    return NGX_CONF_OK;
}


/*
 * The shard that tells of the job of the context; NULL when this worker does
 * not hear it and must not use the cache, or there is none.
 */

static ngx_http_trifecta_cache_worker_t *
ngx_http_trifecta_cache_usable(ngx_http_request_t *r)
{
    ngx_http_trifecta_shard_t  *shard;

    shard = ngx_http_trifecta_job_shard(r);

    if (shard == NULL || shard->cache == NULL
        || !ngx_http_trifecta_subscriber_up(shard->subscriber))
    {
        return NULL;
    }

    return shard->cache;
}


/*
 * "<" and an id: retention has removed what is older.  Nothing that is newer
 * than now can be old: a message that says so would keep the cache empty for
 * ever.
 */

static void
ngx_http_trifecta_cache_raise(ngx_http_trifecta_main_conf_t *mcf,
    ngx_str_t *message)
{
    tf_id_t      id;
    uint64_t     ms;
    ngx_time_t  *tp;

    if (tf_id_parse(&id, (char *) message->data + 1, message->len - 1) != 0) {
        return;
    }

    tp = ngx_timeofday();
    ms = (uint64_t) tp->sec * 1000 + tp->msec;

    if (tf_id_time(&id) <= ms) {
        ngx_http_trifecta_cache_zone_raise(mcf->cache->data, &id);
    }
}


static void
ngx_http_trifecta_cache_heard(void *data, ngx_str_t *id)
{
    ngx_http_trifecta_cache_worker_t *cache = data;

    if (id && id->len && id->data[0] == '<') {
        ngx_http_trifecta_cache_raise(cache->mcf, id);

    } else if (id) {
        ngx_http_trifecta_cache_forget(cache->mcf, id);

    } else {
        cache->since = ngx_http_trifecta_cache_zone_next(
                                                    cache->mcf->cache->data);
    }
}


ngx_int_t
ngx_http_trifecta_cache_listen(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard)
{
    ngx_http_trifecta_cache_worker_t  *cache;

    if (mcf->cache == NULL) {
        return NGX_OK;
    }

    cache = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_cache_worker_t));
    if (cache == NULL) {
        return NGX_ERROR;
    }

    cache->mcf = mcf;
    cache->deletions.handler = ngx_http_trifecta_cache_heard;
    cache->deletions.data = cache;

    shard->cache = cache;

    ngx_http_trifecta_subscriber_deletions(shard->subscriber,
                                           &cache->deletions);

    return NGX_OK;
}


/* Each part is preceded by its length. */

static ngx_int_t
ngx_http_trifecta_cache_key(ngx_http_request_t *r,
    ngx_http_trifecta_cache_key_t *key)
{
    size_t                    n, i;
    tf_id_t                   id;
    ngx_str_t                *part[2];
    ngx_http_trifecta_ctx_t  *ctx;
    u_char                    text[2 * 2 + TF_TENANT_MAX + TF_OWNER_MAX];

    ctx = ngx_http_trifecta_get_ctx(r);

    if (ctx->tenant.len > TF_TENANT_MAX || ctx->owner.len > TF_OWNER_MAX
        || tf_id_parse(&id, (char *) ctx->job_id.data, ctx->job_id.len) != 0)
    {
        return NGX_ERROR;
    }

    n = 0;
    part[0] = &ctx->tenant;
    part[1] = &ctx->owner;

    for (i = 0; i < 2; i++) {
        text[n++] = (u_char) (part[i]->len >> 8);
        text[n++] = (u_char) part[i]->len;

        ngx_memcpy(text + n, part[i]->data, part[i]->len);
        n += part[i]->len;
    }

    ngx_memcpy(key->id, id.octets, sizeof(key->id));

    return ngx_http_trifecta_sha256(r, text, n, key->caller);
}


uint64_t
ngx_http_trifecta_cache_ticket(ngx_http_request_t *r)
{
    ngx_http_trifecta_cache_zone_t    *zone;
    ngx_http_trifecta_cache_worker_t  *cache;

    cache = ngx_http_trifecta_cache_usable(r);
    if (cache == NULL) {
        return 0;
    }

    zone = cache->mcf->cache->data;

    return zone->shared->sequence;
}


ngx_int_t
ngx_http_trifecta_cache_get(ngx_http_request_t *r,
    ngx_http_trifecta_cached_t *cached)
{
    ngx_http_trifecta_cache_key_t      key;
    ngx_http_trifecta_main_conf_t     *mcf;
    ngx_http_trifecta_cache_zone_t    *zone;
    ngx_http_trifecta_cache_worker_t  *cache;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    if (mcf->cache == NULL) {
        return NGX_DECLINED;
    }

    cache = ngx_http_trifecta_cache_usable(r);

    if (cache == NULL || ngx_http_trifecta_cache_key(r, &key) != NGX_OK) {
        ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_CACHE_BYPASS);
        return NGX_DECLINED;
    }

    zone = mcf->cache->data;

    cached->body.len = ngx_http_trifecta_cache_zone_find(zone, &key,
                                                         cache->since);

    if (cached->body.len == 0) {
        goto miss;
    }

    cached->etag.len = NGX_HTTP_TRIFECTA_ETAG_LEN;
    cached->etag.data = ngx_pnalloc(r->pool, cached->etag.len
                                             + cached->body.len);
    if (cached->etag.data == NULL) {
        goto miss;
    }

    cached->body.data = cached->etag.data + cached->etag.len;

    if (ngx_http_trifecta_cache_zone_copy(zone, &key, cache->since,
                                          cached->etag.data, &cached->body)
        == NGX_OK)
    {
        ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_CACHE_HIT);
        return NGX_OK;
    }

miss:

    ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_CACHE_MISS);

    ngx_str_null(&cached->body);

    return NGX_DECLINED;
}


void
ngx_http_trifecta_cache_put(ngx_http_request_t *r, uint64_t ticket,
    ngx_str_t *etag, ngx_http_trifecta_json_t *body)
{
    ngx_str_t                          text;
    ngx_uint_t                         evicted;
    ngx_http_trifecta_cache_key_t      key;
    ngx_http_trifecta_main_conf_t     *mcf;
    ngx_http_trifecta_cache_zone_t    *zone;
    ngx_http_trifecta_cache_worker_t  *cache;

    cache = ngx_http_trifecta_cache_usable(r);
    if (cache == NULL) {
        return;
    }

    mcf = cache->mcf;
    zone = mcf->cache->data;

    text.data = body->start;
    text.len = body->last - body->start;

    if (ticket == 0 || body->failed || text.len > zone->max
        || etag->len != NGX_HTTP_TRIFECTA_ETAG_LEN
        || ngx_http_trifecta_cache_key(r, &key) != NGX_OK)
    {
        return;
    }

    evicted = ngx_http_trifecta_cache_zone_put(zone, &key, ticket, etag->data,
                                               &text);

    ngx_http_trifecta_count_some(mcf, NGX_HTTP_TRIFECTA_M_CACHE_EVICTED,
                                 evicted);
}


void
ngx_http_trifecta_cache_forget(ngx_http_trifecta_main_conf_t *mcf,
    ngx_str_t *id)
{
    tf_id_t  tid;

    if (mcf->cache == NULL
        || tf_id_parse(&tid, (char *) id->data, id->len) != 0)
    {
        return;
    }

    if (ngx_http_trifecta_cache_zone_delete(mcf->cache->data, &tid)) {
        ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_CACHE_INVALIDATED);
    }
}


void
ngx_http_trifecta_cache_usage(ngx_http_trifecta_main_conf_t *mcf,
    ngx_uint_t *entries, size_t *bytes)
{
    *entries = 0;
    *bytes = 0;

    if (mcf->cache) {
        ngx_http_trifecta_cache_zone_usage(mcf->cache->data, entries, bytes);
    }
}
