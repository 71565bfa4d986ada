#ifndef NGX_HTTP_TRIFECTA_CLAIMS_H
#define NGX_HTTP_TRIFECTA_CLAIMS_H


#include "ngx_http_trifecta_jwt.h"


/*
 * What a signed payload must say (steps 6 to 8 of jwt.h), claim by claim:
 *
 *   sub      string, not empty, no control characters; with the issuer's
 *            name and a colon before it at most TF_OWNER_MAX bytes
 *   aud      a string or an array of strings.  The configured audience must
 *            be there; where none is configured there must be no aud, for
 *            then the token is meant for somebody else (RFC 7519, 4.1.3)
 *   exp      must be there; now < exp + leeway
 *   nbf      if there, nbf <= now + leeway
 *   iat      if there, iat <= now + leeway
 *            All three are numbers, whole or real, from 0 to the year 9999
 *   groups   and roles: arrays of strings, or a string, which is one group;
 *            both together are the groups
 *   scope    a string of words between spaces
 *   scopes   the same, or an array of strings; added to those of scope
 *   tenant   (under the name that the issuer says) a string of its list
 *
 * A claim of another type makes the whole token invalid: to take the rest
 * as if it were not there would guess at what the issuer meant.
 */

tf_jwt_reason_t tf_claims_check(tf_jwt_identity_t *id, int64_t now,
    int64_t leeway);

/* Whether a JSON value is that string; no value equals an empty one. */

int tf_claims_equal(const json_t *value, tf_jwt_str_t text);

/*
 * Whether UTF-8 text is free of control characters (C0, DEL, C1), which have
 * no place in names that end up in logs, headers and keys.
 */

int tf_claims_plain(const char *data, size_t len);


#endif /* NGX_HTTP_TRIFECTA_CLAIMS_H */
