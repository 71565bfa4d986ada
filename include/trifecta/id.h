#ifndef TRIFECTA_ID_H
#define TRIFECTA_ID_H


#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>


/*
 * The id of a job: a UUIDv7 (RFC 9562) that says its shard and proves its
 * origin.
 *
 *   octets 0-5    Unix time in ms, big-endian
 *   octet  6      0x7, high 4 bits of the shard
 *   octet  7      low 4 bits of the shard, 4 random bits
 *   octet  8      binary 10, 6 random bits
 *   octets 9-12   32 random bits
 *   octets 13-15  the first 24 bits of
 *                 HMAC-SHA256(key, L(octets 0-12) L(tenant) L(owner))
 *                 where L(x) is the length of x in two octets, then x
 *
 * Whoever holds no key cannot make an id that verifies, so an id that does
 * not verify for the caller's tenant and owner was never issued to the
 * caller: that is a 404 without a look into any store.
 *
 * Two keys are accepted while keys rotate: the first makes and verifies,
 * the second only verifies.
 */

#define TF_ID_TEXT_LEN   36
#define TF_ID_RND_LEN    6
#define TF_ID_KEY_MIN    32
#define TF_ID_KEY_MAX    128
#define TF_ID_KEYS_MAX   2

typedef struct {
    unsigned char  octets[16];
} tf_id_t;

/* mac: contexts that one thread has made ready (see below), or NULL. */

typedef struct {
    unsigned char  key[TF_ID_KEYS_MAX][TF_ID_KEY_MAX];
    size_t         len[TF_ID_KEYS_MAX];
    EVP_MAC_CTX   *mac[TF_ID_KEYS_MAX];
    unsigned       n;
} tf_id_keys_t;


/*
 * Reads key material: one key a line, the current one first, at most
 * TF_ID_KEYS_MAX lines of TF_ID_KEY_MIN .. TF_ID_KEY_MAX bytes.
 * Returns NULL, or a message that says what is wrong.
 */

static inline const char *
tf_id_keys_parse(tf_id_keys_t *keys, const char *data, size_t len)
{
    size_t       n;
    const char  *p, *end, *eol;

    memset(keys, 0, sizeof(tf_id_keys_t));

    for (p = data, end = data + len; p < end; p = eol + 1) {
        eol = memchr(p, '\n', (size_t) (end - p));
        if (eol == NULL) {
            eol = end;
        }

        n = (size_t) (eol - p);
        if (n > 0 && p[n - 1] == '\r') {
            n--;
        }

        if (n == 0) {
            continue;
        }

        if (keys->n == TF_ID_KEYS_MAX) {
            return "more than two keys";
        }

        if (n < TF_ID_KEY_MIN) {
            return "a key is shorter than 32 bytes";
        }

        if (n > TF_ID_KEY_MAX) {
            return "a key is longer than 128 bytes";
        }

        memcpy(keys->key[keys->n], p, n);
        keys->len[keys->n++] = n;
    }

    return keys->n ? NULL : "no key in it";
}


/* The MAC of key i, by its context if that is ready; 0 or -1. */

static inline int
tf_id_hmac(const tf_id_keys_t *keys, unsigned i, const unsigned char *in,
    size_t len, unsigned char out[EVP_MAX_MD_SIZE])
{
    size_t        n;
    unsigned      outlen;
    EVP_MAC_CTX  *ctx;

    ctx = keys->mac[i];

    if (ctx != NULL) {
        return EVP_MAC_init(ctx, NULL, 0, NULL) == 1
               && EVP_MAC_update(ctx, in, len) == 1
               && EVP_MAC_final(ctx, out, &n, EVP_MAX_MD_SIZE) == 1
               ? 0 : -1;
    }

    return HMAC(EVP_sha256(), keys->key[i], (int) keys->len[i], in, len, out,
                &outlen)
           != NULL
           ? 0 : -1;
}


/*
 * Makes contexts ready that hold the keys, which saves OpenSSL most of the
 * work of a MAC.  A context is written to with each MAC, so keys that were
 * made ready are one thread's.  Where something fails, and where a context
 * cannot start again with its key (OpenSSL before 3.0.3), nothing is ready
 * and all works as before.
 */

static inline void
tf_id_keys_unready(tf_id_keys_t *keys)
{
    unsigned  i;

    for (i = 0; i < TF_ID_KEYS_MAX; i++) {
        EVP_MAC_CTX_free(keys->mac[i]);
        keys->mac[i] = NULL;
    }
}


static inline void
tf_id_keys_ready(tf_id_keys_t *keys)
{
    unsigned       i, k;
    char           digest[] = "SHA256";
    EVP_MAC       *mac;
    OSSL_PARAM     params[2];
    tf_id_keys_t   plain;
    unsigned char  out[2][EVP_MAX_MD_SIZE];

    tf_id_keys_unready(keys);

    plain = *keys;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    params[0] = OSSL_PARAM_construct_utf8_string("digest", digest, 0);
    params[1] = OSSL_PARAM_construct_end();

    for (i = 0; mac != NULL && i < keys->n; i++) {
        keys->mac[i] = EVP_MAC_CTX_new(mac);

        if (keys->mac[i] == NULL
            || EVP_MAC_init(keys->mac[i], keys->key[i], keys->len[i], params)
               != 1)
        {
            tf_id_keys_unready(keys);
            break;
        }

        for (k = 0; k < 2; k++) {
            if (tf_id_hmac(&plain, i, keys->key[i], k, out[0]) != 0
                || tf_id_hmac(keys, i, keys->key[i], k, out[1]) != 0
                || memcmp(out[0], out[1], 32) != 0)
            {
                tf_id_keys_unready(keys);
                break;
            }
        }

        if (keys->mac[i] == NULL) {
            break;
        }
    }

    EVP_MAC_free(mac);
    OPENSSL_cleanse(&plain, sizeof(plain));
}


