#include "api/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"


#define TF_METRICS_LATE_MS  20      /* what one more shard may take */

/*
 * The gauges: a member of the answer of "stats", the name without
 * "trifecta_queue_" or "trifecta_shard_", and how the shards' are joined.
 */

typedef enum {
    TF_METRICS_SUM,
    TF_METRICS_HIGHEST
} tf_metrics_join_t;

typedef struct {
    const char         *member;
    const char         *name;
    const char         *state;      /* its label; or NULL */
    const char         *what;       /* NULL: one more series of the same */
    tf_metrics_join_t   join;
    int                 per;        /* so many of it make one */
} tf_metrics_gauge_row_t;

static const tf_metrics_gauge_row_t  tf_metrics_gauges[] = {
    { "live", "live", NULL,
      "Open jobs, waiting or running", TF_METRICS_SUM, 1 },
    { "ready", "jobs", "ready",
      "Open jobs by where they are", TF_METRICS_SUM, 1 },
    { "parked", "jobs", "parked", NULL, TF_METRICS_SUM, 1 },
    { "delayed", "jobs", "delayed", NULL, TF_METRICS_SUM, 1 },
    { "running", "jobs", "running", NULL, TF_METRICS_SUM, 1 },
    { "dead", "dead", NULL,
      "Jobs on the list of those that died", TF_METRICS_SUM, 1 },
    { "acc", "accept_log_lag", NULL,
      "Entries of the accept log that are not in PostgreSQL yet",
      TF_METRICS_SUM, 1 },
    { "oldest", "oldest_age_seconds", NULL,
      "Age of the oldest open job", TF_METRICS_HIGHEST, 1000 },
    { "workers", "workers", NULL,
      "Sidecars that Redis heard of within the last minute",
      TF_METRICS_HIGHEST, 1 },
    { "paused", "paused", NULL,
      "Whether new jobs are refused", TF_METRICS_HIGHEST, 1 },
    { "epoch", "epoch", NULL,
      "Number of the queue's life", TF_METRICS_HIGHEST, 1 },
    { NULL, NULL, NULL, NULL, TF_METRICS_SUM, 0 }
};


tf_metrics_t *
tf_metrics_create(const tf_conf_t *conf, tf_queue_t *queue)
{
    char                 err[512];
    unsigned             i;
    tf_metrics_t        *m;
    tf_metrics_shard_t  *shard;

    m = calloc(1, sizeof(tf_metrics_t));
    if (m == NULL) {
        return NULL;
    }

    if (tf_redis_urls(&m->urls, conf->redis_url, err, sizeof(err)) != 0) {
        free(m);
        return NULL;
    }

    m->queue = queue;

    for (i = 0; i < m->urls.n; i++) {
        shard = &m->shards[i];
        (void) snprintf(shard->prefix, sizeof(shard->prefix),
                        TF_KEY_PREFIX_FMT, i);
        tf_redis_init(&shard->redis, conf, m->urls.url[i], shard->prefix, 0);
        shard->redis.connect_ms = TF_METRICS_REDIS_MS;
        shard->redis.command_ms = TF_METRICS_REDIS_MS;
    }

    return m;
}


void
tf_metrics_destroy(tf_metrics_t *m)
{
    unsigned  i;

    if (m == NULL) {
        return;
    }

    for (i = 0; i < m->urls.n; i++) {
        tf_redis_close(&m->shards[i].redis);
    }

    tf_redis_urls_free(&m->urls);
    free(m);
}


/*
 * Asks every shard that the pool finds well, then awaits all of the answers
 * within one deadline; returns how many there were.
 */

