#ifndef NGX_HTTP_TRIFECTA_SHARD_H_INCLUDED
#define NGX_HTTP_TRIFECTA_SHARD_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_confirm.h"
#include "ngx_http_trifecta_redis.h"
#include "ngx_http_trifecta_subscriber.h"


/*
 * The queue is made of shards: shard i is what lies under {trifecta:i} on the
 * i-th server of trifecta_redis.  A worker has two connections to each, one
 * for the commands of requests and the subscriber's, and with
 * trifecta_replicas a third one for what replicas must confirm.  What becomes
 * of those of one shard concerns no other.
 *
 * A new job goes to the shard of its tenant, and so do the limits that are
 * counted; whatever is about a job that there is goes to the shard in its id.
 * So a longer list moves new jobs only, and after a shorter one there may be
 * ids of a shard that is not there any more: for those Redis counts as away.
 *
 * Without trifecta_redis there is one shard that is never connected.
 */

struct ngx_http_trifecta_shard_s {
    ngx_uint_t                         index;
    char                               prefix[TF_KEY_PREFIX_MAX];
    ngx_http_trifecta_server_t        *server;      /* configured */
    ngx_http_trifecta_redis_t         *redis;
    ngx_http_trifecta_confirm_t       *confirm;     /* or NULL */
    ngx_http_trifecta_subscriber_t    *subscriber;
    ngx_http_trifecta_cache_worker_t  *cache;       /* or NULL */
};


/* All of a worker, at its start and its end. */
ngx_int_t ngx_http_trifecta_shards_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_worker_t *worker);
void ngx_http_trifecta_shards_destroy(ngx_http_trifecta_worker_t *worker);

/*
 * Those connections that wait for PostgreSQL's first word wait no longer;
 * those that are ready look at once whether they may stay.  Nothing is called
 * from within either.
 */
void ngx_http_trifecta_shards_hurry(ngx_http_trifecta_worker_t *worker);
void ngx_http_trifecta_shards_look(ngx_http_trifecta_worker_t *worker);

/* Where the caller's new jobs go, and where its requests are counted. */
ngx_http_trifecta_shard_t *ngx_http_trifecta_tenant_shard(
    ngx_http_request_t *r);

/* Where the job of the context is; NULL when the list ends before that. */
ngx_http_trifecta_shard_t *ngx_http_trifecta_job_shard(ngx_http_request_t *r);


#endif /* NGX_HTTP_TRIFECTA_SHARD_H_INCLUDED */
