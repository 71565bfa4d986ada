#ifndef TF_API_METRICS_H
#define TF_API_METRICS_H


#include "base/buf.h"
#include "queue/queue.h"
#include "queue/redis.h"


/*
 * What Prometheus reads of a sidecar.
 *
 * The counters and histograms are this process' own.  The gauges of the
 * queue are Redis', so every sidecar says the same: one read-only call at
 * each scrape, on a connection that nobody else uses.  It never makes a
 * scrape fail: when Redis does not answer in time the gauges are left out
 * and trifecta_queue_scrape_ok is 0.
 */

#define TF_METRICS_REDIS_MS  250    /* to connect, and for a reply */

void tf_metrics_init(tf_redis_t *redis, const tf_conf_t *conf);
void tf_metrics_write(tf_queue_t *queue, tf_redis_t *redis, tf_buf_t *out);


#endif /* TF_API_METRICS_H */
