#ifndef TF_NET_NETWORKS_H
#define TF_NET_NETWORKS_H


#include <trifecta/address.h>


/*
 * Networks that an operator names, "10.1.0.0/16, fd00::/8, 192.0.2.7": what
 * may be connected to though it is not public (trifecta/address.h).
 */

#define TF_NETWORKS_MAX  32

typedef struct {
    tf_network_t  list[TF_NETWORKS_MAX];
    unsigned      n;
} tf_networks_t;


/* 0, or -1 with a message in err. */
int tf_networks_parse(tf_networks_t *networks, const char *text, char *err,
    size_t errlen);

/* Whether it may be connected to: it is public, or in one of these. */
int tf_networks_allow(const tf_networks_t *networks,
    const struct sockaddr *sa);


#endif /* TF_NET_NETWORKS_H */
