#ifndef NGX_HTTP_TRIFECTA_ACCEPTED_H_INCLUDED
#define NGX_HTTP_TRIFECTA_ACCEPTED_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * The answer to a question whose job is in the queue: 202 with the way to it.
 *
 * A client that prefers "durable" is answered when PostgreSQL has the job, or
 * when that takes too long (durable.h).  One that prefers to wait gets the job's end as a GET would show it,
 * 200, if it comes in time; whatever else happens after the acceptance is a
 * 202.
 *
 * Both answer for the job of the context and return NGX_DONE when the answer
 * comes later, from an event that finalizes the request, else its value.
 */

/* Accepted just now, at that time (ms), behind so many other jobs. */
ngx_int_t ngx_http_trifecta_accepted(ngx_http_request_t *r, int64_t ms,
    int64_t position);

/*
 * Accepted by an earlier request, of which this one is a repetition: a job
 * that has ended is 200 in any case, one that is gone 410.
 */
ngx_int_t ngx_http_trifecta_accepted_before(ngx_http_request_t *r);


#endif /* NGX_HTTP_TRIFECTA_ACCEPTED_H_INCLUDED */
