/* links: sidecar/llm/test.c sidecar/llm/provider.c sidecar/llm/chat.c
   sidecar/llm/call.c sidecar/llm/breaker.c sidecar/llm/limits.c
   sidecar/llm/extractive.c sidecar/llm/echo.c sidecar/llm/prompt.c
   sidecar/llm/options.c
   sidecar/llm/wire.c sidecar/llm/numbers.c sidecar/llm/openai.c
   sidecar/llm/ollama.c sidecar/llm/after.c sidecar/net/sse.c
   sidecar/net/stream.c sidecar/net/stream_call.c
   sidecar/net/stream_pool.c sidecar/net/header.c sidecar/base/buf.c
   sidecar/base/log.c sidecar/base/thread.c sidecar/base/fault.c */

/*
 * A model that answers piece by piece, as tests see it: what its sink is
 * given is what the reply has.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "llm/provider.h"


typedef struct {
    tf_buf_t   pieces;          /* each with a "|" behind it */
    int        full;            /* after so many it takes no more */
    int        n;
} taken_t;


static int
take(void *arg, const char *data, size_t len)
{
    taken_t  *taken = arg;

    if (taken->full && taken->n == taken->full) {
        return -1;
    }

    taken->n++;
    tf_buf_append(&taken->pieces, data, len);
    tf_buf_puts(&taken->pieces, "|");

    return 0;
}


static int
begin_anew(void *arg)
{
    taken_t  *taken = arg;

    tf_buf_puts(&taken->pieces, "(void)");

    return 0;
}


static void
see(void *arg)
{
    taken_t  *taken = arg;

    tf_buf_puts(&taken->pieces, "(seen)");
}


static tf_llm_status_t
ask(const tf_llm_model_t *model, const char *question, unsigned attempt,
    taken_t *taken, tf_llm_reply_t *reply)
{
    atomic_int         cancel;
    tf_llm_sink_t      sink;
    tf_llm_request_t   request;

    atomic_init(&cancel, 0);

    sink.text = take;
    sink.reset = begin_anew;
    sink.flush = see;
    sink.arg = taken;

    memset(&request, 0, sizeof(request));
    request.question = question;
    request.attempt = attempt;
    request.cancel = &cancel;
    request.sink = &sink;

    memset(reply, 0, sizeof(tf_llm_reply_t));
    tf_buf_puts(&taken->pieces, "");

    return tf_llm_answer(model, &request, reply);
}


static void
becomes(const char *question, const char *pieces, const char *body)
{
    taken_t            taken;
    tf_llm_model_t     model;
    tf_llm_reply_t     reply;

    memset(&taken, 0, sizeof(taken));
    memset(&model, 0, sizeof(model));
    model.by = tf_llm_provider("test");

    assert_int_equal(ask(&model, question, 1, &taken, &reply), TF_LLM_OK);
    assert_string_equal(taken.pieces.data, pieces);
    assert_string_equal(reply.body.data, body);
    assert_int_equal(reply.generated, *pieces != '\0');

    tf_buf_free(&taken.pieces);
    tf_llm_reply_free(&reply);
}


static void
a_stream_is_given_in_its_pieces(void **state)
{
    (void) state;

    becomes("stream=a|bc|def", "a|bc|def|", "abcdef");
    becomes("every=1 stream=one", "one|", "one");
}


static void
what_was_given_is_seen_before_a_wait(void **state)
{
    (void) state;

    becomes("every=1 stream=a|b|c", "a|(seen)b|(seen)c|", "abc");
    becomes("sleep=1 stream=a|b", "(seen)a|b|", "ab");
}


static void
what_is_void_is_given_again(void **state)
{
    (void) state;

    becomes("void=2 stream=a|b|c", "a|b|(void)a|b|c|", "abc");
}


