#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/crypto.h>

#include "base/clock.h"
#include "net/header.h"
#include "net/stream_own.h"


#define TF_STREAM_TICK_MS   100     /* how soon a cancel is seen */
#define TF_STREAM_SILENT_MS 25      /* what came is told by then */


size_t
tf_stream_on_body(char *data, size_t size, size_t n, void *arg)
{
    size_t               room;
    tf_stream_run_t     *run = arg;
    tf_stream_answer_t  *answer;

    n *= size;
    answer = run->answer;
    run->heard = tf_clock_ms();
    run->bytes += n;

    (void) curl_easy_getinfo(run->easy, CURLINFO_RESPONSE_CODE,
                             &answer->status);

    if (answer->status != 200) {
        room = TF_STREAM_ERROR_MAX - answer->body.len;
        tf_buf_append(&answer->body, data, n < room ? n : room);

        /* the rest of an error is of no interest */
        return n <= room ? n : 0;
    }

    if (run->bytes > (size_t) TF_STREAM_BYTES_MAX) {
        run->why = TF_STREAM_BOUND;
        return 0;
    }

    answer->any = 1;

    if (run->quiet || run->since == 0) {
        run->since = run->heard;
        run->quiet = 0;
    }

    if (run->call->data(run->call->arg, data, n) != 0) {
        run->why = TF_STREAM_STOPPED;
        return 0;
    }

    return n;
}


size_t
tf_stream_on_header(char *data, size_t size, size_t n, void *arg)
{
    char                 value[128];
    size_t               i;
    tf_stream_run_t     *run = arg;
    tf_stream_answer_t  *answer;

    n *= size;
    answer = run->answer;

    if (n >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        answer->retry_after = -1;
        answer->type[0] = '\0';

    } else if (tf_header(data, n, "retry-after-ms", value,
                                sizeof(value)))
    {
        /* finer than Retry-After, where it is sent */
        answer->retry_after = tf_header_retry_after(value);
        answer->retry_after /= answer->retry_after == -1 ? 1 : 1000;

    } else if (tf_header(data, n, "Retry-After", value, sizeof(value)))
    {
        if (answer->retry_after == -1) {
            answer->retry_after = tf_header_retry_after(value);
        }

    } else if (tf_header(data, n, "Content-Type", value,
                                sizeof(value)))
    {
        for (i = 0; value[i] && value[i] != ';' && value[i] != ' '
             && i < sizeof(answer->type) - 1; i++)
        {
            answer->type[i] = (char) tolower((unsigned char) value[i]);
        }

        answer->type[i] = '\0';
    }

    return n;
}


/* Whether a deadline has passed, or the caller does not want it any more. */

static int
tf_stream_over(tf_stream_run_t *run, int64_t began)
{
    int64_t                  now;
    const tf_stream_call_t  *call;

    call = run->call;
    now = tf_clock_ms();

    if (call->cancel != NULL && atomic_load(call->cancel)) {
        run->why = TF_STREAM_CANCELLED;
        return 1;
    }

    if (now - began >= call->total_ms) {
        (void) snprintf(run->answer->err, sizeof(run->answer->err),
                        "it was not done after %lld ms",
                        (long long) call->total_ms);

    } else if (run->heard == 0 && now - began >= call->first_ms) {
        (void) snprintf(run->answer->err, sizeof(run->answer->err),
                        "nothing came within %lld ms",
                        (long long) call->first_ms);

    } else if (run->heard != 0 && now - run->heard >= call->idle_ms) {
        (void) snprintf(run->answer->err, sizeof(run->answer->err),
                        "nothing more came for %lld ms",
                        (long long) call->idle_ms);

    } else {
        return 0;
    }

    run->why = TF_STREAM_TIMEOUT;

    return 1;
}


/*
 * Nothing is left to be done: waits.  More of an answer may be there by now,
 * so that is looked at before anybody is told that it is waited for; but a
 * server that is faster than we are must not keep them waiting.
 */

static void
tf_stream_wait(tf_stream_client_t *client, tf_stream_run_t *run)
{
    int  ready;

    if (!run->quiet && run->call->idle != NULL) {
        ready = 0;

        if (run->answer->any) {
            (void) curl_multi_poll(client->multi, NULL, 0, 0, &ready);
        }

        if (ready > 0
            && tf_clock_ms() - run->since < TF_STREAM_SILENT_MS)
        {
            return;
        }

        run->quiet = 1;
        run->call->idle(run->call->arg);
    }

    (void) curl_multi_poll(client->multi, NULL, 0, TF_STREAM_TICK_MS, NULL);
}


