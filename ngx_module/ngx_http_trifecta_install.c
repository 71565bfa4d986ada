#include "ngx_http_trifecta_install.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_worker.h"


static uint32_t
ngx_http_trifecta_install_hash(ngx_http_trifecta_main_conf_t *mcf)
{
    return ngx_crc32_long(mcf->pg.data, mcf->pg.len);
}


/* The zone belongs to workers of both configurations during a reload. */

static void
ngx_http_trifecta_install_share(ngx_http_trifecta_main_conf_t *mcf,
    ngx_uint_t store)
{
    ngx_slab_pool_t              *shpool;
    ngx_http_trifecta_install_t  *own, *shared;

    own = &mcf->worker->install;
    shared = &ngx_http_trifecta_metrics(mcf)->install;

    shpool = (ngx_slab_pool_t *) mcf->zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    if (store) {
        *shared = *own;

    } else if (shared->len
               && shared->pg == ngx_http_trifecta_install_hash(mcf))
    {
        *own = *shared;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static ngx_http_trifecta_install_t *
ngx_http_trifecta_install_known(ngx_http_trifecta_main_conf_t *mcf)
{
    if (mcf->worker->install.len == 0) {
        ngx_http_trifecta_install_share(mcf, 0);
    }

    return mcf->worker->install.len ? &mcf->worker->install : NULL;
}


ngx_uint_t
ngx_http_trifecta_install_awaited(ngx_http_trifecta_main_conf_t *mcf)
{
    return ngx_http_trifecta_pg_tries_first(mcf->worker->pg)
           && ngx_http_trifecta_install_known(mcf) == NULL;
}


void
ngx_http_trifecta_install_learn(ngx_http_trifecta_main_conf_t *mcf,
    const char *id, size_t len)
{
    ngx_http_trifecta_install_t  *own;

    own = &mcf->worker->install;

    if (id == NULL || len == 0 || len > sizeof(own->id)) {
        ngx_http_trifecta_shards_hurry(mcf->worker);
        return;
    }

    if (own->len != len || ngx_memcmp(own->id, id, len) != 0) {
        ngx_memcpy(own->id, id, len);
        own->len = len;
        own->pg = ngx_http_trifecta_install_hash(mcf);

        ngx_http_trifecta_shards_look(mcf->worker);
    }

    ngx_http_trifecta_install_share(mcf, 1);
    ngx_http_trifecta_shards_hurry(mcf->worker);
}


const char *
ngx_http_trifecta_install_check(ngx_http_trifecta_main_conf_t *mcf,
    const redisReply *id, u_char *buf, size_t size)
{
    u_char                       *last;
    ngx_http_trifecta_install_t  *own;

    if (id->type != REDIS_REPLY_STRING || id->len == 0) {
        return NULL;
    }

    own = ngx_http_trifecta_install_known(mcf);

    if (own == NULL
        || ((size_t) id->len == own->len
            && ngx_memcmp(id->str, own->id, own->len) == 0))
    {
        return NULL;
    }

    ngx_http_trifecta_pg_ask_again(mcf->worker->pg);

    last = ngx_snprintf(buf, size - 1, "this Redis holds the queue of another "
                        "installation (%*s; PostgreSQL is of %*s): correct "
                        "trifecta_redis or trifecta_pg",
                        ngx_min((size_t) id->len, sizeof(own->id)), id->str,
                        own->len, own->id);
    *last = '\0';

    return (char *) buf;
}
