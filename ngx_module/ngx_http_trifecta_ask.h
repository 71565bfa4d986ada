#ifndef NGX_HTTP_TRIFECTA_ASK_H_INCLUDED
#define NGX_HTTP_TRIFECTA_ASK_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * What the body of POST /api/v1/query asks for, checked against a table of
 * members.  Every mistake is an error of its own that names the member.
 *
 * Strings and values belong to root, which the caller releases, also after an
 * error; model is empty when the body names none.
 */

typedef struct {
    json_t                  *root;
    ngx_str_t                query;
    ngx_str_t                model;
    ngx_str_t                conversation;  /* empty: in none */
    unsigned                 forget:1;      /* it is to be deleted */
    unsigned                 stream:1;      /* its events, at once */
    json_t                  *collections;   /* or NULL, and so on */
    json_t                  *filters;
    json_t                  *metadata;
    ngx_str_t                webhook;       /* empty: none */
} ngx_http_trifecta_ask_t;


/* NGX_DECLINED when the job may be made, else what an error returned. */
ngx_int_t ngx_http_trifecta_ask_parse(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_ask_t *ask);

/* The check of one member, for bodies of another shape that have it, too. */
ngx_int_t ngx_http_trifecta_ask_member(ngx_http_request_t *r,
    const char *name, json_t *value, ngx_http_trifecta_ask_t *ask);


#endif /* NGX_HTTP_TRIFECTA_ASK_H_INCLUDED */
