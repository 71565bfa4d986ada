#ifndef TF_LLM_BREAKER_H
#define TF_LLM_BREAKER_H


#include <stdint.h>


/*
 * A circuit breaker: a server that failed several times in a row is left
 * alone for a while, so that jobs do not queue up behind its deadlines.
 *
 *   closed ──TF_LLM_BREAKER_FAILS failures in a row──> open
 *   open ──its time is over──> one call may try (half open)
 *   half open ──success──> closed;  ──failure──> open, twice as long
 *
 * Shared by threads.
 */

#define TF_LLM_BREAKER_FAILS   5
#define TF_LLM_BREAKER_MS      5000
#define TF_LLM_BREAKER_MAX_MS  120000

typedef struct tf_llm_breaker_s  tf_llm_breaker_t;


tf_llm_breaker_t *tf_llm_breaker_create(void);
void tf_llm_breaker_free(tf_llm_breaker_t *breaker);

/*
 * 0: a call may be made, and its outcome must be told by _ok(), _fail() or
 * _void().  Otherwise the ms until one may.
 */
int64_t tf_llm_breaker_ask(tf_llm_breaker_t *breaker, int64_t now);

void tf_llm_breaker_ok(tf_llm_breaker_t *breaker);

/* 1 when this opened it. */
int tf_llm_breaker_fail(tf_llm_breaker_t *breaker, int64_t now);

/* The call said nothing about the server (it was cancelled). */
void tf_llm_breaker_void(tf_llm_breaker_t *breaker);


#endif /* TF_LLM_BREAKER_H */
