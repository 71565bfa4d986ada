#ifndef TF_NET_STREAM_H
#define TF_NET_STREAM_H


#include <stdatomic.h>
#include <stdint.h>

#include <sys/socket.h>

#include "base/buf.h"


/*
 * A POST whose answer is read as it comes: what model servers speak.
 *
 * Every wait has its deadline: for the connection (with its handshake), for
 * the first byte of the body, from one piece to the next, and for all of it.
 * A call returns within a tenth of a second after *cancel is set; the
 * connection is cut then, so the server can stop, too.
 *
 * Redirects are not followed (they would take the key along), certificate and
 * name are verified, no content coding is asked for or undone, the whole
 * answer is bounded.  A key goes over plain http only to this very host.
 *
 * A client keeps its connections from call to call; clients are lent by a
 * pool, for threads that come and go.
 *
 * A URL that a stranger gave is called with "check": it is asked about each
 * address that is to be connected to, so that no change of a name between a
 * look-up and a connection leads inside.  Such a call goes over https to that
 * address alone, through no proxy, on a connection of its own.
 */

#define TF_STREAM_BYTES_MAX   (64L * 1024 * 1024)
#define TF_STREAM_ERROR_MAX   8192      /* of a body that is no answer */

typedef struct tf_stream_pool_s  tf_stream_pool_t;

typedef enum {
    TF_STREAM_OK,               /* the body has ended; see status */
    TF_STREAM_URL,              /* no URL that may be used */
    TF_STREAM_CONNECT,
    TF_STREAM_TLS,
    TF_STREAM_TIMEOUT,          /* which one: err */
    TF_STREAM_CUT,              /* the connection failed after it was made */
    TF_STREAM_BOUND,            /* more than TF_STREAM_BYTES_MAX */
    TF_STREAM_STOPPED,          /* data() returned something else than 0 */
    TF_STREAM_CANCELLED,
    TF_STREAM_FAILED            /* anything else */
} tf_stream_result_t;

typedef struct {
    const char         *url;
    const char         *ca;             /* file; "": the system's */
    const char         *key;            /* bearer token; NULL: none */
    const char         *json;
    int64_t             connect_ms;
    int64_t             first_ms;
    int64_t             idle_ms;
    int64_t             total_ms;
    const atomic_int   *cancel;         /* or NULL */

    const char *const  *headers;        /* more lines, then NULL; or NULL */
    int               (*check)(void *arg, const struct sockaddr *sa);
                                        /* 0: it may be connected to */

    /* pieces of the body of a 200; 0 to go on */
    int               (*data)(void *arg, const char *data, size_t len);

    /* the peer is waited for, the first time and after each data(); or NULL */
    void              (*idle)(void *arg);
    void               *arg;
} tf_stream_call_t;

typedef struct {
    long                status;
    int64_t             retry_after;    /* ms; -1: the answer does not say */
    char                type[64];       /* of the content, lower case */
    int                 any;            /* data() was called */
    tf_buf_t            body;           /* of another status; bounded */
    char                err[256];
} tf_stream_answer_t;


tf_stream_pool_t *tf_stream_pool_create(void);
void tf_stream_pool_destroy(tf_stream_pool_t *pool);

/* The answer is freed by the caller, always. */
tf_stream_result_t tf_stream_post(tf_stream_pool_t *pool,
    const tf_stream_call_t *call, tf_stream_answer_t *answer);
void tf_stream_answer_free(tf_stream_answer_t *answer);


#endif /* TF_NET_STREAM_H */
