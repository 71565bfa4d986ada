#include "llm/limits.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/thread.h"


#define TF_LIMITS_SECONDS  61       /* what began in the first is over */
#define TF_LIMITS_LOOK_MS  50       /* at *cancel, while waiting */

typedef struct {
    int64_t          second;
    uint64_t         requests;
    uint64_t         tokens;
} tf_limits_second_t;

struct tf_llm_limits_s {
    pthread_mutex_t     mutex;
    pthread_cond_t      left;
    uint64_t            parallel;   /* limits; 0: none */
    uint64_t            requests;
    uint64_t            tokens;

    uint64_t            busy;
    unsigned            waiting;
    unsigned long       waited;     /* since the start */
    unsigned long       refused;
    int64_t             took;       /* ms of a request, of late */
    int64_t             next;       /* when the next one is sent back to come */
    tf_limits_second_t  of[TF_LIMITS_SECONDS];
};


tf_llm_limits_t *
tf_llm_limits_create(uint64_t parallel, uint64_t requests, uint64_t tokens)
{
    tf_llm_limits_t  *l;

    l = calloc(1, sizeof(tf_llm_limits_t));

    if (l != NULL) {
        (void) pthread_mutex_init(&l->mutex, NULL);
        tf_cond_init(&l->left);
        l->parallel = parallel;
        l->requests = requests;
        l->tokens = tokens;
        l->took = TF_LLM_LIMITS_LEAST_MS;
    }

    return l;
}


void
tf_llm_limits_free(tf_llm_limits_t *l)
{
    if (l != NULL) {
        (void) pthread_cond_destroy(&l->left);
        (void) pthread_mutex_destroy(&l->mutex);
        free(l);
    }
}


/* The count of a second, which begins anew when it was that of an old one. */

static tf_limits_second_t *
tf_limits_at(tf_llm_limits_t *l, int64_t second)
{
    tf_limits_second_t  *s;

    s = &l->of[second % TF_LIMITS_SECONDS];

    if (s->second != second) {
        s->second = second;
        s->requests = 0;
        s->tokens = 0;
    }

    return s;
}


/* Whether so many more fit under a limit that so many of a minute have. */

static int
tf_limits_fit(uint64_t limit, uint64_t have, uint64_t more)
{
    return limit == 0 || have == 0 || have + more <= limit;
}


/* The ms until the minute has room: 0 for now. */

static int64_t
tf_limits_minute(const tf_llm_limits_t *l, uint64_t tokens, int64_t now)
{
    int64_t                    second, first, at;
    uint64_t                   have_requests, have_tokens;
    const tf_limits_second_t  *s;

    second = now / 1000;
    have_requests = 0;
    have_tokens = 0;

    /* the clock may be younger than a minute */

    first = second < TF_LIMITS_SECONDS ? 0 : second - TF_LIMITS_SECONDS + 1;

    for (at = first; at <= second; at++) {
        s = &l->of[at % TF_LIMITS_SECONDS];

        if (s->second == at) {
            have_requests += s->requests;
            have_tokens += s->tokens;
        }
    }

    if (tf_limits_fit(l->requests, have_requests, 1)
        && tf_limits_fit(l->tokens, have_tokens, tokens))
    {
        return 0;
    }

    for (at = first; at < second; at++) {
        s = &l->of[at % TF_LIMITS_SECONDS];

        if (s->second != at) {
            continue;
        }

        have_requests -= s->requests;
        have_tokens -= s->tokens;

        if (tf_limits_fit(l->requests, have_requests, 1)
            && tf_limits_fit(l->tokens, have_tokens, tokens))
        {
            break;
        }
    }

    return (at + TF_LIMITS_SECONDS) * 1000 - now;
}


/* When somebody comes back who finds no room for so many ms. */

static int64_t
tf_limits_back(tf_llm_limits_t *l, uint64_t tokens, int64_t due, int64_t now)
{
    int64_t   ms, pace;
    uint32_t  rnd;

    pace = l->parallel ? l->took / (int64_t) l->parallel : 0;

    if (l->requests && pace < 60000 / (int64_t) l->requests) {
        pace = 60000 / (int64_t) l->requests;
    }

    if (l->tokens && pace < (int64_t) (60000 * tokens / l->tokens)) {
        pace = (int64_t) (60000 * tokens / l->tokens);
    }

    if (l->next < now + due) {
        l->next = now + due;
    }

    ms = l->next - now;
    l->next += pace;

    if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) != 1) {
        rnd = 0;
    }

    if (ms < TF_LLM_LIMITS_LEAST_MS) {
        return TF_LLM_LIMITS_LEAST_MS + rnd % (TF_LLM_LIMITS_LEAST_MS / 2);
    }

    if (ms > TF_LLM_LIMITS_MOST_MS) {
        return TF_LLM_LIMITS_MOST_MS - rnd % (TF_LLM_LIMITS_MOST_MS / 3);
    }

    return ms;
}


