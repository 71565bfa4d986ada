#include "ngx_http_trifecta_fence.h"
#include "ngx_http_trifecta_reply.h"


static void
ngx_http_trifecta_fence_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t           **p;
    ngx_http_trifecta_bucket_t   *a, *b;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            a = (ngx_http_trifecta_bucket_t *) node;
            b = (ngx_http_trifecta_bucket_t *) temp;

            p = (ngx_memcmp(a->digest, b->digest, SHA256_DIGEST_LENGTH) < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


ngx_int_t
ngx_http_trifecta_fence_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_trifecta_fence_t *old = data;

    ngx_http_trifecta_fence_t  *fence;

    fence = zone->data;
    fence->pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (old) {
        fence->buckets = old->buckets;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        fence->buckets = fence->pool->data;
        return NGX_OK;
    }

    fence->buckets = ngx_slab_alloc(fence->pool,
                                    sizeof(ngx_http_trifecta_buckets_t));
    if (fence->buckets == NULL) {
        return NGX_ERROR;
    }

    fence->pool->data = fence->buckets;
    fence->pool->log_nomem = 0;

    ngx_rbtree_init(&fence->buckets->tree, &fence->buckets->sentinel,
                    ngx_http_trifecta_fence_insert);
    ngx_queue_init(&fence->buckets->queue);

    return NGX_OK;
}


