/* links: sidecar/llm/limits.c sidecar/base/thread.c */

/*
 * What a model is asked for at most, by a clock that the test has.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "llm/limits.h"


static void
no_more_requests_at_once_than_allowed(void **state)
{
    tf_llm_place_t    a, b, c;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(2, 0, 0);

    assert_int_equal(tf_llm_limits_ask(l, 10, 1000, &a), 0);
    assert_int_equal(tf_llm_limits_ask(l, 10, 1000, &b), 0);
    assert_true(tf_llm_limits_ask(l, 10, 1000, &c) > 0);
    assert_true(tf_llm_limits_ask(l, 10, 900000, &c) > 0);

    tf_llm_limits_leave(l, &a, -1, 900000);
    assert_int_equal(tf_llm_limits_ask(l, 10, 900000, &c), 0);
    assert_true(tf_llm_limits_ask(l, 10, 900000, &a) > 0);

    tf_llm_limits_free(l);
}


/* Whatever the pace, no 60 seconds have more of them. */

static void
no_60_seconds_have_more_requests_than_allowed(void **state)
{
    int64_t           now, due, made[512];
    size_t            n, i;
    tf_llm_place_t    place;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 7, 0);
    n = 0;

    for (now = 1000; now < 600000; now += 1 + now % 1733) {
        due = tf_llm_limits_ask(l, 1, now, &place);

        if (due == 0) {
            made[n++] = now;
            tf_llm_limits_leave(l, &place, -1, now + 10);

        } else {
            assert_in_range(due, 1, 61000);
        }
    }

    assert_true(n > 7 * 8);

    for (i = 7; i < n; i++) {
        assert_true(made[i] - made[i - 7] >= 60000);
    }

    tf_llm_limits_free(l);
}


static void
what_is_due_has_room_then_and_not_before(void **state)
{
    int64_t           due;
    tf_llm_place_t    place;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 2, 0);

    assert_int_equal(tf_llm_limits_ask(l, 1, 5300, &place), 0);
    assert_int_equal(tf_llm_limits_ask(l, 1, 9900, &place), 0);

    due = tf_llm_limits_ask(l, 1, 10000, &place);
    assert_int_equal(due, 56000);
    assert_true(tf_llm_limits_ask(l, 1, 10000 + due - 1, &place) > 0);
    assert_int_equal(tf_llm_limits_ask(l, 1, 10000 + due, &place), 0);

    tf_llm_limits_free(l);
}


static void
tokens_are_counted_as_guessed_and_then_as_used(void **state)
{
    tf_llm_place_t    a, b;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 0, 1000);

    assert_int_equal(tf_llm_limits_ask(l, 900, 1000, &a), 0);
    assert_true(tf_llm_limits_ask(l, 900, 1500, &b) > 0);

    tf_llm_limits_leave(l, &a, 100, 2000);
    assert_int_equal(tf_llm_limits_ask(l, 900, 2500, &b), 0);
    assert_true(tf_llm_limits_ask(l, 1, 2500, &a) > 0);

    /* more than was guessed */
    tf_llm_limits_leave(l, &b, 5000, 3000);
    assert_true(tf_llm_limits_ask(l, 1, 62999, &a) > 0);
    assert_int_equal(tf_llm_limits_ask(l, 1, 63000, &a), 0);

    /* nobody knows: the guess stays */
    tf_llm_limits_leave(l, &a, -1, 63500);
    assert_int_equal(tf_llm_limits_ask(l, 999, 63500, &a), 0);
    assert_true(tf_llm_limits_ask(l, 1, 63500, &b) > 0);

    tf_llm_limits_free(l);
}


static void
what_a_long_answer_took_beyond_its_guess_counts_when_it_is_known(void **state)
{
    tf_llm_place_t    a;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 0, 1000);

    assert_int_equal(tf_llm_limits_ask(l, 100, 1000, &a), 0);
    tf_llm_limits_leave(l, &a, 1100, 200000);
    assert_true(tf_llm_limits_ask(l, 1, 200000, &a) > 0);

    tf_llm_limits_free(l);
}


static void
a_request_larger_than_the_limit_is_made_alone(void **state)
{
    tf_llm_place_t    a;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 0, 1000);

    assert_int_equal(tf_llm_limits_ask(l, 50000, 1000, &a), 0);
    assert_true(tf_llm_limits_ask(l, 50000, 2000, &a) > 0);
    assert_int_equal(tf_llm_limits_ask(l, 50000, 62000, &a), 0);

    tf_llm_limits_free(l);
}


static void
another_key_is_another_request(void **state)
{
    tf_llm_place_t    a;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 2, 0);

    assert_int_equal(tf_llm_limits_ask(l, 1, 1000, &a), 0);
    tf_llm_limits_again(l, 1100);
    assert_true(tf_llm_limits_ask(l, 1, 1200, &a) > 0);

    tf_llm_limits_free(l);
}


static void
those_who_are_sent_away_do_not_come_back_together(void **state)
{
    size_t            i;
    int64_t           back[20];
    atomic_int        cancel = 0;
    tf_llm_place_t    a;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(0, 60, 0);

    for (i = 0; i < 60; i++) {
        assert_int_equal(tf_llm_limits_enter(l, 1, 0, &cancel, &a), 0);
    }

    for (i = 0; i < 20; i++) {
        back[i] = tf_llm_limits_enter(l, 1, 0, &cancel, &a);
        assert_in_range(back[i], 1000, 90000);
    }

    assert_true(back[0] > 50000);

    for (i = 1; i < 20; i++) {
        assert_in_range(back[i] - back[i - 1], 900, 1100);
    }

    tf_llm_limits_free(l);
}


static void
a_wait_has_an_end(void **state)
{
    int64_t           began, rc;
    atomic_int        cancel = 0;
    tf_llm_place_t    a, b;
    tf_llm_limits_t  *l;

    (void) state;
    l = tf_llm_limits_create(1, 0, 0);

    assert_int_equal(tf_llm_limits_enter(l, 1, 0, &cancel, &a), 0);
    began = tf_clock_ms();
    rc = tf_llm_limits_enter(l, 1, 200, &cancel, &b);
    assert_in_range(rc, 1000, 90000);
    assert_in_range(tf_clock_ms() - began, 150, 1000);

    cancel = 1;
    began = tf_clock_ms();
    assert_int_equal(tf_llm_limits_enter(l, 1, 60000, &cancel, &b), -1);
    assert_true(tf_clock_ms() - began < 1000);

    tf_llm_limits_free(l);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(no_more_requests_at_once_than_allowed),
        cmocka_unit_test(no_60_seconds_have_more_requests_than_allowed),
        cmocka_unit_test(what_is_due_has_room_then_and_not_before),
        cmocka_unit_test(tokens_are_counted_as_guessed_and_then_as_used),
        cmocka_unit_test(
            what_a_long_answer_took_beyond_its_guess_counts_when_it_is_known),
        cmocka_unit_test(a_request_larger_than_the_limit_is_made_alone),
        cmocka_unit_test(another_key_is_another_request),
        cmocka_unit_test(those_who_are_sent_away_do_not_come_back_together),
        cmocka_unit_test(a_wait_has_an_end)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
