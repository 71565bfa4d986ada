#ifndef NGX_HTTP_TRIFECTA_FILTERS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_FILTERS_H_INCLUDED


#include "ngx_http_trifecta_ask.h"


/*
 * What a question may look at: the members "collections" and "filters" of its
 * body.  Their form and bounds are checked here, by the rules of
 * trifecta/meta.h, so that what the sidecar gets can be asked; what there is
 * behind the names only the sidecar knows, and only for the asker.
 *
 * Both are checks of ask.c's table: NGX_DECLINED when the value is good.
 */

ngx_int_t ngx_http_trifecta_member_collections(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
ngx_int_t ngx_http_trifecta_member_filters(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);


#endif /* NGX_HTTP_TRIFECTA_FILTERS_H_INCLUDED */
