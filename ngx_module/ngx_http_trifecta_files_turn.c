#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_worker.h"


/*
 * The places of a worker for uploads that write, and those that wait for one.
 * A place that is given back goes to who waits longest, so nobody who comes
 * later is before it.
 */


static void
ngx_http_trifecta_file_turn_leave(ngx_http_trifecta_file_turn_t *turn)
{
    ngx_queue_remove(&turn->queue);

    turn->waits = 0;
    turn->worker->nuploads--;
}


ngx_int_t
ngx_http_trifecta_file_turn(ngx_http_trifecta_file_turn_t *turn)
{
    ngx_http_trifecta_worker_t  *worker;

    worker = turn->worker;

    if (turn->writes) {
        return NGX_OK;
    }

    if (turn->waits) {
        ngx_http_trifecta_file_turn_leave(turn);
        return NGX_BUSY;
    }

    if (worker->nwriters < NGX_HTTP_TRIFECTA_FILE_WRITERS) {
        turn->writes = 1;
        worker->nwriters++;
        return NGX_OK;
    }

    if (worker->nuploads >= NGX_HTTP_TRIFECTA_FILE_WAITERS) {
        return NGX_BUSY;
    }

    turn->waits = 1;
    worker->nuploads++;
    ngx_queue_insert_tail(&worker->uploads, &turn->queue);

    ngx_add_timer(turn->event, NGX_HTTP_TRIFECTA_FILE_WAIT);

    return NGX_AGAIN;
}


void
ngx_http_trifecta_file_turn_end(ngx_http_trifecta_file_turn_t *turn)
{
    ngx_queue_t                    *q;
    ngx_http_trifecta_worker_t     *worker;
    ngx_http_trifecta_file_turn_t  *next;

    worker = turn->worker;

    if (turn->waits) {
        ngx_http_trifecta_file_turn_leave(turn);
    }

    if (!turn->writes) {
        return;
    }

    turn->writes = 0;

    if (ngx_queue_empty(&worker->uploads)) {
        worker->nwriters--;
        return;
    }

    q = ngx_queue_head(&worker->uploads);
    next = ngx_queue_data(q, ngx_http_trifecta_file_turn_t, queue);

    ngx_http_trifecta_file_turn_leave(next);
    next->writes = 1;

    ngx_del_timer(next->event);
    ngx_post_event(next->event, &ngx_posted_events);
}


ngx_int_t
ngx_http_trifecta_file_many(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                   "too many files are uploaded at the same "
                                   "time: try again");
}
