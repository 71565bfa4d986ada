#include "jobs/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <trifecta/webhook.h>

#include "base/clock.h"
#include "base/log.h"
#include "jobs/jobs.h"


#define TF_WEBHOOK_CONNECT_MS  5000
#define TF_WEBHOOK_BODY_MAX    65536    /* of an answer, which nobody reads */
#define TF_WEBHOOK_HEADERS     3
#define TF_WEBHOOK_PUT_OFF     500LL    /* ms, at first */

/* One try. */

typedef struct {
    tf_webhooks_t     *hooks;
    tf_job_t          *job;
    tf_webhook_row_t   row;
    size_t             got;             /* bytes of the answer's body */
    int                inside;          /* an address was refused */
} tf_webhook_try_t;


/* It ends, and nothing was or will be delivered. */

static tf_run_t
tf_webhook_give_up(tf_webhook_try_t *t, tf_job_state_t state,
    const char *code, const char *message)
{
    (void) atomic_fetch_add(&t->hooks->given_up, 1);
    tf_log(TF_LOG_WARN, "the webhook is given up: %s", message);
    tf_job_fail(t->job, state, code, message);

    return TF_RUN_ENDED;
}


/*
 * More of its tenant wait already than may: 1, 0.  What is not known is not
 * too many.
 */

static int
tf_webhook_crowded(tf_webhook_try_t *t)
{
    int          many;
    char         most[24];
    tf_pg_t     *pg;
    PGresult    *res;
    const char  *params[2];

    pg = tf_pg_pool_get(t->hooks->pg, TF_PG_SHORT, TF_PG_WAIT_MS,
                        &t->job->stop);
    if (pg == NULL) {
        return 0;
    }

    (void) snprintf(most, sizeof(most), "%" PRIu64,
                    t->hooks->conf->webhook_backlog);
    params[0] = t->job->tenant;
    params[1] = most;

    many = tf_pg_query(pg, &res, 0, "SELECT 1 FROM trifecta.job "
                       "WHERE kind = 'webhook' AND tenant = $1 "
                       "AND state IN ('queued', 'running') "
                       "OFFSET $2::bigint LIMIT 1", 2, params)
           == TF_PG_OK;

    if (many) {
        many = PQntuples(res) > 0;
        PQclear(res);
    }

    tf_pg_pool_put(t->hooks->pg, pg);

    return many;
}


/* A try has failed: again later, unless it was the last one. */

static tf_run_t
tf_webhook_failed(tf_webhook_try_t *t, const char *why)
{
    char       message[384];
    tf_job_t  *job;

    job = t->job;
    (void) atomic_fetch_add(&t->hooks->failed, 1);

    if (tf_job_retry_delay(job) == -1) {
        (void) snprintf(message, sizeof(message), "Not delivered, and given "
                        "up after %d tries: %.256s", job->fails + 1, why);
        return tf_webhook_give_up(t, TF_JOB_FAILED, "webhook_failed",
                                  message);
    }

    if (tf_webhook_crowded(t)) {
        (void) snprintf(message, sizeof(message), "Not delivered, and not "
                        "tried again, for too many of this tenant wait: "
                        "%.256s", why);
        return tf_webhook_give_up(t, TF_JOB_FAILED, "webhook_backlog",
                                  message);
    }

    tf_job_fail(job, TF_JOB_FAILED, "webhook_failed", why);

    return TF_RUN_RETRY;
}


static int
tf_webhook_on_data(void *arg, const char *data, size_t len)
{
    tf_webhook_try_t  *t = arg;

    (void) data;
    t->got += len;

    return t->got > TF_WEBHOOK_BODY_MAX;
}


static int
tf_webhook_on_check(void *arg, const struct sockaddr *sa)
{
    tf_webhook_try_t  *t = arg;

    if (tf_networks_allow(&t->hooks->networks, sa)) {
        return 0;
    }

    t->inside = 1;
    (void) atomic_fetch_add(&t->hooks->refused, 1);

    return -1;
}


/* What came of the call. */

