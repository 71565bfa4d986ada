/* links: sidecar/llm/wire.c sidecar/llm/numbers.c sidecar/llm/options.c
   sidecar/llm/openai.c sidecar/llm/after.c sidecar/llm/ollama.c
   sidecar/llm/prompt.c sidecar/llm/breaker.c sidecar/net/sse.c
   sidecar/base/buf.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "llm/breaker.h"
#include "llm/prompt.h"
#include "llm/wire.h"


static int
feed(const tf_llm_wire_t *wire, tf_llm_reading_t *reading, const char *data)
{
    return wire->read(reading, data, strlen(data));
}


static void
chunks_of_openai_are_gathered(void **state)
{
    tf_llm_reading_t      r;
    const tf_llm_wire_t  *w = &tf_llm_wire_openai;

    (void) state;

    memset(&r, 0, sizeof(r));
    assert_int_equal(feed(w, &r, "{\"choices\":[{\"delta\":{\"role\":"
                          "\"assistant\",\"content\":\"\"}}]}"), 0);
    assert_int_equal(feed(w, &r, "{\"choices\":[{\"delta\":{\"content\":"
                          "\"h\\u00e9\"},\"finish_reason\":null}]}"), 0);
    assert_int_equal(feed(w, &r, "{\"new_member\":[1],\"choices\":[{\"delta\":"
                          "{\"content\":\"llo\",\"reasoning\":{}},"
                          "\"finish_reason\":\"stop\"}]}"), 0);
    assert_int_equal(feed(w, &r, "{\"choices\":[],\"usage\":{\"prompt_tokens\""
                          ":7,\"completion_tokens\":3,\"total_tokens\":10}}"),
                     0);
    assert_int_equal(feed(w, &r, "[DONE]"), 0);
    assert_int_equal(feed(w, &r, "[DONE]"), 0);

    assert_string_equal(r.text.data, "h\xc3\xa9llo");
    assert_string_equal(r.finish, "stop");
    assert_int_equal(r.ended, 1);
    assert_int_equal(r.input_tokens, 7);
    assert_int_equal(r.output_tokens, 3);
    tf_llm_reading_free(&r);
}


static void
calls_of_tools_come_in_pieces(void **state)
{
    tf_llm_reading_t      r;
    const tf_llm_wire_t  *w = &tf_llm_wire_openai;

    (void) state;

    memset(&r, 0, sizeof(r));
    assert_int_equal(feed(w, &r, "{\"choices\":[{\"delta\":{\"tool_calls\":[{"
                          "\"index\":0,\"id\":\"c1\",\"function\":{\"name\":"
                          "\"look\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}"), 0);
    assert_int_equal(feed(w, &r, "{\"choices\":[{\"delta\":{\"tool_calls\":[{"
                          "\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}"
                          ",\"finish_reason\":\"tool_calls\"}]}"), 0);
    assert_int_equal(json_array_size(r.tools), 1);
    assert_string_equal(json_string_value(json_object_get(
        json_array_get(r.tools, 0), "arguments")), "{\"a\":1}");
    assert_string_equal(json_string_value(json_object_get(
        json_array_get(r.tools, 0), "name")), "look");
    tf_llm_reading_free(&r);

    /* Ollama's are objects, whole */

    memset(&r, 0, sizeof(r));
    assert_int_equal(feed(&tf_llm_wire_ollama, &r, "{\"message\":{\"content\":"
                          "\"\",\"tool_calls\":[{\"function\":{\"name\":"
                          "\"look\",\"arguments\":{\"a\":1}}}]},\"done\":"
                          "true,\"done_reason\":\"stop\"}"), 0);
    assert_string_equal(json_string_value(json_object_get(
        json_array_get(r.tools, 0), "arguments")), "{\"a\":1}");
    tf_llm_reading_free(&r);

    /* an index out of the row is a broken answer */

    memset(&r, 0, sizeof(r));
    assert_int_not_equal(feed(w, &r, "{\"choices\":[{\"delta\":{\"tool_calls\""
                              ":[{\"index\":900000000,\"function\":{}}]}}]}"),
                         0);
    assert_int_equal(r.broken, 1);
    tf_llm_reading_free(&r);
}