static void
an_answer_can_be_cut_into_pieces(void **state)
{
    char               body[64];
    size_t             i, n;
    taken_t            taken;
    tf_llm_model_t     model;
    tf_llm_reply_t     reply;

    (void) state;

    memset(&taken, 0, sizeof(taken));
    memset(&model, 0, sizeof(model));
    model.by = tf_llm_provider("test");

    assert_int_equal(ask(&model, "pieces=5 say=hello", 3, &taken, &reply),
                     TF_LLM_OK);
    assert_int_equal(taken.n, 5);
    assert_non_null(strstr(reply.body.data, " attempt=3 hello"));

    for (i = 0, n = 0; i < taken.pieces.len && n < sizeof(body) - 1; i++) {
        if (taken.pieces.data[i] != '|') {
            body[n++] = taken.pieces.data[i];
        }
    }

    body[n] = '\0';
    assert_string_equal(body, reply.body.data);

    tf_buf_free(&taken.pieces);
    tf_llm_reply_free(&reply);
}


static void
it_fails_after_the_pieces_that_it_was_told(void **state)
{
    taken_t            taken;
    tf_llm_model_t     model;
    tf_llm_reply_t     reply;

    (void) state;

    memset(&taken, 0, sizeof(taken));
    memset(&model, 0, sizeof(model));
    model.by = tf_llm_provider("test");

    assert_int_equal(ask(&model, "flaky=1 at=2 stream=a|b|c", 1, &taken,
                         &reply), TF_LLM_FAILED);
    assert_string_equal(taken.pieces.data, "a|b|");
    assert_int_equal(reply.retryable, 1);
    tf_llm_reply_free(&reply);

    tf_buf_reset(&taken.pieces);
    assert_int_equal(ask(&model, "flaky=1 at=2 stream=a|b|c", 2, &taken,
                         &reply), TF_LLM_OK);
    assert_string_equal(taken.pieces.data, "a|b|c|");

    tf_buf_free(&taken.pieces);
    tf_llm_reply_free(&reply);
}


static void
a_fallback_makes_the_pieces_before_it_void(void **state)
{
    taken_t            taken;
    tf_llm_model_t     first, second;
    tf_llm_reply_t     reply;

    (void) state;

    memset(&taken, 0, sizeof(taken));
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    first.name = (char *) "first";
    first.by = tf_llm_provider("test");
    first.next = &second;
    second.name = (char *) "second";
    second.by = tf_llm_provider("extractive");

    assert_int_equal(ask(&first, "fail=1 at=2 stream=a|b|c", 1, &taken,
                         &reply), TF_LLM_OK);
    assert_string_equal(taken.pieces.data, "a|b|(void)");
    assert_ptr_equal(reply.model, &second);
    assert_int_equal(reply.generated, 0);

    tf_buf_free(&taken.pieces);
    tf_llm_reply_free(&reply);
}


static void
a_sink_that_takes_no_more_ends_the_answer(void **state)
{
    taken_t            taken;
    tf_llm_model_t     model;
    tf_llm_reply_t     reply;

    (void) state;

    memset(&taken, 0, sizeof(taken));
    memset(&model, 0, sizeof(model));
    model.by = tf_llm_provider("test");
    taken.full = 2;

    assert_int_equal(ask(&model, "stream=a|b|c", 1, &taken, &reply),
                     TF_LLM_FAILED);
    assert_string_equal(taken.pieces.data, "a|b|");
    assert_string_equal(reply.code, "internal_error");

    tf_buf_free(&taken.pieces);
    tf_llm_reply_free(&reply);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_stream_is_given_in_its_pieces),
        cmocka_unit_test(what_was_given_is_seen_before_a_wait),
        cmocka_unit_test(what_is_void_is_given_again),
        cmocka_unit_test(an_answer_can_be_cut_into_pieces),
        cmocka_unit_test(it_fails_after_the_pieces_that_it_was_told),
        cmocka_unit_test(a_fallback_makes_the_pieces_before_it_void),
        cmocka_unit_test(a_sink_that_takes_no_more_ends_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
