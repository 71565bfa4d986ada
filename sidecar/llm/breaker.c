#include "llm/breaker.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/rand.h>


struct tf_llm_breaker_s {
    pthread_mutex_t  mutex;
    unsigned         fails;     /* in a row */
    int64_t          wait;      /* ms, of the last opening */
    int64_t          until;     /* open until then; 0: closed */
    int              trying;    /* half open: somebody tries */
};


tf_llm_breaker_t *
tf_llm_breaker_create(void)
{
    tf_llm_breaker_t  *b;

    b = calloc(1, sizeof(tf_llm_breaker_t));
    if (b != NULL) {
        (void) pthread_mutex_init(&b->mutex, NULL);
    }

    return b;
}


void
tf_llm_breaker_free(tf_llm_breaker_t *b)
{
    if (b != NULL) {
        (void) pthread_mutex_destroy(&b->mutex);
        free(b);
    }
}


int64_t
tf_llm_breaker_ask(tf_llm_breaker_t *b, int64_t now)
{
    int64_t  wait;

    wait = 0;

    (void) pthread_mutex_lock(&b->mutex);

    if (b->until != 0) {
        if (now < b->until) {
            wait = b->until - now;

        } else if (b->trying) {
            wait = TF_LLM_BREAKER_MS;

        } else {
            b->trying = 1;
        }
    }

    (void) pthread_mutex_unlock(&b->mutex);

    return wait;
}


void
tf_llm_breaker_ok(tf_llm_breaker_t *b)
{
    (void) pthread_mutex_lock(&b->mutex);

    b->fails = 0;
    b->wait = 0;
    b->until = 0;
    b->trying = 0;

    (void) pthread_mutex_unlock(&b->mutex);
}


int
tf_llm_breaker_fail(tf_llm_breaker_t *b, int64_t now)
{
    int       opened;
    uint32_t  rnd;

    (void) pthread_mutex_lock(&b->mutex);

    b->fails++;
    opened = b->trying || (b->until == 0 && b->fails >= TF_LLM_BREAKER_FAILS);

    if (opened) {
        b->wait = b->wait ? b->wait * 2 : TF_LLM_BREAKER_MS;

        if (b->wait > TF_LLM_BREAKER_MAX_MS) {
            b->wait = TF_LLM_BREAKER_MAX_MS;
        }

        b->until = now + b->wait;
        b->trying = 0;

        /* sidecars that saw the same failure do not come back together */

        if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) == 1) {
            b->until -= rnd % (uint32_t) (b->wait / 4);
        }
    }

    (void) pthread_mutex_unlock(&b->mutex);

    return opened;
}


void
tf_llm_breaker_void(tf_llm_breaker_t *b)
{
    (void) pthread_mutex_lock(&b->mutex);
    b->trying = 0;
    (void) pthread_mutex_unlock(&b->mutex);
}
