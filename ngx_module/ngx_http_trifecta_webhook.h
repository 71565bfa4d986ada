#ifndef NGX_HTTP_TRIFECTA_WEBHOOK_H_INCLUDED
#define NGX_HTTP_TRIFECTA_WEBHOOK_H_INCLUDED


#include "ngx_http_trifecta_ask.h"


/*
 * The members of a question that come back with its end: "metadata", which
 * is the client's own, and "webhook_url", where the end is told.
 *
 * A URL is taken where trifecta_webhooks allows it, by the rules of
 * trifecta/webhook.h.  Where its name leads is none of nginx' business, who
 * never connects there: the sidecar asks that when it delivers.
 *
 * All are checks of ask.c's table: NGX_DECLINED when the value is good.
 */

struct ngx_http_trifecta_webhooks_s {
    unsigned                      on:1;
    ngx_array_t                   hosts;    /* of ngx_str_t; none: any */
};


ngx_int_t ngx_http_trifecta_member_metadata(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);
ngx_int_t ngx_http_trifecta_member_webhook(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);

/* The directive trifecta_webhooks. */
char *ngx_http_trifecta_conf_webhooks(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_TRIFECTA_WEBHOOK_H_INCLUDED */