static unsigned
tf_metrics_ask(tf_metrics_t *m)
{
    int                       asked[TF_SHARDS_MAX];
    int64_t                   deadline, left;
    tf_cmd_t                  cmd = TF_CMD_INIT;
    unsigned                  i, n;
    tf_metrics_shard_t       *shard;
    tf_queue_shard_status_t   st;

    deadline = tf_clock_ms() + 2 * TF_METRICS_REDIS_MS;

    for (i = 0; i < m->urls.n; i++) {
        shard = &m->shards[i];
        asked[i] = 0;
        tf_queue_shard_status(m->queue, i, &st);

        if (!st.up || tf_clock_ms() > deadline) {
            continue;
        }

        tf_cmd_begin(&cmd, "FCALL_RO");
        tf_cmd_str(&cmd, TF_FN_STATS);
        tf_cmd_str(&cmd, "1");
        tf_cmd_str(&cmd, shard->prefix);

        asked[i] = tf_redis_append(&shard->redis, &cmd) == 0
                   && tf_redis_send(&shard->redis) == 0;
    }

    tf_cmd_free(&cmd);

    deadline = tf_clock_ms() + TF_METRICS_REDIS_MS;
    n = 0;

    for (i = 0; i < m->urls.n; i++) {
        shard = &m->shards[i];

        if (asked[i]) {
            left = deadline - tf_clock_ms();
            shard->stats = tf_redis_reply(&shard->redis,
                                          left > TF_METRICS_LATE_MS
                                          ? (int) left : TF_METRICS_LATE_MS);
        }

        if (tf_reply_len(shard->stats) < 2) {
            freeReplyObject(shard->stats);
            shard->stats = NULL;
        }

        n += shard->stats != NULL;
    }

    return n;
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
tf_metrics_value(tf_buf_t *out, const tf_metrics_gauge_row_t *row,
    int64_t value)
{
    if (row->per > 1) {
        tf_buf_printf(out, " %.3f\n", (double) value / row->per);

    } else {
        tf_buf_printf(out, " %lld\n", (long long) value);
    }
}


static void
tf_metrics_joined(tf_metrics_t *m, const tf_metrics_gauge_row_t *row,
    tf_buf_t *out)
{
    int       any;
    char      name[64];
    int64_t   value, joined;
    unsigned  i;

    any = 0;
    joined = 0;

    for (i = 0; i < m->urls.n; i++) {
        if (!tf_metrics_member(m->shards[i].stats, row->member, &value)) {
            continue;
        }

        any = 1;

        if (row->join == TF_METRICS_SUM) {
            joined += value;

        } else if (value > joined) {
            joined = value;
        }
    }

    if (!any) {
        return;
    }

    (void) snprintf(name, sizeof(name), "trifecta_queue_%s", row->name);

    if (row->what != NULL) {
        tf_metrics_head(out, name, "gauge", row->what);
    }

    tf_buf_puts(out, name);

    if (row->state != NULL) {
        tf_buf_printf(out, "{state=\"%s\"}", row->state);
    }

    tf_metrics_value(out, row, joined);
}


static void
tf_metrics_each(tf_metrics_t *m, const tf_metrics_gauge_row_t *row,
    tf_buf_t *out)
{
    char      name[64], what[128];
    int64_t   value;
    unsigned  i;

    (void) snprintf(name, sizeof(name), "trifecta_shard_%s", row->name);

    if (row->what != NULL) {
        (void) snprintf(what, sizeof(what), "%s, of a shard", row->what);
        tf_metrics_head(out, name, "gauge", what);
    }

    for (i = 0; i < m->urls.n; i++) {
        if (!tf_metrics_member(m->shards[i].stats, row->member, &value)) {
            continue;
        }

        tf_buf_printf(out, "%s{shard=\"%u\"", name, i);

        if (row->state != NULL) {
            tf_buf_printf(out, ",state=\"%s\"", row->state);
        }

        tf_buf_puts(out, "}");
        tf_metrics_value(out, row, value);
    }
}


/* What the pool itself knows of its shards. */

static void
tf_metrics_pool(tf_metrics_t *m, tf_buf_t *out)
{
    unsigned                  i;
    tf_queue_shard_status_t   st;

    tf_metrics_head(out, "trifecta_shard_up", "gauge",
                    "Whether the Redis of a shard answers this sidecar");

    for (i = 0; i < m->urls.n; i++) {
        tf_queue_shard_status(m->queue, i, &st);
        tf_buf_printf(out, "trifecta_shard_up{shard=\"%u\"} %d\n", i, st.up);
    }

    tf_metrics_head(out, "trifecta_shard_claim_age_seconds", "gauge",
                    "Time since a shard last answered this sidecar's claimer");

    for (i = 0; i < m->urls.n; i++) {
        tf_buf_printf(out, "trifecta_shard_claim_age_seconds{shard=\"%u\"} "
                      "%.3f\n", i,
                      (double) tf_queue_claim_age(m->queue, i) / 1000);
    }

    tf_metrics_head(out, "trifecta_shard_held", "gauge",
                    "Jobs of a shard that this sidecar holds now");

    for (i = 0; i < m->urls.n; i++) {
        tf_queue_shard_status(m->queue, i, &st);
        tf_buf_printf(out, "trifecta_shard_held{shard=\"%u\"} %u\n", i,
                      st.held);
    }
}


void
tf_metrics_of_queue(tf_metrics_t *m, tf_buf_t *out)
{
    unsigned                       i, n;
    const tf_metrics_gauge_row_t  *row;

    n = tf_metrics_ask(m);

    tf_metrics_head(out, "trifecta_queue_scrape_ok", "gauge",
                    "Whether every Redis has told the gauges of the queue");
    tf_buf_printf(out, "trifecta_queue_scrape_ok %d\n", n == m->urls.n);

    for (row = tf_metrics_gauges; n > 0 && row->member != NULL; row++) {
        tf_metrics_joined(m, row, out);
    }

    tf_metrics_pool(m, out);

    for (row = tf_metrics_gauges; n > 0 && row->member != NULL; row++) {
        tf_metrics_each(m, row, out);
    }

    for (i = 0; i < m->urls.n; i++) {
        freeReplyObject(m->shards[i].stats);
        m->shards[i].stats = NULL;
    }
}
