#ifndef NGX_HTTP_TRIFECTA_CONF_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CONF_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * The handlers of the directives that are more than one value.  A mistake in
 * a directive or in a key file keeps nginx from starting; a store that is
 * away, or whose name cannot be resolved, never does.
 */

/* The configuration of all locations together; errors are logged. */
void *ngx_http_trifecta_create_main_conf(ngx_conf_t *cf);
char *ngx_http_trifecta_init_main_conf(ngx_conf_t *cf, void *conf);
ngx_int_t ngx_http_trifecta_postconfiguration(ngx_conf_t *cf);

/* redis_conf.c */
char *ngx_http_trifecta_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

char *ngx_http_trifecta_conf_pg(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_trifecta_conf_password(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_trifecta_conf_id_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* location.c: what a location is, and its configuration */

void *ngx_http_trifecta_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_trifecta_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
char *ngx_http_trifecta_conf_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_TRIFECTA_CONF_H_INCLUDED */
