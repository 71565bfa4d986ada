#ifndef NGX_HTTP_TRIFECTA_FENCE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_FENCE_H_INCLUDED


#include "ngx_http_trifecta_limit.h"

#include <openssl/sha.h>


/*
 * The fence: a bucket for each address or subject in a shared zone.
 *
 * A bucket is the time at which it would be full again (the theoretical
 * arrival time of the GCRA), found by the SHA-256 of whose it is.  The zone
 * keeps buckets in a tree, and in a queue by their last visit.  Each visit
 * that needs a new bucket frees up to two that are full again, from the end
 * of the queue; when there is no room, the oldest goes, full or not.
 *
 * Nothing is logged, and no pool is touched, while the zone is locked.  A
 * new cycle finds the buckets in the zone of the same name, size and tag;
 * what the directive says may change meanwhile, for a bucket has no numbers
 * of it.
 */

typedef enum {
    ngx_http_trifecta_fence_by_address = 0,
    ngx_http_trifecta_fence_by_subject
} ngx_http_trifecta_fence_key_e;

typedef struct {
    ngx_rbtree_node_t                node;      /* key: the digest's start */
    ngx_queue_t                      queue;
    uint64_t                         full;      /* us */
    u_char                           digest[SHA256_DIGEST_LENGTH];
} ngx_http_trifecta_bucket_t;

typedef struct {
    ngx_rbtree_t                     tree;
    ngx_rbtree_node_t                sentinel;
    ngx_queue_t                      queue;     /* the last visited first */
} ngx_http_trifecta_buckets_t;

typedef struct {
    ngx_http_trifecta_buckets_t     *buckets;
    ngx_slab_pool_t                 *pool;

    ngx_str_t                        name;
    ngx_http_trifecta_fence_key_e    key;
    ngx_http_trifecta_rate_t         rate;
    uint64_t                         step;      /* us a request */
    uint64_t                         window;    /* us of a whole burst */
} ngx_http_trifecta_fence_t;


/* Of the zone of a fence, which is its data. */
ngx_int_t ngx_http_trifecta_fence_init(ngx_shm_zone_t *zone, void *data);


#endif /* NGX_HTTP_TRIFECTA_FENCE_H_INCLUDED */
