/* links: sidecar/rag/worth.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rag/worth.h"


/*
 * Four terms of the same weight; the first chunk has four sentences of the
 * same length, and bit i of a unit's terms is the i-th term.
 */

#define SENTENCE  50

static char  text[1000];

static tf_rag_hit_t    hits[2];
static tf_rag_unit_t   units[8];
static tf_rag_found_t  found;


static void
chunk(size_t i, uint64_t terms, double score)
{
    hits[i].body = text;
    hits[i].heading = text + sizeof(text) - 1;
    hits[i].terms = terms;
    hits[i].score = score;
}


static tf_rag_unit_t *
unit(size_t hit, uint64_t terms, size_t len)
{
    tf_rag_unit_t  *u = &units[found.nunits++];

    u->hit = hit;
    u->start = found.nunits > 1 && u[-1].hit == hit ? u[-1].end : 0;
    u->end = u->start + len;
    u->terms = terms;

    return u;
}


static int
setup(void **state)
{
    size_t  i;

    (void) state;

    memset(hits, 0, sizeof(hits));
    memset(units, 0, sizeof(units));
    memset(&found, 0, sizeof(found));
    memset(text, 'x', sizeof(text) - 1);

    found.hits = hits;
    found.nhits = 2;
    found.units = units;
    found.nterms = 4;

    for (i = 0; i < found.nterms; i++) {
        found.terms[i].info = 5;
        found.terms[i].weight = 4;
        found.terms[i].share = 1;
    }

    chunk(0, 0xf, 16);
    chunk(1, 0xf, 16);

    return 0;
}


static void
test_the_sentence_before_says_what_a_sentence_is_about(void **state)
{
    tf_rag_unit_t  *first, *second, *fourth;

    (void) state;

    first = unit(0, 0x3, SENTENCE);         /* the tower of the town ... */
    second = unit(0, 0x4, SENTENCE);        /* it was built ... */
    (void) unit(0, 0, SENTENCE);
    fourth = unit(0, 0x4, SENTENCE);        /* the bridge was built ... */

    tf_rag_worth(&found, "q");

    assert_true(second->score > fourth->score);
    assert_true(first->score > second->score);
}


static void
test_what_comes_later_does_not_say_it(void **state)
{
    tf_rag_unit_t  *alone, *in_front;

    (void) state;

    alone = unit(0, 0x4, SENTENCE);
    (void) unit(0, 0, SENTENCE);
    in_front = unit(0, 0x4, SENTENCE);
    (void) unit(0, 0x3, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(in_front->score == alone->score);
}


static void
test_the_last_sentence_of_another_chunk_says_nothing(void **state)
{
    tf_rag_unit_t  *alone, *behind;

    (void) state;

    alone = unit(0, 0x4, SENTENCE);
    (void) unit(0, 0x3, SENTENCE);
    behind = unit(1, 0x4, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(behind->score == alone->score);
}


static void
test_what_a_sentence_says_itself_counts_once(void **state)
{
    tf_rag_unit_t  *again, *alone;

    (void) state;

    alone = unit(0, 0x3, SENTENCE);
    again = unit(0, 0x3, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(again->score == alone->score);
}


static void
test_a_sentence_without_a_word_of_the_question_is_worth_nothing(void **state)
{
    tf_rag_unit_t  *none;

    (void) state;

    (void) unit(0, 0xf, SENTENCE);
    none = unit(0, 0, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(none->score == 0);
}


static void
test_length_costs_a_little(void **state)
{
    tf_rag_unit_t  *shorter, *longer;

    (void) state;

    shorter = unit(0, 0x3, SENTENCE);
    longer = unit(1, 0x3, 2 * TF_WORTH_LONG);

    tf_rag_worth(&found, "q");

    assert_true(longer->score < shorter->score);
    assert_true(longer->score > 0.9 * shorter->score);
}


static void
test_words_in_one_sentence_are_surer_than_far_from_each_other(void **state)
{
    (void) state;

    (void) unit(0, 0xf, SENTENCE);
    (void) unit(1, 0x3, SENTENCE);
    (void) unit(1, 0xc, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(hits[0].sure > hits[1].sure);
    assert_true(hits[1].sure > 0);
}


static void
test_a_chunk_that_is_about_its_words_is_surer(void **state)
{
    (void) state;

    chunk(0, 0x3, 1.3 * 8);
    chunk(1, 0x3, 0.9 * 8);
    (void) unit(0, 0x3, SENTENCE);
    (void) unit(1, 0x3, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(hits[0].sure > hits[1].sure);
}


static void
test_one_word_said_often_is_not_sure(void **state)
{
    (void) state;

    chunk(0, 0x1, 100 * 4);
    (void) unit(0, 0x1, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(hits[0].sure < 0.5);
}


static void
test_a_long_chunk_that_has_the_words_is_not_given_up(void **state)
{
    (void) state;

    chunk(0, 0x7, 0.2 * 12);
    (void) unit(0, 0x7, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(hits[0].sure > 0.5);
}


static void
test_sure_is_a_share(void **state)
{
    (void) state;

    chunk(0, 0xf, 100 * 16);
    chunk(1, 0, 0);
    (void) unit(0, 0xf, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(hits[0].sure == 1);
    assert_true(hits[1].sure == 0);
}


static void
test_terms_too_common_to_search_by_count(void **state)
{
    (void) state;

    found.terms[3].weight = 0;
    chunk(0, 0x7, 12);
    chunk(1, 0x7, 12);
    (void) unit(0, 0xf, SENTENCE);
    (void) unit(1, 0x7, SENTENCE);

    tf_rag_worth(&found, "q");

    assert_true(hits[0].terms == 0xf);
    assert_true(hits[0].sure > hits[1].sure);
    assert_true(hits[0].sure == 1);
}


static void
test_a_question_names_a_phrase_word_for_word(void **state)
{
    (void) state;

    assert_true(tf_rag_names("the Read timeout?", "read timeout", 12));
    assert_false(tf_rag_names("the read timeouts", "read timeout", 12));
    assert_false(tf_rag_names("proxy_read timeout", "read timeout", 12));
    assert_false(tf_rag_names("read", "read timeout", 12));
    assert_false(tf_rag_names("read", "", 0));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            test_the_sentence_before_says_what_a_sentence_is_about, setup),
        cmocka_unit_test_setup(test_what_comes_later_does_not_say_it, setup),
        cmocka_unit_test_setup(
            test_the_last_sentence_of_another_chunk_says_nothing, setup),
        cmocka_unit_test_setup(test_what_a_sentence_says_itself_counts_once,
                               setup),
        cmocka_unit_test_setup(
            test_a_sentence_without_a_word_of_the_question_is_worth_nothing,
            setup),
        cmocka_unit_test_setup(test_length_costs_a_little, setup),
        cmocka_unit_test_setup(
            test_words_in_one_sentence_are_surer_than_far_from_each_other,
            setup),
        cmocka_unit_test_setup(test_a_chunk_that_is_about_its_words_is_surer,
                               setup),
        cmocka_unit_test_setup(test_one_word_said_often_is_not_sure, setup),
        cmocka_unit_test_setup(
            test_a_long_chunk_that_has_the_words_is_not_given_up, setup),
        cmocka_unit_test_setup(test_sure_is_a_share, setup),
        cmocka_unit_test_setup(test_terms_too_common_to_search_by_count,
                               setup),
        cmocka_unit_test_setup(test_a_question_names_a_phrase_word_for_word,
                               setup)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
