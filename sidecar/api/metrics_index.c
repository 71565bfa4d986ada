#include "api/metrics.h"


/* The search indexes in memory; none without the memory for them. */

void
tf_metrics_of_indexes(tf_rag_mem_t *mem, tf_buf_t *out)
{
    size_t         n, bytes;
    unsigned long  evicted;

    if (mem == NULL) {
        return;
    }

    tf_mem_shelf_count(&mem->shelf, &n, &bytes, &evicted);

    tf_metrics_head(out, "trifecta_index_collections", "gauge",
                    "collections that have an index in memory");
    tf_buf_printf(out, "trifecta_index_collections %zu\n", n);

    tf_metrics_head(out, "trifecta_index_bytes", "gauge",
                    "memory of the indexes, also of one that is being built");
    tf_buf_printf(out, "trifecta_index_bytes %zu\n", bytes);

    tf_metrics_head(out, "trifecta_index_evictions_total", "counter",
                    "indexes that made room for another");
    tf_buf_printf(out, "trifecta_index_evictions_total %lu\n", evicted);

#define TF_METRICS_COUNTER(name, what)                                        \
    tf_metrics_head(out, "trifecta_index_" #name "_total", "counter", what);  \
    tf_buf_printf(out, "trifecta_index_" #name "_total %lu\n",                \
                  atomic_load(&mem->name));
    TF_MEM_COUNTERS(TF_METRICS_COUNTER)
#undef TF_METRICS_COUNTER
}
