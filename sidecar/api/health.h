#ifndef TF_API_HEALTH_H
#define TF_API_HEALTH_H


#include "base/conf.h"
#include "jobs/webhook.h"
#include "llm/models.h"
#include "queue/queue.h"
#include "rag/mem.h"


/*
 * What others ask of a running sidecar, on the address "listen":
 *
 *   GET /livez    200 while its threads make progress (queue/pulse.h), else
 *                 503; JSON says which one does not
 *   GET /readyz   200 when it can take jobs, else 503; JSON says why
 *   GET /metrics  counters and gauges as Prometheus reads them
 *
 * There is no credential and nothing of any job in the answers; the address
 * is for the machine's or cluster's own network.
 */

typedef struct tf_health_s  tf_health_t;

/* NULL, with a line in the log, when the address cannot be had. */
tf_health_t *tf_health_start(const tf_conf_t *conf, tf_queue_t *queue,
    tf_rag_mem_t *mem, tf_webhooks_t *hooks, tf_llm_models_t *models);
void tf_health_stop(tf_health_t *health);


#endif /* TF_API_HEALTH_H */
