#ifndef NGX_HTTP_TRIFECTA_METRICS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_METRICS_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_install.h"
#include "ngx_http_trifecta_json.h"


/*
 * Counters of all workers, in a shared zone that survives reloads.
 *
 * A counter is one row here; series of one metric stand together.  Requests
 * are counted by the row of the route table that they matched, errors by
 * code; no label ever comes from a client, so the number of series is fixed.
 * What goes up and down (is this worker connected, how much has it in flight)
 * is kept in one slot a process and summed when it is read: the slot of a
 * worker that crashed is cleared by the one that takes its place.
 *
 * A histogram has fixed buckets and a sum in us.  A request's time is that
 * from its first byte to its answer, what the client needs to read it not
 * included.  The time of a command or query is that from when it was wanted
 * to its answer, or to when it was given up.
 *
 * metrics.c counts, metrics_write.c prints.
 *
 * X(name, metric, label or "", help)
 */

#define NGX_HTTP_TRIFECTA_COUNTERS(X)                                         \
    X(SUBMIT_OK, "submits_total", "outcome=\"accepted\"",                     \
      "Jobs given to the queue by outcome")                                   \
    X(SUBMIT_DUP, "submits_total", "outcome=\"accepted_before\"", "")         \
    X(SUBMIT_REPLAYED, "submits_total", "outcome=\"replayed\"", "")           \
    X(SUBMIT_CONFLICT, "submits_total", "outcome=\"conflict\"", "")           \
    X(SUBMIT_LIMITED, "submits_total", "outcome=\"limited\"", "")             \
    X(SUBMIT_FULL, "submits_total", "outcome=\"queue_full\"", "")             \
    X(SUBMIT_TFULL, "submits_total", "outcome=\"tenant_queue_full\"", "")     \
    X(SUBMIT_DOWN, "submits_total", "outcome=\"unavailable\"", "")            \
    X(SUBMIT_UNCONFIRMED, "submits_total", "outcome=\"unconfirmed\"", "")     \
    X(DURABLE_YES, "durable_total", "committed=\"yes\"",                      \
      "Acceptances that waited for PostgreSQL")                               \
    X(DURABLE_NO, "durable_total", "committed=\"no\"", "")                    \
    X(RESULT_QUEUE, "results_total", "source=\"queue\"",                      \
      "Jobs that were read, by the store that said their state")              \
    X(RESULT_STORE, "results_total", "source=\"store\"", "")                  \
    X(RESULT_CACHE, "results_total", "source=\"cache\"", "")                  \
    X(STREAM_PLAIN, "streams_total", "shape=\"plain\"",                       \
      "Streams of events that have begun")                                    \
    X(STREAM_RESPONSES, "streams_total", "shape=\"responses\"", "")           \
    X(STREAM_CHAT, "streams_total", "shape=\"chat\"", "")                     \
    X(STREAM_EVENTS, "stream_events_total", "",                               \
      "Events of jobs that were given to streams")                            \
    X(STREAM_SLOW, "stream_cuts_total", "reason=\"client\"",                  \
      "Streams that were cut before their end")                               \
    X(STREAM_CUT, "stream_cuts_total", "reason=\"server\"", "")               \
    X(CACHE_HIT, "cache_lookups_total", "result=\"hit\"",                     \
      "Looks into the cache of results")                                      \
    X(CACHE_MISS, "cache_lookups_total", "result=\"miss\"", "")               \
    X(CACHE_BYPASS, "cache_lookups_total", "result=\"bypass\"", "")           \
    X(CACHE_EVICTED, "cache_evictions_total", "",                             \
      "Results that had to make room for others")                             \
    X(CACHE_INVALIDATED, "cache_invalidations_total", "",                     \
      "Results removed because their job was deleted")                        \
    X(AUTH_FAILURES, "auth_failures_total", "",                               \
      "Requests whose token was missing or refused")                          \
    X(TOKEN_VERIFIED, "tokens_total", "check=\"verified\"",                   \
      "Good tokens of requests by how they were checked")                     \
    X(TOKEN_KNOWN, "tokens_total", "check=\"remembered\"", "")                \
    X(TOKEN_EVICTED, "token_evictions_total", "",                             \
      "Remembered tokens that had to make room for others")                   \
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


