#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <openssl/crypto.h>

#include <trifecta/version.h>

#include "net/header.h"


#define TF_HTTP_CONNECT_MS  5000L


static size_t
tf_http_on_body(char *data, size_t size, size_t n, void *arg)
{
    tf_http_t  *http;

    http = arg;

    if (size * n > TF_HTTP_BODY_MAX - http->body.len) {
        return 0;
    }

    tf_buf_append(&http->body, data, size * n);

    return http->body.failed ? 0 : size * n;
}


static size_t
tf_http_on_header(char *data, size_t size, size_t n, void *arg)
{
    char        value[2048];
    int64_t     ms;
    tf_http_t  *http;

    http = arg;
    n *= size;

    if (tf_header(data, n, "Retry-After", value, sizeof(value))) {
        ms = tf_header_retry_after(value);
        http->retry_after = ms == -1 ? -1 : (long) (ms / 1000);

    } else if (tf_header(data, n, "Content-Type", value, sizeof(value))) {
        (void) snprintf(http->type, sizeof(http->type), "%.127s", value);

    } else if (tf_header(data, n, "Preference-Applied", value, sizeof(value)))
    {
        if (strncasecmp(value, "wait=", 5) == 0) {
            http->waited = 1;
        }

    } else if (tf_header(data, n, "Location", value, sizeof(value))) {
        tf_buf_reset(&http->location);
        tf_buf_puts(&http->location, value);
    }

    return n;
}


static int
tf_http_on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow,
    curl_off_t ultotal, curl_off_t ulnow)
{
    tf_http_t  *http;

    (void) dltotal;
    (void) dlnow;
    (void) ultotal;
    (void) ulnow;

    http = arg;

    if (http->tick != NULL) {
        http->tick(http->tick_arg);
    }

    return 0;
}


/* Which URLs a token may be sent to. */

static int
tf_http_url_allowed(tf_http_t *http, const char *url)
{
    int      rc;
    char    *scheme, *host;
    CURLU   *u;

    scheme = NULL;
    host = NULL;
    rc = 0;

    u = curl_url();

    if (u == NULL || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
    {
        (void) snprintf(http->err, sizeof(http->err),
                        "\"%.300s\" is no URL", url);

    } else if (strcmp(scheme, "https") == 0) {
        rc = 1;

    } else if (strcmp(scheme, "http") == 0
               && (strcmp(host, "localhost") == 0
                   || strcmp(host, "127.0.0.1") == 0
                   || strcmp(host, "[::1]") == 0))
    {
        rc = 1;

    } else {
        (void) snprintf(http->err, sizeof(http->err),
                        "\"%.300s\": only https is used, except to this host "
                        "(a token must not travel in the clear)", url);
    }

    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);

    return rc;
}


static int
tf_http_add_header(tf_http_t *http, const char *line)
{
    struct curl_slist  *list;

    list = curl_slist_append(http->headers, line);
    if (list == NULL) {
        return -1;
    }

    http->headers = list;

    return 0;
}


