/* links: */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <trifecta/trace.h>


#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define SPAN   "b7ad6b7169203331"
#define GOOD   "00-" TRACE "-" SPAN "-01"


/* A copy without a NUL behind it, so that a sanitizer sees a step too far. */

static int
parse(tf_trace_t *trace, const char *text)
{
    int     rc;
    char   *copy;
    size_t  len;

    len = strlen(text);
    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    rc = tf_trace_parse(trace, copy, len);
    free(copy);

    return rc;
}


static void
a_header_is_read(void **state)
{
    tf_trace_t  t;

    (void) state;

    assert_int_equal(parse(&t, GOOD), 0);
    assert_string_equal(t.trace_id, TRACE);
    assert_string_equal(t.span_id, SPAN);
    assert_int_equal(t.flags, TF_TRACE_SAMPLED);

    assert_int_equal(parse(&t, "00-" TRACE "-" SPAN "-00"), 0);
    assert_int_equal(t.flags, 0);
}


static void
what_is_no_header_is_refused(void **state)
{
    size_t      i;
    tf_trace_t  t;

    static const char *const  bad[] = {
        "",
        "00",
        "ff-" TRACE "-" SPAN "-01",                 /* forbidden version */
        "0-" TRACE "-" SPAN "-01",
        "0g-" TRACE "-" SPAN "-01",
        "0A-" TRACE "-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" TRACE "-B7AD6B7169203331-01",
        "00-" TRACE "-" SPAN "-0A",
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-",
        "00-" TRACE "-" SPAN,
        "00-" TRACE "-" SPAN "-0g",
        "00-" TRACE "-" SPAN "-011",
        "00-" TRACE "-" SPAN "-01-",                /* more in version 00 */
        "00-" TRACE "-" SPAN "-01-more",
        "00-" TRACE "-" SPAN "-01 ",
        " " GOOD,
        "01-" TRACE "-" SPAN "-01more",             /* no "-" before it */
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        "00-0af7651916cd43dd8448eb211c80319-" SPAN "-01",
        "00-" TRACE "0-" SPAN "-01",
        "00-" TRACE "-" SPAN "0-01",
        "00-" TRACE "-b7ad6b716920333-01",
        "00-0af7651916cd43dd8448eb211c80319g-" SPAN "-01",
        "00-0af7651916cd43dd8448eb211c80319\xff-" SPAN "-01",
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse(&t, bad[i]) != -1) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}


static void
every_shorter_text_is_refused(void **state)
{
    size_t      n;
    tf_trace_t  t;

    (void) state;

    for (n = 0; n < TF_TRACE_HEADER_LEN; n++) {
        char  cut[TF_TRACE_HEADER_LEN + 1] = GOOD;

        cut[n] = '\0';
        assert_int_equal(parse(&t, cut), -1);
    }
}


static void
a_later_version_may_say_more(void **state)
{
    tf_trace_t  t;

    (void) state;

    assert_int_equal(parse(&t, "01-" TRACE "-" SPAN "-01"), 0);
    assert_int_equal(parse(&t, "fe-" TRACE "-" SPAN "-01-what-ever"), 0);
    assert_string_equal(t.trace_id, TRACE);
}


static void
flags_that_are_not_known_are_not_passed_on(void **state)
{
    char        text[TF_TRACE_HEADER_LEN + 1];
    tf_trace_t  t, next;

    (void) state;

    assert_int_equal(parse(&t, "00-" TRACE "-" SPAN "-ff"), 0);
    tf_trace_make(&next, &t, (const unsigned char[TF_TRACE_RND_LEN]) { 1 });
    tf_trace_format(text, &next);
    text[TF_TRACE_HEADER_LEN] = '\0';
    assert_string_equal(text + 53, "01");
}


static void
a_span_of_ours_is_in_the_parents_trace(void **state)
{
    char           text[TF_TRACE_HEADER_LEN + 1];
    unsigned       i;
    tf_trace_t     t, next, again;
    unsigned char  rnd[TF_TRACE_RND_LEN];

    (void) state;

    for (i = 0; i < TF_TRACE_RND_LEN; i++) {
        rnd[i] = (unsigned char) (0xe8 + i);
    }

    assert_int_equal(parse(&t, GOOD), 0);
    tf_trace_make(&next, &t, rnd);
    assert_string_equal(next.trace_id, TRACE);
    assert_string_equal(next.span_id, "f8f9fafbfcfdfeff");

    tf_trace_format(text, &next);
    text[TF_TRACE_HEADER_LEN] = '\0';
    assert_string_equal(text, "00-" TRACE "-f8f9fafbfcfdfeff-01");
    assert_int_equal(parse(&again, text), 0);
}


static void
a_new_trace_is_valid_and_not_sampled(void **state)
{
    char           text[TF_TRACE_HEADER_LEN + 1];
    tf_trace_t     t, again;
    unsigned char  rnd[TF_TRACE_RND_LEN];

    (void) state;

    memset(rnd, 0, sizeof(rnd));    /* the one draw that would be no id */
    tf_trace_make(&t, NULL, rnd);
    tf_trace_format(text, &t);
    text[TF_TRACE_HEADER_LEN] = '\0';

    assert_int_equal(parse(&again, text), 0);
    assert_int_equal(again.flags, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_header_is_read),
        cmocka_unit_test(what_is_no_header_is_refused),
        cmocka_unit_test(every_shorter_text_is_refused),
        cmocka_unit_test(a_later_version_may_say_more),
        cmocka_unit_test(flags_that_are_not_known_are_not_passed_on),
        cmocka_unit_test(a_span_of_ours_is_in_the_parents_trace),
        cmocka_unit_test(a_new_trace_is_valid_and_not_sampled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
