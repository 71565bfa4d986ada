#include "ngx_http_trifecta_redis_cmd.h"


#ifdef TF_FAULTS


typedef struct {
    tf_fault_t     fault;
    ngx_atomic_t   passed;
    ngx_shm_t      shm;
} ngx_http_trifecta_fault_t;


static void
ngx_http_trifecta_fault_cleanup(void *data)
{
    ngx_http_trifecta_fault_t *armed = data;

    ngx_shm_t  shm;

    shm = armed->shm;

    ngx_shm_free(&shm);
}


ngx_int_t
ngx_http_trifecta_fault_init(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_shm_t                   shm;
    tf_fault_t                  fault;
    const char                 *text, *wrong;
    ngx_pool_cleanup_t         *cln;
    ngx_http_trifecta_fault_t  *armed;

    text = getenv("TRIFECTA_SLICE");
    mcf->slice = text ? ngx_atoof((u_char *) text, ngx_strlen(text)) : 0;

    if (mcf->slice < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "TRIFECTA_SLICE=%s: a number of bytes is wanted",
                           text);
        return NGX_ERROR;
    }

    text = getenv("TRIFECTA_FAULT");
    wrong = tf_fault_parse(&fault, text);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "TRIFECTA_FAULT=%s: %s",
                           text, wrong);
        return NGX_ERROR;
    }

    if (fault.point == TF_FAULT_NPOINTS
        || tf_fault_row(fault.point)->program != TF_FAULT_EDGE)
    {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&shm, sizeof(ngx_shm_t));

    shm.size = sizeof(ngx_http_trifecta_fault_t);
    shm.log = cf->log;
    ngx_str_set(&shm.name, "trifecta_fault");

    if (ngx_shm_alloc(&shm) != NGX_OK) {
        return NGX_ERROR;
    }

    armed = (ngx_http_trifecta_fault_t *) shm.addr;
    armed->fault = fault;
    armed->passed = 0;
    armed->shm = shm;

    cln->handler = ngx_http_trifecta_fault_cleanup;
    cln->data = armed;

    mcf->fault = armed;

    return NGX_OK;
}


void
ngx_http_trifecta_fault_pass(ngx_http_trifecta_main_conf_t *mcf,
    tf_fault_point_t point)
{
    ngx_http_trifecta_fault_t  *armed;

    armed = mcf->fault;

    if (armed == NULL || armed->fault.point != point) {
        return;
    }

    if (ngx_atomic_fetch_add(&armed->passed, 1) + 1 == armed->fault.nth) {
        tf_fault_act(&armed->fault);
    }
}


void
ngx_http_trifecta_fault_mark(ngx_http_trifecta_redis_cmd_t *cmd,
    tf_fault_point_t point)
{
    if (cmd) {
        cmd->fault = point + 1;
    }
}


void
ngx_http_trifecta_fault_written(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_redis_cmd_t *cmd)
{
    if (cmd->fault) {
        ngx_http_trifecta_fault_pass(mcf, cmd->fault - 1);
    }
}


off_t
ngx_http_trifecta_fault_slice(ngx_http_trifecta_main_conf_t *mcf)
{
    return mcf->slice;
}


/* Tests only: this waits. */

void
ngx_http_trifecta_fault_sliced(ngx_http_trifecta_main_conf_t *mcf,
    ngx_connection_t *c)
{
    if (mcf->slice) {
        ngx_msleep(2);
        ngx_post_event(c->write, &ngx_posted_next_events);
    }
}


#endif /* TF_FAULTS */
