#ifndef TF_NET_HTTP_H
#define TF_NET_HTTP_H


#include "base/buf.h"


/*
 * A small HTTP client for a bearer token's holder.
 *
 * https only, except to this very host (localhost, 127.0.0.1, ::1): a token
 * never leaves in the clear.  The server's certificate and name are always
 * verified, redirects are not followed (they would take the token along), an
 * answer has a deadline and a bound.  One client keeps its connection from
 * call to call; it belongs to one thread.
 */

#define TF_HTTP_BODY_MAX  (32 * 1024 * 1024)

typedef enum {
    TF_HTTP_OK,                 /* an answer, of whatever status */
    TF_HTTP_URL,                /* no URL that may be used */
    TF_HTTP_CONNECT,            /* no such host, or nobody listens there */
    TF_HTTP_TLS,                /* certificate, CA file or handshake */
    TF_HTTP_TIMEOUT,
    TF_HTTP_FAILED              /* anything else */
} tf_http_result_t;

typedef struct {
    void      *curl;
    void      *headers;
    int        ready;           /* curl_global_init() was called */
    long       status;
    long       retry_after;     /* s; -1: the answer does not say */
    int        wait;            /* s that the server may take; 0: none */
    int        waited;          /* it says that it honours that */
    char       type[128];       /* Content-Type */
    tf_buf_t   location;
    tf_buf_t   body;
    char       err[512];

    void     (*tick)(void *arg);    /* about once a second in a call, or NULL */
    void      *tick_arg;
} tf_http_t;


/* ca "": the system's; token "" or NULL: none is sent.  0 or -1 with err. */
int tf_http_init(tf_http_t *http, const char *ca, const char *token);
void tf_http_free(tf_http_t *http);

/*
 * A call, over in timeout ms: GET, or POST of a JSON text when there is one.
 * What it answered is in http until the next call.  With http->wait it asks
 * the server to answer when there is something to tell, "Prefer: wait=N".
 */
tf_http_result_t tf_http_call(tf_http_t *http, const char *url,
    const char *json, long timeout);


#endif /* TF_NET_HTTP_H */
