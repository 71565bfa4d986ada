#include "api/metrics.h"

#include "queue/keeper.h"


/* What the keepers of this process have done, and how they find the shards. */

typedef struct {
    const char  *name;
    const char  *type;
    const char  *what;
} tf_metrics_kept_t;

enum {
    TF_METRICS_ADOPTED,
    TF_METRICS_WEAK,
    TF_METRICS_OTHER,
    TF_METRICS_REBUILDS,
    TF_METRICS_MENDED,
    TF_METRICS_ROUNDS,
    TF_METRICS_NKEPT
};

static const tf_metrics_kept_t  tf_metrics_kept[TF_METRICS_NKEPT] = {
    { "trifecta_adopted", "gauge",
      "Whether the stores of the shard belong together, so that it accepts "
      "jobs" },
    { "trifecta_durability_weak", "gauge",
      "Whether a store keeps less than the configuration promises" },
    { "trifecta_library_other", "gauge",
      "Whether Redis has a function library that is not of this release" },
    { "trifecta_rebuilds_total", "counter",
      "Epochs that this process has started" },
    { "trifecta_queue_mended_total", "counter",
      "Keys of the queue that something else had spoilt" },
    { "trifecta_reconcile_rounds_total", "counter",
      "Comparisons of all single jobs by this process" }
};


static unsigned long
tf_metrics_kept_value(const tf_keeper_stats_t *stats, int which)
{
    switch (which) {

    case TF_METRICS_ADOPTED:
        return (unsigned long) atomic_load(&stats->adopted);

    case TF_METRICS_WEAK:
        return (unsigned long) atomic_load(&stats->weak);

    case TF_METRICS_OTHER:
        return (unsigned long) atomic_load(&stats->library_other);

    case TF_METRICS_REBUILDS:
        return atomic_load(&stats->rebuilds);

    case TF_METRICS_MENDED:
        return atomic_load(&stats->mended);

    default: /* TF_METRICS_ROUNDS */
        return atomic_load(&stats->rounds);
    }
}


void
tf_metrics_of_keepers(tf_queue_t *queue, tf_buf_t *out)
{
    int                           which;
    unsigned                      i;
    tf_queue_status_t             st;
    const tf_keeper_stats_t      *stats;
    const tf_compare_counters_t  *c;

    tf_queue_status(queue, &st);

    for (which = 0; which < TF_METRICS_NKEPT; which++) {
        tf_metrics_head(out, tf_metrics_kept[which].name,
                        tf_metrics_kept[which].type,
                        tf_metrics_kept[which].what);

        for (i = 0; i < st.nshards; i++) {
            stats = tf_queue_keeper(queue, i);
            tf_buf_printf(out, "%s{shard=\"%u\"} %lu\n",
                          tf_metrics_kept[which].name, i,
                          tf_metrics_kept_value(stats, which));
        }
    }

    tf_metrics_head(out, "trifecta_reconciled_total", "counter",
                    "Single jobs that the stores did not agree about");

    for (i = 0; i < st.nshards; i++) {
        c = &tf_queue_keeper(queue, i)->reconciled;

#define TF_METRICS_RECONCILED(name, what)                                     \
        tf_buf_printf(out, "trifecta_reconciled_total{shard=\"%u\","          \
                      "what=\"" #name "\"} %lu\n", i, atomic_load(&c->name));
        TF_COMPARE_COUNTERS(TF_METRICS_RECONCILED)
#undef TF_METRICS_RECONCILED
    }
}
