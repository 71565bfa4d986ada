/* links: sidecar/rag/spell.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rag/spell.h"


typedef struct {
    const char  *word;
    int          in;
    size_t       n;
} search_t;


static int
away(const char *a, const char *b)
{
    tf_spell_t  x, y;

    assert_int_equal(tf_spell_read(&x, a, strlen(a)), 0);
    assert_int_equal(tf_spell_read(&y, b, strlen(b)), 0);

    return tf_spell_compare(&x, &y);
}


static void
one_error_is_forgiven_from_five_characters_on(void **state)
{
    (void) state;

    assert_int_equal(away("certifc", "certif"), 1);         /* too much */
    assert_int_equal(away("septicemia", "septicaemia"), 1); /* missing */
    assert_int_equal(away("housa", "house"), 1);            /* another */
    assert_int_equal(away("bandwitdh", "bandwidth"), 1);    /* swapped */
    assert_int_equal(away("house", "house"), 0);
    assert_int_equal(away("work", "word"), -1);
    assert_int_equal(away("wrok", "work"), 1);
}


static void
two_errors_are_forgiven_from_eight_characters_on(void **state)
{
    (void) state;

    assert_int_equal(away("filharmon", "philharmon"), 2);
    assert_int_equal(away("pomgranit", "pomegranat"), 2);
    assert_int_equal(away("market", "basket"), -1);
    assert_int_equal(away("market", "magnet"), -1);
    assert_int_equal(away("ghandi", "gandhi"), 2);  /* the same letters */
    assert_int_equal(away("pomgrani", "pomegranat"), -1);
}


static void
characters_are_counted_not_bytes(void **state)
{
    (void) state;

    assert_int_equal(away("m\xc3\xbcller", "muller"), 1);
    assert_int_equal(away("\xd0\xbc\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2",
                          "\xd0\xbc\xd0\xb0\xd1\x81\xd0\xba\xd0\xb2"), 1);
}


static void
what_means_what_it_says_is_no_word(void **state)
{
    size_t             i;
    tf_spell_t         word;
    const char *const  bad[] = {
        "", "the", "2019", "x86", "proxy_read", "don't", "\xe4\xba\xac\xe4"
        "\xba\xac\xe4\xba\xac\xe4\xba\xac", "abcd\xc3", "\xc3\xbc""ab",
        "abcdefghijklmnopqrstuvwxyzabcdefg"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_spell_read(&word, bad[i], strlen(bad[i])), -1);
    }
}


static void
count(void *arg, const char *low, const char *high)
{
    search_t  *s = arg;

    assert_true(strcmp(low, high) < 0);

    s->n++;
    s->in |= strcmp(s->word, low) >= 0 && strcmp(s->word, high) < 0;
}


static int
in_ranges(const char *text, const char *meant)
{
    search_t    s;
    tf_spell_t  word;

    memset(&s, 0, sizeof(s));
    s.word = meant;

    assert_int_equal(tf_spell_read(&word, text, strlen(text)), 0);
    tf_spell_ranges(&word, count, &s);
    assert_in_range(s.n, 1, 200);

    return s.in;
}


/* Each word that is one error away, wherever that is. */

static void
every_word_one_error_away_is_in_a_range(void **state)
{
    int           c;
    char          text[32];
    size_t        i, n;
    const char    meant[] = "wizard";

    (void) state;

    n = strlen(meant);

    for (i = 0; i < n; i++) {
        memcpy(text, meant, i);                     /* missing */
        memcpy(text + i, meant + i + 1, n - i);
        assert_true(in_ranges(text, meant));

        for (c = 'a'; c <= 'z'; c++) {
            memcpy(text, meant, n + 1);             /* another */
            text[i] = (char) c;
            assert_true(in_ranges(text, meant));

            text[i + 1] = '\0';                     /* too much */
            memcpy(text + i + 1, meant + i, n - i + 1);
            assert_true(in_ranges(text, meant));
        }

        if (i + 1 < n) {
            memcpy(text, meant, n + 1);             /* swapped */
            text[i] = meant[i + 1];
            text[i + 1] = meant[i];
            assert_true(in_ranges(text, meant));
        }
    }

    assert_true(in_ranges("m\xc3\xbcnchem", "m\xc3\xbcnchen"));
    assert_false(in_ranges("wizard", "mountain"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(one_error_is_forgiven_from_five_characters_on),
        cmocka_unit_test(two_errors_are_forgiven_from_eight_characters_on),
        cmocka_unit_test(characters_are_counted_not_bytes),
        cmocka_unit_test(what_means_what_it_says_is_no_word),
        cmocka_unit_test(every_word_one_error_away_is_in_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
