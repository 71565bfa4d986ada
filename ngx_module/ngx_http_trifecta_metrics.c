#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_shard.h"


#define NGX_HTTP_TRIFECTA_ZONE_SIZE  (512 * 1024)


static ngx_int_t ngx_http_trifecta_metrics_init(ngx_shm_zone_t *zone,
    void *data);


static const uint64_t  ngx_http_trifecta_request_bounds[] = {
#define NGX_HTTP_TRIFECTA_BOUND(us, text)  us,
    NGX_HTTP_TRIFECTA_REQUEST_BOUNDS(NGX_HTTP_TRIFECTA_BOUND)
#undef NGX_HTTP_TRIFECTA_BOUND
};

static const uint64_t  ngx_http_trifecta_store_bounds[] = {
#define NGX_HTTP_TRIFECTA_BOUND(us, text)  us,
    NGX_HTTP_TRIFECTA_STORE_BOUNDS(NGX_HTTP_TRIFECTA_BOUND)
#undef NGX_HTTP_TRIFECTA_BOUND
};


/* The words of the label "outcome", for the log. */

static const char *const  ngx_http_trifecta_labels[] = {
#define NGX_HTTP_TRIFECTA_LABEL(name, metric, label, help)  label,
    NGX_HTTP_TRIFECTA_COUNTERS(NGX_HTTP_TRIFECTA_LABEL)
#undef NGX_HTTP_TRIFECTA_LABEL
};


ngx_int_t
ngx_http_trifecta_metrics_zone(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_str_t  name = ngx_string("trifecta_metrics");

    mcf->zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_TRIFECTA_ZONE_SIZE,
                                      &ngx_http_trifecta_module);
    if (mcf->zone == NULL) {
        return NGX_ERROR;
    }

    mcf->zone->init = ngx_http_trifecta_metrics_init;
    mcf->zone->data = mcf;

    return NGX_OK;
}


/*
 * The counters are the pool's data, so that a new cycle finds them: its zone
 * has the same name, size and tag.
 */

static ngx_int_t
ngx_http_trifecta_metrics_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (shpool->data == NULL) {
        shpool->data = ngx_slab_calloc(shpool,
                                       sizeof(ngx_http_trifecta_metrics_t));
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }

        ((ngx_http_trifecta_metrics_t *) shpool->data)->started = ngx_time();
    }

    return NGX_OK;
}


ngx_http_trifecta_metrics_t *
ngx_http_trifecta_metrics(ngx_http_trifecta_main_conf_t *mcf)
{
    return ((ngx_slab_pool_t *) mcf->zone->shm.addr)->data;
}


void
ngx_http_trifecta_count_some(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_metric_t metric, ngx_uint_t n)
{
    ngx_http_trifecta_metrics_t  *m;

    m = ngx_http_trifecta_metrics(mcf);

    (void) ngx_atomic_fetch_add(&m->counters[metric], n);
}


void
ngx_http_trifecta_count(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_metric_t metric)
{
    ngx_http_trifecta_count_some(mcf, metric, 1);
}


void
ngx_http_trifecta_count_shard(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_shard_t *shard, ngx_http_trifecta_shard_metric_t metric)
{
    ngx_http_trifecta_metrics_t  *m;

    m = ngx_http_trifecta_metrics(mcf);

    (void) ngx_atomic_fetch_add(&m->shards[shard->index].counters[metric], 1);
}


void
ngx_http_trifecta_outcome(ngx_http_request_t *r,
    ngx_http_trifecta_metric_t metric)
{
    const char                     *p;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_count(mcf, metric);

    p = ngx_http_trifecta_labels[metric] + sizeof("outcome=\"") - 1;

    ctx->outcome.data = (u_char *) p;
    ctx->outcome.len = ngx_strlen(p) - 1;
}


uint64_t
ngx_http_trifecta_usec(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static void
ngx_http_trifecta_observe(ngx_http_trifecta_histogram_t *h,
    const uint64_t *bounds, uint64_t us)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_TRIFECTA_BOUNDS && us > bounds[i]; i++) {
        /* void */
    }

    (void) ngx_atomic_fetch_add(&h->buckets[i], 1);
    (void) ngx_atomic_fetch_add(&h->sum, us);
}


void
ngx_http_trifecta_observe_request(ngx_http_trifecta_histogram_t *h,
    uint64_t us)
{
    ngx_http_trifecta_observe(h, ngx_http_trifecta_request_bounds, us);
}


void
ngx_http_trifecta_observe_store(ngx_http_trifecta_histogram_t *h, uint64_t us)
{
    ngx_http_trifecta_observe(h, ngx_http_trifecta_store_bounds, us);
}


