#include "ngx_http_trifecta_cache.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"

#include <trifecta/version.h>


/* The metrics in the text format that Prometheus reads, version 0.0.4. */

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


static const ngx_http_trifecta_metric_row_t  ngx_http_trifecta_shard_rows[] =
{
#define NGX_HTTP_TRIFECTA_ROW(name, metric, help)  { metric, "", help },
    NGX_HTTP_TRIFECTA_SHARD_COUNTERS(NGX_HTTP_TRIFECTA_ROW)
#undef NGX_HTTP_TRIFECTA_ROW
};


static const char *const  ngx_http_trifecta_error_codes[] = {
#define NGX_HTTP_TRIFECTA_CODE(name, status, code, type, slug, title)  code,
    TF_ERRORS(NGX_HTTP_TRIFECTA_CODE)
#undef NGX_HTTP_TRIFECTA_CODE
};


static const char *const  ngx_http_trifecta_request_texts[] = {
#define NGX_HTTP_TRIFECTA_BOUND(us, text)  text,
    NGX_HTTP_TRIFECTA_REQUEST_BOUNDS(NGX_HTTP_TRIFECTA_BOUND)
#undef NGX_HTTP_TRIFECTA_BOUND
};

static const char *const  ngx_http_trifecta_store_texts[] = {
#define NGX_HTTP_TRIFECTA_BOUND(us, text)  text,
    NGX_HTTP_TRIFECTA_STORE_BOUNDS(NGX_HTTP_TRIFECTA_BOUND)
#undef NGX_HTTP_TRIFECTA_BOUND
};


static void
ngx_http_trifecta_metrics_head(ngx_http_trifecta_json_t *out,
    const char *name, const char *type, const char *help)
{
    ngx_http_trifecta_json_printf(out, "# HELP trifecta_%s %s\n"
                                  "# TYPE trifecta_%s %s\n",
                                  name, help, name, type);
}


static void
ngx_http_trifecta_metrics_gauge(ngx_http_trifecta_json_t *out,
    const char *name, const char *help, ngx_atomic_uint_t value)
{
    ngx_http_trifecta_metrics_head(out, name, "gauge", help);
    ngx_http_trifecta_json_printf(out, "trifecta_%s %uA\n", name, value);
}


/* The count is the sum of the buckets, also while others add to them. */

static void
ngx_http_trifecta_metrics_histogram(ngx_http_trifecta_json_t *out,
    const char *name, const char *labels, const char *const *texts,
    ngx_http_trifecta_histogram_t *h)
{
    ngx_uint_t         i;
    const char        *comma;
    ngx_atomic_uint_t  n, sum;

    n = 0;
    sum = h->sum;
    comma = labels[0] ? "," : "";

    for (i = 0; i < NGX_HTTP_TRIFECTA_BOUNDS; i++) {
        n += h->buckets[i];

        ngx_http_trifecta_json_printf(out, "trifecta_%s_bucket{%s%sle=\"%s\"}"
                                      " %uA\n",
                                      name, labels, comma, texts[i], n);
    }

    n += h->buckets[i];

    ngx_http_trifecta_json_printf(out, "trifecta_%s_bucket{%s%sle=\"+Inf\"}"
                                  " %uA\n", name, labels, comma, n);

    ngx_http_trifecta_json_printf(out, labels[0]
                                  ? "trifecta_%s_sum{%s} %uA.%06uA\n"
                                    "trifecta_%s_count{%s} %uA\n"
                                  : "trifecta_%s_sum%s %uA.%06uA\n"
                                    "trifecta_%s_count%s %uA\n",
                                  name, labels, sum / 1000000, sum % 1000000,
                                  name, labels, n);
}


/* The label of a row of the route table; what matched none is "other". */

static ngx_uint_t
ngx_http_trifecta_metrics_route(ngx_uint_t i, u_char *label, size_t size)
{
    u_char      *last;
    const char  *method, *path;

    if (i == 0) {
        method = "other";
        path = "";

    } else if (!ngx_http_trifecta_route_name(i, &method, &path)) {
        return 0;
    }

    last = ngx_snprintf(label, size - 1, "route=\"%s%s%s\"", method,
                        path[0] ? " " : "", path);
    *last = '\0';

    return 1;
}


