#ifndef TF_BASE_HIST_H
#define TF_BASE_HIST_H


#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"


/*
 * A histogram with fixed buckets, for Prometheus; any thread may add to it.
 * Values are whole numbers of a unit, of which "per" make one of the unit
 * that is printed (ms: 1000 make a second).
 */

#define TF_HIST_MAX  14

typedef struct {
    unsigned       n;
    unsigned       per;
    int64_t        bounds[TF_HIST_MAX];     /* upper ones, ascending */
} tf_hist_bounds_t;

typedef struct {
    atomic_ulong   buckets[TF_HIST_MAX + 1];
    atomic_ullong  sum;
} tf_hist_t;


extern const tf_hist_bounds_t  tf_hist_ms;          /* 10 ms .. 10 min */
extern const tf_hist_bounds_t  tf_hist_size;        /* 1 .. 512 */

void tf_hist_add(tf_hist_t *hist, const tf_hist_bounds_t *bounds,
    int64_t value);

/* Its series; labels is 'name="text"' or "". */
void tf_hist_write(const tf_hist_t *hist, const tf_hist_bounds_t *bounds,
    const char *name, const char *labels, tf_buf_t *out);


#endif /* TF_BASE_HIST_H */
