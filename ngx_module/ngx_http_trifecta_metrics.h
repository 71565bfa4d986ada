#ifndef NGX_HTTP_TRIFECTA_METRICS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_METRICS_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_json.h"


/*
 * Counters of all workers, in a shared zone that survives reloads.
 *
 * A counter is one row here; series of one metric stand together.  What goes
 * up and down (is this worker connected, how much has it in flight) is kept
 * in one slot a process and summed when it is read: the slot of a worker
 * that crashed is cleared by the one that takes its place.
 *
 * X(name, metric, label or "", help)
 */

#define NGX_HTTP_TRIFECTA_COUNTERS(X)                                         \
    X(ANSWERS_2XX, "requests_total", "class=\"2xx\"",                         \
      "Answered requests by class of status")                                 \
    X(ANSWERS_4XX, "requests_total", "class=\"4xx\"", "")                     \
    X(ANSWERS_5XX, "requests_total", "class=\"5xx\"", "")                     \
    X(SUBMIT_OK, "submits_total", "outcome=\"accepted\"",                     \
      "Jobs given to the queue by outcome")                                   \
    X(SUBMIT_DUP, "submits_total", "outcome=\"accepted_before\"", "")         \
    X(SUBMIT_FULL, "submits_total", "outcome=\"queue_full\"", "")             \
    X(SUBMIT_TFULL, "submits_total", "outcome=\"tenant_queue_full\"", "")     \
    X(SUBMIT_DOWN, "submits_total", "outcome=\"unavailable\"", "")            \
    X(SUBMIT_UNCONFIRMED, "submits_total", "outcome=\"unconfirmed\"", "")     \
    X(RESULT_QUEUE, "results_total", "source=\"queue\"",                      \
      "Jobs that were read, by the store that said their state")              \
    X(RESULT_STORE, "results_total", "source=\"store\"", "")                  \
    X(AUTH_FAILURES, "auth_failures_total", "",                               \
      "Requests whose token was missing or refused")                          \
    X(REDIS_CONNECTS, "redis_connects_total", "",                             \
      "Connections to Redis that became ready")                               \
    X(REDIS_ERRORS, "redis_errors_total", "",                                 \
      "Connections to Redis that failed or broke")                            \
    X(REDIS_COMMANDS, "redis_commands_total", "", "Commands sent to Redis")   \
    X(REDIS_RESENT, "redis_resent_total", "",                                 \
      "Commands sent again after their connection broke")                     \
    X(PG_CONNECTS, "pg_connects_total", "",                                   \
      "Connections to PostgreSQL that became ready")                          \
    X(PG_ERRORS, "pg_errors_total", "",                                       \
      "Connections to PostgreSQL that failed or broke")                       \
    X(PG_QUERIES, "pg_queries_total", "", "Queries sent to PostgreSQL")

typedef enum {
#define NGX_HTTP_TRIFECTA_COUNTER(name, metric, label, help)                  \
    NGX_HTTP_TRIFECTA_M_##name,
    NGX_HTTP_TRIFECTA_COUNTERS(NGX_HTTP_TRIFECTA_COUNTER)
#undef NGX_HTTP_TRIFECTA_COUNTER
    NGX_HTTP_TRIFECTA_M_COUNT
} ngx_http_trifecta_metric_t;


typedef struct {
    ngx_atomic_t                    pid;        /* 0: nobody */
    ngx_atomic_t                    redis_ready;
    ngx_atomic_t                    pg_ready;
    ngx_atomic_t                    redis_pending;
    ngx_atomic_t                    pg_pending;
} ngx_http_trifecta_slot_t;


struct ngx_http_trifecta_metrics_s {
    ngx_atomic_t                    counters[NGX_HTTP_TRIFECTA_M_COUNT];
    ngx_atomic_t                    errors[TF_E_COUNT];
    ngx_http_trifecta_slot_t        slots[NGX_MAX_PROCESSES];

    /* ngx_current_msec when a worker was connected last */
    ngx_atomic_t                    redis_ready_at;
    ngx_atomic_t                    pg_ready_at;
};


ngx_http_trifecta_metrics_t *ngx_http_trifecta_metrics(
    ngx_http_trifecta_main_conf_t *mcf);


ngx_int_t ngx_http_trifecta_metrics_zone(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf);

void ngx_http_trifecta_count(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_metric_t metric);
void ngx_http_trifecta_count_error(ngx_http_trifecta_main_conf_t *mcf,
    tf_error_t code);

/* The slot of this process. */
ngx_http_trifecta_slot_t *ngx_http_trifecta_slot(
    ngx_http_trifecta_main_conf_t *mcf);

/* How many workers there are, and how many of them are connected. */
void ngx_http_trifecta_workers(ngx_http_trifecta_main_conf_t *mcf,
    ngx_uint_t *workers, ngx_uint_t *redis, ngx_uint_t *pg);

/* Writes all of it in Prometheus' text format. */
void ngx_http_trifecta_metrics_write(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_json_t *out);


#endif /* NGX_HTTP_TRIFECTA_METRICS_H_INCLUDED */