static ngx_http_trifecta_bucket_t *
ngx_http_trifecta_fence_find(ngx_http_trifecta_fence_t *fence,
    ngx_rbtree_key_t key, u_char *digest)
{
    int                          rc;
    ngx_rbtree_node_t           *node, *sentinel;
    ngx_http_trifecta_bucket_t  *bucket;

    node = fence->buckets->tree.root;
    sentinel = fence->buckets->tree.sentinel;

    while (node != sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        bucket = (ngx_http_trifecta_bucket_t *) node;

        rc = ngx_memcmp(digest, bucket->digest, SHA256_DIGEST_LENGTH);

        if (rc == 0) {
            return bucket;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


/* Frees up to two that are full again, or, by force, the oldest in any case. */

static void
ngx_http_trifecta_fence_expire(ngx_http_trifecta_fence_t *fence, uint64_t now,
    ngx_uint_t force)
{
    ngx_uint_t                   n;
    ngx_queue_t                 *q;
    ngx_http_trifecta_bucket_t  *bucket;

    for (n = 0; n < 2; n++) {

        if (ngx_queue_empty(&fence->buckets->queue)) {
            return;
        }

        q = ngx_queue_last(&fence->buckets->queue);
        bucket = ngx_queue_data(q, ngx_http_trifecta_bucket_t, queue);

        if (bucket->full > now && !(force && n == 0)) {
            return;
        }

        ngx_queue_remove(q);
        ngx_rbtree_delete(&fence->buckets->tree, &bucket->node);
        ngx_slab_free_locked(fence->pool, bucket);
    }
}


static ngx_http_trifecta_bucket_t *
ngx_http_trifecta_fence_new(ngx_http_trifecta_fence_t *fence,
    ngx_rbtree_key_t key, u_char *digest, uint64_t now)
{
    ngx_http_trifecta_bucket_t  *bucket;

    ngx_http_trifecta_fence_expire(fence, now, 0);

    bucket = ngx_slab_alloc_locked(fence->pool,
                                   sizeof(ngx_http_trifecta_bucket_t));
    if (bucket == NULL) {
        ngx_http_trifecta_fence_expire(fence, now, 1);

        bucket = ngx_slab_alloc_locked(fence->pool,
                                       sizeof(ngx_http_trifecta_bucket_t));
        if (bucket == NULL) {
            return NULL;
        }
    }

    bucket->node.key = key;
    bucket->full = now;
    ngx_memcpy(bucket->digest, digest, SHA256_DIGEST_LENGTH);

    ngx_rbtree_insert(&fence->buckets->tree, &bucket->node);
    ngx_queue_insert_head(&fence->buckets->queue, &bucket->queue);

    return bucket;
}


/* 0: it may pass, and is charged; else how long to wait, in ms. */

static int64_t
ngx_http_trifecta_fence_ask(ngx_http_trifecta_fence_t *fence, u_char *digest)
{
    int64_t                      wait;
    uint64_t                     now, full;
    ngx_rbtree_key_t             key;
    ngx_http_trifecta_bucket_t  *bucket;

    ngx_memcpy(&key, digest, sizeof(ngx_rbtree_key_t));

    now = (uint64_t) ngx_current_msec * 1000;
    wait = 0;

    ngx_shmtx_lock(&fence->pool->mutex);

    bucket = ngx_http_trifecta_fence_find(fence, key, digest);

    if (bucket) {
        ngx_queue_remove(&bucket->queue);
        ngx_queue_insert_head(&fence->buckets->queue, &bucket->queue);

    } else {
        bucket = ngx_http_trifecta_fence_new(fence, key, digest, now);
    }

    /* a zone without room for one bucket keeps nobody out */

    if (bucket) {
        full = ngx_max(bucket->full, now);

        /* another rate since, or a clock that began again */

        if (full > now + fence->window) {
            full = now + fence->window;
            bucket->full = full;
        }

        if (full + fence->step > now + fence->window) {
            wait = (full + fence->step - now - fence->window + 999) / 1000;

        } else {
            bucket->full = full + fence->step;
        }
    }

    ngx_shmtx_unlock(&fence->pool->mutex);

    return wait;
}


/*
 * Whose bucket it is.  Who has an IPv6 address has 2^64 of them, so a /64 is
 * one.  Each part is preceded by its length.
 */

static void
ngx_http_trifecta_fence_digest(ngx_http_request_t *r,
    ngx_http_trifecta_fence_t *fence, u_char *digest)
{
    size_t                    n, i;
    ngx_str_t                 part[2];
    struct sockaddr_in       *sin;
    ngx_http_trifecta_ctx_t  *ctx;
    u_char                    text[3 + 2 * 2 + TF_TENANT_MAX + TF_OWNER_MAX];
#if (NGX_HAVE_INET6)
    struct sockaddr_in6      *sin6;
#endif

    ngx_str_null(&part[0]);
    ngx_str_null(&part[1]);

    if (fence->key == ngx_http_trifecta_fence_by_subject) {
        ctx = ngx_http_trifecta_get_ctx(r);
        part[0] = ctx->tenant;
        part[1] = ctx->owner;

    } else {

        switch (r->connection->sockaddr->sa_family) {

        case AF_INET:
            sin = (struct sockaddr_in *) r->connection->sockaddr;
            part[0].data = (u_char *) &sin->sin_addr;
            part[0].len = 4;
            break;

#if (NGX_HAVE_INET6)
        case AF_INET6:
            sin6 = (struct sockaddr_in6 *) r->connection->sockaddr;
            part[0].data = sin6->sin6_addr.s6_addr;
            part[0].len = 8;

            if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
                part[0].data += 12;
                part[0].len = 4;
            }

            break;
#endif

        default: /* a local socket: all of them together */
            break;
        }
    }

    n = 0;
    text[n++] = (u_char) fence->key;

    for (i = 0; i < 2; i++) {
        text[n++] = (u_char) (part[i].len >> 8);
        text[n++] = (u_char) part[i].len;

        if (part[i].len) {
            ngx_memcpy(text + n, part[i].data, part[i].len);
            n += part[i].len;
        }
    }

    (void) SHA256(text, n, digest);
}


static ngx_int_t
ngx_http_trifecta_fence(ngx_http_request_t *r,
    ngx_http_trifecta_fence_key_e key)
{
    u_char                          digest[SHA256_DIGEST_LENGTH];
    int64_t                         wait;
    ngx_uint_t                      i;
    ngx_shm_zone_t                **zone;
    ngx_http_trifecta_fence_t      *fence;
    ngx_http_trifecta_loc_conf_t   *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    zone = lcf->fences->elts;

    for (i = 0; i < lcf->fences->nelts; i++) {
        fence = zone[i]->data;

        if (fence->key != key) {
            continue;
        }

        ngx_http_trifecta_fence_digest(r, fence, digest);

        wait = ngx_http_trifecta_fence_ask(fence, digest);

        if (wait == 0) {
            continue;
        }

        if (ngx_http_trifecta_limit_wait(r, wait) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_error(r, TF_E_RATE_LIMITED, NULL,
                               "the fence \"%V\" allows %ui requests a "
                               "%s for this %s", &fence->name, fence->rate.n,
                               fence->rate.letter == 's' ? "second"
                               : fence->rate.letter == 'm' ? "minute"
                               : fence->rate.letter == 'h' ? "hour" : "day",
                               key == ngx_http_trifecta_fence_by_address
                               ? "address" : "subject");
    }

    return NGX_DECLINED;
}


/* An internal redirect comes here again, and is not charged again. */

ngx_int_t
ngx_http_trifecta_fence_address(ngx_http_request_t *r)
{
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (lcf->fences == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->fenced_address) {
        return NGX_DECLINED;
    }

    ctx->fenced_address = 1;

    return ngx_http_trifecta_fence(r, ngx_http_trifecta_fence_by_address);
}


ngx_int_t
ngx_http_trifecta_fence_subject(ngx_http_request_t *r)
{
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (lcf->fences == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->fenced_subject || !ctx->authenticated) {
        return NGX_DECLINED;
    }

    ctx->fenced_subject = 1;

    return ngx_http_trifecta_fence(r, ngx_http_trifecta_fence_by_subject);
}
