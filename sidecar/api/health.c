#include "api/health.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>
#include <microhttpd.h>

#include "api/metrics.h"
#include "base/buf.h"
#include "base/log.h"


#define TF_HEALTH_CONNECTIONS  64
#define TF_HEALTH_TIMEOUT      10       /* s, of an idle connection */

struct tf_health_s {
    struct MHD_Daemon  *daemon;
    tf_queue_t         *queue;
    tf_metrics_t       *metrics;    /* of the daemon's one thread */
    int                 stuck;      /* and that it said so */
};

typedef struct {
    const char  *path;
    const char  *type;
    unsigned   (*fill)(tf_health_t *health, tf_buf_t *body);
} tf_health_route_t;


static unsigned
tf_health_json(json_t *json, unsigned status, tf_buf_t *body)
{
    char  *text;

    text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6))
                : NULL;
    json_decref(json);

    tf_buf_printf(body, "%s\n", text ? text : "{}");
    free(text);

    return status;
}


/*
 * A process that answers here may still have a thread that hangs; starting it
 * anew helps against that, and against nothing that is wrong with a store.
 */

static unsigned
tf_health_livez(tf_health_t *health, tf_buf_t *body)
{
    json_t            *json;
    tf_queue_stuck_t   stuck;

    if (!tf_queue_stuck(health->queue, &stuck)) {
        health->stuck = 0;
        tf_buf_puts(body, "{\"status\":\"ok\"}\n");
        return MHD_HTTP_OK;
    }

    if (!health->stuck) {
        health->stuck = 1;
        tf_log(TF_LOG_ERROR, "the stage \"%s\" (shard %d) has made no "
               "progress for %llds though its stores answer: /livez fails, "
               "restart this process", stuck.stage, stuck.shard,
               (long long) (stuck.ms / 1000));
    }

    json = json_pack("{s:s, s:s, s:I}", "status", "stuck", "stage",
                     stuck.stage, "seconds", (json_int_t) (stuck.ms / 1000));

    if (json != NULL && stuck.shard >= 0) {
        (void) json_object_set_new(json, "shard", json_integer(stuck.shard));
    }

    return tf_health_json(json, MHD_HTTP_SERVICE_UNAVAILABLE, body);
}


/* The shards that are away, each with its reason. */

static json_t *
tf_health_away(tf_queue_t *queue, unsigned nshards)
{
    json_t                   *away;
    unsigned                  i;
    tf_queue_shard_status_t   st;

    away = json_array();

    for (i = 0; away != NULL && i < nshards; i++) {
        tf_queue_shard_status(queue, i, &st);

        if (!st.up) {
            (void) json_array_append_new(away, json_pack("{s:i, s:s}",
                       "shard", (int) i, "detail", st.why));
        }
    }

    return away;
}


/* One shard that works is enough: its jobs would wait for nothing else. */

static unsigned
tf_health_readyz(tf_health_t *health, tf_buf_t *body)
{
    int                 ready;
    json_t             *json, *claims;
    unsigned            i;
    tf_queue_status_t   st;

    tf_queue_status(health->queue, &st);

    ready = st.store_up && st.nup > 0 && !st.draining;
    claims = json_array();

    for (i = 0; claims != NULL && i < st.nshards; i++) {
        (void) json_array_append_new(claims, json_real(
                   (double) tf_queue_claim_age(health->queue, i) / 1000));
    }

    json = json_pack("{s:s, s:s, s:s, s:b, s:s, s:i, s:o*, s:o*, s:f}",
                     "status", ready ? "ok" : "unavailable",
                     "redis", st.nup == st.nshards ? "ok"
                              : st.nup > 0 ? "degraded" : "down",
                     "postgresql", st.store_up ? "ok" : "down",
                     "draining", st.draining, "detail", st.why,
                     "shards", (int) st.nshards,
                     "shards_away", tf_health_away(health->queue,
                                                   st.nshards),
                     "claim_age", claims,
                     "commit_age",
                     (double) tf_queue_commit_age(health->queue) / 1000);

    return tf_health_json(json, ready ? MHD_HTTP_OK
                                      : MHD_HTTP_SERVICE_UNAVAILABLE, body);
}


static unsigned
tf_health_metrics(tf_health_t *health, tf_buf_t *body)
{
    tf_metrics_write(health->metrics, body);

    return MHD_HTTP_OK;
}


static const tf_health_route_t  tf_health_routes[] = {
    { "/livez",   "application/json",          tf_health_livez },
    { "/readyz",  "application/json",          tf_health_readyz },
    { "/metrics", "text/plain; version=0.0.4", tf_health_metrics }
};