int
tf_http_init(tf_http_t *http, const char *ca, const char *token)
{
    int       rc;
    CURL     *curl;
    tf_buf_t  line = TF_BUF_INIT;

    memset(http, 0, sizeof(tf_http_t));

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void) snprintf(http->err, sizeof(http->err), "libcurl cannot start");
        return -1;
    }

    http->ready = 1;
    http->curl = curl = curl_easy_init();

    rc = curl == NULL;

    rc |= tf_http_add_header(http, "Content-Type: application/json");
    rc |= tf_http_add_header(http, "Accept: application/json");
    rc |= tf_http_add_header(http, "Expect:");

    if (token != NULL && token[0]) {
        tf_buf_printf(&line, "Authorization: Bearer %s", token);
        rc |= line.failed || tf_http_add_header(http, line.data);

        if (line.data != NULL) {
            OPENSSL_cleanse(line.data, line.len);
        }
        tf_buf_free(&line);
    }

    if (rc) {
        (void) snprintf(http->err, sizeof(http->err), "out of memory");
        tf_http_free(http);
        return -1;
    }

    rc = curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L)
         || curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L)
         || curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https")
         || curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L)
         || curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L)
         || curl_easy_setopt(curl, CURLOPT_SSLVERSION,
                             (long) CURL_SSLVERSION_TLSv1_2)
         || curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1")
         || curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                             TF_HTTP_CONNECT_MS)
         || curl_easy_setopt(curl, CURLOPT_USERAGENT, "trifecta/" TF_VERSION)
         || curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers)
         || curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, tf_http_on_body)
         || curl_easy_setopt(curl, CURLOPT_WRITEDATA, http)
         || curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, tf_http_on_header)
         || curl_easy_setopt(curl, CURLOPT_HEADERDATA, http)
         || curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L)
         || curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION,
                             tf_http_on_progress)
         || curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http)
         || (ca[0] && curl_easy_setopt(curl, CURLOPT_CAINFO, ca));

    if (rc) {
        (void) snprintf(http->err, sizeof(http->err),
                        "this libcurl lacks what is needed");
        tf_http_free(http);
        return -1;
    }

    return 0;
}


void
tf_http_free(tf_http_t *http)
{
    struct curl_slist  *h;

    for (h = http->headers; h != NULL; h = h->next) {
        OPENSSL_cleanse(h->data, strlen(h->data));
    }

    curl_slist_free_all(http->headers);
    curl_easy_cleanup(http->curl);
    tf_buf_free(&http->location);
    tf_buf_free(&http->body);

    if (http->ready) {
        curl_global_cleanup();
    }

    http->headers = NULL;
    http->curl = NULL;
    http->ready = 0;
}


static tf_http_result_t
tf_http_result(tf_http_t *http, CURLcode code, const char *detail)
{
    (void) snprintf(http->err, sizeof(http->err), "%s",
                    detail[0] ? detail : curl_easy_strerror(code));

    switch (code) {

    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return TF_HTTP_CONNECT;

    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
        return TF_HTTP_TLS;

    case CURLE_OPERATION_TIMEDOUT:
        return TF_HTTP_TIMEOUT;

    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return TF_HTTP_URL;

    default:
        return TF_HTTP_FAILED;
    }
}


tf_http_result_t
tf_http_call(tf_http_t *http, const char *url, const char *json, long timeout)
{
    int                 rc;
    char                detail[CURL_ERROR_SIZE], line[32];
    CURL               *curl;
    CURLcode            code;
    struct curl_slist   prefer;

    http->status = 0;
    http->retry_after = -1;
    http->waited = 0;
    http->type[0] = '\0';
    http->err[0] = '\0';
    tf_buf_reset(&http->location);
    tf_buf_reset(&http->body);
    tf_buf_append(&http->body, "", 0);

    if (!tf_http_url_allowed(http, url)) {
        return TF_HTTP_URL;
    }

    curl = http->curl;
    detail[0] = '\0';

    rc = curl_easy_setopt(curl, CURLOPT_URL, url)
         || curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail)
         || curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout);

    if (json != NULL) {
        rc = rc || curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json)
             || curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                                 (curl_off_t) strlen(json));
    } else {
        rc = rc || curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }

    if (http->wait > 0) {
        (void) snprintf(line, sizeof(line), "Prefer: wait=%d", http->wait);

        prefer.data = line;
        prefer.next = http->headers;

        rc = rc || curl_easy_setopt(curl, CURLOPT_HTTPHEADER, &prefer);
    }

    if (rc) {
        (void) snprintf(http->err, sizeof(http->err), "out of memory");
        code = CURLE_OUT_OF_MEMORY;

    } else {
        code = curl_easy_perform(curl);
    }

    (void) curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers);
    (void) curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);

    if (rc) {
        return TF_HTTP_FAILED;
    }

    if (code != CURLE_OK) {
        return tf_http_result(http, code, detail);
    }

    (void) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http->status);

    return TF_HTTP_OK;
}
