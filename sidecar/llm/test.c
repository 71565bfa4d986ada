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
 * With TF_TEST_TRACE in the environment each execution is noted in that file
 * as it begins, a line "<monotonic ms> <pid> <attempt> <text>": what really
 * ran, whatever became of it.
 */

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


tf_llm_status_t
tf_llm_test(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    int64_t      until;
    const char  *word, *say;

    (void) model;

    say = tf_test_word(request->question, "say=");
    tf_test_note(request->attempt, say == NULL ? "" : say);

    word = tf_test_word(request->question, "kill=");

    if (word != NULL && request->attempt <= (unsigned) atoi(word)) {
        (void) kill(getpid(), SIGKILL);
    }

    word = tf_test_word(request->question, "sleep=");
    until = tf_clock_ms() + (word == NULL ? 0 : atol(word));

    while (tf_clock_ms() < until) {
        if (atomic_load(request->cancel)) {
            return TF_LLM_CANCELLED;
        }

        (void) usleep(10000);
    }

    word = tf_test_word(request->question, "fail=");

    if (word != NULL && *word == '1') {
        reply->code = "internal_error";
        reply->retryable = 0;
        (void) snprintf(reply->message, sizeof(reply->message),
                        "the test provider was told to fail");
        return TF_LLM_FAILED;
    }

    word = tf_test_word(request->question, "flaky=");

    if (word != NULL && request->attempt <= (unsigned) atoi(word)) {
        word = tf_test_word(request->question, "after=");
        reply->code = "model_unavailable";
        reply->retryable = 1;
        reply->retry_after = word == NULL ? 0 : atol(word);
        (void) snprintf(reply->message, sizeof(reply->message),
                        "the test provider is flaky");
        return TF_LLM_FAILED;
    }

    tf_buf_printf(&reply->body, "pid=%ld attempt=%u %s", (long) getpid(),
                  request->attempt, say == NULL ? "" : say);

    return TF_LLM_OK;
}

#else

/* ISO C does not know empty files. */
typedef int  tf_llm_no_test_provider_t;

#endif