static enum MHD_Result
tf_health_answer(struct MHD_Connection *conn, unsigned status,
    const char *type, tf_buf_t *body)
{
    enum MHD_Result       rc;
    struct MHD_Response  *response;

    if (body->failed) {
        tf_buf_free(body);
        return MHD_NO;
    }

    response = MHD_create_response_from_buffer(body->len, body->data,
                                               MHD_RESPMEM_MUST_COPY);
    tf_buf_free(body);

    if (response == NULL) {
        return MHD_NO;
    }

    (void) MHD_add_response_header(response, "Content-Type", type);
    (void) MHD_add_response_header(response, "Cache-Control", "no-store");

    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void) MHD_add_response_header(response, "Allow", "GET, HEAD");
    }

    rc = MHD_queue_response(conn, status, response);
    MHD_destroy_response(response);

    return rc;
}


static enum MHD_Result
tf_health_request(void *data, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *upload,
    size_t *upload_size, void **con_cls)
{
    size_t        i;
    tf_buf_t      body = TF_BUF_INIT;
    unsigned      status;
    tf_health_t  *health = data;

    (void) version;
    (void) upload;
    (void) con_cls;

    *upload_size = 0;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        tf_buf_puts(&body, "{\"error\":\"only GET\"}\n");
        return tf_health_answer(conn, MHD_HTTP_METHOD_NOT_ALLOWED,
                                "application/json", &body);
    }

    for (i = 0; i < sizeof(tf_health_routes) / sizeof(tf_health_routes[0]);
         i++)
    {
        if (strcmp(url, tf_health_routes[i].path) == 0) {
            status = tf_health_routes[i].fill(health, &body);
            return tf_health_answer(conn, status, tf_health_routes[i].type,
                                    &body);
        }
    }

    tf_buf_puts(&body, "{\"error\":\"not found: /livez, /readyz and "
                "/metrics are\"}\n");

    return tf_health_answer(conn, MHD_HTTP_NOT_FOUND, "application/json",
                            &body);
}


/* A bound and listening socket for "host:port", or -1 with a log line. */

static int
tf_health_listen(const char *address)
{
    int               fd, rc;
    char              host[256];
    size_t            n;
    const char       *port;
    struct addrinfo   hints, *list, *ai;

    port = strrchr(address, ':');
    n = port ? (size_t) (port - address) : 0;

    if (port == NULL || n >= sizeof(host)) {
        tf_log(TF_LOG_ERROR, "listen = %s: host:port is expected", address);
        return -1;
    }

    memcpy(host, address, n);
    host[n] = '\0';

    if (n > 1 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        memmove(host, host + 1, n - 1);
    }

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;

    rc = getaddrinfo(host[0] ? host : NULL, port + 1, &hints, &list);
    if (rc != 0) {
        tf_log(TF_LOG_ERROR, "listen = %s: %s", address, gai_strerror(rc));
        return -1;
    }

    fd = -1;

    for (ai = list; ai != NULL && fd == -1; ai = ai->ai_next) {
        fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd == -1) {
            continue;
        }

        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 },
                          sizeof(int));

        if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0
            || listen(fd, TF_HEALTH_CONNECTIONS) != 0)
        {
            tf_log(TF_LOG_ERROR, "listen = %s: %s; another sidecar may have "
                   "that port", address, strerror(errno));
            (void) close(fd);
            fd = -1;
            break;
        }
    }

    freeaddrinfo(list);

    return fd;
}


tf_health_t *
tf_health_start(const tf_conf_t *conf, tf_queue_t *queue,
    tf_rag_mem_t *mem, tf_webhooks_t *hooks, tf_llm_models_t *models)
{
    int           fd;
    tf_health_t  *health;

    fd = tf_health_listen(conf->listen);
    if (fd == -1) {
        return NULL;
    }

    health = calloc(1, sizeof(tf_health_t));
    if (health == NULL) {
        (void) close(fd);
        return NULL;
    }

    health->queue = queue;
    health->metrics = tf_metrics_create(conf, queue);
    if (health->metrics == NULL) {
        (void) close(fd);
        free(health);
        return NULL;
    }

    health->metrics->mem = mem;
    health->metrics->hooks = hooks;
    health->metrics->models = models;

    health->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL,
                         NULL, tf_health_request, health,
                         MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned) TF_HEALTH_CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned) TF_HEALTH_TIMEOUT, MHD_OPTION_END);

    if (health->daemon == NULL) {
        tf_log(TF_LOG_ERROR, "listen = %s: the listener cannot be started",
               conf->listen);
        (void) close(fd);
        tf_metrics_destroy(health->metrics);
        free(health);
        return NULL;
    }

    return health;
}


void
tf_health_stop(tf_health_t *health)
{
    if (health != NULL) {
        MHD_stop_daemon(health->daemon);
        tf_metrics_destroy(health->metrics);
        free(health);
    }
}
