#ifdef TF_TEST_PROVIDER

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "llm/provider.h"


/*
 * The provider of tests: its question is a script of words, "sleep=<ms>",
 * "fail=1", "flaky=<n>" (the first n attempts fail in a way that may pass),
 * "after=<ms>" (and ask for that time until the next), "kill=<n>" (the first n
 * attempts kill their process) and "say=<text>" (the rest of the question).
 * It answers "pid=<pid> attempt=<n> <text>".
 *
 * It also answers piece by piece, like a model that streams: with "pieces=<n>"
 * that answer comes in so many pieces; "stream=<a|b|c>" (the rest of the
 * question) is a text of its own, "abc", in just these pieces.
 *   every=<ms>   passes before each piece but the first
 *   at=<n>       fail, flaky and kill wait until n pieces were given
 *   void=<n>     after n pieces all of it is void, once, and begins anew
 *   call=<name>  and a call of that tool, {"n": 1}
 *   cut=1        and says that it had no more tokens
 * Such an answer is generated text: what of it can be seen is for flow.h to
 * say, as with any model.
 *
 * With TF_TEST_TRACE in the environment each execution is noted in that file
 * as it begins, a line "<monotonic ms> <pid> <attempt> <text>": what really
 * ran, whatever became of it.
 */

#define TF_TEST_PIECES  4096

typedef struct {
    const tf_llm_request_t  *request;
    tf_llm_reply_t          *reply;
    tf_buf_t                 text;
    size_t                   ends[TF_TEST_PIECES];  /* of the pieces */
    size_t                   n;
} tf_test_t;


static const char *
tf_test_word(const char *question, const char *name)
{
    const char  *p;

    for (p = question; (p = strstr(p, name)) != NULL; p++) {
        if (p == question || p[-1] == ' ') {
            return p + strlen(name);
        }
    }

    return NULL;
}


static long
tf_test_number(const tf_test_t *t, const char *name)
{
    const char  *word;

    word = tf_test_word(t->request->question, name);

    return word == NULL ? 0 : atol(word);
}


