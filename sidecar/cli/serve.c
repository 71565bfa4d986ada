#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <trifecta/version.h>

#include "api/health.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli/cli.h"
#include "jobs/jobs.h"


static const tf_cli_usage_t  tf_serve_usage = {
    "serve", "",
    "Runs jobs until it is told to stop: claims them from Redis, answers them,\n"
    "stores the results in PostgreSQL. Start as many as the queue needs, on as\n"
    "many machines; each needs its own \"listen\" address.\n"
    "\n"
    "SIGTERM or SIGINT drains: nothing more is claimed, running jobs go on for\n"
    "drain_timeout, what is left goes back to the queue. A second one gives\n"
    "everything back at once.\n"
    "\n"
    "A store that is away does not end the program: it waits for it, and says\n"
    "so in its log and on /readyz.\n",
    NULL,
    "  0  drained\n"
    "  1  could not start\n"
    "  2  wrong use\n",
    "  trifecta serve --config /etc/trifecta/sidecar.conf\n"
    "  TRIFECTA_THREADS=128 trifecta serve\n"
};

/* Of a thread that waits for a model, with what curl keeps, and of all else. */

#define TF_SERVE_FILES_THREAD  8
#define TF_SERVE_FILES_OTHER   512

typedef struct {
    tf_queue_t  *queue;
    sigset_t     set;
} tf_serve_t;


/* The limit of open files that a shell or systemd gives is for few threads. */

static void
tf_serve_files(const tf_conf_t *conf)
{
    rlim_t         wanted;
    struct rlimit  limit;

    wanted = (rlim_t) conf->threads * TF_SERVE_FILES_THREAD
             + TF_SERVE_FILES_OTHER;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur >= wanted) {
        return;
    }

    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;

    if (setrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur < wanted) {
        tf_log(TF_LOG_WARN, "%u threads may want %llu open files, and the "
               "system allows %llu: raise the limit (LimitNOFILE of systemd, "
               "ulimit -n), or lower \"threads\"", (unsigned) conf->threads,
               (unsigned long long) wanted,
               (unsigned long long) limit.rlim_cur);
    }
}


/* The second signal comes while the main thread drains. */

static void *
tf_serve_hurry(void *data)
{
    int          sig;
    tf_serve_t  *s = data;

    if (sigwait(&s->set, &sig) == 0) {
        tf_log(TF_LOG_WARN, "a second signal: giving everything back");
        tf_queue_hurry(s->queue);
    }

    return NULL;
}


static int
tf_serve_run(const tf_cli_t *cli, const tf_conf_t *conf)
{
    int                 sig, hurry;
    char                err[512];
    pthread_t           thread;
    tf_jobs_t           jobs;
    tf_health_t        *health;
    tf_serve_t          s;
    tf_queue_status_t   status;

    (void) signal(SIGPIPE, SIG_IGN);
    (void) sigemptyset(&s.set);
    (void) sigaddset(&s.set, SIGTERM);
    (void) sigaddset(&s.set, SIGINT);
    (void) pthread_sigmask(SIG_BLOCK, &s.set, NULL);

    jobs.conf = conf;
    tf_serve_files(conf);

    jobs.models = tf_llm_models_load(conf->models, err, sizeof(err));
    if (jobs.models == NULL) {
        return tf_cli_error(cli, "%s", err);
    }

    jobs.rag = tf_pg_pool_create(conf, TF_PG_RAG,
                                 (unsigned) conf->pg_connections);
    if (jobs.rag == NULL) {
        return tf_cli_error(cli, "out of memory");
    }

    jobs.hooks = tf_webhooks_create(conf, err, sizeof(err));
    if (jobs.hooks == NULL) {
        return tf_cli_error(cli, "webhooks: %s", err);
    }

    tf_log(TF_LOG_INFO, "trifecta %s starts", TF_VERSION);

    jobs.mem = conf->index_memory ? tf_rag_mem_start(conf) : NULL;

    s.queue = tf_queue_start(conf, tf_jobs_run, &jobs);
    if (s.queue == NULL) {
        return TF_CLI_FAILED;
    }

    health = NULL;

    if (conf->listen[0]) {
        health = tf_health_start(conf, s.queue, jobs.mem, jobs.hooks,
                                 jobs.models);

        if (health == NULL) {
            tf_queue_hurry(s.queue);
            tf_queue_drain(s.queue);
            return TF_CLI_FAILED;
        }
    }

    while (sigwait(&s.set, &sig) != 0) {
        /* void */
    }

    tf_log(TF_LOG_INFO, "signal %d: leaving", sig);

    hurry = tf_thread_start(&thread, "hurry", tf_serve_hurry, &s) == 0;

    tf_queue_drain(s.queue);
    tf_health_stop(health);

    if (hurry) {
        (void) pthread_cancel(thread);
        (void) pthread_join(thread, NULL);
    }

    tf_queue_status(s.queue, &status);

    if (status.held > 0) {
        /* a thread is stuck in its job and may still use all of this */
        (void) fflush(NULL);
        _exit(TF_CLI_OK);
    }

    tf_queue_free(s.queue);
    tf_rag_mem_stop(jobs.mem);
    tf_webhooks_destroy(jobs.hooks);
    tf_pg_pool_destroy(jobs.rag);
    tf_llm_models_free(jobs.models);

    return TF_CLI_OK;
}


int
tf_cli_serve(int argc, char **argv)
{
    int        rc;
    tf_cli_t   cli;
    tf_conf_t  conf;

    tf_cli_begin(&cli, &tf_serve_usage, argc, argv);

    if (tf_cli_next(&cli) < 0 || tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    if (tf_log_set_level(conf.log_level) != 0) {
        rc = tf_cli_error(&cli, "log_level = %s: error, warn, info or debug "
                          "is expected", conf.log_level);

    } else {
        rc = tf_serve_run(&cli, &conf);
    }

    tf_conf_free(&conf);

    return rc;
}
