#ifndef NGX_HTTP_TRIFECTA_CACHE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CACHE_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_json.h"


/*
 * Finished results in memory that the workers of one nginx share.
 *
 * A job that ended never changes, but it may be deleted, by anybody's nginx.
 * Redis tells every worker that listens (subscriber.h), and that is all that
 * keeps this cache honest.  Three numbers of one sequence in the zone see to
 * it; whatever happens to the zone takes the next one:
 *
 *   since    of a worker: when its subscription was confirmed last
 *   ticket   of a reading: when it began, before any store was asked
 *   deleted  of an id (of all ids with the same hash): the last deletion
 *
 * - Every shard of the queue tells of its own jobs: "since" is one a shard,
 *   and a worker that does not listen to the shard of a job neither reads nor
 *   writes that job's entry.
 * - A worker believes an entry whose ticket is not older than its own since:
 *   it has listened from before the row was read, so it has heard of every
 *   deletion that the row does not know of.  What other workers heard does
 *   not matter; one that lost its subscription, or has just been started,
 *   believes nothing that was there before.
 * - What a worker hears, it does to the zone: the entry is removed, and one
 *   with an older ticket is not stored any more.  That row was read before
 *   the deletion, however late the answer comes.
 *
 * So a deleted job is served at most until the message has reached the
 * worker.  The worker that deletes does not wait for the message, so that
 * its answer holds for all workers of this nginx.  A connection that is dead
 * without a sign is noticed by its PING, and no entry is older than a minute.
 *
 * What retention removes is many rows at a time, of which Redis names the
 * smallest id that stays; nothing with a smaller one is found or stored from
 * then on.
 *
 * Only what PostgreSQL said is stored, while Redis said that the job has
 * ended or that it does not know it: with Redis away a row may be there that
 * was deleted but is not erased yet.
 *
 * An entry is found by the job's id, and it is nobody's but for the SHA-256
 * of tenant and owner in it.
 */

#define NGX_HTTP_TRIFECTA_CACHE_TTL  60000      /* ms, at most */

typedef struct {
    ngx_str_t   etag;       /* quoted */
    ngx_str_t   body;       /* no data: there is none */
} ngx_http_trifecta_cached_t;


char *ngx_http_trifecta_conf_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Makes the worker listen to a shard, after its subscriber was made.  NGX_OK
 * also when there is no cache.
 */
ngx_int_t ngx_http_trifecta_cache_listen(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard);

/*
 * Of a reading of the job of the context that begins now; 0: what it reads is
 * not stored.
 */
uint64_t ngx_http_trifecta_cache_ticket(ngx_http_request_t *r);

/*
 * The result of the job of the context, in the request's pool; NGX_DECLINED
 * when there is none.
 */
ngx_int_t ngx_http_trifecta_cache_get(ngx_http_request_t *r,
    ngx_http_trifecta_cached_t *cached);

void ngx_http_trifecta_cache_put(ngx_http_request_t *r, uint64_t ticket,
    ngx_str_t *etag, ngx_http_trifecta_json_t *body);

/* A job was deleted. */
void ngx_http_trifecta_cache_forget(ngx_http_trifecta_main_conf_t *mcf,
    ngx_str_t *id);

/* What is in it; zeros when there is no cache. */
void ngx_http_trifecta_cache_usage(ngx_http_trifecta_main_conf_t *mcf,
    ngx_uint_t *entries, size_t *bytes);


#endif /* NGX_HTTP_TRIFECTA_CACHE_H_INCLUDED */
