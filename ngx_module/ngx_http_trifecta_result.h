#ifndef NGX_HTTP_TRIFECTA_RESULT_H_INCLUDED
#define NGX_HTTP_TRIFECTA_RESULT_H_INCLUDED


#include "ngx_http_trifecta_poll.h"


/*
 * Answers with what was read of a job: 200 with the job (304 for a GET whose
 * client has it), 410, or 503.
 */
ngx_int_t ngx_http_trifecta_result_reply(ngx_http_trifecta_poll_t *poll);

/* Appends the body of a job, open or ended, as GET shows it. */
void ngx_http_trifecta_result_write(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_json_t *j);


#endif /* NGX_HTTP_TRIFECTA_RESULT_H_INCLUDED */
