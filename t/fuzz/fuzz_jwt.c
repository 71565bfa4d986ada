/* links: ngx_module/ngx_http_trifecta_jwt.c
          ngx_module/ngx_http_trifecta_claims.c
          ngx_module/ngx_http_trifecta_jwa.c
          ngx_module/ngx_http_trifecta_jwa_hmac.c
          ngx_module/ngx_http_trifecta_jwa_pkey.c */

/*
 * Any bytes as a token, twice: as they are, and as "header LF payload" that
 * is encoded and well signed here, or no fuzzer would ever get past the
 * signature.  What comes out as good must be a whole identity.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ngx_http_trifecta_claims.h"
#include "ngx_http_trifecta_jwt.h"


#define FUZZ_NOW     1700000000
#define FUZZ_SECRET  "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const tf_jwt_str_t  fuzz_tenants[] = { { "acme", 4 }, { "beta", 4 } };

static tf_jwt_issuer_t     fuzz_issuers[2];


static void
fuzz_setup(void)
{
    size_t               i;
    const char          *err;
    const tf_jwa_alg_t  *alg;

    alg = tf_jwa_find("HS256", 5);

    for (i = 0; i < 2; i++) {
        fuzz_issuers[i].keys[0] =
            tf_jwa_key_create(alg, NULL, 0,
                              (const unsigned char *) FUZZ_SECRET, 32, &err);
        if (fuzz_issuers[i].keys[0] == NULL) {
            abort();
        }

        fuzz_issuers[i].nkeys = 1;
        fuzz_issuers[i].name.data = "fuzz";
        fuzz_issuers[i].name.len = 4;
    }

    fuzz_issuers[0].iss.data = "a";
    fuzz_issuers[0].iss.len = 1;
    fuzz_issuers[0].aud.data = "t";
    fuzz_issuers[0].aud.len = 1;
    fuzz_issuers[0].tenant_claim.data = "tenant";
    fuzz_issuers[0].tenant_claim.len = 6;
    fuzz_issuers[0].tenants = fuzz_tenants;
    fuzz_issuers[0].ntenants = 2;

    fuzz_issuers[1].iss.data = "b";
    fuzz_issuers[1].iss.len = 1;
    fuzz_issuers[1].tenant.data = "house";
    fuzz_issuers[1].tenant.len = 5;
}


static size_t
fuzz_base64url(char *dst, const uint8_t *src, size_t len)
{
    int      n;
    size_t   i;

    n = EVP_EncodeBlock((unsigned char *) dst, src, (int) len);

    while (n > 0 && dst[n - 1] == '=') {
        n--;
    }

    for (i = 0; i < (size_t) n; i++) {
        if (dst[i] == '+') {
            dst[i] = '-';

        } else if (dst[i] == '/') {
            dst[i] = '_';
        }
    }

    return (size_t) n;
}


static void
fuzz_check(const unsigned char *token, size_t len)
{
    tf_jwt_verdict_t   verdict;
    tf_jwt_identity_t  id;

    verdict = tf_jwt_check(&id, token, len, fuzz_issuers, 2, FUZZ_NOW, 30);

    if (verdict == TF_JWT_OK) {
        if (id.issuer == NULL || id.tenant.len == 0 || id.sub.len == 0
            || id.owner_len != 5 + id.sub.len
            || !tf_claims_plain(id.owner, id.owner_len)
            || !json_is_object(id.claims) || !json_is_array(id.groups)
            || !json_is_array(id.scopes)
            || json_object_get(id.claims, "exp") == NULL)
        {
            abort();
        }

    } else if (id.issuer != NULL || id.claims != NULL || id.owner_len != 0) {
        abort();
    }

    tf_jwt_release(&id);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            token[16384];
    size_t          n;
    unsigned        mac_len;
    unsigned char   mac[EVP_MAX_MD_SIZE];
    const uint8_t  *lf;

    if (fuzz_issuers[0].nkeys == 0) {
        fuzz_setup();
    }

    fuzz_check(data, size);

    lf = memchr(data, '\n', size);

    if (lf == NULL || size > 8000) {
        return 0;
    }

    n = fuzz_base64url(token, data, (size_t) (lf - data));
    token[n++] = '.';
    n += fuzz_base64url(token + n, lf + 1, size - (size_t) (lf - data) - 1);

    if (HMAC(EVP_sha256(), FUZZ_SECRET, 32, (unsigned char *) token, n, mac,
             &mac_len)
        == NULL)
    {
        abort();
    }

    token[n++] = '.';
    n += fuzz_base64url(token + n, mac, mac_len);

    fuzz_check((unsigned char *) token, n);

    return 0;
}
