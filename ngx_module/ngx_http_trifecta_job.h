#ifndef NGX_HTTP_TRIFECTA_JOB_H_INCLUDED
#define NGX_HTTP_TRIFECTA_JOB_H_INCLUDED


#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_routes.h"


/*
 * What the routes of one job share: whose it is, how a function of the queue
 * is called for it, and the answer that says how it stands.
 */

/* The place of an event: the first of an attempt is 1, 0-0 is before all. */

typedef struct {
    ngx_uint_t               attempt;
    ngx_uint_t               n;
} ngx_http_trifecta_mark_t;


/*
 * Reads an id from the path into ctx->job_id.  NGX_DECLINED when it was made
 * for this tenant and owner, else the value of a 404: the same for what is no
 * id, was never made, or is another's, without a look into any store.
 */
ngx_int_t ngx_http_trifecta_own_job(ngx_http_request_t *r, ngx_str_t *id);

/*
 * Calls a function "fn P tenant owner id" for the job of the context; call is
 * FCALL or FCALL_RO.  NULL when the command was refused, or the job's shard
 * is not there any more.  data is an
 * operation of the request, which orphans the command when the request ends.
 */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_job_command(
    ngx_http_request_t *r, const char *call, const char *fn,
    ngx_uint_t flags, ngx_http_trifecta_redis_handler_pt handler, void *data);

/*
 * The same for the function that also reads its events: at most count of
 * them, behind the mark, and its request.
 */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_job_events(
    ngx_http_request_t *r, ngx_http_trifecta_mark_t *after, ngx_uint_t count,
    ngx_uint_t payload, ngx_http_trifecta_redis_handler_pt handler,
    void *data);

/*
 * Calls a function that changes the job of the operation's request.
 * NGX_ERROR: refused.  See ngx_http_trifecta_op_change().
 */
ngx_int_t ngx_http_trifecta_job_change(ngx_http_trifecta_op_t *op,
    const char *fn, ngx_http_trifecta_redis_handler_pt handler);

/*
 * 410, for one of its reasons; "lost" is the one of a genuine id that neither
 * store knows, when both have answered.
 */
ngx_int_t ngx_http_trifecta_gone(ngx_http_request_t *r, const char *why);
ngx_int_t ngx_http_trifecta_lost(ngx_http_request_t *r);


/*
 * result.c: answers a cancel with the state of the job of the context.
 * NGX_DONE when the answer comes later, from an event that finalizes the
 * request, else the value of the answer.  The caller waits, and holds the
 * request.
 */
ngx_int_t ngx_http_trifecta_result_cancelled(ngx_http_request_t *r);


/*
 * cancel.c: both for a job of which only the id is known, whose owner is
 * checked; for content handlers.  A face says how they are answered: a cancel
 * with the job as it stands then, as above, a DELETE with a body.
 */

typedef struct {
    ngx_int_t  (*cancelled)(ngx_http_request_t *r);
    void       (*deleted)(ngx_http_request_t *r, ngx_http_trifecta_json_t *j);
} ngx_http_trifecta_cancel_face_t;

ngx_int_t ngx_http_trifecta_cancel_job(ngx_http_request_t *r, ngx_str_t *id,
    const ngx_http_trifecta_cancel_face_t *face);
ngx_int_t ngx_http_trifecta_delete_job(ngx_http_request_t *r, ngx_str_t *id,
    const ngx_http_trifecta_cancel_face_t *face);


#endif /* NGX_HTTP_TRIFECTA_JOB_H_INCLUDED */
