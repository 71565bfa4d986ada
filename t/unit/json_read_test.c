/* links: */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <trifecta/json.h>
#include <trifecta/json_read.h>


/*
 * The quick reader reads what jansson reads, and makes the same of it; what
 * it does not read is left, and nothing is read past the end: every text is
 * in memory of exactly its size.
 */

#define MUTATIONS  40000


static json_t *
quick(const char *text, size_t len)
{
    char    *copy;
    json_t  *root;

    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);

    root = tf_json_read(copy, len);

    free(copy);

    return root;
}


/* The same values, also in the same order. */

static void
same(const char *text, size_t len, json_t *root)
{
    char    *a, *b;
    json_t  *slow;

    slow = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

    if (slow == NULL || tf_json_too_deep(text, len)) {
        fail_msg("read, but is no JSON: %.*s", (int) len, text);
    }

    a = json_dumps(root, JSON_COMPACT);
    b = json_dumps(slow, JSON_COMPACT);

    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(a, b);
    assert_true(json_equal(root, slow));

    free(a);
    free(b);
    json_decref(slow);
}


static const char *const  reads[] = {
    "{}",
    "[]",
    " \t\r\n{ \"a\" : 1 } \n",
    "{\"query\":\"What does a sidecar do on SIGTERM? 17\"}",
    "{\"a\":\"\",\"\":\"b\"}",
    "{\"a\":[1,-1,0,-0,123456789012345678],\"b\":[[],{}]}",
    "{\"a\":true,\"b\":false,\"c\":null}",
    "{\"t\":0.7,\"u\":1e3,\"v\":-1.5E-7,\"w\":1234567890123456789}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
    "{\"a\":\"\\u0041\\u00e4\\u20AC\\ud83d\\ude00\\u0001\"}",
    "{\"a\":\"Gr\xc3\xbc\xc3\x9f""e, \xe2\x82\xac, \xf0\x9f\x98\x80\x7f\"}",
    "{\"gr\xc3\xbc\xc3\x9f""e\":1}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"
    "{\"role\":\"assistant\",\"content\":null}],\"stream\":true}",
};


static void
test_what_is_usual_is_read(void **state)
{
    size_t   i;
    json_t  *root;

    (void) state;

    for (i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        root = quick(reads[i], strlen(reads[i]));

        if (root == NULL) {
            fail_msg("is not read: %s", reads[i]);
        }

        same(reads[i], strlen(reads[i]), root);
        json_decref(root);
    }
}


#define TEXT(s)  { s, sizeof(s) - 1 }

static const struct {
    const char  *text;
    size_t       len;
} leaves[] = {
    TEXT(""), TEXT(" "), TEXT("1"), TEXT("\"a\""), TEXT("true"), TEXT("{"),
    TEXT("["), TEXT("{]"), TEXT("[}"), TEXT("[1"), TEXT("[1,"), TEXT("[1,]"),
    TEXT("[,1]"), TEXT("[1 2]"), TEXT("[\"a"), TEXT("[\"a\\"),
    TEXT("[\"a\\\"]"), TEXT("{\"a\"}"), TEXT("{\"a\":}"), TEXT("{\"a\":1,}"),
    TEXT("{\"a\":1 \"b\":2}"), TEXT("{a:1}"), TEXT("{1:1}"), TEXT("{'a':1}"),
    TEXT("{\"a\":1,\"a\":2}"), TEXT("{\"a\":{\"b\":1,\"b\":1}}"),
    TEXT("[01]"), TEXT("[-]"), TEXT("[+1]"), TEXT("[1.]"), TEXT("[.5]"),
    TEXT("[1e]"), TEXT("[0x1]"), TEXT("[1e999]"), TEXT("[- 1]"),
    TEXT("[123456789012345678901]"), TEXT("[NaN]"), TEXT("[Infinity]"),
    TEXT("[tru]"), TEXT("[truex]"), TEXT("[nul"), TEXT("[True]"),
    TEXT("[]x"), TEXT("[] []"), TEXT("{}\0"), TEXT("\0{}"), TEXT("[1\0]"),
    TEXT("[\"a\0b\"]"), TEXT("[\"\\u0000\"]"), TEXT("[\"\\u\"]"),
    TEXT("[\"\\u12\"]"), TEXT("[\"\\u12g4\"]"), TEXT("[\"\\x41\"]"),
    TEXT("[\"\\ud83d\"]"), TEXT("[\"\\ude00\"]"), TEXT("[\"\\ud83d\\u0041\"]"),
    TEXT("[\"\\ud83dx\"]"), TEXT("[\"\n\"]"), TEXT("[\"\t\"]"),
    TEXT("[\"\x1f\"]"), TEXT("[\"\xff\"]"), TEXT("[\"\x80\"]"),
    TEXT("[\"\xc0\xaf\"]"), TEXT("[\"\xed\xa0\x80\"]"), TEXT("[\"\xc3\"]"),
    TEXT("[\"\xf5\x80\x80\x80\"]"), TEXT("[\"\xe2\x82\""),
    TEXT("\xef\xbb\xbf{}"), TEXT("[1,/**/2]"), TEXT("[1]//"),
    TEXT("[1,\f2]"), TEXT("{\"\\u0061\":1}"),
};


