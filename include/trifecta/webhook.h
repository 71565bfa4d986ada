#ifndef TRIFECTA_WEBHOOK_H
#define TRIFECTA_WEBHOOK_H


#include <stddef.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

#include <trifecta/address.h>


/*
 * A client's URL that is told of the end of its job: which ones there may be.
 * The module asks when the job is made, the sidecar again before it connects
 * (and then looks at the address, too: a name may lead anywhere).
 *
 * https, a host, no credentials, printable ASCII.  A host that is an address
 * is written as one: a name that ends in a number is refused, for a resolver
 * may read "127.1" or "0x7f000001" as one.
 *
 * Pure: no look-up, no clock.
 */

#define TF_WEBHOOK_URL_MAX     2048     /* bytes */
#define TF_WEBHOOK_HOST_MAX    253
#define TF_METADATA_MAX        16       /* members */
#define TF_METADATA_NAME_MAX   64       /* characters */
#define TF_METADATA_VALUE_MAX  512      /* characters */

typedef struct {
    char  host[TF_WEBHOOK_HOST_MAX + 1];    /* lower case, without [ ] */
    int   literal;                          /* it is an address */
    int   inside;                           /* one that is not public */
} tf_webhook_host_t;


static inline int
tf_webhook_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
           || c == '_';
}


/* Whether the last label is a number in some way of writing it. */

static inline int
tf_webhook_numeric(const char *host)
{
    const char  *label;

    label = strrchr(host, '.');
    label = label == NULL ? host : label + 1;

    return label[strspn(label, "0123456789")] == '\0'
           || (label[0] == '0' && label[1] == 'x'
               && label[2 + strspn(label + 2, "0123456789abcdef")] == '\0');
}


/* A name in h->host: NULL, or what is wrong. */

static inline const char *
tf_webhook_name(tf_webhook_host_t *h)
{
    size_t          n, label;
    const char     *p;
    unsigned char   octets[16];

    n = strlen(h->host);

    if (n > 0 && h->host[n - 1] == '.') {
        h->host[--n] = '\0';            /* the root, which says nothing */
    }

    for (p = h->host, label = 0; *p; p++) {
        if (*p == '.') {
            if (label == 0) {
                return "its host is no name";
            }
            label = 0;

        } else if (!tf_webhook_name_char(*p) || ++label > 63) {
            return "its host is no name";
        }
    }

    if (label == 0) {
        return "its host is missing";
    }

    if (!tf_webhook_numeric(h->host)) {
        return NULL;
    }

    memset(octets, 0, sizeof(octets));
    octets[10] = octets[11] = 0xff;

    if (inet_pton(AF_INET, h->host, octets + 12) != 1) {
        return "its host is a number, and no address that is written as four "
               "decimal numbers";
    }

    h->literal = 1;
    h->inside = !tf_address_public(octets);

    return NULL;
}


/* The port behind a host, up to its end: NULL, or what is wrong. */

static inline const char *
tf_webhook_port(const char *p, const char *end)
{
    unsigned  port;

    if (p == end) {
        return NULL;
    }

    if (*p++ != ':') {
        return "its host is no name";
    }

    for (port = 0; p < end && *p >= '0' && *p <= '9' && port < 65536; p++) {
        port = port * 10 + (unsigned) (*p - '0');
    }

    return p < end || port == 0 || port > 65535 ? "its port is none" : NULL;
}


/* NULL: it may be used, as far as it tells; else what is wrong with it. */

static inline const char *
tf_webhook_url(const char *url, size_t len, tf_webhook_host_t *h)
{
    size_t          i, n;
    const char     *p, *end, *close;
    unsigned char   octets[16];

    memset(h, 0, sizeof(tf_webhook_host_t));

    if (len > TF_WEBHOOK_URL_MAX) {
        return "it is longer than 2048 bytes";
    }

    for (i = 0; i < len; i++) {
        if (url[i] <= ' ' || url[i] >= 0x7f || strchr("\"<>\\^`{|}", url[i])) {
            return "it has a character that must be percent-encoded";
        }

        if (url[i] == '#') {
            return "it must not have a fragment";
        }
    }

    if (len < 8 || strncasecmp(url, "https://", 8) != 0) {
        return "it must begin with https://";
    }

    p = url + 8;

    for (end = p; end < url + len && *end != '/' && *end != '?'; end++) {
        if (*end == '@') {
            return "it must not have credentials";
        }
    }

    if (p < end && *p == '[') {
        close = memchr(p, ']', (size_t) (end - p));
        n = close == NULL ? 0 : (size_t) (close - p - 1);

        if (n == 0 || n >= INET6_ADDRSTRLEN) {
            return "its host is no address";
        }

        memcpy(h->host, p + 1, n);

        if (inet_pton(AF_INET6, h->host, octets) != 1) {
            return "its host is no address";
        }

        h->literal = 1;
        h->inside = !tf_address_public(octets);

        return tf_webhook_port(close + 1, end);
    }

    for (n = 0; p + n < end && p[n] != ':'; n++) {
        if (n == TF_WEBHOOK_HOST_MAX) {
            return "its host is too long";
        }

        h->host[n] = p[n] >= 'A' && p[n] <= 'Z' ? (char) (p[n] | 0x20) : p[n];
    }

    close = tf_webhook_name(h);

    return close != NULL ? close : tf_webhook_port(p + n, end);
}


#endif /* TRIFECTA_WEBHOOK_H */
