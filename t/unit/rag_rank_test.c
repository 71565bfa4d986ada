/* links: sidecar/rag/rank.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rag/rank.h"


/* what is not of interest here */

tf_pg_status_t
tf_rag_no_memory(tf_pg_t *pg)
{
    (void) pg;

    return TF_PG_ERROR;
}


char *
PQgetvalue(const PGresult *res, int row, int column)
{
    (void) res;
    (void) row;
    (void) column;

    return NULL;
}


int
PQntuples(const PGresult *res)
{
    (void) res;

    return 0;
}


static void
order(const tf_rag_list_t *lists, size_t n, unsigned k, const long long *ids,
    size_t nids)
{
    size_t         i;
    tf_rag_list_t  out;

    assert_int_equal(tf_rag_fuse(lists, n, k, &out), TF_PG_OK);
    assert_int_equal(out.n, nids);

    for (i = 0; i < nids; i++) {
        assert_int_equal(out.of[i].chunk, ids[i]);
    }

    tf_rag_list_free(&out);
}


static void
what_several_find_comes_before_what_one_finds(void **state)
{
    tf_rag_ranked_t  a[] = { { 1, 9, -1, 1 }, { 2, 8, -1, 2 },
                             { 3, 7, -1, 4 } };
    tf_rag_ranked_t  b[] = { { 3, 0.2, -1, 8 }, { 4, 0.1, -1, 0 } };
    tf_rag_list_t    lists[] = { { "a", 1, a, 3 }, { "b", 1, b, 2 } }, out;

    (void) state;

    order(lists, 2, 10, (long long[]) { 3, 1, 2, 4 }, 4);
    order(lists, 2, 2, (long long[]) { 3, 1 }, 2);

    assert_int_equal(tf_rag_fuse(lists, 2, 1, &out), TF_PG_OK);
    assert_int_equal(out.of[0].terms, 12);
    assert_true(out.of[0].score > 1 / 63.0 + 1 / 61.0 - 1e-9);
    assert_true(out.of[0].score < 1 / 63.0 + 1 / 61.0 + 1e-9);
    tf_rag_list_free(&out);
}


static void
a_list_counts_as_much_as_its_weight(void **state)
{
    tf_rag_ranked_t  a[] = { { 1, 1, -1, 0 }, { 2, 1, -1, 0 } };
    tf_rag_ranked_t  b[] = { { 2, 1, -1, 0 }, { 3, 1, -1, 0 } };
    tf_rag_list_t    lists[] = { { "a", 1, a, 2 }, { "b", 0.5, b, 2 } };

    (void) state;

    order(lists, 2, 10, (long long[]) { 2, 1, 3 }, 3);
    lists[1].weight = 0;
    order(lists, 2, 10, (long long[]) { 1, 2 }, 2);
    lists[0].weight = 0;
    order(lists, 2, 10, NULL, 0);
}


static void
ranks_that_are_equal_have_one_order(void **state)
{
    tf_rag_ranked_t  a[] = { { 7, 1, -1, 0 } }, b[] = { { 5, 1, -1, 0 } };
    tf_rag_list_t    lists[] = { { "a", 1, a, 1 }, { "b", 1, b, 1 } };

    (void) state;

    order(lists, 2, 10, (long long[]) { 5, 7 }, 2);
    order(lists, 2, 1, (long long[]) { 5 }, 1);
}


static void
no_lists_are_an_empty_list(void **state)
{
    tf_rag_list_t  lists[] = { { "a", 1, NULL, 0 } };

    (void) state;

    order(lists, 0, 10, NULL, 0);
    order(lists, 1, 10, NULL, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_several_find_comes_before_what_one_finds),
        cmocka_unit_test(a_list_counts_as_much_as_its_weight),
        cmocka_unit_test(ranks_that_are_equal_have_one_order),
        cmocka_unit_test(no_lists_are_an_empty_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