static void
test_what_is_wrong_is_left(void **state)
{
    size_t   i;
    json_t  *root;

    (void) state;

    for (i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        root = quick(leaves[i].text, leaves[i].len);

        if (root != NULL) {
            fail_msg("is read: %.*s", (int) leaves[i].len, leaves[i].text);
        }
    }
}


static void
nest(char *text, size_t depth, int is_object)
{
    size_t  i;

    *text = '\0';

    for (i = 0; i < depth; i++) {
        strcat(text, is_object ? (i ? "{\"a\":" : "{\"b\":") : "[");
    }

    strcat(text, "1");

    for (i = 0; i < depth; i++) {
        strcat(text, is_object ? "}" : "]");
    }
}


static void
test_what_is_too_deep_is_left(void **state)
{
    int      i;
    char     text[16 * TF_JSON_DEPTH_MAX];
    json_t  *root;

    (void) state;

    for (i = 0; i < 2; i++) {
        nest(text, TF_JSON_DEPTH_MAX, i);
        root = quick(text, strlen(text));
        assert_non_null(root);
        same(text, strlen(text), root);
        json_decref(root);

        nest(text, TF_JSON_DEPTH_MAX + 1, i);
        assert_null(quick(text, strlen(text)));
    }

    /* depth is that of now, not of before */

    strcpy(text, "[[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
                 "[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]]]");
    root = quick(text, strlen(text));
    assert_non_null(root);
    json_decref(root);
}


static void
test_long_names_and_many_numbers_are_left(void **state)
{
    int      i;
    char     text[4096], name[TF_JSON_READ_NAME + 1];
    json_t  *root;

    (void) state;

    for (i = TF_JSON_READ_NAME - 1; i <= TF_JSON_READ_NAME; i++) {
        memset(name, 'n', (size_t) i);
        name[i] = '\0';
        snprintf(text, sizeof(text), "{\"%s\":1}", name);
        root = quick(text, strlen(text));
        assert_true((root != NULL) == (i < TF_JSON_READ_NAME));
        json_decref(root);
    }

    for (i = TF_JSON_READ_NUMBERS; i <= TF_JSON_READ_NUMBERS + 1; i++) {
        strcpy(text, "[1");

        while (strlen(text) < 2 + 4 * (size_t) i) {
            strcat(text, ",0.5");
        }

        strcat(text, "]");
        root = quick(text, strlen(text));
        assert_true((root != NULL) == (i == TF_JSON_READ_NUMBERS));
        json_decref(root);
    }
}


/* The same on every machine. */

static uint32_t
next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;

    return (uint32_t) (*seed >> 33);
}


