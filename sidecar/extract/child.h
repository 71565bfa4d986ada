#ifndef TF_EXTRACT_CHILD_H
#define TF_EXTRACT_CHILD_H


#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"


/*
 * A program that reads bytes from anybody: a child in a group of its own.
 *
 * It gets the data as a file on its standard input, an empty environment but
 * for PATH and a locale, no other descriptor, and limits: processor time,
 * memory, no file and no core written, few descriptors, no new privileges.
 * What it prints is read up to a bound; at the bound or at the deadline the
 * whole group is killed.  No shell is involved.
 */

typedef enum {
    TF_CHILD_OK,
    TF_CHILD_EXIT,          /* it failed: *status, or a signal as 128 + n */
    TF_CHILD_MISSING,       /* there is no such program */
    TF_CHILD_LATE,
    TF_CHILD_LONG,          /* it printed too much */
    TF_CHILD_FAILED         /* no process could be made: errno */
} tf_child_end_t;

typedef struct {
    const char *const  *argv;
    const char         *data;
    size_t              len;
    int64_t             memory;     /* bytes */
    int64_t             output;     /* bytes */
    int64_t             deadline;   /* of tf_clock_ms() */
    int                 status;
    char                said[200];  /* the first line on standard error */
} tf_child_t;


tf_child_end_t tf_child_run(tf_child_t *child, tf_buf_t *out);


#endif /* TF_EXTRACT_CHILD_H */
