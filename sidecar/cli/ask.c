#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include <trifecta/job.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "net/http.h"


/*
 * Asks a question as any client would: POST through nginx, then GET with a
 * wait, again and again.  An answer that did not wait (its worker has too
 * many waiters, or leaves) says with Retry-After when to come back.  While it
 * is under way a terminal sees where it stands.
 *
 * The POST itself does not wait: once there is an id, nothing is lost when a
 * connection breaks.
 */

#define TF_ASK_PATH      "/api/v1/query"
#define TF_ASK_CALL_MS   10000
#define TF_ASK_LEAST_MS  1000           /* what a call gets in any case */
#define TF_ASK_WAIT_S    10             /* what a server may wait */
#define TF_ASK_TIMEOUT   3              /* exit code: no answer in time */

static const tf_cli_option_t  tf_ask_options[] = {
    { "model", 'm', "NAME", "which model answers (see \"trifecta models\")" },
    { "collection", 'c', "NAME", "look only there; any number of times up "
      "to 16" },
    { "filter", 'f', "TEST", "only documents with this metadata, such as "
      "author=Ada, year>=2020 or date<2026-01-01; all filters must pass" },
    { "conversation", 's', "ID", "go on with this conversation; \"new\" begins "
      "one and says its ID" },
    { "timeout", 't', "TIME", "how long to wait for the answer (default 60s)" },
    { "json", 'j', NULL, "print the answer as nginx sent it" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_ask_usage = {
    "ask", "\"QUESTION\"",
    "Sends the question through nginx (keys url, ca, token), waits for the\n"
    "answer and prints it with its sources. The token is best put into the\n"
    "environment as TRIFECTA_TOKEN (\"trifecta token\" makes one).\n",
    tf_ask_options,
    "  0  answered\n"
    "  1  refused or failed: it says why and what to do\n"
    "  2  wrong use\n"
    "  3  no answer in time; the job goes on, its URL is printed\n",
    "  trifecta ask \"How do I rotate the key of job ids?\"\n"
    "  trifecta ask --collection handbook --filter 'year>=2020' \"...\"\n"
    "  trifecta ask --conversation new \"What is a lease?\"\n"
    "  trifecta ask --json \"What is a lease?\" | jq .citations\n"
};

typedef struct {
    const tf_cli_t   *cli;
    const tf_conf_t  *conf;
    const char       *question;
    const char       *model;
    json_t           *scope;        /* the body's members that say where */
    const char       *conversation; /* or NULL */
    int               json;
    int64_t           timeout;
    int64_t           begun;
    int               progress;     /* stderr is a terminal */
    tf_http_t         http;
    tf_buf_t          url;          /* of the job */
    char              shown[24];    /* where it stands */
    unsigned          turn;
} tf_ask_t;


static void
tf_ask_progress(tf_ask_t *ask, const char *state)
{
    if (ask->progress) {
        (void) fprintf(stderr, "\r\033[K%c %s, %.1f s",
                       "|/-\\"[ask->turn++ % 4], state,
                       (double) (tf_clock_ms() - ask->begun) / 1000);
    }
}


static void
tf_ask_tick(void *arg)
{
    tf_ask_t  *ask;

    ask = arg;
    tf_ask_progress(ask, ask->shown);
}


static void
tf_ask_progress_end(const tf_ask_t *ask)
{
    if (ask->progress) {
        (void) fputs("\r\033[K", stderr);
    }
}


/* An answer that never came. */

static int
tf_ask_unreached(tf_ask_t *ask, tf_http_result_t rc)
{
    const char  *next;

    switch (rc) {

    case TF_HTTP_CONNECT:
        next = "Is nginx running, and is the key \"url\" right?";
        break;

    case TF_HTTP_TLS:
        next = "The key \"ca\" must name the file with the CA that signed "
               "nginx's certificate, and\n\"url\" a host that the certificate "
               "names.";
        break;

    case TF_HTTP_TIMEOUT:
        next = "nginx did not answer in time; \"trifecta doctor\" looks at "
               "everything behind it.";
        break;

    case TF_HTTP_URL:
        next = "Correct the key \"url\".";
        break;

    default:
        next = "\"trifecta doctor\" looks at everything that is needed.";
        break;
    }

    tf_ask_progress_end(ask);
    (void) tf_cli_error(ask->cli, "%s: %s", ask->conf->url, ask->http.err);
    (void) fprintf(stderr, "%s\n", next);

    return TF_CLI_FAILED;
}


static int
tf_ask_refused(tf_ask_t *ask)
{
    tf_ask_progress_end(ask);

    return tf_ask_print_refusal(ask->http.status, ask->http.body.data,
                                ask->http.body.len);
}


/* url + path; the path comes from the server, so it must be one. */

static int
tf_ask_url(tf_ask_t *ask, const char *path)
{
    size_t  len;

    if (path[0] != '/' || path[1] == '/') {
        return -1;
    }

    len = strlen(ask->conf->url);
    while (len > 0 && ask->conf->url[len - 1] == '/') {
        len--;
    }

    tf_buf_reset(&ask->url);
    tf_buf_append(&ask->url, ask->conf->url, len);
    tf_buf_puts(&ask->url, path);

    return ask->url.failed ? -1 : 0;
}


/* What a call may take: no more than is left of the whole. */

static long
tf_ask_left(const tf_ask_t *ask)
{
    int64_t  left, most;

    left = ask->begun + ask->timeout - tf_clock_ms();
    most = TF_ASK_CALL_MS + ask->http.wait * 1000;

    return left < TF_ASK_LEAST_MS ? TF_ASK_LEAST_MS
           : left > most ? (long) most : (long) left;
}


/* How long the server may wait, in s, so that its answer comes in time. */

static int
tf_ask_may_wait(const tf_ask_t *ask)
{
    int64_t  left;

    left = (ask->begun + ask->timeout - tf_clock_ms()) / 1000 - 1;

    return left < 0 ? 0 : left > TF_ASK_WAIT_S ? TF_ASK_WAIT_S : (int) left;
}


static char *
tf_ask_body(const tf_ask_t *ask)
{
    char    *text;
    json_t  *root;

    root = json_pack("{s:s}", "query", ask->question);

    if (root != NULL && json_object_update(root, ask->scope) != 0) {
        json_decref(root);
        return NULL;
    }

    if (root != NULL
        && ((ask->model != NULL
             && json_object_set_new(root, "model", json_string(ask->model))
                != 0)
            || (ask->conversation != NULL
                && json_object_set_new(root, "conversation_id",
                                       json_string(ask->conversation))
                   != 0)))
    {
        json_decref(root);
        return NULL;
    }

    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);

    return text;
}


/* 0: ask->url is the job's; else the exit code. */

static int
tf_ask_submit(tf_ask_t *ask)
{
    int                rc;
    char              *body;
    json_t            *root;
    const char        *self;
    tf_http_result_t   result;

    if (tf_ask_url(ask, TF_ASK_PATH) != 0) {
        return tf_cli_error(ask->cli, "out of memory");
    }

    body = tf_ask_body(ask);
    if (body == NULL) {
        return tf_cli_error(ask->cli, "the question, the model or the "
                            "conversation is not UTF-8");
    }

    tf_ask_tick(ask);
    result = tf_http_call(&ask->http, ask->url.data, body, tf_ask_left(ask));
    free(body);

    if (result != TF_HTTP_OK) {
        return tf_ask_unreached(ask, result);
    }

    if (ask->http.status == 504 && ask->http.location.len
        && tf_ask_url(ask, ask->http.location.data) == 0)
    {
        return TF_CLI_OK;           /* perhaps: the poll will tell */
    }

    if (ask->http.status != 202) {
        return tf_ask_refused(ask);
    }

    root = json_loadb(ask->http.body.data, ask->http.body.len,
                      JSON_REJECT_DUPLICATES, NULL);

    if (json_unpack(root, "{s:{s:s}}", "links", "self", &self) == 0
        && tf_ask_url(ask, self) == 0)
    {
        rc = TF_CLI_OK;

    } else {
        tf_ask_progress_end(ask);
        rc = tf_cli_error(ask->cli, "the answer of %s is not Trifecta's",
                          ask->conf->url);
    }

    json_decref(root);

    return rc;
}


/* The job has ended. */

static int
tf_ask_ended(tf_ask_t *ask, json_t *root)
{
    int  status;

    tf_ask_progress_end(ask);

    if (!ask->json) {
        status = tf_ask_print_answer(root);

        if (ask->conversation != NULL
            && strcmp(ask->conversation, "new") == 0)
        {
            tf_ask_print_conversation(root);
        }

        return status;
    }

    status = tf_ask_print_failure(root);
    (void) printf("%s\n", ask->http.body.data);

    return status;
}


/* Waits as long as the last answer said, showing that time goes by. */

static void
tf_ask_wait(tf_ask_t *ask)
{
    int64_t          until, deadline;
    struct timespec  ts;

    deadline = ask->begun + ask->timeout;
    until = tf_clock_ms()
            + (ask->http.retry_after < 1 ? 1 : ask->http.retry_after) * 1000;
    if (until > deadline) {
        until = deadline;
    }

    ts.tv_sec = 0;
    ts.tv_nsec = 100 * 1000000L;

    while (tf_clock_ms() < until) {
        tf_ask_tick(ask);
        (void) nanosleep(&ts, NULL);
    }
}


static int
tf_ask_poll(tf_ask_t *ask)
{
    int                rc;
    json_t            *root;
    int64_t            deadline, sent;
    const char        *state;
    tf_http_result_t   result;

    deadline = ask->begun + ask->timeout;
    (void) snprintf(ask->shown, sizeof(ask->shown), "queued");

    if (ask->http.status != 202) {
        tf_ask_wait(ask);       /* perhaps it is still on its way */
    }

    while (tf_clock_ms() < deadline) {
        sent = tf_clock_ms();
        ask->http.wait = tf_ask_may_wait(ask);

        result = tf_http_call(&ask->http, ask->url.data, NULL,
                              tf_ask_left(ask));

        if (result == TF_HTTP_OK && ask->http.status == 200) {
            root = json_loadb(ask->http.body.data, ask->http.body.len,
                              JSON_REJECT_DUPLICATES, NULL);
            state = json_string_value(json_object_get(root, "status"));

            if (state == NULL) {
                json_decref(root);
                tf_ask_progress_end(ask);
                return tf_cli_error(ask->cli, "the answer of %s is not "
                                    "Trifecta's", ask->conf->url);
            }

            if (strcmp(state, "queued") != 0
                && strcmp(state, "running") != 0)
            {
                rc = tf_ask_ended(ask, root);
                json_decref(root);
                return rc;
            }

            (void) snprintf(ask->shown, sizeof(ask->shown), "%s", state);
            json_decref(root);

            /* whoever says that he waits, and does not, is not believed */

            if (!ask->http.waited
                || tf_clock_ms() - sent < ask->http.wait * 500)
            {
                tf_ask_wait(ask);
            }

            continue;
        }

        /* a store or nginx that is away for a moment comes back */

        if (result == TF_HTTP_TLS || result == TF_HTTP_URL
            || (result == TF_HTTP_OK && ask->http.status < 500))
        {
            return result == TF_HTTP_OK ? tf_ask_refused(ask)
                                        : tf_ask_unreached(ask, result);
        }

        (void) snprintf(ask->shown, sizeof(ask->shown),
                        "no answer, trying again");
        tf_ask_wait(ask);
    }

    tf_ask_progress_end(ask);
    (void) tf_cli_error(ask->cli, "no answer within %lld s; the job goes on "
                        "and is here:\n%s", (long long) ask->timeout / 1000,
                        ask->url.data);

    return TF_ASK_TIMEOUT;
}


static int
tf_ask_run(tf_ask_t *ask)
{
    int  status;

    if (ask->conf->token[0] == '\0') {
        return tf_cli_error(ask->cli, "no token: set TRIFECTA_TOKEN "
                            "(TRIFECTA_TOKEN=$(trifecta token --sub NAME))");
    }

    if (ask->conf->token[strcspn(ask->conf->token, "\r\n")] != '\0') {
        return tf_cli_error(ask->cli, "the token has a line break in it");
    }

    ask->begun = tf_clock_ms();
    (void) snprintf(ask->shown, sizeof(ask->shown), "sending");

    if (tf_http_init(&ask->http, ask->conf->ca, ask->conf->token) != 0) {
        return tf_cli_error(ask->cli, "%s", ask->http.err);
    }

    ask->http.tick = tf_ask_tick;
    ask->http.tick_arg = ask;

    status = tf_ask_submit(ask);
    if (status == TF_CLI_OK) {
        status = tf_ask_poll(ask);
    }

    tf_http_free(&ask->http);
    tf_buf_free(&ask->url);

    return status;
}


int
tf_cli_ask(int argc, char **argv)
{
    int        c, status;
    char       err[256];
    tf_ask_t   ask;
    tf_cli_t   cli;
    tf_conf_t  conf;

    memset(&ask, 0, sizeof(tf_ask_t));
    ask.timeout = 60000;
    ask.scope = json_object();

    tf_cli_begin(&cli, &tf_ask_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 'm':
            ask.model = cli.value;
            break;

        case 'c':
            if (tf_ask_collection(ask.scope, cli.value) != 0) {
                status = tf_cli_misuse(&cli, "--collection: not UTF-8");
                goto done;
            }
            break;

        case 'f':
            if (tf_ask_filter(ask.scope, cli.value, err, sizeof(err)) != 0) {
                status = tf_cli_misuse(&cli, "--filter: %s", err);
                goto done;
            }
            break;

        case 's':
            ask.conversation = cli.value;
            break;

        case 't':
            ask.timeout = tf_key_parse_ms(cli.value);
            if (ask.timeout < 1) {
                status = tf_cli_misuse(&cli, "--timeout %s: a time such as "
                                       "60s is expected", cli.value);
                goto done;
            }
            break;

        case 'j':
            ask.json = 1;
            break;
        }
    }

    if (c < 0) {
        status = cli.status;
        goto done;
    }

    if (cli.argc != 1 || cli.argv[0][0] == '\0') {
        status = tf_cli_misuse(&cli, cli.argc > 1
                               ? "one question is expected: put it in quotes"
                               : "a question is expected");
        goto done;
    }

    if (tf_cli_conf(&cli, &conf) != 0) {
        status = cli.status;
        goto done;
    }

    ask.cli = &cli;
    ask.conf = &conf;
    ask.question = cli.argv[0];
    ask.progress = isatty(STDERR_FILENO);

    status = tf_ask_run(&ask);

    if (fflush(stdout) != 0 && status == TF_CLI_OK) {
        status = TF_CLI_FAILED;
    }

    tf_conf_free(&conf);

done:

    json_decref(ask.scope);

    return status;
}
