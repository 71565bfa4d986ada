#ifndef NGX_HTTP_TRIFECTA_RESULT_H_INCLUDED
#define NGX_HTTP_TRIFECTA_RESULT_H_INCLUDED


#include "ngx_http_trifecta_read.h"


/*
 * Answers with what was read of a job: 200 with the job, 410, or 503.
 */
ngx_int_t ngx_http_trifecta_result_reply(ngx_http_trifecta_read_t *read);


#endif /* NGX_HTTP_TRIFECTA_RESULT_H_INCLUDED */