static void
lines_of_ollama_are_gathered(void **state)
{
    tf_llm_reading_t      r;
    const tf_llm_wire_t  *w = &tf_llm_wire_ollama;

    (void) state;

    memset(&r, 0, sizeof(r));
    assert_int_equal(feed(w, &r, "{\"message\":{\"content\":\"a\"},\"done\":"
                          "false}"), 0);
    assert_int_equal(r.ended, 0);
    assert_int_equal(feed(w, &r, "{\"message\":{\"content\":\"b\"},\"done\":"
                          "true,\"done_reason\":\"stop\",\"prompt_eval_count\""
                          ":5,\"eval_count\":2}"), 0);
    assert_string_equal(r.text.data, "ab");
    assert_int_equal(r.ended, 1);
    assert_int_equal(r.input_tokens, 5);
    assert_int_equal(r.output_tokens, 2);
    tf_llm_reading_free(&r);

    memset(&r, 0, sizeof(r));
    assert_int_not_equal(feed(w, &r, "{\"error\":\"out of\\nmemory\"}"), 0);
    assert_int_equal(r.failed, 1);
    assert_string_equal(r.message, "out of memory");
    tf_llm_reading_free(&r);
}


static void
what_is_no_answer_is_broken(void **state)
{
    size_t            i, k;
    tf_llm_reading_t  r;

    static const char *const  bad[] = {
        "", "x", "[]", "\"text\"", "1", "{",
        "{\"choices\":[{\"delta\":{\"content\":5}}]}x", "\xff\xfe",
        "{\"a\":\"\xc3\"}", "{\"a\":\"\\ud800\"}"
    };
    static const tf_llm_wire_t *const  wires[] = {
        &tf_llm_wire_openai, &tf_llm_wire_ollama
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (k = 0; k < 2; k++) {
            memset(&r, 0, sizeof(r));
            assert_int_not_equal(feed(wires[k], &r, bad[i]), 0);
            assert_int_equal(r.broken, 1);
            tf_llm_reading_free(&r);
        }
    }

    memset(&r, 0, sizeof(r));
    assert_int_not_equal(feed(&tf_llm_wire_openai, &r, "{\"choices\":[{"
                              "\"delta\":{\"content\":5}}]}"), 0);
    tf_llm_reading_free(&r);
}


static void
an_error_object_is_a_failure_with_its_code(void **state)
{
    tf_llm_reading_t  r;

    (void) state;

    memset(&r, 0, sizeof(r));
    assert_int_not_equal(feed(&tf_llm_wire_openai, &r, "{\"error\":{"
                              "\"message\":\"no\\u001b[31mquota\",\"type\":"
                              "\"t\",\"code\":\"insufficient_quota\"}}"), 0);
    assert_int_equal(r.failed, 1);
    assert_string_equal(r.code, "insufficient_quota");
    assert_string_equal(r.message, "no [31mquota");
    tf_llm_reading_free(&r);

    memset(&r, 0, sizeof(r));
    assert_int_equal(feed(&tf_llm_wire_openai, &r, "{\"error\":null,"
                          "\"choices\":[]}"), 0);
    tf_llm_reading_free(&r);
}


static void
an_endless_answer_is_given_up(void **state)
{
    int               rc;
    char             *chunk;
    size_t            i;
    tf_llm_reading_t  r;

    (void) state;

    chunk = malloc(70000);
    (void) strcpy(chunk, "{\"choices\":[{\"delta\":{\"content\":\"");
    i = strlen(chunk);
    memset(chunk + i, 'x', 65536);
    (void) strcpy(chunk + i + 65536, "\"}}]}");

    memset(&r, 0, sizeof(r));
    rc = 0;

    for (i = 0; rc == 0 && i < 1000; i++) {
        rc = feed(&tf_llm_wire_openai, &r, chunk);
    }

    assert_int_equal(r.broken, 1);
    assert_true(r.text.len <= TF_LLM_TEXT_MAX);
    tf_llm_reading_free(&r);
    free(chunk);
}


/* the prompt */

static void
fill(tf_llm_passage_t *p, size_t n, const char *body)
{
    size_t  i;

    memset(p, 0, n * sizeof(tf_llm_passage_t));

    for (i = 0; i < n; i++) {
        p[i].title = "Title";
        p[i].heading = "Heading";
        p[i].body = body;
    }
}


static char *
user_text(json_t *messages)
{
    return strdup(json_string_value(json_object_get(
                      json_array_get(messages, 1), "content")));
}


