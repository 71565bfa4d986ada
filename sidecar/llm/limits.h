#ifndef TF_LLM_LIMITS_H
#define TF_LLM_LIMITS_H


#include <stdatomic.h>
#include <stdint.h>


/*
 * What a model's server is asked for at most, by this process: requests at
 * once, requests a minute and tokens a minute.
 *
 * A minute is any 60 seconds (and up to one more: they are counted by the
 * second), as the servers that have such limits count it.  Before a request
 * its tokens are a guess, of which the rest is given back, or what is more is
 * added, when the answer says how many it took.  One request may always pass
 * when nothing else was asked for in the minute, however large it is.
 *
 * Who finds no room waits, for a bounded time, if room may come within it, and
 * if no more than TF_LLM_LIMITS_WAITERS wait already: threads that wait for
 * one model are missing for the others.  Otherwise he learns when to come
 * back.  Those who were sent away are told times one behind the other, at the
 * pace of the limit, so that they do not come back together; it is no promise
 * of a place.
 *
 * Shared by threads.
 */

#define TF_LLM_LIMITS_WAITERS   4
#define TF_LLM_LIMITS_LEAST_MS  1000    /* to come back */
#define TF_LLM_LIMITS_MOST_MS   90000

typedef struct tf_llm_limits_s  tf_llm_limits_t;

/* A request that was let in. */

typedef struct {
    int64_t   second;
    int64_t   began;        /* ms */
    uint64_t  tokens;
} tf_llm_place_t;


/* 0: no limit of that kind.  NULL: no memory. */
tf_llm_limits_t *tf_llm_limits_create(uint64_t parallel, uint64_t requests,
    uint64_t tokens);
void tf_llm_limits_free(tf_llm_limits_t *limits);

/*
 * 0: there is a place, which must be left.  More: the ms after which to come
 * back.  -1: *cancel was set while it waited.
 */
int64_t tf_llm_limits_enter(tf_llm_limits_t *limits, uint64_t tokens,
    int64_t wait, const atomic_int *cancel, tf_llm_place_t *place);

/* The same without waiting: 0, or the ms after which there may be room. */
int64_t tf_llm_limits_ask(tf_llm_limits_t *limits, uint64_t tokens,
    int64_t now, tf_llm_place_t *place);

/* The same call makes another request: with another key. */
void tf_llm_limits_again(tf_llm_limits_t *limits, int64_t now);

/*
 * Since the start: those that had to wait for a place, whatever came of it,
 * and those that were sent away.
 */
void tf_llm_limits_count(tf_llm_limits_t *limits, unsigned long *waited,
    unsigned long *refused);

/* used: tokens that it took; -1: nobody knows, the guess stays. */
void tf_llm_limits_leave(tf_llm_limits_t *limits, const tf_llm_place_t *place,
    int64_t used, int64_t now);


#endif /* TF_LLM_LIMITS_H */
