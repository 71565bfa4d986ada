#include "ngx_http_trifecta_cache_zone.h"


typedef struct {
    ngx_rbtree_node_t              node;    /* key: the end of the id */
    ngx_queue_t                    queue;
    ngx_http_trifecta_cache_key_t  key;
    uint64_t                       ticket;
    ngx_msec_t                     stored;
    size_t                         len;
    u_char                         etag[NGX_HTTP_TRIFECTA_ETAG_LEN];
    u_char                         body[1];
} ngx_http_trifecta_cache_entry_t;


#define ngx_http_trifecta_cache_size(len)                                     \
    (offsetof(ngx_http_trifecta_cache_entry_t, body) + (len))


/* An id begins with the time; its end is random, and a MAC. */

static ngx_rbtree_key_t
ngx_http_trifecta_cache_hash(u_char *id)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, id + sizeof(tf_id_t) - sizeof(key), sizeof(key));

    return key;
}


static uint64_t *
ngx_http_trifecta_cache_mark(ngx_http_trifecta_cache_zone_t *zone, u_char *id)
{
    return &zone->shared->deleted[id[sizeof(tf_id_t) - 1]
                                  % NGX_HTTP_TRIFECTA_CACHE_MARKS];
}


static void
ngx_http_trifecta_cache_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t               **p;
    ngx_http_trifecta_cache_entry_t  *a, *b;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            a = (ngx_http_trifecta_cache_entry_t *) node;
            b = (ngx_http_trifecta_cache_entry_t *) temp;

            p = (ngx_memcmp(a->key.id, b->key.id, sizeof(a->key.id)) < 0)
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
ngx_http_trifecta_cache_zone_init(ngx_shm_zone_t *shm, void *data)
{
    ngx_http_trifecta_cache_zone_t *old = data;

    ngx_http_trifecta_cache_zone_t  *zone;

    zone = shm->data;
    zone->pool = (ngx_slab_pool_t *) shm->shm.addr;

    if (old) {
        zone->shared = old->shared;
        return NGX_OK;
    }

    if (shm->shm.exists) {
        zone->shared = zone->pool->data;
        return NGX_OK;
    }

    zone->shared = ngx_slab_calloc(zone->pool,
                                   sizeof(ngx_http_trifecta_cache_shared_t));
    if (zone->shared == NULL) {
        return NGX_ERROR;
    }

    zone->pool->data = zone->shared;
    zone->pool->log_nomem = 0;

    ngx_rbtree_init(&zone->shared->tree, &zone->shared->sentinel,
                    ngx_http_trifecta_cache_insert);
    ngx_queue_init(&zone->shared->queue);

    return NGX_OK;
}


uint64_t
ngx_http_trifecta_cache_zone_next(ngx_http_trifecta_cache_zone_t *zone)
{
    return ngx_atomic_fetch_add(&zone->shared->sequence, 1) + 1;
}


/* The rest is called with the zone locked, up to the next headline. */