static void
passages_are_numbered_between_lines_that_no_document_can_know(void **state)
{
    int                too_long;
    char              *one, *two, *p;
    size_t             n;
    json_t            *messages;
    tf_llm_model_t     model;
    tf_llm_passage_t   passages[2];
    tf_llm_request_t   request;

    (void) state;

    memset(&model, 0, sizeof(model));
    model.context = 8192;
    model.max_output = 1024;
    fill(passages, 2, "some text");
    memset(&request, 0, sizeof(request));
    request.question = "What?";
    request.passages = passages;
    request.npassages = 2;

    messages = tf_llm_prompt(&model, &request, &n, &too_long);
    assert_int_equal(n, 2);
    one = user_text(messages);
    json_decref(messages);
    messages = tf_llm_prompt(&model, &request, &n, &too_long);
    two = user_text(messages);
    json_decref(messages);

    assert_non_null(strstr(one, "[1] Title > Heading\n<<"));
    assert_non_null(strstr(one, "[2] Title > Heading\n<<"));
    assert_non_null(strstr(one, "Question: What?"));

    p = strstr(one, "<<");
    assert_memory_not_equal(p, strstr(two, "<<"), TF_PROMPT_WORD_LEN + 2);

    free(one);
    free(two);
}


static void
the_prompt_fits_the_context(void **state)
{
    int                too_long;
    char              *text, big[6000];
    size_t             n;
    json_t            *messages;
    tf_llm_model_t     model;
    tf_llm_passage_t   passages[24];
    tf_llm_request_t   request;

    (void) state;

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    memset(&model, 0, sizeof(model));
    model.context = 4096;
    model.max_output = 1024;
    fill(passages, 24, big);
    memset(&request, 0, sizeof(request));
    request.question = "What?";
    request.passages = passages;
    request.npassages = 24;

    messages = tf_llm_prompt(&model, &request, &n, &too_long);
    text = user_text(messages);
    json_decref(messages);
    assert_int_equal(n, 1);
    assert_true(strlen(text) < (4096 - 1024) * TF_PROMPT_TOKEN_BYTES);
    free(text);

    /* the best one is cut, not left out */

    model.context = 2048;
    messages = tf_llm_prompt(&model, &request, &n, &too_long);
    assert_int_equal(n, 1);
    json_decref(messages);

    request.question = big;
    model.context = 1500;
    assert_null(tf_llm_prompt(&model, &request, &n, &too_long));
    assert_int_equal(too_long, 1);
}


/* the breaker */

static void
a_server_that_fails_in_a_row_is_left_alone_for_a_while(void **state)
{
    int                i;
    int64_t            wait;
    tf_llm_breaker_t  *b;

    (void) state;

    b = tf_llm_breaker_create();

    for (i = 0; i < TF_LLM_BREAKER_FAILS - 1; i++) {
        assert_int_equal(tf_llm_breaker_ask(b, 1000), 0);
        assert_int_equal(tf_llm_breaker_fail(b, 1000), 0);
    }

    tf_llm_breaker_ok(b);

    for (i = 0; i < TF_LLM_BREAKER_FAILS; i++) {
        assert_int_equal(tf_llm_breaker_ask(b, 1000), 0);
        assert_int_equal(tf_llm_breaker_fail(b, 1000),
                         i == TF_LLM_BREAKER_FAILS - 1);
    }

    wait = tf_llm_breaker_ask(b, 1001);
    assert_true(wait > TF_LLM_BREAKER_MS / 2 && wait <= TF_LLM_BREAKER_MS);

    /* then one may try, the others wait for what it finds */

    assert_int_equal(tf_llm_breaker_ask(b, 1000 + TF_LLM_BREAKER_MS), 0);
    assert_true(tf_llm_breaker_ask(b, 1000 + TF_LLM_BREAKER_MS) > 0);
    assert_int_equal(tf_llm_breaker_fail(b, 1000 + TF_LLM_BREAKER_MS), 1);
    wait = tf_llm_breaker_ask(b, 1001 + TF_LLM_BREAKER_MS);
    assert_true(wait > TF_LLM_BREAKER_MS);

    assert_int_equal(tf_llm_breaker_ask(b, 100000), 0);
    tf_llm_breaker_void(b);
    assert_int_equal(tf_llm_breaker_ask(b, 100000), 0);
    tf_llm_breaker_ok(b);
    assert_int_equal(tf_llm_breaker_ask(b, 100001), 0);
    assert_int_equal(tf_llm_breaker_ask(b, 100001), 0);

    tf_llm_breaker_free(b);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(chunks_of_openai_are_gathered),
        cmocka_unit_test(calls_of_tools_come_in_pieces),
        cmocka_unit_test(lines_of_ollama_are_gathered),
        cmocka_unit_test(what_is_no_answer_is_broken),
        cmocka_unit_test(an_error_object_is_a_failure_with_its_code),
        cmocka_unit_test(an_endless_answer_is_given_up),
        cmocka_unit_test(
            passages_are_numbered_between_lines_that_no_document_can_know),
        cmocka_unit_test(the_prompt_fits_the_context),
        cmocka_unit_test(
            a_server_that_fails_in_a_row_is_left_alone_for_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