static tf_run_t
tf_webhook_result(tf_webhook_try_t *t, tf_stream_result_t result,
    const tf_stream_answer_t *answer, int64_t began)
{
    char       why[320];
    tf_job_t  *job;

    job = t->job;

    if (result == TF_STREAM_CANCELLED) {
        return TF_RUN_RELEASE;
    }

    if (result != TF_STREAM_OK && result != TF_STREAM_STOPPED) {
        (void) snprintf(why, sizeof(why), "%s", t->inside
                        ? "The host's address is not public: see "
                          "webhook_networks." : answer->err);
        return tf_webhook_failed(t, why);
    }

    if (answer->status >= 200 && answer->status < 300) {
        (void) atomic_fetch_add(&t->hooks->delivered, 1);
        tf_hist_add(&t->hooks->latency, &tf_hist_ms,
                    t->row.age + tf_clock_ms() - began);
        (void) snprintf(why, sizeof(why), "{\"status\":%ld,\"tries\":%d}",
                        answer->status, job->fails + 1);
        job->usage = strdup(why);
        job->state = TF_JOB_SUCCEEDED;
        return TF_RUN_ENDED;
    }

    if (answer->status == 410) {
        return tf_webhook_give_up(t, TF_JOB_FAILED, "webhook_gone",
                                  "The receiver answered 410: it wants no "
                                  "more.");
    }

    if (answer->retry_after > 0) {
        job->retry_after = answer->retry_after;
    }

    (void) snprintf(why, sizeof(why), "The receiver answered %ld%s.",
                    answer->status, answer->status / 100 == 3
                    ? ", and redirects are not followed" : "");

    return tf_webhook_failed(t, why);
}


static tf_run_t
tf_webhook_post(tf_webhook_try_t *t, const tf_buf_t *body,
    const char *const *headers)
{
    int64_t              began;
    tf_run_t             rc;
    const tf_conf_t     *conf;
    tf_stream_call_t     call;
    tf_stream_answer_t   answer;
    tf_stream_result_t   result;

    conf = t->hooks->conf;
    began = tf_clock_ms();

    memset(&call, 0, sizeof(call));
    call.url = t->row.url;
    call.ca = conf->webhook_ca;
    call.json = body->data;
    call.connect_ms = conf->webhook_timeout < TF_WEBHOOK_CONNECT_MS
                      ? conf->webhook_timeout : TF_WEBHOOK_CONNECT_MS;
    call.first_ms = conf->webhook_timeout;
    call.idle_ms = conf->webhook_timeout;
    call.total_ms = conf->webhook_timeout;
    call.cancel = &t->job->stop;
    call.data = tf_webhook_on_data;
    call.check = tf_webhook_on_check;
    call.headers = headers;
    call.arg = t;

    result = tf_stream_post(t->hooks->net, &call, &answer);
    rc = tf_webhook_result(t, result, &answer, began);
    tf_stream_answer_free(&answer);

    return rc;
}


/* Body, signature, and the call. */

static tf_run_t
tf_webhook_send(tf_webhook_try_t *t, const char *id)
{
    int                    i;
    char                   err[512], message[48], now[24];
    tf_buf_t               body = TF_BUF_INIT;
    tf_buf_t               lines[TF_WEBHOOK_HEADERS];
    tf_run_t               rc;
    const char            *headers[TF_WEBHOOK_HEADERS + 1];
    tf_webhook_secrets_t   secrets;

    memset(lines, 0, sizeof(lines));

    if (tf_webhook_secrets(&secrets, t->hooks->conf->webhook_key_file,
                           t->job->tenant, err, sizeof(err))
        != 0)
    {
        tf_log(TF_LOG_ERROR, "webhooks cannot be signed, and are not sent: "
               "%s", err);
        return tf_webhook_failed(t, "This installation has no key to sign "
                                 "with: see webhook_key_file.");
    }

    tf_webhook_event(&t->row, &body);
    tf_webhook_id(id, message);
    (void) snprintf(now, sizeof(now), "%lld",
                    (long long) tf_clock_wall_ms() / 1000);

    tf_buf_printf(&lines[0], "webhook-id: %s", message);
    tf_buf_printf(&lines[1], "webhook-timestamp: %s", now);
    tf_buf_puts(&lines[2], "webhook-signature: ");

    if (body.failed || lines[0].failed || lines[1].failed
        || tf_webhook_sign(&secrets, message, now, &body, &lines[2]) != 0)
    {
        rc = tf_webhook_failed(t, "Out of memory.");

    } else {
        for (i = 0; i < TF_WEBHOOK_HEADERS; i++) {
            headers[i] = lines[i].data;
        }

        headers[i] = NULL;
        rc = tf_webhook_post(t, &body, headers);
    }

    for (i = 0; i < TF_WEBHOOK_HEADERS; i++) {
        tf_buf_free(&lines[i]);
    }

    tf_buf_free(&body);
    OPENSSL_cleanse(&secrets, sizeof(secrets));

    return rc;
}


