#ifndef TF_QUEUE_PULSE_H
#define TF_QUEUE_PULSE_H


#include <stdatomic.h>
#include <stdint.h>


/*
 * Progress.  A process that answers is not yet one that works: a sidecar is
 * alive while its threads get on with what they have to do.
 *
 * A thread says when it tries a step, and then what came of it:
 *
 *   done   the step was made
 *   miss   nobody answered: the next try is for the same step
 *   rest   there is nothing to do, or its store answered and refused; that
 *          is not this process' fault, and starting it anew would not help
 *
 * It is stuck when a step has been due for the limit (the key "stuck_after")
 * and is still being tried, though the stores that the step needs have
 * answered somebody in this process all that time.
 *
 * One thread writes a pulse; anybody reads it.
 */

/* When a store answers: since when without a gap, and last. */

typedef struct {
    atomic_llong  from;
    atomic_llong  last;
    int64_t       gap;          /* a longer silence ends it; set once */
} tf_answers_t;

void tf_answers_note(tf_answers_t *answers);

typedef struct {
    atomic_llong  since;        /* the step is due since then; 0: none is */
    atomic_llong  tried;
    atomic_llong  done;         /* the last one that was made; 0: none yet */
    atomic_int    busy;         /* between a try and what came of it */
} tf_pulse_t;


void tf_pulse_try(tf_pulse_t *pulse);
void tf_pulse_done(tf_pulse_t *pulse);
void tf_pulse_miss(tf_pulse_t *pulse);
void tf_pulse_rest(tf_pulse_t *pulse);

/*
 * How long (ms) it has been stuck at this time, 0 if it is not; redis and pg
 * are the stores that it needs, or NULL.
 */
int64_t tf_pulse_stuck(const tf_pulse_t *pulse, int64_t now, int64_t limit,
    const tf_answers_t *redis, const tf_answers_t *pg);


#endif /* TF_QUEUE_PULSE_H */
