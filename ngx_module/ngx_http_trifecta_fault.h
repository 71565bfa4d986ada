#ifndef NGX_HTTP_TRIFECTA_FAULT_H_INCLUDED
#define NGX_HTTP_TRIFECTA_FAULT_H_INCLUDED


#include "ngx_http_trifecta_redis.h"

#include <trifecta/fault.h>


/*
 * The crash points of the module (include/trifecta/fault.h).  What
 * TRIFECTA_FAULT arms is read with the configuration, so the workers need no
 * "env" directive; the count of passages lies in memory that they share, so
 * exactly one of them meets the n-th.
 *
 *   ngx_http_trifecta_fault(r, step, moment)         the moment is now
 *   ngx_http_trifecta_fault_sent(cmd, step)          the moment "sent" of the
 *       step comes when the last byte of the command (or NULL) is in the
 *       socket
 *   ngx_http_trifecta_fault_written(mcf, cmd)        it is
 *
 * TRIFECTA_SLICE is how many bytes a socket of Redis takes at a time; the rest
 * is written when there was time for an answer.
 *   ngx_http_trifecta_fault_slice(mcf)               that number, or 0
 *   ngx_http_trifecta_fault_sliced(mcf, c)           there is a rest
 *
 * In a release all of them are nothing.
 */

#ifdef TF_FAULTS


ngx_int_t ngx_http_trifecta_fault_init(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf);

void ngx_http_trifecta_fault_pass(ngx_http_trifecta_main_conf_t *mcf,
    tf_fault_point_t point);

void ngx_http_trifecta_fault_mark(ngx_http_trifecta_redis_cmd_t *cmd,
    tf_fault_point_t point);

void ngx_http_trifecta_fault_written(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_redis_cmd_t *cmd);

off_t ngx_http_trifecta_fault_slice(ngx_http_trifecta_main_conf_t *mcf);
void ngx_http_trifecta_fault_sliced(ngx_http_trifecta_main_conf_t *mcf,
    ngx_connection_t *c);

#define ngx_http_trifecta_fault(r, step, moment)                              \
    ngx_http_trifecta_fault_pass(                                             \
                 ngx_http_get_module_main_conf(r, ngx_http_trifecta_module),  \
                 TF_FAULT_##step##_##moment)

#define ngx_http_trifecta_fault_sent(cmd, step)                               \
    ngx_http_trifecta_fault_mark(cmd, TF_FAULT_##step##_sent)

#else

#define ngx_http_trifecta_fault_init(cf, mcf)            NGX_OK
#define ngx_http_trifecta_fault(r, step, moment)
#define ngx_http_trifecta_fault_sent(cmd, step)
#define ngx_http_trifecta_fault_written(mcf, cmd)
#define ngx_http_trifecta_fault_slice(mcf)               0
#define ngx_http_trifecta_fault_sliced(mcf, c)

#endif /* TF_FAULTS */


#endif /* NGX_HTTP_TRIFECTA_FAULT_H_INCLUDED */
