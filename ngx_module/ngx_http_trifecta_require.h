#ifndef NGX_HTTP_TRIFECTA_REQUIRE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_REQUIRE_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * trifecta_jwt_require CLAIM=VALUE,... | CLAIM~REGEX | CLAIM~*REGEX ... | off;
 *
 * What a verified token must say, beyond being good, to get into a location:
 * authentication is done, this is authorization.
 *
 * Each parameter is a requirement; all of them must hold, those of one line
 * as well as those of several.  Of the values between commas one is enough.
 *
 *   claim            is compared with
 *   scope, scopes    each of the request's scopes, which are both claims
 *   groups, roles    each of the request's groups, which are both claims
 *   any other        the claim of that name: a string, a boolean as "true" or
 *                    "false", or an array, of which each string is compared
 *
 * A claim that is missing or of another type meets no requirement.
 *
 * As with nginx's own lists, a location inherits the requirements of the
 * level above only if it has none; "off" is to have none.
 */


/* Directive trifecta_jwt_require; its offset is that of the list. */

char *ngx_http_trifecta_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Merges the lists of two levels.  A location whose own requirements nobody
 * would ask for, because it checks no token, is an open door: an error.
 */

char *ngx_http_trifecta_require_merge(ngx_conf_t *cf,
    ngx_http_trifecta_loc_conf_t *prev, ngx_http_trifecta_loc_conf_t *conf);

/*
 * The text of the first requirement that the identity in the context does not
 * meet; NULL if it meets all.
 */

ngx_str_t *ngx_http_trifecta_require_check(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_array_t *list);


#endif /* NGX_HTTP_TRIFECTA_REQUIRE_H_INCLUDED */