static void
ngx_http_trifecta_metrics_requests(ngx_http_trifecta_metrics_t *m,
    ngx_http_trifecta_json_t *out)
{
    u_char      label[128];
    ngx_uint_t  i, k;

    ngx_http_trifecta_metrics_head(out, "requests_total", "counter",
                                   "Requests to the API by route and class of "
                                   "status");

    for (i = 0; i < NGX_HTTP_TRIFECTA_ROUTES_MAX; i++) {
        if (!ngx_http_trifecta_metrics_route(i, label, sizeof(label))) {
            continue;
        }

        for (k = 0; k < NGX_HTTP_TRIFECTA_CLASSES; k++) {
            ngx_http_trifecta_json_printf(out, "trifecta_requests_total"
                                          "{%s,class=\"%uixx\"} %uA\n",
                                          label, k + 2,
                                          m->routes[i].classes[k]);
        }
    }

    ngx_http_trifecta_metrics_head(out, "request_duration_seconds",
                                   "histogram",
                                   "Time of requests to the API until their "
                                   "answer");

    for (i = 0; i < NGX_HTTP_TRIFECTA_ROUTES_MAX; i++) {
        if (ngx_http_trifecta_metrics_route(i, label, sizeof(label))) {
            ngx_http_trifecta_metrics_histogram(out,
                                           "request_duration_seconds",
                                           (char *) label,
                                           ngx_http_trifecta_request_texts,
                                           &m->routes[i].time);
        }
    }
}


static void
ngx_http_trifecta_metrics_stores(ngx_http_trifecta_metrics_t *m,
    ngx_http_trifecta_json_t *out)
{
    ngx_http_trifecta_metrics_head(out, "redis_command_duration_seconds",
                                   "histogram",
                                   "Time of commands to Redis");
    ngx_http_trifecta_metrics_histogram(out, "redis_command_duration_seconds",
                                        "", ngx_http_trifecta_store_texts,
                                        &m->redis_time);

    ngx_http_trifecta_metrics_head(out, "pg_query_duration_seconds",
                                   "histogram",
                                   "Time of queries to PostgreSQL");
    ngx_http_trifecta_metrics_histogram(out, "pg_query_duration_seconds",
                                        "", ngx_http_trifecta_store_texts,
                                        &m->pg_time);
}


/* One series a shard, with its number as the label. */

static void
ngx_http_trifecta_metrics_shard(ngx_http_trifecta_json_t *out,
    const char *name, ngx_uint_t i, ngx_atomic_uint_t value)
{
    ngx_http_trifecta_json_printf(out, "trifecta_%s{shard=\"%ui\"} %uA\n",
                                  name, i, value);
}


static void
ngx_http_trifecta_metrics_shards(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_sum_t *sum, ngx_http_trifecta_json_t *out)
{
    ngx_uint_t                              i, k, n;
    ngx_http_trifecta_metrics_t            *m;
    const ngx_http_trifecta_metric_row_t   *row;

    m = ngx_http_trifecta_metrics(mcf);
    n = mcf->worker->nshards;

    for (k = 0; k < NGX_HTTP_TRIFECTA_S_COUNT; k++) {
        row = &ngx_http_trifecta_shard_rows[k];

        ngx_http_trifecta_metrics_head(out, row->metric, "counter",
                                       row->help);

        for (i = 0; i < n; i++) {
            ngx_http_trifecta_metrics_shard(out, row->metric, i,
                                            m->shards[i].counters[k]);
        }
    }

    ngx_http_trifecta_metrics_head(out, "redis_ready_workers", "gauge",
                                   "Workers that are connected to Redis");

    for (i = 0; i < n; i++) {
        ngx_http_trifecta_metrics_shard(out, "redis_ready_workers", i,
                                        sum->shards[i].redis);
    }

    ngx_http_trifecta_metrics_head(out, "redis_pending", "gauge",
                                   "Commands without an answer yet");

    for (i = 0; i < n; i++) {
        ngx_http_trifecta_metrics_shard(out, "redis_pending", i,
                                        sum->shards[i].pending);
    }

    ngx_http_trifecta_metrics_head(out, "subscriber_ready_workers", "gauge",
                                   "Workers that hear Redis' messages");

    for (i = 0; i < n; i++) {
        ngx_http_trifecta_metrics_shard(out, "subscriber_ready_workers", i,
                                        sum->shards[i].subscriber);
    }
}