static void
tf_test_note(unsigned attempt, const char *say)
{
    int              fd, n;
    char             line[256];
    const char      *file;
    struct timespec  ts;

    file = getenv("TF_TEST_TRACE");

    if (file == NULL) {
        return;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    n = snprintf(line, sizeof(line), "%lld %ld %u %.128s\n",
                 (long long) ts.tv_sec * 1000 + ts.tv_nsec / 1000000,
                 (long) getpid(), attempt, say);
    fd = open(file, O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC, 0600);

    if (fd == -1 || write(fd, line, (size_t) n) != n) {
        abort();
    }

    (void) close(fd);
}


/* 0 when it was cancelled meanwhile. */

static int
tf_test_sleep(const tf_test_t *t, long ms)
{
    int64_t  until;

    if (ms > 0) {
        tf_llm_flush(t->request);
    }

    until = tf_clock_ms() + ms;

    while (tf_clock_ms() < until) {
        if (atomic_load(t->request->cancel)) {
            return 0;
        }

        (void) usleep(until - tf_clock_ms() < 10 ? 1000 : 10000);
    }

    return !atomic_load(t->request->cancel);
}


/* What is to happen after so many pieces. */

static void
tf_test_kills(const tf_test_t *t, size_t given)
{
    if (given == (size_t) tf_test_number(t, "at=")
        && (long) t->request->attempt <= tf_test_number(t, "kill="))
    {
        (void) kill(getpid(), SIGKILL);
    }
}


static tf_llm_status_t
tf_test_fails(const tf_test_t *t, size_t given)
{
    if (given != (size_t) tf_test_number(t, "at=")) {
        return TF_LLM_OK;
    }

    if (tf_test_number(t, "fail=") == 1) {
        t->reply->code = "internal_error";
        t->reply->retryable = 0;
        (void) snprintf(t->reply->message, sizeof(t->reply->message),
                        "the test provider was told to fail");
        return TF_LLM_FAILED;
    }

    if ((long) t->request->attempt <= tf_test_number(t, "flaky=")) {
        t->reply->code = "model_unavailable";
        t->reply->retryable = 1;
        t->reply->retry_after = tf_test_number(t, "after=");
        (void) snprintf(t->reply->message, sizeof(t->reply->message),
                        "the test provider is flaky");
        return TF_LLM_FAILED;
    }

    return TF_LLM_OK;
}


/* What is not text. */

static void
tf_test_more(tf_test_t *t)
{
    const char  *name;

    name = tf_test_word(t->request->question, "call=");

    if (name != NULL) {
        tf_buf_printf(&t->reply->tool_calls, "[{\"id\":\"call_test\","
                      "\"name\":\"%.*s\",\"arguments\":\"{\\\"n\\\":1}\"}]",
                      (int) strcspn(name, " "), name);
    }

    t->reply->incomplete = tf_test_number(t, "cut=") == 1;
}


/* The text, and where it is cut: nowhere, if it does not come in pieces. */

static void
tf_test_cut(tf_test_t *t, const char *say, const char *stream)
{
    size_t  i, n;

    tf_buf_puts(&t->text, "");

    if (stream != NULL) {
        for ( /* void */ ; t->n < TF_TEST_PIECES; stream += n + 1) {
            n = strcspn(stream, "|");
            tf_buf_append(&t->text, stream, n);
            t->ends[t->n++] = t->text.len;

            if (stream[n] == '\0') {
                return;
            }
        }

        return;
    }

    tf_buf_printf(&t->text, "pid=%ld attempt=%u %s", (long) getpid(),
                  t->request->attempt, say == NULL ? "" : say);

    n = (size_t) tf_test_number(t, "pieces=");

    for (i = 1; i <= n && i <= TF_TEST_PIECES; i++) {
        t->ends[t->n++] = t->text.len * i / n;
    }
}


static tf_llm_status_t
tf_test_pieces(tf_test_t *t)
{
    int               again;
    size_t            i, from;
    tf_llm_status_t   rc;

    again = tf_test_number(t, "void=") > 0;
    from = 0;

    for (i = 0; i < t->n; i++) {

        if (i > 0 && !tf_test_sleep(t, tf_test_number(t, "every="))) {
            return TF_LLM_CANCELLED;
        }

        if (tf_llm_give(t->request, t->text.data + from, t->ends[i] - from)
            != 0)
        {
            return tf_llm_not_given(t->reply);
        }

        from = t->ends[i];

        tf_test_kills(t, i + 1);

        rc = tf_test_fails(t, i + 1);
        if (rc != TF_LLM_OK) {
            return rc;
        }

        if (again && i + 1 == (size_t) tf_test_number(t, "void=")) {
            if (t->request->sink != NULL
                && t->request->sink->reset(t->request->sink->arg) != 0)
            {
                return tf_llm_not_given(t->reply);
            }

            again = 0;
            from = 0;
            i = (size_t) -1;
        }
    }

    t->reply->generated = 1;

    return TF_LLM_OK;
}


tf_llm_status_t
tf_llm_test(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    tf_test_t         t;
    const char       *say, *stream;
    tf_llm_status_t   rc;

    (void) model;

    memset(&t, 0, sizeof(t));
    t.request = request;
    t.reply = reply;

    say = tf_test_word(request->question, "say=");
    stream = tf_test_word(request->question, "stream=");
    tf_test_note(request->attempt, stream != NULL ? stream
                                   : say != NULL ? say : "");

    tf_test_kills(&t, 0);

    if (!tf_test_sleep(&t, tf_test_number(&t, "sleep="))) {
        return TF_LLM_CANCELLED;
    }

    rc = tf_test_fails(&t, 0);

    if (rc == TF_LLM_OK) {
        tf_test_cut(&t, say, stream);

        if (t.n > 0) {
            rc = tf_test_pieces(&t);
        }

        reply->body = t.text;
        tf_test_more(&t);
    }

    return rc;
}

#else

/* ISO C does not know empty files. */
typedef int  tf_llm_no_test_provider_t;

#endif
