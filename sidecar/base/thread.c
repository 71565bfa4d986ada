#define _GNU_SOURCE

#include "base/thread.h"

#include <signal.h>
#include <time.h>


void
tf_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t  attr;

    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(cond, &attr);
    (void) pthread_condattr_destroy(&attr);
}


int
tf_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex,
    int64_t deadline)
{
    struct timespec  ts;

    ts.tv_sec = (time_t) (deadline / 1000);
    ts.tv_nsec = (long) (deadline % 1000) * 1000000;

    return pthread_cond_timedwait(cond, mutex, &ts) ? -1 : 0;
}


int
tf_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *),
    void *arg)
{
    int       rc;
    sigset_t  all, old;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);

    rc = pthread_create(thread, NULL, fn, arg);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        return -1;
    }

    (void) pthread_setname_np(*thread, name);

    return 0;
}
