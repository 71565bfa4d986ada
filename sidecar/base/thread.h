#ifndef TF_BASE_THREAD_H
#define TF_BASE_THREAD_H


#include <pthread.h>
#include <stdint.h>


/*
 * Threads and conditions with monotonic deadlines.  A condition made with
 * tf_cond_init() is waited on with tf_cond_wait_until(); its deadline is one
 * of tf_clock_ms().
 */

void tf_cond_init(pthread_cond_t *cond);

/* 0 when it was woken (perhaps spuriously), -1 when the deadline passed. */
int tf_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex,
    int64_t deadline);

/* Starts a thread with every signal blocked, named for ps; 0 or -1. */
int tf_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *),
    void *arg);


#endif /* TF_BASE_THREAD_H */
