#include "api/metrics.h"

#include <stdio.h>

#include <trifecta/version.h>


void
tf_metrics_head(tf_buf_t *out, const char *name, const char *type,
    const char *what)
{
    tf_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, what, name,
                  type);
}


static void
tf_metrics_gauge(tf_buf_t *out, const char *name, const char *what,
    unsigned long value)
{
    char  full[64];

    (void) snprintf(full, sizeof(full), "trifecta_worker_%s", name);
    tf_metrics_head(out, full, "gauge", what);
    tf_buf_printf(out, "%s %lu\n", full, value);
}


static void
tf_metrics_of_worker(tf_queue_t *queue, tf_buf_t *out)
{
    tf_queue_stuck_t              stuck;
    tf_queue_status_t             st;
    const tf_queue_counters_t    *c;
    const tf_queue_histograms_t  *h;

    c = tf_queue_counters(queue);
    h = tf_queue_histograms(queue);

#define TF_METRICS_COUNTER(name, what)                                        \
    tf_metrics_head(out, "trifecta_worker_" #name "_total", "counter", what); \
    tf_buf_printf(out, "trifecta_worker_" #name "_total %lu\n",               \
                  atomic_load(&c->name));
    TF_QUEUE_COUNTERS(TF_METRICS_COUNTER)
#undef TF_METRICS_COUNTER

    tf_buf_printf(out, "# HELP trifecta_pruned_total Partitions dropped and "
                  "jobs deleted because they ended long ago\n"
                  "# TYPE trifecta_pruned_total counter\n"
                  "trifecta_pruned_total{what=\"partitions\"} %lu\n"
                  "trifecta_pruned_total{what=\"jobs\"} %lu\n",
                  atomic_load(&c->pruned_partitions),
                  atomic_load(&c->pruned_jobs));

#define TF_METRICS_HISTOGRAM(field, unit, name, labels, what)                 \
    if (what[0]) {                                                            \
        tf_metrics_head(out, "trifecta_worker_" name, "histogram", what);     \
    }                                                                         \
    tf_hist_write(&h->field, &tf_hist_##unit, "trifecta_worker_" name,        \
                  labels, out);
    TF_QUEUE_HISTOGRAMS(TF_METRICS_HISTOGRAM)
#undef TF_METRICS_HISTOGRAM

    tf_queue_status(queue, &st);

    tf_metrics_gauge(out, "held", "jobs held now", st.held);
    tf_metrics_gauge(out, "threads", "jobs that may run at a time",
                     st.threads);
    tf_metrics_gauge(out, "background_held",
                     "jobs held now that are work in the background",
                     st.held_back);
    tf_metrics_gauge(out, "background_places",
                     "of these, jobs that may run at a time",
                     st.places_back);
    tf_metrics_gauge(out, "postgresql_up", "whether PostgreSQL answers",
                     (unsigned long) st.store_up);
    tf_metrics_gauge(out, "redis_up", "whether every Redis answers",
                     st.nup == st.nshards);
    tf_metrics_gauge(out, "commit_age_seconds",
                     "time since PostgreSQL last committed for this sidecar",
                     (unsigned long) (tf_queue_commit_age(queue) / 1000));
    tf_metrics_gauge(out, "stuck",
                     "whether a thread makes no progress, see /livez",
                     (unsigned long) tf_queue_stuck(queue, &stuck));
    tf_metrics_gauge(out, "draining", "whether the process is leaving",
                     (unsigned long) st.draining);
}


void
tf_metrics_write(tf_metrics_t *metrics, tf_buf_t *out)
{
    tf_metrics_of_worker(metrics->queue, out);
    tf_metrics_of_keepers(metrics->queue, out);
    tf_metrics_of_batches(metrics->queue, out);
    tf_metrics_of_queue(metrics, out);
    tf_metrics_of_indexes(metrics->mem, out);
    tf_metrics_of_webhooks(metrics->hooks, out);
    tf_metrics_of_models(metrics->models, out);

    tf_metrics_head(out, "trifecta_build_info", "gauge",
                    "version of the program");
    tf_buf_puts(out, "trifecta_build_info{version=\"" TF_VERSION "\"} 1\n");
}