/* 0: the place is taken.  More: the ms after which there may be one. */

static int64_t
tf_limits_take(tf_llm_limits_t *l, uint64_t tokens, int64_t now,
    tf_llm_place_t *place)
{
    int64_t              due;
    tf_limits_second_t  *s;

    due = tf_limits_minute(l, tokens, now);

    if (due > 0) {
        return due;
    }

    if (l->parallel && l->busy >= l->parallel) {
        return 1;
    }

    s = tf_limits_at(l, now / 1000);
    s->requests++;
    s->tokens += tokens;
    l->busy++;

    place->second = s->second;
    place->began = now;
    place->tokens = tokens;

    return 0;
}


/* What is larger than the limit is let in when it is alone. */

static uint64_t
tf_limits_guess(const tf_llm_limits_t *l, uint64_t tokens)
{
    return l->tokens && tokens > l->tokens ? l->tokens : tokens;
}


int64_t
tf_llm_limits_ask(tf_llm_limits_t *l, uint64_t tokens, int64_t now,
    tf_llm_place_t *place)
{
    int64_t  due;

    (void) pthread_mutex_lock(&l->mutex);
    due = tf_limits_take(l, tf_limits_guess(l, tokens), now, place);
    (void) pthread_mutex_unlock(&l->mutex);

    return due;
}


int64_t
tf_llm_limits_enter(tf_llm_limits_t *l, uint64_t tokens, int64_t wait,
    const atomic_int *cancel, tf_llm_place_t *place)
{
    int      waits;
    int64_t  now, end, rc;

    now = tf_clock_ms();
    end = now + wait;
    waits = 0;
    tokens = tf_limits_guess(l, tokens);

    (void) pthread_mutex_lock(&l->mutex);

    for ( ;; ) {
        rc = tf_limits_take(l, tokens, now, place);

        if (rc == 0) {
            break;
        }

        if (cancel != NULL && atomic_load(cancel)) {
            rc = -1;
            break;
        }

        if (now + rc >= end
            || (!waits && l->waiting == TF_LLM_LIMITS_WAITERS))
        {
            rc = tf_limits_back(l, tokens, rc, now);
            l->refused++;
            break;
        }

        if (!waits) {
            waits = 1;
            l->waiting++;
            l->waited++;
        }

        (void) tf_cond_wait_until(&l->left, &l->mutex,
                                  now + TF_LIMITS_LOOK_MS);
        now = tf_clock_ms();
    }

    l->waiting -= (unsigned) waits;

    (void) pthread_mutex_unlock(&l->mutex);

    return rc;
}


void
tf_llm_limits_count(tf_llm_limits_t *l, unsigned long *waited,
    unsigned long *refused)
{
    (void) pthread_mutex_lock(&l->mutex);
    *waited = l->waited;
    *refused = l->refused;
    (void) pthread_mutex_unlock(&l->mutex);
}


void
tf_llm_limits_again(tf_llm_limits_t *l, int64_t now)
{
    (void) pthread_mutex_lock(&l->mutex);
    tf_limits_at(l, now / 1000)->requests++;
    (void) pthread_mutex_unlock(&l->mutex);
}


void
tf_llm_limits_leave(tf_llm_limits_t *l, const tf_llm_place_t *place,
    int64_t used, int64_t now)
{
    tf_limits_second_t  *s;

    (void) pthread_mutex_lock(&l->mutex);

    l->busy--;
    l->took += (now - place->began - l->took) / 4;
    s = &l->of[place->second % TF_LIMITS_SECONDS];

    if (used >= 0 && s->second == place->second
        && now / 1000 - s->second < TF_LIMITS_SECONDS)
    {
        s->tokens = s->tokens - place->tokens + (uint64_t) used;

    } else if (used > (int64_t) place->tokens) {
        tf_limits_at(l, now / 1000)->tokens += (uint64_t) used
                                               - place->tokens;
    }

    (void) pthread_cond_signal(&l->left);
    (void) pthread_mutex_unlock(&l->mutex);
}
