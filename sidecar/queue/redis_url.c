#include "queue/redis_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* host[:port] or [address][:port], which ends at end; 0 or -1 */

static int
tf_redis_url_host(tf_redis_host_t *h, const char *p, const char *end,
    int port)
{
    long         n;
    char        *stop;
    size_t       len;
    const char  *colon;

    h->port = port;

    if (p < end && *p == '[') {
        p++;
        colon = memchr(p, ']', (size_t) (end - p));
        if (colon == NULL) {
            return -1;
        }

        len = (size_t) (colon - p);
        colon++;

    } else {
        colon = memchr(p, ':', (size_t) (end - p));
        colon = colon ? colon : end;
        len = (size_t) (colon - p);
    }

    if (len == 0 || len >= sizeof(h->host)) {
        return -1;
    }

    memcpy(h->host, p, len);
    h->host[len] = '\0';

    if (colon == end) {
        return 0;
    }

    if (*colon != ':' || colon + 1 == end || colon[1] < '0'
        || colon[1] > '9')
    {
        return -1;
    }

    n = strtol(colon + 1, &stop, 10);
    if (stop != end || n < 1 || n > 65535) {
        return -1;
    }

    h->port = (int) n;

    return 0;
}


int
tf_redis_url_parse(tf_redis_url_t *u, const char *url)
{
    int          port;
    size_t       n;
    const char  *p, *at, *end, *slash;

    memset(u, 0, sizeof(tf_redis_url_t));

    if (strncmp(url, "redis://", 8) == 0) {
        p = url + 8;
        port = 6379;

    } else if (strncmp(url, "sentinel://", 11) == 0) {
        p = url + 11;
        port = 26379;

    } else {
        return -1;
    }

    at = strchr(p, '@');

    if (at != NULL) {
        n = (size_t) (at - p);
        if (n >= sizeof(u->user) || memchr(p, ':', n) != NULL) {
            return -1;
        }

        memcpy(u->user, p, n);
        p = at + 1;
    }

    slash = p + strcspn(p, "/");

    if (port == 6379) {
        u->nhosts = 1;

        return (*slash == '\0' || slash[1] == '\0')
               ? tf_redis_url_host(&u->hosts[0], p, slash, port) : -1;
    }

    n = *slash ? strlen(slash + 1) : 0;
    if (n == 0 || n >= sizeof(u->master) || strchr(slash + 1, '/') != NULL) {
        return -1;
    }

    memcpy(u->master, slash + 1, n);

    for ( ;; ) {
        end = p + strcspn(p, ",/");

        if (u->nhosts == TF_REDIS_SENTINELS_MAX
            || tf_redis_url_host(&u->hosts[u->nhosts++], p, end, port) != 0)
        {
            return -1;
        }

        if (*end == '/') {
            return 0;
        }

        p = end + 1;
    }
}


int
tf_redis_urls(tf_redis_urls_t *urls, const char *list, char *err,
    size_t errlen)
{
    char            *p, *save;
    tf_redis_url_t   u;

    memset(urls, 0, sizeof(tf_redis_urls_t));

    urls->text = strdup(list);
    if (urls->text == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        return -1;
    }

    for (p = strtok_r(urls->text, " \t", &save);
         p != NULL;
         p = strtok_r(NULL, " \t", &save))
    {
        if (urls->n == TF_SHARDS_MAX) {
            (void) snprintf(err, errlen, "redis_url names more than %d "
                            "servers, one is a shard: name fewer",
                            TF_SHARDS_MAX);
            goto failed;
        }

        /* it is not shown: somebody may have written a password into it */

        if (tf_redis_url_parse(&u, p) != 0) {
            (void) snprintf(err, errlen, "redis_url: entry %u must look like "
                            "redis://[user@]host:port or sentinel://[user@]"
                            "host:port,host:port/master, with the password "
                            "in redis_password_file", urls->n + 1);
            goto failed;
        }

        urls->url[urls->n++] = p;
    }

    if (urls->n == 0) {
        (void) snprintf(err, errlen, "redis_url is empty: name a Redis, "
                        "redis://host:port");
        goto failed;
    }

    return 0;

failed:

    tf_redis_urls_free(urls);

    return -1;
}


void
tf_redis_urls_free(tf_redis_urls_t *urls)
{
    free(urls->text);
    urls->text = NULL;
    urls->n = 0;
}
