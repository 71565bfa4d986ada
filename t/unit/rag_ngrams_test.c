/* links: sidecar/rag/ngrams.c sidecar/base/buf.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rag/ngrams.h"


static tf_ngrams_t     grams;
static tf_ngram_idf_t  flat;


/* the store is of no interest here */

tf_pg_status_t
tf_pg_prepared(tf_pg_t *pg, PGresult **res, int timeout, const char *sql,
    int nparams, const char *const *params)
{
    (void) pg;
    (void) res;
    (void) timeout;
    (void) sql;
    (void) nparams;
    (void) params;

    return TF_PG_ERROR;
}


static int
vector(const char *const *words, const tf_ngram_idf_t *idf, long *v)
{
    char      *s;
    size_t     i;
    tf_buf_t   b = TF_BUF_INIT;

    tf_ngrams_reset(&grams);

    for (i = 0; words[i] != NULL; i++) {
        tf_ngrams_add(&grams, words[i], strlen(words[i]), 1);
    }

    if (!tf_ngrams_vector(&grams, idf, &b)) {
        assert_int_equal(b.len, 0);
        return 0;
    }

    assert_int_equal(b.data[0], '[');
    s = b.data;

    for (i = 0; i < TF_NGRAM_DIM; i++) {
        v[i] = strtol(s + 1, &s, 10);
        assert_int_equal(*s, i + 1 < TF_NGRAM_DIM ? ',' : ']');
    }

    assert_int_equal(s[1], '\0');
    tf_buf_free(&b);

    return 1;
}


static double
alike(const char *const *a, const char *const *b, const tf_ngram_idf_t *idf)
{
    long    x[TF_NGRAM_DIM], y[TF_NGRAM_DIM];
    double  sum;
    size_t  i;

    assert_true(vector(a, idf, x));
    assert_true(vector(b, idf, y));

    for (i = 0, sum = 0; i < TF_NGRAM_DIM; i++) {
        sum += (double) (x[i] * y[i]);
    }

    return sum / TF_NGRAM_SCALE / TF_NGRAM_SCALE;
}

#define WORDS(...)  (const char *const[]) { __VA_ARGS__, NULL }


static void
all_vectors_are_equally_long(void **state)
{
    double  one;

    (void) state;

    one = alike(WORDS("a"), WORDS("a"), &flat);
    assert_true(one > 0.98 && one < 1.02);
    one = alike(WORDS("configuration", "timeout", "proxy"),
                WORDS("proxy", "configuration", "timeout"), &flat);
    assert_true(one > 0.98 && one < 1.02);
}


static void
typing_errors_and_endings_stay_near(void **state)
{
    (void) state;

    assert_true(alike(WORDS("certificate"), WORDS("certifcate"), &flat)
                > 0.4);
    assert_true(alike(WORDS("kündigen"), WORDS("kündigung"), &flat) > 0.4);
    assert_true(alike(WORDS("zahlungsfrist"), WORDS("frist"), &flat) > 0.2);
    assert_true(alike(WORDS("certificate"), WORDS("bandwidth"), &flat)
                < 0.15);
}


static void
what_many_words_have_tells_less(void **state)
{
    double          before, after;
    tf_ngram_idf_t  idf;

    (void) state;

    before = alike(WORDS("rotation"), WORDS("location"), &flat);

    tf_ngrams_begin(&grams);
    tf_ngrams_count(&grams, "nation", 6, 90);
    tf_ngrams_count(&grams, "rotation", 8, 1);
    tf_ngrams_count(&grams, "location", 8, 1);
    tf_ngrams_idf(&grams, 100, &idf);

    after = alike(WORDS("rotation"), WORDS("location"), &idf);
    assert_true(before > 0.2);
    assert_true(after < before / 2);
}


static void
too_much_and_nothing_do_no_harm(void **state)
{
    long      v[TF_NGRAM_DIM];
    char      word[300];
    size_t    i;
    tf_buf_t  b = TF_BUF_INIT;

    (void) state;

    assert_int_equal(vector((const char *const[]) { NULL }, &flat, v), 0);
    assert_int_equal(vector(WORDS(""), &flat, v), 0);

    tf_ngrams_reset(&grams);

    for (i = 0; i < 20000; i++) {
        (void) snprintf(word, sizeof(word), "w%zux%zu", i * 7919, i);
        tf_ngrams_add(&grams, word, strlen(word), 1);
    }

    memset(word, 0xc3, sizeof(word));
    tf_ngrams_add(&grams, word, sizeof(word), 1);
    memset(word, 0x80, sizeof(word));
    tf_ngrams_add(&grams, word, sizeof(word), 1);

    assert_true(grams.nused <= TF_NGRAM_SLOTS);
    assert_true(tf_ngrams_vector(&grams, &flat, &b));
    tf_buf_free(&b);

    assert_true(vector(WORDS("again"), &flat, v));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(all_vectors_are_equally_long),
        cmocka_unit_test(typing_errors_and_endings_stay_near),
        cmocka_unit_test(what_many_words_have_tells_less),
        cmocka_unit_test(too_much_and_nothing_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
