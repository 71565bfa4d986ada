#ifndef TF_API_METRICS_H
#define TF_API_METRICS_H


#include "base/buf.h"
#include "jobs/webhook.h"
#include "llm/models.h"
#include "queue/queue.h"
#include "queue/redis.h"
#include "queue/redis_url.h"
#include "rag/mem.h"


/*
 * What Prometheus reads of a sidecar.
 *
 * The counters and histograms are this process' own.  The gauges of the
 * queue are Redis', so every sidecar says the same: one read-only call to
 * each shard at each scrape, all of them at once, on connections that nobody
 * else uses.  trifecta_shard_... are the gauges of one shard,
 * trifecta_queue_... those of the queue: their sum, or the highest.  Redis
 * never makes a scrape fail: the gauges of a shard that does not answer in
 * time are left out, and trifecta_queue_scrape_ok is 0.
 */

#define TF_METRICS_REDIS_MS  250    /* to connect, and for the replies */

typedef struct {
    tf_redis_t   redis;
    char         prefix[TF_KEY_PREFIX_MAX];
    redisReply  *stats;             /* of the scrape that is on its way */
} tf_metrics_shard_t;

typedef struct {
    tf_queue_t          *queue;
    tf_rag_mem_t        *mem;               /* or NULL */
    tf_webhooks_t       *hooks;
    tf_llm_models_t     *models;
    tf_redis_urls_t      urls;
    tf_metrics_shard_t   shards[TF_SHARDS_MAX];
} tf_metrics_t;


/* NULL when there is no memory. */
tf_metrics_t *tf_metrics_create(const tf_conf_t *conf, tf_queue_t *queue);
void tf_metrics_destroy(tf_metrics_t *metrics);

void tf_metrics_write(tf_metrics_t *metrics, tf_buf_t *out);

/* For the files of metrics. */
void tf_metrics_head(tf_buf_t *out, const char *name, const char *type,
    const char *what);
void tf_metrics_of_queue(tf_metrics_t *metrics, tf_buf_t *out);
void tf_metrics_of_indexes(tf_rag_mem_t *mem, tf_buf_t *out);
void tf_metrics_of_webhooks(tf_webhooks_t *hooks, tf_buf_t *out);
void tf_metrics_of_models(const tf_llm_models_t *models, tf_buf_t *out);
void tf_metrics_of_keepers(tf_queue_t *queue, tf_buf_t *out);
void tf_metrics_of_batches(tf_queue_t *queue, tf_buf_t *out);


#endif /* TF_API_METRICS_H */
