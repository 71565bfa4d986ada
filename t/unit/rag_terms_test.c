/* links: sidecar/rag/terms.c sidecar/rag/array.c sidecar/llm/extractive.c
 *        sidecar/base/buf.c */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "llm/provider.h"
#include "rag/array.h"
#include "rag/terms.h"


static void
split(const char *text, const char *ids, const char *rest)
{
    tf_buf_t  i = TF_BUF_INIT, r = TF_BUF_INIT;

    tf_terms_split(text, strlen(text), &i, &r, NULL);
    assert_string_equal(i.len ? i.data : "", ids);
    assert_string_equal(r.len ? r.data : "", rest);
    tf_buf_free(&i);
    tf_buf_free(&r);
}


static void
test_split(void **state)
{
    (void) state;

    split("", "", "");
    split("plain words, only.", "", "plain words, only.");
    split("the Proxy_Read_Timeout; is", "proxy_read_timeout ",
          "the Proxy Read Timeout ; is");
    split("$http_host --with-debug nginx.conf.",
          "http_host with-debug nginx.conf ",
          "$http host  --with debug  nginx conf .");
    split("/etc/nginx/", "etc/nginx ", "/etc nginx /");
    split("a__b", "a__b ", "a b ");
    split("_x_ -y- .", "", "_x_ -y- .");
    split("gr\xc3\xbc" "n-blau x-y", "x-y ", "gr\xc3\xbc" "n-blau x y ");
    split("\xe2\x80\x9c" "a_b\xe2\x80\x9d", "a_b ",
          "\xe2\x80\x9c" "a b \xe2\x80\x9d");
    split("[`proxy_pass`](https://nginx.org/en/x.html#y) it", "proxy_pass ",
          "[`proxy pass `  it");
    split("[open](unclosed", "", "[open](unclosed");
    split("{{< ref \"a-b.md\" >}}see {#my-anchor}", "", " see  ");
}


static void
test_long(void **state)
{
    char      id[TF_TERM_MAX + 2];
    tf_buf_t  i = TF_BUF_INIT, r = TF_BUF_INIT, p = TF_BUF_INIT;

    (void) state;

    memset(id, 'a', sizeof(id) - 1);
    id[3] = '_';
    id[TF_TERM_MAX + 1] = '\0';

    /* too long to be kept whole: its parts only */

    tf_terms_split(id, TF_TERM_MAX + 1, &i, &r, &p);
    assert_int_equal(i.len, 0);
    assert_int_equal(p.len, 0);
    assert_int_equal(r.len, TF_TERM_MAX + 2);

    tf_terms_split(id, TF_TERM_MAX, &i, &r, &p);
    assert_int_equal(i.len, TF_TERM_MAX + 1);
    assert_int_equal(p.data[p.len - 1], '\n');

    tf_buf_free(&i);
    tf_buf_free(&r);
    tf_buf_free(&p);
}


static void
test_parts(void **state)
{
    tf_buf_t     i = TF_BUF_INIT, r = TF_BUF_INIT, p = TF_BUF_INIT;
    const char  *s = "What is a_b or c.d?";

    (void) state;

    tf_terms_split(s, strlen(s), &i, &r, &p);
    assert_string_equal(i.data, "a_b c.d ");
    assert_string_equal(r.data, "What is   or  ?");
    assert_string_equal(p.data, "a b \nc d \n");
    tf_buf_free(&i);
    tf_buf_free(&r);
    tf_buf_free(&p);

    assert_true(tf_terms_is_name("a_b", 3));
    assert_false(tf_terms_is_name("a-b", 3));
}


static void
test_array(void **state)
{
    tf_buf_t  b = TF_BUF_INIT;

    (void) state;

    tf_array_close(&b);
    assert_string_equal(b.data, "{}");
    tf_buf_reset(&b);

    tf_array_text(&b, "a\"b\\c,{}", 8);
    tf_array_text(&b, "", 0);
    tf_array_text(&b, "NULL", 4);
    tf_array_close(&b);
    assert_string_equal(b.data, "{\"a\\\"b\\\\c,{}\",\"\",\"NULL\"}");
    tf_buf_reset(&b);

    tf_array_add(&b, "{1,2}");
    tf_array_add(&b, "{}");
    tf_array_int(&b, -3);
    tf_array_close(&b);
    assert_string_equal(b.data, "{1,2,-3}");
    tf_buf_free(&b);
}


static const tf_llm_passage_t  passages[] = {
    { 1, "d1", "a.md", "Title A", "", "It is red. Same words.", 100, 9.0 },
    { 2, "d1", "a.md", "Title A", "", "Same words. More.", 111, 8.0 },
    { 3, "d2", "b.md", "Title B", "", "Same words. Weak one.", 0, 7.0 },
};

static const tf_llm_quote_t  quotes[] = {
    { 0, 0, 10, 1.0 },      /* It is red. */
    { 0, 11, 22, 0.9 },     /* Same words. */
    { 1, 0, 11, 0.9 },      /* the same bytes, in the overlap */
    { 2, 0, 11, 0.8 },      /* the same words elsewhere */
    { 2, 12, 21, 0.2 },     /* too weak */
};


static void
test_extractive(void **state)
{
    atomic_int        cancel = 0;
    tf_llm_reply_t    reply;
    tf_llm_request_t  request;

    (void) state;

    memset(&request, 0, sizeof(request));
    memset(&reply, 0, sizeof(reply));
    request.question = "q";
    request.passages = passages;
    request.npassages = 3;
    request.quotes = quotes;
    request.nquotes = 5;
    request.sure = 0.6;
    request.threshold = 0.5;
    request.attempt = 1;
    request.cancel = &cancel;

    assert_int_equal(tf_llm_extractive(NULL, &request, &reply), TF_LLM_OK);
    assert_int_equal(reply.ncitations, 2);
    assert_string_equal(reply.body.data, "Quoted from your documents (no "
                        "language model configured)\n\nIt is red. [1]\n\n"
                        "Same words. [2]\n");
    tf_buf_reset(&reply.body);
    reply.ncitations = 0;

    request.sure = 0.4;
    assert_int_equal(tf_llm_extractive(NULL, &request, &reply), TF_LLM_OK);
    assert_int_equal(reply.ncitations, 0);
    assert_non_null(strstr(reply.body.data, "did not find"));
    assert_non_null(strstr(reply.body.data, "Title A; Title B."));
    tf_buf_reset(&reply.body);

    request.sure = 1;
    request.unknown = "no_such";
    assert_int_equal(tf_llm_extractive(NULL, &request, &reply), TF_LLM_OK);
    assert_int_equal(reply.ncitations, 0);
    assert_non_null(strstr(reply.body.data, "\"no_such\""));
    tf_buf_reset(&reply.body);

    request.unknown = NULL;
    request.nquotes = 0;
    request.npassages = 0;
    assert_int_equal(tf_llm_extractive(NULL, &request, &reply), TF_LLM_OK);
    assert_int_equal(reply.ncitations, 0);
    assert_non_null(strstr(reply.body.data, "did not find"));
    tf_buf_free(&reply.body);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_extractive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
