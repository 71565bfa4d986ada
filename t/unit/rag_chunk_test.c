/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
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
#include "rag/chunk.h"
#include "extract/extract.h"
#include "rag/units.h"


static tf_text_t    text;
static tf_chunk_t  *chunks;
static size_t       n;


static void
cut(const char *name, const char *data)
{
    char    err[256];
    size_t  i;

    assert_int_equal(tf_extract(NULL, name, data, strlen(data), &text, err,
                                sizeof(err)), 0);
    chunks = tf_chunks(&text, &n);
    assert_non_null(chunks);
    assert_true(n > 0);

    /* what holds for every chunk */

    for (i = 0; i < n; i++) {
        assert_true(chunks[i].start < chunks[i].end);
        assert_true(chunks[i].end <= text.len);
        assert_true((text.data[chunks[i].start] & 0xc0) != 0x80);
        assert_true(chunks[i].end == text.len
                    || (text.data[chunks[i].end] & 0xc0) != 0x80);
        assert_true(tf_utf8_chars(text.data + chunks[i].start,
                                  chunks[i].end - chunks[i].start)
                    <= TF_CHUNK_HARD + 2 * TF_CHUNK_OVERLAP_MAX);
        if (i > 0) {
            assert_true(chunks[i].start > chunks[i - 1].start);
            assert_true(chunks[i].end > chunks[i - 1].end);
        }
    }
}


static void
done(void)
{
    free(chunks);
    tf_text_free(&text);
}


static void
test_one(void **state)
{
    (void) state;

    cut("a.md", "# T\n\nOne. Two.\n\n- a\n- b\n\n## S\n\nThree.\n");
    assert_int_equal(n, 2);
    assert_int_equal(chunks[0].end - chunks[0].start, 18);
    assert_memory_equal(text.data + chunks[0].start,
                        "One. Two.\n\n- a\n- b", 18);
    assert_string_equal(text.sections[chunks[1].section], "S");
    done();
}


static void
test_prose(void **state)
{
    size_t    i, overlap, chars;
    tf_buf_t  b = TF_BUF_INIT;

    (void) state;

    for (i = 0; i < 300; i++) {
        tf_buf_printf(&b, "Sentence number %zu is about the gr\xc3\xbc" "ne "
                      "t\xc3\xbcr of h\xc3\xa4user %zu.%s", i, i * 7,
                      i % 9 == 8 ? "\n\n" : " ");
    }

    cut("a.txt", b.data);
    assert_true(n > 8);

    for (i = 0; i < n; i++) {
        chars = tf_utf8_chars(text.data + chunks[i].start,
                              chunks[i].end - chunks[i].start);
        assert_true(chars <= TF_CHUNK_MAX);
        assert_true(i + 1 == n || chars >= TF_CHUNK_MIN);

        /* starts and ends with a sentence */

        assert_memory_equal(text.data + chunks[i].start, "Sentence", 8);
        assert_int_equal(text.data[chunks[i].end - 1], '.');

        if (i > 0) {
            overlap = tf_utf8_chars(text.data + chunks[i].start,
                                    chunks[i - 1].end - chunks[i].start);
            assert_true(chunks[i].start < chunks[i - 1].end);
            assert_in_range(overlap, TF_CHUNK_OVERLAP_MIN - 1,
                            2 * TF_CHUNK_OVERLAP_MAX);
        }
    }

    tf_buf_free(&b);
    done();
}


static void
test_whole(void **state)
{
    size_t    i;
    tf_buf_t  b = TF_BUF_INIT;

    (void) state;

    /* code of 3,000 characters between prose stays whole */

    tf_buf_puts(&b, "Before it.\n\n```\n");
    for (i = 0; i < 100; i++) {
        tf_buf_puts(&b, "some line of code of thirty--\n");
    }
    tf_buf_puts(&b, "```\n\nAfter it.\n");

    cut("a.md", b.data);

    for (i = 0; i < n; i++) {
        if (memcmp(text.data + chunks[i].start, "Before", 6) == 0) {
            assert_true(chunks[i].end - chunks[i].start > 3000);
        }
    }

    assert_int_equal(n, 2);
    done();

    /* a table beyond the hard limit is cut between its lines */

    tf_buf_reset(&b);
    for (i = 0; i < 500; i++) {
        tf_buf_printf(&b, "| row %zu | of a long table |\n", i);
    }

    cut("a.md", b.data);
    assert_true(n > 3);

    for (i = 0; i < n; i++) {
        assert_int_equal(text.data[chunks[i].start], '|');
        assert_int_equal(text.data[chunks[i].end - 1], '|');
    }

    done();
    tf_buf_free(&b);
}


