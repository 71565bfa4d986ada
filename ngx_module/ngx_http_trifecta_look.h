#ifndef NGX_HTTP_TRIFECTA_LOOK_H_INCLUDED
#define NGX_HTTP_TRIFECTA_LOOK_H_INCLUDED


#include "ngx_http_trifecta_job.h"


/*
 * What Redis says of the job of a context.
 *
 * Three plain commands, written together, cost Redis a third of a function
 * that does the same: whether there is an epoch, the fields of the job's hash,
 * and its place among the open ones.  Whose the job is is checked here as the
 * functions do it.  Nothing changes between the first two that matters: the
 * epoch is asked for first, and it is there only when all jobs are, so what
 * is absent then is absent from a queue that is whole.
 *
 * The function "events" answers the same of a job, and more (read.c).
 */

typedef enum {
    ngx_http_trifecta_look_away = 0,    /* or without an epoch, or damaged */
    ngx_http_trifecta_look_absent,      /* or another's */
    ngx_http_trifecta_look_deleted,
    ngx_http_trifecta_look_known
} ngx_http_trifecta_look_e;

typedef struct {
    ngx_http_trifecta_look_e    what;

    /* of a known one */
    tf_job_state_t              state;
    int64_t                     accepted;   /* ms */
    int64_t                     position;   /* jobs in front of it */
    ngx_uint_t                  stopping;   /* it was told to stop */
    int64_t                     ready;      /* how far it is, of "total" */
    int64_t                     total;
    ngx_str_t                   model;      /* in the reply */
} ngx_http_trifecta_look_t;


/* NULL: refused.  data is an operation of the request. */
ngx_http_trifecta_redis_cmd_t *ngx_http_trifecta_look(ngx_http_request_t *r,
    ngx_http_trifecta_redis_handler_pt handler, void *data);

/* The answer to it, or that of the function. */
void ngx_http_trifecta_looked(ngx_http_request_t *r,
    ngx_http_trifecta_redis_answer_t *answer, ngx_http_trifecta_look_t *look);


#endif /* NGX_HTTP_TRIFECTA_LOOK_H_INCLUDED */