/*
 * No place is free.  Who has come for nothing often comes back less often, so
 * that a thousand who wait for one server cost no more than that one does.
 */

static tf_run_t
tf_webhook_put_off(tf_webhook_try_t *t)
{
    int        n;
    int64_t    ms;
    uint16_t   rnd;
    tf_job_t  *job;

    job = t->job;
    (void) atomic_fetch_add(&t->hooks->put_off, 1);

    n = job->attempt - 1 - job->fails;
    ms = TF_WEBHOOK_PUT_OFF << (n < 0 ? 0 : n > 7 ? 7 : n);

    if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) == 1) {
        ms = ms / 2 + rnd % ms;
    }

    job->retry_after = ms;
    job->waits = 1;
    tf_job_fail(job, TF_JOB_FAILED, "webhook_failed",
                "Enough others were on their way.");

    return TF_RUN_RETRY;
}


/* The URL is known: a place, and the try. */

static tf_run_t
tf_webhook_try(tf_webhook_try_t *t, const char *id)
{
    int                 place;
    char                server[TF_WEBHOOK_SERVER_MAX];
    tf_run_t            rc;
    const char         *why;
    tf_webhook_host_t   host;

    why = tf_webhook_url(t->row.url, strlen(t->row.url), &host);

    if (why != NULL) {
        return tf_webhook_give_up(t, TF_JOB_FAILED, "webhook_url", why);
    }

    (void) snprintf(server, sizeof(server), "%s", host.host);
    place = tf_webhook_place(t->hooks, t->job->tenant, server,
                             tf_clock_ms());

    if (place == -1) {
        return tf_webhook_put_off(t);
    }

    rc = tf_webhook_send(t, id);
    tf_webhook_leave(t->hooks, place);

    return rc;
}


tf_run_t
tf_jobs_webhook(tf_jobs_t *jobs, tf_job_t *job)
{
    json_t            *payload;
    tf_pg_t           *pg;
    tf_run_t           rc;
    const char        *id;
    tf_pg_status_t     status;
    tf_webhook_try_t   t;

    memset(&t, 0, sizeof(t));
    t.hooks = jobs->hooks;
    t.job = job;

    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);
    id = json_string_value(json_object_get(payload, "job"));

    if (id == NULL || strlen(id) != TF_ID_TEXT_LEN) {
        json_decref(payload);
        return tf_webhook_give_up(&t, TF_JOB_FAILED, "invalid_payload",
                                  "The job's request could not be read.");
    }

    job->retry_wait = t.hooks->conf->webhook_wait;
    job->retry_until = job->until - job->deadline + job->accepted
                       + t.hooks->conf->webhook_for;

    if (job->retry_until > job->until) {
        job->retry_until = job->until;
    }

    pg = tf_pg_pool_get(t.hooks->pg, TF_PG_SHORT, TF_PG_WAIT_MS, &job->stop);

    if (pg == NULL) {
        json_decref(payload);
        return TF_RUN_LATE;
    }

    status = tf_webhook_row(pg, job->tenant, job->owner, id, &t.row);

    if (status != TF_PG_OK) {
        tf_log(TF_LOG_WARN, "a job's end cannot be read: %s", pg->err);
        rc = TF_RUN_RELEASE;
    }

    tf_pg_pool_put(t.hooks->pg, pg);

    if (status == TF_PG_OK) {
        rc = t.row.url != NULL
             ? tf_webhook_try(&t, id)
             : tf_webhook_give_up(&t, TF_JOB_CANCELLED, "webhook_unwanted",
                                  "The job was deleted, or was removed after "
                                  "its retention.");
    }

    PQclear(t.row.res);
    json_decref(payload);

    return rc;
}
