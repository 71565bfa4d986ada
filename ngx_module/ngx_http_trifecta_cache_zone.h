#ifndef NGX_HTTP_TRIFECTA_CACHE_ZONE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CACHE_ZONE_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_reply.h"

#include <openssl/sha.h>


/*
 * The shared memory of the cache of results: a tree of entries by the id of
 * their job, and a queue by their last use.  It knows no request, and cache.h
 * says what the numbers mean.
 *
 * An entry is one piece of memory with its body in it.  When there is no room
 * the least recently used go, a bounded number at a time, in proportion to
 * what is wanted; if that was not enough the new one is not stored.
 *
 * Every function locks the zone itself, and none logs.  While it is locked
 * only memory is copied: no pool is touched, and a worker that is killed
 * leaves nothing behind but the lock, which the master opens.
 */

#define NGX_HTTP_TRIFECTA_CACHE_MARKS  256      /* of deletions, by hash */

typedef struct {
    u_char                         id[sizeof(tf_id_t)];
    u_char                         caller[SHA256_DIGEST_LENGTH];
} ngx_http_trifecta_cache_key_t;

typedef struct {
    ngx_rbtree_t                   tree;
    ngx_rbtree_node_t              sentinel;
    ngx_queue_t                    queue;       /* the last used first */
    ngx_atomic_t                   sequence;
    ngx_uint_t                     entries;
    size_t                         bytes;
    u_char                         floor[sizeof(tf_id_t)];
    uint64_t                       deleted[NGX_HTTP_TRIFECTA_CACHE_MARKS];
} ngx_http_trifecta_cache_shared_t;

typedef struct {
    ngx_http_trifecta_cache_shared_t  *shared;
    ngx_slab_pool_t                   *pool;
    ngx_msec_t                         ttl;
    size_t                             max;     /* of a body */
} ngx_http_trifecta_cache_zone_t;


ngx_int_t ngx_http_trifecta_cache_zone_init(ngx_shm_zone_t *zone, void *data);

/* The next number of the sequence. */
uint64_t ngx_http_trifecta_cache_zone_next(
    ngx_http_trifecta_cache_zone_t *zone);

/*
 * The length of the body of an entry that may be believed by a worker that
 * has listened since then; 0: there is none.
 */
size_t ngx_http_trifecta_cache_zone_find(ngx_http_trifecta_cache_zone_t *zone,
    ngx_http_trifecta_cache_key_t *key, uint64_t since);

/*
 * Copies tag (NGX_HTTP_TRIFECTA_ETAG_LEN bytes) and body; NGX_DECLINED when
 * the entry has gone meanwhile, or has not that length.
 */
ngx_int_t ngx_http_trifecta_cache_zone_copy(
    ngx_http_trifecta_cache_zone_t *zone, ngx_http_trifecta_cache_key_t *key,
    uint64_t since, u_char *etag, ngx_str_t *body);

/* Stores it, unless it was deleted or is too old; returns how many others had to go. */
ngx_uint_t ngx_http_trifecta_cache_zone_put(
    ngx_http_trifecta_cache_zone_t *zone, ngx_http_trifecta_cache_key_t *key,
    uint64_t ticket, u_char *etag, ngx_str_t *body);

/* Whether there was an entry. */
ngx_uint_t ngx_http_trifecta_cache_zone_delete(
    ngx_http_trifecta_cache_zone_t *zone, tf_id_t *id);

/*
 * What has a smaller id is not found any more, and not stored; its memory is
 * freed when it is come across, or expires.  A floor never sinks.
 */
void ngx_http_trifecta_cache_zone_raise(ngx_http_trifecta_cache_zone_t *zone,
    tf_id_t *id);

void ngx_http_trifecta_cache_zone_usage(ngx_http_trifecta_cache_zone_t *zone,
    ngx_uint_t *entries, size_t *bytes);


#endif /* NGX_HTTP_TRIFECTA_CACHE_ZONE_H_INCLUDED */
