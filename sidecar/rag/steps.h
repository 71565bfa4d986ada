#ifndef TF_RAG_STEPS_H
#define TF_RAG_STEPS_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "db/pg.h"


/*
 * What the steps of a search cost, for measurements.
 *
 * The clock of a busy machine says how long others made it wait.  So each
 * step has, besides, the processor time of the thread that searches and that
 * of its PostgreSQL backend, which the kernel tells (/proc/PID/schedstat) if
 * the server is on the same machine.  What the server does in parallel
 * workers is not among it.
 *
 * A search that is not measured has no steps: NULL, and nothing is read.
 */

#define TF_RAG_STEPS_MAX  16

typedef struct {
    double       wall;          /* ms, as the others */
    double       own;
    double       store;
} tf_rag_cost_t;

typedef struct {
    const char     *name;
    tf_rag_cost_t   cost;       /* sums */
} tf_rag_step_t;

typedef struct tf_rag_steps_s {
    tf_rag_step_t   of[TF_RAG_STEPS_MAX];
    size_t          n;
    tf_rag_cost_t   last;       /* clocks when the last step ended */
    pid_t           backend;
    int             fd;         /* of its file, while backend is not 0 */
    int             blind;      /* the server's time cannot be seen */
} tf_rag_steps_t;


/* From zeroed memory: a search starts; the connection stands. */
void tf_rag_steps_begin(tf_rag_steps_t *steps, const tf_pg_t *pg);

/* What was done since the last step, or since begin, was this one. */
void tf_rag_step(tf_rag_steps_t *steps, const char *name);

void tf_rag_steps_free(tf_rag_steps_t *steps);


#endif /* TF_RAG_STEPS_H */
