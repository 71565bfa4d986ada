#ifndef TF_QUEUE_SENTINEL_H
#define TF_QUEUE_SENTINEL_H


#include "queue/redis.h"
#include "queue/redis_url.h"


/*
 * Which server is the master, as the sentinels say.
 *
 * They are asked in turn, beginning with the one that answered last; each
 * has half of the time that a connection may take, so that one that is
 * frozen costs little.  The first that knows the name is believed; whether
 * the server agrees is for the caller to check.
 *
 * 0, or -1 with redis->err.
 */
int tf_sentinel_find(tf_redis_t *redis, const tf_redis_url_t *u,
    tf_redis_host_t *master);


#endif /* TF_QUEUE_SENTINEL_H */
