#ifndef NGX_HTTP_TRIFECTA_ROUTES_H_INCLUDED
#define NGX_HTTP_TRIFECTA_ROUTES_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_confirm.h"
#include "ngx_http_trifecta_pg.h"
#include "ngx_http_trifecta_redis.h"


/*
 * A route is a row of the table in routes.c: methods, path, handler.
 *
 * A handler runs in the content phase and returns the value of a reply or an
 * error, or NGX_DONE when the answer comes later.  For the latter it makes an
 * operation, which ties what the stores owe to the request: when the request
 * ends first (the client went away), the cleanup orphans the command and the
 * query, and a late answer finds nobody.  The callback of a store clears its
 * pointer before anything else, for the command is gone then.
 */

typedef struct {
    ngx_http_request_t              *request;
    ngx_http_trifecta_redis_cmd_t   *cmd;       /* owed by Redis, or NULL */
    ngx_http_trifecta_pg_query_t    *query;     /* owed by PostgreSQL */
    ngx_http_trifecta_confirm_cmd_t *confirm;   /* by Redis and replicas */
} ngx_http_trifecta_op_t;

typedef ngx_int_t (*ngx_http_trifecta_route_pt)(ngx_http_request_t *r,
    ngx_str_t *id);


/* Zeroed memory of a structure that starts with ngx_http_trifecta_op_t. */
void *ngx_http_trifecta_op_create(ngx_http_request_t *r, size_t size);

/*
 * Sends a command that changes the queue, with RESEND; by the way that
 * replicas confirm, where trifecta_replicas says so.  data is the operation;
 * the handler clears both its pointers.  NGX_ERROR: refused.
 */
ngx_int_t ngx_http_trifecta_op_change(ngx_http_trifecta_op_t *op,
    ngx_http_trifecta_shard_t *shard, int argc, const char **argv,
    const size_t *argvlen, ngx_http_trifecta_redis_handler_pt handler);

/* What the stores owe is not wanted any more. */
void ngx_http_trifecta_op_cancel(ngx_http_trifecta_op_t *op);

/*
 * The number of the row that the request's method and path match, from 1, or
 * 0; and the names of a row of an API, 0 when there is no such row.
 */
ngx_uint_t ngx_http_trifecta_route_index(ngx_http_request_t *r);
ngx_uint_t ngx_http_trifecta_route_name(ngx_uint_t i, const char **method,
    const char **path);

/* The path of a job's own resource, in the request's pool. */
ngx_int_t ngx_http_trifecta_job_path(ngx_http_request_t *r, ngx_str_t *id,
    ngx_str_t *path);


/* submit.c, result.c, events.c, cancel.c, queries.c, openai_*.c, files*.c,
   admin.c */

ngx_int_t ngx_http_trifecta_submit(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_forget(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_result(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_events(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_cancel(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_delete(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_queries(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_create(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_get(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_delete(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_cancel(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_input_items(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_create_chat(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_create_embeddings(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_models(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_openai_one_model(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_batch_create(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_batch_list(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_batch_get(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_batch_cancel(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_file_create(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_file_list(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_file_get(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_file_delete(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_file_content(ngx_http_request_t *r,
    ngx_str_t *id);
ngx_int_t ngx_http_trifecta_livez(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_readyz(ngx_http_request_t *r, ngx_str_t *id);
ngx_int_t ngx_http_trifecta_metrics_page(ngx_http_request_t *r,
    ngx_str_t *id);


#endif /* NGX_HTTP_TRIFECTA_ROUTES_H_INCLUDED */
