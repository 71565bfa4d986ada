#include "api/metrics.h"

#include <stdio.h>
#include <string.h>

#include <trifecta/keys.h>
#include <trifecta/version.h>


#define TF_METRICS_PREFIX  "{trifecta:0}"


/* The gauges of the queue: a member of the answer of "stats", and its name. */

typedef struct {
    const char  *member;
    const char  *name;
    const char  *labels;
    const char  *what;          /* NULL: one more series of the same */
    int          per;           /* so many of it make one */
} tf_metrics_gauge_row_t;

static const tf_metrics_gauge_row_t  tf_metrics_queue[] = {
    { "live", "trifecta_queue_live", "",
      "Open jobs, waiting or running", 1 },
    { "ready", "trifecta_queue_jobs", "{state=\"ready\"}",
      "Open jobs by where they are", 1 },
    { "parked", "trifecta_queue_jobs", "{state=\"parked\"}", NULL, 1 },
    { "delayed", "trifecta_queue_jobs", "{state=\"delayed\"}", NULL, 1 },
    { "running", "trifecta_queue_jobs", "{state=\"running\"}", NULL, 1 },
    { "dead", "trifecta_queue_dead", "",
      "Jobs on the list of those that died", 1 },
    { "acc", "trifecta_queue_accept_log_lag", "",
      "Entries of the accept log that are not in PostgreSQL yet", 1 },
    { "oldest", "trifecta_queue_oldest_age_seconds", "",
      "Age of the oldest open job", 1000 },
    { "workers", "trifecta_queue_workers", "",
      "Sidecars that Redis heard of within the last minute", 1 },
    { "paused", "trifecta_queue_paused", "",
      "Whether new jobs are refused", 1 },
    { "epoch", "trifecta_queue_epoch", "",
      "Number of the queue's life", 1 },
    { NULL, NULL, NULL, NULL, 0 }
};


static void
tf_metrics_head(tf_buf_t *out, const char *name, const char *type,
    const char *what)
{
    tf_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, what, name,
                  type);
}


void
tf_metrics_init(tf_redis_t *redis, const tf_conf_t *conf)
{
    tf_redis_init(redis, conf, TF_METRICS_PREFIX, 0);
    redis->connect_ms = TF_METRICS_REDIS_MS;
    redis->command_ms = TF_METRICS_REDIS_MS;
}


/* A list of names and values, or NULL. */

static redisReply *
tf_metrics_stats(tf_redis_t *redis)
{
    redisReply  *reply;

    reply = tf_redis_command(redis, 0, "FCALL_RO", TF_FN_STATS, "1",
                             TF_METRICS_PREFIX, NULL);

    if (tf_reply_len(reply) < 2) {
        freeReplyObject(reply);
        return NULL;
    }

    return reply;
}


static int
tf_metrics_member(const redisReply *stats, const char *name, int64_t *value)
{
    size_t  i;

    for (i = 0; i + 1 < tf_reply_len(stats); i += 2) {
        if (strcmp(tf_reply_str(stats, i), name) == 0) {
            *value = tf_reply_num(stats, i + 1);
            return 1;
        }
    }

    return 0;
}


static void
tf_metrics_of_queue(tf_redis_t *redis, tf_buf_t *out)
{
    int64_t                        value;
    redisReply                    *stats;
    const tf_metrics_gauge_row_t  *row;

    stats = tf_metrics_stats(redis);

    tf_metrics_head(out, "trifecta_queue_scrape_ok", "gauge",
                    "Whether Redis has told the gauges of the queue");
    tf_buf_printf(out, "trifecta_queue_scrape_ok %d\n", stats != NULL);

    for (row = tf_metrics_queue; stats != NULL && row->member; row++) {
        if (!tf_metrics_member(stats, row->member, &value)) {
            continue;
        }

        if (row->what != NULL) {
            tf_metrics_head(out, row->name, "gauge", row->what);
        }

        if (row->per > 1) {
            tf_buf_printf(out, "%s%s %.3f\n", row->name, row->labels,
                          (double) value / row->per);

        } else {
            tf_buf_printf(out, "%s%s %lld\n", row->name, row->labels,
                          (long long) value);
        }
    }

    freeReplyObject(stats);
}


static void
tf_metrics_gauge(tf_buf_t *out, const char *name, const char *what,
    unsigned long value)
{
    char  full[64];

    (void) snprintf(full, sizeof(full), "trifecta_worker_%s", name);
    tf_metrics_head(out, full, "gauge", what);
    tf_buf_printf(out, "%s %lu\n", full, value);
}


static void
tf_metrics_of_worker(tf_queue_t *queue, tf_buf_t *out)
{
    tf_queue_status_t             st;
    const tf_queue_counters_t    *c;
    const tf_queue_histograms_t  *h;

    c = tf_queue_counters(queue);
    h = tf_queue_histograms(queue);

#define TF_METRICS_COUNTER(name, what)                                        \
    tf_metrics_head(out, "trifecta_worker_" #name "_total", "counter", what); \
    tf_buf_printf(out, "trifecta_worker_" #name "_total %lu\n",               \
                  atomic_load(&c->name));
    TF_QUEUE_COUNTERS(TF_METRICS_COUNTER)
#undef TF_METRICS_COUNTER

#define TF_METRICS_HISTOGRAM(field, unit, name, labels, what)                 \
    if (what[0]) {                                                            \
        tf_metrics_head(out, "trifecta_worker_" name, "histogram", what);     \
    }                                                                         \
    tf_hist_write(&h->field, &tf_hist_##unit, "trifecta_worker_" name,        \
                  labels, out);
    TF_QUEUE_HISTOGRAMS(TF_METRICS_HISTOGRAM)
#undef TF_METRICS_HISTOGRAM

    tf_queue_status(queue, &st);

    tf_metrics_gauge(out, "held", "jobs held now", st.held);
    tf_metrics_gauge(out, "threads", "jobs that may run at a time",
                     st.threads);
    tf_metrics_gauge(out, "postgresql_up", "whether PostgreSQL answers",
                     (unsigned long) st.store_up);
    tf_metrics_gauge(out, "redis_up", "whether Redis answers",
                     (unsigned long) st.redis_up);
    tf_metrics_gauge(out, "draining", "whether the process is leaving",
                     (unsigned long) st.draining);
}


void
tf_metrics_write(tf_queue_t *queue, tf_redis_t *redis, tf_buf_t *out)
{
    tf_metrics_of_worker(queue, out);
    tf_metrics_of_queue(redis, out);

    tf_metrics_head(out, "trifecta_build_info", "gauge",
                    "version of the program");
    tf_buf_puts(out, "trifecta_build_info{version=\"" TF_VERSION "\"} 1\n");
}
