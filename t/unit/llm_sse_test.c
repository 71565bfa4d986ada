/* links: sidecar/net/sse.c sidecar/base/buf.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/sse.h"


typedef struct {
    tf_buf_t  all;      /* "<event>|<data>;" of each */
    int       stop_at;  /* after so many; 0: never */
    int       n;
} seen_t;


static int
on_event(void *arg, const char *event, const char *data, size_t len)
{
    seen_t  *seen = arg;

    assert_int_equal(strlen(data), len);
    tf_buf_printf(&seen->all, "%s|%s;", event, data);

    return ++seen->n == seen->stop_at ? 7 : 0;
}


/* Fed in pieces of every size, a stream reads the same. */

static void
reads_as(tf_sse_kind_t kind, const char *stream, size_t len, const char *want)
{
    size_t    step, i, n;
    seen_t    seen;
    tf_sse_t  sse;

    for (step = 1; step <= len; step++) {
        memset(&seen, 0, sizeof(seen));
        tf_buf_puts(&seen.all, "");
        tf_sse_init(&sse, kind, on_event, &seen);

        for (i = 0; i < len; i += n) {
            n = len - i < step ? len - i : step;
            assert_int_equal(tf_sse_feed(&sse, stream + i, n), TF_SSE_OK);
        }

        assert_int_equal(tf_sse_end(&sse), TF_SSE_OK);
        assert_string_equal(seen.all.data, want);
        tf_sse_free(&sse);
        tf_buf_free(&seen.all);
    }
}

#define READS(kind, stream, want)                                             \
    reads_as(kind, stream, sizeof(stream) - 1, want)


static void
events_are_read_in_pieces_of_any_size(void **state)
{
    (void) state;

    READS(TF_SSE_EVENTS, "data: one\n\ndata:two\n\n", "|one;|two;");
    READS(TF_SSE_EVENTS, "data: a\r\ndata: b\r\n\r\n", "|a\nb;");
    READS(TF_SSE_EVENTS, "data: a\rdata: b\r\r", "|a\nb;");
    READS(TF_SSE_EVENTS, "event: x\ndata: y\n\ndata: z\n\n", "x|y;|z;");
}


static void
comments_and_unknown_fields_are_skipped(void **state)
{
    (void) state;

    READS(TF_SSE_EVENTS, ": keep-alive\n\nid: 4\nretry: 5\nwhat\ndata: a\n\n",
          "|a;");
    READS(TF_SSE_EVENTS, "\n\n\ndata\n\n", "|;");
    READS(TF_SSE_EVENTS, "event: lonely\n\ndata: a\n\n", "|a;");
}


static void
a_byte_order_mark_is_skipped_at_the_start_only(void **state)
{
    (void) state;

    READS(TF_SSE_EVENTS, "\xef\xbb\xbf" "data: a\n\n", "|a;");
    READS(TF_SSE_EVENTS, "\n\xef\xbb\xbf" "data: a\n\n", "");
}


static void
an_event_that_nothing_ended_does_not_count(void **state)
{
    (void) state;

    READS(TF_SSE_EVENTS, "data: a\n\ndata: b\n", "|a;");
    READS(TF_SSE_EVENTS, "data: a\n\ndata: b", "|a;");
}


static void
lines_are_events_and_the_last_needs_no_end(void **state)
{
    (void) state;

    READS(TF_SSE_LINES, "{\"a\":1}\n\n  \n{\"b\":2}\r\n{\"c\":3}",
          "|{\"a\":1};|{\"b\":2};|{\"c\":3};");
}


static void
a_line_with_a_nul_is_no_event(void **state)
{
    (void) state;

    READS(TF_SSE_EVENTS, "data: a\0b\n\ndata: c\n\n", "|c;");
}


static void
an_endless_line_is_given_up(void **state)
{
    int        rc;
    size_t     i;
    seen_t     seen;
    char       piece[4096];
    tf_sse_t   sse;

    (void) state;

    memset(piece, 'x', sizeof(piece));
    memset(&seen, 0, sizeof(seen));
    tf_sse_init(&sse, TF_SSE_EVENTS, on_event, &seen);
    rc = TF_SSE_OK;

    for (i = 0; rc == TF_SSE_OK && i < 1024; i++) {
        rc = tf_sse_feed(&sse, piece, sizeof(piece));
    }

    assert_int_equal(rc, TF_SSE_TOO_LONG);
    tf_sse_free(&sse);

    /* many lines of one event as well */

    tf_sse_init(&sse, TF_SSE_EVENTS, on_event, &seen);
    memcpy(piece, "data:", 5);
    piece[sizeof(piece) - 1] = '\n';
    rc = TF_SSE_OK;

    for (i = 0; rc == TF_SSE_OK && i < 1024; i++) {
        rc = tf_sse_feed(&sse, piece, sizeof(piece));
    }

    assert_int_equal(rc, TF_SSE_TOO_LONG);
    tf_sse_free(&sse);
    assert_int_equal(seen.n, 0);
}


static void
a_handler_ends_the_feed(void **state)
{
    seen_t    seen;
    tf_sse_t  sse;

    (void) state;

    memset(&seen, 0, sizeof(seen));
    seen.stop_at = 1;
    tf_sse_init(&sse, TF_SSE_EVENTS, on_event, &seen);
    assert_int_equal(tf_sse_feed(&sse, "data: a\n\ndata: b\n\n", 18), 7);
    assert_string_equal(seen.all.data, "|a;");
    tf_sse_free(&sse);
    tf_buf_free(&seen.all);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(events_are_read_in_pieces_of_any_size),
        cmocka_unit_test(comments_and_unknown_fields_are_skipped),
        cmocka_unit_test(a_byte_order_mark_is_skipped_at_the_start_only),
        cmocka_unit_test(an_event_that_nothing_ended_does_not_count),
        cmocka_unit_test(lines_are_events_and_the_last_needs_no_end),
        cmocka_unit_test(a_line_with_a_nul_is_no_event),
        cmocka_unit_test(an_endless_line_is_given_up),
        cmocka_unit_test(a_handler_ends_the_feed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