static void
test_what_is_read_of_spoilt_text_is_json(void **state)
{
    char        text[256];
    size_t      i, k, n, at, len, from;
    json_t     *root;
    uint64_t    seed;
    unsigned    good;

    static const char  bytes[] = "\"\\{}[]:,0123456789-+.eEtrufalsn \n\t/bu"
                                 "dD8\x00\x1f\x7f\x80\xbf\xc3\xe2\xed\xf0\xff";

    (void) state;

    good = 0;
    seed = 20251122;

    for (i = 0; i < MUTATIONS; i++) {
        from = next(&seed) % (sizeof(reads) / sizeof(reads[0]));
        len = strlen(reads[from]);
        memcpy(text, reads[from], len);

        for (k = next(&seed) % 4; k > 0; k--) {
            at = next(&seed) % len;
            n = next(&seed) % (sizeof(bytes) - 1);

            switch (next(&seed) % 3) {

            case 0:
                text[at] = bytes[n];
                break;

            case 1:
                memmove(text + at + 1, text + at, len - at);
                text[at] = bytes[n];
                len++;
                break;

            default:
                if (len > 1) {
                    memmove(text + at, text + at + 1, len - at - 1);
                    len--;
                }
            }
        }

        root = quick(text, len);

        if (root) {
            good++;
            same(text, len, root);
            json_decref(root);
        }
    }

    assert_in_range(good, MUTATIONS / 10, MUTATIONS - MUTATIONS / 10);
}


/* Runs end at the first byte that is none of theirs, wherever that is. */

static void
test_runs_end_where_they_should(void **state)
{
    int             plain;
    size_t          at, i, len;
    unsigned        c;
    unsigned char  *text;

    (void) state;

    for (len = 0; len < 20; len++) {
        text = malloc(len ? len : 1);
        assert_non_null(text);
        memset(text, 'a', len);

        assert_int_equal(tf_text_plain(text, len), len);
        assert_int_equal(tf_text_ascii(text, len), len - len % 8);

        for (at = 0; at < len; at++) {
            for (c = 0; c < 256; c++) {
                text[at] = (unsigned char) c;

                plain = c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';

                /* with one of each kind behind it */

                for (i = at + 1; i < len; i++) {
                    text[i] = "!#[]~\xff\"\\ \x01"[i % 10] & 0xff;
                }

                if (!plain) {
                    assert_int_equal(tf_text_plain(text, len), at);

                } else {
                    assert_true(tf_text_plain(text, len) > at);
                }

                assert_true((c == 0 || c >= 0x80)
                            ? tf_text_ascii(text, len) <= at
                            : tf_text_ascii(text, at + 1) == (at + 1)
                                                             / 8 * 8);
            }

            text[at] = 'a';
        }

        free(text);
    }
}


static void
test_numbers_are_written_as_printf_does(void **state)
{
    int64_t        n;
    size_t         i;
    char           text[32];
    unsigned char  to[TF_TEXT_NUMBER_MAX], *end;

    static const int64_t  more[] = { INT64_MAX, INT64_MIN, INT64_MIN + 1 };

    (void) state;

    for (i = 0; i < 63 * 3 + sizeof(more) / sizeof(more[0]); i++) {
        n = i < 63 * 3 ? ((int64_t) 1 << i / 3) - (int64_t) (i % 3)
                       : more[i - 63 * 3];

        snprintf(text, sizeof(text), "%lld", (long long) n);
        end = tf_text_number(to, n);

        assert_int_equal(end - to, strlen(text));
        assert_memory_equal(to, text, strlen(text));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_what_is_usual_is_read),
        cmocka_unit_test(test_what_is_wrong_is_left),
        cmocka_unit_test(test_what_is_too_deep_is_left),
        cmocka_unit_test(test_long_names_and_many_numbers_are_left),
        cmocka_unit_test(test_what_is_read_of_spoilt_text_is_json),
        cmocka_unit_test(test_runs_end_where_they_should),
        cmocka_unit_test(test_numbers_are_written_as_printf_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
