#include "api/metrics.h"

#include "queue/batches.h"


/*
 * Batches: how many are open, as every sidecar sees it, and what this one has
 * done with their lines.
 */

void
tf_metrics_of_batches(tf_queue_t *queue, tf_buf_t *out)
{
    const tf_batches_stats_t  *b;

    b = tf_queue_batches(queue);

    tf_metrics_head(out, "trifecta_batches", "gauge",
                    "Open batches by state");

#define TF_METRICS_STATE(name)                                                \
    tf_buf_printf(out, "trifecta_batches{state=\"" #name "\"} %lu\n",         \
                  atomic_load(&b->name));
    TF_BATCHES_STATES(TF_METRICS_STATE)
#undef TF_METRICS_STATE

    tf_metrics_head(out, "trifecta_batch_lines_total", "counter",
                    "Requests of batches that this process submitted, or "
                    "whose end it noted");

#define TF_METRICS_LINES(name, what)                                          \
    tf_buf_printf(out, "trifecta_batch_lines_total{outcome=\"" #name "\"} "   \
                  "%lu\n", atomic_load(&b->name));
    TF_BATCHES_COUNTERS(TF_METRICS_LINES)
#undef TF_METRICS_LINES

    tf_metrics_head(out, "trifecta_batches_ended_total", "counter",
                    "Batches that this process brought to their end");
    tf_buf_printf(out, "trifecta_batches_ended_total %lu\n",
                  atomic_load(&b->closed));
}
