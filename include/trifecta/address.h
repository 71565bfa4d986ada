#ifndef TRIFECTA_ADDRESS_H
#define TRIFECTA_ADDRESS_H


#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>


/*
 * Whether an address is one of the public internet: what a stranger may make
 * this machine connect to.  Everything else is a door to what is inside: this
 * host, its network, the metadata service of a cloud.
 *
 * The tables are the registries of special addresses (IANA, RFC 6890 and its
 * successors).  An IPv6 address that carries an IPv4 one (mapped, compatible,
 * NAT64, 6to4) is as public as that one; a Teredo address is not.  Of IPv6
 * only 2000::/3 is given out, so all that is outside of it is not public.
 *
 * Pure: no look-up, no clock.
 */

typedef struct {
    unsigned char  octets[16];      /* an IPv4 one: as ::ffff:a.b.c.d */
    unsigned       bits;
} tf_network_t;


static const struct {
    uint32_t  net;
    unsigned  bits;
} tf_address_special4[] = {
    { 0x00000000,  8 },     /* 0.0.0.0/8         this host */
    { 0x0a000000,  8 },     /* 10.0.0.0/8        private */
    { 0x64400000, 10 },     /* 100.64.0.0/10     of carriers */
    { 0x7f000000,  8 },     /* 127.0.0.0/8       loopback */
    { 0xa9fe0000, 16 },     /* 169.254.0.0/16    link-local, metadata */
    { 0xac100000, 12 },     /* 172.16.0.0/12     private */
    { 0xc0000000, 24 },     /* 192.0.0.0/24      of protocols */
    { 0xc0000200, 24 },     /* 192.0.2.0/24      documentation */
    { 0xc0586300, 24 },     /* 192.88.99.0/24    6to4 relays */
    { 0xc0a80000, 16 },     /* 192.168.0.0/16    private */
    { 0xc6120000, 15 },     /* 198.18.0.0/15     benchmarks */
    { 0xc6336400, 24 },     /* 198.51.100.0/24   documentation */
    { 0xcb007100, 24 },     /* 203.0.113.0/24    documentation */
    { 0xe0000000,  4 },     /* 224.0.0.0/4       multicast */
    { 0xf0000000,  4 }      /* 240.0.0.0/4       reserved, broadcast */
};


/* What of 2000::/3 is not public. */

static const tf_network_t  tf_address_special6[] = {
    { { 0x20, 0x01, 0x00, 0x00 }, 23 },             /* of protocols, Teredo */
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32 },             /* documentation */
    { { 0x3f, 0xff, 0x00 }, 20 },                   /* documentation */
    { { 0x3f, 0xfe }, 16 }                          /* 6bone, returned */
};


static inline int
tf_address_public4(uint32_t ip)
{
    size_t  i;

    for (i = 0; i < sizeof(tf_address_special4)
                    / sizeof(tf_address_special4[0]); i++)
    {
        if ((ip ^ tf_address_special4[i].net)
            >> (32 - tf_address_special4[i].bits) == 0)
        {
            return 0;
        }
    }

    return 1;
}


static inline int
tf_address_in(const unsigned char octets[16], const tf_network_t *net)
{
    unsigned  whole, rest;

    whole = net->bits / 8;
    rest = net->bits % 8;

    return memcmp(octets, net->octets, whole) == 0
           && (rest == 0
               || (octets[whole] ^ net->octets[whole]) >> (8 - rest) == 0);
}


static inline uint32_t
tf_address_ip4(const unsigned char *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}


/* octets as of a tf_network_t */

static inline int
tf_address_public(const unsigned char octets[16])
{
    size_t  i;

    static const tf_network_t  mapped = {
        { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96
    };
    static const tf_network_t  nat64 = { { 0x00, 0x64, 0xff, 0x9b }, 96 };
    static const tf_network_t  six_to_four = { { 0x20, 0x02 }, 16 };
    static const tf_network_t  given_out = { { 0x20 }, 3 };

    if (tf_address_in(octets, &mapped) || tf_address_in(octets, &nat64)) {
        return tf_address_public4(tf_address_ip4(octets + 12));
    }

    if (tf_address_in(octets, &six_to_four)) {
        return tf_address_public4(tf_address_ip4(octets + 2));
    }

    if (!tf_address_in(octets, &given_out)) {
        return 0;
    }

    for (i = 0; i < sizeof(tf_address_special6)
                    / sizeof(tf_address_special6[0]); i++)
    {
        if (tf_address_in(octets, &tf_address_special6[i])) {
            return 0;
        }
    }

    return 1;
}


/* 0, or -1: it is neither IPv4 nor IPv6. */

static inline int
tf_address_octets(unsigned char octets[16], const struct sockaddr *sa)
{
    struct sockaddr_in   in;
    struct sockaddr_in6  in6;

    memset(octets, 0, 16);

    if (sa->sa_family == AF_INET) {
        memcpy(&in, sa, sizeof(in));
        octets[10] = octets[11] = 0xff;
        memcpy(octets + 12, &in.sin_addr, 4);
        return 0;
    }

    if (sa->sa_family == AF_INET6) {
        memcpy(&in6, sa, sizeof(in6));
        memcpy(octets, &in6.sin6_addr, 16);
        return 0;
    }

    return -1;
}


#endif /* TRIFECTA_ADDRESS_H */
