#ifndef TF_NET_STREAM_OWN_H
#define TF_NET_STREAM_OWN_H


#include <curl/curl.h>

#include "net/stream.h"


/* What the files of stream.h share. */

typedef struct tf_stream_client_s  tf_stream_client_t;

struct tf_stream_client_s {
    tf_stream_client_t  *next;
    CURLM               *multi;
    CURL                *easy;
};

/* One call, while it runs. */

typedef struct {
    const tf_stream_call_t  *call;
    tf_stream_answer_t      *answer;
    CURL                    *easy;
    int64_t                  heard;     /* when the last piece came */
    int64_t                  since;     /* ... and the first after idle() */
    size_t                   bytes;
    int                      quiet;     /* idle() was called since */
    tf_stream_result_t       why;       /* it was given up; else OK */
} tf_stream_run_t;


/* stream_pool.c */

tf_stream_client_t *tf_stream_client_get(tf_stream_pool_t *pool);
void tf_stream_client_put(tf_stream_pool_t *pool, tf_stream_client_t *client);


/* stream_call.c: what a transfer is told before it begins */

/* What is wrong with the URL of the call, or NULL. */
const char *tf_stream_url(const tf_stream_call_t *call);

/* NULL: no memory.  They may have a key: cleanse them. */
struct curl_slist *tf_stream_headers(const tf_stream_call_t *call);

/* 0, or what went wrong. */
int tf_stream_setup(CURL *easy, const tf_stream_call_t *call,
    struct curl_slist *headers, tf_stream_run_t *run, char *detail);


/* stream.c: what comes */

size_t tf_stream_on_body(char *data, size_t size, size_t n, void *arg);
size_t tf_stream_on_header(char *data, size_t size, size_t n, void *arg);


#endif /* TF_NET_STREAM_OWN_H */