/* One of each a shard, with its number as the label: X(name, metric, help). */

#define NGX_HTTP_TRIFECTA_SHARD_COUNTERS(X)                                   \
    X(CONNECTS, "redis_connects_total",                                       \
      "Connections to Redis that became ready")                               \
    X(ERRORS, "redis_errors_total",                                           \
      "Connections to Redis that failed or broke")                            \
    X(COMMANDS, "redis_commands_total", "Commands sent to Redis")             \
    X(RESENT, "redis_resent_total",                                           \
      "Commands sent again after their connection broke")

typedef enum {
#define NGX_HTTP_TRIFECTA_COUNTER(name, metric, help)                         \
    NGX_HTTP_TRIFECTA_S_##name,
    NGX_HTTP_TRIFECTA_SHARD_COUNTERS(NGX_HTTP_TRIFECTA_COUNTER)
#undef NGX_HTTP_TRIFECTA_COUNTER
    NGX_HTTP_TRIFECTA_S_COUNT
} ngx_http_trifecta_shard_metric_t;

typedef struct {
    ngx_atomic_t                    counters[NGX_HTTP_TRIFECTA_S_COUNT];

    /* ngx_current_msec when a worker was connected last */
    ngx_atomic_t                    ready_at;
} ngx_http_trifecta_shard_counts_t;


/* Upper bounds: X(us, seconds as text). */

#define NGX_HTTP_TRIFECTA_REQUEST_BOUNDS(X)                                   \
    X(5000, "0.005")   X(10000, "0.01")   X(25000, "0.025")                   \
    X(50000, "0.05")   X(100000, "0.1")   X(250000, "0.25")                   \
    X(500000, "0.5")   X(1000000, "1")    X(2500000, "2.5")                   \
    X(5000000, "5")    X(10000000, "10")  X(30000000, "30")                   \
    X(60000000, "60")

#define NGX_HTTP_TRIFECTA_STORE_BOUNDS(X)                                     \
    X(100, "0.0001")   X(250, "0.00025")  X(500, "0.0005")                    \
    X(1000, "0.001")   X(2500, "0.0025")  X(5000, "0.005")                    \
    X(10000, "0.01")   X(25000, "0.025")  X(50000, "0.05")                    \
    X(100000, "0.1")   X(250000, "0.25")  X(500000, "0.5")                    \
    X(1000000, "1")

#define NGX_HTTP_TRIFECTA_BOUNDS  13        /* of either */

typedef struct {
    uint64_t                        us;
    const char                     *text;
} ngx_http_trifecta_bound_t;

typedef struct {
    ngx_atomic_t                    buckets[NGX_HTTP_TRIFECTA_BOUNDS + 1];
    ngx_atomic_t                    sum;        /* us */
} ngx_http_trifecta_histogram_t;


/* Rows of the route table, and one before them for what matched none. */

#define NGX_HTTP_TRIFECTA_ROUTES_MAX  32
#define NGX_HTTP_TRIFECTA_CLASSES     4         /* 2xx .. 5xx */

typedef struct {
    ngx_atomic_t                    classes[NGX_HTTP_TRIFECTA_CLASSES];
    ngx_http_trifecta_histogram_t   time;
} ngx_http_trifecta_route_counts_t;


/* Of one process; what is one a shard is a bit, or an element. */

typedef struct {
    ngx_atomic_t                    pid;        /* 0: nobody */
    ngx_atomic_t                    started;    /* s since the epoch */
    ngx_atomic_t                    requests;
    ngx_atomic_t                    waiters;    /* requests that wait */
    ngx_atomic_t                    streams;    /* of them, that are open */
    ngx_atomic_t                    nshards;
    ngx_atomic_t                    redis_ready;        /* bits */
    ngx_atomic_t                    subscriber_ready;   /* bits */
    ngx_atomic_t                    pg_ready;
    ngx_atomic_t                    channels;   /* jobs they wait for */
    ngx_atomic_t                    pg_pending;
    ngx_atomic_t                    tokens;     /* it remembers */
    ngx_atomic_t                    token_bytes;
    uint32_t                        redis_pending[TF_SHARDS_MAX];
} ngx_http_trifecta_slot_t;


/*
 * All slots together.  After a reload there are for a while workers that know
 * of fewer shards than others, or more: a shard is ready when all those that
 * know it are connected.
 */

