#include <stdio.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/crypto.h>

#include <trifecta/version.h>

#include "net/stream_own.h"


/* NULL, or why a call must not be made. */

const char *
tf_stream_url(const tf_stream_call_t *call)
{
    char        *scheme, *host;
    CURLU       *u;
    const char  *why;

    scheme = NULL;
    host = NULL;
    why = NULL;

    u = curl_url();

    if (u == NULL
        || curl_url_set(u, CURLUPART_URL, call->url, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
    {
        why = "it is no URL";

    } else if (call->check != NULL && strcmp(scheme, "https") != 0) {
        why = "only https is used";

    } else if (strcmp(scheme, "http") == 0) {

        if (call->key != NULL && strcmp(host, "localhost") != 0
            && strncmp(host, "127.", 4) != 0 && strcmp(host, "[::1]") != 0)
        {
            why = "a key is only sent over https, except to this host";
        }

    } else if (strcmp(scheme, "https") != 0) {
        why = "a URL must begin with https:// or http://";
    }

    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);

    return why;
}


struct curl_slist *
tf_stream_headers(const tf_stream_call_t *call)
{
    size_t              i;
    tf_buf_t            line = TF_BUF_INIT;
    struct curl_slist  *list, *more;

    static const char *const  plain[] = {
        "Content-Type: application/json",
        "Accept: text/event-stream, application/x-ndjson, application/json",
        "Expect:"
    };

    list = NULL;

    for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        more = curl_slist_append(list, plain[i]);
        if (more == NULL) {
            goto failed;
        }
        list = more;
    }

    for (i = 0; call->headers != NULL && call->headers[i] != NULL; i++) {
        more = curl_slist_append(list, call->headers[i]);
        if (more == NULL) {
            goto failed;
        }
        list = more;
    }

    if (call->key != NULL) {
        tf_buf_printf(&line, "Authorization: Bearer %s", call->key);
        more = line.failed ? NULL : curl_slist_append(list, line.data);

        if (line.data != NULL) {
            OPENSSL_cleanse(line.data, line.len);
        }
        tf_buf_free(&line);

        if (more == NULL) {
            goto failed;
        }
        list = more;
    }

    return list;

failed:

    curl_slist_free_all(list);

    return NULL;
}


static curl_socket_t
tf_stream_on_socket(void *arg, curlsocktype purpose,
    struct curl_sockaddr *address)
{
    tf_stream_run_t  *run = arg;

    if (purpose != CURLSOCKTYPE_IPCXN
        || run->call->check(run->call->arg, &address->addr) != 0)
    {
        return CURL_SOCKET_BAD;
    }

    return socket(address->family, address->socktype | SOCK_CLOEXEC,
                  address->protocol);
}


/* What a stranger's URL may do. */

static int
tf_stream_confine(CURL *easy, tf_stream_run_t *run)
{
    return curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION,
                            tf_stream_on_socket)
           || curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, run)
           || curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https")
           || curl_easy_setopt(easy, CURLOPT_PROXY, "")
           || curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L)
           || curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L)
           || curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
}


int
tf_stream_setup(CURL *easy, const tf_stream_call_t *call,
    struct curl_slist *headers, tf_stream_run_t *run, char *detail)
{
    return curl_easy_setopt(easy, CURLOPT_URL, call->url)
           || curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->json)
           || curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                               (curl_off_t) strlen(call->json))
           || curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers)
           || curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L)

              /* who looks a name up for too long is not waited for */
           || curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L)

           || curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L)
           || curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https")
           || curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L)
           || curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L)
           || curl_easy_setopt(easy, CURLOPT_SSLVERSION,
                               (long) CURL_SSLVERSION_TLSv1_2)
           || curl_easy_setopt(easy, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1")
           || curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                               (long) call->connect_ms)
           || curl_easy_setopt(easy, CURLOPT_USERAGENT,
                               "trifecta/" TF_VERSION)
           || curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, tf_stream_on_body)
           || curl_easy_setopt(easy, CURLOPT_WRITEDATA, run)
           || curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION,
                               tf_stream_on_header)
           || curl_easy_setopt(easy, CURLOPT_HEADERDATA, run)
           || curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail)
           || (call->ca != NULL && call->ca[0]
               && curl_easy_setopt(easy, CURLOPT_CAINFO, call->ca))
           || (call->check != NULL && tf_stream_confine(easy, run) != 0);
}
