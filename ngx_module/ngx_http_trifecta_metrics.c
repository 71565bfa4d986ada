#include "ngx_http_trifecta_metrics.h"


#define NGX_HTTP_TRIFECTA_ZONE_SIZE  (256 * 1024)


static ngx_int_t ngx_http_trifecta_metrics_init(ngx_shm_zone_t *zone,
    void *data);


typedef struct {
    const char  *metric;
    const char  *label;
    const char  *help;
} ngx_http_trifecta_metric_row_t;


static const ngx_http_trifecta_metric_row_t  ngx_http_trifecta_metric_rows[] =
{
#define NGX_HTTP_TRIFECTA_ROW(name, metric, label, help)                      \
    { metric, label, help },
    NGX_HTTP_TRIFECTA_COUNTERS(NGX_HTTP_TRIFECTA_ROW)
#undef NGX_HTTP_TRIFECTA_ROW
};


static const char *const  ngx_http_trifecta_error_codes[] = {
#define NGX_HTTP_TRIFECTA_CODE(name, status, code, type, slug, title)  code,
    TF_ERRORS(NGX_HTTP_TRIFECTA_CODE)
#undef NGX_HTTP_TRIFECTA_CODE
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
    }

    return NGX_OK;
}


ngx_http_trifecta_metrics_t *
ngx_http_trifecta_metrics(ngx_http_trifecta_main_conf_t *mcf)
{
    return ((ngx_slab_pool_t *) mcf->zone->shm.addr)->data;
}


void
ngx_http_trifecta_count(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_metric_t metric)
{
    ngx_http_trifecta_metrics_t  *m;

    m = ngx_http_trifecta_metrics(mcf);

    (void) ngx_atomic_fetch_add(&m->counters[metric], 1);
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


/* A worker that crashed while it was leaving has no successor in its slot. */

void
ngx_http_trifecta_workers(ngx_http_trifecta_main_conf_t *mcf,
    ngx_uint_t *workers, ngx_uint_t *redis, ngx_uint_t *pg)
{
    ngx_uint_t                    i;
    ngx_http_trifecta_slot_t     *slot;
    ngx_http_trifecta_metrics_t  *m;

    m = ngx_http_trifecta_metrics(mcf);

    *workers = 0;
    *redis = 0;
    *pg = 0;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        slot = &m->slots[i];

        if (slot->pid == 0) {
            continue;
        }

        if (kill((ngx_pid_t) slot->pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_memzero(slot, sizeof(ngx_http_trifecta_slot_t));
            continue;
        }

        *workers += 1;
        *redis += slot->redis_ready;
        *pg += slot->pg_ready;
    }
}


static void
ngx_http_trifecta_metrics_gauge(ngx_http_trifecta_json_t *out,
    const char *name, const char *help, ngx_atomic_uint_t value)
{
    ngx_http_trifecta_json_printf(out, "# HELP trifecta_%s %s\n"
                                  "# TYPE trifecta_%s gauge\n"
                                  "trifecta_%s %uA\n",
                                  name, help, name, name, value);
}


void
ngx_http_trifecta_metrics_write(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_json_t *out)
{
    ngx_uint_t                             i, workers, redis, pg;
    ngx_http_trifecta_slot_t               sum, *slot;
    ngx_http_trifecta_metrics_t           *m;
    const ngx_http_trifecta_metric_row_t  *row;

    m = ngx_http_trifecta_metrics(mcf);

    for (i = 0; i < NGX_HTTP_TRIFECTA_M_COUNT; i++) {
        row = &ngx_http_trifecta_metric_rows[i];

        if (row->help[0]) {
            ngx_http_trifecta_json_printf(out, "# HELP trifecta_%s %s\n"
                                          "# TYPE trifecta_%s counter\n",
                                          row->metric, row->help,
                                          row->metric);
        }

        ngx_http_trifecta_json_printf(out, row->label[0]
                                      ? "trifecta_%s{%s} %uA\n"
                                      : "trifecta_%s%s %uA\n",
                                      row->metric, row->label,
                                      m->counters[i]);
    }

    ngx_http_trifecta_json_lit(out, "# HELP trifecta_errors_total "
                               "Error answers by code\n"
                               "# TYPE trifecta_errors_total counter\n");

    for (i = 0; i < TF_E_COUNT; i++) {
        ngx_http_trifecta_json_printf(out,
                                   "trifecta_errors_total{code=\"%s\"} %uA\n",
                                   ngx_http_trifecta_error_codes[i],
                                   m->errors[i]);
    }

    ngx_http_trifecta_workers(mcf, &workers, &redis, &pg);

    ngx_memzero(&sum, sizeof(ngx_http_trifecta_slot_t));

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        slot = &m->slots[i];

        sum.redis_pending += slot->redis_pending;
        sum.pg_pending += slot->pg_pending;
    }

    ngx_http_trifecta_metrics_gauge(out, "workers", "Workers of nginx",
                                    workers);
    ngx_http_trifecta_metrics_gauge(out, "redis_ready_workers",
                                    "Workers that are connected to Redis",
                                    redis);
    ngx_http_trifecta_metrics_gauge(out, "pg_ready_workers",
                                    "Workers that are connected to "
                                    "PostgreSQL", pg);
    ngx_http_trifecta_metrics_gauge(out, "redis_pending",
                                    "Commands without an answer yet",
                                    sum.redis_pending);
    ngx_http_trifecta_metrics_gauge(out, "pg_pending",
                                    "Queries without an answer yet",
                                    sum.pg_pending);
}
