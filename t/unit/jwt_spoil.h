#ifndef JWT_SPOIL_H
#define JWT_SPOIL_H


/*
 * What is done to a good signature before it is sent.  Everything here keeps
 * the token and changes the signature's bytes only.
 */

#include "jwt_sign.h"
#include "ngx_http_trifecta_jwa_rows.h"


#define N256  "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
#define N384  "ffffffffffffffffffffffffffffffffffffffffffffffff"               \
              "c7634d81f4372ddf581a0db248b0a77aecec196accc52973"

/* the order of Ed25519's group, in its order of bytes: the lowest first */
#define L25519  "edd3f55c1a631258d69cf7a2def9de14"                             \
                "00000000000000000000000000000010"


typedef struct {
    unsigned char    bytes[2048];
    size_t           len;
    size_t           n;             /* ECDSA: bytes of r, of s */
    unsigned char    order[48];
} sig_t;


static inline void
cut_one(sig_t *s)
{
    s->len--;
}


static inline void
cut_half(sig_t *s)
{
    s->len /= 2;
}


static inline void
cut_all(sig_t *s)
{
    s->len = 0;
}


static inline void
zero_behind(sig_t *s)
{
    s->bytes[s->len++] = 0;
}


static inline void
zero_before(sig_t *s)
{
    memmove(s->bytes + 1, s->bytes, s->len++);
    s->bytes[0] = 0;
}


static inline void
twice(sig_t *s)
{
    memcpy(s->bytes + s->len, s->bytes, s->len);
    s->len *= 2;
}


static inline void
first_bit(sig_t *s)
{
    s->bytes[0] ^= 1;
}


static inline void
last_bit(sig_t *s)
{
    s->bytes[s->len - 1] ^= 1;
}


static inline void
all_zero(sig_t *s)
{
    memset(s->bytes, 0, s->len);
}


static inline void
all_ones(sig_t *s)
{
    memset(s->bytes, 0xff, s->len);
}


static inline void
just_one(sig_t *s)
{
    memset(s->bytes, 0, s->len);
    s->bytes[s->len - 1] = 1;
}


static inline void
in_der(sig_t *s)
{
    unsigned char  der[TF_JWA_DER_MAX];

    s->len = tf_jwa_ecdsa_der(der, s->bytes, s->n, s->order);
    assert_true(s->len > 0);
    memcpy(s->bytes, der, s->len);
}


static inline void
r_zero(sig_t *s)
{
    memset(s->bytes, 0, s->n);
}


static inline void
s_zero(sig_t *s)
{
    memset(s->bytes + s->n, 0, s->n);
}


static inline void
r_order(sig_t *s)
{
    memcpy(s->bytes, s->order, s->n);
}


static inline void
s_order(sig_t *s)
{
    memcpy(s->bytes + s->n, s->order, s->n);
}


static inline void
r_ones(sig_t *s)
{
    memset(s->bytes, 0xff, s->n);
}


static inline void
s_ones(sig_t *s)
{
    memset(s->bytes + s->n, 0xff, s->n);
}


static inline void
r_and_s_swapped(sig_t *s)
{
    unsigned char  r[48];

    memcpy(r, s->bytes, s->n);
    memmove(s->bytes, s->bytes + s->n, s->n);
    memcpy(s->bytes + s->n, r, s->n);
}


/* r and s in the 48 bytes of the other curve */

static inline void
wide(sig_t *s)
{
    unsigned char  out[96];

    memset(out, 0, sizeof(out));
    memcpy(out + 48 - s->n, s->bytes, s->n);
    memcpy(out + 96 - s->n, s->bytes + s->n, s->n);
    memcpy(s->bytes, out, 96);
    s->len = 96;
}


/* S + L is S again, where somebody forgets to ask that S be the smallest */

static inline void
ed_s_plus_order(sig_t *s)
{
    size_t          i, n;
    unsigned        carry;
    unsigned char   order[32];

    assert_int_equal(OPENSSL_hexstr2buf_ex(order, sizeof(order), &n, L25519,
                                           '\0'), 1);

    for (i = 0, carry = 0; i < 32; i++) {
        carry += (unsigned) s->bytes[32 + i] + order[i];
        s->bytes[32 + i] = (unsigned char) carry;
        carry >>= 8;
    }

    assert_int_equal(carry, 0);
}


/* what a key of small order would take */

static inline void
ed_neutral(sig_t *s)
{
    memset(s->bytes, 0, 64);
    s->bytes[0] = 1;
}


static inline void
ed_middle_bit(sig_t *s)
{
    s->bytes[32] ^= 0x10;
}


#endif /* JWT_SPOIL_H */
