/* links: */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <trifecta/fault.h>


static void
names_are_what_the_code_calls_them_and_each_is_there_once(void **state)
{
    unsigned  i, k;

    (void) state;

    assert_string_equal(tf_fault_row(TF_FAULT_submit_sent)->name,
                        "submit.sent");

    for (i = 0; i < TF_FAULT_NPOINTS; i++) {
        for (k = 0; k < i; k++) {
            assert_string_not_equal(tf_fault_row(i)->name,
                                    tf_fault_row(k)->name);
        }
    }
}


static void
the_rows_that_code_counts_on_are_in_its_order(void **state)
{
    (void) state;

    /* enum tf_return_t, and the statements of store_ledger.c */

    assert_int_equal(TF_FAULT_release_before, TF_FAULT_finish_before + 3);
    assert_int_equal(TF_FAULT_retry_before, TF_FAULT_finish_before + 6);
    assert_int_equal(TF_FAULT_retry_answered, TF_FAULT_finish_before + 8);
    assert_int_equal(TF_FAULT_ledger_erased, TF_FAULT_ledger_new + 6);
}


static void
nothing_is_armed_by_nothing(void **state)
{
    tf_fault_t  fault;

    (void) state;

    assert_null(tf_fault_parse(&fault, NULL));
    assert_int_equal(fault.point, TF_FAULT_NPOINTS);
    assert_null(tf_fault_parse(&fault, ""));
    assert_int_equal(fault.point, TF_FAULT_NPOINTS);
}


static void
a_point_kills_at_its_first_passage_if_nothing_else_is_said(void **state)
{
    tf_fault_t  fault;

    (void) state;

    assert_null(tf_fault_parse(&fault, "run.after"));
    assert_int_equal(fault.point, TF_FAULT_run_after);
    assert_int_equal(fault.nth, 1);
    assert_int_equal(fault.action, TF_FAULT_KILL);

    assert_null(tf_fault_parse(&fault, "run.before:17"));
    assert_int_equal(fault.point, TF_FAULT_run_before);
    assert_int_equal(fault.nth, 17);
    assert_int_equal(fault.action, TF_FAULT_KILL);

    assert_null(tf_fault_parse(&fault, "run.before:2=stop"));
    assert_int_equal(fault.nth, 2);
    assert_int_equal(fault.action, TF_FAULT_STOP);

    assert_null(tf_fault_parse(&fault, "run.before=sleep250"));
    assert_int_equal(fault.nth, 1);
    assert_int_equal(fault.action, TF_FAULT_SLEEP);
    assert_int_equal(fault.ms, 250);

    assert_null(tf_fault_parse(&fault, "run.before:1000000=kill"));
    assert_int_equal(fault.nth, 1000000);
}


static void
what_is_none_is_refused_and_arms_nothing(void **state)
{
    size_t      i;
    tf_fault_t  fault;

    static const char *const  wrong[] = {
        "nonsense", "run", "run.", "run.befor", "run.beforee", " run.before",
        "run.before ", "run.before:", "run.before:0", "run.before:x",
        "run.before:1x", "run.before:-1", "run.before:1000001",
        "run.before:99999999999999999999", "run.before=", "run.before=die",
        "run.before=sleep", "run.before=sleep0", "run.before=sleep1s",
        "run.before=kill ", "run.before=kill:2", ":1", "=kill", "list"
    };

    (void) state;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_non_null(tf_fault_parse(&fault, wrong[i]));
        assert_int_equal(fault.point, TF_FAULT_NPOINTS);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(
            names_are_what_the_code_calls_them_and_each_is_there_once),
        cmocka_unit_test(the_rows_that_code_counts_on_are_in_its_order),
        cmocka_unit_test(nothing_is_armed_by_nothing),
        cmocka_unit_test(
            a_point_kills_at_its_first_passage_if_nothing_else_is_said),
        cmocka_unit_test(what_is_none_is_refused_and_arms_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