static ngx_http_trifecta_cache_entry_t *
ngx_http_trifecta_cache_entry(ngx_http_trifecta_cache_zone_t *zone,
    u_char *id)
{
    int                               rc;
    ngx_rbtree_key_t                  key;
    ngx_rbtree_node_t                *node, *sentinel;
    ngx_http_trifecta_cache_entry_t  *entry;

    key = ngx_http_trifecta_cache_hash(id);
    node = zone->shared->tree.root;
    sentinel = zone->shared->tree.sentinel;

    while (node != sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        entry = (ngx_http_trifecta_cache_entry_t *) node;

        rc = ngx_memcmp(id, entry->key.id, sizeof(entry->key.id));

        if (rc == 0) {
            return entry;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_http_trifecta_cache_free(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_entry_t *entry)
{
    zone->shared->entries--;
    zone->shared->bytes -= ngx_http_trifecta_cache_size(entry->len);

    ngx_queue_remove(&entry->queue);
    ngx_rbtree_delete(&zone->shared->tree, &entry->node);
    ngx_slab_free_locked(zone->pool, entry);
}


/* Ids of the same length are in the order of their time. */

static ngx_uint_t
ngx_http_trifecta_cache_below(ngx_http_trifecta_cache_zone_t *zone, u_char *id)
{
    return ngx_memcmp(id, zone->shared->floor, sizeof(tf_id_t)) < 0;
}


/* Another worker's clock may be a little ahead. */

static ngx_uint_t
ngx_http_trifecta_cache_expired(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_entry_t *entry)
{
    return (ngx_msec_int_t) (ngx_current_msec - entry->stored)
           >= (ngx_msec_int_t) zone->ttl;
}


static ngx_http_trifecta_cache_entry_t *
ngx_http_trifecta_cache_believed(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_key_t *key, uint64_t since)
{
    ngx_http_trifecta_cache_entry_t  *entry;

    entry = ngx_http_trifecta_cache_entry(zone, key->id);

    if (entry == NULL) {
        return NULL;
    }

    if (ngx_http_trifecta_cache_expired(zone, entry)
        || ngx_http_trifecta_cache_below(zone, key->id))
    {
        ngx_http_trifecta_cache_free(zone, entry);
        return NULL;
    }

    if (entry->ticket < since
        || ngx_memcmp(entry->key.caller, key->caller, sizeof(key->caller))
           != 0)
    {
        return NULL;
    }

    return entry;
}


/* Frees what has expired, up to two; then whatever was not used lately. */

static ngx_http_trifecta_cache_entry_t *
ngx_http_trifecta_cache_alloc(ngx_http_trifecta_cache_zone_t *zone,
    size_t size, ngx_uint_t *evicted)
{
    void                             *p;
    ngx_uint_t                        n;
    ngx_queue_t                      *queue, *q;
    ngx_http_trifecta_cache_entry_t  *entry;

    queue = &zone->shared->queue;

    for (n = 0; n < 2 && !ngx_queue_empty(queue); n++) {
        q = ngx_queue_last(queue);
        entry = ngx_queue_data(q, ngx_http_trifecta_cache_entry_t, queue);

        if (!ngx_http_trifecta_cache_expired(zone, entry)) {
            break;
        }

        ngx_http_trifecta_cache_free(zone, entry);
    }

    for (n = 8 + 2 * size / ngx_pagesize; /* void */ ; n--) {

        p = ngx_slab_alloc_locked(zone->pool, size);

        if (p != NULL || n == 0 || ngx_queue_empty(queue)) {
            return p;
        }

        q = ngx_queue_last(queue);
        entry = ngx_queue_data(q, ngx_http_trifecta_cache_entry_t, queue);

        ngx_http_trifecta_cache_free(zone, entry);
        (*evicted)++;
    }
}


/* From here on each function locks the zone. */

size_t
ngx_http_trifecta_cache_zone_find(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_key_t *key, uint64_t since)
{
    size_t                            len;
    ngx_http_trifecta_cache_entry_t  *entry;

    ngx_shmtx_lock(&zone->pool->mutex);

    entry = ngx_http_trifecta_cache_believed(zone, key, since);
    len = entry ? entry->len : 0;

    ngx_shmtx_unlock(&zone->pool->mutex);

    return len;
}


ngx_int_t
ngx_http_trifecta_cache_zone_copy(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_key_t *key, uint64_t since, u_char *etag,
    ngx_str_t *body)
{
    ngx_int_t                         rc;
    ngx_http_trifecta_cache_entry_t  *entry;

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&zone->pool->mutex);

    entry = ngx_http_trifecta_cache_believed(zone, key, since);

    if (entry != NULL && entry->len == body->len) {

        ngx_memcpy(etag, entry->etag, NGX_HTTP_TRIFECTA_ETAG_LEN);
        ngx_memcpy(body->data, entry->body, entry->len);

        ngx_queue_remove(&entry->queue);
        ngx_queue_insert_head(&zone->shared->queue, &entry->queue);

        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&zone->pool->mutex);

    return rc;
}


ngx_uint_t
ngx_http_trifecta_cache_zone_put(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_key_t *key, uint64_t ticket, u_char *etag,
    ngx_str_t *body)
{
    size_t                            size;
    ngx_uint_t                        evicted;
    ngx_http_trifecta_cache_entry_t  *entry;

    evicted = 0;
    size = ngx_http_trifecta_cache_size(body->len);

    ngx_shmtx_lock(&zone->pool->mutex);

    if (*ngx_http_trifecta_cache_mark(zone, key->id) > ticket
        || ngx_http_trifecta_cache_below(zone, key->id))
    {
        goto done;
    }

    entry = ngx_http_trifecta_cache_entry(zone, key->id);

    if (entry) {

        if (entry->ticket >= ticket
            && !ngx_http_trifecta_cache_expired(zone, entry))
        {
            goto done;      /* more workers believe that one */
        }

        ngx_http_trifecta_cache_free(zone, entry);
    }

    entry = ngx_http_trifecta_cache_alloc(zone, size, &evicted);

    if (entry) {
        entry->node.key = ngx_http_trifecta_cache_hash(key->id);
        entry->key = *key;
        entry->ticket = ticket;
        entry->stored = ngx_current_msec;
        entry->len = body->len;

        ngx_memcpy(entry->etag, etag, NGX_HTTP_TRIFECTA_ETAG_LEN);
        ngx_memcpy(entry->body, body->data, body->len);

        ngx_rbtree_insert(&zone->shared->tree, &entry->node);
        ngx_queue_insert_head(&zone->shared->queue, &entry->queue);

        zone->shared->entries++;
        zone->shared->bytes += size;
    }

done:

    ngx_shmtx_unlock(&zone->pool->mutex);

    return evicted;
}


ngx_uint_t
ngx_http_trifecta_cache_zone_delete(ngx_http_trifecta_cache_zone_t *zone,
    tf_id_t *id)
{
    ngx_uint_t                        found;
    ngx_http_trifecta_cache_entry_t  *entry;

    found = 0;

    ngx_shmtx_lock(&zone->pool->mutex);

    *ngx_http_trifecta_cache_mark(zone, id->octets)
        = ngx_http_trifecta_cache_zone_next(zone);

    entry = ngx_http_trifecta_cache_entry(zone, id->octets);

    if (entry) {
        ngx_http_trifecta_cache_free(zone, entry);
        found = 1;
    }

    ngx_shmtx_unlock(&zone->pool->mutex);

    return found;
}


void
ngx_http_trifecta_cache_zone_raise(ngx_http_trifecta_cache_zone_t *zone,
    tf_id_t *id)
{
    ngx_shmtx_lock(&zone->pool->mutex);

    if (!ngx_http_trifecta_cache_below(zone, id->octets)) {
        ngx_memcpy(zone->shared->floor, id->octets, sizeof(tf_id_t));
    }

    ngx_shmtx_unlock(&zone->pool->mutex);
}


void
ngx_http_trifecta_cache_zone_usage(ngx_http_trifecta_cache_zone_t *zone,
    ngx_uint_t *entries, size_t *bytes)
{
    ngx_shmtx_lock(&zone->pool->mutex);

    *entries = zone->shared->entries;
    *bytes = zone->shared->bytes;

    ngx_shmtx_unlock(&zone->pool->mutex);
}
