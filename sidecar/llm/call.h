#ifndef TF_LLM_CALL_H
#define TF_LLM_CALL_H


#include <stdatomic.h>

#include "llm/models.h"
#include "net/stream.h"


/*
 * A request to a model's server, whatever it is about: the breaker is asked,
 * each key is tried at most once, and what went wrong gets the name that the
 * job, or the question, goes on with.
 *
 * What a failure means:
 *   the server is away, slow, busy, or its answer is broken
 *                          model_unavailable, later again
 *   429                    model_limited, not before its Retry-After
 *   a quota is used up, no key is accepted
 *                          model_refused; the operator must act
 *   it does not take this request
 *                          model_rejected; so it will the next time
 *   the model's own limits (limits.h) have no room
 *                          model_limited, when they will; that is no failure
 *                          (waits), however often it happens
 * A client learns no more than that: what the server said goes to the log.
 * With several keys a refused or limited one is followed by the next.
 */

typedef struct {
    const char              *code;      /* error.h, static; NULL: none */
    char                     message[256];
    int                      retryable;
    long                     retry_after;   /* ms, at least; 0: any time */
    int                      waits;     /* nobody was asked: its time comes */
} tf_llm_failure_t;

typedef enum {
    TF_LLM_CALL_OK,
    TF_LLM_CALL_CANCELLED,
    TF_LLM_CALL_NEXT_KEY,   /* this one is refused, or has no more */
    TF_LLM_CALL_FAILED
} tf_llm_call_status_t;

typedef struct tf_llm_call_s  tf_llm_call_t;

struct tf_llm_call_s {
    const tf_llm_model_t    *model;
    const char              *path;      /* behind base_url */
    const char              *json;
    unsigned                 attempt;   /* 1 for the first */
    int64_t                  total_ms;  /* 0: as the model says */
    uint64_t                 tokens;    /* that it will take: a guess */
    const atomic_int        *cancel;    /* or NULL */
    void                    *arg;

    /* a try begins; answer is there as long as it takes */
    void                   (*begin)(void *arg,
                               const tf_stream_answer_t *answer);

    /* a piece of a body with status 200; 0 to go on */
    int                    (*data)(void *arg, const char *data, size_t len);

    /* what may take a while is waited for, and data() may be called later;
     * or NULL */
    void                   (*idle)(void *arg);

    /* that body has ended, or data() has given it up */
    tf_llm_call_status_t   (*end)(void *arg, const tf_stream_answer_t *answer,
                               tf_llm_failure_t *failure);

    /* tokens that it took, if that went well; 0: the server does not say */
    int64_t                (*used)(void *arg);
};


/* OK, CANCELLED or FAILED. */
tf_llm_call_status_t tf_llm_call(const tf_llm_call_t *call,
    tf_llm_failure_t *failure);

/* Fills failure; returns TF_LLM_CALL_FAILED. */
tf_llm_call_status_t tf_llm_call_failed(tf_llm_failure_t *failure,
    const char *code, const char *message, int retryable,
    int64_t retry_after);


#endif /* TF_LLM_CALL_H */
