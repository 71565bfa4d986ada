#include "api/metrics.h"


/* The ends of jobs that are told to their clients' servers. */

void
tf_metrics_of_webhooks(tf_webhooks_t *hooks, tf_buf_t *out)
{
#define TF_METRICS_COUNTER(name, what)                                        \
    tf_metrics_head(out, "trifecta_webhook_" #name "_total", "counter", what);\
    tf_buf_printf(out, "trifecta_webhook_" #name "_total %lu\n",              \
                  atomic_load(&hooks->name));
    TF_WEBHOOK_COUNTERS(TF_METRICS_COUNTER)
#undef TF_METRICS_COUNTER

    tf_metrics_head(out, "trifecta_webhook_latency_seconds", "histogram",
                    "time from the end of a job to the receipt of its webhook");
    tf_hist_write(&hooks->latency, &tf_hist_ms,
                  "trifecta_webhook_latency_seconds", "", out);
}