static void
ngx_http_trifecta_count_request(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_time_t                        *tp;
    ngx_uint_t                         i;
    ngx_msec_int_t                     ms;
    ngx_http_trifecta_loc_conf_t      *tlcf;
    ngx_http_trifecta_main_conf_t     *mcf;
    ngx_http_trifecta_route_counts_t  *route;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    i = (tlcf->mode == NGX_HTTP_TRIFECTA_API)
        ? ngx_http_trifecta_route_index(r) : 0;

    if (i >= NGX_HTTP_TRIFECTA_ROUTES_MAX) {
        i = 0;
    }

    route = &ngx_http_trifecta_metrics(mcf)->routes[i];

    i = status / 100;
    i = (i < 2) ? 0 : (i > 5) ? NGX_HTTP_TRIFECTA_CLASSES - 1 : i - 2;

    (void) ngx_atomic_fetch_add(&route->classes[i], 1);

    tp = ngx_timeofday();

    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));

    ngx_http_trifecta_observe_request(&route->time,
                                      ms > 0 ? (uint64_t) ms * 1000 : 0);

    ngx_http_trifecta_slot(mcf)->requests++;
}


void
ngx_http_trifecta_count_answer(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_uint_t status)
{
    ngx_http_trifecta_loc_conf_t  *tlcf;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (ctx->counted || tlcf->mode == NGX_HTTP_TRIFECTA_ADMIN
        || tlcf->mode == NGX_HTTP_TRIFECTA_STATUS)
    {
        return;
    }

    ctx->counted = 1;

    ngx_http_trifecta_count_request(r, status);
}


/*
 * A client that left while it waited (499), a failed allocation (500): no
 * answer of ours, but a request all the same.
 */

ngx_int_t
ngx_http_trifecta_log_handler(ngx_http_request_t *r)
{
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_loc_conf_t  *tlcf;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (tlcf->mode != NGX_HTTP_TRIFECTA_API || r != r->main) {
        return NGX_OK;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_trifecta_module);

    if (ctx == NULL || !ctx->counted) {
        ngx_http_trifecta_count_request(r, r->err_status ? r->err_status
                                           : r->headers_out.status);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_init_module(ngx_cycle_t *cycle)
{
    ngx_http_trifecta_metrics_t    *m;
    ngx_http_trifecta_main_conf_t  *mcf;

    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL) {
        return NGX_OK;      /* no http{} */
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_trifecta_module);
    m = ngx_http_trifecta_metrics(mcf);

    m->loaded = ngx_time();
    m->generation++;

    return NGX_OK;
}


void
ngx_http_trifecta_count_error(ngx_http_trifecta_main_conf_t *mcf,
    tf_error_t code)
{
    ngx_http_trifecta_metrics_t  *m;

    m = ngx_http_trifecta_metrics(mcf);

    (void) ngx_atomic_fetch_add(&m->errors[code], 1);

    if (code == TF_E_MISSING_TOKEN || code == TF_E_INVALID_TOKEN
        || code == TF_E_TOKEN_EXPIRED)
    {
        ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_AUTH_FAILURES);
    }
}


ngx_http_trifecta_slot_t *
ngx_http_trifecta_slot(ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_int_t  n;

    n = ngx_process_slot;

    if (n < 0 || n >= NGX_MAX_PROCESSES) {
        n = 0;
    }

    return &ngx_http_trifecta_metrics(mcf)->slots[n];
}


static void
ngx_http_trifecta_sum_shards(ngx_http_trifecta_sum_t *sum,
    ngx_http_trifecta_slot_t *slot)
{
    ngx_uint_t                      i;
    ngx_http_trifecta_shard_sum_t  *shard;

    for (i = 0; i < slot->nshards && i < TF_SHARDS_MAX; i++) {
        shard = &sum->shards[i];

        shard->know++;
        shard->redis += (slot->redis_ready >> i) & 1;
        shard->subscriber += (slot->subscriber_ready >> i) & 1;
        shard->pending += slot->redis_pending[i];
    }
}


/* A worker that crashed while it was leaving has no successor in its slot. */

void
ngx_http_trifecta_sum(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_sum_t *sum)
{
    ngx_uint_t                    i;
    ngx_http_trifecta_slot_t     *slot;
    ngx_http_trifecta_metrics_t  *m;

    m = ngx_http_trifecta_metrics(mcf);

    ngx_memzero(sum, sizeof(ngx_http_trifecta_sum_t));

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        slot = &m->slots[i];

        if (slot->pid == 0) {
            continue;
        }

        if (kill((ngx_pid_t) slot->pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_memzero(slot, sizeof(ngx_http_trifecta_slot_t));
            continue;
        }

        sum->workers++;
        sum->pg += slot->pg_ready;
        sum->waiters += slot->waiters;
        sum->streams += slot->streams;
        sum->channels += slot->channels;
        sum->pg_pending += slot->pg_pending;
        sum->tokens += slot->tokens;
        sum->token_bytes += slot->token_bytes;

        ngx_http_trifecta_sum_shards(sum, slot);
    }

    for (i = 0; i < TF_SHARDS_MAX; i++) {
        if (sum->shards[i].know
            && sum->shards[i].redis == sum->shards[i].know)
        {
            sum->shards_ready++;
        }
    }
}
