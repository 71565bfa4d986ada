#include "base/hist.h"


const tf_hist_bounds_t  tf_hist_ms = {
    13, 1000,
    { 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000,
      600000 }
};

const tf_hist_bounds_t  tf_hist_size = {
    10, 1, { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512 }
};


void
tf_hist_add(tf_hist_t *hist, const tf_hist_bounds_t *bounds, int64_t value)
{
    unsigned  i;

    if (value < 0) {
        value = 0;
    }

    for (i = 0; i < bounds->n && value > bounds->bounds[i]; i++) {
        /* void */
    }

    (void) atomic_fetch_add(&hist->buckets[i], 1);
    (void) atomic_fetch_add(&hist->sum, (unsigned long long) value);
}


/* The count is the sum of the buckets, also while others add to them. */

void
tf_hist_write(const tf_hist_t *hist, const tf_hist_bounds_t *bounds,
    const char *name, const char *labels, tf_buf_t *out)
{
    double         sum;
    unsigned       i;
    const char    *comma, *open, *close;
    unsigned long  n;

    n = 0;
    sum = (double) atomic_load(&hist->sum) / bounds->per;
    comma = labels[0] ? "," : "";
    open = labels[0] ? "{" : "";
    close = labels[0] ? "}" : "";

    for (i = 0; i < bounds->n; i++) {
        n += atomic_load(&hist->buckets[i]);
        tf_buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %lu\n", name, labels,
                      comma, (double) bounds->bounds[i] / bounds->per, n);
    }

    n += atomic_load(&hist->buckets[i]);
    tf_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lu\n", name, labels,
                  comma, n);
    tf_buf_printf(out, "%s_sum%s%s%s %.3f\n%s_count%s%s%s %lu\n", name, open,
                  labels, close, sum, name, open, labels, close, n);
}