static void
ngx_http_trifecta_metrics_cache(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_json_t *out)
{
    size_t      bytes;
    ngx_uint_t  entries;

    ngx_http_trifecta_cache_usage(mcf, &entries, &bytes);

    ngx_http_trifecta_metrics_gauge(out, "cache_entries",
                                    "Results in the cache", entries);
    ngx_http_trifecta_metrics_gauge(out, "cache_bytes",
                                    "Memory that they take", bytes);
}


/* What nginx itself counts, if it was built with its status module. */

static void
ngx_http_trifecta_metrics_connections(ngx_http_trifecta_json_t *out)
{
#if (NGX_STAT_STUB)

    ngx_http_trifecta_metrics_head(out, "connections", "gauge",
                                   "Connections of clients by state");
    ngx_http_trifecta_json_printf(out, "trifecta_connections"
                                  "{state=\"reading\"} "
                                  "%uA\n"
                                  "trifecta_connections{state=\"writing\"} "
                                  "%uA\n"
                                  "trifecta_connections{state=\"idle\"} "
                                  "%uA\n",
                                  *ngx_stat_reading, *ngx_stat_writing,
                                  *ngx_stat_waiting);

#endif
}


void
ngx_http_trifecta_metrics_write(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_json_t *out)
{
    ngx_uint_t                             i;
    ngx_http_trifecta_sum_t                sum;
    ngx_http_trifecta_metrics_t           *m;
    const ngx_http_trifecta_metric_row_t  *row;

    m = ngx_http_trifecta_metrics(mcf);

    ngx_http_trifecta_metrics_requests(m, out);
    ngx_http_trifecta_metrics_stores(m, out);

    for (i = 0; i < NGX_HTTP_TRIFECTA_M_COUNT; i++) {
        row = &ngx_http_trifecta_metric_rows[i];

        if (row->help[0]) {
            ngx_http_trifecta_metrics_head(out, row->metric, "counter",
                                           row->help);
        }

        ngx_http_trifecta_json_printf(out, row->label[0]
                                      ? "trifecta_%s{%s} %uA\n"
                                      : "trifecta_%s%s %uA\n",
                                      row->metric, row->label,
                                      m->counters[i]);
    }

    ngx_http_trifecta_metrics_head(out, "errors_total", "counter",
                                   "Error answers by code");

    for (i = 0; i < TF_E_COUNT; i++) {
        ngx_http_trifecta_json_printf(out,
                                   "trifecta_errors_total{code=\"%s\"} %uA\n",
                                   ngx_http_trifecta_error_codes[i],
                                   m->errors[i]);
    }

    ngx_http_trifecta_sum(mcf, &sum);

    ngx_http_trifecta_metrics_gauge(out, "workers", "Workers of nginx",
                                    sum.workers);
    ngx_http_trifecta_metrics_shards(mcf, &sum, out);
    ngx_http_trifecta_metrics_gauge(out, "pg_ready_workers",
                                    "Workers that are connected to "
                                    "PostgreSQL", sum.pg);
    ngx_http_trifecta_metrics_gauge(out, "pg_pending",
                                    "Queries without an answer yet",
                                    sum.pg_pending);
    ngx_http_trifecta_metrics_gauge(out, "waiters",
                                    "Requests that wait for the end of a "
                                    "job", sum.waiters);
    ngx_http_trifecta_metrics_gauge(out, "streams",
                                    "Streams of events that are open",
                                    sum.streams);
    ngx_http_trifecta_metrics_gauge(out, "subscriptions",
                                    "Jobs that requests wait for",
                                    sum.channels);
    ngx_http_trifecta_metrics_gauge(out, "tokens_remembered",
                                    "Verified tokens that workers remember",
                                    sum.tokens);
    ngx_http_trifecta_metrics_gauge(out, "tokens_remembered_bytes",
                                    "Memory that they take",
                                    sum.token_bytes);
    ngx_http_trifecta_metrics_cache(mcf, out);
    ngx_http_trifecta_metrics_connections(out);

    ngx_http_trifecta_metrics_gauge(out, "start_time_seconds",
                                    "When nginx was started, Unix time",
                                    m->started);
    ngx_http_trifecta_metrics_head(out, "reloads_total", "counter",
                                   "Configurations read since the start");
    ngx_http_trifecta_json_printf(out, "trifecta_reloads_total %uA\n",
                                  m->generation ? m->generation - 1 : 0);
    ngx_http_trifecta_metrics_head(out, "module_info", "gauge",
                                   "Version of the nginx module");
    ngx_http_trifecta_json_lit(out, "trifecta_module_info{version=\""
                               TF_VERSION "\"} 1\n");
}
