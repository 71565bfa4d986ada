#include "net/networks.h"

#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>


/* "address" or "address/bits": 0, or -1. */

static int
tf_network_parse(tf_network_t *network, char *text)
{
    char           *slash, *end;
    unsigned        first, most;
    unsigned long   bits;

    slash = strchr(text, '/');

    if (slash != NULL) {
        *slash++ = '\0';
    }

    memset(network, 0, sizeof(tf_network_t));

    if (strchr(text, ':') == NULL) {
        network->octets[10] = network->octets[11] = 0xff;
        first = 96;
        most = 32;

        if (inet_pton(AF_INET, text, network->octets + 12) != 1) {
            return -1;
        }

    } else {
        first = 0;
        most = 128;

        if (inet_pton(AF_INET6, text, network->octets) != 1) {
            return -1;
        }
    }

    bits = most;

    if (slash != NULL) {
        if (*slash < '0' || *slash > '9') {
            return -1;
        }

        bits = strtoul(slash, &end, 10);

        if (*end != '\0' || bits > most) {
            return -1;
        }
    }

    network->bits = first + (unsigned) bits;

    return 0;
}


int
tf_networks_parse(tf_networks_t *networks, const char *text, char *err,
    size_t errlen)
{
    char    one[64];
    size_t  n;

    networks->n = 0;

    for ( ;; ) {
        text += strspn(text, ", \t");

        if (*text == '\0') {
            return 0;
        }

        if (networks->n == TF_NETWORKS_MAX) {
            (void) snprintf(err, errlen, "more than %d networks",
                            TF_NETWORKS_MAX);
            return -1;
        }

        n = strcspn(text, ", \t");
        (void) snprintf(one, sizeof(one), "%.*s", (int) (n < 63 ? n : 63),
                        text);

        if (n > 63
            || tf_network_parse(&networks->list[networks->n], one) != 0)
        {
            (void) snprintf(err, errlen, "\"%.*s\" is no network: "
                            "10.1.0.0/16 or fd00::/8 is expected",
                            (int) (n < 63 ? n : 63), text);
            return -1;
        }

        networks->n++;
        text += n;
    }
}


int
tf_networks_allow(const tf_networks_t *networks, const struct sockaddr *sa)
{
    unsigned       i;
    unsigned char  octets[16];

    if (tf_address_octets(octets, sa) != 0) {
        return 0;
    }

    for (i = 0; i < networks->n; i++) {
        if (tf_address_in(octets, &networks->list[i])) {
            return 1;
        }
    }

    return tf_address_public(octets);
}