typedef struct {
    ngx_uint_t                      know;       /* workers that have it */
    ngx_uint_t                      redis;      /* connected, of those */
    ngx_uint_t                      subscriber;
    ngx_uint_t                      pending;
} ngx_http_trifecta_shard_sum_t;

typedef struct {
    ngx_uint_t                      workers;
    ngx_uint_t                      pg;         /* connected to it */
    ngx_uint_t                      waiters;
    ngx_uint_t                      streams;
    ngx_uint_t                      channels;
    ngx_uint_t                      pg_pending;
    ngx_uint_t                      tokens;
    ngx_uint_t                      token_bytes;
    ngx_uint_t                      shards_ready;   /* that are */
    ngx_http_trifecta_shard_sum_t   shards[TF_SHARDS_MAX];
} ngx_http_trifecta_sum_t;


#define NGX_HTTP_TRIFECTA_TOLD  1024

struct ngx_http_trifecta_metrics_s {
    ngx_atomic_t                    counters[NGX_HTTP_TRIFECTA_M_COUNT];
    ngx_atomic_t                    errors[TF_E_COUNT];
    ngx_http_trifecta_route_counts_t  routes[NGX_HTTP_TRIFECTA_ROUTES_MAX];
    ngx_http_trifecta_histogram_t   redis_time;
    ngx_http_trifecta_histogram_t   pg_time;
    ngx_http_trifecta_slot_t        slots[NGX_MAX_PROCESSES];

    ngx_atomic_t                    started;    /* s since the epoch */
    ngx_atomic_t                    loaded;     /* the configuration */
    ngx_atomic_t                    generation; /* 1, and 1 a reload */

    /* ngx_current_msec when a worker was connected last */
    ngx_atomic_t                    pg_ready_at;

    /* by hash of a job: when its end was told without Redis; read.c */
    ngx_atomic_t                    told[NGX_HTTP_TRIFECTA_TOLD];

    ngx_http_trifecta_shard_counts_t  shards[TF_SHARDS_MAX];

    ngx_http_trifecta_install_t     install;    /* under the pool's mutex */
};


ngx_http_trifecta_metrics_t *ngx_http_trifecta_metrics(
    ngx_http_trifecta_main_conf_t *mcf);


ngx_int_t ngx_http_trifecta_metrics_zone(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf);

void ngx_http_trifecta_count(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_metric_t metric);
void ngx_http_trifecta_count_some(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_metric_t metric, ngx_uint_t n);
void ngx_http_trifecta_count_shard(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_shard_t *shard, ngx_http_trifecta_shard_metric_t metric);

/* The same for an outcome of a submit, which the log may name, too. */
void ngx_http_trifecta_outcome(ngx_http_request_t *r,
    ngx_http_trifecta_metric_t metric);

/* A request was answered, once. */
void ngx_http_trifecta_count_answer(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx, ngx_uint_t status);

/* A handler of the log phase: requests that nginx itself answered. */
ngx_int_t ngx_http_trifecta_log_handler(ngx_http_request_t *r);

/* init_module: a configuration has become the running one. */
ngx_int_t ngx_http_trifecta_init_module(ngx_cycle_t *cycle);

/* One more of so many us, under one of the two sets of bounds. */
void ngx_http_trifecta_observe_request(ngx_http_trifecta_histogram_t *h,
    uint64_t us);
void ngx_http_trifecta_observe_store(ngx_http_trifecta_histogram_t *h,
    uint64_t us);

/* us of a clock that nobody sets */
uint64_t ngx_http_trifecta_usec(void);

void ngx_http_trifecta_count_error(ngx_http_trifecta_main_conf_t *mcf,
    tf_error_t code);

/* The slot of this process. */
ngx_http_trifecta_slot_t *ngx_http_trifecta_slot(
    ngx_http_trifecta_main_conf_t *mcf);

/* Adds them up; this also clears the slots of workers that crashed. */
void ngx_http_trifecta_sum(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_sum_t *sum);

/* metrics_write.c: all of it in Prometheus' text format. */
void ngx_http_trifecta_metrics_write(ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_json_t *out);


#endif /* NGX_HTTP_TRIFECTA_METRICS_H_INCLUDED */