static void
test_hostile(void **state)
{
    size_t    i;
    tf_buf_t  b = TF_BUF_INIT;

    (void) state;

    /* one line without any space, of characters of three bytes */

    for (i = 0; i < 100000; i++) {
        tf_buf_puts(&b, "\xe2\x82\xac");
    }

    cut("a.txt", b.data);
    assert_true(n >= 100000 / TF_CHUNK_MAX);
    done();

    tf_buf_reset(&b);
    tf_buf_puts(&b, "- ");
    for (i = 0; i < 100000; i++) {
        tf_buf_puts(&b, "word ");
    }

    cut("a.md", b.data);
    done();

    tf_buf_reset(&b);
    for (i = 0; i < 20000; i++) {
        tf_buf_puts(&b, "# h\nx\n");
    }

    cut("a.md", b.data);
    assert_int_equal(n, 20000);
    done();
    tf_buf_free(&b);
}


static char  seen[2048];

static void
unit(void *ctx, size_t start, size_t end)
{
    size_t  len;

    len = strlen(seen);
    (void) snprintf(seen + len, sizeof(seen) - len, "%s%.*s",
                    len ? "|" : "", (int) (end - start),
                    (const char *) ctx + start);
}


static void
units(const char *body, const char *want)
{
    char  copy[1024];

    (void) snprintf(copy, sizeof(copy), "%s", body);
    seen[0] = '\0';
    tf_units(copy, strlen(copy), unit, copy);
    assert_string_equal(seen, want);
}


static void
test_units(void **state)
{
    (void) state;

    units("One two. Three four? Five!", "One two.|Three four?|Five!");
    units("See e.g. this one. Mr. Smith, i.e. John R. Smith, is 3.5 m tall "
          "in v1.2. End.",
          "See e.g. this one.|Mr. Smith, i.e. John R. Smith, is 3.5 m tall "
          "in v1.2.|End.");
    units("It is in the U.S. Senate. nginx is lower case. proxy_pass opens.",
          "It is in the U.S. Senate. nginx is lower case.|proxy_pass opens.");
    units("He said \xe2\x80\x9cyes.\xe2\x80\x9d Then he left (quickly.) Ok.",
          "He said \xe2\x80\x9cyes.\xe2\x80\x9d|Then he left (quickly.)|Ok.");
    units("Answer no. It is No. 5 of it.", "Answer no.|It is No. 5 of it.");
    units("\xe4\xbb\x8a\xe3\x80\x82\xe6\x98\x8e\xe3\x80\x82",
          "\xe4\xbb\x8a\xe3\x80\x82|\xe6\x98\x8e\xe3\x80\x82");
    units("Broken\nover lines. Next\none.", "Broken\nover lines.|Next\none.");
    units("Syntax: a b;\nDefault: a 60s;\nContext: http\n\nText.",
          "Syntax: a b;|Default: a 60s;|Context: http|Text.");
    units("Intro. For example:\n\n```\nx y\n```\n\nRest.",
          "Intro.|For example:\n\n```\nx y\n```|Rest.");
    units("- one\n- two", "- one\n- two");
    units("", "");
    units(". . .", ".|.|.");
}


static void
test_units_long(void **state)
{
    int       i;
    tf_buf_t  b = TF_BUF_INIT, want = TF_BUF_INIT;

    (void) state;

    /* a long list comes apart at its items, with what hangs below them */

    for (i = 0; i < 12; i++) {
        tf_buf_printf(&b, "- item %d that is rather long, to fill the list "
                      "up\n  - below it\n  more\n", i);
        tf_buf_printf(&want, "%s- item %d that is rather long, to fill the "
                      "list up\n  - below it\n  more", i ? "|" : "", i);
    }

    assert_true(b.len < 1024 && b.len > TF_UNIT_WHOLE);
    units(b.data, want.data);
    tf_buf_free(&b);
    tf_buf_free(&want);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_prose),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_units_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
