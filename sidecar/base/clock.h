#ifndef TF_BASE_CLOCK_H
#define TF_BASE_CLOCK_H


#include <stdint.h>
#include <time.h>


/*
 * Waits and deadlines use the monotonic clock; the wall clock is only for
 * what people read.  What the queue or the store decide by time, they decide
 * by their own.
 */

static inline int64_t
tf_clock_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static inline int64_t
tf_clock_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static inline int64_t
tf_clock_wall_ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


#endif /* TF_BASE_CLOCK_H */
