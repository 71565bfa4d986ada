#ifndef NGX_HTTP_TRIFECTA_WORKER_H_INCLUDED
#define NGX_HTTP_TRIFECTA_WORKER_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_cache.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_install.h"
#include "ngx_http_trifecta_pg.h"
#include "ngx_http_trifecta_shard.h"
#include "ngx_http_trifecta_tokens.h"


/*
 * What a worker process owns: made by init_process, given back by
 * exit_process.  None of its timers keeps a worker that wants to leave,
 * except while a request waits for an answer.
 */

struct ngx_http_trifecta_worker_s {
    ngx_http_trifecta_crypto_t        *crypto;
    ngx_http_trifecta_tokens_t        *tokens;      /* NULL: no memory */
    ngx_http_trifecta_pg_t            *pg;          /* for jobs */
    ngx_http_trifecta_pg_t            *store;       /* files and batches */
    ngx_http_trifecta_shard_t         *shards;
    ngx_uint_t                         nshards;     /* 1 at least */
    ngx_uint_t                         nwaiters;    /* of all shards */
    ngx_uint_t                         nwriters;    /* uploads that write */
    ngx_queue_t                        uploads;     /* and that wait to */
    ngx_uint_t                         nuploads;
    ngx_http_trifecta_install_t        install;     /* PostgreSQL's */
    ngx_queue_t                        checks;      /* of batches */
    ngx_uint_t                         nchecks;
    ngx_msec_t                         checked_at;  /* one has worked */
};


ngx_int_t ngx_http_trifecta_init_process(ngx_cycle_t *cycle);
void ngx_http_trifecta_exit_process(ngx_cycle_t *cycle);


/* How long to wait after so many failures in a row: 50 ms .. 5 s, jittered. */

static ngx_inline ngx_msec_t
ngx_http_trifecta_backoff(ngx_uint_t fails)
{
    ngx_msec_t  delay;

    delay = fails > 7 ? 5000 : (ngx_msec_t) 50 << (fails - 1);

    if (delay > 5000) {
        delay = 5000;
    }

    return delay / 2 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);
}


#endif /* NGX_HTTP_TRIFECTA_WORKER_H_INCLUDED */
