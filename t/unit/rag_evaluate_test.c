/* links: sidecar/rag/evaluate.c */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rag/evaluate.h"


static void
near(double got, double want)
{
    assert_true(fabs(got - want) < 1e-9);
}


static void
ndcg_is_one_for_the_best_order_and_less_for_others(void **state)
{
    const double  ideal[] = { 1, 3, 2 };
    const double  best[] = { 3, 2, 1 }, worse[] = { 1, 2, 3 }, none[] = { 0 };

    (void) state;

    near(tf_eval_ndcg(best, 3, ideal, 3, 10), 1);
    near(tf_eval_ndcg(worse, 3, ideal, 3, 10),
         (1 + 2 / log2(3) + 3 / 2.0) / (3 + 2 / log2(3) + 1 / 2.0));
    near(tf_eval_ndcg(none, 1, ideal, 3, 10), 0);
    near(tf_eval_ndcg(best, 0, ideal, 3, 10), 0);
    near(tf_eval_ndcg(best, 3, ideal, 0, 10), 0);
    near(tf_eval_ndcg(worse, 3, ideal, 3, 1), 1.0 / 3);
}


static void
recall_and_reciprocal_rank_look_at_the_first_k(void **state)
{
    const double  ideal[] = { 1, 1, 0, 2 };
    const double  gains[] = { 0, 1, 0, 2 };

    (void) state;

    near(tf_eval_recall(gains, 4, ideal, 4, 100), 2.0 / 3);
    near(tf_eval_recall(gains, 4, ideal, 4, 2), 1.0 / 3);
    near(tf_eval_recall(gains, 4, ideal, 0, 2), 0);
    near(tf_eval_rr(gains, 4, 10), 0.5);
    near(tf_eval_rr(gains, 4, 1), 0);
}


static void
auc_counts_pairs_and_ties_half(void **state)
{
    double  high[] = { 0.9, 0.8 }, low[] = { 0.1, 0.2, 0.3 };
    double  same[] = { 0.5, 0.5 }, too[] = { 0.5 };
    double  mixed[] = { 0.9, 0.1 }, other[] = { 0.5, 0.05 };

    (void) state;

    near(tf_eval_auc(high, 2, low, 3), 1);
    near(tf_eval_auc(low, 3, high, 2), 0);
    near(tf_eval_auc(same, 2, too, 1), 0.5);
    near(tf_eval_auc(mixed, 2, other, 2), 0.75);
    near(tf_eval_auc(high, 0, low, 3), 0.5);
}


static void
quantiles_are_values_that_were_seen(void **state)
{
    double  v[] = { 5, 1, 4, 2, 3 };

    (void) state;

    near(tf_eval_quantile(v, 5, 0.5), 3);
    near(tf_eval_quantile(v, 5, 0.99), 5);
    near(tf_eval_quantile(v, 5, 0), 1);
    near(tf_eval_quantile(v, 0, 0.5), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(ndcg_is_one_for_the_best_order_and_less_for_others),
        cmocka_unit_test(recall_and_reciprocal_rank_look_at_the_first_k),
        cmocka_unit_test(auc_counts_pairs_and_ties_half),
        cmocka_unit_test(quantiles_are_values_that_were_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