/* Writes the three octets of the MAC of key i; 0, or -1: OpenSSL failed. */

static inline int
tf_id_mac(unsigned char mac[3], const tf_id_keys_t *keys, unsigned i,
    const unsigned char octets[13], const char *tenant, size_t tlen,
    const char *owner, size_t olen)
{
    size_t         n;
    unsigned char  out[EVP_MAX_MD_SIZE];
    unsigned char  in[2 + 13 + 2 + 64 + 2 + 255];

    if (tlen > 64 || olen > 255) {
        return -1;
    }

    n = 0;
    in[n++] = 0;
    in[n++] = 13;
    memcpy(in + n, octets, 13);
    n += 13;
    in[n++] = 0;
    in[n++] = (unsigned char) tlen;
    memcpy(in + n, tenant, tlen);
    n += tlen;
    in[n++] = 0;
    in[n++] = (unsigned char) olen;
    memcpy(in + n, owner, olen);
    n += olen;

    if (tf_id_hmac(keys, i, in, n, out) != 0) {
        return -1;
    }

    memcpy(mac, out, 3);

    return 0;
}


/*
 * Makes an id.  ms is the Unix time in ms, rnd are TF_ID_RND_LEN random
 * octets.  Returns 0, or -1 when there is no key, the shard is > 255,
 * tenant or owner are too long, or OpenSSL fails.
 */

static inline int
tf_id_make(tf_id_t *id, const tf_id_keys_t *keys, uint64_t ms, unsigned shard,
    const unsigned char rnd[TF_ID_RND_LEN], const char *tenant, size_t tlen,
    const char *owner, size_t olen)
{
    unsigned        i;
    unsigned char  *o;

    if (keys->n == 0 || shard > 255) {
        return -1;
    }

    o = id->octets;

    for (i = 0; i < 6; i++) {
        o[i] = (unsigned char) (ms >> (40 - 8 * i));
    }

    o[6] = (unsigned char) (0x70 | (shard >> 4));
    o[7] = (unsigned char) ((shard & 0xf) << 4 | (rnd[0] & 0xf));
    o[8] = (unsigned char) (0x80 | (rnd[1] & 0x3f));
    memcpy(o + 9, rnd + 2, 4);

    return tf_id_mac(o + 13, keys, 0, o, tenant, tlen, owner, olen);
}


/* Whether the id was made for this tenant and owner with one of the keys. */

static inline int
tf_id_verify(const tf_id_t *id, const tf_id_keys_t *keys, const char *tenant,
    size_t tlen, const char *owner, size_t olen)
{
    int            ok;
    unsigned       i;
    unsigned char  mac[3];

    ok = 0;

    if ((id->octets[6] & 0xf0) != 0x70 || (id->octets[8] & 0xc0) != 0x80) {
        return 0;
    }

    for (i = 0; i < keys->n; i++) {
        if (tf_id_mac(mac, keys, i, id->octets, tenant, tlen, owner, olen)
            != 0)
        {
            return 0;
        }

        ok |= CRYPTO_memcmp(mac, id->octets + 13, 3) == 0;
    }

    return ok;
}


static inline unsigned
tf_id_shard(const tf_id_t *id)
{
    return (unsigned) (id->octets[6] & 0xf) << 4 | id->octets[7] >> 4;
}


static inline uint64_t
tf_id_time(const tf_id_t *id)
{
    unsigned  i;
    uint64_t  ms;

    ms = 0;

    for (i = 0; i < 6; i++) {
        ms = ms << 8 | id->octets[i];
    }

    return ms;
}


/* Writes TF_ID_TEXT_LEN characters in lower case, no terminating NUL. */

static inline void
tf_id_format(char *text, const tf_id_t *id)
{
    unsigned           i;
    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *text++ = '-';
        }

        *text++ = hex[id->octets[i] >> 4];
        *text++ = hex[id->octets[i] & 0xf];
    }
}


/* Reads the canonical form, in either case; 0, or -1 when it is no UUID. */

static inline int
tf_id_parse(tf_id_t *id, const char *text, size_t len)
{
    unsigned              i, high, low;
    const unsigned char  *p;

    /* 16 is a digit of 0, so 0 is none */

    static const unsigned char  digits[256] = {
        ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20,
        ['5'] = 21, ['6'] = 22, ['7'] = 23, ['8'] = 24, ['9'] = 25,
        ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30,
        ['f'] = 31, ['A'] = 26, ['B'] = 27, ['C'] = 28, ['D'] = 29,
        ['E'] = 30, ['F'] = 31
    };

    if (len != TF_ID_TEXT_LEN || text[8] != '-' || text[13] != '-'
        || text[18] != '-' || text[23] != '-')
    {
        return -1;
    }

    p = (const unsigned char *) text;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            p++;
        }

        high = digits[*p++];
        low = digits[*p++];

        if (high == 0 || low == 0) {
            return -1;
        }

        id->octets[i] = (unsigned char) ((high & 15) << 4 | (low & 15));
    }

    return 0;
}


#endif /* TRIFECTA_ID_H */