/* Runs the transfer; its end, or CURLE_OK with run->why set. */

static CURLcode
tf_stream_perform(tf_stream_client_t *client, tf_stream_run_t *run)
{
    int        running, left;
    int64_t    began;
    CURLcode   code;
    CURLMsg   *msg;

    if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK) {
        run->why = TF_STREAM_FAILED;
        return CURLE_OK;
    }

    code = CURLE_OK;
    began = tf_clock_ms();

    for ( ;; ) {
        if (curl_multi_perform(client->multi, &running) != CURLM_OK) {
            run->why = TF_STREAM_FAILED;
            break;
        }

        if (running == 0) {
            while ((msg = curl_multi_info_read(client->multi, &left)) != NULL)
            {
                if (msg->msg == CURLMSG_DONE) {
                    code = msg->data.result;
                }
            }
            break;
        }

        if (tf_stream_over(run, began)) {
            break;
        }

        tf_stream_wait(client, run);
    }

    /* a transfer that is taken out before its end closes its connection */

    (void) curl_multi_remove_handle(client->multi, client->easy);

    return code;
}


static tf_stream_result_t
tf_stream_result(CURLcode code, tf_stream_run_t *run, const char *detail)
{
    long                 port;
    tf_stream_answer_t  *answer;

    answer = run->answer;

    if (run->why != TF_STREAM_OK) {
        return run->why;
    }

    if (code == CURLE_OK
        || (code == CURLE_WRITE_ERROR && answer->status != 200
            && answer->status != 0))
    {
        return TF_STREAM_OK;
    }

    (void) snprintf(answer->err, sizeof(answer->err), "%s",
                    detail[0] ? detail : curl_easy_strerror(code));

    switch (code) {

    case CURLE_URL_MALFORMAT:
        return TF_STREAM_URL;

    case CURLE_UNSUPPORTED_PROTOCOL:

        /* of the URL; or, once there is a connection, of who answers there */

        port = 0;
        (void) curl_easy_getinfo(run->easy, CURLINFO_PRIMARY_PORT, &port);

        return port == 0 ? TF_STREAM_URL : TF_STREAM_FAILED;

    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return TF_STREAM_CONNECT;

    case CURLE_OPERATION_TIMEDOUT:
        return TF_STREAM_TIMEOUT;

    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
        return TF_STREAM_TLS;

    case CURLE_OUT_OF_MEMORY:
        return TF_STREAM_FAILED;

    default:
        return TF_STREAM_CUT;
    }
}


tf_stream_result_t
tf_stream_post(tf_stream_pool_t *pool, const tf_stream_call_t *call,
    tf_stream_answer_t *answer)
{
    char                 detail[CURL_ERROR_SIZE];
    CURLcode             code;
    const char          *why;
    tf_stream_run_t      run;
    tf_stream_client_t  *client;
    struct curl_slist   *headers, *h;
    tf_stream_result_t   rc;

    memset(answer, 0, sizeof(tf_stream_answer_t));
    answer->retry_after = -1;
    detail[0] = '\0';

    why = tf_stream_url(call);
    if (why != NULL) {
        (void) snprintf(answer->err, sizeof(answer->err), "%s", why);
        return TF_STREAM_URL;
    }

    client = tf_stream_client_get(pool);
    headers = tf_stream_headers(call);

    memset(&run, 0, sizeof(run));
    run.call = call;
    run.answer = answer;

    if (client == NULL || headers == NULL
        || tf_stream_setup(client->easy, call, headers, &run, detail) != 0)
    {
        (void) snprintf(answer->err, sizeof(answer->err), "out of memory");
        rc = TF_STREAM_FAILED;
        goto done;
    }

    run.easy = client->easy;
    code = tf_stream_perform(client, &run);

    (void) curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE,
                             &answer->status);

    rc = tf_stream_result(code, &run, detail);

done:

    if (client != NULL) {
        tf_stream_client_put(pool, client);
    }

    for (h = headers; h != NULL; h = h->next) {
        OPENSSL_cleanse(h->data, strlen(h->data));
    }

    curl_slist_free_all(headers);

    return rc;
}


void
tf_stream_answer_free(tf_stream_answer_t *answer)
{
    tf_buf_free(&answer->body);
}
